/** What a running task tells its client. */
import type { FinishReason, ModelDigest, PeerId, Route, TaskId, Usage } from '../../mesh/protocol/index.ts'

export interface NodeName {
  readonly peerId: PeerId
  readonly name: string
}

export interface TaskTiming {
  /** From admission to the first assignment. */
  readonly queuedMs: number
  /** From the first assignment to the first token. */
  readonly firstTokenMs: number
  /** From the first token to the end. */
  readonly decodeMs: number
}

export type TaskEvent =
  /** For people, while nothing else happens: `queued 2`, `loading 43%`, `node lost, resuming on desk-pc`. */
  | { readonly type: 'status'; readonly text: string }
  /** An attempt was accepted by a node; more than once when the task moved. */
  | { readonly type: 'started'; readonly node: NodeName; readonly route: Route; readonly attempt: number }
  /** `ids.length` tokens from answer index `index` on, and the text that they release (maybe none). */
  | { readonly type: 'tokens'; readonly index: number; readonly count: number; readonly text: string }
  /** The last event. `text` was held back for a stop string or half a character. */
  | {
      readonly type: 'end'
      readonly finishReason: FinishReason
      readonly text: string
      readonly usage: Usage
      readonly attempts: number
      readonly timing: TaskTiming
    }

export interface TaskHandle {
  readonly taskId: TaskId
  readonly digest: ModelDigest
  /** Seed that the draws are keyed by. */
  readonly seed: number
  /**
   * To be iterated once. Throws the SkeinError that ended the task; leaving early, or aborting the signal given to
   * `submit`, cancels the work down to the engine.
   */
  readonly events: AsyncIterable<TaskEvent>
}
