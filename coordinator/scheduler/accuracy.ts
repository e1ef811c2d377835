/** What was predicted beside what happened: the scheduler is as good as its predictions, so that their error is a metric. */
import type { Prediction } from './types.ts'

export const PREDICTED_PARTS = ['wait', 'firstToken', 'decode', 'total'] as const
export type PredictedPart = (typeof PREDICTED_PARTS)[number]

/** The newest this many of each part are kept. */
const KEPT_MAX = 512
/** Below this many ms an error has no meaning as a share: timers and event loops are not finer. */
const OBSERVED_MS_MIN = 1

/** In ms; `firstTokenMs` from the assignment, `waitMs` before it, of a task that was told to wait. */
export interface ObservedParts {
  readonly waitMs?: number
  readonly firstTokenMs?: number
  readonly decodeMs?: number
}

export interface AccuracyOfPart {
  /** Since the start. */
  readonly count: number
  /** |observed − predicted| / observed of the newest, absent before the first. */
  readonly median?: number
  readonly p90?: number
  /** Mean of (observed − predicted) over the mean observed: above 0 where it took longer than predicted. */
  readonly bias?: number
}
export type AccuracyReport = Readonly<Record<PredictedPart, AccuracyOfPart>>

interface Kept {
  count: number
  readonly pairs: { readonly predictedMs: number; readonly observedMs: number }[]
}

export class PredictionAccuracy {
  readonly #parts = new Map<PredictedPart, Kept>(PREDICTED_PARTS.map((part) => [part, { count: 0, pairs: [] }]))

  /** An attempt. What was not observed is not counted, nor is anything that is no number. */
  record(predicted: Prediction, observed: ObservedParts): void {
    const { waitMs, firstTokenMs, decodeMs } = observed
    const predictedFirstMs = predicted.loadMs + predicted.prefillMs + predicted.linkMs
    this.#add('wait', predicted.waitMs, waitMs)
    this.#add('firstToken', predictedFirstMs, firstTokenMs)
    this.#add('decode', predicted.decodeMs, decodeMs)
    if (firstTokenMs !== undefined && decodeMs !== undefined)
      this.#add('total', predictedFirstMs + predicted.decodeMs, firstTokenMs + decodeMs)
  }

  #add(part: PredictedPart, predictedMs: number, observedMs: number | undefined): void {
    if (observedMs === undefined || !Number.isFinite(predictedMs) || !Number.isFinite(observedMs)) return
    const kept = this.#parts.get(part)!
    kept.pairs[kept.count % KEPT_MAX] = { predictedMs, observedMs }
    kept.count++
  }

  report(): AccuracyReport {
    return Object.fromEntries([...this.#parts].map(([part, kept]) => [part, summary(kept)])) as AccuracyReport
  }
}

function summary({ count, pairs }: Kept): AccuracyOfPart {
  if (pairs.length === 0) return { count }
  const shares = pairs
    .map(({ predictedMs, observedMs }) => Math.abs(observedMs - predictedMs) / Math.max(observedMs, OBSERVED_MS_MIN))
    .sort((a, b) => a - b)
  const at = (share: number): number => shares[Math.ceil(share * shares.length) - 1]!
  const sum = (value: (pair: Kept['pairs'][number]) => number): number => pairs.reduce((s, pair) => s + value(pair), 0)
  const observed = Math.max(
    sum((pair) => pair.observedMs),
    OBSERVED_MS_MIN,
  )
  return { count, median: at(0.5), p90: at(0.9), bias: sum((pair) => pair.observedMs - pair.predictedMs) / observed }
}
