import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Budget, costMicros, dayOf, type Reserved } from '../../../coordinator/dispatch/budget.ts'
import { asTaskId } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'

const DAY_MS = 86_400_000
const TASK = asTaskId('task_1')

/** A clock whose wall can be put anywhere. */
class WallClock extends ManualClock {
  wall = 20_000 * DAY_MS
  override wallMs(): number {
    return this.wall
  }
}

describe('Budget', () => {
  it('allows nothing unless a limit is set', () => {
    const budget = new Budget({ clock: new WallClock() })
    expect(budget.left()).toBe(0)
    expect(budget.reserve(TASK, 1)).toBeUndefined()
    expect(budget.reserve(TASK, 0.001)).toBeUndefined()
    expect(budget.reserve(TASK, Number.NaN)).toBeUndefined()
    expect(budget.reserve(TASK, -1)).toBeUndefined()
  })

  it('sets aside, then counts what was spent instead, once', () => {
    const budget = new Budget({ clock: new WallClock() }, 100)
    const reserved = budget.reserve(TASK, 60)!
    expect(budget.left()).toBe(40)
    expect(budget.reserve(TASK, 41)).toBeUndefined()
    expect(budget.snapshot()).toEqual({
      day: '2024-10-04',
      limitMicros: 100,
      spentMicros: 0,
      reservedMicros: 60,
      leftMicros: 40,
    })
    budget.settle(reserved, 10)
    budget.settle(reserved, 10)
    expect(budget.snapshot()).toMatchObject({ spentMicros: 10, reservedMicros: 0, leftMicros: 90 })
  })

  it('begins again with the day, and not when the clock is put back', () => {
    const clock = new WallClock()
    const budget = new Budget({ clock }, 100)
    budget.settle(budget.reserve(TASK, 100)!, 100)
    clock.wall -= 3 * DAY_MS
    expect(budget.left()).toBe(0)
    clock.wall += 4 * DAY_MS
    expect(budget.left()).toBe(100)
    budget.settle(budget.reserve(TASK, 70)!, 70)
    clock.wall -= DAY_MS
    expect(budget.left()).toBe(30)
    clock.wall += DAY_MS
    expect(budget.left()).toBe(30)
  })

  it('counts what is settled after midnight on the day that it was set aside', () => {
    const clock = new WallClock()
    const budget = new Budget({ clock }, 100)
    const reserved = budget.reserve(TASK, 80)!
    clock.wall += DAY_MS
    expect(budget.left()).toBe(100)
    budget.settle(reserved, 30)
    expect(budget.left()).toBe(100)
  })

  it('goes on after a restart, even with the clock put back', () => {
    const clock = new WallClock()
    const today = dayOf(clock.wall)
    const budget = new Budget({ clock }, 100)
    budget.restore(new Map([[today - 1, 99]]))
    expect(budget.left()).toBe(100)
    budget.restore(new Map([[today, 30]]))
    expect(budget.left()).toBe(70)
    const putBack = new Budget({ clock }, 100)
    putBack.restore(
      new Map([
        [today, 30],
        [today + 1, 90],
      ]),
    )
    expect(putBack.left()).toBe(10)
  })

  it('is not below zero when a node took more than was set aside, and allows nothing more', () => {
    const budget = new Budget({ clock: new WallClock() }, 100)
    budget.settle(budget.reserve(TASK, 90)!, 120)
    expect(budget.snapshot()).toMatchObject({ spentMicros: 120, leftMicros: 0 })
    expect(budget.reserve(TASK, 1)).toBeUndefined()
  })

  it('rounds costs up', () => {
    expect(costMicros({ inputPerMillion: 0.1, outputPerMillion: 0.5 }, 1, 1)).toBe(1)
    expect(costMicros({ inputPerMillion: 3, outputPerMillion: 15 }, 1_000_000, 0)).toBe(3_000_000)
  })

  it('is never exceeded on any day, in any interleaving, whatever the clock does', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('reserve' as const), amount: fc.integer({ min: 0, max: 60 }) }),
      fc.record({
        kind: fc.constant('settle' as const),
        which: fc.nat(20),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      fc.record({ kind: fc.constant('clock' as const), ms: fc.integer({ min: -2 * DAY_MS, max: 2 * DAY_MS }) }),
      fc.constant({ kind: 'restart' as const }),
    )
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 }), fc.array(step, { maxLength: 60 }), (limit, steps) => {
        const clock = new WallClock()
        let budget = new Budget({ clock }, limit)
        let open: Reserved[] = []
        const committed = new Map<number, number>()
        const add = (day: number, amount: number): void => void committed.set(day, (committed.get(day) ?? 0) + amount)
        for (const each of steps) {
          if (each.kind === 'clock') clock.wall += each.ms
          if (each.kind === 'reserve') {
            const leftBefore = budget.left()
            const reserved = budget.reserve(TASK, each.amount)
            expect(reserved !== undefined).toBe(each.amount <= leftBefore)
            if (reserved) open.push(reserved)
            if (reserved) add(reserved.day, reserved.amountMicros)
          }
          if (each.kind === 'settle' && open.length > 0) {
            const [reserved] = open.splice(each.which % open.length, 1)
            const actual = Math.floor(reserved!.amountMicros * each.share)
            budget.settle(reserved!, actual)
            add(reserved!.day, actual - reserved!.amountMicros)
          }
          if (each.kind === 'restart') {
            // what was open is taken as spent in full
            budget = new Budget({ clock }, limit)
            budget.restore(new Map([...committed].filter(([, amount]) => amount > 0)))
            open = []
          }
          for (const amount of committed.values()) expect(amount).toBeLessThanOrEqual(limit)
          expect(budget.left()).toBeGreaterThanOrEqual(0)
          expect(budget.left()).toBeLessThanOrEqual(limit)
        }
      }),
    )
  })
})
