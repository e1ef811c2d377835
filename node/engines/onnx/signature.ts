/** Holds tensors to the signature of a model: names, types, ranks, lengths, and lengths of one name that must agree. */
import { isWholeTensor, LIMITS, SkeinError, type Tensor, type TensorType } from '../../../mesh/protocol/index.ts'
import { shown, type OnnxSummary, type OnnxValue } from './onnx-head.ts'

/** What a length's name stands for in one request. */
type Bound = Map<string, number>

const SIZES: Readonly<Record<TensorType, number>> = {
  float32: 4,
  float64: 8,
  int32: 4,
  int64: 8,
  uint8: 1,
  int8: 1,
  bool: 1,
}

export const shapeText = (shape: readonly (number | string)[]): string =>
  `[${shape.map((length) => (typeof length === 'number' ? String(length) : shown(length))).join(', ')}]`

const refuse = (message: string): SkeinError => new SkeinError('INVALID_REQUEST', message, { param: 'inputs' })

const list = (values: readonly { readonly name: string }[]): string => values.map(({ name }) => shown(name)).join(', ')

/**
 * @throws SkeinError INVALID_REQUEST with the parameter `inputs`, naming the input and what the model takes; also when what
 *   would come out is larger than a tensor may be.
 */
export function checkTensors({ inputs, outputs }: OnnxSummary, tensors: readonly Tensor[]): void {
  const given = new Set<string>()
  for (const { name } of tensors) {
    if (given.has(name)) throw refuse(`the input ${shown(name)} is given twice`)
    given.add(name)
    if (!inputs.some((input) => input.name === name))
      throw refuse(`the model has no input ${shown(name)}; it takes ${list(inputs)}`)
  }
  const missing = inputs.filter(({ name }) => !given.has(name))
  if (missing.length > 0) throw refuse(`the input ${list(missing)} is missing; the model takes ${list(inputs)}`)
  const bound: Bound = new Map()
  for (const tensor of tensors)
    checkTensor(
      inputs.find(({ name }) => name === tensor.name)!,
      tensor,
      bound,
    )
  for (const output of outputs) checkOutput(output, bound)
}

function checkTensor({ name, type, shape }: OnnxValue, tensor: Tensor, bound: Bound): void {
  const what = `the input ${shown(name)}`
  if (tensor.type !== type) throw refuse(`${what} is ${type}, and ${tensor.type} was given`)
  // the library divides by lengths, and its process dies of a zero
  if (tensor.shape.includes(0)) throw refuse(`${what} is empty: it has the shape ${shapeText(tensor.shape)}`)
  if (!isWholeTensor(tensor))
    throw refuse(`${what} has ${tensor.data.length} bytes, which do not fill ${type} ${shapeText(tensor.shape)}`)
  if (type === 'bool' && tensor.data.some((byte) => byte > 1))
    throw refuse(`${what} has bytes that are neither 0 nor 1`)
  if (shape === undefined) return
  const mismatch = (more = ''): SkeinError =>
    refuse(`${what} has the shape ${shapeText(tensor.shape)}, and the model takes ${shapeText(shape)}${more}`)
  if (shape.length !== tensor.shape.length) throw mismatch()
  shape.forEach((length, i) => {
    const actual = tensor.shape[i]!
    if (typeof length === 'number') {
      if (length !== actual) throw mismatch()
    } else if (length !== '?') {
      const before = bound.get(length)
      if (before !== undefined && before !== actual)
        throw mismatch(`, where ${shown(length)} is ${before} in another input`)
      bound.set(length, actual)
    }
  })
}

/** What can be told of an output before it is computed. */
function checkOutput({ name, type, shape }: OnnxValue, bound: Bound): void {
  const lengths = shape?.map((length) => (typeof length === 'number' ? length : bound.get(length)))
  if (lengths === undefined || type === 'unsupported') return
  const bytes = lengths.reduce<number>((product, length) => product * (length ?? 1), SIZES[type])
  if (bytes > LIMITS.workTensorBytesMax)
    throw refuse(
      tooLarge(
        name,
        lengths.map((length) => length ?? '?'),
        bytes,
      ),
    )
}

export const tooLarge = (name: string, shape: readonly (number | string)[], bytes: number): string =>
  `the output ${shown(name)} ${shapeText(shape)} would have ${bytes} bytes, more than ${LIMITS.workTensorBytesMax}`
