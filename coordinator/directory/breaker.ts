/**
 * A circuit breaker: after several failures in a row a node is spared for a while, then tried with one task. Figures as
 * is common practice (Envoy's outlier detection: 5 in a row, 30 s).
 */

const FAILURES_MAX = 5
const OPEN_MS = 30_000

export class Breaker {
  #failuresInRow = 0
  #openUntilMs = Number.NEGATIVE_INFINITY
  #isProbing = false

  /** False after a success: time changes nothing then. */
  get hasFailures(): boolean {
    return this.#failuresInRow > 0
  }

  /** No task is to be sent there: it is open, or its one trial runs. */
  isTripped(nowMs: number): boolean {
    return this.#failuresInRow >= FAILURES_MAX && (this.#isProbing || nowMs < this.#openUntilMs)
  }

  /** A task is sent there. True when it is the trial: whoever sent it calls `probeEnded` however it ends. */
  begin(nowMs: number): boolean {
    if (this.#failuresInRow < FAILURES_MAX || this.#isProbing || nowMs < this.#openUntilMs) return false
    this.#isProbing = true
    return true
  }

  /** The trial is over. Without a verdict before (its client left), another may be made. */
  probeEnded(): void {
    this.#isProbing = false
  }

  addFailure(nowMs: number): void {
    this.#failuresInRow++
    if (this.#failuresInRow >= FAILURES_MAX) this.#openUntilMs = nowMs + OPEN_MS
  }

  addSuccess(): void {
    this.#failuresInRow = 0
  }
}
