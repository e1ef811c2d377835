/**
 * The network in memory: the twin of libp2p for tests and simulation. Every attached transport is a member of one mesh,
 * and connected to every other unless the test says otherwise; frames take `latencyMs` of the clock each way.
 */
import {
  asMeshId,
  asPeerId,
  LIMITS,
  SkeinError,
  type Certificate,
  type MeshId,
  type PeerId,
  type Role,
} from '../../protocol/index.ts'
import type { Clock, Random } from '../../runtime/index.ts'
import type { FrameChannel } from '../transport.ts'
import { MemoryPeerTransport } from './transport.ts'

export interface MemoryNetworkComponents {
  readonly clock: Clock
  readonly random: Random
}

export interface MemoryNetworkInit {
  /** One way, in ms. Default 0. */
  readonly latencyMs?: number
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const ID_CHARACTERS = 44

const pairKey = (a: PeerId, b: PeerId): string => (a < b ? `${a} ${b}` : `${b} ${a}`)

export class MemoryNetwork {
  readonly clock: Clock
  readonly latencyMs: number
  readonly meshId: MeshId
  /** Providers by discovery key, and records by peer: what the DHT would hold. */
  readonly providers = new Map<string, Set<PeerId>>()
  readonly records = new Map<PeerId, Uint8Array>()
  readonly #random: Random
  readonly #attached = new Map<PeerId, MemoryPeerTransport>()
  readonly #cut = new Set<string>()
  readonly #links = new Set<string>()
  readonly #channels = new Map<string, Set<FrameChannel>>()
  #serial = 0

  constructor(components: MemoryNetworkComponents, init: MemoryNetworkInit = {}) {
    this.clock = components.clock
    this.#random = components.random
    this.latencyMs = init.latencyMs ?? 0
    this.meshId = asMeshId(this.#mintId())
  }

  /** A new member, attached and connected to all that are. */
  join(name: string, roles: readonly Role[] = ['node']): MemoryPeerTransport {
    const transport = new MemoryPeerTransport(this, this.#certify(asPeerId(this.#mintId()), name, roles))
    this.attach(transport)
    return transport
  }

  /** Brings a crashed member back. */
  attach(transport: MemoryPeerTransport): void {
    this.#attached.set(transport.self.peerId, transport)
    for (const other of this.#attached.values()) this.connect(transport, other)
  }

  /** Takes a member away as if its process had died: its channels break, all others hear of it at once. */
  crash(transport: MemoryPeerTransport): void {
    const { peerId } = transport.self
    this.#attached.delete(peerId)
    for (const other of this.#attached.values()) this.#unlink(transport, other)
  }

  /** Breaks the connection between two members, and keeps them from dialling until `heal`. */
  cut(a: MemoryPeerTransport, b: MemoryPeerTransport): void {
    this.#cut.add(pairKey(a.self.peerId, b.self.peerId))
    this.#unlink(a, b)
  }

  heal(a: MemoryPeerTransport, b: MemoryPeerTransport): void {
    this.#cut.delete(pairKey(a.self.peerId, b.self.peerId))
    this.connect(a, b)
  }

  /** The member behind `peer`, connected to `from`. @throws SkeinError DIAL_FAILED. */
  dial(from: MemoryPeerTransport, peer: PeerId): MemoryPeerTransport {
    const target = this.#attached.get(peer)
    const isOnline = this.#attached.get(from.self.peerId) === from
    if (target === undefined || !isOnline || this.#cut.has(pairKey(from.self.peerId, peer)))
      throw new SkeinError('DIAL_FAILED', `${peer} cannot be reached`)
    this.connect(from, target)
    return target
  }

  connect(a: MemoryPeerTransport, b: MemoryPeerTransport): void {
    const key = pairKey(a.self.peerId, b.self.peerId)
    if (a === b || this.#links.has(key) || this.#cut.has(key)) return
    this.#links.add(key)
    a.onConnected(b.self)
    b.onConnected(a.self)
  }

  /** Keeps a channel so that it breaks with its link. */
  track(a: PeerId, b: PeerId, channel: FrameChannel): void {
    const key = pairKey(a, b)
    const channels = this.#channels.get(key) ?? new Set()
    this.#channels.set(key, channels.add(channel))
    channel.closed.addEventListener('abort', () => channels.delete(channel), { once: true })
  }

  #unlink(a: MemoryPeerTransport, b: MemoryPeerTransport): void {
    const key = pairKey(a.self.peerId, b.self.peerId)
    if (!this.#links.delete(key)) return
    for (const channel of this.#channels.get(key) ?? [])
      channel.abort(new SkeinError('STREAM_TRUNCATED', 'the connection was lost'))
    a.onDisconnected(b.self)
    b.onDisconnected(a.self)
  }

  #certify(peerId: PeerId, name: string, roles: readonly Role[]): Certificate {
    const issuedAtMs = this.clock.wallMs()
    return {
      meshId: this.meshId,
      peerId,
      name,
      roles: [...roles],
      serial: ++this.#serial,
      issuedAtMs,
      expiresAtMs: issuedAtMs + LIMITS.certificateValidityMs,
    }
  }

  #mintId(): string {
    let text = '12D3KooW'
    for (const byte of this.#random.bytes(ID_CHARACTERS)) text += BASE58[byte % BASE58.length]
    return text
  }
}
