/** Tokens of a real local provider, with real signatures, and what people forge. */
import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Access, JwtBook, ownersOf, readJwtSettings, type KeyGrant } from '../../../coordinator/access/index.ts'
import { MemoryLedger } from '../../../coordinator/ledger/index.ts'
import { LIMITS, type TaskId } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger, SystemClock } from '../../../mesh/runtime/index.ts'
import { LocalProvider, makeKey, type OwnKey, type Signing } from '../../fixtures/jwt-provider.ts'

let provider: LocalProvider
let other: LocalProvider
const keys = {} as Record<Signing, OwnKey>
let stranger: OwnKey
let clock: ManualClock
let book: JwtBook

const settings = (more = '', of = provider, name = 'home'): string =>
  `[[provider]]\nname = "${name}"\nissuer = "${of.issuer}"\naudience = "skein"\njwks = "${of.jwks}"\n${more}\n`
const open = (text = settings()): JwtBook => {
  book = new JwtBook({ clock, log: silentLogger }, readJwtSettings(text, 'jwt.toml'))
  return book
}
const refusal = (token: string): Promise<{ code: string; message: string; retryAfterSeconds?: number }> =>
  book.identify(token).then(
    () => ({ code: 'none', message: 'the token was taken' }),
    (error: unknown) => error as { code: string; message: string },
  )
const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

beforeAll(async () => {
  for (const alg of ['EdDSA', 'ES256', 'RS256'] as const) keys[alg] = await makeKey(alg, alg.toLowerCase())
  stranger = await makeKey('EdDSA', 'eddsa')
  provider = await LocalProvider.start(Object.values(keys))
  other = await LocalProvider.start([stranger])
})
afterAll(async () => {
  await provider.stop()
  await other.stop()
})
beforeEach(() => {
  clock = new ManualClock()
  provider.asked.length = 0
  provider.answers = {}
  provider.keys = Object.values(keys)
  open()
})

describe('a good token', () => {
  it.each(['EdDSA', 'ES256', 'RS256'] as const)('signed with %s is its tenant', async (alg) => {
    const caller = await book.identify(await provider.sign(keys[alg], clock))
    expect(caller.tenant).toMatch(/^jwt:home:[0-9a-f]{24}$/)
    expect(caller.grant).toEqual({ routes: ['inference'], models: ['*'], priority: 'default', localOnly: false })
  })

  it.each([{ typ: 'JWT' }, { typ: 'at+jwt' }, { typ: 'application/at+JWT' }, {}])(
    'may have the header %j',
    async (header) => {
      await expect(book.identify(await provider.sign(keys.EdDSA, clock, {}, header))).resolves.toBeDefined()
    },
  )

  it('needs the keys of its provider once', async () => {
    for (let i = 0; i < 5; i++) await book.identify(await provider.sign(keys.ES256, clock, { jti: String(i) }))
    expect(provider.asked).toEqual(['/realm/jwks'])
  })

  it('is taken by keys that discovery leads to', async () => {
    open(settings().replace(/jwks = .*\n/, ''))
    await book.identify(await provider.sign(keys.EdDSA, clock))
    expect(provider.asked).toEqual(['/realm/.well-known/openid-configuration', '/realm/jwks'])
  })

  it('has a leeway at both of its ends', async () => {
    const now = Math.floor(clock.wallMs() / 1000)
    for (const claims of [{ exp: now - 29 }, { nbf: now + 30 }])
      await expect(book.identify(await provider.sign(keys.EdDSA, clock, claims))).resolves.toBeDefined()
  })
})

describe('a token is refused', () => {
  const now = (): number => Math.floor(clock.wallMs() / 1000)
  it.each<[string, () => Promise<string> | string]>([
    ['that has expired', () => provider.sign(keys.EdDSA, clock, { exp: now() - 31 })],
    ['that never expires', () => provider.sign(keys.EdDSA, clock, { exp: undefined })],
    ['that is not good yet', () => provider.sign(keys.EdDSA, clock, { nbf: now() + 32 })],
    ['for another audience', () => provider.sign(keys.EdDSA, clock, { aud: ['mail', 'skein2'] })],
    ['for no audience', () => provider.sign(keys.EdDSA, clock, { aud: undefined })],
    ['of another issuer', () => provider.sign(keys.EdDSA, clock, { iss: `${provider.issuer}/` })],
    ['of no issuer', () => provider.sign(keys.EdDSA, clock, { iss: undefined })],
    ['of nobody', () => provider.sign(keys.EdDSA, clock, { sub: undefined })],
    ['of an empty subject', () => provider.sign(keys.EdDSA, clock, { sub: '' })],
    ['of another type', () => provider.sign(keys.EdDSA, clock, {}, { typ: 'logout+jwt' })],
    ['signed by a stranger under a known key id', () => provider.sign(stranger, clock)],
    ['of another provider, under this name', () => provider.sign({ ...stranger, kid: 'x' }, clock)],
    ['that brings its own key', () => provider.sign({ ...stranger, kid: 'mine' }, clock, {}, { jwk: stranger.jwk })],
    ['that names where its key is', () => provider.sign({ ...stranger, kid: 'mine' }, clock, {}, { jku: other.jwks })],
    ['with a key of another algorithm', () => provider.sign({ ...stranger, kid: 'rs256' }, clock)],
    [
      'with crit that is not known',
      async () => {
        const [, payload] = (await provider.sign(keys.EdDSA, clock)).split('.')
        return `${encoded({ alg: 'EdDSA', kid: 'eddsa', crit: ['exp'] })}.${payload}.AAAA`
      },
    ],
    [
      'with alg none',
      async () => {
        const [, payload] = (await provider.sign(keys.EdDSA, clock)).split('.')
        return `${encoded({ alg: 'none' })}.${payload}.`
      },
    ],
    [
      'with the public key as a shared secret',
      async () => {
        const [, payload] = (await provider.sign(keys.RS256, clock)).split('.')
        const head = `${encoded({ alg: 'HS256', kid: 'rs256' })}.${payload}`
        const pem = keys.RS256.publicKey.export({ type: 'spki', format: 'pem' })
        return `${head}.${createHmac('sha256', pem).update(head).digest('base64url')}`
      },
    ],
    [
      'whose claims were changed',
      async () => {
        const [head, , signature] = (await provider.sign(keys.EdDSA, clock)).split('.')
        return `${head}.${encoded({ iss: provider.issuer, aud: 'skein', sub: 'eve', exp: now() + 300 })}.${signature}`
      },
    ],
    ['that is huge', () => provider.sign(keys.EdDSA, clock, { pad: 'x'.repeat(LIMITS.jwtLengthMax) })],
    ['that is noise', () => 'eyJhbGciOiJFZERTQSJ9.bm90IGpzb24.AAAA'],
  ])('%s', async (_what, make) => {
    const token = await make()
    const { code, message } = await refusal(token)
    expect(code, message).toBe('UNAUTHENTICATED')
    for (const part of token.split('.')) if (part !== '') expect(message).not.toContain(part)
  })

  it('with an algorithm that its provider does not use', async () => {
    open(settings('algorithms = ["ES256"]'))
    expect(await refusal(await provider.sign(keys.EdDSA, clock))).toMatchObject({ code: 'UNAUTHENTICATED' })
    await book.identify(await provider.sign(keys.ES256, clock))
  })

  it('without a key id where several keys fit', async () => {
    provider.keys = [keys.EdDSA, await makeKey('EdDSA', 'second')]
    expect(await refusal(await provider.sign(keys.EdDSA, clock, {}, { kid: undefined }))).toMatchObject({
      message: expect.stringContaining('several') as string,
    })
  })
})

describe('the provider', () => {
  it('is asked once in a cooldown, however many key ids are invented', async () => {
    await book.identify(await provider.sign(keys.EdDSA, clock))
    const storm = async (): Promise<void> => {
      const tokens = await Promise.all(
        Array.from({ length: 40 }, (_, i) => provider.sign({ ...stranger, kid: `k${i}` }, clock)),
      )
      for (const answer of await Promise.all(tokens.map(refusal))) expect(answer.code).toBe('UNAUTHENTICATED')
    }
    await storm()
    expect(provider.asked).toHaveLength(1)
    await clock.advance(LIMITS.jwtKeysCooldownMs)
    await storm()
    await storm()
    expect(provider.asked).toHaveLength(2)
    // who has a good one is let in meanwhile
    await book.identify(await provider.sign(keys.RS256, clock))
  })

  it('may change its keys', async () => {
    await book.identify(await provider.sign(keys.EdDSA, clock))
    const next = await makeKey('ES256', 'next')
    provider.keys = [next]
    await clock.advance(LIMITS.jwtKeysCooldownMs)
    await book.identify(await provider.sign(next, clock))
    expect(await refusal(await provider.sign(keys.EdDSA, clock))).toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  it('that has gone: its known keys serve on for a while, others are told to wait', async () => {
    await book.identify(await provider.sign(keys.EdDSA, clock))
    provider.answers = { '/realm/jwks': { status: 503 } }
    await clock.advance(LIMITS.jwtKeysStaleMs - 1)
    await book.identify(await provider.sign(keys.EdDSA, clock))
    const unknown = await refusal(await provider.sign({ ...stranger, kid: 'new' }, clock))
    expect(unknown).toMatchObject({ code: 'PROVIDER_UNREACHABLE', retryAfterSeconds: LIMITS.jwtKeysCooldownMs / 1000 })
    await clock.advance(1)
    expect(await refusal(await provider.sign(keys.EdDSA, clock))).toMatchObject({ code: 'PROVIDER_UNREACHABLE' })
    provider.answers = {}
    await clock.advance(LIMITS.jwtKeysCooldownMs)
    await book.identify(await provider.sign(keys.EdDSA, clock))
  })

  it('is asked behind the back of who has a known key', async () => {
    await book.identify(await provider.sign(keys.EdDSA, clock))
    await clock.advance(LIMITS.jwtKeysFreshMs)
    await book.identify(await provider.sign(keys.EdDSA, clock))
    await book.warm()
    expect(provider.asked).toHaveLength(2)
  })

  it.each<[string, LocalProvider['answers']]>([
    ['leads elsewhere', { '/realm/jwks': { status: 302, location: '/realm/moved/jwks' } }],
    ['says no JSON', { '/realm/jwks': { body: 'no' } }],
    ['says no keys', { '/realm/jwks': { body: '{"keys": 5}' } }],
    [
      'says too much',
      { '/realm/jwks': { body: JSON.stringify({ keys: [], pad: 'x'.repeat(LIMITS.jwtKeysBytesMax) }) } },
    ],
    [
      'has too many keys',
      { '/realm/jwks': { body: JSON.stringify({ keys: Array(LIMITS.jwtKeysMax + 1).fill({ kty: 'OKP' }) }) } },
    ],
  ])('that %s cannot be asked', async (_what, answers) => {
    provider.answers = answers
    expect(await refusal(await provider.sign(keys.EdDSA, clock))).toMatchObject({ code: 'PROVIDER_UNREACHABLE' })
  })

  it('describes itself and no other', async () => {
    open(settings().replace(/jwks = .*\n/, ''))
    const body = JSON.stringify({ issuer: other.issuer, jwks_uri: provider.jwks })
    provider.answers = { '/realm/.well-known/openid-configuration': { body } }
    expect(await refusal(await provider.sign(keys.EdDSA, clock))).toMatchObject({ code: 'PROVIDER_UNREACHABLE' })
    expect(provider.asked).not.toContain('/realm/jwks')
  })
})

describe('what a token may', () => {
  const grantOf = async (text: string, claims: object): Promise<KeyGrant> => {
    open(text)
    return (await book.identify(await provider.sign(keys.EdDSA, clock, { ...claims }))).grant
  }
  const CLAIMS = `
[provider.claims]
tenant = "user.id"
models = "https://skein/models"
priority = "prio"
local_only = "home"
devices = "devs"
requests_per_minute = "rpm"
tokens_per_minute = "tpm"
tokens_per_day = "tpd"
[provider.grant]
routes = ["inference", "mesh"]
priority = "bulk"
requests_per_minute = 5`

  it('is what its settings give to all, and what its claims say beside', async () => {
    const user = { user: { id: 'u1' } }
    const all = {
      routes: ['inference', 'mesh'],
      models: ['*'],
      priority: 'bulk',
      localOnly: false,
      requestsPerMinute: 5,
    }
    expect(await grantOf(settings(CLAIMS), user)).toEqual(all)
    const said = { 'https://skein/models': 'tiny* big', prio: 'interactive', home: true, rpm: 9, tpm: 10, tpd: 11 }
    expect(await grantOf(settings(CLAIMS), { ...user, ...said, devs: 'read' })).toEqual({
      ...all,
      devices: 'read',
      models: ['tiny*', 'big'],
      priority: 'interactive',
      localOnly: true,
      requestsPerMinute: 9,
      tokensPerMinute: 10,
      tokensPerDay: 11,
    })
  })

  it.each([
    { 'https://skein/models': 7 },
    { 'https://skein/models': [''] },
    { 'https://skein/models': Array(LIMITS.apiKeyModelsMax + 1).fill('m') },
    { prio: 'system' },
    { home: 'yes' },
    { devs: 'all' },
    { devs: ['act'] },
    { rpm: 0 },
    { tpd: '100' },
    { user: { id: 5 } },
  ])('cannot be said as %j', async (claims) => {
    open(settings(CLAIMS))
    const token = await provider.sign(keys.EdDSA, clock, { user: { id: 'u1' }, ...claims })
    expect(await refusal(token)).toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  it.each([
    ['skein.use', ['inference']],
    ['openid skein.admin  skein.use', ['inference', 'admin']],
    [['skein.use'], ['inference']],
    ['openid', []],
    [undefined, []],
  ])('by scopes: %j', async (scope, routes) => {
    const text = settings('[provider.scopes]\ninference = "skein.use"\nadmin = "skein.admin"')
    expect((await grantOf(text, { scope })).routes).toEqual(routes)
  })

  it('is nothing of devices, unless its settings or its claims say so', async () => {
    expect(
      await grantOf(settings('[provider.claims]\ntenant = "user.id"'), { user: { id: 'u1' }, devs: 'act' }),
    ).not.toHaveProperty('devices')
    const text = settings('[provider.claims]\ndevices = "devs"\n[provider.grant]\ndevices = "act"')
    expect(await grantOf(text, {})).toMatchObject({ devices: 'act' })
    expect(await grantOf(text, { devs: 'none' })).toMatchObject({ devices: 'none' })
    expect(() => open(settings('[provider.grant]\ndevices = "all"'))).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    )
  })

  it('leaves the house only where its settings let it', async () => {
    const text = settings(
      '[provider.claims]\nlocal_only = "home"\n[provider.grant]\nlocal_only = true\nno_cache = true',
    )
    expect(await grantOf(text, { home: false })).toMatchObject({ localOnly: true, noCache: true })
  })

  it('is nothing without what is required', async () => {
    open(settings('require = { hd = "example.org", groups = ["family", "guests"], email_verified = true }'))
    const good = { hd: 'example.org', groups: ['work', 'guests'], email_verified: true }
    await book.identify(await provider.sign(keys.EdDSA, clock, good))
    for (const bad of [{ hd: 'example.com' }, { groups: ['work'] }, { email_verified: 'true' }, { hd: undefined }])
      expect(await refusal(await provider.sign(keys.EdDSA, clock, { ...good, ...bad }))).toMatchObject({
        code: 'UNAUTHENTICATED',
      })
  })
})

describe('tenants', () => {
  it('of two providers never meet', async () => {
    open(settings() + settings('', other, 'away'))
    const ours = await book.identify(await provider.sign(keys.EdDSA, clock))
    const theirs = await book.identify(await other.sign(stranger, clock))
    expect(ours.tenant.slice(-24)).not.toBe(theirs.tenant.slice(-24))
    // nor do those of one name, when it is given to another provider
    open(settings('', other))
    expect((await book.identify(await other.sign(stranger, clock))).tenant).not.toBe(ours.tenant)
  })
})

describe('settings', () => {
  it.each([
    ['', 'provider'],
    ['provider = 5', 'provider'],
    [() => settings('aud = "x"'), 'provider'],
    [() => settings('algorithms = ["HS256"]'), 'algorithms'],
    [() => settings('leeway_s = 301'), 'leeway_s'],
    [() => settings('[provider.grant]\nlocalonly = true'), 'grant'],
    [() => settings().replace('http://127.0.0.1', 'http://192.0.2.1'), 'https'],
    [() => settings().replace('audience = "skein"', ''), 'audience'],
    [() => settings() + settings(), 'same name'],
    [() => settings() + settings('', provider, 'two'), 'same issuer'],
    ['[[provider', 'line 1'],
  ])('%s is refused', (text, named) => {
    const read = (): unknown => readJwtSettings(typeof text === 'string' ? text : text(), 'jwt.toml')
    expect(read).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    expect(read).toThrow(new RegExp(named))
  })
})

describe('beside keys', () => {
  it('rates of a token hold over a restart, and are of its tenant', async () => {
    const ledger = new MemoryLedger({ clock: new SystemClock() }, { commitMs: 0 })
    await clock.advance(10 * 86_400_000)
    const jwt = open(settings('[provider.grant]\ntokens_per_day = 100'))
    const restart = async (): Promise<Access> => {
      const access = new Access({ clock, random: new SeededRandom(1), store: ledger, jwt }, ownersOf(undefined, 'own'))
      await access.start()
      return access
    }
    let access = await restart()
    const caller = await access.callerOf(await provider.sign(keys.EdDSA, clock))
    access.admit(caller)
    access.charge(caller.tenant, 60)
    expect(access.limitsOf(caller)['tokens-day']).toMatchObject({ remaining: 40 })
    const usage = {
      ...({ tenant: caller.tenant, model: 'm', kind: 'embed', state: 'completed', attempts: 1, tookMs: 1 } as const),
      ...{ promptTokens: 50, cachedTokens: 0, completionTokens: 30 },
    }
    const taskId = 'task_aaaaaaaaaaaaaaaaaaaaaaaa' as TaskId
    await ledger.append([{ type: 'work.ended', atMs: clock.wallMs(), taskId, usage }])
    access = await restart()
    const again = await access.callerOf(await provider.sign(keys.ES256, clock))
    expect(again.tenant).toBe(caller.tenant)
    access.admit(again)
    expect(access.limitsOf(again)['tokens-day']).toMatchObject({ remaining: 20 })
    access.charge(again.tenant, 20)
    expect(() => access.admit(again)).toThrow(expect.objectContaining({ code: 'QUOTA_EXCEEDED' }))
    const stranger = await access.callerOf(await provider.sign(keys.ES256, clock, { sub: 'bob' }))
    expect(access.limitsOf(stranger)['tokens-day']).toMatchObject({ remaining: 100 })
  })

  it('nobody gets in without either', async () => {
    const ledger = new MemoryLedger({ clock: new SystemClock() }, { commitMs: 0 })
    const access = new Access(
      { clock, random: new SeededRandom(1), store: ledger, jwt: open() },
      ownersOf(undefined, 'own'),
    )
    await access.start()
    for (const secret of [undefined, 'ollama', 'a.b.c']) {
      const ask = async (): Promise<unknown> => access.callerOf(secret)
      await expect(ask()).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    }
    expect(access.callerOf('own')).toMatchObject({ isAdmin: true })
    const { secret } = await access.add({
      name: 'ada',
      grant: { routes: ['inference'], models: ['*'], priority: 'bulk', localOnly: false },
    })
    expect(access.callerOf(secret)).toMatchObject({ isAdmin: false })
  })
})
