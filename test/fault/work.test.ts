/**
 * Work on real processes that are hurt: embeddings of many texts, spread over two nodes, while one of them is killed,
 * frozen or told to stop. The client gets every vector, in order, equal to those of a run that nothing disturbed.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../fixtures/skein-process.ts'
import { FaultMesh } from './harness/fault-mesh.ts'

const NODES = ['one', 'two']
/** In parts of 64, two at a time on each node, some two seconds each. */
const TEXTS = Array.from({ length: 512 }, (_, i) => `goose number ${i} flies in the skein`)
const ITEM_MS = 30

let mesh: FaultMesh
let calm: readonly string[]

interface Answered {
  readonly vectors: readonly string[]
  readonly nodes: string
}

async function embed(texts: readonly string[]): Promise<Answered> {
  const response = await fetch(`${mesh.http}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'worker', input: texts, encoding_format: 'base64' }),
  })
  const body = (await response.json()) as { data: { index: number; embedding: string }[] }
  expect(response.status, JSON.stringify(body)).toBe(200)
  expect(body.data.map(({ index }) => index)).toEqual(texts.map((_, i) => i))
  return { vectors: body.data.map(({ embedding }) => embedding), nodes: response.headers.get('x-skein-node') ?? '' }
}

interface Loads {
  readonly data: readonly {
    readonly name: string
    readonly load?: { readonly models: readonly { running: number }[] }
  }[]
}

const retries = async (): Promise<number> =>
  (await mesh.get<{ work: { retries: number } }>('/mesh/v1/stats')).work.retries

const working = (name: string): Promise<true> =>
  eventually(`${name} works`, async () => {
    const { data } = await mesh.get<Loads>('/mesh/v1/nodes')
    return data.some((node) => node.name === name && node.load?.models.some(({ running }) => running > 0)) || undefined
  })

beforeAll(async () => {
  const args = ['--model', `echo:worker?work=1&mute=1&item=${ITEM_MS}`, '--slots', '2']
  mesh = await FaultMesh.start({ nodes: NODES.map((name) => ({ name, args })) })
  calm = (await embed(TEXTS)).vectors
})
afterAll(() => mesh?.stop())

describe('work while a node is hurt', () => {
  it('is done by both when nothing happens', async () => {
    const { vectors, nodes } = await embed(TEXTS)
    expect(vectors).toEqual(calm)
    expect(nodes.split(', ').toSorted()).toEqual(NODES)
    expect(new Set(vectors).size).toBe(TEXTS.length)
  })

  it('loses nothing when one is killed', async () => {
    const before = await retries()
    const answer = embed(TEXTS)
    await working('one')
    await mesh.node('one').stop('SIGKILL')
    expect((await answer).vectors).toEqual(calm)
    expect(await retries()).toBeGreaterThan(before)
    await mesh.startNode('one')
  })

  it('loses nothing when one stands still', async () => {
    const before = await retries()
    const answer = embed(TEXTS)
    await working('two')
    await mesh.freeze('two')
    try {
      expect((await answer).vectors).toEqual(calm)
      expect(await retries()).toBeGreaterThan(before)
    } finally {
      await mesh.thaw('two')
    }
    await mesh.eligible('two')
  })

  it('loses nothing when one is told to stop', async () => {
    const answer = embed(TEXTS)
    await working('one')
    await mesh.node('one').stop('SIGTERM')
    expect((await answer).vectors).toEqual(calm)
    await mesh.startNode('one')
  })

  it('a model that makes no text is not asked for any, and says what it does', async () => {
    const response = await fetch(`${mesh.http}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'worker', messages: [{ role: 'user', content: 'hi' }] }),
    })
    const { error } = (await response.json()) as { error: { message: string; param: string } }
    expect([response.status, error.param]).toEqual([400, 'model'])
    expect(error.message).toContain('POST /v1/embeddings')
  })
})
