/** Runs an engine for the process at the other end of the channel, and sends what all attempts bring in one message. */
import { rmSync } from 'node:fs'
import { asSkeinError, SkeinError, type EngineKind } from '../../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../../mesh/runtime/index.ts'
import { EchoEngine } from '../echo/echo-engine.ts'
import type { Engine, GenerationRequest, Tail, WorkRequest } from '../engine.ts'
import { toWire, type AttemptItem, type ToChild, type ToParent, type WorkOutcome } from './messages.ts'

export interface ChildHostComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly send: (message: ToParent) => void
}

interface Attempt {
  readonly controller: AbortController
  /** Resolved by the commit of a held attempt. */
  readonly hold: PromiseWithResolvers<Tail>
}

export class ChildHost {
  readonly #components: ChildHostComponents
  readonly #attempts = new Map<string, Attempt>()
  readonly #works = new Map<string, AbortController>()
  #engine: Engine | undefined
  #outbox: AttemptItem[] = []
  /** Of files that are not to outlive this process. */
  #folder: string | undefined

  constructor(components: ChildHostComponents) {
    this.#components = components
  }

  receive(message: ToChild): void {
    switch (message.type) {
      case 'load':
        void this.#answer(() => this.#load(message))
        return
      case 'probe':
        void this.#answer(() => this.#probe())
        return
      case 'generate':
        void this.#generate(message)
        return
      case 'commit':
        this.#attempts.get(message.id)?.hold.resolve(message.tail)
        return
      case 'work':
        void this.#work(message.request)
        return
      case 'cancel': {
        const running = this.#attempts.get(message.id)?.controller ?? this.#works.get(message.id)
        running?.abort(new DOMException('cancelled', 'AbortError'))
      }
    }
  }

  /** At once, since the process is about to end. What cannot be deleted is left to the next start. */
  discardFiles(): void {
    if (this.#folder === undefined) return
    try {
      rmSync(this.#folder, { recursive: true, force: true })
    } catch {
      // nobody is left to be told
    }
  }

  async #answer(work: () => Promise<ToParent>): Promise<void> {
    try {
      this.#components.send(await work())
    } catch (error) {
      this.#components.send({ type: 'failed', error: toWire(asSkeinError(error, 'MODEL_LOAD_FAILED')) })
    }
  }

  async #load(message: ToChild & { type: 'load' }): Promise<ToParent> {
    const { send } = this.#components
    const engine = await this.#create(message.engine)
    this.#engine = engine
    this.#folder = message.request.kvStates?.dir
    const model = await engine.load(message.request, (share) => send({ type: 'progress', share }))
    return { type: 'loaded', model }
  }

  async #create(kind: EngineKind): Promise<Engine> {
    if (kind === 'echo') return new EchoEngine(this.#components)
    // on demand: each process has the native library of its engine alone, which takes most of a second to load
    if (kind === 'onnx') {
      const { OnnxEngine } = await import('../onnx/onnx-engine.ts')
      return new OnnxEngine(this.#components)
    }
    const { LlamaEngine } = await import('../llama/llama-engine.ts')
    return new LlamaEngine(this.#components)
  }

  async #probe(): Promise<ToParent> {
    const { describeDevices, openLlama } = await import('../llama/library.ts')
    const llama = await openLlama(this.#components.log)
    const devices = await describeDevices(llama)
    await llama.dispose()
    return { type: 'devices', devices }
  }

  async #generate(message: ToChild & { type: 'generate' }): Promise<void> {
    const { id } = message.request
    const controller = new AbortController()
    const hold = Promise.withResolvers<Tail>()
    this.#attempts.set(id, { controller, hold })
    const request: GenerationRequest = { ...message.request, ...(message.isHeld ? { hold: hold.promise } : {}) }
    try {
      for await (const event of this.#engine!.generate(request, controller.signal)) this.#post({ id, event })
    } catch (error) {
      // nobody waits for what was cancelled
      if (!controller.signal.aborted) this.#post({ id, error: toWire(asSkeinError(error, 'ENGINE_FAILED')) })
    } finally {
      this.#attempts.delete(id)
    }
  }

  async #work(request: WorkRequest): Promise<void> {
    const { id } = request
    const controller = new AbortController()
    this.#works.set(id, controller)
    let outcome: WorkOutcome
    try {
      outcome = { result: await this.#engineThatWorks()(request, controller.signal) }
    } catch (error) {
      outcome = { error: toWire(asSkeinError(error, 'ENGINE_FAILED')) }
    } finally {
      this.#works.delete(id)
    }
    // nobody waits for what was cancelled
    if (controller.signal.aborted) return
    this.#components.send({ type: 'worked', id, memoryBytes: this.#engine?.stats().memoryBytes ?? 0, outcome })
  }

  #engineThatWorks(): NonNullable<Engine['work']> {
    const engine = this.#engine
    if (engine?.work === undefined)
      throw new SkeinError('INVALID_REQUEST', 'the model only generates text', { param: 'model' })
    return engine.work.bind(engine)
  }

  #post(item: AttemptItem): void {
    this.#outbox.push(item)
    // a decode step wakes all attempts in one turn
    if (this.#outbox.length === 1) setImmediate(() => this.#flush())
  }

  #flush(): void {
    const { prefillTokensPending, memoryBytes, kv } = this.#engine!.stats()
    const items = this.#outbox
    this.#components.send({ type: 'events', items, prefillTokensPending, memoryBytes, ...(kv && { kv }) })
    this.#outbox = []
  }
}
