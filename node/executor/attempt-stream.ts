/** One stream on which a coordinator follows an attempt, from `attempt.accepted` until both sides have closed. */
import { asSkeinError, SkeinError, type AttemptCommit, type FrameSet, type INBOUND } from '../../mesh/protocol/index.ts'
import { sleep, type Clock } from '../../mesh/runtime/index.ts'
import type { FrameChannel } from '../../mesh/network/index.ts'
import { FrameRelay, type FrameRelayInit } from './frame-relay.ts'

export type AttemptChannel = FrameChannel<typeof INBOUND.attemptNode extends FrameSet<infer F> ? F : never>

/** After the final frame the coordinator closes its side at once; one that does not may not have received it. */
const CLOSE_MS = 5000

/** `received`: closed by the coordinator after the final frame. `lost`: anything else. */
export type StreamEnd = 'received' | 'lost'

export interface StreamListener {
  cancelled(): void
  /** What it throws resets the stream. */
  committed(frame: AttemptCommit): void
}

export class AttemptStream {
  readonly relay: FrameRelay
  /** Resolves when the final frame is out, or never will be. */
  readonly flushed: Promise<void>
  readonly #flushed = Promise.withResolvers<void>()
  readonly #clock: Clock
  readonly #channel: AttemptChannel
  readonly #fence: number
  readonly #listener: StreamListener

  constructor(clock: Clock, channel: AttemptChannel, init: FrameRelayInit, listener: StreamListener) {
    this.#clock = clock
    this.#channel = channel
    this.#fence = init.fence
    this.#listener = listener
    this.flushed = this.#flushed.promise
    this.relay = new FrameRelay(channel, clock, init)
  }

  /** Runs it to its end. Does not throw. */
  async serve(): Promise<StreamEnd> {
    const reading = this.#read()
    const sending = this.relay.finished.then(async () => {
      await this.#channel.close()
      this.#flushed.resolve()
    })
    const isSent = sending.then(
      () => true,
      () => false,
    )
    // A coordinator that is quick has closed before the send of the final frame has returned here.
    const hasFinal = await Promise.race([isSent, reading.then(() => this.relay.hasFinal)])
    const isClosed = hasFinal && (await this.#closedInTime(reading))
    if (!isClosed) this.#channel.abort(new SkeinError('STREAM_TRUNCATED', 'the coordinator does not follow any more'))
    this.#flushed.resolve()
    return isClosed ? 'received' : 'lost'
  }

  /** Resets it: the attempt goes on on another one. */
  abort(reason: SkeinError): void {
    this.#channel.abort(reason)
  }

  async #closedInTime(reading: Promise<boolean>): Promise<boolean> {
    const over = new AbortController()
    const late = sleep(this.#clock, CLOSE_MS, over.signal).then(
      () => false,
      () => false,
    )
    const isClosed = await Promise.race([reading, late])
    over.abort()
    return isClosed
  }

  /** Listens until the coordinator's side closes: resolves with whether it closed in order. Does not throw. */
  async #read(): Promise<boolean> {
    try {
      for (;;) {
        const frame = await this.#channel.receive()
        if (frame === undefined) return true
        if (frame.type === 'attempt.start' || frame.type === 'attempt.attach')
          throw new SkeinError('FRAME_UNEXPECTED', `${frame.type} is the first frame of a stream or none`)
        if (frame.fence !== this.#fence) continue
        if (frame.type === 'attempt.commit') this.#listener.committed(frame)
        else this.#listener.cancelled()
      }
    } catch (thrown) {
      this.#channel.abort(asSkeinError(thrown, 'STREAM_TRUNCATED'))
      return false
    }
  }
}
