/**
 * The gateway's life: listen, drain, stop. Between `drain` and `stop` it still listens, so that clients are told that the
 * coordinator is stopping, which a refused connection would not.
 */
import type { FastifyInstance } from 'fastify'
import type { AddressInfo } from 'node:net'
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Logger, Random, Startable } from '../../mesh/runtime/index.ts'
import type { MeshService } from '../admission/index.ts'
import { ActiveRequests } from './active-requests.ts'
import { createCounters, type GatewayCounters } from './counters.ts'
import { checkAccess } from './guards.ts'
import { GATEWAY_LIMITS, type GatewayLimits } from './limits.ts'
import { tenantOf } from './request-options.ts'
import { createServer } from './server.ts'

export interface GatewayComponents {
  readonly service: MeshService
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export interface GatewayInit {
  /** Address to listen on: `127.0.0.1`, `::1`, `0.0.0.0`, a name. */
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
  /** Demanded of every caller when set; must be set beyond loopback. */
  readonly apiKey?: string
  readonly limits?: Partial<GatewayLimits>
}

export interface Gateway extends Startable {
  /** Where clients reach it, such as `http://127.0.0.1:7337`, after `start`. */
  readonly url: string
  readonly counters: Readonly<GatewayCounters>
  /** Generation requests that run now. */
  readonly running: number
  /** Refuses new generation requests with SHUTTING_DOWN; resolves when none runs any more. */
  drain(): Promise<void>
}

/** Dials of these addresses reach nothing or something else: a client needs the loopback one. */
const WILDCARDS: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

/** A gateway that has not started yet; its `start` throws CONFIG_INVALID, PORT_IN_USE, LISTEN_FAILED. */
export function createGateway(components: GatewayComponents, init: GatewayInit): Gateway {
  return new HttpGateway(components, init)
}

/** `app` is open to the tests of this folder: `app.inject` asks it without a socket. */
export class HttpGateway implements Gateway {
  readonly name = 'gateway'
  readonly counters = createCounters()
  readonly app: FastifyInstance
  readonly #init: GatewayInit
  readonly #clock: Clock
  readonly #log: Logger
  readonly #limits: GatewayLimits
  readonly #active: ActiveRequests
  #url = ''
  #stopping: Promise<void> | undefined

  constructor({ service, clock, random, log }: GatewayComponents, init: GatewayInit) {
    this.#init = init
    this.#clock = clock
    this.#log = log.scope('gateway')
    this.#limits = { ...GATEWAY_LIMITS, ...init.limits }
    const { counters } = this
    this.#active = new ActiveRequests({ onClientClosed: () => counters.clientsClosed++ })
    const { apiKey } = init
    const shared = { service, clock, random, log: this.#log, active: this.#active, counters, limits: this.#limits }
    this.app = createServer({ ...shared, tenant: tenantOf(apiKey) }, { host: init.host, apiKey })
  }

  get url(): string {
    return this.#url
  }

  get running(): number {
    return this.#active.size
  }

  async start(): Promise<void> {
    checkAccess(this.#init.host, this.#init.apiKey)
    await this.app.ready()
    await this.#listen()
    const { address, port } = this.app.server.address() as AddressInfo
    const reachable = WILDCARDS[address] ?? address
    this.#url = `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
    this.#log.info({ url: this.#url }, 'listening')
  }

  async drain(): Promise<void> {
    this.#active.refuse()
    await this.#active.idle()
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  /** Not fastify's `listen`: for a name it opens further servers, on which limits and timeouts would not hold. */
  #listen(): Promise<void> {
    const { host, port } = this.#init
    const { server } = this.app
    return new Promise((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException): void => reject(listenError(error, host, port))
      server.once('error', onError)
      try {
        server.listen({ host, port }, () => {
          server.off('error', onError)
          server.on('error', (error) => this.#log.error({ err: error }, 'the listener failed'))
          resolve()
        })
      } catch (error) {
        reject(listenError(error as NodeJS.ErrnoException, host, port))
      }
    })
  }

  async #stop(): Promise<void> {
    this.#active.refuse()
    const { server } = this.app
    if (server.listening) server.close()
    this.#active.abortAll(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 }))
    await this.#farewell()
    server.closeAllConnections()
    await this.app.close()
  }

  /** Until every answer that was ended is written, but no longer than `farewellMs`: a client may not read. */
  #farewell(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.timer(this.#limits.farewellMs, resolve)
      void this.#active.idle().then(() => {
        cancel()
        resolve()
      })
    })
  }
}

function listenError(cause: NodeJS.ErrnoException, host: string, port: number): SkeinError {
  const at = `${host.includes(':') ? `[${host}]` : host}:${port}`
  if (cause.code === 'EADDRINUSE')
    return new SkeinError('PORT_IN_USE', `another program listens on ${at}; choose another with: --http HOST:PORT`, {
      cause,
    })
  return new SkeinError('LISTEN_FAILED', `cannot listen on ${at}: ${cause.message}`, { cause })
}
