/**
 * Delivered speed as a share of the measured one that a node claims, for each level of load. The claim was measured on a
 * quiet machine, by the machine itself: what counts is what was delivered.
 */
import type { ModelSpeed } from '../../mesh/protocol/index.ts'
import { decodeRate } from '../scheduler/index.ts'

/** What one attempt showed. A part of which too little was seen is left out. */
export interface RateSample {
  /** Tokens prefilled from its start to its first token: its own, less the cached ones, and those ahead of it. */
  readonly prefillTokens: number
  readonly prefillMs: number
  /** Tokens of its answer behind the first, and the time that they took. */
  readonly decodeTokens: number
  readonly decodeMs: number
  /** Attempts that ran there together, on average. */
  readonly sequences: number
}

/** One level for each power of two of parallel sequences: 1, 2, 3–5, 6–11 … 256. */
const LEVELS = 9
const CORRECTION_MIN = 0.05
const CORRECTION_MAX = 4
/** Weight of the newest sample, once there are a few: a node that slows down is found out within some answers. */
const WEIGHT_MIN = 1 / 4
/** A single sample counts as no more than this many times the known value, or as no less than its inverse. */
const STEP_MAX = 4
/** Of less, the overhead of a step and the grain of frames are the greater part. */
const PREFILL_TOKENS_MIN = 64
const DECODE_TOKENS_MIN = 8

class Correction {
  value = 1
  samples = 0

  learn(ratio: number): void {
    const weight = Math.max(WEIGHT_MIN, 1 / (this.samples + 1))
    const step = clamp(ratio / this.value, 1 / STEP_MAX, STEP_MAX)
    this.value = clamp(this.value * step ** weight, CORRECTION_MIN, CORRECTION_MAX)
    this.samples++
  }
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high)

const levelOf = (sequences: number): number => clamp(Math.round(Math.log2(Math.max(sequences, 1))), 0, LEVELS - 1)

/** Corrections by level of load; of most models on most nodes there is none. */
class Levels {
  readonly #known = new Map<number, Correction>()

  learn(sequences: number, ratio: number): void {
    if (!Number.isFinite(ratio) || ratio <= 0) return
    const level = levelOf(sequences)
    const correction = this.#known.get(level) ?? new Correction()
    this.#known.set(level, correction)
    correction.learn(ratio)
  }

  /** Of the level, or of the nearest one that something was learned for; the busier one of two. */
  at(sequences: number): number {
    if (this.#known.size === 0) return 1
    const level = levelOf(sequences)
    let nearest = Number.POSITIVE_INFINITY
    let value = 1
    for (const [known, correction] of this.#known) {
      const distance = Math.abs(known - level) + (known < level ? 0.5 : 0)
      if (distance >= nearest) continue
      nearest = distance
      value = correction.value
    }
    return value
  }

  /** @param factorOf by which the correction of so many sequences changes. */
  scale(factorOf: (sequences: number) => number): void {
    for (const [level, correction] of this.#known) {
      const factor = factorOf(2 ** level)
      if (Number.isFinite(factor)) correction.value = clamp(correction.value * factor, CORRECTION_MIN, CORRECTION_MAX)
    }
  }

  clear(): void {
    this.#known.clear()
  }
}

export class LearnedRates {
  readonly #prefill = new Levels()
  readonly #decode = new Levels()

  learn(claimed: ModelSpeed, { prefillTokens, prefillMs, decodeTokens, decodeMs, sequences }: RateSample): void {
    if (prefillTokens >= PREFILL_TOKENS_MIN && prefillMs > 0)
      this.#prefill.learn(sequences, (prefillTokens * 1000) / prefillMs / claimed.prefillTokensPerSecond)
    if (decodeTokens >= DECODE_TOKENS_MIN && decodeMs > 0)
      this.#decode.learn(sequences, (decodeTokens * 1000) / decodeMs / decodeRate(claimed, Math.max(sequences, 1)))
  }

  prefillCorrection(sequences: number): number {
    return this.#prefill.at(sequences)
  }

  decodeCorrection(sequences: number): number {
    return this.#decode.at(sequences)
  }

  /** What was learned against another claim tells nothing of the present one. */
  forget(): void {
    this.#prefill.clear()
    this.#decode.clear()
  }

  /** The node claims another speed from now on; what it delivered stays what it was. */
  rebase(from: ModelSpeed, to: ModelSpeed): void {
    this.#prefill.scale(() => from.prefillTokensPerSecond / to.prefillTokensPerSecond)
    this.#decode.scale((sequences) => decodeRate(from, sequences) / decodeRate(to, sequences))
  }
}
