/**
 * One or several coordinators, asked in the order in which they were given: the one that answered last is asked first. What
 * may be asked twice without harm is asked again after a break, with full jitter, at the next one where a coordinator stays
 * away.
 */
import type { SdkClock } from './clock.ts'
import { ProtocolError, SkeinApiError, UnreachableError } from './errors.ts'

export interface GatewaysInit {
  /** Base addresses, such as `http://127.0.0.1:7337`. */
  readonly urls: readonly string[]
  readonly apiKey?: string | undefined
  readonly clock: SdkClock
  readonly fetch: typeof fetch
  /** How long a request is tried for without any progress, in ms. */
  readonly patienceMs: number
}

export interface Ask {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

const BACKOFF_MS = 100
const BACKOFF_MS_MAX = 4000
/** A coordinator that fails so often in a row is passed over, if there is another. */
const FAILURES_TO_LEAVE = 2
/** Of an answer that is one JSON text. */
const JSON_LENGTH_MAX = 64 * 1024 * 1024
const RETRIED_STATUS = new Set([408, 429, 502, 503, 504])

export class Gateways {
  readonly #init: GatewaysInit
  readonly #urls: readonly string[]
  #current = 0
  /** Since a request was answered. */
  #failures = 0

  /** @throws TypeError for what is no address of HTTP. */
  constructor(init: GatewaysInit) {
    if (init.urls.length === 0) throw new TypeError('no coordinator: give url, such as http://127.0.0.1:7337')
    this.#init = init
    this.#urls = init.urls.map(baseOf)
  }

  /** Which coordinator is asked now. */
  get current(): number {
    return this.#current
  }

  get patienceMs(): number {
    return this.#init.patienceMs
  }

  get clock(): SdkClock {
    return this.#init.clock
  }

  /** Asks the present coordinator once. @throws UnreachableError; SkeinApiError for a status that is no success. */
  async once({ method, path, body, headers, signal }: Ask): Promise<Response> {
    const { apiKey } = this.#init
    const url = this.#urls[this.#current]! + path
    let response: Response
    try {
      response = await this.#init.fetch(url, {
        method,
        redirect: 'error',
        headers: {
          accept: 'application/json, text/event-stream',
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(signal && { signal }),
      })
    } catch (thrown) {
      signal?.throwIfAborted()
      throw new UnreachableError(`${url}: nobody answers (${wordsOf(thrown)})`, thrown)
    }
    if (!response.ok) throw await refusalOf(response)
    this.#failures = 0
    return response
  }

  /** Asks until it is answered, for as long as `patienceMs`. For what may be asked twice. @throws as `once`. */
  async again(ask: Ask): Promise<Response> {
    const { clock, patienceMs } = this.#init
    const givenUpMs = clock.nowMs() + patienceMs
    for (let round = 0; ; round++) {
      try {
        return await this.once(ask)
      } catch (thrown) {
        await this.rest(thrown, round, givenUpMs, ask.signal)
      }
    }
  }

  /** The JSON of an answer. @throws as `again`, ProtocolError. */
  async json(ask: Ask, mayRepeat = ask.method !== 'POST'): Promise<unknown> {
    const response = await (mayRepeat ? this.again(ask) : this.once(ask))
    const text = await response.text()
    if (text.length > JSON_LENGTH_MAX) throw new ProtocolError('an answer of more than 64 MiB')
    try {
      return text === '' ? undefined : (JSON.parse(text) as unknown)
    } catch (cause) {
      throw new ProtocolError(`${ask.path}: no JSON`, cause)
    }
  }

  /**
   * Waits before the next try, and turns to the next coordinator where this one stays away.
   *
   * @throws `thrown` when it is of a kind that another try does not mend, or the time is over.
   */
  async rest(
    thrown: unknown,
    round: number,
    givenUpMs: number,
    signal?: AbortSignal,
    onBreak?: (error: SkeinApiError, waitMs: number) => void,
  ): Promise<void> {
    signal?.throwIfAborted()
    if (!isPassing(thrown)) throw thrown
    const { clock } = this.#init
    if (++this.#failures >= FAILURES_TO_LEAVE && this.#urls.length > 1) {
      this.#failures = 0
      this.#current = (this.#current + 1) % this.#urls.length
    }
    const backoffMs = clock.random() * Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** Math.min(round, 16))
    const asked = thrown instanceof SkeinApiError ? (thrown.retryAfterMs ?? 0) : 0
    const waitMs = Math.max(backoffMs, asked)
    if (clock.nowMs() + waitMs > givenUpMs) throw thrown
    onBreak?.(thrown, waitMs)
    await clock.sleep(waitMs, signal)
  }
}

/** Whether another try may end otherwise. */
const isPassing = (thrown: unknown): thrown is SkeinApiError =>
  thrown instanceof UnreachableError ||
  (thrown instanceof SkeinApiError && thrown.status !== undefined && RETRIED_STATUS.has(thrown.status))

function baseOf(text: string): string {
  if (!URL.canParse(text)) throw new TypeError(`${text}: no address, such as http://127.0.0.1:7337`)
  const { protocol, origin, pathname } = new URL(text)
  if (protocol !== 'http:' && protocol !== 'https:') throw new TypeError(`${text}: only http: and https: are known`)
  return origin + pathname.replace(/\/+$/, '').replace(/\/v1$/, '')
}

const wordsOf = (thrown: unknown): string => {
  const { message, cause } = thrown as { message?: unknown; cause?: { code?: unknown } }
  return typeof cause?.code === 'string' ? cause.code : String(message)
}

async function refusalOf(response: Response): Promise<SkeinApiError> {
  const body = await response.json().catch(() => undefined)
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  return errorOf(body, {
    status: response.status,
    requestId: response.headers.get('x-request-id') ?? undefined,
    ...(seconds >= 0 && { retryAfterMs: 1000 * seconds }),
  })
}

/**
 * Of a body, or an event in the middle of a stream, of the shape `{"error": {"message", "code", "param"}}`, or `{"error": "…"}`
 * as the routes of `/api` have it.
 */
export function errorOf(
  body: unknown,
  around: { readonly status?: number; readonly requestId?: string | undefined; readonly retryAfterMs?: number } = {},
): SkeinApiError {
  const said = typeof body === 'object' && body !== null ? (body as { error?: unknown }).error : undefined
  const { message, code, param } = typeof said === 'object' && said !== null ? (said as Record<string, unknown>) : {}
  const text = typeof said === 'string' ? said : message
  return new SkeinApiError(typeof text === 'string' && text !== '' ? text : `status ${around.status ?? 'unknown'}`, {
    ...around,
    code: typeof code === 'string' ? code : 'unknown',
    param: typeof param === 'string' ? param : undefined,
  })
}
