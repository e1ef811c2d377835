/** Who is next: devices take turns, whatever each has waiting. */

export interface InLine {
  readonly device: string
}

export class FairLine<T extends InLine> {
  /** In the order of their turns. */
  readonly #waiting = new Map<string, T[]>()
  #size = 0

  get size(): number {
    return this.#size
  }

  add(item: T): void {
    const own = this.#waiting.get(item.device)
    if (own === undefined) this.#waiting.set(item.device, [item])
    else own.push(item)
    this.#size++
  }

  /** Of the device whose turn it is, its oldest. */
  take(): T | undefined {
    for (const [device, own] of this.#waiting) {
      const item = own.shift()!
      this.#waiting.delete(device)
      // behind all others
      if (own.length > 0) this.#waiting.set(device, own)
      this.#size--
      return item
    }
    return undefined
  }

  remove(item: T): boolean {
    const own = this.#waiting.get(item.device) ?? []
    const at = own.indexOf(item)
    if (at === -1) return false
    own.splice(at, 1)
    if (own.length === 0) this.#waiting.delete(item.device)
    this.#size--
    return true
  }

  /** How many go before `item` if no more come; `undefined` of one that is not in line. */
  place(item: T): number | undefined {
    const round = this.#waiting.get(item.device)?.indexOf(item) ?? -1
    if (round === -1) return undefined
    let before = 0
    let isAhead = true
    for (const [device, own] of this.#waiting) {
      if (device === item.device) isAhead = false
      const theirs = isAhead ? round + 1 : round
      before += Math.min(own.length, theirs)
    }
    return before
  }
}
