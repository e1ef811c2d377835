/** Tool calling with the official client, from its request to a real model and back, and a turn with the call's result. */
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asModelDigest } from '../../mesh/protocol/index.ts'
import { Devices, MemoryDeviceStore } from '../../coordinator/devices/index.ts'
import { silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { createEngine, type Engine } from '../../node/engines/index.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { strictFetch } from '../fixtures/openai/strict.ts'
import { BridgeDouble, GREENHOUSE } from './devices.harness.ts'
import { engineScript, startGateway, type RunningGateway } from './gateway.harness.ts'

const TOOL: OpenAI.ChatCompletionFunctionTool = {
  type: 'function',
  function: {
    name: 'greenhouse.temperature',
    description: 'Reads the thermometer',
    parameters: {
      type: 'object',
      properties: { unit: { enum: ['C', 'F'] }, digits: { type: 'integer', minimum: 0, maximum: 3 } },
      required: ['unit', 'digits'],
      additionalProperties: false,
    },
  },
}
const BODY = {
  model: 'tiny',
  messages: [{ role: 'user' as const, content: 'How warm is it?' }],
  tools: [TOOL],
  tool_choice: 'required' as const,
  seed: 5,
  max_tokens: 600,
}

let running: RunningGateway
let devices: Devices
let bridge: BridgeDouble
let engine: Engine
let client: OpenAI

beforeAll(async () => {
  engine = createEngine('llama', { clock: new SystemClock(), log: silentLogger })
  const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
  await engine.load({ path: await ensureModel('tools'), digest, slots: 2, contextTokens: 2048, threads: 1 })
  const components = { clock: new SystemClock(), random: new SystemRandom(), log: silentLogger }
  devices = new Devices({ ...components, store: new MemoryDeviceStore() })
  await devices.start()
  running = await startGateway({ apiKey: 'sk-test', devices })
  running.twin.script = engineScript(engine)
  bridge = new BridgeDouble(running.gateway.url, 'sk-test')
  await bridge.connect()
  client = new OpenAI({ baseURL: `${running.gateway.url}/v1`, apiKey: 'sk-test', maxRetries: 0, fetch: strictFetch })
}, 60_000)
afterAll(async () => {
  await bridge.leave()
  await running.gateway.stop()
  await engine.unload()
  await devices.stop()
})

function expectCall(call: OpenAI.ChatCompletionMessageToolCall | undefined): void {
  if (call?.type !== 'function') throw new TypeError('no function was called')
  expect(call.id).toMatch(/^call_[a-z2-7]{24}_\d+$/)
  expect(call.function.name).toBe('greenhouse.temperature')
  const given = JSON.parse(call.function.arguments) as Record<string, unknown>
  expect(Object.keys(given)).toEqual(['unit', 'digits'])
  expect(['C', 'F']).toContain(given['unit'])
  expect([0, 1, 2, 3]).toContain(given['digits'])
}

describe('the official client', () => {
  it('gets a call that it must get, whole', async () => {
    const { choices } = await client.chat.completions.create({ ...BODY, parallel_tool_calls: false })
    expect(choices[0]!.finish_reason).toBe('tool_calls')
    expect(choices[0]!.message.content).toBeNull()
    expect(choices[0]!.message.tool_calls).toHaveLength(1)
    expectCall(choices[0]!.message.tool_calls![0])
  })

  it('gets the same one as a stream, which it puts together itself', async () => {
    const named = { ...BODY, tool_choice: { type: 'function' as const, function: { name: TOOL.function.name } } }
    const whole = await client.chat.completions.create(named)
    const stream = client.chat.completions.stream(named)
    const { choices } = await stream.finalChatCompletion()
    expectCall(choices[0]!.message.tool_calls?.[0])
    expect(choices[0]!.finish_reason).toBe('tool_calls')
    const functionOf = (answer: { choices: OpenAI.ChatCompletion['choices'] }): unknown =>
      answer.choices[0]!.message.tool_calls?.map((call) => call.type === 'function' && call.function)
    expect(functionOf({ choices })).toEqual(functionOf(whole))
  })

  it('gives the result back, and gets an answer', async () => {
    const first = await client.chat.completions.create({ ...BODY, parallel_tool_calls: false })
    const { message } = first.choices[0]!
    const result = { role: 'tool' as const, tool_call_id: message.tool_calls![0]!.id, content: '17.5' }
    const second = await client.chat.completions.create({
      ...BODY,
      messages: [...BODY.messages, message, result],
      tool_choice: 'none',
      max_tokens: 20,
    })
    expect(second.choices[0]!.message.tool_calls).toBeUndefined()
    expect(second.choices[0]!.message.content).not.toBe('')
    expect(second.usage!.prompt_tokens).toBeGreaterThan(0)
    expect(running.twin.calls.at(-1)!.request.prompt).toMatchObject({
      messages: [
        { role: 'user' },
        { role: 'assistant', content: '', toolCalls: [{ name: TOOL.function.name }] },
        { role: 'tool', content: '17.5', toolCallId: result.tool_call_id },
      ],
    })
  })

  it('has free answers with the tools in sight', async () => {
    const { choices } = await client.chat.completions.create({ ...BODY, tool_choice: 'auto', max_tokens: 20 })
    expect(['stop', 'length', 'tool_calls']).toContain(choices[0]!.finish_reason)
  })

  it('runs a loop of calls by itself', async () => {
    let asked = 0
    const runner = client.chat.completions.runTools(
      {
        ...BODY,
        tool_choice: { type: 'function', function: { name: TOOL.function.name } },
        tools: [
          {
            type: 'function',
            function: {
              name: TOOL.function.name,
              description: TOOL.function.description!,
              parameters: TOOL.function.parameters!,
              parse: JSON.parse,
              function: (given: object) => {
                asked++
                return JSON.stringify(given)
              },
            },
          },
        ],
      },
      { maxChatCompletions: 2 },
    )
    await runner.done()
    expect(asked).toBe(1)
  })
})

describe('a real model with devices', () => {
  it('reads a sensor that it must read, and goes on with what it said', async () => {
    bridge.answer = () => ({ outcome: 'done', value: 31.2 })
    const state = { device: 'greenhouse', state: 'ready' as const, atMs: Date.now() }
    await bridge.report({ devices: [GREENHOUSE], states: [state] })
    const { tools: _tools, ...body } = BODY
    const tool_choice = { type: 'function' as const, function: { name: 'greenhouse.temperature' } }
    const skein = { devices: 'read' }
    const asked = { ...body, tool_choice, max_tokens: 400, ...({ skein } as object) }
    // what was called stands in a member that OpenAI's answers do not have
    const plain = new OpenAI({ baseURL: `${running.gateway.url}/v1`, apiKey: 'sk-test', maxRetries: 0 })
    const answer = await plain.chat.completions.create(asked)
    const { calls } = (answer as never as { skein: { calls: { tool: string; value: number }[] } }).skein
    expect(calls[0]).toMatchObject({ tool: 'greenhouse.temperature', outcome: 'done', value: 31.2, fresh: true })
    expect(bridge.calls[0]).toMatchObject({ capability: 'temperature', op: 'read' })
    expect(answer.choices[0]!.message.tool_calls).toBeUndefined()
    expect(running.twin.calls.at(-1)!.request.prompt).toMatchObject({
      messages: [{ role: 'user' }, { role: 'assistant' }, { role: 'tool' }],
    })
  })
})
