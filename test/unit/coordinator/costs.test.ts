/** What answers took and cost, and what a request may cost: at the plan, at the commit, over losses and restarts. */
import { describe, expect, it } from 'vitest'
import { Budget } from '../../../coordinator/dispatch/index.ts'
import { Planner } from '../../../coordinator/dispatch/planner.ts'
import { PriceBook } from '../../../coordinator/pricing/index.ts'
import type { Plan } from '../../../coordinator/scheduler/index.ts'
import type { LedgerAttempt, UsageSum } from '../../../coordinator/ledger/index.ts'
import type { ModelCapability } from '../../../mesh/protocol/index.ts'
import { createLogger, SeededRandom } from '../../../mesh/runtime/index.ts'
import {
  accept,
  ANSWER,
  answers,
  DispatchHarness,
  tokensFrom,
  type DispatchHarnessInit,
  type Script,
} from './dispatch.harness.ts'

const RATE = 100
const PRICE = { inputPerMillion: 1, outputPerMillion: 10 }
const LEFT_MAX = 1_000_000

let harness: DispatchHarness
const setUp = (init: DispatchHarnessInit = {}): void => {
  harness = new DispatchHarness({ budgetMicros: LEFT_MAX, ...init })
}

const withEnergy = (joulesPerToken: number, source: 'rapl' | 'estimated'): Partial<ModelCapability> => ({
  parameters: 3e9,
  speed: {
    prefillTokensPerSecond: 2 * RATE,
    decode: [{ sequences: 1, tokensPerSecond: RATE }],
    measuredAtMs: 1,
    energy: { joulesPerToken, source },
  },
})
const usage = async (): Promise<UsageSum> => {
  let rows: UsageSum[] = []
  const query = { sinceMs: 0, untilMs: Number.MAX_SAFE_INTEGER, by: [], limit: 9 }
  await harness.until(() => {
    void harness.ledger.usage(query).then((found) => (rows = found))
    return rows.length > 0
  })
  return rows[0]!
}
const breaks: Script = async (channel, start) => {
  await accept(channel, start)
  await tokensFrom(channel, start.fence, 0, 3)
  channel.abort(new TypeError('the process died'))
}

describe('an answer', () => {
  it('took the energy that its nodes say, and cost what that costs, beside a cloud', async () => {
    setUp({ costs: new PriceBook({ perKilowattHour: 3.6 }) })
    harness.node('desk', RATE, [answers], { model: withEnergy(2, 'rapl') })
    await harness.run(harness.task())
    // the three tokens of the prompt took half as long each
    const joules = 2 * (ANSWER.length + 3 / 2)
    const row = await usage()
    expect(row).toMatchObject({ estimatedJoules: 0, cloudMicros: (3 + ANSWER.length) * 0.1 })
    expect(row.joules).toBeCloseTo(joules, 9)
    expect(row.energyMicros).toBeCloseTo(joules, 9)
    expect(row.costMicros).toBe(row.energyMicros)
  })

  it('over a loss has the energy of both nodes, marked where it is a rule of thumb', async () => {
    setUp({ costs: new PriceBook() })
    harness.node('breaks', 10 * RATE, [breaks], { model: withEnergy(5, 'estimated') })
    harness.node('good', RATE, [answers])
    const following = await harness.run(harness.task())
    expect(following.error).toBeUndefined()
    const row = await usage()
    expect(row.joules).toBeGreaterThanOrEqual(5 * 3)
    expect(row.estimatedJoules).toBe(row.joules)
    // nobody has said what energy costs
    expect(row).toMatchObject({ energyMicros: 0, costMicros: 0 })
  })

  it('on a node with a price costs that, and its energy nothing more', async () => {
    setUp({ costs: new PriceBook({ perKilowattHour: 3.6 }) })
    harness.node('priced', RATE, [answers], { model: withEnergy(2, 'rapl'), price: PRICE })
    await harness.run(harness.task())
    const row = await usage()
    expect(row).toMatchObject({ energyMicros: 0 })
    expect(row.joules).toBeGreaterThan(0)
    expect(row.costMicros).toBeGreaterThanOrEqual(10 * ANSWER.length)
  })
})

describe('a limit of a request', () => {
  // 64 tokens of an answer may cost 640, and the prompt a few
  it('is what a node with a price is chosen by', async () => {
    setUp()
    harness.node('priced', 10 * RATE, [answers], { price: PRICE })
    const refused = harness.task({ costMicrosMax: 600 })
    expect(() => harness.dispatcher.check(refused)).toThrow(
      expect.objectContaining({ code: 'BUDGET_EXCEEDED', message: expect.stringContaining('max_cost') as string }),
    )
    expect(() => harness.dispatcher.check(harness.task({ costMicrosMax: 700 }))).not.toThrow()
    expect(() => harness.dispatcher.check(harness.task())).not.toThrow()
    harness.node('free', RATE, [answers])
    const following = await harness.run(harness.task({ costMicrosMax: 0 }))
    expect(following.nodes).toEqual(['free'])
  })

  it('counts what earlier attempts cost, and what is set aside', async () => {
    setUp()
    harness.node('breaks', 10 * RATE, [breaks], { price: PRICE })
    harness.node('priced', 5 * RATE, [answers], { price: PRICE })
    // so slow that money is better spent
    harness.node('free', RATE / 50, [answers])
    // 659 for a whole answer, of which three tokens are paid twice by then
    const following = await harness.run(harness.task({ costMicrosMax: 662 }))
    expect(following.nodes).toEqual(['breaks', 'free'])
    const generous = await harness.run(harness.task({ costMicrosMax: 2000 }))
    expect(generous.nodes.at(-1)).toBe('priced')
  })

  it('is looked at again when a place is taken, and what is set aside is given back when it is not used', () => {
    setUp()
    harness.node('priced', RATE, [answers], { price: PRICE })
    const { clock, directory } = harness
    const budget = new Budget({ clock }, { dayMicros: LEFT_MAX })
    const planner = new Planner({ clock, directory, budget, random: new SeededRandom(1) })
    const task = harness.task({ costMicrosMax: 700 })
    const planned = (): Plan => {
      const plan = planner.plan(task)
      if (plan.kind !== 'plan') throw new TypeError(`no plan: ${plan.kind}`)
      return plan
    }
    // as a move does: it plans while an attempt runs
    const [first, second] = [planned(), planned()]
    const taken = planner.commit(task, first)
    expect(taken).toBeDefined()
    expect(planner.commit(task, second)).toBeUndefined()
    expect(budget.snapshot().reservedMicros).toBe(task.costMicros)
    planner.giveBack(task, taken!)
    expect(task.costMicros).toBe(0)
    expect(planner.commit(task, second)).toBeDefined()
  })

  it('holds over a restart: what was set aside for an attempt without an end counts', async () => {
    setUp()
    const stalls: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start.fence, 0, 3)
      await new Promise(() => {})
    }
    harness.node('priced', 10 * RATE, [stalls, answers], { price: PRICE })
    const task = harness.task({ costMicrosMax: 700, attachment: 'background' })
    await harness.submit(task)
    await harness.until(() => task.answer.length === 3)
    await harness.clock.advance(10)
    await harness.restart()
    const run = harness.dispatcher.run(task.id)!
    expect(run.task.spec.costMicrosMax).toBe(700)
    expect(run.task.costMicros).toBeGreaterThan(600)
    harness.node('free', RATE, [answers])
    await harness.until(() => run.result !== undefined)
    const nodes = run.attempts.entries.map(({ assigned }: LedgerAttempt) => assigned.node.name)
    expect(nodes).toEqual(['priced', 'free'])
  })
})

describe('the lines of the log about a task', () => {
  it('bear the ids of request, task, attempt and trace', async () => {
    const lines: Record<string, unknown>[] = []
    const log = createLogger('debug', { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) })
    setUp({ log })
    harness.node('breaks', 10 * RATE, [breaks])
    harness.node('good', RATE, [answers])
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    const task = harness.task({ trace: { traceparent, isOwn: false } })
    await harness.run(task)
    const own = lines.filter((line) => String(line['scope']).endsWith('dispatch'))
    expect(own.map(({ msg, attempt }) => [attempt, msg])).toEqual([
      [1, 'assigned'],
      [1, 'attempt ended'],
      [1, expect.any(String)],
      [2, 'assigned'],
      [2, 'attempt ended'],
    ])
    for (const line of own)
      expect(line).toMatchObject({ task: task.id, request: 'req_1', trace: traceparent.slice(3, 35) })
    // the client's own context goes on to the nodes as it came
    expect(harness.begins).toMatchObject([{ traceparent }, { traceparent, requestId: 'req_1' }])
  })
})
