/**
 * Time as a port. Everything of ours that waits, expires or measures takes a `Clock`, so that the simulation and the unit
 * tests move time by hand; lint bans the globals elsewhere. (Fake timers of a test runner do not move
 * `AbortSignal.timeout` nor `node:timers/promises`.)
 */

/** Stops a timer. Calling it again, or after the timer fired, does nothing. */
export type CancelTimer = () => void

export interface Clock {
  /** Wall clock in ms since 1970; may jump. For records that other machines read. */
  wallMs(): number
  /** Monotonic clock in ms from an arbitrary origin. For every interval and deadline. */
  nowMs(): number
  /** Calls `fire` once after `delayMs`. */
  timer(delayMs: number, fire: () => void): CancelTimer
}

/** Above 2^31 - 1 ms (24.8 days) Node's timers fire at once. Whoever waits longer is woken early and looks again. */
const TIMER_MS_MAX = 2_147_483_647

/** The machine's clock. Its timers do not keep the process alive unless `keepAlive`. */
export class SystemClock implements Clock {
  readonly #keepAlive: boolean

  constructor(keepAlive = false) {
    this.#keepAlive = keepAlive
  }

  wallMs(): number {
    return Date.now()
  }

  nowMs(): number {
    return performance.now()
  }

  timer(delayMs: number, fire: () => void): CancelTimer {
    const handle = setTimeout(fire, Math.min(delayMs, TIMER_MS_MAX))
    if (!this.#keepAlive) handle.unref()
    return () => clearTimeout(handle)
  }
}

interface Timer {
  readonly atMs: number
  readonly order: number
  /** Gone once it was cancelled. */
  fire: (() => void) | undefined
}

const isBefore = (a: Timer, b: Timer): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

/** Timers in the order of their times, then of their making: a binary heap, since a simulation has thousands. */
export class TimerQueue {
  readonly #heap: Timer[] = []
  #order = 0
  #size = 0

  /** Timers that were neither taken nor cancelled. */
  get size(): number {
    return this.#size
  }

  /** Time of the next one; infinite when there is none. */
  get nextAtMs(): number {
    return this.#next()?.atMs ?? Number.POSITIVE_INFINITY
  }

  add(atMs: number, fire: () => void): CancelTimer {
    const timer: Timer = { atMs, order: this.#order++, fire }
    this.#heap.push(timer)
    this.#size++
    this.#rise(this.#heap.length - 1)
    return () => {
      if (timer.fire === undefined) return
      timer.fire = undefined
      this.#size--
    }
  }

  /** Takes the next one out; `undefined` when there is none. */
  take(): (() => void) | undefined {
    const timer = this.#next()
    if (timer?.fire === undefined) return undefined
    const { fire } = timer
    timer.fire = undefined
    this.#size--
    this.#removeFirst()
    return fire
  }

  /** The first that was not cancelled. */
  #next(): Timer | undefined {
    while (this.#heap.length > 0 && this.#heap[0]!.fire === undefined) this.#removeFirst()
    return this.#heap[0]
  }

  #removeFirst(): void {
    const last = this.#heap.pop()!
    if (this.#heap.length === 0) return
    this.#heap[0] = last
    this.#sink(0)
  }

  #rise(at: number): void {
    const heap = this.#heap
    const timer = heap[at]!
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(timer, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = timer
  }

  #sink(at: number): void {
    const heap = this.#heap
    const timer = heap[at]!
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, timer)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = timer
  }
}

/** A clock that stands still until `advance`. Timers fire in the order of their times, then of their making. */
export class ManualClock implements Clock {
  #nowMs = 0
  #epochMs: number
  readonly #timers = new TimerQueue()

  constructor(epochMs = 1_800_000_000_000) {
    this.#epochMs = epochMs
  }

  wallMs(): number {
    return this.#epochMs + this.#nowMs
  }

  /** Somebody sets the wall clock. */
  setWall(byMs: number): void {
    this.#epochMs += byMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  timer(delayMs: number, fire: () => void): CancelTimer {
    return this.#timers.add(this.#nowMs + Math.max(0, delayMs), fire)
  }

  /** Timers that have not fired nor been cancelled. */
  get pendingTimers(): number {
    return this.#timers.size
  }

  /** Moves time by `ms`, firing what falls due on the way and letting promises settle after each. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    while (this.#timers.nextAtMs <= endMs) {
      this.#nowMs = this.#timers.nextAtMs
      this.#timers.take()?.()
      await settle()
    }
    this.#nowMs = endMs
    await settle()
  }
}

/** Lets promise chains of some depth run without any real time passing. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

/** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const onAbort = (): void => {
      cancel()
      reject(signal!.reason)
    }
    const cancel = clock.timer(ms, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** A signal that aborts with `reason()` after `ms`, unless `cancel` comes first. */
export function deadline(clock: Clock, ms: number, reason: () => Error): { signal: AbortSignal; cancel: CancelTimer } {
  const controller = new AbortController()
  const cancel = clock.timer(ms, () => controller.abort(reason()))
  return { signal: controller.signal, cancel }
}

/** Runs `work` under a signal that aborts with `reason()` after `ms` or when `outer` aborts; clears the timer after. */
export async function withDeadline<T>(
  clock: Clock,
  ms: number,
  reason: () => Error,
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = deadline(clock, ms, reason)
  try {
    return await work(outer ? AbortSignal.any([outer, limit.signal]) : limit.signal)
  } finally {
    limit.cancel()
  }
}
