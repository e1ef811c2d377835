/**
 * The onnx engine: ONNX models by onnxruntime, on the CPU, in the process that makes it. A native abort ends that process,
 * so the agent uses it through `ChildEngine` only. Runs of one model go one after another: two at once would share the
 * same threads.
 */
import { availableParallelism } from 'node:os'
import type { InferenceSession, Tensor as NativeTensor } from 'onnxruntime-node'
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type Tensor,
  type TensorType,
  type WorkResult,
} from '../../../mesh/protocol/index.ts'
import type { Logger } from '../../../mesh/runtime/index.ts'
import type { Engine, EngineStats, GenerationEvent, LoadedModel, LoadRequest, WorkRequest } from '../engine.ts'
import { shown } from './onnx-head.ts'
import { describeOnnx, type OnnxModel } from './onnx-model.ts'
import { ENGINE_BUILD, openRuntime, type OnnxRuntime } from './runtime.ts'
import { checkTensors, tooLarge } from './signature.ts'
import { TextModel, type Batch, type Output } from './text-model.ts'

export interface OnnxEngineComponents {
  readonly log: Logger
  /** Memory that the process may still take, in bytes; the machine's when absent. */
  readonly availableBytes?: () => number
}

/** Below this size threads wait for each other longer than they compute. */
const SINGLE_THREAD_BYTES_MAX = 32 * 1024 * 1024
/** Of the machine's memory, kept free for the rest of it. */
const RESERVE_BYTES = 256 * 1024 * 1024
/** The library itself, and what a run of a small batch takes. */
const RUNTIME_BYTES = 128 * 1024 * 1024
/** Weights as they are, and as the library lays them out for its arithmetic. */
const COPIES = 2
/** Of what the library says of an error, in UTF-16 code units. */
const MESSAGE_LENGTH_MAX = 400

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  int8: Int8Array,
  bool: Uint8Array,
} as const satisfies Record<TensorType, unknown>

const mib = (bytes: number): string => `${Math.ceil(bytes / 1024 / 1024)} MiB`

interface Loaded {
  readonly model: OnnxModel
  readonly runtime: OnnxRuntime
  readonly session: InferenceSession
  readonly text: TextModel | undefined
}

export class OnnxEngine implements Engine {
  readonly #log: Logger
  readonly #availableBytes: () => number
  #state: 'empty' | 'loading' | 'loaded' = 'empty'
  #loaded: Loaded | undefined
  readonly #works = new Set<PromiseWithResolvers<never>>()
  /** The last run that was queued. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(components: OnnxEngineComponents) {
    this.#log = components.log.scope('onnx')
    this.#availableBytes = components.availableBytes ?? (() => process.availableMemory())
  }

  async load(request: LoadRequest, onProgress?: (share: number) => void): Promise<LoadedModel> {
    if (this.#state !== 'empty') throw new SkeinError('MODEL_LOAD_FAILED', 'this engine has a model already')
    this.#state = 'loading'
    try {
      const model = await describeOnnx(request.path)
      this.#checkMemory(model)
      onProgress?.(0)
      const described = await this.#load(request, model)
      this.#state = 'loaded'
      this.#log.debug({ path: request.path, features: model.features }, 'loaded')
      onProgress?.(1)
      return described
    } catch (error) {
      this.#state = 'empty'
      throw error
    }
  }

  // eslint-disable-next-line require-yield -- the port says that it throws; there is nothing to yield
  async *generate(): AsyncGenerator<GenerationEvent, void, undefined> {
    this.#require()
    throw new SkeinError('INVALID_REQUEST', 'the model generates no text', { param: 'model' })
  }

  async work({ work }: WorkRequest, signal: AbortSignal): Promise<WorkResult> {
    signal.throwIfAborted()
    const loaded = this.#require()
    const ended = Promise.withResolvers<never>()
    const onAbort = (): void => ended.reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#works.add(ended)
    try {
      return await Promise.race([ended.promise, this.#do(loaded, work, signal)])
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#works.delete(ended)
    }
  }

  stats(): EngineStats {
    return { running: this.#works.size, prefillTokensPending: 0, memoryBytes: process.memoryUsage.rss() }
  }

  async unload(): Promise<void> {
    const loaded = this.#loaded
    if (loaded === undefined) return
    this.#loaded = undefined
    const unloaded = new SkeinError('ENGINE_FAILED', 'the model was unloaded')
    for (const work of this.#works) work.reject(unloaded)
    // a run cannot be interrupted, and its session must not go away under it
    await this.#turn.catch(() => undefined)
    await loaded.session.release()
    this.#state = 'empty'
  }

  #checkMemory({ path, summary }: OnnxModel): void {
    const needed = COPIES * summary.sizeBytes + RUNTIME_BYTES
    const availableBytes = this.#availableBytes()
    if (needed > availableBytes - RESERVE_BYTES)
      throw new SkeinError(
        'MODEL_LOAD_FAILED',
        `${path}: the model needs ${mib(needed)}, and ${mib(availableBytes)} of memory are available, of which ` +
          `${mib(RESERVE_BYTES)} are kept free`,
      )
  }

  async #load(request: LoadRequest, model: OnnxModel): Promise<LoadedModel> {
    const { path, summary } = model
    const small = summary.sizeBytes <= SINGLE_THREAD_BYTES_MAX
    const threads = request.threads ?? (small ? 1 : Math.max(1, availableParallelism() - 1))
    const runtime = await openRuntime()
    const session = await this.#open(runtime, path, threads)
    try {
      this.#checkNames(model, session)
      const text =
        model.text && (await TextModel.open(model, model.text, (batch, output) => this.#runBatch(batch, output)))
      this.#loaded = { model, runtime, session, text }
    } catch (error) {
      await session.release()
      throw error
    }
    return {
      engine: 'onnx',
      contextTokens: model.text?.tokensMax ?? 0,
      slots: Math.max(1, Math.min(request.slots, LIMITS.slotsPerModelMax)),
      parameters: summary.parameters,
      quantization: summary.quantization,
      sizeBytes: summary.sizeBytes,
      hasChatTemplate: false,
      features: model.features,
      isGenerator: false,
      numerics: { engineBuild: ENGINE_BUILD, flashAttention: false, batchTokens: 0, threads },
    }
  }

  async #open(runtime: OnnxRuntime, path: string, threads: number): Promise<InferenceSession> {
    try {
      return await runtime.InferenceSession.create(path, {
        executionProviders: ['cpu'],
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        logSeverityLevel: 3,
        // the owner uses the machine too: no core is kept busy waiting, no memory is kept between runs
        enableCpuMemArena: false,
        extra: { session: { intra_op: { allow_spinning: '0' } } },
      })
    } catch (cause) {
      throw new SkeinError('MODEL_LOAD_FAILED', `${path}: ${said(cause)}`, { cause })
    }
  }

  /** The library must see the signature that was announced, or requests would be held to another. */
  #checkNames({ path, summary }: OnnxModel, session: InferenceSession): void {
    const same = (values: readonly { name: string }[], names: readonly string[]): boolean =>
      values.length === names.length && values.every(({ name }) => names.includes(name))
    if (same(summary.inputs, session.inputNames) && same(summary.outputs, session.outputNames)) return
    throw new SkeinError('MODEL_FILE_INVALID', `${path}: its inputs and outputs are not those that its head lists`)
  }

  #require(): Loaded {
    if (this.#loaded === undefined) throw new SkeinError('ENGINE_FAILED', 'no model is loaded')
    return this.#loaded
  }

  async #do({ model, text }: Loaded, work: WorkRequest['work'], signal: AbortSignal): Promise<WorkResult> {
    if (!model.features.includes(work.kind))
      throw new SkeinError('INVALID_REQUEST', `the model has ${model.features.join(', ')}, and not ${work.kind}`, {
        param: 'model',
      })
    switch (work.kind) {
      case 'embed':
        return text!.embed(work.texts, work.dimensions, signal)
      case 'classify':
        return text!.classify(work.texts, signal)
      case 'infer':
        return this.#infer(model, work.tensors, signal)
    }
  }

  async #infer(model: OnnxModel, tensors: readonly Tensor[], signal: AbortSignal): Promise<WorkResult> {
    const { summary } = model
    checkTensors(summary, tensors)
    checkTokens(model, tensors)
    const { runtime } = this.#require()
    const feeds = Object.fromEntries(tensors.map((tensor) => [tensor.name, nativeTensor(runtime, tensor)]))
    const outputs = await this.#run(feeds, undefined, signal).catch((error: unknown) => {
      // of a pure function: another node would say the same
      if (error instanceof SkeinError) throw error
      throw new SkeinError('INVALID_REQUEST', `the model cannot take these tensors: ${said(error)}`, {
        param: 'inputs',
      })
    })
    const results = summary.outputs.map(({ name, type }) => tensorOf(name, type, outputs[name]))
    const bytes = results.reduce((sum, { data }) => sum + data.length, 0)
    if (bytes > LIMITS.workBytesMax)
      throw new SkeinError(
        'INVALID_REQUEST',
        `the outputs have ${bytes} bytes together, more than ${LIMITS.workBytesMax}`,
        { param: 'inputs' },
      )
    return { kind: 'infer', tensors: results }
  }

  async #runBatch({ rows, length, inputs }: Batch, output: string): Promise<Output> {
    const { model, runtime } = this.#require()
    const feeds = Object.entries(inputs).map(([name, numbers]) => {
      const is64 = model.summary.inputs.find((input) => input.name === name)?.type === 'int64'
      const data = is64 ? BigInt64Array.from(numbers, BigInt) : Int32Array.from(numbers)
      return [name, new runtime.Tensor(is64 ? 'int64' : 'int32', data, [rows, length])]
    })
    const outputs = await this.#run(Object.fromEntries(feeds) as Record<string, NativeTensor>, [output]).catch(
      (error: unknown) => {
        throw error instanceof SkeinError ? error : new SkeinError('ENGINE_FAILED', `the model failed: ${said(error)}`)
      },
    )
    const { dims, data } = outputs[output]!
    if (!(data instanceof Float32Array))
      throw new SkeinError('ENGINE_FAILED', `the output ${shown(output)} is not float32`)
    return { shape: dims, data }
  }

  /** One run at a time. @throws what the library throws; SkeinError ENGINE_FAILED when it was unloaded meanwhile. */
  async #run(
    feeds: Record<string, NativeTensor>,
    fetches?: readonly string[],
    signal?: AbortSignal,
  ): Promise<InferenceSession.OnnxValueMapType> {
    const turn = this.#turn
      .catch(() => undefined)
      .then(() => {
        signal?.throwIfAborted()
        const { session } = this.#require()
        return fetches === undefined ? session.run(feeds) : session.run(feeds, fetches)
      })
    this.#turn = turn
    return turn
  }
}

/** Memory grows with the square of a text's length: what is too long as a text is too long as tensors. */
function checkTokens({ text }: OnnxModel, tensors: readonly Tensor[]): void {
  const length = tensors.find(({ name }) => name === 'input_ids')?.shape.at(-1)
  if (text === undefined || length === undefined || length <= text.tokensMax) return
  const message = `input_ids has ${length} tokens a text, and the model takes ${text.tokensMax}`
  throw new SkeinError('CONTEXT_LENGTH_EXCEEDED', message, { param: 'inputs' })
}

/** What the library says, in one line. */
function said(error: unknown): string {
  const { message } = asSkeinError(error)
  return message.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, MESSAGE_LENGTH_MAX)
}

function nativeTensor(runtime: OnnxRuntime, { type, shape, data }: Tensor): NativeTensor {
  // a copy, for the alignment that its elements need
  const bytes = Uint8Array.from(data).buffer
  return new runtime.Tensor(type as 'float32', new ARRAYS[type](bytes) as Float32Array, shape)
}

/** @throws SkeinError INVALID_REQUEST when it is too large, ENGINE_FAILED when it is not what the signature says. */
function tensorOf(name: string, type: string, output: NativeTensor | undefined): Tensor {
  if (output === undefined || output.type !== type)
    throw new SkeinError('ENGINE_FAILED', `the output ${shown(name)} is not ${type}`)
  const { buffer, byteOffset, byteLength } = output.data as Float32Array
  if (byteLength > LIMITS.workTensorBytesMax)
    throw new SkeinError('INVALID_REQUEST', tooLarge(name, output.dims, byteLength), { param: 'inputs' })
  return {
    name,
    type: type as TensorType,
    shape: [...output.dims],
    data: new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength).slice(),
  }
}
