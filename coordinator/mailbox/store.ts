/** The mailboxes' worker, as who asks has it: one request after the other, each a promise. */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { Answer, FromWorker, OperationName, Operations, WorkerInit } from './types.ts'

/** Run from source the file is TypeScript, from `dist` it is JavaScript. */
const startWorker = (init: WorkerInit): Worker =>
  new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
    workerData: init,
    // a debugger or a loader of the parent is not the worker's
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  })

const ended = (why: string): SkeinError => new SkeinError('LEDGER_UNAVAILABLE', why)

interface Pending {
  readonly resolve: (value: never) => void
  readonly reject: (error: SkeinError) => void
}

export class MailboxStore {
  readonly #worker: Worker
  readonly #pending = new Map<number, Pending>()
  #requests = 0
  /** Why nothing more is taken. */
  #end: SkeinError | undefined

  private constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'answer') this.#receive(message.answer)
    })
    worker.on('error', (error) => this.#die(`the mailboxes' worker failed: ${String(error)}; restart Skein`))
    worker.on('exit', (code) => this.#die(`the mailboxes' worker ended (exit code ${code}); restart Skein`))
  }

  /** @throws SkeinError LEDGER_CORRUPT when it is damaged or of a newer Skein; LEDGER_UNAVAILABLE when it cannot be read. */
  static async open(init: WorkerInit): Promise<MailboxStore> {
    const worker = startWorker(init)
    try {
      await opened(worker)
      return new MailboxStore(worker)
    } catch (error) {
      await worker.terminate()
      throw error
    }
  }

  /** @throws SkeinError of the operation; LEDGER_UNAVAILABLE when the disk is behind, or it is closed. */
  ask<N extends OperationName>(name: N, request: Operations[N]['ask']): Promise<Operations[N]['answer']> {
    if (this.#end) return Promise.reject(this.#end)
    if (this.#pending.size >= LIMITS.syncRequestsWaitingMax)
      return Promise.reject(ended('the mailboxes are behind; the disk is too slow'))
    return new Promise((resolve, reject) => {
      const id = ++this.#requests
      this.#pending.set(id, { resolve, reject })
      this.#worker.postMessage({ id, name, ...request })
    })
  }

  async close(): Promise<void> {
    if (this.#end === undefined) {
      const done = this.ask('close', {})
      this.#end = ended('the mailboxes are closed')
      await done.catch(() => undefined)
    }
    await this.#worker.terminate()
  }

  #receive(answer: Answer): void {
    const pending = this.#pending.get(answer.id)
    this.#pending.delete(answer.id)
    if ('failure' in answer) pending?.reject(new SkeinError(answer.failure.code, answer.failure.message))
    else pending?.resolve(answer.value as never)
  }

  #die(why: string): void {
    this.#end ??= ended(why)
    for (const { reject } of this.#pending.values()) reject(this.#end)
    this.#pending.clear()
  }
}

const opened = (worker: Worker): Promise<void> =>
  new Promise((resolve, reject) => {
    worker.once('message', (message: FromWorker) => {
      if (message.type === 'failed') reject(new SkeinError(message.failure.code, message.failure.message))
      else resolve()
    })
    worker.once('error', (cause) => reject(ended(`the mailboxes' worker did not start: ${String(cause)}`)))
    worker.once('exit', (code) => reject(ended(`the mailboxes' worker ended (exit code ${code})`)))
  })
