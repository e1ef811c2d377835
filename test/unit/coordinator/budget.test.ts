import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { beginOf, dayOf, endMsOf, type Period } from '../../../coordinator/dispatch/budget-periods.ts'
import { Budget, costMicros, type Reserved, type Short } from '../../../coordinator/dispatch/budget.ts'
import type { BudgetTerms } from '../../../coordinator/ledger/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'

const DAY_MS = 86_400_000
const KEY = 'key:a'
/** 2024-10-04, 08:00 UTC. */
const MORNING = 20_000 * DAY_MS + DAY_MS / 3

/** A clock whose wall can be put anywhere. */
class WallClock extends ManualClock {
  wall = MORNING
  override wallMs(): number {
    return this.wall
  }
}

function setUp(terms: BudgetTerms = {}): { clock: WallClock; budget: Budget } {
  const clock = new WallClock()
  return { clock, budget: new Budget({ clock }, terms) }
}

describe('periods', () => {
  it('are days and months of UTC, over the ends of years and leap years', () => {
    const day = (text: string): number => dayOf(Date.parse(text))
    expect(beginOf('day', 20_000)).toBe(20_000)
    expect(beginOf('month', day('2024-02-29'))).toBe(day('2024-02-01'))
    expect(endMsOf('month', day('2024-02-29'))).toBe(Date.parse('2024-03-01'))
    expect(endMsOf('month', day('2026-12-31T23:59:59Z'))).toBe(Date.parse('2027-01-01'))
    expect(endMsOf('day', day('2026-12-31T23:59:59Z'))).toBe(Date.parse('2027-01-01'))
  })
})

describe('Budget', () => {
  it('allows nothing unless a limit is set', () => {
    const { budget } = setUp()
    expect(budget.left(KEY)).toBe(0)
    for (const amount of [1, 0.001, Number.NaN, -1]) expect(budget.reserve(KEY, amount)).toBeUndefined()
    expect(budget.shortOf(KEY, 1)).toMatchObject({ isUnset: true, leftMicros: 0 })
    // a limit of a key alone says nothing about all
    budget.setTerms(KEY, { dayMicros: 100 })
    expect(budget.left(KEY)).toBe(0)
    budget.setTerms(undefined, { monthMicros: 50 })
    expect(budget.left(KEY)).toBe(50)
  })

  it('sets aside, then counts what was spent instead, once', () => {
    const { budget } = setUp({ dayMicros: 100 })
    const reserved = budget.reserve(KEY, 60)!
    expect(budget.left()).toBe(40)
    expect(budget.reserve(KEY, 41)).toBeUndefined()
    expect(budget.snapshot()).toEqual({
      ...{ period: 'day', day: '2024-10-04', limitMicros: 100, spentMicros: 0, reservedMicros: 60, leftMicros: 40 },
    })
    budget.settle(reserved, 10)
    budget.settle(reserved, 10)
    expect(budget.snapshot()).toMatchObject({ spentMicros: 10, reservedMicros: 0, leftMicros: 90 })
    // an amount that is none counts as all that was set aside
    budget.settle(budget.reserve(KEY, 20)!, Number.NaN)
    expect(budget.snapshot()).toMatchObject({ spentMicros: 30, leftMicros: 70 })
  })

  it('takes all limits that apply or none: of the day, of the month, of all and of a key', () => {
    const { budget } = setUp({ dayMicros: 100, monthMicros: 150 })
    budget.setTerms(KEY, { dayMicros: 30 })
    expect(budget.reserve(KEY, 31)).toBeUndefined()
    expect(budget.left('key:b')).toBe(100)
    budget.settle(budget.reserve(KEY, 30)!, 30)
    expect(budget.left(KEY)).toBe(0)
    expect(budget.left('key:b')).toBe(70)
    // machines count in all alone
    expect(budget.reserve(undefined, 70)).toBeDefined()
    expect(budget.left('key:b')).toBe(0)
    expect(budget.states().map(({ leftMicros }) => leftMicros)).toEqual([0, 50])
    expect(budget.states(KEY)).toMatchObject([{ tenant: KEY, spentMicros: 30, limitMicros: 30 }, { spentMicros: 30 }])
  })

  it('begins again with the day and the month, and not when the clock is put back', () => {
    const { clock, budget } = setUp({ dayMicros: 100, monthMicros: 150 })
    budget.settle(budget.reserve(KEY, 100)!, 100)
    clock.wall -= 3 * DAY_MS
    expect(budget.left()).toBe(0)
    clock.wall += 4 * DAY_MS
    expect(budget.left()).toBe(50)
    budget.settle(budget.reserve(KEY, 30)!, 30)
    clock.wall -= DAY_MS
    expect(budget.left()).toBe(20)
    clock.wall = Date.parse('2024-11-01')
    expect(budget.left()).toBe(100)
  })

  it('counts what is settled after midnight in the periods that it was set aside in', () => {
    const { clock, budget } = setUp({ dayMicros: 100, monthMicros: 150 })
    const reserved = budget.reserve(KEY, 80)!
    clock.wall += DAY_MS
    expect(budget.left()).toBe(70)
    budget.settle(reserved, 30)
    expect(budget.states()).toMatchObject([{ spentMicros: 0 }, { spentMicros: 30, reservedMicros: 0 }])
    const old = budget.reserve(KEY, 80)!
    clock.wall = Date.parse('2024-11-02')
    budget.settle(old, 80)
    expect(budget.left()).toBe(100)
  })

  it('goes on after a restart, even with the clock put back', () => {
    const { clock, budget } = setUp({ dayMicros: 100, monthMicros: 200 })
    const today = dayOf(clock.wall)
    budget.restore([
      { tenant: KEY, day: today - 1, micros: 99 },
      { day: today, micros: 30 },
      { tenant: KEY, day: today - 40, micros: 7 },
    ])
    expect(budget.states().map(({ spentMicros }) => spentMicros)).toEqual([30, 129])
    expect(budget.states(KEY).map(({ spentMicros }) => spentMicros)).toEqual([0, 99])
    expect(budget.left()).toBe(70)
    expect(budget.restoreSinceMs()).toBe(Date.parse('2024-10-01'))
    const putBack = new Budget({ clock }, { dayMicros: 100 })
    putBack.restore([
      { tenant: KEY, day: today, micros: 30 },
      { tenant: KEY, day: today + 1, micros: 90 },
    ])
    expect(putBack.left()).toBe(10)
  })

  it('is not below zero when more was taken than was set aside, and allows nothing more', () => {
    const { budget } = setUp({ dayMicros: 100 })
    budget.settle(budget.reserve(KEY, 90)!, 120)
    expect(budget.snapshot()).toMatchObject({ spentMicros: 120, leftMicros: 0 })
    expect(budget.states()[0]).toMatchObject({ overMicros: 20 })
    expect(budget.reserve(KEY, 1)).toBeUndefined()
  })

  it('lowered below what is set aside takes nothing back, and says so', () => {
    const { budget } = setUp({ dayMicros: 100 })
    const reserved = budget.reserve(KEY, 60)!
    budget.setTerms(undefined, { dayMicros: 50 })
    expect(budget.states()[0]).toMatchObject({ leftMicros: 0, overMicros: 10 })
    expect(budget.reserve(KEY, 1)).toBeUndefined()
    budget.settle(reserved, 20)
    expect(budget.left()).toBe(30)
  })

  it('says which limit is short, and once in its period', () => {
    const { clock, budget } = setUp({ dayMicros: 100, monthMicros: 1000 })
    budget.setTerms(KEY, { monthMicros: 20 })
    const told: Short[] = []
    budget.onExhausted((short) => void told.push(short))
    const ask = (): void => budget.tellExhausted(budget.shortOf(KEY, 25)!)
    expect(budget.shortOf(KEY, 20)).toBeUndefined()
    for (let i = 0; i < 3; i++) ask()
    expect(told).toMatchObject([{ period: 'month', tenant: KEY, leftMicros: 20, neededMicros: 25, isUnset: false }])
    expect(budget.shortOf('key:b', 101)).toMatchObject({ period: 'day', leftMicros: 100 })
    clock.wall = Date.parse('2024-11-01')
    ask()
    expect(told).toHaveLength(2)
    budget.setTerms(KEY, { monthMicros: 21 })
    ask()
    expect(told).toHaveLength(3)
  })

  it('knows whether money may come free: when what is set aside is settled, or the period turns in time', () => {
    const { clock, budget } = setUp({ dayMicros: 100 })
    const soon = clock.wall + 1000
    const reserved = budget.reserve(KEY, 90)!
    expect(budget.mayComeFree(KEY, 50, soon)).toBe(true)
    expect(budget.mayComeFree(KEY, 101, Infinity)).toBe(false)
    let freed = 0
    const stop = budget.onFree(() => freed++)
    budget.settle(reserved, 90)
    expect(freed).toBe(0)
    expect(budget.mayComeFree(KEY, 50, soon)).toBe(false)
    expect(budget.mayComeFree(KEY, 50, clock.wall + DAY_MS)).toBe(true)
    budget.settle(budget.reserve(KEY, 10)!, 4)
    expect(freed).toBe(1)
    budget.setTerms(undefined, { dayMicros: 200 })
    expect(freed).toBe(2)
    stop()
    budget.setTerms(undefined, {})
    expect(freed).toBe(2)
  })

  it('rounds costs up', () => {
    expect(costMicros({ inputPerMillion: 0.1, outputPerMillion: 0.5 }, 1, 1)).toBe(1)
    expect(costMicros({ inputPerMillion: 3, outputPerMillion: 15 }, 1_000_000, 0)).toBe(3_000_000)
  })
})

/** What a reference knows of each sum: nothing but where it counts. */
interface Entry {
  readonly day: number
  readonly tenant: string | undefined
  amount: number
}

/** The budget as a list of sums that is added up whenever it is asked. */
class Reference {
  readonly entries: Entry[] = []
  readonly terms = new Map<string | undefined, BudgetTerms>()
  day = 0

  sum(period: Period, tenant: string | undefined): number {
    const begin = beginOf(period, this.day)
    const counted = this.entries.filter(
      (entry) => beginOf(period, entry.day) === begin && (tenant === undefined || entry.tenant === tenant),
    )
    return counted.reduce((sum, { amount }) => sum + amount, 0)
  }

  left(tenant: string | undefined): number {
    const limits = (of: string | undefined): number[] => {
      const { dayMicros, monthMicros } = this.terms.get(of) ?? {}
      return [
        ...(dayMicros === undefined ? [] : [dayMicros - this.sum('day', of)]),
        ...(monthMicros === undefined ? [] : [monthMicros - this.sum('month', of)]),
      ]
    }
    const ofAll = limits(undefined)
    return ofAll.length === 0 ? 0 : Math.max(0, Math.min(...ofAll, ...(tenant === undefined ? [] : limits(tenant))))
  }
}

describe('the budget beside a reference', () => {
  const who = fc.constantFrom(undefined, 'key:a', 'key:b')
  const limit = fc.option(fc.integer({ min: 0, max: 120 }), { nil: undefined })
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant('reserve' as const), who, amount: fc.integer({ min: 0, max: 60 }) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('settle' as const),
        which: fc.nat(20),
        percent: fc.integer({ min: 0, max: 100 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('clock' as const),
        ms: fc.integer({ min: -3 * DAY_MS, max: 12 * DAY_MS }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('terms' as const), who, dayMicros: limit, monthMicros: limit }),
    },
    { weight: 1, arbitrary: fc.constant({ do: 'restart' as const }) },
  )

  it('leaves the same, and is never exceeded, whatever clock, owner and crashes do', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const clock = new WallClock()
        const reference = new Reference()
        const opening = { dayMicros: 100, monthMicros: 250 }
        reference.terms.set(undefined, opening)
        let budget = new Budget({ clock }, opening)
        let open: { readonly reserved: Reserved; readonly entry: Entry }[] = []
        // a day is not there before it was looked at
        budget.left()
        for (const each of steps) {
          reference.day = Math.max(reference.day, dayOf(clock.wall))
          if (each.do === 'clock') clock.wall += each.ms
          if (each.do === 'terms') {
            const terms = Object.fromEntries(
              Object.entries({ dayMicros: each.dayMicros, monthMicros: each.monthMicros }).filter(
                ([, v]) => v !== undefined,
              ),
            )
            reference.terms.set(each.who, terms)
            budget.setTerms(each.who, terms)
          }
          if (each.do === 'reserve') {
            const reserved = budget.reserve(each.who, each.amount)
            expect(reserved !== undefined).toBe(each.amount <= reference.left(each.who))
            const entry = { day: reference.day, tenant: each.who, amount: each.amount }
            if (reserved) open.push({ reserved, entry })
            if (reserved) expect(reserved.day).toBe(reference.day)
            if (reserved) reference.entries.push(entry)
          }
          if (each.do === 'settle' && open.length > 0) {
            const [{ reserved, entry }] = open.splice(each.which % open.length, 1) as [(typeof open)[number]]
            entry.amount = Math.floor((reserved.amountMicros * each.percent) / 100)
            budget.settle(reserved, entry.amount)
          }
          if (each.do === 'restart') {
            // what was open is of unknown cost: it counts with all that was set aside
            budget = new Budget({ clock }, reference.terms.get(undefined))
            for (const [tenant, terms] of reference.terms) budget.setTerms(tenant, terms)
            budget.restore(
              reference.entries.map(({ day, tenant, amount: micros }) => ({
                day,
                micros,
                ...(tenant !== undefined && { tenant }),
              })),
            )
            open = []
            // a day ahead of the clock is believed where something was set aside on it
            reference.day = Math.max(dayOf(clock.wall), ...reference.entries.map(({ day }) => day))
          }
          reference.day = Math.max(reference.day, dayOf(clock.wall))
          for (const tenant of [undefined, 'key:a', 'key:b']) expect(budget.left(tenant)).toBe(reference.left(tenant))
        }
      }),
      { numRuns: 300 },
    )
  })
})
