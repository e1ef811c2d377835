/** The length in front of a frame: an unsigned LEB128 of at most four bytes, so that 256 MiB is the end of it. */
import { SkeinError } from '../errors.ts'

const VARINT_BYTES_MAX = 4
/** Chunks under this size are copied together: a peer that sends single bytes must not cost an object for each. */
const SMALL_CHUNK_BYTES = 4096
const COALESCED_BYTES = 16 * 1024

export function prefixed(payload: Uint8Array): Uint8Array {
  const head: number[] = []
  let rest = payload.length
  while (rest > 0x7f) {
    head.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  head.push(rest)
  const out = new Uint8Array(head.length + payload.length)
  out.set(head)
  out.set(payload, head.length)
  return out
}

/**
 * Cuts a byte stream into frame payloads. Holds at most one unfinished frame: its bound is checked as soon as its length
 * is known, before its bytes are kept.
 */
export class FrameSplitter {
  readonly #frameBytesMax: number
  #chunks: Uint8Array[] = []
  #bytes = 0
  /** Buffer of our own that small chunks are copied to, and the part of it that is the last of `#chunks`. */
  #spare = new Uint8Array(0)
  #spareUsed = new Uint8Array(0)

  /** @param frameBytesMax largest payload, in bytes. */
  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax
  }

  /** Bytes that came in and were not taken as a frame yet. */
  get pendingBytes(): number {
    return this.#bytes
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    this.#bytes += chunk.length
    // the first chunk is mostly the whole frame: it stays as it is
    if (this.#chunks.length === 0 || chunk.length >= SMALL_CHUNK_BYTES) this.#chunks.push(chunk)
    else this.#append(chunk)
  }

  #append(chunk: Uint8Array): void {
    let used = this.#spareUsed.length
    // what was taken from the buffer in part is no longer its tail, and its bytes are never written again
    if (this.#chunks.at(-1) === this.#spareUsed && used + chunk.length <= this.#spare.length) {
      this.#chunks.pop()
    } else {
      this.#spare = new Uint8Array(COALESCED_BYTES)
      used = 0
    }
    this.#spare.set(chunk, used)
    this.#spareUsed = this.#spare.subarray(0, used + chunk.length)
    this.#chunks.push(this.#spareUsed)
  }

  /** True when `next` returns a frame or throws without further bytes. */
  get decided(): boolean {
    const head = this.#head()
    if (head === undefined) return this.#bytes >= VARINT_BYTES_MAX
    return head.length > this.#frameBytesMax || this.#bytes >= head.size + head.length
  }

  /**
   * The next payload, or `undefined` until more bytes come.
   *
   * @throws SkeinError FRAME_TOO_LARGE or FRAME_MALFORMED; the stream is of no use after that.
   */
  next(): Uint8Array | undefined {
    const head = this.#head()
    if (head === undefined) {
      if (this.#bytes >= VARINT_BYTES_MAX)
        throw new SkeinError('FRAME_MALFORMED', 'a frame length of more than four bytes')
      return undefined
    }
    if (head.length > this.#frameBytesMax)
      throw new SkeinError(
        'FRAME_TOO_LARGE',
        `a frame of ${head.length} bytes where ${this.#frameBytesMax} are allowed`,
      )
    if (this.#bytes < head.size + head.length) return undefined
    return this.#take(head.size + head.length).subarray(head.size)
  }

  #head(): { length: number; size: number } | undefined {
    let length = 0
    let size = 0
    for (const chunk of this.#chunks) {
      for (const byte of chunk) {
        if (size === VARINT_BYTES_MAX) return undefined
        length |= (byte & 0x7f) << (7 * size)
        size++
        if (byte < 0x80) return { length, size }
      }
    }
    return undefined
  }

  #take(size: number): Uint8Array {
    const first = this.#chunks[0]!
    this.#bytes -= size
    if (first.length === size) {
      this.#chunks.shift()
      return first
    }
    if (first.length > size) {
      this.#chunks[0] = first.subarray(size)
      return first.subarray(0, size)
    }
    const out = new Uint8Array(size)
    let filled = 0
    let used = 0
    while (filled < size) {
      const chunk = this.#chunks[used]!
      const part = Math.min(chunk.length, size - filled)
      out.set(part === chunk.length ? chunk : chunk.subarray(0, part), filled)
      filled += part
      if (part === chunk.length) used++
      else this.#chunks[used] = chunk.subarray(part)
    }
    this.#chunks.splice(0, used)
    return out
  }
}
