/**
 * Work of a simulated mesh, as far as a fleet sees it: jobs that wait in a line for a slot, of the house or of a worker.
 * One that loses its slot goes to the front of the line with what is left of it, as an answer that moves does.
 */
import type { World } from '../world.ts'

export interface LoadInit {
  /** Of the owner's own nodes. */
  readonly houseSlots: number
  /** A job takes so many times as long there as on a worker. */
  readonly houseSlowness: number
  readonly workerSlots: number
  /** A job that has waited so long without having begun is given up; one that lost its slot, after twice as long. */
  readonly patienceMs: number
}

interface Job {
  readonly arrivedMs: number
  /** Left of it, in ms of a worker. */
  leftMs: number
  hasBegun: boolean
}

interface Slots {
  readonly count: number
  readonly slowness: number
  readonly running: Map<Job, { readonly sinceMs: number; readonly cancel: () => void }>
}

export class Load {
  /** How long each job waited that has begun, in ms. */
  readonly waitedMs: number[] = []
  lost = 0
  done = 0
  readonly #world: World
  readonly #init: LoadInit
  readonly #house: Slots
  readonly #workers = new Map<string, Slots>()
  #line: Job[] = []
  /** Nobody gives slots while the coordinator is away. */
  #isOpen = false

  constructor(world: World, init: LoadInit) {
    this.#world = world
    this.#init = init
    this.#house = { count: init.houseSlots, slowness: init.houseSlowness, running: new Map() }
  }

  get waiting(): number {
    return this.#line.length
  }

  get oldestMs(): number {
    let oldest = this.#world.nowMs
    for (const { arrivedMs } of this.#line) if (arrivedMs < oldest) oldest = arrivedMs
    return this.#world.nowMs - oldest
  }

  /** Jobs that run on a worker. */
  running(worker: string): number {
    return this.#workers.get(worker)?.running.size ?? 0
  }

  arrive(leftMs: number): void {
    const job = { arrivedMs: this.#world.nowMs, leftMs, hasBegun: false }
    this.#line.push(job)
    const giveUp = (): void => {
      const at = this.#line.indexOf(job)
      if (at < 0) return
      this.#line.splice(at, 1)
      this.lost++
    }
    this.#world.after(this.#init.patienceMs, () => !job.hasBegun && giveUp())
    this.#world.after(2 * this.#init.patienceMs, giveUp)
    this.#give()
  }

  open(isOpen: boolean): void {
    this.#isOpen = isOpen
    this.#give()
  }

  join(worker: string): void {
    if (!this.#workers.has(worker))
      this.#workers.set(worker, { count: this.#init.workerSlots, slowness: 1, running: new Map() })
    this.#give()
  }

  /** It takes no more, and what runs there moves. */
  leave(worker: string): void {
    const slots = this.#workers.get(worker)
    if (slots === undefined) return
    this.#workers.delete(worker)
    for (const [job, { sinceMs, cancel }] of slots.running) {
      cancel()
      job.leftMs = Math.max(1, job.leftMs - (this.#world.nowMs - sinceMs) / slots.slowness)
      // its deadline has passed while it ran
      if (this.#world.nowMs - job.arrivedMs >= 2 * this.#init.patienceMs) this.lost++
      else this.#line.unshift(job)
    }
    this.#give()
  }

  #give(): void {
    if (!this.#isOpen) return
    for (const slots of [this.#house, ...this.#workers.values()])
      while (slots.running.size < slots.count && this.#line.length > 0) this.#begin(this.#line.shift()!, slots)
  }

  #begin(job: Job, slots: Slots): void {
    if (!job.hasBegun) this.waitedMs.push(this.#world.nowMs - job.arrivedMs)
    job.hasBegun = true
    const cancel = this.#world.after(job.leftMs * slots.slowness, () => {
      slots.running.delete(job)
      this.done++
      this.#give()
    })
    slots.running.set(job, { sinceMs: this.#world.nowMs, cancel })
  }
}
