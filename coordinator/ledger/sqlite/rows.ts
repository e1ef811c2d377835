/** Events and summaries as rows: their CBOR, and what of them stands in columns. */
import {
  asPeerId,
  asTaskId,
  canonicalBytes,
  readCanonical,
  SkeinError,
  type TaskId,
  type TaskState,
} from '../../../mesh/protocol/index.ts'
import type { AnswerPart, LedgerEvent, LedgerEventOf, Priority, UsedEnergy } from '../events.ts'
import { apply, purgedEvent, type LedgerTask, type TaskSummary } from '../state.ts'
import type { AccessEvent } from '../access.ts'
import type { BatchEvent } from '../batches.ts'
import { countedAt, type BudgetEvent } from '../budgets.ts'
import type { LeaseEvent } from '../leases.ts'
import { usedBy, wholeCount, type UsageSum } from '../usage.ts'
import type {
  NewEvent,
  NewTask,
  Operations,
  PurgedTask,
  RowChange,
  TaskRow,
  UsageColumns,
  UsageSumRow,
} from './messages.ts'

/** @throws SkeinError INTERNAL for an event that could not be read again: `undefined` or no number in it. */
export function encodeEvent(event: LedgerEvent | AccessEvent | BatchEvent | BudgetEvent | LeaseEvent): Uint8Array {
  const payload = canonicalBytes(event)
  if (readCanonical(payload) === undefined)
    throw new SkeinError('INTERNAL', `a ${event.type} event has a value that the ledger cannot keep`)
  // the encoder gives a window on a buffer many times its size, which would wait and travel with it
  return payload.slice()
}

/** @throws SkeinError LEDGER_CORRUPT. */
export function decodeEvent<E extends LedgerEvent | AccessEvent | BatchEvent | BudgetEvent | LeaseEvent = LedgerEvent>(
  payload: Uint8Array,
): E {
  const event = readCanonical(payload) as E | undefined
  if (event?.type === undefined)
    throw new SkeinError(
      'LEDGER_CORRUPT',
      'an event of the ledger is damaged; restore a backup into a new data directory: skein restore FILE --data DIR',
    )
  return event
}

/** The task that the payloads of its events make. @throws SkeinError LEDGER_CORRUPT. */
export function foldEvents(payloads: readonly Uint8Array[]): LedgerTask {
  let task: LedgerTask | undefined
  for (const payload of payloads) task = apply(task, decodeEvent(payload))
  if (task === undefined) throw new SkeinError('LEDGER_CORRUPT', 'a task of the ledger has lost its first event')
  return task
}

/** @throws SkeinError INTERNAL, as `encodeEvent`. */
export function toNewTask(event: LedgerEventOf<'task.admitted'>): NewTask {
  const { taskId, tenant, idempotency, model, digest, priority, stored } = event.spec
  return {
    taskId,
    tenant,
    key: idempotency?.key ?? null,
    bodyDigest: idempotency?.bodyDigest ?? null,
    model,
    digest,
    priority,
    isStored: stored,
    atMs: event.atMs,
    payload: encodeEvent(event),
  }
}

/** @throws SkeinError INTERNAL, as `encodeEvent`. */
export const toNewEvent = (event: Exclude<LedgerEvent, { type: 'task.admitted' }>): NewEvent => ({
  taskId: event.taskId,
  type: event.type,
  atMs: event.atMs,
  payload: encodeEvent(event),
  change: changeOf(event),
})

function changeOf(event: Exclude<LedgerEvent, { type: 'task.admitted' }>): RowChange {
  switch (event.type) {
    case 'attempt.assigned':
      return {
        ...{ kind: 'assigned', nodeId: event.node.peerId, nodeName: event.node.name, route: event.route },
        ...{ attempt: event.attempt, reservedMicros: event.reservedMicros ?? null, countedAtMs: countedAt(event) },
      }
    case 'task.checkpointed':
      return { kind: 'tokens', ...rangeOf(event.part) }
    case 'task.ended': {
      const { outcome, error } = event.result
      const used = { completionTokens: null, ...usedBy(event), cloudMicros: event.cloud?.micros ?? null }
      return { kind: 'end', state: outcome, code: error?.code ?? null, ...rangeOf(event.part), ...used }
    }
    case 'attempt.ended':
      return {
        ...{ kind: 'attempt end', attempt: event.attempt, costMicros: event.costMicros ?? null },
        ...energyColumns(event.energy),
      }
    case 'work.ended':
      return { kind: 'work', usage: columnsOf(event.usage) }
    case 'task.purged':
      return { kind: 'none' }
  }
}

const energyColumns = (energy: UsedEnergy | undefined) => ({
  joules: energy?.joules ?? null,
  estimatedJoules: energy === undefined ? null : energy.isEstimated ? energy.joules : 0,
  energyMicros: energy?.costMicros ?? null,
})

function columnsOf(usage: LedgerEventOf<'work.ended'>['usage']): UsageColumns {
  const { tenant, model, digest, node, route, kind, state, code, attempts, tookMs, costMicros } = usage
  return [
    ...([tenant, model, digest ?? null, node?.peerId ?? null, node?.name ?? null, route ?? null] as const),
    ...([kind, state, code ?? null] as const),
    ...([usage.promptTokens, usage.cachedTokens, usage.completionTokens].map(wholeCount) as [number, number, number]),
    ...([wholeCount(attempts), tookMs, costMicros ?? null] as const),
    ...([usage.joules ?? null, usage.estimatedJoules ?? null] as const),
    ...([usage.energyMicros ?? null, usage.cloudMicros ?? null] as const),
  ]
}

/** A sum without the axes that it has no value of. */
export const toUsageSum = (row: UsageSumRow): UsageSum =>
  Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as unknown as UsageSum

/** Without a part, one that fits nowhere. */
const rangeOf = (part: AnswerPart | undefined): { from: number; to: number } =>
  part === undefined ? { from: -1, to: -1 } : { from: part.index, to: part.index + part.ids.length / 4 }

/** What becomes of the rows of an ended task whose texts are deleted at `atMs`. */
export function toPurgedTask(found: Operations['purgeable']['answer'][number], atMs: number): PurgedTask {
  const events = found.events.map(({ seq, payload }) => {
    const event = decodeEvent(payload)
    return { seq, event, kept: purgedEvent(event) }
  })
  const purged: LedgerEventOf<'task.purged'> = { type: 'task.purged', atMs, taskId: asTaskId(found.taskId) }
  return {
    seq: found.seq,
    rewritten: events.flatMap(({ seq, event, kept }) =>
      kept === undefined || kept === event ? [] : [{ seq, payload: encodeEvent(kept) }],
    ),
    deleted: events.filter(({ kept }) => kept === undefined).map(({ seq }) => seq),
    purged: { type: purged.type, atMs, payload: encodeEvent(purged) },
  }
}

export const toSummary = (row: TaskRow): TaskSummary => ({
  taskId: row.task_id as TaskId,
  model: row.model,
  priority: row.priority as Priority,
  tenant: row.tenant,
  state: row.state as TaskState,
  admittedAtMs: row.admitted_at,
  attempts: row.attempts,
  tokens: row.tokens,
  ...(row.ended_at !== null && { endedAtMs: row.ended_at }),
  ...(row.node_id !== null && { node: { peerId: asPeerId(row.node_id), name: row.node_name! } }),
  ...(row.code !== null && { code: row.code }),
})
