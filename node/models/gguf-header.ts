/**
 * What a GGUF file says of itself, read without loading it: a node announces a model before its engine has it, and a
 * file that is no model must not cost an engine process. The layout is ggml's `docs/gguf.md`, versions 2 and 3.
 *
 * The file is hostile: every length is checked against the file's size and against a bound before it is believed.
 */
import { open } from 'node:fs/promises'
import { asSkeinError, SkeinError } from '../../mesh/protocol/index.ts'
import { ByteReader, EndOfBytes } from './byte-reader.ts'

export interface GgufHeader {
  /** `general.name`; absent in many files. */
  readonly name?: string
  readonly architecture: string
  /** Tokens that the model was trained for. */
  readonly contextTokens: number
  readonly parameters: number
  /** Such as `Q4_K_M`. */
  readonly quantization: string
  readonly hasChatTemplate: boolean
  /** 1 for a model in one file. */
  readonly splitFiles: number
}

/** A vocabulary of a million long tokens with its merges stays below. */
const HEADER_BYTES_MAX = 256 * 1024 * 1024
const KEYS_MAX = 4096
const TENSORS_MAX = 65_536
const DIMENSIONS_MAX = 8
const KEY_BYTES_MAX = 1024
/** Of values that are kept; longer ones (chat templates, vocabularies) are skipped. */
const TEXT_BYTES_MAX = 1024

/** Of the tensors' data, where the file does not name another. */
const ALIGNMENT_BYTES = 32
const MAGIC = 'GGUF'
const TYPE_STRING = 8
const TYPE_ARRAY = 9
/** Bytes of a value, by GGUF type: u8, i8, u16, i16, u32, i32, f32, bool, -, -, u64, i64, f64. */
const VALUE_BYTES: readonly (number | undefined)[] = [1, 1, 2, 2, 4, 4, 4, 1, undefined, undefined, 8, 8, 8]

/** llama.cpp's `llama_ftype`, without its prefix `MOSTLY_`. */
const FILE_TYPES: Readonly<Record<number, string>> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  7: 'Q8_0',
  8: 'Q5_0',
  9: 'Q5_1',
  10: 'Q2_K',
  11: 'Q3_K_S',
  12: 'Q3_K_M',
  13: 'Q3_K_L',
  14: 'Q4_K_S',
  15: 'Q4_K_M',
  16: 'Q5_K_S',
  17: 'Q5_K_M',
  18: 'Q6_K',
  19: 'IQ2_XXS',
  20: 'IQ2_XS',
  21: 'Q2_K_S',
  22: 'IQ3_XS',
  23: 'IQ3_XXS',
  24: 'IQ1_S',
  25: 'IQ4_NL',
  26: 'IQ3_S',
  27: 'IQ3_M',
  28: 'IQ2_S',
  29: 'IQ2_M',
  30: 'IQ4_XS',
  31: 'IQ1_M',
  32: 'BF16',
  36: 'TQ1_0',
  37: 'TQ2_0',
  38: 'MXFP4',
}

type Values = Map<string, string | number>

/**
 * @param sizeBytes the file's size, beyond which nothing may point.
 * @throws SkeinError MODEL_FILE_INVALID naming the file and what is wrong.
 */
export async function readGgufHeader(path: string, sizeBytes: number): Promise<GgufHeader> {
  let file
  try {
    file = await open(path, 'r')
  } catch (cause) {
    throw invalid(path, asSkeinError(cause).message, cause)
  }
  try {
    return await parse(path, new ByteReader(file, Math.min(sizeBytes, HEADER_BYTES_MAX)), sizeBytes)
  } catch (thrown) {
    if (thrown instanceof EndOfBytes) throw invalid(path, 'it ends within its own header (truncated?)', thrown)
    if (thrown instanceof SkeinError) throw thrown
    throw invalid(path, asSkeinError(thrown).message, thrown)
  } finally {
    await file.close()
  }
}

async function parse(path: string, reader: ByteReader, sizeBytes: number): Promise<GgufHeader> {
  if (sizeBytes < 4) throw invalid(path, 'it is empty or shorter than a GGUF magic')
  await reader.fill(4)
  const magic = reader.take(4).toString('latin1')
  if (magic !== MAGIC) throw invalid(path, 'it does not begin with GGUF: it is another kind of file')
  const version = await reader.u32()
  if (version !== 2 && version !== 3) throw invalid(path, `its GGUF version is ${version}; 2 and 3 are known`)
  const tensors = await reader.u64()
  const keys = await reader.u64()
  if (tensors > TENSORS_MAX || keys > KEYS_MAX) throw invalid(path, `it claims ${tensors} tensors and ${keys} keys`)
  const values: Values = new Map()
  for (let i = 0; i < keys; i++) await readKey(path, reader, values)
  const { parameters, lastOffset } = await readTensors(path, reader, tensors)
  if (tensors === 0) throw invalid(path, 'it has no tensors')
  const alignment = values.get('general.alignment')
  const alignmentBytes = typeof alignment === 'number' && alignment > 0 ? alignment : ALIGNMENT_BYTES
  const dataStart = Math.ceil(reader.offset / alignmentBytes) * alignmentBytes
  if (dataStart + lastOffset >= sizeBytes)
    throw invalid(path, `it is truncated: a tensor begins beyond its ${sizeBytes} bytes`)
  return headerOf(path, values, parameters)
}

function headerOf(path: string, values: Values, parameters: number): GgufHeader {
  const text = (key: string): string | undefined => {
    const value = values.get(key)
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const number = (key: string): number | undefined => {
    const value = values.get(key)
    return typeof value === 'number' ? value : undefined
  }
  const architecture = text('general.architecture')
  if (architecture === undefined) throw invalid(path, 'it does not name its architecture')
  const name = text('general.name')
  const fileType = number('general.file_type')
  return {
    ...(name === undefined ? {} : { name }),
    architecture,
    contextTokens: number(`${architecture}.context_length`) ?? 0,
    parameters,
    quantization: (fileType === undefined ? undefined : FILE_TYPES[fileType]) ?? 'unknown',
    hasChatTemplate: values.has('tokenizer.chat_template'),
    splitFiles: number('split.count') ?? 1,
  }
}

async function readKey(path: string, reader: ByteReader, values: Values): Promise<void> {
  const keyBytes = await reader.u64()
  if (keyBytes > KEY_BYTES_MAX) throw invalid(path, `a key of ${keyBytes} bytes`)
  await reader.fill(keyBytes)
  const key = reader.take(keyBytes).toString('utf8')
  const type = await reader.u32()
  if (type === TYPE_ARRAY) return skipArray(path, reader)
  if (type === TYPE_STRING) {
    const bytes = await reader.u64()
    if (bytes > TEXT_BYTES_MAX) {
      reader.skip(bytes)
      values.set(key, '')
      return
    }
    await reader.fill(bytes)
    values.set(key, reader.take(bytes).toString('utf8'))
    return
  }
  const size = VALUE_BYTES[type]
  if (size === undefined) throw invalid(path, `key ${key} has the unknown type ${type}`)
  await reader.fill(size)
  const whole = wholeNumber(reader.take(size), type)
  if (whole !== undefined) values.set(key, whole)
}

/** Value of an unsigned or signed 32 or 64 bit integer (what the keys that we read use), `undefined` for other types. */
function wholeNumber(bytes: Buffer, type: number): number | undefined {
  if (type === 2) return bytes.readUInt16LE()
  if (type === 4) return bytes.readUInt32LE()
  if (type === 5) return Math.max(0, bytes.readInt32LE())
  if (type !== 10) return undefined
  const value = bytes.readBigUInt64LE()
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(value)
}

async function skipArray(path: string, reader: ByteReader): Promise<void> {
  const type = await reader.u32()
  const length = await reader.u64()
  const size = VALUE_BYTES[type]
  if (size !== undefined) return reader.skip(size * length)
  if (type !== TYPE_STRING) throw invalid(path, `an array of the unknown type ${type}`)
  for (let i = 0; i < length; i++) {
    if (!reader.has(8)) await reader.fill(8)
    reader.skip(Number(reader.take(8).readBigUInt64LE()))
  }
}

async function readTensors(
  path: string,
  reader: ByteReader,
  tensors: number,
): Promise<{ parameters: number; lastOffset: number }> {
  let parameters = 0
  let lastOffset = 0
  for (let i = 0; i < tensors; i++) {
    reader.skip(await reader.u64())
    const dimensions = await reader.u32()
    if (dimensions > DIMENSIONS_MAX) throw invalid(path, `a tensor of ${dimensions} dimensions`)
    let elements = 1
    for (let d = 0; d < dimensions; d++) elements *= await reader.u64()
    parameters += elements
    await reader.u32()
    lastOffset = Math.max(lastOffset, await reader.u64())
  }
  if (!Number.isSafeInteger(parameters)) throw invalid(path, 'its tensors claim more numbers than a file can hold')
  return { parameters, lastOffset }
}

const invalid = (path: string, what: string, cause?: unknown): SkeinError =>
  new SkeinError('MODEL_FILE_INVALID', `${path}: ${what}`, { cause })
