/**
 * Answers that are being made, by their key: who asks the same meanwhile is given that answer as it comes instead of
 * having another one made. Whoever makes it may fail; then the first of the others that asks takes its place.
 */
import type { AnswerKey } from './key.ts'

export class Flights<Run extends object> {
  readonly #leaders = new Map<AnswerKey, Run>()

  get size(): number {
    return this.#leaders.size
  }

  /** Who makes the answer of `key` now. */
  leader(key: AnswerKey): Run | undefined {
    return this.#leaders.get(key)
  }

  /** From now on `run` makes it; who follows an earlier one goes on with that. */
  lead(key: AnswerKey, run: Run): void {
    this.#leaders.set(key, run)
  }

  /** After `failed` has failed, `run` would go on. Returns who makes the answer from now on: `run`, or one that came first. */
  succeed(key: AnswerKey, failed: Run, run: Run): Run {
    const leader = this.#leaders.get(key)
    if (leader !== undefined && leader !== failed) return leader
    this.#leaders.set(key, run)
    return run
  }

  /** `run` is over. One that has been followed by another is not the leader any more. */
  land(key: AnswerKey, run: Run): void {
    if (this.#leaders.get(key) === run) this.#leaders.delete(key)
  }
}
