import { describe, expect, it } from 'vitest'
import { Harness, MINUTE_MS, NOTHING, POOL, WAITING } from './support.ts'

async function withMachine(): Promise<Harness> {
  const harness = new Harness()
  harness.demand = WAITING
  await harness.after(2 * MINUTE_MS)
  expect(harness.phases()).toEqual(['ready'])
  harness.demand = NOTHING
  harness.running = 1
  return harness
}

describe('a fleet', () => {
  it('launches a machine for what only it could take, has it ready, and ends it when it is idle', async () => {
    const harness = await withMachine()
    expect(harness.provider.machines.size).toBe(1)
    harness.running = 0
    await harness.clock.advance(7 * MINUTE_MS)
    expect(harness.why()).toEqual(['idle'])
    expect(harness.phases()).toEqual(['ended'])
    expect(harness.drained).toHaveLength(1)
    expect(harness.provider.alive).toEqual([])
    const { lease } = harness.fleet.leases()[0]!
    const { costMicros = 0 } = lease
    expect(costMicros).toBeGreaterThanOrEqual(harness.provider.billedMicros())
    expect(costMicros).toBeLessThan(lease.paidMicros)
    expect(harness.money.leftMicros).toBe(100_000_000 - costMicros)
  })

  it('keeps a machine that works, and pays it ahead', async () => {
    const harness = await withMachine()
    await harness.clock.advance(120 * MINUTE_MS)
    expect(harness.phases()).toEqual(['ready'])
    const { lease } = harness.fleet.leases()[0]!
    // two dead-man switches ahead at least
    expect(lease.paidMicros).toBeGreaterThan(harness.provider.billedMicros() + (20 * 600_000) / 60)
  })

  it('launches nothing without money, and says so for a while', async () => {
    const harness = new Harness()
    harness.demand = WAITING
    harness.money.leftMicros = 1000
    await harness.after(10 * MINUTE_MS)
    expect(harness.provider.calls.launch).toBe(0)
    expect(harness.fleet.leases()).toEqual([])
    expect(harness.money.leftMicros).toBe(1000)
    expect(harness.fleet.prospects()).toEqual([])
  })

  it('ends a machine for which no money is left before what is paid is over', async () => {
    const harness = await withMachine()
    harness.money.leftMicros = 0
    await harness.clock.advance(60 * MINUTE_MS)
    expect(harness.why()).toEqual(['no money is left for it'])
    expect(harness.phases()).toEqual(['ended'])
    const { lease } = harness.fleet.leases()[0]!
    expect(harness.provider.billedMicros()).toBeLessThan(lease.paidMicros)
  })

  it('makes no second machine when the answer to a launch is lost', async () => {
    const harness = new Harness()
    harness.demand = WAITING
    harness.fail('launch', 'lost', 2)
    await harness.after(2 * MINUTE_MS)
    expect(harness.provider.machines.size).toBe(1)
    expect(harness.phases()).toEqual(['ready'])
  })

  it('finds what an answer that never comes has launched, after a restart as well', async () => {
    const harness = new Harness()
    harness.demand = WAITING
    harness.joins = false
    harness.fail('launch', 'hangs')
    await harness.after(11_000)
    expect(harness.provider.alive).toHaveLength(1)
    harness.faults.length = 0
    await harness.restart()
    await harness.clock.advance(MINUTE_MS)
    expect(harness.fleet.leases()[0]?.lease.machineId).toBe('m-1')
    expect(harness.provider.machines.size).toBe(1)
  })

  it('ends a machine that never becomes ready, and waits longer after each', async () => {
    const harness = new Harness()
    harness.demand = WAITING
    harness.joins = false
    await harness.after(60 * MINUTE_MS)
    expect(new Set(harness.why().filter(Boolean))).toEqual(new Set(['it never became ready']))
    expect(harness.provider.machines.size).toBeGreaterThan(1)
    expect(harness.provider.machines.size).toBeLessThan(7)
    expect(harness.provider.alive.length).toBeLessThanOrEqual(1)
  })

  it('tries again to end a machine, and puts it out of the mesh when that goes on failing', async () => {
    const harness = await withMachine()
    harness.running = 0
    harness.fail('terminate', 'unreachable')
    await harness.clock.advance(12 * MINUTE_MS)
    expect(harness.phases()).toEqual(['leaving'])
    expect(harness.provider.calls.terminate).toBeGreaterThan(2)
    expect(harness.cutOff).toHaveLength(1)
    harness.faults.length = 0
    await harness.clock.advance(3 * MINUTE_MS)
    expect(harness.phases()).toEqual(['ended'])
  })

  it('lets go at once of a machine that its provider takes back, and launches another for what waits', async () => {
    const harness = await withMachine()
    harness.demand = WAITING
    harness.provider.interrupt('m-1', 2 * MINUTE_MS)
    await harness.clock.advance(MINUTE_MS)
    expect(harness.drained).toHaveLength(1)
    expect(harness.why()).toContain('its provider takes the machine back')
    await harness.clock.advance(3 * MINUTE_MS)
    expect(harness.phases()).toEqual(['ready', 'ended'])
  })

  it('ends a machine whose worker has left the mesh', async () => {
    const harness = await withMachine()
    harness.lose(harness.fleet.leases()[0]!.lease.name)
    await harness.clock.advance(5 * MINUTE_MS)
    expect(harness.why()).toEqual(['its worker is lost'])
    expect(harness.provider.alive).toEqual([])
  })

  it('asks again with a new token when there is no machine, less and less often', async () => {
    const harness = new Harness()
    harness.demand = WAITING
    harness.fail('launch', 'no capacity')
    await harness.after(20 * MINUTE_MS)
    const { launch } = harness.provider.calls
    expect(launch).toBeGreaterThan(2)
    expect(launch).toBeLessThan(12)
    expect(harness.money.unsettled()).toEqual([])
    expect(harness.money.leftMicros).toBe(100_000_000)
    expect(new Set(harness.fleet.leases().map(({ lease }) => lease.id)).size).toBe(launch)
  })

  it('ends machines with our tag that have no lease', async () => {
    const harness = new Harness()
    const order = { token: 'unknown', flavour: 'gpu', name: 'x', invite: '', serves: [], aloneMinutes: 10 }
    await harness.provider.launch(order, new AbortController().signal)
    await harness.after(6000)
    expect(harness.provider.alive).toEqual([])
  })

  it('goes on with a machine after a restart, and settles what an earlier life left open', async () => {
    const harness = await withMachine()
    await harness.money.reserve('lease-that-was-never-recorded', 5)
    await harness.restart()
    await harness.clock.advance(MINUTE_MS)
    expect(harness.phases()).toEqual(['ready'])
    expect(harness.provider.calls.terminate).toBe(0)
    expect(harness.money.unsettled()).toEqual([harness.fleet.leases()[0]!.lease.id])
  })

  it('keeps its minimum, and releases what pools no longer have', async () => {
    const harness = new Harness([{ ...POOL, min: 2, max: 2 }])
    await harness.after(5 * MINUTE_MS)
    expect(harness.phases()).toEqual(['ready', 'ready'])
    harness.fleet.configure({ pools: [], providers: new Map([['cloud', harness.provider]]) })
    await harness.clock.advance(3 * MINUTE_MS)
    expect(harness.provider.alive).toEqual([])
    expect(harness.why()).toEqual(['its pool is gone', 'its pool is gone'])
  })

  it('ends one for its owner, and knows no other', async () => {
    const harness = await withMachine()
    harness.fleet.end(harness.fleet.leases()[0]!.lease.id)
    await harness.clock.advance(3 * MINUTE_MS)
    expect(harness.why()).toEqual(['its owner has ended it'])
    expect(harness.provider.alive).toEqual([])
    expect(() => harness.fleet.end('lease-x')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
  })

  it('ends machines while the ledger takes no writes: what is idle, and what cannot be paid any more', async () => {
    for (const running of [0, 1]) {
      const harness = await withMachine()
      harness.running = running
      harness.ledger.failWrites('the disk is full')
      await harness.clock.advance((running === 0 ? 8 : 40) * MINUTE_MS)
      expect(harness.provider.alive).toEqual([])
      const { lease } = harness.fleet.leases()[0]!
      expect(harness.provider.billedMicros()).toBeLessThan(lease.paidMicros)
      harness.ledger.failWrites(undefined)
      await harness.clock.advance(MINUTE_MS)
      expect(harness.phases()).toEqual(['ended'])
    }
  })

  it('launches nothing that it could not record', async () => {
    const harness = new Harness()
    harness.demand = WAITING
    await harness.after(0)
    harness.ledger.failWrites('the disk is full')
    await harness.clock.advance(5 * MINUTE_MS)
    expect(harness.provider.calls.launch).toBe(0)
    expect(harness.money.unsettled()).toEqual([])
  })
})
