/** Embeddings by the official client, which asks for base64 unless it is told otherwise, through a real socket. */
import OpenAI from 'openai'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { embedsTo } from '../fixtures/twin-answers.ts'
import { strictFetch } from '../fixtures/openai/strict.ts'
import { startGateway, type RunningGateway } from './gateway.harness.ts'

const vector = (...numbers: number[]): Uint8Array => new Uint8Array(Float32Array.from(numbers).buffer)

let running: RunningGateway
let client: OpenAI
beforeEach(async () => {
  running = await startGateway({ apiKey: 'sk-test' })
  client = new OpenAI({ baseURL: `${running.gateway.url}/v1`, apiKey: 'sk-test', maxRetries: 0, fetch: strictFetch })
})
afterEach(() => running.gateway.stop())

const gives = (vectors: readonly Uint8Array[]): void => {
  running.twin.worker = embedsTo(...vectors)
}

describe('the official client', () => {
  it.each([undefined, 'float', 'base64'] as const)('gets embeddings in the encoding %s', async (format) => {
    gives([vector(0.5, -0.25), vector(1, 0)])
    const asked = { model: 'tiny', input: ['a', 'b'], ...(format && { encoding_format: format }) }
    const { data, response } = await client.embeddings.create(asked).withResponse()
    const expected = format === 'base64' ? Buffer.from(vector(0.5, -0.25)).toString('base64') : [0.5, -0.25]
    expect(data.data[0]!.embedding).toEqual(expected)
    expect(data.usage).toEqual({ prompt_tokens: 5, total_tokens: 5 })
    expect(response.headers.get('x-skein-node')).toBe('desk-pc')
  })

  it('gets 2,048 vectors of 1,024 numbers whole', async () => {
    const numbers = Array.from({ length: 1024 }, (_, i) => Math.fround(Math.sin(i)))
    gives(Array.from({ length: 2048 }, () => vector(...numbers)))
    const { data } = await client.embeddings.create({ model: 'tiny', input: Array(2048).fill('a') })
    expect(data).toHaveLength(2048)
    expect(data.at(-1)!.embedding).toEqual(numbers)
  })

  it('is told what is wrong in a way that it knows', async () => {
    const refused = client.embeddings.create({ model: 'tiny', input: [1, 2, 3] })
    await expect(refused).rejects.toMatchObject({ status: 400, code: 'unsupported_parameter', param: 'input' })
    const unknown = new OpenAI({
      baseURL: `${running.gateway.url}/v1`,
      apiKey: 'wrong',
      maxRetries: 0,
      fetch: strictFetch,
    })
    await expect(unknown.embeddings.create({ model: 'tiny', input: 'a' })).rejects.toMatchObject({ status: 401 })
  })

  it('that hangs up ends the work', async () => {
    const left = Promise.withResolvers<unknown>()
    const begun = Promise.withResolvers<void>()
    running.twin.worker = (_request, signal) =>
      new Promise((_, reject) => {
        begun.resolve()
        signal.addEventListener('abort', () => (left.resolve(signal.reason), reject(signal.reason)), { once: true })
      })
    const controller = new AbortController()
    const asking = client.embeddings.create({ model: 'tiny', input: 'a' }, { signal: controller.signal })
    asking.catch(() => undefined)
    await begun.promise
    controller.abort()
    expect(await left.promise).toMatchObject({ code: 'CLIENT_CLOSED' })
  })
})
