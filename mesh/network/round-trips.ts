/**
 * Round trips on a stream of heartbeats: each side sends back the number of the last one that it heard and how long it kept
 * it, so that neither needs the other's clock, nor an answer of its own. Times are monotonic, in ms.
 */
import { movingAverage } from '../runtime/index.ts'

/** What goes back with a heartbeat. */
export interface HeartbeatEcho {
  readonly sequence: number
  readonly heldMs: number
}

export interface RoundTrip {
  readonly ms: number
  /** That went along, one way. */
  readonly probeBytes: number
}

/** Heartbeats whose echo is waited for; an older one tells nothing any more. */
const SENT_MAX = 16
/** Weight of the newest in the moving average (RFC 6298 uses 1/8). */
const WEIGHT = 1 / 8

export class RoundTrips {
  readonly #sent = new Map<number, { readonly atMs: number; readonly probeBytes: number }>()
  #heard: { readonly sequence: number; readonly atMs: number } | undefined
  #ms: number | undefined

  /** Smoothed; `undefined` before the first. */
  get ms(): number | undefined {
    return this.#ms
  }

  /** A heartbeat goes out now, with so many bytes to probe the link. Gives what is to go with it. */
  send(sequence: number, nowMs: number, probeBytes = 0): HeartbeatEcho | undefined {
    this.#sent.set(sequence, { atMs: nowMs, probeBytes })
    if (this.#sent.size > SENT_MAX) this.#sent.delete(this.#sent.keys().next().value!)
    const heard = this.#heard
    this.#heard = undefined
    return heard && { sequence: heard.sequence, heldMs: Math.max(0, Math.round(nowMs - heard.atMs)) }
  }

  /**
   * A heartbeat came. Gives the round trip that its echo shows; `undefined` without one, for one that was never sent or was
   * told before, and for one that was held longer than it can have been. That of a probe is not among the smoothed.
   */
  hear(sequence: number, echo: HeartbeatEcho | undefined, nowMs: number): RoundTrip | undefined {
    this.#heard = { sequence, atMs: nowMs }
    const sent = echo && this.#sent.get(echo.sequence)
    if (echo === undefined || sent === undefined) return undefined
    this.#sent.delete(echo.sequence)
    const { atMs, probeBytes } = sent
    const tookMs = nowMs - atMs - echo.heldMs
    // held times are whole ms: what is a little below 0 is a link of less than one
    if (tookMs < -1) return undefined
    const ms = Math.max(0, tookMs)
    if (probeBytes === 0) this.#ms = movingAverage(this.#ms, ms, WEIGHT)
    return { ms, probeBytes }
  }
}
