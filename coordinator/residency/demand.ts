/**
 * How much is asked of each model: requests and the work that they bring, each as a rate that forgets. What nodes deliver
 * is learned elsewhere (`directory/rates.ts`); here it is only added up, so that both stand in the same units.
 */
import { LIMITS, type ModelDigest } from '../../mesh/protocol/index.ts'
import { decodeRate, UNMEASURED, type ModelSnapshot } from '../scheduler/index.ts'

/** What was asked for counts half after this long: some answers, so that a burst is seen and soon forgotten. */
const HALF_LIFE_MS = 60_000

/** Tokens that a request is expected to take. */
export interface ExpectedWork {
  readonly prefillTokens: number
  readonly decodeTokens: number
}

/** Per second, in all. */
export interface DemandRates {
  readonly requests: number
  readonly prefillTokens: number
  readonly decodeTokens: number
}

interface Sums {
  requests: number
  prefillTokens: number
  decodeTokens: number
  atMs: number
}

export class Demand {
  /** The model asked for longest ago first. */
  readonly #sums = new Map<ModelDigest, Sums>()

  /** Models that were asked for lately. */
  models(): Iterable<ModelDigest> {
    return this.#sums.keys()
  }

  arrived(digest: ModelDigest, { prefillTokens, decodeTokens }: ExpectedWork, nowMs: number): void {
    const sums = this.#at(digest, nowMs)
    sums.requests++
    sums.prefillTokens += prefillTokens
    sums.decodeTokens += decodeTokens
    this.#sums.delete(digest)
    this.#sums.set(digest, sums)
    if (this.#sums.size > LIMITS.demandModelsMax) this.#sums.delete(this.#sums.keys().next().value!)
  }

  rates(digest: ModelDigest, nowMs: number): DemandRates {
    const { requests, prefillTokens, decodeTokens } = this.#at(digest, nowMs)
    // what a steady rate of one a second adds up to
    const seconds = HALF_LIFE_MS / 1000 / Math.LN2
    return {
      requests: requests / seconds,
      prefillTokens: prefillTokens / seconds,
      decodeTokens: decodeTokens / seconds,
    }
  }

  #at(digest: ModelDigest, nowMs: number): Sums {
    const sums = this.#sums.get(digest)
    if (sums === undefined) return { requests: 0, prefillTokens: 0, decodeTokens: 0, atMs: nowMs }
    const kept = 0.5 ** (Math.max(0, nowMs - sums.atMs) / HALF_LIFE_MS)
    sums.requests *= kept
    sums.prefillTokens *= kept
    sums.decodeTokens *= kept
    sums.atMs = nowMs
    return sums
  }
}

/** Tokens per second that the holders of a model deliver together, all slots in use: as measured, corrected by delivery. */
export function deliveredBy(holders: readonly ModelSnapshot[]): Pick<DemandRates, 'prefillTokens' | 'decodeTokens'> {
  let prefillTokens = 0
  let decodeTokens = 0
  for (const { capability, prefillCorrection, decodeCorrection } of holders) {
    const { slots, speed = UNMEASURED } = capability
    prefillTokens += speed.prefillTokensPerSecond * prefillCorrection
    decodeTokens += decodeRate(speed, slots) * slots * decodeCorrection
  }
  return { prefillTokens, decodeTokens }
}

/** Share of the holders' time that `work` (per second) takes; above 1 it grows faster than it is done. */
export function loadShare(
  work: Pick<DemandRates, 'prefillTokens' | 'decodeTokens'>,
  delivered: ReturnType<typeof deliveredBy>,
): number {
  const share = (asked: number, given: number): number => (asked === 0 ? 0 : asked / Math.max(given, 1e-9))
  return share(work.prefillTokens, delivered.prefillTokens) + share(work.decodeTokens, delivered.decodeTokens)
}
