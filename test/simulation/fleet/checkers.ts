/** What must hold of a fleet, whatever happens. Each checker looks at what is, and not at what the orchestrator believes. */
import { applyLease, type Lease, type PoolSettings } from '../../../coordinator/cloud/index.ts'
import type { LeaseEvent } from '../../../coordinator/ledger/index.ts'
import type { MemoryMachine, MemoryProvider } from '../../fixtures/providers/memory-provider.ts'

/** A machine without a lease is found by the next list, and ended: five minutes, and calls that take their time. */
export const ORPHAN_MS = 420_000

export interface FleetFacts {
  readonly nowMs: number
  readonly providers: readonly MemoryProvider[]
  readonly pools: readonly PoolSettings[]
  readonly capMicros: number
  /** As they are durable. */
  readonly leases: ReadonlyMap<string, Lease>
  /** Since when the coordinator runs, its disk takes writes, and all providers answer; infinite while not. */
  readonly calmSinceMs: number
}

export type FleetFail = (invariant: string, message: string) => never

/** The leases that `events` make. */
export function leasesOf(events: readonly LeaseEvent[]): Map<string, Lease> {
  const leases = new Map<string, Lease>()
  for (const event of events) {
    const lease = applyLease(leases.get(event.id), event)
    if (lease) leases.set(event.id, lease)
  }
  return leases
}

/** F1: what was billed is within the cap, and for each machine within what was set aside for it. */
export function checkMoney({ providers, capMicros, leases }: FleetFacts, fail: FleetFail): void {
  let billed = 0
  for (const provider of providers)
    for (const machine of provider.machines.values()) {
      const lease = leases.get(machine.order.token)
      // what others launch in our name is their money: it is F2 that it goes
      if (lease === undefined) continue
      const micros = machine.billedMicros(provider.nowMs)
      if (micros > lease.paidMicros)
        fail('F1', `${machine.id} was billed ${micros} micro-units, and ${lease.paidMicros} were set aside for it`)
      billed += micros
    }
  if (billed > capMicros) fail('F1', `${billed} micro-units were billed, and ${capMicros} were allowed`)
}

/** F2: no machine without an open lease for long; none at all of a lease that has ended, or was not durable at its launch. */
export class OrphanChecker {
  readonly #sinceMs = new Map<MemoryMachine, number>()

  check({ nowMs, providers, leases, calmSinceMs }: FleetFacts, fail: FleetFail): void {
    for (const provider of providers)
      for (const machine of provider.alive) {
        const lease = leases.get(machine.order.token)
        if (lease !== undefined && lease.endedAtMs === undefined) continue
        if (lease !== undefined) fail('F2', `the lease of ${machine.id} has ended, and it runs`)
        if (machine.order.token.startsWith('lease-')) fail('F2', `${machine.id} was launched, and no lease is durable`)
        const sinceMs = this.#sinceMs.get(machine) ?? nowMs
        this.#sinceMs.set(machine, sinceMs)
        const forMs = nowMs - Math.max(sinceMs, calmSinceMs)
        if (forMs > ORPHAN_MS) fail('F2', `${machine.id} has run for ${forMs} ms without a lease`)
      }
  }
}

/** F3: no pool has more than its maximum, nor two machines of one model on their way; one token is one machine. */
export function checkSizes({ pools, leases, providers }: FleetFacts, fail: FleetFail): void {
  const open = [...leases.values()].filter((lease) => lease.endedAtMs === undefined && lease.releasedAtMs === undefined)
  for (const { name, max } of pools) {
    const count = open.filter(({ pool }) => pool === name).length
    if (count > max) fail('F3', `${name} has ${count} machines, and may have ${max}`)
  }
  const pending = open.filter(({ readyAtMs }) => readyAtMs === undefined).flatMap(({ serves }) => [...new Set(serves)])
  const twice = pending.find((model, at) => pending.indexOf(model) < at)
  if (twice !== undefined) fail('F3', `two machines for ${twice} are on their way`)
  for (const provider of providers) {
    const tokens = [...provider.machines.values()].map(({ order }) => order.token)
    if (new Set(tokens).size < tokens.length) fail('F3', 'two machines were made of one token')
  }
}

export interface FleetEnd extends FleetFacts {
  /** Jobs. */
  readonly waiting: number
  /** Leases for which money is set aside. */
  readonly unsettled: readonly string[]
}

/** F4: when all is over, nothing runs, nothing is open, no money is set aside, and no job waits. */
export function checkEnd({ providers, leases, waiting, unsettled }: FleetEnd, fail: FleetFail): void {
  for (const provider of providers)
    for (const machine of provider.alive) fail('F4', `${machine.id} (${machine.order.token}) still runs at the end`)
  for (const lease of leases.values())
    if (lease.endedAtMs === undefined) fail('F4', `the lease ${lease.id} is still open at the end`)
  if (unsettled.length > 0) fail('F4', `money is set aside for ${unsettled.join(', ')} at the end`)
  if (waiting > 0) fail('F4', `${waiting} jobs still wait at the end`)
}
