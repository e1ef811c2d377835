/** What of a task goes with everything that is logged of it, and with its attempts to their nodes. */
import { attemptSpanId, readTraceparent, traceIdOf, traceparentOf } from '../../mesh/protocol/index.ts'
import type { TaskSpec } from '../ledger/index.ts'

/** For log lines: the ids by which lines of several processes are joined. */
export interface LogIds {
  readonly task: string
  readonly request: string
  readonly trace?: string
}

export const logIdsOf = ({ taskId, requestId, trace }: Pick<TaskSpec, 'taskId' | 'requestId' | 'trace'>): LogIds => ({
  task: taskId,
  request: requestId,
  ...(trace && { trace: traceIdOf(trace.traceparent) }),
})

/** Context of the span of an attempt; of a trace that is not ours, the client's own. */
export function attemptTraceparent(
  { taskId, trace }: Pick<TaskSpec, 'taskId' | 'trace'>,
  fence: number,
): string | undefined {
  const context = trace && readTraceparent(trace.traceparent)
  if (!trace?.isOwn || context === undefined) return trace?.traceparent
  return traceparentOf({ ...context, spanId: attemptSpanId(taskId, fence, 'coordinator') })
}
