/** Courses of a few numbers since the page looks, thinned to what a chart can show. Pure. */

export const SAMPLES_MAX = 900
/** A rate is that of so long: single answers of tokens come in lumps. */
const RATE_WINDOW_MS = 10_000

export interface Sample {
  readonly atMs: number
  /** Tokens since the page looks. */
  readonly generated: number
  readonly running: number
  readonly waiting: number
}

/** Columns of equal length, the oldest first; times in seconds since 1970, as uPlot has them. */
export interface Series {
  readonly seconds: readonly number[]
  readonly tokensPerSecond: readonly number[]
  readonly running: readonly number[]
  readonly waiting: readonly number[]
  /** The last ones, for the rate. */
  readonly window: readonly Sample[]
}

export const emptySeries = (): Series => ({ seconds: [], tokensPerSecond: [], running: [], waiting: [], window: [] })

export function withSample(series: Series, sample: Sample): Series {
  const last = series.window.at(-1)
  // a clock that was put back
  if (last !== undefined && sample.atMs <= last.atMs) return series
  const window = [...series.window.filter(({ atMs }) => sample.atMs - atMs <= RATE_WINDOW_MS), sample]
  const [first] = window
  const seconds = (sample.atMs - first!.atMs) / 1000
  const rate = seconds === 0 ? 0 : (sample.generated - first!.generated) / seconds
  const next = <T>(values: readonly T[], value: T): T[] => [...values.slice(-SAMPLES_MAX + 1), value]
  return {
    seconds: next(series.seconds, sample.atMs / 1000),
    tokensPerSecond: next(series.tokensPerSecond, rate),
    running: next(series.running, sample.running),
    waiting: next(series.waiting, sample.waiting),
    window,
  }
}
