/**
 * Devices in a SQLite file of their own, written by a worker: readings are many, and neither the disk nor they hold up the
 * ledger. Requests that come while one batch is made durable go into the next together.
 */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { DEVICE_BOUNDS } from '../memory-store.ts'
import type {
  CallsQuery,
  DeviceBounds,
  DeviceChange,
  DeviceSnapshot,
  DeviceStore,
  HistoryQuery,
  StoredCall,
  StoredDesire,
  StoredReading,
} from '../store.ts'
import type { StoredTask, StoredTaskCall, TaskAndCalls, TasksQuery } from '../task-types.ts'
import type { Answer, FromWorker, OperationName, Operations, Request, WorkerInit } from './messages.ts'

/** Requests of one transaction. */
const BATCH_MAX = 64

/** Run from source the file is TypeScript, from `dist` it is JavaScript. */
const startWorker = (init: WorkerInit): Worker =>
  new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
    workerData: init,
    // a debugger or a loader of the parent is not the worker's
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  })

const ended = (why: string): SkeinError => new SkeinError('LEDGER_UNAVAILABLE', why)

export interface SqliteDeviceStoreInit {
  /** The database; made if need be. */
  readonly path: string
  readonly bounds?: DeviceBounds
}

/**
 * Opens the store. The data directory is this process's own.
 *
 * @throws SkeinError LEDGER_CORRUPT when it is damaged or of a newer Skein; LEDGER_UNAVAILABLE when it cannot be read.
 */
export async function openDeviceStore({ path, bounds = DEVICE_BOUNDS }: SqliteDeviceStoreInit): Promise<DeviceStore> {
  const worker = startWorker({ path, bounds })
  try {
    await opened(worker)
    return new SqliteDeviceStore(worker)
  } catch (error) {
    await worker.terminate()
    throw error
  }
}

const opened = (worker: Worker): Promise<void> =>
  new Promise((resolve, reject) => {
    worker.once('message', (message: FromWorker) => {
      if (message.type === 'failed') reject(new SkeinError(message.failure.code, message.failure.message))
      else resolve()
    })
    worker.once('error', (cause) => reject(ended(`the devices' worker did not start: ${String(cause)}`)))
    worker.once('exit', (code) => reject(ended(`the devices' worker ended (exit code ${code})`)))
  })

type Unsent<N extends OperationName> = { readonly name: N } & Readonly<Operations[N]['ask']>

interface Pending {
  readonly request: Request
  readonly resolve: (value: never) => void
  readonly reject: (error: SkeinError) => void
}

class SqliteDeviceStore implements DeviceStore {
  readonly #worker: Worker
  #waiting: Pending[] = []
  #sent = new Map<number, Pending>()
  #requests = 0
  /** Why nothing more is taken. */
  #end: SkeinError | undefined
  #closed: Promise<void> | undefined

  constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'answers') this.#receive(message.answers)
    })
    worker.on('error', (error) => this.#die(`the devices' worker failed: ${String(error)}; restart Skein`))
    worker.on('exit', (code) => this.#die(`the devices' worker ended (exit code ${code}); restart Skein`))
  }

  load(): Promise<DeviceSnapshot> {
    return this.#ask({ name: 'load' })
  }

  async record(change: DeviceChange): Promise<void> {
    await this.#ask({ name: 'record', change })
  }

  async recordCall(call: StoredCall): Promise<void> {
    await this.#ask({ name: 'recordCall', call })
  }

  async desire(device: string, desires: readonly StoredDesire[]): Promise<void> {
    await this.#ask({ name: 'desire', device, desires })
  }

  history(query: HistoryQuery): Promise<StoredReading[]> {
    return this.#ask({ name: 'history', query })
  }

  calls(query: CallsQuery): Promise<StoredCall[]> {
    return this.#ask({ name: 'calls', query })
  }

  async call(id: string): Promise<StoredCall | undefined> {
    return (await this.#ask({ name: 'call', call: id })) ?? undefined
  }

  async recordTask(task: StoredTask, calls: readonly StoredTaskCall[]): Promise<void> {
    await this.#ask({ name: 'recordTask', task, calls })
  }

  activeTasks(): Promise<TaskAndCalls[]> {
    return this.#ask({ name: 'activeTasks' })
  }

  async task(id: string): Promise<TaskAndCalls | undefined> {
    return (await this.#ask({ name: 'task', task: id })) ?? undefined
  }

  tasks(query: TasksQuery): Promise<StoredTask[]> {
    return this.#ask({ name: 'tasks', query })
  }

  async sweep(readingsBeforeMs: number, callsBeforeMs: number): Promise<void> {
    await this.#ask({ name: 'sweep', readingsBeforeMs, callsBeforeMs })
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#end === undefined) {
      const done = this.#ask({ name: 'close' })
      this.#end = ended("the devices' store is closed")
      await done.catch(() => undefined)
    }
    await this.#worker.terminate()
  }

  #ask<N extends OperationName>(request: Unsent<N>): Promise<Operations[N]['answer']> {
    if (this.#end) return Promise.reject(this.#end)
    if (this.#waiting.length >= LIMITS.deviceWritesWaitingMax)
      return Promise.reject(ended("the devices' store is behind; the disk is too slow"))
    return new Promise((resolve, reject) => {
      const id = ++this.#requests
      this.#waiting.push({ request: { id, ...request } as unknown as Request, resolve, reject })
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#sent.size > 0 || this.#waiting.length === 0) return
    const batch = this.#waiting.slice(0, BATCH_MAX)
    this.#waiting = this.#waiting.slice(BATCH_MAX)
    this.#sent = new Map(batch.map((pending) => [pending.request.id, pending]))
    this.#worker.postMessage(batch.map(({ request }) => request))
  }

  #receive(answers: readonly Answer[]): void {
    for (const answer of answers) {
      const pending = this.#sent.get(answer.id)
      this.#sent.delete(answer.id)
      if ('failure' in answer) pending?.reject(new SkeinError(answer.failure.code, answer.failure.message))
      else pending?.resolve(answer.value as never)
    }
    this.#flush()
  }

  #die(why: string): void {
    this.#end ??= ended(why)
    const error = this.#end
    for (const pending of [...this.#sent.values(), ...this.#waiting]) pending.reject(error)
    this.#sent.clear()
    this.#waiting = []
  }
}
