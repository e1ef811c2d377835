/**
 * The bridge of one machine: its database, the doors by which devices come in, their sessions, what they ask, and the
 * coordinator that is told. Started in that order, stopped in reverse.
 */
import type { Duplex } from 'node:stream'
import { LIMITS, type RuleReport, type SkeinError } from '../mesh/protocol/index.ts'
import { Lifecycle, type CancelTimer, type Clock, type Logger, type Random } from '../mesh/runtime/index.ts'
import { AskDesk, ASKS_SCHEMA, SqlAskStore, type AskQuotas } from './asks/index.ts'
import {
  CoordinatorAnswers,
  Endpoints,
  HttpCoordinatorLink,
  HttpSensorModels,
  RuleClient,
} from './coordinator/index.ts'
import { HomeAssistant } from './discovery/index.ts'
import { BrokerDoor, EmbeddedDoor, SerialDoor, systemSerialPorts, type SerialPorts } from './doors/index.ts'
import { DynamicSecurity, manage, Register, type BrokerAddress, type ClaimView } from './joining/index.ts'
import type { Announcer, Door, Tally } from './ports/index.ts'
import { readRules, Rules, RULES_SCHEMA, SqlRuleStore } from './rules/index.ts'
import { Sessions } from './sessions/index.ts'
import { DEVICE_SCHEMA, openDatabase, openDeviceStore } from './store/index.ts'
import { readStreamRules, SensorStreams } from './streams/index.ts'
import { Counts } from './counts.ts'

export interface BridgeComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly ports?: SerialPorts
}

/** A broker of the owner's. */
export interface BrokerSettings {
  readonly of: 'broker'
  readonly url: string
  readonly user?: string
  readonly password?: string
  readonly caFile?: string
  readonly psk?: { readonly identity: string; readonly key: Uint8Array }
  /** It has Mosquitto's dynamic security, and the user above is its administrator. */
  readonly hasDynamicSecurity?: boolean
}

/** The bridge's own broker. */
export interface EmbeddedSettings {
  readonly of: 'embedded'
  readonly host: string
  readonly port: number
  /** Where another program has that address, the bridge goes on without it. */
  readonly isOptional?: boolean
}

export interface BridgeInit {
  /** Name of the bridge among those of the mesh. */
  readonly bridge: string
  /** Path of its database. */
  readonly database: string
  readonly mqtt: BrokerSettings | EmbeddedSettings | 'off'
  readonly serial: 'off' | 'auto' | readonly string[]
  readonly baud: number
  readonly isSerialTrusted: boolean
  readonly coordinators: readonly string[]
  readonly apiKey: () => string | undefined
  readonly quotas: AskQuotas
  /** Path of the rules by which models look at sensors. */
  readonly streams?: string
  /** Path of the rules by which readings make devices act. */
  readonly rules?: string
}

/** What a bridge tells its owner while it runs. */
export interface BridgeListener {
  onClaim(claim: ClaimView): void
  onNotice(text: string): void
}

const COUNTS_LOGGED_MS = 60_000

export class Bridge {
  readonly name = 'bridge'
  readonly #components: BridgeComponents
  readonly #init: BridgeInit
  readonly #listener: BridgeListener
  readonly #lifecycle: Lifecycle
  readonly #counts = new Counts()
  #embedded: EmbeddedDoor | undefined
  #serial: SerialDoor | undefined
  #link: HttpCoordinatorLink | undefined
  #sessions: Sessions | undefined
  #register: Register | undefined
  #timer: CancelTimer | undefined

  constructor(components: BridgeComponents, init: BridgeInit, listener: BridgeListener) {
    this.#components = { ...components, log: components.log.scope('bridge') }
    this.#init = init
    this.#listener = listener
    this.#lifecycle = new Lifecycle(this.#components.log)
  }

  /** @throws SkeinError PORT_IN_USE, LISTEN_FAILED, CONFIG_INVALID, DATA_DIR_UNUSABLE, DATA_DIR_LOCKED. */
  async start(): Promise<void> {
    try {
      await this.#start()
    } catch (error) {
      await this.#lifecycle.stop()
      throw error
    }
  }

  async stop(): Promise<void> {
    this.#timer?.()
    await this.#lifecycle.stop()
  }

  /** Where its own broker listens; `undefined` without one. */
  get mqttAddress(): BrokerAddress | undefined {
    return this.#embedded?.address
  }

  get isOnline(): boolean {
    return this.#link?.isOnline ?? false
  }

  get register(): Register {
    return this.#register!
  }

  get sessions(): Sessions {
    return this.#sessions!
  }

  /** What was refused, by reason. */
  get counts(): Readonly<Record<string, number>> {
    return this.#counts.all()
  }

  /** A board at the other end of `stream`, such as a simulated one; `port` is its identity. */
  attach(stream: Duplex, at: { readonly port: string; readonly path: string }): void {
    this.#serial?.attach(stream, at)
  }

  async #start(): Promise<void> {
    const { clock, log } = this.#components
    const parts = { ...this.#components, tally: this.#counts as Tally }
    const init = this.#init
    const database = await openDatabase(
      { log },
      { path: init.database, parts: [DEVICE_SCHEMA, ASKS_SCHEMA, RULES_SCHEMA], bytesMax: LIMITS.bridgeStoreBytesMax },
    )
    await this.#lifecycle.start({ name: 'database', start: () => Promise.resolve(), stop: () => database.close() })
    const store = await openDeviceStore(database)
    const broker =
      init.mqtt !== 'off' && init.mqtt.of === 'broker' ? brokerDoor(parts, init.bridge, init.mqtt) : undefined
    const hasDynamicSecurity = init.mqtt !== 'off' && init.mqtt.of === 'broker' && init.mqtt.hasDynamicSecurity === true
    const register = (this.#register = await Register.open(
      { ...parts, store, ...(hasDynamicSecurity && broker && { broker: new DynamicSecurity({ clock, broker }) }) },
      { isSerialTrusted: init.isSerialTrusted },
    ))
    register.onClaimed((claim) => this.#listener.onClaim(claim))
    const sessions = (this.#sessions = new Sessions({
      ...parts,
      store,
      register,
      manage: (call) => manage({ register, random: parts.random, brokerAddress: () => this.#brokerAddress() }, call),
    }))
    await this.#lifecycle.start(sessions)
    const endpoints = new Endpoints(clock, { urls: init.coordinators, apiKey: init.apiKey })
    const source = new CoordinatorAnswers({ ...parts, endpoints })
    const asks = { ...parts, sessions, source, store: new SqlAskStore(database) }
    await this.#lifecycle.start(new AskDesk(asks, { bridge: init.bridge, quotas: init.quotas }))
    if (init.streams !== undefined) {
      const models = new HttpSensorModels(clock, endpoints)
      await this.#lifecycle.start(new SensorStreams({ ...parts, sessions, models }, readStreamRules(init.streams)))
    }
    if (init.rules !== undefined) {
      const client = new RuleClient({ ...parts, endpoints, source }, init)
      const around = {
        ...{ ...parts, sessions, models: client, desk: client, store: new SqlRuleStore(database) },
        tell: (reports: readonly RuleReport[]) => store.ruled(reports),
      }
      await this.#lifecycle.start(new Rules(around, readRules(init.rules)))
    }
    if (broker) await this.#startDiscovery(broker, sessions, register)
    this.#link = new HttpCoordinatorLink({ ...parts, outbox: store, calls: sessions.calls, endpoints }, init)
    const link = this.#link
    await this.#lifecycle.start({ name: 'coordinator', start: () => link.start(), stop: () => link.stop() })
    // last: what comes in finds everything that it needs
    for (const door of this.#doors(parts, register, broker)) {
      door.listen(sessions)
      await this.#lifecycle.start(door)
    }
    this.#logCounts()
  }

  async #startDiscovery(broker: Announcer, sessions: Sessions, register: Register): Promise<void> {
    await this.#lifecycle.start(
      new HomeAssistant(
        {
          ...this.#components,
          broker,
          sessions,
          descriptors: () => register.devices().flatMap(({ descriptor }) => descriptor ?? []),
          onRevoked: (listener) => register.onRevoked(({ id }) => listener(id)),
          onChanged: (listener) => register.onChanged(({ id }) => listener(id)),
          carryOut: (call) => sessions.calls.carryOut(call),
        },
        this.#init,
      ),
    )
  }

  #doors(
    parts: BridgeComponents & { readonly tally: Tally },
    register: Register,
    broker: BrokerDoor | undefined,
  ): Door[] {
    const { mqtt, serial, baud } = this.#init
    const listen = mqtt !== 'off' && mqtt.of === 'embedded' ? mqtt : undefined
    const onUnavailable = (error: SkeinError): void =>
      this.#listener.onNotice(`${error.message}; devices cannot come in over MQTT (--mqtt chooses another address)`)
    // also without an address: a board at a serial line may speak MQTT
    const embedded = (this.#embedded = new EmbeddedDoor(
      { ...parts, credentials: register },
      { ...(listen && { listen }), ...(listen?.isOptional === true && { onUnavailable }) },
    ))
    const serialDoor = (this.#serial = new SerialDoor(
      {
        ...parts,
        ports: parts.ports ?? systemSerialPorts,
        attachMqtt: (stream, at) => embedded.attach(stream, at),
      },
      { paths: serial === 'off' ? [] : serial, baud },
    ))
    return [...(broker ? [broker] : []), embedded, serialDoor]
  }

  #brokerAddress(): BrokerAddress {
    const { mqtt } = this.#init
    if (mqtt !== 'off' && mqtt.of === 'broker') {
      const { hostname, port, protocol } = new URL(mqtt.url)
      return { host: hostname, port: Number(port) || (protocol === 'mqtts:' ? 8883 : 1883) }
    }
    return this.mqttAddress ?? { host: '127.0.0.1', port: 1883 }
  }

  #logCounts(): void {
    const changed = this.#counts.changed()
    if (Object.keys(changed).length > 0)
      this.#components.log.info({ counts: changed }, 'what devices sent and was not taken, since the start')
    this.#timer = this.#components.clock.timer(COUNTS_LOGGED_MS, () => this.#logCounts())
  }
}

const brokerDoor = (
  parts: BridgeComponents & { readonly tally: Tally },
  bridge: string,
  { of: _of, hasDynamicSecurity: _hasDynamicSecurity, ...rest }: BrokerSettings,
): BrokerDoor => new BrokerDoor(parts, { ...rest, bridge })
