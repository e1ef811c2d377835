/**
 * Work that a model does in one step, without a stream of tokens: embeddings, classes of texts, tensors through a model's
 * own signature. A pure function of the model's digest and the request: what a lost node had begun is asked of another one
 * again, and nothing has to be fenced, kept or moved.
 */
import { Type, type Static } from 'typebox'
import { LIMITS } from './limits.ts'
import { bytes, count, list, text } from './schema.ts'

/** Element types of tensors, by the names that ONNX has for them; little-endian, `bool` one byte each. */
const ELEMENT_BYTES = { float32: 4, float64: 8, int32: 4, int64: 8, uint8: 1, int8: 1, bool: 1 } as const
export type TensorType = keyof typeof ELEMENT_BYTES
const TENSOR_TYPES = Object.keys(ELEMENT_BYTES) as TensorType[]

export const TensorSchema = Type.Object({
  /** Of the model's input or output. */
  name: text(128, 1),
  type: Type.Enum(TENSOR_TYPES),
  /** Row-major. A tensor without a shape is one number. */
  shape: list(count(LIMITS.workTensorBytesMax), 8),
  data: bytes(LIMITS.workTensorBytesMax),
})
export type Tensor = Static<typeof TensorSchema>

/** Whether the bytes of a tensor are as many as its shape and type say. */
export function isWholeTensor({ type, shape, data }: Tensor): boolean {
  return data.length === shape.reduce((product, length) => product * length, ELEMENT_BYTES[type])
}

/** UTF-8 bytes of a text at most: three for each UTF-16 code unit. */
const textBytesMax = (text: string): number => 3 * text.length

/** Bytes of what is worked on, or of what came of it; of texts, at most. */
export function workBytes(of: Work | WorkResult): number {
  if (of.kind === 'infer') return of.tensors.reduce((sum, { data }) => sum + data.length, 0)
  if ('texts' in of) return of.texts.reduce((sum, text) => sum + textBytesMax(text), 0)
  if (of.kind === 'embed') return of.vectors.reduce((sum, { length }) => sum + length, 0)
  return of.classes.flat().reduce((sum, { label }) => sum + textBytesMax(label), 0)
}

const texts = (maxItems: number) => list(text(LIMITS.workTextLengthMax), maxItems, 1)

export const WorkSchema = Type.Union([
  Type.Object({
    kind: Type.Literal('embed'),
    texts: texts(LIMITS.workInputsPerFrameMax),
    /** Numbers of a vector, fewer than the model gives: its first ones, brought to length 1. */
    dimensions: Type.Optional(count(LIMITS.embeddingDimensionsMax, 1)),
  }),
  /** The model's own classes for each text, and how likely each is. */
  Type.Object({ kind: Type.Literal('classify'), texts: texts(LIMITS.workClassifyInputsPerFrameMax) }),
  /** Every input of the model's signature, by name. */
  Type.Object({ kind: Type.Literal('infer'), tensors: list(TensorSchema, LIMITS.workTensorsMax, 1) }),
])
export type Work = Static<typeof WorkSchema>
export type WorkKind = Work['kind']

export const ClassScoreSchema = Type.Object({
  label: text(128),
  /** 0 to 1. */
  score: Type.Number({ minimum: 0, maximum: 1 }),
})
export type ClassScore = Static<typeof ClassScoreSchema>

/** One entry for each text, in their order. */
export const WorkResultSchema = Type.Union([
  Type.Object({
    kind: Type.Literal('embed'),
    /** Little-endian float32, of length 1. */
    vectors: list(bytes(4 * LIMITS.embeddingDimensionsMax, 4), LIMITS.workInputsPerFrameMax, 1),
    /** Tokens of all texts. */
    promptTokens: count(),
  }),
  Type.Object({
    kind: Type.Literal('classify'),
    /** The likeliest first. */
    classes: list(list(ClassScoreSchema, LIMITS.workClassesMax, 1), LIMITS.workClassifyInputsPerFrameMax, 1),
    promptTokens: count(),
  }),
  Type.Object({ kind: Type.Literal('infer'), tensors: list(TensorSchema, LIMITS.workTensorsMax, 1) }),
])
export type WorkResult = Static<typeof WorkResultSchema>

/** Tokens that a model may put around each text: its own marks, an instruction. */
const AROUND_TOKENS_MAX = 256

/** What keeps `result` from being the answer to `work`, in words; nothing when it is one. Its schema was checked before. */
export function workResultFault(work: Work, result: WorkResult): string | undefined {
  if (result.kind !== work.kind) return `a result of ${result.kind} for work of ${work.kind}`
  if (workBytes(result) > LIMITS.workBytesMax) return `a result of more than ${LIMITS.workBytesMax} bytes`
  // no token is shorter than a byte, and what a model writes around a text is short
  if (work.kind !== 'infer' && result.kind !== 'infer') {
    if (result.promptTokens > workBytes(work) + AROUND_TOKENS_MAX * work.texts.length)
      return `${result.promptTokens} tokens, more than the texts can have`
  }
  if (work.kind === 'embed' && result.kind === 'embed') return vectorsFault(work, result.vectors)
  if (work.kind === 'classify' && result.kind === 'classify')
    return result.classes.length === work.texts.length ? undefined : countFault(work.texts, result.classes)
  return result.kind === 'infer' ? tensorsFault(result.tensors) : undefined
}

const countFault = (texts: readonly string[], answers: readonly unknown[]): string =>
  `${answers.length} results for ${texts.length} texts`

function vectorsFault(
  { texts, dimensions }: { readonly texts: readonly string[]; readonly dimensions?: number },
  vectors: readonly Uint8Array[],
): string | undefined {
  if (vectors.length !== texts.length) return countFault(texts, vectors)
  const lengthBytes = dimensions === undefined ? vectors[0]!.length : 4 * dimensions
  if (lengthBytes % 4 !== 0) return 'a vector that is no whole number of float32'
  if (vectors.some(({ length }) => length !== lengthBytes)) return `a vector of other than ${lengthBytes / 4} numbers`
  return vectors.every(isFiniteVector) ? undefined : 'a vector with a number that is not finite'
}

/** By the bits of the exponent, all of which are set in what is infinite or no number. */
function isFiniteVector(vector: Uint8Array): boolean {
  for (let i = 0; i < vector.length; i += 4)
    if ((vector[i + 3]! & 0x7f) === 0x7f && (vector[i + 2]! & 0x80) !== 0) return false
  return true
}

/** Of what is sent to a model, and of what comes from it. */
export function tensorsFault(tensors: readonly Tensor[]): string | undefined {
  const partial = tensors.find((tensor) => !isWholeTensor(tensor))
  if (partial !== undefined) return `a tensor '${partial.name}' with other bytes than its shape and type say`
  if (new Set(tensors.map(({ name }) => name)).size < tensors.length) return 'two tensors of one name'
  return undefined
}
