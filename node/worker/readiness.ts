/**
 * Whether a server beside this node answers: its health, its list of models, and of each model one token that it has made. A
 * server that listens may still be loading, or have lost its engine; a node that offers it then would cost answers.
 */
import { Type } from 'typebox'
import { asSkeinError, checker, LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import { sleep, type Clock, type Logger, type Startable } from '../../mesh/runtime/index.ts'
import type { UpstreamClient } from '../engines/index.ts'

/** Between looks, while it is not ready and while it is. */
const SOON_MS = 1000
const LOOK_MS = 5000
const LOOK_BOUND_MS = 3000
/** The first token of a server that has just loaded compiles what it needs. */
const TEST_BOUND_MS = 120_000
/** A server that is busy may miss one look. */
const MISSES_MAX = 2

const isList = checker(
  Type.Object({
    data: Type.Array(Type.Object({ id: Type.String({ minLength: 1, maxLength: 256 }) }), { maxItems: 4096 }),
  }),
)
const isAnswer = checker(Type.Object({ choices: Type.Array(Type.Object({}), { minItems: 1, maxItems: 16 }) }))
const isVector = checker(Type.Object({ data: Type.Array(Type.Object({}), { minItems: 1, maxItems: 16 }) }))

export interface ReadinessComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly client: UpstreamClient
  /** Other models are ready than before. */
  readonly onChange: (ready: readonly string[]) => void
}

export class Readiness implements Startable {
  readonly name = 'readiness of the server'
  readonly #components: ReadinessComponents
  readonly #ready = new Set<string>()
  readonly #told = new Set<string>()
  readonly #stopping = new AbortController()
  #misses = 0
  #loop: Promise<void> | undefined

  constructor(components: ReadinessComponents) {
    this.#components = components
  }

  /** @param model as the server calls it. */
  isReady(model: string): boolean {
    return this.#ready.has(model)
  }

  start(): Promise<void> {
    this.#loop ??= this.#run()
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new SkeinError('NODE_DRAINING', 'the node is stopping'))
    await this.#loop
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      const before = [...this.#ready].join()
      try {
        await this.#look(signal)
        this.#misses = 0
      } catch (thrown) {
        if (signal.aborted) return
        this.#tell(asSkeinError(thrown).message)
        if (++this.#misses >= MISSES_MAX) this.#ready.clear()
      }
      if ([...this.#ready].join() !== before) this.#components.onChange([...this.#ready])
      await sleep(this.#components.clock, this.#ready.size > 0 ? LOOK_MS : SOON_MS, signal).catch(() => {})
    }
  }

  /** @throws SkeinError when the server is not as it should be. */
  async #look(signal: AbortSignal): Promise<void> {
    const { client } = this.#components
    const within = { withinMs: LOOK_BOUND_MS, signal }
    const health = await client.ask('/health', within)
    // of servers without one: their list of models stands for it
    if (health.status !== 200 && health.status !== 404)
      throw new SkeinError('ENGINE_CRASHED', `${client.url}: its health is ${health.status}`)
    const listed = await client.ask('/v1/models', within)
    if (listed.status !== 200 || !isList(listed.body))
      throw new SkeinError('ENGINE_FAILED', `${client.url}: no list of models (${listed.status})`)
    const names = listed.body.data.slice(0, LIMITS.modelsPerNodeMax).map(({ id }) => id)
    for (const name of this.#ready) if (!names.includes(name)) this.#ready.delete(name)
    for (const name of names) if (!this.#ready.has(name)) await this.#try(name, signal)
  }

  /** Ready is what has made a token, or a vector. Does not throw but for the signal. */
  async #try(model: string, signal: AbortSignal): Promise<void> {
    const { client, log, clock } = this.#components
    const within = { withinMs: TEST_BOUND_MS, signal }
    const beganMs = clock.nowMs()
    try {
      const body = { model, prompt: 'a', max_tokens: 1, temperature: 0, stream: false }
      const answered = await client.ask('/v1/completions', { ...within, body })
      let isGood = answered.status === 200 && isAnswer(answered.body)
      if (!isGood) {
        const embedded = await client.ask('/v1/embeddings', { ...within, body: { model, input: 'a' } })
        isGood = embedded.status === 200 && isVector(embedded.body)
      }
      if (!isGood) return this.#tell(`${model} makes no token (${answered.status})`)
      this.#ready.add(model)
      log.info({ model, tookMs: Math.round(clock.nowMs() - beganMs) }, 'ready: it has made a token')
    } catch (thrown) {
      signal.throwIfAborted()
      this.#tell(`${model}: ${asSkeinError(thrown).message}`)
    }
  }

  /** Each trouble once; it may last for minutes while a model loads. */
  #tell(message: string): void {
    if (this.#told.has(message) || this.#told.size >= 64) return
    this.#told.add(message)
    this.#components.log.info({}, `not ready yet: ${message}`)
  }
}
