/** How long a client that is turned away is told to wait. */

/** Told when nothing is known of the speed yet, and the bounds of what is told, in seconds. */
const UNKNOWN_S = 10
const RETRY_S_MIN = 1
const RETRY_S_MAX = 600
/** Older service counts half after this long. */
const WINDOW_MS = 60_000

/** A predicted wait in whole seconds, rounded up, from 1 to 600; 10 for one that is not known. */
export function retryAfterSeconds(waitMs: number | undefined): number {
  const seconds = waitMs === undefined || Number.isNaN(waitMs) ? UNKNOWN_S : Math.ceil(waitMs / 1000)
  return Math.min(Math.max(seconds, RETRY_S_MIN), RETRY_S_MAX)
}

/**
 * `aheadTokens / (tokensPerSecond × slots)` in ms, in weighted tokens (input + 2 × output); `undefined` when the speed of
 * one slot is not known.
 */
export function predictedWaitMs(aheadTokens: number, tokensPerSecond: number, slots = 1): number | undefined {
  const rate = tokensPerSecond * slots
  return rate > 0 ? (1000 * aheadTokens) / rate : undefined
}

/** Weighted tokens that all slots together have lately taken from a line. */
export class DrainRate {
  #fromMs: number
  #tokens = 0

  constructor(nowMs: number) {
    this.#fromMs = nowMs
  }

  took(tokens: number, nowMs: number): void {
    this.#tokens += tokens
    if (nowMs - this.#fromMs < WINDOW_MS) return
    this.#tokens /= 2
    this.#fromMs += (nowMs - this.#fromMs) / 2
  }

  /** 0 as long as nothing was taken. */
  perSecond(nowMs: number): number {
    return this.#tokens === 0 ? 0 : (1000 * this.#tokens) / Math.max(nowMs - this.#fromMs, 1)
  }
}
