/**
 * The upstream engine: a model of a server that runs already, such as Ollama. The server computes; rendering, stop
 * strings, budgets and what may be released are ours, so that an answer can go on elsewhere and come from elsewhere.
 */
import {
  asSkeinError,
  featuresNeeded,
  LIMITS,
  SkeinError,
  thoughtMarks,
  type WorkResult,
} from '../../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger } from '../../../mesh/runtime/index.ts'
import { AttemptRun, eventsOf, PROGRESS_INTERVAL_MS, textBehind } from '../attempt-run.ts'
import { ChannelText } from '../channel-text.ts'
import {
  tailOf,
  type Engine,
  type EngineStats,
  type GenerationEvent,
  type GenerationRequest,
  type LoadedModel,
  type LoadRequest,
  type Tail,
  type WorkRequest,
} from '../engine.ts'
import { parseUpstreamPath, type NamedServer, type UpstreamAddress } from './address.ts'
import { tokensAt } from './agreement.ts'
import { penalizesRepeats, ThoughtJoiner, type Question } from './dialects.ts'
import { embed, embeds } from './embeddings.ts'
import { assertAnsweredBy } from './endpoint.ts'
import { UpstreamClient } from './http.ts'
import { learnContext, isStillServed } from './inquiries.ts'
import { probeServer, type UpstreamModel, type UpstreamServer } from './probe.ts'
import { LoadWatch } from './server-load.ts'
import { countedBy } from './penalties.ts'
import { speechOf, type Speech } from './speech.ts'
import type { RenderedPrompt } from './tokens.ts'

export interface UpstreamEngineComponents {
  readonly clock: Clock
  readonly log: Logger
  /** What `stats` says of the server has changed. */
  readonly onLoad?: () => void
}

export interface UpstreamEngineInit {
  /** Servers that were named, by address. */
  readonly servers?: ReadonlyMap<string, NamedServer>
  /** Keys of servers, by address. */
  readonly keys?: ReadonlyMap<string, string>
}

/** A server of this machine answers within a few; one that loads a model meanwhile, later. */
const PROBE_MS = 10_000
/** A server may load the model first, and read a long prompt; beyond this it hangs. */
const FIRST_TOKEN_MS = 300_000
/** The coordinator has given an answer up long before; this is for the connection. */
const TOKEN_MS = 30_000
/** Where a server does not tell, and nothing else does. */
const CONTEXT_TOKENS = 4096

interface Loaded {
  readonly client: UpstreamClient
  readonly kind: UpstreamServer['kind']
  readonly address: UpstreamAddress
  readonly speech: Speech
  readonly model: LoadedModel
  /** Of a server that tells what it does. */
  readonly watch: LoadWatch | undefined
}

interface Running {
  readonly run: AttemptRun
  pendingTokens: number
  /** It tells that it lives by itself. */
  isHeld: boolean
}

export class UpstreamEngine implements Engine {
  readonly #clock: Clock
  readonly #log: Logger
  readonly #servers: ReadonlyMap<string, NamedServer>
  readonly #keys: ReadonlyMap<string, string>
  readonly #onLoad: () => void
  #state: 'empty' | 'loading' | 'loaded' = 'empty'
  #loaded: Loaded | undefined
  /** Attempts that hold a slot, by what ends them; without a run while their prompt is rendered. */
  readonly #running = new Map<AbortController, Running | undefined>()
  /** The server is gone, as one attempt found out: what the others end with too. */
  #crash: SkeinError | undefined

  constructor(components: UpstreamEngineComponents, init: UpstreamEngineInit = {}) {
    this.#clock = components.clock
    this.#log = components.log.scope('upstream')
    this.#servers = init.servers ?? new Map()
    this.#keys = init.keys ?? new Map()
    this.#onLoad = components.onLoad ?? (() => {})
  }

  async load(request: LoadRequest): Promise<LoadedModel> {
    if (this.#state !== 'empty') throw new SkeinError('MODEL_LOAD_FAILED', 'this engine has a model already')
    this.#state = 'loading'
    try {
      this.#loaded = await this.#load(request)
      this.#state = 'loaded'
      return this.#loaded.model
    } catch (error) {
      this.#state = 'empty'
      throw error
    }
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    signal.throwIfAborted()
    const loaded = this.#require()
    refuse(request, loaded.kind)
    if (this.#running.size >= loaded.model.slots)
      throw new SkeinError('NO_FREE_SLOT', `all ${loaded.model.slots} slots of the model are taken`)
    const leaving = new AbortController()
    this.#running.set(leaving, undefined)
    const both = AbortSignal.any([signal, leaving.signal])
    try {
      const { run, rendered } = await this.#begin(loaded, request, both)
      const pendingTokens = run.ended ? 0 : rendered.tokens + run.answer.length
      const state: Running = { run, pendingTokens, isHeld: false }
      this.#running.set(leaving, state)
      void this.#serve(loaded, state, rendered, both)
      yield* eventsOf(run, both, () =>
        leaving.abort(new SkeinError('CLIENT_CLOSED', 'the answer is not read any more')),
      )
    } finally {
      this.#running.delete(leaving)
    }
  }

  work({ work }: WorkRequest, signal: AbortSignal): Promise<WorkResult> {
    const { client, address, model } = this.#require()
    if (work.kind !== 'embed' || !model.features.includes('embed'))
      return Promise.reject(
        new SkeinError('INVALID_REQUEST', `the model does no work of the kind ${work.kind}`, { param: 'model' }),
      )
    return embed(client, address.model, work, signal)
  }

  stats(): EngineStats {
    let prefillTokensPending = 0
    for (const running of this.#running.values()) prefillTokensPending += running?.pendingTokens ?? 0
    // what the server's process has is not ours to tell
    const server = this.#loaded?.watch?.stats
    return { running: this.#running.size, prefillTokensPending, memoryBytes: 0, ...(server && { server }) }
  }

  async unload(): Promise<void> {
    const loaded = this.#loaded
    this.#loaded = undefined
    this.#state = 'empty'
    const reason = this.#crash ?? new SkeinError('ENGINE_FAILED', 'the model was unloaded')
    this.#crash = undefined
    for (const leaving of this.#running.keys()) leaving.abort(reason)
    loaded?.watch?.stop()
    loaded?.client.close()
    await loaded?.speech.tokens.close()
  }

  async #load(request: LoadRequest): Promise<Loaded> {
    const address = parseUpstreamPath(request.path)
    const key = this.#keys.get(address.url)
    const plain: NamedServer = { url: address.url, ...(key !== undefined && { key }) }
    const client = new UpstreamClient(this.#clock, this.#servers.get(address.url) ?? plain)
    const server = await probeServer(client, PROBE_MS)
    const found = server?.models.find(({ name }) => name === address.model)
    if (server === undefined || found === undefined)
      throw new SkeinError('ENGINE_CRASHED', `${address.url}: the server has no model ${address.model} any more`)
    if (found.elsewhere !== undefined) throw new SkeinError('MODEL_LOAD_FAILED', `${address.model}: ${found.elsewhere}`)
    if (address.weights !== undefined && found.weights !== address.weights)
      throw new SkeinError('ENGINE_CRASHED', `${address.model}: the server has other weights for it than it had`)
    const speech = await speechOf({ log: this.#log, client }, server.kind, address)
    const model = await this.#describe({ request, client, server, found, speech, address })
    const watch = server.kind === 'vllm' ? this.#watch(client, found.name) : undefined
    return { client, kind: server.kind, speech, address, model, watch }
  }

  #watch(client: UpstreamClient, model: string): LoadWatch {
    const components = { clock: this.#clock, log: this.#log, client, own: () => this.#running.size }
    const watch = new LoadWatch({ ...components, onChange: this.#onLoad }, model)
    watch.start()
    return watch
  }

  async #describe(about: {
    readonly request: LoadRequest
    readonly client: UpstreamClient
    readonly server: UpstreamServer
    readonly found: UpstreamModel
    readonly speech: Speech
    readonly address: UpstreamAddress
  }): Promise<LoadedModel> {
    const { request, client, server, found, speech, address } = about
    const { file, dialect, continues } = speech
    const told = found.contextTokens ?? (await learnContext(client, server.kind, address.model, file))
    const contextTokens = Math.max(
      1,
      Math.min(told ?? CONTEXT_TOKENS, request.contextTokens ?? Number.MAX_SAFE_INTEGER),
    )
    // a try costs money at an endpoint
    const isTried = found.embeds === 'unknown' && !found.isOnDemand && client.endpoint === undefined
    const canEmbed = isTried ? await embeds(client, address.model) : found.embeds === true
    const how = dialect.isByIds ? 'by token ids' : 'by text'
    return {
      engine: 'upstream',
      contextTokens,
      slots: Math.max(
        1,
        Math.min(request.slots, this.#servers.get(client.url)?.slots ?? found.slots, LIMITS.slotsPerModelMax),
      ),
      parameters: file?.parameters ?? found.parameters,
      quantization: file?.quantization ?? (found.quantization || 'unknown'),
      sizeBytes: file?.sizeBytes ?? found.sizeBytes,
      hasChatTemplate: file ? file.chatTemplate !== undefined : found.completes,
      features: canEmbed ? ['embed'] : [],
      isGenerator: found.completes,
      ...(found.completes && { continues }),
      numerics: {
        engineBuild: `${server.kind} ${server.version}, ${how}`.slice(0, 96),
        flashAttention: false,
        batchTokens: 0,
        threads: 0,
      },
    }
  }

  /** @throws SkeinError as `generate`. */
  async #begin(
    { client, kind, address, speech, model }: Loaded,
    request: GenerationRequest,
    signal: AbortSignal,
  ): Promise<{ run: AttemptRun; rendered: RenderedPrompt }> {
    const { tokens, thinking, hasChannels } = speech
    const marks = thoughtMarks(thinking, request.prompt)
    let saidIds: readonly number[] = []
    const learn = async (tail: Tail): Promise<Tail> => {
      const { ids, said } = tailOf(tail)
      if (said === undefined) await tokens.know(ids)
      else saidIds = await tokens.idsOfAnswer(textBehind(said, marks))
      return tail
    }
    const { generated, said } = request
    const [rendered] = await Promise.race([
      Promise.all([
        tokens.render(request.prompt),
        learn(said === undefined ? generated : { ids: generated, said }),
        isStillServed(client, kind, address, signal),
      ]),
      aborted(signal),
    ])
    signal.throwIfAborted()
    const hold = request.hold?.then(learn)
    hold?.catch(() => {})
    const run = new AttemptRun({
      request: { ...request, ...(hold && { hold }) },
      promptTokens: rendered.tokens,
      // where tokens are estimated, the server itself says that the context is full
      contextTokens: rendered.ids === undefined ? Number.MAX_SAFE_INTEGER : model.contextTokens,
      vocabularySize: tokens.vocabularySize,
      firstId: tokens.firstId,
      detokenize: tokens.detokenize,
      tokenize: () => saidIds,
      thinking,
      ...(hasChannels && request.prompt.kind === 'chat' && { calls: new ChannelText() }),
      clock: this.#clock,
    })
    return { run, rendered }
  }

  /** Runs an attempt to its end. Does not throw. */
  async #serve(loaded: Loaded, state: Running, rendered: RenderedPrompt, signal: AbortSignal): Promise<void> {
    const { run } = state
    const stopTicking = this.#tick(state, rendered.tokens)
    try {
      if (run.ended) return
      if (run.request.hold !== undefined) {
        await this.#hear(loaded, state, rendered, { signal, isWarmUp: true })
        state.pendingTokens = 0
        state.isHeld = true
        await run.prepared()
        state.isHeld = false
        if (run.ended) return
      }
      run.admit(run.cachedTokens)
      await this.#hear(loaded, state, rendered, { signal, isWarmUp: false })
    } catch (thrown) {
      if (signal.aborted) return run.fail(signal.reason)
      const error = ownFailure(asSkeinError(thrown, 'ENGINE_FAILED'), loaded.client)
      if (error.code === 'ENGINE_CRASHED') this.#crash = error
      run.fail(error)
    } finally {
      state.pendingTokens = 0
      stopTicking()
    }
  }

  /** Asks once, and hears the answer to its end. A warm-up asks for the prompt to be read, and drops what is made of it. */
  async #hear(
    loaded: Loaded,
    state: Running,
    rendered: RenderedPrompt,
    { signal, isWarmUp }: { signal: AbortSignal; isWarmUp: boolean },
  ): Promise<void> {
    const { client } = loaded
    const { dialect, tokens } = loaded.speech
    const { run } = state
    const stalled = new AbortController()
    const patience = this.#patience(client, stalled)
    const both = AbortSignal.any([signal, stalled.signal])
    // the server goes on in front of the character that was begun elsewhere, and makes it again
    let owed = dialect.isByIds ? new Uint8Array() : tokens.unfinished(run.behind)
    const question = await this.#question(loaded, run, rendered, owed, isWarmUp)
    const ask = dialect.request(question)
    const isChat = rendered.ids === undefined && question.prompt.kind === 'chat'
    // others tell the name of a file, or what they were asked
    const isNamed = loaded.kind === 'vllm' || loaded.kind === 'openai'
    const joiner = isChat ? new ThoughtJoiner(question.answerText) : undefined
    try {
      patience.expect(FIRST_TOKEN_MS)
      const { traceparent, hops, via } = run.request
      for await (const event of client.stream({ ...ask, traceparent, hops, via }, both)) {
        if (isNamed) assertAnsweredBy(event, loaded.address.model)
        const heard = dialect.hear(event)
        const { ids, prefill, finishReason } = heard
        const text = joiner ? joiner.push(heard) : heard.text
        if (prefill) {
          run.cachedTokens = Math.min(prefill.cached, run.promptTokens)
          state.pendingTokens = Math.max(0, prefill.total - prefill.done)
        }
        if (!isWarmUp && (text !== '' || (ids?.length ?? 0) > 0)) {
          const bytes = Buffer.from(text.toWellFormed())
          const made = dialect.hearsIds
            ? await tokens.known(ids ?? [])
            : await tokens.idsOf(withoutOwed(bytes, owed), owed.length > 0 ? undefined : ids)
          owed = new Uint8Array()
          signal.throwIfAborted()
          state.pendingTokens = 0
          const end = run.request.isEndless === true ? -1 : made.findIndex((id) => tokens.isEnd(id))
          const spoken = end < 0 ? made : made.slice(0, end)
          if (spoken.length > 0) run.deliver(spoken)
          if (end >= 0) run.finish('stop')
          patience.expect(TOKEN_MS)
        } else if (prefill) patience.expect(FIRST_TOKEN_MS)
        if (run.ended) return
        if (finishReason !== undefined) {
          if (!isWarmUp) run.finish(finishReason)
          return
        }
      }
      throw new SkeinError('ENGINE_CRASHED', `${client.url}: the answer broke off`)
    } catch (thrown) {
      stalled.signal.throwIfAborted()
      // by our own count it fits, so that another node may well take it
      if (rendered.ids !== undefined && thrown instanceof SkeinError && thrown.code === 'CONTEXT_LENGTH_EXCEEDED')
        throw new SkeinError('ENGINE_FAILED', thrown.message, { cause: thrown })
      throw thrown
    } finally {
      patience.stop()
      stalled.abort()
    }
  }

  async #question(
    { client, kind, address, model, speech }: Loaded,
    run: AttemptRun,
    rendered: RenderedPrompt,
    owed: Uint8Array,
    isWarmUp: boolean,
  ): Promise<Question> {
    const { request, answer, behind, promptTokens } = run
    const text = run.said ?? speech.tokens.detokenize(behind)
    // what was begun of a character is shown as one U+FFFD
    const answerText = owed.length > 0 ? text.slice(0, -1) : text
    const room = rendered.ids === undefined ? LIMITS.generatedTokensMax : model.contextTokens - promptTokens
    return {
      model: address.model,
      prompt: request.prompt,
      rendered,
      answer: behind,
      answerText,
      index: answer.length,
      counted: await countedBy(request.sampling, kind, () =>
        speech.dialect.isByIds ? Promise.resolve(behind) : tokensAt(client, address.model, answerText),
      ),
      sampling: request.sampling,
      maxTokens: isWarmUp ? 0 : Math.min(request.maxTokens - answer.length, room - behind.length),
      contextTokens: model.contextTokens,
      isEndless: request.isEndless === true,
    }
  }

  /** Barks by aborting `stalled` when what it expects does not come. */
  #patience(client: UpstreamClient, stalled: AbortController): { expect: (ms: number) => void; stop: CancelTimer } {
    let cancel: CancelTimer = () => {}
    return {
      expect: (ms) => {
        cancel()
        cancel = this.#clock.timer(ms, () =>
          stalled.abort(new SkeinError('ENGINE_CRASHED', `${client.url}: no token within ${ms} ms`)),
        )
      },
      stop: () => cancel(),
    }
  }

  #tick(state: Running, promptTokens: number): CancelTimer {
    const { run } = state
    let cancel: CancelTimer = () => {}
    const rest = (): void => {
      cancel = this.#clock.timer(PROGRESS_INTERVAL_MS, tick)
    }
    const tick = (): void => {
      rest()
      const total = promptTokens + run.answer.length
      if (state.isHeld) return
      if (state.pendingTokens > 0) run.progress('prefill', Math.max(0, total - state.pendingTokens), total)
      else run.progress('decode', run.answer.length, run.request.maxTokens)
    }
    rest()
    return () => cancel()
  }

  #require(): Loaded {
    if (this.#loaded === undefined) throw new SkeinError('ENGINE_FAILED', 'no model is loaded')
    return this.#loaded
  }
}

/** What no server was seen to do as we promise it: to hold an answer that goes on to a format, or to tell of all tokens. */
function refuse(request: GenerationRequest, kind: UpstreamServer['kind']): void {
  const isServed = (option: string): boolean => option === 'repeatPenalty' && penalizesRepeats(kind)
  const needed = featuresNeeded(request).find((each) => !isServed(each))
  if (needed === undefined) return
  const params: Readonly<Record<string, string>> = {
    json: 'response_format',
    logprobs: 'logprobs',
    tools: 'tools',
    repeatPenalty: 'repetition_penalty',
    logitBias: 'logit_bias',
  }
  const param = params[needed]
  throw new SkeinError('INVALID_REQUEST', `the model runs in a server of its own, which gives no ${needed} here`, {
    ...(param !== undefined && { param }),
  })
}

/** One answer that breaks off says nothing of the others of an endpoint: behind its address are many machines. */
function ownFailure(error: SkeinError, { endpoint }: UpstreamClient): SkeinError {
  if (endpoint === undefined || error.code !== 'ENGINE_CRASHED') return error
  return new SkeinError('ENGINE_FAILED', error.message, { cause: error })
}

/** @throws SkeinError ENGINE_FAILED when the server has not made the rest of the character that was begun. */
function withoutOwed(bytes: Uint8Array, owed: Uint8Array): Uint8Array {
  if (owed.every((byte, i) => bytes[i] === byte)) return bytes.subarray(owed.length)
  throw new SkeinError('ENGINE_FAILED', 'the server goes on with another character than the one that was begun')
}

/** Never resolves; rejects with the reason of `signal` when it aborts. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason as Error)
    else signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}
