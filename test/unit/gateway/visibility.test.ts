/** Which models a caller sees, in each API's own list, and that of others nothing can be learned. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { anthropicModels } from '../../../coordinator/gateway/anthropic-models.ts'
import { asModelDigest } from '../../../mesh/protocol/index.ts'
import { says, TWIN_MODEL } from '../../fixtures/mesh-service-twin.ts'
import { createHarness, type Harness } from './harness.ts'

const OWNER = 'sk-owner'
const ANTHROPIC = { 'anthropic-version': '2023-06-01' }
let h: Harness
let own: Record<string, string>
let foreign: Record<string, string>
const keyFor = async (name: string, models: string[]): Promise<Record<string, string>> => {
  const made = await h.post('/mesh/v1/keys', { name, models }, { authorization: `Bearer ${OWNER}` })
  return { authorization: `Bearer ${(made.json() as { secret: string }).secret}` }
}
// one for all: nothing here changes it
beforeAll(async () => {
  h = createHarness({ apiKey: OWNER })
  h.twin.script = says('hello')
  own = await keyFor('own', ['org/*'])
  foreign = await keyFor('foreign', ['large*'])
})
afterAll(() => h.gateway.stop())

describe('a list', () => {
  it('is in the form of the API that its request speaks', async () => {
    const openai = await h.get('/v1/models', own)
    expect(openai.json()).toMatchObject({ object: 'list', data: [{ id: 'tiny', object: 'model' }] })
    const anthropic = await h.get('/v1/models', { ...own, ...ANTHROPIC })
    expect(anthropic.json()).toEqual({
      data: [
        {
          ...{
            type: 'model',
            id: 'tiny',
            display_name: 'tiny',
            created_at: '1970-01-01T00:00:00Z',
            lifecycle: 'active',
          },
          ...{ max_input_tokens: TWIN_MODEL.contextTokens, max_tokens: TWIN_MODEL.contextTokens },
          ...{ capabilities: null, line: null, deprecated_at: null, retires_at: null },
        },
      ],
      has_more: false,
      first_id: 'tiny',
      last_id: 'tiny',
    })
    expect(anthropic.headers['request-id']).toBe(anthropic.headers['x-request-id'])
    expect((await h.get('/v1/models/org/tiny-chat', { ...own, ...ANTHROPIC })).json()).toMatchObject({
      type: 'model',
      id: 'org/tiny-chat',
    })
    const none = await h.get('/v1/models/none', { ...own, ...ANTHROPIC })
    expect(none.statusCode).toBe(404)
    expect(none.json()).toMatchObject({ type: 'error', error: { type: 'not_found_error' } })
  })

  it('has pages, as Anthropic’s has', async () => {
    const models = ['a', 'b', 'c', 'd'].map((alias, index) => ({
      ...TWIN_MODEL,
      aliases: [alias],
      digest: asModelDigest(`sha256:${String(index).repeat(64)}`),
    }))
    const page = (query: object) => {
      const { data, ...rest } = anthropicModels(models, query)
      return [data.map(({ id }) => id).join(''), rest.has_more, rest.first_id, rest.last_id]
    }
    expect(page({ limit: '3' })).toEqual(['abc', true, 'a', 'c'])
    expect(page({ limit: '3', after_id: 'c' })).toEqual(['d', false, 'd', 'd'])
    expect(page({ limit: '2', before_id: 'd' })).toEqual(['bc', true, 'b', 'c'])
    expect(page({ after_id: 'd' })).toEqual(['', false, null, null])
    for (const query of [
      { limit: '0' },
      { limit: '1001' },
      { limit: ['1', '2'] },
      { after_id: 'x' },
      { before_id: ['a'] },
    ])
      expect(() => page(query)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }))
    expect(anthropicModels([{ ...TWIN_MODEL, features: ['embed'] }], {}).data).toEqual([])
  })

  it.each(['/api/tags', '/api/ps'])('of %s has what the key is for', async (url) => {
    expect((await h.get(url, own)).json().models).toMatchObject([{ name: 'tiny:latest' }])
    expect((await h.get(url, foreign)).json()).toEqual({ models: [] })
  })
})

describe('a model that the key is not for', () => {
  it('is not shown, in no API', async () => {
    expect((await h.get('/v1/models', foreign)).json().data).toEqual([])
    expect((await h.get('/v1/models', { ...foreign, ...ANTHROPIC })).json().data).toEqual([])
    expect((await h.get('/v1/models/tiny', { ...foreign, ...ANTHROPIC })).statusCode).toBe(404)
    expect((await h.post('/api/show', { model: 'tiny' }, foreign)).statusCode).toBe(404)
    expect((await h.post('/api/show', { model: 'tiny' }, own)).statusCode).toBe(200)
  })

  it.each<[string, object]>([
    ['/api/chat', { messages: [{ role: 'user', content: 'hi' }] }],
    ['/api/chat', {}],
    ['/api/generate', { prompt: 'hi' }],
    ['/api/generate', { keep_alive: 0 }],
    ['/v1/chat/completions', { messages: [{ role: 'user', content: 'hi' }] }],
    ['/v1/messages', { max_tokens: 5, messages: [{ role: 'user', content: 'hi' }] }],
  ])('is refused by %s with %j as one that there is not', async (url, body) => {
    const [there, not] = await Promise.all(
      ['tiny', 'nothing'].map((model) => h.post(url, { ...body, model }, { ...foreign, 'x-request-id': 'r' })),
    )
    expect([there!.statusCode, not!.statusCode]).toEqual([403, 403])
    expect(there!.body).toBe(not!.body.replaceAll('nothing', 'tiny'))
    expect(h.twin.calls).toEqual([])
  })
})
