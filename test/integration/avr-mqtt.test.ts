/**
 * The Arduino library over MQTT, to a real broker: a sketch compiled for this machine, and a simulated Uno whose serial line
 * is the connection.
 */
import { Aedes, type AedesPublishPacket, type Client } from 'aedes'
import { spawn } from 'node:child_process'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  decodeMessage,
  encodeMessage,
  formatOf,
  messageTopic,
  parseTopic,
  type DownMessage,
  type UpMessage,
} from '../../firmware-bridge/messages/index.ts'
import { buildForHost, exampleOf, hasHost } from '../fixtures/avr/toolchain.ts'
import { programOf, SimulatedUno } from '../fixtures/avr/uno.ts'
import { UnoPort } from '../fixtures/avr/uno-port.ts'
import { after, temporaryDirectory } from '../fixtures/temporary.ts'

/** A broker, and what devices said to it. */
class Broker {
  readonly said: { readonly device: string; readonly message: UpMessage }[] = []
  readonly clients: { readonly id: string; readonly user: string; readonly key: string }[] = []
  readonly #aedes: Aedes
  #heard: (() => void)[] = []

  static async open(): Promise<Broker> {
    const clients: Broker['clients'] = []
    const aedes = await Aedes.createBroker({
      authenticate: (client: Client, user, key, done) => {
        clients.push({ id: client.id, user: String(user), key: String(key) })
        done(null, String(key).startsWith('key-of-'))
      },
    })
    after(() => new Promise<void>((resolve) => aedes.close(() => resolve())))
    return new Broker(aedes, clients)
  }

  private constructor(aedes: Aedes, clients: Broker['clients']) {
    this.#aedes = aedes
    this.clients = clients
    aedes.on('publish', (packet) => this.#hear(packet))
  }

  get handle(): Aedes['handle'] {
    return this.#aedes.handle
  }

  async send(device: string, message: DownMessage, extra = new Uint8Array(0)): Promise<void> {
    const payload = Buffer.concat([encodeMessage(message, 'cbor'), extra])
    const topic = messageTopic(device, 'down', message.kind)
    await new Promise<void>((resolve) =>
      this.#aedes.publish({ cmd: 'publish', topic, payload, qos: 0, retain: false, dup: false }, () => resolve()),
    )
  }

  /** The first message of a kind that is said from now on, or was. */
  async next<K extends UpMessage['kind']>(
    kind: K,
    isMeant: (message: Extract<UpMessage, { kind: K }>) => boolean = () => true,
  ): Promise<Extract<UpMessage, { kind: K }>> {
    for (;;) {
      const found = this.said.find((each) => each.message.kind === kind && isMeant(each.message as never))
      if (found) return found.message as Extract<UpMessage, { kind: K }>
      await new Promise<void>((resolve) => this.#heard.push(resolve))
    }
  }

  #hear({ topic, payload }: AedesPublishPacket): void {
    const parsed = parseTopic(topic)
    if (!parsed.ok || parsed.value.of !== 'message' || parsed.value.direction !== 'up') return
    const body = payload as Buffer
    const decoded = decodeMessage(parsed.value.kind, body, formatOf(body), 'up')
    if (!decoded.ok) expect.fail(decoded.refusal.why)
    this.said.push({ device: parsed.value.device, message: decoded.value })
    for (const wake of this.#heard.splice(0)) wake()
  }
}

const welcome = (device: string, boot: number): DownMessage => ({
  ...{ kind: 'welcome', v: 1, boot, t: 1_800_000_000, hb: 30, rx: 4096, id: device },
})

describe.skipIf(!hasHost)('a sketch on this machine', () => {
  it('joins, tells, asks, is answered, is set, and is missed when it dies', async () => {
    const program = join(await temporaryDirectory(), 'ask')
    buildForHost(exampleOf('AskOverMqtt'), program)
    const broker = await Broker.open()
    const server = createServer({ noDelay: true }, (socket) => void broker.handle(socket))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    after(() => new Promise<void>((resolve) => server.close(() => resolve())))
    const { port } = server.address() as AddressInfo
    const env = { SKEIN_PORT: String(port), SKEIN_DEVICE: 'pump-1', SKEIN_KEY: 'key-of-pump-1', HOST_ANALOG: '430' }
    const child = spawn(program, { env, stdio: ['pipe', 'pipe', 'inherit'] })
    after(async () => void child.kill('SIGKILL'))
    let printed = ''
    child.stdout.on('data', (bytes: Buffer) => (printed += bytes.toString()))

    const hello = await broker.next('hello')
    expect(broker.clients).toEqual([{ id: 'pump-1', user: 'pump-1', key: 'key-of-pump-1' }])
    expect(hello).toMatchObject({ fmt: 'cbor', rx: 1024, n: 2, fw: 'ask 1.0' })
    expect((await broker.next('caps')).c).toEqual(['rf:temperature:C', 'wb:led'])
    // what is larger than its buffer is passed over, and what comes behind it is heard
    await broker.send('pump-1', { kind: 'bye', c: 'revoked' }, new Uint8Array(2000))
    await broker.send('pump-1', welcome('pump-1', hello.boot))
    expect((await broker.next('tele')).r).toEqual([[0, 21.5]])

    const asked = await broker.next('infer')
    expect(asked).toMatchObject({ q: 'Why is the sky blue? Answer in one sentence.', ttl: 60, max: 400 })
    await broker.send('pump-1', { kind: 'accept', id: asked.id, s: 'accepted' })
    await broker.send('pump-1', { kind: 'chunk', id: asked.id, i: 0, l: false, t: 'Blue light ' })
    expect(await broker.next('credit')).toMatchObject({ next: 1, n: 1 })
    await broker.send('pump-1', { kind: 'chunk', id: asked.id, i: 1, l: true, t: 'scatters.', fin: 'stop' })
    await broker.next('credit', ({ next }) => next === 2)
    await expect.poll(() => printed).toBe('Blue light scatters.\n')

    await broker.send('pump-1', { kind: 'cmd', id: 1, c: 1, v: true })
    expect(await broker.next('result')).toEqual({ kind: 'result', id: 1, ok: true, v: true })
    child.kill('SIGKILL')
    expect(await broker.next('state', ({ s }) => s === 'lost')).toEqual({ kind: 'state', s: 'lost' })
  })
})

describe('a Uno whose serial line is its connection', () => {
  it('joins the broker, is set, and is missed when it is unplugged', async () => {
    const broker = await Broker.open()
    const uno = new SimulatedUno(programOf('mqtt'))
    uno.setAnalog(0, 2.5)
    const port = new UnoPort(uno)
    after(async () => void port.destroy())
    broker.handle(port as never)
    const hello = await broker.next('hello')
    expect(hello).toMatchObject({ fmt: 'cbor', rx: 160, fw: 'mqtt', class: 'uno' })
    await broker.send('uno-1', welcome('uno-1', hello.boot))
    expect((await broker.next('tele')).r).toEqual([[0, 512]])
    await broker.send('uno-1', { kind: 'cmd', id: 1, c: 1, v: true })
    expect(await broker.next('result')).toMatchObject({ id: 1, ok: true })
    expect(uno.pin(13)).toBe(true)
    port.destroy()
    expect(await broker.next('state', ({ s }) => s === 'lost')).toEqual({ kind: 'state', s: 'lost' })
  })
})
