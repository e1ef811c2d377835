/**
 * Reads the head of a GGUF file: what it says of itself, and whether it is one and whole. A node announces a model before
 * an engine has it, and llama.cpp trusts some of what a file says, where an abort kills its process. Every count and
 * length is bounded before it is believed, and only values that are asked for are kept, so that a hostile file costs time
 * linear in its head and little memory.
 *
 * Layout: `docs/gguf.md` of ggml. Versions 2 and 3 differ only in byte order, and big-endian files are refused.
 */
import { checker, SamplingDefaultsSchema, type SamplingDefaults } from '../../../mesh/protocol/index.ts'
import { readHeadOf } from '../head-file.ts'
import { ByteCursor } from './byte-cursor.ts'
import { FILE_TYPES, TENSOR_TYPES, VALUE_ARRAY, VALUE_BYTES, VALUE_STRING } from './ggml-types.ts'

export interface GgufSummary {
  readonly sizeBytes: number
  /** `general.name`; absent in many files. */
  readonly name?: string
  readonly architecture: string
  readonly parameters: number
  /** Such as `Q4_K_M`: the file's own word, or the type that most of its weights have. */
  readonly quantization: string
  /** Context that the model was trained for, in tokens; 0 when the file does not say. */
  readonly trainContextTokens: number
  /** 0 when the file does not say. */
  readonly vocabularySize: number
  readonly chatTemplate?: string
  /** `general.sampling.*`: what its makers recommend, where they do. */
  readonly sampling: SamplingDefaults
  /** Made for embeddings, not for text: the file says how vectors of tokens become one. */
  readonly isEmbedder: boolean
  /** Low-rank changes to the weights of another model, and no model by itself. */
  readonly isAdapter: boolean
  /** 1 for a model in one file. */
  readonly splitFiles: number
}

/** Sizes of a tensor, fastest dimension first. */
export type Shape = readonly number[]

const MAGIC = 0x46554747
/** Magic, version, and the numbers of tensors and of keys. */
const PREAMBLE_BYTES = 24
const VERSIONS: readonly number[] = [2, 3]
const PAIRS_MAX = 4096
const TENSORS_MAX = 65_536
/** Of keys and of the names of tensors. */
const NAME_BYTES_MAX = 1024
const DIMENSIONS_MAX = 4
const DEFAULT_ALIGNMENT_BYTES = 32
const ALIGNMENT_BYTES_MAX = 65_536
/** As a capability record has it. */
const CONTEXT_TOKENS_MAX = 100_000_000
/** Of names from the file in messages, in UTF-16 code units. */
const SHOWN_LENGTH_MAX = 64

/** Texts that are kept, and their longest in bytes; the longest chat templates seen have 20 KiB. */
const TEXT_BYTES_MAX: ReadonlyMap<string, number> = new Map([
  ['general.architecture', 256],
  ['general.name', 4096],
  ['general.type', 256],
  ['adapter.type', 256],
  ['tokenizer.chat_template', 1024 * 1024],
])
/** Numbers that are kept, and of an array its length. */
const NUMBERS: ReadonlySet<string> = new Set([
  'general.alignment',
  'general.file_type',
  'split.count',
  'tokenizer.ggml.tokens',
])
const SAMPLING = 'general.sampling.'
const KEPT_ENDS: readonly string[] = ['.context_length', '.pooling_type', '.attention.causal']
/** Mean, first and last token, as llama.cpp numbers them. None, and ranking, make no embeddings. */
const POOLING_TYPES: readonly number[] = [1, 2, 3]
const isNumberKept = (key: string): boolean =>
  NUMBERS.has(key) || KEPT_ENDS.some((end) => key.endsWith(end)) || key.startsWith(SAMPLING)

/** Text of a file in a message: it reaches terminals. */
const shown = (text: string): string => text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, SHOWN_LENGTH_MAX)

type Values = ReadonlyMap<string, string | number>

async function readPairs(cursor: ByteCursor, pairs: number): Promise<Values> {
  const values = new Map<string, string | number>()
  for (let i = 0; i < pairs; i++) {
    const key = await cursor.text('a metadata key', NAME_BYTES_MAX)
    const value = await readValue(cursor, key)
    if (typeof value === 'string' || (value !== undefined && isNumberKept(key))) values.set(key, value)
  }
  return values
}

/** Reads a value: texts to be kept and numbers as themselves, arrays as their length; all else is skipped. */
async function readValue(cursor: ByteCursor, key: string): Promise<string | number | undefined> {
  const type = await cursor.u32()
  if (type === VALUE_ARRAY) return skipArray(cursor, key)
  if (type === VALUE_STRING) {
    const bytesMax = TEXT_BYTES_MAX.get(key)
    if (bytesMax !== undefined) return cursor.text(key, bytesMax)
    cursor.skip(await cursor.u64(`the length of ${shown(key)}`))
    return undefined
  }
  const size = VALUE_BYTES[type]
  if (size === undefined) throw cursor.fail(`the key ${shown(key)} has the unknown value type ${type}`)
  return numberOf(await cursor.bytes(size), type)
}

/** Value of a number of the types that the keys we keep have; `undefined` for other types. */
function numberOf(bytes: Buffer, type: number): number | undefined {
  if (type === 2) return bytes.readUInt16LE()
  if (type === 4) return bytes.readUInt32LE()
  if (type === 5) return Math.max(0, bytes.readInt32LE())
  if (type === 6) return bytes.readFloatLE()
  if (type === 7) return bytes[0]
  return type === 10 ? Number(bytes.readBigUInt64LE()) : undefined
}

async function skipArray(cursor: ByteCursor, key: string): Promise<number> {
  const type = await cursor.u32()
  const length = await cursor.u64(`the length of ${shown(key)}`)
  const size = VALUE_BYTES[type]
  if (size !== undefined) {
    cursor.skip(size * length)
    return length
  }
  if (type !== VALUE_STRING) throw cursor.fail(`the array ${shown(key)} has the unknown element type ${type}`)
  for (let i = 0; i < length; i++) {
    if (!cursor.has(8)) await cursor.fill(8)
    cursor.skip(cursor.takeU64())
  }
  return length
}

interface TensorTotals {
  parameters: number
  /** Bytes from the start of the tensor data to the end of its last tensor. */
  endBytes: number
  readonly bytesByType: Map<string, number>
}

type OnTensor = (name: string, shape: Shape) => void

async function readTensors(cursor: ByteCursor, tensors: number, onTensor: OnTensor): Promise<TensorTotals> {
  const totals: TensorTotals = { parameters: 0, endBytes: 0, bytesByType: new Map() }
  for (let i = 0; i < tensors; i++) await readTensor(cursor, totals, onTensor)
  if (!Number.isSafeInteger(totals.parameters)) throw cursor.fail('its tensors have more elements than can be counted')
  return totals
}

async function readTensor(cursor: ByteCursor, totals: TensorTotals, onTensor: OnTensor): Promise<void> {
  const name = shown(await cursor.text('the name of a tensor', NAME_BYTES_MAX))
  const dimensions = await cursor.u32()
  if (dimensions < 1 || dimensions > DIMENSIONS_MAX)
    throw cursor.fail(`the tensor ${name} has ${dimensions} dimensions`)
  const shape: number[] = []
  for (let i = 0; i < dimensions; i++) shape.push(await cursor.u64(`a dimension of ${name}`))
  const elements = shape.reduce((product, size) => product * size, 1)
  const type = await cursor.u32()
  const offset = await cursor.u64(`the offset of ${name}`)
  const known = TENSOR_TYPES[type]
  if (known === undefined) throw cursor.fail(`the tensor ${name} has the unknown type ${type}`)
  const [typeName, blockElements, blockBytes] = known
  const bytes = Math.ceil(elements / blockElements) * blockBytes
  onTensor(name, shape)
  totals.parameters += elements
  totals.endBytes = Math.max(totals.endBytes, offset + bytes)
  totals.bytesByType.set(typeName, (totals.bytesByType.get(typeName) ?? 0) + bytes)
}

async function readHead(cursor: ByteCursor, onTensor: OnTensor = () => {}): Promise<GgufSummary> {
  if (cursor.sizeBytes < PREAMBLE_BYTES) throw cursor.fail(`not a GGUF file: it has ${cursor.sizeBytes} bytes`)
  if ((await cursor.u32()) !== MAGIC) throw cursor.fail('not a GGUF file: it does not begin with "GGUF"')
  const version = await cursor.u32()
  if (!VERSIONS.includes(version)) throw cursor.fail(`GGUF version ${version} is not supported (2 and 3 are)`)
  const tensors = await cursor.u64('the number of tensors', TENSORS_MAX)
  const pairs = await cursor.u64('the number of metadata keys', PAIRS_MAX)
  const values = await readPairs(cursor, pairs)
  const totals = await readTensors(cursor, tensors, onTensor)
  const summary = summaryOf(cursor, values, totals)
  // the first part of a split model may have its metadata alone
  if (tensors === 0 && summary.splitFiles === 1) throw cursor.fail('has no tensors')
  checkDataFits(cursor, values.get('general.alignment'), totals.endBytes)
  return summary
}

function summaryOf(cursor: ByteCursor, values: Values, totals: TensorTotals): GgufSummary {
  const text = (key: string): string | undefined => {
    const value = values.get(key)
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const number = (key: string): number | undefined => {
    const value = values.get(key)
    return typeof value === 'number' ? value : undefined
  }
  const architecture = text('general.architecture')
  if (architecture === undefined) throw cursor.fail('does not name its architecture')
  const trainContextTokens = number(`${architecture}.context_length`) ?? 0
  if (trainContextTokens > CONTEXT_TOKENS_MAX) throw cursor.fail(`claims a context of ${trainContextTokens} tokens`)
  const isEmbedder = POOLING_TYPES.includes(number(`${architecture}.pooling_type`) ?? 0)
  // llama.cpp would stop its process over such a model, not refuse it
  if (number(`${architecture}.attention.causal`) === 0 && !isEmbedder)
    throw cursor.fail('neither generates text nor makes embeddings; models that rank are not served')
  const isAdapter = text('general.type') === 'adapter'
  const adapterType = text('adapter.type') ?? 'of no type'
  if (isAdapter && adapterType !== 'lora')
    throw cursor.fail(`an adapter, ${shown(adapterType)}; those of the type lora are served`)
  const name = text('general.name')
  const chatTemplate = text('tokenizer.chat_template')
  const [mostOf = 'unknown'] = [...totals.bytesByType].sort((a, b) => b[1] - a[1])[0] ?? []
  return {
    sizeBytes: cursor.sizeBytes,
    architecture,
    parameters: totals.parameters,
    quantization: FILE_TYPES[number('general.file_type') ?? -1] ?? mostOf,
    trainContextTokens,
    vocabularySize: number('tokenizer.ggml.tokens') ?? 0,
    isEmbedder,
    isAdapter,
    splitFiles: number('split.count') ?? 1,
    sampling: samplingOf(number),
    ...(name === undefined ? {} : { name }),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
  }
}

const isSamplingDefaults = checker(SamplingDefaultsSchema)

/** What is recommended, each value by itself: one that is none must not take the others along. */
function samplingOf(number: (key: string) => number | undefined): SamplingDefaults {
  const keys = { temperature: 'temp', topP: 'top_p', topK: 'top_k', minP: 'min_p' }
  const given = Object.entries(keys).flatMap(([name, key]) => {
    const value = number(SAMPLING + key)
    // as 32 bits have it, 0.8 is 0.800000011920929
    return value === undefined ? [] : [{ [name]: Math.round(value * 1e6) / 1e6 }]
  })
  return Object.assign({}, ...given.filter((each) => isSamplingDefaults(each))) as SamplingDefaults
}

function checkDataFits(cursor: ByteCursor, alignment: string | number | undefined, dataBytes: number): void {
  const step = alignment ?? DEFAULT_ALIGNMENT_BYTES
  if (typeof step !== 'number' || step < 1 || step > ALIGNMENT_BYTES_MAX)
    throw cursor.fail(`has the alignment ${alignment}`)
  const needed = Math.ceil(cursor.position / step) * step + dataBytes
  if (needed > cursor.sizeBytes)
    throw cursor.fail(`truncated: its tensors end at byte ${needed}, the file has ${cursor.sizeBytes}`)
}

/** @throws SkeinError MODEL_FILE_INVALID, naming the file and what is wrong with it. */
export const readGguf = (path: string): Promise<GgufSummary> =>
  readHeadOf(path, (file) => readHead(new ByteCursor(file)))

/**
 * The same, and the shapes of its tensors by their names.
 *
 * @throws SkeinError as `readGguf`.
 */
export const readGgufShapes = (
  path: string,
): Promise<{ readonly summary: GgufSummary; readonly shapes: ReadonlyMap<string, Shape> }> =>
  readHeadOf(path, async (file) => {
    const shapes = new Map<string, Shape>()
    return { summary: await readHead(new ByteCursor(file), (name, shape) => shapes.set(name, shape)), shapes }
  })
