/** Tool calls on models that write them otherwise than we do: told in our markup, forced and free, moved at every place. */
import Schema from 'typebox/schema'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  answeredCalls,
  asModelDigest,
  GREEDY,
  ToolCallParser,
  type AnsweredCall,
  type ChatMessage,
  type Prompt,
  type Sampling,
  type Tool,
  type ToolFormat,
} from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, type Engine, type GenerationRequest } from '../../node/engines/index.ts'
import { collect, expectSameWhereverMoved, request, type Answer } from '../compliance/engine.suite.ts'
import { ensureModel, type ModelName } from '../fixtures/models/index.ts'

const never = new AbortController().signal
const sampling = (overrides: Partial<Sampling> = {}): Sampling => ({ ...GREEDY, seed: 1, ...overrides })

const schemas: Readonly<Record<string, object>> = {
  'greenhouse.temperature': {
    type: 'object',
    properties: { unit: { enum: ['C', 'F "x"'] }, digits: { type: 'integer', minimum: 0, maximum: 20 } },
    required: ['unit'],
  },
  say: { type: 'object', properties: { deep: { type: 'boolean' } }, required: ['deep'], additionalProperties: false },
}
const tools: Tool[] = Object.entries(schemas).map(([name, schema]) => ({ name, parameters: JSON.stringify(schema) }))
const asked: ChatMessage = { role: 'user', content: 'The river and the geese' }
const prompt: Prompt = { kind: 'chat', messages: [asked], tools }
const FORCED: ToolFormat = { kind: 'tool-calls', choice: 'required', callsMax: 2 }

async function load(name: ModelName): Promise<Engine> {
  const engine = createEngine('llama', { clock: new SystemClock(), log: silentLogger })
  const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
  const { features } = await engine.load({
    path: await ensureModel(name),
    digest,
    slots: 1,
    contextTokens: 2048,
    threads: 1,
  })
  expect(features).toContain('tools')
  return engine
}

const generate = (engine: Engine, overrides: Partial<GenerationRequest> = {}): Promise<Answer> =>
  collect(engine.generate(request({ prompt, sampling: sampling(), maxTokens: 400, ...overrides }), never))

function read(text: string): { calls: AnsweredCall[]; content: string } {
  const parser = new ToolCallParser()
  const parts = [...parser.push(text), ...parser.end()]
  return {
    calls: answeredCalls(parts),
    content: parts.map((part) => (part.kind === 'content' ? part.text : '')).join(''),
  }
}

function expectFits({ name, arguments: given }: AnsweredCall): void {
  expect(Object.keys(schemas)).toContain(name)
  expect(Schema.Check(schemas[name]!, JSON.parse(given)), given).toBe(true)
}

/** Ids of single bytes, which the fixtures' vocabularies begin with. */
const bytes = (text: string): number[] => [...Buffer.from(text)]

describe.each<readonly [ModelName, mark: string]>([
  ['tools-listed', '[TOOL_CALLS]'],
  ['tools-named', '[TOOL_CALLS]'],
  ['tools-fenced', '<｜tool▁calls▁begin｜>'],
  ['tools-action', '<|START_ACTION|>'],
  ['tools-parameters', '<tool_call>'],
])('a model like %s', (name, mark) => {
  let engine: Engine
  beforeAll(async () => {
    engine = await load(name)
  }, 120_000)
  afterAll(() => engine.unload())

  it('makes nothing but valid calls when it must, whatever is drawn', async () => {
    for (let seed = 0; seed < 3; seed++) {
      const answer = await generate(engine, { format: FORCED, sampling: sampling({ temperature: 1.4, seed }) })
      expect(answer.finishReason, answer.text).toBe('stop')
      const { calls, content } = read(answer.text)
      expect(content, answer.text).toBe('')
      expect(calls.length).toBeGreaterThan(0)
      expect(calls.length).toBeLessThanOrEqual(2)
      for (const call of calls) expectFits(call)
    }
  }, 120_000)

  it('calls the one tool that is named, once', async () => {
    const format = { ...FORCED, name: 'say', callsMax: 1 }
    const { text, finishReason } = await generate(engine, { format, sampling: sampling({ temperature: 1.4 }) })
    expect(finishReason).toBe('stop')
    expect(read(text)).toMatchObject({ content: '', calls: [{ name: 'say' }] })
  }, 60_000)

  it('is free up to its mark, and held from there on', async () => {
    const generated = bytes(`So: ${mark}`)
    const format: ToolFormat = { kind: 'tool-calls', choice: 'auto', callsMax: 2 }
    const fixed = { generated, format, sampling: sampling({ temperature: 1.2 }) }
    const { text, finishReason } = await generate(engine, fixed)
    expect(finishReason).toBe('stop')
    const { calls, content } = read(`So: ${text}`)
    expect(content).toBe('So:')
    expect(calls.length, text).toBeGreaterThan(0)
    for (const call of calls) expectFits(call)
  }, 60_000)

  it('refuses what was generated when it cannot have been', async () => {
    const generated = bytes(`${mark}{{`)
    await expect(generate(engine, { generated })).rejects.toMatchObject({ code: 'INVALID_REQUEST', param: 'tools' })
    await expect(generate(engine, { format: FORCED, generated })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      param: 'tool_choice',
    })
  }, 60_000)

  it('goes on wherever it is moved, to the same answer', async () => {
    const whole = await generate(engine, { format: FORCED })
    expect(whole.finishReason).toBe('stop')
    await expectSameWhereverMoved(whole, 5, (generated, maxTokens = 400) =>
      generate(engine, { format: FORCED, generated, maxTokens }),
    )
  }, 240_000)

  it('is shown its earlier calls', async () => {
    const toolCalls = [{ id: '1', name: 'say', arguments: '{"deep": true}' }]
    const counted = async (message: ChatMessage): Promise<number> => {
      const messages = [asked, message]
      return (await generate(engine, { prompt: { kind: 'chat', messages, tools }, maxTokens: 1 })).usage.promptTokens
    }
    const without = await counted({ role: 'assistant', content: '' })
    expect(await counted({ role: 'assistant', content: '', toolCalls })).toBeGreaterThan(without + 3)
  }, 60_000)
})

describe('a model whose template knows no tools', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await load('tiny')
  }, 120_000)
  afterAll(() => engine.unload())

  it('is told of them, and makes nothing but valid calls when it must', async () => {
    const { usage } = await generate(engine, { prompt: { kind: 'chat', messages: [asked] }, maxTokens: 1 })
    const answer = await generate(engine, { format: FORCED, sampling: sampling({ temperature: 1.4 }) })
    expect(answer.usage.promptTokens).toBeGreaterThan(usage.promptTokens + 100)
    expect(answer.finishReason, answer.text).toBe('stop')
    const { calls, content } = read(answer.text)
    expect(content).toBe('')
    expect(calls.length).toBeGreaterThan(0)
    for (const call of calls) expectFits(call)
  }, 120_000)

  it('is held to them from a mark on that it writes by itself', async () => {
    const begun = 'So: <tool_call>'
    const { text } = await generate(engine, { generated: bytes(begun), sampling: sampling({ temperature: 1.2 }) })
    expectFits(read(begun + text).calls[0]!)
  }, 60_000)

  it('goes on wherever it is moved, to the same answer', async () => {
    const whole = await generate(engine, { format: FORCED })
    await expectSameWhereverMoved(whole, 5, (generated, maxTokens = 400) =>
      generate(engine, { format: FORCED, generated, maxTokens }),
    )
  }, 240_000)
})

describe('a model that answers in channels', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await load('tools-channels')
  }, 120_000)
  afterAll(() => engine.unload())

  const unthinking: Prompt = { ...prompt, thinking: { isOn: false } }
  const thought = bytes('<|channel|>analysis<|message|>The river to=functions.x<|end|>')

  it('makes one valid call when it must, behind its thought or at once', async () => {
    const fixed = { format: FORCED, sampling: sampling({ temperature: 1.4 }) }
    const atOnce = await generate(engine, { ...fixed, prompt: unthinking })
    expect(atOnce.finishReason).toBe('stop')
    const { calls, content } = read(atOnce.text)
    expect(content, atOnce.text).toBe('')
    expect(calls).toHaveLength(1)
    expectFits(calls[0]!)
    const behind = await generate(engine, { ...fixed, generated: thought })
    expect(behind.text).toMatch(/^\n<\/think>\n\n<tool_call>\n/)
    expectFits(read(behind.text).calls[0]!)
    expect(behind.usage.thoughtTokens).toBeGreaterThanOrEqual(thought.length)
  }, 120_000)

  it('is free up to a header that calls, and held from there on', async () => {
    const generated = bytes('<|channel|>commentary to=functions.')
    const { text, finishReason } = await generate(engine, { generated, sampling: sampling({ temperature: 1.2 }) })
    expect(finishReason).toBe('stop')
    expect(read(text).calls, text).toHaveLength(1)
    expectFits(read(text).calls[0]!)
    const other = bytes('<|channel|>commentary to=functions.other<')
    await expect(generate(engine, { generated: other })).rejects.toMatchObject({ param: 'tools' })
    // what it thinks of is no header
    expect((await generate(engine, { generated: thought, maxTokens: 5 })).finishReason).toBe('length')
  }, 120_000)

  it('has JSON in its last channel', async () => {
    const format = { kind: 'json-schema', schema: '{"enum":["yes","no"]}' } as const
    const answer = await generate(engine, {
      format,
      prompt: { kind: 'chat', messages: [asked], thinking: { isOn: false } },
    })
    expect(['yes', 'no']).toContain(JSON.parse(answer.text))
  }, 60_000)

  it('goes on wherever it is moved, to the same answer', async () => {
    const fixed = { format: FORCED, prompt: unthinking }
    const whole = await generate(engine, fixed)
    await expectSameWhereverMoved(whole, 5, (generated, maxTokens = 400) =>
      generate(engine, { ...fixed, generated, maxTokens }),
    )
  }, 240_000)
})
