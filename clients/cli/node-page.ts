/**
 * The page of a node: the same as the coordinator's, at this machine's own loopback, where a browser lets it work without a
 * network and without certificates. What it asks of the mesh is passed on to the coordinator's gateway.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { checkSameSite, Page, type PageAnswer } from '../../mesh/page/index.ts'
import { asSkeinError, LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Lifecycle, Logger, Startable } from '../../mesh/runtime/index.ts'
import type { NodeAgent } from '../../node/index.ts'
import { DEFAULT_HTTP } from './coordinator-client.ts'
import { gatewayChoice, type GatewayChoice } from './origins.ts'
import { passOn } from './passing-on.ts'
import type { Base, Parts } from './running.ts'
import { hostPort, type HostPort, type ServeOptions } from './serve-options.ts'

/** What the page asks of a gateway. */
const API = /^\/(?:v1|mesh\/v1|api|health|mcp)(?:[/?]|$)/
/** Ports that are tried, from the usual one on: another Skein of this machine may have some. */
const PORTS_TRIED = 10
/** A person's browsers, each with some tabs. */
const CONNECTIONS_MAX = 256

export interface NodePageComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly page?: Page
}

export interface NodePageInit {
  /** Exactly there; the first free port from the usual one on when absent. */
  readonly at?: HostPort
  readonly usual: HostPort
  readonly gateway: GatewayChoice
}

export class NodePage implements Startable {
  readonly name = 'page'
  readonly #components: NodePageComponents
  readonly #init: NodePageInit
  readonly #page: Page
  readonly #server: Server

  constructor(components: NodePageComponents, init: NodePageInit) {
    this.#components = { ...components, log: components.log.scope('page') }
    this.#init = init
    this.#page = components.page ?? new Page()
    this.#server = createServer(
      { maxHeaderSize: LIMITS.httpHeaderBytesMax },
      (request, response) => void this.#answer(request, response),
    )
    this.#server.maxConnections = CONNECTIONS_MAX
    // an upload, or a question at the end of a long thought, may take longer than Node's five minutes
    this.#server.requestTimeout = LIMITS.uploadMs
  }

  /** Where it is, such as `http://127.0.0.1:7337`; empty before it listens. */
  get url(): string {
    const at = this.#server.address() as AddressInfo | null
    if (at === null) return ''
    return `http://${at.address.includes(':') ? `[${at.address}]` : at.address}:${at.port}`
  }

  /**
   * Without an address of its own it stays away where all that it tries are taken: a node is there for others first.
   *
   * @throws SkeinError PORT_IN_USE, LISTEN_FAILED for an address that was named.
   */
  async start(): Promise<void> {
    const { at, usual } = this.#init
    const ports = at ? [at.port] : Array.from({ length: PORTS_TRIED }, (_, more) => usual.port + more)
    const { host } = at ?? usual
    for (const port of ports)
      try {
        await this.#listen({ host, port })
        return
      } catch (cause) {
        this.#components.log.debug({ host, port, err: cause }, 'the page is not there')
        if (at) throw listenError(cause as NodeJS.ErrnoException, at)
      }
    this.#components.log.info({ host, ports }, 'the page has no port')
  }

  stop(): Promise<void> {
    if (!this.#server.listening) return Promise.resolve()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    return closed
  }

  #listen({ host, port }: HostPort): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject)
        this.#server.on('error', (error) => this.#components.log.error({ err: error }, 'the listener failed'))
        resolve()
      })
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // a client that goes away in the middle is nothing to fail by
    response.on('error', () => undefined)
    try {
      const { method = '', url = '', headers } = request
      checkSameSite({ method, headers })
      const answer = await this.#page.answer({ method, url, headers })
      if (answer) return send(response, answer)
      if (!API.test(url)) throw new SkeinError('NOT_FOUND', `there is nothing at ${url.slice(0, 200)}`)
      const gateway = this.#init.gateway.current()
      if (gateway === undefined)
        throw new SkeinError(
          'COORDINATOR_UNREACHABLE',
          'no coordinator says where its API is reached from here (--http on one); or start this node with: --gateway URL',
          { retryAfterSeconds: 5 },
        )
      await passOn(this.#components, gateway, request, response).catch((error: unknown) => {
        this.#init.gateway.failed(gateway)
        throw error
      })
    } catch (thrown) {
      refuse(response, asSkeinError(thrown))
    }
  }
}

function listenError(cause: NodeJS.ErrnoException, { host, port }: HostPort): SkeinError {
  const at = `${host}:${port}`
  if (cause.code === 'EADDRINUSE')
    return new SkeinError('PORT_IN_USE', `another program listens on ${at}; choose another: --page HOST:PORT, or off`)
  return new SkeinError('LISTEN_FAILED', `cannot listen on ${at}: ${cause.message}`, { cause })
}

function send(response: ServerResponse, { status, headers, body }: PageAnswer): void {
  response.writeHead(status, headers).end(body)
}

/** In the shape of the gateway's errors. */
function refuse(response: ServerResponse, error: SkeinError): void {
  if (response.headersSent) return void response.destroy()
  // the gateway itself is not the one that fails: to the page there is none now
  const status = error.code === 'COORDINATOR_UNREACHABLE' ? 503 : error.row.http
  const type = status < 500 ? 'invalid_request_error' : 'server_error'
  const body = JSON.stringify({ error: { message: error.message, type, param: null, code: error.code.toLowerCase() } })
  response
    .writeHead(status, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(body),
      'cache-control': 'no-store',
      'x-should-retry': String(error.row.retryable),
      ...(error.retryAfterSeconds !== undefined && { 'retry-after': String(error.retryAfterSeconds) }),
    })
    .end(body)
}

/** The page of a process that is a node and no coordinator, which has a gateway; a worker has nobody who sits before it. */
export async function startNodePage(
  parts: Parts,
  { page: at, gateway: named, worker }: ServeOptions,
  agent: NodeAgent | undefined,
  base: Base,
  lifecycle: Lifecycle,
): Promise<NodePage | undefined> {
  if (!parts.node || parts.coordinator || worker !== undefined || at === 'off') return undefined
  const init = { usual: hostPort(DEFAULT_HTTP), gateway: gatewayChoice(named, agent), ...(at && { at }) }
  return lifecycle.start(new NodePage(base, init))
}
