/** The client of a mesh: answers, vectors, models and devices, of one coordinator or of several. */
import { wishesOf, type ChatAnswer, type ChatPart, type ChatRequest, type MeshWishes } from './answers.ts'
import { chat, chatStream, type CallOptions } from './chat.ts'
import { systemClock, type SdkClock } from './clock.ts'
import { Devices } from './devices.ts'
import { ProtocolError, SkeinApiError } from './errors.ts'
import { Gateways, type Ask } from './gateways.ts'
import { map, type MapOptions, type MapResult } from './map.ts'
import { Responses } from './responses.ts'
import { Tasks } from './tasks.ts'

export interface SkeinInit {
  /** Of a coordinator, such as `http://127.0.0.1:7337`, or of several, asked in this order. */
  readonly url: string | readonly string[]
  /** As `skein keys` gives them. Not for a web page that others see: whoever has it is its owner. */
  readonly apiKey?: string
  /** How long a request is tried for without progress, in ms; 30,000 when absent. */
  readonly patienceMs?: number
  readonly fetch?: typeof fetch
  readonly clock?: SdkClock
}

export interface EmbedRequest extends MeshWishes {
  readonly model: string
  readonly input: string | readonly string[]
  /** Numbers of each vector; the model's own when absent. */
  readonly dimensions?: number
}

export interface Model {
  readonly id: string
  readonly digest: string
  readonly aliases: readonly string[]
  /** In tokens, of prompt and answer together. */
  readonly contextLength: number
  readonly features: readonly string[]
}

const PATIENCE_MS = 30_000
const FLOAT_BYTES = 4

export class Skein {
  readonly devices: Devices
  readonly responses: Responses
  readonly tasks: Tasks
  readonly #gateways: Gateways
  readonly #clock: SdkClock

  /** @throws TypeError for an address that is none. */
  constructor({ url, apiKey, patienceMs = PATIENCE_MS, fetch = globalThis.fetch, clock = systemClock }: SkeinInit) {
    this.#clock = clock
    const urls = typeof url === 'string' ? [url] : url
    // a browser's `fetch` wants its window
    this.#gateways = new Gateways({ urls, apiKey, clock, patienceMs, fetch: (...args) => fetch(...args) })
    this.devices = new Devices(this.#gateways)
    this.responses = new Responses(this.#gateways)
    this.tasks = new Tasks(this.#gateways)
  }

  /**
   * A whole answer, through breaks of the connection and restarts of the coordinator.
   *
   * @throws TruncatedError when its limit of tokens cut it off, unless `allowTruncated`; DivergedError, UnreachableError,
   *   SkeinApiError; the reason of the signal.
   */
  chat(request: ChatRequest, options?: CallOptions): Promise<ChatAnswer> {
    return chat(this.#gateways, request, options)
  }

  /** The same, piece by piece; the last part is the whole answer. Leaving the loop ends the request. @throws as `chat`. */
  chatStream(request: ChatRequest, options?: CallOptions): AsyncGenerator<ChatPart, void, undefined> {
    return chatStream(this.#gateways, request, options)
  }

  /** A vector of length 1 for each text. @throws SkeinApiError and its kinds. */
  async embed(
    { model, input, dimensions, ...wishes }: EmbedRequest,
    options: CallOptions = {},
  ): Promise<Float32Array[]> {
    const texts = typeof input === 'string' ? [input] : input
    const body = {
      ...{ model, input: texts, encoding_format: 'base64' },
      ...(dimensions !== undefined && { dimensions }),
      ...wishesOf(wishes),
    }
    // the same texts have the same vectors, however often they are asked for
    const answer = await this.#gateways.json({ method: 'POST', path: '/v1/embeddings', body, ...options }, true)
    const { data } = answer as { data?: { index: number; embedding: string }[] }
    if (!Array.isArray(data) || data.length !== texts.length) throw new ProtocolError('not one vector for each text')
    return [...data].sort((a, b) => a.index - b.index).map(({ embedding }) => floatsOf(embedding))
  }

  /** Models that can be asked now. @throws SkeinApiError and its kinds. */
  async models(options: CallOptions = {}): Promise<Model[]> {
    const listed = (await this.#gateways.json({ method: 'GET', path: '/v1/models', ...options })) as {
      data: { id: string; digest: string; aliases: string[]; context_length: number; features: string[] }[]
    }
    return listed.data.map(({ context_length: contextLength, ...model }) => ({
      id: model.id,
      digest: model.digest,
      aliases: model.aliases,
      contextLength,
      features: model.features,
    }))
  }

  /**
   * Whether the coordinator that is asked now answers, and whether anything can serve. Asked once.
   *
   * @returns `away` where nobody answers, `waiting` where nothing can serve yet. @throws the reason of the signal.
   */
  async readiness(options: Pick<CallOptions, 'signal'> = {}): Promise<'ready' | 'waiting' | 'away'> {
    try {
      const response = await this.#gateways.once({ method: 'GET', path: '/health/ready', ...options })
      await response.body?.cancel()
      return 'ready'
    } catch (thrown) {
      options.signal?.throwIfAborted()
      return thrown instanceof SkeinApiError && thrown.status !== undefined ? 'waiting' : 'away'
    }
  }

  /**
   * Asks for what has no method of its own here, once; the response as it comes, when it is a success.
   *
   * @throws UnreachableError, SkeinApiError; the reason of the signal.
   */
  request(ask: Ask): Promise<Response> {
    return this.#gateways.once(ask)
  }

  /**
   * `work` for each of `inputs`, as many at once as the mesh carries, with results in their order:
   * `skein.map(texts, (text, _, signal) => skein.chat({ model, messages: […] }, { signal }))`.
   */
  map<T, R>(
    inputs: readonly T[],
    work: (input: T, index: number, signal: AbortSignal) => Promise<R>,
    options?: MapOptions,
  ): Promise<MapResult<R>[]> {
    return map(this.#clock, inputs, work, options)
  }
}

/** Little-endian float32, as OpenAI sends them. */
function floatsOf(base64: string): Float32Array {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  const view = new DataView(bytes.buffer)
  return Float32Array.from({ length: bytes.length / FLOAT_BYTES }, (_, i) => view.getFloat32(FLOAT_BYTES * i, true))
}
