/** Keys at the gateway: who gets where, what a task gets of its key, and what no key sees of another. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { routeClassOf } from '../../../coordinator/gateway/callers.ts'
import { says, saysAndHangs } from '../../fixtures/mesh-service-twin.ts'
import { CHAT, createHarness, turns, type Harness } from './harness.ts'

const OWNER = 'sk-owner'
let h: Harness
beforeEach(() => {
  h = createHarness({ apiKey: OWNER })
  h.twin.script = says('hello')
})
afterEach(() => h.gateway.stop())

const bearer = (secret: string): Record<string, string> => ({ authorization: `Bearer ${secret}` })
const makeKey = async (name: string, more: object = {}): Promise<{ id: string; as: Record<string, string> }> => {
  const made = await h.post('/mesh/v1/keys', { name, ...more }, bearer(OWNER))
  expect(made.statusCode, made.body).toBe(201)
  const { id, secret } = made.json() as { id: string; secret: string }
  return { id, as: bearer(secret) }
}
const chat = (as: Record<string, string>, more: object = {}) => h.post('/v1/chat/completions', { ...CHAT, ...more }, as)

describe('routes', () => {
  it.each([
    ['POST', '/v1/chat/completions', 'inference'],
    ['GET', '/v1/models', 'inference'],
    ['POST', '/api/chat', 'inference'],
    ['POST', '/mesh/v1/classify', 'inference'],
    ['GET', '/mesh/v1/tasks/:id', 'inference'],
    ['GET', '/mesh/v1/usage', 'inference'],
    ['GET', '/mesh/v1/nodes', 'mesh'],
    ['HEAD', '/mesh/v1/models', 'mesh'],
    ['GET', '/mesh/v1/keys', 'admin'],
    ['POST', '/mesh/v1/invites', 'admin'],
    ['GET', '/mesh/v1/pairing', 'admin'],
    ['POST', '/mesh/v1/pairing', 'admin'],
    ['DELETE', '/mesh/v1/nodes/:member', 'admin'],
    ['POST', '/mesh/v1/nodes/:member/drain', 'admin'],
    ['POST', '/mesh/v1/keys/:key/rotate', 'admin'],
    ['PUT', '/mesh/v1/whatever-comes', 'admin'],
  ])('%s %s is of the class %s', (method, url, expected) => {
    expect(routeClassOf(method, url)).toBe(expected)
  })

  it('are open to the keys that have their class', async () => {
    const { as: ask } = await makeKey('ask', { routes: ['inference'] })
    const { as: look } = await makeKey('look', { routes: ['mesh'] })
    const { as: admin } = await makeKey('admin', { routes: ['admin'] })
    const statuses = async (as: Record<string, string>): Promise<number[]> =>
      Promise.all([
        chat(as).then(({ statusCode }) => statusCode),
        h.get('/mesh/v1/nodes', as).then(({ statusCode }) => statusCode),
        h.get('/mesh/v1/keys', as).then(({ statusCode }) => statusCode),
        h.get('/nothing', as).then(({ statusCode }) => statusCode),
      ])
    expect(await statuses(ask)).toEqual([200, 403, 403, 404])
    expect(await statuses(look)).toEqual([403, 200, 403, 404])
    expect(await statuses(admin)).toEqual([200, 200, 200, 404])
  })

  it('take the key as Anthropic’s clients send it', async () => {
    const { as } = await makeKey('ada')
    const answer = await h.post('/v1/chat/completions', CHAT, { 'x-api-key': as['authorization']!.slice(7) })
    expect(answer.statusCode).toBe(200)
  })

  it('refuse a revoked key before its body is read', async () => {
    const { id, as } = await makeKey('ada')
    expect(
      (await h.gateway.app.inject({ method: 'DELETE', url: `/mesh/v1/keys/${id}`, headers: bearer(OWNER) })).json(),
    ).toMatchObject({
      state: 'revoked',
    })
    const answer = await h.post('/v1/chat/completions', '{"no JSON', as)
    expect(answer.statusCode).toBe(401)
    expect(answer.json().error).toMatchObject({ code: 'unauthenticated', type: 'authentication_error' })
  })
})

describe('what a key is made of', () => {
  it.each([
    [{}, 'name'],
    [{ name: '' }, 'name'],
    [{ name: ' ada' }, 'name'],
    [{ name: 'a\u0007b' }, 'name'],
    [{ name: 'x'.repeat(65) }, 'name'],
    [{ name: 'a', routes: [] }, 'routes'],
    [{ name: 'a', routes: ['root'] }, 'routes[0]'],
    [{ name: 'a', priority: 'system' }, 'priority'],
    [{ name: 'a', requests_per_minute: 0 }, 'requests_per_minute'],
    [{ name: 'a', tokens_per_day: 1.5 }, 'tokens_per_day'],
    [{ name: 'a', localonly: true }, undefined],
  ])('%j is refused', async (body, param) => {
    const answer = await h.post('/mesh/v1/keys', body, bearer(OWNER))
    expect(answer.statusCode).toBe(400)
    if (param !== undefined) expect(answer.json().error.param).toBe(param)
    expect((await h.get('/mesh/v1/keys', bearer(OWNER))).json().data).toEqual([])
  })

  it('is listed without its secret', async () => {
    const { as } = await makeKey('ada', { models: ['tiny*'], local_only: true, tokens_per_day: 9, valid_ms: 5000 })
    const listed = await h.get('/mesh/v1/keys', bearer(OWNER))
    expect(listed.json().data).toMatchObject([
      {
        name: 'ada',
        state: 'good',
        models: ['tiny*'],
        localOnly: true,
        tokensPerDay: 9,
        hint: as['authorization']!.slice(-4),
      },
    ])
    expect(listed.body).not.toContain(as['authorization']!.slice(16, 50))
    await h.clock.advance(5000)
    expect((await h.get('/mesh/v1/keys', bearer(OWNER))).json().data).toMatchObject([{ state: 'expired' }])
  })
})

describe('a task gets of its key', () => {
  it('its tenant, its bounds and no more', async () => {
    const { id, as } = await makeKey('ada', { priority: 'default', local_only: true })
    await chat(as, { stream: true })
    await chat(as, { skein: { priority: 'bulk', local_only: false } })
    expect(h.twin.calls.map(({ request }) => request)).toMatchObject([
      { tenant: id, priority: 'default', localOnly: true },
      { tenant: id, priority: 'bulk', localOnly: true },
    ])
    const refused = await chat(as, { skein: { priority: 'interactive' } })
    expect(refused.statusCode).toBe(403)
    expect(refused.json().error).toMatchObject({ code: 'forbidden', param: 'skein.priority' })
  })

  it('its models, by any name that they have', async () => {
    const { as } = await makeKey('ada', { models: ['org/*'] })
    const { as: other } = await makeKey('bob', { models: ['large*'] })
    // `tiny` is an alias of what is `org/tiny-chat` too
    for (const model of ['tiny', 'org/tiny-chat']) expect((await chat(as, { model })).statusCode).toBe(200)
    for (const model of ['tiny', 'org/tiny-chat', 'unknown']) {
      const refused = await chat(other, { model })
      expect(refused.statusCode).toBe(403)
      expect(refused.json().error).toMatchObject({ code: 'forbidden', type: 'permission_error', param: 'model' })
    }
    const embedded = await h.post('/v1/embeddings', { model: 'tiny', input: 'x' }, other)
    expect(embedded.statusCode).toBe(403)
    expect((await h.get('/v1/models', as)).json().data).toHaveLength(1)
    expect((await h.get('/v1/models', other)).json().data).toEqual([])
    expect((await h.get('/v1/models/tiny', other)).statusCode).toBe(404)
  })
})

describe('rates', () => {
  it('are told with every answer, and refuse with 429', async () => {
    const { as } = await makeKey('ada', { requests_per_minute: 1, tokens_per_minute: 50 })
    const first = await chat(as)
    expect(first.statusCode).toBe(200)
    expect(first.headers).toMatchObject({
      'x-ratelimit-limit-requests': '1',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '1m0s',
      'x-ratelimit-limit-tokens': '50',
      'x-ratelimit-remaining-tokens': '50',
    })
    const second = await h.post('/v1/chat/completions', '{"no JSON', as)
    expect(second.statusCode).toBe(429)
    expect(second.headers).toMatchObject({
      'retry-after': '60',
      'x-ratelimit-remaining-requests': '0',
      'x-should-retry': 'true',
    })
    expect(second.json().error).toMatchObject({ code: 'rate_limited', type: 'rate_limit_error' })
    // looking costs nothing
    expect((await h.get('/v1/models', as)).statusCode).toBe(200)
    await h.clock.advance(60_000)
    expect((await chat(as)).statusCode).toBe(200)
  })
})

describe('what is one key’s', () => {
  const background = { model: 'tiny', input: 'hi', background: true }

  it('no other sees, changes or ends', async () => {
    h.twin.script = saysAndHangs('secret of ada')
    const { as: ada } = await makeKey('ada')
    const { as: bob } = await makeKey('bob')
    const made = await h.post('/v1/responses', background, ada)
    const { id } = made.json() as { id: string }
    const task = String(made.headers['x-skein-task'])
    await turns()
    for (const url of [
      `/v1/responses/${id}`,
      `/v1/responses/${id}?stream=true`,
      `/mesh/v1/tasks/${task}`,
      `/mesh/v1/tasks/${id}/explain`,
    ]) {
      const answer = await h.get(url, bob)
      expect(answer.statusCode, url).toBe(404)
      expect(answer.body).not.toContain('secret')
    }
    for (const url of [`/v1/responses/${id}/cancel`, `/mesh/v1/tasks/${task}/cancel`])
      expect((await h.post(url, '', bob)).statusCode, url).toBe(404)
    const own = await h.get(`/mesh/v1/tasks/${task}`, ada)
    expect(own.json()).toMatchObject({ state: 'running', text: 'secret of ada' })
    expect((await h.get(`/mesh/v1/tasks/${task}`, bearer(OWNER))).statusCode).toBe(200)
    expect((await h.post(`/v1/responses/${id}/cancel`, '', ada)).statusCode).toBe(200)
  })

  it('stands in no list of another', async () => {
    const { as: ada, id } = await makeKey('ada')
    const { as: bob } = await makeKey('bob')
    await h.get('/mesh/v1/tasks', ada)
    await h.get('/mesh/v1/tasks', bob)
    await h.get('/mesh/v1/tasks', bearer(OWNER))
    const asked = h.twin.queries
    expect(asked[0]).toMatchObject({ tenant: id })
    expect(asked[1]?.tenant).not.toBe(id)
    expect(asked[2]).not.toHaveProperty('tenant')
  })

  it('is found by an Idempotency-Key of its own', async () => {
    const { as: ada, id } = await makeKey('ada')
    const { as: bob, id: bobId } = await makeKey('bob')
    for (const as of [ada, bob]) await chat({ ...as, 'idempotency-key': 'same' })
    expect(h.twin.calls.map(({ request }) => request.tenant)).toEqual([id, bobId])
  })
})

describe('usage', () => {
  it('is one’s own, but for an admin', async () => {
    const { as, id } = await makeKey('ada')
    const queries: unknown[] = []
    const { access } = h
    const usage = access.usage.bind(access)
    access.usage = (query) => {
      queries.push(query)
      return usage(query)
    }
    expect((await h.get('/mesh/v1/usage?by=day,key', as)).json()).toEqual({ object: 'list', data: [] })
    await h.get('/mesh/v1/usage', bearer(OWNER))
    expect(queries).toMatchObject([{ tenant: id, by: ['day', 'tenant'] }, { by: ['tenant', 'model'] }])
    expect(queries[1]).not.toHaveProperty('tenant')
  })

  it.each(['by=prompt', 'by=', 'by=key,key', 'since_ms=-1', 'since_ms=x', 'since=1'])(
    '?%s is refused',
    async (query) => {
      expect((await h.get(`/mesh/v1/usage?${query}`, bearer(OWNER))).statusCode).toBe(400)
    },
  )
})
