/** What the mesh, the gateway and the process say of themselves whenever somebody looks. */
import type { Registry } from 'prom-client'
import type { ProcessUsage, SpanCounts } from '../../mesh/runtime/index.ts'
import type { MeshStats, NodeView } from '../admission/index.ts'
import type { GatewayFacts } from '../gateway/index.ts'
import { copiedCounter, gauge, seriesOf, single, type Series } from './instruments.ts'
import { bounded, NODES_MAX, PAIRS_MAX, type ModelLabels } from './labels.ts'

/** Read once for each look, however many metrics are made of it. */
export interface Present {
  readonly stats: MeshStats
  readonly nodes: readonly NodeView[]
  readonly usage: ProcessUsage
}

type Read = () => Present

const NODE_STATES: readonly NodeView['state'][] = ['initializing', 'ready', 'suspect', 'disconnected']
const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)
const mean = (numbers: readonly number[]): number => sum(numbers) / numbers.length

export function dispatchMetrics(r: Registry, read: Read): void {
  const dispatch = (): MeshStats['dispatch'] => read().stats.dispatch
  const work = (): MeshStats['work'] => read().stats.work
  gauge(r, 'skein_tasks_running', 'Tasks that were admitted and have not ended.', [], () => single(dispatch().running))
  gauge(r, 'skein_queue_length', 'Tasks, and parts of work, that wait for a slot.', ['priority'], () =>
    seriesOf('priority', dispatch().waiting),
  )
  gauge(r, 'skein_attempts_running', 'Attempts that were begun and have not ended.', [], () =>
    single(dispatch().attempts),
  )
  copiedCounter(r, 'skein_migrations_total', 'Moves of running answers.', ['reason'], () =>
    seriesOf('reason', dispatch().migrations),
  )
  copiedCounter(r, 'skein_handovers_total', 'Planned moves by how they ended.', ['outcome'], () =>
    seriesOf('outcome', { ...dispatch().handovers }),
  )
  copiedCounter(r, 'skein_dropped_frames_total', 'Frames of nodes that were not delivered.', ['reason'], () =>
    seriesOf('reason', dispatch().droppedFrames),
  )
  gauge(r, 'skein_ledger_waiting_events', 'Events that are not durable yet.', [], () =>
    single(dispatch().ledger.events),
  )
  gauge(r, 'skein_ledger_lag_seconds', 'How long the oldest event that is not durable has waited.', [], () =>
    single(dispatch().ledger.ms / 1000),
  )
  gauge(r, 'skein_work_running', 'Requests of work that were let in and have not ended.', [], () =>
    single(work().running),
  )
  copiedCounter(r, 'skein_work_requests_total', 'Requests of work that were let in.', ['kind'], () =>
    seriesOf('kind', work().requests),
  )
  copiedCounter(r, 'skein_work_ended_total', 'Requests of work by how they ended.', ['outcome'], () => {
    const { completed, failed, cancelled } = work()
    return seriesOf('outcome', { completed, failed, cancelled })
  })
  copiedCounter(r, 'skein_work_parts_total', 'Parts of work that were sent to a node.', ['try'], () => {
    const { parts, retries } = work()
    return seriesOf('try', { first: parts - retries, again: retries })
  })
  copiedCounter(
    r,
    'skein_replica_orders_total',
    'Orders for replicas: sent, by cause, and ended.',
    ['state', 'cause'],
    () =>
      Object.entries(read().stats.replicas.orders).map(([key, count]) => {
        const [state = key, cause = ''] = key.split(' ')
        return [{ state, cause }, count]
      }),
  )
  gauge(
    r,
    'skein_prediction_error_ratio',
    'How far predictions were off, as a share of what happened.',
    ['part', 'share'],
    () =>
      Object.entries(read().stats.prediction).flatMap(([part, { medianError, p90Error }]) => [
        [{ part, share: 'median' }, medianError],
        [{ part, share: 'p90' }, p90Error],
      ]),
  )
}

export function budgetMetrics(r: Registry, read: Read): void {
  gauge(r, 'skein_budget_micros', 'What may be spent in all and what was, in millionths.', ['period', 'what'], () =>
    read().stats.dispatch.budget.periods.flatMap(({ period, limitMicros, spentMicros, reservedMicros, leftMicros }) => [
      [{ period, what: 'spent' }, spentMicros] as const,
      [{ period, what: 'reserved' }, reservedMicros] as const,
      ...(limitMicros === undefined ? [] : [[{ period, what: 'limit' }, limitMicros] as const]),
      ...(leftMicros === undefined ? [] : [[{ period, what: 'left' }, leftMicros] as const]),
    ]),
  )
  copiedCounter(r, 'skein_budget_short_total', 'Requests for which less money was left than needed.', ['outcome'], () =>
    seriesOf('outcome', read().stats.dispatch.budget.short),
  )
}

export function cloudMetrics(r: Registry, read: Read): void {
  const cloud = (): MeshStats['dispatch']['cloud'] => read().stats.dispatch.cloud
  copiedCounter(r, 'skein_cloud_left_total', 'Attempts, and parts of work, that left for the cloud.', ['reason'], () =>
    seriesOf('reason', cloud().left),
  )
  copiedCounter(
    r,
    'skein_cloud_kept_total',
    'Requests that were kept from the cloud, by where and why.',
    ['gate', 'why'],
    () => cloud().kept.map(({ gate, why, count }) => [{ gate, why }, count]),
  )
  copiedCounter(r, 'skein_cascade_answers_total', 'Answers that were judged, by what came of it.', ['outcome'], () =>
    seriesOf('outcome', { ...cloud().cascades }),
  )
}

export function cacheMetrics(r: Registry, read: Read): void {
  const cache = (): MeshStats['cache'] => read().stats.cache
  copiedCounter(
    r,
    'skein_cache_lookups_total',
    'Requests by what the cache of answers had for them.',
    ['result'],
    () => {
      const { hits, misses: missed = 0, bypassed = 0 } = cache() ?? {}
      return seriesOf('result', { ...hits, missed, bypassed })
    },
  )
  copiedCounter(r, 'skein_cache_dropped_total', 'Kept answers that are there no more, by why.', ['reason'], () => {
    const { evicted = 0, expired = 0, corrupted = 0, unwritten = 0 } = cache() ?? {}
    return seriesOf('reason', { evicted, expired, corrupted, unwritten })
  })
  gauge(r, 'skein_cache_bytes', 'What kept answers take.', ['tier'], () => {
    const { memory, disk } = cache() ?? {}
    return seriesOf('tier', { memory: memory?.bytes ?? 0, disk: disk?.bytes ?? 0 })
  })
}

export function nodeMetrics(r: Registry, read: Read, labels: ModelLabels): void {
  // what offers no inference is no node
  const nodes = (): NodeView[] => read().nodes.filter(({ roles }) => roles.includes('node'))
  gauge(r, 'skein_nodes', 'Nodes by state.', ['state'], () => {
    const byState = Map.groupBy(nodes(), ({ state }) => state)
    return NODE_STATES.map((state) => [{ state }, byState.get(state)?.length ?? 0])
  })
  gauge(r, 'skein_nodes_eligible', 'Nodes that may be given work.', [], () =>
    single(nodes().filter(({ eligible }) => eligible).length),
  )
  const slots = (of: 'slots' | 'slotsInUse'): Series => {
    const named = bounded(nodes(), ({ name }) => name, NODES_MAX)
    const byNode = Map.groupBy(named, ([node]) => node)
    return [...byNode].map(([node, entries]) => [
      { node },
      sum(entries.flatMap(([, { models }]) => models.map((model) => model[of]))),
    ])
  }
  gauge(r, 'skein_node_slots', 'Slots of all models of a node.', ['node'], () => slots('slots'))
  gauge(r, 'skein_node_slots_in_use', 'Those of them that are taken.', ['node'], () => slots('slotsInUse'))
  gauge(r, 'skein_node_temperature_celsius', 'Hottest processor or GPU, where the machine tells.', ['node'], () =>
    sensed(nodes(), 'temperatureCelsius', (celsius) => Math.max(...celsius)),
  )
  gauge(r, 'skein_node_power_watts', 'What the machine takes, as far as it is metered.', ['node'], () =>
    sensed(nodes(), 'watts', sum),
  )
  gauge(r, 'skein_node_decode_tokens_per_second', 'Measured speed of one answer alone.', ['node', 'model'], () =>
    decodeSpeeds(nodes(), labels),
  )
}

/** Of nodes that are there and tell it; `folded` where several share a name. */
function sensed(
  nodes: readonly NodeView[],
  sense: 'temperatureCelsius' | 'watts',
  folded: (values: readonly number[]) => number,
): Series {
  const told = nodes.flatMap(({ name, state, load }) => {
    const value = state === 'disconnected' ? undefined : load?.[sense]
    return value === undefined ? [] : [{ name, value }]
  })
  const named = bounded(told, ({ name }) => name, NODES_MAX)
  return [...Map.groupBy(named, ([node]) => node)].map(([node, entries]) => [
    { node },
    folded(entries.map(([, { value }]) => value)),
  ])
}

/** The mean, where several share a name: nodes may be called alike, and beyond the bound all are. */
function decodeSpeeds(nodes: readonly NodeView[], labels: ModelLabels): Series {
  const measured = bounded(nodes, ({ name }) => name, NODES_MAX).flatMap(([node, { models }]) =>
    models.flatMap(({ digest, speed }) => {
      const rate = speed?.decode[0]?.tokensPerSecond
      return rate === undefined ? [] : [{ node, model: labels.of(digest), rate }]
    }),
  )
  const pairs = bounded(measured, ({ node, model }) => JSON.stringify([node, model]), PAIRS_MAX)
  return [...Map.groupBy(pairs, ([pair]) => pair)].map(([pair, entries]) => {
    const own = pair.startsWith('[') ? entries[0]![1] : { node: pair, model: pair }
    return [{ node: own.node, model: own.model }, mean(entries.map(([, { rate }]) => rate))]
  })
}

export function gatewayMetrics(r: Registry, { counters, running, eventClients }: GatewayFacts): void {
  copiedCounter(
    r,
    'skein_http_requests_total',
    'Requests that were answered, or left.',
    ['method', 'route', 'status'],
    () => [...counters.answers.values()].map(({ method, route, status, count }) => [{ method, route, status }, count]),
  )
  copiedCounter(r, 'skein_refused_requests_total', 'Requests that were answered with an error.', ['code'], () =>
    [...counters.refusals].map(([code, count]) => [{ code }, count]),
  )
  copiedCounter(r, 'skein_clients_cut_total', 'Connections that the gateway ended.', ['reason'], () =>
    seriesOf('reason', {
      not_reading: counters.clientsStalled,
      events_not_read: counters.eventClientsCut,
      no_http: counters.protocolErrors,
      too_many: counters.connectionsRefused,
    }),
  )
  copiedCounter(r, 'skein_clients_left_total', 'Clients that hung up before their answer was whole.', [], () =>
    single(counters.clientsClosed),
  )
  gauge(r, 'skein_http_answers_running', 'Requests of answers and work that are open.', [], () => single(running()))
  gauge(r, 'skein_event_clients', 'Clients that read events.', [], () => single(eventClients()))
}

const NO_SPANS: SpanCounts = { sent: 0, dropped: 0, rejected: 0 }

export function spanMetrics(r: Registry, read: () => SpanCounts = () => NO_SPANS): void {
  copiedCounter(r, 'skein_spans_total', 'Spans by what became of them.', ['outcome'], () =>
    seriesOf('outcome', { ...read() }),
  )
}

export function processMetrics(r: Registry, read: Read, startedAtSeconds: number): void {
  copiedCounter(r, 'skein_process_cpu_seconds_total', 'CPU time of the process.', ['mode'], () =>
    seriesOf('mode', { ...read().usage.cpu }),
  )
  gauge(r, 'skein_process_memory_bytes', 'Memory of the process.', ['kind'], () =>
    seriesOf('kind', { ...read().usage.memory }),
  )
  gauge(r, 'skein_event_loop_delay_seconds', 'How late timers fired since the last look.', ['share'], () =>
    seriesOf('share', { ...read().usage.loopDelay }),
  )
  gauge(r, 'skein_start_time_seconds', 'When the coordinator was started, since 1970.', [], () =>
    single(startedAtSeconds),
  )
}
