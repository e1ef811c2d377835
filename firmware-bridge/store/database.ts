/**
 * The bridge's database in a SQLite file, written by a worker of its own: waiting for the disk stops no device. Requests
 * that arrive while a batch is made durable go into the next one together (group commit).
 */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { FileLock, type Logger } from '../../mesh/runtime/index.ts'
import type { Database, SchemaPart, SqlRow, Statement } from '../ports/index.ts'
import type { Answer, Failure, FromWorker, Request, WorkerInit } from './messages.ts'

export interface DatabaseInit {
  /** Made if need be. `PATH.lock`, `PATH-wal` and `PATH-shm` stand beside it. */
  readonly path: string
  readonly parts: readonly SchemaPart[]
  /** The file grows to this many bytes; what comes then fails with DISK_FULL. */
  readonly bytesMax: number
}

/** Requests of one transaction. */
const BATCH_MAX = 512
/** Requests that wait for the next transaction: seconds of the most messages that the bridge takes. */
const WAITING_MAX = 20_000

const errorOf = ({ code, message }: Failure): SkeinError => new SkeinError(code, message)
const unusable = (why: string): SkeinError => new SkeinError('DATA_DIR_UNUSABLE', why)

/** Run from source the file is TypeScript, from `dist` it is JavaScript. */
const startWorker = (init: WorkerInit): Worker =>
  new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
    workerData: init,
    // a debugger or a loader of the parent is not the worker's
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  })

/**
 * Opens the database, made if need be, with the newest tables of all parts.
 *
 * @throws SkeinError DATA_DIR_LOCKED when another process has it; DATA_DIR_UNUSABLE when it cannot be read or written, is
 *   something else or of a newer Skein; DISK_FULL.
 */
export async function openDatabase(components: { readonly log: Logger }, init: DatabaseInit): Promise<SqliteDatabase> {
  const lock = FileLock.acquire(`${init.path}.lock`)
  if (lock === undefined)
    throw new SkeinError('DATA_DIR_LOCKED', `another process has ${init.path} open; stop it, and start again`)
  const worker = startWorker({ path: init.path, parts: init.parts, bytesMax: init.bytesMax })
  try {
    await opened(worker)
    return new SqliteDatabase(components.log, worker, lock)
  } catch (error) {
    lock.release()
    await worker.terminate()
    throw error
  }
}

const opened = (worker: Worker): Promise<void> =>
  new Promise((resolve, reject) => {
    worker.once('message', (message: FromWorker) => {
      if (message.type === 'failed') reject(errorOf(message.failure))
      else resolve()
    })
    worker.once('error', (cause) => reject(unusable(`the worker of the devices' database did not start: ${cause}`)))
    worker.once('exit', (code) => reject(unusable(`the worker of the devices' database ended (exit code ${code})`)))
  })

interface Pending {
  readonly request: Request
  readonly resolve: (value: never) => void
  readonly reject: (error: SkeinError) => void
}

export class SqliteDatabase implements Database {
  readonly #log: Logger
  readonly #worker: Worker
  readonly #lock: FileLock
  #waiting: Pending[] = []
  readonly #sent = new Map<number, Pending>()
  #requests = 0
  #isFlushing = false
  /** Why nothing more is taken. */
  #end: SkeinError | undefined
  #closed: Promise<void> | undefined

  constructor(log: Logger, worker: Worker, lock: FileLock) {
    this.#log = log.scope('store')
    this.#worker = worker
    this.#lock = lock
    worker.removeAllListeners('exit')
    worker.removeAllListeners('error')
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'answers') this.#receive(message.answers)
    })
    worker.on('error', (error) => this.#die(`the worker of the devices' database failed: ${error}; restart Skein`))
    worker.on('exit', (code) => this.#die(`the worker of the devices' database ended (exit code ${code})`))
  }

  write(statements: readonly Statement[]): Promise<number[]> {
    return this.#ask((id) => ({ id, write: statements }))
  }

  read(...statement: Statement): Promise<SqlRow[]> {
    return this.#ask((id) => ({ id, read: statement }))
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  async #close(): Promise<void> {
    if (this.#end === undefined) {
      const done = this.#ask<unknown>((id) => ({ id, close: true }))
      this.#end = unusable("the devices' database is closed")
      await done.catch((error: unknown) => this.#log.error({ err: error }, 'the database did not close cleanly'))
    }
    await this.#worker.terminate()
    this.#lock.release()
  }

  #ask<T>(make: (id: number) => Request): Promise<T> {
    if (this.#end !== undefined) return Promise.reject(unusable(this.#end.message))
    const request = make(++this.#requests)
    if (this.#waiting.length >= WAITING_MAX && !('close' in request))
      return Promise.reject(unusable(`the devices' disk is too slow: ${this.#waiting.length} requests wait for it`))
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ request, resolve: resolve as (value: never) => void, reject })
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
    for (const pending of batch) this.#sent.set(pending.request.id, pending)
    this.#worker.postMessage(batch.map(({ request }) => request))
  }

  #receive(answers: readonly Answer[]): void {
    for (const { id, value, failure } of answers) {
      const pending = this.#sent.get(id)
      this.#sent.delete(id)
      if (failure === undefined) pending?.resolve(value as never)
      else pending?.reject(errorOf(failure))
    }
    if (this.#sent.size === 0) this.#flush()
  }

  /** Whether what was under way is durable is known at the next opening only. */
  #die(why: string): void {
    this.#end ??= unusable(why)
    const pending = [...this.#sent.values(), ...this.#waiting]
    this.#sent.clear()
    this.#waiting = []
    for (const { reject } of pending) reject(unusable(why))
    if (pending.length > 0) this.#log.error({ requests: pending.length }, why)
  }
}
