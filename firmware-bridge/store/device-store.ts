/**
 * What the bridge knows of its devices, durable before anybody is told. Two implementations: SQLite and memory, under one
 * compliance suite.
 */
import type {
  BridgeCall,
  CallResult,
  DeviceDescriptor,
  DevicePolicy,
  DeviceStateReport,
  Reading,
  RuleReport,
} from '../../mesh/protocol/index.ts'
import type { Outbox } from '../ports/index.ts'

/** What a device's owner lets others do with it until told otherwise. */
export const FIRST_POLICY: DevicePolicy = { read: true, act: 'confirm', ask: true, local_only: false }

/** A claim that its owner approved: the next `claim` of this chip with this code is answered with a credential. */
export interface Approval {
  readonly chip: string
  readonly code: string
  readonly untilMs: number
}

export interface StoredDevice {
  readonly id: string
  /** What its owner calls it. */
  readonly name: string
  readonly addedAtMs: number
  readonly policy: DevicePolicy
  /** SHA-256 of its credential, which is random; none of a device that was trusted by its serial port. */
  readonly credential?: Uint8Array
  /** Identity of the serial port at which it is trusted. */
  readonly port?: string
  readonly approval?: Approval
  /** As of its last hello. */
  readonly descriptor?: DeviceDescriptor
  readonly boot?: number
  /** Number of the newest `tele` of that boot that is recorded. */
  readonly tele: number
}

export type NewDevice = Pick<StoredDevice, 'id' | 'name' | 'addedAtMs' | 'policy' | 'credential' | 'port' | 'approval'>
export type DeviceChange = Partial<Pick<StoredDevice, 'policy' | 'credential' | 'port'>> & {
  /** `null` takes it away. */
  readonly approval?: Approval | null
}

/** `waiting`: for a device that sleeps or has no link; `sent`: it may have been carried out from here on. */
export type OpenCallState = 'waiting' | 'sent'

export interface StoredCall {
  readonly call: BridgeCall
  readonly state: OpenCallState
  /** Number of the command; given when it is sent. */
  readonly cmd?: number
}

export interface DeviceStore extends Outbox {
  devices(): Promise<StoredDevice[]>
  /** False when there is a device of that id. */
  add(device: NewDevice): Promise<boolean>
  /** False when there is no such device. */
  change(id: string, change: DeviceChange): Promise<boolean>
  /** Forgets it, and reports it as gone. False when there is no such device. */
  remove(id: string): Promise<boolean>
  /** A device has said hello: its descriptor is reported, and a new boot counts its readings anew. */
  hello(descriptor: DeviceDescriptor, boot: number): Promise<void>
  /** Reports the descriptors of all devices that have one, as a bridge does when it starts. */
  describeAll(): Promise<void>
  /** False when readings of that number, or a newer one of that boot, are recorded already; then nothing is. */
  tele(device: string, boot: number, n: number, readings: readonly Reading[]): Promise<boolean>
  /** Readings that the bridge has made itself; they have no number. */
  derived(readings: readonly Reading[]): Promise<void>
  state(state: DeviceStateReport): Promise<void>
  /** What came of rules; at most as many as one report has. */
  ruled(reports: readonly RuleReport[]): Promise<void>
  /** Never given before, also by a former start. */
  nextCommand(): number
  /** False when the call is known, whatever became of it. */
  addCall(stored: StoredCall): Promise<boolean>
  /** A call that waited is sent now. False when it waits no longer. */
  sendCall(call: string, cmd: number): Promise<boolean>
  /** Records and reports how a call ended. False when it had ended, or is not known. */
  endCall(result: CallResult): Promise<boolean>
  openCalls(): Promise<StoredCall[]>
  /** Forgets ended calls that expired before. */
  purge(beforeMs: number): Promise<void>
}
