/**
 * Reads the head of a GGUF file to tell whether it is one and whole, before native code sees it: llama.cpp trusts some
 * of what a file says, and an abort there kills the process. Every count and length is bounded before it is believed;
 * arrays are skipped, not kept, so that a hostile file costs time linear in its size and little memory.
 *
 * Layout: `docs/gguf.md` of ggml. Versions 2 and 3 differ only in byte order, and big-endian files are refused.
 */
import { open, type FileHandle } from 'node:fs/promises'
import { SkeinError } from '../../../mesh/protocol/index.ts'

export interface GgufSummary {
  readonly sizeBytes: number
  readonly parameters: number
  readonly architecture: string
  /** Such as `Q8_0`: the type that most of the weights have. */
  readonly quantization: string
  /** Context that the model was trained for, in tokens. */
  readonly trainContextTokens: number
  readonly vocabularySize: number
  readonly chatTemplate: string | undefined
}

const MAGIC = 0x46554747
const VERSIONS: readonly number[] = [2, 3]
const PAIRS_MAX = 65_536
const TENSORS_MAX = 1_048_576
const STRING_BYTES_MAX = 16 * 1024 * 1024
const ARRAY_LENGTH_MAX = 16_777_216
const DIMENSIONS_MAX = 4
const DEFAULT_ALIGNMENT_BYTES = 32
const ALIGNMENT_BYTES_MAX = 65_536
const READ_BYTES = 1024 * 1024

const STRING = 8
const ARRAY = 9
/** Bytes of the value types of fixed size, by their number. */
const VALUE_BYTES: Readonly<Record<number, number>> = {
  0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8,
} // prettier-ignore

/** ggml's tensor types: name, elements and bytes of a block. From `ggml.c`, `type_traits`. */
const TENSOR_TYPES: Readonly<Record<number, readonly [name: string, elements: number, bytes: number]>> = {
  0: ['F32', 1, 4], 1: ['F16', 1, 2], 2: ['Q4_0', 32, 18], 3: ['Q4_1', 32, 20], 6: ['Q5_0', 32, 22],
  7: ['Q5_1', 32, 24], 8: ['Q8_0', 32, 34], 9: ['Q8_1', 32, 36], 10: ['Q2_K', 256, 84], 11: ['Q3_K', 256, 110],
  12: ['Q4_K', 256, 144], 13: ['Q5_K', 256, 176], 14: ['Q6_K', 256, 210], 15: ['Q8_K', 256, 292],
  16: ['IQ2_XXS', 256, 66], 17: ['IQ2_XS', 256, 74], 18: ['IQ3_XXS', 256, 98], 19: ['IQ1_S', 256, 50],
  20: ['IQ4_NL', 32, 18], 21: ['IQ3_S', 256, 110], 22: ['IQ2_S', 256, 82], 23: ['IQ4_XS', 256, 136],
  24: ['I8', 1, 1], 25: ['I16', 1, 2], 26: ['I32', 1, 4], 27: ['I64', 1, 8], 28: ['F64', 1, 8],
  29: ['IQ1_M', 256, 56], 30: ['BF16', 1, 2], 34: ['TQ1_0', 256, 54], 35: ['TQ2_0', 256, 66], 39: ['MXFP4', 32, 17],
} // prettier-ignore

const invalid = (path: string, why: string, cause?: unknown): SkeinError =>
  new SkeinError('MODEL_FILE_INVALID', `${path}: ${why}`, { cause })

/** A forward reader over a file: keeps one part of it in memory. */
class Cursor {
  readonly #file: FileHandle
  readonly #path: string
  readonly sizeBytes: number
  #part = Buffer.alloc(0)
  #partStart = 0
  #position = 0

  constructor(file: FileHandle, path: string, sizeBytes: number) {
    this.#file = file
    this.#path = path
    this.sizeBytes = sizeBytes
  }

  get position(): number {
    return this.#position
  }

  fail(why: string): SkeinError {
    return invalid(this.#path, why)
  }

  skip(bytes: number): void {
    if (this.#position + bytes > this.sizeBytes) throw this.#truncated(bytes)
    this.#position += bytes
  }

  async take(bytes: number): Promise<Buffer> {
    if (this.#position + bytes > this.sizeBytes) throw this.#truncated(bytes)
    let start = this.#position - this.#partStart
    if (start < 0 || start + bytes > this.#part.length) {
      const part = Buffer.alloc(Math.min(Math.max(bytes, READ_BYTES), this.sizeBytes - this.#position))
      const { bytesRead } = await this.#file.read(part, 0, part.length, this.#position)
      if (bytesRead < bytes) throw this.#truncated(bytes)
      this.#part = part.subarray(0, bytesRead)
      this.#partStart = this.#position
      start = 0
    }
    this.#position += bytes
    return this.#part.subarray(start, start + bytes)
  }

  async u32(): Promise<number> {
    return (await this.take(4)).readUInt32LE()
  }

  /** @param valueMax largest value to believe; `what` names the value in the error. */
  async u64(what: string, valueMax: number): Promise<number> {
    const value = (await this.take(8)).readBigUInt64LE()
    if (value > BigInt(valueMax)) throw this.fail(`${what} is ${value}, above the bound of ${valueMax}`)
    return Number(value)
  }

  async string(): Promise<string> {
    return (await this.take(await this.u64('the length of a string', STRING_BYTES_MAX))).toString('utf8')
  }

  #truncated(bytes: number): SkeinError {
    return this.fail(
      `truncated: ${bytes} bytes are missing or cut at offset ${this.#position}, the file has ${this.sizeBytes}`,
    )
  }
}

/** Reads a value: strings and whole numbers as themselves, arrays as their length; all else is skipped. */
async function readValue(cursor: Cursor, key: string): Promise<string | number | undefined> {
  const type = await cursor.u32()
  if (type === STRING) return cursor.string()
  if (type === ARRAY) return skipArray(cursor, key)
  const bytes = VALUE_BYTES[type]
  if (bytes === undefined) throw cursor.fail(`the key ${key} has the unknown value type ${type}`)
  const value = await cursor.take(bytes)
  if (type === 4 || type === 5) return value.readUInt32LE()
  return type === 10 ? Number(value.readBigUInt64LE()) : undefined
}

async function skipArray(cursor: Cursor, key: string): Promise<number> {
  const type = await cursor.u32()
  const length = await cursor.u64(`the length of ${key}`, ARRAY_LENGTH_MAX)
  if (type === STRING) {
    for (let i = 0; i < length; i++) cursor.skip(await cursor.u64('the length of a string', STRING_BYTES_MAX))
    return length
  }
  const bytes = VALUE_BYTES[type]
  if (bytes === undefined) throw cursor.fail(`the array ${key} has the unknown element type ${type}`)
  cursor.skip(bytes * length)
  return length
}

interface TensorTotals {
  parameters: number
  /** Bytes from the start of the tensor data to the end of its last tensor. */
  endBytes: number
  readonly bytesByType: Map<string, number>
}

async function readTensor(cursor: Cursor, totals: TensorTotals): Promise<void> {
  const name = await cursor.string()
  const dimensions = await cursor.u32()
  if (dimensions < 1 || dimensions > DIMENSIONS_MAX)
    throw cursor.fail(`the tensor ${name} has ${dimensions} dimensions`)
  let elements = 1
  for (let i = 0; i < dimensions; i++) elements *= await cursor.u64(`a dimension of ${name}`, Number.MAX_SAFE_INTEGER)
  if (elements > Number.MAX_SAFE_INTEGER) throw cursor.fail(`the tensor ${name} has more elements than can be counted`)
  const type = await cursor.u32()
  const offset = await cursor.u64(`the offset of ${name}`, Number.MAX_SAFE_INTEGER)
  const known = TENSOR_TYPES[type]
  if (known === undefined) throw cursor.fail(`the tensor ${name} has the unknown type ${type}`)
  const [typeName, blockElements, blockBytes] = known
  const bytes = Math.ceil(elements / blockElements) * blockBytes
  totals.parameters += elements
  totals.endBytes = Math.max(totals.endBytes, offset + bytes)
  totals.bytesByType.set(typeName, (totals.bytesByType.get(typeName) ?? 0) + bytes)
}

async function readHead(cursor: Cursor): Promise<GgufSummary> {
  if (cursor.sizeBytes < 24) throw cursor.fail(`not a GGUF file: it has ${cursor.sizeBytes} bytes`)
  if ((await cursor.u32()) !== MAGIC) throw cursor.fail('not a GGUF file: it does not begin with "GGUF"')
  const version = await cursor.u32()
  if (!VERSIONS.includes(version)) throw cursor.fail(`GGUF version ${version} is not supported (2 and 3 are)`)
  const tensors = await cursor.u64('the number of tensors', TENSORS_MAX)
  const pairs = await cursor.u64('the number of metadata keys', PAIRS_MAX)
  const values = new Map<string, string | number>()
  for (let i = 0; i < pairs; i++) {
    const key = await cursor.string()
    const value = await readValue(cursor, key)
    if (value !== undefined) values.set(key, value)
  }
  const totals: TensorTotals = { parameters: 0, endBytes: 0, bytesByType: new Map() }
  for (let i = 0; i < tensors; i++) await readTensor(cursor, totals)
  if (tensors === 0) throw cursor.fail('has no tensors')
  const architecture = values.get('general.architecture')
  if (typeof architecture !== 'string') throw cursor.fail('does not name its architecture')
  checkDataFits(cursor, values.get('general.alignment'), totals.endBytes)
  const context = values.get(`${architecture}.context_length`)
  const template = values.get('tokenizer.chat_template')
  const vocabulary = values.get('tokenizer.ggml.tokens')
  const [quantization] = [...totals.bytesByType].reduce((most, entry) => (entry[1] > most[1] ? entry : most))
  return {
    sizeBytes: cursor.sizeBytes,
    parameters: totals.parameters,
    architecture,
    quantization,
    trainContextTokens: typeof context === 'number' ? context : 0,
    vocabularySize: typeof vocabulary === 'number' ? vocabulary : 0,
    chatTemplate: typeof template === 'string' ? template : undefined,
  }
}

function checkDataFits(cursor: Cursor, alignment: string | number | undefined, dataBytes: number): void {
  const step = alignment ?? DEFAULT_ALIGNMENT_BYTES
  if (typeof step !== 'number' || step < 1 || step > ALIGNMENT_BYTES_MAX)
    throw cursor.fail(`has the alignment ${alignment}`)
  const needed = Math.ceil(cursor.position / step) * step + dataBytes
  if (needed > cursor.sizeBytes)
    throw cursor.fail(`truncated: its tensors end at byte ${needed}, the file has ${cursor.sizeBytes}`)
}

/** @throws SkeinError MODEL_FILE_INVALID, naming the file and what is wrong with it. */
export async function readGguf(path: string): Promise<GgufSummary> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    throw invalid(path, code === 'ENOENT' ? 'there is no such file' : `cannot be opened (${code})`, cause)
  }
  try {
    const info = await file.stat()
    if (!info.isFile()) throw invalid(path, 'is not a file')
    return await readHead(new Cursor(file, path, info.size))
  } catch (cause) {
    throw cause instanceof SkeinError ? cause : invalid(path, 'cannot be read', cause)
  } finally {
    await file.close()
  }
}
