/**
 * Tensors in JSON: rows in rows, as deep as the shape is long. JSON has neither NaN nor infinities, and its readers round
 * integers beyond 2^53: the first are the texts "NaN", "Infinity" and "-Infinity", the second decimal texts, both ways.
 */
import { Type, type Static } from 'typebox'
import { LIMITS, SkeinError, type Tensor, type TensorType } from '../../mesh/protocol/index.ts'

const DIMENSIONS_MAX = 8

export const TensorBodySchema = Type.Object({
  type: Type.Optional(Type.Enum(['float32', 'float64', 'int32', 'int64', 'uint8', 'int8', 'bool'])),
  shape: Type.Optional(
    Type.Array(Type.Integer({ minimum: 0, maximum: LIMITS.workTensorBytesMax }), { maxItems: DIMENSIONS_MAX }),
  ),
  data: Type.Unknown(),
})
export type TensorBody = Static<typeof TensorBodySchema>

/** How the elements of a type are read and written; `at` in elements. */
interface Element {
  readonly bytes: number
  /** What the view takes for a JSON value; `undefined` for one that the type does not have. */
  readonly parse: (value: unknown) => number | bigint | undefined
  readonly set: (view: DataView, offset: number, value: number | bigint) => void
  /** As JSON text. */
  readonly show: (view: DataView, offset: number) => string
}

const SPECIAL: Readonly<Record<string, number>> = { NaN: Number.NaN, Infinity, '-Infinity': -Infinity }
const float = (value: unknown): number | undefined =>
  typeof value === 'number'
    ? value
    : typeof value === 'string' && Object.hasOwn(SPECIAL, value)
      ? SPECIAL[value]
      : undefined
const showFloat = (value: number): string => (Number.isFinite(value) ? String(value) : `"${value}"`)
const whole =
  (minimum: number, maximum: number) =>
  (value: unknown): number | undefined =>
    typeof value === 'number' && Number.isInteger(value) && value >= minimum && value <= maximum ? value : undefined

const INT64_MIN = -(2n ** 63n)
const INT64_MAX = 2n ** 63n - 1n
function int64(value: unknown): bigint | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : undefined
  if (typeof value !== 'string' || !/^-?\d{1,19}$/.test(value)) return undefined
  const whole = BigInt(value)
  return whole >= INT64_MIN && whole <= INT64_MAX ? whole : undefined
}
function showInt64(value: bigint): string {
  return Number.isSafeInteger(Number(value)) ? String(value) : `"${value}"`
}

const ELEMENTS: Readonly<Record<TensorType, Element>> = {
  float32: {
    bytes: 4,
    // beyond its range it would become infinite, which was not asked for
    parse: (value) => {
      const read = float(value)
      return read !== undefined && Number.isFinite(read) && !Number.isFinite(Math.fround(read)) ? undefined : read
    },
    set: (view, offset, value) => view.setFloat32(offset, Number(value), true),
    show: (view, offset) => showFloat(view.getFloat32(offset, true)),
  },
  float64: {
    bytes: 8,
    parse: float,
    set: (view, offset, value) => view.setFloat64(offset, Number(value), true),
    show: (view, offset) => showFloat(view.getFloat64(offset, true)),
  },
  int32: {
    bytes: 4,
    parse: whole(-(2 ** 31), 2 ** 31 - 1),
    set: (view, offset, value) => view.setInt32(offset, Number(value), true),
    show: (view, offset) => String(view.getInt32(offset, true)),
  },
  int64: {
    bytes: 8,
    parse: int64,
    set: (view, offset, value) => view.setBigInt64(offset, BigInt(value), true),
    show: (view, offset) => showInt64(view.getBigInt64(offset, true)),
  },
  uint8: {
    bytes: 1,
    parse: whole(0, 255),
    set: (view, offset, value) => view.setUint8(offset, Number(value)),
    show: (view, offset) => String(view.getUint8(offset)),
  },
  int8: {
    bytes: 1,
    parse: whole(-128, 127),
    set: (view, offset, value) => view.setInt8(offset, Number(value)),
    show: (view, offset) => String(view.getInt8(offset)),
  },
  bool: {
    bytes: 1,
    parse: (value) => (typeof value === 'boolean' ? Number(value) : undefined),
    set: (view, offset, value) => view.setUint8(offset, Number(value)),
    show: (view, offset) => (view.getUint8(offset) === 0 ? 'false' : 'true'),
  },
}

/**
 * `data` is nested as the shape says, or, where `shape` is given, all elements in one list. Without `type` numbers are
 * `float32` and booleans `bool`.
 *
 * @throws SkeinError INVALID_REQUEST naming the input and the place.
 */
export function tensorOf(name: string, { type, shape, data }: TensorBody): Tensor {
  const param = `inputs.${name}`
  const fail = (why: string): SkeinError => new SkeinError('INVALID_REQUEST', `${param}${why}`, { param })
  const nested = nestingOf(data)
  if (nested.length > DIMENSIONS_MAX) throw fail(`.data nests deeper than ${DIMENSIONS_MAX} lists`)
  const length = (of: readonly number[]): number => of.reduce((product, each) => product * each, 1)
  const wanted = shape ?? nested
  const isFlat = nested.length === 1 && nested[0] === length(wanted)
  const isShaped = wanted.length === nested.length && wanted.every((each, i) => each === nested[i])
  if (!isFlat && !isShaped) throw fail(`.data is of the shape [${nested.join(', ')}], not [${wanted.join(', ')}]`)
  const first = firstOf(data)
  const chosen = type ?? (typeof first === 'boolean' ? 'bool' : 'float32')
  const element = ELEMENTS[chosen]
  const count = length(wanted)
  if (count * element.bytes > LIMITS.workTensorBytesMax)
    throw fail(` takes ${count * element.bytes} bytes, more than ${LIMITS.workTensorBytesMax}`)
  const view = new DataView(new ArrayBuffer(count * element.bytes))
  let at = 0
  const fill = (value: unknown, depth: number, place: string): void => {
    if (depth < nested.length) {
      if (!Array.isArray(value) || value.length !== nested[depth])
        throw fail(`${place} must be a list of ${nested[depth]}`)
      value.forEach((each, i) => fill(each, depth + 1, `${place}[${i}]`))
      return
    }
    const parsed = element.parse(value)
    if (parsed === undefined) throw fail(`${place} is no ${chosen}`)
    element.set(view, at, parsed)
    at += element.bytes
  }
  fill(data, 0, '.data')
  return { name, type: chosen, shape: [...wanted], data: new Uint8Array(view.buffer) }
}

/** Lengths of the lists on the way to the first element. */
function nestingOf(data: unknown): number[] {
  const lengths: number[] = []
  for (let at = data; Array.isArray(at); at = at[0]) lengths.push(at.length)
  return lengths
}

function firstOf(data: unknown): unknown {
  let at = data
  while (Array.isArray(at)) at = at[0]
  return at
}

/**
 * `{"type": …, "shape": …, "data": …}` as JSON text, a piece for each row. Of a tensor without elements the data are `[]`,
 * whatever its shape: that may name any number of empty rows.
 */
export function* tensorText({ type, shape, data }: Tensor): Generator<string, void, undefined> {
  const { bytes, show } = ELEMENTS[type]
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  yield `{"type":"${type}","shape":${JSON.stringify(shape)},"data":`
  if (data.length === 0) {
    yield '[]}'
    return
  }
  let at = 0
  function* rows(depth: number): Generator<string, void, undefined> {
    const length = shape[depth]
    if (length === undefined) {
      yield show(view, bytes * at++)
      return
    }
    if (depth === shape.length - 1) {
      const from = at
      at += length
      yield `[${Array.from({ length }, (_, i) => show(view, bytes * (from + i))).join(',')}]`
      return
    }
    yield '['
    for (let i = 0; i < length; i++) {
      if (i > 0) yield ','
      yield* rows(depth + 1)
    }
    yield ']'
  }
  yield* rows(0)
  yield '}'
}
