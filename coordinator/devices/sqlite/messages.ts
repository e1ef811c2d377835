/** What the store of devices and its worker say to each other, by structured clone. Both ends are of one build. */
import type { ErrorCode } from '../../../mesh/protocol/index.ts'
import type {
  CallsQuery,
  DeviceBounds,
  DeviceChange,
  DeviceSnapshot,
  HistoryQuery,
  StoredCall,
  StoredDesire,
  StoredReading,
} from '../store.ts'
import type { StoredTask, StoredTaskCall, TaskAndCalls, TasksQuery } from '../task-types.ts'

export interface WorkerInit {
  readonly path: string
  readonly bounds: DeviceBounds
}

/** Why something could not be done; a SkeinError without its class. */
export interface Failure {
  readonly code: ErrorCode
  readonly message: string
}

export interface Operations {
  load: { ask: object; answer: DeviceSnapshot }
  record: { ask: { change: DeviceChange }; answer: null }
  recordCall: { ask: { call: StoredCall }; answer: null }
  desire: { ask: { device: string; desires: readonly StoredDesire[] }; answer: null }
  history: { ask: { query: HistoryQuery }; answer: StoredReading[] }
  calls: { ask: { query: CallsQuery }; answer: StoredCall[] }
  /** `null` where there is none. */
  call: { ask: { call: string }; answer: StoredCall | null }
  recordTask: { ask: { task: StoredTask; calls: readonly StoredTaskCall[] }; answer: null }
  activeTasks: { ask: object; answer: TaskAndCalls[] }
  task: { ask: { task: string }; answer: TaskAndCalls | null }
  tasks: { ask: { query: TasksQuery }; answer: StoredTask[] }
  sweep: { ask: { readingsBeforeMs: number; callsBeforeMs: number }; answer: null }
  close: { ask: object; answer: null }
}
export type OperationName = keyof Operations

export type RequestOf<N extends OperationName> = { readonly id: number; readonly name: N } & Readonly<
  Operations[N]['ask']
>
export type Request = { [N in OperationName]: RequestOf<N> }[OperationName]

export type Answer = { readonly id: number } & ({ readonly value: unknown } | { readonly failure: Failure })

export type FromWorker =
  | { readonly type: 'opened' }
  | { readonly type: 'failed'; readonly failure: Failure }
  | { readonly type: 'answers'; readonly answers: readonly Answer[] }
