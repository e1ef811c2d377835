/**
 * The intervals of one attempt, each with its own bound and name. One timer serves them all: moving the deadline for
 * every token is an assignment, not a new timer.
 */
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'

export class Watchdog {
  readonly #clock: Clock
  readonly #controller = new AbortController()
  #cancel: CancelTimer = () => {}
  #firesAtMs = Number.POSITIVE_INFINITY
  #deadlineMs = Number.POSITIVE_INFINITY
  #interval = ''
  #boundMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Aborts with ATTEMPT_STALLED when an interval runs over. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** From now on, `interval` must end within `boundMs`. */
  expect(interval: string, boundMs: number): void {
    this.#interval = interval
    this.#boundMs = boundMs
    this.#deadlineMs = this.#clock.nowMs() + boundMs
    if (this.#deadlineMs < this.#firesAtMs) this.#arm()
  }

  stop(): void {
    this.#cancel()
    this.#deadlineMs = this.#firesAtMs = Number.POSITIVE_INFINITY
  }

  #arm(): void {
    this.#cancel()
    this.#firesAtMs = this.#deadlineMs
    this.#cancel = this.#clock.timer(Math.max(0, this.#deadlineMs - this.#clock.nowMs()), () => this.#fire())
  }

  #fire(): void {
    this.#firesAtMs = Number.POSITIVE_INFINITY
    if (this.#deadlineMs === Number.POSITIVE_INFINITY) return
    if (this.#clock.nowMs() < this.#deadlineMs) return this.#arm()
    this.#controller.abort(new SkeinError('ATTEMPT_STALLED', `${this.#interval} took more than ${this.#boundMs} ms`))
  }
}
