/**
 * The way to one node and back: heartbeats tell the round trip, attempts how long it really takes until one is accepted, and
 * long prompts, and seldom a probe, how many bytes a second go there.
 */
import { LIMITS } from '../../mesh/protocol/index.ts'
import { movingAverage } from '../../mesh/runtime/index.ts'

/** As people see it. */
export interface LinkView {
  /** There and back on the control stream, in ms. */
  readonly roundTripMs?: number
  /** What long prompts lately went there at. */
  readonly bytesPerSecond?: number
}

/** Weights of the newest sample in the moving averages (RFC 6298 uses 1/8); long prompts are few. */
const WEIGHT = 1 / 8
const BYTES_WEIGHT = 1 / 4
/** A prompt below this says nothing of bytes a second, one above nothing of the round trip. */
const LONG_BYTES = 32 * 1024
/** A probe that took no more than this above the usual shows a link that is wide enough not to be counted. */
const PROBE_MS_MIN = 5
/** What a clock of ms can tell. */
const TRANSFER_MS_MIN = 1
const BYTES_PER_SECOND_MIN = 1000
const BYTES_PER_SECOND_MAX = 10e9
/** Views are made again for a change of this share, or this many ms. */
const NEWS_SHARE = 0.1
const NEWS_MS = 1

export class LinkState {
  #acceptMs: number | undefined
  #roundTripMs: number | undefined
  #bytesPerSecond: number | undefined
  #shownMs = 0
  /** When bytes a second were last looked for, by a long prompt or a probe. */
  #lookedAtMs = Number.NEGATIVE_INFINITY

  /** From an attempt's first frame to its acceptance, its bytes left out; the round trip until one was seen; 0 at first. */
  get ms(): number {
    return this.#acceptMs ?? this.#roundTripMs ?? 0
  }

  get view(): LinkView {
    return {
      ...(this.#roundTripMs !== undefined && { roundTripMs: this.#roundTripMs }),
      ...(this.#bytesPerSecond !== undefined && { bytesPerSecond: this.#bytesPerSecond }),
    }
  }

  addAccept(sampleMs: number, bytes: number, nowMs: number): void {
    if (bytes < LONG_BYTES) {
      this.#acceptMs = movingAverage(this.#acceptMs, sampleMs, WEIGHT)
      return
    }
    this.#lookedAtMs = nowMs
    this.#addTransfer(bytes, sampleMs - this.ms)
  }

  /** Whether it is time for a probe, which is then taken to be sent. Never before the round trip is known. */
  takeProbe(nowMs: number): boolean {
    if (this.#roundTripMs === undefined || nowMs - this.#lookedAtMs < LIMITS.linkProbeIntervalMs) return false
    this.#lookedAtMs = nowMs
    return true
  }

  /** A probe came back. */
  addProbe(sampleMs: number, bytes: number): void {
    const transferMs = sampleMs - (this.#roundTripMs ?? 0)
    if (transferMs >= PROBE_MS_MIN) this.#addTransfer(bytes, transferMs)
  }

  #addTransfer(bytes: number, ms: number): void {
    const rate = (bytes * 1000) / Math.max(ms, TRANSFER_MS_MIN)
    const bounded = Math.min(Math.max(rate, BYTES_PER_SECOND_MIN), BYTES_PER_SECOND_MAX)
    this.#bytesPerSecond = movingAverage(this.#bytesPerSecond, bounded, BYTES_WEIGHT)
  }

  /** Says whether `ms` is another one now than the last time that this was said. */
  addRoundTrip(sampleMs: number): boolean {
    this.#roundTripMs = movingAverage(this.#roundTripMs, sampleMs, WEIGHT)
    const isNews = Math.abs(this.ms - this.#shownMs) > Math.max(NEWS_MS, NEWS_SHARE * this.#shownMs)
    if (isNews) this.#shownMs = this.ms
    return isNews
  }
}
