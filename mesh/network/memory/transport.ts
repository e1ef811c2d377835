/** `PeerTransport` over a `MemoryNetwork`. */
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type AnyFrame,
  type Certificate,
  type FrameSet,
  type PeerId,
  type ProtocolName,
} from '../../protocol/index.ts'
import { memoryChannelPair } from '../channels/memory-channel.ts'
import { Counters } from '../counters.ts'
import type {
  ChannelHandler,
  FrameChannel,
  Member,
  MembershipEvents,
  OpenOptions,
  PeerTransport,
} from '../transport.ts'
import type { MemoryNetwork } from './network.ts'

interface Service {
  readonly inbound: FrameSet<AnyFrame>
  readonly handler: ChannelHandler<AnyFrame>
}

export class MemoryPeerTransport implements PeerTransport {
  readonly self: Member
  readonly counters = new Counters()
  readonly #network: MemoryNetwork
  readonly #members = new Map<PeerId, Member>()
  readonly #watchers = new Set<Partial<MembershipEvents>>()
  readonly #services = new Map<ProtocolName, Service>()

  constructor(network: MemoryNetwork, certificate: Certificate) {
    this.#network = network
    this.self = { peerId: certificate.peerId, certificate, isSelf: true }
  }

  members(): Member[] {
    return [...this.#members.values()]
  }

  watch(events: Partial<MembershipEvents>): () => void {
    this.#watchers.add(events)
    for (const member of this.members()) events.connected?.(member)
    return () => this.#watchers.delete(events)
  }

  connect(peer: PeerId, signal?: AbortSignal): Promise<Member> {
    return attempt(() => {
      signal?.throwIfAborted()
      return peer === this.self.peerId ? this.self : { ...this.#network.dial(this, peer).self, isSelf: false }
    })
  }

  open<In extends AnyFrame>(
    peer: PeerId,
    protocol: ProtocolName,
    inbound: FrameSet<In>,
    options: OpenOptions = {},
  ): Promise<FrameChannel<In>> {
    return attempt(() => {
      options.signal?.throwIfAborted()
      const target = peer === this.self.peerId ? this : this.#network.dial(this, peer)
      return target.accept(this, protocol, inbound)
    })
  }

  handle<In extends AnyFrame>(protocol: ProtocolName, inbound: FrameSet<In>, handler: ChannelHandler<In>): void {
    this.#services.set(protocol, { inbound, handler: handler as unknown as ChannelHandler<AnyFrame> })
  }

  /** Serves a stream of `from`; returns its end. @throws SkeinError DIAL_FAILED when the protocol is not served. */
  accept<In extends AnyFrame>(
    from: MemoryPeerTransport,
    protocol: ProtocolName,
    inbound: FrameSet<In>,
  ): FrameChannel<In> {
    const service = this.#services.get(protocol)
    const { peerId } = this.self
    if (service === undefined) throw new SkeinError('DIAL_FAILED', `${peerId} does not serve ${protocol}`)
    const frameBytesMax = protocol === 'attempt' ? LIMITS.attemptFrameBytesMax : LIMITS.controlFrameBytesMax
    const { clock, latencyMs } = this.#network
    const [near, far] = memoryChannelPair(
      { clock, latencyMs: from === this ? 0 : latencyMs, frameBytesMax },
      { peer: peerId, inbound, onFault: (error) => from.onFault(error) },
      { peer: from.self.peerId, inbound: service.inbound, onFault: (error) => this.onFault(error) },
    )
    if (from !== this) {
      this.#network.track(peerId, from.self.peerId, near as unknown as FrameChannel)
      this.#network.track(peerId, from.self.peerId, far as unknown as FrameChannel)
    }
    void this.#run(service, far, from === this ? this.self : { ...from.self, isSelf: false })
    return near
  }

  onFault(error: SkeinError): void {
    if (error.code === 'FRAME_TOO_LARGE') this.counters.add('frame_too_large')
    else this.counters.add(error.code === 'FRAME_UNEXPECTED' ? 'frame_unexpected' : 'frame_malformed')
  }

  onConnected(other: Member): void {
    const member = { ...other, isSelf: false }
    this.#members.set(member.peerId, member)
    for (const watcher of [...this.#watchers]) watcher.connected?.(member)
  }

  onDisconnected(other: Member): void {
    const member = this.#members.get(other.peerId)
    if (member === undefined) return
    this.#members.delete(other.peerId)
    for (const watcher of [...this.#watchers]) watcher.disconnected?.(member)
  }

  async #run(service: Service, channel: FrameChannel<AnyFrame>, member: Member): Promise<void> {
    try {
      await service.handler(channel, member)
      await channel.close()
    } catch (error) {
      this.counters.add('handler_failed')
      channel.abort(asSkeinError(error))
    }
  }
}

/** What `work` returns or throws, as a promise that settles at once. */
const attempt = <T>(work: () => T): Promise<T> => new Promise((resolve) => resolve(work()))
