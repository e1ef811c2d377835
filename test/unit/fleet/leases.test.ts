import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { applyLease, billedMicros, LeaseBook, type Lease } from '../../../coordinator/cloud/index.ts'
import { poolProblem } from '../../../coordinator/cloud/fleet-settings.ts'
import { firstPayment, paidAheadMs } from '../../../coordinator/cloud/reconciler.ts'
import { MemoryLedger, type LeaseEvent } from '../../../coordinator/ledger/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { MINUTE_MS, POOL, QUOTE } from './support.ts'

const DAY_MS = 86_400_000
const ordered = (id: string, atMs = 1): LeaseEvent => ({
  ...{ type: 'lease.ordered', atMs, id, pool: 'big', provider: 'cloud', flavour: 'gpu', name: 'n', serves: ['m'] },
  ...{ invite: 'skein1', aloneMinutes: 10, why: 'it', quote: QUOTE, paidMicros: 100 },
})
const folded = (events: readonly LeaseEvent[]): Lease | undefined =>
  events.reduce<Lease | undefined>((lease, event) => applyLease(lease, event), undefined)

describe('a lease', () => {
  it('is what its events make of it, the first of each', () => {
    const id = 'a'
    const lease = folded([
      ordered(id),
      { type: 'lease.launched', atMs: 2, id, machineId: 'm-1' },
      { type: 'lease.launched', atMs: 3, id, machineId: 'm-2' },
      { type: 'lease.extended', atMs: 4, id, paidMicros: 20 },
      { type: 'lease.released', atMs: 5, id, why: 'idle' },
      { type: 'lease.released', atMs: 6, id, why: 'else' },
      { type: 'lease.ended', atMs: 7, id, costMicros: 900 },
      { type: 'lease.extended', atMs: 8, id, paidMicros: 20 },
    ])
    expect(lease).toMatchObject({
      machineId: 'm-1',
      paidMicros: 120,
      releasedWhy: 'idle',
      endedAtMs: 7,
      costMicros: 120,
    })
    expect(applyLease(undefined, { type: 'lease.ended', atMs: 1, id, costMicros: 0 })).toBeUndefined()
  })

  it('is billed in whole steps, never less for a longer time', () => {
    const hourly = { ...QUOTE, billedStepMs: 60 * MINUTE_MS }
    expect([0, 1, 60 * MINUTE_MS, 60 * MINUTE_MS + 1].map((ms) => billedMicros(hourly, ms))).toEqual([
      600_000, 600_000, 600_000, 1_200_000,
    ])
    expect(billedMicros(QUOTE, 0)).toBe(10_000)
    fc.assert(
      fc.property(fc.nat(1e8), fc.nat(1e8), fc.integer({ min: 1, max: 4e6 }), (a, b, billedStepMs) => {
        const quote = { ...QUOTE, billedStepMs }
        const [less, more] = [Math.min(a, b), Math.max(a, b)]
        expect(billedMicros(quote, less)).toBeLessThanOrEqual(billedMicros(quote, more))
      }),
    )
  })

  it('is paid for two dead-man switches before it is ordered', () => {
    const { paidMs, micros } = firstPayment({ quote: QUOTE, aloneMinutes: 10 })
    expect(paidMs).toBeGreaterThanOrEqual(paidAheadMs(10))
    expect(paidAheadMs(10)).toBeGreaterThan(20 * MINUTE_MS)
    expect(micros).toBe(billedMicros(QUOTE, paidMs))
  })
})

describe('the book of leases', () => {
  const clock = new ManualClock()
  const opened = async (events: readonly LeaseEvent[], wallMs: number) => {
    const ledger = new MemoryLedger({ clock }, { commitMs: 0 })
    const written = ledger.recordLeases(events)
    await clock.advance(1)
    await written
    const opening = LeaseBook.open(ledger, wallMs)
    // it reads, and then writes
    for (let i = 0; i < 3; i++) await clock.advance(1)
    return { book: await opening, ledger }
  }

  it('keeps those that are open however old, and forgets those that ended long ago', async () => {
    const end = (id: string, atMs: number): LeaseEvent => ({ type: 'lease.ended', atMs, id, costMicros: 7 })
    const events = [ordered('open'), ordered('old'), end('old', 2), ordered('young'), end('young', 60 * DAY_MS)]
    const { book, ledger } = await opened(events, 100 * DAY_MS)
    expect(book.open.map(({ id }) => id)).toEqual(['open'])
    expect(book.ended.map(({ id }) => id)).toEqual(['young'])
    expect([book.costMicros('young'), book.costMicros('never')]).toEqual([7, 0])
    expect((await ledger.leaseEvents()).map(({ id }) => id)).toEqual(['open', 'young', 'young'])
  })
})

describe('pools', () => {
  const known = { providers: { cloud: { kind: 'aws' } }, flavours: { gpu: { kind: 'aws' }, iron: { kind: 'ssh' } } }
  const problem = (...pools: readonly (typeof POOL)[]) => poolProblem({ pools, ...known })

  it('are held against what else is in the file', () => {
    expect(problem(POOL)).toBeUndefined()
    expect(problem(POOL, POOL)).toContain("another pool's name")
    expect(problem({ ...POOL, min: 3 })).toContain('above max')
    expect(problem({ ...POOL, provider: 'constructor' })).toContain('names no provider')
    expect(problem({ ...POOL, flavour: 'none' })).toContain('names no flavour')
    expect(problem({ ...POOL, flavour: 'iron' })).toContain('of the kind ssh')
  })
})
