/** What a node gives of its models to other members: its end of model streams, and its HTTPS door. */
import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { INBOUND, SkeinError } from '../../../mesh/protocol/index.ts'
import type { Clock, Logger, Random, Startable } from '../../../mesh/runtime/index.ts'
import type { PeerTransport } from '../../../mesh/network/index.ts'
import { ModelServer } from './model-server.ts'
import { DEFAULT_BUSY_BYTES_PER_SECOND, Pacer } from './pacer.ts'
import { RangeServer } from './range-server.ts'
import { SharedFiles, type Shelf } from './shared-files.ts'
import { Tickets } from './tickets.ts'

const ADDRESSES_MAX = 16
/** Longer than any process runs; clocks that are off by days must not lock a house out of its own files. */
const VALID_MS = 3650 * 24 * 3_600_000

export interface ModelShareComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly transport: PeerTransport
  readonly shelf: Shelf
  /** Multiaddrs at which this peer can be dialled: the door for models is at the same hosts. */
  readonly addresses: () => readonly string[]
  /** Whether answers stream here now. */
  readonly isBusy: () => boolean
  /** Why the owner's policy lets nothing be given now; `undefined` when it does. */
  readonly refusal: () => string | undefined
}

export interface ModelShareInit {
  /** Multiaddrs that are listened on: the door listens on the first one's host. */
  readonly listen: readonly string[]
  /** Port of the door; 0 takes a free one. */
  readonly port?: number
  /** Rate of all transfers together while answers stream here; `DEFAULT_BUSY_BYTES_PER_SECOND` when absent. */
  readonly busyBytesPerSecond?: number
}

export interface ModelShare extends Startable {
  /** Bytes of models given since the start, by the way they took. */
  readonly sentBytes: { readonly direct: number; readonly stream: number }
}

export function createModelShare(components: ModelShareComponents, init: ModelShareInit): ModelShare {
  return new Share(components, init)
}

class Share implements ModelShare {
  readonly name = 'model share'
  readonly #components: ModelShareComponents
  readonly #init: ModelShareInit
  readonly #files: SharedFiles
  readonly #server: ModelServer
  readonly #door: RangeServer
  readonly #tickets: Tickets
  /** What the open door shows, as bytes. */
  #certificate: Uint8Array | undefined
  #unwatch = (): void => {}

  constructor(components: ModelShareComponents, init: ModelShareInit) {
    this.#components = components
    this.#init = init
    const { clock, random, log, shelf, isBusy, refusal } = components
    const busyBytesPerSecond = init.busyBytesPerSecond ?? DEFAULT_BUSY_BYTES_PER_SECOND
    const files = (this.#files = new SharedFiles(shelf, clock))
    const tickets = (this.#tickets = new Tickets({ clock, random }))
    const pacer = new Pacer(clock, { busyBytesPerSecond, isBusy, refusal })
    const shared = { clock, files, tickets, pacer }
    this.#door = new RangeServer({ ...shared, log: log.scope('share') })
    this.#server = new ModelServer({
      ...shared,
      direct: () => {
        const addresses = hostsOf(components.addresses())
        if (this.#certificate === undefined || addresses.length === 0) return undefined
        return { certificate: this.#certificate, addresses, port: this.#door.port }
      },
    })
  }

  get sentBytes(): ModelShare['sentBytes'] {
    return { direct: this.#door.sentBytes, stream: this.#server.sentBytes }
  }

  /** @throws SkeinError PORT_IN_USE when the owner named the port; LISTEN_FAILED alike. */
  async start(): Promise<void> {
    const { transport } = this.#components
    const { listen, port = 0 } = this.#init
    await this.#openDoor(listen, port)
    transport.handle('model', INBOUND.modelNode, (channel) => this.#server.serve(channel))
    this.#unwatch = transport.watch({ disconnected: ({ peerId }) => this.#tickets.drop(peerId) })
  }

  async #openDoor(listen: readonly string[], port: number): Promise<void> {
    const host = listen.map(hostOf).find((each) => each !== undefined)
    if (host === undefined) return
    try {
      const certificate = await this.#makeCertificate()
      await this.#door.start(host, port, certificate)
      this.#certificate = new X509Certificate(certificate.cert).raw
    } catch (thrown) {
      if (port !== 0) throw thrown
      this.#components.log.warn({ err: thrown }, 'models are given over the streams of the mesh alone')
    }
  }

  async stop(): Promise<void> {
    this.#unwatch()
    const { transport } = this.#components
    transport.handle('model', INBOUND.modelNode, () =>
      Promise.reject(new SkeinError('SHUTTING_DOWN', 'the node is stopping')),
    )
    if (this.#certificate !== undefined) await this.#door.stop()
    this.#certificate = undefined
    await this.#files.close()
  }

  /**
   * Nobody signs it but itself, and it is new at each start: members are told it with their tickets, over the mesh's own
   * encrypted streams, and accept this very one and no other, so that names and authorities play no part.
   */
  async #makeCertificate(): Promise<{ key: string; cert: string }> {
    // what writes certificates takes a tenth of a second to load, and commands that fetch models have no door
    const { makeSelfSigned } = await import('../../../mesh/certificates/index.ts')
    const { clock, random } = this.#components
    const nowMs = clock.wallMs()
    const validity = { fromMs: nowMs - VALID_MS, untilMs: nowMs + VALID_MS }
    return makeSelfSigned(random, { subject: 'skein', ...validity })
  }
}

/** The numeric host of a multiaddr that is no relay's. */
const hostOf = (address: string): string | undefined => {
  const host = /^\/ip[46]\/([^/]+)\/tcp\//.exec(address)?.[1]
  return host !== undefined && isIP(host) !== 0 && !address.includes('/p2p-circuit') ? host : undefined
}

const hostsOf = (addresses: readonly string[]): string[] =>
  [...new Set(addresses.flatMap((address) => hostOf(address) ?? []))].slice(0, ADDRESSES_MAX)
