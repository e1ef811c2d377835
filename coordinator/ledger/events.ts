/**
 * What can happen to a task, in the past tense. The ledger is the list of these events; the state of a task is what
 * `apply` makes of them (`state.ts`). Times are wall-clock ms since 1970: another process may read them after a restart.
 */
import type {
  AttemptOutcome,
  CloudReason,
  ErrorCode,
  FinishReason,
  ModelDigest,
  OutputFormat,
  PeerId,
  Prediction,
  Price,
  Prompt,
  RequestId,
  Route,
  Sampling,
  TaskId,
  TaskOutcome,
  ThoughtMarks,
  TokenLogprob,
  Usage,
} from '../../mesh/protocol/index.ts'
import type { UsageRow } from './usage.ts'

/** Scheduling classes, most urgent first. */
export const PRIORITIES = ['system', 'interactive', 'default', 'bulk'] as const
export type Priority = (typeof PRIORITIES)[number]

/**
 * What the absence of the client means. `attached`: its work is cancelled at once. `resumable`: it may come back within
 * `LIMITS.detachedMs`. `background`: it is not waited for; the result is kept for it.
 */
export type Attachment = 'attached' | 'resumable' | 'background'

/** All that is needed to run a task again from its first token, and to answer for it. */
export interface TaskSpec {
  readonly taskId: TaskId
  readonly requestId: RequestId
  /** As the client wrote it. */
  readonly model: string
  readonly digest: ModelDigest
  readonly prompt: Prompt
  readonly sampling: Sampling
  readonly stop: readonly string[]
  readonly maxTokens: number
  readonly logprobs?: number
  readonly format?: OutputFormat
  readonly priority: Priority
  /** Whose share it counts against: one for each API key, `local` without keys. */
  readonly tenant: string
  readonly localOnly: boolean
  /** The client asked for the cloud. */
  readonly route?: 'cloud'
  /** Meshes that it has left before it came to this one; none when absent. */
  readonly hops?: number
  /** Marks of those, oldest first. */
  readonly via?: readonly string[]
  readonly attachment: Attachment
  /** Kept for `LIMITS.taskRetentionMs` instead of `LIMITS.resultRetentionMs`. */
  readonly stored: boolean
  readonly deadlineAtMs: number
  /** Where the answer has a thought, of a model that thinks. */
  readonly thought?: ThoughtMarks
  /** What the gateway needs to write the answer again in the client's API; opaque here, at most 64 KiB of JSON. */
  readonly shape: string
  readonly idempotency?: { readonly key: string; readonly bodyDigest: string }
  /** Absent where there is no trace. */
  readonly trace?: TaskTrace
  /** The most that it may cost, in millionths of the owner's currency; bounded by the budget alone when absent. */
  readonly costMicrosMax?: number
}

/** Which trace a task belongs to, and the span that its attempts are parts of. */
export interface TaskTrace {
  /** Of that span, as in a header of the name. */
  readonly traceparent: string
  /** The span is ours, and sent to a collector: each attempt has one of its own under it. Else it is the client's. */
  readonly isOwn: boolean
  /** Of ours: the client's span that it is a part of. */
  readonly parentSpanId?: string
}

export interface NodeName {
  readonly peerId: PeerId
  readonly name: string
}

/** Why an attempt began where it began. */
export const ATTEMPT_REASONS = [
  'first',
  /** Its node was lost, stalled, refused or failed. */
  'lost',
  /** A planned move: the node leaves, its window closes, or another is much better. */
  'drain',
  'rebalance',
  /** It had given its slot to a more urgent task. */
  'preempted',
  /** After a restart of the coordinator: the node held the attempt, or it did not. */
  'reattached',
  'recovered',
  /** The answer before it was less sure than the owner wants. */
  'escalated',
] as const
export type AttemptReason = (typeof ATTEMPT_REASONS)[number]

/** One candidate of an assignment: its prediction, or why it was not considered. */
export interface ExplainedCandidate extends NodeName {
  readonly prediction?: Prediction
  readonly rejected?: string
}

/** What a node's machine took for an attempt, above being idle. */
export interface UsedEnergy {
  readonly joules: number
  /** By a rule of thumb; else the node has measured what an answer takes, or its owner has said it. */
  readonly isEstimated: boolean
  /** In micro-units, where the owner has said what energy costs and nobody else bills the attempt. */
  readonly costMicros?: number
}

/** How sure a model was of an answer, in nats, by so many of its tokens; `isLow` where that was less than the owner wants. */
export interface JudgedConfidence {
  readonly tokens: number
  readonly meanLogprob: number
  readonly minLogprob: number
  readonly isLow: boolean
}

/** What a cloud would have charged for an answer, in micro-units, and by which entry of the price table. */
export interface CloudEstimate {
  readonly micros: number
  readonly price: string
}

/** What a node took for an attempt, in ms; a part that was not reached is absent. */
export interface ObservedMs {
  readonly acceptMs?: number
  readonly firstTokenMs?: number
  readonly decodeMs?: number
}

/**
 * A stretch of the answer. `cuts` are pairs of (tokens, UTF-16 code units), the sizes of the pieces in which the engine
 * released it: a client that holds the first pieces can be given the rest without a letter twice.
 */
export interface AnswerPart {
  /** Index in the answer of the first token. */
  readonly index: number
  /** Packed, as `packTokenIds` does. */
  readonly ids: Uint8Array
  readonly text: string
  readonly cuts: readonly (readonly [tokens: number, units: number])[]
  readonly logprobs?: readonly TokenLogprob[]
}

export interface TaskTiming {
  /** From admission to the first assignment. */
  readonly queuedMs: number
  /** From the first assignment to the first token. */
  readonly firstTokenMs: number
  /** From the first token to the end. */
  readonly decodeMs: number
}

export interface TaskResult {
  readonly outcome: TaskOutcome
  readonly finishReason?: FinishReason
  /** Of the stop string that ended it, among those of the request. */
  readonly stopIndex?: number
  readonly error?: { readonly code: ErrorCode; readonly message: string }
  readonly usage?: Usage
  readonly timing?: TaskTiming
  /** Text that was held back for a stop string or half a character, and that the end released. */
  readonly tail: string
}

export type LedgerEvent =
  | { readonly type: 'task.admitted'; readonly atMs: number; readonly spec: TaskSpec }
  | {
      readonly type: 'attempt.assigned'
      readonly atMs: number
      readonly taskId: TaskId
      readonly attempt: number
      readonly fence: number
      readonly node: NodeName
      readonly route: Route
      readonly reason: AttemptReason
      /** Tokens that it was given; its first own one has this index. */
      readonly from: number
      readonly price?: Price
      /** Set aside for it, in millionths of the owner's currency; where a price is. */
      readonly reservedMicros?: number
      /** The day that it is counted on, where that is later than `atMs`: the clock was put back. Counted from 1970. */
      readonly reservedDay?: number
      /** Why it left the owner's nodes; where its node is in the cloud. */
      readonly leave?: CloudReason
      /** What it was expected to cost, in millionths; where a cloud node has a price. */
      readonly estimateMicros?: number
      /** Matches that were taken out of its prompt before it left; where there were some. */
      readonly redactions?: number
      readonly predicted?: Prediction
      readonly candidates: readonly ExplainedCandidate[]
    }
  | {
      readonly type: 'attempt.ended'
      readonly atMs: number
      readonly taskId: TaskId
      readonly attempt: number
      readonly outcome: AttemptOutcome
      readonly code?: ErrorCode
      readonly message?: string
      /** Index in the answer behind the last token that was delivered from it. */
      readonly to: number
      readonly observed: ObservedMs
      /** What it cost; where it has a price. */
      readonly costMicros?: number
      /** Where its node has said what the model takes. */
      readonly energy?: UsedEnergy
      /** How sure its model was; where that was judged. */
      readonly confidence?: JudgedConfidence
    }
  /** Tokens since the last checkpoint. */
  | { readonly type: 'task.checkpointed'; readonly atMs: number; readonly taskId: TaskId; readonly part: AnswerPart }
  /** The rest of the tokens, and how it ended. The first such event of a task holds; later ones change nothing. */
  | {
      readonly type: 'task.ended'
      readonly atMs: number
      readonly taskId: TaskId
      readonly part?: AnswerPart
      readonly result: TaskResult
      /** Of an answer that did not end whole, and so has no `usage`: tokens of its prompt, as estimated. */
      readonly promptTokens?: number
      /** Where a price is known. */
      readonly cloud?: CloudEstimate
    }
  /** Work was done, which has no task: it is in the usage alone. The first such event of an id holds. */
  | {
      readonly type: 'work.ended'
      readonly atMs: number
      readonly taskId: TaskId
      readonly usage: Omit<UsageRow, 'taskId' | 'atMs'>
    }
  /** Its text and prompt were deleted after their time. */
  | { readonly type: 'task.purged'; readonly atMs: number; readonly taskId: TaskId }

export type LedgerEventOf<T extends LedgerEvent['type']> = Extract<LedgerEvent, { type: T }>
