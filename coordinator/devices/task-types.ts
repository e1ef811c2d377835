/**
 * Device tasks: what is to be read, set or run at devices that fit, once or again and again. A task goes in passes; in each
 * it calls as many devices as it is to reach, each once, over the desk.
 */
import type { CallOp, DeviceLevel, DeviceValue } from '../../mesh/protocol/index.ts'
import type { CallEnd } from './store.ts'

/** Which devices are meant: one, or all that have the capability and these marks. */
export interface TaskSelect {
  readonly device?: string
  readonly class?: string
  /** Of the capability. */
  readonly unit?: string
  readonly bridge?: string
}

export interface TaskSpec {
  readonly op: CallOp
  readonly capability: string
  readonly value?: DeviceValue
  readonly select: TaskSelect
  /** How many devices each pass is to reach. */
  readonly count: number | 'all'
  /** From pass to pass; one pass when absent. */
  readonly everyMs?: number
  /** Wall clock; nothing is begun from then on. */
  readonly untilMs?: number
  /** How long each call is good. */
  readonly ttlMs?: number
  /** Further tries of each pass. */
  readonly retry: number
  /** A person has said yes to all of it. */
  readonly isConfirmed: boolean
}

export interface TaskCallEnd extends CallEnd {
  /** False when it certainly never left for its bridge. */
  readonly isSent: boolean
}

/** One call of a task. It is recorded here before the desk has it. */
export interface StoredTaskCall {
  readonly task: string
  /** From 1, over all passes. */
  readonly n: number
  readonly pass: number
  readonly device: string
  /** UUID of the call over the desk. */
  readonly call: string
  readonly atMs: number
  /** Absent while it is open. */
  readonly end?: TaskCallEnd
  /** A crash came before it was sent: it does not count, and its number is given again. */
  readonly isVoid?: boolean
}

/** What came of a pass. */
export interface PassEnd {
  readonly pass: number
  readonly isDone: boolean
  readonly error?: string
  /** Why not, by device. */
  readonly reasons: Readonly<Record<string, string>>
}

export const TASK_OUTCOMES = ['done', 'failed', 'cancelled', 'expired'] as const
export type TaskOutcome = (typeof TASK_OUTCOMES)[number]

export interface StoredTask {
  /** UUID. */
  readonly task: string
  readonly spec: TaskSpec
  /** Whose it is. */
  readonly tenant: string
  /** What the tenant was let do with devices. */
  readonly level: DeviceLevel
  readonly atMs: number
  /** The newest, from 1; 0 before the first. */
  readonly pass: number
  /** Since when the newest runs; absent between passes. */
  readonly passAtMs?: number
  /** When the next one is due; absent when there is none. */
  readonly nextAtMs?: number
  /** Numbers given to calls. */
  readonly calls: number
  /** Of the newest pass that has ended. */
  readonly last?: PassEnd
  /** Absent while it is active. */
  readonly end?: { readonly outcome: TaskOutcome; readonly error?: string; readonly endedAtMs: number }
}

/** A task, and those of its calls that are kept. */
export interface TaskAndCalls {
  readonly task: StoredTask
  /** Oldest first. */
  readonly calls: readonly StoredTaskCall[]
}

export interface TasksQuery {
  readonly tenant?: string
  readonly limit: number
}
