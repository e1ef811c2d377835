/** The ledger of the simulation: what a crash takes, and what its disk does when it fails. */
import { describe, expect, it } from 'vitest'
import { MemoryLedger } from '../../../coordinator/ledger/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { admitted, assigned, checkpointed, ended } from '../../compliance/ledger.samples.ts'

/** Whether `promise` has settled by now, and how. */
function watch(promise: Promise<unknown>): { state: string } {
  const watched = { state: 'pending' }
  promise.then(
    () => (watched.state = 'durable'),
    (error: unknown) => (watched.state = String((error as { code: unknown }).code)),
  )
  return watched
}

describe('MemoryLedger', () => {
  it('makes durable after `commitMs`, together with what came in the same turn', async () => {
    const clock = new ManualClock()
    const ledger = new MemoryLedger({ clock }, { commitMs: 10 })
    const first = [watch(ledger.admit(admitted())), watch(ledger.admit(admitted()))]
    await clock.advance(5)
    const second = watch(ledger.admit(admitted()))
    await clock.advance(4)
    expect([...first, second].map(({ state }) => state)).toEqual(['pending', 'pending', 'pending'])
    await clock.advance(1)
    expect([...first, second].map(({ state }) => state)).toEqual(['durable', 'durable', 'pending'])
    await clock.advance(9)
    expect(second.state).toBe('pending')
    await clock.advance(1)
    expect(second.state).toBe('durable')
    expect(clock.pendingTimers).toBe(0)
  })

  it('loses in a crash what was not durable, and answers nobody any more', async () => {
    const clock = new ManualClock()
    const ledger = new MemoryLedger({ clock }, { commitMs: 10 })
    const [kept, lost] = [admitted(), admitted()]
    const durable = ledger.admit(kept)
    await clock.advance(10)
    await durable
    const pending = watch(ledger.admit(lost))
    await clock.advance(9)
    const next = ledger.reopen()
    const late = [watch(ledger.append([assigned(kept.spec.taskId)])), watch(ledger.open()), watch(ledger.close())]
    await clock.advance(100)
    expect(pending.state).toBe('pending')
    expect(late.map(({ state }) => state)).toEqual(['pending', 'pending', 'durable'])
    expect((await next.open()).map((task) => task.spec.taskId)).toEqual([kept.spec.taskId])
    expect([ledger.epoch, next.epoch]).toEqual([1, 2])
  })

  it('fails writes while told to, over a crash too, and reads all the same', async () => {
    const clock = new ManualClock()
    let ledger = new MemoryLedger({ clock }, { commitMs: 1 })
    ledger.failWrites('the disk is full')
    const failed = ledger.admit(admitted())
    const refused = expect(failed).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE', message: 'the disk is full' })
    await clock.advance(1)
    await refused
    ledger = ledger.reopen()
    const still = watch(ledger.admit(admitted()))
    await clock.advance(1)
    expect(still.state).toBe('LEDGER_UNAVAILABLE')
    expect(await ledger.list({ limit: 1 })).toEqual([])
    ledger.failWrites(undefined)
    const mended = watch(ledger.admit(admitted()))
    await clock.advance(1)
    expect(mended.state).toBe('durable')
  })

  it('shows durable events in the order in which they came, and none that changed nothing', async () => {
    const clock = new ManualClock()
    const ledger = new MemoryLedger({ clock }, { commitMs: 1 })
    const [a, b] = [admitted(), admitted()]
    const taskId = a.spec.taskId
    const events = [checkpointed(taskId, 0, 1), assigned(b.spec.taskId), ended(taskId)]
    void ledger.admit(a)
    void ledger.admit(b)
    void ledger.append([...events, checkpointed(taskId, 0, 1), ended(taskId), assigned(taskId)])
    expect(ledger.durableEvents).toEqual([])
    await clock.advance(1)
    expect(ledger.durableEvents).toEqual([a, b, ...events])
  })
})
