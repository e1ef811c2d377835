import { beforeEach, describe, expect, it } from 'vitest'
import { Access, ownersOf, type KeyGrant, type KeyRequest } from '../../../coordinator/access/index.ts'
import { matchesModel } from '../../../coordinator/access/keys.ts'
import { MemoryLedger } from '../../../coordinator/ledger/index.ts'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, SystemClock } from '../../../mesh/runtime/index.ts'

const GRANT: KeyGrant = { routes: ['inference'], models: ['*'], priority: 'default', localOnly: false }
const request = (name: string, more: Partial<KeyGrant> = {}): KeyRequest => ({ name, grant: { ...GRANT, ...more } })

let ledger: MemoryLedger
let clock: ManualClock
let access: Access
/** As after a start of the coordinator. */
const open = async (apiKey?: string): Promise<Access> => {
  access = new Access({ clock, random: new SeededRandom(clock.nowMs()), store: ledger }, ownersOf(apiKey, 'own'))
  await access.start()
  return access
}
const restart = async (apiKey?: string): Promise<Access> => {
  ledger = ledger.reopen()
  // another seed
  await clock.advance(1)
  return open(apiKey)
}
beforeEach(async () => {
  // commits in real time, so that nothing waits for hand-moved time
  ledger = new MemoryLedger({ clock: new SystemClock() }, { commitMs: 0 })
  clock = new ManualClock()
  await open()
})
const codeOf = (ask: () => unknown): unknown => {
  try {
    ask()
    return 'none'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('without a key of the coordinator', () => {
  it('whoever asks is the owner, also with some key that clients insist on', () => {
    for (const secret of [undefined, 'ollama', 'sk-whatever', 'own'])
      expect(access.identify(secret)).toMatchObject({ tenant: 'local', isAdmin: true })
  })

  it('keys are asked for once there has been one, except of commands of this machine', async () => {
    const { key, secret } = await access.add(request('ada'))
    expect(codeOf(() => access.identify(undefined))).toBe('UNAUTHENTICATED')
    expect(codeOf(() => access.identify('ollama'))).toBe('UNAUTHENTICATED')
    expect(access.identify('own')).toMatchObject({ tenant: 'local', isAdmin: true })
    expect(access.identify(secret)).toMatchObject({ tenant: key.id, isAdmin: false })
    await access.revoke('ada')
    for (const lost of [undefined, secret]) expect(codeOf(() => access.identify(lost))).toBe('UNAUTHENTICATED')
    await restart()
    for (const lost of [undefined, secret]) expect(codeOf(() => access.identify(lost))).toBe('UNAUTHENTICATED')
  })
})

describe('with a key of the coordinator', () => {
  it('nobody gets in without it or one of the clients', async () => {
    await open('sk-owner')
    for (const secret of [undefined, '', 'own', 'sk-owner ', 'sk-Owner'])
      expect(codeOf(() => access.identify(secret))).toBe('UNAUTHENTICATED')
    const owner = access.identify('sk-owner')
    expect(owner).toMatchObject({ isAdmin: true })
    expect(owner.tenant).toMatch(/^key:[0-9a-f]{12}$/)
  })

  it.each(['', 'two words', 'schlüssel', 'x'.repeat(513)])('%j cannot be one', (apiKey) => {
    expect(() => new Access({ clock, random: new SeededRandom(1), store: ledger }, ownersOf(apiKey))).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    )
  })
})

describe('keys', () => {
  it('are there after a restart, and their secrets are nowhere', async () => {
    const issued = [await access.add(request('ada')), await access.add(request('bob', { routes: ['admin'] }))]
    const before = access.keys()
    await restart()
    expect(access.keys()).toEqual(before)
    for (const { key, secret } of issued) {
      expect(access.identify(secret)).toMatchObject({ tenant: key.id, isAdmin: key.name === 'bob' })
      // 256 bits
      expect(secret).toMatch(/^sk-skein-[A-Za-z0-9_-]{43}$/)
      expect(JSON.stringify([await ledger.accessEvents(), access.keys()])).not.toContain(secret.slice(9, -4))
    }
  })

  it('that were made durable and could not be told are found by their name', async () => {
    void access.add(request('ada'))
    // the process ends between the write and the telling of it
    while ((await ledger.accessEvents()).length === 0) await new Promise((resolve) => setImmediate(resolve))
    await restart()
    await expect(access.add(request('ada'))).rejects.toMatchObject({ code: 'KEY_NAME_TAKEN' })
    const { secret } = await access.rotate('ada', 0)
    expect(access.identify(secret).tenant).toBe(access.keys()[0]!.id)
  })

  it('are told only when they are durable', async () => {
    ledger.failWrites('the disk is full')
    await expect(access.add(request('ada'))).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
    expect(access.keys()).toEqual([])
    expect(access.identify(undefined)).toMatchObject({ isAdmin: true })
    ledger.failWrites(undefined)
    await access.add(request('ada'))
    ledger.failWrites('the disk is full')
    await expect(access.revoke('ada')).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
    expect(access.keys()).toMatchObject([{ name: 'ada' }])
    expect(access.keys()[0]).not.toHaveProperty('revokedAtMs')
  })

  it('have one name each, also when two are made at once', async () => {
    const made = await Promise.allSettled([access.add(request('ada')), access.add(request('ada'))])
    expect(made.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    await access.revoke('ada')
    await access.add(request('ada'))
    expect(access.keys().map(({ name }) => name)).toEqual(['ada', 'ada'])
  })

  it('that are rotated have two secrets for a while', async () => {
    const { key, secret: old } = await access.add(request('ada'))
    const { secret } = await access.rotate('ada', 1000)
    await clock.advance(999)
    for (const each of [old, secret]) expect(access.identify(each).tenant).toBe(key.id)
    await clock.advance(1)
    expect(codeOf(() => access.identify(old))).toBe('UNAUTHENTICATED')
    expect(access.identify(secret).tenant).toBe(key.id)
    // the grace that is left of one is not made longer by the next rotation
    await access.rotate(key.id, 1000)
    const { secret: newest } = await access.rotate(key.id, 5000)
    await clock.advance(1000)
    expect(codeOf(() => access.identify(secret))).toBe('UNAUTHENTICATED')
    await restart()
    expect(access.identify(newest).tenant).toBe(key.id)
  })

  it('end at their time', async () => {
    const { secret } = await access.add({ ...request('ada'), expiresAtMs: clock.wallMs() + 1000 })
    expect(codeOf(() => access.identify(secret))).toBe('none')
    await clock.advance(1000)
    expect(codeOf(() => access.identify(secret))).toBe('UNAUTHENTICATED')
    await access.add(request('ada'))
    await expect(access.add({ ...request('late'), expiresAtMs: clock.wallMs() })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
    })
  })

  it('are of a bounded number', async () => {
    const names = Array.from({ length: LIMITS.apiKeysMax }, (_, index) => `key ${index}`)
    const secret = { digest: '', hint: '' }
    const recorded = names.map((name) => ({ type: 'key.made', atMs: 0, id: name, name, grant: GRANT, secret }) as const)
    await Promise.all(recorded.map((event) => ledger.recordAccess(event)))
    await restart()
    await expect(access.add(request('one more'))).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    await access.revoke('key 7')
    await access.add(request('one more'))
  })

  it('that there are not are neither rotated nor revoked', async () => {
    await expect(access.rotate('ada', 0)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await access.add(request('ada'))
    await access.revoke('ada')
    await expect(access.revoke('ada')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})

describe('rates', () => {
  it('are of each key, and the owner has none', async () => {
    const ada = access.identify((await access.add(request('ada', { requestsPerMinute: 1 }))).secret)
    const bob = access.identify((await access.add(request('bob', { requestsPerMinute: 1 }))).secret)
    access.admit(ada)
    expect(codeOf(() => access.admit(ada))).toBe('RATE_LIMITED')
    access.admit(bob)
    for (let i = 0; i < 100; i++) access.admit(access.identify('own'))
    expect(access.limitsOf(ada)).toEqual({ requests: { limit: 1, remaining: 0, resetMs: 60_000 } })
    expect(access.limitsOf(access.identify('own'))).toEqual({})
  })

  it('say when to come again', async () => {
    const ada = access.identify((await access.add(request('ada', { requestsPerMinute: 1 }))).secret)
    access.admit(ada)
    expect(() => access.admit(ada)).toThrow(expect.objectContaining({ retryAfterSeconds: 60 }))
  })

  it('of tokens hold over a restart, from what the ledger has of the day', async () => {
    const { key, secret } = await access.add(request('ada', { tokensPerDay: 100, tokensPerMinute: 1000 }))
    access.admit(access.identify(secret))
    access.charge(key.id, 60)
    const usage = {
      tenant: key.id,
      model: 'minilm',
      kind: 'embed',
      state: 'completed',
      attempts: 1,
      tookMs: 1,
      promptTokens: 60,
      cachedTokens: 0,
      completionTokens: 0,
    } as const
    const taskId = 'task_aaaaaaaaaaaaaaaaaaaaaaaa' as never
    await ledger.append([{ type: 'work.ended', atMs: clock.wallMs(), taskId, usage }])
    await restart()
    const again = access.identify(secret)
    expect(access.limitsOf(again)).toMatchObject({ 'tokens-day': { remaining: 40 } })
    access.admit(again)
    access.charge(key.id, 40)
    expect(codeOf(() => access.admit(again))).toBe('QUOTA_EXCEEDED')
  })
})

describe('patterns of models', () => {
  it.each([
    ['*', 'anything', true],
    ['tiny', 'tiny', true],
    ['tiny', 'tiny2', false],
    ['tiny*', 'tiny-chat', true],
    ['*chat', 'org/tiny-chat', true],
    ['org/*-chat', 'org/tiny-chat', true],
    ['org/*-chat', 'org/-chat', true],
    ['a*a', 'a', false],
    ['a*b*c', 'a1b2c', true],
    ['a*b*c', 'acb', false],
    ['t.ny', 'tiny', false],
    ['', '', true],
    ['**', '', true],
  ])('%j and %j: %s', (pattern, name, fits) => {
    expect(matchesModel([pattern], [name])).toBe(fits)
  })

  it('take little time, whatever they are', () => {
    expect(matchesModel([`${'a*'.repeat(120)}b`], ['a'.repeat(250)])).toBe(false)
  })
})
