/**
 * The port between Skein and the network: members, and framed channels to them. `Libp2pPeerTransport` is the real one,
 * `MemoryPeerTransport` its twin for tests and simulation; one compliance suite holds both
 * (`test/compliance/peer-transport.suite.ts`).
 */
import type { AnyFrame, Certificate, Frame, FrameSet, PeerId, ProtocolName } from '../protocol/index.ts'

/** Frames to and from one member on one stream. */
export interface FrameChannel<In extends AnyFrame = AnyFrame> {
  readonly peer: PeerId
  /**
   * Resolves once the frame is handed over and the peer's window has room again: awaiting it is the back-pressure.
   *
   * @throws SkeinError STREAM_TRUNCATED when the stream is gone; the signal's reason.
   */
  send(frame: Frame, signal?: AbortSignal): Promise<void>
  /**
   * The next frame, or `undefined` when the peer closed after a whole frame. Not to be called again before it settled.
   *
   * @throws SkeinError FRAME_MALFORMED, FRAME_TOO_LARGE or FRAME_UNEXPECTED (the stream is reset and the reason counted),
   *   STREAM_TRUNCATED when the stream broke; the signal's reason.
   */
  receive(signal?: AbortSignal): Promise<In | undefined>
  /** Closes our side after what was sent; resolves when flushed. Does not throw. */
  close(): Promise<void>
  /** Resets the stream at once, in both directions. */
  abort(reason: Error): void
  /** Aborts when the channel is closed, reset or lost. */
  readonly closed: AbortSignal
}

/** A member that this process is connected to, by a certificate that was verified. */
export interface Member {
  readonly peerId: PeerId
  readonly certificate: Certificate
  /** True for this process itself. */
  readonly isSelf: boolean
}

export interface OpenOptions {
  readonly signal?: AbortSignal
}

export type ChannelHandler<In extends AnyFrame> = (channel: FrameChannel<In>, member: Member) => Promise<void>

export interface MembershipEvents {
  /** A member is connected and both sides have accepted each other's certificates. */
  connected(member: Member): void
  /** The last connection to it closed, or its certificate was revoked or expired. */
  disconnected(member: Member): void
}

export interface PeerTransport {
  readonly self: Member
  /** Members connected now, without ourselves. */
  members(): Member[]
  /** Calls back for each change, and at once for every member connected already. Returns the unsubscribe. */
  watch(events: Partial<MembershipEvents>): () => void
  /**
   * Connects to a peer and resolves once both sides have accepted each other; at once when that is so already.
   *
   * @throws SkeinError DIAL_FAILED, NOT_A_MEMBER, or the signal's reason.
   */
  connect(peer: PeerId, signal?: AbortSignal): Promise<Member>
  /**
   * Opens a channel to a member; to ourselves through memory. Connects first when there is no connection.
   *
   * @throws SkeinError DIAL_FAILED, NOT_A_MEMBER, or the signal's reason.
   */
  open<In extends AnyFrame>(
    peer: PeerId,
    protocol: ProtocolName,
    inbound: FrameSet<In>,
    options?: OpenOptions,
  ): Promise<FrameChannel<In>>
  /** Serves `protocol`; a handler that throws resets its stream with the reason. Members only. */
  handle<In extends AnyFrame>(protocol: ProtocolName, inbound: FrameSet<In>, handler: ChannelHandler<In>): void
}

/**
 * What the DHT says about who exists. Records are hints: they may be stale or rolled back, so callers verify the
 * signature, sequence and expiry, and what a node says on its control stream wins.
 */
export interface Discovery {
  /** Announces us under `keys` (see `discoveryKey`), again and again until stopped or replaced by another call. */
  advertise(keys: readonly string[]): void
  /** Peers that announced themselves under `key`; dialling them is `PeerTransport.open`'s work. */
  find(key: string, signal?: AbortSignal): AsyncIterable<PeerId>
  /** Stores the signed capability record under our own key. */
  publish(record: Uint8Array, signal?: AbortSignal): Promise<void>
  /** The record that is stored for `peer`, unverified beyond its signature. */
  lookup(peer: PeerId, signal?: AbortSignal): Promise<Uint8Array | undefined>
}

/** Names under which a node announces itself in the mesh's DHT. */
export const discoveryKey = {
  mesh: (): string => 'mesh',
  role: (role: 'coordinator' | 'node'): string => `role:${role}`,
  model: (digest: string): string => `model:${digest}`,
  capability: (capabilityClass: string): string => `class:${capabilityClass}`,
} as const
