/**
 * The ledger's twin for the simulation: no disk, no thread. Its disk takes `commitMs` of the clock for each group of
 * requests, can fail when told to, and keeps over a `crash` what was durable, that and no more.
 */
import { LIMITS, SkeinError, type TaskId } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'
import type { AccessEvent } from './access.ts'
import type { BatchEvent } from './batches.ts'
import {
  billedSums,
  enterCharge,
  type AttemptCharge,
  type BilledSum,
  type BudgetEvent,
  type LeaseCharge,
} from './budgets.ts'
import type { LedgerEvent, LedgerEventOf } from './events.ts'
import type { LeaseEvent } from './leases.ts'
import type { Admission, Ledger, LedgerFacts, TaskQuery } from './ledger.ts'
import { apply, durableTokens, purgedEvent, summaryOf, type LedgerTask, type TaskSummary } from './state.ts'
import { sumUsage, usageOfTask, type UsageQuery, type UsageRow, type UsageSum } from './usage.ts'

export interface MemoryLedgerInit {
  /** What a commit takes on the clock. */
  readonly commitMs: number
}

type Appended = Exclude<LedgerEvent, { type: 'task.admitted' }>

interface Row {
  task: LedgerTask
  tokens: number
  events: { readonly seq: number; readonly event: LedgerEvent }[]
}

/** What outlives a crash. */
class Disk {
  epoch = 0
  seq = 0
  /** In the order of admission. */
  rows = new Map<TaskId, Row>()
  usage = new Map<TaskId, UsageRow>()
  access: AccessEvent[] = []
  batches: BatchEvent[] = []
  leases: LeaseEvent[] = []
  /** By `chargeKey`. */
  charges = new Map<string, AttemptCharge>()
  /** By lease and part. */
  leaseCharges = new Map<string, LeaseCharge>()
  budgets: BudgetEvent[] = []
  /** Copies by their path. */
  readonly backups = new Map<string, Disk>()
  failure: string | undefined

  copy(): Disk {
    const copy = new Disk()
    copy.epoch = this.epoch
    copy.seq = this.seq
    for (const [taskId, row] of this.rows) copy.rows.set(taskId, { ...row, events: [...row.events] })
    copy.usage = new Map(this.usage)
    copy.access = [...this.access]
    copy.batches = [...this.batches]
    copy.leases = [...this.leases]
    copy.charges = new Map(this.charges)
    copy.leaseCharges = new Map(this.leaseCharges)
    copy.budgets = [...this.budgets]
    return copy
  }

  record(event: LedgerEvent): void {
    if (event.type === 'work.ended') return this.#use({ ...event.usage, taskId: event.taskId, atMs: event.atMs })
    const taskId = event.type === 'task.admitted' ? event.spec.taskId : event.taskId
    const row = this.rows.get(taskId)
    const task = apply(row?.task, event)
    if (task === undefined || task === row?.task) return
    enterCharge(this.charges, event, task.spec.tenant)
    const stored = { seq: this.seq++, event }
    if (row === undefined) this.rows.set(taskId, { task, tokens: 0, events: [stored] })
    else Object.assign(row, { task, tokens: Math.max(row.tokens, durableTokens(task)) }).events.push(stored)
    if (event.type === 'task.ended') this.#use(usageOfTask(task, event))
  }

  #use(row: UsageRow): void {
    if (!this.usage.has(row.taskId)) this.usage.set(row.taskId, row)
  }
}

interface Write {
  readonly run: () => unknown
  readonly resolve: (value: never) => void
  readonly reject: (error: SkeinError) => void
}

export class MemoryLedger implements Ledger {
  readonly epoch: number
  readonly #clock: Clock
  readonly #init: MemoryLedgerInit
  readonly #disk: Disk
  #waiting: Write[] = []
  #cancelCommit: CancelTimer | undefined
  #state: 'open' | 'closed' | 'crashed' = 'open'

  constructor(components: { readonly clock: Clock }, init: MemoryLedgerInit, disk = new Disk()) {
    this.#clock = components.clock
    this.#init = init
    this.#disk = disk
    this.epoch = ++disk.epoch
  }

  /** Every durable event that changed something, in order. For checkers of invariants. */
  get durableEvents(): readonly LedgerEvent[] {
    return [...this.#disk.rows.values()]
      .flatMap((row) => row.events)
      .sort((a, b) => a.seq - b.seq)
      .map(({ event }) => event)
  }

  /** Every commit fails from now on with LEDGER_UNAVAILABLE and `reason`; `undefined` mends the disk. */
  failWrites(reason: string | undefined): void {
    this.#disk.failure = reason
  }

  /** The process is gone: what is not durable is lost, and no call, pending or later, is ever answered. */
  crash(): void {
    this.#cancelCommit?.()
    this.#waiting = []
    this.#state = 'crashed'
  }

  /** The ledger as the next process finds it, with the next epoch. This one is fenced off, as by `crash`. */
  reopen(): MemoryLedger {
    this.crash()
    return new MemoryLedger({ clock: this.#clock }, this.#init, this.#disk)
  }

  /** The ledger that a `backup` wrote to `path`. @throws SkeinError BACKUP_INVALID when there is none. */
  openBackup(path: string): MemoryLedger {
    const copy = this.#disk.backups.get(path)
    if (copy === undefined) throw new SkeinError('BACKUP_INVALID', `${path} is no backup`)
    return new MemoryLedger({ clock: this.#clock }, this.#init, copy)
  }

  admit(event: LedgerEventOf<'task.admitted'>): Promise<Admission> {
    return this.#write(() => {
      const { taskId, tenant, idempotency } = event.spec
      const earlier = (idempotency && this.#byKey(tenant, idempotency.key)) ?? this.#disk.rows.get(taskId)?.task
      if (earlier === undefined) {
        this.#disk.record(event)
        return { isNew: true }
      }
      if (earlier.spec.idempotency?.bodyDigest !== idempotency?.bodyDigest)
        throw new SkeinError('IDEMPOTENCY_MISMATCH', `the key '${idempotency?.key}' was used with another body`)
      return { isNew: false, task: earlier }
    })
  }

  append(events: readonly Appended[]): Promise<void> {
    if (events.length === 0) return Promise.resolve()
    return this.#write(() => {
      for (const event of events) this.#disk.record(event)
    })
  }

  task(taskId: TaskId): Promise<LedgerTask | undefined> {
    return this.#read(() => this.#disk.rows.get(taskId)?.task)
  }

  byIdempotencyKey(tenant: string, key: string): Promise<LedgerTask | undefined> {
    return this.#read(() => this.#byKey(tenant, key))
  }

  list({ limit, before, isOpen, tenant }: TaskQuery): Promise<TaskSummary[]> {
    return this.#read(() => {
      const taskIds = [...this.#disk.rows.keys()]
      const end = before === undefined ? taskIds.length : Math.max(0, taskIds.indexOf(before))
      return taskIds
        .slice(0, end)
        .reverse()
        .map((taskId) => this.#disk.rows.get(taskId)!)
        .filter(({ task }) => isOpen !== true || task.result === undefined)
        .filter(({ task }) => tenant === undefined || task.spec.tenant === tenant)
        .slice(0, Math.min(limit, LIMITS.tasksPageMax))
        .map(({ task, tokens }) => summaryOf(task, tokens))
    })
  }

  open(): Promise<LedgerTask[]> {
    return this.#read(() =>
      [...this.#disk.rows.values()].flatMap(({ task }) => (task.result === undefined ? [task] : [])),
    )
  }

  billed(sinceMs: number): Promise<BilledSum[]> {
    return this.#read(() => billedSums([...this.#disk.charges.values(), ...this.#disk.leaseCharges.values()], sinceMs))
  }

  recordLeaseCharges(charges: readonly LeaseCharge[]): Promise<void> {
    return this.#write(() => {
      for (const charge of charges) this.#disk.leaseCharges.set(`${charge.part} ${charge.leaseId}`, charge)
    })
  }

  openLeaseCharges(): Promise<LeaseCharge[]> {
    return this.#read(() => [...this.#disk.leaseCharges.values()].filter(({ isOpen }) => isOpen))
  }

  recordBudget(event: BudgetEvent): Promise<void> {
    return this.#write(() => void this.#disk.budgets.push(event))
  }

  budgetEvents(): Promise<BudgetEvent[]> {
    return this.#read(() => [...this.#disk.budgets])
  }

  purge(resultsBeforeMs: number, tasksBeforeMs: number): Promise<number> {
    return this.#write(() => {
      let changed = 0
      for (const [taskId, row] of this.#disk.rows) {
        const { endedAtMs, isPurged, spec } = row.task
        if (endedAtMs === undefined) continue
        if (endedAtMs < tasksBeforeMs) this.#disk.rows.delete(taskId)
        else if (endedAtMs < resultsBeforeMs && !isPurged && !spec.stored) this.#purge(taskId, row)
        else continue
        changed++
      }
      return changed
    })
  }

  erase(taskId: TaskId): Promise<boolean> {
    return this.#write(() => {
      const row = this.#disk.rows.get(taskId)
      if (row?.task.result === undefined || row.task.isPurged) return false
      this.#purge(taskId, row)
      return true
    })
  }

  purgeUsage(beforeMs: number): Promise<number> {
    return this.#write(() => {
      const { usage } = this.#disk
      const old = [...usage.values()].filter(({ atMs }) => atMs < beforeMs)
      for (const { taskId } of old) usage.delete(taskId)
      const { charges, leaseCharges } = this.#disk
      for (const [key, { atMs }] of charges) if (atMs < beforeMs) charges.delete(key)
      for (const [key, { atMs, isOpen }] of leaseCharges) if (atMs < beforeMs && !isOpen) leaseCharges.delete(key)
      return old.length
    })
  }

  usage(query: UsageQuery): Promise<UsageSum[]> {
    return this.#read(() => sumUsage(this.#disk.usage.values(), query))
  }

  recordAccess(event: AccessEvent): Promise<void> {
    return this.#write(() => void this.#disk.access.push(event))
  }

  accessEvents(): Promise<AccessEvent[]> {
    return this.#read(() => [...this.#disk.access])
  }

  recordBatches(events: readonly BatchEvent[]): Promise<void> {
    return this.#write(() => void this.#disk.batches.push(...events))
  }

  batchEvents(): Promise<BatchEvent[]> {
    return this.#read(() => [...this.#disk.batches])
  }

  forgetBatches(ids: readonly string[]): Promise<void> {
    return this.#write(() => {
      this.#disk.batches = this.#disk.batches.filter(({ id }) => !ids.includes(id))
    })
  }

  recordLeases(events: readonly LeaseEvent[]): Promise<void> {
    return this.#write(() => void this.#disk.leases.push(...events))
  }

  leaseEvents(): Promise<LeaseEvent[]> {
    return this.#read(() => [...this.#disk.leases])
  }

  forgetLeases(ids: readonly string[]): Promise<void> {
    return this.#write(() => {
      this.#disk.leases = this.#disk.leases.filter(({ id }) => !ids.includes(id))
    })
  }

  backup(path: string): Promise<LedgerFacts> {
    return this.#read(() => {
      if (this.#disk.backups.has(path)) throw new SkeinError('BACKUP_INVALID', `${path} exists already`)
      this.#disk.backups.set(path, this.#disk.copy())
      const events = this.durableEvents.length
      const { rows, access, usage, batches, leases, charges, leaseCharges, budgets } = this.#disk
      const counts = { tasks: rows.size, accessEvents: access.length, usage: usage.size, batchEvents: batches.length }
      const money = { charges: charges.size + leaseCharges.size, budgetEvents: budgets.length }
      return { schemaVersion: 6, events, epoch: this.epoch, ...counts, leaseEvents: leases.length, ...money }
    })
  }

  close(): Promise<void> {
    if (this.#state !== 'open') return Promise.resolve()
    const flushed = this.#waiting.length === 0 ? Promise.resolve() : this.#write(() => undefined)
    this.#state = 'closed'
    return flushed.catch(() => undefined)
  }

  #byKey(tenant: string, key: string): LedgerTask | undefined {
    for (const { task } of this.#disk.rows.values())
      if (task.spec.tenant === tenant && task.spec.idempotency?.key === key) return task
    return undefined
  }

  #purge(taskId: TaskId, row: Row): void {
    row.events = row.events.flatMap(({ seq, event }) => {
      const kept = purgedEvent(event)
      return kept === undefined ? [] : [{ seq, event: kept }]
    })
    this.#disk.record({ type: 'task.purged', atMs: this.#clock.wallMs(), taskId })
  }

  #read<T>(run: () => T): Promise<T> {
    if (this.#state === 'crashed') return new Promise(() => undefined)
    if (this.#state === 'closed') return Promise.reject(closed())
    return new Promise((resolve) => resolve(run()))
  }

  /** Runs with the commit that begins when the present one is over, as with SQLite. */
  #write<T>(run: () => T): Promise<T> {
    if (this.#state === 'crashed') return new Promise(() => undefined)
    if (this.#state === 'closed') return Promise.reject(closed())
    return new Promise((resolve, reject) => {
      this.#waiting.push({ run, resolve, reject })
      if (this.#cancelCommit === undefined) this.#commit()
    })
  }

  #commit(): void {
    let group: Write[] | undefined
    const cut = (): Write[] => (group ??= this.#waiting.splice(0))
    // what one turn of the event loop asks for goes together
    queueMicrotask(cut)
    this.#cancelCommit = this.#clock.timer(this.#init.commitMs, () => {
      this.#cancelCommit = undefined
      for (const write of cut()) this.#run(write)
      if (this.#waiting.length > 0) this.#commit()
    })
  }

  #run({ run, resolve, reject }: Write): void {
    const { failure } = this.#disk
    if (failure !== undefined) return reject(new SkeinError('LEDGER_UNAVAILABLE', failure))
    try {
      resolve(run() as never)
    } catch (error) {
      reject(error as SkeinError)
    }
  }
}

const closed = (): SkeinError => new SkeinError('LEDGER_UNAVAILABLE', 'the ledger is closed')
