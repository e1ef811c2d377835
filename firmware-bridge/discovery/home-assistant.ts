/**
 * Devices in Home Assistant: the bridge describes each in one message, tells its values on topics of its own, and takes
 * orders for what its owner lets others set. A device needs to know nothing of it. Available is a device only while its
 * bridge is: a board at a serial line has no last will.
 */
import {
  LIMITS,
  type BridgeCall,
  type CallResult,
  type DeviceCapability,
  type DeviceDescriptor,
  type DeviceValue,
  type Reading,
} from '../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../mesh/runtime/index.ts'
import { bridgeTopic } from '../messages/index.ts'
import {
  newUuid,
  type Announcer,
  type BridgePart,
  type Cancel,
  type DeviceSessions,
  type SessionView,
} from '../ports/index.ts'
import { configOf, shownValue, valueFrom } from './components.ts'

export interface HomeAssistantComponents {
  readonly clock: Clock
  readonly random: Random
  readonly broker: Announcer
  readonly sessions: DeviceSessions
  /** Of devices that said hello to a former start of the bridge. */
  readonly descriptors: () => readonly DeviceDescriptor[]
  readonly onRevoked: (listener: (device: string) => void) => Cancel
  /** The owner has changed what others may do with it. */
  readonly onChanged: (listener: (device: string) => void) => Cancel
  readonly carryOut: (call: BridgeCall) => Promise<CallResult>
}

export interface HomeAssistantInit {
  readonly bridge: string
}

/** Where Home Assistant says that it has started. */
const STATUS_TOPIC = 'homeassistant/status'
/** Somebody stands at a switch and waits, in ms. */
const ORDER_MS = 10_000
/** Orders that have no end yet. */
const ORDERS_MAX = 64

export class HomeAssistant implements BridgePart {
  readonly name = 'home assistant'
  readonly #components: HomeAssistantComponents
  readonly #root: string
  readonly #bridgeState: string
  readonly #cancels: Cancel[] = []
  /** What was told last, by topic: a value that is as it was need not be told again. */
  readonly #told = new Map<string, string>()
  #orders = 0

  constructor(components: HomeAssistantComponents, { bridge }: HomeAssistantInit) {
    this.#components = components
    this.#bridgeState = bridgeTopic(bridge)
    this.#root = this.#bridgeState.replace(/state$/, 'ha')
  }

  start(): Promise<void> {
    const { broker, onChanged, onRevoked, sessions } = this.#components
    broker.subscribe(STATUS_TOPIC, (_topic, payload) => {
      if (payload === 'online') this.#tellAll()
    })
    broker.subscribe(`${this.#root}/+/+/set`, (topic, payload) => this.#order(topic, payload))
    broker.onConnect(() => this.#tellAll())
    this.#cancels.push(
      sessions.onPresence((session, change) => this.#presence(session, change)),
      sessions.onReadings((session, readings) => this.#values(session, readings)),
      onRevoked((device) => this.#remove(device)),
      onChanged((device) => {
        const session = sessions.session(device)
        if (session) this.#describe(session.descriptor)
      }),
    )
    return Promise.resolve()
  }

  stop(): Promise<void> {
    for (const cancel of this.#cancels.splice(0)) cancel()
    return Promise.resolve()
  }

  #tellAll(): void {
    const { descriptors, sessions } = this.#components
    this.#told.clear()
    for (const session of sessions.sessions()) this.#presence(session, 'boot')
    for (const descriptor of descriptors()) {
      if (sessions.session(descriptor.id) !== undefined) continue
      this.#describe(descriptor)
      this.#available(descriptor.id, undefined)
    }
  }

  #presence(session: SessionView, change: 'state' | 'boot' | 'gone'): void {
    if (change === 'gone') return
    if (change === 'boot') this.#describe(session.descriptor)
    this.#available(session.id, session)
  }

  #describe(descriptor: DeviceDescriptor): void {
    this.#tell(
      configTopic(descriptor.id),
      JSON.stringify(configOf(descriptor, { root: `${this.#root}/${descriptor.id}`, bridgeState: this.#bridgeState })),
    )
  }

  #available(device: string, session: SessionView | undefined): void {
    // one that sleeps is well, and wakes by itself
    const isThere = session?.state === 'ready' || session?.state === 'sleeping'
    this.#tell(`${this.#root}/${device}/available`, isThere ? 'online' : 'offline')
  }

  #values(session: SessionView, readings: readonly Reading[]): void {
    if (!session.policy.read) return
    for (const { name, value } of readings) this.#value(session.id, name, value)
  }

  #value(device: string, name: string, value: DeviceValue): void {
    this.#tell(`${this.#root}/${device}/${name}`, shownValue(value))
  }

  #order(topic: string, payload: string): void {
    const [device = '', name = ''] = topic.slice(this.#root.length + 1).split('/')
    const session = this.#components.sessions.session(device)
    const capability = session?.descriptor.capabilities.find((each) => each.name === name)
    // nobody can confirm here: what needs that is not offered, and not taken
    if (session === undefined || capability === undefined || session.policy.act !== 'yes') return
    if (payload.length > LIMITS.deviceTextLengthMax || this.#orders >= ORDERS_MAX) return
    void this.#carryOut(device, capability, payload)
  }

  async #carryOut(device: string, capability: DeviceCapability, payload: string): Promise<void> {
    const { carryOut, clock, random } = this.#components
    const isRun = capability.dir === 'command'
    this.#orders++
    try {
      const value = valueFrom(capability, payload)
      const result = await carryOut({
        ...{ call: newUuid(random), device, capability: capability.name, op: isRun ? 'run' : 'write' },
        ...(capability.type !== 'none' && { value }),
        expiresAtMs: clock.wallMs() + ORDER_MS,
      })
      if (result.outcome !== 'done' || isRun) return
      const after = typeof result.value === 'object' ? undefined : result.value
      this.#value(device, capability.name, after ?? value)
    } finally {
      this.#orders--
    }
  }

  /** An empty message takes away what the broker kept. */
  #remove(device: string): void {
    const { broker } = this.#components
    const mine = [...this.#told.keys()].filter((topic) => topic.startsWith(`${this.#root}/${device}/`))
    for (const topic of [configTopic(device), `${this.#root}/${device}/available`, ...mine]) {
      this.#told.delete(topic)
      broker.publish(topic, '', true)
    }
  }

  #tell(topic: string, payload: string): void {
    if (this.#told.get(topic) === payload) return
    if (this.#components.broker.isUp) this.#told.set(topic, payload)
    this.#components.broker.publish(topic, payload, true)
  }
}

const configTopic = (device: string): string => `homeassistant/device/skein-${device}/config`
