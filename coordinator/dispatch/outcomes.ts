/** What an error means for an attempt and for its task. */
import { SkeinError, type AttemptOutcome } from '../../mesh/protocol/index.ts'
import type { Task } from './task.ts'

/** For people: why an answer moves. */
export function reasonToMove(cause: SkeinError): string {
  if (cause.code === 'NODE_DRAINING') return 'node is leaving'
  if (cause.code === 'NOT_SERVED') return "the node's owner does not serve this"
  if (cause.code === 'NO_FREE_SLOT') return 'node is full'
  if (cause.code === 'ATTEMPT_STALLED') return 'node is stalled'
  if (cause.code === 'PREEMPTED') return 'the slot went to a more urgent task'
  return cause.row.blame === 'node' && cause.row.retryable ? 'node lost' : 'node failed'
}

export function outcomeOf(error: SkeinError): AttemptOutcome {
  if (UNHARMED.has(error.code)) return 'evicted'
  return LOST.has(error.code) ? 'lost' : 'failed'
}

/** Codes by which a place is given up without a fault of its node. */
const UNHARMED = new Set<SkeinError['code']>(['PREEMPTED', 'NODE_DRAINING', 'NOT_SERVED'])

/** Whether `error`, of an attempt, speaks against its node: it is asked less then. */
export const isFaultOfNode = ({ code }: SkeinError): boolean =>
  code !== 'NO_FREE_SLOT' && code !== 'NOT_CONTINUABLE' && code !== 'HOPS_EXCEEDED' && !UNHARMED.has(code)

const LOST = new Set<SkeinError['code']>([
  'NODE_LOST',
  'STREAM_TRUNCATED',
  'STREAM_TIMEOUT',
  'ATTEMPT_STALLED',
  'DIAL_FAILED',
])

/** The deadline of `task` is over. */
export function expired(task: Task): SkeinError {
  const ms = Math.round(task.deadlineMs - task.admittedAtMs)
  return task.isKeptHome ? keptHome(ms) : new SkeinError('TASK_EXPIRED', `the task did not end within ${ms} ms`)
}

/** What is local-only has waited for a node of the owner's, in vain. */
export const keptHome = (waitedMs: number): SkeinError =>
  new SkeinError(
    'LOCAL_ONLY',
    `the task is local-only, only rented machines could take it, and none of the owner's came within ${Math.round(waitedMs)} ms`,
  )

/** What a node says by which another one may do better, though the request is to blame. */
export const isOthers = ({ code }: SkeinError): boolean => OTHERS.has(code)

const OTHERS = new Set<SkeinError['code']>(['MODEL_NOT_FOUND', 'LOCAL_ONLY', 'HOPS_EXCEEDED'])

export function endState(error: SkeinError): 'cancelled' | 'expired' | 'failed' {
  if (CANCELLED.has(error.code)) return 'cancelled'
  return error.code === 'TASK_EXPIRED' ? 'expired' : 'failed'
}

const CANCELLED = new Set<SkeinError['code']>([
  'CLIENT_CLOSED',
  'CLIENT_STALLED',
  'SHUTTING_DOWN',
  'COORDINATOR_RESTARTED',
])
