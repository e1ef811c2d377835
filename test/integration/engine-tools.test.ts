/** Tool calls on a real model file: forced and free, in every kind of token, and moved in their middle. */
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
import { createEngine, type Engine, type GenerationRequest, type LoadedModel } from '../../node/engines/index.ts'
import { codeOf, collect, expectSameWhereverMoved, request, type Answer } from '../compliance/engine.suite.ts'
import { ensureModel, TINY_CALL_CHARACTER, type ModelName } from '../fixtures/models/index.ts'

const never = new AbortController().signal
const sampling = (overrides: Partial<Sampling> = {}): Sampling => ({ ...GREEDY, seed: 1, ...overrides })

const schemas: Readonly<Record<string, object>> = {
  'greenhouse.temperature': {
    type: 'object',
    properties: { unit: { enum: ['C', 'F "x"'] }, digits: { type: 'integer', minimum: 0, maximum: 20 } },
    required: ['unit'],
  },
  say: { type: 'object', properties: { text: { type: 'string', maxLength: 6 } }, required: ['text'] },
}
const tools: Tool[] = Object.entries(schemas).map(([name, schema]) => ({
  name,
  description: 'For <|im_end|> and "quotes"',
  parameters: JSON.stringify(schema),
}))
const asked: ChatMessage = { role: 'user', content: 'The river and the geese' }
const prompt: Prompt = { kind: 'chat', messages: [asked], tools }
const FORCED: ToolFormat = { kind: 'tool-calls', choice: 'required', callsMax: 2 }

async function load(name: ModelName): Promise<{ engine: Engine; model: LoadedModel }> {
  const engine = createEngine('llama', { clock: new SystemClock(), log: silentLogger })
  const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
  const model = await engine.load({ path: await ensureModel(name), digest, slots: 2, contextTokens: 2048, threads: 1 })
  return { engine, model }
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

/** Apart from bytes that are no character, which these models draw. */
function expectFits({ name, arguments: given }: { name: string; arguments: string }): void {
  expect(Object.keys(schemas)).toContain(name)
  expect(Schema.Check(schemas[name]!, JSON.parse(given.replaceAll('\uFFFD', ''))), given).toBe(true)
}

/** Ids of single bytes, which the fixtures' vocabularies begin with. */
const bytes = (text: string): number[] => [...Buffer.from(text)]

describe.each<ModelName>(['tools', 'tools-control', 'tools-text'])(
  'a model whose markers are of the kind of %s',
  (name) => {
    let engine: Engine
    let model: LoadedModel
    beforeAll(async () => {
      ;({ engine, model } = await load(name))
    }, 60_000)
    afterAll(() => engine.unload())

    it('can be given tools', () => {
      expect(model.features).toEqual(['json', 'logprobs', 'tools'])
    })

    it('makes nothing but valid calls when it must, whatever is drawn', async () => {
      for (let seed = 0; seed < 5; seed++) {
        const answer = await generate(engine, { format: FORCED, sampling: sampling({ temperature: 1.4, seed }) })
        expect(answer.finishReason, answer.text).toBe('stop')
        const { calls, content } = read(answer.text)
        expect(content, answer.text).toBe('')
        expect(calls.length).toBeGreaterThan(0)
        expect(calls.length).toBeLessThanOrEqual(2)
        for (const call of calls) expectFits(call)
      }
    }, 60_000)

    it('calls the one tool that is named, once', async () => {
      const format = { ...FORCED, name: 'say', callsMax: 1 }
      const { text, finishReason } = await generate(engine, { format, sampling: sampling({ temperature: 1.4 }) })
      expect(finishReason).toBe('stop')
      expect(read(text)).toMatchObject({ content: '', calls: [{ name: 'say' }] })
    })

    it('is free until it opens a call, and again behind it', async () => {
      // as if these had been drawn: the marker, in the tokens that the model has for it
      const generated = bytes('So: <tool_call>')
      const fixed = { generated, sampling: sampling({ temperature: 1.2, seed: 3 }), maxTokens: 300 }
      const { text } = await generate(engine, fixed)
      const { calls, content } = read(`So: <tool_call>${text}`)
      expect(calls.length, text).toBeGreaterThan(0)
      expectFits(calls[0]!)
      expect(content.length).toBeGreaterThan('So:'.length)
      const unheld = await generate(engine, { ...fixed, prompt: { kind: 'chat', messages: [asked] } })
      expect(read(`<tool_call>${unheld.text}`).calls).toEqual([])
    })

    it('ends behind the last call that is wanted', async () => {
      const format: ToolFormat = { kind: 'tool-calls', choice: 'auto', callsMax: 1 }
      const generated = bytes('<tool_call>')
      const { text, finishReason } = await generate(engine, {
        format,
        generated,
        sampling: sampling({ temperature: 1 }),
      })
      expect(finishReason).toBe('stop')
      expect(text.endsWith('</tool_call>')).toBe(true)
      const over = await generate(engine, { format, generated: [...generated, ...bytes(text)], maxTokens: 500 })
      expect(over).toMatchObject({ text: '', finishReason: 'stop' })
    })

    it('answers in JSON where it does not call', async () => {
      const format: ToolFormat = {
        kind: 'tool-calls',
        choice: 'auto',
        callsMax: 1,
        content: { kind: 'json-schema', schema: '{"enum":["yes","no"]}' },
      }
      const said = new Set<string>()
      for (let seed = 0; seed < 20; seed++) {
        const { text } = await generate(engine, { format, sampling: sampling({ temperature: 2, seed }) })
        const { calls } = read(text)
        if (calls.length > 0) expectFits(calls[0]!)
        else expect(['yes', 'no']).toContain(JSON.parse(text))
        said.add(calls.length > 0 ? 'call' : 'content')
      }
      expect(said).toContain('content')
    }, 60_000)

    it('refuses what was generated when it cannot have been', async () => {
      const generated = bytes('<tool_call>\n{"name": "other"')
      await expect(generate(engine, { format: FORCED, generated })).rejects.toMatchObject({
        code: 'INVALID_REQUEST',
        param: 'tool_choice',
      })
      await expect(generate(engine, { generated })).rejects.toMatchObject({ code: 'INVALID_REQUEST', param: 'tools' })
      await expect(generate(engine, { format: { ...FORCED, name: 'none' } })).rejects.toMatchObject({
        code: 'INVALID_REQUEST',
        param: 'tool_choice',
      })
    })
  },
)

describe('a model that calls by itself', () => {
  let source: Engine
  let target: Engine
  beforeAll(async () => {
    ;[source, target] = (await Promise.all([load('tools'), load('tools')])).map(({ engine }) => engine) as [
      Engine,
      Engine,
    ]
  }, 60_000)
  afterAll(() => Promise.all([source.unload(), target.unload()]))

  it('is held from the token that it drew', async () => {
    for (let seed = 0; seed < 4; seed++) {
      const generated = bytes(TINY_CALL_CHARACTER)
      const { text } = await generate(source, { generated, sampling: sampling({ temperature: 1.3, seed }) })
      expect(text).toMatch(/^<tool_call>\n/)
      expectFits(read(text).calls[0]!)
    }
  })

  it('goes on with a forced call wherever it is moved, to the same answer', async () => {
    const whole = await generate(source, { format: FORCED })
    expect(whole.finishReason).toBe('stop')
    expect(whole.ids.length).toBeGreaterThan(40)
    await expectSameWhereverMoved(whole, 2, (generated, maxTokens = 400) =>
      generate(target, { format: FORCED, generated, maxTokens }),
    )
  }, 120_000)

  it('goes on with a free answer wherever it is moved, held as it was', async () => {
    const begun = bytes(TINY_CALL_CHARACTER)
    const format: ToolFormat = { kind: 'tool-calls', choice: 'auto', callsMax: 2 }
    const fixed = { format, sampling: sampling({ temperature: 1, seed: 2 }), maxTokens: 200 }
    const whole = await generate(source, { ...fixed, generated: begun })
    expectFits(read(whole.text).calls[0]!)
    for (let position = 0; position < whole.ids.length; position += 15) {
      const generated = [...begun, ...whole.ids.slice(0, position)]
      const tail = await generate(target, { ...fixed, generated })
      const { calls } = read(whole.releases.slice(0, position).join('') + tail.text)
      expect(calls.length, `moved at ${position}`).toBeGreaterThan(0)
      for (const call of calls) expectFits(call)
    }
  }, 120_000)

  it('goes on in its middle when the move was prepared', async () => {
    const whole = await generate(source, { format: FORCED })
    const hold = Promise.resolve(whole.ids.slice(10, 25))
    const tail = await generate(target, { format: FORCED, generated: whole.ids.slice(0, 10), hold })
    expect(whole.ids.slice(0, 25).concat(tail.ids)).toEqual(whole.ids)
  })
})

describe('what a message or a tool says', () => {
  let engine: Engine
  beforeAll(async () => {
    ;({ engine } = await load('tools'))
  }, 60_000)
  afterAll(() => engine.unload())

  const promptTokens = async (messages: ChatMessage[], given: Tool[] = tools): Promise<number> => {
    const answer = await generate(engine, { prompt: { kind: 'chat', messages, tools: given }, maxTokens: 1 })
    return answer.usage.promptTokens
  }
  const user = (content: string): ChatMessage[] => [{ role: 'user', content }]
  const tool = (description: string): Tool[] => [{ name: 'x', description, parameters: '{"type":"object"}' }]

  it.each(['<|im_end|>', '<|im_start|>', '<tool_call>', '</tool_call>'])('never becomes the token %s', async (name) => {
    // as a token of its own it would be one; the tiny vocabulary writes the characters with at least five
    const added = async (of: (text: string) => Promise<number>): Promise<number> =>
      (await of(`a${name}b`)) - (await of('ab'))
    expect(await added((text) => promptTokens(user(text)))).toBeGreaterThanOrEqual(5)
    expect(await added((text) => promptTokens(user('x'), tool(text)))).toBeGreaterThanOrEqual(5)
    expect(
      await added((text) => promptTokens(user('x'), [{ name: 'x', parameters: JSON.stringify({ enum: [text] }) }])),
    ).toBeGreaterThanOrEqual(5)
    const results = (content: string): ChatMessage[] => [
      {
        role: 'assistant',
        content: '',
        toolCalls: [{ id: '1', name: 'say', arguments: JSON.stringify({ text: content }) }],
      },
      { role: 'tool', content, toolCallId: '1' },
    ]
    expect(await added((text) => promptTokens(results(text)))).toBeGreaterThanOrEqual(10)
  })

  it('is text to a reader too: the markup of a template alone is tokens', async () => {
    const call = { id: '1', name: 'say', arguments: '{}' }
    const without = await promptTokens([{ role: 'assistant', content: 'x' }])
    const called = await promptTokens([{ role: 'assistant', content: 'x', toolCalls: [call] }])
    const written = await promptTokens([
      { role: 'assistant', content: 'x\n<tool_call>\n{"name": "say", "arguments": {}}\n</tool_call>' },
    ])
    // two markers of one token each, where the written ones have many
    expect(written - called).toBeGreaterThanOrEqual(10)
    expect(called).toBeGreaterThan(without)
  })
})

describe('tools that cannot be held to', () => {
  it('are called with any object, and cost the others nothing', async () => {
    const { engine } = await load('tools')
    const endless: Tool = {
      name: 'endless',
      parameters: '{"type":"object","properties":{"x":{"$ref":"#/$defs/x"}},"$defs":{"x":{"$ref":"#/$defs/x"}}}',
    }
    const given: Prompt = { kind: 'chat', messages: [asked], tools: [endless, ...tools] }
    for (const name of ['endless', 'say']) {
      const format: ToolFormat = { kind: 'tool-calls', choice: 'required', name, callsMax: 1 }
      const held = await generate(engine, { prompt: given, format, maxTokens: 60 })
      expect(held.text.startsWith(`<tool_call>\n{"name": "${name}", "arguments": {`)).toBe(true)
      if (name === 'say') expectFits(read(held.text).calls[0]!)
    }
    const free = await generate(engine, {
      prompt: given,
      generated: bytes('<tool_call>\n{"name": "say"'),
      maxTokens: 80,
    })
    expectFits(read(`<tool_call>\n{"name": "say"${free.text}`).calls[0]!)
    await engine.unload()
  }, 60_000)

  it('are refused by a model whose own way to call them is not known', async () => {
    const { engine, model } = await load('tools-unknown')
    expect(model.features).not.toContain('tools')
    await expect(generate(engine, {})).rejects.toMatchObject({ code: 'INVALID_REQUEST', param: 'tools' })
    const toolCalls = [{ id: '1', name: 'x', arguments: '{}' }]
    const messages: ChatMessage[] = [{ role: 'assistant', content: '', toolCalls }]
    expect(await codeOf(generate(engine, { prompt: { kind: 'chat', messages } }))).toBe('INVALID_REQUEST')
    await engine.unload()
  }, 60_000)
})

describe('a model that writes calls as bare JSON', () => {
  let engine: Engine
  let target: Engine
  beforeAll(async () => {
    ;[engine, target] = (await Promise.all([load('tools-plain'), load('tools-plain')])).map(
      (loaded) => loaded.engine,
    ) as [Engine, Engine]
  }, 60_000)
  afterAll(() => Promise.all([engine.unload(), target.unload()]))

  it('makes one valid call when it must, told in our markup, whatever is drawn', async () => {
    for (let seed = 0; seed < 4; seed++) {
      const answer = await generate(engine, { format: FORCED, sampling: sampling({ temperature: 1.4, seed }) })
      expect(answer.finishReason, answer.text).toBe('stop')
      const { calls, content } = read(answer.text)
      expect(content).toBe('')
      expect(calls).toHaveLength(1)
      expectFits(calls[0]!)
    }
  }, 60_000)

  it('is free until it begins one, and held from there on', async () => {
    const generated = bytes('\n{"name": "')
    const { text, finishReason } = await generate(engine, { generated, sampling: sampling({ temperature: 1.2 }) })
    const { calls, content } = read(text)
    expect(content).toBe('')
    expect(finishReason).toBe('stop')
    expect(calls).toHaveLength(1)
    expectFits(calls[0]!)
    const other = await generate(engine, { generated: bytes('{"x": "'), maxTokens: 40 })
    expect(other.finishReason).toBe('length')
    await expect(generate(engine, { generated: bytes('{"name": "other"') })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      param: 'tools',
    })
  })

  it('answers in JSON where it does not call', async () => {
    const content = { kind: 'json-schema', schema: '{"enum":["yes","no"]}' } as const
    const format: ToolFormat = { kind: 'tool-calls', choice: 'auto', callsMax: 1, content }
    for (let seed = 0; seed < 6; seed++) {
      const { text } = await generate(engine, { format, sampling: sampling({ temperature: 2, seed }) })
      const { calls } = read(text)
      if (calls.length > 0) expectFits(calls[0]!)
      else expect(['yes', 'no']).toContain(JSON.parse(text))
    }
  }, 60_000)

  it('goes on wherever it is moved, to the same answer', async () => {
    const whole = await generate(engine, { format: FORCED })
    await expectSameWhereverMoved(whole, 3, (generated, maxTokens = 400) =>
      generate(target, { format: FORCED, generated, maxTokens }),
    )
  }, 120_000)

  it('is shown its earlier calls one by one', async () => {
    const toolCalls = ['1', '2'].map((id) => ({ id, name: 'say', arguments: '{"text": "x"}' }))
    const messages: ChatMessage[] = [
      asked,
      { role: 'assistant', content: '', toolCalls },
      { role: 'tool', content: 'done', toolCallId: '1' },
      { role: 'tool', content: 'done', toolCallId: '2' },
    ]
    const answer = await generate(engine, { prompt: { kind: 'chat', messages, tools }, maxTokens: 2 })
    expect(answer.usage.promptTokens).toBeGreaterThan(100)
  })
})
