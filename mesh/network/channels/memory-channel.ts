/**
 * A pair of connected `FrameChannel`s in memory: for channels to ourselves, and for the twin of the network. Frames are
 * encoded and decoded as on a wire, so that both ends have their own objects, and what a stream would refuse is refused
 * here too.
 */
import {
  asSkeinError,
  decodeFrame,
  encodeFrame,
  LIMITS,
  SkeinError,
  type AnyFrame,
  type Frame,
  type FrameSet,
  type PeerId,
} from '../../protocol/index.ts'
import type { FrameChannel } from '../transport.ts'
import { ReceiverWait } from './receiver-wait.ts'

/** Brings what one end sends to the other: calls `deliver` now or later, each call after those before it. */
export type Carry = (deliver: () => void) => void

export interface MemoryEnd<In extends AnyFrame> {
  /** Who is at the other end. */
  readonly peer: PeerId
  readonly inbound: FrameSet<In>
  readonly onFault: (error: SkeinError) => void
  /** How what the other end sends comes here; at once when absent. */
  readonly carry?: Carry
}

/** Two ends: what one sends, the other receives. */
export function memoryChannelPair<A extends AnyFrame, B extends AnyFrame>(
  frameBytesMax: number,
  near: MemoryEnd<A>,
  far: MemoryEnd<B>,
): [MemoryFrameChannel<A>, MemoryFrameChannel<B>] {
  const a = new MemoryFrameChannel(frameBytesMax, near)
  const b = new MemoryFrameChannel(frameBytesMax, far)
  a.connect(b)
  b.connect(a)
  return [a, b]
}

/** What an end does to the other one. */
interface Remote {
  accept(payload: Uint8Array): void
  end(): void
  reset(reason: Error): void
  readonly backlogBytes: number
  onRoom(call: () => void): void
}

export class MemoryFrameChannel<In extends AnyFrame> implements FrameChannel<In>, Remote {
  readonly #frameBytesMax: number
  readonly #end: MemoryEnd<In>
  readonly #closed = new AbortController()
  readonly #inbox: Uint8Array[] = []
  readonly #receiver = new ReceiverWait()
  /** Senders of the other end that wait until we take a frame. */
  readonly #roomWaiters = new Set<() => void>()
  /** Our own senders: woken when the channel breaks. */
  readonly #sendWaiters = new Set<() => void>()
  #remote!: Remote
  #backlogBytes = 0
  #hasEnded = false
  #remoteEnded = false
  #error: SkeinError | undefined

  constructor(frameBytesMax: number, end: MemoryEnd<In>) {
    this.#frameBytesMax = frameBytesMax
    this.#end = end
  }

  connect(remote: Remote): void {
    this.#remote = remote
  }

  get peer(): PeerId {
    return this.#end.peer
  }

  get closed(): AbortSignal {
    return this.#closed.signal
  }

  get backlogBytes(): number {
    return this.#backlogBytes
  }

  onRoom(call: () => void): void {
    this.#roomWaiters.add(call)
  }

  async send(frame: Frame, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#error !== undefined) throw this.#truncated(this.#error)
    if (this.#hasEnded) throw this.#truncated(new SkeinError('STREAM_TRUNCATED', 'it was closed'))
    const payload = encodeFrame(frame)
    if (payload.length > this.#frameBytesMax)
      throw new SkeinError('FRAME_TOO_LARGE', `${frame.type} takes ${payload.length} bytes`)
    this.#remote.accept(payload)
    while (this.#remote.backlogBytes > LIMITS.streamReadBufferBytes) await this.#room(signal)
  }

  async receive(signal?: AbortSignal): Promise<In | undefined> {
    for (;;) {
      signal?.throwIfAborted()
      const payload = this.#inbox.shift()
      if (payload !== undefined) return this.#decode(payload)
      if (this.#error !== undefined) throw this.#error
      if (this.#remoteEnded) return undefined
      await this.#receiver.changed(signal)
    }
  }

  close(): Promise<void> {
    if (!this.#hasEnded && this.#error === undefined) {
      this.#hasEnded = true
      this.#remote.end()
      this.#closeWhenBothEnded()
    }
    return Promise.resolve()
  }

  abort(reason: Error): void {
    if (this.#closed.signal.aborted) return
    this.#inbox.length = 0
    this.#fail(this.#truncated(reason))
    this.#remote.reset(reason)
  }

  /** The connection under it broke: this end is told, and the other one learns it in its own way. */
  lose(reason: Error): void {
    if (!this.#closed.signal.aborted) this.#fail(this.#truncated(reason))
  }

  /** The other end sent a frame. */
  accept(payload: Uint8Array): void {
    this.#backlogBytes += payload.length
    this.#later(() => {
      this.#inbox.push(payload)
      this.#receiver.wake()
    })
  }

  /** The other end closed. */
  end(): void {
    this.#later(() => {
      this.#remoteEnded = true
      this.#closeWhenBothEnded()
      this.#receiver.wake()
    })
  }

  /** The other end reset the channel; frames that arrived before may still be received. */
  reset(reason: Error): void {
    this.#later(() => this.#fail(this.#truncated(reason)))
  }

  #decode(payload: Uint8Array): In {
    this.#backlogBytes -= payload.length
    wakeAll(this.#roomWaiters)
    try {
      return decodeFrame(payload, this.#end.inbound)
    } catch (thrown) {
      const error = asSkeinError(thrown, 'FRAME_MALFORMED')
      this.#end.onFault(error)
      this.#inbox.length = 0
      this.#fail(error)
      this.#remote.reset(error)
      throw error
    }
  }

  #later(deliver: () => void): void {
    const { carry = atOnce } = this.#end
    carry(() => {
      if (!this.#closed.signal.aborted) deliver()
    })
  }

  #closeWhenBothEnded(): void {
    if (this.#hasEnded && this.#remoteEnded) this.#over(new SkeinError('STREAM_TRUNCATED', 'the stream is closed'))
  }

  #over(reason: SkeinError): void {
    if (!this.#closed.signal.aborted) this.#closed.abort(reason)
    this.#receiver.release()
  }

  #fail(error: SkeinError): void {
    this.#error ??= error
    this.#over(this.#error)
    wakeAll(this.#sendWaiters)
    this.#receiver.wake()
  }

  /** Resolves when the other end took a frame; rejects when the channel broke. */
  async #room(signal: AbortSignal | undefined): Promise<void> {
    if (this.#error !== undefined) throw this.#truncated(this.#error)
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => reject(signal!.reason as Error)
      signal?.addEventListener('abort', onAbort, { once: true })
      const call = (): void => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }
      this.#remote.onRoom(call)
      this.#sendWaiters.add(call)
    })
    if (this.#error !== undefined) throw this.#truncated(this.#error)
  }

  #truncated(cause: Error): SkeinError {
    if (cause instanceof SkeinError && cause.code === 'STREAM_TRUNCATED') return cause
    return new SkeinError('STREAM_TRUNCATED', `the stream to ${this.peer} broke: ${cause.message}`, { cause })
  }
}

const atOnce: Carry = (deliver) => deliver()

function wakeAll(waiters: Set<() => void>): void {
  const calls = [...waiters]
  waiters.clear()
  for (const call of calls) call()
}
