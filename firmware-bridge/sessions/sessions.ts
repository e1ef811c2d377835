/**
 * Devices as the bridge speaks with them. Doors bring what comes; here it is held to what a device may say: nothing before
 * `hello` and `welcome`, nothing of a former boot, nothing beyond its rate, nothing that is not durable is acknowledged.
 * What is refused is counted by its reason, and the device is told in a byte where that helps it.
 */
import {
  LIMITS,
  type DeviceCapability,
  type DeviceState,
  type DeviceValue,
  type Reading,
} from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import type { Register } from '../joining/index.ts'
import {
  decodeMessage,
  encodeMessage,
  type CompactError,
  type DownMessage,
  type Format,
  type MessageOf,
  type UpMessage,
} from '../messages/index.ts'
import {
  Bucket,
  type AskMessage,
  type BridgePart,
  type Cancel,
  type DeviceSessions,
  type Door,
  type DoorListener,
  type Incoming,
  type Origin,
  type ReplyTo,
  type SendOutcome,
  type SessionView,
  type Tally,
} from '../ports/index.ts'
import type { DeviceStore, StoredDevice } from '../store/index.ts'
import { Boots } from './boots.ts'
import { Calls, type ManageCall } from './calls.ts'
import { Claiming } from './claiming.ts'
import { Greetings } from './greetings.ts'
import { LineSpeech } from './line-speech.ts'
import { plainValue } from './learning.ts'
import type { Session } from './session.ts'
import { Telemetry } from './telemetry.ts'
import { bytesOf, outgoingOf, replyRefusal } from './wire.ts'

export interface SessionsComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly tally: Tally
  readonly store: DeviceStore
  readonly register: Register
  readonly manage: ManageCall
}

/** Where a message came from, as far as an answer to it needs. */
export interface Sender {
  readonly device: StoredDevice
  readonly door: Door
  readonly origin: Origin
}

type Presence = (session: SessionView, change: 'state' | 'boot' | 'gone') => void

const SWEEP_MS = 1000
/** A device that says too much is told so this often, in ms. */
const WARN_MS = 1000
/** Devices that are asked to say hello, each second, when the bridge begins anew. */
const INVITED_PER_SECOND = 50
/** What comes before a session is answered this often for all such devices together, in a second. */
const STRANGERS_PER_SECOND = 100

export class Sessions implements DeviceSessions, DoorListener, BridgePart {
  readonly name = 'sessions'
  readonly calls: Calls
  readonly #components: SessionsComponents
  readonly #sessions = new Map<string, Session>()
  readonly #boots = new Boots()
  readonly #greetings: Greetings
  readonly #telemetry: Telemetry
  readonly #claiming: Claiming
  readonly #lines: LineSpeech
  readonly #onMessage = new Set<(session: SessionView, message: AskMessage, replyTo?: ReplyTo) => void>()
  readonly #onPresence = new Set<Presence>()
  readonly #onReadings = new Set<(session: SessionView, readings: readonly Reading[]) => void>()
  readonly #strangers: Bucket
  readonly #cancels: Cancel[] = []
  #timer: CancelTimer | undefined
  /** Monotonic; devices that were known before and are silent since are lost. */
  #startedMs = 0
  #isStopped = false

  constructor(components: SessionsComponents) {
    const { clock, store, register, manage } = components
    this.#components = { ...components, log: components.log.scope('sessions') }
    this.#strangers = new Bucket(clock, STRANGERS_PER_SECOND, STRANGERS_PER_SECOND)
    this.calls = new Calls({
      ...components,
      store,
      manage,
      session: (device) => this.#sessions.get(device),
      isKnown: (device) => register.device(device) !== undefined,
      send: (session, message) => this.#send(session, message),
    })
    this.#telemetry = new Telemetry({
      ...this.#components,
      onRecorded: (session, readings) => {
        for (const listener of this.#onReadings) listener(session, readings)
      },
      acknowledge: (session, n) => void this.#send(session, { kind: 'ack', n }),
      refuse: (session, error) => this.#refuse(session, error),
    })
    this.#greetings = new Greetings({
      ...this.#components,
      boots: this.#boots,
      current: (device) => this.#sessions.get(device),
      onWelcome: (session, hello, isNewBoot) => this.#begin(session, hello, isNewBoot),
      bye: (sender, format, error) => this.#bye(sender, format, error),
    })
    this.#claiming = new Claiming({ ...this.#components })
    this.#lines = new LineSpeech({
      ...this.#components,
      calls: this.calls,
      telemetry: this.#telemetry,
      greetings: this.#greetings,
      current: (device) => this.#sessions.get(device),
      onBegin: (session) => this.#begin(session, undefined, true),
      onHeard: (session) => this.#touch(session),
      onAsk: (session, message) => this.#tell(session, message),
    })
  }

  /** @throws SkeinError DATA_DIR_UNUSABLE. */
  async start(): Promise<void> {
    const { clock, register, store } = this.#components
    this.#startedMs = clock.nowMs()
    for (const { id, boot } of register.devices()) if (boot !== undefined) this.#boots.begin(id, boot)
    this.#cancels.push(
      register.onRevoked((device) => this.#revoked(device.id)),
      register.onChanged((device) => this.#changed(device)),
    )
    await this.calls.start()
    await store.describeAll()
    this.#sweep()
  }

  stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.()
    for (const cancel of this.#cancels.splice(0)) cancel()
    return Promise.resolve()
  }

  session(device: string): SessionView | undefined {
    return this.#sessions.get(device)
  }

  sessions(): readonly SessionView[] {
    return [...this.#sessions.values()]
  }

  send(device: string, message: DownMessage, replyTo?: ReplyTo): SendOutcome {
    const session = this.#sessions.get(device)
    return session === undefined ? 'offline' : this.#send(session, message, replyTo)
  }

  sizeOf(device: string, message: DownMessage, replyTo?: ReplyTo): number | undefined {
    const session = this.#sessions.get(device)
    const outgoing = session && outgoingOf(session, message, replyTo)
    return session && (outgoing === undefined ? 0 : bytesOf(session, outgoing, replyTo))
  }

  derive(device: string, capabilities: readonly DeviceCapability[]): void {
    const session = this.#sessions.get(device)
    const isNew = capabilities.map((capability) => session?.derive(capability)).includes(true)
    if (session && isNew) this.#telemetry.describe(session)
  }

  record(device: string, values: readonly (readonly [name: string, value: DeviceValue])[]): void {
    const session = this.#sessions.get(device)
    if (session) this.#telemetry.onDerived(session, values)
  }

  onMessage(listener: (session: SessionView, message: AskMessage, replyTo?: ReplyTo) => void): Cancel {
    return subscribed(this.#onMessage, listener)
  }

  onPresence(listener: Presence): Cancel {
    return subscribed(this.#onPresence, listener)
  }

  onReadings(listener: (session: SessionView, readings: readonly Reading[]) => void): Cancel {
    return subscribed(this.#onReadings, listener)
  }

  onUp(door: Door, isUp: boolean): void {
    // behind a broker devices do not notice that the bridge was away; those at other doors have lost their link
    if (isUp) this.#invite(door)
  }

  onIncoming(door: Door, origin: Origin, incoming: Incoming): void {
    if (this.#isStopped) return
    if (origin.of === 'chip') return this.#claiming.onClaim(door, origin, incoming)
    const { register, tally } = this.#components
    const id = origin.of === 'device' ? origin.device : register.deviceOfPort(origin.port)
    const device = id === undefined ? undefined : register.device(id)
    if (device !== undefined) return this.#hear({ device, door, origin }, incoming)
    if (incoming.of === 'closed') return
    if (origin.of === 'port') return this.#claiming.onPort(door, origin, incoming)
    tally.count('no_such_device')
    if (incoming.of === 'message' && incoming.isRetained !== true)
      this.#byeTo(door, origin, formatOf(incoming.body), 'not_permitted')
  }

  #hear(sender: Sender, incoming: Incoming): void {
    const session = this.#sessions.get(sender.device.id)
    switch (incoming.of) {
      case 'closed':
        if (session && session.door === sender.door && session.state !== 'sleeping')
          this.#setState(session, 'disconnected')
        return
      case 'line':
        if (this.#mayPass(session)) this.#lines.onLine(sender, incoming.text)
        return
      case 'value':
        return this.#plain(sender, session, incoming)
      case 'message':
        return this.#message(sender, session, incoming)
    }
  }

  #plain(sender: Sender, session: Session | undefined, incoming: Extract<Incoming, { of: 'value' }>): void {
    const { tally } = this.#components
    // what the broker kept was recorded when it came, and comes again with each connection
    if (incoming.isRetained === true) return tally.count('retained')
    const value = plainValue(incoming.body)
    if (value === undefined) return tally.count('too_large')
    if (session !== undefined && session.dialect !== 'plain') return tally.count('unexpected')
    if (!this.#mayPass(session)) return
    const speaks = session ?? this.#greetings.plain(sender)
    if (session === undefined) this.#begin(speaks, undefined, true)
    this.#touch(speaks)
    this.#telemetry.onValues(speaks, [[incoming.capability, value]])
  }

  #message(sender: Sender, session: Session | undefined, incoming: Extract<Incoming, { of: 'message' }>): void {
    const { tally } = this.#components
    const { wire, kind, body, isRetained, replyTo } = incoming
    const format = wire === 'frames' ? 'cbor' : formatOf(body)
    const decoded = decodeMessage(kind, body, format, 'up')
    if (isRetained === true && !(decoded.ok && decoded.value.kind === 'state')) return tally.count('retained')
    if (!decoded.ok) {
      tally.count(decoded.refusal.code)
      if (session) this.#warn(session, decoded.refusal.code)
      return
    }
    const message = decoded.value
    if (message.kind === 'hello') return this.#greetings.onHello(sender, message, { wire, format })
    if (message.kind === 'caps') return this.#greetings.onCaps(sender, message)
    if (message.kind === 'state') return this.#state(sender, session, message, isRetained === true)
    if (session === undefined || session.door !== sender.door || session.dialect === 'plain') {
      tally.count('say_hello')
      return this.#bye(sender, format, 'say_hello')
    }
    const isCredit = message.kind === 'credit'
    if (isCredit ? !session.credits.take() : !session.messages.take()) return this.#tooMany(session, message)
    this.#touch(session)
    const refused = replyTo && replyRefusal(session.id, replyTo)
    if (refused === undefined) return this.#said(session, message, replyTo)
    tally.count('foreign_reply')
    if (message.kind === 'infer') this.#send(session, { kind: 'fail', id: message.id, c: refused })
    else this.#said(session, message, undefined)
  }

  #said(session: Session, message: UpMessage, replyTo: ReplyTo | undefined): void {
    switch (message.kind) {
      case 'tele':
        return this.#telemetry.onTele(session, message)
      case 'result':
        return this.calls.onResult(session, message)
      case 'ping':
        return void this.#send(session, message)
      case 'infer':
        if (session.policy.ask) return this.#tell(session, message, replyTo)
        this.#components.tally.count('not_permitted')
        return void this.#send(session, { kind: 'fail', id: message.id, c: 'not_permitted' }, replyTo)
      case 'credit':
      case 'cancel':
      case 'prompt':
        return this.#tell(session, message, replyTo)
      case 'log':
        return this.#components.log.debug({ device: session.id, text: message.t }, 'a device says')
      default:
        // hello, caps, state and claim are dealt with before
        return this.#components.tally.count('unexpected')
    }
  }

  #tell(session: Session, message: AskMessage, replyTo?: ReplyTo): void {
    for (const listener of this.#onMessage) listener(session, message, replyTo)
  }

  /** Last wills come from the broker, also for devices that this start of the bridge has not seen. */
  #state(sender: Sender, session: Session | undefined, { s, t }: MessageOf<'state'>, isRetained: boolean): void {
    const { clock, tally } = this.#components
    const isGone = s === 'lost' || s === 'disconnected'
    if (session === undefined) {
      if (isGone && sender.device.descriptor) this.#report(sender.device.id, s)
      else if (!isRetained) this.#bye(sender, 'json', 'say_hello')
      return
    }
    // what the broker kept is older than the session
    if (isRetained) return tally.count('retained')
    if (!session.messages.take()) return tally.count('rate_limited')
    if (!isGone) this.#touch(session, s === 'sleeping' ? 'sleeping' : 'ready')
    else if (session.door === sender.door) this.#setState(session, s)
    session.wakesMs = s === 'sleeping' ? clock.nowMs() + 1000 * (t ?? session.descriptor.sleeps) : undefined
  }

  #begin(session: Session, hello: MessageOf<'hello'> | undefined, isNewBoot: boolean): void {
    const { clock, log, tally } = this.#components
    this.#sessions.set(session.id, session)
    this.#boots.begin(session.id, session.boot)
    if (hello) {
      const welcome = this.#send(session, {
        kind: 'welcome',
        v: 1,
        boot: session.boot,
        t: Math.floor(clock.wallMs() / 1000),
        hb: LIMITS.deviceHeartbeatMs / 1000,
        rx: session.dialect === 'frames' ? LIMITS.deviceFrameBytesMax - 4 : LIMITS.deviceMessageBytesMax,
        id: session.id,
      })
      if (welcome !== 'sent') tally.count(`welcome_${welcome}`)
    }
    if (isNewBoot) {
      log.info({ device: session.id, door: session.door.name, dialect: session.dialect }, 'a device has joined')
      for (const listener of this.#onPresence) listener(session, 'boot')
    }
    this.#setState(session, 'ready')
    this.calls.onHello(session, hello?.cmd ?? 0, isNewBoot)
  }

  #send(session: Session, message: DownMessage, replyTo?: ReplyTo): SendOutcome {
    const { tally } = this.#components
    const outgoing = outgoingOf(session, message, replyTo)
    // what a dialect has no words for is as good as said, but for a command
    if (outgoing === undefined) return message.kind === 'cmd' ? 'offline' : 'sent'
    if (bytesOf(session, outgoing, replyTo) > session.rx) {
      tally.count('over_rx')
      return 'too_large'
    }
    if (session.door.send(session.origin, outgoing)) return 'sent'
    tally.count('no_link')
    return 'offline'
  }

  #mayPass(session: Session | undefined): boolean {
    if (session === undefined || session.messages.take()) return true
    this.#refuse(session, 'rate_limited')
    return false
  }

  #tooMany(session: Session, message: UpMessage): void {
    if (message.kind !== 'infer') return this.#refuse(session, 'rate_limited')
    this.#components.tally.count('rate_limited')
    this.#send(session, { kind: 'fail', id: message.id, c: 'rate_limited', retry: 1 })
  }

  #refuse(session: Session, error: CompactError): void {
    this.#components.tally.count(error)
    this.#warn(session, error)
  }

  /** Under no question's id; once a second at most. */
  #warn(session: Session, error: CompactError): void {
    const nowMs = this.#components.clock.nowMs()
    if (nowMs - session.warnedMs < WARN_MS) return
    session.warnedMs = nowMs
    this.#send(session, { kind: 'fail', id: 0, c: error, ...(error === 'rate_limited' && { retry: 1 }) })
  }

  #bye({ door, origin }: Sender, format: Format, error: CompactError): void {
    this.#byeTo(door, origin, format, error)
  }

  #byeTo(door: Door, origin: Origin, format: Format, error: CompactError): void {
    if (!this.#strangers.take()) return this.#components.tally.count('strangers')
    door.send(origin, { of: 'message', kind: 'bye', body: encodeMessage({ kind: 'bye', c: error }, format) })
  }

  /** The device is there: whatever was believed of it. */
  #touch(session: Session, state: DeviceState = 'ready'): void {
    session.heardMs = this.#components.clock.nowMs()
    if (session.state === state) return
    this.#setState(session, state)
    if (state === 'ready') this.calls.flush(session)
  }

  #setState(session: Session, state: DeviceState): void {
    if (session.state === state) return
    session.state = state
    if (state !== 'sleeping') session.wakesMs = undefined
    this.#report(session.id, state)
    for (const listener of this.#onPresence) listener(session, 'state')
  }

  #report(device: string, state: DeviceState): void {
    const { clock, store, tally } = this.#components
    store.state({ device, state, atMs: clock.wallMs() }).catch(() => tally.count('state_not_recorded'))
  }

  #revoked(id: string): void {
    const session = this.#sessions.get(id)
    this.#boots.forget(id)
    this.#greetings.forget(id)
    this.calls.onRevoked(id)
    if (session === undefined) return
    this.#send(session, { kind: 'bye', c: 'revoked' })
    this.#sessions.delete(id)
    for (const listener of this.#onPresence) listener(session, 'gone')
    session.door.cut(session.origin)
  }

  /** The coordinator is told at once, also of a device that this start of the bridge has not heard. */
  #changed({ id, policy, descriptor, boot }: StoredDevice): void {
    const session = this.#sessions.get(id)
    if (session) session.policy = policy
    if (session) this.#telemetry.describe(session)
    else if (descriptor && boot !== undefined) this.#telemetry.redescribe({ ...descriptor, policy }, boot)
  }

  /** Asks the devices behind `door` that have no session to say hello, a few each second. */
  #invite(door: Door): void {
    const { clock, register } = this.#components
    const asked = register.devices().filter(({ id, port }) => port === undefined && !this.#sessions.has(id))
    const next = (from: number): void => {
      if (this.#isStopped || !door.isUp) return
      for (const { id } of asked.slice(from, from + INVITED_PER_SECOND)) {
        const body = encodeMessage({ kind: 'bye', c: 'say_hello' }, 'json')
        // the kind alone is enough for boards that read CBOR
        if (!this.#sessions.has(id)) door.send({ of: 'device', device: id }, { of: 'message', kind: 'bye', body })
      }
      if (from + INVITED_PER_SECOND < asked.length) clock.timer(1000, () => next(from + INVITED_PER_SECOND))
    }
    if (asked.length > 0) next(0)
  }

  #sweep(): void {
    const { clock, register, store } = this.#components
    const nowMs = clock.nowMs()
    const patienceMs = 2 * LIMITS.deviceHeartbeatMs
    for (const session of this.#sessions.values()) {
      const awaitedMs = session.wakesMs ?? session.heardMs
      const isThere = session.state === 'ready' || session.state === 'init' || session.state === 'sleeping'
      if (isThere && nowMs - awaitedMs > patienceMs) this.#setState(session, 'lost')
    }
    if (this.#startedMs > 0 && nowMs - this.#startedMs > patienceMs) {
      this.#startedMs = 0
      for (const { id, descriptor } of register.devices())
        if (descriptor && !this.#sessions.has(id)) this.#report(id, 'lost')
    }
    this.calls.sweep()
    store.purge(clock.wallMs() - CALLS_KEPT_MS).catch(() => undefined)
    this.#timer = clock.timer(SWEEP_MS, () => this.#sweep())
  }
}

/** A call that ended is known this long past its expiry, so that one that comes again is not carried out again. */
const CALLS_KEPT_MS = 3_600_000

/** CBOR of ours is an array; JSON an object. */
const formatOf = (body: Uint8Array): Format => (body[0] === 0x7b ? 'json' : 'cbor')

function subscribed<T>(listeners: Set<T>, listener: T): Cancel {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}
