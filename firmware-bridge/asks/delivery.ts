/**
 * The chunks of one answer on their way to a board, against the credits that it grants. Each credit says which chunk the
 * board awaits, and how many it takes from there. What is lost on the way comes again: when the board says twice that it
 * awaits the same, at once, and when it says nothing, after a while. Nothing is sent to one that is not there.
 */
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'
import type { Chunk, MessageOf } from '../messages/index.ts'
import type { SendOutcome } from '../ports/index.ts'
import type { Chunker } from './chunker.ts'

/** Without a credit for so long the last chunk is sent again; doubled each time, up to the second. */
const RESEND_MS = 2000
const RESEND_MS_MAX = 16_000
/** Times that a last chunk is sent again to a board that may have no more to say. */
const LAST_RESENDS_MAX = 8
/** Between two chunks to a board that cannot say when it takes more: lines of 64 bytes at 9,600 baud. */
const PACE_MS = 70

export interface DeliveryInit {
  readonly chunker: Chunker
  /** Chunks that the board takes before it said anything. */
  readonly win: number
  readonly grantsCredit: boolean
  readonly clock: Clock
  readonly send: (chunk: Chunk) => SendOutcome
  /** All came, as far as the board can say. */
  readonly onTaken: () => void
  /** The board no longer takes what it said that it takes. */
  readonly onTooLarge: () => void
}

export class Delivery {
  readonly #init: DeliveryInit
  /** Index that the board awaits. */
  #next = 0
  /** Index from which on it takes none. */
  #limit: number
  /** Index of the next one that is sent. */
  #at = 0
  /** Those before it are durable, and may be sent. */
  #ready = 0
  #isPresent = false
  #hasEnded = false
  #isOver = false
  /** Chunks that were sent at least once. */
  #sent = 0
  /** The awaited index for which chunks were sent again at once: once is enough. */
  #wentBackTo: number | undefined
  #resendMs = RESEND_MS
  #lastResends = 0
  #cancelTimer: CancelTimer | undefined

  constructor(init: DeliveryInit) {
    this.#init = init
    this.#limit = init.grantsCredit ? init.win : Number.POSITIVE_INFINITY
  }

  /** The last chunk was sent at least once: the board may have its end. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** The board may have a part of the answer, and is told more while it is there. */
  get isUnderWay(): boolean {
    return this.#isPresent && !this.#isOver && this.#sent > 0
  }

  /**
   * Ends the answer where the board has it, marked as cut; at once, whatever credit there is. False when the last chunk did
   * not reach its link.
   */
  cut(): boolean {
    const { chunker } = this.#init
    const at = this.#sent
    chunker.cut(at, at >= this.#limit)
    this.#at = at
    this.#limit = Math.max(this.#limit, at + 1)
    this.ready(chunker.chunks.length)
    return this.#hasEnded
  }

  /** The chunks before `count` are durable. */
  ready(count: number): void {
    this.#ready = count
    this.#go()
  }

  /** The board is there now; what it awaits is sent again, since nobody knows what it got. */
  resume(): void {
    if (this.#isOver) return
    this.#isPresent = true
    this.#at = Math.min(this.#at, this.#next)
    this.#limit = Math.max(this.#limit, this.#next + this.#init.win)
    if (this.#init.grantsCredit) this.#restartTimer()
    this.#go()
  }

  /** The board asked again: it may have nothing. */
  restart(): void {
    this.#next = 0
    this.#at = 0
    this.#wentBackTo = undefined
    this.#lastResends = 0
    this.#isOver = false
    if (this.#init.grantsCredit) this.#limit = this.#init.win
    this.resume()
  }

  /** It sleeps, or is gone. */
  pause(): void {
    this.#isPresent = false
    this.#stopTimer()
  }

  credit({ next, n }: MessageOf<'credit'>): void {
    // one of the past, or of chunks that there never were
    if (this.#isOver || next < this.#next || next > this.#ready) return
    this.#resendMs = RESEND_MS
    this.#lastResends = 0
    if (next > this.#next) {
      this.#next = next
      // a bridge that was started again does not know what it has sent
      this.#at = Math.max(this.#at, next)
      this.#wentBackTo = undefined
    } else if (next < this.#at && this.#wentBackTo !== next) {
      this.#wentBackTo = next
      this.#at = next
    }
    this.#limit = next + n
    if (this.#init.chunker.isWhole && next >= this.#init.chunker.chunks.length) return this.#taken()
    this.#restartTimer()
    this.#go()
  }

  /** Nothing is sent any more. */
  stop(): void {
    this.#isOver = true
    this.#stopTimer()
  }

  #go(): void {
    const { chunker, grantsCredit } = this.#init
    while (!this.#isOver && this.#isPresent && this.#at < Math.min(this.#limit, this.#ready)) {
      if (!grantsCredit && this.#cancelTimer !== undefined) return
      const chunk = chunker.chunks[this.#at]!
      if (!this.#send(chunk)) return
      this.#at++
      this.#sent = Math.max(this.#sent, this.#at)
      if (chunk.l) return this.#sentLast()
      this.#restartTimer()
    }
  }

  #send(chunk: Chunk): boolean {
    const outcome = this.#init.send(chunk)
    if (outcome === 'sent') return true
    if (outcome === 'too_large') {
      this.stop()
      this.#init.onTooLarge()
    } else this.pause()
    return false
  }

  #sentLast(): void {
    this.#hasEnded = true
    if (this.#init.grantsCredit) this.#restartTimer()
    else this.#taken()
  }

  #taken(): void {
    this.stop()
    this.#init.onTaken()
  }

  #restartTimer(): void {
    this.#stopTimer()
    const { clock, grantsCredit } = this.#init
    if (!this.#isPresent) return
    if (grantsCredit) {
      if (this.#at > this.#next) this.#cancelTimer = clock.timer(this.#resendMs, () => this.#resend())
    } else
      this.#cancelTimer = clock.timer(PACE_MS, () => {
        this.#cancelTimer = undefined
        this.#go()
      })
  }

  #resend(): void {
    const isLastAwaited = this.#hasEnded && this.#next === this.#init.chunker.chunks.length - 1
    if (isLastAwaited && this.#lastResends++ >= LAST_RESENDS_MAX) return this.#taken()
    this.#resendMs = Math.min(2 * this.#resendMs, RESEND_MS_MAX)
    if (this.#at > this.#next && this.#send(this.#init.chunker.chunks[this.#at - 1]!)) {
      // what comes of it may ask for all that is awaited
      this.#wentBackTo = undefined
      this.#restartTimer()
    }
  }

  #stopTimer(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }
}
