/** The coordinators that a bridge knows, of which it uses one until that fails. */
import { ERRORS, isErrorCode, SkeinError, type ErrorCode } from '../../mesh/protocol/index.ts'
import { deadline, type Clock, type Random } from '../../mesh/runtime/index.ts'

export interface EndpointsInit {
  /** Addresses of gateways, such as `http://127.0.0.1:7337`; the first is used first. */
  readonly urls: readonly string[]
  /** Asked for at each request, since a coordinator of the same process makes another one at each start. */
  readonly apiKey: () => string | undefined
}

export interface EndpointRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

/** An answer's headers must come within this; streams have theirs after 2 s. */
const HEADERS_MS = 20_000
/** Of an error's body. */
const ERROR_BYTES_MAX = 64 * 1024

export interface Answered {
  readonly response: Response
  readonly url: string
}

export class Endpoints {
  readonly #clock: Clock
  readonly #init: EndpointsInit
  #at = 0

  /** @throws SkeinError CONFIG_INVALID without an address. */
  constructor(clock: Clock, init: EndpointsInit) {
    if (init.urls.length === 0) throw new SkeinError('CONFIG_INVALID', 'the bridge has no address of a coordinator')
    this.#clock = clock
    this.#init = init
  }

  /** The one that is asked next. */
  get url(): string {
    return this.#init.urls[this.#at]!.replace(/\/+$/, '')
  }

  /** `url` does not serve: the next request goes to another one, where there is another. */
  failed(url: string): void {
    if (url === this.url) this.#at = (this.#at + 1) % this.#init.urls.length
  }

  /**
   * Asks the coordinator at hand, and the others when it cannot be reached.
   *
   * @throws SkeinError the gateway's code; COORDINATOR_UNREACHABLE when none answers. The signal's reason.
   */
  async ask(request: EndpointRequest, signal: AbortSignal): Promise<Answered> {
    let last: unknown
    for (let tries = 0; tries < this.#init.urls.length; tries++) {
      const { url } = this
      try {
        return { response: await this.askAt(url, request, signal), url }
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof SkeinError) || error.code !== 'COORDINATOR_UNREACHABLE') throw error
        this.failed(url)
        last = error
      }
    }
    throw last
  }

  /** Asks the coordinator at `url` alone. @throws SkeinError as `ask`. */
  async askAt(url: string, { method, path, headers, body }: EndpointRequest, signal: AbortSignal): Promise<Response> {
    const apiKey = this.#init.apiKey()
    const unreachable = (cause?: unknown): SkeinError =>
      new SkeinError('COORDINATOR_UNREACHABLE', `no coordinator answers at ${url}`, { cause })
    const limit = deadline(this.#clock, HEADERS_MS, unreachable)
    let response: Response
    try {
      response = await fetch(url + path, {
        method,
        headers: {
          ...headers,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.any([signal, limit.signal]),
        // an address that sends elsewhere is not the one that the key is for
        redirect: 'error',
      })
    } catch (cause) {
      signal.throwIfAborted()
      throw unreachable(cause)
    } finally {
      limit.cancel()
    }
    if (response.ok) return response
    throw await failureOf(response)
  }
}

/** The error that a coordinator's answer tells of. */
async function failureOf(response: Response): Promise<SkeinError> {
  const text = await textOf(response, ERROR_BYTES_MAX).catch(() => '')
  let told: ToldError | undefined
  try {
    told = (JSON.parse(text) as { error?: ToldError } | null)?.error
  } catch {
    // what stands between may answer as well, and not in JSON
  }
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  return errorOf(told, response.status, Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined)
}

/** As the gateway writes errors, in bodies and in streams. */
export interface ToldError {
  readonly code?: unknown
  readonly message?: unknown
  readonly param?: unknown
}

export function errorOf(told: ToldError | undefined, status: number, retryAfterSeconds?: number): SkeinError {
  const code = typeof told?.code === 'string' ? told.code.toUpperCase() : ''
  const message = typeof told?.message === 'string' ? told.message : `the coordinator answered ${status}`
  const byStatus = (Object.keys(ERRORS) as ErrorCode[]).find((each) => ERRORS[each].http === status)
  return new SkeinError(isErrorCode(code) ? code : (byStatus ?? 'INTERNAL'), message.slice(0, 1000), {
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    ...(typeof told?.param === 'string' && { param: told.param }),
  })
}

/** All of a body. @throws SkeinError BODY_TOO_LARGE; whatever breaks the connection. */
export async function textOf(response: Response, bytesMax: number): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += (chunk as Uint8Array).length
    if (bytes > bytesMax) throw new SkeinError('BODY_TOO_LARGE', `an answer of more than ${bytesMax} bytes`)
    text += decoder.decode(chunk as Uint8Array, { stream: true })
  }
  return text
}

/** Waits that grow, each anywhere up to its bound: bridges that lost one coordinator do not come back together. */
export class Backoff {
  readonly #random: Random
  readonly #firstMs: number
  readonly #mostMs: number
  #boundMs: number

  constructor(random: Random, firstMs: number, mostMs: number) {
    this.#random = random
    this.#firstMs = firstMs
    this.#mostMs = mostMs
    this.#boundMs = firstMs
  }

  /** How long to wait now, in ms. */
  next(): number {
    const ms = this.#random.next() * this.#boundMs
    this.#boundMs = Math.min(2 * this.#boundMs, this.#mostMs)
    return ms
  }

  reset(): void {
    this.#boundMs = this.#firstMs
  }
}
