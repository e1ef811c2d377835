/**
 * The ledger in a SQLite file, written by a worker of its own: waiting for the disk stops nobody else. Requests that
 * arrive while a batch is made durable go into the next one together (group commit), so that the disk sets the pace and
 * not the number of requests.
 */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { LIMITS, SkeinError, type TaskId } from '../../../mesh/protocol/index.ts'
import { FileLock, type Clock, type Logger } from '../../../mesh/runtime/index.ts'
import type { AccessEvent } from '../access.ts'
import type { BatchEvent } from '../batches.ts'
import type { BilledSum, BudgetEvent, LeaseCharge } from '../budgets.ts'
import type { LeaseEvent } from '../leases.ts'
import type { LedgerEvent, LedgerEventOf } from '../events.ts'
import type { Admission, Ledger, LedgerFacts, TaskQuery } from '../ledger.ts'
import type { LedgerTask, TaskSummary } from '../state.ts'
import type { UsageQuery, UsageSum } from '../usage.ts'
import type { Answer, FromWorker, OperationName, Operations, Request, WorkerInit } from './messages.ts'
import {
  decodeEvent,
  encodeEvent,
  foldEvents,
  toNewEvent,
  toNewTask,
  toPurgedTask,
  toSummary,
  toUsageSum,
} from './rows.ts'
import { failureOf, type Failure } from './schema.ts'

export interface LedgerComponents {
  readonly clock: Clock
  readonly log: Logger
}

export interface LedgerInit {
  /** The database; made if need be. `PATH.lock`, `PATH-wal` and `PATH-shm` stand beside it. */
  readonly path: string
}

/** Requests of one transaction: some 10 ms of the worker, and a bound on what exists twice, here and there. */
const BATCH_MAX = 512
/** Requests that wait for the next transaction: two for each task that may be there. */
const WAITING_MAX = 2 * LIMITS.tasksMax
/** Bytes of events that wait, however few they are: eight of the largest prompts. */
const WAITING_BYTES_MAX = 8 * LIMITS.promptBytesMax
/** Tasks read or purged at once. */
const PAGE = 64
/** Events of keys, batches, leases and budgets have no texts. */
const EVENTS_PAGE = 1024
/** Rows of the usage that are deleted in one transaction. */
const USAGE_PAGE = 1024
/** A commit that takes longer is logged; a healthy disk takes some ms. */
const SLOW_COMMIT_MS = 2000
/** A disk that hangs may hold up the end of the process this long, in ms. Below `LIMITS.shutdownMs`. */
const CLOSE_MS = 5000

/** Run from source the file is TypeScript, from `dist` it is JavaScript. */
const startWorker = (init: WorkerInit): Worker =>
  new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
    workerData: init,
    // a debugger or a loader of the parent is not the worker's
    execArgv: [],
    // rows come and go in small batches
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  })

const errorOf = ({ code, message }: Failure): SkeinError => new SkeinError(code, message)
const ended = (why: string): SkeinError => new SkeinError('LEDGER_UNAVAILABLE', why)

/**
 * Opens the ledger in `init.path`, made if need be; its epoch is durable when this resolves.
 *
 * @throws SkeinError DATA_DIR_LOCKED when another process has it; LEDGER_CORRUPT when it is damaged or of a newer Skein;
 *   LEDGER_UNAVAILABLE when it cannot be read or written.
 */
export async function openLedger(components: LedgerComponents, init: LedgerInit): Promise<Ledger> {
  const lock = acquire(init.path)
  const worker = startWorker({ work: 'serve', path: init.path })
  try {
    const opened = await firstMessage(worker)
    if (opened.type === 'opened') return new SqliteLedger(components, init, { worker, lock, epoch: opened.epoch })
    throw new SkeinError('INTERNAL', `the ledger's worker said ${opened.type}`)
  } catch (error) {
    lock.release()
    await worker.terminate()
    throw error
  }
}

/** One writer, whoever starts it and whatever became of the lock of the data directory. */
function acquire(path: string): FileLock {
  let lock: FileLock | undefined
  try {
    lock = FileLock.acquire(`${path}.lock`)
  } catch (error) {
    throw errorOf(failureOf(error, path))
  }
  if (lock === undefined)
    throw new SkeinError('DATA_DIR_LOCKED', `another process has the ledger ${path} open; stop it, and start again`)
  return lock
}

/** What the worker says first. @throws SkeinError with the failure that it tells, or LEDGER_UNAVAILABLE when it ends. */
const firstMessage = (worker: Worker): Promise<FromWorker> =>
  new Promise((resolve, reject) => {
    worker.once('message', (message: FromWorker) => {
      if (message.type === 'failed') reject(errorOf(message.failure))
      else resolve(message)
    })
    worker.once('error', (cause) => reject(ended(`the ledger's worker did not start: ${String(cause)}`)))
    worker.once('exit', (code) => reject(ended(`the ledger's worker ended (exit code ${code})`)))
  })

type Unsent<N extends OperationName> = { readonly name: N } & Readonly<Operations[N]['ask']>

interface Pending {
  readonly request: Request
  readonly bytes: number
  readonly resolve: (value: never) => void
  readonly reject: (error: SkeinError) => void
}

class SqliteLedger implements Ledger {
  readonly epoch: number
  readonly #components: LedgerComponents
  readonly #path: string
  readonly #lock: FileLock
  readonly #worker: Worker
  #waiting: Pending[] = []
  #waitingBytes = 0
  readonly #sent = new Map<number, Pending>()
  #requests = 0
  #isFlushing = false
  /** Why nothing more is taken. */
  #end: SkeinError | undefined
  #closed: Promise<void> | undefined
  #onSlow = (): void => {}

  constructor(
    components: LedgerComponents,
    { path }: LedgerInit,
    { worker, lock, epoch }: { readonly worker: Worker; readonly lock: FileLock; readonly epoch: number },
  ) {
    this.#components = { ...components, log: components.log.scope('ledger') }
    this.#path = path
    this.#worker = worker
    this.#lock = lock
    this.epoch = epoch
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'answers') this.#receive(message.answers)
    })
    worker.on('error', (error) => this.#die(`the ledger's worker failed: ${String(error)}; restart Skein`))
    worker.on('exit', (code) => this.#die(`the ledger's worker ended (exit code ${code}); restart Skein`))
  }

  async admit(event: LedgerEventOf<'task.admitted'>): Promise<Admission> {
    const task = toNewTask(event)
    const answer = await this.#ask({ name: 'admit', task }, task.payload.length)
    return answer.isNew ? answer : { isNew: false, task: foldEvents(answer.events) }
  }

  async append(events: readonly Exclude<LedgerEvent, { type: 'task.admitted' }>[]): Promise<void> {
    if (events.length === 0) return
    const rows = events.map(toNewEvent)
    const bytes = rows.reduce((sum, row) => sum + row.payload.length, 0)
    await this.#ask({ name: 'append', events: rows }, bytes)
  }

  async task(taskId: TaskId): Promise<LedgerTask | undefined> {
    const found = await this.#ask({ name: 'task', taskId })
    return found === null ? undefined : foldEvents(found)
  }

  async byIdempotencyKey(tenant: string, key: string): Promise<LedgerTask | undefined> {
    const found = await this.#ask({ name: 'byKey', tenant, key })
    return found === null ? undefined : foldEvents(found)
  }

  async list({ limit, before, isOpen, tenant }: TaskQuery): Promise<TaskSummary[]> {
    const rows = await this.#ask({
      name: 'list',
      limit: Math.min(limit, LIMITS.tasksPageMax),
      before: before ?? null,
      isOpen: isOpen ?? false,
      tenant: tenant ?? null,
    })
    return rows.map(toSummary)
  }

  async open(): Promise<LedgerTask[]> {
    const tasks: LedgerTask[] = []
    for (let after = 0; ;) {
      const page = await this.#ask({ name: 'open', after, limit: PAGE })
      for (const { events } of page) tasks.push(foldEvents(events))
      if (page.length < PAGE) return tasks
      after = page.at(-1)!.seq
    }
  }

  async billed(sinceMs: number): Promise<BilledSum[]> {
    const rows = await this.#ask({ name: 'billed', sinceMs })
    return rows.map(({ tenant, day, micros }) => ({ ...(tenant !== null && { tenant }), day, micros }))
  }

  async recordLeaseCharges(charges: readonly LeaseCharge[]): Promise<void> {
    if (charges.length > 0) await this.#ask({ name: 'recordLeaseCharges', charges })
  }

  async openLeaseCharges(): Promise<LeaseCharge[]> {
    return (await this.#ask({ name: 'openLeaseCharges' })).map((row) => ({ ...row, isOpen: true }))
  }

  async recordBudget(event: BudgetEvent): Promise<void> {
    const payload = encodeEvent(event)
    await this.#ask({ name: 'recordBudget', atMs: event.atMs, payload }, payload.length)
  }

  budgetEvents(): Promise<BudgetEvent[]> {
    return this.#allEvents<BudgetEvent>('budgetEvents')
  }

  async purge(resultsBeforeMs: number, tasksBeforeMs: number): Promise<number> {
    let changed = 0
    for (let found = PAGE; found === PAGE; changed += found)
      found = await this.#ask({ name: 'forget', beforeMs: tasksBeforeMs, limit: PAGE })
    for (let found = PAGE; found === PAGE; changed += found) {
      const tasks = await this.#ask({ name: 'purgeable', beforeMs: resultsBeforeMs, limit: PAGE })
      const atMs = this.#components.clock.wallMs()
      await this.#ask({ name: 'purge', tasks: tasks.map((task) => toPurgedTask(task, atMs)) })
      found = tasks.length
    }
    if (changed > 0) await this.#ask({ name: 'scrub' })
    return changed
  }

  async erase(taskId: TaskId): Promise<boolean> {
    const tasks = await this.#ask({ name: 'erasable', taskId })
    if (tasks.length === 0) return false
    const atMs = this.#components.clock.wallMs()
    await this.#ask({ name: 'purge', tasks: tasks.map((task) => toPurgedTask(task, atMs)) })
    await this.#ask({ name: 'scrub' })
    return true
  }

  async purgeUsage(beforeMs: number): Promise<number> {
    let deleted = 0
    for (let found = USAGE_PAGE; found === USAGE_PAGE; deleted += found)
      found = await this.#ask({ name: 'forgetUsage', beforeMs, limit: USAGE_PAGE })
    return deleted
  }

  async usage({ tenant, ...query }: UsageQuery): Promise<UsageSum[]> {
    const rows = await this.#ask({ name: 'usage', ...query, tenant: tenant ?? null })
    return rows.map(toUsageSum)
  }

  async recordAccess(event: AccessEvent): Promise<void> {
    const payload = encodeEvent(event)
    await this.#ask({ name: 'recordAccess', atMs: event.atMs, payload }, payload.length)
  }

  accessEvents(): Promise<AccessEvent[]> {
    return this.#allEvents<AccessEvent>('accessEvents')
  }

  async recordBatches(events: readonly BatchEvent[]): Promise<void> {
    if (events.length === 0) return
    const rows = events.map((event) => ({ id: event.id, atMs: event.atMs, payload: encodeEvent(event) }))
    const bytes = rows.reduce((sum, { payload }) => sum + payload.length, 0)
    await this.#ask({ name: 'recordBatches', events: rows }, bytes)
  }

  batchEvents(): Promise<BatchEvent[]> {
    return this.#allEvents<BatchEvent>('batchEvents')
  }

  async forgetBatches(ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#ask({ name: 'forgetBatches', ids })
  }

  async recordLeases(events: readonly LeaseEvent[]): Promise<void> {
    if (events.length === 0) return
    const rows = events.map((event) => ({ id: event.id, atMs: event.atMs, payload: encodeEvent(event) }))
    const bytes = rows.reduce((sum, { payload }) => sum + payload.length, 0)
    await this.#ask({ name: 'recordLeases', events: rows }, bytes)
  }

  leaseEvents(): Promise<LeaseEvent[]> {
    return this.#allEvents<LeaseEvent>('leaseEvents')
  }

  async forgetLeases(ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#ask({ name: 'forgetLeases', ids })
  }

  async backup(path: string): Promise<LedgerFacts> {
    // a reader of its own: what is appended meanwhile does not wait for it
    const worker = startWorker({ work: 'copy', path: this.#path, target: path })
    try {
      const copied = await firstMessage(worker)
      if (copied.type === 'copied') return copied.facts
      throw new SkeinError('INTERNAL', `the ledger's worker said ${copied.type}`)
    } finally {
      await worker.terminate()
    }
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  async #close(): Promise<void> {
    const { clock, log } = this.#components
    if (this.#end === undefined) {
      const done = this.#ask({ name: 'close' })
      this.#end = ended('the ledger is closed')
      const late = clock.timer(CLOSE_MS, () => {
        log.error({}, 'the disk did not take what was appended in time')
        this.#die('the disk did not take it before the end')
      })
      await done.catch((error: unknown) => log.error({ err: error }, 'the ledger did not close cleanly'))
      late()
    }
    await this.#worker.terminate()
    this.#lock.release()
  }

  /** Page by page, in the order in which they were recorded. */
  async #allEvents<E extends AccessEvent | BatchEvent | LeaseEvent | BudgetEvent>(
    name: 'accessEvents' | 'batchEvents' | 'leaseEvents' | 'budgetEvents',
  ): Promise<E[]> {
    const events: E[] = []
    for (let after = 0; ;) {
      const page = await this.#ask({ name, after, limit: EVENTS_PAGE })
      for (const { payload } of page) events.push(decodeEvent<E>(payload))
      if (page.length < EVENTS_PAGE) return events
      after = page.at(-1)!.seq
    }
  }

  /** The answer of the worker. `bytes` are those of the events in it. */
  #ask<N extends OperationName>(unsent: Unsent<N>, bytes = 0): Promise<Operations[N]['answer']> {
    if (this.#end !== undefined) return Promise.reject(errorOf(this.#end))
    const isFull = this.#waiting.length >= WAITING_MAX || this.#waitingBytes + bytes > WAITING_BYTES_MAX
    // one that is alone may be of any size
    if (isFull && this.#waiting.length > 0 && unsent.name !== 'close')
      return Promise.reject(
        ended(`the ledger's disk is too slow: ${this.#waiting.length} requests wait for it already; try again later`),
      )
    return new Promise((resolve, reject) => {
      const request = { ...unsent, id: ++this.#requests } as unknown as Request
      this.#waiting.push({ request, bytes, resolve, reject })
      this.#waitingBytes += bytes
      if (this.#isFlushing || this.#sent.size > 0) return
      this.#isFlushing = true
      // what one turn of the event loop asks for goes together
      queueMicrotask(() => this.#flush())
    })
  }

  #flush(): void {
    this.#isFlushing = false
    if (this.#sent.size > 0 || this.#waiting.length === 0) return
    const batch = this.#waiting.slice(0, BATCH_MAX)
    this.#waiting = this.#waiting.slice(BATCH_MAX)
    for (const pending of batch) {
      this.#sent.set(pending.request.id, pending)
      this.#waitingBytes -= pending.bytes
    }
    const { clock, log } = this.#components
    this.#onSlow = clock.timer(SLOW_COMMIT_MS, () =>
      log.warn({ requests: batch.length }, `the ledger's disk has not answered for ${SLOW_COMMIT_MS} ms`),
    )
    this.#worker.postMessage(batch.map(({ request }) => request))
  }

  #receive(answers: readonly Answer[]): void {
    for (const answer of answers) {
      const pending = this.#sent.get(answer.id)
      this.#sent.delete(answer.id)
      if ('failure' in answer) pending?.reject(errorOf(answer.failure))
      else pending?.resolve(answer.value as never)
    }
    if (this.#sent.size > 0) return
    this.#onSlow()
    this.#flush()
  }

  /** Whether what was under way is durable is known at the next opening only. */
  #die(why: string): void {
    this.#onSlow()
    this.#end ??= ended(why)
    const pending = [...this.#sent.values(), ...this.#waiting]
    this.#sent.clear()
    this.#waiting = []
    this.#waitingBytes = 0
    for (const { reject } of pending) reject(ended(why))
    if (pending.length > 0) this.#components.log.error({ requests: pending.length }, why)
  }
}
