/** The bridge's own broker against devices of an ordinary library, and against those that mean harm. */
import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../../mesh/runtime/index.ts'
import { Counts } from '../../firmware-bridge/counts.ts'
import { EmbeddedDoor } from '../../firmware-bridge/doors/index.ts'
import { clock, mqttDevice, Told, until, type TestClient } from './bridge.harness.ts'

const KEYS: Readonly<Record<string, string>> = { a: 'key-of-a', b: 'key-of-b' }
const own = (device: string, rest = {}) => ({ clientId: device, username: device, password: KEYS[device]!, ...rest })
const body = (text: string) => ({ of: 'message', kind: 'ack', body: Buffer.from(text) }) as const
const to = (device: string) => ({ of: 'device', device }) as const

describe('the embedded broker', () => {
  const counts = new Counts()
  const told = new Told()
  const clients: TestClient[] = []
  let door: EmbeddedDoor
  let port: number

  const device = async (options: Parameters<typeof mqttDevice>[1]): Promise<TestClient> => {
    const made = await mqttDevice(port, options)
    clients.push(made)
    return made
  }

  beforeAll(async () => {
    door = new EmbeddedDoor(
      {
        clock,
        log: silentLogger,
        tally: counts,
        credentials: {
          isCredential: (id, key) => KEYS[id] === Buffer.from(key).toString(),
          deviceOfPort: (at) => (at === 'usb-a' ? 'a' : undefined),
        },
      },
      { listen: { host: '127.0.0.1', port: 0 }, drainMs: 200 },
    )
    door.listen(told)
    await door.start()
    port = door.address!.port
  })
  beforeEach(() => {
    for (const { client } of clients.splice(0)) client.end(true)
    told.incoming.length = 0
  })
  afterAll(async () => {
    for (const { client } of clients) client.end(true)
    await door.stop()
  })

  it('brings what a device says, sends what it is told, and says when it goes', async () => {
    const a = await device(
      own('a', { will: { topic: 'skein/v1/dev/a/up/state', payload: Buffer.from('lost'), qos: 0, retain: true } }),
    )
    await a.client.subscribeAsync('skein/v1/dev/a/down/#')
    await a.client.publishAsync('skein/v1/dev/a/up/tele', '{"n":1}', { qos: 1, retain: true })
    await a.client.publishAsync('skein/v1/dev/a/up/v/temp', '21.5')
    await until(() => told.incoming.length >= 2)
    expect(told.incoming.map(({ origin, incoming }) => [origin, incoming.of])).toEqual([
      [to('a'), 'message'],
      [to('a'), 'value'],
    ])
    expect(door.send(to('a'), body('{"n":1}'))).toBe(true)
    await until(() => a.heard.length > 0)
    expect(a.heard).toEqual([{ topic: 'skein/v1/dev/a/down/ack', payload: '{"n":1}' }])
    a.client.stream.destroy()
    await until(() => told.incoming.some(({ incoming }) => incoming.of === 'closed'))
    expect(told.bodies('state')).toEqual(['lost'])
    expect(door.send(to('a'), body('x'))).toBe(false)
  })

  it.each([
    ['without a credential', {}],
    ['with a wrong one', { username: 'a', password: 'key-of-b' }],
    ['of no device', { username: 'c', password: 'key-of-a' }],
  ])('takes nobody %s', async (_name, options) => {
    const made = await device({ clientId: 'a', ...options })
    expect(made.client.connected).toBe(false)
    expect(made.errors[0]?.message).toMatch(/Connection refused/)
  })

  it.each([
    ['publishes as another', (a: TestClient) => a.client.publish('skein/v1/dev/b/up/tele', '{}')],
    ['publishes what the bridge says', (a: TestClient) => a.client.publish('skein/v1/dev/a/down/cmd', '{}')],
    ['publishes elsewhere', (a: TestClient) => a.client.publish('homeassistant/status', 'online')],
  ])('cuts a device that %s, and delivers nothing of it', async (_name, act) => {
    const a = await device(own('a'))
    act(a)
    await until(() => a.closes > 0)
    expect(told.incoming.filter(({ incoming }) => incoming.of !== 'closed')).toEqual([])
  })

  it.each(['skein/v1/dev/b/down/#', '#', 'skein/v1/dev/+/down/#', 'skein/v1/dev/a/up/#', '$SYS/#'])(
    'does not let a device read %s',
    async (filter) => {
      const a = await device(own('a'))
      await a.client.subscribeAsync(filter).catch(() => undefined)
      const b = await device(own('b'))
      await b.client.subscribeAsync('skein/v1/dev/b/down/#')
      door.send(to('b'), body('for b'))
      await until(() => b.heard.length > 0)
      expect(a.heard).toEqual([])
    },
  )

  it('lets nobody take the place of another by its client id, nor by its will', async () => {
    const a = await device(own('a'))
    const will = { topic: 'skein/v1/dev/a/up/state', payload: Buffer.from('lost'), qos: 0 as const, retain: false }
    const b = await device(own('b', { clientId: 'a', will }))
    b.client.stream.destroy()
    await until(() =>
      told.incoming.some(
        ({ origin, incoming }) => incoming.of === 'closed' && origin.of === 'device' && origin.device === 'b',
      ),
    )
    expect(told.bodies('state')).toEqual([])
    expect(a.client.connected).toBe(true)
  })

  it('is not stopped by a device that reads nothing, which it cuts', async () => {
    const a = await device(own('a'))
    const b = await device(own('b'))
    for (const [id, { client }] of [
      ['a', a],
      ['b', b],
    ] as const)
      await client.subscribeAsync(`skein/v1/dev/${id}/down/#`)
    ;(a.client.stream as unknown as { pause(): void }).pause()
    const large = { of: 'message', kind: 'chunk', body: Buffer.alloc(4000, 120) } as const
    let refused = 0
    for (let round = 0; round < 40; round++) {
      for (let n = 0; n < 50; n++) if (!door.send(to('a'), large)) refused++
      door.send(to('b'), body(String(round)))
      await until(() => b.heard.length > round, 1000)
    }
    expect(refused).toBeGreaterThan(0)
    expect(counts.all()).toHaveProperty('link_full')
    await until(() =>
      told.incoming.some(
        ({ origin, incoming }) => incoming.of === 'closed' && origin.of === 'device' && origin.device === 'a',
      ),
    )
  })

  it('cuts who sends a packet over the bound before it is whole, and who floods', async () => {
    const before = counts.all()['too_large'] ?? 0
    const a = await device(own('a'))
    a.client.publish('skein/v1/dev/a/up/tele', Buffer.alloc(20_000))
    await until(() => a.closes > 0)
    expect(counts.all()['too_large']).toBe(before + 1)
    const b = await device(own('b'))
    for (let n = 0; n < 400; n++) b.client.publish('skein/v1/dev/b/up/tele', '{}')
    await until(() => b.closes > 0)
    expect(counts.all()).toHaveProperty('flood')
  })

  it('outlives bytes that are no MQTT, and a connection that says nothing', async () => {
    for (const bytes of [
      Buffer.alloc(64, 0xff),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]),
    ]) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.write(bytes)
      await until(() => socket.closed)
    }
    expect((await device(own('a'))).client.connected).toBe(true)
  })

  it('gives a claim to its own chip alone', async () => {
    const board = await device({ clientId: 'x', username: 'claim', password: '' })
    const thief = await device({ clientId: 'y', username: 'claim', password: '' })
    await board.client.subscribeAsync('skein/v1/claim/c0ffee/down')
    await board.client.publishAsync('skein/v1/claim/c0ffee/up', '{"v":1,"code":"4711"}', { qos: 1 })
    await thief.client.subscribeAsync('skein/v1/claim/badbad/down')
    await thief.client.subscribeAsync('skein/v1/claim/c0ffee/down').catch(() => undefined)
    const claimed = await until(() => told.incoming.find(({ origin }) => origin.of === 'chip'))
    expect(claimed.origin).toEqual({ of: 'chip', chip: 'c0ffee' })
    door.send({ of: 'chip', chip: 'c0ffee' }, { of: 'message', kind: 'grant', body: Buffer.from('secret') })
    await until(() => board.heard.length > 0)
    expect(thief.heard).toEqual([])
  })

  it('cuts the link of a device on demand', async () => {
    const a = await device(own('a'))
    door.cut(to('a'))
    await until(() => a.closes > 0)
  })
})
