/**
 * What the DHT adds to the directory: nodes that nobody told us about. Whoever announces itself as a node is looked up
 * and connected to; it then opens its control stream, and from there on what it says itself holds.
 */
import {
  asSkeinError,
  readCanonical,
  SignedSchema,
  SkeinError,
  checker,
  type CapabilityRecord,
  type PeerId,
  type Signed,
} from '../../mesh/protocol/index.ts'
import { sleep, withDeadline, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import { discoveryKey, type Discovery, type PeerTransport } from '../../mesh/network/index.ts'
import type { Directory } from './directory.ts'

/** A look-up asks a handful of peers; often at first, when the mesh forms, then now and then. */
const FIRST_ROUNDS = 10
const FIRST_INTERVAL_MS = 1000
const INTERVAL_MS = 15_000
const QUERY_MS = 5000
/** Peers connected to in one round. */
const PEERS_PER_ROUND_MAX = 64

export interface DhtFeedComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly transport: PeerTransport
  readonly discovery: Discovery
  readonly directory: Directory
  /** The record in `signed`. Throws a SkeinError unless it is `peer`'s own, by content and signature. */
  readonly openRecord: (peer: PeerId, signed: Signed) => Promise<CapabilityRecord>
}

const isSigned = checker(SignedSchema)

export class DhtFeed {
  readonly #components: DhtFeedComponents
  readonly #log: Logger
  #stop = new AbortController()
  #running: Promise<void> = Promise.resolve()

  constructor(components: DhtFeedComponents) {
    this.#components = components
    this.#log = components.log.scope('dht-feed')
  }

  start(): void {
    this.#stop = new AbortController()
    this.#running = this.#run(this.#stop.signal)
  }

  async stop(): Promise<void> {
    this.#stop.abort(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping'))
    await this.#running
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (let round = 0; !signal.aborted; round++) {
      try {
        await this.#round(signal)
      } catch (thrown) {
        if (!signal.aborted) this.#log.debug({ err: asSkeinError(thrown) }, 'a look-up failed')
      }
      // After a failure too: a DHT that fails at once would be asked without end.
      const pauseMs = round < FIRST_ROUNDS ? FIRST_INTERVAL_MS : INTERVAL_MS
      await sleep(this.#components.clock, pauseMs, signal).catch(() => {})
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { clock, discovery, directory, transport } = this.#components
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', `the look-up took more than ${QUERY_MS} ms`)
    const found = new Set<PeerId>()
    await withDeadline(clock, QUERY_MS, late, signal, async (bound) => {
      for await (const peer of discovery.find(discoveryKey.role('node'), bound)) {
        const isKnown = (directory.entry(peer)?.liveness ?? 'disconnected') !== 'disconnected'
        if (peer !== transport.self.peerId && !isKnown) found.add(peer)
        if (found.size >= PEERS_PER_ROUND_MAX) break
      }
    }).catch((thrown: unknown) => {
      // what was found before the bound is worth having
      if (found.size === 0) throw thrown
    })
    await Promise.allSettled(
      [...found].map((peer) => withDeadline(clock, QUERY_MS, late, signal, (bound) => this.#meet(peer, bound))),
    )
  }

  async #meet(peer: PeerId, signal: AbortSignal): Promise<void> {
    const { directory, discovery, transport } = this.#components
    await transport.connect(peer, signal)
    if (directory.entry(peer)?.record !== undefined) return
    const record = await this.#verified(peer, await discovery.lookup(peer, signal))
    // By now its control stream may have brought a newer one.
    if (record && directory.entry(peer)?.record === undefined) directory.announce(peer, record)
  }

  async #verified(peer: PeerId, bytes: Uint8Array | undefined): Promise<CapabilityRecord | undefined> {
    const signed = bytes && readCanonical(bytes)
    return isSigned(signed) ? this.#components.openRecord(peer, signed) : undefined
  }
}
