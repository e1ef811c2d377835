/** What every ledger promises of leases of machines, run against each engine as a part of `ledger.suite.ts`. */
import { describe, expect, it } from 'vitest'
import { asPeerId } from '../../mesh/protocol/index.ts'
import type { LeaseEvent, Ledger } from '../../coordinator/ledger/index.ts'
import type { LedgerPlace } from './ledger.suite.ts'

interface LeasesSuite {
  readonly ledger: Ledger
  readonly place: LedgerPlace
  readonly reopen: () => Promise<void>
}

const history = (id: string): LeaseEvent[] => [
  {
    type: 'lease.ordered',
    atMs: 1,
    ...{
      id,
      pool: 'big',
      provider: 'aws',
      flavour: 'l4',
      name: `skein-${id}`,
      serves: ['qwen3-8b'],
      invite: 'skein1x',
    },
    ...{ aloneMinutes: 10, why: 'a task waits', paidMicros: 700 },
    quote: { microsPerHour: 800_000, billedStepMs: 1000, billedLeastMs: 60_000, readyMs: 240_000, isSpot: true },
  },
  { type: 'lease.launched', atMs: 2, id, machineId: 'i-1' },
  { type: 'lease.ready', atMs: 3, id, node: { peerId: asPeerId('12D3KooWLease'), name: `skein-${id}` } },
  { type: 'lease.extended', atMs: 4, id, paidMicros: 90 },
  { type: 'lease.released', atMs: 5, id, why: 'idle' },
  { type: 'lease.ended', atMs: 6, id, costMicros: 640 },
]

export function leasesSuite(at: () => LeasesSuite): void {
  describe('leases', () => {
    it('keeps every field of every event over a crash, in their order', async () => {
      const events = [...history('a'), ...history('b')]
      await at().ledger.recordLeases(events.slice(0, 3))
      await at().ledger.recordLeases(events.slice(3))
      await at().ledger.recordLeases([])
      await at().reopen()
      expect(await at().ledger.leaseEvents()).toEqual(events)
    })

    it('has them all, however many', async () => {
      const events = Array.from({ length: 400 }, (_, i) => history(`l${i}`)).flat()
      await at().ledger.recordLeases(events)
      expect(await at().ledger.leaseEvents()).toEqual(events)
    })

    it('forgets those that are named, and no others', async () => {
      await at().ledger.recordLeases([...history('a'), ...history('b'), ...history('c')])
      await at().ledger.forgetLeases(['a', 'c', 'unknown'])
      await at().reopen()
      expect(await at().ledger.leaseEvents()).toEqual(history('b'))
    })

    it('has them in its backup', async () => {
      await at().ledger.recordLeases(history('a'))
      const facts = await at().ledger.backup(at().place.path('copy'))
      expect(facts.leaseEvents).toBe(6)
      const copy = await at().place.openBackup('copy')
      try {
        expect(await copy.leaseEvents()).toEqual(history('a'))
      } finally {
        await copy.close()
      }
    })
  })
}
