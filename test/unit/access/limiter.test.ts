import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { KeyRates, type RateLimits } from '../../../coordinator/access/limiter.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
const at = (nowMs: number, wallMs = nowMs) => ({ nowMs, wallMs })

describe('requests a minute', () => {
  it('are never more in any minute, however they come', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.array(fc.integer({ min: 0, max: 4000 }), { minLength: 1, maxLength: 300 }),
        (rate, pauses) => {
          const rates = new KeyRates()
          const admitted: number[] = []
          let nowMs = 0
          for (const pauseMs of pauses) {
            nowMs += pauseMs
            // as many as a client can ask at once
            while (rates.admit({ requestsPerMinute: rate }, at(nowMs)).isAllowed) {
              admitted.push(nowMs)
              if (admitted.length > 100_000) throw new TypeError('no limit at all')
            }
          }
          // whoever comes `rate` places behind another comes a minute later at least
          return admitted.every((fromMs, index) => (admitted[index + rate] ?? Infinity) >= fromMs + MINUTE_MS)
        },
      ),
    )
  })

  it('that one request comes to are paid off before the next: over time there are no more than without them', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.array(fc.integer({ min: 0, max: 16 }), { maxLength: 40 }),
        (rate, more) => {
          const rates = new KeyRates()
          const limits = { requestsPerMinute: rate }
          const { remaining: burst } = rates.states(limits, at(0)).requests!
          let nowMs = 0
          let asked = 0
          for (const further of more) {
            const verdict = rates.admit(limits, at(nowMs))
            if (!verdict.isAllowed) {
              // what it says is when it is let in
              nowMs += verdict.waitMs
              expect(rates.admit(limits, at(nowMs + 1e-6)).isAllowed).toBe(true)
            }
            expect(asked).toBeLessThanOrEqual(burst + (nowMs / MINUTE_MS) * rate)
            rates.count(limits, further, at(nowMs))
            asked += 1 + further
          }
        },
      ),
    )
    const unbounded = new KeyRates()
    unbounded.count({}, 16, at(0))
    expect(unbounded.admit({}, at(0)).isAllowed).toBe(true)
  })

  it('are never more in any minute over restarts', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 4000 }), fc.boolean()), { minLength: 1, maxLength: 100 }),
        (rate, steps) => {
          const limits = { requestsPerMinute: rate }
          let rates = new KeyRates()
          const admitted: number[] = []
          let nowMs = 0
          for (const [pauseMs, isRestart] of steps) {
            nowMs += pauseMs
            if (isRestart) {
              rates = new KeyRates()
              const minuteRequests = admitted.filter((ms) => ms > nowMs - MINUTE_MS).length
              rates.restore(limits, { minuteRequests, minuteTokens: 0, dayTokens: 0 }, at(nowMs))
            }
            while (rates.admit(limits, at(nowMs)).isAllowed && admitted.length < 10_000) admitted.push(nowMs)
          }
          return admitted.every((fromMs, index) => (admitted[index + rate] ?? Infinity) >= fromMs + MINUTE_MS)
        },
      ),
    )
  })

  it('may come in a burst of a tenth, and then evenly', () => {
    const rates = new KeyRates()
    const limits = { requestsPerMinute: 60 }
    const burst = Array.from({ length: 7 }, () => rates.admit(limits, at(0)).isAllowed)
    expect(burst).toEqual([true, true, true, true, true, true, false])
    // 54 more in the rest of the minute
    const verdict = rates.admit(limits, at(0))
    expect(verdict).toMatchObject({ isAllowed: false, name: 'requests' })
    expect((verdict as { waitMs: number }).waitMs).toBeCloseTo(MINUTE_MS / 55)
    expect(rates.admit(limits, at(MINUTE_MS / 55 + 1e-6)).isAllowed).toBe(true)
  })

  it('are let in after just the time that a refusal names', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1000 }), (rate) => {
        const rates = new KeyRates()
        const limits = { requestsPerMinute: rate }
        let verdict = rates.admit(limits, at(5))
        while (verdict.isAllowed) verdict = rates.admit(limits, at(5))
        expect(rates.admit(limits, at(5 + verdict.waitMs * 0.99)).isAllowed).toBe(false)
        expect(rates.admit(limits, at(5 + verdict.waitMs + 1e-6)).isAllowed).toBe(true)
      }),
    )
  })

  it('that are refused count for nothing', () => {
    const rates = new KeyRates()
    const limits = { requestsPerMinute: 1 }
    expect(rates.admit(limits, at(0)).isAllowed).toBe(true)
    for (let nowMs = 0; nowMs < MINUTE_MS; nowMs += 1000) expect(rates.admit(limits, at(nowMs)).isAllowed).toBe(false)
    expect(rates.admit(limits, at(MINUTE_MS)).isAllowed).toBe(true)
  })
})

describe('tokens', () => {
  it('of a minute that were overdrawn are paid back before the next is let in', () => {
    const rates = new KeyRates()
    const limits: RateLimits = { tokensPerMinute: 100 }
    expect(rates.admit(limits, at(0)).isAllowed).toBe(true)
    rates.charge(limits, 299, at(0))
    expect(rates.admit(limits, at(0))).toEqual({ isAllowed: false, name: 'tokens', waitMs: 2 * MINUTE_MS })
    expect(rates.admit(limits, at(2 * MINUTE_MS - 700)).isAllowed).toBe(false)
    expect(rates.admit(limits, at(2 * MINUTE_MS)).isAllowed).toBe(true)
  })

  it('over any time are the rate and one overdraft at most', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.array(fc.record({ pauseMs: fc.nat(20_000), tokens: fc.nat(500) }), { maxLength: 100 }),
        (rate, asks) => {
          const rates = new KeyRates()
          const limits = { tokensPerMinute: rate }
          let nowMs = 0
          let used = 0
          for (const { pauseMs, tokens } of asks) {
            nowMs += pauseMs
            if (!rates.admit(limits, at(nowMs)).isAllowed) continue
            rates.charge(limits, tokens, at(nowMs))
            used += tokens
          }
          return used <= rate + (nowMs / MINUTE_MS) * rate + 500
        },
      ),
    )
  })

  it('of a day are there again with the next day of UTC', () => {
    const rates = new KeyRates()
    const limits = { tokensPerDay: 100 }
    rates.charge(limits, 100, at(0, DAY_MS / 2))
    expect(rates.admit(limits, at(0, DAY_MS / 2))).toEqual({ isAllowed: false, name: 'tokens-day', waitMs: DAY_MS / 2 })
    expect(rates.admit(limits, at(0, DAY_MS - 1)).isAllowed).toBe(false)
    expect(rates.admit(limits, at(0, DAY_MS)).isAllowed).toBe(true)
  })

  it('are not given back by a clock that is put back', () => {
    const rates = new KeyRates()
    const limits = { tokensPerDay: 100 }
    rates.charge(limits, 100, at(0, 5 * DAY_MS))
    expect(rates.admit(limits, at(0, 4 * DAY_MS)).isAllowed).toBe(false)
  })

  it('of before a restart count', () => {
    const rates = new KeyRates()
    const limits = { tokensPerMinute: 200, tokensPerDay: 500 }
    rates.restore(limits, { minuteRequests: 3, minuteTokens: 150, dayTokens: 400 }, at(1000, DAY_MS))
    expect(rates.states(limits, at(1000, DAY_MS))).toEqual({
      tokens: { limit: 200, remaining: 50, resetMs: 45_000 },
      'tokens-day': { limit: 500, remaining: 100, resetMs: DAY_MS },
    })
  })
})

describe('what is left', () => {
  it('is what can be asked at once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.nat(200), fc.nat(MINUTE_MS), (rate, asked, laterMs) => {
        const rates = new KeyRates()
        const limits = { requestsPerMinute: rate }
        for (let i = 0; i < asked; i++) rates.admit(limits, at(0))
        const { remaining, limit } = rates.states(limits, at(laterMs)).requests!
        expect(limit).toBe(rate)
        let allowed = 0
        while (rates.admit(limits, at(laterMs)).isAllowed) allowed++
        // a bound that is met to the last bit of a number may fall to either side
        expect(Math.abs(allowed - remaining)).toBeLessThanOrEqual(1)
      }),
    )
  })

  it('is nothing where there is no limit', () => {
    expect(new KeyRates().states({}, at(0))).toEqual({})
    expect(new KeyRates().admit({}, at(0))).toEqual({ isAllowed: true })
  })
})
