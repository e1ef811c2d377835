/** Devices as the bridge speaks with them: what they may say, and what they are told. */
import { describe, expect, it } from 'vitest'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { Register } from '../../../firmware-bridge/joining/index.ts'
import type { AskMessage, ReplyTo } from '../../../firmware-bridge/ports/index.ts'
import { Sessions } from '../../../firmware-bridge/sessions/index.ts'
import { framed, helloOf, house, joined, PlayedDoor, settled } from './support.ts'

const tele = (n: number, temp: number, rest = {}) =>
  ({ kind: 'tele', n, a: true, r: [['temp', temp]], ...rest }) as const

describe('hello', () => {
  it('is answered with welcome when the device is durable, and reported', async () => {
    const { say, heard, sessions, store } = await house()
    await say('a', helloOf())
    expect(heard('a')).toEqual([{ kind: 'welcome', v: 1, boot: 7, t: 1_800_000_000, hb: 60, rx: 4096, id: 'a' }])
    expect(sessions.session('a')).toMatchObject({ state: 'ready', boot: 7, rx: 256, grantsCredit: true })
    const part = (await store.next())!
    expect(part.devices).toMatchObject([{ id: 'a', capabilities: [{ name: 'temp' }, { name: 'vent' }] }])
    expect(part.states).toMatchObject([{ device: 'a', state: 'ready' }])
  })

  it('gets no welcome from a disk that is full', async () => {
    const { say, heard, sessions, store } = await house()
    store.fail(new SkeinError('DISK_FULL', 'full'))
    await say('a', helloOf())
    expect(heard('a')).toEqual([{ kind: 'bye', c: 'storage_full' }])
    expect(sessions.session('a')).toBeUndefined()
    store.fail(undefined)
    await say('a', helloOf())
    expect(heard('a')).toMatchObject([{ kind: 'welcome' }])
  })

  it('waits for capabilities that come behind it, in any order', async () => {
    const { say, heard, sessions } = await house()
    const { caps, ...bare } = helloOf({ n: 3 })
    await say('a', bare)
    await say('a', { kind: 'caps', i: 2, c: ['xn:reboot'] })
    expect(heard('a')).toEqual([])
    await say('a', { kind: 'caps', i: 0, c: caps! })
    expect(heard('a')).toMatchObject([{ kind: 'welcome' }])
    expect(sessions.session('a')!.descriptor.capabilities.map(({ name }) => name)).toEqual(['temp', 'vent', 'reboot'])
  })

  it('with what is no capability, or two of one name, is refused', async () => {
    const { say, heard } = await house()
    await say('a', helloOf({ caps: ['zz:temp', 'wb:vent'] }))
    await say('a', helloOf({ caps: ['rf:temp', 'wb:temp'] }))
    expect(heard('a')).toEqual([
      { kind: 'bye', c: 'malformed' },
      { kind: 'bye', c: 'malformed' },
    ])
  })

  it('of a start that is over is a replay', async () => {
    const { say, heard, counts, sessions } = await joined({ boot: 7 })
    await say('a', helloOf({ boot: 8 }))
    expect(heard('a')).toMatchObject([{ kind: 'welcome', boot: 8 }])
    await say('a', helloOf({ boot: 7 }))
    expect(heard('a')).toEqual([])
    expect(counts.all()).toMatchObject({ former_boot: 1 })
    expect(sessions.session('a')!.boot).toBe(8)
  })

  it('from somebody who is no device is refused', async () => {
    const { say, heard, counts } = await house()
    await say('b', helloOf())
    expect(heard('b')).toEqual([{ kind: 'bye', c: 'not_permitted' }])
    expect(counts.all()).toMatchObject({ no_such_device: 1 })
  })

  it('is asked for before anything else', async () => {
    const { say, heard } = await house()
    await say('a', tele(1, 20))
    expect(heard('a')).toEqual([{ kind: 'bye', c: 'say_hello' }])
  })
})

describe('readings', () => {
  it('are acknowledged when they are durable, and recorded once', async () => {
    const { say, heard, store, sessions } = await joined()
    const seen: number[] = []
    sessions.onReadings((_session, readings) => seen.push(...readings.map(({ n }) => n)))
    await say('a', tele(1, 20))
    await say('a', tele(1, 20))
    await say('a', tele(2, 21, { age: 30 }))
    expect(heard('a')).toEqual([
      { kind: 'ack', n: 1 },
      { kind: 'ack', n: 1 },
      { kind: 'ack', n: 2 },
    ])
    expect(seen).toEqual([1, 2])
    const { readings } = (await store.next())!
    expect(readings).toMatchObject([
      { name: 'temp', value: 20, n: 1, boot: 7 },
      { value: 21, atMs: 1_799_999_970_000 },
    ])
  })

  it('are not acknowledged by a disk that is full, which the device is told', async () => {
    const { say, heard, store } = await joined()
    store.fail(new SkeinError('DISK_FULL', 'full'))
    await say('a', tele(1, 20))
    expect(heard('a')).toEqual([{ kind: 'fail', id: 0, c: 'storage_full' }])
    store.fail(undefined)
    await say('a', tele(1, 20))
    expect(heard('a')).toEqual([{ kind: 'ack', n: 1 }])
  })

  it('that no capability has are left out, the others not', async () => {
    const { say, store, counts } = await joined()
    await say('a', {
      kind: 'tele',
      n: 1,
      r: [
        ['temp', 20],
        ['fog', 1],
        ['vent', 'ajar'],
      ],
    })
    expect((await store.next())!.readings).toHaveLength(1)
    expect(counts.all()).toMatchObject({ unknown_capability: 1, out_of_range: 1 })
  })

  it('of another start do not count as recorded', async () => {
    const { say, heard } = await joined()
    await say('a', tele(1, 20))
    await say('a', helloOf({ boot: 8 }))
    await say('a', tele(1, 22))
    expect(heard('a').filter(({ kind }) => kind === 'ack')).toHaveLength(2)
  })

  it('in plain values make a device that never says hello', async () => {
    const { sessions, door, store } = await house()
    const say = (capability: string, value: string) =>
      sessions.onIncoming(door, { of: 'device', device: 'a' }, { of: 'value', capability, body: Buffer.from(value) })
    say('temp', '21.5')
    say('door', 'on')
    say('temp', 'broken')
    await settled()
    const part = (await store.next())!
    expect(part.devices[0]).toMatchObject({
      dialect: 'mqtt',
      capabilities: [
        { name: 'temp', type: 'number', dir: 'sensor' },
        { name: 'door', type: 'boolean' },
      ],
    })
    expect(part.readings.map(({ name, value }) => [name, value])).toEqual([
      ['temp', 21.5],
      ['door', true],
    ])
  })
})

describe('sensors that the bridge makes', () => {
  const SCORE = { name: 'temp_anomaly', dir: 'sensor', type: 'number', min: 0, max: 1 } as const

  it('stand behind those of the device, and are recorded and heard like them', async () => {
    const { sessions, store, settle } = await joined()
    const heard: unknown[] = []
    sessions.onReadings((_session, readings) => heard.push(...readings.map(({ name, value }) => [name, value])))
    sessions.derive('a', [SCORE, { ...SCORE, name: 'temp' }])
    sessions.derive('a', [SCORE])
    sessions.record('a', [
      ['temp_anomaly', 0.9],
      // no score, a sensor of the device itself, one that there is not
      ['temp_anomaly', 7],
      ['temp', 99],
      ['fog', 1],
    ])
    sessions.record('b', [['temp_anomaly', 0.1]])
    await settle()
    const part = (await store.next())!
    expect(part.devices.map(({ capabilities }) => capabilities.map(({ name }) => name))).toEqual([
      ['temp', 'vent', 'temp_anomaly'],
    ])
    expect(part.readings).toMatchObject([{ device: 'a', name: 'temp_anomaly', value: 0.9, boot: 7, n: 0 }])
    expect(heard).toEqual([['temp_anomaly', 0.9]])
  })

  it('have no index: a device that counts its own is not asked for them', async () => {
    const { say, heard, sessions } = await joined({ fmt: 'cbor' })
    sessions.derive('a', [SCORE])
    await say('a', { kind: 'tele', n: 1, a: true, r: [[2, 0.5]] }, 'cbor')
    expect(heard('a')).toEqual([{ kind: 'ack', n: 1 }])
    const call = {
      call: '00000000-0000-4000-8000-000000000009',
      device: 'a',
      capability: SCORE.name,
      op: 'read',
    } as const
    const { outcome, error } = await sessions.calls.carryOut({ ...call, expiresAtMs: 1_800_000_010_000 })
    expect({ outcome, error }).toEqual({ outcome: 'refused', error: 'unknown_capability' })
  })

  it('are no more than there is room for', async () => {
    const { sessions } = await joined()
    const many = Array.from({ length: LIMITS.deviceCapabilitiesMax }, (_, i) => ({ ...SCORE, name: `s${i}` }))
    sessions.derive('a', many)
    expect(sessions.session('a')!.descriptor.capabilities).toHaveLength(LIMITS.deviceCapabilitiesMax)
  })
})

describe('a flood', () => {
  it('of one device is told so, counted, and harms no other', async () => {
    const made = await house(['a', 'b'])
    const { say, heard, counts, store } = made
    for (const device of ['a', 'b']) await say(device, helloOf())
    await store.recorded((await store.next())!.seq)
    heard('a')
    for (let n = 1; n <= LIMITS.deviceMessagesBurstMax + 40; n++) await say('a', tele(n, 20))
    const told = heard('a')
    expect(told.filter(({ kind }) => kind === 'ack')).toHaveLength(LIMITS.deviceMessagesBurstMax)
    expect(told.filter(({ kind }) => kind === 'fail')).toEqual([{ kind: 'fail', id: 0, c: 'rate_limited', retry: 1 }])
    expect(counts.all()).toMatchObject({ rate_limited: 40 })
    await say('b', tele(1, 20))
    expect(heard('b')).toEqual([{ kind: 'ack', n: 1 }])
    await made.clock.advance(1000)
    await say('a', tele(200, 20))
    expect(heard('a')).toEqual([{ kind: 'ack', n: 200 }])
  })

  it('of questions is refused under their own ids', async () => {
    const { say, heard } = await joined()
    for (let id = 1; id <= LIMITS.deviceMessagesBurstMax + 1; id++)
      await say('a', { kind: 'infer', id, q: 'why?', ttl: 9 })
    const last = { kind: 'fail', id: LIMITS.deviceMessagesBurstMax + 1, c: 'rate_limited', retry: 1 }
    expect(heard('a').at(-1)).toEqual(last)
  })
})

describe('bad input', () => {
  it('is counted by its reason, and the device is told once a second', async () => {
    const { sessions, door, heard, counts } = await joined()
    const send = (kind: string, body: string) =>
      sessions.onIncoming(
        door,
        { of: 'device', device: 'a' },
        { of: 'message', wire: 'mqtt', kind, body: Buffer.from(body) },
      )
    for (const body of ['', '{', '[1]', '{"n":-1}', '\u0000\u0001', `{"q":"${'x'.repeat(5000)}"}`]) send('tele', body)
    send('nonsense', '{}')
    expect(heard('a')).toEqual([{ kind: 'fail', id: 0, c: 'malformed' }])
    expect(counts.all()).toMatchObject({ malformed: 6, too_large: 1 })
    expect(sessions.session('a')!.state).toBe('ready')
  })

  it('that a broker kept is not taken, but for a last will of a device that is not here', async () => {
    const { sessions, door, store, counts, heard } = await joined()
    const send = (device: string, kind: string, body: string) =>
      sessions.onIncoming(
        door,
        { of: 'device', device },
        { of: 'message', wire: 'mqtt', kind, body: Buffer.from(body), isRetained: true },
      )
    await store.recorded((await store.next())!.seq)
    send('a', 'tele', '{"n":9,"r":{"temp":1}}')
    send('a', 'hello', '{}')
    send('a', 'state', 'lost')
    await settled()
    expect(heard('a')).toEqual([])
    expect(counts.all()).toMatchObject({ retained: 3 })
    expect(sessions.session('a')!.state).toBe('ready')
    expect(await store.next()).toBeUndefined()
  })
})

describe('presence', () => {
  it('knows five states', async () => {
    const { say, sessions, clock, door, store } = await joined({ sleep: 600 })
    const state = () => sessions.session('a')!.state
    expect(state()).toBe('ready')
    await say('a', { kind: 'state', s: 'sleeping', t: 300 })
    expect(state()).toBe('sleeping')
    sessions.onIncoming(door, { of: 'device', device: 'a' }, { of: 'closed' })
    expect(state()).toBe('sleeping')
    await clock.advance(300_000)
    expect(state()).toBe('sleeping')
    await clock.advance(2 * LIMITS.deviceHeartbeatMs + 1000)
    expect(state()).toBe('lost')
    await say('a', tele(1, 20))
    expect(state()).toBe('ready')
    sessions.onIncoming(door, { of: 'device', device: 'a' }, { of: 'closed' })
    expect(state()).toBe('disconnected')
    await say('a', { kind: 'state', s: 'lost' })
    expect(state()).toBe('lost')
    const told = (await store.next())!.states.map((report) => report.state)
    expect(told).toEqual(['ready', 'sleeping', 'lost', 'ready', 'disconnected', 'lost'])
  })

  it('loses a device that is silent for two beats', async () => {
    const { say, sessions, clock } = await joined()
    await clock.advance(LIMITS.deviceHeartbeatMs)
    await say('a', { kind: 'ping', n: 5 })
    await clock.advance(2 * LIMITS.deviceHeartbeatMs - 1000)
    expect(sessions.session('a')!.state).toBe('ready')
    await clock.advance(2000)
    expect(sessions.session('a')!.state).toBe('lost')
  })

  it('asks devices that it knows to say hello when a door opens', async () => {
    const { sessions, door, heard } = await house()
    sessions.onUp(door, true)
    expect(heard('a')).toEqual([{ kind: 'bye', c: 'say_hello' }])
  })

  it('moves with the device to another door', async () => {
    const { say, sessions, door } = await joined()
    const other = new PlayedDoor('other')
    sessions.onIncoming(other, { of: 'device', device: 'a' }, { ...framedMqtt(helloOf()) })
    await settled()
    expect(other.sent).toHaveLength(1)
    sessions.onIncoming(door, { of: 'device', device: 'a' }, { of: 'closed' })
    expect(sessions.session('a')!.state).toBe('ready')
    await say('a', tele(1, 1))
    expect(door.sent.at(-1)!.outgoing).toMatchObject({ kind: 'bye' })
  })
})

const framedMqtt = (message: Parameters<typeof framed>[0]) =>
  ({ ...framed(message), wire: 'mqtt', kind: message.kind }) as const

describe('what is sent', () => {
  it('never is larger than the device takes, topic and all', async () => {
    const { sessions, door } = await joined({ rx: 128 })
    const chunk = (t: string) => ({ kind: 'chunk', id: 1, i: 0, l: true, t }) as const
    const room = 128 - sessions.sizeOf('a', chunk(''))!
    expect(sessions.send('a', chunk('x'.repeat(room)))).toBe('sent')
    const before = door.sent.length
    for (const text of ['x'.repeat(room + 1), 'ä'.repeat(room), '\n'.repeat(room), '"'.repeat(room)])
      expect(sessions.send('a', chunk(text))).toBe('too_large')
    expect(door.sent).toHaveLength(before)
  })

  it('goes nowhere without a session or a link', async () => {
    const { sessions, door } = await joined()
    expect(sessions.send('b', { kind: 'ack', n: 1 })).toBe('offline')
    door.hasLink = false
    expect(sessions.send('a', { kind: 'ack', n: 1 })).toBe('offline')
  })

  it('by MQTT 5 goes where the device wants it, below its own topics alone', async () => {
    const { sessions, door, heard, counts } = await joined()
    const replies: (ReplyTo | undefined)[] = []
    sessions.onMessage((_session: unknown, _message: AskMessage, replyTo) => replies.push(replyTo))
    const asks = (replyTo: ReplyTo, message: AskMessage = { kind: 'infer', id: 1, q: 'why?', ttl: 9 }): void =>
      sessions.onIncoming(door, { of: 'device', device: 'a' }, { ...framedMqtt(message), replyTo })
    const mine = { topic: 'skein/v1/dev/a/down/mine', correlation: Uint8Array.of(0, 255, 7) }
    asks(mine)
    heard('a')
    for (const topic of ['skein/v1/dev/b/down/cmd', 'skein/v1/dev/a/down/#', 'skein/v1/dev/a/up/tele', 'x'])
      asks({ topic })
    asks({ ...mine, topic: mine.topic.repeat(6) })
    asks({ ...mine, correlation: new Uint8Array(65) })
    // elsewhere it is passed over: what is answered to a part of a prompt goes where all else does
    asks({ topic: 'x' }, { kind: 'prompt', id: 1, i: 0, t: 'a' })
    expect(replies).toEqual([mine, undefined])
    expect(heard('a')).toEqual([
      ...Array.from({ length: 4 }, () => ({ kind: 'fail', id: 1, c: 'not_permitted' })),
      ...Array.from({ length: 2 }, () => ({ kind: 'fail', id: 1, c: 'too_large' })),
    ])
    expect(counts.all()['foreign_reply']).toBe(7)
    sessions.send('a', { kind: 'accept', id: 1, s: 'accepted' }, mine)
    expect(door.sent.at(-1)).toMatchObject({ outgoing: { kind: 'accept', replyTo: mine } })
  })
})

describe('questions', () => {
  it('are handed on, unless the owner does not let the device ask', async () => {
    const { say, heard, sessions, register } = await joined()
    const asked: string[] = []
    sessions.onMessage((session, message) => asked.push(`${session.id} ${message.kind} ${message.id}`))
    await say('a', { kind: 'infer', id: 1, q: 'why?', ttl: 9 })
    await say('a', { kind: 'credit', id: 1, next: 1, n: 1 })
    await register.setPolicy('a', { ask: false })
    await say('a', { kind: 'infer', id: 2, q: 'why?', ttl: 9 })
    expect(asked).toEqual(['a infer 1', 'a credit 1'])
    expect(heard('a')).toEqual([{ kind: 'fail', id: 2, c: 'not_permitted' }])
  })
})

describe('a revoked device', () => {
  it('is told, cut off and gone', async () => {
    const { heard, sessions, register, door, store, say } = await joined()
    await store.recorded((await store.next())!.seq)
    const changes: string[] = []
    sessions.onPresence((_session, change) => changes.push(change))
    await register.revoke('a')
    expect(heard('a')).toEqual([{ kind: 'bye', c: 'revoked' }])
    expect(door.cuts).toEqual([{ of: 'device', device: 'a' }])
    expect(changes).toEqual(['gone'])
    expect(sessions.session('a')).toBeUndefined()
    expect((await store.next())!.gone).toEqual(['a'])
    await say('a', helloOf())
    expect(heard('a')).toEqual([{ kind: 'bye', c: 'not_permitted' }])
  })
})

describe("an owner's word on a device", () => {
  it('is told to the coordinator at once, also when the device is away', async () => {
    const first = await joined()
    const { store, counts, clock } = first
    const components = { clock, random: new SeededRandom(2), log: silentLogger, tally: counts, store }
    const register = await Register.open(components, { isSerialTrusted: false })
    const again = new Sessions({ ...components, register, manage: () => Promise.resolve({}) })
    await again.start()
    await store.recorded((await store.next())!.seq)
    await register.setPolicy('a', { local_only: true, act: 'no' })
    await settled()
    const told = (await store.next())!.devices
    expect(told).toMatchObject([{ id: 'a', policy: { local_only: true, act: 'no' }, capabilities: [{}, {}] }])
    // of a device that was never heard there is nothing to tell
    await register.add('b')
    await store.recorded((await store.next())!.seq)
    await register.setPolicy('b', { ask: false })
    await settled()
    expect(await store.next()).toBeUndefined()
    await again.stop()
  })

  it('that comes while its hello waits for the disk holds from its welcome on', async () => {
    const { say, register, sessions, store } = await house()
    const disk = Promise.withResolvers<void>()
    const hello = store.hello.bind(store)
    store.hello = (...given) => disk.promise.then(() => hello(...given))
    await say('a', helloOf())
    await register.setPolicy('a', { ask: false })
    disk.resolve()
    await settled()
    expect(sessions.session('a')!.policy.ask).toBe(false)
    expect((await store.next())!.devices.at(-1)!.policy.ask).toBe(false)
  })
})
