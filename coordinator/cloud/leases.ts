/**
 * Leases: what the ledger knows of machines that were launched. A lease is recorded, and money set aside for it, before
 * its machine is launched; it ends when there is no machine of it any more. The fold is pure; the book keeps the open ones
 * and those that ended last.
 */
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { Ledger, LeaseEvent, LeaseQuote, NodeName } from '../ledger/index.ts'

const HOUR_MS = 3_600_000
/** Leases that have ended are kept so long, as usage is. */
const KEPT_MS = 90 * 24 * HOUR_MS
/** Ended ones that are shown. */
export const ENDED_SHOWN_MAX = 100
/** As many as one call of the ledger takes. */
const FORGOTTEN_AT_ONCE = 1000

type OrderedEvent = Extract<LeaseEvent, { type: 'lease.ordered' }>

export interface Lease extends Omit<OrderedEvent, 'type' | 'atMs' | 'paidMicros'> {
  readonly orderedAtMs: number
  /** Set aside for it in all. */
  readonly paidMicros: number
  readonly machineId?: string
  readonly node?: NodeName
  readonly readyAtMs?: number
  /** From then on it is on its way out; `releasedWhy` says why. */
  readonly releasedAtMs?: number
  readonly releasedWhy?: string
  readonly endedAtMs?: number
  readonly costMicros?: number
}

/** The lease after `event`; `undefined` before its order. An event that does not fit changes nothing. */
export function applyLease(lease: Lease | undefined, event: LeaseEvent): Lease | undefined {
  if (event.type === 'lease.ordered') {
    const { type: _type, atMs, ...ordered } = event
    return lease ?? { ...ordered, orderedAtMs: atMs }
  }
  if (lease === undefined || lease.endedAtMs !== undefined) return lease
  switch (event.type) {
    case 'lease.launched':
      return { ...lease, machineId: lease.machineId ?? event.machineId }
    case 'lease.ready':
      return lease.readyAtMs === undefined ? { ...lease, node: event.node, readyAtMs: event.atMs } : lease
    case 'lease.extended':
      return { ...lease, paidMicros: lease.paidMicros + event.paidMicros }
    case 'lease.released':
      if (lease.releasedAtMs !== undefined) return lease
      return { ...lease, releasedAtMs: event.atMs, releasedWhy: event.why }
    case 'lease.ended':
      return { ...lease, endedAtMs: event.atMs, costMicros: Math.min(event.costMicros, lease.paidMicros) }
  }
}

/** What a machine that ran for `ranMs` is billed, in whole micro-units, rounded up. Grows with `ranMs`. */
export function billedMicros({ microsPerHour, billedStepMs, billedLeastMs }: LeaseQuote, ranMs: number): number {
  const steps = Math.ceil(Math.max(billedLeastMs, ranMs) / billedStepMs)
  return Math.ceil((steps * billedStepMs * microsPerHour) / HOUR_MS)
}

/** Money for machines, from the same budget as that for answers, and as durable as leases are. */
export interface MachineMoney {
  /**
   * Sets `micros` aside, the first time or once more. Resolves with false, and nothing changed, when less is left.
   *
   * @throws SkeinError LEDGER_UNAVAILABLE, with nothing changed.
   */
  reserve(leaseId: string, micros: number): Promise<boolean>
  /** The lease has cost `micros` in all: the rest comes free. A second time it does nothing. @throws SkeinError LEDGER_UNAVAILABLE. */
  settle(leaseId: string, micros: number): Promise<void>
  /** Leases that were not settled, those of an earlier life of the coordinator too. */
  unsettled(): readonly string[]
}

export type LeaseStore = Pick<Ledger, 'recordLeases' | 'leaseEvents' | 'forgetLeases'>

export class LeaseBook {
  readonly #store: LeaseStore
  readonly #open = new Map<string, Lease>()
  /** Oldest first. */
  #ended: Lease[] = []
  /** What each lease has cost that had ended when the book was opened. */
  readonly #costs = new Map<string, number>()

  private constructor(store: LeaseStore) {
    this.#store = store
  }

  /** Reads all leases, and deletes those that ended long before `wallMs`. @throws SkeinError of the ledger. */
  static async open(store: LeaseStore, wallMs: number): Promise<LeaseBook> {
    const book = new LeaseBook(store)
    const leases = new Map<string, Lease | undefined>()
    for (const event of await store.leaseEvents()) leases.set(event.id, applyLease(leases.get(event.id), event))
    const old: string[] = []
    for (const [id, lease] of leases) {
      if (lease === undefined || (lease.endedAtMs ?? wallMs) < wallMs - KEPT_MS) old.push(id)
      else if (lease.endedAtMs === undefined) book.#open.set(id, lease)
      else book.#ended.push(lease)
      if (lease?.costMicros !== undefined) book.#costs.set(id, lease.costMicros)
    }
    book.#trim()
    for (let from = 0; from < old.length; from += FORGOTTEN_AT_ONCE)
      await store.forgetLeases(old.slice(from, from + FORGOTTEN_AT_ONCE))
    return book
  }

  /** Those that have not ended, oldest first. */
  get open(): readonly Lease[] {
    return [...this.#open.values()]
  }

  /** Those that ended last, the newest first. */
  get ended(): readonly Lease[] {
    return this.#ended.toReversed()
  }

  lease(id: string): Lease | undefined {
    return this.#open.get(id)
  }

  /** What an ended lease has cost; 0 for one that was never ordered. */
  costMicros(id: string): number {
    return this.#costs.get(id) ?? 0
  }

  /** Makes `event` durable, then true here. @throws SkeinError LEDGER_UNAVAILABLE: it did not happen. */
  async record(event: LeaseEvent): Promise<Lease> {
    await this.#store.recordLeases([event])
    const lease = applyLease(this.#open.get(event.id), event)
    if (lease === undefined) throw new SkeinError('INTERNAL', `the lease ${event.id} is not known`)
    this.#open.set(lease.id, lease)
    if (lease.endedAtMs === undefined) return lease
    this.#open.delete(lease.id)
    this.#ended.push(lease)
    this.#trim()
    return lease
  }

  #trim(): void {
    this.#ended = this.#ended.slice(-ENDED_SHOWN_MAX)
  }
}
