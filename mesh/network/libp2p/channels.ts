/**
 * Framed channels of one host: opens them on streams, serves them to members, and connects us to ourselves. Limits of
 * frames and streams, by protocol, stand here.
 */
import type { Connection, Stream } from '@libp2p/interface'
import {
  LIMITS,
  PROTOCOLS,
  SkeinError,
  type AnyFrame,
  type FrameSet,
  type PeerId,
  type ProtocolName,
} from '../../protocol/index.ts'
import type { Clock, Logger } from '../../runtime/index.ts'
import { FRAME_BYTES_MAX, Services } from '../channels/services.ts'
import { StreamFrameChannel } from '../channels/stream-channel.ts'
import type { Counters } from '../counters.ts'
import type { ChannelHandler, FrameChannel, Member } from '../transport.ts'
import { Gate } from './gate.ts'
import type { Links } from './links.ts'
import type { MeshNode } from './node.ts'

/** Streams of one protocol that a connection may hold open, for protocols of which one is needed at a time. */
export const GATE_STREAMS_MAX = 4

export const STREAMS_MAX: Readonly<Record<ProtocolName, number>> = {
  join: GATE_STREAMS_MAX,
  hello: GATE_STREAMS_MAX,
  control: GATE_STREAMS_MAX,
  attempt: LIMITS.attemptStreamsPerConnectionMax,
  model: LIMITS.modelStreamsPerConnectionMax,
  work: LIMITS.workStreamsPerConnectionMax,
}

export interface ChannelsComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly counters: Counters
  readonly links: Links
}

export class Channels {
  readonly #components: ChannelsComponents
  readonly #gate: Gate
  readonly #services: Services
  readonly #open = new Set<FrameChannel<AnyFrame>>()

  constructor(components: ChannelsComponents) {
    this.#components = components
    this.#gate = new Gate(components.links, components.counters)
    this.#services = new Services(components)
  }

  /** Protocols that have a handler. */
  get served(): readonly ProtocolName[] {
    return this.#services.served
  }

  handle(protocol: ProtocolName, inbound: FrameSet<AnyFrame>, handler: ChannelHandler<AnyFrame>): void {
    this.#services.handle(protocol, inbound, handler)
  }

  /** A channel on a stream that is open. */
  on<In extends AnyFrame>(
    peer: PeerId,
    protocol: ProtocolName,
    stream: Stream,
    inbound: FrameSet<In>,
  ): StreamFrameChannel<In> {
    const frameBytesMax = FRAME_BYTES_MAX[protocol]
    const onFault = (error: SkeinError): void => this.#services.onFault(peer, protocol, error)
    const { clock } = this.#components
    const channel = new StreamFrameChannel({ peer, stream, inbound, clock, frameBytesMax, onFault })
    this.#open.add(channel)
    channel.closed.addEventListener('abort', () => this.#open.delete(channel), { once: true })
    return channel
  }

  /** Resets what is still open: the library would close it, and whoever leaves in the middle must not look finished. */
  reset(): void {
    for (const channel of [...this.#open]) channel.abort(new SkeinError('STREAM_TRUNCATED', 'this process is stopping'))
  }

  /**
   * A channel to our own handler, of a member that is in this process: `from`, or ourselves.
   *
   * @throws SkeinError DIAL_FAILED when there is no handler.
   */
  inMemory<In extends AnyFrame>(
    self: Member,
    protocol: ProtocolName,
    inbound: FrameSet<In>,
    from: Member = self,
  ): FrameChannel<In> {
    return this.#services.connect(self, from, protocol, inbound).near
  }

  /** Lets members open streams of `protocol`. */
  serve(node: MeshNode, protocol: ProtocolName): Promise<void> {
    const handler = this.#gate.guard(async (stream: Stream, connection: Connection) => {
      const service = this.#services.of(protocol)
      if (service === undefined) return stream.abort(new SkeinError('NOT_FOUND', 'not served'))
      const member = this.#components.links.memberBehind(connection)
      const channel = this.on(member.peerId, protocol, stream, service.inbound)
      await this.#services.run(protocol, service, channel, member)
    })
    const streamsMax = STREAMS_MAX[protocol]
    return node.handle(PROTOCOLS[protocol], handler, {
      maxInboundStreams: streamsMax,
      maxOutboundStreams: streamsMax,
      runOnLimitedConnection: true,
      force: true,
    })
  }
}
