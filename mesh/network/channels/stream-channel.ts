/**
 * A `FrameChannel` over a libp2p stream, with back-pressure in both directions.
 *
 * Why not the library's helpers (measured in libp2p 3.3, @libp2p/utils 7.4.1):
 * - iterating a stream, `lpStream` and `byteStream` never pause it: the first buffers without bound, the others abort it
 *   at 4 MiB. Here the stream is paused above `readBufferBytes`, but only when a frame can be taken without further bytes,
 *   else a frame larger than the mark could never complete.
 * - `resume()` dispatches what was buffered first and re-opens the window after it: a `pause()` from inside that dispatch
 *   is undone at the muxer, so it waits until `resume()` has returned.
 * - `onDrain()` works once per stream; and one 'drain' event does not mean that everything was written, so writing waits
 *   until the stream has nothing left over.
 * - a lost connection closes streams without an error: only 'remoteCloseWrite' (the peer's FIN) is a clean end.
 * - over the peer's stream limit a new stream is handed out reset already, its events long gone.
 */
import type { Stream, StreamCloseEvent } from '@libp2p/interface'
import {
  asSkeinError,
  decodeFrame,
  encodeFrame,
  FrameSplitter,
  LIMITS,
  prefixed,
  SkeinError,
  type AnyFrame,
  type Frame,
  type FrameSet,
  type PeerId,
} from '../../protocol/index.ts'
import { withDeadline, type Clock } from '../../runtime/index.ts'
import type { FrameChannel } from '../transport.ts'
import { ReceiverWait } from './receiver-wait.ts'

/** Chunks that one frame may come in before their average size counts: a peer may not make us hold a million crumbs. */
const CHUNKS_FREE = 4096
const CHUNK_BYTES_MIN = 64

export interface StreamChannelInit<In extends AnyFrame> {
  readonly peer: PeerId
  readonly stream: Stream
  readonly inbound: FrameSet<In>
  readonly clock: Clock
  /** Largest frame in either direction, in bytes. */
  readonly frameBytesMax: number
  /** Called once when the peer broke the protocol, with FRAME_MALFORMED, FRAME_TOO_LARGE or FRAME_UNEXPECTED. */
  readonly onFault: (error: SkeinError) => void
}

export class StreamFrameChannel<In extends AnyFrame> implements FrameChannel<In> {
  readonly peer: PeerId
  readonly #stream: Stream
  readonly #init: StreamChannelInit<In>
  readonly #splitter: FrameSplitter
  readonly #closed = new AbortController()
  readonly #receiver = new ReceiverWait()
  #chunks = 0
  #error: SkeinError | undefined
  #remoteEnded: boolean
  #resuming = false
  #isAborted = false

  constructor(init: StreamChannelInit<In>) {
    this.#init = init
    this.peer = init.peer
    this.#stream = init.stream
    this.#splitter = new FrameSplitter(init.frameBytesMax)
    const stream = init.stream
    // a FIN may have come while the protocol was negotiated; its event is gone, its state is not
    this.#remoteEnded = stream.status === 'open' && stream.remoteWriteStatus === 'closed'
    stream.addEventListener('message', (event) => this.#take(event.data))
    stream.addEventListener('remoteCloseWrite', () => {
      this.#remoteEnded = true
      this.#receiver.wake()
    })
    stream.addEventListener('close', (event: StreamCloseEvent) => this.#onClose(event.error))
    if (stream.status !== 'open' && stream.status !== 'closing') this.#onClose(undefined)
  }

  get closed(): AbortSignal {
    return this.#closed.signal
  }

  async send(frame: Frame, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#error !== undefined || this.#closed.signal.aborted) throw this.#truncated()
    const payload = encodeFrame(frame)
    if (payload.length > this.#init.frameBytesMax)
      throw new SkeinError('FRAME_TOO_LARGE', `${frame.type} takes ${payload.length} bytes`)
    let hasRoom: boolean
    try {
      hasRoom = this.#stream.send(prefixed(payload))
    } catch (cause) {
      throw this.#truncated(cause)
    }
    while (!hasRoom) {
      await this.#drained(signal)
      hasRoom = !this.#stream.writableNeedsDrain
    }
  }

  async receive(signal?: AbortSignal): Promise<In | undefined> {
    for (;;) {
      signal?.throwIfAborted()
      const frame = this.#isAborted ? undefined : this.#next()
      if (frame !== undefined) return frame
      if (this.#error !== undefined) throw this.#error
      if (this.#stream.readStatus === 'paused') {
        this.#resume()
        continue
      }
      if (this.#stream.readBufferLength === 0) {
        if (this.#remoteEnded && this.#splitter.pendingBytes === 0) return undefined
        if (this.#remoteEnded || this.#closed.signal.aborted) throw this.#truncated()
      }
      await this.#receiver.changed(signal)
    }
  }

  async close(): Promise<void> {
    const late = (): Error => new SkeinError('STREAM_TIMEOUT', 'the peer did not take what was sent before the close')
    try {
      await withDeadline(this.#init.clock, LIMITS.joinMs, late, undefined, (signal) => this.#stream.close({ signal }))
    } catch (error) {
      this.abort(error as Error)
    }
  }

  abort(reason: Error): void {
    this.#isAborted = true
    this.#error ??= this.#truncated(reason)
    this.#stream.abort(reason)
    this.#receiver.wake()
  }

  #next(): In | undefined {
    try {
      const payload = this.#splitter.next()
      if (payload === undefined) return undefined
      this.#chunks = 1
      return decodeFrame(payload, this.#init.inbound)
    } catch (error) {
      throw this.#fault(asSkeinError(error, 'FRAME_MALFORMED'))
    }
  }

  #take(data: Uint8Array | Iterable<Uint8Array>): void {
    if (this.#error !== undefined) return
    if (data instanceof Uint8Array) this.#push(data)
    else for (const chunk of data) this.#push(chunk)
    if (this.#chunks > CHUNKS_FREE && this.#splitter.pendingBytes < this.#chunks * CHUNK_BYTES_MIN)
      this.#fault(new SkeinError('FRAME_MALFORMED', 'a frame came in too many small pieces'))
    this.#pauseWhenFull()
    this.#receiver.wake()
  }

  #push(chunk: Uint8Array): void {
    this.#chunks++
    this.#splitter.push(chunk)
  }

  #pauseWhenFull(): void {
    const isFull = this.#splitter.pendingBytes > LIMITS.streamReadBufferBytes
    if (!this.#resuming && isFull && this.#stream.readStatus === 'readable' && this.#splitter.decided)
      this.#stream.pause()
  }

  #resume(): void {
    this.#resuming = true
    try {
      this.#stream.resume()
    } finally {
      this.#resuming = false
    }
    this.#pauseWhenFull()
  }

  /** Resolves at the next 'drain' event; the stream's own listener has run by then. */
  #drained(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.#stream.removeEventListener('drain', onDrain)
        this.#closed.signal.removeEventListener('abort', onClose)
        signal?.removeEventListener('abort', onAbort)
      }
      const onDrain = (): void => {
        settle()
        resolve()
      }
      const onClose = (): void => {
        settle()
        reject(this.#truncated())
      }
      const onAbort = (): void => {
        settle()
        reject(signal!.reason as Error)
      }
      if (this.#closed.signal.aborted) return reject(this.#truncated())
      this.#stream.addEventListener('drain', onDrain)
      this.#closed.signal.addEventListener('abort', onClose)
      signal?.addEventListener('abort', onAbort)
    })
  }

  #onClose(cause: Error | undefined): void {
    if (!this.#remoteEnded || cause !== undefined) this.#error ??= this.#truncated(cause)
    if (!this.#closed.signal.aborted)
      this.#closed.abort(this.#error ?? new SkeinError('STREAM_TRUNCATED', 'the stream is closed'))
    this.#receiver.wake()
    this.#receiver.release()
  }

  #fault(error: SkeinError): SkeinError {
    if (this.#error === undefined) {
      this.#error = error
      this.#init.onFault(error)
      this.#stream.abort(error)
    }
    return this.#error
  }

  #truncated(cause?: unknown): SkeinError {
    if (cause === undefined && this.#error !== undefined) return this.#error
    const why = cause instanceof Error ? `: ${cause.message}` : ''
    return new SkeinError('STREAM_TRUNCATED', `the stream to ${this.peer} broke${why}`, { cause })
  }
}
