/** What answers and work have used: one row each, and sums of rows. Pure. */
import type { ErrorCode, ModelDigest, Route, TaskId, TaskOutcome, WorkKind } from '../../mesh/protocol/index.ts'
import type { LedgerEventOf, NodeName } from './events.ts'
import type { LedgerTask } from './state.ts'
import { durableTokens } from './state.ts'

/** One answer, or one request of work, when it has ended. */
export interface UsageRow {
  readonly taskId: TaskId
  readonly atMs: number
  readonly tenant: string
  /** As the client wrote it. */
  readonly model: string
  /** Absent of a task that an older Skein admitted. */
  readonly digest?: ModelDigest
  /** The last one, where an attempt began. */
  readonly node?: NodeName
  readonly route?: Route
  readonly kind: 'answer' | WorkKind
  readonly state: TaskOutcome
  readonly code?: ErrorCode
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly completionTokens: number
  /** Tries on nodes, moves included. */
  readonly attempts: number
  /** From its admission to its end. */
  readonly tookMs: number
  /** What was billed, in millionths of the owner's currency; where a node has a price. */
  readonly costMicros?: number
  /** What the owner's devices took above being idle; where their nodes say it. */
  readonly joules?: number
  /** Those of them that are a rule of thumb. */
  readonly estimatedJoules?: number
  /** What they cost, where the owner has said what energy costs. */
  readonly energyMicros?: number
  /** What a cloud would have charged; where a price is known. */
  readonly cloudMicros?: number
}

/** What rows may be summed by. `day` is a day of UTC, counted from 1970. */
export const USAGE_AXES = ['tenant', 'model', 'day', 'node', 'route', 'kind', 'state'] as const
export type UsageAxis = (typeof USAGE_AXES)[number]

export interface UsageQuery {
  /** Of rows from here on … */
  readonly sinceMs: number
  /** … and before here. */
  readonly untilMs: number
  /** Of this tenant alone. */
  readonly tenant?: string
  /** One sum for each combination of these, in their order; one of all when empty. */
  readonly by: readonly UsageAxis[]
  /** At most so many sums, the first. */
  readonly limit: number
}

export interface UsageSum {
  readonly tenant?: string
  readonly model?: string
  readonly day?: number
  /** Its name. */
  readonly node?: string
  readonly route?: string
  readonly kind?: string
  readonly state?: string
  /** Answers and requests of work. */
  readonly requests: number
  /** Those of them that were completed. */
  readonly completed: number
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly completionTokens: number
  readonly tookMs: number
  /** What was billed, and what energy cost. */
  readonly costMicros: number
  readonly joules: number
  readonly estimatedJoules: number
  /** Of the cost: energy. */
  readonly energyMicros: number
  readonly cloudMicros: number
}

export const USAGE_DAY_MS = 86_400_000

/** A count as it can be kept: other ledgers' columns take whole numbers alone. */
export const wholeCount = (count: number): number =>
  Number.isFinite(count) ? Math.min(Math.max(0, Math.round(count)), Number.MAX_SAFE_INTEGER) : 0

/** What `event` says of the use, whatever the task was. */
export function usedBy(event: LedgerEventOf<'task.ended'>): {
  readonly promptTokens: number
  readonly cachedTokens: number
  /** Absent when the end does not tell: then it is the tokens that were delivered. */
  readonly completionTokens?: number
} {
  const { usage } = event.result
  if (usage === undefined) return { promptTokens: wholeCount(event.promptTokens ?? 0), cachedTokens: 0 }
  return {
    promptTokens: wholeCount(usage.promptTokens),
    cachedTokens: wholeCount(usage.cachedTokens),
    completionTokens: wholeCount(usage.completionTokens),
  }
}

/** The row of a task that `event` has ended; `task` is the state behind it. */
export function usageOfTask(task: LedgerTask, event: LedgerEventOf<'task.ended'>): UsageRow {
  const { spec, attempts, admittedAtMs } = task
  const last = attempts.at(-1)?.assigned
  const costs = attempts.flatMap(({ ended }) => (ended?.costMicros === undefined ? [] : [ended.costMicros]))
  const energies = attempts.flatMap(({ ended }) => (ended?.energy ? [ended.energy] : []))
  const energyCosts = energies.flatMap(({ costMicros }) => (costMicros === undefined ? [] : [costMicros]))
  const code = event.result.error?.code
  return {
    taskId: spec.taskId,
    atMs: event.atMs,
    tenant: spec.tenant,
    model: spec.model,
    digest: spec.digest,
    ...(last && { node: last.node, route: last.route }),
    kind: 'answer',
    state: event.result.outcome,
    ...(code !== undefined && { code }),
    completionTokens: durableTokens(task),
    ...usedBy(event),
    attempts: attempts.length,
    tookMs: Math.max(0, event.atMs - admittedAtMs),
    ...(costs.length > 0 && { costMicros: sumOf(costs) }),
    ...(energies.length > 0 && {
      joules: sumOf(energies.map(({ joules }) => joules)),
      estimatedJoules: sumOf(energies.map(({ joules, isEstimated }) => (isEstimated ? joules : 0))),
    }),
    ...(energyCosts.length > 0 && { energyMicros: sumOf(energyCosts) }),
    ...(event.cloud && { cloudMicros: event.cloud.micros }),
  }
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0)

const AXIS_OF: Readonly<Record<UsageAxis, (row: UsageRow) => string | number | undefined>> = {
  tenant: (row) => row.tenant,
  model: (row) => row.model,
  day: (row) => Math.floor(row.atMs / USAGE_DAY_MS),
  node: (row) => row.node?.name,
  route: (row) => row.route,
  kind: (row) => row.kind,
  state: (row) => row.state,
}

/** `rows` summed as `query` asks, in the order of its axes; what an axis has no value of comes first. */
export function sumUsage(rows: Iterable<UsageRow>, query: UsageQuery): UsageSum[] {
  const sums = new Map<string, { readonly key: (string | number | undefined)[]; readonly rows: UsageRow[] }>()
  for (const row of rows) {
    if (row.atMs < query.sinceMs || row.atMs >= query.untilMs) continue
    if (query.tenant !== undefined && row.tenant !== query.tenant) continue
    const key = query.by.map((axis) => AXIS_OF[axis](row))
    const name = JSON.stringify(key)
    const sum = sums.get(name)
    if (sum) sum.rows.push(row)
    else sums.set(name, { key, rows: [row] })
  }
  return [...sums.values()]
    .sort((a, b) => compareKeys(a.key, b.key))
    .slice(0, query.limit)
    .map(({ key, rows: of }) => sumOfRows(query.by, key, of))
}

function compareKeys(a: readonly (string | number | undefined)[], b: readonly (string | number | undefined)[]): number {
  for (const [index, left] of a.entries()) {
    const right = b[index]
    if (left === right) continue
    if (left === undefined || right === undefined) return left === undefined ? -1 : 1
    return left < right ? -1 : 1
  }
  return 0
}

function sumOfRows(
  axes: readonly UsageAxis[],
  key: readonly (string | number | undefined)[],
  rows: readonly UsageRow[],
): UsageSum {
  const total = (of: (row: UsageRow) => number): number => rows.reduce((sum, row) => sum + of(row), 0)
  return {
    ...Object.fromEntries(axes.flatMap((axis, index) => (key[index] === undefined ? [] : [[axis, key[index]]]))),
    requests: rows.length,
    completed: total(({ state }) => (state === 'completed' ? 1 : 0)),
    promptTokens: total((row) => row.promptTokens),
    cachedTokens: total((row) => row.cachedTokens),
    completionTokens: total((row) => row.completionTokens),
    tookMs: total((row) => row.tookMs),
    costMicros: total((row) => row.costMicros ?? 0) + total((row) => row.energyMicros ?? 0),
    joules: total((row) => row.joules ?? 0),
    estimatedJoules: total((row) => row.estimatedJoules ?? 0),
    energyMicros: total((row) => row.energyMicros ?? 0),
    cloudMicros: total((row) => row.cloudMicros ?? 0),
  }
}
