/** What the ledger and its worker say to each other, by structured clone. Both ends are of one build. */
import type { LeaseCharge } from '../budgets.ts'
import type { LedgerFacts } from '../ledger.ts'
import type { UsageAxis } from '../usage.ts'
import type { Failure } from './schema.ts'

/** Columns of a new task, and its event. */
export interface NewTask {
  readonly taskId: string
  readonly tenant: string
  readonly key: string | null
  readonly bodyDigest: string | null
  readonly model: string
  readonly digest: string
  readonly priority: string
  readonly isStored: boolean
  readonly atMs: number
  readonly payload: Uint8Array
}

/** What an event changes in the row of its task. */
export type RowChange =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'assigned'
      readonly nodeId: string
      readonly nodeName: string
      readonly route: string
      readonly attempt: number
      /** Set aside for it, where it is billed, and when that counts. */
      readonly reservedMicros: number | null
      readonly countedAtMs: number
    }
  /** What an attempt cost and took; nothing where that is not known. */
  | {
      readonly kind: 'attempt end'
      readonly attempt: number
      readonly costMicros: number | null
      readonly joules: number | null
      readonly estimatedJoules: number | null
      readonly energyMicros: number | null
    }
  /** Tokens from `from` up to `to`. */
  | { readonly kind: 'tokens'; readonly from: number; readonly to: number }
  | {
      readonly kind: 'end'
      readonly state: string
      readonly code: string | null
      readonly from: number
      readonly to: number
      readonly promptTokens: number
      readonly cachedTokens: number
      /** The tokens that the task has, when `null`. */
      readonly completionTokens: number | null
      readonly cloudMicros: number | null
    }
  /** A row of the usage without a task. */
  | { readonly kind: 'work'; readonly usage: UsageColumns }

/** Columns of the `usage` table, in their order; the time of the event is one more. */
export type UsageColumns = readonly [
  tenant: string,
  model: string,
  digest: string | null,
  nodeId: string | null,
  nodeName: string | null,
  route: string | null,
  kind: string,
  state: string,
  code: string | null,
  promptTokens: number,
  cachedTokens: number,
  completionTokens: number,
  attempts: number,
  tookMs: number,
  costMicros: number | null,
  joules: number | null,
  estimatedJoules: number | null,
  energyMicros: number | null,
  cloudMicros: number | null,
]

/** As `BilledSum`. */
export interface BilledRow {
  readonly tenant: string | null
  readonly day: number
  readonly micros: number
}

/** As `LeaseCharge`, of one that is open. */
export type LeaseChargeRow = Omit<LeaseCharge, 'isOpen'>

/** One sum, with a column for each axis that was asked for. */
export type UsageSumRow = Readonly<Record<string, string | number | null>>

export interface NewEvent {
  readonly taskId: string
  readonly type: string
  readonly atMs: number
  readonly payload: Uint8Array
  readonly change: RowChange
}

/** An event of an ended task as it stands in the ledger. */
export interface StoredEvent {
  readonly seq: number
  readonly payload: Uint8Array
}

/** One task of a purge: events that are rewritten (those that are not named are kept), deleted, and the one that says so. */
export interface PurgedTask {
  readonly seq: number
  readonly rewritten: readonly StoredEvent[]
  readonly deleted: readonly number[]
  readonly purged: Omit<NewEvent, 'taskId' | 'change'>
}

/** Each request with its answer. */
export interface Operations {
  readonly admit: { ask: { task: NewTask }; answer: { isNew: true } | { isNew: false; events: Uint8Array[] } }
  readonly append: { ask: { events: readonly NewEvent[] }; answer: null }
  readonly task: { ask: { taskId: string }; answer: Uint8Array[] | null }
  readonly byKey: { ask: { tenant: string; key: string }; answer: Uint8Array[] | null }
  readonly list: {
    ask: { limit: number; before: string | null; isOpen: boolean; tenant: string | null }
    answer: TaskRow[]
  }
  /** Unfinished tasks behind the one with the number `after`. */
  readonly open: { ask: { after: number; limit: number }; answer: { seq: number; events: Uint8Array[] }[] }
  readonly billed: { ask: { sinceMs: number }; answer: BilledRow[] }
  readonly recordLeaseCharges: { ask: { charges: readonly LeaseCharge[] }; answer: null }
  readonly openLeaseCharges: { ask: object; answer: LeaseChargeRow[] }
  readonly recordBudget: { ask: { atMs: number; payload: Uint8Array }; answer: null }
  /** Events of budgets behind the one with the number `after`. */
  readonly budgetEvents: { ask: { after: number; limit: number }; answer: StoredEvent[] }
  /** Tasks that ended before `beforeMs`, whose text is there and is not to be kept. */
  readonly purgeable: {
    ask: { beforeMs: number; limit: number }
    answer: { seq: number; taskId: string; events: StoredEvent[] }[]
  }
  /** That task, if it has ended and its text is there; in the shape of `purgeable`. */
  readonly erasable: { ask: { taskId: string }; answer: { seq: number; taskId: string; events: StoredEvent[] }[] }
  readonly purge: { ask: { tasks: readonly PurgedTask[] }; answer: null }
  /** Deletes tasks that ended before `beforeMs`; answers how many. */
  readonly forget: { ask: { beforeMs: number; limit: number }; answer: number }
  /** Deletes usage from before `beforeMs`; answers how many rows. */
  readonly forgetUsage: { ask: { beforeMs: number; limit: number }; answer: number }
  readonly usage: {
    ask: { sinceMs: number; untilMs: number; tenant: string | null; by: readonly UsageAxis[]; limit: number }
    answer: UsageSumRow[]
  }
  readonly recordAccess: { ask: { atMs: number; payload: Uint8Array }; answer: null }
  /** Events of keys behind the one with the number `after`. */
  readonly accessEvents: { ask: { after: number; limit: number }; answer: StoredEvent[] }
  readonly recordBatches: {
    ask: { events: readonly { readonly id: string; readonly atMs: number; readonly payload: Uint8Array }[] }
    answer: null
  }
  /** Events of files and batches behind the one with the number `after`. */
  readonly batchEvents: { ask: { after: number; limit: number }; answer: StoredEvent[] }
  readonly forgetBatches: { ask: { ids: readonly string[] }; answer: null }
  readonly recordLeases: {
    ask: { events: readonly { readonly id: string; readonly atMs: number; readonly payload: Uint8Array }[] }
    answer: null
  }
  /** Events of leases behind the one with the number `after`. */
  readonly leaseEvents: { ask: { after: number; limit: number }; answer: StoredEvent[] }
  readonly forgetLeases: { ask: { ids: readonly string[] }; answer: null }
  /** Overwrites what was deleted in the write-ahead log too. */
  readonly scrub: { ask: object; answer: null }
  readonly close: { ask: object; answer: null }
}
export type OperationName = keyof Operations

/** Those that change the ledger: they share a transaction. */
export const WRITES: ReadonlySet<OperationName> = new Set([
  'admit',
  'append',
  'purge',
  'forget',
  'forgetUsage',
  'recordAccess',
  'recordBatches',
  'forgetBatches',
  'recordLeases',
  'forgetLeases',
  'recordLeaseCharges',
  'recordBudget',
])

export type Request = {
  readonly [N in OperationName]: { readonly id: number; readonly name: N } & Readonly<Operations[N]['ask']>
}[OperationName]
export type RequestOf<N extends OperationName> = Extract<Request, { name: N }>

export type Answer = { readonly id: number } & ({ readonly value: unknown } | { readonly failure: Failure })

/** Columns of the `tasks` table that a list shows. */
export interface TaskRow {
  readonly task_id: string
  readonly tenant: string
  readonly model: string
  readonly priority: string
  readonly admitted_at: number
  readonly state: string
  readonly attempts: number
  readonly tokens: number
  readonly node_id: string | null
  readonly node_name: string | null
  readonly ended_at: number | null
  readonly code: string | null
}

/** What a worker is started for. */
export type WorkerInit =
  | { readonly work: 'serve'; readonly path: string }
  | { readonly work: 'copy'; readonly path: string; readonly target: string }

export type FromWorker =
  | { readonly type: 'opened'; readonly epoch: number }
  | { readonly type: 'failed'; readonly failure: Failure }
  | { readonly type: 'copied'; readonly facts: LedgerFacts }
  | { readonly type: 'answers'; readonly answers: readonly Answer[] }
