/** Answers of the owner's nodes that are judged, and asked for in the cloud when their model was not sure enough. */
import { beforeEach, describe, expect, it } from 'vitest'
import { cloudRules } from '../../../coordinator/cloud/policy.ts'
import { readCloudSettings } from '../../../coordinator/cloud/settings.ts'
import { ConfidenceMeter } from '../../../coordinator/dispatch/confidence.ts'
import type { TaskRun } from '../../../coordinator/dispatch/index.ts'
import { packTokenIds, type ModelCapability } from '../../../mesh/protocol/index.ts'
import { accept, ANSWER, answers, DispatchHarness, end, fails, TEXT, type Script } from './dispatch.harness.ts'

const FEATURES: Partial<ModelCapability> = { features: ['chat', 'completion', 'logprobs'] }
const HOME = ['perhaps ', 'they ', 'walk ']
const PRICE = { inputPerMillion: 1, outputPerMillion: 2 }
const of = (logprob: number) => ({ text: 'x', bytes: new Uint8Array(), logprob, top: [] })

/** Says the words of `HOME` behind what it is given, each with that log probability where they are asked for. */
const says =
  (logprobs: readonly number[]): Script =>
  async (channel, start) => {
    await accept(channel, start)
    for (let index = start.generated.length / 4; index < HOME.length; index++) {
      const told = start.logprobs === undefined ? {} : { logprobs: [of(logprobs[index]!)] }
      const ids = packTokenIds([index + 1])
      await channel.send({ type: 'attempt.tokens', fence: start.fence, index, ids, text: HOME[index]!, ...told })
    }
    await end(channel, start, HOME.length)
  }
const UNSURE = says([-0.1, -4, -2])
const SURE = says([-0.1, -0.2, -0.3])

let harness: DispatchHarness
let policy: Record<string, unknown>
beforeEach(() => {
  policy = { cascade: [{ models: ['tiny'], meanLogprob: -1 }] }
  harness = new DispatchHarness({
    budgetMicros: 1e6,
    cloudRules: () => cloudRules(readCloudSettings(JSON.stringify({ policy })).policy),
  })
})

const outcomes = () => harness.dispatcher.stats().cloud.cascades
const reasonsOf = (run: TaskRun) => run.attempts.entries.map(({ assigned }) => assigned.leave ?? assigned.reason)

describe('an answer that is judged', () => {
  it('is given as it is when its model was sure, and nothing of it before', async () => {
    harness.node('home', 1000, [SURE], { model: FEATURES })
    harness.node('rented', 1000, [answers], { tier: 'cloud' })
    const run = await harness.submit()
    const following = await harness.follow(run).over()
    expect(following.text).toBe(HOME.join(''))
    expect(harness.asked).toEqual(['home'])
    expect(following.events.filter(({ type }) => type === 'tokens')).toHaveLength(1)
    expect(run.attempts.entries[0]?.ended?.confidence).toEqual({
      ...{ tokens: 3, meanLogprob: expect.closeTo(-0.2), minLogprob: -0.3, isLow: false },
    })
    expect(outcomes()).toMatchObject({ sure: 1, left: 0 })
  })

  it('is asked for in the cloud when it was not: nobody hears of the first, and both are on record', async () => {
    harness.node('home', 1000, [UNSURE], { model: FEATURES })
    harness.node('rented', 1000, [answers], { tier: 'cloud', price: PRICE })
    const run = await harness.submit()
    const following = await harness.follow(run).over()
    expect(following.text).toBe(TEXT)
    expect(following.indices).toEqual(ANSWER.map((_, index) => index))
    expect(harness.begins[1]).toMatchObject({ leave: { reason: 'low-confidence' } })
    expect(harness.begins[1]).not.toHaveProperty('logprobs')
    const [home, rented] = run.attempts.entries
    expect(home?.ended).toMatchObject({
      outcome: 'completed',
      to: 3,
      confidence: { meanLogprob: expect.closeTo(-6.1 / 3), isLow: true },
    })
    expect(rented).toMatchObject({
      assigned: { reason: 'escalated', leave: 'low-confidence', from: 0 },
      ended: { to: 8 },
    })
    const receipt = { reason: 'low-confidence', costMicros: rented!.ended!.costMicros }
    expect(following.events.at(-1)).toMatchObject({ type: 'end', receipt })
    expect(receipt.costMicros).toBeGreaterThan(0)
    expect(outcomes()).toEqual({ sure: 0, kept: 0, unmeasured: 0, left: 1 })
  })

  it('is judged by its first tokens, of which one may be enough', async () => {
    policy = { cascade: [{ models: ['tiny'], meanLogprob: -50, tokenLogprob: -3, tokens: 2 }] }
    harness.node('home', 1000, [UNSURE], { model: FEATURES })
    harness.node('rented', 1000, [answers], { tier: 'cloud' })
    const run = await harness.submit()
    const following = await harness.follow(run).over()
    expect(following.text).toBe(TEXT)
    const [home] = run.attempts.entries
    expect(home?.ended).toMatchObject({ outcome: 'evicted', to: 2, confidence: { tokens: 2, minLogprob: -4 } })
    expect(following.said).toContainEqual('not sure enough of it, asking rented')
  })

  it('streams on from its first tokens when those were sure', async () => {
    policy = { cascade: [{ models: ['tiny'], meanLogprob: -1, tokens: 1 }] }
    harness.node('home', 1000, [UNSURE], { model: FEATURES })
    harness.node('rented', 1000, [answers], { tier: 'cloud' })
    const following = await harness.run()
    expect(following.text).toBe(HOME.join(''))
    expect(harness.asked).toEqual(['home'])
  })
})

describe('an answer that was not sure is given as it is', () => {
  const given = async (run: TaskRun) => {
    const following = await harness.follow(run).over()
    expect(following.error).toBeUndefined()
    expect(following.text).toBe(HOME.join(''))
    return following
  }

  it('when the budget does not allow another', async () => {
    harness.node('home', 1000, [UNSURE], { model: FEATURES })
    harness.node('rented', 1000, [answers], { tier: 'cloud', price: { inputPerMillion: 1e9, outputPerMillion: 1e9 } })
    const following = await given(await harness.submit())
    expect(harness.asked).toEqual(['home'])
    expect(following.events.at(-1)).not.toHaveProperty('receipt')
    expect(outcomes()).toMatchObject({ kept: 1, left: 0 })
  })

  it('when the owner has changed the policy meanwhile', async () => {
    harness.node('home', 1000, [UNSURE], { model: FEATURES })
    harness.node('rented', 1000, [answers], { tier: 'cloud' })
    const run = await harness.submit()
    policy = { reasons: ['too-big'] }
    await given(run)
    expect(harness.asked).toEqual(['home'])
  })

  it.each([
    ['fails', fails('ENGINE_FAILED', 'no')],
    ['refuses it', fails('LOCAL_ONLY', 'no')],
    ['finds it too long', fails('CONTEXT_LENGTH_EXCEEDED', 'no')],
  ])('when the cloud %s before its first token', async (_, script) => {
    harness.node('home', 1000, [UNSURE], { model: FEATURES })
    harness.node('rented', 1000, [script], { tier: 'cloud' })
    await given(await harness.submit())
    expect(harness.asked).toEqual(['home', 'rented'])
  })

  it('when the cloud says nothing until the deadline', async () => {
    harness.node('home', 1000, [UNSURE], { model: FEATURES })
    harness.node('rented', 1000, [() => new Promise(() => {})], { tier: 'cloud' })
    await given(await harness.submit(harness.task({ deadlineAtMs: harness.clock.wallMs() + 2000 })))
    expect(harness.asked).toEqual(['home', 'rented'])
  })

  it('goes on at home behind its first tokens when the cloud fails', async () => {
    policy = { cascade: [{ models: ['tiny'], meanLogprob: -1, tokens: 2 }] }
    harness.node('home', 1000, [UNSURE], { model: FEATURES })
    harness.node('rented', 1000, [fails('ENGINE_FAILED', 'no')], { tier: 'cloud' })
    const run = await harness.submit()
    await given(run)
    expect(harness.asked).toEqual(['home', 'rented', 'home'])
    expect(run.attempts.entries.at(-1)?.assigned).toMatchObject({ from: 2, reason: 'lost' })
  })
})

describe('what is never judged', () => {
  const never = async (task: Parameters<DispatchHarness['task']>[0] = {}) => {
    harness.node('rented', 1000, [answers], { tier: 'cloud' })
    const run = await harness.submit(harness.task(task))
    const { text } = await harness.follow(run).over()
    expect(text).toBe(HOME.join(''))
    expect(reasonsOf(run)).toEqual(['first'])
    expect(harness.begins[0]).not.toHaveProperty('logprobs')
    expect(outcomes()).toEqual({ sure: 0, kept: 0, unmeasured: 0, left: 0 })
  }

  it('is local-only, held to a form, or another model', async () => {
    harness.node('home', 1000, [UNSURE], { model: FEATURES })
    await never({ localOnly: true })
  })

  it('is held to a form', async () => {
    harness.node('home', 1000, [UNSURE], { model: { features: ['chat', 'completion', 'logprobs', 'json'] } })
    await never({ format: { kind: 'json' } })
  })

  it('is of another model, or made where nobody can tell', async () => {
    policy = { cascade: [{ models: ['large*'], meanLogprob: -1 }] }
    harness.node('home', 1000, [UNSURE], { model: FEATURES })
    await never()
  })

  it('is made by a node that cannot tell how sure it is', async () => {
    harness.node('home', 1000, [UNSURE])
    await never()
  })
})

describe('the measure', () => {
  const rule = { meanLogprobMin: -1, tokenLogprobMin: -3 }
  it('needs every token that is judged, and numbers', () => {
    const meter = new ConfidenceMeter(rule)
    expect(meter.verdict(0, true)).toBeUndefined()
    meter.push([of(-0.5), of(0.001)])
    expect(meter.verdict(3, true), 'one of them was not measured').toBeUndefined()
    expect(meter.verdict(2, false), 'it goes on').toBeUndefined()
    expect(meter.verdict(2, true)).toEqual({ tokens: 2, meanLogprob: -0.25, minLogprob: -0.5, isLow: false })
    meter.push([of(-3.2)])
    expect(meter.verdict(3, true)).toMatchObject({ isLow: true })
    meter.push([of(Number.NaN)])
    expect(meter.verdict(4, true)).toBeUndefined()
  })

  it('is opted into: a cascade that the reasons do not have is an error, and none is there without the owner', () => {
    const read = (cloud: unknown) => readCloudSettings(JSON.stringify({ policy: cloud })).policy
    expect(read({}).reasons).not.toContain('low-confidence')
    expect(read(policy).reasons).toContain('low-confidence')
    expect(() => read({ ...policy, reasons: ['lost'] })).toThrow(/'low-confidence'/)
    expect(() => read({ cascade: [{ models: ['*'], meanLogprob: 0.5 }] })).toThrow(/meanLogprob/)
  })
})
