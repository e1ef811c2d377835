import { describe, expect, it } from 'vitest'
import { amount, renderBudget } from '../../../clients/cli/commands/budget.ts'
import type { LimitState, NamedBudget } from '../../../coordinator/index.ts'

const state = (init: Partial<LimitState>): LimitState => ({
  ...{ period: 'day', from: '2026-11-22', turnsAtMs: 1, spentMicros: 0, reservedMicros: 0 },
  ...init,
})
const budget = (init: Partial<NamedBudget> = {}): NamedBudget => ({
  ...{ object: 'budget', atLimit: 'refuse', periods: [state({}), state({ period: 'month', from: '2026-11-01' })] },
  ...{ tenants: [], leases: [], changes: [] },
  ...init,
})

describe('an amount', () => {
  it.each([
    ['5', 5_000_000],
    ['0', 0],
    ['0.25', 250_000],
    ['12.000001', 12_000_001],
    ['none', 'none'],
  ])('of %s is exact', (text, micros) => {
    expect(amount(text)).toBe(micros)
  })

  it.each(['', '-1', '.5', '5.', '1e3', '0.0000001', '5 EUR', '1,5', 'NaN', '9999999999'])('is not %j', (text) => {
    expect(() => amount(text)).toThrow('an amount such as')
  })
})

describe('renderBudget', () => {
  it('says that nothing is spent while nothing is set', () => {
    const text = renderBudget(budget())
    expect(text).toContain('No budget is set: nothing is spent.')
    expect(text).toMatch(/all +day +2026-11-22 +none +0\.00 +0\.00 +-/)
  })

  it('shows limits of all and of keys, rented machines, and what happens at the limit', () => {
    const limits = { limitMicros: 5_000_000, spentMicros: 1_234_567, reservedMicros: 10, leftMicros: 3_765_423 }
    const text = renderBudget(
      budget({
        ...{ atLimit: 'local', localModel: 'qwen3-4b' },
        periods: [state(limits), state({ period: 'month', from: '2026-11-01' })],
        tenants: [
          {
            ...{ tenant: 'key:a', name: 'phone\u001b[2J', atLimit: 'wait' },
            periods: [state({}), state({ period: 'month', limitMicros: 100, leftMicros: 100 })],
          },
        ],
        leases: [{ leaseId: 'l-1', reservedMicros: 900_000 }],
      }),
    )
    const lines = text.split('\n')
    expect(lines[1]).toMatch(/all +day +2026-11-22 +5\.00 +1\.234567 +0\.00001 +3\.765423/)
    expect(lines[3]).toMatch(/phone.* +month +2026-11-22 +0\.0001 +0\.00 +0\.00 +0\.0001 +wait/)
    expect(lines.slice(4)).toEqual(['rented: l-1, 0.90 set aside', 'At the limit: local (qwen3-4b).'])
    expect(text).not.toContain('\u001b')
  })
})
