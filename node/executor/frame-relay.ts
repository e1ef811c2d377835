/**
 * Frames of one attempt on their way out. One frame is on the wire at a time; what the engine makes meanwhile waits here
 * and goes as one frame, so that a slow link gets fewer, larger frames instead of a queue, and memory is bounded by the
 * tokens of the answer.
 */
import {
  asSkeinError,
  LIMITS,
  packTokenIds,
  SkeinError,
  type AttemptProgress,
  type Frame,
} from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'
import type { FrameChannel } from '../../mesh/network/index.ts'

/** A coordinator cuts a client that does not read after `clientStallMs`; one that itself reads nothing is gone. */
const SEND_STALL_MS = 2 * LIMITS.clientStallMs
/** UTF-16 code units of text in one frame; the schema allows more, the token bound keeps ordinary text far below. */
const TEXT_LENGTH_MAX = 512 * 1024
const BYTES_PER_ID = 4
/**
 * Least time between two frames of tokens. A frame costs both ends more than a token does; above 250 tokens/s tokens
 * share frames, below it none ever waits.
 */
const TOKENS_INTERVAL_MS = 4

interface Piece {
  readonly ids: readonly number[]
  readonly text: string
}

export class FrameRelay {
  readonly #channel: FrameChannel
  readonly #clock: Clock
  readonly #fence: number
  readonly #firstIndex: number
  readonly #pieces: Piece[] = []
  #accepted: Frame | undefined
  #progress: Frame | undefined
  #final: Frame | undefined
  /** Index after the last token that came in, and after the last that was put into a frame. */
  #takenTo: number
  #framedTo: number
  #handedOver = 0
  #isSending = false
  #sending: Promise<void> = Promise.resolve()
  #lost: SkeinError | undefined
  #sendingSinceMs: number | undefined
  #cancelGuard: CancelTimer | undefined
  #endRest: (() => void) | undefined

  /** @param firstIndex index in the answer of the first token that this attempt makes. */
  constructor(channel: FrameChannel, clock: Clock, fence: number, firstIndex: number) {
    this.#channel = channel
    this.#clock = clock
    this.#fence = fence
    this.#firstIndex = firstIndex
    this.#takenTo = this.#framedTo = firstIndex
  }

  /** Tokens of this attempt that were handed to the channel. */
  get tokensSent(): number {
    return this.#handedOver
  }

  accepted(): void {
    this.#accepted = { type: 'attempt.accepted', fence: this.#fence }
    this.#pump()
  }

  /** Replaces a progress that still waits; of no interest once tokens flow. */
  progress(phase: AttemptProgress['phase'], done: number, total: number): void {
    if (this.#takenTo > this.#firstIndex) return
    this.#progress = { type: 'attempt.progress', fence: this.#fence, phase, done: whole(done), total: whole(total) }
    this.#pump()
  }

  /** @throws SkeinError ENGINE_FAILED when `index` leaves a gap or repeats, or the text is beyond reason. */
  tokens(index: number, ids: readonly number[], text: string): void {
    if (index !== this.#takenTo)
      throw new SkeinError('ENGINE_FAILED', `the engine gave token ${index} where ${this.#takenTo} was due`)
    if (text.length > TEXT_LENGTH_MAX) throw new SkeinError('ENGINE_FAILED', 'the engine gave too much text at once')
    if (ids.length === 0) return
    this.#takenTo += ids.length
    this.#progress = undefined
    let at = 0
    for (; ids.length - at > LIMITS.tokensPerFrameMax; at += LIMITS.tokensPerFrameMax)
      this.#pieces.push({ ids: ids.slice(at, at + LIMITS.tokensPerFrameMax), text: '' })
    // The text of a step that is split goes with its last tokens: earlier, it would be ahead of them.
    this.#pieces.push({ ids: at === 0 ? ids : ids.slice(at), text })
    this.#pump()
  }

  /** Sends what waits, then `final`, and resolves when both were handed over. @throws SkeinError of the channel. */
  async finish(final: Frame): Promise<void> {
    this.#progress = undefined
    this.#final = final
    this.#endRest?.()
    this.#pump()
    await this.#sending
    if (this.#lost) throw this.#lost
  }

  #pump(): void {
    if (!this.#isSending && this.#lost === undefined) this.#sending = this.#send()
  }

  async #send(): Promise<void> {
    this.#isSending = true
    try {
      for (let frame = this.#next(); frame !== undefined; frame = this.#next()) {
        const atMs = (this.#sendingSinceMs = this.#clock.nowMs())
        this.#guard(SEND_STALL_MS)
        await this.#channel.send(frame)
        this.#sendingSinceMs = undefined
        if (frame.type !== 'attempt.tokens') continue
        this.#handedOver += frame.ids.length / BYTES_PER_ID
        await this.#rest(atMs)
      }
    } catch (thrown) {
      this.#lost = asSkeinError(thrown, 'STREAM_TRUNCATED')
      this.#pieces.length = 0
    } finally {
      this.#isSending = false
      this.#cancelGuard?.()
      this.#cancelGuard = undefined
    }
  }

  /** Keeps the interval between frames of tokens, unless the answer is over. */
  async #rest(sentAtMs: number): Promise<void> {
    const leftMs = sentAtMs + TOKENS_INTERVAL_MS - this.#clock.nowMs()
    if (leftMs <= 0 || this.#final !== undefined) return
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.timer(leftMs, resolve)
      this.#endRest = () => {
        cancel()
        resolve()
      }
    })
    this.#endRest = undefined
  }

  #next(): Frame | undefined {
    const accepted = this.#accepted
    this.#accepted = undefined
    if (accepted) return accepted
    const progress = this.#progress
    this.#progress = undefined
    if (progress) return progress
    if (this.#pieces.length > 0) return this.#merged()
    const final = this.#final
    this.#final = undefined
    return final
  }

  /** As many waiting pieces as fit into one frame. */
  #merged(): Frame {
    const ids: number[] = []
    let text = ''
    let taken = 0
    for (const piece of this.#pieces) {
      const isOver = ids.length + piece.ids.length > LIMITS.tokensPerFrameMax
      if (taken > 0 && (isOver || text.length + piece.text.length > TEXT_LENGTH_MAX)) break
      for (const id of piece.ids) ids.push(id)
      text += piece.text
      taken++
    }
    this.#pieces.splice(0, taken)
    const index = this.#framedTo
    this.#framedTo += ids.length
    return { type: 'attempt.tokens', fence: this.#fence, index, ids: packTokenIds(ids), text }
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
