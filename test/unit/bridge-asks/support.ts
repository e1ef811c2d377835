/** Twins of what asks meet: devices that can be told apart, a source that says what a test tells it to, a store in memory. */
import type { DeviceCapability, Reading, SkeinError } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import {
  AskDesk,
  type AnswerListener,
  type AnswerRequest,
  type AnswerResult,
  type AnswerSource,
  type AskName,
  type AskQuotas,
  type AskRecord,
  type AskStore,
} from '../../../firmware-bridge/asks/index.ts'
import { messageTopic, sizeOf, type Chunk, type DownMessage } from '../../../firmware-bridge/messages/index.ts'
import type {
  AskMessage,
  DeviceSessions,
  ReplyTo,
  SendOutcome,
  SessionView,
} from '../../../firmware-bridge/ports/index.ts'

export const sessionOf = (id: string, extra: Partial<SessionView> = {}): SessionView => {
  const policy = { read: true, act: 'no', ask: true, local_only: false } as const
  return {
    ...{ id, boot: 1, rx: 128, win: 1, grantsCredit: true, format: 'json', charset: 'ascii', state: 'ready', policy },
    descriptor: { id, class: 'uno', firmware: '1', dialect: 'mqtt', rx: 128, sleeps: 0, capabilities: [], policy },
    ...extra,
  }
}

export class SessionsTwin implements DeviceSessions {
  readonly #sessions = new Map<string, SessionView>()
  readonly #messages = new Set<(session: SessionView, message: AskMessage, replyTo?: ReplyTo) => void>()
  readonly #readings = new Set<(session: SessionView, readings: readonly Reading[]) => void>()
  readonly #presence = new Set<(session: SessionView, change: 'state' | 'boot' | 'gone') => void>()
  readonly sent: { readonly device: string; readonly message: DownMessage; readonly replyTo?: ReplyTo }[] = []
  /** Called for each message that is sent, after it was recorded. */
  onSent: (device: string, message: DownMessage) => void = () => undefined

  join(session: SessionView): void {
    this.#sessions.set(session.id, session)
    for (const listener of this.#presence) listener(session, 'boot')
  }

  become(id: string, state: SessionView['state']): void {
    const session = { ...this.#sessions.get(id)!, state }
    this.#sessions.set(id, session)
    for (const listener of this.#presence) listener(session, 'state')
  }

  leave(id: string): void {
    const session = this.#sessions.get(id)!
    this.#sessions.delete(id)
    for (const listener of this.#presence) listener(session, 'gone')
  }

  says(id: string, message: AskMessage, replyTo?: ReplyTo): void {
    for (const listener of this.#messages) listener(this.#sessions.get(id)!, message, replyTo)
  }

  reads(id: string, name: string, ...values: Reading['value'][]): void {
    this.readsAt(0, id, name, ...values)
  }

  readsAt(atMs: number, id: string, name: string, ...values: Reading['value'][]): void {
    const readings = values.map((value, i) => ({ device: id, name, value, atMs, boot: 1, n: i + 1 }))
    for (const listener of this.#readings) listener(this.#sessions.get(id)!, readings)
  }

  /** What was sent to a device. */
  to(device: string): DownMessage[] {
    return this.sent.filter((each) => each.device === device).map(({ message }) => message)
  }

  chunksTo(device: string): Chunk[] {
    return this.to(device).filter((message) => message.kind === 'chunk')
  }

  /** What was given to devices, and recorded of it, by `device.name`. */
  readonly derived = new Set<string>()
  readonly recorded: (readonly [name: string, value: Reading['value']])[] = []

  derive(device: string, capabilities: readonly DeviceCapability[]): void {
    for (const { name } of capabilities) this.derived.add(`${device}.${name}`)
  }

  record(device: string, values: readonly (readonly [name: string, value: Reading['value']])[]): void {
    for (const [name, value] of values) this.recorded.push([`${device}.${name}`, value])
  }

  session(device: string): SessionView | undefined {
    return this.#sessions.get(device)
  }

  sessions(): readonly SessionView[] {
    return [...this.#sessions.values()]
  }

  send(device: string, message: DownMessage, replyTo?: ReplyTo): SendOutcome {
    const session = this.#sessions.get(device)
    if (session === undefined || ['sleeping', 'disconnected', 'lost'].includes(session.state)) return 'offline'
    if (this.sizeOf(device, message)! > session.rx) return 'too_large'
    this.sent.push({ device, message, ...(replyTo && { replyTo }) })
    this.onSent(device, message)
    return 'sent'
  }

  sizeOf(device: string, message: DownMessage): number | undefined {
    const session = this.#sessions.get(device)
    if (session === undefined) return undefined
    const wire = session.format === 'json' ? 'mqtt-json' : 'frames'
    return sizeOf(message, wire, messageTopic(device, 'down', message.kind))
  }

  onMessage(listener: (session: SessionView, message: AskMessage, replyTo?: ReplyTo) => void): () => void {
    this.#messages.add(listener)
    return () => this.#messages.delete(listener)
  }

  onPresence(listener: (session: SessionView, change: 'state' | 'boot' | 'gone') => void): () => void {
    this.#presence.add(listener)
    return () => this.#presence.delete(listener)
  }

  onReadings(listener: (session: SessionView, readings: readonly Reading[]) => void): () => void {
    this.#readings.add(listener)
    return () => this.#readings.delete(listener)
  }
}

export interface SourceCall {
  readonly request: AnswerRequest
  readonly listener: AnswerListener
  readonly signal: AbortSignal
  /** The answer is whole. */
  end(isLength?: boolean): void
  fail(error: SkeinError): void
}

/** Each call waits for the test to end it; `says` makes it answer at once. */
export class SourceTwin implements AnswerSource {
  readonly calls: SourceCall[] = []
  #says: readonly string[] | undefined
  #hasEnd = true

  /** What it says has no end. */
  stalls(): void {
    this.#hasEnd = false
  }

  says(...pieces: string[]): void {
    this.#says = pieces
  }

  answer(request: AnswerRequest, listener: AnswerListener, signal: AbortSignal): Promise<AnswerResult> {
    const { promise, resolve, reject } = Promise.withResolvers<AnswerResult>()
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    const end = (isLength = false): void => resolve({ isLength, tokens: 10 })
    this.calls.push({ request, listener, signal, end, fail: reject })
    if (this.#says !== undefined) {
      listener.reached()
      listener.node('desk-pc')
      for (const piece of this.#says) listener.text(piece, undefined)
      if (this.#hasEnd) end()
    }
    return promise
  }

  usualModel(): Promise<string> {
    return Promise.resolve('tiny')
  }
}

const keyOf = ({ device, boot, id }: AskName): string => `${device}:${boot}:${id}`

export class MemoryAskStore implements AskStore {
  readonly #records = new Map<string, AskRecord>()
  readonly #tokens = new Map<string, number>()
  /** Thrown by everything that writes. */
  failure: SkeinError | undefined

  unfinished(nowMs: number): Promise<AskRecord[]> {
    const all = [...this.#records.values()]
    return Promise.resolve(
      all.filter(({ progress, endsAtMs }) => progress === 'open' || (progress === 'answered' && endsAtMs > nowMs)),
    )
  }

  find(name: AskName): Promise<AskRecord | undefined> {
    return Promise.resolve(this.#records.get(keyOf(name)))
  }

  put(record: AskRecord): Promise<void> {
    return this.#write(() => this.#records.set(keyOf(record), record))
  }

  tried(name: AskName, model: string, tries: number): Promise<void> {
    return this.#change(name, () => ({ model, tries }))
  }

  told(name: AskName, text: string): Promise<void> {
    return this.#change(name, (record) => ({ text: record.text + text }))
  }

  answered(name: AskName, text: string, fin: 'stop' | 'length' | 'shaped', by: string | undefined): Promise<void> {
    return this.#change(name, (record) => ({
      ...{ progress: 'answered', text: record.text + text, fin },
      ...(by !== undefined && { by }),
    }))
  }

  failed(name: AskName, error: NonNullable<AskRecord['error']>): Promise<void> {
    return this.#change(name, () => ({ progress: 'failed', error }))
  }

  taken(name: AskName): Promise<void> {
    return this.#change(name, () => ({ endsAtMs: 0 }))
  }

  tokensOf(device: string, day: number): Promise<number> {
    return Promise.resolve(this.#tokens.get(`${device}:${day}`) ?? 0)
  }

  addTokens(device: string, day: number, tokens: number): Promise<void> {
    const key = `${device}:${day}`
    return this.#write(() => this.#tokens.set(key, (this.#tokens.get(key) ?? 0) + tokens))
  }

  forget(beforeMs: number, day: number): Promise<void> {
    return this.#write(() => {
      for (const [key, { askedAtMs, progress }] of this.#records)
        if (askedAtMs < beforeMs && progress !== 'open') this.#records.delete(key)
      for (const key of this.#tokens.keys()) if (Number(key.split(':')[1]) < day) this.#tokens.delete(key)
    })
  }

  #change(name: AskName, change: (record: AskRecord) => Partial<AskRecord>): Promise<void> {
    return this.#write(() => {
      const record = this.#records.get(keyOf(name))
      if (record !== undefined) this.#records.set(keyOf(name), { ...record, ...change(record) })
    })
  }

  #write(work: () => void): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    work()
    return Promise.resolve()
  }
}

export interface AskBench {
  readonly clock: ManualClock
  readonly sessions: SessionsTwin
  readonly source: SourceTwin
  readonly store: MemoryAskStore
  readonly counts: Map<string, number>
  readonly desk: AskDesk
  /** Another start of the bridge over the same store. */
  restart(): Promise<AskBench>
}

export async function startDesk(
  quotas: Partial<AskQuotas> = {},
  store = new MemoryAskStore(),
  clock = new ManualClock(),
): Promise<AskBench> {
  const sessions = new SessionsTwin()
  const source = new SourceTwin()
  const counts = new Map<string, number>()
  const tally = { count: (reason: string, by = 1) => void counts.set(reason, (counts.get(reason) ?? 0) + by) }
  const desk = new AskDesk(
    { sessions, source, store, clock, random: new SeededRandom(1), log: silentLogger, tally },
    { bridge: 'b1', quotas: { asksPerMinute: 30, tokensPerDay: 100_000, ...quotas } },
  )
  await desk.start()
  const restart = async (): Promise<AskBench> => {
    await desk.stop()
    return startDesk(quotas, store, clock)
  }
  return { clock, sessions, source, store, counts, desk, restart }
}

export const LONG =
  'The vent opens when it is warmer than thirty degrees, and closes again when it is cooler than twenty.'

/** Lets everything settle that needs no time. */
export async function settle({ clock }: AskBench): Promise<void> {
  for (let i = 0; i < 10; i++) await clock.advance(0)
}

/** What is under way settles, then time passes. */
export async function later(bench: AskBench, ms: number): Promise<void> {
  await settle(bench)
  await bench.clock.advance(ms)
  await settle(bench)
}

/** A device that takes every chunk and says so. */
export function taking(bench: AskBench, device: string): void {
  bench.sessions.onSent = (to, message) => {
    if (to === device && message.kind === 'chunk')
      queueMicrotask(() => bench.sessions.says(device, { kind: 'credit', id: message.id, next: message.i + 1, n: 1 }))
  }
}

export const textOf = (chunks: readonly Chunk[]): string => chunks.map(({ t }) => t).join('')
export const kinds = (messages: readonly DownMessage[]): string[] => messages.map(({ kind }) => kind)
export const ask = (extra: object = {}) =>
  ({ kind: 'infer', id: 7, q: 'Is it warm?', ttl: 30, max: 200, ...extra }) as const

export async function joined(session = sessionOf('uno'), quotas = {}): Promise<AskBench> {
  const bench = await startDesk(quotas)
  bench.sessions.join(session)
  return bench
}
