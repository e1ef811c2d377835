/**
 * One more member in this process, with a key and a certificate of its own: for a node whose machine is somewhere else and
 * knows nothing of the mesh, such as a rented endpoint. The process's host is the one member that it is connected to; what
 * the two send each other goes through memory, framed as on a wire. No other member hears of it, and it looks for none.
 */
import {
  LIMITS,
  SkeinError,
  type AnyFrame,
  type FrameSet,
  type PeerId,
  type ProtocolName,
  type Signed,
  type SignatureDomain,
} from '../../protocol/index.ts'
import type { Clock, Logger, Random } from '../../runtime/index.ts'
import { dialFailed, Services } from '../channels/services.ts'
import { Counters } from '../counters.ts'
import type { Identity } from '../identity.ts'
import { Renewal } from '../libp2p/renewal.ts'
import type { MeshAuthority } from '../membership/authority.ts'
import type { MembershipStore } from '../membership/store.ts'
import { sign } from '../signed.ts'
import type {
  ChannelHandler,
  Discovery,
  FrameChannel,
  Member,
  MembershipEvents,
  OpenOptions,
  PeerTransport,
} from '../transport.ts'

export interface LocalMemberComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly identity: Identity
  readonly store: MembershipStore
  readonly authority: MeshAuthority
  readonly host: LocalMemberHost
}

/** The host of the process, as a local member has it. */
export interface LocalMemberHost {
  readonly self: Member
  /** A channel of `from` to what the host serves. @throws SkeinError DIAL_FAILED. */
  serve<In extends AnyFrame>(from: Member, protocol: ProtocolName, inbound: FrameSet<In>): FrameChannel<In>
  /** The member has left: nothing is asked of it any more. */
  left(member: LocalMember): void
}

/** A member in this process, as who made it uses it. */
export interface LocalPeer extends PeerTransport, Discovery {
  /** `value` signed with its identity. */
  sign(domain: SignatureDomain, value: unknown): Promise<Signed>
  /** Aborts, with CERTIFICATE_REVOKED, when the owner has put it out of the mesh. */
  readonly revoked: AbortSignal
  /** Breaks its channels and is a member no more. Said again, it changes nothing. */
  leave(): void
}

export class LocalMember implements LocalPeer {
  readonly #components: LocalMemberComponents
  readonly #services: Services
  readonly #renewal: Renewal
  readonly #channels = new Set<FrameChannel<AnyFrame>>()
  readonly #watchers = new Set<Partial<MembershipEvents>>()
  readonly #revoked = new AbortController()
  #isHere = true

  constructor(components: LocalMemberComponents) {
    this.#components = components
    const { clock, random, log, store, authority } = components
    this.#services = new Services({ clock, log, counters: new Counters() })
    this.#renewal = new Renewal({
      ...{ clock, random, log, store, authority },
      members: () => this.members(),
      open: (peer, protocol, inbound) => this.open(peer, protocol, inbound),
      onRenewed: () => Promise.resolve(),
    })
  }

  get self(): Member {
    const { identity, store } = this.#components
    return { peerId: identity.peerId, certificate: store.certificate, isSelf: true }
  }

  /** As others of the process see it. */
  get member(): Member {
    return { ...this.self, isSelf: false }
  }

  get revoked(): AbortSignal {
    return this.#revoked.signal
  }

  members(): Member[] {
    return this.#isHere ? [this.#host] : []
  }

  watch(events: Partial<MembershipEvents>): () => void {
    this.#watchers.add(events)
    for (const member of this.members()) events.connected?.(member)
    return () => this.#watchers.delete(events)
  }

  async connect(peer: PeerId, signal?: AbortSignal): Promise<Member> {
    signal?.throwIfAborted()
    if (peer === this.self.peerId) return this.self
    this.#assertReachable(peer)
    return this.#host
  }

  async open<In extends AnyFrame>(
    peer: PeerId,
    protocol: ProtocolName,
    inbound: FrameSet<In>,
    { signal }: OpenOptions = {},
  ): Promise<FrameChannel<In>> {
    signal?.throwIfAborted()
    if (peer === this.self.peerId) return this.#services.connect(this.self, this.self, protocol, inbound).near
    this.#assertReachable(peer)
    return this.#kept(this.#components.host.serve(this.member, protocol, inbound))
  }

  handle<In extends AnyFrame>(protocol: ProtocolName, inbound: FrameSet<In>, handler: ChannelHandler<In>): void {
    this.#services.handle(protocol, inbound, handler)
  }

  /** A channel of the process's host to what this member serves. @throws SkeinError DIAL_FAILED. */
  serve<In extends AnyFrame>(protocol: ProtocolName, inbound: FrameSet<In>): FrameChannel<In> {
    if (!this.#isHere) throw dialFailed(this.self.peerId, gone())
    return this.#kept(this.#services.connect(this.self, this.#host, protocol, inbound).near)
  }

  sign(domain: SignatureDomain, value: unknown): Promise<Signed> {
    return sign(this.#components.identity, domain, value)
  }

  /** A newer revocation list is known. */
  async applyRevocations(signed: Signed): Promise<void> {
    const { store } = this.#components
    await store.offerRevocations(signed)
    if (!store.isRevoked || this.#revoked.signal.aborted) return
    this.leave()
    this.#revoked.abort(new SkeinError('CERTIFICATE_REVOKED', `the owner has revoked ${store.certificate.name}`))
  }

  /** The host knows it: its certificate is renewed from now on. */
  entered(): void {
    this.#renewal.start()
  }

  leave(): void {
    if (!this.#isHere) return
    this.#isHere = false
    this.#renewal.stop()
    for (const channel of [...this.#channels]) channel.abort(gone())
    this.#components.host.left(this)
    for (const watcher of [...this.#watchers]) watcher.disconnected?.(this.#host)
  }

  /** Nobody is to find it who is not in this process. */
  advertise(): void {}

  async *find(): AsyncGenerator<PeerId, void> {}

  publish(): Promise<void> {
    return Promise.resolve()
  }

  lookup(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  get #host(): Member {
    return { ...this.#components.host.self, isSelf: false }
  }

  #assertReachable(peer: PeerId): void {
    if (!this.#isHere) throw dialFailed(peer, gone())
    if (peer !== this.#host.peerId)
      throw dialFailed(peer, new SkeinError('NOT_FOUND', 'a member in another process; this one reaches none'))
  }

  /** Kept, so that it breaks when the member leaves. */
  #kept<In extends AnyFrame>(channel: FrameChannel<In>): FrameChannel<In> {
    const kept = channel as FrameChannel<AnyFrame>
    this.#channels.add(kept)
    channel.closed.addEventListener('abort', () => this.#channels.delete(kept), { once: true })
    return channel
  }
}

const gone = (): SkeinError => new SkeinError('STREAM_TRUNCATED', 'the member has left')

/** The local members of one process. */
export class LocalMembers {
  readonly #members = new Map<PeerId, LocalMember>()
  readonly #watchers = new Set<Partial<MembershipEvents>>()

  get(peer: PeerId): LocalMember | undefined {
    return this.#members.get(peer)
  }

  list(): Member[] {
    return Array.from(this.#members.values(), ({ member }) => member)
  }

  /** @throws SkeinError INTERNAL beyond `localMembersMax`, or when a member with its key is here already. */
  add(member: LocalMember): void {
    if (this.#members.size >= LIMITS.localMembersMax || this.#members.has(member.self.peerId))
      throw new SkeinError('INTERNAL', `at most ${LIMITS.localMembersMax} members in a process, each of its own key`)
    this.#members.set(member.self.peerId, member)
    member.entered()
    for (const watcher of [...this.#watchers]) watcher.connected?.(member.member)
  }

  left(member: LocalMember): void {
    if (this.#members.get(member.self.peerId) !== member) return
    this.#members.delete(member.self.peerId)
    for (const watcher of [...this.#watchers]) watcher.disconnected?.(member.member)
  }

  watch(events: Partial<MembershipEvents>): () => void {
    this.#watchers.add(events)
    for (const member of this.list()) events.connected?.(member)
    return () => this.#watchers.delete(events)
  }

  async applyRevocations(signed: Signed): Promise<void> {
    for (const member of [...this.#members.values()]) await member.applyRevocations(signed)
  }

  /** All of them leave. */
  stop(): void {
    for (const member of [...this.#members.values()]) member.leave()
  }
}
