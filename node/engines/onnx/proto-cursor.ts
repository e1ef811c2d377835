/**
 * Walks a protobuf file whose size nobody vouches for: field by field, in small pieces, passing over what is not asked
 * for without reading it. A file costs at most `FIELDS_MAX` fields and one piece of memory, whatever it claims.
 */
import type { SkeinError } from '../../../mesh/protocol/index.ts'
import type { HeadFile } from '../head-file.ts'

/** Behind weights that are passed over a new piece is read: small, so that a file of many weights is not read whole. */
const PIECE_BYTES = 32 * 1024
/** A graph of fifty thousand nodes has about a million. */
const FIELDS_MAX = 4_000_000
const VARINT_BYTES_MAX = 10

const VARINT = 0
const FIXED64 = 1
const DELIMITED = 2
const FIXED32 = 5

export interface ProtoField {
  readonly number: number
  /** Of a field with a length: where its content ends. It begins at the cursor's position. */
  readonly end?: number
  /** Of a number; those above 2^53 come rounded, negative ones as 2^64 less. */
  readonly value?: number
}

export class ProtoCursor {
  readonly #file: HeadFile
  #piece = Buffer.alloc(0)
  /** Offset in the file of the first byte of the piece. */
  #pieceStart = 0
  #position = 0
  #fields = 0

  constructor(file: HeadFile) {
    this.#file = file
  }

  get sizeBytes(): number {
    return this.#file.sizeBytes
  }

  get position(): number {
    return this.#position
  }

  /** The error that names the file and what is wrong with it. */
  fail(why: string): SkeinError {
    return this.#file.fail(why)
  }

  /**
   * The next field of a message that ends at `end`; undefined behind its last one.
   *
   * @throws SkeinError MODEL_FILE_INVALID when there is none, or it leads beyond the message.
   */
  async next(end: number): Promise<ProtoField | undefined> {
    if (this.#position >= end) return undefined
    if (++this.#fields > FIELDS_MAX) throw this.fail(`it has more than ${FIELDS_MAX} fields`)
    const tag = await this.varint(end)
    const number = Math.floor(tag / 8)
    if (number === 0) throw this.fail(`not an ONNX file: no field begins at byte ${this.#position}`)
    switch (tag % 8) {
      case VARINT:
        return { number, value: await this.varint(end) }
      case DELIMITED: {
        const length = await this.varint(end)
        if (length > end - this.#position) throw this.#truncated(length)
        return { number, end: this.#position + length }
      }
      case FIXED64:
      case FIXED32: {
        const bytes = tag % 8 === FIXED64 ? 8 : 4
        if (bytes > end - this.#position) throw this.#truncated(bytes)
        this.skipTo(this.#position + bytes)
        return { number }
      }
      default:
        throw this.fail(`not an ONNX file: a field of the unknown kind ${tag % 8} at byte ${this.#position}`)
    }
  }

  async varint(end: number): Promise<number> {
    if (this.#position + VARINT_BYTES_MAX > this.#pieceStart + this.#piece.length) await this.#fill()
    let value = 0
    let factor = 1
    for (let i = 0; i < VARINT_BYTES_MAX; i++, factor *= 128) {
      const byte = this.#piece[this.#position - this.#pieceStart]
      if (byte === undefined || this.#position >= end) throw this.#truncated(1)
      this.#position++
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
    throw this.fail(`not an ONNX file: a number without end before byte ${this.#position}`)
  }

  /** Passes over what is up to `position`, which a field has said. */
  skipTo(position: number): void {
    this.#position = position
  }

  /** The content of a field up to `end`, of at most `bytesMax`; `what` names it in the error. */
  async content(end: number, what: string, bytesMax: number): Promise<Buffer> {
    const length = end - this.#position
    if (length > bytesMax) throw this.fail(`${what} has ${length} bytes, more than ${bytesMax}`)
    const bytes = Buffer.alloc(length)
    await this.#file.readInto(bytes, this.#position, length)
    this.#position = end
    return bytes
  }

  async #fill(): Promise<void> {
    const piece = Buffer.alloc(Math.min(PIECE_BYTES, this.sizeBytes - this.#position))
    await this.#file.readInto(piece, this.#position, piece.length)
    this.#piece = piece
    this.#pieceStart = this.#position
  }

  #truncated(bytes: number): SkeinError {
    return this.#file.truncated(bytes, this.#position)
  }
}

/** The fields of a small message that is in memory. @throws TypeError when it is none. */
export function* fieldsOf(bytes: Buffer): Generator<{ number: number; value: number; content: Buffer }> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let i = 0, factor = 1; i < VARINT_BYTES_MAX; i++, factor *= 128) {
      const byte = bytes[at++]
      if (byte === undefined) break
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
    throw new TypeError('a number is cut off')
  }
  const skip = (length: number): Buffer => {
    if (length > bytes.length - at) throw new TypeError('a field is cut off')
    at += length
    return bytes.subarray(at - length, at)
  }
  while (at < bytes.length) {
    const tag = varint()
    const number = Math.floor(tag / 8)
    const kind = tag % 8
    if (kind === VARINT) yield { number, value: varint(), content: Buffer.alloc(0) }
    else if (kind === DELIMITED) yield { number, value: 0, content: skip(varint()) }
    else if (kind === FIXED64 || kind === FIXED32) skip(kind === FIXED64 ? 8 : 4)
    else throw new TypeError(`a field of the unknown kind ${kind}`)
  }
}
