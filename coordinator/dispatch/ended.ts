/** A task that has ended, to be followed again from what the ledger has. */
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { LedgerTask } from '../ledger/index.ts'
import type { Answer } from './answer.ts'
import { leftOf } from './attempt-log.ts'
import type { TaskEvent } from './events.ts'
import { Followers } from './followers.ts'
import { Task } from './task.ts'

const taskOf = (from: LedgerTask): Task => Task.restore(from, { epoch: 0, nowMs: 0, wallMs: 0 })
const answerOf = (from: LedgerTask): Answer => taskOf(from).answer

/** As `TaskHandle.textBefore`. */
export function endedTextBefore(from: LedgerTask, position: number): string {
  const answer = answerOf(from)
  return answer.textBefore(answer.indexOf(position))
}

/** Events of `from` behind `position`. @throws SkeinError NOT_FOUND when its text was deleted; as `TaskHandle.follow`. */
export function followEnded(from: LedgerTask, position: number, signal?: AbortSignal): AsyncIterable<TaskEvent> {
  const { result, spec } = from
  // its end is being written: only what no client can come back for is not gone on with after a restart
  if (result === undefined)
    throw new SkeinError('COORDINATOR_RESTARTED', `${spec.taskId} ran when the coordinator was restarted`)
  if (from.isPurged) throw new SkeinError('NOT_FOUND', 'the text of this answer was deleted after its time')
  const { answer, receipt } = taskOf(from)
  const index = answer.indexOf(position)
  // who has more of an answer that failed than was durable when all who held it were lost is still told how it ended
  const isBeyond = index > answer.length && result.finishReason === undefined
  if (!isBeyond && !answer.isBorder(index))
    throw new SkeinError('INVALID_REQUEST', `no event of this answer ended at ${position}`)
  const followers = new Followers({ answer, onLeft: () => {}, onCame: () => {} })
  const last = from.attempts.at(-1)?.assigned
  if (last) {
    const { node, route, attempt, reason, leave, estimateMicros } = last
    const left = leave && { left: leftOf(leave, estimateMicros) }
    followers.say({ type: 'started', node, route, attempt, reason, ...left })
  }
  const { finishReason, stopIndex, usage, timing, tail, error } = result
  if (finishReason && usage && timing) {
    const stopped = stopIndex === undefined ? {} : { stopIndex }
    const made = { finishReason, ...stopped, text: tail, usage, timing }
    followers.end({ end: { type: 'end', ...made, attempts: from.attempts.length, ...receipt } })
  } else {
    const { code, message } = error ?? { code: 'INTERNAL', message: 'the ledger does not say how it ended' }
    followers.end({ error: new SkeinError(code, message) })
  }
  return followers.follow(index, signal)
}
