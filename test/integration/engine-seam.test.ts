/** What an answer keeps when it goes on elsewhere: its format, characters of several tokens, log probabilities. */
import Schema from 'typebox/schema'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asModelDigest, GREEDY, type OutputFormat, type Prompt, type Sampling } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, type Engine, type GenerationRequest } from '../../node/engines/index.ts'
import { codeOf, collect, request, type Answer } from '../compliance/engine.suite.ts'
import { ensureModel } from '../fixtures/models/index.ts'

const never = new AbortController().signal
const sampling = (overrides: Partial<Sampling> = {}): Sampling => ({ ...GREEDY, seed: 1, ...overrides })
const prompt: Prompt = { kind: 'chat', messages: [{ role: 'user', content: 'The river and the geese' }] }

/** Places at which an answer is cut, so many tokens apart. */
const STRIDE = 4

let source: Engine
let target: Engine

async function load(): Promise<Engine> {
  const engine = createEngine('llama', { clock: new SystemClock(), log: silentLogger })
  const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
  await engine.load({ path: await ensureModel('tiny'), digest, slots: 2, contextTokens: 1024, threads: 1 })
  return engine
}

const generate = (engine: Engine, overrides: Partial<GenerationRequest>): Promise<Answer> =>
  collect(engine.generate(request({ prompt, sampling: sampling(), ...overrides }), never))

beforeAll(async () => {
  ;[source, target] = await Promise.all([load(), load()])
}, 60_000)
afterAll(() => Promise.all([source.unload(), target.unload()]))

describe('an answer held to JSON', () => {
  const schema = {
    type: 'object',
    properties: {
      name: { type: 'string', maxLength: 10 },
      kind: { enum: ['goose', 'a "swan"', 3, null] },
      age: { type: 'integer', minimum: 0, maximum: 120 },
      seen: { anyOf: [{ type: 'string', format: 'date-time' }, { type: 'null' }] },
      eggs: { type: 'array', items: { $ref: '#/$defs/egg' }, minItems: 1, maxItems: 2 },
    },
    required: ['name', 'kind', 'eggs'],
    additionalProperties: false,
    $defs: { egg: { type: 'object', properties: { size: { type: 'number' } }, required: ['size'] } },
  }
  const format: OutputFormat = { kind: 'json-schema', schema: JSON.stringify(schema) }
  /** Apart from bytes that are no character, which this model draws: how many of them make one is told differently. */
  const fits = (text: string): boolean => Schema.Check(schema, JSON.parse(text.replaceAll('\uFFFD', '')))

  it('fits its schema, whatever is drawn', async () => {
    for (let seed = 0; seed < 12; seed++) {
      const { text, finishReason } = await generate(source, {
        format,
        maxTokens: 600,
        sampling: sampling({ temperature: 1.5, seed }),
      })
      expect(finishReason, text).toBe('stop')
      expect(fits(text), text).toBe(true)
    }
  }, 60_000)

  it('goes on at each of its tokens, and fits its schema still', async () => {
    const fixed = { format, maxTokens: 600, sampling: sampling({ temperature: 1, seed: 5 }) }
    const whole = await generate(source, fixed)
    expect(whole.finishReason).toBe('stop')
    expect(whole.ids.length).toBeGreaterThan(20)
    let equal = 0
    let tried = 0
    for (let position = 0; position <= whole.ids.length; position += STRIDE, tried++) {
      const generated = whole.ids.slice(0, position)
      const tail = await generate(target, { ...fixed, generated })
      expect(tail.finishReason).toBe('stop')
      const text = whole.releases.slice(0, position).join('') + tail.text
      expect(fits(text), text).toBe(true)
      if (text === whole.text) equal++
    }
    // a share, no promise: another shape of the batch moves the last bits, on which all hangs where weights are random; half of
    // them were equal on one processor, and a fifth on another
    expect(equal).toBeGreaterThanOrEqual(tried / 10)
  }, 120_000)

  it('is any object when no schema is given', async () => {
    for (let seed = 0; seed < 6; seed++) {
      const answer = await generate(source, {
        format: { kind: 'json' },
        maxTokens: 600,
        sampling: sampling({ temperature: 1.5, seed }),
      })
      if (answer.finishReason === 'stop') expect(JSON.parse(answer.text)).toBeTypeOf('object')
      else expect(answer.text).toMatch(/^\{/)
    }
  }, 60_000)

  it('ends in front of a stop string too', async () => {
    const whole = await generate(source, { format, maxTokens: 600 })
    const answer = await generate(source, { format, maxTokens: 600, stop: ['"kind"'] })
    expect(answer.finishReason).toBe('stop')
    expect(answer.text).toBe(whole.text.slice(0, whole.text.indexOf('"kind"')))
    const tail = await generate(target, {
      format,
      maxTokens: 600,
      stop: ['"kind"'],
      generated: answer.ids.slice(0, -2),
    })
    expect(tail.finishReason).toBe('stop')
  })

  it('goes on behind a tail', async () => {
    const fixed = { format, maxTokens: 600, sampling: sampling({ temperature: 1, seed: 5 }) }
    const whole = await generate(source, fixed)
    const tail = await generate(target, {
      ...fixed,
      generated: whole.ids.slice(0, 8),
      hold: Promise.resolve(whole.ids.slice(8, 14)),
    })
    expect(tail.indices[0]).toBe(14)
    expect(tail.finishReason).toBe('stop')
  })

  it('refuses tokens that do not fit it, given or in the tail', async () => {
    const { ids } = await generate(source, { maxTokens: 12 })
    expect(await codeOf(generate(target, { format, generated: ids }))).toBe('INVALID_REQUEST')
    expect(await codeOf(generate(target, { format, hold: Promise.resolve(ids) }))).toBe('INVALID_REQUEST')
    // <|im_end|>: over a token that ends a text the library would abort the process
    expect(await codeOf(generate(target, { format, generated: [317] }))).toBe('INVALID_REQUEST')
    expect((await generate(target, { maxTokens: 4 })).ids).toHaveLength(4)
  })
})

describe('log probabilities', () => {
  const top = (answer: Answer): Map<string, number> =>
    new Map(answer.logprobs[0]!.top.map((each) => [Buffer.from(each.bytes).toString('latin1'), each.logprob]))

  it('are those before sampling options, penalties and format', async () => {
    const { ids } = await generate(source, { maxTokens: 20 })
    const fixed = { generated: ids, maxTokens: 21, logprobs: 20 }
    const plain = top(await generate(source, fixed))
    expect([...plain.values()].reduce((sum, logprob) => sum + Math.exp(logprob), 0)).toBeGreaterThan(0.5)
    const drawn = sampling({ temperature: 1.7, topK: 3, topP: 0.5, presencePenalty: 2, frequencyPenalty: 2 })
    const { generated: _, ...fresh } = fixed
    const firsts = [
      { is: top(await generate(source, { ...fixed, sampling: drawn })), was: plain },
      {
        is: top(await generate(source, { ...fresh, maxTokens: 1, format: { kind: 'json' } })),
        was: top(await generate(source, { ...fresh, maxTokens: 1 })),
      },
    ]
    for (const { is, was } of firsts)
      // the last of 20 may be others, by a last bit
      for (const [bytes, logprob] of [...was].slice(0, 15))
        expect(Math.abs(is.get(bytes)! - logprob)).toBeLessThan(0.02)
  })

  it('do not change what is drawn', async () => {
    const fixed = { sampling: sampling({ temperature: 0.8 }), maxTokens: 60 }
    // from here on the prompt's state is kept: the batches have the same shape
    await generate(source, { ...fixed, maxTokens: 1 })
    const without = await generate(source, fixed)
    expect((await generate(source, { ...fixed, logprobs: 5 })).ids).toEqual(without.ids)
  })
})

describe('characters of several tokens', () => {
  it('are released once, wherever the answer goes on', async () => {
    // at this temperature the tiny model draws single bytes, most of them part of no character
    const fixed = { sampling: sampling({ temperature: 1.6, seed: 4 }), maxTokens: 60, logprobs: 0 }
    const whole = await generate(source, fixed)
    const bytes = Buffer.concat(whole.logprobs.map((each) => each.bytes))
    expect(bytes.toString('utf8')).toBe(whole.text)
    expect(bytes.some((byte) => byte >= 0x80)).toBe(true)
    let cut = 0
    for (let position = 1; position < whole.ids.length; position++) {
      const generated = whole.ids.slice(0, position)
      const head = whole.releases.slice(0, position).join('')
      const tail = await generate(target, { ...fixed, generated })
      const rest = Buffer.concat(tail.logprobs.map((each) => each.bytes))
      const given = Buffer.concat(whole.logprobs.slice(0, position).map((each) => each.bytes))
      expect(head + tail.text).toBe(Buffer.concat([given, rest]).toString('utf8'))
      if (head !== given.toString('utf8')) cut++
    }
    expect(cut, 'some seams lie within a character').toBeGreaterThan(0)
  }, 60_000)

  it('are not lost to the clean-up of the detokeniser: space and comma', async () => {
    const schema = { const: 'a , b ! c' }
    const answer = await generate(source, { format: { kind: 'json-schema', schema: JSON.stringify(schema) } })
    expect(answer.text).toBe('"a , b ! c"')
  })
})
