/**
 * How long a node may be without a token: a bound from its own rhythm, so that a fast node that freezes is noticed fast
 * and a slow one is not taken for dead. What a neighbour's prefill explains is added: a native step cannot be interrupted.
 */
import { LIMITS, type ModelCapability } from '../../mesh/protocol/index.ts'
import { movingAverage } from '../../mesh/runtime/index.ts'

/** Below this, scheduling noise of a busy home machine would look like a death. */
const STALL_MS_MIN = 1000
/** Usual gaps that must fit into the bound. */
const GAPS = 8
/** Weight of the newest gap (RFC 6298 uses 1/8 for round trips). */
const WEIGHT = 1 / 8
/** A slower node than this has its own bound: so many of its gaps. */
const SLOW_GAPS = 4

export class Rhythm {
  readonly #chunkMs: number
  #gapMs: number | undefined
  #lastMs: number | undefined

  constructor(capability: Pick<ModelCapability, 'speed' | 'numerics'>) {
    const rate = capability.speed?.prefillTokensPerSecond ?? 0
    this.#chunkMs = rate > 0 ? Math.min((1000 * capability.numerics.batchTokens) / rate, LIMITS.progressMs) : 0
  }

  /** Tokens came at `nowMs`. Returns the ms within which the next must. */
  beat(nowMs: number): number {
    if (this.#lastMs !== undefined) this.#gapMs = movingAverage(this.#gapMs, nowMs - this.#lastMs, WEIGHT)
    this.#lastMs = nowMs
    return this.boundMs
  }

  get boundMs(): number {
    const gapMs = this.#gapMs ?? LIMITS.tokenStallMs / GAPS
    const adapted = Math.min(Math.max(GAPS * gapMs, STALL_MS_MIN), LIMITS.tokenStallMs)
    return Math.max(adapted, SLOW_GAPS * gapMs) + this.#chunkMs
  }
}
