/**
 * What can happen to budgets, in the past tense, and what was set aside or paid. Amounts are whole micro-units (millionths of
 * the owner's currency); times are wall-clock ms since 1970. Pure.
 */
import type { LedgerEvent } from './events.ts'

/**
 * What happens to a request that only money could serve, when less is left than it may cost. `refuse`: it ends with an error
 * · `wait`: it waits until money comes free or a period turns · `local`: the owner's nodes answer with a smaller model.
 */
export const AT_LIMIT = ['refuse', 'wait', 'local'] as const
export type AtLimit = (typeof AT_LIMIT)[number]

/** What the owner has set: for all together, or for one tenant. An absent limit is none. */
export interface BudgetTerms {
  readonly dayMicros?: number
  readonly monthMicros?: number
  /** `refuse` when absent; of a tenant: as for all. */
  readonly atLimit?: AtLimit
  /** The model that answers where `atLimit` is `local`. */
  readonly localModel?: string
}

/** From `atMs` on these terms hold in the place of those before; without any limit or choice, a tenant has none of its own. */
export interface BudgetEvent {
  readonly type: 'budget.set'
  readonly atMs: number
  /** The tenant of the caller who set it. */
  readonly by: string
  /** Whose they are; everybody's together when absent. */
  readonly tenant?: string
  readonly terms: BudgetTerms
}

/** What was set aside, or paid, for hours of a rented machine. A lease has as many parts as it was given hours. */
export interface LeaseCharge {
  readonly leaseId: string
  /** From 1. */
  readonly part: number
  readonly atMs: number
  readonly micros: number
  /** It is set aside; what it will have cost is not known. */
  readonly isOpen: boolean
}

/** What attempts and leases have cost in one day of UTC; what was set aside, where the cost is not known. */
export interface BilledSum {
  /** Whose attempts they were; absent of leases. */
  readonly tenant?: string
  /** Counted from 1970. */
  readonly day: number
  readonly micros: number
}

export const BILLED_DAY_MS = 86_400_000

/** One attempt on a node with a price. */
export interface AttemptCharge {
  readonly tenant: string
  readonly atMs: number
  /** What it cost; what was set aside, until that is known. */
  readonly micros: number
}

/** The key of an attempt among charges. */
export const chargeKey = ({ taskId, attempt }: { readonly taskId: string; readonly attempt: number }): string =>
  `${taskId} ${attempt}`

/** When what was set aside for an attempt counts. */
export const countedAt = ({ atMs, reservedDay }: { readonly atMs: number; readonly reservedDay?: number }): number =>
  reservedDay === undefined ? atMs : reservedDay * BILLED_DAY_MS

/**
 * Enters what `event`, which fits its task, says of money into `charges`, by `chargeKey`. An end that does not tell a cost
 * leaves what was set aside.
 */
export function enterCharge(charges: Map<string, AttemptCharge>, event: LedgerEvent, tenant: string): void {
  if (event.type === 'attempt.assigned' && event.reservedMicros !== undefined) {
    const key = chargeKey(event)
    if (!charges.has(key)) charges.set(key, { tenant, atMs: countedAt(event), micros: event.reservedMicros })
  }
  if (event.type !== 'attempt.ended' || event.costMicros === undefined) return
  const charge = charges.get(chargeKey(event))
  if (charge) charges.set(chargeKey(event), { ...charge, micros: event.costMicros })
}

/** Sums by tenant and day of those since `sinceMs`, in any order. */
export function billedSums(
  charges: Iterable<Pick<AttemptCharge, 'atMs' | 'micros'> & { readonly tenant?: string }>,
  sinceMs: number,
): BilledSum[] {
  const sums = new Map<string, BilledSum>()
  for (const { tenant, atMs, micros } of charges) {
    if (atMs < sinceMs) continue
    const day = Math.floor(atMs / BILLED_DAY_MS)
    const key = JSON.stringify([tenant, day])
    sums.set(key, { ...(tenant !== undefined && { tenant }), day, micros: (sums.get(key)?.micros ?? 0) + micros })
  }
  return [...sums.values()]
}
