/**
 * Streams for attempts. Negotiating one costs a round trip before the first byte (0.8 ms on loopback, a link's whole
 * latency elsewhere), so that one more is kept in reserve for each node that is being used. It is opened once an attempt
 * has its first token, off the path of the request.
 */
import { INBOUND, LIMITS, SkeinError, type FrameSet, type PeerId } from '../../mesh/protocol/index.ts'
import { withDeadline, type CancelTimer, type Clock } from '../../mesh/runtime/index.ts'
import type { FrameChannel, PeerTransport } from '../../mesh/network/index.ts'

export type AttemptFrame = typeof INBOUND.attemptCoordinator extends FrameSet<infer F> ? F : never
export type AttemptChannel = FrameChannel<AttemptFrame>

export class AttemptStreams {
  readonly #clock: Clock
  readonly #transport: PeerTransport
  readonly #reserves = new Map<PeerId, { readonly channel: AttemptChannel; readonly cancelExpiry: CancelTimer }>()
  readonly #opening = new Set<PeerId>()
  #isClosed = false

  constructor(components: { readonly clock: Clock; readonly transport: PeerTransport }) {
    this.#clock = components.clock
    this.#transport = components.transport
  }

  /** A stream to `peer` on which nothing was sent yet. @throws as `PeerTransport.open`. */
  take(peer: PeerId, signal: AbortSignal): Promise<AttemptChannel> {
    const reserve = this.#reserves.get(peer)
    this.#reserves.delete(peer)
    reserve?.cancelExpiry()
    const isGood = reserve !== undefined && !reserve.channel.closed.aborted
    return isGood ? Promise.resolve(reserve.channel) : this.#open(peer, signal)
  }

  /** Opens a stream to `peer` for the next attempt, when there is none. */
  replenish(peer: PeerId): void {
    // A stream to ourselves goes through memory: there is nothing to negotiate.
    if (peer === this.#transport.self.peerId || this.#opening.has(peer) || this.#reserves.has(peer)) return
    this.#opening.add(peer)
    this.#openReserve(peer)
      // a node that cannot be reached now is tried again by the next attempt
      .catch(() => {})
      .finally(() => this.#opening.delete(peer))
  }

  /** Gives up what is held for `peer`: its life is over, and a stream to it may look open long after. */
  drop(peer: PeerId): void {
    const reserve = this.#reserves.get(peer)
    this.#reserves.delete(peer)
    reserve?.cancelExpiry()
    reserve?.channel.abort(new SkeinError('CLIENT_CLOSED', 'the reserve was not needed'))
  }

  /** Gives all reserves up. */
  close(): void {
    this.#isClosed = true
    for (const peer of [...this.#reserves.keys()]) this.drop(peer)
  }

  #open(peer: PeerId, signal: AbortSignal): Promise<AttemptChannel> {
    return this.#transport.open(peer, 'attempt', INBOUND.attemptCoordinator, { signal })
  }

  async #openReserve(peer: PeerId): Promise<void> {
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', 'no stream to hold in reserve')
    const channel = await withDeadline(this.#clock, LIMITS.assignToAcceptMs, late, undefined, (signal) =>
      this.#open(peer, signal),
    )
    const cancelExpiry = this.#clock.timer(LIMITS.reserveStreamMs, () => this.drop(peer))
    this.#reserves.set(peer, { channel, cancelExpiry })
    if (this.#isClosed) this.drop(peer)
  }
}
