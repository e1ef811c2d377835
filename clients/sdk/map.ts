/**
 * Many requests at once, as many as the mesh carries: the number grows by one for each round of answers and is halved when
 * a coordinator says that it is saturated (additive increase, multiplicative decrease: Chiu and Jain 1989). Results are in
 * the order of the inputs, whatever ends first, and one that fails takes none of the others with it.
 */
import type { SdkClock } from './clock.ts'
import { SkeinApiError } from './errors.ts'

export interface MapProgress {
  readonly done: number
  readonly failed: number
  readonly running: number
  readonly total: number
  /** How many may run at once now. */
  readonly concurrency: number
}

export interface MapOptions {
  /** At the start; 4 when absent. */
  readonly concurrency?: number
  /** At most; 64 when absent. */
  readonly concurrencyMax?: number
  readonly onProgress?: (progress: MapProgress) => void
  readonly signal?: AbortSignal
}

export type MapResult<R> =
  { readonly status: 'done'; readonly value: R } | { readonly status: 'failed'; readonly error: Error }

const SATURATED = new Set([429, 503])
/** An input that was turned away so often fails. */
const TURNED_AWAY_MAX = 20
const REST_MS = 250
const REST_MS_MAX = 10_000

/**
 * Does `work` for each of `inputs`. Resolves with a result for each, in their order.
 *
 * @param work rejects with a SkeinApiError of status 429 or 503 where it may be tried again later.
 * @throws the reason of `signal`; RangeError for a concurrency below 1.
 */
export function map<T, R>(
  clock: SdkClock,
  inputs: readonly T[],
  work: (input: T, index: number, signal: AbortSignal) => Promise<R>,
  options: MapOptions = {},
): Promise<MapResult<R>[]> {
  const { concurrency = 4, concurrencyMax = 64 } = options
  if (!(concurrency >= 1 && concurrencyMax >= 1)) throw new RangeError('concurrency: at least 1')
  return new Mapping(clock, inputs, work, options, Math.min(concurrency, concurrencyMax), concurrencyMax).run()
}

class Mapping<T, R> {
  readonly #clock: SdkClock
  readonly #inputs: readonly T[]
  readonly #work: (input: T, index: number, signal: AbortSignal) => Promise<R>
  readonly #options: MapOptions
  readonly #limitMax: number
  readonly #results: MapResult<R>[] = []
  readonly #turnedAway = new Map<number, number>()
  readonly #again: number[] = []
  readonly #ending = new AbortController()
  readonly #over = Promise.withResolvers<MapResult<R>[]>()
  #limit: number
  #next = 0
  #running = 0
  #done = 0
  #failed = 0
  #answeredSince = 0
  #restUntilMs = 0
  #isResting = false

  constructor(
    clock: SdkClock,
    inputs: readonly T[],
    work: (input: T, index: number, signal: AbortSignal) => Promise<R>,
    options: MapOptions,
    limit: number,
    limitMax: number,
  ) {
    this.#clock = clock
    this.#inputs = inputs
    this.#work = work
    this.#options = options
    this.#limit = limit
    this.#limitMax = limitMax
  }

  async run(): Promise<MapResult<R>[]> {
    const { signal } = this.#options
    signal?.throwIfAborted()
    const abort = (): void => {
      this.#ending.abort(signal?.reason)
      this.#over.reject(signal?.reason as Error)
    }
    signal?.addEventListener('abort', abort, { once: true })
    try {
      this.#fill()
      return await this.#over.promise
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  #fill(): void {
    if (this.#done + this.#failed === this.#inputs.length) return this.#over.resolve(this.#results)
    const restMs = this.#restUntilMs - this.#clock.nowMs()
    if (restMs > 0) return this.#rest(restMs)
    while (this.#running < this.#limit && !this.#ending.signal.aborted) {
      const index = this.#again.shift() ?? (this.#next < this.#inputs.length ? this.#next++ : undefined)
      if (index === undefined) return
      void this.#one(index)
    }
  }

  #rest(ms: number): void {
    if (this.#isResting) return
    this.#isResting = true
    const go = (): void => {
      this.#isResting = false
      if (!this.#ending.signal.aborted) this.#fill()
    }
    this.#clock.sleep(ms, this.#ending.signal).then(go, go)
  }

  async #one(index: number): Promise<void> {
    this.#running++
    try {
      const value = await this.#work(this.#inputs[index]!, index, this.#ending.signal)
      this.#results[index] = { status: 'done', value }
      this.#done++
      if (++this.#answeredSince >= this.#limit) {
        this.#answeredSince = 0
        this.#limit = Math.min(this.#limitMax, this.#limit + 1)
      }
    } catch (thrown) {
      if (!this.#comesAgain(index, thrown)) {
        this.#results[index] = {
          status: 'failed',
          error: thrown instanceof Error ? thrown : new TypeError(String(thrown)),
        }
        this.#failed++
      }
    } finally {
      this.#running--
    }
    if (this.#ending.signal.aborted) return
    this.#tell()
    this.#fill()
  }

  /** A coordinator that is saturated gets less at once, and a rest. */
  #comesAgain(index: number, thrown: unknown): boolean {
    if (!(thrown instanceof SkeinApiError) || !SATURATED.has(thrown.status ?? 0)) return false
    const times = (this.#turnedAway.get(index) ?? 0) + 1
    if (times > TURNED_AWAY_MAX) return false
    this.#turnedAway.set(index, times)
    this.#again.push(index)
    const nowMs = this.#clock.nowMs()
    // those that were turned away together say one thing, once
    if (nowMs >= this.#restUntilMs) {
      this.#limit = Math.max(1, Math.floor(this.#limit / 2))
      this.#answeredSince = 0
      const backoffMs = Math.min(REST_MS_MAX, REST_MS * 2 ** (times - 1)) * (0.5 + this.#clock.random() / 2)
      this.#restUntilMs = nowMs + Math.max(backoffMs, thrown.retryAfterMs ?? 0)
    }
    return true
  }

  #tell(): void {
    this.#options.onProgress?.({
      done: this.#done,
      failed: this.#failed,
      running: this.#running,
      total: this.#inputs.length,
      concurrency: this.#limit,
    })
  }
}
