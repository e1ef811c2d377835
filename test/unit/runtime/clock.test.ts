/** Time that is moved by hand, and what waits for it. */
import { describe, expect, it } from 'vitest'
import {
  deadline,
  ManualClock,
  SeededRandom,
  sleep,
  SystemClock,
  TimerQueue,
  withDeadline,
} from '../../../mesh/runtime/index.ts'

const late = (): Error => new RangeError('late')

describe('ManualClock', () => {
  it('stands still until it is moved, and moves both of its clocks', async () => {
    const clock = new ManualClock(1000)
    expect([clock.wallMs(), clock.nowMs()]).toEqual([1000, 0])
    await clock.advance(250)
    expect([clock.wallMs(), clock.nowMs()]).toEqual([1250, 250])
  })

  it('fires timers in the order of their times, then of their making, at their own time', async () => {
    const clock = new ManualClock()
    const fired: [string, number][] = []
    const at = (name: string, delayMs: number): unknown => clock.timer(delayMs, () => fired.push([name, clock.nowMs()]))
    at('c', 30)
    at('a', 10)
    at('b1', 20)
    at('b2', 20)
    at('past', -5)
    await clock.advance(29)
    expect(fired).toEqual([
      ['past', 0],
      ['a', 10],
      ['b1', 20],
      ['b2', 20],
    ])
    await clock.advance(1)
    expect(fired.at(-1)).toEqual(['c', 30])
    expect(clock.pendingTimers).toBe(0)
  })

  it('fires timers that timers and promises make on the way', async () => {
    const clock = new ManualClock()
    const ticks: number[] = []
    const loop = (async () => {
      while (ticks.length < 3) {
        await sleep(clock, 10)
        ticks.push(clock.nowMs())
      }
    })()
    await clock.advance(100)
    await loop
    expect(ticks).toEqual([10, 20, 30])
  })

  it('does not fire what was cancelled', async () => {
    const clock = new ManualClock()
    let fired = 0
    const cancel = clock.timer(10, () => fired++)
    cancel()
    cancel()
    await clock.advance(20)
    expect([fired, clock.pendingTimers]).toEqual([0, 0])
  })
})

describe('TimerQueue', () => {
  it('gives what was not cancelled in the order of time and making, whatever the order of adding', () => {
    const random = new SeededRandom(5)
    const queue = new TimerQueue()
    const expected: { atMs: number; order: number }[] = []
    const taken: number[] = []
    for (let order = 0; order < 500; order++) {
      const atMs = Math.floor(random.next() * 40)
      const cancel = queue.add(atMs, () => taken.push(order))
      if (random.next() < 0.3) {
        cancel()
        cancel()
      } else expected.push({ atMs, order })
    }
    expect(queue.size).toBe(expected.length)
    expected.sort((a, b) => a.atMs - b.atMs || a.order - b.order)
    expect(queue.nextAtMs).toBe(expected[0]!.atMs)
    for (let fire = queue.take(); fire !== undefined; fire = queue.take()) fire()
    expect(taken).toEqual(expected.map(({ order }) => order))
    expect([queue.size, queue.nextAtMs]).toEqual([0, Number.POSITIVE_INFINITY])
  })

  it('takes a cancel after the taking for nothing', () => {
    const queue = new TimerQueue()
    const cancel = queue.add(1, () => {})
    queue.add(2, () => {})
    queue.take()
    cancel()
    expect(queue.size).toBe(1)
  })
})

describe('SystemClock', () => {
  it('measures and fires, and lets the process end', async () => {
    const clock = new SystemClock(true)
    const startMs = clock.nowMs()
    await sleep(clock, 5)
    // timers may fire a fraction of a millisecond early
    expect(clock.nowMs() - startMs).toBeGreaterThanOrEqual(4)
    expect(Math.abs(clock.wallMs() - Date.now())).toBeLessThan(1000)
  })
})

describe('sleep', () => {
  it('rejects with the reason of the signal, at once when it has aborted, and leaves no timer', async () => {
    const clock = new ManualClock()
    const controller = new AbortController()
    const sleeping = sleep(clock, 1000, controller.signal)
    controller.abort(late())
    await expect(sleeping).rejects.toThrow('late')
    await expect(sleep(clock, 1000, controller.signal)).rejects.toThrow('late')
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('deadline', () => {
  it('aborts with its reason when its time has come, and not when it was cancelled', async () => {
    const clock = new ManualClock()
    const kept = deadline(clock, 10, late)
    const cancelled = deadline(clock, 10, late)
    cancelled.cancel()
    await clock.advance(9)
    expect(kept.signal.aborted).toBe(false)
    await clock.advance(1)
    expect(kept.signal.reason).toEqual(late())
    expect(cancelled.signal.aborted).toBe(false)
  })
})

describe('withDeadline', () => {
  const untilAborted = (signal: AbortSignal): Promise<never> =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))

  it('gives what the work gives, and clears its timer when the work ends or throws', async () => {
    const clock = new ManualClock()
    expect(await withDeadline(clock, 10, late, undefined, () => Promise.resolve(7))).toBe(7)
    await expect(
      withDeadline(clock, 10, late, undefined, () => Promise.reject(new TypeError('broke'))),
    ).rejects.toThrow('broke')
    expect(clock.pendingTimers).toBe(0)
  })

  it('aborts the work at the deadline, and when the outer signal aborts', async () => {
    const clock = new ManualClock()
    const timed = withDeadline(clock, 10, late, undefined, untilAborted)
    const check = expect(timed).rejects.toThrow('late')
    await clock.advance(10)
    await check
    const outer = new AbortController()
    const cut = withDeadline(clock, 10, late, outer.signal, untilAborted)
    outer.abort(new TypeError('outer'))
    await expect(cut).rejects.toThrow('outer')
    expect(clock.pendingTimers).toBe(0)
  })
})
