/** fast-check arbitraries derived from the wire schemas: whatever a schema allows, an arbitrary can give. */
import fc from 'fast-check'
import { FRAMES, type Frame } from '../../../mesh/protocol/index.ts'

/** What of TypeBox's schemas the wire uses. */
interface Schema {
  readonly '~refine'?: readonly { check: (value: unknown) => boolean }[]
  readonly '~optional'?: boolean
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'
  readonly const?: string
  readonly enum?: readonly string[]
  readonly anyOf?: readonly Schema[]
  readonly items?: Schema
  readonly minItems?: number
  readonly maxItems?: number
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly properties?: Readonly<Record<string, Schema>>
}

/** Lists and texts may be megabytes long; samples stay this short, and their bounds are tested by hand. */
const ITEMS_MAX = 5
const TEXT_MAX = 40
const BYTES_LENGTHS = [0, 1, 4, 32, 64, 300]

function bytesOf(schema: Schema): fc.Arbitrary<Uint8Array> {
  const fits = (length: number): boolean => schema['~refine']!.every(({ check }) => check(new Uint8Array(length)))
  return fc
    .constantFrom(...BYTES_LENGTHS.filter(fits))
    .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }))
}

function textOf(schema: Schema): fc.Arbitrary<string> {
  if (schema.pattern !== undefined) return fc.stringMatching(new RegExp(schema.pattern))
  const maxLength = Math.min(schema.maxLength!, TEXT_MAX)
  // `binary` counts code points, the schema code units; text with half a surrogate pair is no UTF-8
  return fc
    .string({ unit: 'binary', minLength: schema.minLength ?? 0, maxLength: Math.max(1, maxLength >> 1) })
    .filter((text) => text.isWellFormed())
}

function numberOf(schema: Schema): fc.Arbitrary<number> {
  const min = schema.minimum!
  const max = schema.maximum!
  if (schema.type === 'integer') return fc.oneof(fc.integer({ min, max }), fc.constantFrom(min, max))
  return fc.double({ min, max, noNaN: true }).map((n) => (n === 0 ? 0 : n))
}

function objectOf(schema: Schema): fc.Arbitrary<Record<string, unknown>> {
  const properties = Object.entries(schema.properties!)
  return fc.record(Object.fromEntries(properties.map(([name, property]) => [name, valueOf(property)])), {
    requiredKeys: properties.filter(([, property]) => property['~optional'] !== true).map(([name]) => name),
    noNullPrototype: true,
  })
}

/** Values that `schema` accepts. */
export function valueOf(schema: Schema): fc.Arbitrary<unknown> {
  if (schema['~refine'] !== undefined) return bytesOf(schema)
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(valueOf))
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
  if (schema.const !== undefined) return fc.constant(schema.const)
  switch (schema.type) {
    case 'object':
      return objectOf(schema)
    case 'array':
      return fc.array(valueOf(schema.items!), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems!, ITEMS_MAX),
      })
    case 'string':
      return textOf(schema)
    case 'integer':
    case 'number':
      return numberOf(schema)
    case 'boolean':
      return fc.boolean()
    default:
      throw new TypeError(`no arbitrary for ${JSON.stringify(schema)}`)
  }
}

/** Valid frames of every definition, each as likely as another. */
export const anyFrame: fc.Arbitrary<Frame> = fc.oneof(
  ...FRAMES.map(({ type, schema }) =>
    valueOf(schema as unknown as Schema).map((fields) => ({ ...(fields as object), type }) as Frame),
  ),
)
