/**
 * Whether a model is still as fast as it was measured: delivered prefill and decode held against the measurement, answer by
 * answer. Pure: what was before comes in. Which answers may be held against it (alone on a machine that does nothing else)
 * is the caller's to know.
 */
import type { ModelSpeed } from '../../mesh/protocol/index.ts'

/** What one answer showed. Tokens that the engine computed, and the time that it took for them. */
export interface DeliveredSpeed {
  readonly prefillTokens: number
  readonly prefillMs: number
  readonly decodeTokens: number
  readonly decodeMs: number
  /** Of prompt and answer. */
  readonly contextTokens: number
}

/** Answers in a row beyond the band: above 0 faster than measured, below 0 slower. */
export interface Drift {
  readonly prefill: number
  readonly decode: number
}

export const NO_DRIFT: Drift = { prefill: 0, decode: 0 }

/** Delivered speed as a share of the measured one that is no drift: clocks of processors move by as much. */
export const DRIFT_SHARE_MIN = 0.7
export const DRIFT_SHARE_MAX = 1.4
/** Answers in a row that must say the same. */
export const DRIFT_ANSWERS = 5
/** Of less, the overhead of a step and the grain of a millisecond are the greater part. */
const PREFILL_TOKENS_MIN = 64
const DECODE_TOKENS_MIN = 16
const MS_MIN = 20
/** A long context decodes slower, and is no drift. */
const CONTEXT_TOKENS_MAX = 4096

/** Between two measurements of a model; twice as long after each that found nothing new, up to the bound. */
export const MEASURED_AGAIN_MS = 3_600_000
export const MEASURED_AGAIN_MS_MAX = 24 * MEASURED_AGAIN_MS

export function afterAnswer(before: Drift, measured: ModelSpeed, shown: DeliveredSpeed): Drift {
  if (!(shown.contextTokens <= CONTEXT_TOKENS_MAX)) return before
  const { prefillTokens, prefillMs, decodeTokens, decodeMs } = shown
  const single = measured.decode.find(({ sequences }) => sequences === 1)
  return {
    prefill:
      prefillTokens >= PREFILL_TOKENS_MIN && prefillMs >= MS_MIN
        ? step(before.prefill, (prefillTokens * 1000) / prefillMs / measured.prefillTokensPerSecond)
        : before.prefill,
    decode:
      single !== undefined && decodeTokens >= DECODE_TOKENS_MIN && decodeMs >= MS_MIN
        ? step(before.decode, (decodeTokens * 1000) / decodeMs / single.tokensPerSecond)
        : before.decode,
  }
}

/** One answer that was as measured, or off to the other side, begins anew. */
function step(inRow: number, share: number): number {
  if (share > DRIFT_SHARE_MAX) return Math.max(inRow, 0) + 1
  return share < DRIFT_SHARE_MIN ? Math.min(inRow, 0) - 1 : 0
}

export const hasDrifted = ({ prefill, decode }: Drift): boolean =>
  Math.abs(prefill) >= DRIFT_ANSWERS || Math.abs(decode) >= DRIFT_ANSWERS

/**
 * How long the next measurement waits at least: one that found what was known already (a machine that is slow at long
 * prompts, not slower than before) is not made again soon.
 */
export function nextIntervalMs(intervalMs: number, before: ModelSpeed, now: ModelSpeed): number {
  const isSame = (a: number | undefined, b: number | undefined): boolean =>
    a !== undefined && b !== undefined && b >= a * DRIFT_SHARE_MIN && b <= a * DRIFT_SHARE_MAX
  const foundNothing =
    isSame(before.prefillTokensPerSecond, now.prefillTokensPerSecond) &&
    isSame(before.decode[0]?.tokensPerSecond, now.decode[0]?.tokensPerSecond)
  return foundNothing ? Math.min(2 * intervalMs, MEASURED_AGAIN_MS_MAX) : MEASURED_AGAIN_MS
}

/**
 * Begins to watch what programs other than ours take of all processors together; the function that it gives ends that and
 * tells the share, 0 to 1, or `undefined` where the system does not tell.
 */
export type WatchOthers = () => Promise<() => Promise<number | undefined>>
