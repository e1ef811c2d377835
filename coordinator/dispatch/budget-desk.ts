/**
 * The budget where it meets the ledger: what the owner sets, with who set it and when, and what machines cost that are rented
 * by the hour. Both are durable before they hold, and are taken up again after a restart.
 */
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import type { AtLimit, BudgetEvent, BudgetTerms, Ledger, LeaseCharge } from '../ledger/index.ts'
import { unitsText } from './budget-limits.ts'
import { dayOf, DAY_MS } from './budget-periods.ts'
import type { Budget, LimitState, Reserved } from './budget.ts'

/** Changes that are shown, the newest first. */
const CHANGES_SHOWN = 20

export interface BudgetDeskComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly budget: Budget
  readonly ledger: Pick<Ledger, 'billed' | 'recordBudget' | 'budgetEvents' | 'recordLeaseCharges' | 'openLeaseCharges'>
  /** The owner has set something, and it holds. */
  readonly onSet?: (event: BudgetEvent) => void
}

/** What the owner wants changed; what is absent stays, and `null` takes it away. */
export interface BudgetChange {
  /** For whom; for all when absent. */
  readonly tenant?: string
  readonly dayMicros?: number | null
  readonly monthMicros?: number | null
  readonly atLimit?: AtLimit | null
  readonly localModel?: string
}

/** What a tenant has of its own. */
export interface TenantBudget {
  readonly tenant: string
  readonly atLimit?: AtLimit
  readonly localModel?: string
  readonly periods: readonly LimitState[]
}

export interface BudgetView {
  readonly atLimit: AtLimit
  readonly localModel?: string
  /** Of all: the day and the month. */
  readonly periods: readonly LimitState[]
  readonly tenants: readonly TenantBudget[]
  /** Machines that are rented, with what is set aside for them. */
  readonly leases: readonly LeaseMoney[]
  /** What was set lately, the newest first. */
  readonly changes: readonly Omit<BudgetEvent, 'type'>[]
}

export interface LeaseMoney {
  readonly leaseId: string
  readonly reservedMicros: number
}

interface LeasePart {
  readonly part: number
  readonly atMs: number
  readonly reserved: Reserved
}

export class BudgetDesk {
  readonly #components: BudgetDeskComponents
  readonly #log: Logger
  readonly #leases = new Map<string, LeasePart[]>()
  #events: BudgetEvent[] = []
  /** Changes are made one after the other: each is of what the one before has made. */
  #changing: Promise<unknown> = Promise.resolve()

  constructor(components: BudgetDeskComponents) {
    this.#components = components
    this.#log = components.log.scope('budget')
  }

  /** Takes up what was spent and set, and leases that were not settled. @throws SkeinError of the ledger. */
  async start(): Promise<void> {
    const { budget, ledger } = this.#components
    const [billed, events, leases] = await Promise.all([
      ledger.billed(budget.restoreSinceMs()),
      ledger.budgetEvents(),
      ledger.openLeaseCharges(),
    ])
    budget.restore(billed)
    for (const event of events) this.#apply(event)
    for (const { leaseId, part, atMs, micros } of leases)
      this.#partsOf(leaseId).push({ part, atMs, reserved: budget.reopen(micros, dayOf(atMs)) })
  }

  view(): BudgetView {
    const { budget } = this.#components
    const { atLimit = 'refuse', localModel } = budget.terms.get(undefined) ?? {}
    const tenants = [...budget.terms].flatMap(([tenant, terms]) =>
      tenant === undefined ? [] : [{ tenant, ...choiceOf(terms), periods: budget.states(tenant) }],
    )
    const changes = this.#events.slice(-CHANGES_SHOWN).reverse()
    return {
      ...{ atLimit, ...(localModel !== undefined && { localModel }), periods: budget.states(), tenants },
      leases: this.leases(),
      changes: changes.map(({ type: _type, ...change }) => change),
    }
  }

  /**
   * Changes limits, or what happens at them. Resolves when that is durable, and holds. What is set aside stays so, also
   * where a limit is lowered below it: nothing more is set aside until less is.
   *
   * @param by the tenant of who asks for it.
   * @throws SkeinError INVALID_REQUEST when `local` would have no model, or too many tenants have a budget;
   *   LEDGER_UNAVAILABLE.
   */
  set(change: BudgetChange, by: string): Promise<BudgetView> {
    const { budget, clock, ledger, onSet } = this.#components
    return this.#inTurn(async () => {
      const { tenant } = change
      const terms = changed(budget.terms.get(tenant) ?? {}, change)
      if (terms.atLimit === 'local' && terms.localModel === undefined)
        throw new SkeinError('INVALID_REQUEST', 'for "local" the model that answers is to be named', {
          param: 'local_model',
        })
      if (tenant !== undefined && !budget.terms.has(tenant) && budget.terms.size > LIMITS.budgetTermsMax)
        throw new SkeinError('INVALID_REQUEST', `${LIMITS.budgetTermsMax} tenants have a budget of their own already`)
      const whose = tenant === undefined ? {} : { tenant }
      const event = { type: 'budget.set', atMs: clock.wallMs(), by, ...whose, terms } as const
      await ledger.recordBudget(event)
      this.#apply(event)
      this.#log.info({ by, ...whose, ...terms }, 'the budget was set')
      onSet?.(event)
      return this.view()
    })
  }

  /**
   * Sets the price of so many hours aside for a lease, the first time or once more: they count in the periods in which this
   * is asked. Resolves with true when that is durable; with false, and nothing changed, when less is left.
   *
   * @throws SkeinError INVALID_REQUEST for amounts that are none; LEDGER_UNAVAILABLE, with nothing changed.
   */
  reserveLease(leaseId: string, microsPerHour: number, hours: number): Promise<boolean> {
    const { budget, clock, ledger } = this.#components
    const micros = Math.ceil(microsPerHour * hours)
    if (!(micros >= 0 && Number.isSafeInteger(micros)))
      return Promise.reject(new SkeinError('INVALID_REQUEST', `${hours} hours for ${microsPerHour} are no amount`))
    const reserved = budget.reserve(undefined, micros)
    if (reserved === undefined) {
      const short = budget.shortOf(undefined, micros)
      if (short) budget.tellExhausted(short)
      return Promise.resolve(false)
    }
    return this.#inTurn(async () => {
      const part = (this.#leases.get(leaseId)?.at(-1)?.part ?? 0) + 1
      // a clock that was put back since has not put back the day
      const atMs = Math.max(clock.wallMs(), reserved.day * DAY_MS)
      try {
        await ledger.recordLeaseCharges([{ leaseId, part, atMs, micros, isOpen: true }])
      } catch (thrown) {
        budget.settle(reserved, 0)
        throw thrown
      }
      this.#partsOf(leaseId).push({ part, atMs, reserved })
      return true
    })
  }

  /**
   * The lease is over and has cost `actualMicros` in all, from its first hour: the rest comes free. What it has cost beyond
   * that which was set aside is counted and logged. A second time it does nothing. Resolves when it is durable.
   *
   * @throws SkeinError LEDGER_UNAVAILABLE, with nothing changed.
   */
  settleLease(leaseId: string, actualMicros: number): Promise<void> {
    const { budget, ledger } = this.#components
    return this.#inTurn(async () => {
      const parts = this.#leases.get(leaseId)
      if (parts === undefined) return
      // an amount that is none counts as all that was set aside
      let rest = actualMicros >= 0 ? Math.ceil(actualMicros) : Number.POSITIVE_INFINITY
      const settled = parts.map(({ part, atMs, reserved }) => {
        const micros = Math.min(rest, reserved.amountMicros)
        rest -= micros
        return { reserved, charge: { leaseId, part, atMs, micros, isOpen: false } }
      })
      const over = Number.isFinite(rest) ? rest : 0
      const charges: LeaseCharge[] = settled.map(({ charge }) => charge)
      if (over > 0) charges.push(this.#overrun(leaseId, parts.at(-1)!.part + 1, over))
      await ledger.recordLeaseCharges(charges)
      this.#leases.delete(leaseId)
      for (const { reserved, charge } of settled) budget.settle(reserved, charge.micros)
      if (over > 0) budget.overspent(over)
    })
  }

  /** Those that are not settled, after a restart too. */
  leases(): LeaseMoney[] {
    return Array.from(this.#leases, ([leaseId, parts]) => ({
      leaseId,
      reservedMicros: parts.reduce((sum, { reserved }) => sum + reserved.amountMicros, 0),
    }))
  }

  #overrun(leaseId: string, part: number, micros: number): LeaseCharge {
    this.#log.error({ lease: leaseId }, `a rented machine has cost ${unitsText(micros)} more than was set aside for it`)
    return { leaseId, part, atMs: this.#components.clock.wallMs(), micros, isOpen: false }
  }

  #partsOf(leaseId: string): LeasePart[] {
    let parts = this.#leases.get(leaseId)
    if (parts === undefined) this.#leases.set(leaseId, (parts = []))
    return parts
  }

  #apply(event: BudgetEvent): void {
    this.#components.budget.setTerms(event.tenant, event.terms)
    this.#events = [...this.#events.slice(1 - CHANGES_SHOWN), event]
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#changing.then(change)
    this.#changing = done.catch(() => undefined)
    return done
  }
}

const choiceOf = ({ atLimit, localModel }: BudgetTerms): Pick<TenantBudget, 'atLimit' | 'localModel'> => ({
  ...(atLimit !== undefined && { atLimit }),
  ...(localModel !== undefined && { localModel }),
})

/** `terms` with what `change` says; without what it takes away. */
function changed(terms: BudgetTerms, { tenant: _tenant, ...change }: BudgetChange): BudgetTerms {
  const entries = Object.entries({ ...terms, ...defined(change) }).filter(([, value]) => value !== null)
  return Object.fromEntries(entries) as BudgetTerms
}

const defined = (change: object): object =>
  Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined))
