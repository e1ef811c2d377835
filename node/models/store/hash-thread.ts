/**
 * SHA-256 on a thread of its own. Each byte of a model that comes from members is hashed twice, as a part of its chunk and
 * of the whole; on the event loop that would be as much work as fetching it. Bytes in shared memory (`BufferPool`) are
 * hashed where they lie, others are copied over. The thread runs while there is something to hash.
 */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../../mesh/runtime/index.ts'
import type { HashAnswer, HashRequest, HashWorkerInit } from './hash-worker.ts'

/** A thread without work ends after this. */
const IDLE_MS = 5000

/** A hash over several pieces, each given when the one before was taken. */
export interface RunningHash {
  /** Resolves when `bytes` may change. @throws SkeinError INTERNAL, CLIENT_CLOSED. */
  update(bytes: Uint8Array): Promise<void>
  /** Ends it. @throws as `update`. */
  digest(): Promise<Uint8Array>
  /** Ends it without a result. Does not throw. */
  drop(): void
}

export interface Hashing {
  /** SHA-256 of `bytes`, which may change when it is there. @throws SkeinError INTERNAL, CLIENT_CLOSED. */
  digest(bytes: Uint8Array): Promise<Uint8Array>
  running(): RunningHash
}

type Asked = HashRequest extends infer R ? (R extends HashRequest ? Omit<R, 'id'> : never) : never

export class HashThread implements Hashing {
  readonly #clock: Clock
  readonly #init: HashWorkerInit
  readonly #waiting = new Map<number, PromiseWithResolvers<Uint8Array | undefined>>()
  /** Hashes over several pieces: the thread that has one must stay. */
  readonly #running = new Set<number>()
  #worker: Worker | undefined
  #cancelIdle: CancelTimer = () => {}
  #next = 0
  #isClosed = false

  constructor(clock: Clock, init: HashWorkerInit) {
    this.#clock = clock
    this.#init = init
  }

  async digest(bytes: Uint8Array): Promise<Uint8Array> {
    return (await this.#ask({ kind: 'digest', bytes }))!
  }

  running(): RunningHash {
    const hash = this.#next++
    let on: Worker | undefined
    const ask = (asked: Asked): Promise<Uint8Array | undefined> => {
      if (on !== undefined && on !== this.#worker) return Promise.reject(ended())
      this.#running.add(hash)
      const answered = this.#ask(asked)
      on = this.#worker
      return answered
    }
    const end = (): void => {
      this.#running.delete(hash)
      this.#rest()
    }
    return {
      update: async (bytes) => void (await ask({ kind: 'update', hash, bytes })),
      digest: async () => (await ask({ kind: 'finish', hash }).finally(end))!,
      drop: () => {
        if (this.#running.has(hash))
          void ask({ kind: 'drop', hash })
            .catch(() => {})
            .finally(end)
      },
    }
  }

  /** Starts the thread, which takes a moment, for what will be asked soon. */
  begin(): void {
    if (!this.#isClosed) this.#worker ??= this.#start()
    this.#rest()
  }

  /** Ends the thread; who waits is told CLIENT_CLOSED. Does not throw. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#end(new SkeinError('CLIENT_CLOSED', 'nothing more is hashed'))
  }

  async #ask(asked: Asked): Promise<Uint8Array | undefined> {
    if (this.#isClosed) throw new SkeinError('CLIENT_CLOSED', 'nothing more is hashed')
    this.#cancelIdle()
    const worker = (this.#worker ??= this.#start())
    const id = this.#next++
    const answer = Promise.withResolvers<Uint8Array | undefined>()
    this.#waiting.set(id, answer)
    worker.ref()
    worker.postMessage({ ...asked, id } satisfies HashRequest)
    return answer.promise
  }

  /** Run from source the file is TypeScript, from `dist` it is JavaScript. */
  #start(): Worker {
    const worker = new Worker(new URL(`./hash-worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: this.#init,
      // a debugger or a loader of the parent is not the thread's
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    })
    worker.on('message', ({ id, digest }: HashAnswer) => {
      this.#waiting.get(id)?.resolve(digest)
      this.#waiting.delete(id)
      this.#rest()
    })
    const onEnd = (cause?: unknown): void => {
      if (this.#worker === worker) void this.#end(ended(cause))
    }
    worker.on('error', onEnd)
    worker.on('exit', () => onEnd())
    return worker
  }

  #rest(): void {
    if (this.#waiting.size > 0 || this.#worker === undefined) return
    // only work that somebody waits for keeps the process alive
    this.#worker.unref()
    if (this.#running.size > 0) return
    this.#cancelIdle()
    this.#cancelIdle = this.#clock.timer(IDLE_MS, () => void this.#end(ended()))
  }

  async #end(reason: SkeinError): Promise<void> {
    this.#cancelIdle()
    const worker = this.#worker
    this.#worker = undefined
    for (const { reject } of this.#waiting.values()) reject(reason)
    this.#waiting.clear()
    this.#running.clear()
    await worker?.terminate()
  }
}

const ended = (cause?: unknown): SkeinError => new SkeinError('INTERNAL', 'the hashing thread ended', { cause })
