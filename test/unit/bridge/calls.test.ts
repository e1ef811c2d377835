/** Calls of devices: recorded before they are sent, sent once, and ended in one of five ways. */
import { describe, expect, it } from 'vitest'
import { BRIDGE_DEVICE, SkeinError } from '../../../mesh/protocol/index.ts'
import { callFor, helloOf, house, joined, settled, type House } from './support.ts'

const ends = async ({ store }: House) => {
  const results: { outcome: string; value?: unknown; error?: string }[] = []
  for (let part = await store.next(); part; part = await store.next()) {
    results.push(...part.results.map(({ call: _, atMs: __, ...rest }) => rest))
    await store.recorded(part.seq)
  }
  return results
}
const call = async (made: House, n: number, rest = {}) => {
  made.sessions.calls.call(callFor(made, n, rest))
  await settled()
}

describe('a call', () => {
  it('goes to the device once, and ends with what it did', async () => {
    const made = await joined()
    await call(made, 1)
    await call(made, 1)
    expect(made.heard('a')).toEqual([{ kind: 'cmd', id: 1, c: 'vent', v: true, exp: 10 }])
    await made.say('a', { kind: 'result', id: 1, ok: true, v: true })
    await made.say('a', { kind: 'result', id: 1, ok: true, v: true })
    expect(await ends(made)).toEqual([{ outcome: 'done', value: true }])
    await call(made, 1)
    expect(made.heard('a')).toEqual([])
    expect(made.counts.all()).toMatchObject({ unknown_result: 1 })
  })

  it('names the capability by its index to boards that read CBOR', async () => {
    const made = await joined({ fmt: 'cbor' })
    await call(made, 1, { capability: 'temp', op: 'read', value: undefined })
    expect(made.heard('a')).toEqual([{ kind: 'cmd', id: 1, c: 0, exp: 10 }])
    await made.say('a', { kind: 'result', id: 1, ok: true, v: 21.5 }, 'cbor')
    expect(await ends(made)).toEqual([{ outcome: 'done', value: 21.5 }])
  })

  it('that fails at the device says why', async () => {
    const made = await joined()
    await call(made, 1)
    await made.say('a', { kind: 'result', id: 1, ok: false, e: 'busy' })
    expect(await ends(made)).toEqual([{ outcome: 'failed', error: 'busy' }])
  })

  it.each([
    ['of no device', { device: 'b' }, 'there is no device b'],
    ['of no capability', { capability: 'fog' }, 'unknown_capability'],
    ['of a value that it does not take', { value: 7 }, 'out_of_range'],
    ['of a sensor that is to be set', { capability: 'temp', value: 7 }, 'unknown_capability'],
    ['that is run and no command', { op: 'run' }, 'unknown_capability'],
    ['without a value to set', { value: undefined }, 'out_of_range'],
    ['of an object', { value: { a: 1 } }, 'malformed'],
  ])('%s is refused', async (_name, rest, error) => {
    const made = await joined()
    await call(made, 1, rest)
    expect(made.heard('a')).toEqual([])
    expect(await ends(made)).toEqual([{ outcome: 'refused', error }])
  })

  it('that the owner does not permit is refused', async () => {
    const made = await joined()
    await made.register.setPolicy('a', { act: 'no', read: false })
    await call(made, 1)
    await call(made, 2, { capability: 'temp', op: 'read', value: undefined })
    expect(made.heard('a')).toEqual([])
    const refused = { outcome: 'refused', error: 'not_permitted' }
    expect(await ends(made)).toEqual([refused, refused])
  })

  it('that is not durable is not carried out', async () => {
    const made = await joined()
    made.store.fail(new SkeinError('DISK_FULL', 'full'))
    await call(made, 1)
    expect(made.heard('a')).toEqual([])
    made.store.fail(undefined)
    await call(made, 1)
    expect(made.heard('a')).toMatchObject([{ kind: 'cmd' }])
  })

  it('without a result is unknown when its time is over, and a result that comes late counts for nothing', async () => {
    const made = await joined()
    await call(made, 1)
    await made.clock.advance(11_000)
    expect(await ends(made)).toEqual([{ outcome: 'unknown' }])
    await made.say('a', { kind: 'result', id: 1, ok: true })
    expect(await ends(made)).toEqual([])
  })

  it('that comes too late is expired', async () => {
    const made = await joined()
    await call(made, 1, { expiresAtMs: made.clock.wallMs() - 1 })
    expect(made.heard('a')).toEqual([])
    expect(await ends(made)).toEqual([{ outcome: 'expired' }])
  })

  it('to a link that is not there has failed', async () => {
    const made = await joined()
    made.door.hasLink = false
    await call(made, 1)
    expect(await ends(made)).toEqual([{ outcome: 'failed', error: 'offline' }])
  })
})

describe('for a device that sleeps', () => {
  it('the newest that sets a capability waits, and goes when it wakes', async () => {
    const made = await joined()
    await made.say('a', { kind: 'state', s: 'sleeping', t: 60 })
    const expiresAtMs = made.clock.wallMs() + 600_000
    await call(made, 1, { value: true, expiresAtMs })
    await call(made, 2, { value: false, expiresAtMs })
    await call(made, 3, { capability: 'temp', op: 'read', value: undefined, expiresAtMs })
    expect(made.heard('a')).toEqual([])
    expect(await ends(made)).toEqual([{ outcome: 'expired', error: 'a newer call sets the same' }])
    await made.clock.advance(5000)
    await made.say('a', { kind: 'state', s: 'ready' })
    expect(made.heard('a')).toMatchObject([
      { kind: 'cmd', c: 'vent', v: false, exp: 595 },
      { kind: 'cmd', c: 'temp' },
    ])
  })

  it('what expires first is not carried out', async () => {
    const made = await joined()
    await made.say('a', { kind: 'state', s: 'sleeping', t: 60 })
    await call(made, 1)
    await made.clock.advance(11_000)
    await made.say('a', { kind: 'state', s: 'ready' })
    expect(made.heard('a')).toEqual([])
    expect(await ends(made)).toEqual([{ outcome: 'expired' }])
  })

  it('what is cancelled is not carried out', async () => {
    const made = await joined()
    await made.say('a', { kind: 'state', s: 'sleeping', t: 60 })
    await call(made, 1)
    made.sessions.calls.cancel(callFor(made, 1).call)
    await made.say('a', { kind: 'state', s: 'ready' })
    expect(made.heard('a')).toEqual([])
    expect(await ends(made)).toEqual([{ outcome: 'refused', error: 'cancelled' }])
  })
})

describe('a device', () => {
  it('has two commands in flight, and gets the next one when one has ended', async () => {
    const made = await joined()
    for (const n of [1, 2, 3]) await call(made, n, { capability: 'temp', op: 'read', value: undefined })
    expect(made.heard('a').map((message) => 'id' in message && message.id)).toEqual([1, 2])
    await made.say('a', { kind: 'result', id: 1, ok: true, v: 1 })
    expect(made.heard('a')).toMatchObject([{ kind: 'cmd', id: 3 }])
  })

  it('that began anew has forgotten a command, or not: nobody knows', async () => {
    const made = await joined()
    await call(made, 1)
    await made.say('a', helloOf({ boot: 8 }))
    expect(await ends(made)).toEqual([{ outcome: 'unknown', error: 'the device began anew' }])
    expect(made.heard('a').filter(({ kind }) => kind === 'cmd')).toHaveLength(1)
  })

  it('that lost its link tells in its hello what it has carried out', async () => {
    const made = await joined()
    await call(made, 1)
    await call(made, 2, { capability: 'temp', op: 'read', value: undefined })
    await made.say('a', helloOf({ cmd: 1 }))
    expect(await ends(made)).toEqual([{ outcome: 'done' }])
    await made.say('a', { kind: 'result', id: 2, ok: true, v: 4 })
    expect(await ends(made)).toEqual([{ outcome: 'done', value: 4 }])
  })

  it('that is revoked carries nothing out', async () => {
    const made = await joined()
    await call(made, 1)
    await made.say('a', { kind: 'state', s: 'sleeping', t: 60 })
    await call(made, 2)
    await made.register.revoke('a')
    await settled()
    expect(await ends(made)).toEqual([
      { outcome: 'unknown', error: 'revoked' },
      { outcome: 'refused', error: 'revoked' },
    ])
  })
})

describe('a call to the bridge itself', () => {
  const manage = async (made: House, n: number, capability: string, value: Record<string, unknown> = {}) => {
    await call(made, n, { device: BRIDGE_DEVICE, capability, op: 'run', value })
    return (await ends(made))[0]!
  }

  it('adds, changes and revokes devices', async () => {
    const made = await house([])
    const added = await manage(made, 1, 'add', { name: 'Küche 1' })
    expect(added).toMatchObject({ outcome: 'done', value: { id: 'kuche-1', prefix: 'skein/v1/dev/kuche-1' } })
    const { key, header, password_line: line, psk_line: psk } = added.value as Record<string, string>
    expect(psk).toBe(`kuche-1:${Buffer.from(key!, 'base64url').toString('hex')}`)
    expect(key).toMatch(/^[A-Za-z0-9_-]{22}$/)
    expect(header).toContain(`#define SKEIN_KEY "${key}"`)
    expect(line).toMatch(/^kuche-1:\$7\$101\$[A-Za-z0-9+/=]{16}\$[A-Za-z0-9+/=]{88}$/)
    expect(made.register.isCredential('kuche-1', Buffer.from(key!))).toBe(true)
    expect(made.register.isCredential('kuche-1', Buffer.from('x'.repeat(22)))).toBe(false)
    expect(await manage(made, 2, 'add', { name: 'kuche 1' })).toMatchObject({ outcome: 'refused' })
    expect(await manage(made, 3, 'policy', { id: 'kuche-1', act: 'yes' })).toMatchObject({
      value: { policy: { act: 'yes', read: true } },
    })
    expect(await manage(made, 4, 'revoke', { id: 'kuche-1' })).toMatchObject({ outcome: 'done' })
    expect(await manage(made, 5, 'revoke', { id: 'kuche-1' })).toMatchObject({ outcome: 'refused' })
  })

  it('says how much a device may ask, and takes that back', async () => {
    const made = await house(['a'])
    const policyOf = async (n: number, change: object) =>
      ((await manage(made, n, 'policy', { id: 'a', ...change })).value as { policy: object }).policy
    expect(await policyOf(1, { asks_per_minute: 60, tokens_per_day: 9000 })).toMatchObject({
      ...{ asks_per_minute: 60, tokens_per_day: 9000 },
    })
    const back = await policyOf(2, { asks_per_minute: null })
    expect(back).toMatchObject({ tokens_per_day: 9000 })
    expect(back).not.toHaveProperty('asks_per_minute')
    for (const [at, wrong] of [{ asks_per_minute: 0 }, { asks_per_minute: 1e6 }, { tokens_per_day: 1.5 }].entries())
      expect(await manage(made, 3 + at, 'policy', { id: 'a', ...wrong })).toMatchObject({ outcome: 'refused' })
  })

  it('changes a policy member by member, also when two changes come at once', async () => {
    const { register, store } = await house(['a'])
    await Promise.all([register.setPolicy('a', { ask: false }), register.setPolicy('a', { act: 'no' })])
    expect(register.device('a')!.policy).toMatchObject({ ask: false, act: 'no' })
    expect((await store.devices())[0]!.policy).toMatchObject({ ask: false, act: 'no' })
  })

  it('with what it does not know is refused', async () => {
    const made = await house([])
    expect(await manage(made, 1, 'explode')).toMatchObject({ outcome: 'refused' })
    expect(await manage(made, 2, 'add', { name: '' })).toMatchObject({ outcome: 'refused' })
    expect(await manage(made, 3, 'add', { name: '???' })).toMatchObject({ outcome: 'refused' })
    expect(await manage(made, 4, 'policy', { id: 'a', act: 'perhaps' })).toMatchObject({ outcome: 'refused' })
  })
})
