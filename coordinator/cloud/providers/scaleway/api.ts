/**
 * Exchanges with Scaleway's HTTP API. Everything that comes back is bounded, no redirect is followed, and no proxy of the
 * environment stands between: the key goes to the one address that is meant.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Clock } from '../../../../mesh/runtime/index.ts'
import { bounded, noCapacity, printable, refused, unavailable } from '../bounds.ts'
import { SkeinError } from '../../../../mesh/protocol/index.ts'

const URL_OF_SCALEWAY = 'https://api.scaleway.com'
/** A page of a hundred machines stays far below. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024
const HEADER_BYTES_MAX = 16 * 1024
const RETRY_AFTER_SECONDS_MAX = 600

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE'

export interface Asked {
  readonly method: Method
  /** From the root on, query included. */
  readonly path: string
  /** Sent as JSON; a text as it is. */
  readonly body?: object | string
}

export interface ScalewayAnswer {
  readonly status: number
  /** `undefined` when there is none, or no JSON. */
  readonly body: unknown
}

export interface ScalewayApiInit {
  readonly endpoint: string | undefined
  readonly key: () => string
  readonly clock: Clock
}

export class ScalewayApi {
  readonly #url: string
  readonly #key: () => string
  readonly #clock: Clock

  constructor({ endpoint = URL_OF_SCALEWAY, key, clock }: ScalewayApiInit) {
    this.#url = endpoint.replace(/\/$/, '')
    this.#key = key
    this.#clock = clock
  }

  /**
   * One exchange. An answer of status 404 is given back, since it says that something is not there.
   *
   * @throws SkeinError CLOUD_NO_CAPACITY, CLOUD_REFUSED or CLOUD_UNAVAILABLE for every other status that is no success.
   */
  async ask(asked: Asked, signal: AbortSignal): Promise<ScalewayAnswer> {
    const what = `Scaleway ${asked.method} ${asked.path.split('?')[0]}`
    const answer = await bounded(this.#clock, what, signal, async (both) => {
      try {
        return await this.#exchange(asked, what, both)
      } catch (thrown) {
        both.throwIfAborted()
        throw thrown
      }
    })
    if ((answer.status >= 200 && answer.status < 300) || answer.status === 404) return answer
    throw refusalOf(what, answer)
  }

  async #exchange({ method, path, body }: Asked, what: string, signal: AbortSignal): Promise<Exchanged> {
    const url = new URL(this.#url + path)
    const isPlain = url.protocol === 'http:'
    const sent = typeof body === 'object' ? JSON.stringify(body) : body
    const key = this.#key()
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = (isPlain ? httpRequest : httpsRequest)(url, {
        method,
        signal,
        agent: isPlain ? new HttpAgent({ keepAlive: false }) : new HttpsAgent({ keepAlive: false }),
        maxHeaderSize: HEADER_BYTES_MAX,
        headers: {
          accept: 'application/json',
          'accept-encoding': 'identity',
          'user-agent': 'skein',
          'x-auth-token': key,
          ...(sent !== undefined && {
            'content-type': typeof body === 'object' ? 'application/json' : 'text/plain',
            'content-length': Buffer.byteLength(sent),
          }),
        },
      })
      request.on('error', (cause) => reject(goneOf(what, cause)))
      request.on('response', resolve)
      request.end(sent)
    })
    const text = await readAll(response, what)
    return { status: response.statusCode ?? 0, body: jsonOf(text), retryAfter: response.headers['retry-after'] }
  }
}

interface Exchanged extends ScalewayAnswer {
  readonly retryAfter: string | undefined
}

const goneOf = (what: string, cause: unknown): SkeinError =>
  unavailable(
    `${what}: no answer (${printable(String((cause as { code?: unknown }).code ?? cause))})`,
    undefined,
    cause,
  )

async function readAll(response: IncomingMessage, what: string): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > ANSWER_BYTES_MAX) throw unavailable(`${what}: an answer of more than ${ANSWER_BYTES_MAX} bytes`)
      chunks.push(chunk)
    }
  } catch (thrown) {
    throw thrown instanceof SkeinError ? thrown : goneOf(what, thrown)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Types of Scaleway's errors after which the same call may succeed a little later. */
const PASSING = new Set(['too_many_requests', 'transient_state', 'locked', 'resource_still_in_use'])

/** The error of the port for a status that is no success. Scaleway's errors say their `type`; statuses alone say too little. */
function refusalOf(what: string, { status, body, retryAfter }: Exchanged): SkeinError {
  const { type, message } = (body ?? {}) as { readonly type?: unknown; readonly message?: unknown }
  const said = typeof message === 'string' ? ` (${printable(message)})` : ''
  const told = `${what}: status ${status}${typeof type === 'string' ? ` ${printable(type)}` : ''}${said}`
  if (type === 'out_of_stock') return noCapacity(told)
  if (status === 429 || (typeof type === 'string' && PASSING.has(type)))
    return unavailable(told, secondsOf(retryAfter, body))
  return status >= 400 && status < 500 ? refused(told) : unavailable(told, secondsOf(retryAfter, body))
}

function secondsOf(retryAfter: string | undefined, body: unknown): number | undefined {
  const { reset_seconds: reset } = (body ?? {}) as { readonly reset_seconds?: unknown }
  const seconds = /^\d{1,6}$/.test(retryAfter ?? '') ? Number(retryAfter) : reset
  return typeof seconds === 'number' && seconds >= 0 ? Math.min(Math.ceil(seconds), RETRY_AFTER_SECONDS_MAX) : undefined
}
