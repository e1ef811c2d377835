/**
 * The llama engine: GGUF models by llama.cpp, in the process that makes it. A native abort ends that process, so the
 * agent uses it through `ChildEngine` only.
 */
import { availableParallelism } from 'node:os'
import type { Llama, LlamaContext, LlamaContextOptions, LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp'
import {
  asSkeinError,
  featuresNeeded,
  LIMITS,
  SkeinError,
  thoughtMarks,
  type ModelFeature,
  type Prompt,
  type WorkResult,
} from '../../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../../mesh/runtime/index.ts'
import type { Detokenize } from '../answer-text.ts'
import { AttemptRun, eventsOf } from '../attempt-run.ts'
import type { CallText } from '../call-text.ts'
import { callTextOf, callTokens } from '../call-texts.ts'
import type {
  Engine,
  EngineStats,
  GenerationEvent,
  GenerationRequest,
  LoadedModel,
  LoadRequest,
  WorkRequest,
} from '../engine.ts'
import { DecodeLoop } from './decode-loop.ts'
import { Embedder } from './embedder.ts'
import { canFormat, compileFormat, formatState } from './format-state.ts'
import { readGguf, type GgufSummary } from '../gguf/gguf-reader.ts'
import { KvStates } from './kv-states.ts'
import { engineBuild, openLlama } from './library.ts'
import { contextBytesPerToken, freeBesideModel, planContext } from './memory.ts'
import { PromptRenderer } from './prompt.ts'
import { Sampler } from './sampling.ts'
import { SequenceSlot, type LlamaAttempt } from './sequence-slot.ts'
import { answerTokenizer, detokenizer, printedWith } from './token-bytes.ts'

export interface LlamaEngineComponents {
  readonly clock: Clock
  readonly log: Logger
}

/**
 * Prompt tokens of one step. Measured on two cores: chunks of 128 cost 9 % of the prefill and bound a neighbour's wait at
 * 0.4 s on a 135M model. Part of `numerics`: another chunk moves the last bits.
 */
const CHUNK_TOKENS_CPU = 128
const CHUNK_TOKENS_GPU = 512
/** Below this size threads wait for each other longer than they compute, the more so on a busy machine. */
const SINGLE_THREAD_BYTES_MAX = 32 * 1024 * 1024

/**
 * All but one: the threads of a step wait for each other spinning, and when something else holds a core of theirs (the
 * coordinator, the owner's browser) a step takes up to fifty times as long (measured: 2 tokens/s instead of 115).
 */
const defaultThreads = (): number => Math.max(1, availableParallelism() - 1)

interface Loaded {
  readonly llama: Llama
  readonly model: LlamaModel
  readonly context: LlamaContext
  readonly renderer: PromptRenderer
  readonly detokenize: Detokenize
  /** The same of answers that may call tools. */
  readonly detokenizeCalls: Detokenize
  /** Text of an answer, to go on behind. */
  readonly tokenize: (said: string) => Token[]
  readonly sequences: readonly SequenceSlot[]
  readonly loop: DecodeLoop
  readonly kvStates: KvStates | undefined
  readonly contextTokens: number
  readonly slots: number
  readonly vocabularySize: number
}

function loadFailure(path: string, error: unknown): SkeinError {
  const known = asSkeinError(error, 'MODEL_LOAD_FAILED')
  return known.message.includes(path)
    ? known
    : new SkeinError(known.code, `${path}: ${known.message}`, { cause: error })
}

/** As the library takes adapters. */
const loraOf = ({ adapters }: LoadRequest): Pick<LlamaContextOptions, 'lora'> =>
  adapters === undefined ? {} : { lora: { adapters: adapters.map(({ path, scale }) => ({ filePath: path, scale })) } }

/** Between texts and tokens. @param now wall clock in ms. */
function writingOf(
  model: LlamaModel,
  { chatTemplate }: GgufSummary,
  now: () => number,
): Pick<Loaded, 'renderer' | 'detokenize' | 'detokenizeCalls' | 'tokenize'> {
  const renderer = new PromptRenderer(model, chatTemplate, now)
  const syntax = renderer.hasChannels ? 'channels' : renderer.callSyntax
  const printed = printedWith(callTokens(syntax ?? 'tagged'))
  return {
    renderer,
    detokenize: detokenizer(model),
    detokenizeCalls: detokenizer(model, printed),
    tokenize: answerTokenizer(model),
  }
}

async function featuresOf(llama: Llama, model: LlamaModel, renderer: PromptRenderer): Promise<ModelFeature[]> {
  if (!(await canFormat(llama, model))) return ['logprobs']
  return renderer.hasTools ? ['json', 'logprobs', 'tools'] : ['json', 'logprobs']
}

export class LlamaEngine implements Engine {
  readonly #clock: Clock
  readonly #log: Logger
  #state: 'empty' | 'loading' | 'loaded' = 'empty'
  /** Of a model that generates. */
  #loaded: Loaded | undefined
  /** Of one that was made for embeddings. */
  #embedding: { readonly llama: Llama; readonly model: LlamaModel; readonly embedder: Embedder } | undefined

  constructor(components: LlamaEngineComponents) {
    this.#clock = components.clock
    this.#log = components.log.scope('llama')
  }

  async load(request: LoadRequest, onProgress?: (share: number) => void): Promise<LoadedModel> {
    if (this.#state !== 'empty') throw new SkeinError('MODEL_LOAD_FAILED', 'this engine has a model already')
    this.#state = 'loading'
    try {
      const file = await readGguf(request.path)
      const described = await this.#load(request, file, onProgress)
      this.#state = 'loaded'
      return described
    } catch (error) {
      this.#state = 'empty'
      throw error
    }
  }

  async #load(request: LoadRequest, file: GgufSummary, onProgress?: (share: number) => void): Promise<LoadedModel> {
    const llama = await openLlama(this.#log)
    try {
      const slots = Math.max(1, Math.min(request.slots, LIMITS.slotsPerModelMax))
      const threads = request.threads ?? (file.sizeBytes <= SINGLE_THREAD_BYTES_MAX ? 1 : defaultThreads())
      const isCpu = llama.gpu === false
      const chunkTokens = isCpu ? CHUNK_TOKENS_CPU : CHUNK_TOKENS_GPU
      const batchTokens = chunkTokens + slots
      const freeRamBytes = isCpu ? freeBesideModel(request.path, file.sizeBytes) : 0
      const model = await llama.loadModel({
        modelPath: request.path,
        ...(onProgress === undefined ? {} : { onLoadProgress: onProgress }),
      })
      const freeBytes = isCpu ? freeRamBytes : (await llama.getVramState()).free
      if (file.isEmbedder) return await this.#openEmbedder({ llama, model, file, request, threads, freeBytes })
      const contextTokens = await planContext({ model, request, slots, batchTokens, freeBytes })
      const context = await model.createContext({
        contextSize: contextTokens,
        sequences: slots,
        batchSize: batchTokens,
        threads: { ideal: threads, min: threads },
        flashAttention: true,
        failedCreationRemedy: false,
        ...loraOf(request),
      })
      const numerics = {
        engineBuild: engineBuild(llama),
        flashAttention: context.flashAttention !== false,
        batchTokens,
        threads,
      }
      const native = Array.from({ length: slots }, () => context.getSequence())
      const kvStates = await this.#openKvStates(request, native[0]!, { contextTokens, slots, numerics })
      const sequences = native.map((sequence) => new SequenceSlot(model, sequence))
      const around = { slots: sequences, clock: this.#clock, log: this.#log, ...(kvStates && { kvStates }) }
      const loop = new DecodeLoop({ chunkTokens }, around)
      const writing = writingOf(model, file, () => this.#clock.wallMs())
      const { vocabularySize } = file
      const features = await featuresOf(llama, model, writing.renderer)
      this.#loaded = {
        llama,
        model,
        context,
        ...writing,
        sequences,
        loop,
        kvStates,
        contextTokens,
        slots,
        vocabularySize,
      }
      return {
        engine: 'llama',
        contextTokens,
        slots,
        parameters: file.parameters,
        quantization: file.quantization,
        sizeBytes: file.sizeBytes,
        hasChatTemplate: file.chatTemplate !== undefined,
        features,
        numerics,
        continues: 'ids',
      }
    } catch (error) {
      await llama.dispose()
      throw loadFailure(request.path, error)
    }
  }

  /** `settings` of the context, which its states depend on. */
  async #openKvStates(
    { kvStates, digest, adapters }: LoadRequest,
    sequence: LlamaContextSequence,
    settings: unknown,
  ): Promise<KvStates | undefined> {
    // of a state with checkpoints (sliding windows, recurrent ones) a file would have a part alone
    if (kvStates === undefined || sequence.needsCheckpoints) return undefined
    const bytesPerToken = await contextBytesPerToken(sequence.model)
    const init = { ...kvStates, bytesPerToken, binding: JSON.stringify([digest, adapters ?? [], settings]) }
    return KvStates.open(init, { clock: this.#clock, log: this.#log })
  }

  async #openEmbedder(init: {
    readonly llama: Llama
    readonly model: LlamaModel
    readonly file: GgufSummary
    readonly request: LoadRequest
    readonly threads: number
    readonly freeBytes: number
  }): Promise<LoadedModel> {
    const { llama, model, file, request, threads } = init
    const embedder = await Embedder.open(init)
    this.#embedding = { llama, model, embedder }
    return {
      engine: 'llama',
      contextTokens: embedder.tokensMax,
      slots: Math.max(1, Math.min(request.slots, LIMITS.slotsPerModelMax)),
      parameters: file.parameters,
      quantization: file.quantization,
      sizeBytes: file.sizeBytes,
      hasChatTemplate: false,
      features: ['embed'],
      isGenerator: false,
      numerics: {
        engineBuild: engineBuild(llama),
        flashAttention: false,
        batchTokens: embedder.tokensMax + 1,
        threads,
      },
    }
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    signal.throwIfAborted()
    this.#refuseTools(request)
    const { llama, renderer: writer } = this.#require()
    const { thinking, callSyntax, hasChannels } = writer
    const marks = thoughtMarks(thinking, request.prompt)
    const format = await compileFormat(llama, request, { marks, syntax: callSyntax, hasChannels })
    // it may have been cancelled meanwhile: then it takes no sequence from those behind it
    signal.throwIfAborted()
    const { model, renderer, loop, contextTokens, slots, vocabularySize, tokenize } = this.#require()
    if (loop.running >= slots) throw new SkeinError('NO_FREE_SLOT', `all ${slots} slots of the model are taken`)
    const prompt = renderer.tokenize(request.prompt)
    const run = new AttemptRun({
      request,
      promptTokens: prompt.length,
      contextTokens,
      vocabularySize,
      ...this.#textOf(request.prompt),
      tokenize,
      thinking,
      clock: this.#clock,
    })
    const renewed = (): Pick<LlamaAttempt, 'input' | 'sampler'> => {
      const sampler = new Sampler(model, request, format && formatState(model, format), vocabularySize)
      sampler.replay(run.behind as readonly Token[])
      return { input: [...prompt, ...run.behind] as Token[], sampler }
    }
    if (!run.ended) loop.add({ run, ...renewed(), renewed })
    yield* eventsOf(run, signal, () => run.fail(new SkeinError('CLIENT_CLOSED', 'the answer is not read any more')))
  }

  /** How tokens of an answer to `prompt` become its text. */
  #textOf(prompt: Prompt): { detokenize: Detokenize; calls?: CallText | undefined } {
    const { detokenize, detokenizeCalls, renderer } = this.#require()
    const { callSyntax } = renderer
    const tools = prompt.kind === 'chat' ? prompt.tools : undefined
    if (prompt.kind === 'chat' && renderer.hasChannels)
      return { detokenize: detokenizeCalls, calls: callTextOf('channels', []) }
    if (tools === undefined || callSyntax === undefined) return { detokenize }
    return { detokenize: detokenizeCalls, calls: callTextOf(callSyntax, tools) }
  }

  async work(request: WorkRequest, signal: AbortSignal): Promise<WorkResult> {
    signal.throwIfAborted()
    if (this.#embedding !== undefined) return this.#embedding.embedder.work(request, signal)
    this.#require()
    throw new SkeinError('INVALID_REQUEST', 'the model only generates text', { param: 'model' })
  }

  stats(): EngineStats {
    const { loop, kvStates } = this.#loaded ?? {}
    return {
      running: loop?.running ?? this.#embedding?.embedder.running ?? 0,
      prefillTokensPending: loop?.prefillTokensPending ?? 0,
      memoryBytes: process.memoryUsage.rss(),
      ...(kvStates && { kv: kvStates.stats }),
    }
  }

  async unload(): Promise<void> {
    await this.#closeEmbedder()
    const loaded = this.#loaded
    this.#loaded = undefined
    if (loaded === undefined) return
    await loaded.loop.close(new SkeinError('ENGINE_FAILED', 'the model was unloaded'))
    await loaded.kvStates?.close()
    for (const sequence of loaded.sequences) sequence.dispose()
    await loaded.context.dispose()
    await loaded.model.dispose()
    await loaded.llama.dispose()
    this.#state = 'empty'
  }

  async #closeEmbedder(): Promise<void> {
    const embedding = this.#embedding
    if (embedding === undefined) return
    this.#embedding = undefined
    await embedding.embedder.close()
    await embedding.model.dispose()
    await embedding.llama.dispose()
    this.#state = 'empty'
  }

  /** @throws SkeinError INVALID_REQUEST when the model can be given none. */
  #refuseTools(request: GenerationRequest): void {
    if (this.#require().renderer.hasTools || !featuresNeeded(request).includes('tools')) return
    throw new SkeinError('INVALID_REQUEST', 'how this model calls tools is not known here', { param: 'tools' })
  }

  #require(): Loaded {
    if (this.#embedding !== undefined)
      throw new SkeinError('INVALID_REQUEST', 'the model makes embeddings, and generates no text', { param: 'model' })
    if (this.#loaded === undefined) throw new SkeinError('ENGINE_FAILED', 'no model is loaded')
    return this.#loaded
  }
}
