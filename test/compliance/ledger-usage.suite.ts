/** What every ledger promises of usage and keys, run against each engine as a part of `ledger.suite.ts`. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  USAGE_AXES,
  USAGE_DAY_MS,
  type AccessEvent,
  type Ledger,
  type LedgerEventOf,
  type UsageAxis,
  type UsageQuery,
  type UsageSum,
} from '../../coordinator/ledger/index.ts'
import { sumUsage, type UsageRow } from '../../coordinator/ledger/usage.ts'
import { asModelDigest, type TaskId } from '../../mesh/protocol/index.ts'
import { admitted, assigned, attemptEnded, ended, newTaskId, NODE, part } from './ledger.samples.ts'
import type { LedgerPlace } from './ledger.suite.ts'

interface UsageSuite {
  readonly ledger: Ledger
  readonly place: LedgerPlace
  readonly reopen: () => Promise<void>
}

const ALL: UsageQuery = { sinceMs: 0, untilMs: Number.MAX_SAFE_INTEGER, by: [], limit: 1000 }
const ADMITTED_MS = 1_800_000_000_000
const DIGEST = asModelDigest(`sha256:${'a'.repeat(64)}`)

const worked = (more: Partial<UsageRow> = {}, atMs = ADMITTED_MS): LedgerEventOf<'work.ended'> => ({
  type: 'work.ended',
  atMs,
  taskId: newTaskId(),
  usage: {
    ...{
      tenant: 'key_a',
      model: 'minilm',
      digest: DIGEST,
      node: NODE,
      route: 'mesh',
      kind: 'embed',
      state: 'completed',
    },
    ...{ promptTokens: 30, cachedTokens: 0, completionTokens: 0, attempts: 2, tookMs: 12.5 },
    ...more,
  } as LedgerEventOf<'work.ended'>['usage'],
})

const made = (id: string): AccessEvent => ({
  type: 'key.made',
  atMs: 1,
  id,
  name: `name of ${id}`,
  grant: { routes: ['inference'], models: ['*'], priority: 'bulk', localOnly: true, tokensPerDay: 5 },
  secret: { digest: 'd'.repeat(64), hint: 'wxyz', expiresAtMs: 7 },
  expiresAtMs: 9,
})

export function usageSuite(at: () => UsageSuite): void {
  const usage = (query: Partial<UsageQuery> = {}): Promise<UsageSum[]> => at().ledger.usage({ ...ALL, ...query })
  /** A task that is admitted, tried and ended. */
  const task = async (tenant: string, more: Parameters<typeof ended>[1] = {}): Promise<TaskId> => {
    const admission = admitted({ tenant })
    const { taskId } = admission.spec
    await at().ledger.admit(admission)
    await at().ledger.append([assigned(taskId), attemptEnded(taskId, 1, 1), assigned(taskId, 2, 1)])
    await at().ledger.append([ended(taskId, more)])
    return taskId
  }

  describe('usage', () => {
    it('has one row for each answer, with all that is known of it', async () => {
      await task('key_a')
      await at().reopen()
      expect(await usage({ by: USAGE_AXES })).toEqual([
        {
          ...{ tenant: 'key_a', model: 'tiny', day: Math.floor((ADMITTED_MS + 1000) / USAGE_DAY_MS) },
          ...{ node: NODE.name, route: 'mesh', kind: 'answer', state: 'completed' },
          ...{ requests: 1, completed: 1, promptTokens: 9, cachedTokens: 0, completionTokens: 12 },
          ...{ tookMs: 1000, costMicros: 0, joules: 0, estimatedJoules: 0, energyMicros: 0, cloudMicros: 0 },
        },
      ])
    })

    it('counts an answer once, however often its end is written', async () => {
      const taskId = await task('key_a')
      await at().ledger.append([ended(taskId), ended(taskId, { result: { outcome: 'failed' } })])
      await at().reopen()
      await at().ledger.append([ended(taskId)])
      expect(await usage()).toMatchObject([{ requests: 1, completed: 1, completionTokens: 12 }])
    })

    it('counts what was delivered of an answer that did not end whole, and its prompt as estimated', async () => {
      const admission = admitted({ tenant: 'key_a' })
      const { taskId } = admission.spec
      await at().ledger.admit(admission)
      const { result, ...event } = ended(taskId, { part: part(0, 3) })
      const { usage: _usage, ...broken } = result
      await at().ledger.append([{ ...event, result: { ...broken, outcome: 'cancelled' }, promptTokens: 6.4 }])
      expect(await usage()).toMatchObject([
        { requests: 1, completed: 0, promptTokens: 6, cachedTokens: 0, completionTokens: 3 },
      ])
    })

    it('sums what attempts cost', async () => {
      const admission = admitted()
      const { taskId } = admission.spec
      await at().ledger.admit(admission)
      await at().ledger.append([
        assigned(taskId),
        { ...attemptEnded(taskId, 1, 1), costMicros: 40 },
        assigned(taskId, 2, 1),
        { ...attemptEnded(taskId, 2, 1), costMicros: 2.5 },
        ended(taskId),
      ])
      expect(await usage()).toMatchObject([{ costMicros: 42.5 }])
    })

    it('sums the energy of all attempts, tells what is a rule of thumb, and what a cloud would have charged', async () => {
      const admission = admitted()
      const { taskId } = admission.spec
      const cloud = { micros: 7.25, price: 'fireworks:up-to-4b' }
      await at().ledger.admit(admission)
      await at().ledger.append([
        assigned(taskId),
        { ...attemptEnded(taskId, 1, 1), energy: { joules: 10.5, isEstimated: true } },
        assigned(taskId, 2, 1),
        { ...attemptEnded(taskId, 2, 1), energy: { joules: 4, isEstimated: false, costMicros: 0.5 }, costMicros: 40 },
        { ...ended(taskId), cloud },
      ])
      await at().reopen()
      const sums = { joules: 14.5, estimatedJoules: 10.5, energyMicros: 0.5, cloudMicros: 7.25, costMicros: 40.5 }
      expect(await usage()).toMatchObject([sums])
      // energy is nothing that anybody bills
      expect(await at().ledger.billed(0)).toEqual([])
      const task = await at().ledger.task(taskId)
      expect(task?.attempts.map((attempt) => attempt.ended?.energy?.joules)).toEqual([10.5, 4])
    })

    it('has work, which has no task, once', async () => {
      const event = worked()
      await at().ledger.append([event, event])
      await at().reopen()
      await at().ledger.append([event])
      expect(await usage({ by: ['kind', 'node'] })).toEqual([
        {
          ...{ kind: 'embed', node: NODE.name, requests: 1, completed: 1 },
          ...{ promptTokens: 30, cachedTokens: 0, completionTokens: 0, tookMs: 12.5, costMicros: 0 },
          ...{ joules: 0, estimatedJoules: 0, energyMicros: 0, cloudMicros: 0 },
        },
      ])
      expect(await at().ledger.task(event.taskId)).toBeUndefined()
      expect(await at().ledger.list({ limit: 9 })).toEqual([])
    })

    it('has nothing of what is under way, and of a call that failed', async () => {
      await at().ledger.admit(admitted())
      expect(await usage()).toEqual([])
      expect(await usage({ by: ['tenant'] })).toEqual([])
    })

    it('outlives its tasks, for a time of its own', async () => {
      await task('key_a', { atMs: 100 })
      await task('key_b', { atMs: 200 })
      await at().ledger.append([worked({}, 150)])
      expect(await at().ledger.purge(300, 300)).toBe(2)
      expect(await usage()).toMatchObject([{ requests: 3 }])
      expect(await at().ledger.purgeUsage(200)).toBe(2)
      await at().reopen()
      expect(await usage({ by: ['tenant'] })).toMatchObject([{ tenant: 'key_b', requests: 1 }])
      expect(await at().ledger.purgeUsage(200)).toBe(0)
    })

    it('is of one tenant, and of a time, when that is asked', async () => {
      await at().ledger.append([10, 20, 30].map((atMs) => worked({ promptTokens: atMs }, atMs)))
      await at().ledger.append([worked({ tenant: 'key_b' }, 20)])
      expect(await usage({ tenant: 'key_a', sinceMs: 20, untilMs: 30 })).toMatchObject([{ promptTokens: 20 }])
      expect(await usage({ tenant: 'nobody' })).toEqual([])
    })

    it('is summed as rows are, whatever they are', async () => {
      const rowArbitrary = fc.record({
        tenant: fc.constantFrom('key_a', 'key_b', 'local'),
        model: fc.constantFrom('tiny', 'minilm', 'größe'),
        kind: fc.constantFrom('embed', 'classify') as fc.Arbitrary<'embed'>,
        promptTokens: fc.nat(1e6),
        atMs: fc.nat(10 * USAGE_DAY_MS),
        costMicros: fc.nat(1000),
        joules: fc.nat(1000),
        estimatedJoules: fc.nat(1000),
        energyMicros: fc.nat(1000),
        cloudMicros: fc.nat(1000),
      })
      await fc.assert(
        fc.asyncProperty(
          fc.array(rowArbitrary, { maxLength: 12 }),
          fc.shuffledSubarray([...USAGE_AXES] as UsageAxis[]),
          async (rows, by) => {
            const tenant = `only ${newTaskId()}`
            const events = rows.map(({ atMs, ...row }) => worked({ ...row, tenant }, atMs))
            await at().ledger.append(events)
            const expected = events.map((event) => ({ ...event.usage, taskId: event.taskId, atMs: event.atMs }))
            const query = { ...ALL, by, tenant }
            expect(await usage(query)).toEqual(sumUsage(expected, query))
          },
        ),
        { numRuns: 25 },
      )
    })

    it('gives the first sums up to the limit', async () => {
      await at().ledger.append(['c', 'a', 'b'].map((model) => worked({ model })))
      expect((await usage({ by: ['model'], limit: 2 })).map(({ model }) => model)).toEqual(['a', 'b'])
    })

    it('is in a backup', async () => {
      const taskId = await task('key_a')
      await at().ledger.recordAccess(made('key_a'))
      const facts = await at().ledger.backup(at().place.path('copy'))
      expect(facts).toMatchObject({ accessEvents: 1, usage: 1 })
      const copy = await at().place.openBackup('copy')
      try {
        expect(await copy.usage(ALL)).toEqual(await usage())
        expect(await copy.accessEvents()).toEqual([made('key_a')])
        await copy.append([ended(taskId)])
        expect(await copy.usage(ALL)).toMatchObject([{ requests: 1 }])
      } finally {
        await copy.close()
      }
    })
  })

  it('lists the tasks of one tenant', async () => {
    const own = await task('key_a')
    await task('key_b')
    const listed = await at().ledger.list({ limit: 9, tenant: 'key_a' })
    expect(listed.map(({ taskId }) => taskId)).toEqual([own])
    expect(await at().ledger.list({ limit: 9 })).toHaveLength(2)
    expect(await at().ledger.list({ limit: 9, tenant: 'key_a', isOpen: true })).toEqual([])
  })

  it('keeps what happened to keys, in order and with every field, over a crash', async () => {
    const events: AccessEvent[] = [
      made('key_a'),
      { type: 'key.rotated', atMs: 2, id: 'key_a', secret: { digest: 'e'.repeat(64), hint: 'abcd' }, graceUntilMs: 3 },
      made('key_b'),
      { type: 'key.revoked', atMs: 4, id: 'key_a' },
    ]
    for (const event of events) await at().ledger.recordAccess(event)
    await at().reopen()
    expect(await at().ledger.accessEvents()).toEqual(events)
  })
}
