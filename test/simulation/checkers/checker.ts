/** What every checker is: pure code over what was observed. It says what is wrong by `fail`, which ends the history. */
import type { FinalState, Observation } from '../record.ts'

export interface Checker {
  /** After every step: what must hold whatever happens. */
  readonly on?: (observation: Observation) => void
  /** When everything has healed and ended. */
  readonly atEnd?: (final: FinalState) => void
}

export type Fail = (message: string) => never

/** A `Map` whose missing values are made. */
export class Table<K, V> extends Map<K, V> {
  readonly #make: () => V

  constructor(make: () => V) {
    super()
    this.#make = make
  }

  of(key: K): V {
    let value = this.get(key)
    if (value === undefined) this.set(key, (value = this.#make()))
    return value
  }
}
