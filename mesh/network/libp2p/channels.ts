/**
 * Framed channels of one host: opens them on streams, serves them to members, and connects us to ourselves. Limits of
 * frames and streams, by protocol, stand here.
 */
import type { Connection, Stream } from '@libp2p/interface'
import {
  asSkeinError,
  LIMITS,
  PROTOCOLS,
  SkeinError,
  type AnyFrame,
  type FrameSet,
  type PeerId,
  type ProtocolName,
} from '../../protocol/index.ts'
import type { Clock, Logger } from '../../runtime/index.ts'
import { memoryChannelPair } from '../channels/memory-channel.ts'
import { StreamFrameChannel } from '../channels/stream-channel.ts'
import type { CounterName, Counters } from '../counters.ts'
import type { ChannelHandler, FrameChannel, Member } from '../transport.ts'
import { Gate } from './gate.ts'
import type { Links } from './links.ts'
import type { MeshNode } from './node.ts'

/** After a handler returned, the peer may take this long to close its side, in ms. */
const LINGER_MS = 5000

/** Streams of one protocol that a connection may hold open, for protocols of which one is needed at a time. */
export const GATE_STREAMS_MAX = 4

const FRAME_BYTES_MAX: Readonly<Record<ProtocolName, number>> = {
  join: LIMITS.controlFrameBytesMax,
  hello: LIMITS.controlFrameBytesMax,
  control: LIMITS.controlFrameBytesMax,
  attempt: LIMITS.attemptFrameBytesMax,
  model: LIMITS.controlFrameBytesMax,
  work: LIMITS.attemptFrameBytesMax,
}
export const STREAMS_MAX: Readonly<Record<ProtocolName, number>> = {
  join: GATE_STREAMS_MAX,
  hello: GATE_STREAMS_MAX,
  control: GATE_STREAMS_MAX,
  attempt: LIMITS.attemptStreamsPerConnectionMax,
  model: LIMITS.modelStreamsPerConnectionMax,
  work: LIMITS.workStreamsPerConnectionMax,
}
const FAULTS: Readonly<Record<string, CounterName>> = {
  FRAME_TOO_LARGE: 'frame_too_large',
  FRAME_UNEXPECTED: 'frame_unexpected',
}

interface Service {
  readonly inbound: FrameSet<AnyFrame>
  readonly handler: ChannelHandler<AnyFrame>
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
  readonly #services = new Map<ProtocolName, Service>()
  readonly #open = new Set<FrameChannel<AnyFrame>>()

  constructor(components: ChannelsComponents) {
    this.#components = components
    this.#gate = new Gate(components.links, components.counters)
  }

  /** Protocols that have a handler. */
  get served(): readonly ProtocolName[] {
    return [...this.#services.keys()]
  }

  handle(protocol: ProtocolName, inbound: FrameSet<AnyFrame>, handler: ChannelHandler<AnyFrame>): void {
    this.#services.set(protocol, { inbound, handler })
  }

  /** A channel on a stream that is open. */
  on<In extends AnyFrame>(
    peer: PeerId,
    protocol: ProtocolName,
    stream: Stream,
    inbound: FrameSet<In>,
  ): StreamFrameChannel<In> {
    const frameBytesMax = FRAME_BYTES_MAX[protocol]
    const onFault = (error: SkeinError): void => this.#onFault(peer, protocol, error)
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

  #onFault(peer: PeerId, protocol: ProtocolName, error: SkeinError): void {
    this.#components.counters.add(FAULTS[error.code] ?? 'frame_malformed')
    this.#components.log.warn({ peer, protocol, code: error.code, reason: error.message }, 'stream reset')
  }

  /** A channel to our own handler. @throws SkeinError DIAL_FAILED when there is none. */
  toSelf<In extends AnyFrame>(self: Member, protocol: ProtocolName, inbound: FrameSet<In>): FrameChannel<In> {
    const service = this.#services.get(protocol)
    if (service === undefined) throw dialFailed(self.peerId, new SkeinError('NOT_FOUND', 'we do not serve it'))
    const peer = self.peerId
    const onFault = (error: SkeinError): void => this.#onFault(peer, protocol, error)
    const [near, far] = memoryChannelPair(
      FRAME_BYTES_MAX[protocol],
      { peer, inbound, onFault },
      { peer, inbound: service.inbound, onFault },
    )
    void this.#run(protocol, service, far, self)
    return near
  }

  /** Lets members open streams of `protocol`. */
  serve(node: MeshNode, protocol: ProtocolName): Promise<void> {
    const handler = this.#gate.guard(async (stream: Stream, connection: Connection) => {
      const service = this.#services.get(protocol)
      if (service === undefined) return stream.abort(new SkeinError('NOT_FOUND', 'not served'))
      const member = this.#components.links.memberBehind(connection)
      const channel = this.on(member.peerId, protocol, stream, service.inbound)
      await this.#run(protocol, service, channel, member)
    })
    const streamsMax = STREAMS_MAX[protocol]
    return node.handle(PROTOCOLS[protocol], handler, {
      maxInboundStreams: streamsMax,
      maxOutboundStreams: streamsMax,
      runOnLimitedConnection: true,
      force: true,
    })
  }

  /** Runs a handler on its channel: one that throws resets it, one that returns closes it. */
  async #run(protocol: ProtocolName, service: Service, channel: FrameChannel<AnyFrame>, member: Member): Promise<void> {
    try {
      await service.handler(channel, member)
      await channel.close()
    } catch (thrown) {
      const error = asSkeinError(thrown)
      this.#components.counters.add('handler_failed')
      this.#components.log.debug({ peer: member.peerId, protocol, err: error }, 'a handler failed')
      return channel.abort(error)
    }
    if (channel.closed.aborted) return
    const cancel = this.#components.clock.timer(LINGER_MS, () => {
      channel.abort(new SkeinError('STREAM_TIMEOUT', 'the peer did not close its side'))
    })
    channel.closed.addEventListener('abort', cancel, { once: true })
  }
}

/** `target` could not be reached, because of `cause`. */
export function dialFailed(target: string, cause: unknown): SkeinError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new SkeinError('DIAL_FAILED', `${target} cannot be reached: ${why}`, { cause })
}
