/**
 * Where devices are kept. `SqliteDeviceStore` is the one that ships, `MemoryDeviceStore` its twin; one compliance suite holds
 * both (`test/compliance/device-store.suite.ts`). What a report of a bridge means is decided above: a store takes changes,
 * all of one or nothing.
 */
import type { CallOp, CallOutcome, DeviceDescriptor, DeviceState, DeviceValue } from '../../mesh/protocol/index.ts'
import type { StoredTask, StoredTaskCall, TaskAndCalls, TasksQuery } from './task-types.ts'

/** What a call asks, or answers with; of calls to a bridge itself a JSON object. */
export type CallValue = DeviceValue | Readonly<Record<string, unknown>>

export interface StoredDevice {
  readonly descriptor: DeviceDescriptor
  readonly bridge: string
  readonly state: DeviceState
  /** Since when, as its bridge says. */
  readonly stateAtMs: number
  readonly joinedAtMs: number
  /** Readings that were recorded of it, those included that are not kept any more. */
  readonly readings: number
}

export interface StoredReading {
  readonly device: string
  readonly name: string
  readonly value: DeviceValue
  readonly atMs: number
}

/** What an actuator is wanted to have. */
export interface StoredDesire {
  readonly device: string
  readonly name: string
  readonly value: DeviceValue
  readonly atMs: number
}

/** Who asks for calls: a client of the API, one of MCP, a model that answers, a device's shadow, a rule of a bridge, a device task. */
export type CallOrigin = 'api' | 'mcp' | 'chat' | 'shadow' | 'rule' | 'task'

export interface CallEnd {
  readonly outcome: CallOutcome
  readonly value?: CallValue
  readonly error?: string
  readonly endedAtMs: number
}

/** A call that changes something, from before it was sent. */
export interface StoredCall {
  /** UUID. */
  readonly call: string
  readonly device: string
  readonly bridge: string
  readonly capability: string
  readonly op: CallOp
  readonly value?: CallValue
  readonly origin: CallOrigin
  /** Its name, as the bridge says. */
  readonly rule?: string
  /** Which one wants it, of a call of the origin `task`. */
  readonly task?: string
  /** Whose it was. */
  readonly tenant: string
  readonly atMs: number
  readonly expiresAtMs: number
  /** Absent while it is open. */
  readonly end?: CallEnd
}

export interface DeviceSnapshot {
  /** The newest report of each bridge. */
  readonly bridges: readonly { readonly bridge: string; readonly recorded: number }[]
  readonly devices: readonly StoredDevice[]
  /** The newest value of each capability. */
  readonly last: readonly StoredReading[]
  readonly desired: readonly StoredDesire[]
  /** Calls without an end. */
  readonly open: readonly StoredCall[]
}

/** What one report changes. */
export interface DeviceChange {
  readonly bridge: string
  /** Number of the report. */
  readonly recorded: number
  /** New and changed ones. */
  readonly devices: readonly StoredDevice[]
  /** Ids; all that is known of them goes, but their calls. */
  readonly gone: readonly string[]
  /** In the order of their making. */
  readonly readings: readonly StoredReading[]
  /** The newest value of each capability that has a new one. */
  readonly last: readonly StoredReading[]
  readonly ends: readonly { readonly call: string; readonly end: CallEnd }[]
}

export interface HistoryQuery {
  readonly device: string
  readonly name?: string
  readonly sinceMs: number
  readonly limit: number
}

export interface CallsQuery {
  readonly device?: string
  readonly limit: number
}

export interface DeviceStore {
  /** @throws SkeinError LEDGER_UNAVAILABLE. */
  load(): Promise<DeviceSnapshot>
  /** Applies a change, all of it or nothing. Resolves when it is durable. @throws SkeinError LEDGER_UNAVAILABLE. */
  record(change: DeviceChange): Promise<void>
  /** Records a call, open or ended; one that is known is given its end. Resolves when it is durable. @throws SkeinError LEDGER_UNAVAILABLE. */
  recordCall(call: StoredCall): Promise<void>
  /** Replaces what is desired of a device. Resolves when it is durable. @throws SkeinError LEDGER_UNAVAILABLE. */
  desire(device: string, desires: readonly StoredDesire[]): Promise<void>
  /** The newest `limit` readings, oldest first. @throws SkeinError LEDGER_UNAVAILABLE. */
  history(query: HistoryQuery): Promise<StoredReading[]>
  /** Newest first. @throws SkeinError LEDGER_UNAVAILABLE. */
  calls(query: CallsQuery): Promise<StoredCall[]>
  /** A call that is kept. @throws SkeinError LEDGER_UNAVAILABLE. */
  call(id: string): Promise<StoredCall | undefined>
  /**
   * Records a device task with new and changed calls of it; of its calls the newest are kept. Resolves when it is durable.
   *
   * @throws SkeinError LEDGER_UNAVAILABLE.
   */
  recordTask(task: StoredTask, calls: readonly StoredTaskCall[]): Promise<void>
  /** Those that are active, oldest first. @throws SkeinError LEDGER_UNAVAILABLE. */
  activeTasks(): Promise<TaskAndCalls[]>
  /** @throws SkeinError LEDGER_UNAVAILABLE. */
  task(id: string): Promise<TaskAndCalls | undefined>
  /** Newest first. @throws SkeinError LEDGER_UNAVAILABLE. */
  tasks(query: TasksQuery): Promise<StoredTask[]>
  /** Deletes readings, ended calls and ended tasks from before these times, and the oldest of them beyond the bounds. @throws SkeinError LEDGER_UNAVAILABLE. */
  sweep(readingsBeforeMs: number, callsBeforeMs: number): Promise<void>
  /** Makes durable what was asked for. Does not throw. */
  close(): Promise<void>
}

/** Rows that a store keeps. */
export interface DeviceBounds {
  /** Of one device. */
  readonly readingsPerDeviceMax: number
  /** Of all. */
  readonly readingsMax: number
  readonly callsMax: number
  /** Ended ones. */
  readonly tasksMax: number
  /** Of one task. */
  readonly taskCallsMax: number
}
