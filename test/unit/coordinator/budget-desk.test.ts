/** What the owner sets and what machines cost, in the ledger and over restarts. */
import { beforeEach, describe, expect, it } from 'vitest'
import { Budget, BudgetDesk } from '../../../coordinator/dispatch/index.ts'
import { MemoryLedger, type BudgetEvent } from '../../../coordinator/ledger/index.ts'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'

const DAY_MS = 86_400_000

class WallClock extends ManualClock {
  wall = 20_000 * DAY_MS
  override wallMs(): number {
    return this.wall
  }
}

let clock: WallClock
let ledger: MemoryLedger
let budget: Budget
let desk: BudgetDesk
let told: BudgetEvent[]

const opened = async (): Promise<void> => {
  budget = new Budget({ clock })
  desk = new BudgetDesk({ clock, log: silentLogger, budget, ledger, onSet: (event) => void told.push(event) })
  await settled(desk.start())
}
/** The result of `work`, for which the disk takes its time. */
async function settled<T>(work: Promise<T>): Promise<T> {
  let isOver = false
  void work.then(
    () => (isOver = true),
    () => (isOver = true),
  )
  for (let i = 0; i < 50 && !isOver; i++) await clock.advance(1)
  return work
}
const restart = async (): Promise<void> => {
  ledger = ledger.reopen()
  await opened()
}

beforeEach(async () => {
  clock = new WallClock()
  ledger = new MemoryLedger({ clock }, { commitMs: 1 })
  told = []
  await opened()
})

describe('what the owner sets', () => {
  it('holds when it is durable, goes on after a restart, and is on record with who and when', async () => {
    const setting = desk.set({ dayMicros: 5_000_000, atLimit: 'wait' }, 'local')
    expect(budget.left()).toBe(0)
    expect(await settled(setting)).toMatchObject({ atLimit: 'wait', periods: [{ limitMicros: 5_000_000 }, {}] })
    clock.wall += 1000
    await settled(desk.set({ tenant: 'key:a', monthMicros: 300 }, 'key:owner'))
    await restart()
    expect(budget.left('key:a')).toBe(300)
    expect(budget.left('key:b')).toBe(5_000_000)
    const { tenants, changes } = desk.view()
    expect(tenants).toMatchObject([{ tenant: 'key:a', periods: [{ period: 'day' }, { limitMicros: 300 }] }])
    expect(changes).toEqual([
      { atMs: clock.wall, by: 'key:owner', tenant: 'key:a', terms: { monthMicros: 300 } },
      { atMs: clock.wall - 1000, by: 'local', terms: { dayMicros: 5_000_000, atLimit: 'wait' } },
    ])
    expect(told.map(({ by }) => by)).toEqual(['local', 'key:owner'])
  })

  it('changes only what is named, and null takes it away', async () => {
    await settled(desk.set({ dayMicros: 10, monthMicros: 20, atLimit: 'local', localModel: 'tiny' }, 'local'))
    await settled(desk.set({ dayMicros: null, atLimit: 'refuse' }, 'local'))
    expect(budget.terms.get(undefined)).toEqual({ monthMicros: 20, atLimit: 'refuse', localModel: 'tiny' })
    await settled(desk.set({ tenant: 'key:a', dayMicros: 1 }, 'local'))
    await settled(desk.set({ tenant: 'key:a', dayMicros: null }, 'local'))
    expect(desk.view().tenants).toEqual([])
  })

  it('is refused where "local" has no model, and changes nothing where the ledger cannot be written', async () => {
    await expect(settled(desk.set({ atLimit: 'local' }, 'local'))).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    ledger.failWrites('the disk is full')
    await expect(settled(desk.set({ dayMicros: 9 }, 'local'))).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
    expect(budget.left()).toBe(0)
    ledger.failWrites(undefined)
    await settled(desk.set({ dayMicros: 9 }, 'local'))
    expect(budget.left()).toBe(9)
  })

  it('of a tenant says what happens at its limit before what is said for all', async () => {
    await settled(desk.set({ dayMicros: 10, atLimit: 'local', localModel: 'tiny' }, 'local'))
    await settled(desk.set({ tenant: 'key:a', atLimit: 'refuse' }, 'local'))
    expect(budget.choiceFor('key:a')).toEqual({ atLimit: 'refuse' })
    expect(budget.choiceFor('key:b')).toEqual({ atLimit: 'local', localModel: 'tiny' })
  })
})

describe('a rented machine', () => {
  beforeEach(() => settled(desk.set({ dayMicros: 1000 }, 'local')))

  it('has hours set aside, more of them later, and is settled with what it cost in all', async () => {
    expect(await settled(desk.reserveLease('lease-1', 100.4, 3))).toBe(true)
    expect(await settled(desk.reserveLease('lease-1', 100.4, 1))).toBe(true)
    expect(desk.leases()).toEqual([{ leaseId: 'lease-1', reservedMicros: 302 + 101 }])
    expect(await settled(desk.reserveLease('lease-2', 598, 1))).toBe(false)
    expect(budget.left()).toBe(1000 - 403)
    await settled(desk.settleLease('lease-1', 330))
    await settled(desk.settleLease('lease-1', 900))
    expect(desk.leases()).toEqual([])
    expect(budget.left()).toBe(670)
    await restart()
    expect(budget.left()).toBe(670)
  })

  it('that was not settled counts with what is set aside for it after a restart, and can be settled then', async () => {
    await settled(desk.reserveLease('lease-1', 100, 4))
    clock.wall += DAY_MS
    await settled(desk.reserveLease('lease-1', 100, 2))
    await restart()
    expect(desk.leases()).toEqual([{ leaseId: 'lease-1', reservedMicros: 600 }])
    expect(budget.states()).toMatchObject([{ reservedMicros: 200, spentMicros: 0 }, { reservedMicros: 600 }])
    await settled(desk.settleLease('lease-1', 450))
    // the hours that were set aside first are those that were used first
    expect(budget.states()).toMatchObject([{ reservedMicros: 0, spentMicros: 50 }, { spentMicros: 450 }])
    await restart()
    expect(budget.states()).toMatchObject([{ spentMicros: 50 }, { spentMicros: 450 }])
  })

  it('that cost more than was set aside is counted in full', async () => {
    await settled(desk.reserveLease('lease-1', 100, 1))
    await settled(desk.settleLease('lease-1', 1200))
    expect(budget.states()[0]).toMatchObject({ spentMicros: 1200, leftMicros: 0, overMicros: 200 })
    await restart()
    expect(budget.states()[0]).toMatchObject({ spentMicros: 1200, overMicros: 200 })
  })

  it('whose money is not on record has none', async () => {
    ledger.failWrites('the disk is full')
    const unrecorded = desk.reserveLease('lease-1', 100, 1)
    await expect(settled(unrecorded)).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
    expect(budget.left()).toBe(1000)
    await expect(desk.reserveLease('lease-1', Number.NaN, 1)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  })
})
