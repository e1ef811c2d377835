/**
 * Fair sharing between tenants: a virtual token counter (VTC; Sheng et al., "Fairness in Serving Large Language Models",
 * OSDI 2024) for each tenant in each class. Whoever has been served least goes first. What was served while nobody
 * waited is nobody's debt, and who comes back after idling starts level with the others: idling saves nothing up.
 */
import { LIMITS } from '../../mesh/protocol/index.ts'
import { PRIORITIES, type Priority } from '../ledger/index.ts'

/** An output token holds its slot much longer than an input token; twice is the weight of the paper's evaluation. */
const OUTPUT_WEIGHT = 2
/** Tenants remembered in one class: all that can wait, and as many that owe something. */
const TENANTS_MAX = 2 * LIMITS.queuedTasksMax

/** What a task costs its tenant, in weighted tokens. */
export const weightedTokens = (inputTokens: number, outputTokens: number): number =>
  inputTokens + OUTPUT_WEIGHT * outputTokens

interface Account {
  counter: number
  waiting: number
}

export class Shares {
  readonly #classes: Readonly<Record<Priority, ClassShares>>

  constructor() {
    const entries = PRIORITIES.map((priority) => [priority, new ClassShares()] as const)
    this.#classes = Object.fromEntries(entries) as Record<Priority, ClassShares>
  }

  /** Counts what was done for a tenant, as it is done: its input when a slot is taken, its output as it comes. */
  charge(tenant: string, priority: Priority, inputTokens: number, outputTokens: number): void {
    this.#classes[priority].charge(tenant, weightedTokens(inputTokens, outputTokens))
  }

  /** Weighted tokens that the tenant is taken to have had; of meaning only beside those of others in the class. */
  counter(tenant: string, priority: Priority): number {
    return this.#classes[priority].counter(tenant)
  }

  /** A task of the tenant begins to wait; `left` must follow. */
  entered(tenant: string, priority: Priority): void {
    this.#classes[priority].entered(tenant)
  }

  left(tenant: string, priority: Priority): void {
    this.#classes[priority].left(tenant)
  }
}

/** The counters of one class. The least of those that wait only grows, so that nobody can fall below it and profit. */
class ClassShares {
  readonly #accounts = new Map<string, Account>()
  #tenantsWaiting = 0
  /** The counter that was served last when nobody waited. */
  #floor = 0

  charge(tenant: string, weighted: number): void {
    const account = this.#accounts.get(tenant)
    if (this.#tenantsWaiting === 0) {
      this.#floor = this.counter(tenant) + weighted
      this.#accounts.delete(tenant)
    } else if (account) account.counter += weighted
    else this.#remember(tenant, this.#least() + weighted)
  }

  counter(tenant: string): number {
    const account = this.#accounts.get(tenant)
    return account?.waiting ? account.counter : Math.max(account?.counter ?? 0, this.#least())
  }

  entered(tenant: string): void {
    const counter = this.counter(tenant)
    const account = this.#accounts.get(tenant) ?? this.#remember(tenant, counter)
    account.counter = counter
    if (account.waiting++ === 0) this.#tenantsWaiting++
  }

  left(tenant: string): void {
    const account = this.#accounts.get(tenant)
    if (!account || --account.waiting > 0) return
    this.#tenantsWaiting--
    if (this.#tenantsWaiting > 0) return
    this.#floor = account.counter
    this.#accounts.delete(tenant)
  }

  #least(): number {
    if (this.#tenantsWaiting === 0) return this.#floor
    let least = Number.POSITIVE_INFINITY
    for (const account of this.#accounts.values()) if (account.waiting > 0) least = Math.min(least, account.counter)
    return least
  }

  #remember(tenant: string, counter: number): Account {
    if (this.#accounts.size >= TENANTS_MAX) this.#forget()
    const account = { counter, waiting: 0 }
    this.#accounts.set(tenant, account)
    return account
  }

  /** Who does not wait and owes nothing is not needed; when all owe, the one that is known longest is forgiven. */
  #forget(): void {
    const least = this.#least()
    let oldest: string | undefined
    for (const [tenant, account] of this.#accounts) {
      if (account.waiting > 0) continue
      if (account.counter <= least) this.#accounts.delete(tenant)
      else oldest ??= tenant
    }
    if (this.#accounts.size >= TENANTS_MAX && oldest !== undefined) this.#accounts.delete(oldest)
  }
}
