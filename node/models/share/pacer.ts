/**
 * What a node gives of its models at once, and how fast. A transfer costs the event loop encryption, and the answers that
 * stream through the same loop would stutter; so while any runs here, all transfers together keep to a rate, in slices of
 * less than a millisecond. When waits end late all the same, the machine has too much to do, and the rate goes down to a
 * share of it, until they end in time again. Without answers transfers are as fast as they can.
 */
import { LIMITS, SkeinError, type PeerId } from '../../../mesh/protocol/index.ts'
import { sleep, type Clock } from '../../../mesh/runtime/index.ts'

/** What transfers get together while answers stream, in bytes per second. */
export const DEFAULT_BUSY_BYTES_PER_SECOND = 32 * 1024 ** 2
/** Who is turned away comes back after this. */
const BUSY_RETRY_MS = 500
/** The same, while the owner wants nothing done here. */
const CLOSED_RETRY_MS = 30_000
/** Below it a timer is of no use. */
const WAIT_MS_MIN = 1
/** A wait that ends this much too late: the event loop, or the machine, is busy. */
const LATE_MS = 10
/** The share of the rate is looked at once in this time. */
const LOOK_MS = 250
const SHARE_MIN = 1 / 8

export interface PacerInit {
  /** Rate of all transfers together while `isBusy`. */
  readonly busyBytesPerSecond: number
  /** Whether answers stream here now. */
  readonly isBusy: () => boolean
  /** Why nothing is given now; `undefined` when it is. */
  readonly refusal: () => string | undefined
}

export class Pacer {
  readonly #clock: Clock
  readonly #init: PacerInit
  readonly #running = new Map<PeerId, number>()
  #total = 0
  /** Until here what was let through has used the rate up. */
  #paidUntilMs = 0
  /** Of the rate, what the machine can bear. */
  #share = 1
  #mostLateMs = 0
  #lookedAtMs = 0

  constructor(clock: Clock, init: PacerInit) {
    this.#clock = clock
    this.#init = init
  }

  get running(): number {
    return this.#total
  }

  get isBusy(): boolean {
    return this.#init.isBusy()
  }

  /**
   * The right to give one chunk to `peer`; to be called when it was given.
   *
   * @throws SkeinError SATURATED, with `retryAfterSeconds`, when too many are being given, or nothing is.
   */
  begin(peer: PeerId): () => void {
    this.checkOpen()
    const ofPeer = this.#running.get(peer) ?? 0
    if (ofPeer >= LIMITS.modelTransfersPerPeerMax || this.#total >= LIMITS.modelTransfersMax)
      throw new SkeinError('SATURATED', `${this.#total} chunks of models are being given; come back`, {
        retryAfterSeconds: BUSY_RETRY_MS / 1000,
      })
    this.#running.set(peer, ofPeer + 1)
    this.#total++
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      this.#total--
      const left = (this.#running.get(peer) ?? 1) - 1
      if (left > 0) this.#running.set(peer, left)
      else this.#running.delete(peer)
    }
  }

  /** @throws SkeinError SATURATED, with `retryAfterSeconds`, while nothing is given. */
  checkOpen(): void {
    const reason = this.#init.refusal()
    if (reason !== undefined)
      throw new SkeinError('SATURATED', `no model is given now: ${reason}`, {
        retryAfterSeconds: CLOSED_RETRY_MS / 1000,
      })
  }

  /** Waits until `bytes` more may go. @throws the signal's reason. */
  async pace(bytes: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (!this.#init.isBusy()) return
    const nowMs = this.#clock.nowMs()
    const startMs = Math.max(nowMs, this.#paidUntilMs)
    this.#paidUntilMs = startMs + (bytes * 1000) / (this.#share * this.#init.busyBytesPerSecond)
    const waitMs = startMs - nowMs
    if (waitMs < WAIT_MS_MIN) return
    await sleep(this.#clock, waitMs, signal)
    this.#learn(this.#clock.nowMs() - startMs)
  }

  /** A wait ended `lateMs` too late. */
  #learn(lateMs: number): void {
    this.#mostLateMs = Math.max(this.#mostLateMs, lateMs)
    const nowMs = this.#clock.nowMs()
    if (nowMs - this.#lookedAtMs < LOOK_MS) return
    this.#share = this.#mostLateMs > LATE_MS ? Math.max(SHARE_MIN, this.#share / 2) : Math.min(1, this.#share * 1.5)
    this.#lookedAtMs = nowMs
    this.#mostLateMs = 0
  }
}
