/**
 * The coordinator's end of control streams. A node that says nothing, garbage or things out of order has its stream
 * reset; what it announced before is then no longer counted on.
 */
import {
  INBOUND,
  LIMITS,
  SkeinError,
  type CapabilityRecord,
  type ControlDirective,
  type ControlOrder,
  type ControlOutcome,
  type FrameSet,
  type PeerId,
  type Signed,
} from '../../mesh/protocol/index.ts'
import { sleep, withDeadline, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import { RoundTrips, type FrameChannel, type Member, type PeerTransport } from '../../mesh/network/index.ts'
import type { Directory, HeldAttempt } from './directory.ts'

type ControlFrame = typeof INBOUND.controlCoordinator extends FrameSet<infer F> ? F : never

/** For the goodbye to get out to a node that does not read. */
const GOODBYE_MS = 500
/** For a directive, or an order, to be taken by a node that does not read. */
const DIRECT_MS = 2000

export interface ControlServerComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly transport: PeerTransport
  readonly directory: Directory
  /** The record in `signed`. Throws a SkeinError unless it is `peer`'s own, by content and signature. */
  readonly openRecord: (peer: PeerId, signed: Signed) => Promise<CapabilityRecord>
  /** The newest revocation list, as its signed bytes; sent to nodes when it changes. */
  readonly revocations: () => Signed | undefined
  /** Origins of the gateway that other machines reach, now. */
  readonly http?: () => readonly string[]
  /** What a node says of an order. */
  readonly onOutcome?: (peerId: PeerId, outcome: ControlOutcome) => void
}

export class ControlServer {
  readonly #components: ControlServerComponents
  readonly #log: Logger
  readonly #channels = new Map<PeerId, FrameChannel<ControlFrame>>()

  constructor(components: ControlServerComponents) {
    this.#components = components
    this.#log = components.log.scope('control')
  }

  start(): void {
    this.#components.transport.handle('control', INBOUND.controlCoordinator, (channel, member) =>
      this.#serve(channel, member),
    )
    this.#components.directory.watch({
      lost: (peerId) => this.#channels.get(peerId)?.abort(new SkeinError('NODE_LOST', 'its control stream is over')),
      release: (peerId, attempts) => this.#release(peerId, attempts),
    })
  }

  /** Says goodbye to every node. Bounded, does not throw. */
  async stop(): Promise<void> {
    await Promise.allSettled([...this.#channels.values()].map((channel) => this.#farewell(channel)))
  }

  /** Hands the newest revocation list to every node. */
  pushRevocations(): void {
    const revocations = this.#components.revocations()
    if (revocations === undefined) return
    for (const channel of this.#channels.values())
      channel.send({ type: 'control.revocations', revocations }).catch(() => {
        // a channel that cannot be written to is found out by its reader
      })
  }

  /** @throws SkeinError NODE_LOST when the node has no control stream to us, or did not take it in time. */
  direct(peerId: PeerId, directive: ControlDirective['directive']): Promise<void> {
    return this.#tell(peerId, { type: 'control.directive', directive })
  }

  /** @throws SkeinError NODE_LOST as `direct`. What becomes of the order is told to `onOutcome`. */
  order(peerId: PeerId, order: ControlOrder): Promise<void> {
    return this.#tell(peerId, order)
  }

  async #tell(peerId: PeerId, frame: ControlDirective | ControlOrder): Promise<void> {
    const gone = (): SkeinError => new SkeinError('NODE_LOST', 'the node cannot be told: it is not connected')
    const channel = this.#channels.get(peerId)
    if (channel === undefined) throw gone()
    await withDeadline(this.#components.clock, DIRECT_MS, gone, channel.closed, (signal) => channel.send(frame, signal))
  }

  #release(peerId: PeerId, attempts: readonly HeldAttempt[]): void {
    const frame = {
      type: 'control.release',
      attempts: attempts.map(({ taskId, fence }) => ({ taskId, fence })),
    } as const
    this.#channels
      .get(peerId)
      ?.send(frame)
      .catch(() => {
        // the node drops them by itself after a while
      })
  }

  async #farewell(channel: FrameChannel<ControlFrame>): Promise<void> {
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', `no goodbye taken within ${GOODBYE_MS} ms`)
    const cancel = this.#components.clock.timer(GOODBYE_MS, () => channel.abort(late()))
    try {
      await channel.send({ type: 'control.goodbye', reason: 'the coordinator is stopping' })
      await channel.close()
    } finally {
      cancel()
    }
  }

  async #serve(channel: FrameChannel<ControlFrame>, member: Member): Promise<void> {
    const { directory, clock } = this.#components
    const first = await withDeadline(clock, LIMITS.helloMs, silence, channel.closed, (signal) =>
      channel.receive(signal),
    )
    if (first?.type !== 'control.announce')
      throw new SkeinError('FRAME_UNEXPECTED', 'a control stream begins with control.announce')
    const record = await this.#verified(first.capability, member.peerId)
    // A second stream of the same node is its newer life; the older one is over.
    this.#channels.get(member.peerId)?.abort(new SkeinError('NODE_LOST', 'replaced by a newer control stream'))
    const session = directory.connected(member)
    this.#channels.set(member.peerId, channel)
    let saidGoodbye = false
    try {
      directory.announce(member.peerId, record)
      await this.#welcome(channel, record)
      this.#log.info({ peer: member.peerId, name: record.name, models: record.models.length }, 'node joined')
      const roundTrips = new RoundTrips()
      await Promise.race([this.#read(channel, member.peerId, roundTrips), this.#beat(channel, roundTrips)])
      saidGoodbye = true
    } finally {
      if (this.#channels.get(member.peerId) === channel) this.#channels.delete(member.peerId)
      directory.disconnected(member.peerId, session, saidGoodbye)
    }
    await channel.close()
  }

  async #read(channel: FrameChannel<ControlFrame>, peerId: PeerId, roundTrips: RoundTrips): Promise<void> {
    const { clock, directory } = this.#components
    for (;;) {
      const frame = await channel.receive()
      if (frame === undefined)
        throw new SkeinError('STREAM_TRUNCATED', 'the control stream ended without control.goodbye')
      directory.heard(peerId)
      switch (frame.type) {
        case 'control.announce': {
          const record = await this.#verified(frame.capability, peerId)
          directory.announce(peerId, record)
          await this.#welcome(channel, record)
          break
        }
        case 'control.load':
          directory.report(peerId, frame.load)
          break
        case 'control.heartbeat': {
          const trip = roundTrips.hear(frame.sequence, frame.echo, clock.nowMs())
          if (trip !== undefined) directory.roundTrip(peerId, trip)
          break
        }
        case 'control.held':
          directory.held({ peerId, attempts: frame.attempts })
          break
        case 'control.outcome':
          this.#components.onOutcome?.(peerId, frame)
          break
        case 'control.goodbye':
          this.#log.info({ peer: peerId, reason: frame.reason }, 'node said goodbye')
          return
      }
    }
  }

  async #beat(channel: FrameChannel<ControlFrame>, roundTrips: RoundTrips): Promise<void> {
    const { clock, directory } = this.#components
    for (let sequence = 0; ; sequence++) {
      await sleep(clock, LIMITS.heartbeatIntervalMs, channel.closed)
      const nowMs = clock.nowMs()
      const isProbe = directory.entry(channel.peer)?.takeProbe(nowMs) ?? false
      const probe = isProbe ? new Uint8Array(LIMITS.linkProbeBytesMax) : undefined
      const echo = roundTrips.send(sequence, nowMs, probe?.length)
      const more = { ...(echo && { echo }), ...(probe && { probe }) }
      await channel.send({ type: 'control.heartbeat', sequence, ...more }, channel.closed)
    }
  }

  async #welcome(channel: FrameChannel<ControlFrame>, record: CapabilityRecord): Promise<void> {
    const http = this.#components.http?.().slice(0, LIMITS.gatewayOriginsMax) ?? []
    await channel.send({
      type: 'control.welcome',
      sequence: record.sequence,
      coordinator: this.#components.transport.self.peerId,
      heartbeatIntervalMs: LIMITS.heartbeatIntervalMs,
      ...(http.length > 0 && { http: [...http] }),
    })
  }

  async #verified(signed: Signed, peerId: PeerId): Promise<CapabilityRecord> {
    const { openRecord, transport } = this.#components
    const record = await openRecord(peerId, signed)
    if (record.meshId !== transport.self.certificate.meshId)
      throw new SkeinError('WRONG_MESH', 'the capability record is of another mesh')
    return record
  }
}

const silence = (): SkeinError => new SkeinError('STREAM_TIMEOUT', 'a control stream was opened and nothing announced')
