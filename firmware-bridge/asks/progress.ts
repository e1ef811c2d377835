/** What a board is told while it waits: what is new, and not more often than it can use. */
import type { Clock } from '../../mesh/runtime/index.ts'
import type { AnswerProgress } from './answer-source.ts'

/** Between two messages about the same state. */
const INTERVAL_MS = 2000

export class Progress {
  readonly #clock: Clock
  readonly #tell: (progress: AnswerProgress) => void
  #last: AnswerProgress | undefined
  #atMs = 0

  constructor(clock: Clock, tell: (progress: AnswerProgress) => void) {
    this.#clock = clock
    this.#tell = tell
  }

  /** The newest, whether it was told or not. */
  get last(): AnswerProgress | undefined {
    return this.#last
  }

  is(progress: AnswerProgress): void {
    const isNew = this.#last?.s !== progress.s
    const nowMs = this.#clock.nowMs()
    this.#last = progress
    if (!isNew && (progress.s === 'running' || nowMs - this.#atMs < INTERVAL_MS)) return
    this.#atMs = nowMs
    this.#tell(progress)
  }
}
