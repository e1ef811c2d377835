/**
 * Requests to a server that may be broken, or no model server at all: everything that it sends is bounded, no redirect is
 * followed, and no proxy of the environment stands between, which is why this is not `fetch`.
 */
import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { HOPS_HEADER, SkeinError, UPSTREAM_HEADER, VIA_HEADER } from '../../../mesh/protocol/index.ts'
import { sleep, withDeadline, type CancelTimer, type Clock } from '../../../mesh/runtime/index.ts'
import type { NamedServer } from './address.ts'
import type { Endpoint } from './endpoint.ts'

/** Of an answer that is one JSON text: a list of a few hundred models, or the embeddings of one request. */
const JSON_BYTES_MAX = 16 * 1024 * 1024
const HEADER_BYTES_MAX = 16 * 1024
/** Of one event: tokens with their neighbours, and the last one, with what was asked. */
const EVENT_LENGTH_MAX = 8 * 1024 * 1024
const STREAM_BYTES_MAX = 512 * 1024 * 1024
/** Of a server somewhere else: to its address, and from a request to the first line of its answer. */
const CONNECT_MS = 5000
const HEADERS_MS = 60_000
/** Connections that are kept for the next request, and for how long: servers close theirs after 5 s. */
const KEPT_MAX = 16
const KEPT_MS = 4000
/** From the last event of an answer to the end of its stream. */
const END_MS = 1000
/** Of what a server says of an error. */
const SAID_LENGTH_MAX = 300

export interface Answered {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** `undefined` when it is no JSON. */
  readonly body: unknown
}

export interface AskInit {
  /** Sent with POST; GET without it. */
  readonly body?: object
  /** The whole exchange, in ms. */
  readonly withinMs: number
  readonly signal?: AbortSignal
}

/** How the events of a stream are told apart. */
export type Framing = 'sse' | 'lines'

export interface StreamAsked {
  readonly path: string
  readonly body: object
  readonly framing: Framing
  /** The trace that it belongs to. */
  readonly traceparent?: string | undefined
  /** Meshes that it has left before it came to this one. */
  readonly hops?: number | undefined
  /** Marks of those and of this one, oldest first. */
  readonly via?: readonly string[] | undefined
}

/** A request as it goes out. */
interface Sent {
  readonly path: string
  readonly text: string | undefined
  readonly headers: Readonly<Record<string, string>>
}

/**
 * One server. Connections to one of the owner's network are not kept: they cost nothing, and the first request after a restart
 * would fail on an old one. Those to an endpoint are, and a request that finds its connection closed is sent again.
 */
export class UpstreamClient {
  readonly url: string
  readonly endpoint: Endpoint | undefined
  readonly #key: string | undefined
  readonly #clock: Clock
  readonly #isPlain: boolean
  readonly #agent: HttpAgent
  readonly #freshAgent: HttpAgent
  /** Of answers: makes them outlive the signal of their request. */
  readonly #detach = new WeakMap<IncomingMessage, () => void>()

  constructor(clock: Clock, server: NamedServer) {
    this.url = server.url
    this.endpoint = server.endpoint
    this.#key = server.key
    this.#clock = clock
    this.#isPlain = new URL(server.url).protocol === 'http:'
    const Agent = this.#isPlain ? HttpAgent : HttpsAgent
    this.#freshAgent = new Agent({ keepAlive: false })
    this.#agent = this.endpoint
      ? new Agent({ keepAlive: true, maxFreeSockets: KEPT_MAX, timeout: KEPT_MS, scheduling: 'lifo' })
      : this.#freshAgent
  }

  /** Lets go of the connections that are kept; what runs goes on. */
  close(): void {
    for (const sockets of Object.values(this.#agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
  }

  /** @throws SkeinError ENGINE_CRASHED when no whole answer comes in time, ENGINE_FAILED when it is too large. */
  ask(path: string, { body, withinMs, signal }: AskInit): Promise<Answered> {
    const sent = { path, text: textOf(body), headers: {} }
    return this.#within(withinMs, signal, async (both) => {
      const tries = this.endpoint?.tries()
      for (;;) {
        const key = this.endpoint?.key
        const response = await this.#open(sent, both)
        const { headers, statusCode: status = 0 } = response
        const answered = { status, headers, body: await this.#json(response) }
        // asked again soon anyway, but for a key that is refused: another one may be good
        if (tries === undefined || !isKeyRefused(status)) return answered
        if (tries.afterRefusal({ status, headers, said: '' }, key) === undefined) return answered
      }
    })
  }

  /** The text at `path`; `undefined` for another status than 200. @throws SkeinError as `ask`. */
  text(path: string, { withinMs, signal }: Pick<AskInit, 'withinMs' | 'signal'>): Promise<string | undefined> {
    return this.#within(withinMs, signal, async (both) => {
      const response = await this.#open({ path, text: undefined, headers: {} }, both)
      const text = await this.#whole(response)
      return response.statusCode === 200 ? text : undefined
    })
  }

  /**
   * The events of a stream, each parsed; `[DONE]` ends it. What was read when the stream breaks off has been given.
   *
   * @throws SkeinError ENGINE_CRASHED when there is no server or the stream breaks off; ENGINE_FAILED for what is no stream
   *   of events or beyond the bounds; what `refusal` makes of another status than 200.
   */
  async *stream(
    { path, body, framing, traceparent, hops, via }: StreamAsked,
    signal: AbortSignal,
  ): AsyncGenerator<unknown, void> {
    const headers: Readonly<Record<string, string>> = {
      ...(traceparent !== undefined && { traceparent }),
      ...(hops !== undefined && this.endpoint && { [HOPS_HEADER]: String(hops + 1) }),
      ...(via && this.endpoint && { [VIA_HEADER]: via.join(', ') }),
    }
    const sent = { path, text: textOf(body), headers }
    const response = await (this.endpoint ? this.#again(this.endpoint, sent, signal) : this.#open(sent, signal))
    let isOver = false
    try {
      if (response.statusCode !== 200) throw await this.#refusal(response)
      for await (const text of eventsIn(this.#texts(response), framing)) {
        if (text === '[DONE]') return void (isOver = true)
        const event = this.#parsed(text)
        isOver ||= isLast(event)
        yield event
      }
    } finally {
      // whoever leaves before the end does not want the rest to be made
      if (isOver && this.endpoint) this.#letEnd(response)
      else response.destroy()
    }
  }

  /** What little still comes is read, so that the connection can be used again. */
  #letEnd(response: IncomingMessage): void {
    const cancel = this.#clock.timer(END_MS, () => response.destroy())
    response.once('close', cancel)
    this.#detach.get(response)?.()
    response.on('error', () => {})
    response.resume()
  }

  /** The answer to `sent`, asked for again as long as its endpoint brings none, and nothing of one has come. */
  async #again(endpoint: Endpoint, sent: Sent, signal: AbortSignal): Promise<IncomingMessage> {
    const tries = endpoint.tries()
    for (;;) {
      tries.assertOpen(this.url)
      const { key } = endpoint
      let failure: SkeinError
      let waitMs: number | undefined
      try {
        const response = await this.#open(sent, signal)
        if (response.statusCode === 200) return response
        const { headers, statusCode: status = 0 } = response
        const body = await this.#json(response)
        failure = refusal(this.url, status, body, endpoint)
        // a request that is too long stays so, whatever the status
        const said = JSON.stringify(body ?? '').slice(0, SAID_LENGTH_MAX)
        if (failure.code !== 'CONTEXT_LENGTH_EXCEEDED') waitMs = tries.afterRefusal({ status, headers, said }, key)
      } catch (thrown) {
        signal.throwIfAborted()
        failure = thrown as SkeinError
        if (failure.code === 'ENGINE_CRASHED' && !isOfCertificate(failure.cause)) waitMs = tries.afterBreak()
      }
      if (waitMs === undefined) throw failure
      await sleep(this.#clock, waitMs, signal)
    }
  }

  /** Sends it; a kept connection that was closed meanwhile is replaced by a new one. */
  async #open(sent: Sent, signal: AbortSignal): Promise<IncomingMessage> {
    const stale = Symbol('stale')
    const opened = await this.#send(sent, signal, this.#agent, stale)
    return opened === stale ? this.#send(sent, signal, this.#freshAgent) : opened
  }

  /** @param stale what it resolves to where the connection was an old one that is closed. */
  #send<S>(sent: Sent, signal: AbortSignal, agent: HttpAgent, stale?: S): Promise<IncomingMessage | S>
  #send(sent: Sent, signal: AbortSignal, agent: HttpAgent): Promise<IncomingMessage>
  #send<S>(
    { path, text, headers }: Sent,
    signal: AbortSignal,
    agent: HttpAgent,
    stale?: S,
  ): Promise<IncomingMessage | S> {
    const key = this.endpoint ? this.endpoint.key : this.#key
    return new Promise((resolve, reject) => {
      const request = (this.#isPlain ? httpRequest : httpsRequest)(new URL(this.url + path), {
        method: text === undefined ? 'GET' : 'POST',
        agent,
        maxHeaderSize: HEADER_BYTES_MAX,
        headers: {
          accept: 'application/json, text/event-stream',
          'accept-encoding': 'identity',
          'user-agent': 'skein',
          [this.endpoint ? HOPS_HEADER : UPSTREAM_HEADER]: '1',
          ...headers,
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
          ...(text !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        },
      })
      const stopTimer = this.endpoint ? this.#expectAnswer(request) : () => {}
      // not by the option of the same name: it would hold for the connection too, which others use after this
      let answer: IncomingMessage | undefined
      const abort = (): void => void (answer ?? request).destroy(asReason(signal))
      const detach = (): void => signal.removeEventListener('abort', abort)
      signal.addEventListener('abort', abort, { once: true })
      request.once('close', detach)
      if (signal.aborted) abort()
      request.on('error', (cause) => {
        stopTimer()
        if (signal.aborted) reject(asReason(signal))
        else if (stale !== undefined && request.reusedSocket && isClosed(cause)) resolve(stale)
        else reject(cause instanceof SkeinError ? cause : this.#gone(cause))
      })
      request.on('response', (response) => {
        stopTimer()
        answer = response
        this.#detach.set(response, detach)
        resolve(response)
      })
      request.end(text)
    })
  }

  /** Ends a request whose connection, or whose answer, does not begin in time. */
  #expectAnswer(request: ClientRequest): CancelTimer {
    let cancel: CancelTimer = () => {}
    const expect = (what: string, ms: number): void => {
      cancel()
      cancel = this.#clock.timer(ms, () =>
        request.destroy(new SkeinError('ENGINE_CRASHED', `${this.url}: ${what} within ${ms} ms`)),
      )
    }
    expect('no connection', CONNECT_MS)
    request.on('socket', (socket) => {
      const connected = (): void => expect('no answer', HEADERS_MS)
      if (!socket.connecting) connected()
      else socket.once(this.#isPlain ? 'connect' : 'secureConnect', connected)
    })
    return () => cancel()
  }

  async #refusal(response: IncomingMessage): Promise<SkeinError> {
    return refusal(this.url, response.statusCode ?? 0, await this.#json(response), this.endpoint)
  }

  #within<T>(ms: number, signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = (): SkeinError => new SkeinError('ENGINE_CRASHED', `${this.url}: no answer within ${ms} ms`)
    return withDeadline(this.#clock, ms, late, signal, async (both) => {
      try {
        return await work(both)
      } catch (thrown) {
        both.throwIfAborted()
        throw thrown
      }
    })
  }

  async #whole(response: IncomingMessage): Promise<string> {
    let text = ''
    for await (const part of this.#texts(response)) {
      text += part
      if (text.length <= JSON_BYTES_MAX) continue
      response.destroy()
      throw new SkeinError('ENGINE_FAILED', `${this.url}: an answer of more than ${JSON_BYTES_MAX} bytes`)
    }
    return text
  }

  async #json(response: IncomingMessage): Promise<unknown> {
    const text = await this.#whole(response)
    try {
      return JSON.parse(text) as unknown
    } catch {
      return undefined
    }
  }

  #parsed(event: string): unknown {
    try {
      return JSON.parse(event) as unknown
    } catch (cause) {
      throw new SkeinError('ENGINE_FAILED', `${this.url}: an event that is no JSON`, { cause })
    }
  }

  async *#texts(response: IncomingMessage): AsyncGenerator<string, void> {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    let bytes = 0
    try {
      for await (const chunk of response.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        bytes += chunk.length
        if (bytes > STREAM_BYTES_MAX)
          throw new SkeinError('ENGINE_FAILED', `${this.url}: more than ${STREAM_BYTES_MAX} bytes of one answer`)
        yield decoder.decode(chunk, { stream: true })
      }
    } catch (thrown) {
      throw thrown instanceof SkeinError ? thrown : this.#gone(thrown)
    }
  }

  #gone(cause: unknown): SkeinError {
    const { code, message } = cause as { code?: unknown; message?: unknown }
    if (typeof code === 'string' && isOfCertificate(cause)) {
      const how = 'its certificate does not hold, or the clock of this machine is wrong'
      return new SkeinError('ENGINE_CRASHED', `${this.url}: ${how} (${printable(code)})`, { cause })
    }
    const why = printable(typeof code === 'string' ? code : String(message))
    return new SkeinError('ENGINE_CRASHED', `${this.url}: the server is gone (${why})`, { cause })
  }
}

const isKeyRefused = (status: number): boolean => status === 401 || status === 403

/** Of a kept connection that the server had closed. */
const isClosed = (cause: unknown): boolean =>
  ['ECONNRESET', 'EPIPE', 'ECONNABORTED'].includes((cause as { code?: string }).code ?? '')

/** Nothing that another try would change. */
const isOfCertificate = (cause: unknown): boolean =>
  /CERT|SELF_SIGNED|UNABLE_TO_(?:GET|VERIFY)|ERR_TLS|SIGNATURE/.test(
    (cause as { code?: string } | undefined)?.code ?? '',
  )

const textOf = (body: object | undefined): string | undefined => (body === undefined ? undefined : JSON.stringify(body))

const asReason = (signal: AbortSignal): Error => signal.reason as Error

/** Whether an event of OpenAI's form says why the answer ends: what comes behind it is counts and `[DONE]`. */
function isLast(event: unknown): boolean {
  const { choices } = (typeof event === 'object' && event !== null ? event : {}) as { choices?: unknown }
  const [choice] = Array.isArray(choices) ? (choices as unknown[]) : []
  return typeof (choice as { finish_reason?: unknown } | undefined)?.finish_reason === 'string'
}

/** Text of a server in a message: it reaches terminals. */
export const printable = (text: string): string => text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, SAID_LENGTH_MAX)

/** What a server says went wrong: `{"error": {"message": …}}`, `{"error": …}`, `{"message": …}`. */
export function saidBy(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null) return undefined
  const { error, message } = body as { error?: unknown; message?: unknown }
  if (typeof error === 'string') return printable(error)
  if (typeof error === 'object' && error !== null) return saidBy(error) ?? 'an error'
  return typeof message === 'string' ? printable(message) : undefined
}

const CONTEXT = /context|maximum.*length|too long|exceed/i

/**
 * What a status other than 200 means for an attempt.
 *
 * @param endpoint where the server is one: its keys are named elsewhere, and it stays when it lacks one model.
 */
export function refusal(url: string, status: number, body: unknown, endpoint?: Endpoint): SkeinError {
  const said = saidBy(body)
  const message = `${url}: status ${status}${said === undefined ? '' : ` (${said})`}`
  if (status === 429 || status === 503 || status === 529) return new SkeinError('NO_FREE_SLOT', message)
  if (status >= 300 && status < 400) return new SkeinError('ENGINE_FAILED', `${message}; redirects are not followed`)
  if (isKeyRefused(status)) {
    const how = endpoint ? 'its keys are named in cloud.json' : 'a key is given with --upstream URL,VARIABLE'
    return new SkeinError('ENGINE_FAILED', `${message}; ${how}`)
  }
  if (status === 508) return new SkeinError('HOPS_EXCEEDED', message)
  // the model or the server's API is not there any more: what is there is found out by loading again
  if (status === 404) return new SkeinError('ENGINE_CRASHED', message)
  if ((status === 400 || status === 413 || status === 500) && said !== undefined && CONTEXT.test(said))
    return new SkeinError('CONTEXT_LENGTH_EXCEEDED', message)
  return new SkeinError('ENGINE_FAILED', message)
}

/** The data of each event. @throws SkeinError ENGINE_FAILED for one beyond the bound. */
export async function* eventsIn(texts: AsyncIterable<string>, framing: Framing): AsyncGenerator<string, void> {
  let rest = ''
  let data: string[] = []
  let length = 0
  const tooLong = (): SkeinError =>
    new SkeinError('ENGINE_FAILED', `an event of more than ${EVENT_LENGTH_MAX} characters from an upstream server`)
  for await (const text of texts) {
    rest += text
    let start = 0
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', start)) {
      const line = rest.slice(start, end).replace(/\r$/, '')
      start = end + 1
      if (framing === 'lines') {
        if (line !== '') yield line
      } else if (line === '') {
        if (data.length > 0) yield data.join('\n')
        data = []
        length = 0
      } else if (line.startsWith('data:')) {
        data.push(line.slice(line.startsWith('data: ') ? 6 : 5))
        if ((length += line.length) > EVENT_LENGTH_MAX) throw tooLong()
      }
    }
    rest = rest.slice(start)
    if (rest.length > EVENT_LENGTH_MAX) throw tooLong()
  }
  // a stream that ended in order, with an event that did not
  if (framing === 'lines' && rest !== '') yield rest
  if (rest.startsWith('data:')) data.push(rest.slice('data:'.length))
  if (framing === 'sse' && data.length > 0) yield data.join('\n').trimStart()
}
