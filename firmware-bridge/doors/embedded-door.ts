/**
 * The bridge's own broker, for devices without another: MQTT 3.1.1 through aedes. The bridge takes part in process: what a
 * device publishes never crosses another socket, and what it is sent goes to its connection alone, so that a device that
 * stops reading stops nobody else. A device reaches its own topics alone; nothing is retained, and no session outlives its
 * connection.
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Aedes, type AedesPublishPacket, type Client, type PublishPacket } from 'aedes'
import { asSkeinError, LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import { claimTopic, downTopics, messageTopic, SUBSCRIPTIONS, TOPIC_ROOT } from '../messages/index.ts'
import {
  Bucket,
  type Door,
  type DoorListener,
  type Incoming,
  type Origin,
  type Outgoing,
  type Tally,
} from '../ports/index.ts'
import { incomingOf } from './incoming.ts'
import { PacketGate } from './packet-gate.ts'
import { covers } from './topic-filter.ts'

/** The user of boards that have no credential yet. */
export const CLAIM_USER = 'claim'

/** Who may connect as which device. */
export interface Credentials {
  isCredential(device: string, credential: Uint8Array): boolean
  /** The device that is trusted at a serial port. */
  deviceOfPort(port: string): string | undefined
}

export interface EmbeddedDoorComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly tally: Tally
  readonly credentials: Credentials
}

export interface EmbeddedDoorInit {
  /** Absent: serial lines alone. */
  readonly listen?: { readonly host: string; readonly port: number }
  /** Told when another program has that address; the broker then serves serial lines alone. Absent: the start fails. */
  readonly onUnavailable?: (error: SkeinError) => void
  /** A client that reads nothing is cut after this long, in ms. */
  readonly drainMs?: number
}

/** A serial line on which a board speaks MQTT. */
export interface SerialPortOf {
  readonly port: string
  readonly path: string
}

/** Who is at the other end of a connection. */
type Role = { readonly of: 'device'; readonly device: string } | { readonly of: 'claim'; chip: string | undefined }

/** Packets of one connection in a second: a device's messages, and what keeps it alive. */
const PACKETS_PER_SECOND = 4 * LIMITS.deviceMessagesPerSecondMax
const PACKETS_BURST = 4 * LIMITS.deviceMessagesBurstMax
const RETURN_BAD_CREDENTIALS = 4

interface Refused extends Error {
  returnCode: number
}

export class EmbeddedDoor implements Door {
  readonly name = 'embedded broker'
  readonly #components: EmbeddedDoorComponents
  readonly #init: EmbeddedDoorInit
  readonly #roles = new WeakMap<Client, Role>()
  readonly #buckets = new WeakMap<Client, Bucket>()
  readonly #ports = new WeakMap<object, SerialPortOf>()
  /** By device, then by chip. */
  readonly #clients = new Map<string, Client>()
  #listener: DoorListener | undefined
  #broker: Aedes | undefined
  #server: Server | undefined

  constructor(components: EmbeddedDoorComponents, init: EmbeddedDoorInit) {
    this.#components = { ...components, log: components.log.scope('embedded') }
    this.#init = init
  }

  get isUp(): boolean {
    return this.#broker !== undefined
  }

  /** Where it listens; `undefined` before the start and without an address. */
  get address(): { readonly host: string; readonly port: number } | undefined {
    const address = this.#server?.address() as AddressInfo | null | undefined
    return address ? { host: address.address, port: address.port } : undefined
  }

  listen(listener: DoorListener): void {
    this.#listener = listener
  }

  /** @throws SkeinError PORT_IN_USE, LISTEN_FAILED. */
  async start(): Promise<void> {
    const broker = await Aedes.createBroker({
      drainTimeout: this.#init.drainMs ?? LIMITS.bridgeDrainMs,
      connectTimeout: LIMITS.bridgeConnectMs,
      maxTopicLevels: 8,
      maxInflightInbound: 8,
      preConnect: (_client, packet, done) => {
        // a session that outlives its connection would keep what nobody may read any more
        packet.clean = true
        done(null, true)
      },
      authenticate: (client, user, password, done) => {
        const role = this.#roleOf(client, user, password)
        if (role === undefined) {
          this.#components.tally.count('bad_credentials')
          return done(refused(), null)
        }
        this.#roles.set(client, role)
        // a client cannot take the place of another by its id
        if (role.of === 'device') (client as { id: string }).id = role.device
        done(null, true)
      },
      authorizePublish: (client, packet, done) => done(client === null ? null : this.#mayPublish(client, packet)),
      authorizeSubscribe: (client, subscription, done) =>
        done(null, this.#mayRead(client, subscription.topic) ? subscription : null),
      authorizeForward: (client, packet) => (this.#mayRead(client, packet.topic) ? packet : null),
    })
    this.#broker = broker
    broker.on('client', (client) => this.#onClient(client))
    broker.on('clientDisconnect', (client) => this.#onGone(client))
    for (const event of ['clientError', 'connectionError'] as const)
      broker.on(event, (_client, error) => this.#components.log.debug({ err: error }, 'a connection failed'))
    for (const filter of SUBSCRIPTIONS)
      broker.subscribe(
        filter,
        (packet, done) => {
          this.#onPublish(packet)
          done()
        },
        () => undefined,
      )
    if (this.#init.listen) await this.#listen(broker, this.#init.listen)
    this.#listener?.onUp(this, true)
  }

  async stop(): Promise<void> {
    const server = this.#server
    const broker = this.#broker
    this.#server = undefined
    this.#broker = undefined
    if (server) {
      server.close()
    }
    if (broker) await new Promise<void>((resolve) => broker.close(() => resolve()))
    this.#clients.clear()
    this.#listener?.onUp(this, false)
  }

  /** A board speaks MQTT over a serial line; its first bytes are in `stream` still. */
  attach(stream: Duplex, at: SerialPortOf): void {
    if (this.#broker === undefined) return void stream.destroy()
    this.#ports.set(stream, at)
    this.#guard(stream)
    this.#broker.handle(stream)
  }

  send(origin: Origin, outgoing: Outgoing): boolean {
    if (outgoing.of !== 'message' || origin.of === 'port') return false
    const client = this.#clients.get(keyOf(origin))
    if (client === undefined || client.closed) return false
    const topic =
      origin.of === 'device' ? messageTopic(origin.device, 'down', outgoing.kind) : claimTopic(origin.chip, 'down')
    const filters = Object.keys((client as unknown as { subscriptions: object }).subscriptions)
    if (!filters.some((filter) => covers(filter, topic))) {
      this.#components.tally.count('not_subscribed')
      return false
    }
    if ((client.conn as Duplex).writableLength > LIMITS.deviceSendBytesMax) {
      this.#components.tally.count('link_full')
      return false
    }
    const packet: PublishPacket = {
      cmd: 'publish',
      topic,
      payload: Buffer.from(outgoing.body),
      qos: 0,
      retain: false,
      dup: false,
    }
    client.publish(packet, () => undefined)
    return true
  }

  cut(origin: Origin): void {
    if (origin.of !== 'port') this.#clients.get(keyOf(origin))?.close()
  }

  async #listen(broker: Aedes, { host, port }: { readonly host: string; readonly port: number }): Promise<void> {
    const server = createServer({ noDelay: true }, (socket: Socket) => {
      this.#guard(socket)
      broker.handle(socket)
    })
    server.maxConnections = LIMITS.bridgeClientsMax
    server.listen(port, host)
    try {
      await once(server, 'listening')
    } catch (error) {
      const failure =
        (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
          ? new SkeinError('PORT_IN_USE', `another program listens on ${host}:${port}`)
          : asSkeinError(error, 'LISTEN_FAILED')
      if (this.#init.onUnavailable) return this.#init.onUnavailable(failure)
      throw failure
    }
    server.on('error', (error) => this.#components.log.error({ err: error }, 'the broker cannot take connections'))
    this.#server = server
  }

  /** Every byte is looked at as aedes takes it, so that no packet over the bound is ever collected. */
  #guard(stream: Duplex): void {
    const gate = new PacketGate(LIMITS.bridgePacketBytesMax)
    const read = stream.read.bind(stream)
    stream.read = (size?: number) => {
      const chunk = read(size) as Uint8Array | null
      if (chunk === null || gate.admits(chunk)) return chunk
      this.#components.tally.count('too_large')
      stream.destroy()
      return null
    }
  }

  #roleOf(client: Client, user: string | undefined, password: Uint8Array | undefined): Role | undefined {
    const { credentials } = this.#components
    const serial = this.#ports.get(client.conn)
    if (serial !== undefined && user === undefined) {
      const device = credentials.deviceOfPort(serial.port)
      return device === undefined ? undefined : { of: 'device', device }
    }
    if (user === CLAIM_USER) return { of: 'claim', chip: undefined }
    if (user === undefined || password === undefined) return undefined
    return credentials.isCredential(user, password) ? { of: 'device', device: user } : undefined
  }

  /** Why `packet` may not be published; `null` when it may. The error ends the connection. */
  #mayPublish(client: Client, packet: PublishPacket): Error | null {
    const { clock, tally } = this.#components
    let bucket = this.#buckets.get(client)
    if (bucket === undefined) this.#buckets.set(client, (bucket = new Bucket(clock, PACKETS_PER_SECOND, PACKETS_BURST)))
    if (!bucket.take()) {
      tally.count('flood')
      return new SkeinError('RATE_LIMITED', 'too many messages in a second')
    }
    // boards are told to retain their state; here it is known without
    packet.retain = false
    const role = this.#roles.get(client)
    if (role?.of === 'device' && packet.topic.startsWith(`${TOPIC_ROOT}/dev/${role.device}/up/`)) return null
    if (role?.of === 'claim' && isOwnClaim(role, packet.topic, 'up')) {
      this.#clients.set(keyOf({ of: 'chip', chip: role.chip! }), client)
      return null
    }
    tally.count('foreign_topic')
    return new SkeinError('FORBIDDEN', 'not a topic of this device')
  }

  #mayRead(client: Client, topic: string): boolean {
    const role = this.#roles.get(client)
    if (role === undefined) return false
    if (role.of === 'device' ? covers(downTopics(role.device), topic) : isOwnClaim(role, topic, 'down')) return true
    this.#components.tally.count('foreign_topic')
    return false
  }

  #onClient(client: Client): void {
    const role = this.#roles.get(client)
    if (role?.of === 'device') this.#clients.set(role.device, client)
  }

  #onGone(client: Client): void {
    const role = this.#roles.get(client)
    const origin: Origin | undefined =
      role?.of === 'device' ? role : role?.chip === undefined ? undefined : { of: 'chip', chip: role.chip }
    if (origin === undefined || this.#clients.get(keyOf(origin)) !== client) return
    this.#clients.delete(keyOf(origin))
    this.#listener?.onIncoming(this, origin, { of: 'closed' })
  }

  #onPublish({ topic, payload }: AedesPublishPacket): void {
    const found = incomingOf({ topic, payload })
    if (found === undefined) this.#components.tally.count('foreign_topic')
    else this.#listener?.onIncoming(this, found.origin, found.incoming satisfies Incoming)
  }
}

const keyOf = (origin: Exclude<Origin, { of: 'port' }>): string =>
  origin.of === 'device' ? origin.device : `/${origin.chip}`

/** A connection claims for one chip: the first that it names. */
function isOwnClaim(role: Extract<Role, { of: 'claim' }>, topic: string, direction: 'up' | 'down'): boolean {
  const [root, version, branch, chip = ''] = topic.split('/')
  if (`${root}/${version}/${branch}` !== `${TOPIC_ROOT}/claim` || topic !== claimTopic(chip, direction)) return false
  role.chip ??= chip
  return role.chip === chip && !/[+#]/.test(chip)
}

const refused = (): Refused =>
  Object.assign(new SkeinError('UNAUTHENTICATED', 'the credential is wrong'), { returnCode: RETURN_BAD_CREDENTIALS })
