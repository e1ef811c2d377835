/** Tokens of a provider at a gateway on a real socket, through the official clients, and refusals in each API's shape. */
import Anthropic from '@anthropic-ai/sdk'
import { Ollama } from 'ollama'
import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Access, JwtBook, ownersOf, readJwtSettings } from '../../coordinator/access/index.ts'
import { MemoryLedger } from '../../coordinator/ledger/index.ts'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { LocalProvider, makeKey, type OwnKey } from '../fixtures/jwt-provider.ts'
import { says } from '../fixtures/mesh-service-twin.ts'
import { CHAT, startGateway, type RunningGateway } from './gateway.harness.ts'

let provider: LocalProvider
let key: OwnKey
let access: Access
let running: RunningGateway
const clock = new ManualClock()

beforeAll(async () => {
  key = await makeKey('ES256', 'one')
  provider = await LocalProvider.start([key])
  const settings = `[[provider]]
name = "home"
issuer = "${provider.issuer}"
audience = "skein"
[provider.claims]
models = "models"
requests_per_minute = "rpm"
tokens_per_day = "tpd"
[provider.scopes]
inference = "use"
admin = "rule"
`
  const store = new MemoryLedger({ clock: new SystemClock() }, { commitMs: 0 })
  const jwt = new JwtBook({ clock, log: silentLogger }, readJwtSettings(settings, 'jwt.toml'))
  access = new Access({ clock, random: new SeededRandom(1), store, jwt }, ownersOf('sk-owner'))
  await access.start()
  running = await startGateway({ access })
})
beforeEach(() => {
  running.twin.calls.length = 0
  running.twin.script = says('the answer')
})
afterAll(async () => {
  await running.gateway.stop()
  await provider.stop()
})

const token = (claims: object = {}): Promise<string> => provider.sign(key, clock, { scope: 'use', ...claims })
const ask = (path: string, headers: Record<string, string>, body?: unknown): Promise<Response> =>
  fetch(running.gateway.url + path, {
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    headers: { 'content-type': 'application/json', ...headers },
  })
const bearer = (text: string): Record<string, string> => ({ authorization: `Bearer ${text}` })

describe('a token', () => {
  it('is a key to the official clients of all APIs, and its tenant the same in each', async () => {
    const apiKey = await token()
    const { url } = running.gateway
    const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 })
    expect((await openai.chat.completions.create(CHAT)).choices[0]?.message.content).toBe('the answer')
    const anthropic = new Anthropic({ baseURL: url, apiKey, maxRetries: 0 })
    await anthropic.messages.create({ ...CHAT, max_tokens: 9 })
    await new Ollama({ host: url, headers: bearer(apiKey) }).chat({ ...CHAT, stream: false })
    const tenants = running.twin.calls.map(({ request }) => request.tenant)
    expect(tenants).toHaveLength(3)
    expect(new Set(tenants).size).toBe(1)
    expect(tenants[0]).toMatch(/^jwt:home:/)
  })

  it('sees nothing of another subject, and rules where its scopes say so', async () => {
    const [ada, bob] = [bearer(await token()), bearer(await token({ sub: 'bob' }))]
    const made = (await (await ask('/v1/responses', ada, { model: 'tiny', input: 'hi' })).json()) as { id: string }
    expect((await ask(`/v1/responses/${made.id}`, ada)).status).toBe(200)
    expect((await ask(`/v1/responses/${made.id}`, bob)).status).toBe(404)
    expect((await ask('/mesh/v1/keys', ada)).status).toBe(403)
    expect((await ask('/mesh/v1/keys', bearer(await token({ scope: 'rule' })))).status).toBe(200)
    expect((await ask(`/v1/responses/${made.id}`, bearer(await token({ scope: 'openid' })))).status).toBe(403)
  })

  it('that ends does not end the answer that it was shown for', async () => {
    const shown = await token()
    running.twin.script = async function* (...call) {
      await clock.advance(400_000)
      yield* says('the answer')(...call)
    }
    const answer = await ask('/v1/chat/completions', bearer(shown), { ...CHAT, stream: true })
    expect(await answer.text()).toContain('[DONE]')
    expect((await ask('/v1/models', bearer(shown))).status).toBe(401)
  })
})

/** What each API has for a refusal, by status. */
const SHAPES: readonly [string, string, object, Record<string, string>, (type: string, code: string) => object][] = [
  ['OpenAI', '/v1/chat/completions', CHAT, {}, (type, code) => ({ error: { type, code } })],
  [
    'Anthropic',
    '/v1/messages',
    { ...CHAT, max_tokens: 9 },
    { 'anthropic-version': '2023-06-01' },
    (type, code) => ({ type: 'error', error: { type, details: { error_code: code } } }),
  ],
  ['Ollama', '/api/chat', CHAT, {}, () => ({ error: expect.any(String) as string })],
]

describe.each(SHAPES)('%s', (_name, path, body, headers, shape) => {
  const refused = async (as: Record<string, string>): Promise<{ answer: Response; told: unknown }> => {
    const answer = await ask(path, { ...headers, ...as }, body)
    return { answer, told: await answer.json() }
  }

  it('has 401 for who shows nothing, and for a forged token', async () => {
    const none = await refused({})
    expect(none.answer.status).toBe(401)
    expect(none.answer.headers.get('www-authenticate')).toBe('Bearer')
    const good = await token()
    for (const forged of [
      `${good.slice(0, -8)}AAAAAAAA`,
      `eyJhbGciOiJub25lIn0.${good.split('.')[1]}.`,
      'sk-skein-no',
    ]) {
      const { answer, told } = await refused(bearer(forged))
      expect(answer.status).toBe(401)
      expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"')
      expect(answer.headers.get('x-should-retry')).toBe('false')
      expect(told).toMatchObject(shape('authentication_error', 'unauthenticated'))
    }
    expect(running.twin.calls).toEqual([])
  })

  it('has 403 for a model that the token is not for', async () => {
    const { answer, told } = await refused(bearer(await token({ models: 'other*' })))
    expect(answer.status).toBe(403)
    expect(told).toMatchObject(shape('permission_error', 'forbidden'))
  })

  it('has 429 for one that has had its share', async () => {
    const as = bearer(await token({ sub: `busy ${path}`, rpm: 1 }))
    await (await ask(path, { ...headers, ...as }, { ...body, stream: false })).text()
    const { answer, told } = await refused(as)
    expect(answer.status).toBe(429)
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(told).toMatchObject(shape('rate_limit_error', 'rate_limited'))
  })

  it('has 503 when its provider cannot be asked', async () => {
    provider.answers = { '/realm/jwks': { status: 500 } }
    await clock.advance(LIMITS.jwtKeysCooldownMs)
    const { answer } = await refused(bearer(await provider.sign({ ...key, kid: 'unknown' }, clock)))
    provider.answers = {}
    expect(answer.status).toBe(503)
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  })
})
