/**
 * The way from one member to another, as a TCP connection makes it: what is sent on one stream arrives late or not yet,
 * never out of order and never with a piece missing. Streams overtake each other.
 */
import type { Clock } from '../../runtime/index.ts'
import type { Carry } from '../channels/memory-channel.ts'

export class Path {
  /** ms that the next delivery takes; asked for each. */
  delayMs: () => number
  #held: (() => void)[] | undefined

  constructor(delayMs: () => number) {
    this.delayMs = delayMs
  }

  get isStalled(): boolean {
    return this.#held !== undefined
  }

  /** From now on nothing arrives, and the sender is told nothing: its packets vanish and are sent again. */
  stall(): void {
    this.#held ??= []
  }

  /** What was held back goes on its way. */
  resume(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const carry of held) carry()
  }

  /**
   * A stream on this way.
   *
   * @param clock of the receiver. A `patient` one takes what comes at once in a turn of its own, so that a receiver whose
   *   clock stands still is not reached.
   */
  lane(clock: Clock, isPatient: boolean): Carry {
    let lastMs = 0
    let underWay = 0
    const carry: Carry = (deliver) => {
      if (this.#held) return void this.#held.push(() => carry(deliver))
      const nowMs = clock.nowMs()
      const atMs = (lastMs = Math.max(lastMs, nowMs + this.delayMs()))
      if (atMs <= nowMs && underWay === 0 && !isPatient) return deliver()
      underWay++
      clock.timer(atMs - nowMs, () => {
        underWay--
        deliver()
      })
    }
    return carry
  }
}
