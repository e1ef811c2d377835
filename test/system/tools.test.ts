/** Tool calls through a whole mesh of one machine: asked for by the model's first second, and of a model that has none. */
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { SkeinProcess } from '../fixtures/skein-process.ts'

describe('a mesh with a model that calls tools', () => {
  let up: SkeinProcess
  let client: OpenAI
  beforeAll(async () => {
    const models = await Promise.all([ensureModel('tools'), ensureModel('tools-unknown')])
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

  it('has a call in each of two choices, and the same ones under the same key', async () => {
    const key = { headers: { 'idempotency-key': 'three' } }
    const asked = { ...body('tools'), n: 2, seed: 3 }
    const { data, response } = await client.chat.completions.create(asked, key).withResponse()
    const calls = data.choices.map(({ message }) => message.tool_calls![0]!)
    expect(new Set(calls.map(({ id }) => id)).size).toBe(2)
    const tasks = response.headers.get('x-skein-tasks')!.split(', ')
    expect(tasks).toHaveLength(2)
    expect(calls.map(({ id }) => id)).toEqual(tasks.map((id) => `call_${id.slice('task_'.length)}_0`))
    expect((await client.chat.completions.create(asked, key)).choices).toEqual(data.choices)
  })

  it('says so when the model cannot', async () => {
    await client.chat.completions.create({
      model: 'tools-unknown',
      messages: [{ role: 'user', content: 'x' }],
      max_tokens: 1,
    })
    await expect(client.chat.completions.create(body('tools-unknown'))).rejects.toMatchObject({
      status: 400,
      code: 'unsupported_parameter',
      message: expect.stringContaining('tools') as string,
    })
  })
})
