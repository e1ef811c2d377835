/**
 * Reads a file from its beginning, in pieces, with a bound on how far: for headers of files that nobody vouches for.
 * Values are read synchronously from what is buffered; only filling the buffer waits, so that walking the hundred
 * thousand entries of a vocabulary does not cost a promise each.
 */
import type { FileHandle } from 'node:fs/promises'

const CHUNK_BYTES = 256 * 1024

/** The file ended, or the bound was reached, before what its header announced. */
export class EndOfBytes extends RangeError {}

export class ByteReader {
  readonly #file: FileHandle
  readonly #bytesMax: number
  #buffer = Buffer.alloc(0)
  /** Offset in the file of the first byte after the buffer. */
  #filledTo = 0
  #at = 0

  constructor(file: FileHandle, bytesMax: number) {
    this.#file = file
    this.#bytesMax = bytesMax
  }

  /** Bytes of the file that were taken or skipped. */
  get offset(): number {
    return this.#filledTo - this.#buffer.length + this.#at
  }

  has(bytes: number): boolean {
    return this.#buffer.length - this.#at >= bytes
  }

  /** Buffers at least `bytes`, at most a few chunks of them. @throws EndOfBytes. */
  async fill(bytes: number): Promise<void> {
    while (!this.has(bytes)) {
      if (this.offset + bytes > this.#bytesMax) throw new EndOfBytes()
      const chunk = Buffer.allocUnsafe(Math.max(CHUNK_BYTES, bytes))
      const { bytesRead } = await this.#file.read(chunk, 0, chunk.length, this.#filledTo)
      if (bytesRead === 0) throw new EndOfBytes()
      this.#filledTo += bytesRead
      this.#buffer = Buffer.concat([this.#buffer.subarray(this.#at), chunk.subarray(0, bytesRead)])
      this.#at = 0
    }
  }

  /** The next `bytes`, which must be buffered. */
  take(bytes: number): Buffer {
    this.#at += bytes
    return this.#buffer.subarray(this.#at - bytes, this.#at)
  }

  /** @throws EndOfBytes when it leads beyond the bound. */
  skip(bytes: number): void {
    if (!(bytes >= 0) || this.offset + bytes > this.#bytesMax) throw new EndOfBytes()
    if (this.has(bytes)) {
      this.#at += bytes
      return
    }
    this.#filledTo = this.offset + bytes
    this.#buffer = Buffer.alloc(0)
    this.#at = 0
  }

  async u32(): Promise<number> {
    if (!this.has(4)) await this.fill(4)
    return this.take(4).readUInt32LE()
  }

  /** @throws EndOfBytes for a number above 2^53: no file is that long. */
  async u64(): Promise<number> {
    if (!this.has(8)) await this.fill(8)
    const value = this.take(8).readBigUInt64LE()
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new EndOfBytes()
    return Number(value)
  }
}
