import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Shares } from '../../../coordinator/dispatch/shares.ts'
import { WaitingLine, type Outcome, type Waiter } from '../../../coordinator/dispatch/waiting-line.ts'
import { OVERDUE_EVERY } from '../../../coordinator/dispatch/waiting-line/order.ts'
import { Watchdog } from '../../../coordinator/dispatch/watchdog.ts'
import { PRIORITIES } from '../../../coordinator/ledger/index.ts'
import { asPeerId, LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { DIGEST, OTHER_DIGEST } from './snapshots.ts'

type Init = Partial<Omit<Waiter<string>, 'moved'>> & { readonly signal?: AbortSignal }

const never = new AbortController().signal

/** A line before a model with some slots. Whoever joins gets one, or waits for one. */
class Bench {
  readonly clock = new ManualClock()
  readonly shares = new Shares()
  readonly line = new WaitingLine<string>({ clock: this.clock, shares: this.shares })
  readonly served: string[] = []
  readonly failed = new Map<string, SkeinError>()
  readonly positions: Record<string, number[]> = {}
  asked = 0
  free = 0

  join(name: string, init: Init = {}): void {
    const { signal = never, ...rest } = init
    const waiter: Waiter<string> = {
      digest: DIGEST,
      priority: 'default',
      tenant: 'local',
      cost: 100,
      deadlineAtMs: 0,
      isResumed: false,
      mayUse: () => true,
      attempt: () => {
        this.asked++
        return this.free > 0 ? { result: (this.free--, name) } : 'no slot'
      },
      ...rest,
      moved: (position) => (this.positions[name] ??= []).push(position),
    }
    this.line.wait(waiter, signal).then(
      () => this.served.push(name),
      (error: SkeinError) => this.failed.set(name, error),
    )
  }

  many(count: number, prefix: string, init: Init = {}): void {
    for (let i = 0; i < count; i++) this.join(`${prefix}${i}`, init)
  }

  /** Frees slots, and gives them. */
  async give(slots = 1): Promise<void> {
    this.free += slots
    this.line.wake()
    await this.clock.advance(1)
  }
}

describe('WaitingLine', () => {
  it('serves in the order of coming and tells each its place', async () => {
    const bench = new Bench()
    bench.many(3, '')
    await bench.give(0)
    await bench.give(0)
    expect(bench.positions).toEqual({ 0: [1], 1: [2], 2: [3] })
    await bench.give(2)
    expect(bench.served).toEqual(['0', '1'])
    expect(bench.positions['2']).toEqual([3, 1])
    await bench.give()
    expect(bench.line.length).toBe(0)
    bench.line.wake()
    expect(bench.clock.pendingTimers).toBe(0)
  })

  it('walks once, however often it is woken, and asks nobody behind one for whom there was no slot', async () => {
    const bench = new Bench()
    bench.many(5, '')
    for (let i = 0; i < 10; i++) bench.line.wake()
    await bench.clock.advance(1)
    expect(bench.asked).toBe(1)
  })

  it('a task that cannot go on yet holds up nobody, and models do not wait for each other', async () => {
    const bench = new Bench()
    bench.join('later', { attempt: () => 'not yet' })
    bench.join('behind', { attempt: () => ({ result: '' }) })
    bench.join('no slot', { digest: OTHER_DIGEST, attempt: () => 'no slot' })
    bench.join('must wait', { digest: OTHER_DIGEST, attempt: () => ({ result: '' }) })
    await bench.clock.advance(1)
    expect(bench.served).toEqual(['behind'])
    expect(bench.line.length).toBe(3)
  })

  it('lets the more urgent class go first, and what was running before first in its class', async () => {
    const bench = new Bench()
    bench.join('bulk', { priority: 'bulk' })
    bench.join('bulk resumed', { priority: 'bulk', isResumed: true })
    bench.join('default')
    bench.join('default resumed', { isResumed: true, tenant: 'other' })
    bench.join('interactive', { priority: 'interactive' })
    bench.join('system', { priority: 'system' })
    expect(bench.line.waiting()).toEqual({ system: 1, interactive: 1, default: 2, bulk: 2 })
    await bench.give(6)
    expect(bench.served).toEqual(['system', 'interactive', 'default resumed', 'default', 'bulk resumed', 'bulk'])
    expect(bench.line.waiting()).toEqual({ system: 0, interactive: 0, default: 0, bulk: 0 })
  })

  it('says whom a newcomer must queue behind, and how much', () => {
    const bench = new Bench()
    expect(bench.line.hasWaiter(DIGEST, 'bulk')).toBe(false)
    bench.join('a', { cost: 10 })
    bench.join('b', { cost: 5, priority: 'bulk' })
    expect(PRIORITIES.map((priority) => bench.line.hasWaiter(DIGEST, priority))).toEqual([false, false, true, true])
    expect(PRIORITIES.map((priority) => bench.line.ahead(DIGEST, priority))).toEqual([0, 0, 10, 15])
    expect(bench.line.hasWaiter(OTHER_DIGEST, 'bulk')).toBe(false)
    const resumed = (): boolean[] => PRIORITIES.map((priority) => bench.line.hasWaiter(DIGEST, priority, true))
    expect(resumed()).toEqual([false, false, false, true])
    bench.join('c', { isResumed: true })
    expect(resumed()).toEqual([false, false, true, true])
  })

  it('tells those behind what is spoken for, and keeps who waits for a node', async () => {
    const bench = new Bench()
    const node = asPeerId('node')
    const seen: (number | undefined)[] = []
    const attempt = (claims: ReadonlyMap<typeof node, number>): Outcome<string> => {
      seen.push(claims.get(node))
      return seen.length === 3 ? { result: '' } : { waitFor: node, serviceMs: 40 }
    }
    bench.join('a', { attempt })
    bench.join('b', { attempt })
    bench.join('c', { attempt })
    await bench.clock.advance(1)
    expect(seen).toEqual([undefined, 40, 80])
    expect(bench.served).toEqual(['c'])
    expect(bench.positions).toEqual({ a: [1], b: [2] })
  })

  it('rejects whoever cannot start, and goes on with the next', async () => {
    const bench = new Bench()
    const attempt = (): never => {
      throw new SkeinError('NO_NODE', 'gone')
    }
    bench.join('bad', { attempt })
    bench.join('good')
    await bench.give()
    expect(bench.failed.get('bad')?.code).toBe('NO_NODE')
    expect(bench.served).toEqual(['good'])
  })

  it('lets one leave, and tells the others their new places', async () => {
    const bench = new Bench()
    const leaving = new AbortController()
    bench.join('a', { signal: leaving.signal })
    bench.join('b')
    await bench.clock.advance(1)
    leaving.abort(new SkeinError('CLIENT_CLOSED', 'left'))
    await bench.clock.advance(1)
    expect(bench.failed.get('a')?.code).toBe('CLIENT_CLOSED')
    expect(bench.positions['b']).toEqual([2, 1])
    expect(bench.line.length).toBe(1)
    const staying = new AbortController()
    bench.join('c', { signal: staying.signal })
    await bench.give(2)
    expect(bench.served).toEqual(['b', 'c'])
    expect(getEventListeners(staying.signal, 'abort')).toEqual([])
    bench.join('gone already', { signal: leaving.signal })
    await bench.clock.advance(1)
    expect(bench.failed.get('gone already')?.code).toBe('CLIENT_CLOSED')
    expect(bench.line.length).toBe(0)
  })

  it('does not ask one that left while the line was walked: its slot would be lost', async () => {
    const bench = new Bench()
    const leaving = new AbortController()
    let asked = false
    const attempt = (): Outcome<string> => {
      leaving.abort(new SkeinError('CLIENT_CLOSED', 'left'))
      return 'not yet'
    }
    bench.join('a', { attempt })
    bench.join('b', { signal: leaving.signal, attempt: () => ((asked = true), { result: '' }) })
    await bench.clock.advance(1)
    expect(asked).toBe(false)
  })
})

describe('WaitingLine, between tenants', () => {
  it('takes turns, however many tasks one has', async () => {
    const bench = new Bench()
    bench.many(4, 'a', { tenant: 'a' })
    bench.many(2, 'b', { tenant: 'b' })
    await bench.give(6)
    expect(bench.served).toEqual(['a0', 'b0', 'a1', 'b1', 'a2', 'a3'])
  })

  it('counts what a tenant has had already, and the deadline where that is equal', async () => {
    const bench = new Bench()
    bench.many(2, 'a', { tenant: 'a', deadlineAtMs: 9 })
    bench.many(1, 'b', { tenant: 'b', deadlineAtMs: 7 })
    bench.many(1, 'c', { tenant: 'c', deadlineAtMs: 8 })
    bench.shares.charge('b', 'default', 0, 75)
    await bench.give(4)
    expect(bench.served).toEqual(['c0', 'a0', 'a1', 'b0'])
  })

  it('keeps the order of coming inside a tenant, even of tasks that cost nothing', async () => {
    const bench = new Bench()
    bench.join('first', { cost: 0, deadlineAtMs: 9 })
    bench.join('second', { cost: 0, deadlineAtMs: 1 })
    await bench.give(2)
    expect(bench.served).toEqual(['first', 'second'])
  })

  it('gives nothing for the time that a tenant did not wait', async () => {
    const bench = new Bench()
    bench.join('a0', { tenant: 'a' })
    await bench.give()
    bench.many(2, 'b', { tenant: 'b' })
    bench.shares.charge('b', 'default', 1000, 0)
    bench.many(2, 'back', { tenant: 'a' })
    await bench.give(4)
    expect(bench.served).toEqual(['a0', 'b0', 'back0', 'b1', 'back1'])
  })

  it('gives two that always wait equal service within one task of each, whatever their tasks cost', async () => {
    const cost = fc.integer({ min: 1, max: 1000 })
    await fc.assert(
      fc.asyncProperty(fc.array(cost, { minLength: 10, maxLength: 40 }), cost, async (costs, most) => {
        const bench = new Bench()
        const had = { few: 0, many: 0 }
        const add = (tenant: keyof typeof had, cost: number): void => {
          const attempt = (): Outcome<string> => {
            if (bench.free === 0) return 'no slot'
            bench.free--
            had[tenant] += cost
            bench.shares.charge(tenant, 'default', cost, 0)
            // another comes before this one has left: the tenant never stops waiting
            add(tenant, tenant === 'few' ? costs.shift()! : most)
            return { result: '' }
          }
          bench.join(tenant, { tenant, cost, attempt })
        }
        const bound = Math.max(most, ...costs)
        for (let i = 0; i < 80; i++) add('many', most)
        add('few', costs.shift()!)
        while (costs.length > 0) {
          await bench.give()
          expect(Math.abs(had.few - had.many)).toBeLessThanOrEqual(bound)
        }
      }),
      { numRuns: 20 },
    )
  })

  it('never lets a newcomer overtake its own class or a more urgent one', async () => {
    const step = fc.oneof(fc.constant('give' as const), fc.constantFrom(...PRIORITIES))
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const bench = new Bench()
        const waiting: { name: string; rank: number }[] = []
        for (const [i, each] of steps.entries()) {
          if (each !== 'give') {
            bench.join(`${i}`, { priority: each })
            waiting.push({ name: `${i}`, rank: PRIORITIES.indexOf(each) })
            continue
          }
          await bench.give(waiting.length > 0 ? 1 : 0)
          if (waiting.length === 0) continue
          const first = waiting.reduce((a, b) => (b.rank < a.rank ? b : a))
          expect(bench.served.at(-1)).toBe(first.name)
          waiting.splice(waiting.indexOf(first), 1)
        }
        await bench.give(0)
        const order = waiting.toSorted((a, b) => a.rank - b.rank).map(({ name }) => name)
        expect(order.map((name) => bench.positions[name]!.at(-1))).toEqual(order.map((_, i) => i + 1))
      }),
      { numRuns: 50 },
    )
  })
})

describe('WaitingLine, overdue', () => {
  it('gives every eighth slot to what is overdue most, under an endless flood of the more urgent', async () => {
    const bench = new Bench()
    bench.many(3, 'bulk', { priority: 'bulk' })
    await bench.clock.advance(119_000)
    bench.many(40, 'now', { priority: 'interactive' })
    await bench.give(10)
    expect(bench.served.filter((name) => name.startsWith('bulk'))).toEqual([])
    await bench.clock.advance(1000)
    await bench.give(10)
    await bench.give(10)
    const bulk = bench.served.flatMap((name, i) => (name.startsWith('bulk') ? [`${name} at ${i}`] : []))
    // the ten slots before count: its turn was overdue as well
    expect(bulk).toEqual(['bulk0 at 10', 'bulk1 at 18', 'bulk2 at 26'])
    await bench.give(0)
    expect(bench.positions['bulk2']!.at(-1)).toBe(7)
  })

  it('lets nothing wait for ever: each is served within so many slots of being overdue', async () => {
    const tenant = fc.constantFrom('a', 'b', 'c')
    const flood = fc.record({ priority: fc.constantFrom(...PRIORITIES), tenant })
    await fc.assert(
      fc.asyncProperty(flood, fc.integer({ min: 1, max: 12 }), async (each, victims) => {
        const bench = new Bench()
        bench.many(victims, 'victim', { priority: 'bulk', tenant: 'victim' })
        bench.shares.charge('victim', 'bulk', 1e9, 0)
        bench.many(30, 'flood', each)
        await bench.clock.advance(120_000)
        for (let i = 0; i < victims * 2 * OVERDUE_EVERY + 30 * OVERDUE_EVERY; i++) {
          await bench.give()
          bench.join(`more${i}`, each)
        }
        expect(bench.served.filter((name) => name.startsWith('victim'))).toHaveLength(victims)
      }),
      { numRuns: 10 },
    )
  })
})

describe('WaitingLine, when full', () => {
  const max = LIMITS.queuedTasksMax
  const settled = (bench: Bench): Promise<void> => bench.clock.advance(0)

  it('keeps places for the classes above, and is bounded', async () => {
    const bench = new Bench()
    const counts = { bulk: 512, default: 256, interactive: 192, system: 64 }
    for (const [priority, count] of Object.entries(counts))
      bench.many(count + 1, priority, { priority: priority as keyof typeof counts })
    await settled(bench)
    expect(bench.line.length).toBe(max)
    expect(bench.line.waiting()).toEqual({ bulk: 509, default: 257, interactive: 193, system: 65 })
    // one found no place; the newest were shed for the classes above
    expect([...bench.failed.keys()].sort()).toEqual(['bulk509', 'bulk510', 'bulk511', 'bulk512'])
    expect(bench.failed.get('bulk512')).toMatchObject({ code: 'SATURATED', retryAfterSeconds: 10 })
  })

  it('sheds the newest of the least urgent class below the newcomer, and nobody of its own or a higher one', async () => {
    const bench = new Bench()
    bench.many(2, 'bulk', { priority: 'bulk' })
    bench.many(958, 'default', { priority: 'interactive' })
    bench.join('first', { priority: 'interactive' })
    bench.join('second', { priority: 'interactive' })
    bench.join('third', { priority: 'interactive' })
    await settled(bench)
    expect([...bench.failed.keys()]).toEqual(['bulk1', 'bulk0', 'third'])
  })

  it('keeps the last places from those that are less urgent than whoever took the others', async () => {
    const bench = new Bench()
    bench.many(960, 'interactive', { priority: 'interactive' })
    bench.join('default')
    bench.join('system', { priority: 'system' })
    await settled(bench)
    expect([...bench.failed.keys()]).toEqual(['default'])
  })

  it('does not let one tenant take all places of a class', async () => {
    const bench = new Bench()
    bench.many(512, 'hog', { priority: 'bulk', tenant: 'hog' })
    bench.many(300, 'late', { priority: 'bulk', tenant: 'late' })
    bench.join('third', { priority: 'bulk', tenant: 'third' })
    await settled(bench)
    const lost = [...bench.failed.keys()]
    expect(lost.filter((name) => name.startsWith('hog'))).toHaveLength(257)
    expect(lost.filter((name) => name.startsWith('late'))).toHaveLength(44)
    expect(lost).not.toContain('third')
    bench.join('hog again', { priority: 'bulk', tenant: 'hog' })
    await settled(bench)
    expect([...bench.failed.keys()].at(-1)).toBe('hog again')
    expect(bench.line.length).toBe(512)
  })

  it('never sheds an answer that has begun, and finds a place for one', async () => {
    const bench = new Bench()
    bench.many(max - 500, 'begun', { priority: 'bulk', isResumed: true })
    bench.many(500, 'system', { priority: 'system' })
    bench.join('late system', { priority: 'system' })
    bench.join('late begun', { priority: 'bulk', isResumed: true })
    await settled(bench)
    expect([...bench.failed.keys()]).toEqual(['late system', 'system499'])
    const begun = new Bench()
    begun.many(max + 1, 'begun', { priority: 'bulk', isResumed: true })
    await settled(begun)
    expect([...begun.failed.keys()]).toEqual([`begun${max}`])
    expect(begun.line.length).toBe(max)
  })

  it('tells when to come again, by what waits ahead and how fast the line goes', async () => {
    const bench = new Bench()
    bench.many(512, 'x', { priority: 'bulk', cost: 100 })
    await bench.give(0)
    for (let i = 0; i < 10; i++) {
      await bench.clock.advance(999)
      await bench.give()
    }
    bench.many(11, 'y', { priority: 'bulk', cost: 100 })
    await settled(bench)
    // 512 tasks ahead, one in each second
    expect(bench.failed.get('y10')?.retryAfterSeconds).toBe(513)
  })
})

describe('WaitingLine, pre-emption', () => {
  it('names the most urgent that found all slots taken for long enough, and whom it outranks', async () => {
    const bench = new Bench()
    bench.join('default', { priority: 'default' })
    bench.join('interactive', { priority: 'interactive' })
    await bench.clock.advance(500)
    bench.join('system', { priority: 'system', digest: OTHER_DIGEST })
    await bench.clock.advance(500)
    expect(bench.line.preempting(1001)).toBeUndefined()
    expect(bench.line.preempting(1000)).toMatchObject({ waiter: { priority: 'interactive' }, below: 'default' })
    await bench.clock.advance(1000)
    expect(bench.line.preempting(1000)).toMatchObject({ waiter: { priority: 'system' }, below: 'interactive' })
    expect(bench.line.preempting(1000)).toMatchObject({ waiter: { priority: 'interactive' } })
    // both were named: their slots have the time to become free
    expect(bench.line.preempting(1000)).toBeUndefined()
    await bench.clock.advance(1000)
    expect(bench.line.preempting(1000)).toMatchObject({ waiter: { priority: 'system' } })
  })

  it('counts from the last time that there was more to it than taken slots', async () => {
    const bench = new Bench()
    const outcomes: Outcome<string>[] = ['no slot', 'not yet', 'no slot']
    bench.join('x', { priority: 'interactive', attempt: () => outcomes.shift() ?? 'no slot' })
    await bench.clock.advance(1000)
    await bench.give(0)
    expect(bench.line.preempting(0)).toBeUndefined()
    await bench.clock.advance(500)
    await bench.give(0)
    await bench.clock.advance(100)
    expect(bench.line.preempting(200)).toBeUndefined()
    expect(bench.line.preempting(100)).toBeDefined()
  })

  it('names the first of those of one class and model', async () => {
    const bench = new Bench()
    bench.join('a', { priority: 'interactive', tenant: 'a' })
    bench.join('b', { priority: 'interactive', tenant: 'b' })
    bench.shares.charge('a', 'interactive', 1000, 0)
    await bench.clock.advance(100)
    expect(bench.line.preempting(50)?.waiter.tenant).toBe('b')
    expect(bench.line.preempting(50)?.waiter.tenant).toBe('a')
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
