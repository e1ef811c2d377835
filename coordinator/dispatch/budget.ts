/**
 * What may be spent on nodes that are billed, a day. Money is reserved before such a node is used and settled after, so
 * that no interleaving of tasks spends more than the limit. All amounts are whole micro-units (millionths of the owner's
 * currency): sums have no rounding. A day is a UTC day of the wall clock.
 */
import type { Price, TaskId } from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'

export const DAY_MS = 86_400_000

/** Days since 1970, UTC. */
export const dayOf = (wallMs: number): number => Math.floor(wallMs / DAY_MS)

/**
 * What so many tokens cost, rounded up to whole micro-units. A price is for a million tokens, hence one unit of it is one
 * micro-unit a token.
 */
export const costMicros = (price: Price, inputTokens: number, outputTokens: number): number =>
  Math.ceil(inputTokens * price.inputPerMillion + outputTokens * price.outputPerMillion)

/** Money set aside for one attempt. */
export interface Reserved {
  readonly taskId: TaskId
  readonly amountMicros: number
  /** The day that it is counted on, even if it is settled on a later one. */
  readonly day: number
}

export interface BudgetSnapshot {
  /** As in `2026-11-21`. */
  readonly day: string
  readonly limitMicros: number
  readonly spentMicros: number
  readonly reservedMicros: number
  readonly leftMicros: number
}

export class Budget {
  /** For a day; 0 keeps all work off nodes that are billed. */
  readonly limitMicros: number
  readonly #clock: Clock
  readonly #open = new Set<Reserved>()
  /** Never goes back, so that a clock that jumps back does not refill the budget. */
  #day = 0
  #spentMicros = 0
  #reservedMicros = 0

  constructor(components: { clock: Clock }, limitMicros = 0) {
    this.#clock = components.clock
    this.limitMicros = limitMicros
  }

  /**
   * Sets `amountMicros` aside; `undefined` when less is left. It must be the most that the attempt can cost: what is
   * settled beyond it was spent without leave.
   */
  reserve(taskId: TaskId, amountMicros: number): Reserved | undefined {
    const amount = Math.ceil(amountMicros)
    // written so that NaN is refused as well
    if (!(amount >= 0 && amount <= this.left())) return undefined
    const reserved = { taskId, amountMicros: amount, day: this.#day }
    this.#open.add(reserved)
    this.#reservedMicros += amount
    return reserved
  }

  /** Puts what was spent in the place of what was set aside. A second time it does nothing. */
  settle(reserved: Reserved, actualMicros: number): void {
    this.#turn()
    if (!this.#open.delete(reserved) || reserved.day !== this.#day) return
    this.#reservedMicros -= reserved.amountMicros
    this.#spentMicros += Math.ceil(actualMicros)
  }

  /** Micro-units that may still be reserved today; never below 0. */
  left(): number {
    this.#turn()
    return Math.max(0, this.limitMicros - this.#spentMicros - this.#reservedMicros)
  }

  snapshot(): BudgetSnapshot {
    const leftMicros = this.left()
    return {
      day: new Date(this.#day * DAY_MS).toISOString().slice(0, 10),
      limitMicros: this.limitMicros,
      spentMicros: this.#spentMicros,
      reservedMicros: this.#reservedMicros,
      leftMicros,
    }
  }

  /**
   * After a restart: what the ledger says was spent, by day (`dayOf`). A day later than today is believed, because money
   * was spent on it: the clock has been put back since.
   */
  restore(spentMicrosByDay: ReadonlyMap<number, number>): void {
    this.#turn()
    this.#turnTo(Math.max(...spentMicrosByDay.keys()))
    this.#spentMicros += spentMicrosByDay.get(this.#day) ?? 0
  }

  #turn(): void {
    this.#turnTo(dayOf(this.#clock.wallMs()))
  }

  /** What is open from an earlier day stays that day's. */
  #turnTo(day: number): void {
    if (day <= this.#day) return
    this.#day = day
    this.#spentMicros = 0
    this.#reservedMicros = 0
  }
}
