import { describe, expect, it } from 'vitest'
import { Breaker } from '../../../coordinator/directory/breaker.ts'
import { LearnedRates, type RateSample } from '../../../coordinator/directory/rates.ts'
import { speed } from './snapshots.ts'

const CLAIMED = speed(1000, [1, 100], [4, 200])

/** An attempt beside `sequences` others that got this share of the claimed speeds. */
const sample = (share: number, sequences = 1): RateSample => ({
  prefillTokens: 1000,
  prefillMs: 1000 / share,
  decodeTokens: 100,
  decodeMs: (sequences === 4 ? 2000 : 1000) / share,
  sequences,
})
const learned = (count: number, each: (i: number) => RateSample): LearnedRates => {
  const rates = new LearnedRates()
  for (let i = 0; i < count; i++) rates.learn(CLAIMED, each(i))
  return rates
}

describe('LearnedRates', () => {
  it('believes the claim until something was delivered', () => {
    const rates = new LearnedRates()
    expect([rates.prefillCorrection(1), rates.decodeCorrection(4)]).toEqual([1, 1])
  })

  it('finds out within a few answers what a node that claims ten times its speed delivers', () => {
    const rates = learned(8, () => sample(0.1))
    expect(rates.prefillCorrection(1)).toBeLessThan(0.11)
    expect(rates.decodeCorrection(1)).toBeLessThan(0.11)
  })

  it('learns each level of load apart, and takes the nearest where nothing is known', () => {
    const rates = learned(10, (i) => (i % 2 === 0 ? sample(1, 1) : sample(0.5, 4)))
    expect(rates.decodeCorrection(1)).toBeCloseTo(1)
    expect(rates.decodeCorrection(4)).toBeCloseTo(0.5)
    expect(rates.decodeCorrection(64)).toBeCloseTo(0.5)
  })

  it('is not thrown by one outlier, however far it lies', () => {
    for (const share of [1e6, 1e-6]) {
      const rates = learned(20, () => sample(1))
      rates.learn(CLAIMED, sample(share))
      expect(Math.abs(Math.log2(rates.decodeCorrection(1)))).toBeLessThanOrEqual(0.5 + 1e-9)
    }
  })

  it('stays within its bounds and takes no nonsense', () => {
    expect(learned(50, () => sample(1e-6)).prefillCorrection(1)).toBe(0.05)
    expect(learned(50, () => sample(1e6)).prefillCorrection(1)).toBe(4)
    const rates = learned(1, () => ({ ...sample(1), prefillMs: 0, decodeMs: Number.NaN }))
    rates.learn(speed(0, [1, 1]), sample(1))
    expect(rates.prefillCorrection(1)).toBe(1)
  })

  it('leaves out what is too short to tell', () => {
    const rates = learned(1, () => ({ ...sample(0.1), prefillTokens: 10, decodeTokens: 3 }))
    expect([rates.prefillCorrection(1), rates.decodeCorrection(1)]).toEqual([1, 1])
  })

  it('a new claim does not undo what was delivered', () => {
    const rates = learned(10, () => sample(0.5))
    rates.rebase(CLAIMED, speed(4000, [1, 400], [4, 800]))
    expect(rates.prefillCorrection(1)).toBeCloseTo(0.125)
    expect(rates.decodeCorrection(1)).toBeCloseTo(0.125)
    rates.forget()
    expect(rates.prefillCorrection(1)).toBe(1)
  })
})

describe('Breaker', () => {
  const tripped = (): Breaker => {
    const breaker = new Breaker()
    for (let i = 0; i < 5; i++) breaker.addFailure(0)
    return breaker
  }

  it('opens after five failures in a row, no fewer', () => {
    const breaker = new Breaker()
    for (let i = 0; i < 4; i++) breaker.addFailure(0)
    breaker.addSuccess()
    for (let i = 0; i < 4; i++) breaker.addFailure(0)
    expect(breaker.isTripped(0)).toBe(false)
    breaker.addFailure(0)
    expect(breaker.isTripped(0)).toBe(true)
    expect(breaker.isTripped(29_999)).toBe(true)
    expect(breaker.isTripped(30_000)).toBe(false)
  })

  it('lets one task try, and closes when that went well', () => {
    const breaker = tripped()
    expect(breaker.begin(10_000)).toBe(false)
    expect(breaker.begin(30_000)).toBe(true)
    expect(breaker.isTripped(30_000)).toBe(true)
    expect(breaker.begin(30_000)).toBe(false)
    breaker.addSuccess()
    breaker.probeEnded()
    expect(breaker.isTripped(30_000)).toBe(false)
    expect(breaker.begin(30_000)).toBe(false)
  })

  it('stays open when it went badly, and lets another try when it told nothing', () => {
    const failed = tripped()
    failed.begin(30_000)
    failed.addFailure(31_000)
    failed.probeEnded()
    expect(failed.isTripped(60_999)).toBe(true)
    expect(failed.isTripped(61_000)).toBe(false)
    const untold = tripped()
    untold.begin(30_000)
    untold.probeEnded()
    expect(untold.begin(30_001)).toBe(true)
  })
})
