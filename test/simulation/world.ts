/**
 * Time of the simulation: one queue of events for all processes. Each event runs to the end of everything that it set off
 * (all promises) before the next; nothing waits for real time, so that a history is a function of its seed.
 */
import { SkeinError } from '../../mesh/protocol/index.ts'
import { SeededRandom, TimerQueue, type CancelTimer, type Clock } from '../../mesh/runtime/index.ts'

/** Wall clock at the beginning of every history. */
export const EPOCH_MS = 1_800_000_000_000
/** More events in one millisecond mean that something goes round in a circle. */
const STEPS_PER_MS_MAX = 20_000

export class World {
  readonly #events = new TimerQueue()
  #nowMs = 0
  #steps = 0
  #stepsSinceMoved = 0

  get nowMs(): number {
    return this.#nowMs
  }

  get steps(): number {
    return this.#steps
  }

  after(delayMs: number, fire: () => void): CancelTimer {
    return this.#events.add(this.#nowMs + Math.max(0, delayMs), fire)
  }

  /**
   * Runs until `isOver`, asked after each step, or until `untilMs`.
   *
   * @throws SkeinError INTERNAL when time stands still for ever; what `isOver` throws.
   */
  run(untilMs: number, isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const step = (): void => {
        try {
          if (isOver()) return resolve()
          if (this.#events.nextAtMs > untilMs) {
            this.#nowMs = untilMs
            return resolve()
          }
          this.#next()
        } catch (thrown) {
          return reject(thrown)
        }
        // the next turn of the event loop comes when no promise has anything left to do
        setImmediate(step)
      }
      setImmediate(step)
    })
  }

  #next(): void {
    const atMs = this.#events.nextAtMs
    this.#stepsSinceMoved = atMs > this.#nowMs ? 0 : this.#stepsSinceMoved + 1
    if (this.#stepsSinceMoved > STEPS_PER_MS_MAX)
      throw new SkeinError('INTERNAL', `livelock: ${STEPS_PER_MS_MAX} events at ${this.#nowMs} ms`)
    this.#nowMs = atMs
    this.#steps++
    this.#events.take()?.()
  }
}

interface Due {
  readonly fire: () => void
  readonly isIo: boolean
  isCancelled: boolean
}

/** The clock of one life of a process: it stops with the process, for a while or for ever. */
export class ProcessClock implements Clock {
  /** For what comes from the network: after a freeze it is seen only when the timers that are due have fired. */
  readonly io: Clock
  /** Added to the wall clock, in ms. */
  wallOffsetMs = 0
  readonly #world: World
  #state: 'runs' | 'frozen' | 'dead' = 'runs'
  #missed: Due[] = []
  #pending = 0

  constructor(world: World) {
    this.#world = world
    this.io = {
      wallMs: () => this.wallMs(),
      nowMs: () => this.nowMs(),
      timer: (delayMs, fire) => this.#timer(delayMs, fire, true),
    }
  }

  get isDead(): boolean {
    return this.#state === 'dead'
  }

  get isFrozen(): boolean {
    return this.#state === 'frozen'
  }

  /** Timers of the process itself that wait. */
  get pendingTimers(): number {
    return this.#pending
  }

  wallMs(): number {
    return EPOCH_MS + this.#world.nowMs + this.wallOffsetMs
  }

  nowMs(): number {
    return this.#world.nowMs
  }

  timer(delayMs: number, fire: () => void): CancelTimer {
    return this.#timer(delayMs, fire, false)
  }

  freeze(): void {
    if (this.#state === 'runs') this.#state = 'frozen'
  }

  /** All that fell due meanwhile comes at once, timers first. */
  thaw(): void {
    if (this.#state !== 'frozen') return
    this.#state = 'runs'
    const missed = this.#missed.splice(0)
    for (const isIo of [false, true])
      for (const due of missed) if (due.isIo === isIo) this.#world.after(0, () => this.#due(due))
  }

  /** Nothing of this process ever runs again. */
  kill(): void {
    this.#state = 'dead'
    this.#missed = []
  }

  #timer(delayMs: number, fire: () => void, isIo: boolean): CancelTimer {
    if (this.#state === 'dead') return () => {}
    const due: Due = { fire, isIo, isCancelled: false }
    if (!isIo) this.#pending++
    const cancel = this.#world.after(delayMs, () => this.#due(due))
    return () => {
      if (!due.isCancelled && !isIo) this.#pending--
      due.isCancelled = true
      cancel()
    }
  }

  #due(due: Due): void {
    if (due.isCancelled || this.#state === 'dead') return
    if (this.#state === 'frozen') return void this.#missed.push(due)
    if (!due.isIo) this.#pending--
    due.isCancelled = true
    due.fire()
  }
}

/** Choices of one part of a history: what another part draws does not change them. */
export class Choices extends SeededRandom {
  constructor(seed: number, part: string) {
    let hash = 0x811c9dc5
    for (const character of `${seed} ${part}`) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193)
    super(hash)
  }

  /** A whole number from `min` to `max`. */
  whole(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  /** One of `of`, which is not empty. */
  pick<T>(of: readonly T[]): T {
    return of[Math.floor(this.next() * of.length)]!
  }
}
