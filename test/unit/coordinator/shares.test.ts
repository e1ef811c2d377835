import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DrainRate, predictedWaitMs, retryAfterSeconds } from '../../../coordinator/dispatch/retry-after.ts'
import { Shares } from '../../../coordinator/dispatch/shares.ts'

describe('Shares', () => {
  const waiting = (...tenants: string[]): Shares => {
    const shares = new Shares()
    for (const tenant of tenants) shares.entered(tenant, 'default')
    return shares
  }

  it('weighs output twice, and keeps classes apart', () => {
    const shares = waiting('a', 'b')
    shares.charge('a', 'default', 100, 50)
    expect(shares.counter('a', 'default')).toBe(200)
    expect(shares.counter('b', 'default')).toBe(0)
    expect(shares.counter('a', 'bulk')).toBe(0)
  })

  it('lifts a tenant that comes back to the least of those that wait', () => {
    const shares = waiting('busy', 'busier')
    shares.charge('busy', 'default', 1000, 0)
    shares.charge('busier', 'default', 5000, 0)
    shares.entered('back', 'default')
    expect(shares.counter('back', 'default')).toBe(1000)
  })

  it('remembers what a tenant owes while it does not wait', () => {
    const shares = waiting('a', 'b')
    shares.charge('a', 'default', 500, 0)
    shares.left('a', 'default')
    shares.charge('a', 'default', 100, 0)
    shares.entered('a', 'default')
    expect(shares.counter('a', 'default')).toBe(600)
  })

  it('holds nothing against anybody that was done while nobody waited', () => {
    const shares = new Shares()
    shares.charge('heavy', 'default', 1_000_000, 0)
    shares.charge('light', 'default', 10, 0)
    shares.entered('new', 'default')
    shares.entered('heavy', 'default')
    shares.entered('light', 'default')
    const [a, b, c] = ['new', 'heavy', 'light'].map((tenant) => shares.counter(tenant, 'default'))
    expect([b, c]).toEqual([a, a])
  })

  it('counts a tenant as waiting until its last task has left', () => {
    const shares = waiting('a', 'a', 'b')
    shares.charge('b', 'default', 100, 0)
    shares.left('a', 'default')
    shares.entered('c', 'default')
    expect(shares.counter('c', 'default')).toBe(0)
    shares.left('a', 'default')
    shares.left('c', 'default')
    shares.entered('d', 'default')
    expect(shares.counter('d', 'default')).toBe(100)
  })

  it('goes on from whoever waited last, and forgives what is owed when others have had more', () => {
    const shares = waiting('a', 'debtor')
    shares.charge('a', 'default', 500, 0)
    shares.charge('debtor', 'default', 600, 0)
    shares.left('debtor', 'default')
    shares.left('a', 'default')
    expect(shares.counter('new', 'default')).toBe(500)
    expect(shares.counter('debtor', 'default')).toBe(600)
    shares.charge('other', 'default', 300, 0)
    expect(shares.counter('debtor', 'default')).toBe(800)
    expect(shares.counter('new', 'default')).toBe(800)
  })

  it('counts what is done for a tenant that does not wait from the least of those that do', () => {
    const shares = waiting('a')
    shares.charge('a', 'default', 1000, 0)
    shares.charge('b', 'default', 10, 0)
    expect(shares.counter('b', 'default')).toBe(1010)
  })

  it('remembers a debt among many that owe nothing', () => {
    const shares = waiting('w')
    shares.charge('debtor', 'default', 10, 0)
    for (let i = 0; i < 3000; i++) shares.charge(`tenant ${i}`, 'default', 0, 0)
    expect(shares.counter('debtor', 'default')).toBe(10)
  })

  it('forgives whoever has owed longest when too many owe', () => {
    const shares = waiting('w')
    for (let i = 0; i < 3000; i++) shares.charge(`tenant ${i}`, 'default', 10, 0)
    expect(shares.counter('tenant 0', 'default')).toBe(0)
    expect(shares.counter('tenant 2999', 'default')).toBe(10)
  })

  it('never lets the least counter of those that wait go down, and lets nobody in below it', () => {
    const tenant = fc.constantFrom('a', 'b', 'c', 'd')
    const step = fc.tuple(fc.constantFrom('entered', 'left', 'charge'), tenant, fc.nat(1000))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const shares = new Shares()
        const inLine: string[] = []
        let least = 0
        for (const [kind, name, amount] of steps) {
          const index = inLine.indexOf(name)
          if (kind === 'charge') shares.charge(name, 'default', amount, 0)
          if (kind === 'entered') inLine.push(name)
          if (kind === 'entered') shares.entered(name, 'default')
          if (kind === 'left' && index >= 0) {
            inLine.splice(index, 1)
            shares.left(name, 'default')
          }
          if (inLine.length === 0) continue
          const now = Math.min(...inLine.map((each) => shares.counter(each, 'default')))
          expect(now).toBeGreaterThanOrEqual(least)
          least = now
          expect(shares.counter('never seen', 'default')).toBe(now)
        }
      }),
    )
  })
})

describe('the predicted wait', () => {
  it('is told in whole seconds, within its bounds', () => {
    expect(retryAfterSeconds(10_000)).toBe(10)
    expect(retryAfterSeconds(10_001)).toBe(11)
    expect(retryAfterSeconds(0)).toBe(1)
    expect(retryAfterSeconds(1e12)).toBe(600)
    expect(retryAfterSeconds(undefined)).toBe(10)
    expect(retryAfterSeconds(Number.NaN)).toBe(10)
  })

  it('is what waits ahead by what all slots get through', () => {
    expect(predictedWaitMs(1000, 100)).toBe(10_000)
    expect(predictedWaitMs(1000, 100, 4)).toBe(2500)
    expect(predictedWaitMs(1000, 0)).toBeUndefined()
    expect(predictedWaitMs(1000, Number.NaN)).toBeUndefined()
  })

  it('knows how fast a line has lately been taken from', () => {
    const rate = new DrainRate(0)
    expect(rate.perSecond(1000)).toBe(0)
    for (let ms = 1000; ms <= 300_000; ms += 1000) rate.took(50, ms)
    expect(rate.perSecond(300_000)).toBeCloseTo(50, 0)
    for (let ms = 301_000; ms <= 900_000; ms += 1000) rate.took(10, ms)
    expect(rate.perSecond(900_000)).toBeCloseTo(10, 0)
  })
})
