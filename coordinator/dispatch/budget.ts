/**
 * What may be spent, in a day and in a month, in all and by one tenant. Money is reserved before a node with a price is used
 * and settled after, under all limits that apply or under none, so that no interleaving of tasks spends more than one of
 * them. All amounts are whole micro-units (millionths of the owner's currency): sums have no rounding. Days and months are
 * those of UTC by the wall clock, and never go back.
 *
 * Nothing here waits, and nothing is written here: an attempt is on record with what was set aside before it is sent
 * (`attempt-log.ts`), and after a restart `restore` is told what the ledger says.
 */
import { LIMITS, type Price } from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import type { AtLimit, BilledSum, BudgetTerms } from '../ledger/index.ts'
import { beginOf, dayOf, dayText, DAY_MS, endMsOf, PERIODS, type Period } from './budget-periods.ts'

/**
 * What so many tokens cost, rounded up to whole micro-units. A price is for a million tokens, hence one unit of it is one
 * micro-unit a token.
 */
export const costMicros = (price: Price, inputTokens: number, outputTokens: number): number =>
  Math.ceil(inputTokens * price.inputPerMillion + outputTokens * price.outputPerMillion)

/** What is counted of one period, of all or of one tenant. A later period has another. */
interface Account {
  readonly period: Period
  /** Of the period; counted from 1970. */
  readonly firstDay: number
  readonly tenant: string | undefined
  spentMicros: number
  reservedMicros: number
  /** It was told already that less was left than was needed. */
  isExhausted: boolean
}

/** Money set aside, until it is settled. */
export interface Reserved {
  readonly amountMicros: number
  /** The day that it is counted on, even if it is settled on a later one. */
  readonly day: number
  /** Of the periods that it is counted in. */
  readonly accounts: readonly Account[]
}

/** One limit as it stands. */
export interface LimitState {
  readonly period: Period
  /** Whose it is; of all when absent. */
  readonly tenant?: string
  /** Of the period's first day, as in `2026-11-21`. */
  readonly from: string
  /** When the next one begins, in ms since 1970. */
  readonly turnsAtMs: number
  /** Absent where none is set. */
  readonly limitMicros?: number
  readonly spentMicros: number
  readonly reservedMicros: number
  /** Never below 0; absent where no limit is set. */
  readonly leftMicros?: number
  /** What is spent and set aside beyond the limit, since that was lowered; absent when nothing is. */
  readonly overMicros?: number
}

/** A limit under which an amount cannot be set aside now. */
export interface Short extends LimitState {
  readonly limitMicros: number
  readonly leftMicros: number
  readonly neededMicros: number
  /** Nobody has set any: nothing may be spent. */
  readonly isUnset: boolean
}

/** For whoever is told of every sum that was spent: the limit of all under which least is left. */
export interface BudgetSnapshot {
  readonly period: Period
  /** Today, as in `2026-11-21`. */
  readonly day: string
  readonly limitMicros: number
  readonly spentMicros: number
  readonly reservedMicros: number
  readonly leftMicros: number
}

export interface LimitChoice {
  readonly atLimit: AtLimit
  readonly localModel?: string
}

/** Of the present terms, of all and of each tenant that has some of its own. */
export type TermsByTenant = ReadonlyMap<string | undefined, BudgetTerms>

const LIMIT_OF = { day: 'dayMicros', month: 'monthMicros' } as const

export class Budget {
  readonly #clock: Clock
  readonly #terms = new Map<string | undefined, BudgetTerms>()
  readonly #open = new Set<Reserved>()
  readonly #accounts = new Map<string, Account>()
  readonly #onFree = new Set<() => void>()
  readonly #onExhausted = new Set<(short: Short) => void>()
  /** Never goes back, so that a clock that jumps back refills nothing. */
  #day = 0

  /** @param terms of all; without any limit nothing may be spent. */
  constructor(components: { clock: Clock }, terms: BudgetTerms = {}) {
    this.#clock = components.clock
    this.#terms.set(undefined, terms)
  }

  get terms(): TermsByTenant {
    return this.#terms
  }

  /** From now on these hold, of all or of one tenant, over what is set aside already; nothing is taken back of that. */
  setTerms(tenant: string | undefined, terms: BudgetTerms): void {
    const isNone = Object.values(terms).every((value) => value === undefined)
    if (tenant !== undefined && isNone) this.#terms.delete(tenant)
    else this.#terms.set(tenant, terms)
    // what is said of a limit is said of the new one anew
    for (const account of this.#accounts.values()) if (account.tenant === tenant) account.isExhausted = false
    this.#freed()
  }

  /** What is to happen to a request of `tenant` for which less is left than it may cost. */
  choiceFor(tenant: string): LimitChoice {
    const own = this.#terms.get(tenant)
    const { atLimit = 'refuse', localModel } = own?.atLimit === undefined ? this.#terms.get(undefined)! : own
    return { atLimit, ...(localModel !== undefined && { localModel }) }
  }

  /**
   * Sets `amountMicros` aside under every limit that applies; `undefined`, with nothing set aside, when one has less left. It
   * must be the most that can be spent: what is settled beyond it was spent without leave.
   *
   * @param tenant whose attempt it is; of a machine `undefined`, which counts in all alone.
   */
  reserve(tenant: string | undefined, amountMicros: number): Reserved | undefined {
    const amount = Math.ceil(amountMicros)
    // written so that NaN is refused as well
    if (!(amount >= 0 && amount <= this.left(tenant))) return undefined
    const accounts = this.#accountsOf(tenant)
    for (const account of accounts) account.reservedMicros += amount
    const reserved = { amountMicros: amount, day: this.#day, accounts }
    this.#open.add(reserved)
    return reserved
  }

  /** Puts what was spent in the place of what was set aside; an amount that is no number counts as all of it. A second time it does nothing. */
  settle(reserved: Reserved, actualMicros: number): void {
    this.#turn()
    if (!this.#open.delete(reserved)) return
    const spent = actualMicros >= 0 ? Math.ceil(actualMicros) : reserved.amountMicros
    for (const account of reserved.accounts) {
      account.reservedMicros -= reserved.amountMicros
      account.spentMicros += spent
    }
    if (spent < reserved.amountMicros) this.#freed()
  }

  /** Counts what was spent beyond all that was set aside: it is on nobody's leave, and a limit may be overrun by it. */
  overspent(amountMicros: number): void {
    this.#turn()
    for (const account of this.#accountsOf(undefined)) account.spentMicros += Math.ceil(amountMicros)
  }

  /** Micro-units that may still be set aside for `tenant`; never below 0. */
  left(tenant?: string): number {
    this.#turn()
    const ofAll = this.#leftOf(undefined)
    // without a limit of all nothing may be spent
    if (ofAll === Number.POSITIVE_INFINITY) return 0
    if (tenant === undefined) return Math.max(0, ofAll)
    // of more tenants no account is kept: nothing of theirs could be held against a limit
    return this.#mayOpen(tenant) ? Math.max(0, Math.min(ofAll, this.#leftOf(tenant))) : 0
  }

  /** The limit that keeps `amountMicros` from being set aside, the one with the least left of several; if any does. */
  shortOf(tenant: string | undefined, amountMicros: number): Short | undefined {
    const neededMicros = Math.ceil(amountMicros)
    const short = this.#limitsOf(tenant).filter(({ leftMicros }) => !(neededMicros <= leftMicros))
    if (short.length === 0) return undefined
    return { ...short.reduce((a, b) => (b.leftMicros < a.leftMicros ? b : a)), neededMicros }
  }

  /** Tells the listeners of `onExhausted` of `short`, once in its period. */
  tellExhausted(short: Short): void {
    if (short.limitMicros === 0) return
    const account = this.#account(short.period, short.tenant)
    if (account.isExhausted) return
    account.isExhausted = true
    for (const listener of this.#onExhausted) listener(short)
  }

  /** Whether so much may come free for `tenant` by `untilMs` (wall clock): what is set aside may cost less, or a period turns. */
  mayComeFree(tenant: string, amountMicros: number, untilMs: number): boolean {
    return this.#limitsOf(tenant).every(
      ({ limitMicros, spentMicros, turnsAtMs }) =>
        amountMicros <= limitMicros - spentMicros || (amountMicros <= limitMicros && turnsAtMs <= untilMs),
    )
  }

  /** Calls `listener` whenever more may be left than before, but for a period that turns. Returns how to stop that. */
  onFree(listener: () => void): () => void {
    this.#onFree.add(listener)
    return () => this.#onFree.delete(listener)
  }

  /** Calls `listener` with the first amount in a period that does not fit into what a limit leaves. Returns how to stop that. */
  onExhausted(listener: (short: Short) => void): () => void {
    this.#onExhausted.add(listener)
    return () => this.#onExhausted.delete(listener)
  }

  /** Both periods as they stand, of all or of one tenant, with or without a limit. */
  states(tenant?: string): LimitState[] {
    this.#turn()
    return PERIODS.map((period) => this.#state(period, tenant))
  }

  snapshot(): BudgetSnapshot {
    const { period, limitMicros, spentMicros, reservedMicros, leftMicros } = this.#limitsOf(undefined).reduce((a, b) =>
      b.leftMicros < a.leftMicros ? b : a,
    )
    return { period, day: dayText(this.#day), limitMicros, spentMicros, reservedMicros, leftMicros }
  }

  /** From when on `restore` must be told, in ms since 1970: of this month, and of days ahead of a clock that was put back. */
  restoreSinceMs(): number {
    return DAY_MS * beginOf('month', dayOf(this.#clock.wallMs()))
  }

  /**
   * After a restart: what the ledger says was spent, with what was set aside where the cost is not known. A day later than
   * today is believed, because money was spent on it: the clock has been put back since.
   */
  restore(sums: readonly BilledSum[]): void {
    this.#turn()
    this.#turnTo(Math.max(...sums.map(({ day }) => day)))
    for (const { tenant, day, micros } of sums)
      for (const account of this.#accountsOf(tenant))
        if (account.firstDay === beginOf(account.period, day)) account.spentMicros += micros
  }

  /** What is counted as spent by `restore` is set aside again: its cost will be known. */
  reopen(amountMicros: number, day: number): Reserved {
    this.#turn()
    const accounts = this.#accountsOf(undefined).filter(({ period, firstDay }) => firstDay === beginOf(period, day))
    for (const account of accounts) {
      account.spentMicros -= amountMicros
      account.reservedMicros += amountMicros
    }
    const reserved = { amountMicros, day, accounts }
    this.#open.add(reserved)
    return reserved
  }

  #freed(): void {
    for (const listener of this.#onFree) listener()
  }

  /** Below 0 where a limit was lowered; infinite without any. */
  #leftOf(tenant: string | undefined): number {
    const terms = this.#terms.get(tenant)
    if (terms === undefined) return Number.POSITIVE_INFINITY
    let left = Number.POSITIVE_INFINITY
    for (const period of PERIODS) {
      const limit = terms[LIMIT_OF[period]]
      if (limit === undefined) continue
      const account = this.#accounts.get(keyOf(period, tenant)) ?? EMPTY
      left = Math.min(left, limit - account.spentMicros - account.reservedMicros)
    }
    return left
  }

  /** The limits that hold for `tenant`: those of all, and its own. With none of all, one of 0. */
  #limitsOf(tenant: string | undefined): Omit<Short, 'neededMicros'>[] {
    const ofAll = this.states().flatMap((state) => limited(state))
    const own = tenant === undefined ? [] : this.states(tenant).flatMap((state) => limited(state))
    if (ofAll.length > 0) return [...ofAll, ...own]
    return [{ ...this.#state('day', undefined), limitMicros: 0, leftMicros: 0, isUnset: true }, ...own]
  }

  #state(period: Period, tenant: string | undefined): LimitState {
    const { spentMicros, reservedMicros } = this.#accounts.get(keyOf(period, tenant)) ?? EMPTY
    const limitMicros = this.#terms.get(tenant)?.[LIMIT_OF[period]]
    const leftMicros = limitMicros === undefined ? undefined : limitMicros - spentMicros - reservedMicros
    return {
      period,
      ...(tenant !== undefined && { tenant }),
      from: dayText(beginOf(period, this.#day)),
      turnsAtMs: endMsOf(period, this.#day),
      ...(limitMicros !== undefined && { limitMicros }),
      spentMicros,
      reservedMicros,
      ...(leftMicros !== undefined && { leftMicros: Math.max(0, leftMicros) }),
      ...(leftMicros !== undefined && leftMicros < 0 && { overMicros: -leftMicros }),
    }
  }

  #mayOpen(tenant: string): boolean {
    return this.#accounts.size < 2 * LIMITS.budgetTenantsMax || this.#accounts.has(keyOf('month', tenant))
  }

  #accountsOf(tenant: string | undefined): Account[] {
    const ofAll = PERIODS.map((period) => this.#account(period, undefined))
    return tenant === undefined ? ofAll : [...ofAll, ...PERIODS.map((period) => this.#account(period, tenant))]
  }

  #account(period: Period, tenant: string | undefined): Account {
    const key = keyOf(period, tenant)
    let account = this.#accounts.get(key)
    if (account === undefined) {
      const firstDay = beginOf(period, this.#day)
      account = { period, firstDay, tenant, spentMicros: 0, reservedMicros: 0, isExhausted: false }
      this.#accounts.set(key, account)
    }
    return account
  }

  #turn(): void {
    this.#turnTo(dayOf(this.#clock.wallMs()))
  }

  /** What is open from an earlier period stays that period's. */
  #turnTo(day: number): void {
    if (!(day > this.#day)) return
    this.#day = day
    for (const [key, { period, firstDay }] of this.#accounts)
      if (firstDay !== beginOf(period, day)) this.#accounts.delete(key)
  }
}

const EMPTY = { spentMicros: 0, reservedMicros: 0 } as const

const keyOf = (period: Period, tenant: string | undefined): string =>
  tenant === undefined ? period : `${period} ${tenant}`

const limited = ({ limitMicros, leftMicros, ...state }: LimitState): Omit<Short, 'neededMicros'>[] =>
  limitMicros === undefined || leftMicros === undefined ? [] : [{ ...state, limitMicros, leftMicros, isUnset: false }]
