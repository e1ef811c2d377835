import { describe, expect, it } from 'vitest'
import {
  decideFleet,
  UP_AGE_MS,
  UP_FULL_MS,
  type FleetMachine,
  type PoolMemory,
  type PoolView,
} from '../../../coordinator/cloud/index.ts'
import { MINUTE_MS, NOTHING, POOL, QUOTE } from './support.ts'

const machine = (leaseId: string, phase: FleetMachine['phase'], running = 0, more = {}): FleetMachine => ({
  ...{ leaseId, phase, ageMs: 30 * MINUTE_MS, quote: QUOTE },
  ...(phase === 'ready' && { load: { running, slots: 4, waiting: 0, kvUsed: 0, ...more } }),
})
const view = (machines: readonly FleetMachine[], more: Partial<PoolView> = {}): PoolView => ({
  ...{ settings: POOL, machines, demand: NOTHING, isHeldOff: false, isOrdering: false },
  ...more,
})
const NO_MEMORY: ReadonlyMap<string, PoolMemory> = new Map()

/** Actions at the end of `ms` in which nothing has changed, looked at twice. */
function later(pool: PoolView, ms: number): readonly object[] {
  const { memory } = decideFleet([pool], NO_MEMORY, 1000)
  return decideFleet([pool], memory, 1000 + ms).actions
}

describe('the size of a fleet', () => {
  const waits = (oldestMs: number, isOnlyHope = false) => ({ demand: { waiting: 3, oldestMs, isOnlyHope } })

  it('orders when work has waited, and not before', () => {
    expect(later(view([], waits(UP_AGE_MS - 1)), 0)).toEqual([])
    expect(later(view([], waits(UP_AGE_MS)), 0)).toMatchObject([{ kind: 'order', pool: 'big' }])
    expect(later(view([], waits(0, true)), 0)).toMatchObject([{ kind: 'order' }])
  })

  it('orders when all machines are full for a while: by slots, by what waits inside, by memory', () => {
    for (const full of [
      machine('a', 'ready', 4),
      machine('a', 'ready', 1, { waiting: 1 }),
      machine('a', 'ready', 1, { kvUsed: 0.95 }),
    ]) {
      expect(later(view([full]), UP_FULL_MS - 1)).toEqual([])
      expect(later(view([full]), UP_FULL_MS)).toMatchObject([{ kind: 'order' }])
    }
    expect(
      later(view([machine('a', 'ready', 4), machine('b', 'ready', 3)], { settings: { ...POOL, max: 3 } }), UP_FULL_MS),
    ).toEqual([])
  })

  it('orders one at a time for a model, within the maximum, and nothing while it is held off', () => {
    const urgent = waits(UP_AGE_MS)
    expect(later(view([machine('a', 'pending')], urgent), 0)).toEqual([])
    expect(later(view([], { ...urgent, isOrdering: true }), 0)).toEqual([])
    expect(later(view([], { ...urgent, isHeldOff: true }), 0)).toEqual([])
    expect(later(view([machine('a', 'ready', 4), machine('b', 'ready', 4)], urgent), 0)).toEqual([])
    expect(later(view([machine('a', 'ready', 4), machine('b', 'leaving')], urgent), 0)).toMatchObject([
      { kind: 'order' },
    ])
    const other = view([], { ...urgent, settings: { ...POOL, name: 'other' } })
    const pools = [view([], urgent), other]
    expect(decideFleet(pools, NO_MEMORY, 0).actions).toMatchObject([{ pool: 'big' }])
    expect(decideFleet([view([machine('a', 'pending')]), other], NO_MEMORY, 0).actions).toEqual([])
  })

  it('keeps the minimum, busy or not', () => {
    const settings = { ...POOL, min: 1 }
    expect(later(view([], { settings }), 0)).toMatchObject([{ kind: 'order' }])
    expect(later(view([machine('a', 'ready')], { settings }), 60 * MINUTE_MS)).toEqual([])
  })

  it('releases the least busy when the others would be half empty for as long as it is set, one at a time', () => {
    const pool = view([machine('a', 'ready', 2), machine('b', 'ready', 0)])
    expect(later(pool, 5 * MINUTE_MS - 1)).toEqual([])
    expect(later(pool, 5 * MINUTE_MS)).toEqual([{ kind: 'release', leaseId: 'b', why: 'idle' }])
    expect(later(view([machine('a', 'ready', 2), machine('b', 'ready', 1)]), 60 * MINUTE_MS)).toEqual([])
    const { memory } = decideFleet([pool], decideFleet([pool], NO_MEMORY, 0).memory, 5 * MINUTE_MS)
    expect(decideFleet([pool], memory, 5 * MINUTE_MS + 1).actions).toEqual([])
  })

  it('neither orders nor releases between the two', () => {
    for (const running of [1, 2, 3]) expect(later(view([machine('a', 'ready', running)]), 60 * MINUTE_MS)).toEqual([])
  })

  it('keeps a machine that is paid for to the end of its hour', () => {
    const quote = { ...QUOTE, billedStepMs: 60 * MINUTE_MS }
    const aged = (minutes: number) => view([{ ...machine('a', 'ready'), quote, ageMs: minutes * MINUTE_MS }])
    expect(later(aged(30), 10 * MINUTE_MS)).toEqual([])
    expect(later(aged(58), 10 * MINUTE_MS)).toMatchObject([{ kind: 'release' }])
    expect(later(aged(61), 10 * MINUTE_MS)).toEqual([])
  })

  it('releases what is over the maximum at once', () => {
    const settings = { ...POOL, max: 0 }
    expect(later(view([machine('a', 'pending')], { settings }), 0)).toMatchObject([{ kind: 'release', leaseId: 'a' }])
  })
})
