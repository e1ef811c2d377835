/**
 * The HTTPS door of a node for the bytes of its models: `GET /model/sha256:<digits>` with a `Range`, and a ticket as
 * bearer. It knows no other address, and nobody without a ticket learns whether a model is here. libp2p's encryption runs
 * in JavaScript streams and costs several times as much for each byte; here the runtime's own TLS does the work, and one
 * session carries all chunks.
 */
import { createServer, type Server } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  asModelDigest,
  asSkeinError,
  LIMITS,
  SkeinError,
  type ErrorCode,
  type ModelDigest,
} from '../../../mesh/protocol/index.ts'
import { withDeadline, type Clock, type Logger } from '../../../mesh/runtime/index.ts'
import { BufferPool } from '../store/index.ts'
import type { Pacer } from './pacer.ts'
import type { SharedFile, SharedFiles } from './shared-files.ts'
import { TICKET_BYTES, type Ticket, type Tickets } from './tickets.ts'

/** Half a millisecond of encryption on a slow core: while answers stream, their tokens pass in between. */
const SLICE_BYTES = 128 * 1024
/** Read at once, while the one before is on its way: each read is a visit to the thread pool. */
const BLOCK_BYTES = 512 * 1024
const PATH = /^\/model\/(sha256:[0-9a-f]{64})$/
const BEARER = /^Bearer ([\w-]{43})$/
const RANGE = /^bytes=(\d{1,16})-(\d{1,16})?$/
const HEADERS_MS = 10_000
const KEEP_ALIVE_MS = 30_000
const CONNECTIONS_MAX = 4 * LIMITS.modelTransfersMax

export interface RangeServerComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly files: SharedFiles
  readonly tickets: Tickets
  readonly pacer: Pacer
}

const STATUS: Partial<Record<ErrorCode, number>> = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  MODEL_NOT_STORED: 404,
  METHOD_NOT_ALLOWED: 405,
  MODEL_FILE_INVALID: 410,
  INVALID_REQUEST: 416,
  SATURATED: 503,
}

interface Wanted {
  readonly start: number
  readonly end: number
  readonly isPart: boolean
}

export class RangeServer {
  readonly #components: RangeServerComponents
  readonly #server: Server
  readonly #blocks = new BufferPool(2 * BLOCK_BYTES, LIMITS.modelTransfersMax)
  /** Bytes of models that were sent. */
  sentBytes = 0

  constructor(components: RangeServerComponents) {
    this.#components = components
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        components.log.debug({ err: asSkeinError(error) }, 'a transfer ended early')
        response.destroy()
      })
    })
    this.#server.maxConnections = CONNECTIONS_MAX
    this.#server.headersTimeout = HEADERS_MS
    this.#server.requestTimeout = HEADERS_MS
    this.#server.keepAliveTimeout = KEEP_ALIVE_MS
    this.#server.on('tlsClientError', () => {})
  }

  /** Shows `certificate`, each in PEM. @throws SkeinError PORT_IN_USE, LISTEN_FAILED. */
  start(host: string, port: number, { key, cert }: { key: string; cert: string }): Promise<void> {
    this.#server.setSecureContext({ key, cert, minVersion: 'TLSv1.3' })
    return new Promise((resolve, reject) => {
      const onError = (cause: NodeJS.ErrnoException): void => {
        const code = cause.code === 'EADDRINUSE' ? 'PORT_IN_USE' : 'LISTEN_FAILED'
        reject(new SkeinError(code, `models cannot be shared on ${host}, port ${port}: ${cause.message}`, { cause }))
      }
      this.#server.once('error', onError)
      this.#server.listen(port, host, () => {
        this.#server.off('error', onError)
        this.#server.on('error', (err) => this.#components.log.warn({ err }, 'the door for models'))
        resolve()
      })
    })
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0
  }

  /** Cuts what is being sent: whoever fetches goes on elsewhere. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume()
    try {
      const { digest, ticket } = this.#admit(request)
      const file = await this.#components.files.open(digest)
      const wanted = rangeOf(request.headers.range, file.sizeBytes)
      const done = this.#components.pacer.begin(ticket.peer)
      try {
        await this.#send(file, wanted, response)
      } finally {
        done()
      }
    } catch (thrown) {
      if (response.headersSent) throw thrown
      refuse(response, asSkeinError(thrown))
    }
  }

  /** @throws SkeinError METHOD_NOT_ALLOWED, UNAUTHENTICATED, FORBIDDEN, NOT_FOUND: a stranger is told nothing but 401. */
  #admit({ method, url = '', headers }: IncomingMessage): { digest: ModelDigest; ticket: Ticket } {
    if (method !== 'GET') throw new SkeinError('METHOD_NOT_ALLOWED', 'there is only GET')
    const text = BEARER.exec(headers.authorization ?? '')?.[1]
    if (text === undefined) throw new SkeinError('UNAUTHENTICATED', 'a ticket is required')
    const secret = Buffer.from(text, 'base64url')
    if (secret.length !== TICKET_BYTES) throw new SkeinError('UNAUTHENTICATED', 'a ticket is required')
    const ticket = this.#components.tickets.check(secret, {})
    const path = PATH.exec(url)?.[1]
    if (path === undefined) throw new SkeinError('NOT_FOUND', 'there is nothing at that address')
    const digest = asModelDigest(path)
    if (digest !== ticket.digest) throw new SkeinError('FORBIDDEN', 'the ticket is for another model')
    return { digest, ticket }
  }

  async #send(file: SharedFile, { start, end, isPart }: Wanted, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    response.on('close', () => gone.abort(new SkeinError('CLIENT_CLOSED', 'the member hung up')))
    const headers = {
      'content-type': 'application/octet-stream',
      'content-length': String(end - start),
      'accept-ranges': 'bytes',
      ...(isPart && { 'content-range': `bytes ${start}-${end - 1}/${file.sizeBytes}` }),
    }
    response.writeHead(isPart ? 206 : 200, headers)
    const buffer = await this.#blocks.take()
    try {
      await this.#sendBlocks(file, { start, end }, buffer, response, gone.signal)
      this.#blocks.give(buffer)
    } catch (thrown) {
      // some of it may still be on its way out
      this.#blocks.lose()
      throw thrown
    } finally {
      if (this.#components.pacer.running === 1) this.#blocks.clear()
    }
    response.end()
  }

  async #sendBlocks(
    file: SharedFile,
    { start, end }: { readonly start: number; readonly end: number },
    buffer: Buffer,
    response: ServerResponse,
    gone: AbortSignal,
  ): Promise<void> {
    const { pacer } = this.#components
    const halves = [buffer.subarray(0, BLOCK_BYTES), buffer.subarray(BLOCK_BYTES)]
    const read = (at: number): Promise<Buffer> => file.read(halves[turn]!, at, Math.min(BLOCK_BYTES, end - at))
    let turn = 0
    let reading = read(start)
    for (let at = start; at < end; at += BLOCK_BYTES) {
      const block = await reading
      turn ^= 1
      reading = at + BLOCK_BYTES < end ? read(at + BLOCK_BYTES) : reading
      // thrown when its turn comes, unless something else was before
      reading.catch(() => {})
      for (let offset = 0; offset < block.length;) {
        const slice = block.subarray(offset, offset + (pacer.isBusy ? SLICE_BYTES : BLOCK_BYTES))
        offset += slice.length
        await pacer.pace(slice.length, gone)
        gone.throwIfAborted()
        const sent = new Promise<void>((resolve) => void response.write(slice, () => resolve()))
        this.sentBytes += slice.length
        await this.#inTime(sent, gone)
      }
    }
  }

  /** @throws SkeinError CLIENT_STALLED when nothing is read for `pullStallMs`; the signal's reason. */
  #inTime(sent: Promise<void>, gone: AbortSignal): Promise<void> {
    const late = (): SkeinError => new SkeinError('CLIENT_STALLED', 'the member does not read')
    return withDeadline(
      this.#components.clock,
      LIMITS.pullStallMs,
      late,
      gone,
      (signal) =>
        new Promise((resolve, reject) => {
          const onAbort = (): void => reject(asSkeinError(signal.reason))
          if (signal.aborted) return onAbort()
          signal.addEventListener('abort', onAbort, { once: true })
          void sent.then(() => {
            signal.removeEventListener('abort', onAbort)
            resolve()
          })
        }),
    )
  }
}

/** @throws SkeinError INVALID_REQUEST for a range that the file does not have, or for several. */
function rangeOf(header: string | undefined, sizeBytes: number): Wanted {
  if (header === undefined) return { start: 0, end: sizeBytes, isPart: false }
  const [, first, last] = RANGE.exec(header) ?? []
  const start = Number(first)
  const end = Math.min(last === undefined ? sizeBytes : Number(last) + 1, sizeBytes)
  if (first === undefined || start >= end)
    throw new SkeinError('INVALID_REQUEST', `the model has ${sizeBytes} bytes, and no such range`)
  return { start, end, isPart: true }
}

function refuse(response: ServerResponse, error: SkeinError): void {
  const { code, retryAfterSeconds } = error
  response.writeHead(STATUS[code] ?? 500, {
    'content-type': 'application/json',
    ...(code === 'UNAUTHENTICATED' && { 'www-authenticate': 'Bearer' }),
    ...(retryAfterSeconds !== undefined && { 'retry-after': String(Math.ceil(retryAfterSeconds)) }),
  })
  response.end(JSON.stringify({ error: { code, message: error.message } }))
}
