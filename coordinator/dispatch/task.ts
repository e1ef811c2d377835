/** One admitted task: what was asked, what was delivered so far, and where it stands. */
import {
  stepTask,
  type FinishReason,
  type ModelDigest,
  type Prompt,
  type RequestId,
  type Sampling,
  type TaskId,
  type TaskState,
  type Usage,
} from '../../mesh/protocol/index.ts'
import { exclusionKey, type NodeSnapshot } from '../scheduler/index.ts'

export interface TaskInit {
  readonly taskId: TaskId
  readonly requestId: RequestId
  readonly digest: ModelDigest
  readonly prompt: Prompt
  readonly sampling: Sampling
  readonly stop: readonly string[]
  readonly maxTokens: number
  /** UTF-8 bytes of the prompt's text. */
  readonly promptBytes: number
  readonly admittedAtMs: number
  readonly deadlineAtMs: number
}

/** How an attempt ended well. */
export interface Completion {
  readonly finishReason: FinishReason
  readonly text: string
  readonly usage: Usage
}

export class Task {
  readonly init: TaskInit
  /** Ids delivered to the client; the next token has the index of their number. */
  readonly generated: number[] = []
  /** Attempts begun. */
  attempts = 0
  firstAssignedAtMs: number | undefined
  firstTokenAtMs: number | undefined
  #state: TaskState = 'queued'
  #fence = 0
  readonly #excludedUntilMs = new Map<string, number>()

  constructor(init: TaskInit) {
    this.init = init
  }

  get id(): TaskId {
    return this.init.taskId
  }

  get state(): TaskState {
    return this.#state
  }

  /** @throws SkeinError INTERNAL for a transition that is not legal. */
  enter(state: TaskState): void {
    this.#state = stepTask(this.#state, state)
  }

  /** Fencing token of the next attempt: greater than any before. */
  nextFence(): number {
    return ++this.#fence
  }

  exclude(node: Pick<NodeSnapshot, 'peerId' | 'session'>, untilMs: number): void {
    this.#excludedUntilMs.set(exclusionKey(node), untilMs)
  }

  excludedAt(nowMs: number): Set<string> {
    const excluded = new Set<string>()
    for (const [key, untilMs] of this.#excludedUntilMs) if (untilMs > nowMs) excluded.add(key)
    return excluded
  }

  /** When the next exclusion ends, if any is still on. */
  nextReprieveMs(nowMs: number): number | undefined {
    const ends = [...this.#excludedUntilMs.values()].filter((untilMs) => untilMs > nowMs)
    return ends.length === 0 ? undefined : Math.min(...ends)
  }
}
