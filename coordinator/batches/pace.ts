/**
 * How many lines are asked at once, over all batches: as many as there is room for on the nodes, looked at again and again,
 * and never more than a bound. Lines wait in the order of their coming, each for its model.
 */
import { LIMITS } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'

/** Room on the nodes is looked for this often while lines wait. */
const LOOK_MS = 250

interface Waiting {
  readonly model: string
  enter(): void
}

export class Pace {
  readonly #clock: Clock
  readonly #room: (model: string, asked: number) => number
  readonly #asked = new Map<string, number>()
  #total = 0
  #waiting: Waiting[] = []
  #cancelLook: CancelTimer | undefined

  /** @param room how many lines with a model may be asked at once, of which so many are. */
  constructor(clock: Clock, room: (model: string, asked: number) => number) {
    this.#clock = clock
    this.#room = room
  }

  /** Lines that are asked now. */
  get asked(): number {
    return this.#total
  }

  /** Waits for a place. Returns how to give it back. Rejects with the signal's reason. */
  enter(model: string, signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const onAbort = (): void => {
        this.#waiting = this.#waiting.filter((each) => each !== waiting)
        reject(signal.reason)
      }
      const waiting: Waiting = {
        model,
        enter: () => {
          signal.removeEventListener('abort', onAbort)
          resolve(this.#take(model))
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(waiting)
      this.#look()
    })
  }

  #take(model: string): () => void {
    this.#total++
    this.#asked.set(model, (this.#asked.get(model) ?? 0) + 1)
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      this.#total--
      const left = this.#asked.get(model)! - 1
      if (left > 0) this.#asked.set(model, left)
      else this.#asked.delete(model)
      this.#look()
    }
  }

  #look(): void {
    const full = new Set<string>()
    for (const waiting of [...this.#waiting]) {
      if (this.#total >= LIMITS.batchLinesAskedMax) break
      const { model } = waiting
      const asked = this.#asked.get(model) ?? 0
      if (full.has(model) || (asked > 0 && asked >= this.#room(model, asked))) {
        full.add(model)
        continue
      }
      this.#waiting = this.#waiting.filter((each) => each !== waiting)
      waiting.enter()
    }
    this.#cancelLook?.()
    this.#cancelLook = undefined
    if (this.#waiting.length === 0) return
    this.#cancelLook = this.#clock.timer(LOOK_MS, () => this.#look())
  }
}
