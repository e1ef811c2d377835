/**
 * Attempts whose coordinator has gone: each waits for another stream for a while, running or ended. Bounded in number, in
 * time and in memory.
 */
import { LIMITS, SkeinError, type Frame } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'
import type { Attempt } from './attempt.ts'

/** What ended attempts may take together; those that run are bounded by the slots. About 1.5 million tokens. */
const ENDED_BYTES_MAX = 256 * 1024 * 1024

export type HeldAttempt = Extract<Frame, { type: 'control.held' }>['attempts'][number]

export interface HeldAttemptsComponents {
  readonly clock: Clock
  /** What `list` says has changed. */
  readonly onChange: () => void
  /** The attempt is held no longer, and nobody will come for it. */
  readonly onDropped: (attempt: Attempt, reason: SkeinError) => void
}

export class HeldAttempts {
  readonly #components: HeldAttemptsComponents
  /** Those whose stream was lost first come first. */
  readonly #attempts = new Map<Attempt, CancelTimer>()

  constructor(components: HeldAttemptsComponents) {
    this.#components = components
  }

  /** The stream of `attempt` was lost just now. */
  hold(attempt: Attempt): void {
    const { clock, onChange } = this.#components
    const expire = (): void => this.#drop(attempt, `nobody came for it within ${LIMITS.heldAttemptMs} ms`)
    this.#attempts.set(attempt, clock.timer(LIMITS.heldAttemptMs, expire))
    this.#bound()
    onChange()
  }

  /** Ends the wait of `attempt`: another stream came, or it is dropped. */
  release(attempt: Attempt): void {
    const cancelExpiry = this.#attempts.get(attempt)
    if (cancelExpiry === undefined) return
    cancelExpiry()
    this.#attempts.delete(attempt)
    this.#components.onChange()
  }

  /** `attempt` has ended. */
  ended(attempt: Attempt): void {
    if (!this.#attempts.has(attempt)) return
    this.#bound()
    this.#components.onChange()
  }

  list(): HeldAttempt[] {
    return Array.from(this.#attempts.keys(), ({ taskId, fence, log, hasEnded }) => ({
      taskId,
      fence,
      index: log.end,
      ended: hasEnded,
    }))
  }

  #bound(): void {
    const ended = [...this.#attempts.keys()].filter(({ hasEnded }) => hasEnded)
    let bytes = ended.reduce((sum, { log }) => sum + log.bytes, 0)
    while (bytes > ENDED_BYTES_MAX || this.#attempts.size > LIMITS.heldAttemptsMax) {
      const oldest = ended.shift() ?? this.#attempts.keys().next().value!
      if (oldest.hasEnded) bytes -= oldest.log.bytes
      this.#drop(oldest, 'too many attempts are held')
    }
  }

  #drop(attempt: Attempt, why: string): void {
    this.release(attempt)
    this.#components.onDropped(attempt, new SkeinError('STREAM_TRUNCATED', `its stream was lost, and ${why}`))
  }
}
