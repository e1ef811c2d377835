/** Devices that repeat themselves, come in the wrong order, or begin anew in the middle of something. */
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { sessionOf, startDesk, type AskBench } from '../bridge-asks/support.ts'
import { callFor, framed, helloOf, house, joined } from './support.ts'

const tele = (n: number) => ({ kind: 'tele', n, a: true, r: [['temp', 20]] }) as const
const caps = { kind: 'caps', i: 0, c: ['rf:temp:C', 'wb:vent'] } as const
/** Hellos of one device that are taken at once. */
const HELLOS = 10

describe('a device that says hello again and again', () => {
  it('is heard a few times, counted, and harms no other', async () => {
    const { say, heard, counts, store } = await house(['a', 'b'])
    for (let n = 0; n < 100; n++) await say('a', helloOf())
    expect(heard('a').map(({ kind }) => kind)).toEqual(Array.from({ length: HELLOS }, () => 'welcome'))
    expect(counts.all()).toEqual({ rate_limited: 100 - HELLOS })
    expect((await store.next())!.devices).toHaveLength(1)
    await say('b', helloOf())
    expect(heard('b')).toMatchObject([{ kind: 'welcome' }])
  })

  it.each([
    ['hello', helloOf()],
    ['a new hello', undefined],
    ['its capabilities', caps],
  ])('has no new share of messages by it: %s', async (_name, message) => {
    const { say, heard } = await joined()
    for (let n = 1, boot = 8; n <= 3 * LIMITS.deviceMessagesBurstMax; n++) {
      if (n % 40 === 0) await say('a', message ?? helloOf({ boot: boot++ }))
      await say('a', tele(n))
    }
    expect(heard('a').filter(({ kind }) => kind === 'ack')).toHaveLength(LIMITS.deviceMessagesBurstMax)
  })

  it('is not welcomed for capabilities that were known, nor for those that nobody waits for', async () => {
    const { say, heard, counts, store } = await joined()
    await store.recorded((await store.next())!.seq)
    for (let n = 0; n < 50; n++) await say('a', { ...caps, c: ['wi:fan'] })
    expect(heard('a')).toEqual([])
    expect(await store.next()).toBeUndefined()
    expect(counts.all()).toEqual({ unexpected: 50 })
  })
})

describe('what comes twice or in the wrong order', () => {
  it('readings behind newer ones are acknowledged and not recorded', async () => {
    const { say, heard, store, counts } = await joined()
    for (const n of [5, 3, 5]) await say('a', tele(n))
    expect(heard('a')).toEqual([5, 3, 5].map((n) => ({ kind: 'ack', n })))
    expect((await store.next())!.readings.map(({ n }) => n)).toEqual([5])
    expect(counts.all()).toEqual({ duplicate: 2 })
  })

  it('a plain value that a broker kept is from another time, and no reading', async () => {
    const { sessions, door, store, settle, counts } = await house()
    const value = (isRetained: boolean): void =>
      sessions.onIncoming(
        door,
        { of: 'device', device: 'a' },
        { of: 'value', capability: 'temp', body: Buffer.from('21.5'), ...(isRetained && { isRetained }) },
      )
    value(true)
    await settle()
    expect(sessions.session('a')).toBeUndefined()
    value(false)
    value(true)
    await settle()
    expect((await store.next())!.readings).toHaveLength(1)
    expect(counts.all()).toEqual({ retained: 2 })
  })

  it('a result ends its call once, and one of a call that there is not ends none', async () => {
    const made = await joined()
    made.sessions.calls.call(callFor(made, 1))
    await made.settle()
    const [cmd] = made.heard('a')
    const id = cmd!.kind === 'cmd' ? cmd!.id : 0
    await made.say('a', { kind: 'result', id: id + 1, ok: true })
    for (const ok of [true, false, true]) await made.say('a', { kind: 'result', id, ok })
    expect((await made.store.next())!.results).toMatchObject([{ outcome: 'done' }])
    expect(made.heard('a')).toEqual([])
  })

  it('credits are taken as fast as chunks can go, and no faster; other messages are none of theirs', async () => {
    const { say, heard, sessions, counts } = await joined()
    let credits = 0
    sessions.onMessage((_session, { kind }) => kind === 'credit' && credits++)
    for (let n = 0; n < 1000; n++) await say('a', { kind: 'credit', id: 1, next: 0, n: 1 })
    expect(credits).toBe(400)
    expect(counts.all()).toEqual({ rate_limited: 600 })
    await say('a', tele(1))
    expect(heard('a').filter(({ kind }) => kind === 'ack')).toHaveLength(1)
  })

  it('what a board said before it began anew is not taken, once it has', async () => {
    const { say, heard, sessions, counts } = await joined()
    await say('a', helloOf({ boot: 8 }))
    heard('a')
    await say('a', helloOf({ boot: 7 }))
    expect(heard('a')).toEqual([])
    expect(counts.all()).toEqual({ former_boot: 1 })
    expect(sessions.session('a')!.boot).toBe(8)
  })

  it('a hello that lost its tail in the noise is welcomed when it is repeated', async () => {
    const { sessions, door, heard, settle } = await house()
    const { caps: strings, ...bare } = helloOf({ n: 2 })
    const send = (message: Parameters<typeof framed>[0]): void =>
      sessions.onIncoming(door, { of: 'device', device: 'a' }, framed(message))
    const part = (i: number): void => send({ kind: 'caps', i, c: [strings![i]!] })
    send(bare)
    part(0)
    await settle()
    expect(heard('a')).toEqual([])
    send(bare)
    part(1)
    part(0)
    await settle()
    expect(heard('a')).toMatchObject([{ kind: 'welcome' }])
  })
})

describe('a board that is reset in the middle of an answer', () => {
  const settle = async ({ clock }: AskBench): Promise<void> => {
    for (let turn = 0; turn < 10; turn++) await clock.advance(0)
  }
  const ask = { kind: 'infer', id: 1, q: 'Is it warm?', ttl: 30, max: 200 } as const

  it('gets nothing of it after its start, whatever it grants, and its own answer from the beginning', async () => {
    const bench = await startDesk({})
    bench.sessions.join(sessionOf('uno', { boot: 1, win: 1 }))
    bench.source.says('The first answer is long enough for more than one chunk of a board as small as this one is.')
    bench.sessions.says('uno', ask)
    await settle(bench)
    const before = bench.sessions.chunksTo('uno').length
    expect(before).toBe(1)
    bench.sessions.join(sessionOf('uno', { boot: 2, win: 1 }))
    for (const next of [0, 1, 2]) bench.sessions.says('uno', { kind: 'credit', id: 1, next, n: 4 })
    await settle(bench)
    await bench.clock.advance(5000)
    expect(bench.sessions.chunksTo('uno')).toHaveLength(before)
    bench.source.says('The second.')
    bench.sessions.says('uno', ask)
    await settle(bench)
    expect(bench.sessions.chunksTo('uno').slice(before)).toMatchObject([{ i: 0, l: true, t: 'The second.' }])
  })
})
