/**
 * One HTTPS connection to a member, for one chunk after the other. The runtime's own HTTP client makes a new buffer of
 * each piece that comes, 64 and more for a MiB, and has the whole heap collected every few MiB because of that, which
 * costs more than the encryption. Here the socket reads into one buffer, from which the bytes go where they are wanted. It
 * understands no more of HTTP than what the door for models says (`range-server.ts`), and takes nothing else.
 */
import type { OnReadOpts } from 'node:net'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { LIMITS, SkeinError, type ErrorCode } from '../../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../../mesh/runtime/index.ts'

const READ_BYTES = 64 * 1024
const HEAD_BYTES_MAX = 8192
const END_OF_HEAD = '\r\n\r\n'
const STATUS = /^HTTP\/1\.1 (\d{3}) /
const RETRY_SECONDS_MAX = 60

const CODES: Readonly<Record<number, ErrorCode>> = {
  401: 'UNAUTHENTICATED',
  403: 'MODEL_SOURCE_REFUSED',
  404: 'MODEL_SOURCE_REFUSED',
  410: 'MODEL_SOURCE_REFUSED',
  416: 'MODEL_SOURCE_REFUSED',
}

/** Where a door is, and the one certificate that it may have. */
export interface DoorPlace {
  readonly host: string
  readonly port: number
  /** PEM. */
  readonly certificate: string
}

export interface ChunkRequest {
  readonly path: string
  readonly ticket: Uint8Array
  /** First byte of the file that is wanted. */
  readonly start: number
  /** As many as are wanted. */
  readonly into: Uint8Array
}

/** A request that is under way. */
interface Pending {
  readonly into: Uint8Array
  readonly resolve: () => void
  readonly reject: (error: SkeinError) => void
  head: string
  isBody: boolean
  filled: number
}

export class ChunkConnection {
  readonly #clock: Clock
  readonly #place: DoorPlace
  readonly #socket: TLSSocket
  #pending: Pending | undefined
  #ended: SkeinError | undefined
  #fedAtMs: number
  #cancelLook: CancelTimer = () => {}

  private constructor(clock: Clock, place: DoorPlace) {
    this.#clock = clock
    this.#place = place
    this.#fedAtMs = clock.nowMs()
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES)
    const options: ConnectionOptions & { readonly onread: OnReadOpts } = {
      host: place.host,
      port: place.port,
      ca: place.certificate,
      // the certificate itself is the identity; what it is called says nothing
      checkServerIdentity: () => undefined,
      minVersion: 'TLSv1.3',
      onread: { buffer, callback: (bytes) => this.#onRead(buffer.subarray(0, bytes)) },
    }
    this.#socket = connect(options)
    this.#socket.on('error', (cause) => this.#end(this.#failure(cause.message, cause)))
    this.#socket.on('close', () => this.#end(this.#failure('the connection ended early')))
  }

  /**
   * A connection to `place`, whose certificate is the one that was told.
   *
   * @throws SkeinError DIAL_FAILED when none comes about within `modelConnectMs`; the signal's reason.
   */
  static async open(clock: Clock, place: DoorPlace, signal: AbortSignal): Promise<ChunkConnection> {
    const connection = new ChunkConnection(clock, place)
    try {
      await connection.#connected(signal)
      return connection
    } catch (thrown) {
      connection.close()
      signal.throwIfAborted()
      throw new SkeinError('DIAL_FAILED', `${place.host} cannot be reached`, { cause: thrown })
    }
  }

  get isOpen(): boolean {
    return this.#ended === undefined
  }

  /** Whether it leads to `place`. */
  leadsTo({ host, port, certificate }: DoorPlace): boolean {
    return this.#place.host === host && this.#place.port === port && this.#place.certificate === certificate
  }

  /**
   * Fills `into`, to which nothing is written once this has settled. One at a time; what fails ends the connection.
   *
   * @throws SkeinError MODEL_PULL_FAILED, after silence of `pullStallMs` too, MODEL_SOURCE_REFUSED, UNAUTHENTICATED when
   *   the ticket is over; the signal's reason.
   */
  async read({ path, ticket, start, into }: ChunkRequest, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#ended !== undefined) throw this.#ended
    const onAbort = (): void => this.#end(this.#failure('nothing more is wanted'))
    signal.addEventListener('abort', onAbort, { once: true })
    this.#fedAtMs = this.#clock.nowMs()
    this.#look()
    try {
      await new Promise<void>((resolve, reject) => {
        this.#pending = { into, resolve, reject, head: '', isBody: false, filled: 0 }
        this.#socket.write(
          `GET ${path} HTTP/1.1\r\nhost: ${this.#place.host}\r\n` +
            `authorization: Bearer ${Buffer.from(ticket).toString('base64url')}\r\n` +
            `range: bytes=${start}-${start + into.length - 1}\r\n\r\n`,
        )
      })
    } catch (thrown) {
      signal.throwIfAborted()
      throw thrown
    } finally {
      this.#pending = undefined
      this.#cancelLook()
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Does not throw. */
  close(): void {
    this.#end(this.#failure('nothing more is wanted'))
  }

  #connected(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = (): void => reject(this.#failure(`no connection within ${LIMITS.modelConnectMs} ms`))
      const cancel = this.#clock.timer(LIMITS.modelConnectMs, late)
      const settle = (): void => {
        cancel()
        signal.removeEventListener('abort', late)
      }
      if (signal.aborted) late()
      signal.addEventListener('abort', late, { once: true })
      this.#socket.once('secureConnect', () => {
        settle()
        resolve()
      })
      this.#socket.once('close', () => {
        settle()
        reject(this.#ended ?? this.#failure('the connection ended early'))
      })
    })
  }

  /** Looks whether something came lately, and again when it would be too long ago. */
  readonly #look = (): void => {
    const leftMs = this.#fedAtMs + LIMITS.pullStallMs - this.#clock.nowMs()
    if (leftMs <= 0) return this.#end(this.#failure(`no byte for ${LIMITS.pullStallMs} ms`))
    this.#cancelLook()
    this.#cancelLook = this.#clock.timer(leftMs, this.#look)
  }

  #onRead(bytes: Buffer): boolean {
    const pending = this.#pending
    this.#fedAtMs = this.#clock.nowMs()
    if (this.#ended !== undefined) return false
    try {
      if (pending === undefined) throw this.#failure('the member sends what was not asked for')
      this.#take(pending, pending.isBody ? bytes : this.#readHead(pending, bytes))
    } catch (thrown) {
      this.#end(thrown as SkeinError)
    }
    return this.#ended === undefined
  }

  #take(pending: Pending, bytes: Buffer): void {
    const { into, filled } = pending
    if (filled + bytes.length > into.length) throw this.#failure('the member sends more than was asked for')
    pending.filled += bytes.copy(into, filled)
    if (pending.isBody && pending.filled === into.length) {
      this.#pending = undefined
      pending.resolve()
    }
  }

  /** What follows the head in `bytes`. @throws SkeinError for another answer than the bytes that are wanted. */
  #readHead(pending: Pending, bytes: Buffer): Buffer {
    const before = pending.head.length
    pending.head += bytes.toString('latin1')
    const end = pending.head.indexOf(END_OF_HEAD)
    if (end < 0 && pending.head.length <= HEAD_BYTES_MAX) return bytes.subarray(bytes.length)
    const status = Number(STATUS.exec(pending.head)?.[1])
    if (end < 0 || !Number.isInteger(status)) throw this.#failure('what the member answers is no HTTP')
    const head = pending.head.slice(0, end)
    if (status !== 206) throw refusalOf(status, headerOf(head, 'retry-after'))
    const length = Number(headerOf(head, 'content-length'))
    if (length !== pending.into.length)
      throw this.#failure(`the member gives ${length} bytes where ${pending.into.length} were asked for`)
    pending.isBody = true
    return bytes.subarray(end + END_OF_HEAD.length - before)
  }

  #end(error: SkeinError): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    this.#cancelLook()
    this.#socket.destroy()
    this.#pending?.reject(error)
    this.#pending = undefined
  }

  #failure(what: string, cause?: unknown): SkeinError {
    return new SkeinError('MODEL_PULL_FAILED', `${this.#place.host}: ${what}`, {
      ...(cause !== undefined && { cause }),
    })
  }
}

const headerOf = (head: string, name: string): string | undefined =>
  head
    .split('\r\n')
    .find((line) => line.toLowerCase().startsWith(`${name}:`))
    ?.slice(name.length + 1)
    .trim()

function refusalOf(status: number, retryAfter: string | undefined): SkeinError {
  const retryAfterSeconds = Number(retryAfter)
  return new SkeinError(CODES[status] ?? 'MODEL_PULL_FAILED', `the member answers with status ${status}`, {
    ...(retryAfterSeconds >= 0 && { retryAfterSeconds: Math.min(RETRY_SECONDS_MAX, retryAfterSeconds) }),
  })
}
