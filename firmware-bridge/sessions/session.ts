/** One device that speaks with the bridge: who it is, how it is reached, and what it has said. */
import {
  LIMITS,
  type DeviceCapability,
  type DeviceDescriptor,
  type DevicePolicy,
  type DeviceState,
} from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import type { CapabilityRef, Charset, Format } from '../messages/index.ts'
import { Bucket, type Door, type Origin, type SessionView } from '../ports/index.ts'

/** `plain` devices publish values with any MQTT library, and have never said hello. */
export type Dialect = 'frames' | 'mqtt' | 'lines' | 'plain'

export interface SessionInit {
  readonly id: string
  readonly name: string
  readonly policy: DevicePolicy
  readonly door: Door
  readonly origin: Origin
  readonly dialect: Dialect
  readonly format: Format
  readonly charset: Charset
  readonly boot: number
  readonly rx: number
  readonly win: number
  readonly sleeps: number
  readonly class: string
  readonly firmware: string
  readonly capabilities: readonly DeviceCapability[]
  /** Of the device's session until now: who begins anew has no new share of what it may say. */
  readonly rates: Rates | undefined
}

export interface Rates {
  readonly messages: Bucket
  readonly credits: Bucket
}

/** Credits answer chunks that were sent: they come as fast as a board reads, and are bounded by what it is sent. */
const CREDITS_PER_SECOND = 400

export class Session implements SessionView {
  readonly id: string
  door: Door
  origin: Origin
  readonly dialect: Dialect
  readonly format: Format
  readonly charset: Charset
  readonly boot: number
  readonly rx: number
  readonly win: number
  readonly grantsCredit: boolean
  readonly messages: Bucket
  readonly credits: Bucket
  policy: DevicePolicy
  state: DeviceState = 'init'
  /** Monotonic. */
  heardMs: number
  /** Of one that sleeps: when it is awaited. Monotonic. */
  wakesMs: number | undefined
  /** Messages that wait for the disk. */
  writes = 0
  /** It was told this second that it says too much. */
  warnedMs = Number.NEGATIVE_INFINITY
  readonly #init: SessionInit
  #capabilities: readonly DeviceCapability[]
  /** Sensors that the bridge makes. They have no index: the device does not know of them. */
  #derived: readonly DeviceCapability[] = []

  constructor(clock: Clock, init: SessionInit) {
    this.#init = init
    this.id = init.id
    this.door = init.door
    this.origin = init.origin
    this.dialect = init.dialect
    this.format = init.format
    this.charset = init.charset
    this.boot = init.boot
    this.rx = init.rx
    this.win = init.win
    this.policy = init.policy
    this.grantsCredit = init.dialect !== 'lines' && init.dialect !== 'plain'
    this.#capabilities = init.capabilities
    this.heardMs = clock.nowMs()
    const { messages, credits } = init.rates ?? {}
    this.messages = messages ?? new Bucket(clock, LIMITS.deviceMessagesPerSecondMax, LIMITS.deviceMessagesBurstMax)
    this.credits = credits ?? new Bucket(clock, CREDITS_PER_SECOND, CREDITS_PER_SECOND)
  }

  get rates(): Rates {
    return { messages: this.messages, credits: this.credits }
  }

  get capabilities(): readonly DeviceCapability[] {
    return this.#capabilities
  }

  get descriptor(): DeviceDescriptor {
    const { id, name, sleeps, rx, firmware } = this.#init
    return {
      id,
      ...(name !== '' && { name }),
      class: this.#init.class,
      firmware,
      dialect: this.dialect === 'plain' ? 'mqtt' : this.dialect,
      rx,
      sleeps,
      capabilities: [...this.#capabilities, ...this.#derived],
      policy: this.policy,
    }
  }

  /** Asleep or without a link: what is for it waits. */
  get isReachable(): boolean {
    return this.state === 'ready' || this.state === 'init'
  }

  capability(ref: CapabilityRef): DeviceCapability | undefined {
    return typeof ref === 'number' ? this.#capabilities[ref] : this.#capabilities.find(({ name }) => name === ref)
  }

  /** How a command names a capability: by its index where bytes count. */
  refOf(name: string): CapabilityRef {
    return this.format === 'json' ? name : this.#capabilities.findIndex((each) => each.name === name)
  }

  /** False when it has one of that name, or has no room for more. */
  derive(capability: DeviceCapability): boolean {
    const all = [...this.#capabilities, ...this.#derived]
    const hasRoom = all.length < LIMITS.deviceCapabilitiesMax
    if (!hasRoom || all.some(({ name }) => name === capability.name)) return false
    this.#derived = [...this.#derived, capability]
    return true
  }

  derived(name: string): DeviceCapability | undefined {
    return this.#derived.find((each) => each.name === name)
  }

  /** Of devices that do not describe themselves: what they were seen to have. False when there is no more room. */
  learn(capability: DeviceCapability): boolean {
    const others = this.#capabilities.filter(({ name }) => name !== capability.name)
    // what it has itself is not made for it
    this.#derived = this.#derived
      .filter(({ name }) => name !== capability.name)
      .slice(0, LIMITS.deviceCapabilitiesMax - others.length - 1)
    if (others.length >= LIMITS.deviceCapabilitiesMax) return false
    this.#capabilities = [...others, capability]
    return true
  }
}
