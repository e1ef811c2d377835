/**
 * A broker of the owner's: Mosquitto, EMQX, Home Assistant's. The bridge is a client of it, with MQTT 5 where the broker has
 * it and 3.1.1 elsewhere. Each connection is a new client of the library, whose listeners stand before its first byte can
 * come; the waits between them grow with full jitter, so that a house full of bridges does not return at once.
 */
import { readFileSync } from 'node:fs'
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import { asSkeinError, LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import { bridgeTopic, claimTopic, messageTopic, SUBSCRIPTIONS } from '../messages/index.ts'
import type { Announcer, Door, DoorListener, Origin, Outgoing, ReplyTo, Tally } from '../ports/index.ts'
import { incomingOf } from './incoming.ts'
import { covers } from './topic-filter.ts'

export interface BrokerDoorComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly tally: Tally
}

export interface BrokerDoorInit {
  /** `mqtt://[user:password@]host[:port]`, or `mqtts://`. */
  readonly url: string
  readonly bridge: string
  readonly user?: string
  readonly password?: string
  /** PEM of the authority that the broker's certificate is of. */
  readonly caFile?: string
  /** Pre-shared key in place of certificates. */
  readonly psk?: { readonly identity: string; readonly key: Uint8Array }
}

/** First wait between two connections, in ms; doubled after each that failed. */
const WAIT_MS = 250
const KEEPALIVE_S = 15
/** Reason codes of SUBACK from here on are refusals. */
const SUBACK_REFUSED = 128
/** CONNACK of 3.1.1, and of 5: another version of the protocol is wanted. */
const WRONG_VERSION: ReadonlySet<number> = new Set([1, 132])

export class BrokerDoor implements Door, Announcer {
  readonly name = 'broker'
  readonly #components: BrokerDoorComponents
  readonly #init: BrokerDoorInit
  readonly #options: IClientOptions
  readonly #extra = new Map<string, (topic: string, payload: string) => void>()
  readonly #onConnect: (() => void)[] = []
  #listener: DoorListener | undefined
  #client: MqttClient | undefined
  #isUp = false
  #version: 4 | 5 = 5
  #failures = 0
  #retry: CancelTimer | undefined
  #isStopped = false

  /** @throws SkeinError CONFIG_INVALID: the URL is none, or the file cannot be read. */
  constructor(components: BrokerDoorComponents, init: BrokerDoorInit) {
    this.#components = { ...components, log: components.log.scope('broker') }
    this.#init = init
    this.#options = { ...optionsOf(init), timerVariant: intervalsOf(components.clock) }
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Of the protocol that it speaks with the broker: 4 is 3.1.1. */
  get protocolVersion(): 4 | 5 {
    return this.#version
  }

  listen(listener: DoorListener): void {
    this.#listener = listener
  }

  /** Does not wait for the broker, which may come later. */
  start(): Promise<void> {
    this.#connect()
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#retry?.()
    const client = this.#client
    if (client === undefined) return
    // a clean end publishes no last will
    if (this.#isUp) this.#publish(this.#stateTopic, 'offline', { retain: true, qos: 1 })
    this.#down()
    await Promise.race([client.endAsync().catch(() => undefined), this.#endSoon(client)])
  }

  send(origin: Origin, outgoing: Outgoing): boolean {
    const client = this.#client
    if (client === undefined || !this.#isUp || outgoing.of !== 'message' || origin.of === 'port') return false
    const { replyTo } = outgoing
    const topic =
      replyTo?.topic ??
      (origin.of === 'device' ? messageTopic(origin.device, 'down', outgoing.kind) : claimTopic(origin.chip, 'down'))
    if ((client.stream as { writableLength?: number }).writableLength! > BACKLOG_BYTES_MAX) {
      this.#components.tally.count('link_full')
      return false
    }
    this.#publish(topic, Buffer.from(outgoing.body), {
      qos: 0,
      ...(replyTo && this.#version === 5 && { properties: answerProperties(outgoing.kind, replyTo) }),
    })
    return true
  }

  /** The broker holds the link; its own means end it. */
  cut(): void {}

  publish(topic: string, payload: string, isRetained: boolean): void {
    if (this.#isUp) this.#publish(topic, payload, { qos: 1, retain: isRetained })
  }

  subscribe(filter: string, listener: (topic: string, payload: string) => void): void {
    this.#extra.set(filter, listener)
    if (this.#isUp) this.#subscribe(this.#client!)
  }

  onConnect(listener: () => void): void {
    this.#onConnect.push(listener)
  }

  get #stateTopic(): string {
    return bridgeTopic(this.#init.bridge)
  }

  #connect(): void {
    if (this.#isStopped) return
    const client = mqtt.connect(this.#init.url, { ...this.#options, protocolVersion: this.#version })
    this.#client = client
    // before the event loop turns: what comes with CONNACK would be acknowledged and lost
    client.on('message', (topic, payload, packet) => this.#onMessage(topic, payload, packet))
    client.on('connect', () => this.#onConnected(client))
    client.on('error', (error) => this.#onError(client, error))
    client.on('close', () => this.#onClosed(client))
  }

  #onConnected(client: MqttClient): void {
    if (client !== this.#client) return
    // Nagle's algorithm costs tens of ms an answer; the library leaves it on
    ;(client.stream as { setNoDelay?: (isOn: boolean) => void }).setNoDelay?.(true)
    this.#failures = 0
    this.#isUp = true
    this.#components.log.info({ url: shown(this.#init.url), version: this.#version }, 'connected to the broker')
    this.#subscribe(client)
    this.#publish(this.#stateTopic, 'online', { qos: 1, retain: true })
    this.#listener?.onUp(this, true)
    for (const listener of this.#onConnect) listener()
  }

  #subscribe(client: MqttClient): void {
    // what the bridge itself publishes need not come back
    const options = { qos: 1, ...(this.#version === 5 && { nl: true }) } as const
    client.subscribe([...SUBSCRIPTIONS, ...this.#extra.keys()], options, (error, granted = []) => {
      const refused = granted.filter(({ qos }) => qos >= SUBACK_REFUSED).map(({ topic }) => topic)
      if (error === null && refused.length === 0) return
      this.#components.tally.count('subscription_refused')
      this.#components.log.error(
        { err: error, topics: refused },
        'the broker does not let the bridge read the topics of devices; see deploy/ for its access rules',
      )
    })
  }

  #onError(client: MqttClient, error: Error & { code?: unknown }): void {
    if (client !== this.#client) return
    const isWrongVersion = typeof error.code === 'number' && WRONG_VERSION.has(error.code)
    if (isWrongVersion && this.#version === 5) {
      this.#version = 4
      this.#failures = 0
    }
    if (this.#failures === 0 && !isWrongVersion)
      this.#components.log.warn({ err: error, url: shown(this.#init.url) }, 'the broker cannot be reached')
  }

  #onClosed(client: MqttClient): void {
    if (client !== this.#client || this.#isStopped) return
    this.#client = undefined
    client.end(true)
    this.#down()
    const { clock, random } = this.#components
    const longestMs = Math.min(LIMITS.bridgeReconnectMs, WAIT_MS * 2 ** Math.min(this.#failures++, 16))
    this.#retry = clock.timer(random.next() * longestMs, () => this.#connect())
  }

  #down(): void {
    if (!this.#isUp) return
    this.#isUp = false
    this.#components.log.warn({ url: shown(this.#init.url) }, 'the connection to the broker is closed')
    this.#listener?.onUp(this, false)
  }

  #onMessage(topic: string, payload: Buffer, packet: IPublishPacket): void {
    const { tally } = this.#components
    const extra = this.#extra.get(topic) ?? this.#extraFor(topic)
    if (extra) return extra(topic, payload.toString('utf8'))
    if (payload.length > LIMITS.bridgePacketBytesMax) return tally.count('too_large')
    const { responseTopic, correlationData } = packet.properties ?? {}
    const found = incomingOf({
      topic,
      payload,
      isRetained: packet.retain,
      ...(responseTopic !== undefined && {
        replyTo: { topic: responseTopic, ...(correlationData && { correlation: correlationData }) },
      }),
    })
    if (found === undefined) tally.count('foreign_topic')
    else this.#listener?.onIncoming(this, found.origin, found.incoming)
  }

  #extraFor(topic: string): ((topic: string, payload: string) => void) | undefined {
    for (const [filter, listener] of this.#extra) if (covers(filter, topic)) return listener
    return undefined
  }

  #publish(topic: string, payload: string | Buffer, options: mqtt.IClientPublishOptions): void {
    this.#client?.publish(topic, payload, options, (error) => {
      if (error) this.#components.tally.count('not_published')
    })
  }

  #endSoon(client: MqttClient): Promise<void> {
    return new Promise((resolve) => {
      this.#components.clock.timer(END_MS, () => {
        client.end(true)
        resolve()
      })
    })
  }
}

/** Bytes that wait for the broker; what comes then is not sent. */
const BACKLOG_BYTES_MAX = 4 * 1024 * 1024
/** A broker that does not read may hold up the end this long, in ms. */
const END_MS = 1000

/** What the library notices by that a link is half open: a ping after 15 s of silence, the end after 7.5 more. */
function intervalsOf(clock: Clock): NonNullable<IClientOptions['timerVariant']> {
  const running = new Map<number, CancelTimer>()
  let newest = 0
  const again = (id: number, fire: () => void, everyMs: number): void => {
    const next = (): void => {
      again(id, fire, everyMs)
      fire()
    }
    running.set(id, clock.timer(everyMs, next))
  }
  const set = (fire: () => void, everyMs: number): number => {
    again(++newest, fire, everyMs)
    return newest
  }
  const clear = (id: number): void => {
    running.get(id)?.()
    running.delete(id)
  }
  return { set, clear } as unknown as NonNullable<IClientOptions['timerVariant']>
}

/** A URL as it may be logged. */
export function shown(url: string): string {
  const parsed = new URL(url)
  parsed.username = ''
  parsed.password = ''
  return parsed.toString()
}

function optionsOf({ url, bridge, user, password, caFile, psk }: BrokerDoorInit): IClientOptions {
  if (!URL.canParse(url) || !/^mqtts?:$/.test(new URL(url).protocol) || new URL(url).hostname === '')
    throw new SkeinError('CONFIG_INVALID', `${url} is no URL of a broker: mqtt://HOST[:PORT] or mqtts://HOST[:PORT]`)
  return {
    clientId: `skein-bridge-${bridge}`,
    clean: true,
    keepalive: KEEPALIVE_S,
    connectTimeout: LIMITS.bridgeConnectMs,
    reconnectPeriod: 0,
    queueQoSZero: false,
    resubscribe: false,
    will: { topic: bridgeTopic(bridge), payload: Buffer.from('offline'), qos: 1, retain: true },
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
    ...(caFile !== undefined && { ca: readCa(caFile) }),
    ...(psk && pskOptions(psk)),
  }
}

function readCa(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new SkeinError('CONFIG_INVALID', `the broker's authority ${path}: ${asSkeinError(cause).message}`, { cause })
  }
}

/** At a response topic the kind stands in no topic: it is the content type. */
const answerProperties = (kind: string, { correlation }: ReplyTo) => ({
  contentType: kind,
  ...(correlation && { correlationData: Buffer.from(correlation) }),
})

/** TLS 1.3 of Node has no external pre-shared keys. */
const pskOptions = ({ identity, key }: { readonly identity: string; readonly key: Uint8Array }): object => ({
  pskCallback: () => ({ psk: Buffer.from(key), identity }),
  ciphers: 'PSK-AES128-GCM-SHA256:PSK-AES256-GCM-SHA384',
  maxVersion: 'TLSv1.2',
  checkServerIdentity: () => undefined,
})
