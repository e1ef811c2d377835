/** Skein as it comes: no model given, no network, and something to talk to. */
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skein, SkeinProcess } from '../fixtures/skein-process.ts'

const MODEL = 'skein-tiny'

describe('skein up without a model', () => {
  let up: SkeinProcess
  let client: OpenAI
  beforeAll(async () => {
    up = await SkeinProcess.start({
      args: ['up', '--http', '127.0.0.1:0', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0'],
    })
    client = new OpenAI({ baseURL: `${up.http}/v1`, apiKey: 'any', maxRetries: 5 })
  })
  afterAll(() => up.kill())

  const say = async (content: string): Promise<string | null> => {
    const messages = [{ role: 'user' as const, content }]
    const { choices } = await client.chat.completions.create({ model: MODEL, messages, temperature: 0 })
    return choices[0]!.message.content
  }

  it('says which model it has', () => {
    expect(up.ready).toMatchObject({ bundledModel: true })
  })

  it('answers sensibly', async () => {
    expect(await say('What is Skein?')).toContain('devices')
    const readings = 'Kitchen 21.5 °C, hall 18.2 °C.'
    expect(await say(`${readings} What is the difference between the kitchen and the hall?`)).toContain('3.3 °C')
    expect(await say('Tell me a story about a fox.')).toMatch(/fox.*\.$/s)
    expect(await say('Who won the world cup in 1974?')).toMatch(/^Sorry/)
  })

  it('talks in the terminal', async () => {
    const { code, stdout } = await skein(['chat', '--data', up.dataDir], { input: 'What is Skein?\n' })
    expect(code).toBe(0)
    expect(stdout).toContain('devices')
  })

  it('calls a tool, and makes an answer of its result', async () => {
    const tools = [
      {
        type: 'function' as const,
        function: {
          name: 'greenhouse.temperature',
          description: 'Temperature in the greenhouse in °C.',
          parameters: { type: 'object', properties: {} },
        },
      },
    ]
    const question = { role: 'user' as const, content: 'Is it too warm in the greenhouse?' }
    const first = await client.chat.completions.create({ model: MODEL, messages: [question], tools, temperature: 0 })
    const { message, finish_reason } = first.choices[0]!
    expect(finish_reason).toBe('tool_calls')
    const [call] = message.tool_calls!
    if (call?.type !== 'function') throw new TypeError('no function was called')
    expect(call.function).toEqual({ name: 'greenhouse.temperature', arguments: '{}' })
    for (const [value, verdict] of [
      [36.5, 'so yes'],
      [21.5, 'so no'],
    ] as const) {
      const result = { role: 'tool' as const, tool_call_id: call.id, content: JSON.stringify({ value, unit: '°C' }) }
      const messages = [question, message, result]
      const second = await client.chat.completions.create({ model: MODEL, messages, tools, temperature: 0 })
      const { content } = second.choices[0]!.message
      expect(content).toContain(verdict)
      expect(content).toContain(String(value))
    }
  })
})
