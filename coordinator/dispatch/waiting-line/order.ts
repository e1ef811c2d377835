/** In which order tasks that wait for one model get its slots. */
import { PRIORITIES, type Priority } from '../../ledger/index.ts'
import type { Shares } from '../shares.ts'

/** A task that has waited this long may take one of the slots kept for such. Nothing is above `system`. */
const OVERDUE_MS: Readonly<Record<Priority, number>> = {
  system: Number.POSITIVE_INFINITY,
  interactive: 30_000,
  default: 30_000,
  bulk: 120_000,
}
/** One slot of so many goes to the task that is overdue most, whatever its class: nothing waits for ever. */
export const OVERDUE_EVERY = 8

/** 0 is the most urgent. */
export const rankOf = (priority: Priority): number => PRIORITIES.indexOf(priority)

export interface Ordered {
  readonly waiter: {
    readonly priority: Priority
    readonly tenant: string
    readonly cost: number
    readonly deadlineAtMs: number
    readonly isResumed: boolean
  }
  /** Grows with each that comes. */
  readonly sequence: number
  readonly joinedAtMs: number
}

export interface Turn<P> {
  readonly place: P
  /** It stands here for being overdue. */
  readonly isOverdue: boolean
}

/**
 * Orders `places`, which are given in the order of their coming.
 *
 * Between classes the more urgent goes first; inside a class what was running before; then by virtual start: the
 * tenant's counter and the costs of its own tasks ahead, which is the order in which the tenant with the least counter
 * would be picked again and again. Every `OVERDUE_EVERY`th place goes to the most overdue.
 *
 * @param sinceOverdue slots given since one was given for being overdue.
 */
export function inOrder<P extends Ordered>(
  places: readonly P[],
  shares: Shares,
  nowMs: number,
  sinceOverdue: number,
): Turn<P>[] {
  const overdue = places
    .filter((place) => dueAtMs(place) <= nowMs)
    .sort((a, b) => dueAtMs(a) - dueAtMs(b) || a.sequence - b.sequence)
  return withOverdue(byShares(places, shares), overdue, sinceOverdue)
}

const dueAtMs = (place: Ordered): number => place.joinedAtMs + OVERDUE_MS[place.waiter.priority]

function byShares<P extends Ordered>(places: readonly P[], shares: Shares): P[] {
  const counters = PRIORITIES.map(() => new Map<string, number>())
  const withStart = (place: P): { place: P; rank: number; start: number } => {
    const { tenant, priority, cost } = place.waiter
    const rank = rankOf(priority)
    const start = counters[rank]!.get(tenant) ?? shares.counter(tenant, priority)
    // at least 1, so that the tasks of one tenant keep the order of their coming
    counters[rank]!.set(tenant, start + Math.max(1, cost))
    return { place, rank, start }
  }
  const resumed = places.filter((place) => place.waiter.isResumed)
  const fresh = places.filter((place) => !place.waiter.isResumed)
  return [...resumed, ...fresh]
    .map(withStart)
    .sort(
      (a, b) =>
        a.rank - b.rank ||
        Number(b.place.waiter.isResumed) - Number(a.place.waiter.isResumed) ||
        a.start - b.start ||
        a.place.waiter.deadlineAtMs - b.place.waiter.deadlineAtMs ||
        a.place.sequence - b.place.sequence,
    )
    .map(({ place }) => place)
}

function withOverdue<P extends Ordered>(fair: readonly P[], overdue: readonly P[], sinceOverdue: number): Turn<P>[] {
  const turns: Turn<P>[] = []
  const placed = new Set<P>()
  let since = sinceOverdue
  let nextFair = 0
  let nextOverdue = 0
  while (placed.size < fair.length) {
    while (placed.has(fair[nextFair]!)) nextFair++
    while (nextOverdue < overdue.length && placed.has(overdue[nextOverdue]!)) nextOverdue++
    const late = overdue[nextOverdue]
    const place = late && since >= OVERDUE_EVERY - 1 ? late : fair[nextFair]!
    const isOverdue = place === late
    since = isOverdue ? 0 : since + 1
    placed.add(place)
    turns.push({ place, isOverdue })
  }
  return turns
}
