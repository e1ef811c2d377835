/**
 * Asking a source over HTTP: one GET at a time behind a small port, redirects followed by hand. By hand, because what a
 * hub says of a file is in the headers of its redirect, and because a token must never travel on to where it leads.
 */
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { deadline, type Clock } from '../../../mesh/runtime/index.ts'
import { checkUrl, printable } from './reference.ts'

export interface HttpResponse {
  readonly status: number
  readonly headers: Headers
  readonly body: AsyncIterable<Uint8Array> | null
}

/** One GET, which follows no redirect. Rejects when there is no response, and with the signal's reason. */
export type Http = (url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal) => Promise<HttpResponse>

export const fetchHttp: Http = async (url, headers, signal) => {
  // compressed, the length of a file would be unknown, and a range of it without meaning
  const init = { headers: { 'accept-encoding': 'identity', 'user-agent': 'skein', ...headers }, signal }
  return fetch(url, { ...init, redirect: 'manual' })
}

/** What is sent along to `url`, such as a token to the host that it is for. */
export type HeadersFor = (url: URL) => Readonly<Record<string, string>>

export interface OpenResponse {
  /** Of the last hop. */
  readonly response: HttpResponse
  readonly url: URL
  /** Headers of the first hop, where a hub describes the file. */
  readonly firstHeaders: Headers
  /** The body, until `stallMs` without a byte. @throws SkeinError MODEL_PULL_FAILED when it breaks off or stalls. */
  body(): AsyncGenerator<Uint8Array, void, undefined>
  /** Lets go of the connection. To be called in any case; more than once does no harm. */
  close(): void
}

export interface OpenInit {
  readonly headersFor: HeadersFor
  readonly range?: { readonly start: number; readonly end: number }
  /** Asks for the range of this version of the file alone. */
  readonly ifRange?: string
  readonly accept?: string
}

/** Asks sources. One for each pull. */
export class SourceClient {
  readonly #http: Http
  readonly #clock: Clock

  constructor(components: { readonly http: Http; readonly clock: Clock }) {
    this.#http = components.http
    this.#clock = components.clock
  }

  /**
   * The successful response at the end of the redirects.
   *
   * @throws SkeinError MODEL_PULL_FAILED when asking again may help (no connection, 408, 429, 5xx), with
   *   `retryAfterSeconds` where the source says when; MODEL_SOURCE_REFUSED otherwise; MODEL_SOURCE_CHANGED for 416; the
   *   signal's reason.
   */
  async open(start: URL, init: OpenInit, signal: AbortSignal): Promise<OpenResponse> {
    const controller = new AbortController()
    const both = AbortSignal.any([signal, controller.signal])
    const close = (): void => controller.abort(closed())
    try {
      let url = start
      let firstHeaders: Headers | undefined
      for (let hops = 0; hops <= LIMITS.pullRedirectsMax; hops++) {
        const response = await this.#ask(url, init, both)
        firstHeaders ??= response.headers
        const next = redirectOf(url, response)
        if (next === undefined) {
          this.#check(url, response, firstHeaders)
          return { response, url, firstHeaders, close, body: () => this.#body(url, response, controller, signal) }
        }
        await drop(response)
        url = next
      }
      throw refused(start, `more than ${LIMITS.pullRedirectsMax} redirects`)
    } catch (thrown) {
      close()
      signal.throwIfAborted()
      throw thrown
    }
  }

  async #ask(url: URL, { headersFor, range, ifRange, accept }: OpenInit, signal: AbortSignal): Promise<HttpResponse> {
    checkUrl(url)
    const late = (): SkeinError => failed(url, `no answer within ${LIMITS.pullResponseMs} ms`)
    const limit = deadline(this.#clock, LIMITS.pullResponseMs, late)
    const headers = {
      ...headersFor(url),
      ...(accept !== undefined && { accept }),
      ...(range && { range: `bytes=${range.start}-${range.end - 1}` }),
      ...(range && ifRange !== undefined && { 'if-range': ifRange }),
    }
    try {
      return await this.#http(url, headers, AbortSignal.any([signal, limit.signal]))
    } catch (thrown) {
      signal.throwIfAborted()
      limit.signal.throwIfAborted()
      throw failed(url, causeOf(thrown), thrown)
    } finally {
      limit.cancel()
    }
  }

  #check(url: URL, { status, headers }: HttpResponse, first: Headers): void {
    if (status === 200 || status === 206) {
      const encoding = headers.get('content-encoding') ?? 'identity'
      if (encoding !== 'identity') throw refused(url, `it sends the file compressed (${printable(encoding)})`)
      return
    }
    if (status === 416)
      throw new SkeinError('MODEL_SOURCE_CHANGED', `${originOf(url)}: the file is shorter than it was`)
    if (status === 408 || status === 425 || status === 429 || status >= 500)
      throw failed(url, `status ${status}`, undefined, this.#retryAfterSeconds(headers))
    throw refused(url, refusalOf(status, first.has('x-error-code') ? first : headers))
  }

  /** `Retry-After` in seconds or as a date; else the rest of the window that the `RateLimit` header names (`t=55`). */
  #retryAfterSeconds(headers: Headers): number | undefined {
    const text = headers.get('retry-after') ?? /;\s*t=(\d{1,9})/.exec(headers.get('ratelimit') ?? '')?.[1]
    if (text === undefined) return undefined
    const seconds = /^\d{1,9}$/.test(text) ? Number(text) : (Date.parse(text) - this.#clock.wallMs()) / 1000
    return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : undefined
  }

  async *#body(
    url: URL,
    { body }: HttpResponse,
    controller: AbortController,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const stalled = new Watchdog(this.#clock, LIMITS.pullStallMs, () =>
      controller.abort(failed(url, `no byte for ${LIMITS.pullStallMs} ms`)),
    )
    try {
      for await (const chunk of body ?? []) {
        stalled.rest()
        yield chunk
        stalled.feed()
      }
    } catch (thrown) {
      signal.throwIfAborted()
      controller.signal.throwIfAborted()
      throw failed(url, `the connection broke off (${causeOf(thrown)})`, thrown)
    } finally {
      stalled.stop()
      controller.abort(closed())
    }
  }
}

/** Barks once when it was not fed for `boundMs`. Resting while the consumer is busy: that is no fault of the source. */
class Watchdog {
  readonly #clock: Clock
  readonly #boundMs: number
  readonly #bark: () => void
  #fedAtMs: number | undefined
  #cancel: () => void

  constructor(clock: Clock, boundMs: number, bark: () => void) {
    this.#clock = clock
    this.#boundMs = boundMs
    this.#bark = bark
    this.#fedAtMs = clock.nowMs()
    this.#cancel = clock.timer(boundMs, () => this.#look())
  }

  feed(): void {
    this.#fedAtMs = this.#clock.nowMs()
  }

  rest(): void {
    this.#fedAtMs = undefined
  }

  stop(): void {
    this.#cancel()
  }

  // One timer that looks again, instead of one for each chunk: chunks are many.
  #look(): void {
    const quietMs = this.#fedAtMs === undefined ? 0 : this.#clock.nowMs() - this.#fedAtMs
    if (quietMs >= this.#boundMs) return this.#bark()
    this.#cancel = this.#clock.timer(this.#boundMs - quietMs, () => this.#look())
  }
}

const closed = (): SkeinError => new SkeinError('CLIENT_CLOSED', 'no more of the response is wanted')

/** Ends a response of which nothing is wanted, so that its connection can be used again. */
async function drop({ body }: HttpResponse): Promise<void> {
  let bytes = 0
  for await (const chunk of body ?? []) if ((bytes += chunk.length) > REDIRECT_BODY_BYTES_MAX) break
}
const REDIRECT_BODY_BYTES_MAX = 64 * 1024

/** Where a redirect leads. @throws SkeinError MODEL_SOURCE_REFUSED for one to nowhere, or from `https:` to `http:`. */
function redirectOf(url: URL, { status, headers }: HttpResponse): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(status)) return undefined
  const location = headers.get('location') ?? ''
  if (location === '' || !URL.canParse(location, url.href)) throw refused(url, 'it redirects to nowhere')
  const next = new URL(location, url)
  if (url.protocol === 'https:' && next.protocol !== 'https:')
    throw refused(url, `it redirects to ${printable(next.protocol)}, which anyone on the way could change`)
  return next
}

/** The host, without path and query: signed addresses are secrets. */
export const originOf = (url: URL): string => printable(url.origin)

const failed = (url: URL, why: string, cause?: unknown, retryAfterSeconds?: number): SkeinError =>
  new SkeinError('MODEL_PULL_FAILED', `${originOf(url)}: ${why}`, {
    cause,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  })

const refused = (url: URL, why: string): SkeinError =>
  new SkeinError('MODEL_SOURCE_REFUSED', `${originOf(url)}: ${why}`)

/** Why `fetch` failed: its own message says nothing, its cause does; of that, the system's code says most. */
function causeOf(thrown: unknown): string {
  const { cause, message } = thrown as { cause?: { code?: unknown; message?: unknown }; message?: unknown }
  const code = /^E[A-Z]+$/.exec(String(cause?.code))?.[0]
  return printable(String(code ?? cause?.message ?? message ?? thrown)).slice(0, 200)
}

/** Hubs name the fault in `X-Error-Code`; a repository that does not exist is answered with 401 when no token came. */
function refusalOf(status: number, headers: Headers): string {
  const code = headers.get('x-error-code')
  const said = printable(headers.get('x-error-message') ?? '').slice(0, 200)
  const because = said === '' ? '' : ` (${said})`
  if (code === 'RevisionNotFound') return `the repository has no such revision${because}`
  if (code === 'EntryNotFound') return `the repository has no such file${because}`
  if (code === 'GatedRepo' || status === 403)
    return `access is not granted${because}; accept the terms on its page, and set HF_TOKEN to a token that may read it`
  if (code === 'RepoNotFound' || status === 401)
    return `no such repository, or a private one${because}; for the latter set HF_TOKEN to a token that may read it`
  if (status === 404 || status === 410) return `there is no such file${because}`
  return `it answers with status ${status}${because}`
}
