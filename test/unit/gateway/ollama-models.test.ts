/** Ollama's API beside its answers: embeddings, models, what bodies are taken, and who may ask. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parameterSize } from '../../../coordinator/gateway/ollama-models.ts'
import { asModelDigest, LIMITS } from '../../../mesh/protocol/index.ts'
import { TWIN_DIGEST, TWIN_MODEL, TWIN_NODE } from '../../fixtures/mesh-service-twin.ts'
import { createHarness, type Harness } from './harness.ts'

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const MESSAGES = [{ role: 'user', content: 'hi' }]
const chat = (extra: object = {}, headers: Record<string, string> = {}) =>
  h.post('/api/chat', { model: 'tiny', messages: MESSAGES, stream: false, ...extra }, headers)
const lines = (body: string): unknown[] =>
  body
    .trimEnd()
    .split('\n')
    .map((each) => JSON.parse(each) as unknown)

describe('embeddings', () => {
  const vector = (...numbers: number[]): Uint8Array => new Uint8Array(Float32Array.from(numbers).buffer)
  beforeEach(() => {
    h.twin.worker = async ({ work }) => ({
      digest: TWIN_DIGEST,
      result: {
        kind: 'embed',
        vectors: (work as { texts: string[] }).texts.map((_, i) => vector(i, 0.5)),
        promptTokens: 3,
      },
      nodes: [TWIN_NODE],
      route: 'mesh',
      attempts: 1,
      timing: { queuedMs: 0, workMs: 1 },
    })
  })

  it('are told for one text and for several', async () => {
    const body = { model: 'tiny', input: ['a', 'b'], truncate: true, keep_alive: '5m', options: {}, dimensions: 0 }
    const several = await h.post('/api/embed', body)
    expect(several.json()).toEqual({
      ...{ model: 'tiny', prompt_eval_count: 3, total_duration: 0 },
      embeddings: [
        [0, 0.5],
        [1, 0.5],
      ],
    })
    expect(several.headers['x-skein-node']).toBe('desk-pc')
    const one = await h.post('/api/embed', { model: 'tiny', input: 'a', dimensions: 1 })
    expect(one.json()['embeddings']).toEqual([[0, 0.5]])
    expect(h.twin.works.map(({ work }) => work)).toEqual([
      { kind: 'embed', texts: ['a', 'b'] },
      { kind: 'embed', texts: ['a'], dimensions: 1 },
    ])
  })

  it('are told as of old', async () => {
    const { json } = await h.post('/api/embeddings', { model: 'tiny', prompt: 'a' })
    expect(json()).toEqual({ embedding: [0, 0.5] })
  })

  it.each([{ input: [] }, { input: [1, 2] }, { input: {} }, {}])('of %j are refused', async (extra) => {
    const { statusCode, json } = await h.post('/api/embed', { model: 'tiny', ...extra })
    expect(statusCode).toBe(400)
    expect(json()).toEqual({ error: expect.stringContaining('input') })
  })
})

describe('models', () => {
  const DETAILS = {
    ...{ parent_model: '', format: '', family: '', families: [] },
    ...{ parameter_size: '1K', quantization_level: 'Q8_0' },
  }
  const LISTED = {
    ...{ name: 'tiny:latest', model: 'tiny:latest', size: 4096, details: DETAILS },
    digest: '0123456789abcdef'.repeat(4),
  }

  it('are listed with a tag', async () => {
    const goose = asModelDigest(`sha256:${'f'.repeat(64)}`)
    h.twin.modelViews = [
      { ...TWIN_MODEL, features: ['chat', 'completion', 'embed', 'thinking', 'tools'] },
      {
        ...TWIN_MODEL,
        ...{
          aliases: ['org/goose:7b'],
          digest: goose,
          engine: 'llama',
          parameters: 7_240_000_000,
          features: ['embed'],
        },
      },
    ]
    const sensor = { ...TWIN_MODEL, aliases: ['sensor'], digest: asModelDigest(`sha256:${'e'.repeat(64)}`) }
    h.twin.modelViews.push({ ...sensor, features: ['infer'] })
    expect((await h.get('/api/tags')).json()).toEqual({
      models: [
        { ...LISTED, modified_at: CREATED_AT(), capabilities: ['completion', 'tools', 'thinking', 'embedding'] },
        {
          ...LISTED,
          ...{ name: 'org/goose:7b', model: 'org/goose:7b', digest: 'f'.repeat(64), modified_at: CREATED_AT() },
          details: { ...DETAILS, format: 'gguf', parameter_size: '7.2B' },
          capabilities: ['embedding'],
        },
      ],
    })
  })

  const CREATED_AT = (): string => new Date(h.clock.wallMs()).toISOString()

  it.each([
    [0, '0'],
    [999, '999'],
    [4400, '4K'],
    [137_000_000, '137M'],
    [1_240_000_000, '1.2B'],
    [8_000_000_000, '8.0B'],
  ])('of %d parameters say %s', (parameters, text) => {
    expect(parameterSize(parameters)).toBe(text)
  })

  it('in memory are listed apart', async () => {
    expect((await h.get('/api/ps')).json()).toEqual({ models: [{ ...LISTED, context_length: 2048 }] })
    h.twin.modelViews = [{ ...TWIN_MODEL, resident: false }]
    expect((await h.get('/api/ps')).json()).toEqual({ models: [] })
  })

  it.each([{ model: 'tiny' }, { name: 'tiny:latest' }])('are shown by %j', async (named) => {
    expect((await h.post('/api/show', named)).json()).toMatchObject({
      details: DETAILS,
      model_info: { 'general.parameter_count': 1000, 'skein.context_length': 2048 },
      capabilities: ['completion'],
    })
  })

  it.each([
    ['/api/show', { model: 'none' }, 404],
    ['/api/show', {}, 400],
    ['/api/pull', { name: '' }, 400],
  ])('of %s %j get %d', async (path, body, statusCode) => {
    expect(await h.post(path, body)).toMatchObject({ statusCode })
  })

  it('are pulled when they are there, and elsewhere when they are not', async () => {
    const there = await h.post('/api/pull', { name: 'tiny' })
    expect(there.headers['content-type']).toMatch(/^application\/x-ndjson/)
    expect(lines(there.body)).toEqual([{ status: 'success' }])
    expect((await h.post('/api/pull', { model: 'tiny', stream: false })).json()).toEqual({ status: 'success' })
    const { statusCode, json } = await h.post('/api/pull', { model: 'llama3.2' })
    expect(statusCode).toBe(400)
    expect(json().error).toMatch(/skein pull llama3\.2$/)
  })

  it('are not removed from here', async () => {
    const remove = (model: string) =>
      h.gateway.app.inject({ method: 'DELETE', url: '/api/delete', payload: { name: model } })
    const { statusCode, json } = await remove('tiny')
    expect(statusCode).toBe(400)
    expect(json().error).toMatch(/at desk-pc with: skein rm tiny$/)
    expect((await remove('none')).statusCode).toBe(404)
  })

  it('are those of a version that tools can read, of a server that is there', async () => {
    expect((await h.get('/api/version')).json()).toEqual({ version: expect.stringMatching(/^\d+\.\d+\.\d+$/) })
    expect((await h.get('/')).body).toBe('Skein is running')
    expect((await h.gateway.app.inject({ method: 'HEAD', url: '/' })).statusCode).toBe(200)
  })
})

describe('a body', () => {
  it.each([
    ['as a form, as Ollama’s documents send it', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['as a text', { 'content-type': 'text/plain;charset=UTF-8' }],
    ['without a type', {}],
  ])('is read as JSON %s', async (_what, headers) => {
    const payload = JSON.stringify({ model: 'tiny', messages: MESSAGES, stream: false })
    const answer = await h.gateway.app.inject({
      method: 'POST',
      url: '/api/chat',
      headers,
      payload: Buffer.from(payload),
    })
    expect(answer.statusCode).toBe(200)
  })

  it('is read as JSON by its type elsewhere', async () => {
    const headers = { 'content-type': 'text/plain' }
    expect((await h.post('/v1/chat/completions', { model: 'tiny', messages: MESSAGES }, headers)).statusCode).toBe(415)
  })

  it.each([
    ['{', 400],
    ['[]', 400],
    ['"x"', 400],
    ['', 400],
    ['['.repeat(LIMITS.jsonDepthMax + 1), 400],
    [Buffer.from([0x7b, 0xff, 0x7d]), 400],
  ])('that is %j gets %d in Ollama’s shape', async (body, statusCode) => {
    const answer = await h.post('/api/chat', body)
    expect(answer.statusCode).toBe(statusCode)
    expect(answer.json()).toEqual({ error: expect.any(String) })
  })

  it('of a page of another site is refused', async () => {
    const { statusCode, json } = await chat({}, { origin: 'http://evil.example', 'content-type': 'text/plain' })
    expect(statusCode).toBe(403)
    expect(json()).toEqual({ error: expect.stringContaining('Origin') })
  })
})

describe('an address', () => {
  it('that is none, or takes another method, is told in Ollama’s shape', async () => {
    expect((await h.get('/api/create')).json()).toEqual({ error: 'there is nothing at /api/create' })
    const { statusCode, headers, json } = await h.get('/api/chat')
    expect(statusCode).toBe(405)
    expect(headers['allow']).toBe('POST')
    expect(json()).toEqual({ error: expect.stringContaining('takes POST') })
  })

  it('wants the key where there is one', async () => {
    await h.gateway.stop()
    h = createHarness({ apiKey: 'sk-test' })
    const { statusCode, json } = await h.get('/api/tags')
    expect(statusCode).toBe(401)
    expect(json()).toEqual({ error: expect.stringContaining('a key is needed') })
    expect((await h.get('/api/tags', { authorization: 'Bearer sk-test' })).statusCode).toBe(200)
  })

  it('counts what makes an answer against the rate of a key, and nothing else', async () => {
    await h.gateway.stop()
    h = createHarness({ apiKey: 'sk-test' })
    const body = { name: 'x', requests_per_minute: 1 }
    const made = await h.post('/mesh/v1/keys', body, { authorization: 'Bearer sk-test' })
    const as = { authorization: `Bearer ${(made.json() as { secret: string }).secret}` }
    for (const path of ['/api/show', '/api/pull', '/api/show'])
      expect((await h.post(path, { model: 'tiny' }, as)).statusCode).toBe(200)
    expect((await chat({}, as)).statusCode).toBe(200)
    const { statusCode, headers, json } = await chat({}, as)
    expect(statusCode).toBe(429)
    expect(json()).toEqual({ error: expect.any(String) })
    expect(headers['retry-after']).toBeDefined()
  })

  it('shows a key the models that it is for', async () => {
    await h.gateway.stop()
    h = createHarness({ apiKey: 'sk-test' })
    const made = await h.post('/mesh/v1/keys', { name: 'x', models: ['other'] }, { authorization: 'Bearer sk-test' })
    const as = { authorization: `Bearer ${(made.json() as { secret: string }).secret}` }
    for (const path of ['/api/tags', '/api/ps']) expect((await h.get(path, as)).json()).toEqual({ models: [] })
    expect((await h.post('/api/show', { model: 'tiny' }, as)).statusCode).toBe(404)
    const { statusCode, json } = await chat({}, as)
    expect(statusCode).toBe(403)
    expect(json()).toEqual({ error: expect.stringContaining('not for the model') })
  })

  it.each(['/api/tags', '/v1/models', '/health/live'])(
    '%s is not told to a node that takes this for a server',
    async (url) => {
      const { statusCode, headers } = await h.get(url, { 'x-skein-upstream': '1' })
      expect(statusCode).toBe(403)
      expect(headers['x-skein-version']).toBe('2')
    },
  )
})
