/** How often something was refused, by its reason. Reasons are constants of the code, hence few. */
import type { Tally } from './ports/index.ts'

export class Counts implements Tally {
  readonly #counts = new Map<string, number>()
  #hasChanged = false

  count(reason: string, by = 1): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + by)
    this.#hasChanged = true
  }

  all(): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }

  /** All of them, when one has grown since the last call; else none. */
  changed(): Record<string, number> {
    if (!this.#hasChanged) return {}
    this.#hasChanged = false
    return this.all()
  }
}
