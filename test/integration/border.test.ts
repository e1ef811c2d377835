/**
 * Answers that cross the border between the owner's nodes and vLLM, in both directions: by token ids, where the server has the
 * vocabulary of the file, and by text. The server is the double, which has the tiny model behind it.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asModelDigest, GREEDY, LIMITS, type Prompt, type Sampling } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import {
  createEngine,
  UpstreamEngine,
  upstreamPath,
  type Engine,
  type GenerationRequest,
  type LoadedModel,
  type Tail,
} from '../../node/engines/index.ts'
import { codeOf, collect, request, type Answer } from '../compliance/engine.suite.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { startVllm, type VllmDouble } from '../fixtures/vllm/index.ts'

const never = new AbortController().signal
const components = { clock: new SystemClock(), log: silentLogger }
const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
const NAME = 'org/tiny'
const TOKENS = 24
const sampling = (overrides: Partial<Sampling> = {}): Sampling => ({ ...GREEDY, seed: 1, ...overrides })
const TEXT: Prompt = { kind: 'text', text: 'The river of the valley said' }
const CHAT: Prompt = { kind: 'chat', messages: [{ role: 'user', content: 'The river and the geese' }] }

let double: VllmDouble
let local: Engine
let byIds: UpstreamEngine
let byText: UpstreamEngine
let loadedByIds: LoadedModel
let loadedByText: LoadedModel

const generate = (engine: Engine, overrides: Partial<GenerationRequest> = {}): Promise<Answer> =>
  collect(engine.generate(request({ prompt: CHAT, sampling: sampling(), maxTokens: TOKENS, ...overrides }), never))

/** What the double was asked last, other than how it does. */
function asked(): { readonly path: string; readonly body: Record<string, unknown> } {
  const { path, body } = double.requests.findLast((each) => each.method === 'POST' && each.path !== '/tokenize')!
  return { path, body: body as Record<string, unknown> }
}

/** What was released of the first `count` tokens. */
const saidOf = (answer: Answer, count: number): string => answer.releases.slice(0, count).join('')

beforeAll(async () => {
  const path = await ensureModel('tiny')
  double = await startVllm({ model: path, servedName: NAME, slots: 4 })
  local = createEngine('llama', components)
  byIds = new UpstreamEngine(components)
  byText = new UpstreamEngine(components)
  const at = { url: double.url, model: NAME, serves: digest }
  const slots = { digest, slots: 4 }
  ;[, loadedByIds, loadedByText] = await Promise.all([
    local.load({ path, ...slots, contextTokens: 1024, threads: 1 }),
    byIds.load({ path: upstreamPath({ ...at, vocabulary: path }), ...slots }),
    byText.load({ path: upstreamPath(at), ...slots }),
  ])
}, 120_000)
afterAll(() => Promise.all([local?.unload(), byIds?.unload(), byText?.unload(), double?.stop()]))

describe('a stand-in that has the vocabulary of the file', () => {
  it('says so, and is asked by ids', async () => {
    expect(loadedByIds).toMatchObject({ continues: 'ids', hasChatTemplate: true })
    expect(loadedByIds.numerics.engineBuild).toMatch(/by token ids$/)
    await generate(byIds, { maxTokens: 2 })
    expect(asked()).toMatchObject({
      path: '/inference/v1/generate',
      body: { stream: true, sampling_params: { temperature: 0, top_p: 1, top_k: -1, min_p: 0, repetition_penalty: 1 } },
    })
    expect(asked().body).not.toHaveProperty('sampling_params.stop')
  })

  it.each([
    ['a text', TEXT],
    ['a chat', CHAT],
  ])('makes the same answer to %s, wherever it crosses and comes back', async (_, prompt) => {
    const whole = await generate(local, { prompt })
    const far = await generate(byIds, { prompt })
    expect(far.ids).toEqual(whole.ids)
    expect(far.text).toBe(whole.text)
    expect(far.usage).toMatchObject({ promptTokens: whole.usage.promptTokens, completionTokens: TOKENS })
    for (const at of [1, 7, TOKENS - 1]) {
      const [there, back] = await Promise.all(
        [byIds, local].map((engine) => generate(engine, { prompt, generated: whole.ids.slice(0, at) })),
      )
      for (const rest of [there!, back!]) {
        expect(rest.indices[0]).toBe(at)
        expect([...whole.ids.slice(0, at), ...rest.ids]).toEqual(whole.ids)
        expect(saidOf(whole, at) + rest.text).toBe(whole.text)
      }
    }
  })

  it('is prepared and committed as any other', async () => {
    const whole = await generate(local)
    const { promise: hold, resolve } = Promise.withResolvers<Tail>()
    const rest = generate(byIds, { generated: whole.ids.slice(0, 4), hold })
    resolve(whole.ids.slice(4, 9))
    expect((await rest).ids).toEqual(whole.ids.slice(9))
  })

  it('ends an answer in front of a stop string that began on the other side', async () => {
    const whole = await generate(local)
    const stop = [whole.text.slice(9, 13)]
    const unbroken = await generate(local, { stop })
    for (let at = 1; at < unbroken.ids.length; at++) {
      const rest = await generate(byIds, { stop, generated: unbroken.ids.slice(0, at) })
      expect(rest).toMatchObject({ finishReason: 'stop', text: unbroken.text.slice(saidOf(unbroken, at).length) })
    }
    for (const { body } of double.requests) expect(JSON.stringify(body ?? {})).not.toContain(JSON.stringify(stop))
  })

  it('puts on the logits what its server does not count of a penalty', async () => {
    const penalties = sampling({ frequencyPenalty: 0.7 })
    const whole = await generate(local, { sampling: penalties })
    const generated = whole.ids.slice(0, 12)
    const rest = await generate(byIds, { sampling: penalties, generated })
    expect([...generated, ...rest.ids]).toEqual(whole.ids)
    const { sampling_params: sent } = asked().body as { sampling_params: Record<string, unknown> }
    const count = generated.filter((id) => id === generated[0]).length
    expect(sent['logit_bias']).toHaveProperty(String(generated[0]), -0.7 * count)
  })

  it('goes on behind text, too, of an answer that has pieces', async () => {
    const whole = await generate(local)
    const said = saidOf(whole, 10)
    const generated = [2 ** 31, 2 ** 31 + 1]
    const answers = await Promise.all([local, byIds].map((engine) => generate(engine, { generated, said })))
    for (const answer of answers) expect(answer.indices[0]).toBe(2)
    expect(answers[1]!.ids).toEqual(answers[0]!.ids)
  })
})

describe('a stand-in that is known by its text alone', () => {
  it('says so, and answers in pieces', async () => {
    expect(loadedByText).toMatchObject({ continues: 'text' })
    const { ids } = await generate(byText, { prompt: TEXT })
    expect(Math.min(...ids)).toBeGreaterThanOrEqual(LIMITS.vocabularyTokensMax)
    expect(asked().path).toBe('/v1/completions')
  })

  it.each([
    ['a text', TEXT],
    ['a chat', CHAT],
  ])('goes on with %s behind what was said, and a node with the vocabulary behind it', async (_, prompt) => {
    const begun = await generate(local, { prompt, maxTokens: 8 })
    const said = saidOf(begun, 8)
    const there = await generate(byText, { prompt, generated: begun.ids, said })
    expect(there.indices[0]).toBe(8)
    expect(there.usage.completionTokens).toBe(TOKENS)
    const body = asked().body as { prompt?: string; messages?: { content: string }[] }
    expect((body.prompt ?? body.messages!.at(-1)!.content).endsWith(said)).toBe(true)
    const all = said + saidOf(there, 6)
    const back = await generate(local, { prompt, generated: [...begun.ids, ...there.ids.slice(0, 6)], said: all })
    expect(back.indices[0]).toBe(14)
    expect(back.usage.completionTokens).toBe(TOKENS)
    // the words of one text: it is what the model says behind all that was said
    const unbroken = await generate(local, { prompt, generated: [], said: all, maxTokens: TOKENS - 14 })
    expect(back.ids).toEqual(unbroken.ids)
  })

  it('is committed behind a text in which more was said than it was prepared for', async () => {
    const whole = await generate(local)
    const { promise: hold, resolve } = Promise.withResolvers<Tail>()
    const rest = generate(local, { generated: whole.ids.slice(0, 4), said: saidOf(whole, 4), hold })
    resolve({ ids: whole.ids.slice(4, 9), said: saidOf(whole, 9) })
    const moved = await rest
    expect(moved.indices[0]).toBe(9)
    expect(moved.ids).toEqual((await generate(local, { generated: whole.ids.slice(0, 9), said: saidOf(whole, 9) })).ids)
  })

  it('refuses tokens that came without their text, and what its text does not tell', async () => {
    expect(await codeOf(generate(byText, { generated: [42] }))).toBe('NOT_CONTINUABLE')
    expect(await codeOf(generate(local, { generated: [2 ** 31], said: '{', format: { kind: 'json' } }))).toBe(
      'NOT_CONTINUABLE',
    )
    expect(await codeOf(generate(byText, { generated: [42], said: '<think>\nhm' }))).toBe('NOT_CONTINUABLE')
  })

  it('is penalised for what was said before', async () => {
    const begun = await generate(local, { prompt: TEXT, maxTokens: 8 })
    const penalties = sampling({ frequencyPenalty: 0.5 })
    await generate(byText, { prompt: TEXT, generated: begun.ids, said: saidOf(begun, 8), sampling: penalties })
    const body = asked().body as { logit_bias?: Record<string, number> }
    expect(Object.keys(body.logit_bias ?? {}).length).toBeGreaterThan(0)
  })
})
