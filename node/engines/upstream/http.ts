/**
 * Requests to a server that may be broken, or no model server at all: everything that it sends is bounded, no redirect is
 * followed, and no proxy of the environment stands between, which is why this is not `fetch`.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { SkeinError, UPSTREAM_HEADER } from '../../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../../mesh/runtime/index.ts'
import type { NamedServer } from './address.ts'

/** Of an answer that is one JSON text: a list of a few hundred models, or the embeddings of one request. */
const JSON_BYTES_MAX = 16 * 1024 * 1024
const HEADER_BYTES_MAX = 16 * 1024
/** Of one event: tokens with their neighbours, and the last one, with what was asked. */
const EVENT_LENGTH_MAX = 8 * 1024 * 1024
const STREAM_BYTES_MAX = 512 * 1024 * 1024
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
}

/** One server. Connections are not kept: the first request after a restart would fail on an old one. */
export class UpstreamClient {
  readonly url: string
  readonly #key: string | undefined
  readonly #clock: Clock

  constructor(clock: Clock, server: NamedServer) {
    this.url = server.url
    this.#key = server.key
    this.#clock = clock
  }

  /** @throws SkeinError ENGINE_CRASHED when no whole answer comes in time, ENGINE_FAILED when it is too large. */
  ask(path: string, { body, withinMs, signal }: AskInit): Promise<Answered> {
    const late = (): SkeinError => new SkeinError('ENGINE_CRASHED', `${this.url}: no answer within ${withinMs} ms`)
    return withDeadline(this.#clock, withinMs, late, signal, async (both) => {
      try {
        const response = await this.#open(path, body, both)
        return { status: response.statusCode ?? 0, headers: response.headers, body: await this.#json(response) }
      } catch (thrown) {
        both.throwIfAborted()
        throw thrown
      }
    })
  }

  /**
   * The events of a stream, each parsed; `[DONE]` ends it. What was read when the stream breaks off has been given.
   *
   * @throws SkeinError ENGINE_CRASHED when there is no server or the stream breaks off; ENGINE_FAILED for what is no stream
   *   of events or beyond the bounds; what `refusal` makes of another status than 200.
   */
  async *stream({ path, body, framing, traceparent }: StreamAsked, signal: AbortSignal): AsyncGenerator<unknown, void> {
    const response = await this.#open(path, body, signal, traceparent === undefined ? {} : { traceparent })
    try {
      if (response.statusCode !== 200) throw refusal(this.url, response.statusCode ?? 0, await this.#json(response))
      for await (const event of eventsIn(this.#texts(response), framing)) {
        if (event === '[DONE]') return
        yield this.#parsed(event)
      }
    } finally {
      response.destroy()
    }
  }

  #open(
    path: string,
    body: object | undefined,
    signal: AbortSignal,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<IncomingMessage> {
    const url = new URL(this.url + path)
    const isPlain = url.protocol === 'http:'
    const sent = body === undefined ? undefined : JSON.stringify(body)
    return new Promise((resolve, reject) => {
      const request = (isPlain ? httpRequest : httpsRequest)(url, {
        method: sent === undefined ? 'GET' : 'POST',
        agent: isPlain ? new HttpAgent({ keepAlive: false }) : new HttpsAgent({ keepAlive: false }),
        maxHeaderSize: HEADER_BYTES_MAX,
        signal,
        headers: {
          accept: 'application/json, text/event-stream',
          'accept-encoding': 'identity',
          'user-agent': 'skein',
          [UPSTREAM_HEADER]: '1',
          ...headers,
          ...(this.#key !== undefined && { authorization: `Bearer ${this.#key}` }),
          ...(sent !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(sent) }),
        },
      })
      request.on('error', (cause) => reject(signal.aborted ? asReason(signal) : this.#gone(cause)))
      request.on('response', resolve)
      request.end(sent)
    })
  }

  async #json(response: IncomingMessage): Promise<unknown> {
    let text = ''
    for await (const part of this.#texts(response)) {
      text += part
      if (text.length > JSON_BYTES_MAX)
        throw new SkeinError('ENGINE_FAILED', `${this.url}: an answer of more than ${JSON_BYTES_MAX} bytes`)
    }
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
      for await (const chunk of response as AsyncIterable<Buffer>) {
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
    const why = printable(typeof code === 'string' ? code : String(message))
    return new SkeinError('ENGINE_CRASHED', `${this.url}: the server is gone (${why})`, { cause })
  }
}

const asReason = (signal: AbortSignal): Error => signal.reason as Error

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

/** What a status other than 200 means for an attempt. */
export function refusal(url: string, status: number, body: unknown): SkeinError {
  const said = saidBy(body)
  const message = `${url}: status ${status}${said === undefined ? '' : ` (${said})`}`
  if (status === 429 || status === 503) return new SkeinError('NO_FREE_SLOT', message)
  if (status >= 300 && status < 400) return new SkeinError('ENGINE_FAILED', `${message}; redirects are not followed`)
  if (status === 401 || status === 403)
    return new SkeinError('ENGINE_FAILED', `${message}; a key is given with --upstream URL,VARIABLE`)
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
