/**
 * Answers that no node has to make for their task, or the beginnings of such: one that was kept, or one that another run
 * makes for an equal task. What comes so is the task's own answer: it is followed, recorded and gone on with as any other.
 */
import { asSkeinError, SkeinError, type ErrorCode } from '../../mesh/protocol/index.ts'
import type { AnswerPart } from '../ledger/index.ts'
import type { TaskEvent } from './events.ts'
import type { TaskRun } from './task-run.ts'
import type { Completion } from './task.ts'

/** The task that is given an answer. */
export interface Receiver {
  readonly run: TaskRun
  /** Tokens that it has. */
  readonly length: number
  say(event: Extract<TaskEvent, { type: 'status' | 'started' }>): void
  /** @throws SkeinError LEDGER_CORRUPT when `part` does not follow what it has. */
  take(part: AnswerPart | undefined): void
}

/**
 * Gives a task its answer. Resolves with how that ended, or with nothing when nodes are to go on behind what was given.
 *
 * @throws SkeinError what any node would say to the request; the signal's reason.
 */
export type AnswerSource = (into: Receiver, signal: AbortSignal) => Promise<Completion | undefined>

/** An answer that is whole. */
export const wholeAnswer =
  (part: AnswerPart | undefined, completion: Completion): AnswerSource =>
  (into) => {
    into.take(part)
    return Promise.resolve(completion)
  }

/** Tasks with one answer. */
export interface SharedAnswer {
  /** The run that makes it. */
  readonly leader: TaskRun
  /** After `failed` has failed, `run` would go on. Returns who makes the answer from now on: `run`, or one that came first. */
  succeed(failed: TaskRun, run: TaskRun): TaskRun
}

/** What is wrong with the request itself: whoever asks the same is told the same. */
const OF_REQUEST: ReadonlySet<ErrorCode> = new Set([
  'INVALID_REQUEST',
  'UNSUPPORTED_PARAMETER',
  'CONTEXT_LENGTH_EXCEEDED',
])

/**
 * The answer that another run makes, as it comes. When that run fails or is cancelled, the first that asks goes on from the
 * last token, and the others follow it.
 */
export const sharedAnswer =
  (shared: SharedAnswer): AnswerSource =>
  async (into, signal) => {
    let { leader } = shared
    for (;;) {
      try {
        return await followed(leader, into, signal)
      } catch (thrown) {
        const error = asSkeinError(thrown)
        if (signal.aborted || OF_REQUEST.has(error.code)) throw error
        // it has been given all that there was before it was told of the failure
        const next = shared.succeed(leader, into.run)
        // one that has less began by itself meanwhile: what it makes may be cut elsewhere
        if (next === into.run || next.task.answer.length < into.length) return undefined
        leader = next
      }
    }
  }

/** @throws SkeinError what ended the leader, or the signal's reason. */
async function followed(leader: TaskRun, into: Receiver, signal: AbortSignal): Promise<Completion> {
  const { answer } = leader.task
  for await (const event of leader.follow(into.length, signal)) {
    if (event.type === 'status') into.say(event)
    // an attempt of another task is none of this one
    else if (event.type === 'started') into.say({ ...event, attempt: 0 })
    else into.take(answer.part(into.length))
    if (event.type !== 'end') continue
    const { finishReason, stopIndex, text, usage } = event
    return { finishReason, ...(stopIndex !== undefined && { stopIndex }), text, usage: unmade(usage) }
  }
  throw new SkeinError('INTERNAL', 'an answer ended without an end')
}

/** The usage of an answer that was not made for its task: nothing of the prompt was computed. */
export const unmade = (usage: Completion['usage']): Completion['usage'] => ({
  ...usage,
  cachedTokens: usage.promptTokens,
})
