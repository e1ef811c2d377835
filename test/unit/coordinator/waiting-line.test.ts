import { describe, expect, it } from 'vitest'
import { WaitingLine } from '../../../coordinator/dispatch/waiting-line.ts'
import { Watchdog } from '../../../coordinator/dispatch/watchdog.ts'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { DIGEST, OTHER_DIGEST } from './snapshots.ts'

describe('WaitingLine', () => {
  const clock = new ManualClock()
  const never = new AbortController().signal

  it('serves in the order of coming and tells each its place', async () => {
    const line = new WaitingLine<string>(clock)
    let free = 0
    const served: string[] = []
    const places: Record<string, number[]> = { a: [], b: [], c: [] }
    const join = (name: string): Promise<void> =>
      line
        .wait(
          {
            digest: DIGEST,
            attempt: () => (free > 0 ? { result: (free--, name) } : 'no slot'),
            moved: (position) => places[name]!.push(position),
          },
          never,
        )
        .then((result) => void served.push(result))
    const all = ['a', 'b', 'c'].map(join)
    await clock.advance(1)
    expect(places).toEqual({ a: [1], b: [2], c: [3] })
    free = 2
    line.wake()
    await clock.advance(1)
    expect(served).toEqual(['a', 'b'])
    expect(places['c']).toEqual([3, 1])
    free = 1
    line.wake()
    await clock.advance(1)
    await Promise.all(all)
    expect(line.length).toBe(0)
  })

  it('a task that cannot go on yet holds up nobody, and models do not wait for each other', async () => {
    const line = new WaitingLine<string>(clock)
    const served: string[] = []
    const join = (digest: typeof DIGEST, outcome: () => { result: string } | 'no slot' | 'not yet'): void =>
      void line.wait({ digest, attempt: outcome, moved: () => {} }, never).then((result) => served.push(result))
    join(DIGEST, () => 'not yet')
    join(DIGEST, () => ({ result: 'behind' }))
    join(OTHER_DIGEST, () => 'no slot')
    join(OTHER_DIGEST, () => ({ result: 'must wait' }))
    await clock.advance(1)
    expect(served).toEqual(['behind'])
    expect(line.length).toBe(3)
  })

  it('lets one leave, and is bounded', async () => {
    const line = new WaitingLine<string>(clock)
    const leaving = new AbortController()
    const waiter = { digest: DIGEST, attempt: () => 'no slot' as const, moved: () => {} }
    const left = line.wait(waiter, leaving.signal)
    leaving.abort(new RangeError('left'))
    await expect(left).rejects.toThrow('left')
    expect(line.length).toBe(0)
    for (let i = 0; i < LIMITS.queuedTasksMax; i++) void line.wait(waiter, never)
    expect(() => line.wait(waiter, never)).toThrow(/wait for a slot already/)
  })
})

describe('Watchdog', () => {
  it('names the interval that ran over, and only one timer serves all', async () => {
    const clock = new ManualClock()
    const watchdog = new Watchdog(clock)
    watchdog.expect('assign to accept', 100)
    for (let i = 0; i < 50; i++) {
      await clock.advance(60)
      watchdog.expect('between tokens', 100)
      expect(clock.pendingTimers).toBe(1)
    }
    expect(watchdog.signal.aborted).toBe(false)
    await clock.advance(101)
    expect(watchdog.signal.reason).toMatchObject({
      code: 'ATTEMPT_STALLED',
      message: 'between tokens took more than 100 ms',
    })
  })

  it('shortens as well as lengthens, and stops', async () => {
    const clock = new ManualClock()
    const watchdog = new Watchdog(clock)
    watchdog.expect('long', 10_000)
    watchdog.expect('short', 10)
    await clock.advance(11)
    expect(watchdog.signal.aborted).toBe(true)
    const stopped = new Watchdog(clock)
    stopped.expect('x', 10)
    stopped.stop()
    await clock.advance(100)
    expect(stopped.signal.aborted).toBe(false)
    expect(clock.pendingTimers).toBe(0)
  })
})
