/** What every ledger promises (see the port), run against each engine. */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  apply,
  durableTokens,
  summaryOf,
  textOf,
  type Admission,
  type Ledger,
  type LedgerEvent,
  type LedgerTask,
} from '../../coordinator/ledger/index.ts'
import { batchesSuite } from './ledger-batches.suite.ts'
import { leasesSuite } from './ledger-leases.suite.ts'
import { usageSuite } from './ledger-usage.suite.ts'
import { LIMITS, type TaskId } from '../../mesh/protocol/index.ts'
import {
  admitted,
  assigned,
  attemptEnded,
  checkpointed,
  ended,
  newTaskId,
  NODE,
  part,
  SECRET,
} from './ledger.samples.ts'

/** One ledger's place on a disk. */
export interface LedgerPlace {
  /** Opens it, after a crash of what had it open, or after its close. */
  open(): Promise<Ledger>
  /** Ends the ledger that is open as a crash does: nothing is flushed. */
  crash(): Promise<void>
  /** Opens the ledger that a backup wrote to `name`. */
  openBackup(name: string): Promise<Ledger>
  /** Where a backup called `name` goes. */
  path(name: string): string
  /** Everything that is on the disk, as bytes. */
  bytes(): Promise<Uint8Array>
  remove(): Promise<void>
}

type Step = Exclude<LedgerEvent, { type: 'task.admitted' }>

export function ledgerSuite(name: string, makePlace: () => Promise<LedgerPlace>): void {
  describe(`the ledger: ${name}`, () => {
    let place: LedgerPlace
    let ledger: Ledger

    beforeEach(async () => {
      place = await makePlace()
      ledger = await place.open()
    })
    afterEach(async () => {
      await ledger.close()
      await place.remove()
    })
    const reopen = async (): Promise<void> => {
      await place.crash()
      ledger = await place.open()
    }
    const admit = async (...args: Parameters<typeof admitted>): Promise<TaskId> => {
      const event = admitted(...args)
      expect(await ledger.admit(event)).toEqual({ isNew: true })
      return event.spec.taskId
    }

    it('keeps every field of every event over a crash', async () => {
      const admission = admitted({ idempotency: { key: 'k', bodyDigest: 'd' } })
      const { taskId } = admission.spec
      const events: Step[] = [
        assigned(taskId),
        checkpointed(taskId, 0, 3),
        attemptEnded(taskId, 1, 3),
        assigned(taskId, 2, 3),
        checkpointed(taskId, 3, 2),
        ended(taskId, { part: part(5, 1) }),
      ]
      await ledger.admit(admission)
      await ledger.append(events)
      await reopen()
      const expected = [admission, ...events].reduce<LedgerTask | undefined>(apply, undefined)
      const task = await ledger.task(taskId)
      expect(task).toEqual(expected)
      expect(durableTokens(task!)).toBe(6)
      expect(textOf(task!)).toBe(`${SECRET} `.repeat(6) + SECRET)
    })

    it('has what was acknowledged after a crash, for many callers at once', async () => {
      const taskIds = await Promise.all(Array.from({ length: 40 }, () => admit()))
      await Promise.all(taskIds.map((taskId) => ledger.append([assigned(taskId), checkpointed(taskId, 0, 2)])))
      await reopen()
      const tasks = await ledger.open()
      expect(tasks.map((task) => task.spec.taskId)).toEqual(taskIds)
      for (const task of tasks) expect([task.state, durableTokens(task)]).toEqual(['running', 2])
    })

    it('makes writes durable in the order of the calls', async () => {
      const taskId = await admit()
      const order: number[] = []
      await Promise.all(
        Array.from({ length: 30 }, (_, i) =>
          ledger.append([checkpointed(taskId, i, 1)]).then(() => void order.push(i)),
        ),
      )
      expect(order).toEqual(Array.from({ length: 30 }, (_, i) => i))
      await reopen()
      expect(durableTokens((await ledger.task(taskId))!)).toBe(30)
    })

    it('grows its epoch with every opening', async () => {
      const epochs = [ledger.epoch]
      await reopen()
      epochs.push(ledger.epoch)
      await ledger.close()
      ledger = await place.open()
      epochs.push(ledger.epoch)
      expect(epochs).toEqual([1, 2, 3])
    })

    describe('Idempotency-Key', () => {
      const idempotency = { key: 'order-1', bodyDigest: 'one' }

      it('gives the earlier task back for the same body', async () => {
        const taskId = await admit({ idempotency })
        await ledger.append([assigned(taskId)])
        const again = await ledger.admit(admitted({ idempotency }))
        expect(again).toEqual({ isNew: false, task: await ledger.task(taskId) })
        await reopen()
        expect(await ledger.admit(admitted({ idempotency }))).toMatchObject({ isNew: false })
        expect(await ledger.list({ limit: 10 })).toHaveLength(1)
        expect((await ledger.byIdempotencyKey('local', 'order-1'))?.spec.taskId).toBe(taskId)
      })

      it('refuses another body, and records nothing of it', async () => {
        await admit({ idempotency })
        const other = admitted({ idempotency: { ...idempotency, bodyDigest: 'two' } })
        await expect(ledger.admit(other)).rejects.toMatchObject({ code: 'IDEMPOTENCY_MISMATCH' })
        expect(await ledger.task(other.spec.taskId)).toBeUndefined()
      })

      it('lets one of two win that come at once, and the refused one disturbs no other', async () => {
        const events = [
          admitted({ idempotency }),
          admitted(),
          admitted({ idempotency: { ...idempotency, bodyDigest: 'two' } }),
          admitted({ idempotency }),
          admitted(),
        ]
        const results = await Promise.allSettled(events.map((event) => ledger.admit(event)))
        expect(results.map((each) => each.status)).toEqual([
          'fulfilled',
          'fulfilled',
          'rejected',
          'fulfilled',
          'fulfilled',
        ])
        expect((results[3] as PromiseFulfilledResult<Admission>).value).toMatchObject({
          isNew: false,
          task: { spec: { taskId: events[0]!.spec.taskId } },
        })
        expect(await ledger.list({ limit: 10 })).toHaveLength(3)
      })

      it('keeps tenants apart', async () => {
        await admit({ idempotency, tenant: 'ada' })
        const taskId = await admit({ idempotency: { ...idempotency, bodyDigest: 'two' }, tenant: 'bob' })
        expect((await ledger.byIdempotencyKey('bob', 'order-1'))?.spec.taskId).toBe(taskId)
        expect(await ledger.byIdempotencyKey('eve', 'order-1')).toBeUndefined()
      })
    })

    describe('events that do not fit', () => {
      it('a checkpoint that repeats or leaves a gap changes nothing', async () => {
        const taskId = await admit()
        await ledger.append([checkpointed(taskId, 0, 2)])
        await ledger.append([checkpointed(taskId, 0, 2), checkpointed(taskId, 3, 1), checkpointed(taskId, 2, 1)])
        const task = await ledger.task(taskId)
        expect(task?.parts.map((each) => each.index)).toEqual([0, 2])
        expect(durableTokens(task!)).toBe(3)
      })

      it('the first end holds', async () => {
        const taskId = await admit()
        const first = ended(taskId)
        const late = ended(taskId, { result: { outcome: 'failed', error: { code: 'NODE_LOST', message: 'x' } } })
        await ledger.append([first, late])
        await ledger.append([late, assigned(taskId), checkpointed(taskId, 0, 1)])
        const task = await ledger.task(taskId)
        expect(task).toMatchObject({ state: 'completed', result: first.result, parts: [], attempts: [] })
      })

      it('events of a task that is not known change nothing', async () => {
        const taskId = newTaskId()
        await ledger.append([assigned(taskId), checkpointed(taskId, 0, 1), attemptEnded(taskId), ended(taskId)])
        expect(await ledger.task(taskId)).toBeUndefined()
        expect(await ledger.list({ limit: 10 })).toEqual([])
      })

      it('a task that is admitted again stays as it is', async () => {
        const event = admitted()
        await ledger.admit(event)
        await ledger.append([assigned(event.spec.taskId)])
        expect(await ledger.admit(event)).toEqual({ isNew: false, task: await ledger.task(event.spec.taskId) })
      })
    })

    it('lists newest first, in pages, open ones alone when asked', async () => {
      const taskIds: TaskId[] = []
      for (let i = 0; i < 7; i++) taskIds.push(await admit({ model: `model-${i}` }))
      await ledger.append([
        assigned(taskIds[5]!),
        ended(taskIds[5]!, { result: { outcome: 'failed', error: { code: 'NODE_LOST', message: 'x' } } }),
      ])
      const newest = taskIds.toReversed()
      const first = await ledger.list({ limit: 3 })
      expect(first.map((each) => each.taskId)).toEqual(newest.slice(0, 3))
      expect(first[1]).toEqual({
        taskId: taskIds[5],
        model: 'model-5',
        priority: 'default',
        tenant: 'local',
        state: 'failed',
        admittedAtMs: 1_800_000_000_000,
        endedAtMs: 1_800_000_001_000,
        attempts: 1,
        node: NODE,
        tokens: 0,
        code: 'NODE_LOST',
      })
      const second = await ledger.list({ limit: 100, before: first.at(-1)!.taskId })
      expect(second.map((each) => each.taskId)).toEqual(newest.slice(3))
      expect(await ledger.list({ limit: 100, before: newTaskId() })).toEqual([])
      const open = await ledger.list({ limit: 100, isOpen: true })
      expect(open.map((each) => each.taskId)).toEqual(newest.filter((taskId) => taskId !== taskIds[5]))
    })

    it('gives no page above its limit', async () => {
      await Promise.all(Array.from({ length: LIMITS.tasksPageMax + 2 }, () => admit()))
      expect(await ledger.list({ limit: 10_000 })).toHaveLength(LIMITS.tasksPageMax)
    })

    it('opens with the tasks that have not ended, oldest first, however many', async () => {
      const taskIds = await Promise.all(Array.from({ length: 150 }, () => admit()))
      await ledger.append(taskIds.filter((_, i) => i % 3 === 0).map((taskId) => ended(taskId)))
      await reopen()
      const open = await ledger.open()
      expect(open.map((task) => task.spec.taskId)).toEqual(taskIds.filter((_, i) => i % 3 !== 0))
    })

    it('counts what attempts cost: what was set aside until it is known, and nothing from before', async () => {
      const taskId = await admit({ tenant: 'key:a' })
      const paid = (attempt: number, reservedMicros: number, atMs: number) => ({
        ...assigned(taskId, attempt),
        reservedMicros,
        atMs,
      })
      // the clock was put back since the fifth's day had begun
      const ahead = { ...paid(5, 4, 2000), reservedDay: 3 }
      await ledger.append([paid(1, 1000, 500), paid(2, 70, 2000), paid(3, 7, 2000), assigned(taskId, 4), ahead])
      await ledger.append([{ ...attemptEnded(taskId, 2), costMicros: 30 }, attemptEnded(taskId, 3)])
      // an attempt from before that ends only now was counted before
      await ledger.append([{ ...attemptEnded(taskId, 1), costMicros: 900 }])
      // a second end, of an attempt that has one, tells nothing
      await ledger.append([{ ...attemptEnded(taskId, 2), costMicros: 2 }, ended(taskId), paid(6, 999, 2000)])
      await reopen()
      const billed = async (sinceMs: number) => (await ledger.billed(sinceMs)).sort((a, b) => a.day - b.day)
      const later = { tenant: 'key:a', day: 3, micros: 4 }
      expect(await billed(1000)).toEqual([{ tenant: 'key:a', day: 0, micros: 37 }, later])
      expect(await billed(0)).toEqual([{ tenant: 'key:a', day: 0, micros: 937 }, later])
      await ledger.purgeUsage(86_400_000)
      expect(await billed(0)).toEqual([later])
    })

    it('counts leases part by part, and gives back those that are open, and what was set', async () => {
      const charge = (leaseId: string, part: number, micros: number, isOpen = true) => ({
        ...{ leaseId, part, atMs: 86_400_000 * part, micros, isOpen },
      })
      await ledger.recordLeaseCharges([charge('l1', 1, 100), charge('l1', 2, 50), charge('l2', 1, 7)])
      await ledger.recordLeaseCharges([charge('l1', 1, 90, false), charge('l1', 2, 0, false)])
      const set = { type: 'budget.set', atMs: 5, by: 'local', terms: { dayMicros: 9, atLimit: 'wait' } } as const
      await ledger.recordBudget(set)
      await ledger.recordBudget({ ...set, atMs: 6, tenant: 'key:a', terms: {} })
      await reopen()
      expect(await ledger.openLeaseCharges()).toEqual([charge('l2', 1, 7)])
      expect((await ledger.billed(0)).sort((a, b) => a.day - b.day)).toEqual([
        { day: 1, micros: 97 },
        { day: 2, micros: 0 },
      ])
      expect(await ledger.budgetEvents()).toEqual([set, { ...set, atMs: 6, tenant: 'key:a', terms: {} }])
      await ledger.purgeUsage(Number.MAX_SAFE_INTEGER)
      // money that is set aside is not forgotten
      expect(await ledger.billed(0)).toEqual([{ day: 1, micros: 7 }])
    })

    describe('retention', () => {
      const endedAt = async (atMs: number, stored: boolean, key?: string): Promise<TaskId> => {
        const taskId = await admit({ stored, ...(key !== undefined && { idempotency: { key, bodyDigest: 'one' } }) })
        await ledger.append([assigned(taskId), checkpointed(taskId, 0, 2), ended(taskId, { atMs, part: part(2, 1) })])
        return taskId
      }

      it('deletes texts after one time, and what is left after the other', async () => {
        const gone = await endedAt(100, false, 'gone')
        const goneStored = await endedAt(100, true)
        const purged = await endedAt(200, false)
        const stored = await endedAt(200, true)
        const young = await endedAt(300, false)
        const running = await admit()
        expect(await ledger.purge(300, 200)).toBe(3)
        await reopen()
        expect(await ledger.task(gone)).toBeUndefined()
        expect(await ledger.task(goneStored)).toBeUndefined()
        expect(await ledger.byIdempotencyKey('local', 'gone')).toBeUndefined()
        for (const kept of [stored, young]) expect(textOf((await ledger.task(kept))!)).toContain(SECRET)
        expect((await ledger.task(running))?.isPurged).toBe(false)
        const task = (await ledger.task(purged))!
        expect(task).toMatchObject({ isPurged: true, parts: [], state: 'completed', result: { finishReason: 'stop' } })
        expect(task.isPurged).toBe(true)
        expect(task.attempts).toHaveLength(1)
        expect(JSON.stringify(task)).not.toContain(SECRET)
        expect((await ledger.list({ limit: 9 })).find((each) => each.taskId === purged)?.tokens).toBe(3)
        expect(await ledger.purge(300, 200)).toBe(0)
      })

      it('deletes the texts of one task before their time, once it has ended', async () => {
        const taskId = await endedAt(100, true)
        const other = await endedAt(100, true)
        const running = await admit({ stored: true })
        expect(await ledger.erase(running)).toBe(false)
        expect(await ledger.erase(taskId)).toBe(true)
        expect(await ledger.erase(taskId)).toBe(false)
        await reopen()
        const task = (await ledger.task(taskId))!
        expect(task).toMatchObject({ isPurged: true, parts: [], state: 'completed' })
        expect(JSON.stringify(task)).not.toContain(SECRET)
        expect(textOf((await ledger.task(other))!)).toContain(SECRET)
        expect((await ledger.task(running))?.isPurged).toBe(false)
        await ledger.erase(other)
        expect(await ledger.erase(newTaskId())).toBe(false)
      })

      it('leaves nothing of the texts on the disk', async () => {
        const tasks = await Promise.all(Array.from({ length: 150 }, () => endedAt(100, false)))
        expect(Buffer.from(await place.bytes()).includes(SECRET)).toBe(true)
        expect(await ledger.purge(200, 50)).toBe(tasks.length)
        expect(Buffer.from(await place.bytes()).includes(SECRET)).toBe(false)
        expect(await ledger.purge(200, 200)).toBe(tasks.length)
        expect(await ledger.list({ limit: 10 })).toEqual([])
      })
    })

    usageSuite(() => ({ ledger, reopen, place }))
    batchesSuite(() => ({ ledger, reopen, place }))
    leasesSuite(() => ({ ledger, reopen, place }))

    describe('backup', () => {
      it('opens, and is what the ledger was', async () => {
        const taskId = await admit({ idempotency: { key: 'k', bodyDigest: 'd' } })
        await ledger.append([assigned(taskId), checkpointed(taskId, 0, 2)])
        const facts = await ledger.backup(place.path('copy'))
        const counts = { events: 3, tasks: 1, accessEvents: 0, usage: 0, batchEvents: 0, leaseEvents: 0 }
        expect(facts).toEqual({ schemaVersion: 6, epoch: 1, ...counts, charges: 0, budgetEvents: 0 })
        const before = await ledger.task(taskId)
        await ledger.append([ended(taskId)])
        const copy = await place.openBackup('copy')
        try {
          expect(await copy.task(taskId)).toEqual(before)
          expect(await copy.open()).toEqual([before])
          expect(copy.epoch).toBe(2)
        } finally {
          await copy.close()
        }
      })

      it('writes over nothing', async () => {
        await ledger.backup(place.path('copy'))
        await expect(ledger.backup(place.path('copy'))).rejects.toMatchObject({ code: 'BACKUP_INVALID' })
      })
    })

    it('close makes durable what was asked for, and refuses what comes later', async () => {
      const event = admitted()
      const admission = ledger.admit(event)
      await ledger.close()
      expect(await admission).toEqual({ isNew: true })
      await expect(ledger.admit(admitted())).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
      await expect(ledger.list({ limit: 1 })).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
      await ledger.close()
      ledger = await place.open()
      expect((await ledger.task(event.spec.taskId))?.spec).toEqual(event.spec)
    })

    it('tells what apply makes of any events, and lists the same', async () => {
      const step = (taskId: TaskId): fc.Arbitrary<Step> =>
        fc.oneof(
          fc.integer({ min: 1, max: 4 }).map((attempt) => assigned(taskId, attempt)),
          fc.integer({ min: 1, max: 4 }).map((attempt) => attemptEnded(taskId, attempt)),
          fc
            .tuple(fc.nat(4), fc.integer({ min: 1, max: 2 }))
            .map(([index, count]) => checkpointed(taskId, index, count)),
          fc
            .option(fc.nat(4), { nil: undefined })
            .map((index) => ended(taskId, index === undefined ? {} : { part: part(index, 1) })),
        )
      const history = fc.array(fc.array(step(newTaskId()), { minLength: 1, maxLength: 3 }), { maxLength: 6 })
      await fc.assert(
        fc.asyncProperty(history, async (appends) => {
          const admission = admitted()
          const { taskId } = admission.spec
          await ledger.admit(admission)
          const events = appends.map((append) => append.map((event) => ({ ...event, taskId })))
          await Promise.all(events.map((append) => ledger.append(append)))
          const expected = events.flat().reduce<LedgerTask | undefined>(apply, apply(undefined, admission))!
          expect(await ledger.task(taskId)).toEqual(expected)
          expect((await ledger.list({ limit: 1 }))[0]).toEqual(summaryOf(expected))
        }),
        { numRuns: 40 },
      )
    })
  })
}
