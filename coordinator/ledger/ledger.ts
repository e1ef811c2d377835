/**
 * The ledger port: what is true of tasks after any crash. `SqliteLedger` is the one that ships, `MemoryLedger` its twin
 * for the simulation; one compliance suite holds both, and any engine that comes later
 * (`test/compliance/ledger.suite.ts`).
 */
import type { TaskId } from '../../mesh/protocol/index.ts'
import type { AccessEvent } from './access.ts'
import type { BatchEvent } from './batches.ts'
import type { BilledSum, BudgetEvent, LeaseCharge } from './budgets.ts'
import type { LedgerEvent, LedgerEventOf } from './events.ts'
import type { LeaseEvent } from './leases.ts'
import type { LedgerTask, TaskSummary } from './state.ts'
import type { UsageQuery, UsageSum } from './usage.ts'

/** What came of an admission: the task is new, or the key has named a task before. */
export type Admission = { readonly isNew: true } | { readonly isNew: false; readonly task: LedgerTask }

export interface TaskQuery {
  /** At most `LIMITS.tasksPageMax`. */
  readonly limit: number
  /** Tasks admitted before this one only. */
  readonly before?: TaskId
  /** Only those that have not ended. */
  readonly isOpen?: boolean
  /** Only those of this tenant. */
  readonly tenant?: string
}

/** What a backup or a check found in a ledger. */
export interface LedgerFacts {
  readonly schemaVersion: number
  readonly events: number
  readonly tasks: number
  readonly epoch: number
  /** Absent of a ledger of version 1, which has none. */
  readonly accessEvents?: number
  /** Rows of the usage; absent of a ledger of version 1. */
  readonly usage?: number
  /** Events of files and batches; absent of a ledger before version 3. */
  readonly batchEvents?: number
  /** What was set aside or paid, and events of budgets; absent of a ledger before version 6. */
  readonly charges?: number
  readonly budgetEvents?: number
  /** Events of leases; absent of a ledger before version 5. */
  readonly leaseEvents?: number
}

export interface Ledger {
  /** Number of this opening: grows with every one, durable before the first call. The high part of fencing tokens. */
  readonly epoch: number
  /**
   * Records a new task. Resolves when it is durable. A task whose `idempotency` key its tenant used before is not
   * recorded: the earlier one is given back.
   *
   * @throws SkeinError IDEMPOTENCY_MISMATCH when the key came with another body; LEDGER_UNAVAILABLE.
   */
  admit(event: LedgerEventOf<'task.admitted'>): Promise<Admission>
  /**
   * Records events in the order of the calls, all of one call or none. Resolves when they are durable. Events of a task
   * that is not known, and a second `task.ended`, change nothing. The `task.ended` that holds makes the task's row of the
   * usage in the same transaction.
   *
   * @throws SkeinError LEDGER_UNAVAILABLE: nothing of the call was recorded, and it may be made again.
   */
  append(events: readonly Exclude<LedgerEvent, { type: 'task.admitted' }>[]): Promise<void>
  /** The task as its durable events tell it. */
  task(taskId: TaskId): Promise<LedgerTask | undefined>
  /** The task that `tenant` named by an `Idempotency-Key`. */
  byIdempotencyKey(tenant: string, key: string): Promise<LedgerTask | undefined>
  /** Newest first. */
  list(query: TaskQuery): Promise<TaskSummary[]>
  /** All tasks that were admitted and have not ended: what a restart has to go on with. */
  open(): Promise<LedgerTask[]>
  /** What attempts and leases since `sinceMs` have cost, by tenant and day: what was set aside, where the cost is not known. */
  billed(sinceMs: number): Promise<BilledSum[]>
  /** Records what was set aside or paid for leases, all of it or nothing: each in the place of the part that was there. Resolves when it is durable. @throws SkeinError LEDGER_UNAVAILABLE. */
  recordLeaseCharges(charges: readonly LeaseCharge[]): Promise<void>
  /** Parts of leases that are set aside still. */
  openLeaseCharges(): Promise<LeaseCharge[]>
  /** Records what the owner has set. Resolves when it is durable. @throws SkeinError LEDGER_UNAVAILABLE. */
  recordBudget(event: BudgetEvent): Promise<void>
  /** All that was set, in the order in which it was recorded. */
  budgetEvents(): Promise<BudgetEvent[]>
  /** Deletes prompt and text of tasks that ended before `resultsBeforeMs` (stored ones: `tasksBeforeMs`), and all else of those that ended before `tasksBeforeMs`. Returns how many tasks it changed. */
  purge(resultsBeforeMs: number, tasksBeforeMs: number): Promise<number>
  /**
   * Deletes prompt and text of a task that has ended, before their time. Returns false when there are none: it is not known,
   * runs still, or has lost them.
   *
   * @throws SkeinError LEDGER_UNAVAILABLE.
   */
  erase(taskId: TaskId): Promise<boolean>
  /** Deletes usage, and what was paid, from before `beforeMs`. Returns how many rows of usage. */
  purgeUsage(beforeMs: number): Promise<number>
  /** What was used, summed; of tasks that have ended, and of work. */
  usage(query: UsageQuery): Promise<UsageSum[]>
  /** Records what happened to a key. Resolves when it is durable. @throws SkeinError LEDGER_UNAVAILABLE. */
  recordAccess(event: AccessEvent): Promise<void>
  /** All that happened to keys, in the order in which it was recorded. */
  accessEvents(): Promise<AccessEvent[]>
  /** Records what happened to files and batches, all of it or nothing. Resolves when it is durable. @throws SkeinError LEDGER_UNAVAILABLE. */
  recordBatches(events: readonly BatchEvent[]): Promise<void>
  /** All that happened to files and batches, in the order in which it was recorded. */
  batchEvents(): Promise<BatchEvent[]>
  /** Deletes all events of the files and batches of these ids, at most 1,000 of them. @throws SkeinError LEDGER_UNAVAILABLE. */
  forgetBatches(ids: readonly string[]): Promise<void>
  /** Records what happened to leases of machines, all of it or nothing. Resolves when it is durable. @throws SkeinError LEDGER_UNAVAILABLE. */
  recordLeases(events: readonly LeaseEvent[]): Promise<void>
  /** All that happened to leases, in the order in which it was recorded. */
  leaseEvents(): Promise<LeaseEvent[]>
  /** Deletes all events of the leases of these ids, at most 1,000 of them. @throws SkeinError LEDGER_UNAVAILABLE. */
  forgetLeases(ids: readonly string[]): Promise<void>
  /**
   * Writes a copy of the present state to `path` while work goes on, checks it by opening it, and returns what is in it.
   *
   * @throws SkeinError BACKUP_INVALID when `path` exists or cannot be written.
   */
  backup(path: string): Promise<LedgerFacts>
  /** Makes durable what was appended, and lets go of the lock. Does not throw. */
  close(): Promise<void>
}
