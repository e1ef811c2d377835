/**
 * Files and batches of a coordinator: what there is, in the ledger and in memory, and the runs of those that have not ended.
 * Who may see which is the gateway's matter; each has its tenant.
 */
import { LIMITS, mintId, SkeinError } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Startable } from '../../mesh/runtime/index.ts'
import type { BatchCounts, BatchEndpoint, BatchEvent, KeyGrant } from '../ledger/index.ts'
import { applyBatch, isEnded, type Batch } from './book.ts'
import type { LineDesk } from './desk.ts'
import { FileStore, type FilesComponents, type FilesInit } from './files.ts'
import { Pace } from './pace.ts'
import { BatchRun } from './run.ts'

export interface BatchRequest {
  readonly tenant: string
  readonly grant: KeyGrant
  readonly endpoint: BatchEndpoint
  readonly inputFileId: string
  /** As the client wrote it. */
  readonly window: string
  readonly windowMs: number
  readonly metadata?: Readonly<Record<string, string>>
  /** How long its results are kept. */
  readonly outputRetentionMs: number
}

export interface PageQuery {
  readonly limit: number
  /** Behind this one. */
  readonly after?: string
  /** Of this tenant alone. */
  readonly tenant?: string
}

export interface Page<T> {
  readonly items: readonly T[]
  readonly hasMore: boolean
}

const SWEEP_MS = 3_600_000
/** Ids that are forgotten in one transaction. */
const FORGET_MAX = 500

/** Of `all`, the page that `query` asks for; the first ones when what it is to begin behind is not known any more. */
export function pageOf<T extends { readonly id: string; readonly tenant: string }>(
  all: readonly T[],
  { limit, after, tenant }: PageQuery,
): Page<T> {
  const own = tenant === undefined ? all : all.filter((each) => each.tenant === tenant)
  const from = after === undefined ? 0 : own.findIndex(({ id }) => id === after) + 1
  return { items: own.slice(from, from + limit), hasMore: own.length > from + limit }
}

export class Batches implements Startable {
  readonly name = 'batches'
  readonly files: FileStore
  readonly #components: FilesComponents
  /** In the order of their making. */
  readonly #batches = new Map<string, Batch>()
  readonly #runs = new Map<string, BatchRun>()
  #desk: LineDesk | undefined
  #pace: Pace | undefined
  #checking: Promise<unknown> = Promise.resolve()
  #cancelSweep: CancelTimer = () => {}
  #isResting = false

  constructor(components: FilesComponents, init: FilesInit) {
    this.#components = { ...components, log: components.log.scope('batches') }
    this.files = new FileStore(this.#components, init)
  }

  /** Reads what is recorded. @throws SkeinError LEDGER_UNAVAILABLE, LEDGER_CORRUPT, DATA_DIR_UNUSABLE. */
  async start(): Promise<void> {
    const { store } = this.#components
    const events = await store.batchEvents()
    for (const event of events) this.#apply(event)
    const open = this.#open()
    await this.files.open(events, new Set(open.flatMap(({ outputFileId, errorFileId }) => [outputFileId, errorFileId])))
    await this.#forget(events.flatMap((event) => (event.type === 'file.deleted' ? [event.id] : [])))
    await this.#sweep()
    this.#scheduleSweep()
  }

  async stop(): Promise<void> {
    this.#cancelSweep()
    await this.rest()
  }

  /** From now on the lines of batches are answered by `desk`. */
  serve(desk: LineDesk): void {
    this.#desk = desk
    this.#pace = new Pace(this.#components.clock, (model, asked) => desk.room(model, asked))
    for (const batch of this.#open()) this.#run(batch, true)
  }

  /** Asks nothing more. Resolves when nothing runs; the next start goes on. */
  async rest(): Promise<void> {
    this.#isResting = true
    await Promise.all([...this.#runs.values()].map((run) => run.rest()))
  }

  /**
   * Makes a batch. Resolves when it is durable.
   *
   * @throws SkeinError BATCHES_FULL, SHUTTING_DOWN, LEDGER_UNAVAILABLE.
   */
  async create({ windowMs, ...request }: BatchRequest): Promise<Batch> {
    const { clock, random } = this.#components
    if (this.#isResting) throw new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 })
    const open = this.#open()
    const own = open.filter(({ tenant }) => tenant === request.tenant).length
    if (open.length >= LIMITS.batchesOpenMax || own >= LIMITS.batchesOpenPerTenantMax)
      throw new SkeinError('BATCHES_FULL', `${own} batches of this key have not ended, ${open.length} in all; wait`)
    if (this.#batches.size >= LIMITS.batchesMax)
      throw new SkeinError('BATCHES_FULL', `there are ${LIMITS.batchesMax} batches; old ones are forgotten in time`)
    const atMs = clock.wallMs()
    const event: BatchEvent = {
      type: 'batch.created',
      atMs,
      id: mintId('batch', (length) => random.bytes(length)),
      ...request,
      expiresAtMs: atMs + windowMs,
      outputFileId: this.files.newId(),
      errorFileId: this.files.newId(),
    }
    const batch = await this.#record(event.id, [event])
    this.#run(batch, false)
    return batch
  }

  get(id: string): Batch | undefined {
    return this.#batches.get(id)
  }

  /** Newest first. */
  list(): readonly Batch[] {
    return [...this.#batches.values()].reverse()
  }

  /** How far it is. */
  countsOf(batch: Batch): BatchCounts {
    return (isEnded(batch) ? undefined : this.#runs.get(batch.id)?.counts) ?? batch.counts
  }

  /** Ends a batch; one that has ended, or is about to, stays as it is. Resolves when that is durable. @throws SkeinError LEDGER_UNAVAILABLE. */
  async cancel(batch: Batch): Promise<Batch> {
    const now = this.#batches.get(batch.id) ?? batch
    if (now.status !== 'validating' && now.status !== 'in_progress') return now
    const atMs = this.#components.clock.wallMs()
    const cancelling = await this.#record(batch.id, [{ type: 'batch.cancelling', atMs, id: batch.id }])
    this.#runs.get(batch.id)?.cancel()
    return cancelling
  }

  /** Deletes a file. @throws SkeinError FILE_IN_USE, LEDGER_UNAVAILABLE. */
  async deleteFile(id: string): Promise<void> {
    const user = this.#open().find(({ inputFileId }) => inputFileId === id)
    if (user) throw new SkeinError('FILE_IN_USE', `${user.id} reads it; cancel that one, or wait for its end`)
    await this.files.delete(id)
  }

  #open(): Batch[] {
    return [...this.#batches.values()].filter((batch) => !isEnded(batch))
  }

  #run(batch: Batch, isResumed: boolean): void {
    const { clock, log } = this.#components
    if (this.#desk === undefined || this.#pace === undefined || this.#isResting) return
    const run = new BatchRun(
      {
        ...{ clock, log, files: this.files, desk: this.#desk, pace: this.#pace },
        record: (events) => this.#record(batch.id, events),
        alone: (work) => this.#alone(work),
      },
      batch,
      isResumed,
    )
    this.#runs.set(batch.id, run)
    void run.over.then(() => this.#runs.delete(batch.id))
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#checking.then(work)
    this.#checking = done.catch(() => undefined)
    return done
  }

  async #record(id: string, events: readonly BatchEvent[]): Promise<Batch> {
    await this.#components.store.recordBatches(events)
    for (const event of events) {
      this.#apply(event)
      this.files.recorded(event)
    }
    return this.#batches.get(id)!
  }

  #apply(event: BatchEvent): void {
    if (event.type === 'file.added' || event.type === 'file.deleted') return
    const batch = applyBatch(this.#batches.get(event.id), event)
    if (batch) this.#batches.set(event.id, batch)
  }

  #scheduleSweep(): void {
    const { clock, log } = this.#components
    this.#cancelSweep = clock.timer(SWEEP_MS, () => {
      void this.#sweep()
        .catch((error: unknown) => log.warn({ err: error }, 'old files could not be deleted'))
        .finally(() => this.#scheduleSweep())
    })
  }

  /** Deletes what is older than it is kept. */
  async #sweep(): Promise<void> {
    const inUse = new Set(this.#open().map(({ inputFileId }) => inputFileId))
    for (const id of this.files.expired()) if (!inUse.has(id)) await this.files.delete(id)
    const beforeMs = this.#components.clock.wallMs() - LIMITS.batchRetentionMs
    const old = this.list().filter((batch) => isEnded(batch) && (batch.endedAtMs ?? Infinity) < beforeMs)
    await this.#forget(old.map(({ id }) => id))
    for (const { id } of old) this.#batches.delete(id)
  }

  async #forget(ids: readonly string[]): Promise<void> {
    for (let at = 0; at < ids.length; at += FORGET_MAX)
      await this.#components.store.forgetBatches(ids.slice(at, at + FORGET_MAX))
  }
}
