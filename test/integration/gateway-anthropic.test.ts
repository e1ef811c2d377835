/** The official client of Anthropic's API, on a real socket: against the twin, the echo engine and a real model. */
import Anthropic from '@anthropic-ai/sdk'
import { betaTool } from '@anthropic-ai/sdk/helpers/beta/json-schema'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { asModelDigest, SkeinError } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, echoDigest, type Engine } from '../../node/engines/index.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { aborted, end, saysAndHangs, started, status, tokens } from '../fixtures/mesh-service-twin.ts'
import { engineScript, startGateway, type RunningGateway } from './gateway.harness.ts'

let running: RunningGateway
let client: Anthropic
beforeEach(async () => {
  running = await startGateway({ apiKey: 'sk-test' })
  client = new Anthropic({ baseURL: running.gateway.url, apiKey: 'sk-test', maxRetries: 0 })
})
afterEach(() => running.gateway.stop())

const ASK = { model: 'tiny', max_tokens: 600, messages: [{ role: 'user' as const, content: 'How warm is it?' }] }

const textOf = ({ content }: Anthropic.Message): string =>
  content.map((block) => (block.type === 'text' ? block.text : '')).join('')

describe('the official client', () => {
  it('gets a whole message, and finds the request in it', async () => {
    const { data, response, request_id } = await client.messages.create(ASK).withResponse()
    expect(textOf(data)).toBe('Hello world')
    expect(data.usage).toMatchObject({ input_tokens: 4, cache_read_input_tokens: 3, output_tokens: 2 })
    expect(request_id).toBe(response.headers.get('x-request-id'))
    expect(response.headers.get('x-skein-task')).toMatch(/^task_/)
  })

  it('puts a stream together, through pings that it does not see', async () => {
    running.twin.thought = { open: '<think>', close: '</think>', isOpen: false }
    running.twin.script = async function* () {
      yield status('queued 1')
      yield started()
      yield tokens(0, '<think>Hm.')
      yield status('node lost, resuming on attic')
      yield started(2, 'attic')
      yield tokens(1, '</think>Grüße 😀')
      yield end('!', { promptTokens: 5, cachedTokens: 1, completionTokens: 3, thoughtTokens: 2 }, 2)
    }
    const stream = client.messages.stream({ ...ASK, thinking: { type: 'enabled', budget_tokens: 1024 } })
    const heard: string[] = []
    stream.on('text', (text) => heard.push(text))
    const message = await stream.finalMessage()
    expect(message.content).toEqual([
      { type: 'thinking', thinking: 'Hm.', signature: 'unsigned' },
      { type: 'text', text: 'Grüße 😀!', citations: null },
    ])
    expect(heard.join('')).toBe('Grüße 😀!')
    expect(message).toMatchObject({
      stop_reason: 'end_turn',
      usage: {
        input_tokens: 4,
        cache_read_input_tokens: 1,
        output_tokens: 3,
        output_tokens_details: { thinking_tokens: 2 },
      },
    })
    const again = [...ASK.messages, { role: message.role, content: message.content }, ASK.messages[0]!]
    await client.messages.create({ ...ASK, messages: again })
    expect(running.twin.calls.at(-1)!.request.prompt).toMatchObject({
      messages: [{}, { role: 'assistant', thought: 'Hm.', content: 'Grüße 😀!' }, {}],
    })
  })

  it('has its own class for each error', async () => {
    const ask = (extra: object = {}) => client.messages.create({ ...ASK, ...extra } as typeof ASK)
    const wrong = ask({ temperature: 9 })
    await expect(wrong).rejects.toBeInstanceOf(Anthropic.BadRequestError)
    await expect(wrong).rejects.toMatchObject({ type: 'invalid_request_error', errorCode: 'invalid_request' })
    await expect(ask({ model: 'none' })).rejects.toBeInstanceOf(Anthropic.NotFoundError)
    const stranger = new Anthropic({ baseURL: running.gateway.url, apiKey: 'wrong', maxRetries: 0 })
    await expect(stranger.messages.create(ASK)).rejects.toBeInstanceOf(Anthropic.AuthenticationError)
    running.twin.refusal = new SkeinError('SATURATED', 'no slot is free')
    await expect(ask({ stream: true })).rejects.toMatchObject({ status: 503, type: 'overloaded_error' })
    running.twin.refusal = new SkeinError('DEADLINE_UNREACHABLE', 'the wait is too long')
    await expect(ask()).rejects.toBeInstanceOf(Anthropic.RateLimitError)
  })

  it('raises on an error in the middle of a stream, after the text before it', async () => {
    running.twin.script = async function* () {
      yield started()
      yield tokens(0, 'half')
      throw new SkeinError('ATTEMPTS_EXHAUSTED', 'every node was lost')
    }
    const stream = client.messages.stream(ASK)
    let text = ''
    stream.on('text', (delta) => (text += delta))
    await expect(stream.finalMessage()).rejects.toMatchObject({ type: 'api_error' })
    expect(text).toBe('half')
  })

  it('cancels the task when it aborts a stream in its middle', async () => {
    running.twin.script = saysAndHangs('a', 'b')
    for await (const event of await client.messages.create({ ...ASK, stream: true }))
      if (event.type === 'content_block_delta') break
    const { signal, ended } = await running.twin.called()
    expect(await aborted(signal)).toMatchObject({ code: 'CLIENT_CLOSED' })
    await ended
    expect(running.gateway.running).toBe(0)
  })

  it('hears of a stop as an error', async () => {
    running.twin.script = saysAndHangs('a')
    const message = client.messages.stream(ASK).finalMessage()
    const refused = expect(message).rejects.toMatchObject({ type: 'overloaded_error' })
    await running.twin.called()
    await running.gateway.stop()
    await refused
  })
})

describe('an engine that echoes', () => {
  let engine: Engine
  beforeAll(async () => {
    const path = 'echo:?cache=1'
    engine = createEngine('echo', { clock: new SystemClock(), log: silentLogger })
    await engine.load({ path, digest: echoDigest(path), slots: 2 })
  })
  afterAll(() => engine.unload())
  beforeEach(() => void (running.twin.script = engineScript(engine)))

  it('answers whole and streamed, with as many tokens as it is let', async () => {
    const cut = await client.messages.create({ ...ASK, max_tokens: 3 })
    expect([cut.stop_reason, cut.usage.output_tokens]).toEqual(['max_tokens', 3])
    expect(textOf(cut)).toMatch(/^How warm/)
    const streamed = await client.messages.stream({ ...ASK, max_tokens: 3 }).finalMessage()
    expect(streamed.content).toEqual(cut.content)
    const stopped = await client.messages.create({ ...ASK, stop_sequences: ['never', ' warm'] })
    expect([textOf(stopped), stopped.stop_reason, stopped.stop_sequence]).toEqual(['How', 'stop_sequence', ' warm'])
  })

  it('counts the tokens that the message then has', async () => {
    const ask = { model: ASK.model, messages: ASK.messages, system: 'Be brief.' }
    const { input_tokens } = await client.messages.countTokens(ask)
    const { usage } = await client.messages.create({ ...ask, max_tokens: 5 })
    expect(input_tokens).toBe(usage.input_tokens + (usage.cache_read_input_tokens ?? 0))
  })
})

describe('a real model', () => {
  const input_schema = {
    type: 'object' as const,
    properties: { unit: { enum: ['C', 'F'] }, digits: { type: 'integer', minimum: 0, maximum: 3 } },
    required: ['unit', 'digits'],
    additionalProperties: false,
  }
  const tool = { name: 'greenhouse.temperature', description: 'Reads the thermometer', input_schema }
  const must = { tools: [tool], tool_choice: { type: 'any' as const, disable_parallel_tool_use: true } }
  let engine: Engine
  beforeAll(async () => {
    engine = createEngine('llama', { clock: new SystemClock(), log: silentLogger })
    const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
    await engine.load({ path: await ensureModel('tools'), digest, slots: 2, contextTokens: 2048, threads: 1 })
  }, 60_000)
  afterAll(() => engine.unload())
  beforeEach(() => void (running.twin.script = engineScript(engine)))

  function callOf({ content, stop_reason }: Anthropic.Message): Anthropic.ToolUseBlock {
    expect(stop_reason).toBe('tool_use')
    expect(content).toHaveLength(1)
    const [block] = content
    if (block?.type !== 'tool_use') throw new TypeError('no tool was called')
    expect(block.name).toBe(tool.name)
    const given = block.input as Record<string, unknown>
    expect(Object.keys(given)).toEqual(['unit', 'digits'])
    expect(['C', 'F']).toContain(given['unit'])
    expect([0, 1, 2, 3]).toContain(given['digits'])
    return block
  }

  it('calls a tool that it must call, the same whole and streamed', async () => {
    const whole = callOf(await client.messages.create({ ...ASK, ...must }))
    const streamed = callOf(await client.messages.stream({ ...ASK, ...must }).finalMessage())
    expect(streamed.input).toEqual(whole.input)
  })

  it('is given the result, and answers', async () => {
    const first = await client.messages.create({ ...ASK, ...must })
    const { id } = callOf(first)
    const second = await client.messages.create({
      ...ASK,
      tools: [tool],
      tool_choice: { type: 'none' },
      max_tokens: 20,
      messages: [
        ...ASK.messages,
        { role: 'assistant', content: first.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: '17.5' }] },
      ],
    })
    expect(textOf(second)).not.toBe('')
    expect(second.content.some(({ type }) => type === 'tool_use')).toBe(false)
    expect(running.twin.calls.at(-1)!.request.prompt).toMatchObject({
      messages: [
        { role: 'user' },
        { role: 'assistant', content: '', toolCalls: [{ id, name: tool.name }] },
        { role: 'tool', content: '17.5', toolCallId: id },
      ],
    })
  })

  it('has its tools run by the client, in a loop', async () => {
    const asked: unknown[] = []
    const run = (given: object): string => {
      asked.push(given)
      return '17.5'
    }
    const runnable = betaTool({
      name: tool.name,
      description: tool.description,
      inputSchema: input_schema as { type: 'object' },
      run,
    })
    const runner = client.beta.messages.toolRunner({
      ...ASK,
      tools: [runnable],
      tool_choice: must.tool_choice,
      max_iterations: 2,
    })
    const last = await runner.runUntilDone()
    expect(last.stop_reason).toBe('tool_use')
    expect(asked.length).toBeGreaterThanOrEqual(1)
    expect(running.twin.calls).toHaveLength(2)
    expect(running.twin.calls[1]!.request.prompt).toMatchObject({
      messages: [{ role: 'user' }, { role: 'assistant' }, { role: 'tool', content: '17.5' }],
    })
  })

  it('counts what its own template makes of tools and turns', async () => {
    const ask = { model: ASK.model, messages: ASK.messages }
    const { input_tokens: bare } = await client.messages.countTokens(ask)
    const { input_tokens: withTools } = await client.messages.countTokens({ ...ask, tools: [tool] })
    expect(withTools).toBeGreaterThan(bare)
    const { usage } = await client.messages.create({ ...ask, tools: [tool], max_tokens: 1 })
    expect(usage.input_tokens + (usage.cache_read_input_tokens ?? 0)).toBe(withTools)
  })
})
