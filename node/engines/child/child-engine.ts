/**
 * An engine in a process of its own, behind the same port. A native crash, an abort or an out-of-memory kill ends the
 * attempts that run there, never the agent; the next `load` starts a fresh process.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { asSkeinError, LIMITS, SkeinError, type EngineKind, type WorkResult } from '../../../mesh/protocol/index.ts'
import { PushQueue, type Logger } from '../../../mesh/runtime/index.ts'
import { eventsOf } from '../attempt-run.ts'
import type {
  Engine,
  EngineStats,
  GenerationEvent,
  GenerationRequest,
  KvStats,
  LoadedModel,
  LoadRequest,
  WorkRequest,
} from '../engine.ts'
import type { EngineDevices } from '../llama/library.ts'
import { EngineProcess } from './engine-process.ts'
import { fromWire, type ToParent } from './messages.ts'

export interface ChildEngineInit {
  readonly engine: EngineKind
}

export interface ChildEngineComponents {
  readonly log: Logger
  /** The process ended though nobody unloaded the model: at most once for each `load`. */
  readonly onExit?: (error: SkeinError) => void
}

interface Attempt {
  readonly events: PushQueue<GenerationEvent>
  fail(error: unknown): void
}

interface PendingLoad {
  readonly onProgress: ((share: number) => void) | undefined
  readonly resolve: (model: LoadedModel) => void
  readonly reject: (error: SkeinError) => void
}

/** Twice an answer: its tokens, and the progress beside them. */
const EVENTS_MAX = 2 * LIMITS.generatedTokensMax
/** At once: whoever asks has slots to count, far fewer. Bounds what lies in the channel to a process that is busy. */
const WORKS_MAX = LIMITS.workStreamsPerConnectionMax

/** Engine processes that were given a folder: each has one of its own. */
let folders = 0

export class ChildEngine implements Engine {
  readonly #engine: EngineKind
  readonly #log: Logger
  readonly #notifyExit: (error: SkeinError) => void
  readonly #attempts = new Map<string, Attempt>()
  readonly #works = new Map<string, PromiseWithResolvers<WorkResult>>()
  #process: EngineProcess | undefined
  #pendingLoad: PendingLoad | undefined
  /** Why no model is here: nothing was loaded, or the process that had it ended. */
  #absence = new SkeinError('ENGINE_FAILED', 'no model is loaded')
  #prefillTokensPending = 0
  #memoryBytes = 0
  #kv: KvStats | undefined

  constructor(init: ChildEngineInit, components: ChildEngineComponents) {
    this.#engine = init.engine
    this.#log = components.log.scope('engine')
    this.#notifyExit = components.onExit ?? (() => {})
  }

  /** Of the engine process, while there is one. */
  get pid(): number | undefined {
    return this.#process?.pid
  }

  async load(request: LoadRequest, onProgress?: (share: number) => void): Promise<LoadedModel> {
    if (this.#process !== undefined) throw new SkeinError('MODEL_LOAD_FAILED', 'this engine has a model already')
    const own = withOwnFolder(request)
    const child: EngineProcess = new EngineProcess(this.#log, {
      message: (message) => {
        if (this.#process === child) this.#receive(message)
      },
      exit: (error) => this.#onExit(child, error),
      ended: () => this.#clear(own),
    })
    this.#process = child
    try {
      return await new Promise<LoadedModel>((resolve, reject) => {
        this.#pendingLoad = { onProgress, resolve, reject }
        child.send({ type: 'load', engine: this.#engine, request: own })
      })
    } catch (error) {
      await this.#drop(child, asSkeinError(error, 'MODEL_LOAD_FAILED'))
      throw error
    } finally {
      this.#pendingLoad = undefined
    }
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    signal.throwIfAborted()
    const child = this.#requireLoaded()
    if (this.#attempts.has(request.id)) throw new SkeinError('ENGINE_FAILED', `the attempt ${request.id} runs already`)
    const events = new PushQueue<GenerationEvent>(EVENTS_MAX)
    this.#attempts.set(request.id, { events, fail: (error) => events.fail(error) })
    const attempt = this.#attempts.get(request.id)!
    const { hold, ...plain } = request
    child.send({ type: 'generate', request: plain, isHeld: hold !== undefined })
    hold?.then(
      (tail) => {
        if (this.#attempts.get(request.id) === attempt) child.send({ type: 'commit', id: request.id, tail })
      },
      (error: unknown) => attempt.fail(error),
    )
    yield* eventsOf(attempt, signal, () => {
      if (this.#attempts.get(request.id) !== attempt) return
      this.#attempts.delete(request.id)
      child.send({ type: 'cancel', id: request.id })
    })
  }

  async work(request: WorkRequest, signal: AbortSignal): Promise<WorkResult> {
    signal.throwIfAborted()
    const child = this.#requireLoaded()
    const { id } = request
    if (this.#works.has(id)) throw new SkeinError('ENGINE_FAILED', `the work ${id} runs already`)
    if (this.#works.size >= WORKS_MAX) throw new SkeinError('NO_FREE_SLOT', `${WORKS_MAX} pieces of work run already`)
    const settled = Promise.withResolvers<WorkResult>()
    this.#works.set(id, settled)
    const onAbort = (): void => {
      child.send({ type: 'cancel', id })
      settled.reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      child.send({ type: 'work', request })
      return await settled.promise
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#works.delete(id)
    }
  }

  stats(): EngineStats {
    return {
      running: this.#attempts.size + this.#works.size,
      prefillTokensPending: this.#attempts.size === 0 ? 0 : this.#prefillTokensPending,
      memoryBytes: this.#memoryBytes,
      ...(this.#kv && { kv: this.#kv }),
    }
  }

  async unload(): Promise<void> {
    const child = this.#process
    if (child === undefined) return
    await this.#drop(child, new SkeinError('ENGINE_FAILED', 'the model was unloaded'))
  }

  #requireLoaded(): EngineProcess {
    const child = this.#process
    if (child === undefined || this.#pendingLoad !== undefined)
      throw new SkeinError(this.#absence.code, this.#absence.message)
    return child
  }

  async #drop(child: EngineProcess, error: SkeinError): Promise<void> {
    if (this.#process === child) this.#end(error)
    await child.kill()
  }

  #end(error: SkeinError): void {
    this.#process = undefined
    this.#absence = error
    this.#memoryBytes = 0
    this.#kv = undefined
    this.#pendingLoad?.reject(error)
    for (const attempt of this.#attempts.values()) attempt.fail(error)
    this.#attempts.clear()
    for (const work of this.#works.values()) work.reject(error)
    this.#works.clear()
  }

  /** What the process kept in files, which it could not delete when it was killed. Does not throw. */
  async #clear({ kvStates }: LoadRequest): Promise<void> {
    if (kvStates === undefined) return
    await rm(kvStates.dir, { recursive: true, force: true }).catch((thrown: unknown) =>
      this.#log.warn({ reason: asSkeinError(thrown).message }, 'KV states were not deleted'),
    )
  }

  /** A process that was dropped is not `#process` any more when it ends: what is left is an end that nobody wanted. */
  #onExit(child: EngineProcess, error: SkeinError): void {
    if (this.#process !== child) return
    this.#log.warn({ err: error, attempts: this.#attempts.size, works: this.#works.size }, 'the engine process is gone')
    this.#end(error)
    this.#notifyExit(error)
  }

  #receive(message: ToParent): void {
    switch (message.type) {
      case 'progress':
        this.#pendingLoad?.onProgress?.(message.share)
        return
      case 'loaded':
        this.#pendingLoad?.resolve(message.model)
        return
      case 'failed':
        this.#pendingLoad?.reject(fromWire(message.error))
        return
      case 'events':
        this.#prefillTokensPending = message.prefillTokensPending
        this.#memoryBytes = message.memoryBytes
        this.#kv = message.kv
        for (const item of message.items) this.#deliver(item)
        return
      case 'worked': {
        this.#memoryBytes = message.memoryBytes
        const work = this.#works.get(message.id)
        if ('result' in message.outcome) work?.resolve(message.outcome.result)
        else work?.reject(fromWire(message.outcome.error))
        return
      }
      case 'devices':
        // the answer to a probe, which has a process of its own
        return
    }
  }

  #deliver(item: (ToParent & { type: 'events' })['items'][number]): void {
    const attempt = this.#attempts.get(item.id)
    if (attempt === undefined) return
    if ('event' in item) {
      attempt.events.push(item.event)
      if (item.event.type !== 'end') return
      attempt.events.end()
    } else {
      attempt.events.fail(fromWire(item.error))
    }
    this.#attempts.delete(item.id)
  }
}

const withOwnFolder = (request: LoadRequest): LoadRequest =>
  request.kvStates === undefined
    ? request
    : { ...request, kvStates: { ...request.kvStates, dir: join(request.kvStates.dir, `engine-${++folders}`) } }

/**
 * The engine's own list of accelerators, asked of a process that is made for it.
 *
 * @throws SkeinError MODEL_LOAD_FAILED when no binary fits this machine, ENGINE_CRASHED when it dies on the way.
 */
export async function probeDevices(components: Pick<ChildEngineComponents, 'log'>): Promise<EngineDevices> {
  let child: EngineProcess | undefined
  try {
    return await new Promise<EngineDevices>((resolve, reject) => {
      child = new EngineProcess(components.log.scope('engine'), {
        message: (message) => {
          if (message.type === 'devices') resolve(message.devices)
          else if (message.type === 'failed') reject(fromWire(message.error))
        },
        exit: reject,
      })
      child.send({ type: 'probe' })
    })
  } finally {
    await child?.kill()
  }
}
