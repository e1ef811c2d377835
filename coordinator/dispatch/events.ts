/** What a running task tells whoever follows it. */
import type {
  CloudReason,
  FinishReason,
  ModelDigest,
  Route,
  TaskId,
  ThoughtMarks,
  TokenLogprob,
  Usage,
} from '../../mesh/protocol/index.ts'
import type { AttemptReason, NodeName, TaskTiming } from '../ledger/index.ts'

export type { NodeName, TaskTiming } from '../ledger/index.ts'

/** Of an attempt that left the owner's nodes. */
export interface Left {
  readonly reason: CloudReason
  /** What it was expected to cost, in micro-units; absent where nothing is billed. */
  readonly estimateMicros?: number
}

/** Of an answer that left them, for a part of it at least. */
export interface Receipt {
  /** Of the last time. */
  readonly reason: CloudReason
  /** Of all its attempts, in micro-units. */
  readonly costMicros: number
}

export type TaskEvent =
  /** For people, while nothing else happens: `queued 2`, `loading 43%`, `node lost, resuming on desk-pc`. */
  | { readonly type: 'status'; readonly text: string }
  /** An attempt was accepted by a node; more than once when the task moved. */
  | {
      readonly type: 'started'
      readonly node: NodeName
      readonly route: Route
      readonly attempt: number
      readonly reason: AttemptReason
      /** Where the node is in the cloud. */
      readonly left?: Left
    }
  /**
   * `count` tokens from answer index `index` on, and the text that they release (maybe none). Each event ends where an
   * engine's step did, so that any follower may come back to the end of any event that another one got.
   */
  | {
      readonly type: 'tokens'
      readonly index: number
      readonly count: number
      /** Where a follower stands behind it: what `follow` takes. The number of tokens, until an answer had to be made again. */
      readonly position: number
      readonly text: string
      readonly logprobs?: readonly TokenLogprob[]
    }
  /** The last event. `text` was held back for a stop string or half a character. */
  | {
      readonly type: 'end'
      readonly finishReason: FinishReason
      /** Of the stop string that ended it, among those of the request. */
      readonly stopIndex?: number
      readonly text: string
      readonly usage: Usage
      readonly attempts: number
      readonly timing: TaskTiming
      readonly receipt?: Receipt
    }

/**
 * How a request stood to answers that are kept: it was given one (`hit`), or what another task makes just now (`shared`);
 * there was none (`miss`), or it does not take part (`bypass`).
 */
export type CacheOutcome = 'hit' | 'shared' | 'miss' | 'bypass'

export interface TaskHandle {
  readonly taskId: TaskId
  readonly digest: ModelDigest
  /** Where the answer has a thought, of a model that thinks. */
  readonly thought?: ThoughtMarks
  /** Seed that the draws are keyed by. */
  readonly seed: number
  /** The model that answers in the place of the one that was asked for: the budget did not allow that one. */
  readonly standIn?: string
  /** False for a task that an earlier request with the same `Idempotency-Key` made. */
  readonly isNew: boolean
  /** Absent where no answers are kept; `ageMs` since the end of one that was. */
  readonly cache?: { readonly outcome: CacheOutcome; readonly ageMs?: number }
  /** Resolves when the task is durable: before, nothing may be acknowledged. @throws SkeinError LEDGER_UNAVAILABLE. */
  readonly admitted: Promise<void>
  /**
   * Events behind `after`, a `position` of an earlier event (0 for all), to the end. Any number of followers, each from where it likes. Ends by
   * throwing the SkeinError that ended the task, or the signal's reason. When the last follower leaves, the task's
   * `Attachment` says what becomes of it; one that was never followed counts as left when its `signal` of `submit`
   * aborts.
   *
   * @throws SkeinError ANSWER_DIVERGED when what led to `after` was lost and has been made again; INVALID_REQUEST for a
   *   position that no event had.
   */
  follow(after: number, signal?: AbortSignal): AsyncIterable<TaskEvent>
  /**
   * The text in front of `position`, for who must read an answer from its start to go on in its middle. To be asked once
   * `follow(position)` has given tokens or the end: before, what was lost may still be on its way back.
   *
   * @throws SkeinError as `follow`.
   */
  textBefore(position: number): string
}
