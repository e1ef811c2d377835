/**
 * The node's end of one control stream: announces, reports load, beats, and listens whether the coordinator still lives.
 * A link never gives up: after any end but `stop` it opens a new stream, with jittered back-off.
 *
 * One loop writes. What is to be said are flags that it looks at, not a queue: a slow coordinator gets the newest record
 * and the newest load, never a backlog.
 */
import {
  asSkeinError,
  INBOUND,
  LIMITS,
  SkeinError,
  type Frame,
  type FrameSet,
  type LoadReport,
  type PeerId,
  type Signed,
} from '../../mesh/protocol/index.ts'
import {
  sleep,
  withDeadline,
  type CancelTimer,
  type Clock,
  type Logger,
  type Random,
} from '../../mesh/runtime/index.ts'
import { RoundTrips, type FrameChannel, type Member, type PeerTransport } from '../../mesh/network/index.ts'

type ControlFrame = typeof INBOUND.controlNode extends FrameSet<infer F> ? F : never
type ControlChannel = FrameChannel<ControlFrame>
type Held = Extract<Frame, { type: 'control.held' }>['attempts']
type ControlRelease = Extract<Frame, { type: 'control.release' }>
type ControlOrder = Extract<Frame, { type: 'control.order' }>
type ControlOutcome = Extract<Frame, { type: 'control.outcome' }>
export type Directive = Extract<Frame, { type: 'control.directive' }>['directive']

/** Connecting, hello and opening the stream. */
const OPEN_MS = 10_000
/** After a stream that lasted: what ended it may be over already, as when this machine was asleep. */
const RETRY_MS_FIRST = 50
const LASTED_MS = LIMITS.lostAfterMs
/** Back-off between two streams that did not: doubled from the first up to the last, with jitter. */
const RETRY_MS_MIN = 250
const RETRY_MS_MAX = 15_000
/** How often silence is looked for. */
const SWEEP_MS = LIMITS.lostAfterMs / 8
/** The fastest beat that a coordinator may ask for. */
const HEARTBEAT_MS_LEAST = 100
/** For the goodbye to get out. */
const GOODBYE_MS = 500

export type LinkState = 'connecting' | 'announced' | 'welcomed' | 'ended'

/** What the link has to say. */
export interface ControlSource {
  record(): Signed
  /** As `coordinator` is to see it. */
  load(coordinator: PeerId): Omit<LoadReport, 'sequence'>
  held(): Held
}

/** What a coordinator asks of the node, beyond attempts. */
export interface ControlOrders {
  /** `coordinator` does not want these attempts any more. */
  released(coordinator: PeerId, attempts: ControlRelease['attempts']): void
  directed(directive: Directive): void
  /** `coordinator` wants a replica here; what becomes of it is told by `outcome` of its link. */
  ordered(coordinator: PeerId, order: ControlOrder): void
}

export interface ControlLinkComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly transport: PeerTransport
  readonly source: ControlSource
  readonly orders: ControlOrders
  /** Takes over a revocation list after checking its signature; a list that it throws at ends the stream. */
  readonly onRevocations: (revocations: Signed) => Promise<void>
}

export class ControlLink {
  readonly peer: PeerId
  readonly #components: ControlLinkComponents
  readonly #log: Logger
  readonly #stopping = new AbortController()
  #state: LinkState = 'connecting'
  #http: readonly string[] = []
  #goodbye: string | undefined
  #mustAnnounce = false
  #mustReport = false
  #mustReportNow = false
  #mustTellHeld = false
  /** What is to be told of orders that came on this stream. */
  #outcomes: ControlOutcome[] = []
  #beatMs: number = LIMITS.heartbeatIntervalMs
  #heardAtMs = 0
  /** Of the present stream. */
  #roundTrips = new RoundTrips()
  #sequence = 0
  #wakeWriter: () => void = () => {}
  #wakeRetry: () => void = () => {}
  #overrun: () => void = () => {}
  #loop: Promise<void> | undefined

  constructor(components: ControlLinkComponents, peer: PeerId) {
    this.peer = peer
    this.#components = components
    this.#log = components.log.scope('control', { coordinator: peer })
  }

  /** There and back on the control stream, in ms; `undefined` until it is known. */
  get roundTripMs(): number | undefined {
    return this.#roundTrips.ms
  }

  get state(): LinkState {
    return this.#state
  }

  /** Origins of its gateway, as it told last; none where no other machine reaches it. */
  get http(): readonly string[] {
    return this.#http
  }

  /** Runs until `stop`, or until the peer turns out to be no coordinator. */
  start(): Promise<void> {
    this.#loop ??= this.#run()
    return this.#loop
  }

  /** There is a new record. */
  announce(): void {
    this.#mustAnnounce = true
    this.#wakeWriter()
  }

  /** The load changed. When `isUrgent`, the interval between two reports is not waited for. */
  report(isUrgent: boolean): void {
    this.#mustReport = true
    this.#mustReportNow ||= isUrgent
    this.#wakeWriter()
  }

  /** Other attempts are held than before, or one of them has ended. */
  tellHeld(): void {
    this.#mustTellHeld = true
    this.#wakeWriter()
  }

  /** What becomes of an order. More of them than are read end the stream: nobody orders that much. */
  outcome(outcome: ControlOutcome): void {
    if (this.#outcomes.length >= 2 * LIMITS.replicaOrdersMax) return this.#overrun()
    this.#outcomes.push(outcome)
    this.#wakeWriter()
  }

  /** The peer is connected now: no reason to wait with the next stream. */
  retryNow(): void {
    this.#wakeRetry()
  }

  /** Says goodbye as the final frame and ends. Bounded, does not throw. */
  async stop(reason: string): Promise<void> {
    this.#goodbye = reason
    this.#wakeWriter()
    this.#wakeRetry()
    if (this.#state === 'connecting') this.#stopping.abort(stopped())
    const cancel = this.#components.clock.timer(GOODBYE_MS, () => this.#stopping.abort(stopped()))
    await this.#loop
    cancel()
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#components
    for (let failures = 0; this.#goodbye === undefined;) {
      const beganMs = clock.nowMs()
      try {
        this.#state = 'connecting'
        await this.#session()
      } catch (thrown) {
        const error = asSkeinError(thrown)
        if (error.code === 'FORBIDDEN') break
        this.#log.debug({ code: error.code }, error.message)
      }
      if (this.#goodbye !== undefined) break
      const hasLasted = clock.nowMs() - beganMs >= LASTED_MS
      if ((this.#state as LinkState) === 'welcomed') failures = hasLasted ? 0 : 1
      else failures++
      this.#state = 'connecting'
      const fullMs = failures === 0 ? RETRY_MS_FIRST : Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (failures - 1))
      const waitMs = fullMs * (0.5 + random.next() / 2)
      const awake = new AbortController()
      this.#wakeRetry = () => awake.abort()
      await sleep(clock, waitMs, awake.signal).catch(() => {})
    }
    this.#state = 'ended'
  }

  /** One stream, from opening to its end. @throws what ended it; returns after a goodbye of either side. */
  async #session(): Promise<void> {
    const { clock, transport } = this.#components
    const late = (): SkeinError => new SkeinError('DIAL_FAILED', `no control stream within ${OPEN_MS} ms`)
    const channel = await withDeadline(clock, OPEN_MS, late, this.#stopping.signal, (signal) =>
      transport.open(this.peer, 'control', INBOUND.controlNode, { signal }),
    )
    this.#roundTrips = new RoundTrips()
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, channel.closed, this.#stopping.signal])
    const stopSweep = this.#watchSilence(channel)
    try {
      const member = memberOf(transport, this.peer)
      // the connection broke as the stream opened: who it is cannot be told, and it is tried again
      if (member === undefined) throw new SkeinError('STREAM_TRUNCATED', `${this.peer} is not connected any more`)
      if (!member.certificate.roles.includes('coordinator'))
        throw new SkeinError('FORBIDDEN', `${this.peer} is no coordinator`)
      this.#overrun = () =>
        channel.abort(new SkeinError('FRAME_UNEXPECTED', 'the coordinator sends orders faster than it reads answers'))
      await Promise.race([this.#read(channel, signal), this.#write(channel, signal)])
      await channel.close()
    } catch (thrown) {
      channel.abort(asSkeinError(thrown))
      throw thrown
    } finally {
      stopSweep()
      over.abort(stopped())
      this.#wakeWriter()
    }
  }

  async #read(channel: ControlChannel, signal: AbortSignal): Promise<void> {
    for (;;) {
      const frame = await channel.receive(signal)
      if (frame === undefined)
        throw new SkeinError('STREAM_TRUNCATED', 'the control stream ended without control.goodbye')
      this.#heardAtMs = this.#components.clock.nowMs()
      switch (frame.type) {
        case 'control.welcome':
          if (this.#state !== 'welcomed') this.#log.info({}, 'welcomed')
          this.#state = 'welcomed'
          this.#http = frame.http ?? []
          this.#beatMs = Math.min(LIMITS.heartbeatIntervalMs, Math.max(HEARTBEAT_MS_LEAST, frame.heartbeatIntervalMs))
          break
        case 'control.revocations':
          await this.#components.onRevocations(frame.revocations)
          break
        case 'control.release':
          this.#components.orders.released(this.peer, frame.attempts)
          break
        case 'control.directive':
          this.#components.orders.directed(frame.directive)
          break
        case 'control.order':
          this.#components.orders.ordered(this.peer, frame)
          break
        case 'control.heartbeat':
          this.#roundTrips.hear(frame.sequence, frame.echo, this.#heardAtMs)
          break
        case 'control.goodbye':
          this.#log.info({ reason: frame.reason }, 'the coordinator said goodbye')
          return
      }
    }
  }

  async #write(channel: ControlChannel, signal: AbortSignal): Promise<void> {
    const { clock } = this.#components
    this.#mustAnnounce = this.#mustTellHeld = this.#mustReport = true
    this.#outcomes = []
    let sentAtMs = clock.nowMs()
    let reportedAtMs = Number.NEGATIVE_INFINITY
    while (!signal.aborted) {
      const nowMs = clock.nowMs()
      const frame = this.#due(nowMs, sentAtMs, reportedAtMs)
      if (frame === undefined) {
        const beatInMs = sentAtMs + this.#beatMs - nowMs
        const reportInMs = reportedAtMs + LIMITS.loadReportIntervalMs - nowMs
        await this.#pause(this.#mustReport ? Math.min(beatInMs, reportInMs) : beatInMs)
        continue
      }
      await channel.send(frame, signal)
      sentAtMs = clock.nowMs()
      if (frame.type === 'control.load') reportedAtMs = sentAtMs
      if (frame.type === 'control.announce' && this.#state === 'connecting') this.#state = 'announced'
      if (frame.type === 'control.goodbye') return
    }
    signal.throwIfAborted()
  }

  /** The frame to be sent now, the most important first: record, what is held, outcomes, goodbye, load, a heartbeat. */
  #due(nowMs: number, sentAtMs: number, reportedAtMs: number): Frame | undefined {
    const { source } = this.#components
    if (this.#mustAnnounce) {
      this.#mustAnnounce = false
      return { type: 'control.announce', capability: source.record() }
    }
    if (this.#mustTellHeld) {
      this.#mustTellHeld = false
      return { type: 'control.held', attempts: source.held() }
    }
    const outcome = this.#outcomes.shift()
    if (outcome !== undefined) return outcome
    if (this.#goodbye !== undefined) return { type: 'control.goodbye', reason: this.#goodbye }
    const mayReport = this.#mustReportNow || nowMs - reportedAtMs >= LIMITS.loadReportIntervalMs
    if (this.#mustReport && mayReport) {
      this.#mustReport = this.#mustReportNow = false
      return { type: 'control.load', load: { ...source.load(this.peer), sequence: this.#sequence++ } }
    }
    if (nowMs - sentAtMs >= this.#beatMs) return this.#heartbeat(nowMs)
    return undefined
  }

  #heartbeat(nowMs: number): Frame {
    const sequence = this.#sequence++
    const echo = this.#roundTrips.send(sequence, nowMs)
    return { type: 'control.heartbeat', sequence, ...(echo && { echo }) }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      // Whole milliseconds: a remainder below what the clock resolves would be waited for again and again.
      const cancel = this.#components.clock.timer(Math.max(1, Math.ceil(ms)), resolve)
      this.#wakeWriter = () => {
        cancel()
        resolve()
      }
    })
  }

  /** Resets `channel` when nothing was heard for `lostAfterMs`. Time in which we stood still ourselves does not count. */
  #watchSilence(channel: ControlChannel): () => void {
    const { clock } = this.#components
    let cancel: CancelTimer
    let sweptAtMs = (this.#heardAtMs = clock.nowMs())
    const sweep = (): void => {
      const nowMs = clock.nowMs()
      const lateMs = nowMs - sweptAtMs - SWEEP_MS
      sweptAtMs = nowMs
      if (lateMs > SWEEP_MS) this.#heardAtMs = Math.min(nowMs, this.#heardAtMs + lateMs)
      const silentMs = Math.round(nowMs - this.#heardAtMs)
      if (silentMs > LIMITS.lostAfterMs)
        return channel.abort(new SkeinError('STREAM_TIMEOUT', `the coordinator was silent for ${silentMs} ms`))
      cancel = clock.timer(SWEEP_MS, sweep)
    }
    cancel = clock.timer(SWEEP_MS, sweep)
    return () => cancel()
  }
}

const memberOf = (transport: PeerTransport, peer: PeerId): Member | undefined =>
  peer === transport.self.peerId ? transport.self : transport.members().find((member) => member.peerId === peer)

const stopped = (): SkeinError => new SkeinError('NODE_DRAINING', 'the node is stopping')
