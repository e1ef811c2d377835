/** The bridge at a real Mosquitto, with the configuration and the access rules that ship, and brokers that fail it. */
import { once } from 'node:events'
import { createServer, Socket, type AddressInfo } from 'node:net'
import { Aedes } from 'aedes'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { SeededRandom, silentLogger, SystemRandom, type CancelTimer, type Clock } from '../../mesh/runtime/index.ts'
import { Counts } from '../../firmware-bridge/counts.ts'
import { BrokerDoor } from '../../firmware-bridge/doors/index.ts'
import { mosquittoLine } from '../../firmware-bridge/joining/credential.ts'
import { clock, Mosquitto, mqttDevice, Told, until, type TestClient } from './bridge.harness.ts'

const random = new SystemRandom()
const KEYS: Readonly<Record<string, string>> = { 'skein-bridge': 'of-the-bridge', a: 'key-of-a', b: 'key-of-b' }
const own = (device: string, rest = {}) => ({ clientId: device, username: device, password: KEYS[device]!, ...rest })
const to = (device: string) => ({ of: 'device', device }) as const
const message = (text: string) => ({ of: 'message', kind: 'ack', body: Buffer.from(text) }) as const

const doorTo = (port: number, counts: Counts, rest = {}): BrokerDoor =>
  new BrokerDoor(
    { clock, random: new SeededRandom(7), log: silentLogger, tally: counts },
    { url: `mqtt://127.0.0.1:${port}`, bridge: 'attic', user: 'skein-bridge', password: 'of-the-bridge', ...rest },
  )

describe('at Mosquitto', () => {
  const counts = new Counts()
  const told = new Told()
  const clients: TestClient[] = []
  let broker: Mosquitto
  let door: BrokerDoor

  const device = async (options: Parameters<typeof mqttDevice>[1], port = broker.port): Promise<TestClient> => {
    const made = await mqttDevice(port, options)
    clients.push(made)
    return made
  }
  /** A device that reads what is for it. */
  const listening = async (id: string, rest = {}): Promise<TestClient> => {
    const made = await device(own(id, rest))
    await made.client.subscribeAsync(`skein/v1/dev/${id}/down/#`)
    return made
  }

  beforeAll(async () => {
    broker = await Mosquitto.start(Object.entries(KEYS).map(([id, key]) => mosquittoLine(id, key, random)))
    door = doorTo(broker.port, counts)
    door.listen(told)
    await door.start()
    await until(() => door.isUp)
  })
  beforeEach(() => {
    told.incoming.length = 0
  })
  afterEach(() => {
    for (const { client } of clients.splice(0)) client.end(true)
  })
  afterAll(async () => {
    await door.stop()
    await broker.stop()
  })

  it('speaks MQTT 5, without Nagle, and says that it is there', async () => {
    expect(door.protocolVersion).toBe(5)
    const watcher = await device(own('skein-bridge', { clientId: 'x' }), broker.port).catch(() => undefined)
    expect(watcher).toBeDefined()
    // the second of that name took the place of the door, which comes back
    await until(() => told.ups.filter((isUp) => isUp).length >= 2 && door.isUp)
    expect(told.ups.slice(0, 3)).toEqual([true, false, true])
  })

  it('brings and sends; what is sent has no retain and QoS 0', async () => {
    const a = await listening('a')
    a.client.publish('skein/v1/dev/a/up/tele', '{"n":1}', { qos: 1 })
    a.client.publish('skein/v1/dev/a/up/v/temp', '21.5')
    await until(() => told.incoming.length >= 2)
    expect(told.bodies('tele')).toEqual(['{"n":1}'])
    const packet = new Promise((resolve) => a.client.once('packetreceive', resolve))
    expect(door.send(to('a'), message('{"n":1}'))).toBe(true)
    expect(await packet).toMatchObject({ cmd: 'publish', topic: 'skein/v1/dev/a/down/ack', qos: 0, retain: false })
  })

  it('marks what the broker kept from before', async () => {
    const a = await device(own('a'))
    await a.client.publishAsync('skein/v1/dev/a/up/state', 'lost', { qos: 1, retain: true })
    await a.client.publishAsync('skein/v1/dev/a/up/tele', '{"n":9}', { qos: 1, retain: true })
    await a.client.publishAsync('skein/v1/dev/a/up/v/temp', '21.5', { qos: 1, retain: true })
    const second = new Told()
    // in the place of the first, whose user is the same
    const other = doorTo(broker.port, counts)
    other.listen(second)
    await other.start()
    await until(() => second.incoming.length >= 3)
    expect(second.incoming.map(({ incoming }) => 'isRetained' in incoming && incoming.isRetained)).toEqual([
      true,
      true,
      true,
    ])
    await other.stop()
    await until(() => door.isUp)
    for (const kind of ['state', 'tele', 'v/temp'])
      await a.client.publishAsync(`skein/v1/dev/a/up/${kind}`, '', { qos: 1, retain: true })
  })

  it('answers a question of MQTT 5 where the device wants it, with its correlation data', async () => {
    const a = await listening('a', { protocolVersion: 5 })
    const properties = { responseTopic: 'skein/v1/dev/a/down/answers', correlationData: Buffer.from([0, 255, 7]) }
    await a.client.publishAsync('skein/v1/dev/a/up/infer', '{"id":1,"q":"why?","ttl":9}', { properties })
    await until(() => told.incoming.length > 0)
    const { incoming } = told.incoming[0]!
    const replyTo = incoming.of === 'message' ? incoming.replyTo : undefined
    expect(replyTo).toMatchObject({ topic: 'skein/v1/dev/a/down/answers' })
    const packet = new Promise((resolve) => a.client.once('message', (_topic, _body, heard) => resolve(heard)))
    door.send(to('a'), { of: 'message', kind: 'chunk', body: Buffer.from('{"id":1}'), replyTo: replyTo! })
    expect(await packet).toMatchObject({
      topic: 'skein/v1/dev/a/down/answers',
      properties: { contentType: 'chunk', correlationData: Buffer.from([0, 255, 7]) },
    })
  })

  describe.each([4, 5] as const)('access of a device that speaks version %i', (protocolVersion) => {
    it.each([
      'skein/v1/dev/b/up/tele',
      'skein/v1/dev/a/down/cmd',
      'skein/v1/claim/c/up',
      'skein/v1/bridge/attic/state',
    ])('it cannot publish on %s', async (topic) => {
      const a = await listening('a', { protocolVersion })
      await a.client.publishAsync(topic, '{"n":1}', { qos: 1 }).catch(() => undefined)
      await a.client.publishAsync('skein/v1/dev/a/up/ping', '{"n":1}', { qos: 1 })
      await until(() => told.bodies('ping').length > 0)
      expect(told.incoming).toHaveLength(1)
      expect(a.heard).toEqual([])
    })

    it.each(['skein/v1/dev/b/down/#', '#', 'skein/v1/dev/b/up/#', 'skein/v1/claim/c/down'])(
      'it cannot read %s',
      async (filter) => {
        const a = await device(own('a', { protocolVersion }))
        await a.client.subscribeAsync(filter).catch(() => undefined)
        const b = await listening('b')
        door.send(to('b'), message('for b'))
        await until(() => b.heard.length > 0)
        expect(a.heard).toEqual([])
      },
    )

    it('its last will on the topic of another is not delivered, and its client id takes nobody away', async () => {
      const a = await listening('a')
      const will = { topic: 'skein/v1/dev/a/up/state', payload: Buffer.from('lost'), qos: 1 as const, retain: false }
      const b = await device(own('b', { clientId: 'a', protocolVersion, will }))
      expect(b.client.connected).toBe(true)
      b.client.stream.destroy()
      await a.client.publishAsync('skein/v1/dev/a/up/ping', '{"n":2}', { qos: 1 })
      await until(() => told.bodies('ping').length > 0)
      expect(told.bodies('state')).toEqual([])
      expect(a.client.connected).toBe(true)
    })

    it('nobody comes in without a credential', async () => {
      for (const options of [{}, { username: 'a', password: 'key-of-b' }]) {
        const made = await device({ clientId: 'a', protocolVersion, ...options })
        expect(made.client.connected).toBe(false)
      }
    })
  })

  it('a board claims at its own door, under its own chip', async () => {
    const board = await device({ clientId: 'c0ffee' }, broker.claimPort)
    await board.client.subscribeAsync('skein/v1/claim/c0ffee/down')
    const thief = await device({ clientId: 'badbad' }, broker.claimPort)
    await thief.client.subscribeAsync('skein/v1/claim/+/down').catch(() => undefined)
    await board.client.publishAsync('skein/v1/claim/c0ffee/up', '{"v":1,"code":"4711"}', { qos: 1 })
    await until(() => told.incoming.length > 0)
    expect(told.incoming[0]!.origin).toEqual({ of: 'chip', chip: 'c0ffee' })
    door.send({ of: 'chip', chip: 'c0ffee' }, { of: 'message', kind: 'grant', body: Buffer.from('secret') })
    await until(() => board.heard.length > 0)
    expect(thief.heard).toEqual([])
  })

  it('comes back when the broker was killed, and takes what was published behind its back by nobody', async () => {
    told.ups.length = 0
    await broker.kill()
    await until(() => !door.isUp)
    expect(door.send(to('a'), message('x'))).toBe(false)
    await broker.up()
    await until(() => door.isUp)
    const a = await listening('a')
    a.client.publish('skein/v1/dev/a/up/ping', '{"n":3}')
    await until(() => told.bodies('ping').length > 0)
    door.send(to('a'), message('again'))
    await until(() => a.heard.length > 0)
    expect(told.ups).toEqual([false, true])
  })
})

/** A clock whose long timers, those by which a link is watched, go off when a test says so. */
class WatchedClock implements Clock {
  readonly #watches = new Set<() => void>()

  wallMs(): number {
    return clock.wallMs()
  }
  nowMs(): number {
    return clock.nowMs()
  }
  timer(delayMs: number, fire: () => void): CancelTimer {
    if (delayMs < 5000) return clock.timer(delayMs, fire)
    const watch = (): void => {
      this.#watches.delete(watch)
      fire()
    }
    this.#watches.add(watch)
    return () => void this.#watches.delete(watch)
  }
  elapse(): void {
    for (const watch of [...this.#watches]) watch()
  }
}

describe('at a Mosquitto that freezes', () => {
  it('leaves the half-open link, whatever it has to send meanwhile, and comes back when the broker does', async () => {
    const broker = await Mosquitto.start([mosquittoLine('skein-bridge', KEYS['skein-bridge']!, random)])
    const played = new WatchedClock()
    const told = new Told()
    const door = new BrokerDoor(
      { clock: played, random: new SeededRandom(7), log: silentLogger, tally: new Counts() },
      { url: `mqtt://127.0.0.1:${broker.port}`, bridge: 'attic', user: 'skein-bridge', password: 'of-the-bridge' },
    )
    try {
      door.listen(told)
      await door.start()
      await until(() => door.isUp)
      broker.freeze()
      // a half of the time that silence may last, then a ping, then the end
      for (let elapsed = 0; elapsed < 3; elapsed++) {
        expect(door.send(to('a'), message('x'))).toBe(true)
        played.elapse()
      }
      await until(() => !door.isUp)
      expect(door.send(to('a'), message('x'))).toBe(false)
      broker.thaw()
      await until(() => door.isUp)
      expect(told.ups).toEqual([true, false, true])
    } finally {
      broker.thaw()
      await door.stop()
      await broker.stop()
    }
  })
})

describe('at other brokers', () => {
  it('falls back to MQTT 3.1.1 where 5 is refused, keeps the delay of small packets off, and leaves word of its end', async () => {
    const noDelay = vi.spyOn(Socket.prototype, 'setNoDelay')
    const other = await Aedes.createBroker()
    const states: string[] = []
    other.subscribe(
      'skein/v1/bridge/attic/state',
      (packet, done) => (states.push(packet.payload.toString()), done()),
      () => undefined,
    )
    const server = createServer(other.handle).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const door = doorTo(port, new Counts())
    await door.start()
    await until(() => door.isUp)
    expect(door.protocolVersion).toBe(4)
    expect(noDelay).toHaveBeenCalledWith(true)
    await until(() => states.length > 0)
    await door.stop()
    await until(() => states.length > 1)
    expect(states).toEqual(['online', 'offline'])
    noDelay.mockRestore()
    await new Promise<void>((resolve) => other.close(() => resolve()))
    server.close()
  })

  it('waits longer after each failure, and never for the same time', async () => {
    let connections = 0
    const server = createServer((socket) => {
      connections++
      socket.destroy()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const waits: number[] = []
    const played = {
      ...{ wallMs: () => clock.wallMs(), nowMs: () => clock.nowMs() },
      timer: (delayMs: number, fire: () => void) => {
        waits.push(delayMs)
        return clock.timer(0, fire)
      },
    }
    const door = new BrokerDoor(
      { clock: played, random: new SeededRandom(3), log: silentLogger, tally: new Counts() },
      { url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`, bridge: 'attic' },
    )
    await door.start()
    await until(() => connections >= 12)
    await door.stop()
    server.close()
    expect(new Set(waits).size).toBe(waits.length)
    waits.forEach((waitMs, at) => expect(waitMs).toBeLessThanOrEqual(Math.min(30_000, 250 * 2 ** at)))
    expect(Math.max(...waits)).toBeGreaterThan(5000)
  })

  it('refuses what is no address of a broker', () => {
    for (const url of ['http://x', 'mqtt:', '127.0.0.1'])
      expect(() => doorTo(1, new Counts(), { url })).toThrow('is no URL of a broker')
  })
})
