/** When to ask a source again: sooner at first, later each time, and never all at once. */
import { LIMITS, type SkeinError } from '../../../mesh/protocol/index.ts'
import { sleep, type Clock, type Random } from '../../../mesh/runtime/index.ts'

const FIRST_MS = 500
const LATER_MS = 30_000

/**
 * The wait before asking for the `failures`-th time again; `undefined` when the source wants more patience than a pull has.
 */
export function retryDelayMs(error: SkeinError, failures: number, random: Random): number | undefined {
  const told = (error.retryAfterSeconds ?? 0) * 1000
  if (told > LIMITS.pullRetryMs) return undefined
  const own = Math.min(LATER_MS, FIRST_MS * 2 ** (failures - 1)) * (0.5 + random.next() / 2)
  // those that were all told the same second should not all come in it
  return Math.max(own, told + own / 4)
}

export interface Retry {
  readonly error: SkeinError
  readonly delayMs: number
}

/**
 * Runs `work` until it succeeds, at most `failuresMax` times, while its failure is one that may pass.
 *
 * @throws what the last run threw; the signal's reason.
 */
export async function withRetries<T>(
  components: { readonly clock: Clock; readonly random: Random },
  failuresMax: number,
  onRetry: (retry: Retry) => void,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  for (let failures = 1; ; failures++)
    try {
      return await work()
    } catch (thrown) {
      signal.throwIfAborted()
      const delayMs = mayPass(thrown) ? retryDelayMs(thrown, failures, components.random) : undefined
      if (delayMs === undefined || failures >= failuresMax) throw thrown
      onRetry({ error: thrown as SkeinError, delayMs })
      await sleep(components.clock, delayMs, signal)
    }
}

export const mayPass = (thrown: unknown): thrown is SkeinError =>
  (thrown as Partial<SkeinError> | undefined)?.code === 'MODEL_PULL_FAILED'
