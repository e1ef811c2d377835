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
import type { Clock } from '../../runtime/index.ts'
import { memoryChannelPair, type Carry, type MemoryFrameChannel } from '../channels/memory-channel.ts'
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

/** As much of a channel as its connection needs to break it. */
export interface LosableChannel {
  readonly closed: AbortSignal
  lose(reason: Error): void
}

export class MemoryPeerTransport implements PeerTransport {
  readonly self: Member
  readonly counters = new Counters()
  readonly #network: MemoryNetwork
  readonly #clock: Clock | undefined
  readonly #members = new Map<PeerId, { readonly member: Member; readonly link: object }>()
  readonly #watchers = new Set<Partial<MembershipEvents>>()
  readonly #services = new Map<ProtocolName, Service>()

  /** @param clock as `MemoryNetwork.join`. */
  constructor(network: MemoryNetwork, certificate: Certificate, clock?: Clock) {
    this.#network = network
    this.#clock = clock
    this.self = { peerId: certificate.peerId, certificate, isSelf: true }
  }

  members(): Member[] {
    return Array.from(this.#members.values(), ({ member }) => member)
  }

  watch(events: Partial<MembershipEvents>): () => void {
    this.#watchers.add(events)
    for (const member of this.members()) events.connected?.(member)
    return () => this.#watchers.delete(events)
  }

  async connect(peer: PeerId, signal?: AbortSignal): Promise<Member> {
    signal?.throwIfAborted()
    if (peer === this.self.peerId) return this.self
    await this.#heard(peer, signal)
    return { ...this.#network.dial(this, peer).self, isSelf: false }
  }

  async open<In extends AnyFrame>(
    peer: PeerId,
    protocol: ProtocolName,
    inbound: FrameSet<In>,
    options: OpenOptions = {},
  ): Promise<FrameChannel<In>> {
    const { signal } = options
    signal?.throwIfAborted()
    if (peer === this.self.peerId) return this.#serve(this, protocol, inbound).near
    await this.#heard(peer, signal)
    const target = this.#network.dial(this, peer)
    const { near, far, accept } = target.#serve(this, protocol, inbound)
    this.#network.track(
      [
        { owner: this, channel: near },
        { owner: target, channel: far },
      ],
      peer,
      this.self.peerId,
    )
    await this.#opened(near, accept, signal)
    return near
  }

  handle<In extends AnyFrame>(protocol: ProtocolName, inbound: FrameSet<In>, handler: ChannelHandler<In>): void {
    this.#services.set(protocol, { inbound, handler: handler as unknown as ChannelHandler<AnyFrame> })
  }

  /** Calls in a turn of this member's process: at once, unless that has a clock of its own. */
  tell(call: () => void): void {
    if (this.#clock) this.#clock.timer(0, call)
    else call()
  }

  onFault(error: SkeinError): void {
    if (error.code === 'FRAME_TOO_LARGE') this.counters.add('frame_too_large')
    else this.counters.add(error.code === 'FRAME_UNEXPECTED' ? 'frame_unexpected' : 'frame_malformed')
  }

  /** @param link the connection, by which its end is told from that of an earlier one. */
  onConnected(other: Member, link: object): void {
    this.tell(() => {
      const member = { ...other, isSelf: false }
      this.#leave(member.peerId)
      this.#members.set(member.peerId, { member, link })
      for (const watcher of [...this.#watchers]) watcher.connected?.(member)
    })
  }

  /** A process that stood still hears of an end late, maybe after the next connection. */
  onDisconnected(other: Member, link: object): void {
    this.tell(() => {
      if (this.#members.get(other.peerId)?.link === link) this.#leave(other.peerId)
    })
  }

  #leave(peer: PeerId): void {
    const known = this.#members.get(peer)
    if (known === undefined) return
    this.#members.delete(peer)
    for (const watcher of [...this.#watchers]) watcher.disconnected?.(known.member)
  }

  /** Waits where nobody answers: until the signal aborts, or for ever. */
  async #heard(peer: PeerId, signal: AbortSignal | undefined): Promise<void> {
    if (!this.#network.isSilent(peer) && !this.#network.isStalled(this.self.peerId, peer)) return
    await new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  }

  /**
   * Both ends of a new stream of `from`; `accept` calls the handler of ours, whenever the stream has arrived.
   *
   * @throws SkeinError DIAL_FAILED when the protocol is not served.
   */
  #serve<In extends AnyFrame>(
    from: MemoryPeerTransport,
    protocol: ProtocolName,
    inbound: FrameSet<In>,
  ): { near: MemoryFrameChannel<In>; far: MemoryFrameChannel<AnyFrame>; accept: (answer: () => void) => void } {
    const service = this.#services.get(protocol)
    const { peerId } = this.self
    if (service === undefined) throw new SkeinError('DIAL_FAILED', `${peerId} does not serve ${protocol}`)
    const isLarge = protocol === 'attempt' || protocol === 'work'
    const frameBytesMax = isLarge ? LIMITS.attemptFrameBytesMax : LIMITS.controlFrameBytesMax
    const there = this.#lane(from)
    const back = from.#lane(this)
    const [near, far] = memoryChannelPair(
      frameBytesMax,
      { peer: peerId, inbound, onFault: (error) => from.onFault(error), carry: back },
      { peer: from.self.peerId, inbound: service.inbound, onFault: (error) => this.onFault(error), carry: there },
    )
    const run = (): void => void this.#run(service, far, from === this ? this.self : { ...from.self, isSelf: false })
    if (from === this) run()
    return {
      near,
      far,
      accept: (answer) =>
        there(() => {
          if (!far.closed.aborted) run()
          back(answer)
        }),
    }
  }

  /** A stream from `from` to this member. */
  #lane(from: MemoryPeerTransport): Carry {
    if (from === this) return (deliver) => deliver()
    const path = this.#network.path(from.self.peerId, this.self.peerId)
    return path.lane(this.#clock ?? this.#network.clock, this.#clock !== undefined)
  }

  /** Resolves when the other side has answered. @throws SkeinError STREAM_TRUNCATED; the signal's reason. */
  #opened(
    near: MemoryFrameChannel<AnyFrame>,
    accept: (answer: () => void) => void,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        signal?.removeEventListener('abort', onAbort)
        near.closed.removeEventListener('abort', onLost)
        act()
      }
      const onLost = (): void => settle(() => reject(near.closed.reason))
      const onAbort = (): void => {
        settle(() => reject(signal!.reason))
        near.abort(asSkeinError(signal!.reason))
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      near.closed.addEventListener('abort', onLost, { once: true })
      accept(() => settle(resolve))
    })
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
