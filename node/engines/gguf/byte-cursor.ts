/**
 * Reads a file from its beginning, in pieces, with a bound on how far: for heads of files that nobody vouches for.
 * Values are taken synchronously from what is buffered; only filling the buffer waits, so that walking the hundred
 * thousand entries of a vocabulary does not cost a promise each.
 */
import type { SkeinError } from '../../../mesh/protocol/index.ts'
import type { HeadFile } from '../head-file.ts'

/** Small enough that what is taken from one piece does not hold up the event loop. */
const PIECE_BYTES = 256 * 1024
/** A vocabulary of a million long tokens with its merges stays below. */
const HEAD_BYTES_MAX = 256 * 1024 * 1024

export class ByteCursor {
  readonly #file: HeadFile
  #piece = Buffer.alloc(0)
  /** Offset in the file of the first byte of the piece. */
  #pieceStart = 0
  #position = 0

  constructor(file: HeadFile) {
    this.#file = file
  }

  get sizeBytes(): number {
    return this.#file.sizeBytes
  }

  /** Bytes of the file that were taken or skipped. */
  get position(): number {
    return this.#position
  }

  /** The error that names the file and what is wrong with it. */
  fail(why: string): SkeinError {
    return this.#file.fail(why)
  }

  /** Whether `take(bytes)` may be called without `fill`. */
  has(bytes: number): boolean {
    return this.#position + bytes <= this.#pieceStart + this.#piece.length
  }

  /** Buffers at least the next `bytes`. @throws SkeinError MODEL_FILE_INVALID when the file does not have them. */
  async fill(bytes: number): Promise<void> {
    this.#check(bytes)
    const piece = Buffer.alloc(Math.min(Math.max(bytes, PIECE_BYTES), this.sizeBytes - this.#position))
    const filled = await this.#file.readInto(piece, this.#position, bytes)
    this.#piece = piece.subarray(0, filled)
    this.#pieceStart = this.#position
  }

  /** The next `bytes`, which must be buffered. */
  take(bytes: number): Buffer {
    const start = this.#position - this.#pieceStart
    this.#position += bytes
    return this.#piece.subarray(start, start + bytes)
  }

  /** The next 8 bytes, which must be buffered, as a number; those above 2^53 come rounded. */
  takeU64(): number {
    const bytes = this.take(8)
    return bytes.readUInt32LE(4) * 2 ** 32 + bytes.readUInt32LE(0)
  }

  /** @throws SkeinError MODEL_FILE_INVALID when it leads beyond the file. */
  skip(bytes: number): void {
    this.#check(bytes)
    this.#position += bytes
  }

  async bytes(count: number): Promise<Buffer> {
    if (!this.has(count)) await this.fill(count)
    return this.take(count)
  }

  async u32(): Promise<number> {
    return (await this.bytes(4)).readUInt32LE()
  }

  /** @param valueMax largest value to believe; `what` names the value in the error. */
  async u64(what: string, valueMax: number = Number.MAX_SAFE_INTEGER): Promise<number> {
    if (!this.has(8)) await this.fill(8)
    const value = this.takeU64()
    if (value > valueMax) throw this.fail(`${what} is ${value}, above the bound of ${valueMax}`)
    return value
  }

  /** A string behind its length, of at most `bytesMax`. */
  async text(what: string, bytesMax: number): Promise<string> {
    return (await this.bytes(await this.u64(`the length of ${what}`, bytesMax))).toString('utf8')
  }

  #check(bytes: number): void {
    const end = this.#position + bytes
    if (end > this.sizeBytes) throw this.#file.truncated(bytes, this.#position)
    if (end > HEAD_BYTES_MAX) throw this.fail(`its head is longer than ${HEAD_BYTES_MAX} bytes`)
  }
}
