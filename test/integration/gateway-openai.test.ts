import OpenAI from 'openai'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { aborted, end, says, saysAndHangs, started, status, tokens } from '../fixtures/mesh-service-twin.ts'
import { strictFetch } from '../fixtures/openai/strict.ts'
import { CHAT, startGateway, type RunningGateway } from './gateway.harness.ts'

let running: RunningGateway
let client: OpenAI
beforeEach(async () => {
  running = await startGateway({ apiKey: 'sk-test' })
  client = new OpenAI({ baseURL: `${running.gateway.url}/v1`, apiKey: 'sk-test', maxRetries: 0, fetch: strictFetch })
})
afterEach(() => running.gateway.stop())

/** Text of a stream, and what it threw. */
async function read(
  stream: AsyncIterable<OpenAI.ChatCompletionChunk>,
): Promise<{ text: string; error: unknown; last: unknown }> {
  let text = ''
  let last: unknown
  try {
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? ''
      last = chunk
    }
    return { text, error: undefined, last }
  } catch (error) {
    return { text, error, last }
  }
}

describe('the official client', () => {
  it('gets a whole answer, and finds the task in its headers', async () => {
    const { data, response } = await client.chat.completions.create(CHAT).withResponse()
    expect(data.choices[0]!.message).toMatchObject({ role: 'assistant', content: 'Hello world' })
    expect(data.usage?.prompt_tokens_details?.cached_tokens).toBe(3)
    expect(response.headers.get('x-skein-task')).toMatch(/^task_/)
    expect(response.headers.get('x-skein-route')).toBe('mesh')
  })

  it('gets a stream with usage, through comments that it does not see', async () => {
    running.twin.script = async function* () {
      yield status('queued 1')
      yield started()
      yield tokens(0, 'Grüße')
      yield status('node lost, resuming on attic')
      yield started(2, 'attic')
      yield tokens(1, ' 😀')
      yield end('!', { promptTokens: 5, cachedTokens: 0, completionTokens: 3 }, 2)
    }
    const stream = await client.chat.completions.create({
      ...CHAT,
      stream: true,
      stream_options: { include_usage: true },
    })
    const { text, error, last } = await read(stream)
    expect(error).toBeUndefined()
    expect(text).toBe('Grüße 😀!')
    expect(last).toMatchObject({ choices: [], usage: { total_tokens: 8 } })
  })

  it('gets text completions, streamed and whole', async () => {
    const whole = await client.completions.create({ model: 'tiny', prompt: 'x' })
    expect(whole.choices[0]!.text).toBe('Hello world')
    let text = ''
    for await (const chunk of await client.completions.create({ model: 'tiny', prompt: 'x', stream: true }))
      text += chunk.choices[0]?.text ?? ''
    expect(text).toBe('Hello world')
  })

  it('lists and finds models', async () => {
    const names: string[] = []
    for await (const model of client.models.list()) names.push(model.id)
    expect(names).toEqual(['tiny'])
    expect((await client.models.retrieve('org/tiny-chat')).id).toBe('org/tiny-chat')
    await expect(client.models.retrieve('none')).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })

  it('has its own class for each error', async () => {
    const chat = (extra: object = {}) => client.chat.completions.create({ ...CHAT, ...extra } as typeof CHAT)
    await expect(chat({ temperature: 9 })).rejects.toMatchObject({
      status: 400,
      code: 'invalid_request',
      param: 'temperature',
    })
    await expect(chat({ temperature: 9 })).rejects.toBeInstanceOf(OpenAI.BadRequestError)
    await expect(chat({ model: 'none' })).rejects.toMatchObject({ status: 404, code: 'model_not_found' })
    const stranger = new OpenAI({
      baseURL: `${running.gateway.url}/v1`,
      apiKey: 'wrong',
      maxRetries: 0,
      fetch: strictFetch,
    })
    await expect(stranger.models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError)
    running.twin.refusal = new SkeinError('SATURATED', 'no slot is free')
    await expect(chat({ stream: true })).rejects.toBeInstanceOf(OpenAI.InternalServerError)
  })

  it('raises on an error in the middle of a stream, after the text before it', async () => {
    running.twin.script = async function* () {
      yield started()
      yield tokens(0, 'half')
      throw new SkeinError('ATTEMPTS_EXHAUSTED', 'every node was lost')
    }
    const { text, error } = await read(await client.chat.completions.create({ ...CHAT, stream: true }))
    expect(text).toBe('half')
    expect(error).toBeInstanceOf(OpenAI.APIError)
    expect(error).toMatchObject({ code: 'attempts_exhausted' })
  })

  it('cancels the task when it aborts a stream in its middle', async () => {
    running.twin.script = saysAndHangs('a', 'b')
    const stream = await client.chat.completions.create({ ...CHAT, stream: true })
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break
    const { signal, ended } = await running.twin.called()
    expect(await aborted(signal)).toMatchObject({ code: 'CLIENT_CLOSED' })
    await ended
    expect(running.gateway.counters.clientsClosed).toBe(1)
    expect(running.gateway.running).toBe(0)
  })

  it.each([false, true])('cancels the task when it leaves before anything came (stream: %s)', async (stream) => {
    running.twin.script = async function* ({ signal }) {
      yield status('queued 1')
      throw await aborted(signal)
    }
    const controller = new AbortController()
    const asking = client.chat.completions.create({ ...CHAT, stream }, { signal: controller.signal })
    const refused = expect(asking).rejects.toBeInstanceOf(OpenAI.APIUserAbortError)
    const { signal, ended } = await running.twin.called()
    controller.abort()
    expect(await aborted(signal)).toMatchObject({ code: 'CLIENT_CLOSED' })
    await Promise.all([ended, refused])
  })

  it('hears of a stop as an error, and is refused afterwards', async () => {
    running.twin.script = saysAndHangs('a')
    const stream = await client.chat.completions.create({ ...CHAT, stream: true })
    const reading = read(stream)
    await running.twin.called()
    await running.gateway.stop()
    expect((await reading).error).toMatchObject({ code: 'shutting_down' })
    await expect(client.models.list()).rejects.toBeInstanceOf(OpenAI.APIConnectionError)
  })

  it('has many streams at once, each its own', async () => {
    running.twin.script = (call) => {
      const { prompt } = call.request
      const word = prompt.kind === 'chat' ? prompt.messages[0]!.content : ''
      return says(...Array.from({ length: 200 }, (_, i) => `${word}${i} `))(call)
    }
    const texts = await Promise.all(
      Array.from({ length: 32 }, async (_, i) => {
        const messages = [{ role: 'user' as const, content: `n${i}-` }]
        return (await read(await client.chat.completions.create({ ...CHAT, messages, stream: true }))).text
      }),
    )
    for (const [i, text] of texts.entries())
      expect(text).toBe(Array.from({ length: 200 }, (_, k) => `n${i}-${k} `).join(''))
  })
})
