/** The ONNX models that come with Skein, as clients meet them: served unasked, or by name alone. */
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SkeinProcess } from '../fixtures/skein-process.ts'

const ARGS = ['up', '--http', '127.0.0.1:0', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
const namesOf = async (up: SkeinProcess): Promise<string[]> => {
  const client = new OpenAI({ baseURL: `${up.http}/v1`, apiKey: 'any' })
  return (await client.models.list()).data.map(({ id }) => id).sort()
}

describe('skein up', () => {
  let up: SkeinProcess
  beforeAll(async () => {
    up = await SkeinProcess.start({ args: ARGS })
  }, 60_000)
  afterAll(() => up.kill())

  it('serves them when no model is named', async () => {
    await expect.poll(() => namesOf(up), { timeout: 20_000 }).toEqual(['skein-embedding', 'skein-sensor', 'skein-tiny'])
  })

  it('makes embeddings for an OpenAI client, by which a note is found', async () => {
    const client = new OpenAI({ baseURL: `${up.http}/v1`, apiKey: 'any', maxRetries: 5 })
    const notes = ['train tickets to Oslo are booked', 'the washing machine is leaking', 'rent is due on Monday']
    const input = ['laundry machine loses water', ...notes]
    const { data, usage } = await client.embeddings.create({ model: 'skein-embedding', input })
    const [query, ...others] = data.map(({ embedding }) => embedding)
    const scores = others.map((note) => note.reduce((sum, each, i) => sum + each * query![i]!, 0))
    expect(scores.indexOf(Math.max(...scores))).toBe(1)
    expect(usage.prompt_tokens).toBeGreaterThan(10)
  })

  it('puts readings through the sensor model', async () => {
    const values = Array.from({ length: 64 }, (_, i) => 21 + Math.sin(i / 20) + (i === 40 ? 9 : 0))
    const mask = values.map(() => 1)
    const response = await fetch(`${up.http}/mesh/v1/infer`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'skein-sensor', inputs: { values: { data: [values] }, mask: { data: [mask] } } }),
    })
    const body = (await response.json()) as { outputs: { anomaly: { shape: number[]; data: number[] } } }
    expect(response.status, JSON.stringify(body)).toBe(200)
    expect(body.outputs.anomaly.shape).toEqual([1])
    expect(body.outputs.anomaly.data[0]).toBeGreaterThan(0.88)
  })
})

it('serves what is named and nothing else', async () => {
  const up = await SkeinProcess.start({ args: [...ARGS, '--model', 'skein-embedding'] })
  try {
    await expect.poll(() => namesOf(up), { timeout: 20_000 }).toEqual(['skein-embedding'])
  } finally {
    await up.kill()
  }
}, 60_000)
