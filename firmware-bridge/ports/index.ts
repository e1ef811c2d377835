/**
 * What the parts of the bridge are to each other. Doors bring bytes in and out; sessions know the devices behind them;
 * asks, streams and the coordinator's client live on the other side of `DeviceSessions`. All are composed in `bridge.ts`.
 */
import type {
  BridgeCall,
  CallResult,
  DeviceCapability,
  DeviceDescriptor,
  DevicePolicy,
  DeviceState,
  DeviceStateReport,
  DeviceValue,
  Reading,
  RuleReport,
} from '../../mesh/protocol/index.ts'
import type { Charset, DownMessage, Format, MessageOf } from '../messages/index.ts'

export * from './bucket.ts'
export * from './door.ts'
export * from './uuid.ts'

/** Stops what a call began. Calling it again does nothing. */
export type Cancel = () => void

/** What becomes of a message to a device: handed to its link; over what it takes; no session or no link now. */
export type SendOutcome = 'sent' | 'too_large' | 'offline'

/** Messages that sessions hand on once the device was welcomed: of the running boot, and within its rate. */
export type AskMessage = MessageOf<'infer' | 'credit' | 'cancel' | 'prompt'>

/** MQTT 5: where the device wants what belongs to one `infer`, and the mark that it knows it by. */
export interface ReplyTo {
  readonly topic: string
  readonly correlation?: Uint8Array
}

/** A device that was welcomed, as others see it. */
export interface SessionView {
  readonly id: string
  /** Of the device's start. */
  readonly boot: number
  /** Largest message in bytes; `sizeOf` says what a message takes of it. */
  readonly rx: number
  /** Chunks that it takes in flight when an answer begins. */
  readonly win: number
  /** False of a device that cannot grant any (text lines): its chunks are sent as they come. */
  readonly grantsCredit: boolean
  readonly format: Format
  readonly charset: Charset
  readonly state: DeviceState
  readonly policy: DevicePolicy
  readonly descriptor: DeviceDescriptor
}

export interface DeviceSessions {
  /** `undefined` of a device that has not said hello in this start of the bridge. */
  session(device: string): SessionView | undefined
  sessions(): readonly SessionView[]
  /** In the order of the calls; nothing is kept for later. */
  send(device: string, message: DownMessage, replyTo?: ReplyTo): SendOutcome
  /** Bytes that count towards `rx` when `message` goes to the device; `undefined` without a session. */
  sizeOf(device: string, message: DownMessage, replyTo?: ReplyTo): number | undefined
  /** In order for each device. The listener must not throw. */
  onMessage(listener: (session: SessionView, message: AskMessage, replyTo?: ReplyTo) => void): Cancel
  /** After each change of a device's state, after each welcome of a new boot, and after it was revoked. */
  onPresence(listener: (session: SessionView, change: 'state' | 'boot' | 'gone') => void): Cancel
  /**
   * Gives a device sensors that the bridge makes of what it says: they are described, and their values kept, like its own,
   * and it is never asked for them. One that it has is left as it is; one that there is no room for is left out.
   */
  derive(device: string, capabilities: readonly DeviceCapability[]): void
  /** Records values of derived sensors, as of now. Nothing is told when that fails. */
  record(device: string, values: readonly (readonly [name: string, value: DeviceValue])[]): void
  /** As they are recorded, those of derived sensors too. */
  onReadings(listener: (session: SessionView, readings: readonly Reading[]) => void): Cancel
}

/** Calls of the coordinator, each carried out once at most. Both are for `CoordinatorLink`. */
export interface DeviceCalls {
  /** Its outcome comes through the outbox. The same call again does nothing. */
  call(call: BridgeCall): void
  /** Nobody waits for it any more: it is not carried out unless that has begun. */
  cancel(call: string): void
}

/** What the coordinator is to be told, durable here until it is recorded there. */
export interface OutboxPart {
  /** Grows by one with each part, over starts of the bridge. A part keeps its number and its content until it is recorded. */
  readonly seq: number
  readonly devices: readonly DeviceDescriptor[]
  readonly gone: readonly string[]
  readonly states: readonly DeviceStateReport[]
  readonly readings: readonly Reading[]
  readonly results: readonly CallResult[]
  readonly rules?: readonly RuleReport[]
}

export interface Outbox {
  /** The oldest part that is not recorded, within the bounds of a report; `undefined` when there is nothing. */
  next(): Promise<OutboxPart | undefined>
  /** All parts up to `seq` are recorded there, and forgotten here. */
  recorded(seq: number): Promise<void>
  /** There are parts up to `seq` that this store never made: it was lost since. What is not recorded is numbered from there. */
  renumber(seq: number): Promise<void>
  /** Called when something was added; not called for what was there before. */
  onPending(listener: () => void): Cancel
}

/** The coordinator's client: reports what the outbox has, hands calls on. */
export interface CoordinatorLink {
  start(): Promise<void>
  stop(): Promise<void>
  /** Whether its stream of calls stands. */
  readonly isOnline: boolean
}

/** A part of the bridge that is started and stopped with it. */
export interface BridgePart {
  readonly name: string
  start(): Promise<void>
  stop(): Promise<void>
}

/** Counts by reason: `malformed`, `rate_limited`, `no_such_device`; few reasons, each a constant of the code. */
export interface Tally {
  count(reason: string, by?: number): void
}

export type SqlValue = string | number | null | Uint8Array
export type SqlRow = Readonly<Record<string, SqlValue>>
export type Statement = readonly [sql: string, ...values: SqlValue[]]

/**
 * The bridge's database. Each part brings its own tables and statements. Writes that come while the disk is busy share the
 * next wait for it.
 */
export interface Database {
  /**
   * Settles when all of it is durable, in the order of the calls. Gives the rows that each statement changed; when the
   * first one changes none, the others are not carried out and the list ends there. A write is done whole or not at all.
   *
   * @throws SkeinError DISK_FULL when there is no room; DATA_DIR_UNUSABLE when the database cannot be written.
   */
  write(statements: readonly Statement[]): Promise<number[]>
  /** Sees every write that has settled. @throws SkeinError DATA_DIR_UNUSABLE. */
  read(...statement: Statement): Promise<SqlRow[]>
}

/** Tables of one part. Steps that were published never change; new ones come behind. */
export interface SchemaPart {
  readonly part: string
  readonly steps: readonly string[]
}
