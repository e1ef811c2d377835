/** Each metric counts what it says, with labels that are bounded and tell of nobody. */
import { register } from 'prom-client'
import { beforeEach, describe, expect, it } from 'vitest'
import { asModelDigest } from '../../../mesh/protocol/index.ts'
import { MODELS_MAX, NODES_MAX, OTHER } from '../../../coordinator/metrics/labels.ts'
import { expiryOf, lifeOf, SECRET_ANSWER, SECRET_PROMPT, taskIdAt, taskOf, workOf } from '../../fixtures/mesh-events.ts'
import { TWIN_DIGEST } from '../../fixtures/mesh-service-twin.ts'
import { MetricsHarness, nodeView } from './harness.ts'

let h: MetricsHarness
beforeEach(() => {
  h = new MetricsHarness()
})

const CHAT = { gen_ai_operation_name: 'chat', gen_ai_provider_name: 'skein', gen_ai_request_model: 'tiny' }

describe('answers', () => {
  beforeEach(() => {
    for (const event of lifeOf(taskOf())) h.twin.tell(event)
  })

  it('have their times, by the names of the conventions', async () => {
    const whole = { ...CHAT, error_type: '' }
    expect(await h.value('gen_ai_server_request_duration_seconds_sum', whole)).toBeCloseTo(0.4, 9)
    expect(await h.value('gen_ai_server_request_duration_seconds_bucket', { ...whole, le: '0.32' })).toBe(0)
    expect(await h.value('gen_ai_server_request_duration_seconds_bucket', { ...whole, le: '0.64' })).toBe(1)
    expect(await h.value('gen_ai_server_time_to_first_token_seconds_sum', CHAT)).toBeCloseTo(0.1, 9)
    // eleven tokens have ten times between them
    expect(await h.value('gen_ai_server_time_per_output_token_seconds_sum', CHAT)).toBeCloseTo(0.03, 9)
    expect(await h.value('skein_queue_wait_seconds_sum', { priority: 'interactive' })).toBeCloseTo(0.04, 9)
    expect(await h.value('skein_queue_wait_seconds_count', { priority: 'interactive' })).toBe(1)
  })

  it('have their tokens, by model and type', async () => {
    const usage = (type: string): Promise<number | undefined> =>
      h.value('gen_ai_client_token_usage_sum', { ...CHAT, gen_ai_token_type: type })
    expect([await usage('input'), await usage('output')]).toEqual([16, 11])
    const tokens = (type: string): Promise<number | undefined> => h.value('skein_tokens_total', { model: 'tiny', type })
    expect([await tokens('input'), await tokens('cached'), await tokens('output')]).toEqual([16, 4, 11])
  })

  it('that fail are told apart, and have neither a first token nor a usage', async () => {
    h.twin.tell(expiryOf(taskOf({ prompt: { kind: 'text', text: 'x' } })))
    const labels = { gen_ai_operation_name: 'text_completion', error_type: 'expired' }
    expect(await h.value('gen_ai_server_request_duration_seconds_count', labels)).toBe(1)
    expect(await h.value('skein_tasks_ended_total', { outcome: 'expired', code: 'TASK_EXPIRED' })).toBe(1)
    expect(await h.value('skein_tasks_ended_total', { outcome: 'completed', code: '' })).toBe(1)
    expect(await h.value('gen_ai_server_time_to_first_token_seconds_count')).toBe(1)
    expect(await h.value('gen_ai_client_token_usage_count', { gen_ai_token_type: 'input' })).toBe(1)
    expect(await h.value('skein_failed_attempts_total', { outcome: 'lost', code: 'NODE_LOST' })).toBe(1)
  })

  it('that were kept say nothing of what nodes can do', async () => {
    const ended = lifeOf(taskOf()).at(-1) as ReturnType<typeof expiryOf>
    h.twin.tell({ ...ended, attempts: 0 })
    expect(await h.value('skein_tasks_ended_total', { outcome: 'completed' })).toBe(2)
    expect(await h.value('gen_ai_server_request_duration_seconds_count', { ...CHAT, error_type: '' })).toBe(1)
    expect(await h.value('skein_tokens_total', { type: 'output' })).toBe(11)
  })

  it('name a model as its nodes do, whatever the client called it', async () => {
    for (const event of lifeOf(taskOf({ model: 'TINY:latest' }))) h.twin.tell(event)
    expect(await h.value('skein_tokens_total', { model: 'tiny', type: 'output' })).toBe(22)
  })
})

describe('work', () => {
  it('is counted with the answers, as what it is', async () => {
    h.twin.tell(workOf('local'))
    h.twin.tell(workOf('local', true))
    const embeddings = { gen_ai_operation_name: 'embeddings' }
    const count = (error_type: string): Promise<number | undefined> =>
      h.value('gen_ai_server_request_duration_seconds_count', { ...embeddings, error_type })
    expect([await count(''), await count('failed')]).toEqual([1, 1])
    expect(await h.value('gen_ai_client_token_usage_sum', embeddings)).toBe(9)
    expect(await h.value('skein_tokens_total', { model: 'tiny', type: 'input' })).toBe(9)
    expect(await h.value('skein_work_parts_total', { try: 'first' })).toBe(6)
    expect(await h.value('skein_work_parts_total', { try: 'again' })).toBe(1)
    expect(await h.value('skein_work_ended_total', { outcome: 'completed' })).toBe(5)
  })
})

describe('what is so now', () => {
  it('is what the mesh, the gateway and the process say, and counts what they counted once', async () => {
    h.fill()
    await h.families()
    expect(await h.value('skein_tasks_running')).toBe(1)
    expect(await h.value('skein_queue_length', { priority: 'default' })).toBe(2)
    expect(await h.value('skein_attempts_running')).toBe(1)
    expect(await h.value('skein_migrations_total', { reason: 'lost' })).toBe(3)
    expect(await h.value('skein_handovers_total', { outcome: 'failed' })).toBe(6)
    expect(await h.value('skein_ledger_lag_seconds')).toBe(0.25)
    expect(await h.value('skein_ledger_writes_total', { outcome: 'failed' })).toBe(1)
    expect(await h.value('skein_ledger_write_duration_seconds_sum')).toBeCloseTo(2.004, 9)
    expect(await h.value('skein_replica_orders_total', { state: 'sent', cause: 'demand' })).toBe(2)
    expect(await h.value('skein_replica_orders_total', { state: 'done', cause: '' })).toBe(1)
    expect(await h.value('skein_prediction_error_ratio', { part: 'decodeMs', share: 'p90' })).toBe(0.5)
    expect(await h.value('skein_http_requests_total', { route: '/mesh/v1/nodes', status: '2xx' })).toBe(4)
    expect(await h.value('skein_refused_requests_total', { code: 'NOT_FOUND' })).toBe(2)
    expect(await h.value('skein_clients_cut_total', { reason: 'not_reading' })).toBe(5)
    expect(await h.value('skein_cache_lookups_total', { result: 'shared' })).toBe(1)
    expect(await h.value('skein_cache_lookups_total', { result: 'missed' })).toBe(5)
    expect(await h.value('skein_cache_dropped_total', { reason: 'expired' })).toBe(2)
    expect(await h.value('skein_cache_bytes', { tier: 'memory' })).toBe(900)
    expect(await h.value('skein_http_answers_running')).toBe(3)
    expect(await h.value('skein_event_clients')).toBe(2)
    expect(await h.value('skein_process_cpu_seconds_total', { mode: 'user' })).toBe(1.5)
    expect(await h.value('skein_event_loop_delay_seconds', { share: 'p99' })).toBe(0.02)
    expect(await h.value('skein_start_time_seconds')).toBe(1_800_000_000)
  })

  it('forgets nodes that are gone', async () => {
    h.fill()
    expect(await h.value('skein_nodes', { state: 'suspect' })).toBe(1)
    expect(await h.value('skein_nodes_eligible')).toBe(1)
    expect(await h.value('skein_node_decode_tokens_per_second', { node: 'desk', model: 'tiny' })).toBe(40)
    expect(await h.value('skein_node_slots', { node: 'attic' })).toBe(4)
    h.twin.nodeViews = []
    expect(await h.value('skein_nodes', { state: 'suspect' })).toBe(0)
    expect(await h.value('skein_node_slots', { node: 'attic' })).toBeUndefined()
  })

  it('has the heat and power of nodes that are there and tell them, and never a 0 for what is unknown', async () => {
    const { load, ...silent } = nodeView('attic', 10)
    const twin = { ...nodeView('desk', 40), load: { ...load!, temperatureCelsius: 70, watts: 5 } }
    const away = { ...nodeView('barn', 10), state: 'disconnected' as const }
    h.twin.nodeViews = [nodeView('desk', 40), twin, silent, away]
    expect(await h.value('skein_node_temperature_celsius', { node: 'desk' })).toBe(70)
    expect(await h.value('skein_node_power_watts', { node: 'desk' })).toBe(43)
    for (const node of ['attic', 'barn'])
      for (const name of ['skein_node_temperature_celsius', 'skein_node_power_watts'])
        expect(await h.value(name, { node }), `${name} of ${node}`).toBeUndefined()
  })

  it('is read once for all who ask at once, and no more when it is closed', async () => {
    let reads = 0
    const { stats } = h.twin
    h.twin.stats = () => (reads++, stats.call(h.twin))
    const texts = await Promise.all([h.metrics.text(), h.metrics.text(), h.metrics.text()])
    expect(new Set(texts).size).toBe(1)
    expect(reads).toBe(1)
    h.metrics.close()
    expect(h.isStopped).toBe(true)
    for (const event of lifeOf(taskOf())) h.twin.tell(event)
    expect(await h.value('skein_tasks_ended_total')).toBeUndefined()
  })
})

describe('labels', () => {
  it('are bounded: models and nodes beyond the bound are one', async () => {
    const digests = Array.from({ length: MODELS_MAX + 8 }, (_, n) =>
      asModelDigest(`sha256:${String(n).padStart(64, '0')}`),
    )
    for (const digest of digests) for (const event of lifeOf(taskOf({ digest }))) h.twin.tell(event)
    h.twin.nodeViews = Array.from({ length: NODES_MAX + 2 }, (_, n) =>
      nodeView(`node-${String(n).padStart(4, '0')}`, n),
    )
    const families = await h.families()
    const values = (name: string, label: string): Set<string> =>
      new Set(families.get(name)!.samples.map(({ labels }) => labels[label]!))
    const models = values('skein_tokens_total', 'model')
    expect(models.size).toBe(MODELS_MAX + 1)
    expect(models).toContain(OTHER)
    expect(await h.value('skein_tokens_total', { model: OTHER, type: 'output' })).toBe(8 * 11)
    const nodes = values('skein_node_slots', 'node')
    expect(nodes.size).toBe(NODES_MAX + 1)
    expect(await h.value('skein_node_slots', { node: OTHER })).toBe(2 * 4)
    // the mean of the last two
    expect(await h.value('skein_node_decode_tokens_per_second', { node: OTHER })).toBe(NODES_MAX + 0.5)
  })

  it('tell of no tenant, task, prompt or answer', async () => {
    const text = await h.fill().metrics.text()
    for (const secret of ['key:ada', taskIdAt('a'), SECRET_PROMPT, SECRET_ANSWER]) expect(text).not.toContain(secret)
    expect(text).not.toContain(TWIN_DIGEST)
  })
})

it("leaves the library's own registry empty", async () => {
  await h.fill().families()
  expect(register.getMetricsAsArray()).toEqual([])
})
