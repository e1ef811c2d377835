/**
 * Frames of one attempt on their way out on one stream. One frame is on the wire at a time; what the engine makes
 * meanwhile waits in the log and goes as one frame, so that a slow link gets fewer, larger frames instead of a queue. What
 * was made before the stream was opened goes one frame a piece: its receiver may have to stop behind any of them.
 */
import {
  asSkeinError,
  LIMITS,
  packTokenIds,
  SkeinError,
  type AttemptProgress,
  type Frame,
  type TokenLogprob,
} from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'
import type { FrameChannel } from '../../mesh/network/index.ts'
import { TEXT_LENGTH_MAX, type AnswerLog } from './answer-log.ts'

/** A coordinator cuts a client that does not read after `clientStallMs`; one that itself reads nothing is gone. */
const SEND_STALL_MS = 2 * LIMITS.clientStallMs
/**
 * Least time between two frames of tokens. A frame costs both ends more than a token does; above 250 tokens/s tokens
 * share frames, below it none ever waits.
 */
const TOKENS_INTERVAL_MS = 4
/** Frames of what was made before, after which everything else of the process has a turn: heartbeats above all. */
const REPLAY_BURST = 64
const REPLAY_PAUSE_MS = 1
/** The contract of `attempt.progress` is a second without tokens; half of it forgives a late timer. */
export const PROGRESS_MS = 500

export interface FrameRelayInit {
  readonly fence: number
  readonly log: AnswerLog
  /** Number of the first piece to be sent. */
  readonly piece: number
}

export class FrameRelay {
  /** Resolves when the final frame was handed over; rejects with the SkeinError for which the channel was lost. */
  readonly finished: Promise<void>
  readonly #finished = Promise.withResolvers<void>()
  readonly #channel: FrameChannel
  readonly #clock: Clock
  readonly #fence: number
  readonly #log: AnswerLog
  readonly #replayTo: number
  #next: number
  #accepted: Frame | undefined
  #progress: Frame | undefined
  #prepared: Frame | undefined
  #hasFinal = false
  #tokensAtMs: number
  #isSending = false
  #isLost = false
  #sendingSinceMs: number | undefined
  #cancelGuard: CancelTimer | undefined
  #endRest: (() => void) | undefined

  /** Sends `attempt.accepted`, then what the log has and gets. */
  constructor(channel: FrameChannel, clock: Clock, { fence, log, piece }: FrameRelayInit) {
    this.#channel = channel
    this.#clock = clock
    this.#fence = fence
    this.#log = log
    this.#next = piece
    this.#replayTo = log.pieces.length
    this.#tokensAtMs = clock.nowMs()
    this.finished = this.#finished.promise
    this.finished.catch(() => {})
    this.#accepted = { type: 'attempt.accepted', fence }
    this.wake()
  }

  /** True once the final frame was given to the channel. */
  get hasFinal(): boolean {
    return this.#hasFinal
  }

  /** Replaces a progress that still waits. Of no interest while tokens flow. */
  progress(phase: AttemptProgress['phase'], done: number, total: number): void {
    const isSilent = phase === 'decode' && this.#clock.nowMs() - this.#tokensAtMs >= PROGRESS_MS
    if (this.#log.hasTokens && (!isSilent || this.#next < this.#log.pieces.length)) return
    this.#progress = { type: 'attempt.progress', fence: this.#fence, phase, done: whole(done), total: whole(total) }
    this.wake()
  }

  prepared(): void {
    this.#prepared = { type: 'attempt.prepared', fence: this.#fence }
    this.wake()
  }

  /** The log has grown, or has its final frame. */
  wake(): void {
    if (this.#log.final !== undefined) this.#endRest?.()
    if (!this.#isSending && !this.#isLost) void this.#send()
  }

  /** Does not throw. */
  async #send(): Promise<void> {
    this.#isSending = true
    try {
      for (let frame = this.#nextFrame(); frame !== undefined; frame = this.#nextFrame()) {
        const atMs = (this.#sendingSinceMs = this.#clock.nowMs())
        this.#guard(SEND_STALL_MS)
        await this.#channel.send(frame)
        this.#sendingSinceMs = undefined
        if (frame.type !== 'attempt.tokens') continue
        this.#tokensAtMs = atMs
        await this.#rest(atMs)
      }
      if (this.#hasFinal) this.#finished.resolve()
    } catch (thrown) {
      this.#isLost = true
      this.#finished.reject(asSkeinError(thrown, 'STREAM_TRUNCATED'))
    } finally {
      this.#isSending = false
      this.#cancelGuard?.()
      this.#cancelGuard = undefined
    }
  }

  /** Keeps the interval between frames of tokens, unless the answer is over. */
  async #rest(sentAtMs: number): Promise<void> {
    const isReplay = this.#next < this.#replayTo
    if (isReplay ? this.#next % REPLAY_BURST !== 0 : this.#log.final !== undefined) return
    const leftMs = isReplay ? REPLAY_PAUSE_MS : sentAtMs + TOKENS_INTERVAL_MS - this.#clock.nowMs()
    if (leftMs <= 0) return
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.timer(leftMs, resolve)
      this.#endRest = () => {
        cancel()
        resolve()
      }
    })
    this.#endRest = undefined
  }

  #nextFrame(): Frame | undefined {
    const accepted = this.#accepted
    this.#accepted = undefined
    if (accepted) return accepted
    const progress = this.#progress
    this.#progress = undefined
    if (progress && !this.#log.final) return progress
    const prepared = this.#prepared
    this.#prepared = undefined
    if (prepared) return prepared
    if (this.#next < this.#log.pieces.length) return this.#merged()
    const { final } = this.#log
    if (final === undefined || this.#hasFinal) return undefined
    this.#hasFinal = true
    return { ...final, fence: this.#fence }
  }

  /** As many waiting pieces as fit into one frame; one alone of those that were made before the stream. */
  #merged(): Frame {
    const { pieces } = this.#log
    const { index } = pieces[this.#next]!
    const ids: number[] = []
    const logprobs: TokenLogprob[] = []
    let text = ''
    do {
      const piece = pieces[this.#next++]!
      ids.push(...piece.ids)
      logprobs.push(...(piece.logprobs ?? []))
      text += piece.text
    } while (this.#next > this.#replayTo && this.#fits(ids.length, text.length))
    return {
      type: 'attempt.tokens',
      fence: this.#fence,
      index,
      ids: packTokenIds(ids),
      text,
      ...(logprobs.length > 0 && { logprobs }),
    }
  }

  /** Whether the next piece fits into a frame that has so much already. */
  #fits(ids: number, textLength: number): boolean {
    const piece = this.#log.pieces[this.#next]
    return (
      piece !== undefined &&
      ids + piece.ids.length <= LIMITS.tokensPerFrameMax &&
      textLength + piece.text.length <= TEXT_LENGTH_MAX
    )
  }

  /** One timer for all sends: it looks whether the send of that moment has stood too long. */
  #guard(delayMs: number): void {
    this.#cancelGuard ??= this.#clock.timer(delayMs, () => {
      this.#cancelGuard = undefined
      if (this.#sendingSinceMs === undefined) return
      const leftMs = this.#sendingSinceMs + SEND_STALL_MS - this.#clock.nowMs()
      if (leftMs > 0) this.#guard(leftMs)
      else this.#channel.abort(new SkeinError('STREAM_TIMEOUT', `the coordinator read nothing for ${SEND_STALL_MS} ms`))
    })
  }
}

const whole = (value: number): number => (Number.isFinite(value) && value > 0 ? Math.floor(value) : 0)
