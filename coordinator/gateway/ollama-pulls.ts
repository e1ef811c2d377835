/**
 * Ollama's pull and delete, done on the coordinator's own machine where that has a node: behind a port, since the gateway
 * knows no node. A client is told how far its pull is; one that hangs up ends it, and what came is kept.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { pipe } from 'it-pipe'
import { asSkeinError, LIMITS, SkeinError, type ModelDigest } from '../../mesh/protocol/index.ts'
import { sleep, type Clock } from '../../mesh/runtime/index.ts'
import { readingsOf } from '../admission/index.ts'
import type { ActiveRequest } from './active-requests.ts'
import { takeReply, toClient } from './client-writer.ts'
import type { GenerationComponents } from './exchange.ts'
import { answering } from './generation.ts'
import { line, NDJSON } from './ollama-answers.ts'
import { ollamaError } from './ollama-errors.ts'

/** Between two lines about one pull, in ms: people read them. */
const TELL_MS = 200
/** A node tells coordinators of a model within this time, in ms; a pull is not told as done before it can be asked for. */
const LISTED_MS = 5000
const LISTED_STEP_MS = 20

/** Ollama's way to name a repository of the hub. */
const HUB = /^(?:hf\.co|huggingface\.co)\/(.+)$/i
const LATEST = /:latest$/
/** What a member may call a model, or its digest. */
const NAME = /^(?:[A-Za-z0-9][A-Za-z0-9._-]*|sha256:[0-9a-f]{64})$/

/** How far a pull is. */
export interface PullProgress {
  readonly state: 'pulling' | 'checking'
  readonly doneBytes: number
  readonly sizeBytes: number
  /** Where the source says it. */
  readonly digest?: ModelDigest
}

/** A model that was pulled. */
export interface PulledModel {
  /** The name under which it is in the store, and served. */
  readonly name: string
  /** Absent of what is no model by itself, and is not served. */
  readonly digest?: ModelDigest
}

/** The models of the coordinator's own machine, as its node has them. */
export interface ModelAdministration {
  /** Whether the node here serves it. */
  serves(digest: ModelDigest): boolean
  /**
   * Brings a model into the store and has the node serve it. Pulls of one model wait for each other.
   *
   * @param reference `hf:…`, a digest, or a name that members have.
   * @throws SkeinError MODEL_NOT_STORED when no member has what is named; what pulling throws; the signal's reason, what came
   *   being kept.
   */
  pull(reference: string, onProgress: (progress: PullProgress) => void, signal: AbortSignal): Promise<PulledModel>
  /**
   * Has the node serve it no more, and takes it out of the store.
   *
   * @throws SkeinError MODEL_NOT_STORED; MODEL_IN_USE while answers run on it, or when it is served from elsewhere.
   */
  remove(name: string): Promise<void>
}

/** Pulls that clients wait for. */
export class OpenPulls {
  readonly models: ModelAdministration
  readonly #open = new Set<AbortController>()

  constructor(models: ModelAdministration) {
    this.models = models
  }

  /** @throws SkeinError SATURATED, SHUTTING_DOWN; what pulling throws. */
  async pull(
    reference: string,
    onProgress: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<PulledModel> {
    if (this.#open.size >= LIMITS.apiPullsMax)
      throw new SkeinError('SATURATED', `${this.#open.size} models are being pulled already`, { retryAfterSeconds: 60 })
    const ending = new AbortController()
    this.#open.add(ending)
    try {
      return await this.models.pull(reference, onProgress, AbortSignal.any([signal, ending.signal]))
    } finally {
      this.#open.delete(ending)
    }
  }

  /** Ends those that run: a pull goes on where it was, and a stop is not to wait for gigabytes. */
  end(): void {
    for (const open of this.#open)
      open.abort(
        new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping; what came is kept', { retryAfterSeconds: 5 }),
      )
  }
}

/**
 * What a client means by `name`, as a pull takes it.
 *
 * @throws SkeinError UNSUPPORTED_PARAMETER saying what can be pulled.
 */
export function pullReference(name: string): string {
  const hub = HUB.exec(name)?.[1]
  if (hub !== undefined) return `hf:${hub.replace(LATEST, '')}`
  if (name.startsWith('hf:')) return name
  const bare = name.replace(LATEST, '')
  if (NAME.test(bare)) return bare
  throw notPulled('UNSUPPORTED_PARAMETER', name)
}

const notPulled = (code: 'UNSUPPORTED_PARAMETER' | 'MODEL_NOT_FOUND', name: string): SkeinError =>
  new SkeinError(
    code,
    `no member has a model '${name}', and Ollama's library is not asked; pull hf.co/OWNER/REPOSITORY[:QUANTIZATION], ` +
      'hf:OWNER/REPOSITORY[:FILE], or what a member has; from elsewhere, on that machine, with: skein pull',
    { param: 'model' },
  )

export interface PullCall {
  readonly pulls: OpenPulls
  /** As the client wrote it. */
  readonly name: string
  readonly reference: string
  /** Whether some node of the mesh serves it: then it is there, also when nobody gives its files away. */
  readonly isInMesh: boolean
  /** As lines, rather than once at the end. */
  readonly isStream: boolean
}

/** Pulls, and answers. @throws SkeinError what kept it from being pulled, when the client can still be told with a status. */
export async function answerPull(
  components: GenerationComponents,
  request: FastifyRequest,
  reply: FastifyReply,
  call: PullCall,
): Promise<void> {
  await answering(components, request, reply, async (active) => {
    const pulling = new Pulling(components, call, active)
    if (!call.isStream) {
      await pulling.done
      if (!active.signal.aborted) await reply.send({ status: 'success' })
      return
    }
    await pulling.begun
    const { clock, counters, limits } = components
    reply.header('content-type', NDJSON)
    const onStall = (): void => {
      counters.clientsStalled++
      active.abort(new SkeinError('CLIENT_STALLED', 'the client does not read how far its pull is'))
      reply.raw.destroy()
    }
    if (!takeReply(reply)) return
    await pipe(pulling.lines(request.id), toClient(reply.raw, { clock, stallMs: limits.clientStallMs, onStall }))
  })
}

/** One pull, and what there is to tell of it: the newest alone, so that a client which does not read costs nothing. */
class Pulling {
  /** Resolves with the model, or with nothing where it is in the mesh already. */
  readonly done: Promise<PulledModel | undefined>
  /** Resolves when there is something to tell; rejects when it failed before that. */
  readonly begun: Promise<void>
  readonly #components: GenerationComponents
  readonly #call: PullCall
  readonly #signal: AbortSignal
  #newest: PullProgress | undefined

  constructor(components: GenerationComponents, call: PullCall, { signal }: ActiveRequest) {
    this.#components = components
    this.#call = call
    this.#signal = signal
    const first = Promise.withResolvers<void>()
    this.done = this.#run(() => first.resolve())
    // also of one whose client left before anything was told
    this.done.catch(() => undefined)
    this.begun = Promise.race([first.promise, this.done.then(() => undefined), this.#held()])
    this.begun.catch(() => undefined)
  }

  /** Ends with `success`, or with the error. */
  async *lines(requestId: string): AsyncGenerator<string, void, undefined> {
    const { clock, limits } = this.#components
    let ended: { readonly error?: SkeinError; readonly model?: PulledModel | undefined } | undefined
    const end = this.done.then(
      (model) => (ended = { model }),
      (thrown: unknown) => (ended = { error: asSkeinError(thrown) }),
    )
    let told = line({ status: 'pulling manifest' })
    yield told
    let toldAtMs = clock.nowMs()
    for (let isLast = false; !isLast;) {
      isLast = ended !== undefined
      const text = this.#newest ? line(statusOf(this.#newest)) : told
      // what says nothing new is said again before a proxy takes the connection for dead
      if (text !== told || clock.nowMs() - toldAtMs >= limits.keepaliveMs) {
        told = text
        toldAtMs = clock.nowMs()
        yield told
      }
      if (!isLast) await orPassed(clock, TELL_MS, end)
    }
    const { error, model } = ended!
    if (error) return void (yield line(ollamaError(error, requestId)))
    if (model?.digest !== undefined) yield line({ status: `serving ${model.name}`, digest: model.digest })
    yield line({ status: 'success' })
  }

  async #run(onFirst: () => void): Promise<PulledModel | undefined> {
    const { pulls, reference, name, isInMesh } = this.#call
    const onProgress = (progress: PullProgress): void => {
      this.#newest = progress
      onFirst()
    }
    try {
      const model = await pulls.pull(reference, onProgress, this.#signal)
      await this.#listed(model)
      return model
    } catch (thrown) {
      if (asSkeinError(thrown).code !== 'MODEL_NOT_STORED') throw thrown
      if (isInMesh) return undefined
      throw notPulled('MODEL_NOT_FOUND', name)
    }
  }

  /** Until clients can ask for it; not for ever, since its owner's policy may keep it from them. */
  async #listed({ digest }: PulledModel): Promise<void> {
    const { service, clock } = this.#components
    const endMs = clock.nowMs() + LISTED_MS
    while (digest !== undefined && !service.models().some((model) => model.digest === digest)) {
      if (clock.nowMs() >= endMs) return
      await sleep(clock, LISTED_STEP_MS, this.#signal)
    }
  }

  /** A failure that comes early has its own status: the headers wait for so long. */
  async #held(): Promise<void> {
    const { clock, limits } = this.#components
    await orPassed(clock, limits.headersHoldMs, this.done)
  }
}

/** Resolves after `ms`, or when `work` has settled. */
async function orPassed(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  const passed = Promise.withResolvers<void>()
  const pass = (): void => passed.resolve()
  const cancel = clock.timer(ms, pass)
  void work.then(pass, pass)
  await passed.promise
  cancel()
}

/** As Ollama tells it. */
function statusOf({ state, digest, doneBytes, sizeBytes }: PullProgress): object {
  const short = digest?.slice('sha256:'.length, 'sha256:'.length + 12)
  const status = state === 'checking' ? 'verifying sha256 digest' : `pulling ${short ?? 'model'}`
  return { status, ...(digest !== undefined && { digest }), total: sizeBytes, completed: doneBytes }
}

/**
 * Removes the model that a client calls `name`.
 *
 * @throws SkeinError as `ModelAdministration.remove` does.
 */
export async function removeModel(models: ModelAdministration, name: string): Promise<void> {
  const names = [...readingsOf(name), ...(HUB.test(name) ? [pullReference(name)] : [])]
  for (const [index, each] of names.entries())
    try {
      return await models.remove(each)
    } catch (thrown) {
      if (asSkeinError(thrown).code !== 'MODEL_NOT_STORED' || index === names.length - 1) throw thrown
    }
}
