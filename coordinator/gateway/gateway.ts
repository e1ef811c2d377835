/**
 * The gateway's life: listen, drain, stop. Between `drain` and `stop` it still listens, so that clients are told that the
 * coordinator is stopping, which a refused connection would not.
 */
import type { FastifyInstance } from 'fastify'
import type { AddressInfo } from 'node:net'
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { Page } from '../../mesh/page/index.ts'
import type { Clock, Logger, Random, Startable } from '../../mesh/runtime/index.ts'
import type { Access } from '../access/index.ts'
import type { MeshService } from '../admission/index.ts'
import type { TlsSource } from '../trust/index.ts'
import type { Batches } from '../batches/index.ts'
import type { Devices } from '../devices/index.ts'
import type { Mailboxes } from '../mailbox/index.ts'
import { ActiveRequests } from './active-requests.ts'
import { BatchDesk, OpenLines } from './batch-lines.ts'
import type { LeaseDesk } from './cloud-routes.ts'
import { createCounters, type GatewayCounters } from './counters.ts'
import { EventFeed } from './event-feed.ts'
import { checkAccess, isLoopback } from './guards.ts'
import { GATEWAY_LIMITS, type GatewayLimits } from './limits.ts'
import type { GatewayFacts, GatewayMetrics } from './metrics-routes.ts'
import { McpSessions } from './mcp-sessions.ts'
import { OpenPulls, type ModelAdministration } from './ollama-pulls.ts'
import { createServer } from './server.ts'
import type { RequestTraces } from './traced.ts'
import { guardTls, isTlsServer, nameFor, TlsKeeper } from './tls.ts'
import { OpenWork } from './work-routes.ts'

export interface GatewayComponents {
  readonly service: MeshService
  /** Who may ask; it is started before. */
  readonly access: Access
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** Makes what `/metrics` shows. */
  readonly metrics?: (facts: GatewayFacts) => GatewayMetrics
  /** Files and batches; they are started before. */
  readonly batches?: Batches
  /** What is behind bridges; it is started before. */
  readonly devices?: Devices
  /** Makes spans of requests; none are made without it. */
  readonly traces?: RequestTraces
  /** Machines that are launched, where any are. */
  readonly leases?: LeaseDesk
  /** Models of this machine, where that has a node: clients may have them pulled and removed. */
  readonly models?: ModelAdministration
  /** By which devices of a user keep in step; they are started before. */
  readonly mailboxes?: Mailboxes
  /** What browsers get. */
  readonly page?: Page
}

export interface ListenAddress {
  /** Address to listen on: `127.0.0.1`, `::1`, `0.0.0.0`, a name. */
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
}

export interface GatewayInit extends ListenAddress {
  /** A second address, such as Ollama's own, at which all is served alike. */
  readonly ollama?: ListenAddress
  /** Then TLS is spoken, and nothing else; at the second address only beyond loopback, since its tools know no TLS. */
  readonly tls?: TlsSource
  readonly limits?: Partial<GatewayLimits>
}

export interface Gateway extends Startable {
  /** Where clients reach it, such as `http://127.0.0.1:7337`, after `start`. */
  readonly url: string
  /** The same of the second address, if there is one. */
  readonly ollamaUrl: string | undefined
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

/** Guards and limits are those of the address, hence a server for each. */
interface Listener extends ListenAddress {
  readonly app: FastifyInstance
  /** That names the address. */
  readonly flag: '--http' | '--ollama'
}

/** `app` is open to the tests of this folder: `app.inject` asks it without a socket. */
export class HttpGateway implements Gateway {
  readonly name = 'gateway'
  readonly counters = createCounters()
  readonly app: FastifyInstance
  readonly #access: Access
  readonly #clock: Clock
  readonly #log: Logger
  readonly #limits: GatewayLimits
  readonly #active: ActiveRequests
  readonly #events: EventFeed
  readonly #metrics: GatewayMetrics | undefined
  readonly #batches: Batches | undefined
  readonly #pulls: OpenPulls | undefined
  readonly #mailboxes: Mailboxes | undefined
  readonly #desk: BatchDesk
  /** The first is that of `app`. */
  readonly #listeners: readonly Listener[]
  readonly #tls: TlsKeeper | undefined
  /** Cuts connections that are not HTTP yet. */
  readonly #cuts: readonly (() => void)[]
  #stopping: Promise<void> | undefined

  constructor(components: GatewayComponents, init: GatewayInit) {
    const { service, access, clock, random, log } = components
    this.#access = access
    this.#clock = clock
    this.#log = log.scope('gateway')
    this.#limits = { ...GATEWAY_LIMITS, ...init.limits }
    const { counters } = this
    this.#active = new ActiveRequests({ onClientClosed: () => counters.clientsClosed++ })
    // what the gateway may hold in all is the same however many addresses it has
    const connectionsMax = Math.ceil(this.#limits.connectionsMax / (init.ollama ? 2 : 1))
    const limits = { ...this.#limits, connectionsMax }
    this.#events = new EventFeed(components)
    const facts = { counters, running: () => this.running, eventClients: () => this.#events.followers }
    this.#metrics = components.metrics?.(facts)
    this.#batches = components.batches
    this.#mailboxes = components.mailboxes
    this.#pulls = components.models && new OpenPulls(components.models)
    const lines = new OpenLines(random)
    const shared = {
      ...{ events: this.#events, metrics: this.#metrics, batches: this.#batches, lines, devices: components.devices },
      leases: components.leases,
      ...{ page: components.page, mailboxes: components.mailboxes },
      ...{ traces: components.traces, pulls: this.#pulls },
      ...{ service, access, clock, random, log: this.#log, active: this.#active, counters, limits },
      open: new OpenWork(),
      sessions: new McpSessions({ clock, random }),
    }
    const listener = ({ host, port }: ListenAddress, flag: Listener['flag']): Listener => {
      const isTls = init.tls !== undefined && (flag === '--http' || !isLoopback(host))
      return { host, port, flag, app: createServer(shared, { host, isTls }) }
    }
    this.#listeners = [listener(init, '--http'), ...(init.ollama ? [listener(init.ollama, '--ollama')] : [])]
    this.app = this.#listeners[0]!.app
    const tlsServers = this.#listeners.map(({ app }) => app.server).filter(isTlsServer)
    this.#tls = init.tls && new TlsKeeper({ clock, log: this.#log }, init.tls, tlsServers)
    const onPlain = (): void => void counters.protocolErrors++
    this.#cuts = tlsServers.map((server) => guardTls(server, { clock, silenceMs: limits.headersMs, onPlain }))
    this.#desk = new BatchDesk(this.app, { service, access, clock, random, lines })
  }

  get url(): string {
    return this.#urlOf(this.app)
  }

  get ollamaUrl(): string | undefined {
    const second = this.#listeners[1]
    return second && this.#urlOf(second.app)
  }

  get running(): number {
    return this.#active.size
  }

  async start(): Promise<void> {
    for (const { host } of this.#listeners) checkAccess(host, this.#access)
    try {
      await this.#tls?.start()
      for (const listener of this.#listeners) {
        await listener.app.ready()
        await this.#listen(listener)
        this.#log.info({ url: this.#urlOf(listener.app) }, 'listening')
      }
      this.#batches?.serve(this.#desk)
    } catch (error) {
      // an address that is taken leaves none behind
      await this.stop()
      throw error
    }
  }

  async drain(): Promise<void> {
    // lines are tasks that go on without anybody who waits for them: the next start takes them up
    const resting = this.#batches?.rest()
    this.#pulls?.end()
    this.#mailboxes?.rest()
    this.#active.refuse()
    await this.#active.idle()
    await resting
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  /** Not fastify's `listen`: for a name it opens further servers, on which limits and timeouts would not hold. */
  #listen(listener: Listener): Promise<void> {
    const { host, port } = listener
    const { server } = listener.app
    return new Promise((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException): void => reject(listenError(error, listener))
      server.once('error', onError)
      try {
        server.listen({ host, port }, () => {
          server.off('error', onError)
          server.on('error', (error) => this.#log.error({ err: error }, 'the listener failed'))
          resolve()
        })
      } catch (error) {
        reject(listenError(error as NodeJS.ErrnoException, listener))
      }
    })
  }

  async #stop(): Promise<void> {
    void this.#batches?.rest()
    this.#pulls?.end()
    this.#mailboxes?.rest()
    this.#active.refuse()
    this.#events.close()
    this.#metrics?.close()
    for (const { app } of this.#listeners) if (app.server.listening) app.server.close()
    this.#active.abortAll(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 }))
    await this.#farewell()
    this.#tls?.stop()
    for (const cut of this.#cuts) cut()
    for (const { app } of this.#listeners) {
      app.server.closeAllConnections()
      await app.close()
    }
  }

  /** Empty before it listens. */
  #urlOf({ server }: FastifyInstance): string {
    const at = server.address() as AddressInfo | null
    if (at === null) return ''
    const reachable = WILDCARDS[at.address] ?? at.address
    const isTls = isTlsServer(server)
    const host = isTls ? nameFor(reachable, this.#tls?.names ?? []) : reachable
    return `${isTls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${at.port}`
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

function listenError(cause: NodeJS.ErrnoException, { host, port, flag }: Listener): SkeinError {
  const at = `${host.includes(':') ? `[${host}]` : host}:${port}`
  if (cause.code === 'EADDRINUSE')
    return new SkeinError(
      'PORT_IN_USE',
      `another program listens on ${at}${flag === '--ollama' ? ' (Ollama itself?); stop it, or' : ';'} choose another with: ${flag} HOST:PORT`,
      {
        cause,
      },
    )
  return new SkeinError('LISTEN_FAILED', `cannot listen on ${at}: ${cause.message}`, { cause })
}
