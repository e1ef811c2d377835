/**
 * Requests made of the document: mostly as it wants them, some bent, a few no requests at all. Request N of a seed is always
 * the same one, but for ids that the gateway made: where one is meant, the newest that was seen is put in.
 */
import { SeededRandom } from '../../mesh/runtime/index.ts'
import type { ApiDocument, ApiOperation, ApiParameter, JsonSchema } from '../fixtures/api-document.ts'

export interface FuzzRequest {
  readonly operation: ApiOperation
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer | undefined
}

export interface GenerateInit {
  readonly document: ApiDocument
  readonly operations: readonly ApiOperation[]
  readonly key: string
  /** A model that answers. */
  readonly model: string
  /** An id that the gateway made, if it has made any. */
  readonly knownId: () => string | undefined
}

/** Texts that have broken something somewhere. */
const TEXTS = [
  '',
  ' ',
  '\u0000',
  '\u202e',
  'é😀',
  '\ud800',
  '"\\',
  '__proto__',
  'constructor',
  'NaN',
  '../../x',
  'a\r\nb: c',
  '<script>',
  "' OR 1=1--",
  '%00%ff',
  '${7*7}',
]
const NUMBERS = [0, -1, 1, 0.5, 1e21, -1e308, 2 ** 31, 2 ** 53, 5e-324]
const DEPTH_MAX = 6

/** Members that bound an answer: without one a parrot goes on for as long as it can hold. */
const BOUNDS: readonly string[] = ['max_tokens', 'max_completion_tokens', 'max_output_tokens', 'num_predict']

/** Draws of one request. */
class Draw {
  readonly #random: SeededRandom

  constructor(seed: number, index: number) {
    this.#random = new SeededRandom(seed * 1_000_003 + index)
  }

  /** True in `share` of all draws. */
  chance(share: number): boolean {
    return this.below(10_000) < share * 10_000
  }

  below(bound: number): number {
    return new DataView(this.#random.bytes(4).buffer).getUint32(0) % bound
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!
  }

  bytes(length: number): Buffer {
    return Buffer.from(this.#random.bytes(length))
  }

  word(): string {
    return this.bytes(1 + this.below(8)).toString('hex')
  }
}

export function requestOf(init: GenerateInit, seed: number, index: number): FuzzRequest {
  const draw = new Draw(seed, index)
  const operation = draw.of(init.operations)
  const values = new Values(init, draw)
  return {
    operation,
    path: pathOf(operation, draw, values),
    headers: headersOf(operation, init, draw, values),
    body: operation.body && bodyOf(operation.body, draw, values),
  }
}

function pathOf({ path, parameters }: ApiOperation, draw: Draw, values: Values): string {
  const filled = path.replace(/\{\w+\}/g, () => encodeURIComponent(values.id().toWellFormed()))
  const query = parameters
    .filter((each) => each.in === 'query' && draw.chance(0.4))
    .map((each) => `${each.name}=${encodeURIComponent(textOf(each, draw, values))}`)
  if (draw.chance(0.03)) query.push(`${draw.word()}=${draw.word()}`)
  return query.length === 0 ? filled : `${filled}?${query.join('&')}`
}

function headersOf(
  { parameters, body, needsKey }: ApiOperation,
  { key }: GenerateInit,
  draw: Draw,
  values: Values,
): Record<string, string> {
  const headers: Record<string, string> = {}
  if (needsKey || draw.chance(0.5))
    headers['authorization'] = draw.chance(0.03) ? `Bearer ${draw.word()}` : `Bearer ${key}`
  if (body)
    headers['content-type'] = draw.chance(0.03)
      ? draw.of(['text/plain', 'application/json; charset=x'])
      : 'application/json'
  for (const each of parameters.filter(({ in: place }) => place === 'header'))
    // header values are bytes, and those that are none never leave this side
    if (draw.chance(0.05)) headers[each.name] = textOf(each, draw, values).replace(/[^\x20-\x7e]/g, '?')
  if (draw.chance(0.05)) headers['anthropic-version'] = '2023-06-01'
  return headers
}

const textOf = ({ schema }: ApiParameter, draw: Draw, values: Values): string => {
  const value = draw.chance(0.1) ? draw.of(TEXTS) : values.of(schema, 0)
  return (typeof value === 'string' ? value : JSON.stringify(value)).toWellFormed()
}

function bodyOf(
  { schema, isRequired }: NonNullable<ApiOperation['body']>,
  draw: Draw,
  values: Values,
): string | Buffer | undefined {
  if (draw.chance(isRequired ? 0.01 : 0.2)) return undefined
  if (draw.chance(0.02)) return draw.bytes(draw.below(64))
  let value = bounded(values.of(schema, 0), draw)
  if (draw.chance(0.4)) for (let times = 1 + draw.below(3); times > 0; times--) value = bent(value, draw, values, 0)
  const text = JSON.stringify(value) ?? ''
  return draw.chance(0.02) ? text.slice(0, draw.below(text.length + 1)) : text
}

/** `value` with a bound on what is made of it, unless it has one; in one of its places where there are several. */
function bounded(value: unknown, draw: Draw): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || draw.chance(0.02)) return value
  const body = value as Record<string, unknown>
  const inner = (body['params'] ?? body['options']) as Record<string, unknown> | undefined
  const small = 1 + draw.below(12)
  for (const name of BOUNDS) if (typeof body[name] === 'number' && Number(body[name]) > 64) body[name] = small
  if ('messages' in body || 'prompt' in body || 'input' in body) {
    if (!BOUNDS.some((name) => name in body)) Object.assign(body, { max_tokens: small, max_output_tokens: small })
    if (!('encoding_format' in body) && 'model' in body) body['options'] = { ...inner, num_predict: small }
  }
  return body
}

/** `value` with something else somewhere. */
function bent(value: unknown, draw: Draw, values: Values, depth: number): unknown {
  const isInside = typeof value === 'object' && value !== null && depth < DEPTH_MAX && draw.chance(0.8)
  if (!isInside) return values.junk(0)
  if (Array.isArray(value)) {
    const copy = [...(value as unknown[])]
    const at = draw.below(copy.length + 1)
    copy[at] = bent(copy[at], draw, values, depth + 1)
    return copy
  }
  const copy = { ...(value as Record<string, unknown>) }
  const name = draw.chance(0.1) ? draw.of([...TEXTS, draw.word()]) : draw.of([...Object.keys(copy), 'x'])
  if (draw.chance(0.25)) delete copy[name]
  else
    Object.defineProperty(copy, name, {
      value: bent(copy[name], draw, values, depth + 1),
      enumerable: true,
      configurable: true,
      writable: true,
    })
  return copy
}

class Values {
  readonly #init: GenerateInit
  readonly #draw: Draw

  constructor(init: GenerateInit, draw: Draw) {
    this.#init = init
    this.#draw = draw
  }

  /** A name of something: mostly of what there is. */
  id(): string {
    const draw = this.#draw
    const known = draw.chance(0.5) ? this.#init.knownId() : undefined
    return known ?? draw.of([this.#init.model, draw.word(), ...TEXTS.filter((text) => text !== ''), 'x'.repeat(256)])
  }

  junk(depth: number): unknown {
    const draw = this.#draw
    const nested = (): unknown => (depth > 3 ? null : this.junk(depth + 1))
    return draw.of<() => unknown>([
      () => null,
      () => draw.of(TEXTS),
      () => draw.word(),
      () => draw.of(NUMBERS),
      () => draw.chance(0.5),
      () => 'x'.repeat(draw.below(5000)),
      () => Array.from({ length: draw.below(4) }, nested),
      () => ({ [draw.word()]: nested() }),
      () => JSON.parse('['.repeat(70) + ']'.repeat(70)) as unknown,
    ])()
  }

  /** A value that `schema` takes, or nearly. */
  of(schema: JsonSchema, depth: number, name = ''): unknown {
    const draw = this.#draw
    const { anyOf, type, enum: values, const: only } = this.#init.document.resolve(schema)
    const plain = this.#init.document.resolve(schema)
    if (only !== undefined) return only
    if (values) return draw.of(values)
    if (anyOf) return this.of(draw.of(anyOf), depth, name)
    switch (type) {
      case 'null':
        return null
      case 'boolean':
        return draw.chance(0.5)
      case 'integer':
      case 'number':
        return this.#number(plain)
      case 'string':
        return this.#text(plain, name)
      case 'array':
        return this.#array(plain, depth, name)
      case 'object':
        return this.#object(plain, depth)
      default:
        return this.junk(depth)
    }
  }

  #number({ type, minimum = -100, maximum = Math.max(100, minimum + 100) }: JsonSchema): number {
    const draw = this.#draw
    if (draw.chance(0.1)) return draw.of([minimum, maximum])
    const value = minimum + (Math.min(maximum - minimum, 1000) * draw.below(10_001)) / 10_000
    return type === 'integer' ? Math.round(value) : value
  }

  #text({ pattern, minLength = 0, maxLength = 100_000 }: JsonSchema, name: string): string {
    const draw = this.#draw
    if (name === 'model' && draw.chance(0.9)) return this.#init.model
    if (pattern?.startsWith('^[0-9]')) return String(draw.below(100))
    if (draw.chance(0.05)) return 'x'.repeat(Math.min(maxLength, minLength + draw.below(2000)))
    const text = draw.chance(0.2) ? draw.of(TEXTS) : draw.word()
    return text.padEnd(minLength, 'x').slice(0, maxLength)
  }

  #array({ items, minItems = 0, maxItems = 4 }: JsonSchema, depth: number, name: string): unknown[] {
    const length = Math.min(maxItems, minItems + this.#draw.below(3))
    return Array.from({ length: depth > DEPTH_MAX ? minItems : length }, () =>
      items ? this.of(items, depth + 1, name) : this.junk(depth),
    )
  }

  #object({ properties = {}, required = [], patternProperties = {} }: JsonSchema, depth: number): object {
    const draw = this.#draw
    const members = Object.entries(properties)
      .filter(([name]) => required.includes(name) || (depth <= DEPTH_MAX && draw.chance(0.25)))
      .map(([name, member]): [string, unknown] => [name, this.of(member, depth + 1, name)])
    for (const member of Object.values(patternProperties))
      if (draw.chance(0.7)) members.push([draw.word(), this.of(member, depth + 1)])
    if (members.length === 0 && draw.chance(0.3)) members.push([draw.word(), this.junk(depth)])
    return Object.fromEntries(members)
  }
}
