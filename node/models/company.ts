/** Who uses this machine's models at one time: what an answer shows of a model's speed counts only when it was alone. */

/** One holder of a slot. */
export interface Presence {
  /** No other slot was held since it was taken, and nothing was measured. */
  readonly wasAlone: boolean
  /** May be called more than once. */
  leave(): void
}

export class Company {
  #running = 0
  #came = 0
  #measuring = 0
  readonly #watchers = new Set<() => void>()

  /** Slots that are held, of all models. */
  get running(): number {
    return this.#running
  }

  get isMeasuring(): boolean {
    return this.#measuring > 0
  }

  /** A slot is taken. */
  enter(): Presence {
    const number = ++this.#came
    const wasFree = this.#running === 0 && !this.isMeasuring
    const isLast = (): boolean => this.#came === number
    this.#running++
    let isHere = true
    for (const watcher of this.#watchers) watcher()
    return {
      get wasAlone() {
        return wasFree && isLast()
      },
      leave: () => {
        if (isHere) this.#running--
        isHere = false
      },
    }
  }

  /** A measurement begins; the function that it gives ends it. @param onCompany somebody takes a slot meanwhile. */
  measure(onCompany: () => void): () => void {
    this.#measuring++
    // what runs now is no longer alone
    this.#came++
    this.#watchers.add(onCompany)
    let isOver = false
    return () => {
      if (!isOver) this.#measuring--
      isOver = true
      this.#watchers.delete(onCompany)
    }
  }
}
