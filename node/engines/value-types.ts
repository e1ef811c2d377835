/** How the value of a tool's parameter is written where a model writes each by itself: as text, or as JSON. */
import type { Tool } from '../../mesh/protocol/index.ts'

export type ValueType = 'text' | 'json'

type Schema = Readonly<Record<string, unknown>>

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Of references among references. */
const DEPTH_MAX = 16

export class ValueTypes {
  readonly #schemas: ReadonlyMap<string, unknown>

  constructor(tools: readonly Tool[]) {
    this.#schemas = new Map(tools.map(({ name, parameters }) => [name, parsed(parameters)]))
  }

  /** Of a parameter that the tool's schema does not have, or says nothing of, it is text. */
  of(tool: string, parameter: string): ValueType {
    const schema = this.#schemas.get(tool)
    const properties = isSchema(schema) ? schema['properties'] : undefined
    if (!isSchema(properties) || !Object.hasOwn(properties, parameter)) return 'text'
    return valueType(properties[parameter], schema)
  }
}

/** Text where the schema allows a string, for a string needs no quotes; JSON where it allows none. */
export function valueType(schema: unknown, document: unknown, depth = 0): ValueType {
  if (!isSchema(schema) || depth > DEPTH_MAX) return 'text'
  const { type, $ref: reference, anyOf, oneOf, allOf } = schema
  const listed = 'const' in schema ? [schema['const']] : schema['enum']
  if (Array.isArray(listed)) return listed.some((value) => typeof value === 'string') ? 'text' : 'json'
  if (type !== undefined) return [type].flat().includes('string') ? 'text' : 'json'
  if (typeof reference === 'string') return valueType(target(reference, document), document, depth + 1)
  const some = [anyOf, oneOf, allOf].find(Array.isArray) as readonly unknown[] | undefined
  if (some !== undefined) return some.some((each) => valueType(each, document, depth + 1) === 'text') ? 'text' : 'json'
  return 'properties' in schema || 'items' in schema ? 'json' : 'text'
}

/** What a reference into the document points at. */
function target(reference: string, document: unknown): unknown {
  let found = document
  for (const part of reference.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (!isSchema(found) || !Object.hasOwn(found, key)) return undefined
    found = found[key]
  }
  return found
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
