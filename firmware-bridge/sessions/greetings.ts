/** From the first word of a device to its session: what it says of itself is made durable before it is welcomed. */
import { asSkeinError, LIMITS, type DevicePolicy } from '../../mesh/protocol/index.ts'
import type { Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import type { Register } from '../joining/index.ts'
import type { Caps, CompactError, Format, Hello } from '../messages/index.ts'
import { Bucket, type Tally } from '../ports/index.ts'
import type { DeviceStore } from '../store/index.ts'
import type { Boots } from './boots.ts'
import { Greeting } from './greeting.ts'
import { Session, type Dialect } from './session.ts'
import type { Sender } from './sessions.ts'

export interface GreetingsComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly tally: Tally
  readonly store: DeviceStore
  readonly register: Register
  readonly boots: Boots
  readonly current: (device: string) => Session | undefined
  readonly onWelcome: (session: Session, hello: Hello, isNewBoot: boolean) => void
  readonly bye: (sender: Sender, format: Format, error: CompactError) => void
}

interface Begun {
  readonly sender: Sender
  readonly greeting: Greeting
  readonly dialect: 'frames' | 'mqtt'
  readonly format: Format
}

/** A device repeats its hello every 2 s, and may lose some. */
const HELLOS_PER_SECOND = 2
const HELLOS_BURST = 10
/** Text over MQTT is Unicode unless told otherwise. */
const CHARSET = 'utf8'

export class Greetings {
  readonly #components: GreetingsComponents
  /** Of each device its newest. */
  readonly #begun = new Map<string, Begun>()
  readonly #buckets = new Map<string, Bucket>()
  /** Devices and boots whose hello waits for the disk. */
  readonly #writing = new Set<string>()

  constructor(components: GreetingsComponents) {
    this.#components = components
  }

  onHello(sender: Sender, hello: Hello, at: { readonly wire: 'mqtt' | 'frames'; readonly format: Format }): void {
    const { boots, tally } = this.#components
    const { id } = sender.device
    if (!this.#bucketOf(id).take()) return tally.count('rate_limited')
    if (boots.isFormer(id, hello.boot)) return tally.count('former_boot')
    const format = at.wire === 'frames' ? 'cbor' : (hello.fmt ?? 'json')
    const begun: Begun = { sender, greeting: new Greeting(hello), dialect: at.wire, format }
    this.#begun.set(id, begun)
    this.#welcome(begun)
  }

  onCaps(sender: Sender, caps: Caps): void {
    const begun = this.#begun.get(sender.device.id)
    // a hello that is whole has been answered: who lost its welcome says it again
    if (begun === undefined || begun.sender.door !== sender.door || begun.greeting.isComplete)
      return this.#components.tally.count('unexpected')
    begun.greeting.take(caps)
    this.#welcome(begun)
  }

  forget(device: string): void {
    this.#begun.delete(device)
    this.#buckets.delete(device)
  }

  /** A device that publishes plain values and never says hello. */
  plain(sender: Sender): Session {
    return this.#sessionOf(sender, 'plain')
  }

  /** A board that prints lines. */
  lines(sender: Sender): Session {
    return this.#sessionOf(sender, 'lines')
  }

  #sessionOf({ device, door, origin }: Sender, dialect: Extract<Dialect, 'plain' | 'lines'>): Session {
    const { clock, random } = this.#components
    const [boot = 0] = new Uint32Array(random.bytes(4).slice().buffer)
    return new Session(clock, {
      ...{ id: device.id, name: device.name, policy: device.policy, door, origin, dialect, boot },
      ...{ format: 'json', charset: dialect === 'lines' ? 'ascii' : CHARSET, win: 255, sleeps: 0 },
      ...{ rx: LIMITS.deviceLineBytesMax, class: dialect, firmware: '', capabilities: [] },
      rates: this.#components.current(device.id)?.rates,
    })
  }

  #bucketOf(device: string): Bucket {
    let bucket = this.#buckets.get(device)
    if (bucket === undefined) {
      bucket = new Bucket(this.#components.clock, HELLOS_PER_SECOND, HELLOS_BURST)
      this.#buckets.set(device, bucket)
    }
    return bucket
  }

  #welcome(begun: Begun): void {
    const { bye, clock, current, tally } = this.#components
    const { sender, greeting, dialect, format } = begun
    if (!greeting.isComplete) return
    const { hello } = greeting
    const { id, name, policy } = sender.device
    const capabilities = greeting.capabilities()
    if (!capabilities.ok) {
      tally.count(capabilities.refusal.code)
      return bye(sender, format, capabilities.refusal.code)
    }
    const former = current(id)
    const session = new Session(clock, {
      ...{ id, name, policy, rates: former?.rates, door: sender.door, origin: sender.origin, dialect, format },
      ...{ boot: hello.boot, rx: hello.rx, win: hello.win, sleeps: hello.sleep ?? 0, firmware: hello.fw },
      ...{ charset: hello.cs ?? CHARSET, class: hello.class ?? '', capabilities: capabilities.value },
    })
    const isKnown =
      former?.boot === session.boot && JSON.stringify(former.descriptor) === JSON.stringify(session.descriptor)
    // its welcome was lost, or its link was: nothing is new
    if (isKnown) return this.#components.onWelcome(session, hello, false)
    void this.#record(begun, session)
  }

  async #record({ sender, greeting: { hello }, format }: Begun, session: Session): Promise<void> {
    const { boots, bye, log, onWelcome, register, store, tally } = this.#components
    const key = `${session.id}/${session.boot}`
    if (this.#writing.has(key)) return
    this.#writing.add(key)
    try {
      let told: DevicePolicy
      do {
        told = session.policy
        await store.hello(session.descriptor, session.boot)
        const device = register.device(session.id)
        // it was revoked meanwhile, or its owner has changed what it may
        if (device === undefined) return
        session.policy = device.policy
      } while (session.policy !== told)
      onWelcome(session, hello, boots.current(session.id) !== session.boot)
      await register.arrived(session.id)
    } catch (error) {
      tally.count('hello_not_recorded')
      log.warn({ err: error, device: session.id }, 'a device was not welcomed')
      bye(sender, format, asSkeinError(error).code === 'DISK_FULL' ? 'storage_full' : 'internal')
    } finally {
      this.#writing.delete(key)
    }
  }
}
