/**
 * Tasks that wait for a slot, in the order of their coming. A newcomer never overtakes a task that waits for the same
 * model. Whenever capacity may have changed the line is walked once, however many changes there were.
 */
import { LIMITS, SkeinError, type ModelDigest } from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'

export interface Waiter<T> {
  readonly digest: ModelDigest
  /**
   * Tries to start. `no slot` holds for all that wait for the same model; `not yet` only for this one (the nodes that are
   * left have failed it lately).
   */
  attempt(): { readonly result: T } | 'no slot' | 'not yet'
  /** Its place among those that wait for the same model, from 1, whenever that changed. */
  moved(position: number): void
}

interface Place<T> {
  readonly waiter: Waiter<T>
  readonly resolve: (result: T) => void
  readonly reject: (reason: unknown) => void
  position: number
}

export class WaitingLine<T> {
  readonly #clock: Clock
  readonly #places = new Set<Place<T>>()
  #walkPending = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get length(): number {
    return this.#places.size
  }

  hasWaiter(digest: ModelDigest): boolean {
    for (const place of this.#places) if (place.waiter.digest === digest) return true
    return false
  }

  /**
   * Waits until `waiter.attempt` gives a result.
   *
   * @throws SkeinError SATURATED when `LIMITS.queuedTasksMax` wait already; the signal's reason.
   */
  wait(waiter: Waiter<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    if (this.#places.size >= LIMITS.queuedTasksMax)
      throw new SkeinError('SATURATED', `${LIMITS.queuedTasksMax} tasks wait for a slot already`, {
        retryAfterSeconds: 10,
      })
    const promise = new Promise<T>((resolve, reject) => {
      const place: Place<T> = { waiter, resolve: leave(resolve), reject: leave(reject), position: 0 }
      const places = this.#places
      const onAbort = (): void => place.reject(signal.reason)
      function leave<V>(settle: (value: V) => void): (value: V) => void {
        return (value) => {
          places.delete(place)
          signal.removeEventListener('abort', onAbort)
          settle(value)
        }
      }
      places.add(place)
      signal.addEventListener('abort', onAbort, { once: true })
    })
    this.wake()
    return promise
  }

  /** Capacity may have changed. Walks the line in the next turn of the event loop. */
  wake(): void {
    if (this.#walkPending || this.#places.size === 0) return
    this.#walkPending = true
    this.#clock.timer(0, () => {
      this.#walkPending = false
      this.#walk()
    })
  }

  #walk(): void {
    const waiting = new Map<ModelDigest, { count: number; full: boolean }>()
    for (const place of [...this.#places]) {
      const same = waiting.get(place.waiter.digest) ?? { count: 0, full: false }
      waiting.set(place.waiter.digest, same)
      const outcome = same.full ? 'no slot' : this.#start(place)
      if (outcome === 'started') continue
      same.full ||= outcome === 'no slot'
      same.count++
      if (place.position === same.count) continue
      place.position = same.count
      place.waiter.moved(same.count)
    }
  }

  #start(place: Place<T>): 'started' | 'no slot' | 'not yet' {
    try {
      const outcome = place.waiter.attempt()
      if (typeof outcome === 'string') return outcome
      place.resolve(outcome.result)
    } catch (error) {
      place.reject(error)
    }
    return 'started'
  }
}
