/** Thoughts on a real model file: found in its template, left free, and followed by what the answer is held to. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  answeredCalls,
  asModelDigest,
  GREEDY,
  LIMITS,
  ThoughtSplitter,
  thoughtMarks,
  ToolCallParser,
  type OutputFormat,
  type Parted,
  type Prompt,
  type Sampling,
  type Tool,
} from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, thinkingOf, type Engine, type GenerationRequest } from '../../node/engines/index.ts'
import { collect, request, type Answer } from '../compliance/engine.suite.ts'
import {
  ensureModel,
  OPENED_TEMPLATE,
  THINKING_TEMPLATE,
  TINY_CALL_CHARACTER,
  type ModelName,
} from '../fixtures/models/index.ts'

const never = new AbortController().signal
const sampling = (overrides: Partial<Sampling> = {}): Sampling => ({ ...GREEDY, seed: 1, ...overrides })
const prompt: Prompt = { kind: 'chat', messages: [{ role: 'user', content: 'The river and the geese' }] }
const quiet: Prompt = { ...prompt, thinking: { isOn: false } }
const TOOL: Tool = {
  name: 'say',
  parameters: '{"type":"object","properties":{"text":{"type":"string","maxLength":6}},"required":["text"]}',
}
const JSON_FORMAT: OutputFormat = { kind: 'json-schema', schema: '{"enum":["yes","no"]}' }
const CALL_FORMAT: OutputFormat = { kind: 'tool-calls', choice: 'required', callsMax: 1 }

/** Ids of single bytes, which the fixtures' vocabularies begin with. */
const bytes = (text: string): number[] => [...Buffer.from(text)]

describe.each<[ModelName, string]>([
  ['thinking', THINKING_TEMPLATE],
  ['thinking-control', OPENED_TEMPLATE],
  ['thinking-text', OPENED_TEMPLATE],
])('a model that thinks, of the kind of %s', (name, template) => {
  const thinking = thinkingOf(template)!
  const opening = thinking.opens.unsaid ? '' : '<think>'
  let engine: Engine
  let target: Engine
  beforeAll(async () => {
    const load = async (): Promise<Engine> => {
      const made = createEngine('llama', { clock: new SystemClock(), log: silentLogger })
      const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
      await made.load({ path: await ensureModel(name), digest, slots: 2, contextTokens: 2048, threads: 1 })
      return made
    }
    ;[engine, target] = (await Promise.all([load(), load()])) as [Engine, Engine]
  }, 60_000)
  afterAll(() => Promise.all([engine.unload(), target.unload()]))

  const generate = (overrides: Partial<GenerationRequest> = {}, by = engine): Promise<Answer> =>
    collect(by.generate(request({ prompt, sampling: sampling(), maxTokens: 300, ...overrides }), never))
  const parted = (text: string, of: Prompt = prompt): Parted => {
    const splitter = new ThoughtSplitter(thoughtMarks(thinking, of)!)
    const [some, rest] = [splitter.push(text), splitter.end()]
    return { thought: some.thought + rest.thought, said: some.said + rest.said }
  }

  it('thinks freely, and answers in JSON behind it', async () => {
    for (const mark of ['</think>', '</think>\n\n']) {
      const generated = bytes(`${opening}a <b> </ th${mark}`)
      const { text, finishReason, usage } = await generate({ generated, format: JSON_FORMAT })
      expect(finishReason, text).toBe('stop')
      expect(text).toMatch(/^\n{0,3}"(?:yes|no)"$/)
      // the white space behind the mark belongs to neither
      expect(usage.thoughtTokens).toBe(bytes(`${opening}a <b> </ th</think>`).length)
    }
  })

  it('ends its thought by itself, and is held from there on', async () => {
    if (name === 'thinking-text') return
    for (let seed = 0; seed < 4; seed++) {
      const generated = bytes(`${opening}so${TINY_CALL_CHARACTER}`)
      const { text } = await generate({
        generated,
        format: JSON_FORMAT,
        sampling: sampling({ temperature: 1.3, seed }),
      })
      // by its own marker nearly always at once, and held behind it whenever it comes
      expect(text).toMatch(/<\/think>\n{0,3}"(?:yes|no)"$/)
    }
  })

  it('is held from the first token on when it is not to think', async () => {
    const { text, usage } = await generate({
      prompt: quiet,
      format: JSON_FORMAT,
      sampling: sampling({ temperature: 1 }),
    })
    const { thought, said } = parted(text, quiet)
    expect(thought).toBe('')
    expect(['yes', 'no']).toContain(JSON.parse(said))
    expect(usage.thoughtTokens).toBeDefined()
  })

  it('goes on wherever it is moved: in its thought, in the mark, and behind it', async () => {
    const given = bytes(`${opening}so </th </think>`)
    const whole = await generate({ generated: given, format: CALL_FORMAT, prompt: { ...prompt, tools: [TOOL] } })
    const ids = [...given, ...whole.ids]
    for (let position = 0; position < given.length; position += 3) {
      // as if all of it had come from elsewhere, then what came behind the mark
      const hold = Promise.resolve(ids.slice(position, given.length + 5))
      const tail = await generate(
        { generated: ids.slice(0, position), hold, format: CALL_FORMAT, prompt: { ...prompt, tools: [TOOL] } },
        target,
      )
      expect([...ids.slice(0, given.length + 5), ...tail.ids], `moved at ${position}`).toEqual(ids)
      expect(tail.usage.thoughtTokens).toBe(given.length)
    }
    const parser = new ToolCallParser()
    const calls = answeredCalls([...parser.push(whole.text), ...parser.end()])
    expect(calls).toHaveLength(1)
    expect(calls[0]!.name).toBe('say')
    JSON.parse(calls[0]!.arguments.replaceAll('\uFFFD', ''))
  }, 120_000)

  it('calls no tool in its thought, and is held to them behind it', async () => {
    const asked = { prompt: { ...prompt, tools: [TOOL] } satisfies Prompt, maxTokens: 400 }
    const generated = bytes(`${opening}<tool_call>{"x</think>\n<tool_call>`)
    const { text } = await generate({ ...asked, generated, sampling: sampling({ temperature: 1 }) })
    const { thought, said } = parted(`${opening}<tool_call>{"x</think>\n<tool_call>${text}`)
    expect(thought).toBe('<tool_call>{"x')
    const parser = new ToolCallParser()
    const calls = answeredCalls([...parser.push(said), ...parser.end()])
    expect(calls[0]).toMatchObject({ name: 'say' })
    // within the thought the same beginning binds nothing
    const free = await generate({ ...asked, generated: bytes(`${opening}<tool_call>`), maxTokens: 60 })
    expect(free.text).not.toMatch(/^\n\{"name": "say"/)
  })

  it('looks for stop strings in what is said alone', async () => {
    const said = `${opening}a STOP b</think>\n\n`
    const first = await generate({ generated: bytes(said), maxTokens: bytes(said).length + 30 })
    const stop = [' ', 'STOP', '\n\n', '</think>']
    const { text, finishReason } = await generate({ generated: bytes(said), stop, maxTokens: bytes(said).length + 30 })
    expect(text).toBe(first.text.split(' ')[0])
    expect(finishReason).toBe('stop')
    const thought = await generate({ generated: bytes(`${opening}a`), stop: ['e', ' '], maxTokens: 40 })
    expect(thought.finishReason).toBe('length')
  })

  it('counts an answer that ends in its thought as thought', async () => {
    const { usage, finishReason, text } = await generate({ generated: bytes(`${opening}a`), maxTokens: 30 })
    expect(finishReason).toBe('length')
    expect(usage.thoughtTokens).toBe(usage.completionTokens)
    expect(parted(`${opening}a${text}`).said).toBe('')
    expect(usage.completionTokens).toBeLessThan(LIMITS.generatedTokensMax)
  })
})
