/**
 * `Discovery` over the mesh's own DHT: provider records under hashed keys, and the capability record under the node's.
 *
 * Records go to the peers that are there when they are told, so everything is told again whenever a peer enters the
 * routing table (gathered for a moment, so that a start tells once) and at a third of the records' validity.
 */
import type { PeerId as Libp2pPeerId } from '@libp2p/interface'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'
import * as raw from 'multiformats/codecs/raw'
import { asPeerId, LIMITS, SkeinError, type PeerId } from '../../protocol/index.ts'
import { withDeadline, type CancelTimer, type Clock, type Logger } from '../../runtime/index.ts'
import type { Discovery } from '../transport.ts'
import type { MeshNode } from './node.ts'
import { capabilityKey } from './records.ts'

/** No query of the DHT runs longer, in ms. */
const QUERY_MS = 10_000
const GATHER_MS = 100
const TELL_AGAIN_MS = LIMITS.providerValidityMs / 3

export interface DhtDiscoveryComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly self: PeerId
  readonly node: () => MeshNode
  /** A peer was found at these addresses. */
  readonly onFound: (peer: PeerId, addresses: readonly string[]) => void
}

const lateQuery = (): Error => new SkeinError('STREAM_TIMEOUT', 'the DHT did not answer in time')

export class DhtDiscovery implements Discovery {
  readonly #components: DhtDiscoveryComponents
  readonly #cids = new Map<string, CID>()
  #record: Uint8Array | undefined
  #cancelTimer: CancelTimer | undefined
  #isRunning = false
  readonly #stopping = new AbortController()

  constructor(components: DhtDiscoveryComponents) {
    this.#components = components
  }

  start(): void {
    this.#isRunning = true
    this.#tellIn(GATHER_MS)
  }

  stop(): void {
    this.#isRunning = false
    this.#cancelTimer?.()
    this.#stopping.abort(new SkeinError('SHUTTING_DOWN', 'the network is stopping'))
  }

  /** A peer has entered the routing table, or left it and come back. */
  onPeer(): void {
    this.#tellIn(GATHER_MS)
  }

  advertise(keys: readonly string[]): void {
    void this.#replaceKeys(keys).catch((error: unknown) => {
      this.#components.log.warn({ err: error }, 'the announcement in the DHT failed')
    })
  }

  async *find(key: string, signal?: AbortSignal): AsyncGenerator<PeerId, void, undefined> {
    const seen = new Set<string>([this.#components.self])
    const controller = new AbortController()
    const cancel = this.#components.clock.timer(QUERY_MS, () => controller.abort(lateQuery()))
    const signals = [controller.signal, this.#stopping.signal, ...(signal ? [signal] : [])]
    try {
      const options = { signal: AbortSignal.any(signals) }
      for await (const provider of this.#components.node().contentRouting.findProviders(await cidOf(key), options)) {
        const peer = asPeerId(provider.id.toString())
        if (seen.has(peer)) continue
        seen.add(peer)
        await this.#note(provider.id, peer, provider.multiaddrs)
        yield peer
      }
    } catch (error) {
      signal?.throwIfAborted()
      // what was found until now counts; a query that ran dry is no error of the caller's
      this.#components.log.debug({ err: error, key }, 'a search in the DHT ended early')
    } finally {
      cancel()
    }
  }

  async publish(record: Uint8Array, signal?: AbortSignal): Promise<void> {
    this.#record = record
    if (this.#isRunning) await this.#put(record, signal)
  }

  async lookup(peer: PeerId, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    try {
      return await this.#query(signal, (limited) =>
        this.#components.node().contentRouting.get(capabilityKey(peer), { signal: limited }),
      )
    } catch (error) {
      signal?.throwIfAborted()
      this.#components.log.debug({ err: error, peer }, 'no capability record in the DHT')
      return undefined
    }
  }

  async #replaceKeys(keys: readonly string[]): Promise<void> {
    const wanted = new Set(keys)
    for (const [key, cid] of this.#cids) {
      if (wanted.has(key)) continue
      this.#cids.delete(key)
      // there is no un-provide: the record runs out at the peers that have it
      if (this.#isRunning) await this.#components.node().contentRouting.cancelReprovide(cid)
    }
    for (const key of wanted) if (!this.#cids.has(key)) this.#cids.set(key, await cidOf(key))
    this.#tellIn(0)
  }

  #tellIn(ms: number): void {
    if (!this.#isRunning) return
    this.#cancelTimer?.()
    this.#cancelTimer = this.#components.clock.timer(ms, () => void this.#tell())
  }

  async #tell(): Promise<void> {
    this.#tellIn(TELL_AGAIN_MS)
    const provide = (cid: CID): Promise<void> =>
      this.#query(undefined, (signal) => this.#components.node().contentRouting.provide(cid, { signal }))
    const work = [...this.#cids.values()].map(provide)
    if (this.#record !== undefined) work.push(this.#put(this.#record, undefined))
    for (const result of await Promise.allSettled(work))
      if (result.status === 'rejected' && this.#isRunning)
        this.#components.log.debug({ err: result.reason as unknown }, 'an announcement in the DHT failed')
  }

  #put(record: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const key = capabilityKey(this.#components.self)
    return this.#query(signal, (limited) =>
      this.#components.node().contentRouting.put(key, record, { signal: limited }),
    )
  }

  #query<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const outer = signal ? AbortSignal.any([signal, this.#stopping.signal]) : this.#stopping.signal
    return withDeadline(this.#components.clock, QUERY_MS, lateQuery, outer, work)
  }

  /** Keeps the addresses for `open`, which dials by peer id. */
  async #note(id: Libp2pPeerId, peer: PeerId, multiaddrs: MeshAddresses): Promise<void> {
    if (multiaddrs.length === 0) return
    await this.#components.node().peerStore.merge(id, { multiaddrs: [...multiaddrs] })
    this.#components.onFound(
      peer,
      multiaddrs.map((address) => address.toString()),
    )
  }
}

type MeshAddresses = ReturnType<MeshNode['getMultiaddrs']>

async function cidOf(key: string): Promise<CID> {
  return CID.createV1(raw.code, await sha256.digest(new TextEncoder().encode(`skein:${key}`)))
}
