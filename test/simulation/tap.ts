/** A transport whose frames are seen on their way, and may be changed by who sends them. */
import type { ChannelHandler, FrameChannel, PeerTransport } from '../../mesh/network/index.ts'
import type { AnyFrame, Frame, FrameSet, PeerId, ProtocolName } from '../../mesh/protocol/index.ts'

/** One stream, from the side that the tap is on. */
export interface TappedStream {
  readonly number: number
  readonly peer: PeerId
  readonly protocol: ProtocolName
}

export interface Tap {
  /** A frame is to be sent; gives what is sent in its place. */
  out(stream: TappedStream, frame: Frame): readonly Frame[]
  /** A frame was received. */
  in(stream: TappedStream, frame: AnyFrame): void
  /** This side closed or reset the stream. */
  over(stream: TappedStream): void
  /** Whether this side leaves the stream open though it has nothing more to say. */
  keepsOpen?(stream: TappedStream): boolean
}

class TappedChannel<In extends AnyFrame> implements FrameChannel<In> {
  readonly #inner: FrameChannel<In>
  readonly #tap: Tap
  readonly #stream: TappedStream

  constructor(inner: FrameChannel<In>, tap: Tap, stream: TappedStream) {
    this.#inner = inner
    this.#tap = tap
    this.#stream = stream
  }

  get peer(): PeerId {
    return this.#inner.peer
  }

  get closed(): AbortSignal {
    return this.#inner.closed
  }

  async send(frame: Frame, signal?: AbortSignal): Promise<void> {
    // what is refused was not sent
    if (this.#inner.closed.aborted) return this.#inner.send(frame, signal)
    for (const each of this.#tap.out(this.#stream, frame)) await this.#inner.send(each, signal)
  }

  async receive(signal?: AbortSignal): Promise<In | undefined> {
    const frame = await this.#inner.receive(signal)
    if (frame) this.#tap.in(this.#stream, frame)
    return frame
  }

  async close(): Promise<void> {
    if (this.#tap.keepsOpen?.(this.#stream)) return
    this.#tap.over(this.#stream)
    await this.#inner.close()
  }

  abort(reason: Error): void {
    if (this.#tap.keepsOpen?.(this.#stream)) return
    this.#tap.over(this.#stream)
    this.#inner.abort(reason)
  }
}

let streams = 0

/** Numbers of streams begin again: of a new history. */
export const renumberStreams = (): void => void (streams = 0)

export function tapped(inner: PeerTransport, tap: Tap): PeerTransport {
  const streamTo = (peer: PeerId, protocol: ProtocolName): TappedStream => ({ number: streams++, peer, protocol })
  return {
    self: inner.self,
    members: () => inner.members(),
    watch: (events) => inner.watch(events),
    connect: (peer, signal) => inner.connect(peer, signal),
    open: async (peer, protocol, inbound, options) =>
      new TappedChannel(await inner.open(peer, protocol, inbound, options), tap, streamTo(peer, protocol)),
    handle: <In extends AnyFrame>(protocol: ProtocolName, inbound: FrameSet<In>, handler: ChannelHandler<In>) =>
      inner.handle(protocol, inbound, async (channel, member) => {
        const stream = streamTo(channel.peer, protocol)
        try {
          await handler(new TappedChannel(channel, tap, stream), member)
        } finally {
          // the transport closes what its handler has left
          if (tap.keepsOpen?.(stream)) await closed(channel)
        }
      }),
  }
}

function closed(channel: FrameChannel): Promise<void> {
  return new Promise((resolve) => {
    if (channel.closed.aborted) resolve()
    else channel.closed.addEventListener('abort', () => resolve(), { once: true })
  })
}
