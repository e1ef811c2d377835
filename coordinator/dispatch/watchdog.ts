/**
 * The intervals of one attempt, each with its own bound and name. One timer serves them all: moving the deadline for
 * every token is an assignment, not a new timer.
 *
 * A timer that fires late means that *this* process stood still: what the node sent meanwhile waits unread in a socket,
 * and silence in that time says nothing about the node. The deadline is then moved by as much.
 */
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'

/** Timers of a busy process are late by less than this. */
const LATE_MS = 50

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
    const nowMs = this.#clock.nowMs()
    const lateMs = nowMs - this.#firesAtMs
    this.#firesAtMs = Number.POSITIVE_INFINITY
    if (this.#deadlineMs === Number.POSITIVE_INFINITY) return
    if (lateMs > LATE_MS) this.#deadlineMs = Math.max(this.#deadlineMs, nowMs) + Math.min(lateMs, this.#boundMs)
    if (nowMs < this.#deadlineMs) return this.#arm()
    this.#controller.abort(
      new SkeinError('ATTEMPT_STALLED', `${this.#interval} took more than ${Math.round(this.#boundMs)} ms`),
    )
  }
}
