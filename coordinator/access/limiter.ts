/**
 * Rates of one key. Requests by the generic cell rate algorithm (ITU-T I.371), which needs one number and lets some come at
 * once: the pace behind that burst is such that no minute, wherever it begins, has more than the rate. Tokens by a bucket
 * that may be overdrawn: what an answer takes is known at its end only, and an answer that was let in is not cut; who comes
 * next waits until the debt is paid.
 */
import type { KeyGrant } from '../ledger/index.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** Share of a minute's requests that may come at once. */
const BURST_SHARE = 0.1

export type RateLimits = Pick<KeyGrant, 'requestsPerMinute' | 'tokensPerMinute' | 'tokensPerDay'>

/** What is left of a limit. */
export interface RateState {
  readonly limit: number
  readonly remaining: number
  /** Until all of it is there again. */
  readonly resetMs: number
}

export type RateName = 'requests' | 'tokens' | 'tokens-day'

export type RateVerdict =
  { readonly isAllowed: true } | { readonly isAllowed: false; readonly name: RateName; readonly waitMs: number }

/** The moment of a question. */
export interface RateMoment {
  /** Of the monotonic clock: for paces. */
  readonly nowMs: number
  /** Of the wall clock: for days. */
  readonly wallMs: number
}

/** What a key had used before this process began. */
export interface UsedBefore {
  /** In the last minute. */
  readonly minuteRequests: number
  /** In the last minute. */
  readonly minuteTokens: number
  /** In the day of the restart. */
  readonly dayTokens: number
}

interface Pace {
  readonly burst: number
  readonly intervalMs: number
}

/** A burst of b and one more each interval: b + (rate − b) in the minute that begins with the burst. */
function paceOf(requestsPerMinute: number): Pace {
  const burst = Math.ceil(requestsPerMinute * BURST_SHARE)
  return { burst, intervalMs: MINUTE_MS / (requestsPerMinute - burst + 1) }
}

export class KeyRates {
  /** When the next request would be due, had those that were let in been evenly spread. */
  #dueMs = -Infinity
  #tokens = 0
  #tokensAtMs = -Infinity
  #day = -Infinity
  #dayTokens = 0

  /**
   * What the key had used before this process began. When in the last minute its requests came is not known, so that all
   * that might have come at once are taken to have come just now: more than the rate is let in by no restart.
   */
  restore(
    { requestsPerMinute }: RateLimits,
    { minuteRequests, minuteTokens, dayTokens }: UsedBefore,
    at: RateMoment,
  ): void {
    this.#turnTo(at.wallMs)
    this.#dayTokens += dayTokens
    this.#tokens += minuteTokens
    this.#tokensAtMs = at.nowMs
    if (requestsPerMinute === undefined || minuteRequests === 0) return
    const { burst, intervalMs } = paceOf(requestsPerMinute)
    this.#dueMs = at.nowMs + Math.min(minuteRequests, burst) * intervalMs
  }

  /** Lets one request in, or says which limit keeps it out and how long. */
  admit(limits: RateLimits, at: RateMoment): RateVerdict {
    this.#turnTo(at.wallMs)
    const { requestsPerMinute, tokensPerMinute, tokensPerDay } = limits
    if (tokensPerDay !== undefined && this.#dayTokens >= tokensPerDay)
      return { isAllowed: false, name: 'tokens-day', waitMs: this.#dayLeftMs(at) }
    if (tokensPerMinute !== undefined) {
      this.#drain(tokensPerMinute, at.nowMs)
      const debt = this.#tokens - tokensPerMinute
      if (debt >= 0) return { isAllowed: false, name: 'tokens', waitMs: ((debt + 1) / tokensPerMinute) * MINUTE_MS }
    }
    if (requestsPerMinute === undefined) return { isAllowed: true }
    const { burst, intervalMs } = paceOf(requestsPerMinute)
    const dueMs = Math.max(this.#dueMs, at.nowMs)
    const waitMs = dueMs - (burst - 1) * intervalMs - at.nowMs
    if (waitMs > 0) return { isAllowed: false, name: 'requests', waitMs }
    this.#dueMs = dueMs + intervalMs
    return { isAllowed: true }
  }

  /** Counts further requests of one that was let in: what they are beyond the rate is a debt, as of tokens. */
  count({ requestsPerMinute }: RateLimits, requests: number, { nowMs }: RateMoment): void {
    if (requestsPerMinute === undefined) return
    this.#dueMs = Math.max(this.#dueMs, nowMs) + requests * paceOf(requestsPerMinute).intervalMs
  }

  /** Counts what an answer took. */
  charge(limits: RateLimits, tokens: number, at: RateMoment): void {
    this.#turnTo(at.wallMs)
    this.#dayTokens += tokens
    if (limits.tokensPerMinute === undefined) return
    this.#drain(limits.tokensPerMinute, at.nowMs)
    this.#tokens += tokens
  }

  /** What is left of each limit that there is. */
  states(limits: RateLimits, at: RateMoment): Partial<Record<RateName, RateState>> {
    this.#turnTo(at.wallMs)
    const { requestsPerMinute, tokensPerMinute, tokensPerDay } = limits
    const states: Partial<Record<RateName, RateState>> = {}
    if (requestsPerMinute !== undefined) {
      const { burst, intervalMs } = paceOf(requestsPerMinute)
      const aheadMs = Math.max(0, this.#dueMs - at.nowMs)
      const remaining = Math.max(0, Math.floor(burst - aheadMs / intervalMs))
      states.requests = { limit: requestsPerMinute, remaining, resetMs: aheadMs }
    }
    if (tokensPerMinute !== undefined) {
      this.#drain(tokensPerMinute, at.nowMs)
      const remaining = Math.max(0, Math.floor(tokensPerMinute - this.#tokens))
      states.tokens = { limit: tokensPerMinute, remaining, resetMs: (this.#tokens / tokensPerMinute) * MINUTE_MS }
    }
    if (tokensPerDay !== undefined) {
      const remaining = Math.max(0, tokensPerDay - this.#dayTokens)
      states['tokens-day'] = { limit: tokensPerDay, remaining, resetMs: this.#dayLeftMs(at) }
    }
    return states
  }

  #drain(perMinute: number, nowMs: number): void {
    this.#tokens = Math.max(0, this.#tokens - ((nowMs - this.#tokensAtMs) / MINUTE_MS) * perMinute)
    this.#tokensAtMs = nowMs
  }

  #dayLeftMs({ wallMs }: RateMoment): number {
    return (this.#day + 1) * DAY_MS - wallMs
  }

  /** A clock that was put back does not begin an earlier day anew. */
  #turnTo(wallMs: number): void {
    const day = Math.floor(wallMs / DAY_MS)
    if (day <= this.#day) return
    this.#day = day
    this.#dayTokens = 0
  }
}
