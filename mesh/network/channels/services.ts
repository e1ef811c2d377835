/**
 * What a member serves: its handlers by protocol, and channels to them through memory, for whoever is in the same process.
 */
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type AnyFrame,
  type FrameSet,
  type PeerId,
  type ProtocolName,
} from '../../protocol/index.ts'
import type { Clock, Logger } from '../../runtime/index.ts'
import type { CounterName, Counters } from '../counters.ts'
import type { ChannelHandler, FrameChannel, Member } from '../transport.ts'
import { memoryChannelPair } from './memory-channel.ts'

/** After a handler returned, the peer may take this long to close its side, in ms. */
const LINGER_MS = 5000

export const FRAME_BYTES_MAX: Readonly<Record<ProtocolName, number>> = {
  join: LIMITS.controlFrameBytesMax,
  hello: LIMITS.controlFrameBytesMax,
  control: LIMITS.controlFrameBytesMax,
  attempt: LIMITS.attemptFrameBytesMax,
  model: LIMITS.controlFrameBytesMax,
  work: LIMITS.attemptFrameBytesMax,
}
const FAULTS: Readonly<Record<string, CounterName>> = {
  FRAME_TOO_LARGE: 'frame_too_large',
  FRAME_UNEXPECTED: 'frame_unexpected',
}

export interface Service {
  readonly inbound: FrameSet<AnyFrame>
  readonly handler: ChannelHandler<AnyFrame>
}

export interface ServicesComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly counters: Counters
}

/** The two ends of a channel through memory. */
export interface Ends<In extends AnyFrame> {
  readonly near: FrameChannel<In>
  readonly far: FrameChannel<AnyFrame>
}

export class Services {
  readonly #components: ServicesComponents
  readonly #services = new Map<ProtocolName, Service>()

  constructor(components: ServicesComponents) {
    this.#components = components
  }

  /** Protocols that have a handler. */
  get served(): readonly ProtocolName[] {
    return [...this.#services.keys()]
  }

  of(protocol: ProtocolName): Service | undefined {
    return this.#services.get(protocol)
  }

  handle<In extends AnyFrame>(protocol: ProtocolName, inbound: FrameSet<In>, handler: ChannelHandler<In>): void {
    this.#services.set(protocol, { inbound, handler: handler as unknown as ChannelHandler<AnyFrame> })
  }

  /**
   * A channel of `from`, which is in this process, to the handler of `self`, whose these services are.
   *
   * @throws SkeinError DIAL_FAILED when there is none.
   */
  connect<In extends AnyFrame>(self: Member, from: Member, protocol: ProtocolName, inbound: FrameSet<In>): Ends<In> {
    const service = this.#services.get(protocol)
    if (service === undefined)
      throw dialFailed(self.peerId, new SkeinError('NOT_FOUND', `it does not serve ${protocol}`))
    const onFault =
      (peer: PeerId) =>
      (error: SkeinError): void =>
        this.onFault(peer, protocol, error)
    const [near, far] = memoryChannelPair(
      FRAME_BYTES_MAX[protocol],
      { peer: self.peerId, inbound, onFault: onFault(self.peerId) },
      { peer: from.peerId, inbound: service.inbound, onFault: onFault(from.peerId) },
    )
    void this.run(protocol, service, far, from)
    return { near, far }
  }

  /** A stream of `peer` was reset for what came on it. */
  onFault(peer: PeerId, protocol: ProtocolName, error: SkeinError): void {
    this.#components.counters.add(FAULTS[error.code] ?? 'frame_malformed')
    this.#components.log.warn({ peer, protocol, code: error.code, reason: error.message }, 'stream reset')
  }

  /** Runs a handler on its channel: one that throws resets it, one that returns closes it. */
  async run(protocol: ProtocolName, service: Service, channel: FrameChannel<AnyFrame>, member: Member): Promise<void> {
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
