/** What device tasks do next: over any world, no device acts twice in a pass, and every pass ends. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  mayTryAgain,
  planPass,
  stepOf,
  type Candidate,
  type PassInput,
} from '../../../coordinator/devices/task-plan.ts'
import type { StoredTask, StoredTaskCall, TaskCallEnd, TaskSpec } from '../../../coordinator/devices/index.ts'
import { CALL_OUTCOMES, LIMITS } from '../../../mesh/protocol/index.ts'

const SPEC: TaskSpec = {
  op: 'write',
  capability: 'vent',
  value: true,
  select: {},
  count: 1,
  retry: 0,
  isConfirmed: true,
}
const candidate = (id: string, more: Partial<Candidate> = {}): Candidate => ({
  ...{ id, isReady: true, isLeased: false, failures: 0 },
  ...more,
})
const called = (n: number, device: string, end?: Partial<TaskCallEnd>): StoredTaskCall => ({
  ...{ task: 't', n, pass: 1, device, call: `c${n}`, atMs: 0 },
  ...(end && { end: { outcome: 'done', endedAtMs: 0, isSent: true, ...end } }),
})
const plan = (more: Partial<PassInput> = {}) =>
  planPass({ spec: SPEC, candidates: [], calls: [], pass: 1, passAtMs: 0, nowMs: 0, room: 64, ...more })

describe('a pass', () => {
  it('takes devices that are ready first, then those that failed least, then the quickest, then by name', () => {
    const candidates = [
      candidate('e', { isReady: false }),
      candidate('d', { failures: 1, tookMs: 1 }),
      candidate('c'),
      candidate('b', { tookMs: 50 }),
      candidate('a', { tookMs: 80 }),
      candidate('f', { tookMs: 80 }),
    ]
    expect(plan({ candidates, spec: { ...SPEC, count: 6 } }).begin).toEqual(['b', 'a', 'f', 'c', 'd', 'e'])
    expect(plan({ candidates, spec: { ...SPEC, count: 6 }, room: 2 })).toEqual({ begin: ['b', 'a'], isWaiting: true })
  })

  it('is done when as many have done it as are to be reached, and not before', () => {
    const candidates = [candidate('a'), candidate('b')]
    const spec = { ...SPEC, count: 'all' as const }
    expect(plan({ candidates, spec, calls: [called(1, 'a', {})] }).begin).toEqual(['b'])
    const calls = [called(1, 'a', {}), called(2, 'b', {})]
    expect(plan({ candidates, spec, calls }).end).toEqual({ pass: 1, isDone: true, reasons: {} })
    expect(plan({ candidates, spec, calls: [called(1, 'a', {}), called(2, 'b')] })).toEqual({
      ...{ begin: [], isWaiting: false },
    })
  })

  it.each<[string, TaskSpec['op'], Partial<TaskCallEnd>, boolean]>([
    ['an unknown write', 'write', { outcome: 'unknown' }, false],
    ['a write that the device says has failed', 'write', { outcome: 'failed' }, false],
    ['a run that ended unknown', 'run', { outcome: 'unknown' }, false],
    ['a write that was not sent', 'write', { outcome: 'failed', isSent: false }, true],
    ['a write that expired', 'write', { outcome: 'expired' }, true],
    ['a write that was refused', 'write', { outcome: 'refused' }, true],
    ['an unknown read', 'read', { outcome: 'unknown' }, true],
    ['a read that failed', 'read', { outcome: 'failed' }, true],
  ])('goes elsewhere only after what certainly did not act: %s', (_name, op, end, isElsewhere) => {
    const spec = { ...SPEC, op, retry: 1 }
    const next = plan({ spec, candidates: [candidate('a'), candidate('b')], calls: [called(1, 'a', end)] })
    expect(next.begin).toEqual(isElsewhere ? ['b'] : [])
    if (!isElsewhere) expect(next.end).toMatchObject({ isDone: false, reasons: { a: end.outcome } })
  })

  it('tries the same device again when there is no other, later each time, and so often as it may', () => {
    const spec = { ...SPEC, retry: 2 }
    const candidates = [candidate('a')]
    const once = [called(1, 'a', { outcome: 'expired', endedAtMs: 100 })]
    expect(plan({ spec, candidates, calls: once, nowMs: 200 })).toMatchObject({ begin: [], lookAtMs: 1100 })
    expect(plan({ spec, candidates, calls: once, nowMs: 1100 }).begin).toEqual(['a'])
    const twice = [...once, called(2, 'a', { outcome: 'expired', endedAtMs: 2000 })]
    expect(plan({ spec, candidates, calls: twice, nowMs: 2000 })).toMatchObject({ begin: [], lookAtMs: 4000 })
    const thrice = [...twice, called(3, 'a', { outcome: 'expired', endedAtMs: 5000, error: 'asleep' })]
    expect(plan({ spec, candidates, calls: thrice, nowMs: 99_000 }).end).toEqual({
      ...{ pass: 1, isDone: false, error: '0 of 1 did it', reasons: { a: 'expired: asleep' } },
    })
  })

  it('waits for a lease, and for devices that are away, but not for ever', () => {
    expect(plan({ candidates: [candidate('a', { isLeased: true })], nowMs: 1e9 })).toEqual({
      ...{ begin: [], isWaiting: true },
    })
    const flaw = { why: 'its bridge is away', isPassing: true }
    const candidates = [candidate('a', { flaw })]
    const { deviceTaskPatienceMs: patienceMs } = LIMITS
    expect(plan({ candidates })).toEqual({ begin: [], isWaiting: true, lookAtMs: patienceMs })
    expect(plan({ candidates, nowMs: patienceMs }).end).toMatchObject({ reasons: { a: 'its bridge is away' } })
    const spec = { ...SPEC, ttlMs: 60_000 }
    expect(plan({ candidates, spec, nowMs: patienceMs })).toMatchObject({ lookAtMs: 60_000 })
  })

  it('has no place for devices that refuse, nor for more than it may call', () => {
    const flaw = { why: 'its policy', isPassing: false }
    const spec = { ...SPEC, count: 'all' as const }
    expect(
      plan({ spec, candidates: [candidate('a'), candidate('b', { flaw })], calls: [called(1, 'a', {})] }).end,
    ).toEqual({ pass: 1, isDone: true, reasons: {} })
    expect(plan({ spec, candidates: [candidate('b', { flaw })] }).end).toMatchObject({ reasons: { b: 'its policy' } })
    const many = Array.from({ length: LIMITS.deviceTaskDevicesMax + 1 }, (_, i) => candidate(`d${i}`))
    expect(plan({ spec, candidates: many }).end).toMatchObject({ isDone: false })
  })

  it('takes what a crash came before for nothing', () => {
    const calls = [{ ...called(1, 'a'), isVoid: true }]
    expect(plan({ candidates: [candidate('a')], calls }).begin).toEqual(['a'])
  })
})

describe('any pass, whatever its devices do', () => {
  const anyCandidate = fc.record({
    isReady: fc.boolean(),
    isLeased: fc.boolean(),
    failures: fc.nat(3),
    flaw: fc.option(fc.record({ why: fc.constant('away'), isPassing: fc.boolean() }), { nil: undefined }),
  })
  const anyEnd = fc.record({ outcome: fc.constantFrom(...CALL_OUTCOMES), isSent: fc.boolean() })
  const anySpec = fc.record({
    op: fc.constantFrom('read' as const, 'write' as const, 'run' as const),
    count: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constant('all' as const)),
    retry: fc.integer({ min: 0, max: LIMITS.deviceTaskRetriesMax }),
  })

  it('ends; nothing that may have acted is called again, and no place of it is given to another', () => {
    const world = fc.tuple(
      anySpec,
      fc.array(anyCandidate, { maxLength: 8 }),
      fc.infiniteStream(anyEnd),
      fc.integer({ min: 1, max: 8 }),
    )
    fc.assert(
      fc.property(world, ([some, drawn, ends, room]) => {
        const spec = { ...SPEC, ...some }
        const candidates = drawn.map(({ flaw, ...each }, i) => candidate(`d${i}`, { ...each, ...(flaw && { flaw }) }))
        const isCallable = ({ flaw }: Candidate): boolean => flaw === undefined
        const reachable = candidates.filter((each) => flaw(each) === undefined || flaw(each)!.isPassing).length
        const target = spec.count === 'all' ? reachable : spec.count
        let calls: StoredTaskCall[] = []
        let nowMs = 0
        for (let look = 0; look < 200; look++) {
          // leases of others end at last
          const now = look > 20 ? candidates.map((each) => ({ ...each, isLeased: false })) : candidates
          const next = plan({ spec, candidates: now, calls, nowMs, room })
          for (const id of next.begin) {
            const before = calls.filter(({ device }) => device === id)
            expect(before.every(({ end }) => end !== undefined && mayTryAgain(spec.op, end))).toBe(true)
            expect(isCallable(candidates.find((each) => each.id === id)!)).toBe(true)
            calls = [...calls, called(calls.length + 1, id)]
          }
          expect(next.begin.length).toBeLessThanOrEqual(room)
          expect(new Set(next.begin).size).toBe(next.begin.length)
          expect(calls.length).toBeLessThanOrEqual(target + spec.retry)
          const mayHaveActed = calls.filter(({ end }) => end === undefined || !mayTryAgain(spec.op, end))
          expect(mayHaveActed.length).toBeLessThanOrEqual(target)
          if (next.end) {
            expect(calls.every(({ end }) => end !== undefined)).toBe(true)
            const done = new Set(calls.filter(({ end }) => end?.outcome === 'done').map(({ device }) => device))
            expect(next.end.isDone).toBe(target > 0 && done.size >= target)
            return
          }
          nowMs = Math.max(nowMs + 1, next.lookAtMs ?? 0)
          calls = calls.map((call) => (call.end ? call : { ...call, end: { ...ends.next().value, endedAtMs: nowMs } }))
        }
        expect.unreachable('the pass does not end')
      }),
      { numRuns: 300 },
    )
  })
})

const flaw = (each: Candidate): Candidate['flaw'] => each.flaw

describe('a task', () => {
  const TASK: StoredTask = {
    ...{ task: 't', spec: SPEC, tenant: 'local', level: 'act', atMs: 1000, pass: 0, nextAtMs: 1000, calls: 0 },
  }
  const step = (task: StoredTask, nowMs: number, calls: StoredTaskCall[] = []) =>
    stepOf({ task, calls, candidates: () => [candidate('a')], nowMs, room: 64 })

  it('of one pass ends with it', () => {
    const first = step(TASK, 1000)
    expect(first).toMatchObject({ begin: ['a'], task: { pass: 1, passAtMs: 1000 } })
    expect(first.task.nextAtMs).toBeUndefined()
    expect(step(first.task, 1500, [called(1, 'a')]).task).toBe(first.task)
    expect(step(first.task, 2000, [called(1, 'a', {})]).task).toMatchObject({
      end: { outcome: 'done', endedAtMs: 2000 },
    })
    expect(step(first.task, 2000, [called(1, 'a', { outcome: 'unknown' })]).task).toMatchObject({
      ...{ end: { outcome: 'failed' }, last: { isDone: false, reasons: { a: 'unknown' } } },
    })
  })

  it('goes on by its beat, makes up for nothing that it missed, and sees no calls of former passes', () => {
    const every = { ...TASK, spec: { ...SPEC, everyMs: 5000 } }
    const first = step(every, 1000)
    expect(first.task).toMatchObject({ pass: 1, nextAtMs: 6000 })
    const between = step(first.task, 1200, [called(1, 'a', { outcome: 'failed' })])
    expect(between).toMatchObject({ task: { last: { isDone: false } }, lookAtMs: 6000 })
    expect(between.task.end).toBeUndefined()
    expect(step(between.task, 5999)).toMatchObject({ begin: [], lookAtMs: 6000 })
    const late = step(between.task, 18_000, [called(1, 'a', { outcome: 'failed' })])
    expect(late).toMatchObject({ begin: ['a'], task: { pass: 2, nextAtMs: 21_000 } })
  })

  it('expires at its time, whatever it does', () => {
    const task = { ...TASK, spec: { ...SPEC, everyMs: 5000, untilMs: 3000 } }
    const first = step(task, 1000)
    expect(first.lookAtMs).toBe(3000)
    expect(step(first.task, 3000, [called(1, 'a')]).task).toMatchObject({ end: { outcome: 'expired' } })
  })
})
