/**
 * Reads what an ONNX file says of itself, without the library that runs it: its signature, its metadata, the size of its
 * weights, and that it is whole and stands alone. A node announces a model before an engine has it, and the library
 * trusts a file more than a stranger's file deserves: weights "in another file" would be read from wherever it says.
 *
 * Layout: `onnx.proto` of ONNX. A protobuf has no magic number: what is no model shows by fields that cannot be.
 */
import { asSkeinError, LIMITS, type TensorType } from '../../../mesh/protocol/index.ts'
import { readHeadOf } from '../head-file.ts'
import { fieldsOf, ProtoCursor } from './proto-cursor.ts'

/** Of an input or output of a model. */
export interface OnnxValue {
  readonly name: string
  /** As a request can have it; `unsupported` for texts, half floats, sequences and the like. */
  readonly type: TensorType | 'unsupported'
  /** Numbers, names of lengths that must agree wherever they stand, `?` for any; absent when not even the rank is said. */
  readonly shape?: readonly (number | string)[]
}

export interface OnnxSummary {
  readonly sizeBytes: number
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
  readonly metadata: ReadonlyMap<string, string>
  /** Elements of all weights. */
  readonly parameters: number
  /** Such as `F32`: the type of most of its weights, by bytes. */
  readonly quantization: string
}

/** What protobuf can hold; larger models keep their weights in further files. */
export const ONNX_BYTES_MAX = 2 ** 31
const VALUES_MAX = 1024
const VALUE_BYTES_MAX = 64 * 1024
const PROPERTIES_MAX = 256
const PROPERTY_BYTES_MAX = 256 * 1024
const NAME_BYTES_MAX = 4096
const DIMENSIONS_MAX = 64
/** Graphs in attributes of nodes in graphs …; each costs four levels. */
const DEPTH_MAX = 64
const IR_VERSION_MAX = 1000
const SHOWN_LENGTH_MAX = 64

/** Messages that are entered, by the field that holds them. */
const INNER = {
  model: { 7: 'graph', 20: 'training', 25: 'function' },
  graph: { 1: 'node', 5: 'tensor', 15: 'sparse' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse' },
  sparse: { 1: 'tensor', 2: 'tensor' },
  function: { 7: 'node', 11: 'attribute' },
  training: { 1: 'graph', 2: 'graph' },
} as const satisfies Record<string, Record<number, string>>
type Message = keyof typeof INNER
const innerOf = (message: Message, number: number): Message | 'tensor' | undefined =>
  (INNER[message] as Readonly<Record<number, Message | 'tensor'>>)[number]

const METADATA = 14
const GRAPH = 7
const INPUT = 11
const OUTPUT = 12

/** By the numbers that ONNX has for element types: name, bits, as a request can have it. */
const ELEMENTS: Readonly<Record<number, readonly [name: string, bits: number, type?: TensorType]>> = {
  1: ['F32', 32, 'float32'],
  2: ['U8', 8, 'uint8'],
  3: ['I8', 8, 'int8'],
  4: ['U16', 16],
  5: ['I16', 16],
  6: ['I32', 32, 'int32'],
  7: ['I64', 64, 'int64'],
  9: ['BOOL', 8, 'bool'],
  10: ['F16', 16],
  11: ['F64', 64, 'float64'],
  12: ['U32', 32],
  13: ['U64', 64],
  16: ['BF16', 16],
  21: ['U4', 4],
  22: ['I4', 4],
}

/** Text of a file in a message: it reaches terminals. */
export const shown = (text: string): string => text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, SHOWN_LENGTH_MAX)

class HeadReader {
  readonly #cursor: ProtoCursor
  readonly #metadata = new Map<string, string>()
  readonly #inputs: OnnxValue[] = []
  readonly #outputs: OnnxValue[] = []
  /** Names of the weights of the model's own graph: old files list these among the inputs too. */
  readonly #weights = new Set<string>()
  readonly #bitsByType = new Map<string, number>()
  #parameters = 0
  #irVersion = 0
  #graphs = 0

  constructor(cursor: ProtoCursor) {
    this.#cursor = cursor
  }

  async read(): Promise<OnnxSummary> {
    const cursor = this.#cursor
    if (cursor.sizeBytes > ONNX_BYTES_MAX)
      throw cursor.fail(`not an ONNX file: it has ${cursor.sizeBytes} bytes, and the format ends at ${ONNX_BYTES_MAX}`)
    await this.#walk('model', cursor.sizeBytes, 0)
    if (this.#graphs === 0 || this.#irVersion < 1 || this.#irVersion > IR_VERSION_MAX)
      throw cursor.fail('not an ONNX file: it has no graph, or no version of the format')
    if (this.#outputs.length === 0) throw cursor.fail('its graph has no output')
    const [most = 'unknown'] = [...this.#bitsByType].sort((a, b) => b[1] - a[1])[0] ?? []
    return {
      sizeBytes: cursor.sizeBytes,
      inputs: this.#inputs.filter(({ name }) => !this.#weights.has(name)),
      outputs: this.#outputs,
      metadata: this.#metadata,
      parameters: this.#parameters,
      quantization: most,
    }
  }

  async #walk(message: Message, end: number, depth: number): Promise<void> {
    const cursor = this.#cursor
    if (depth > DEPTH_MAX) throw cursor.fail(`its graphs are nested deeper than ${DEPTH_MAX} levels`)
    for (let field = await cursor.next(end); field !== undefined; field = await cursor.next(end)) {
      const { number, value } = field
      if (message === 'model' && number === 1 && value !== undefined) this.#irVersion = value
      if (field.end === undefined) continue
      const inner = innerOf(message, number)
      if (message === 'model' && number === METADATA) await this.#readProperty(field.end)
      else if (depth === 1 && (number === INPUT || number === OUTPUT) && message === 'graph')
        await this.#readValue(number === INPUT ? this.#inputs : this.#outputs, field.end)
      else if (inner === 'tensor') await this.#readTensor(field.end, message === 'graph' && depth === 1)
      else if (inner !== undefined) {
        if (message === 'model' && number === GRAPH && ++this.#graphs > 1) throw cursor.fail('it has two graphs')
        // the graphs of a training are no inputs or outputs of the model
        await this.#walk(inner, field.end, message === 'model' && number !== GRAPH ? depth + 2 : depth + 1)
      }
      cursor.skipTo(field.end)
    }
  }

  async #readProperty(end: number): Promise<void> {
    if (this.#metadata.size >= PROPERTIES_MAX) throw this.#cursor.fail(`it has more than ${PROPERTIES_MAX} properties`)
    const bytes = await this.#cursor.content(end, 'a property', PROPERTY_BYTES_MAX)
    const [key = '', value = ''] = this.#parse('a property', () => textsOf(bytes))
    this.#metadata.set(key, value)
  }

  async #readValue(values: OnnxValue[], end: number): Promise<void> {
    if (values.length >= VALUES_MAX) throw this.#cursor.fail(`it has more than ${VALUES_MAX} inputs or outputs`)
    const bytes = await this.#cursor.content(end, 'an input or output', VALUE_BYTES_MAX)
    values.push(this.#parse('an input or output', () => valueOf(bytes)))
  }

  #parse<T>(what: string, parse: () => T): T {
    try {
      return parse()
    } catch (thrown) {
      throw this.#cursor.fail(`not an ONNX file: ${what} cannot be read: ${asSkeinError(thrown).message}`)
    }
  }

  async #readTensor(end: number, isWeight: boolean): Promise<void> {
    const cursor = this.#cursor
    let elements = 1
    let type = 0
    let isExternal = false
    let name = ''
    for (let field = await cursor.next(end); field !== undefined; field = await cursor.next(end)) {
      if (field.number === 1) {
        if (field.value !== undefined) elements *= field.value
        else while (cursor.position < field.end!) elements *= await cursor.varint(field.end!)
      } else if (field.number === 2) type = field.value ?? 0
      else if (field.number === 13 || (field.number === 14 && field.value === 1)) isExternal = true
      else if (field.number === 8 && field.end !== undefined)
        name = (await cursor.content(field.end, 'the name of a weight', NAME_BYTES_MAX)).toString('utf8')
      if (field.end !== undefined) cursor.skipTo(field.end)
    }
    if (isExternal)
      throw cursor.fail(`its weights ${shown(name)} are in another file; only models in one file are served`)
    if (!isWeight) return
    this.#weights.add(name)
    this.#parameters += elements
    if (!Number.isSafeInteger(this.#parameters)) throw cursor.fail('its weights have more elements than can be counted')
    const [typeName, bits] = ELEMENTS[type] ?? ['unknown', 8]
    this.#bitsByType.set(typeName, (this.#bitsByType.get(typeName) ?? 0) + elements * bits)
  }
}

/** Fields 1 and 2 as texts. */
function textsOf(bytes: Buffer): [string, string] {
  const texts: [string, string] = ['', '']
  for (const { number, content } of fieldsOf(bytes))
    if (number === 1 || number === 2) texts[number - 1] = content.toString('utf8')
  return texts
}

/** @throws TypeError when the bytes are no message. */
function valueOf(bytes: Buffer): OnnxValue {
  let name = ''
  let value: Pick<OnnxValue, 'type' | 'shape'> = { type: 'unsupported' }
  for (const { number, content } of fieldsOf(bytes)) {
    if (number === 1) name = content.toString('utf8')
    if (number !== 2) continue
    for (const kind of fieldsOf(content)) if (kind.number === 1) value = tensorOf(kind.content)
  }
  return { name, ...value }
}

function tensorOf(bytes: Buffer): Pick<OnnxValue, 'type' | 'shape'> {
  let type: OnnxValue['type'] = 'unsupported'
  let shape: (number | string)[] | undefined
  for (const { number, value, content } of fieldsOf(bytes)) {
    if (number === 1) type = ELEMENTS[value]?.[2] ?? 'unsupported'
    if (number !== 2) continue
    shape = []
    for (const dimension of fieldsOf(content)) if (dimension.number === 1) shape.push(lengthOf(dimension.content))
    if (shape.length > DIMENSIONS_MAX) throw new TypeError(`it has ${shape.length} dimensions`)
  }
  return shape === undefined ? { type } : { type, shape }
}

function lengthOf(bytes: Buffer): number | string {
  let length: number | string = '?'
  for (const { number, value, content } of fieldsOf(bytes)) {
    // one that is negative, written as 2^64 less, is not known either
    if (number === 1) length = value <= LIMITS.workTensorBytesMax ? value : '?'
    else if (number === 2 && content.length > 0) length = content.toString('utf8')
  }
  return length
}

/** @throws SkeinError MODEL_FILE_INVALID, naming the file and what is wrong with it. */
export const readOnnx = (path: string): Promise<OnnxSummary> =>
  readHeadOf(path, (file) => new HeadReader(new ProtoCursor(file)).read())
