/**
 * What a server is, which models it has, and what each can do and hold, by asking it: nothing is loaded and nothing is
 * generated. Every answer is checked like one of a stranger.
 */
import { isAbsolute } from 'node:path'
import { Type, type Static } from 'typebox'
import { checker, SkeinError, type Check } from '../../../mesh/protocol/index.ts'
import { isOnThisMachine } from './address.ts'
import { printable, refusal, saidBy, type Answered, type UpstreamClient } from './http.ts'

export type ServerKind = 'llama-server' | 'ollama' | 'llama-cpp-python' | 'lm-studio' | 'vllm' | 'openai'

export interface UpstreamModel {
  /** As the server calls it. */
  readonly name: string
  /** Path of its weights on this machine, a GGUF file, as the server tells it. */
  readonly weights?: string
  /** The server's own digest of it. */
  readonly reported?: string
  /** Why it must not be used: it does not run where the server does. */
  readonly elsewhere?: string
  /** Tokens of prompt and answer together; absent when the server does not tell. */
  readonly contextTokens?: number
  /** Answers that the server makes together. */
  readonly slots: number
  readonly quantization: string
  readonly parameters: number
  readonly sizeBytes: number
  /** Whether it generates text; whether it makes embeddings, which of some servers only a try tells. */
  readonly completes: boolean
  readonly embeds: boolean | 'unknown'
  /** Loaded when it is asked for: not to be asked without need. */
  readonly isOnDemand: boolean
}

export interface UpstreamServer {
  readonly kind: ServerKind
  readonly version: string
  readonly models: readonly UpstreamModel[]
}

/** Models of one server that are looked at. */
const MODELS_MAX = 64
const NAME_LENGTH_MAX = 256
/** Ollama's context where nobody sets another one. */
const OLLAMA_CONTEXT_TOKENS = 4096
/** vLLM batches as many as fit; beyond this it queues sooner than it pays. */
const VLLM_SLOTS = 16

const text = Type.String({ maxLength: 4096 })
const name = Type.String({ minLength: 1, maxLength: NAME_LENGTH_MAX })
const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })

const MODEL_LIST = Type.Object({
  data: Type.Array(
    Type.Object({
      id: name,
      owned_by: Type.Optional(text),
      max_model_len: Type.Optional(Type.Union([count, Type.Null()])),
      /** Of another Skein. */
      context_length: Type.Optional(Type.Union([count, Type.Null()])),
      meta: Type.Optional(
        Type.Union([Type.Object({ n_params: Type.Optional(count), size: Type.Optional(count) }), Type.Null()]),
      ),
    }),
    { maxItems: 4096 },
  ),
})
type Listed = Static<typeof MODEL_LIST>['data']

const PROPS = Type.Object({
  default_generation_settings: Type.Object({ n_ctx: count }),
  total_slots: count,
  model_path: text,
  build_info: Type.Optional(text),
})
const TAGS = Type.Object({
  models: Type.Array(
    Type.Object({
      model: name,
      digest: Type.Optional(text),
      size: Type.Optional(count),
      remote_host: Type.Optional(text),
      remote_model: Type.Optional(text),
      details: Type.Optional(
        Type.Object({ parameter_size: Type.Optional(text), quantization_level: Type.Optional(text) }),
      ),
    }),
    { maxItems: 4096 },
  ),
})
type Tag = Static<typeof TAGS>['models'][number]
const SHOWN = Type.Object({
  modelfile: Type.Optional(Type.String({ maxLength: 1024 * 1024 })),
  parameters: Type.Optional(Type.String({ maxLength: 64 * 1024 })),
  capabilities: Type.Optional(Type.Array(text, { maxItems: 64 })),
  model_info: Type.Optional(Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()])),
  remote_host: Type.Optional(text),
  remote_model: Type.Optional(text),
})
const STUDIO = Type.Object({
  data: Type.Array(
    Type.Object({
      id: name,
      type: Type.Optional(text),
      quantization: Type.Optional(text),
      max_context_length: Type.Optional(count),
      loaded_context_length: Type.Optional(count),
    }),
    { maxItems: 4096 },
  ),
})
const VERSION = Type.Object({ version: text })
const OPENAPI = Type.Object({ info: Type.Object({ title: text, version: text }) })

const isModelList = checker(MODEL_LIST)
const isProps = checker(PROPS)
const isTags = checker(TAGS)
const isShown = checker(SHOWN)
const isStudio = checker(STUDIO)
const isVersion = checker(VERSION)
const isOpenApi = checker(OPENAPI)

export interface ProbeInit {
  readonly signal?: AbortSignal
  /** Of a server that has many, the one model that is looked at. */
  readonly only?: string
  /** Those that count; all when absent. */
  readonly among?: readonly string[]
}

/** Asks one server. */
class Prober {
  readonly only: string | undefined
  readonly #client: UpstreamClient
  readonly #withinMs: number
  readonly #signal: AbortSignal | undefined

  constructor(client: UpstreamClient, withinMs: number, { signal, only }: ProbeInit) {
    this.#client = client
    this.#withinMs = withinMs
    this.#signal = signal
    this.only = only
  }

  get url(): string {
    return this.#client.url
  }

  ask(path: string, body?: object): Promise<Answered> {
    return this.#client.ask(path, {
      withinMs: this.#withinMs,
      ...(body && { body }),
      ...(this.#signal && { signal: this.#signal }),
    })
  }

  /** What it answers with 200, or `undefined` for another answer. */
  async get<T>(path: string, isExpected: Check<T>, body?: object): Promise<T | undefined> {
    const answered = await this.ask(path, body)
    return answered.status === 200 && isExpected(answered.body) ? answered.body : undefined
  }
}

/**
 * @returns `undefined` of another Skein, which is reached as a member of a mesh and not from behind: unless its owner named it as
 *   an endpoint. Then each request tells how many meshes it has left.
 * @throws SkeinError ENGINE_CRASHED when nothing answers in time; NO_FREE_SLOT while it is busy starting; ENGINE_FAILED when
 *   it is no such server.
 */
export async function probeServer(
  client: UpstreamClient,
  withinMs: number,
  init: ProbeInit = {},
): Promise<UpstreamServer | undefined> {
  const prober = new Prober(client, withinMs, init)
  const listed = await prober.ask('/v1/models')
  // whatever it answers: it may want a key, or refuse to be asked by another mesh
  const isSkein = Object.keys(listed.headers).some((header) => header.startsWith('x-skein'))
  if (isSkein && !client.endpoint) return undefined
  if (listed.status !== 200) throw refusal(client.url, listed.status, listed.body, client.endpoint)
  if (!isModelList(listed.body))
    throw new SkeinError(
      'ENGINE_FAILED',
      `${client.url}: no list of models (${saidBy(listed.body) ?? 'something else'})`,
    )
  const { among } = init
  const makers = new Set(listed.body.data.map((model) => model.owned_by))
  const data = listed.body.data.filter(({ id }) => among === undefined || among.includes(id))
  if (isSkein || makers.has('skein')) return client.endpoint && other(data)
  if (makers.has('llamacpp')) return llamaServer(prober, data)
  if (makers.has('vllm')) return vllm(prober, data)
  // somewhere else it is asked in the one way that all have in common, and no more often than need be
  if (client.endpoint) return other(data)
  return (await ollama(prober)) ?? (await studio(prober)) ?? (await llamaCppPython(prober, data)) ?? other(data)
}

async function llamaServer(prober: Prober, data: Listed): Promise<UpstreamServer> {
  const props = await prober.get('/props', isProps)
  // one that serves many models tells of each only once that is loaded
  if (props === undefined || props.model_path === '' || data.length !== 1) return other(data)
  const [listed] = data
  return {
    kind: 'llama-server',
    version: props.build_info ?? '',
    models: [
      {
        ...plain(listed!.id),
        ...weightsAt(prober.url, props.model_path),
        contextTokens: props.default_generation_settings.n_ctx,
        slots: Math.max(1, props.total_slots),
        parameters: listed!.meta?.n_params ?? 0,
        sizeBytes: listed!.meta?.size ?? 0,
      },
    ],
  }
}

async function vllm(prober: Prober, data: Listed): Promise<UpstreamServer> {
  const version = (await prober.get('/version', isVersion))?.version ?? ''
  const models = data.slice(0, MODELS_MAX).map(({ id, max_model_len }) => ({
    ...plain(id),
    slots: VLLM_SLOTS,
    ...(max_model_len && { contextTokens: max_model_len }),
  }))
  return { kind: 'vllm', version, models }
}

async function ollama(prober: Prober): Promise<UpstreamServer | undefined> {
  const tags = await prober.get('/api/tags', isTags)
  const version = tags && (await prober.get('/api/version', isVersion))
  if (tags === undefined || version === undefined) return undefined
  const models: UpstreamModel[] = []
  const wanted = tags.models.filter(({ model }) => prober.only === undefined || prober.only === model)
  for (const tag of wanted.slice(0, MODELS_MAX)) models.push(await ollamaModel(prober, tag))
  return { kind: 'ollama', version: version.version, models }
}

async function ollamaModel(prober: Prober, tag: Tag): Promise<UpstreamModel> {
  const base: UpstreamModel = {
    ...plain(tag.model),
    isOnDemand: true,
    quantization: printable(tag.details?.quantization_level ?? ''),
    parameters: parametersOf(tag.details?.parameter_size ?? ''),
    sizeBytes: tag.size ?? 0,
    ...(tag.digest !== undefined && { reported: tag.digest }),
  }
  // Before it is asked for: models of Ollama's cloud are named so, and listed beside those of this machine.
  const host = tag.remote_host ?? (tag.remote_model || /[:-]cloud$/.test(tag.model) ? 'a cloud' : undefined)
  if (host !== undefined) return { ...base, elsewhere: `it runs at ${printable(host)}, not on this machine` }
  const shown = await prober.get('/api/show', isShown, { model: tag.model })
  if (shown === undefined) return { ...base, completes: false, embeds: false }
  if (shown.remote_host || shown.remote_model)
    return { ...base, elsewhere: `it runs at ${printable(shown.remote_host ?? 'a cloud')}, not on this machine` }
  const { capabilities = ['completion'], parameters = '', modelfile = '' } = shown
  const wanted = Number(/^num_ctx\s+(\d{1,9})$/m.exec(parameters)?.[1] ?? OLLAMA_CONTEXT_TOKENS)
  const trained = Object.entries(shown.model_info ?? {}).find(([key]) => key.endsWith('.context_length'))?.[1]
  // weights that an adapter changes are others than those of the file
  const files = [...modelfile.matchAll(/^FROM (.+)$/gm)].map(([, file]) => file!.trim())
  const isWhole = files.length === 1 && !/^ADAPTER /m.test(modelfile)
  return {
    ...base,
    ...(isWhole && weightsAt(prober.url, files[0]!)),
    contextTokens: typeof trained === 'number' && trained > 0 ? Math.min(wanted, trained) : wanted,
    completes: capabilities.includes('completion'),
    embeds: capabilities.includes('embedding'),
  }
}

async function studio(prober: Prober): Promise<UpstreamServer | undefined> {
  const listed = await prober.get('/api/v0/models', isStudio)
  if (listed === undefined) return undefined
  const models = listed.data.slice(0, MODELS_MAX).map((model) => {
    const contextTokens = model.loaded_context_length ?? model.max_context_length
    return {
      ...plain(model.id),
      isOnDemand: true,
      quantization: printable(model.quantization ?? ''),
      completes: model.type !== 'embeddings',
      embeds: model.type === 'embeddings',
      ...(contextTokens !== undefined && { contextTokens }),
    }
  })
  return { kind: 'lm-studio', version: '', models }
}

/** Its server tells the path of the weights as the model's name, unless it was given another one. */
async function llamaCppPython(prober: Prober, data: Listed): Promise<UpstreamServer | undefined> {
  const api = await prober.get('/openapi.json', isOpenApi)
  if (api === undefined || !api.info.title.includes('llama.cpp')) return undefined
  const models = data.slice(0, MODELS_MAX).map(({ id }) => ({
    ...plain(id),
    // its one lock is given to whoever asks last, and several models take turns in memory
    slots: 1,
    isOnDemand: data.length > 1,
    ...weightsAt(prober.url, id),
  }))
  return { kind: 'llama-cpp-python', version: printable(api.info.version), models }
}

const other = (data: Listed): UpstreamServer => ({
  kind: 'openai',
  version: '',
  models: data.slice(0, MODELS_MAX).map(({ id, max_model_len, context_length: contextTokens = max_model_len }) => ({
    ...plain(id),
    ...(contextTokens && { contextTokens }),
  })),
})

const plain = (name: string): UpstreamModel => ({
  name,
  slots: 1,
  quantization: '',
  parameters: 0,
  sizeBytes: 0,
  completes: true,
  embeds: 'unknown',
  isOnDemand: false,
})

/** A path counts only from a server of this machine, and only a whole one. */
const weightsAt = (url: string, path: string): { weights?: string } =>
  isOnThisMachine(url) && isAbsolute(path) && !path.includes('\0') ? { weights: path } : {}

/** Such as `8.0B`, `137M`. */
function parametersOf(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)([KMBT])$/.exec(text) ?? []
  if (number === undefined) return 0
  return Math.round(Number(number) * { K: 1e3, M: 1e6, B: 1e9, T: 1e12 }[unit as 'K' | 'M' | 'B' | 'T'])
}
