/** A bucket that fills with time: how much of something is still allowed. */
import type { Clock } from '../../mesh/runtime/index.ts'

export class Bucket {
  readonly #clock: Clock
  readonly #perSecond: number
  readonly #burst: number
  #level: number
  #atMs: number

  constructor(clock: Clock, perSecond: number, burst: number) {
    this.#clock = clock
    this.#perSecond = perSecond
    this.#burst = burst
    this.#level = burst
    this.#atMs = clock.nowMs()
  }

  /** False when there is not one left. */
  take(): boolean {
    const nowMs = this.#clock.nowMs()
    this.#level = Math.min(this.#burst, this.#level + ((nowMs - this.#atMs) / 1000) * this.#perSecond)
    this.#atMs = nowMs
    if (this.#level < 1) return false
    this.#level--
    return true
  }
}
