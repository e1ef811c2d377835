/**
 * Arguments that are written parameter by parameter, as a grammar: those of a tool's schema in their order, the required
 * ones each, JSON by the schema. A text is any text up to its closing mark; of what a schema says of it (a length, a
 * format) only a list of values is held to.
 */
import { valueType } from '../value-types.ts'
import { isSchema, schemaRoot, verbatim, type GrammarRules } from './json-grammar.ts'

const CLOSE = '\n</parameter>'
/** Of a tool that names none. */
const PARAMETERS_MAX = 32

const lines = (text: string): string => verbatim(text).replaceAll('\n', String.raw`\n`)
const charactersOf = (units: string, isNot = false): string =>
  `[${isNot ? '^' : ''}${units.replaceAll('\n', String.raw`\n`)}]`

/** The expression of a tool's parameters, each with its marks. */
export function parameterList(parameters: string, rules: GrammarRules): string {
  const schema = parsed(parameters)
  const properties = isSchema(schema) ? schema['properties'] : undefined
  if (!isSchema(properties) || Object.keys(properties).some((key) => /[>\n\r]/.test(key)))
    return `("<parameter=" [^>\\n\\r]{1,64} ">\\n" ${untilClose(rules)} "\\n"){0,${PARAMETERS_MAX}}`
  const required = isSchema(schema) && Array.isArray(schema['required']) ? (schema['required'] as unknown[]) : []
  const each = Object.entries(properties).map(([key, property]) => {
    const value = valueExpression(property, schema, rules)
    const whole = rules.add(rules.newName(), `${lines(`<parameter=${key}>\n`)} ${value} "\\n"`)
    return required.includes(key) ? whole : `${whole}?`
  })
  return each.length === 0 ? '""' : each.join(' ')
}

/** With its closing mark. */
function valueExpression(property: unknown, document: unknown, rules: GrammarRules): string {
  if (valueType(property, document) === 'json') return `${jsonExpression(property, rules)} ${lines(CLOSE)}`
  const listed = isSchema(property) ? property['enum'] : undefined
  const isListed = Array.isArray(listed) && listed.every((value) => typeof value === 'string' && !value.includes('\n'))
  if (!isListed || listed.length === 0) return untilClose(rules)
  return `(${listed.map((value) => lines(String(value))).join(' | ')}) ${lines(CLOSE)}`
}

/** Of a property whose schema cannot be held to by itself, any JSON. */
function jsonExpression(property: unknown, rules: GrammarRules): string {
  try {
    return schemaRoot(property, rules)
  } catch {
    return 'value'
  }
}

/** The rule of any text up to and with the closing mark, which begins with a line feed and has no other. */
function untilClose(rules: GrammarRules): string {
  const [first, ...rest] = [...CLOSE] as [string, ...string[]]
  const name = (matched: number): string => `until${matched}`
  if (rules.has(name(0))) return name(0)
  rules.add(name(0), `${charactersOf(first, true)} ${name(0)} | ${charactersOf(first)} ${name(1)}`)
  for (const [i, unit] of rest.entries()) {
    const next = i === rest.length - 1 ? '' : ` ${name(i + 2)}`
    const other = `${charactersOf(first)} ${name(1)} | ${charactersOf(first + unit, true)} ${name(0)}`
    rules.add(name(i + 1), `${charactersOf(unit)}${next} | ${other}`)
  }
  return name(0)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
