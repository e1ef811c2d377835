/**
 * Chunks of one member over HTTPS. The member's certificate came with the ticket, over a stream of the mesh: it is the
 * only one that is accepted, before a byte of the ticket is sent. Addresses are what the member says of itself, so numbers
 * alone are taken, and each is tried briefly.
 */
import { Agent, request as httpsRequest } from 'node:https'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { asSkeinError, LIMITS, SkeinError, type ErrorCode, type ModelDigest } from '../../../mesh/protocol/index.ts'
import { deadline, type CancelTimer, type Clock } from '../../../mesh/runtime/index.ts'
import type { Grant } from './asker.ts'
import { pemOf } from './certificate.ts'

const CODES: Readonly<Record<number, ErrorCode>> = {
  401: 'UNAUTHENTICATED',
  403: 'MODEL_SOURCE_REFUSED',
  404: 'MODEL_SOURCE_REFUSED',
  410: 'MODEL_SOURCE_REFUSED',
  416: 'MODEL_SOURCE_REFUSED',
}
const RETRY_SECONDS_MAX = 60

export class DirectPath {
  readonly #clock: Clock
  readonly #digest: ModelDigest
  readonly #agent = new Agent({ keepAlive: true, maxSockets: LIMITS.modelTransfersPerPeerMax, scheduling: 'fifo' })
  /** The address that answered last; `false` when none did. */
  #address: string | false | undefined

  constructor(clock: Clock, digest: ModelDigest) {
    this.#clock = clock
    this.#digest = digest
  }

  /**
   * The bytes `start` to `start + length`; `undefined` when no address can be reached.
   *
   * @throws SkeinError UNAUTHENTICATED when the ticket is over, MODEL_PULL_FAILED, MODEL_SOURCE_REFUSED; the signal's
   *   reason.
   */
  async read(grant: Grant, start: number, length: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { direct } = grant
    if (direct === undefined || this.#address === false) return undefined
    const known = this.#address
    const addresses = known === undefined ? direct.addresses.filter((each) => isIP(each) !== 0) : [known]
    for (const address of addresses) {
      try {
        const bytes = await this.#get(grant, address, start, length, signal)
        this.#address = address
        return bytes
      } catch (thrown) {
        signal.throwIfAborted()
        if (!(thrown instanceof Unreached)) throw asSkeinError(thrown, 'MODEL_PULL_FAILED')
        if (known !== undefined)
          throw new SkeinError('MODEL_PULL_FAILED', `${address} cannot be reached any more`, { cause: thrown })
      }
    }
    this.#address = false
    return undefined
  }

  close(): void {
    this.#agent.destroy()
  }

  #get(grant: Grant, host: string, start: number, length: number, outer: AbortSignal): Promise<Uint8Array> {
    const { certificate, port } = grant.direct!
    const stall = new Stall(this.#clock, outer)
    return new Promise<Uint8Array>((resolve, reject) => {
      const request = httpsRequest({
        host,
        port,
        path: `/model/${this.#digest}`,
        agent: this.#agent,
        ca: pemOf(certificate),
        // the certificate itself is the identity; what it is called says nothing
        checkServerIdentity: () => undefined,
        minVersion: 'TLSv1.3',
        headers: {
          authorization: `Bearer ${Buffer.from(grant.ticket).toString('base64url')}`,
          range: `bytes=${start}-${start + length - 1}`,
        },
        signal: stall.signal,
      })
      let isConnected = false
      watchConnection(request, stall, () => (isConnected = true))
      request.on('error', (cause) => reject(isConnected ? failed(host, cause) : new Unreached(cause)))
      request.on('response', (response) => {
        bodyOf(response, length, stall).then(resolve, (cause: unknown) => {
          request.destroy()
          reject(cause instanceof SkeinError ? cause : failed(host, cause))
        })
      })
      request.end()
    }).finally(() => stall.end())
  }
}

/** No connection came about: another address may do, or another way. */
class Unreached {
  readonly cause: unknown

  constructor(cause: unknown) {
    this.cause = cause
  }
}

/** A bound on the connection first, then on each silence. */
class Stall {
  readonly #clock: Clock
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal
  #cancel: CancelTimer

  constructor(clock: Clock, outer: AbortSignal) {
    this.#clock = clock
    this.#outer = outer
    this.#cancel = this.#bound(LIMITS.modelConnectMs)
    if (outer.aborted) this.#onAbort()
    outer.addEventListener('abort', this.#onAbort, { once: true })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Something came. */
  feed(): void {
    this.#cancel()
    this.#cancel = this.#bound(LIMITS.pullStallMs)
  }

  end(): void {
    this.#cancel()
    this.#outer.removeEventListener('abort', this.#onAbort)
  }

  readonly #onAbort = (): void => this.#controller.abort(this.#outer.reason)

  #bound(ms: number): CancelTimer {
    const late = (): SkeinError => new SkeinError('MODEL_PULL_FAILED', `no byte for ${ms} ms`)
    const { signal, cancel } = deadline(this.#clock, ms, late)
    signal.addEventListener('abort', () => this.#controller.abort(signal.reason), { once: true })
    return cancel
  }
}

function watchConnection(request: ClientRequest, stall: Stall, onConnected: () => void): void {
  const connected = (): void => {
    onConnected()
    stall.feed()
  }
  request.on('socket', (socket) => {
    if (request.reusedSocket) connected()
    else (socket as TLSSocket).once('secureConnect', connected)
  })
}

/** @throws SkeinError for another status than 206, and for another length than was asked for. */
async function bodyOf(response: IncomingMessage, length: number, stall: Stall): Promise<Uint8Array> {
  const { statusCode = 0, headers } = response
  if (statusCode !== 206) {
    response.resume()
    const retryAfter = Number(headers['retry-after'])
    throw new SkeinError(CODES[statusCode] ?? 'MODEL_PULL_FAILED', `the member answers with status ${statusCode}`, {
      ...(retryAfter >= 0 && { retryAfterSeconds: Math.min(RETRY_SECONDS_MAX, retryAfter) }),
    })
  }
  const bytes = Buffer.allocUnsafeSlow(length)
  let filled = 0
  for await (const part of response as AsyncIterable<Buffer>) {
    stall.feed()
    if (filled + part.length > length)
      throw new SkeinError('MODEL_PULL_FAILED', 'the member sends more than was asked for')
    filled += part.copy(bytes, filled)
  }
  if (filled < length) throw new SkeinError('MODEL_PULL_FAILED', `the response ended ${length - filled} bytes early`)
  return bytes
}

const failed = (host: string, cause: unknown): SkeinError =>
  new SkeinError('MODEL_PULL_FAILED', `${host}: ${asSkeinError(cause).message}`, { cause })
