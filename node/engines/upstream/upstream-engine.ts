/**
 * The upstream engine: a model of a server that runs already, such as Ollama. The server computes; rendering, stop
 * strings, budgets and what may be released are ours, so that an answer can go on elsewhere and come from elsewhere.
 */
import {
  asSkeinError,
  featuresNeeded,
  LIMITS,
  SkeinError,
  type Thinking,
  type WorkResult,
} from '../../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger } from '../../../mesh/runtime/index.ts'
import { AttemptRun, eventsOf, PROGRESS_INTERVAL_MS } from '../attempt-run.ts'
import { ChannelText } from '../channel-text.ts'
import type {
  Engine,
  EngineStats,
  GenerationEvent,
  GenerationRequest,
  LoadedModel,
  LoadRequest,
  WorkRequest,
} from '../engine.ts'
import { readGguf, type GgufSummary } from '../gguf/gguf-reader.ts'
import { writesChannels } from '../llama/chat-template.ts'
import { thinkingOf } from '../llama/thinking.ts'
import { parseUpstreamPath, type UpstreamAddress } from './address.ts'
import { dialectOf, penalizesRepeats, ThoughtJoiner, UPSTREAM_THINKING, type Dialect } from './dialects.ts'
import { embed, embeds } from './embeddings.ts'
import { UpstreamClient } from './http.ts'
import { learnContext, isStillServed } from './inquiries.ts'
import { probeServer, type UpstreamModel, type UpstreamServer } from './probe.ts'
import { TextTokens, type RenderedPrompt, type Tokens } from './tokens.ts'
import { VocabularyTokens } from './vocabulary.ts'

export interface UpstreamEngineComponents {
  readonly clock: Clock
  readonly log: Logger
}

export interface UpstreamEngineInit {
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
  readonly dialect: Dialect
  readonly address: UpstreamAddress
  readonly tokens: Tokens
  readonly thinking: Thinking | undefined
  /** Its answers to chats come as the model writes them, in channels. */
  readonly hasChannels: boolean
  readonly model: LoadedModel
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
  readonly #keys: ReadonlyMap<string, string>
  #state: 'empty' | 'loading' | 'loaded' = 'empty'
  #loaded: Loaded | undefined
  /** Attempts that hold a slot, by what ends them; without a run while their prompt is rendered. */
  readonly #running = new Map<AbortController, Running | undefined>()
  /** The server is gone, as one attempt found out: what the others end with too. */
  #crash: SkeinError | undefined

  constructor(components: UpstreamEngineComponents, init: UpstreamEngineInit = {}) {
    this.#clock = components.clock
    this.#log = components.log.scope('upstream')
    this.#keys = init.keys ?? new Map()
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
    return { running: this.#running.size, prefillTokensPending, memoryBytes: 0 }
  }

  async unload(): Promise<void> {
    const loaded = this.#loaded
    this.#loaded = undefined
    this.#state = 'empty'
    const reason = this.#crash ?? new SkeinError('ENGINE_FAILED', 'the model was unloaded')
    this.#crash = undefined
    for (const leaving of this.#running.keys()) leaving.abort(reason)
    await loaded?.tokens.close()
  }

  async #load(request: LoadRequest): Promise<Loaded> {
    const address = parseUpstreamPath(request.path)
    const key = this.#keys.get(address.url)
    const client = new UpstreamClient(this.#clock, { url: address.url, ...(key !== undefined && { key }) })
    const server = await probeServer(client, PROBE_MS)
    const found = server?.models.find(({ name }) => name === address.model)
    if (server === undefined || found === undefined)
      throw new SkeinError('ENGINE_CRASHED', `${address.url}: the server has no model ${address.model} any more`)
    if (found.elsewhere !== undefined) throw new SkeinError('MODEL_LOAD_FAILED', `${address.model}: ${found.elsewhere}`)
    if (address.weights !== undefined && found.weights !== address.weights)
      throw new SkeinError('ENGINE_CRASHED', `${address.model}: the server has other weights for it than it had`)
    const file = address.weights === undefined ? undefined : await readGguf(address.weights)
    const dialect = dialectOf(server.kind, file !== undefined)
    const model = await this.#describe({ request, client, server, found, file, dialect, address })
    const tokens = file
      ? new VocabularyTokens(this.#log, { path: address.weights!, vocabularySize: file.vocabularySize })
      : new TextTokens()
    const thinking = file ? file.chatTemplate && thinkingOf(file.chatTemplate) : UPSTREAM_THINKING
    const hasChannels = dialect.isByIds && writesChannels(file?.chatTemplate ?? '')
    return { client, kind: server.kind, dialect, address, tokens, thinking: thinking || undefined, hasChannels, model }
  }

  async #describe(about: {
    readonly request: LoadRequest
    readonly client: UpstreamClient
    readonly server: UpstreamServer
    readonly found: UpstreamModel
    readonly file: GgufSummary | undefined
    readonly dialect: Dialect
    readonly address: UpstreamAddress
  }): Promise<LoadedModel> {
    const { request, client, server, found, file, dialect, address } = about
    const told = found.contextTokens ?? (await learnContext(client, server.kind, address.model, file))
    const contextTokens = Math.max(
      1,
      Math.min(told ?? CONTEXT_TOKENS, request.contextTokens ?? Number.MAX_SAFE_INTEGER),
    )
    const isTried = found.embeds === 'unknown' && !found.isOnDemand
    const canEmbed = isTried ? await embeds(client, address.model) : found.embeds === true
    const how = dialect.isByIds ? 'by token ids' : 'by text'
    return {
      engine: 'upstream',
      contextTokens,
      slots: Math.max(1, Math.min(request.slots, found.slots, LIMITS.slotsPerModelMax)),
      parameters: file?.parameters ?? found.parameters,
      quantization: file?.quantization ?? (found.quantization || 'unknown'),
      sizeBytes: file?.sizeBytes ?? found.sizeBytes,
      hasChatTemplate: file ? file.chatTemplate !== undefined : found.completes,
      features: canEmbed ? ['embed'] : [],
      isGenerator: found.completes,
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
    { client, kind, address, tokens, thinking, hasChannels, model }: Loaded,
    request: GenerationRequest,
    signal: AbortSignal,
  ): Promise<{ run: AttemptRun; rendered: RenderedPrompt }> {
    const [rendered] = await Promise.race([
      Promise.all([
        tokens.render(request.prompt),
        tokens.know(request.generated),
        isStillServed(client, kind, address, signal),
      ]),
      aborted(signal),
    ])
    signal.throwIfAborted()
    const hold = request.hold?.then(async (tail) => {
      await tokens.know(tail)
      return tail
    })
    hold?.catch(() => {})
    const run = new AttemptRun({
      request: { ...request, ...(hold && { hold }) },
      promptTokens: rendered.tokens,
      // where tokens are estimated, the server itself says that the context is full
      contextTokens: rendered.ids === undefined ? Number.MAX_SAFE_INTEGER : model.contextTokens,
      vocabularySize: tokens.vocabularySize,
      detokenize: tokens.detokenize,
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
      const error = asSkeinError(thrown, 'ENGINE_FAILED')
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
    const { client, dialect, tokens } = loaded
    const { run } = state
    const stalled = new AbortController()
    const patience = this.#patience(client, stalled)
    const both = AbortSignal.any([signal, stalled.signal])
    // the server goes on in front of the character that was begun elsewhere, and makes it again
    let owed = dialect.isByIds ? new Uint8Array() : tokens.unfinished(run.answer)
    const question = this.#question(loaded, run, rendered, owed, isWarmUp)
    const ask = dialect.request(question)
    const isChat = rendered.ids === undefined && question.prompt.kind === 'chat'
    const joiner = isChat ? new ThoughtJoiner(question.answerText) : undefined
    try {
      patience.expect(FIRST_TOKEN_MS)
      const { traceparent } = run.request
      for await (const event of client.stream({ ...ask, traceparent }, both)) {
        const heard = dialect.hear(event)
        const { ids, prefill, finishReason } = heard
        const text = joiner ? joiner.push(heard) : heard.text
        if (prefill) {
          run.cachedTokens = Math.min(prefill.cached, run.promptTokens)
          state.pendingTokens = Math.max(0, prefill.total - prefill.done)
        }
        if (!isWarmUp && (text !== '' || (ids?.length ?? 0) > 0)) {
          const bytes = Buffer.from(text.toWellFormed())
          const made = await tokens.idsOf(withoutOwed(bytes, owed), owed.length > 0 ? undefined : ids)
          owed = new Uint8Array()
          signal.throwIfAborted()
          state.pendingTokens = 0
          if (made.length > 0) run.deliver(made)
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

  #question(
    { address, model, tokens }: Loaded,
    run: AttemptRun,
    rendered: RenderedPrompt,
    owed: Uint8Array,
    isWarmUp: boolean,
  ): Parameters<Dialect['request']>[0] {
    const { request, answer, promptTokens } = run
    const text = tokens.detokenize(answer)
    const room = rendered.ids === undefined ? LIMITS.generatedTokensMax : model.contextTokens - promptTokens
    return {
      model: address.model,
      prompt: request.prompt,
      rendered,
      answer,
      // what was begun of a character is shown as one U+FFFD
      answerText: owed.length > 0 ? text.slice(0, -1) : text,
      sampling: request.sampling,
      maxTokens: isWarmUp ? 0 : Math.min(request.maxTokens, room) - answer.length,
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
