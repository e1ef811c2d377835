/**
 * TLS of the gateway: the certificate that is shown, exchanged without a break when there is a new one; and an answer to
 * who speaks plain HTTP at an address of TLS, since a connection that is merely cut tells nobody what is wrong.
 */
import { Server as TlsServer } from 'node:https'
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger } from '../../mesh/runtime/index.ts'
import type { TlsPair, TlsSource } from '../trust/index.ts'
import { errorBody } from './openai-errors.ts'

export const MIN_TLS = 'TLSv1.2'

export interface TlsKeeperComponents {
  readonly clock: Clock
  readonly log: Logger
}

/** Shows the certificate of `source` on its servers. */
export class TlsKeeper {
  readonly #components: TlsKeeperComponents
  readonly #source: TlsSource
  readonly #servers: readonly TlsServer[]
  #pair: TlsPair | undefined
  #cancel: CancelTimer | undefined
  #isStopped = false
  /** What was said last, so that it is not said every few seconds. */
  #failure: string | undefined
  #warnedAtMs = -Infinity

  constructor(components: TlsKeeperComponents, source: TlsSource, servers: readonly TlsServer[]) {
    this.#components = components
    this.#source = source
    this.#servers = servers
  }

  /** Names that the certificate is good for; none before the start. */
  get names(): readonly string[] {
    return this.#pair?.names ?? []
  }

  /** Shows the first certificate. @throws SkeinError CONFIG_INVALID when there is none that can be shown. */
  async start(): Promise<void> {
    this.#show(await this.#source.current())
    this.#lookAgain()
  }

  stop(): void {
    this.#isStopped = true
    this.#cancel?.()
  }

  /** Takes a certificate that is new. One that cannot be used changes nothing: what is shown goes on being shown. */
  async check(): Promise<void> {
    try {
      this.#show(await this.#source.current())
      this.#failure = undefined
    } catch (error) {
      const { message } = error as Error
      if (message !== this.#failure)
        this.#components.log.error({ cause: message }, 'the new certificate is not used; the one before is shown on')
      this.#failure = message
    }
    this.#warn()
  }

  #lookAgain(): void {
    if (this.#isStopped) return
    this.#cancel = this.#components.clock.timer(
      LIMITS.tlsCheckMs,
      () => void this.check().then(() => this.#lookAgain()),
    )
  }

  #show(pair: TlsPair): void {
    if (pair === this.#pair) return
    const { key, cert, names, untilMs } = pair
    for (const server of this.#servers) server.setSecureContext({ key, cert, minVersion: MIN_TLS })
    this.#pair = pair
    this.#warnedAtMs = -Infinity
    this.#components.log.info({ names, until: new Date(untilMs).toISOString() }, 'shows a certificate')
    this.#warn()
  }

  #warn(): void {
    const { clock, log } = this.#components
    const leftMs = (this.#pair?.untilMs ?? Infinity) - clock.wallMs()
    if (this.#source.renewsItself || leftMs > LIMITS.tlsWarningMs) return
    if (clock.nowMs() - this.#warnedAtMs < DAY_MS) return
    this.#warnedAtMs = clock.nowMs()
    const days = Math.max(0, Math.floor(leftMs / DAY_MS))
    log.warn({ days }, 'the certificate of the gateway expires soon; put a new one in its place')
  }
}

const DAY_MS = 86_400_000
/** The first byte of whoever speaks TLS: a record of its handshake. */
const HANDSHAKE = 0x16
/** What a client still sends behind its request is read away this long, so that it gets to read the answer. */
const LINGER_MS = 1000

export interface PlainHttpInit {
  readonly clock: Clock
  /** A connection that says nothing is cut after this long. */
  readonly silenceMs: number
  readonly onPlain: () => void
}

export const isTlsServer = (server: Server): server is TlsServer => server instanceof TlsServer

/**
 * Looks at the first byte of each connection, and lets only TLS through to `server`.
 *
 * @returns how to cut all that are open: the server itself knows only of those that have come to HTTP.
 */
export function guardTls(server: TlsServer, { clock, silenceMs, onPlain }: PlainHttpInit): () => void {
  const open = new Set<Socket>()
  const take = server.listeners('connection') as ((socket: Socket) => void)[]
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    open.add(socket)
    const cancel = clock.timer(silenceMs, () => socket.destroy())
    const ignore = (): void => undefined
    socket.on('error', ignore).once('close', () => {
      cancel()
      open.delete(socket)
    })
    socket.once('readable', () => {
      cancel()
      const first = socket.read() as Buffer | null
      if (first === null) return void socket.destroy()
      socket.unshift(first)
      if (first[0] === HANDSHAKE) return take.forEach((listener) => listener.call(server, socket))
      onPlain()
      refusePlain(socket, clock)
    })
  })
  return () => {
    for (const socket of open) socket.destroy()
  }
}

/** No redirect: it would let clients go on sending keys in clear, unnoticed. */
function refusePlain(socket: Socket, clock: Clock): void {
  const failure = new SkeinError('INVALID_REQUEST', 'this address speaks TLS: ask it with https:// in place of http://')
  const body = JSON.stringify(errorBody(failure, ''))
  socket.end(
    'HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\n' +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
  socket.resume()
  const cancel = clock.timer(LINGER_MS, () => socket.destroy())
  socket.once('close', cancel)
}

/** Of the names of a certificate, the one by which `host`, an address of this machine, is best asked. */
export function nameFor(host: string, names: readonly string[]): string {
  if (names.some((name) => sameAddress(name, host))) return host
  if (names.includes('localhost') && (host === '127.0.0.1' || host === '::1')) return 'localhost'
  return names.find((name) => !name.startsWith('*')) ?? host
}

/** `::1` and `0:0:0:0:0:0:0:1` are one. */
const sameAddress = (a: string, b: string): boolean => canonical(a) === canonical(b)
const canonical = (name: string): string =>
  name.includes(':') ? (URL.parse(`http://[${name}]`)?.hostname ?? name) : name
