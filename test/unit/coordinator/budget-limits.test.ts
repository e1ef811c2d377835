/** What becomes of requests that only a node with a price could take, when less is left than they may cost. */
import { describe, expect, it } from 'vitest'
import type { MeshEvent, TaskRequest } from '../../../coordinator/admission/index.ts'
import type { BudgetChange } from '../../../coordinator/dispatch/index.ts'
import { asRequestId, GREEDY, type SkeinError } from '../../../mesh/protocol/index.ts'
import { accept, ANSWER, answers, DispatchHarness, end, tokensFrom, type Script } from './dispatch.harness.ts'
import { OTHER_DIGEST } from './snapshots.ts'

const PRICE = { inputPerMillion: 1, outputPerMillion: 10 }
/** What a task may cost: 64 tokens of an answer, the bytes of its prompt, and what a template may add. */
const COST_MAX = 640 + 3 + 16
/** What the answer of the harness costs: its tokens, and the three that its node counts in the prompt. */
const PAID = 10 * ANSWER.length + 3
const DAY_MS = 86_400_000
const never = new AbortController().signal

const request = (init: Partial<TaskRequest> = {}): TaskRequest => ({
  requestId: asRequestId('req_1'),
  model: 'tiny',
  prompt: { kind: 'text', text: 'why' },
  sampling: GREEDY,
  stop: [],
  maxTokens: 64,
  tenant: 'key:a',
  attachment: 'attached',
  shape: '{}',
  ...init,
})

async function setUp(change: BudgetChange) {
  const harness = new DispatchHarness()
  harness.node('priced', 100, [answers], { price: PRICE, model: { slots: 8 } })
  await harness.settled(harness.dispatcher.budget.set(change, 'local'))
  const events: MeshEvent[] = []
  harness.observers.watch((event) => void events.push(event))
  const service = harness.service()
  const ask = async (init: Partial<TaskRequest> = {}) => harness.follow(await service.submit(request(init), never))
  const spent = () => harness.dispatcher.stats().budget.periods.map(({ spentMicros }) => spentMicros)
  return { harness, service, ask, events, spent }
}

describe('at the limit, "refuse"', () => {
  it('says which limit it is, what is left, and when it turns', async () => {
    const { harness, ask, events } = await setUp({ dayMicros: COST_MAX + 100 })
    const first = await ask()
    const over = ask().catch((error: unknown) => error as SkeinError)
    expect(await over).toMatchObject({ code: 'BUDGET_EXCEEDED', retryAfterSeconds: 10 })
    expect(((await over) as SkeinError).message).toMatch(
      /may cost 0\.000659, and of the budget of the day, 0\.000759, 0\.0001 is left; the next day begins at \d{4}-\d\d-\d\dT00:00Z/,
    )
    await first.over()
    expect(first.error).toBeUndefined()
    // settled, there is enough for the next
    expect((await (await ask()).over()).error).toBeUndefined()
    expect(events.filter(({ type }) => type === 'budget.exhausted')).toMatchObject([
      { short: { period: 'day', neededMicros: COST_MAX, leftMicros: 100 } },
    ])
    expect(harness.dispatcher.stats().budget.short).toEqual({ refuse: 1, wait: 0, local: 0 })
  })

  it('is to be asked again when the period turns, where nothing is set aside', async () => {
    const { harness, ask } = await setUp({ monthMicros: COST_MAX - 1 })
    const error = await ask().catch((thrown: unknown) => thrown as SkeinError)
    const seconds = (error as SkeinError).retryAfterSeconds!
    const turn = new Date(harness.clock.wallMs() + seconds * 1000)
    expect([turn.getUTCDate(), turn.getUTCHours()]).toEqual([1, 0])
  })

  it('holds a key to its own limit, and no other', async () => {
    const { ask } = await setUp({ dayMicros: 10 * COST_MAX })
    const { harness, service } = await setUp({ dayMicros: 10 * COST_MAX })
    await harness.settled(harness.dispatcher.budget.set({ tenant: 'key:a', monthMicros: 10 }, 'local'))
    const refused = service.submit(request(), never)
    await expect(refused).rejects.toMatchObject({ message: expect.stringContaining('month of this key') as string })
    await expect(service.submit(request({ tenant: 'key:b' }), never)).resolves.toBeDefined()
    await expect(ask()).resolves.toBeDefined()
  })

  it('without any budget says that none is set', async () => {
    const { ask } = await setUp({ atLimit: 'wait' })
    await expect(ask()).rejects.toMatchObject({ message: expect.stringContaining('no budget is set') as string })
  })

  it('leaves what the client itself does not allow to be told as that', async () => {
    const { ask } = await setUp({ dayMicros: 1, atLimit: 'wait' })
    await expect(ask({ costMax: 0.0001 })).rejects.toMatchObject({
      code: 'BUDGET_EXCEEDED',
      message: expect.stringContaining('max_cost') as string,
    })
  })
})

describe('at the limit, "wait"', () => {
  it('waits until money comes free', async () => {
    const { harness, ask, spent } = await setUp({ dayMicros: 3 * COST_MAX, atLimit: 'wait' })
    const { budget } = harness.dispatcher
    await harness.settled(budget.reserveLease('rented', 2 * COST_MAX + 1, 1))
    // the second finds the first in the line, and is not asked before it is its turn
    const [one, two] = [await ask(), await ask()]
    // longer than for a slot
    await harness.clock.advance(120_100)
    expect([one.isOver, two.isOver, harness.begins.length]).toEqual([false, false, 0])
    await harness.settled(budget.settleLease('rented', COST_MAX))
    // at once, and not when the line is looked at anyway
    await harness.clock.advance(100)
    expect(harness.begins).toHaveLength(2)
    for (const waiting of [one, two]) expect((await waiting.over()).error).toBeUndefined()
    expect(spent()).toEqual([COST_MAX + 2 * PAID, COST_MAX + 2 * PAID])
    expect(harness.dispatcher.stats().budget.short).toEqual({ refuse: 0, wait: 2, local: 0 })
  })

  it('waits for the period to turn, where that is before the deadline', async () => {
    const { harness, ask } = await setUp({ dayMicros: COST_MAX, atLimit: 'wait' })
    const nowMs = harness.clock.wallMs()
    const leftMs = DAY_MS - (nowMs % DAY_MS)
    harness.clock.setWall(leftMs - 30_000)
    await (await ask()).over()
    await expect(ask({ deadlineMs: 20_000 })).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' })
    const waiting = await ask({ deadlineMs: 200_000 })
    await harness.clock.advance(10_000)
    expect(harness.begins).toHaveLength(1)
    await waiting.over()
    expect(waiting.error).toBeUndefined()
  })

  it('ends before the deadline with why, and wakes when the owner gives more', async () => {
    const { harness, ask } = await setUp({ dayMicros: COST_MAX, atLimit: 'wait' })
    await harness.settled(harness.dispatcher.budget.reserveLease('rented', 1, 1))
    const late = await ask({ deadlineMs: 90_000 })
    await harness.clock.advance(89_000)
    expect(late.isOver).toBe(false)
    await late.over(1)
    expect(late.error).toMatchObject({ code: 'BUDGET_EXCEEDED' })
    const other = await ask()
    await harness.clock.advance(5000)
    await harness.settled(harness.dispatcher.budget.set({ dayMicros: 3 * COST_MAX }, 'local'))
    await other.over()
    expect(other.error).toBeUndefined()
  })

  it('does not wait for what no turn can bring', async () => {
    const { ask } = await setUp({ dayMicros: COST_MAX - 1, atLimit: 'wait' })
    await expect(ask()).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' })
  })
})

describe('at the limit, "local"', () => {
  it('has the smaller model of the owner answer, and says so', async () => {
    const terms = { dayMicros: 1, atLimit: 'local', localModel: 'small' } as const
    const { harness, service, spent } = await setUp(terms)
    harness.node('home', 10, [answers], { model: { digest: OTHER_DIGEST, aliases: ['small'] } })
    const handle = await service.submit(request(), never)
    expect(handle).toMatchObject({ standIn: 'small', digest: OTHER_DIGEST })
    const following = await harness.follow(handle).over()
    expect(following.nodes).toEqual(['home'])
    expect(spent()).toEqual([0, 0])
    expect((await service.task(handle.taskId)).localOnly).toBe(true)
    expect(harness.dispatcher.stats().budget.short.local).toBe(1)
  })

  it('is refused with both reasons, where that model cannot answer', async () => {
    const { ask } = await setUp({ dayMicros: 1, atLimit: 'local', localModel: 'nowhere' })
    const refused = ask()
    await expect(refused).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' })
    await expect(refused).rejects.toThrow(/budget of the day.*'nowhere' cannot answer in its place/)
  })
})

describe('an attempt that its node still holds', () => {
  const breaks: Script = async (channel, start) => {
    await accept(channel, start)
    await tokensFrom(channel, start.fence, 0, 3)
    channel.abort(new TypeError('the connection broke'))
  }
  /** It is lost with three tokens, of which it costs 31 with the prompt; then `leftMicros` are left, and its node has it. */
  const lostThenHeld = async (leftMicros: number) => {
    const harness = new DispatchHarness()
    await harness.settled(harness.dispatcher.budget.set({ dayMicros: COST_MAX }, 'local'))
    const peer = harness.node('priced', 100, [breaks], {
      price: PRICE,
      attach: async (channel, { fence, from }) => {
        await accept(channel, { fence })
        await tokensFrom(channel, fence, from, ANSWER.length)
        await end(channel, { fence })
      },
    })
    const run = await harness.submit(harness.task({ attachment: 'background' }))
    await harness.until(() => run.attempts.entries[0]?.ended !== undefined)
    await harness.settled(harness.dispatcher.budget.set({ dayMicros: 31 + leftMicros }, 'local'))
    const { fence } = run.attempts.entries[0]!.assigned
    expect(run.offer({ peerId: peer.self.peerId, fence, index: ANSWER.length })).toBe(true)
    return { harness, run }
  }

  it('is paid for what it has yet to make, once', async () => {
    const { harness, run } = await lostThenHeld(610)
    await harness.until(() => run.result !== undefined)
    const costs = run.attempts.entries.map(({ ended }) => ended?.costMicros)
    // the prompt and three tokens, then five without the prompt
    expect(costs).toEqual([31, 50])
    expect(harness.dispatcher.stats().budget.periods[0]).toMatchObject({ spentMicros: 81, reservedMicros: 0 })
  })

  it('is not gone on with when less is left than that may cost', async () => {
    // 61 tokens may come
    const { harness, run } = await lostThenHeld(609)
    await harness.clock.advance(5000)
    expect(harness.begins.filter(({ type }) => type === 'attempt.attach')).toEqual([])
    expect(run.result).toBeUndefined()
  })
})

describe('after kill -9', () => {
  it('what was spent is spent, and what was set aside counts until the attempt is known to be over', async () => {
    const stalls: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start.fence, 0, 3)
      await new Promise(() => {})
    }
    const harness = new DispatchHarness()
    harness.node('priced', 100, [answers, stalls, answers], { price: PRICE })
    await harness.settled(
      harness.dispatcher.budget.set({ dayMicros: 2 * COST_MAX, monthMicros: 9 * COST_MAX }, 'local'),
    )
    await harness.run(harness.task({ tenant: 'key:a' }))
    const task = harness.task({ tenant: 'key:a', attachment: 'background' })
    await harness.submit(task)
    await harness.until(() => task.answer.length === 3)
    await harness.clock.advance(10)
    await harness.restart()
    const [day, month] = harness.dispatcher.stats().budget.periods
    expect(day).toMatchObject({ spentMicros: PAID + COST_MAX, reservedMicros: 0, limitMicros: 2 * COST_MAX })
    expect(month).toMatchObject({ spentMicros: PAID + COST_MAX, limitMicros: 9 * COST_MAX })
    // less is left than another attempt may cost
    const run = harness.dispatcher.run(task.id)!
    await harness.clock.advance(20_000)
    expect([run.result, harness.begins.length]).toEqual([undefined, 2])
    await harness.settled(harness.dispatcher.budget.set({ dayMicros: 3 * COST_MAX }, 'local'))
    await harness.until(() => run.result !== undefined, 25)
    expect(run.result).toMatchObject({ outcome: 'completed' })
    const { spentMicros = 0, reservedMicros } = harness.dispatcher.stats().budget.periods[0]!
    expect(reservedMicros).toBe(0)
    await harness.clock.advance(100)
    const billed = await harness.settled(harness.ledger.billed(0))
    expect(billed).toEqual([{ tenant: 'key:a', day: expect.any(Number) as number, micros: spentMicros }])
  })
  it('what its node still holds is gone on with for what was set aside, and for nothing more', async () => {
    const harness = new DispatchHarness()
    const stalls: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start.fence, 0, 3)
      await new Promise(() => {})
    }
    const peer = harness.node('priced', 100, [stalls], {
      price: PRICE,
      attach: async (channel, { fence, from }) => {
        await accept(channel, { fence })
        await tokensFrom(channel, fence, from, ANSWER.length)
        await end(channel, { fence })
      },
    })
    await harness.settled(harness.dispatcher.budget.set({ dayMicros: COST_MAX }, 'local'))
    const task = harness.task({ attachment: 'background' })
    await harness.submit(task)
    await harness.until(() => task.answer.length === 3)
    await harness.clock.advance(10)
    await harness.restart()
    const run = harness.dispatcher.run(task.id)!
    const { fence } = run.attempts.entries[0]!.assigned
    expect(run.offer({ peerId: peer.self.peerId, fence, index: ANSWER.length })).toBe(true)
    await harness.until(() => run.result !== undefined)
    expect(run.result).toMatchObject({ outcome: 'completed' })
    expect(harness.dispatcher.stats().budget.periods[0]).toMatchObject({ spentMicros: COST_MAX, reservedMicros: 0 })
  })
})
