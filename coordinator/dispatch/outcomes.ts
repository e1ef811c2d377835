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
export const isFaultOfNode = ({ code }: SkeinError): boolean => code !== 'NO_FREE_SLOT' && !UNHARMED.has(code)

const LOST = new Set<SkeinError['code']>([
  'NODE_LOST',
  'STREAM_TRUNCATED',
  'STREAM_TIMEOUT',
  'ATTEMPT_STALLED',
  'DIAL_FAILED',
])

/** The deadline of `task` is over. */
export const expired = (task: Task): SkeinError =>
  new SkeinError('TASK_EXPIRED', `the task did not end within ${Math.round(task.deadlineMs - task.admittedAtMs)} ms`)

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
