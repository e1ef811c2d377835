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
import { Path } from './path.ts'
import { MemoryPeerTransport, type LosableChannel } from './transport.ts'

export interface MemoryNetworkComponents {
  readonly clock: Clock
  readonly random: Random
}

export interface MemoryNetworkInit {
  /** One way, in ms; a function is asked for each delivery. Default 0. */
  readonly latencyMs?: number | (() => number)
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const ID_CHARACTERS = 44

const pairKey = (a: PeerId, b: PeerId): string => (a < b ? `${a} ${b}` : `${b} ${a}`)

/** One end of a channel between two members. */
interface End {
  readonly owner: MemoryPeerTransport
  readonly channel: LosableChannel
}

export class MemoryNetwork {
  readonly clock: Clock
  readonly meshId: MeshId
  /** Providers by discovery key, and records by peer: what the DHT would hold. */
  readonly providers = new Map<string, Set<PeerId>>()
  readonly records = new Map<PeerId, Uint8Array>()
  readonly #latencyMs: () => number
  readonly #random: Random
  readonly #attached = new Map<PeerId, MemoryPeerTransport>()
  /** Members that went without a word: whoever calls them gets no answer, not even a refusal. */
  readonly #silent = new Set<PeerId>()
  readonly #cut = new Set<string>()
  readonly #links = new Map<string, readonly [MemoryPeerTransport, MemoryPeerTransport]>()
  readonly #paths = new Map<string, Path>()
  readonly #ends = new Map<string, Set<End>>()
  #serial = 0

  constructor(components: MemoryNetworkComponents, init: MemoryNetworkInit = {}) {
    this.clock = components.clock
    this.#random = components.random
    const { latencyMs = 0 } = init
    this.#latencyMs = typeof latencyMs === 'number' ? () => latencyMs : latencyMs
    this.meshId = asMeshId(this.#mintId())
  }

  /**
   * A new member, attached and connected to all that are.
   *
   * @param clock of its process, when that may stand still: whatever reaches the member then does so by a timer of it.
   */
  join(name: string, roles: readonly Role[] = ['node'], clock?: Clock): MemoryPeerTransport {
    const transport = new MemoryPeerTransport(this, this.#certify(asPeerId(this.#mintId()), name, roles), clock)
    this.attach(transport)
    return transport
  }

  /** The next process of a member that has crashed, attached in its place. */
  revive(former: MemoryPeerTransport, clock?: Clock): MemoryPeerTransport {
    const transport = new MemoryPeerTransport(this, former.self.certificate, clock)
    this.attach(transport)
    return transport
  }

  /** Brings a crashed member back. What was still open to its former process breaks. */
  attach(transport: MemoryPeerTransport): void {
    const { peerId } = transport.self
    this.#silent.delete(peerId)
    for (const other of this.#attached.keys()) this.reset(peerId, other)
    this.#attached.set(peerId, transport)
    for (const other of this.#attached.keys()) this.connect(peerId, other)
  }

  /** Takes a member away as if its process had died: its channels break, all others hear of it at once. */
  crash(transport: MemoryPeerTransport): void {
    const { peerId } = transport.self
    this.#attached.delete(peerId)
    this.#silent.delete(peerId)
    for (const other of this.#attached.keys()) this.reset(peerId, other)
  }

  /** Takes a member away as if its power had gone: nobody hears of it, until `crash` or `attach`. */
  vanish(transport: MemoryPeerTransport): void {
    this.#attached.delete(transport.self.peerId)
    this.#silent.add(transport.self.peerId)
  }

  /** Breaks the connection between two members, and keeps them from dialling until `heal`. */
  cut(a: MemoryPeerTransport, b: MemoryPeerTransport): void {
    this.#cut.add(pairKey(a.self.peerId, b.self.peerId))
    this.reset(a.self.peerId, b.self.peerId)
  }

  heal(a: MemoryPeerTransport, b: MemoryPeerTransport): void {
    this.#cut.delete(pairKey(a.self.peerId, b.self.peerId))
    this.connect(a.self.peerId, b.self.peerId)
  }

  /** The way from one member to another, to be slowed, stalled and resumed. */
  path(from: PeerId, to: PeerId): Path {
    const key = `${from} ${to}`
    let path = this.#paths.get(key)
    if (path === undefined) this.#paths.set(key, (path = new Path(this.#latencyMs)))
    return path
  }

  /** Whether frames between two members vanish, one way or both. */
  isStalled(a: PeerId, b: PeerId): boolean {
    return this.path(a, b).isStalled || this.path(b, a).isStalled
  }

  /** Whether nothing at `peer` will ever answer a call. */
  isSilent(peer: PeerId): boolean {
    return this.#silent.has(peer)
  }

  /** The member behind `peer`, connected to `from`. @throws SkeinError DIAL_FAILED. */
  dial(from: MemoryPeerTransport, peer: PeerId): MemoryPeerTransport {
    const target = this.#attached.get(peer)
    const isOnline = this.#attached.get(from.self.peerId) === from
    if (target === undefined || !isOnline || this.#cut.has(pairKey(from.self.peerId, peer)))
      throw new SkeinError('DIAL_FAILED', `${peer} cannot be reached`)
    this.connect(from.self.peerId, peer)
    return target
  }

  /** Connects two members that are here and can hear each other. */
  connect(a: PeerId, b: PeerId): void {
    const key = pairKey(a, b)
    const [first, second] = [this.#attached.get(a), this.#attached.get(b)]
    if (first === undefined || second === undefined || first === second) return
    if (this.#links.has(key) || this.#cut.has(key) || this.isStalled(a, b)) return
    const link = [first, second] as const
    this.#links.set(key, link)
    first.onConnected(second.self, link)
    second.onConnected(first.self, link)
  }

  /** Breaks the connection between two members; they may dial again. */
  reset(a: PeerId, b: PeerId): void {
    const key = pairKey(a, b)
    const link = this.#links.get(key)
    if (link === undefined) return
    this.#links.delete(key)
    const lost = new SkeinError('STREAM_TRUNCATED', 'the connection was lost')
    for (const { owner, channel } of this.#ends.get(key) ?? []) owner.tell(() => channel.lose(lost))
    const [first, second] = link
    first.onDisconnected(second.self, link)
    second.onDisconnected(first.self, link)
  }

  /** Keeps both ends of a channel so that they break with their connection. */
  track(ends: readonly End[], a: PeerId, b: PeerId): void {
    const key = pairKey(a, b)
    const kept = this.#ends.get(key) ?? new Set()
    this.#ends.set(key, kept)
    for (const end of ends) {
      kept.add(end)
      end.channel.closed.addEventListener('abort', () => kept.delete(end), { once: true })
    }
  }

  /** Channels between members that are open now, by the name of the member that holds the end. */
  openEnds(): string[] {
    return [...this.#ends.values()].flatMap((ends) =>
      [...ends].flatMap(({ owner }) =>
        this.#attached.get(owner.self.peerId) === owner ? owner.self.certificate.name : [],
      ),
    )
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
