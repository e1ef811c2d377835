/** Tool calls through a whole mesh of one machine: asked for by the model's first second, and of a model that has none. */
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { SkeinProcess } from '../fixtures/skein-process.ts'

describe('a mesh with a model that calls tools', () => {
  let up: SkeinProcess
  let client: OpenAI
  beforeAll(async () => {
    const models = await Promise.all([ensureModel('tools'), ensureModel('tiny')])
    up = await SkeinProcess.start({
      args: [
        ...['up', '--http', '127.0.0.1:0', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0'],
        ...models.flatMap((path) => ['--model', path]),
      ],
    })
    client = new OpenAI({ baseURL: `${up.http}/v1`, apiKey: 'any', maxRetries: 5 })
  })
  afterAll(() => up.kill())

  const body = (model: string) => ({
    model,
    messages: [{ role: 'user' as const, content: 'How warm is it?' }],
    tools: [
      {
        type: 'function' as const,
        function: {
          name: 'greenhouse.temperature',
          parameters: { type: 'object', properties: { unit: { enum: ['C', 'F'] } }, required: ['unit'] },
        },
      },
    ],
    tool_choice: 'required' as const,
    parallel_tool_calls: false,
  })

  it('calls one, whole and streamed, with the same id', async () => {
    const key = { headers: { 'idempotency-key': 'one' } }
    const { choices } = await client.chat.completions.create(body('tools'), key)
    const call = choices[0]!.message.tool_calls![0]!
    if (call.type !== 'function') throw new TypeError('no function was called')
    expect(call.function.name).toBe('greenhouse.temperature')
    expect(JSON.parse(call.function.arguments)).toHaveProperty('unit')
    const streamed = { headers: { 'idempotency-key': 'two' } }
    const ids = []
    for (let i = 0; i < 2; i++) {
      const answer = await client.chat.completions.stream(body('tools'), streamed).finalChatCompletion()
      expect(answer.choices[0]!.finish_reason).toBe('tool_calls')
      ids.push(answer.choices[0]!.message.tool_calls![0]!.id)
    }
    expect(ids[1]).toBe(ids[0])
    expect(ids[0]).not.toBe(call.id)
  })

  it('says so when the model cannot', async () => {
    await client.chat.completions.create({ model: 'tiny', messages: [{ role: 'user', content: 'x' }], max_tokens: 1 })
    await expect(client.chat.completions.create(body('tiny'))).rejects.toMatchObject({
      status: 400,
      code: 'unsupported_parameter',
      message: expect.stringContaining('tools') as string,
    })
  })
})
