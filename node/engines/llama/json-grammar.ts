/**
 * From what an answer is held to, to a grammar in GBNF (llama.cpp, `grammars/README.md`). The library's own conversion is
 * not used: it lets integers have exponents, knows no `anyOf`, makes the model write four line feeds behind the answer,
 * and passes over what it does not know. Here what cannot be held to is refused, except for annotations.
 *
 * Objects have their properties in the schema's order; properties that it does not name appear only where
 * `additionalProperties` asks for them. `oneOf` is taken for `anyOf`.
 */
import { SkeinError, type JsonFormat } from '../../../mesh/protocol/index.ts'

type Schema = Readonly<Record<string, unknown>>

/** Nesting of a schema, references included. */
const DEPTH_MAX = 64
/** Schemas within a schema. */
const NODES_MAX = 1000
/** Values of all enumerations, and of ranges of integers: 500 cost a step of a 49,152-token vocabulary half a second. */
const VALUES_MAX = 500
/** Of one bound on a length, and of all together; llama.cpp refuses 2000 in one, and takes 0.2 s to read 50,000. */
const REPEAT_MAX = 1000
const REPEATS_MAX = 50_000

/** Space where indented JSON has it, at most a line feed and some indentation: endless space would be an endless answer. */
const BASE = String.raw`ws ::= | " " | "\n" [ \t]{0,20}
char ::= [^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})
string ::= "\"" char* "\""
digits ::= "0" | [1-9] [0-9]{0,15}
integer ::= "-"? digits
fraction ::= ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?
number ::= integer fraction
boolean ::= "true" | "false"
null ::= "null"
value ::= object | array | string | number | boolean | null
pair ::= string ":" " "? value
object ::= "{" ws (pair ("," ws pair)* ws)? "}"
array ::= "[" ws (value ("," ws value)* ws)? "]"
day ::= "0" [1-9] | [12] [0-9]
date ::= [0-9]{4} "-" (("0" [13578] | "1" [02]) "-" (day | "3" [01]) | ("0" [469] | "11") "-" (day | "30") | "02-" day)
clock ::= ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]
time ::= clock ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [-+] clock)
hex ::= [0-9a-f]
uuid ::= hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}`

const FORMATS: ReadonlyMap<unknown, string> = new Map([
  ['date', 'date'],
  ['time', 'time'],
  ['date-time', 'date "T" time'],
  ['uuid', 'uuid'],
])

/** They say nothing of what is valid, or are looked up by references. */
const ANNOTATIONS: ReadonlySet<string> = new Set([
  '$schema',
  '$id',
  '$comment',
  '$defs',
  'definitions',
  'title',
  'description',
  'default',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
])

const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  string: ['minLength', 'maxLength', 'format'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  number: ['minimum'],
  boolean: [],
  null: [],
  array: ['items', 'minItems', 'maxItems'],
  object: ['properties', 'required', 'additionalProperties'],
}

const refuse = (why: string): SkeinError =>
  new SkeinError('INVALID_REQUEST', `the JSON schema cannot be held to: ${why}`, { param: 'response_format' })

export const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** GBNF that matches exactly `text`, which has no line breaks. */
export const verbatim = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
const literal = (value: unknown): string => verbatim(JSON.stringify(value))

const repeat = (rule: string, min: number, max: number | undefined): string => `${rule}{${min},${max ?? ''}}`

/**
 * The grammar of an answer that is nothing but the JSON asked for.
 *
 * @throws SkeinError INVALID_REQUEST, with the parameter `response_format`, naming what of a schema cannot be held to.
 */
export function jsonGrammar(format: JsonFormat): string {
  const rules = new GrammarRules()
  return rules.grammar(jsonRoot(format, rules))
}

/** The expression of what `format` allows, in the terms of `rules`. @throws SkeinError as `jsonGrammar`. */
export function jsonRoot(format: JsonFormat, rules: GrammarRules): string {
  if (format.kind === 'json') return 'object'
  let schema: unknown
  try {
    schema = JSON.parse(format.schema)
  } catch (error) {
    throw refuse(`it is no JSON (${error instanceof Error ? error.message : error})`)
  }
  return schemaRoot(schema, rules)
}

/** The expression of what `schema` allows. On refusal `rules` are as before. @throws SkeinError as `jsonGrammar`. */
export function schemaRoot(schema: unknown, rules: GrammarRules): string {
  const before = rules.mark()
  try {
    return new SchemaGrammar(schema, rules).root
  } catch (error) {
    rules.reset(before)
    throw error
  }
}

/** The rules of one grammar, and what its schemas together may ask for. */
export class GrammarRules {
  nodes = 0
  values = 0
  repeats = 0
  readonly #rules: string[] = []
  #names = 0

  /** The grammar of `root`, with all rules that were added. */
  grammar(root: string): string {
    return [`root ::= ${root}`, BASE, ...this.#rules].join('\n')
  }

  newName(): string {
    return `r${this.#names++}`
  }

  has(name: string): boolean {
    return this.#rules.some((rule) => rule.startsWith(`${name} ::=`))
  }

  add(name: string, expression: string): string {
    this.#rules.push(`${name} ::= ${expression}`)
    return name
  }

  mark(): readonly [rules: number, nodes: number, values: number, repeats: number] {
    return [this.#rules.length, this.nodes, this.values, this.repeats]
  }

  /** Back to where `mark` was taken. */
  reset([rules, nodes, values, repeats]: ReturnType<GrammarRules['mark']>): void {
    this.#rules.length = rules
    this.nodes = nodes
    this.values = values
    this.repeats = repeats
  }
}

class SchemaGrammar {
  readonly root: string
  readonly #rules: GrammarRules
  readonly #document: unknown
  /** Names of the rules of references. */
  readonly #references = new Map<string, string>()

  constructor(document: unknown, rules: GrammarRules) {
    this.#document = document
    this.#rules = rules
    this.root = this.#expression(document, 0)
  }

  #rule(expression: string): string {
    return this.#rules.add(this.#rules.newName(), expression)
  }

  #anyOf(expressions: readonly string[]): string {
    if (expressions.length === 0) throw refuse('it allows nothing')
    return expressions.length === 1 ? expressions[0]! : this.#rule(expressions.join(' | '))
  }

  /** The name of a rule, or a literal. */
  #expression(schema: unknown, depth: number): string {
    if (++this.#rules.nodes > NODES_MAX) throw refuse(`it has more than ${NODES_MAX} schemas`)
    if (depth > DEPTH_MAX) throw refuse(`it nests deeper than ${DEPTH_MAX}`)
    if (schema === true) return 'value'
    if (!isSchema(schema)) throw refuse(`${JSON.stringify(schema)} is no schema`)
    const keys = Object.keys(schema).filter((key) => !ANNOTATIONS.has(key))
    const combined = ['$ref', 'anyOf', 'oneOf', 'allOf'].find((key) => keys.includes(key))
    if (combined !== undefined) {
      if (keys.length > 1)
        throw refuse(`${combined} stands beside ${keys.filter((key) => key !== combined).join(', ')}`)
      return this.#combination(combined, schema[combined], depth)
    }
    if (keys.includes('const') || keys.includes('enum')) return this.#listed(schema, keys)
    if (keys.length === 0) return 'value'
    return this.#typed(schema, keys, depth)
  }

  #combination(key: string, value: unknown, depth: number): string {
    if (key === '$ref') return this.#reference(value, depth)
    if (!Array.isArray(value)) throw refuse(`${key} is no list`)
    if (key === 'allOf' && value.length !== 1) throw refuse('allOf with more than one schema')
    return this.#anyOf(value.map((each) => this.#expression(each, depth + 1)))
  }

  #reference(reference: unknown, depth: number): string {
    if (typeof reference !== 'string' || !/^#(?:\/|$)/.test(reference))
      throw refuse(`$ref ${JSON.stringify(reference)} does not point into the schema`)
    const known = this.#references.get(reference)
    if (known !== undefined) return known
    let target = this.#document
    for (const part of reference.split('/').slice(1)) {
      const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
      if (!isSchema(target) || !Object.hasOwn(target, key)) throw refuse(`$ref ${reference} points at nothing`)
      target = target[key]
    }
    const name = this.#rules.newName()
    this.#references.set(reference, name)
    return this.#rules.add(name, this.#expression(target, depth + 1))
  }

  #listed(schema: Schema, keys: readonly string[]): string {
    const values: unknown = keys.includes('const') ? [schema['const']] : schema['enum']
    const stranger = keys.find((key) => !['const', 'enum', 'type'].includes(key))
    if (stranger !== undefined) throw refuse(`${stranger} stands beside a list of values`)
    if (!Array.isArray(values)) throw refuse('enum is no list')
    const types = keys.includes('type') ? [schema['type']].flat() : undefined
    return this.#oneOfValues(values.filter((value) => types?.some((type) => isOfType(value, type)) ?? true))
  }

  #oneOfValues(values: readonly unknown[]): string {
    this.#rules.values += values.length
    if (this.#rules.values > VALUES_MAX) throw refuse(`it lists more than ${VALUES_MAX} values`)
    return this.#anyOf(values.map(literal))
  }

  #typed(schema: Schema, keys: readonly string[], depth: number): string {
    const implied = keys.includes('properties') ? 'object' : keys.includes('items') ? 'array' : undefined
    const types = [schema['type'] ?? implied].flat()
    const known = types.flatMap((type) => {
      if (typeof type === 'string' && Object.hasOwn(KEYWORDS, type)) return KEYWORDS[type]!
      throw refuse(`type ${JSON.stringify(type)} is unknown`)
    })
    const stranger = keys.find((key) => key !== 'type' && !known.includes(key))
    if (stranger !== undefined) throw refuse(`${stranger} is not supported for ${types.join(' or ')}`)
    return this.#anyOf(types.map((type) => this.#ofType(String(type), schema, depth)))
  }

  #ofType(type: string, schema: Schema, depth: number): string {
    switch (type) {
      case 'string':
        return this.#string(schema)
      case 'integer':
        return this.#integer(schema)
      case 'number':
        return this.#number(schema)
      case 'array':
        return this.#array(schema, depth)
      case 'object':
        return this.#object(schema, depth)
      default:
        return type
    }
  }

  #string(schema: Schema): string {
    const [min, max] = [this.#bound(schema, 'minLength') ?? 0, this.#bound(schema, 'maxLength')]
    if ('format' in schema) {
      const format = FORMATS.get(schema['format'])
      if (format === undefined) throw refuse(`format ${JSON.stringify(schema['format'])} is not supported`)
      if (min > 0 || max !== undefined) throw refuse('format stands beside a length')
      return this.#rule(`"\\"" ${format} "\\""`)
    }
    if (min === 0 && max === undefined) return 'string'
    if (max !== undefined && max < min) throw refuse('maxLength is below minLength')
    return this.#rule(`"\\"" ${repeat('char', min, max)} "\\""`)
  }

  /** Of a small range the numbers themselves; beyond that a lower bound of 0 or 1 is all that digits can show. */
  #integer(schema: Schema): string {
    const numbers = (keys: readonly string[], offset: number): number[] =>
      keys.flatMap((key, i) => {
        const value = schema[key]
        if (value === undefined) return []
        if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw refuse(`${key} is no whole number`)
        return [value + i * offset]
      })
    const min = Math.max(-Infinity, ...numbers(['minimum', 'exclusiveMinimum'], 1))
    const max = Math.min(Infinity, ...numbers(['maximum', 'exclusiveMaximum'], -1))
    if (max - min < VALUES_MAX)
      return this.#oneOfValues(Array.from({ length: Math.max(0, max - min + 1) }, (_, i) => min + i))
    if (max === Infinity && min === -Infinity) return 'integer'
    if (max === Infinity && min === 0) return 'digits'
    if (max === Infinity && min === 1) return this.#rule('[1-9] [0-9]{0,15}')
    throw refuse(`integers from ${min} to ${max}: at most ${VALUES_MAX} of them, or all from 0 or 1 on`)
  }

  #number(schema: Schema): string {
    if (!('minimum' in schema)) return 'number'
    if (schema['minimum'] !== 0) throw refuse('minimum of a number is other than 0')
    return this.#rule('digits fraction')
  }

  #array(schema: Schema, depth: number): string {
    const [min, max] = [this.#bound(schema, 'minItems') ?? 0, this.#bound(schema, 'maxItems')]
    if (max !== undefined && max < min) throw refuse('maxItems is below minItems')
    if (max === 0) return '"[]"'
    const item = this.#expression(schema['items'] ?? true, depth + 1)
    const further = repeat(`("," ws ${item})`, Math.max(0, min - 1), max === undefined ? undefined : max - 1)
    return this.#rule(`"[" ws ${min === 0 ? `(${item} ${further} ws)?` : `${item} ${further} ws`} "]"`)
  }

  #object(schema: Schema, depth: number): string {
    const { properties = {}, required = [], additionalProperties: additional } = schema
    if (!isSchema(properties)) throw refuse('properties is no object')
    if (!Array.isArray(required) || !required.every((name) => typeof name === 'string'))
      throw refuse('required is no list of names')
    const unnamed = [...new Set(required)]
      .filter((name) => !Object.hasOwn(properties, name))
      .map((name) => [name, true] as const)
    const fields = [...Object.entries(properties), ...unnamed].map(([name, value]) => ({
      pair: this.#rule(`${literal(name)} ":" " "? ${this.#expression(value, depth + 1)}`),
      isRequired: required.includes(name),
    }))
    const isOpen = additional === undefined ? fields.length === 0 : additional !== false
    const other = isOpen ? this.#rule(`string ":" " "? ${this.#expression(additional ?? true, depth + 1)}`) : undefined
    return this.#rule(`"{" ws ${this.#fields(fields, other)} ws "}"`)
  }

  #bound(schema: Schema, key: string): number | undefined {
    const value = schema[key]
    if (value === undefined) return undefined
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > REPEAT_MAX)
      throw refuse(`${key} is no whole number up to ${REPEAT_MAX}`)
    this.#rules.repeats += value
    if (this.#rules.repeats > REPEATS_MAX) throw refuse(`its bounds on lengths add up to more than ${REPEATS_MAX}`)
    return value
  }

  /** Two rules for each place: one where it begins the object, and one where a comma must part it from what was before. */
  #fields(
    fields: readonly { readonly pair: string; readonly isRequired: boolean }[],
    other: string | undefined,
  ): string {
    let first = other === undefined ? '""' : this.#rule(`(${other} ("," ws ${other})*)?`)
    let later = other === undefined ? '""' : this.#rule(`("," ws ${other})*`)
    for (const { pair, isRequired } of fields.toReversed()) {
      first = this.#rule(isRequired ? `${pair} ${later}` : `${pair} ${later} | ${first}`)
      later = this.#rule(isRequired ? `"," ws ${pair} ${later}` : `("," ws ${pair})? ${later}`)
    }
    return first
  }
}

function isOfType(value: unknown, type: unknown): boolean {
  if (value === null || Array.isArray(value)) return type === (value === null ? 'null' : 'array')
  return type === typeof value || (type === 'integer' && Number.isInteger(value))
}
