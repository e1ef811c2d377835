/** What happens in a history, as the checkers and the reader of a replay see it. */
import type { AnyFrame, ControlOrder, ControlOutcome, ErrorCode, Frame, TaskId } from '../../mesh/protocol/index.ts'
import type { TaskEvent } from '../../coordinator/admission/index.ts'
import type { LedgerEvent, LedgerTask } from '../../coordinator/ledger/index.ts'
import type { ClientPlan, NodePlan } from './scenario.ts'

/** An answer as one client reads it, over all its connections. */
export interface Reader {
  readonly name: string
  readonly client: ClientPlan
  taskId: TaskId | undefined
}

export type Observation =
  /** The coordinator sent a frame of an attempt, or received one; `node` is the name of the other side. */
  | { readonly type: 'sent'; readonly stream: number; readonly node: string; readonly frame: Frame }
  | { readonly type: 'got'; readonly stream: number; readonly node: string; readonly frame: AnyFrame }
  | { readonly type: 'stream over'; readonly stream: number }
  /** The coordinator ordered a replica, heard what became of it, or took a node for lost. */
  | { readonly type: 'ordered'; readonly node: string; readonly frame: ControlOrder }
  | { readonly type: 'outcome'; readonly node: string; readonly frame: ControlOutcome }
  | { readonly type: 'node lost'; readonly node: string }
  /** The same at a node: `life` counts its processes. */
  | {
      readonly type: 'node sent'
      readonly stream: number
      readonly node: string
      readonly life: number
      readonly frame: Frame
    }
  | {
      readonly type: 'node got'
      readonly stream: number
      readonly node: string
      readonly life: number
      readonly frame: AnyFrame
    }
  | { readonly type: 'slots'; readonly node: string; readonly running: number; readonly slots: number }
  | { readonly type: 'refused'; readonly reader: Reader; readonly code: ErrorCode; readonly message: string }
  /** The client knows its task. */
  | { readonly type: 'named'; readonly reader: Reader; readonly isNew: boolean }
  | { readonly type: 'acknowledged'; readonly taskId: TaskId; readonly client: ClientPlan }
  /** The reader begins at the answer's start, for the first time or again. */
  | { readonly type: 'began'; readonly reader: Reader }
  /** It connects again behind what it has: so many events of its last connection had not reached it. */
  | { readonly type: 'resumed'; readonly reader: Reader; readonly forgotten: number }
  | { readonly type: 'told'; readonly reader: Reader; readonly event: TaskEvent }
  | { readonly type: 'failed'; readonly reader: Reader; readonly code: ErrorCode; readonly message: string }
  | { readonly type: 'gave up'; readonly reader: Reader; readonly why: string }
  | { readonly type: 'offered'; readonly events: readonly LedgerEvent[] }
  | { readonly type: 'durable'; readonly events: readonly LedgerEvent[] }
  | { readonly type: 'life'; readonly who: string; readonly what: 'starts' | 'dies' | 'stops' | 'freezes' | 'thaws' }
  | { readonly type: 'fault'; readonly what: string }

/** What is asked when everything has healed and ended. */
export interface FinalState {
  readonly nodes: readonly NodePlan[]
  /** As the ledger has them. */
  readonly tasks: ReadonlyMap<TaskId, LedgerTask>
  readonly durable: readonly LedgerEvent[]
  readonly readers: readonly Reader[]
  /** Readers that wait for their answer still. */
  readonly waiting: readonly Reader[]
  /** What should be free and is not, in words. */
  readonly leaks: readonly string[]
}

export interface Violation {
  readonly invariant: string
  readonly message: string
  readonly atMs: number
}

/** Thrown inside a history to end it: the first violation says what is wrong, later ones may follow from it. */
export class Violated extends RangeError {
  readonly violation: Violation

  constructor(violation: Violation) {
    super(`${violation.invariant} at ${violation.atMs} ms: ${violation.message}`)
    this.violation = violation
  }
}
