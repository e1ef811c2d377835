/**
 * Grammars of tool calls, in the markup of `mesh/protocol/tool-calls.ts`: the names of the tools given, and arguments by
 * their schemas. What of a schema cannot be held to costs that tool's arguments their form, and the request nothing: they
 * are any JSON object then, for a client checks arguments anyway.
 */
import { CALL_CLOSE, CALL_OPEN, LIMITS, SkeinError, type Tool, type ToolFormat } from '../../../mesh/protocol/index.ts'
import { GrammarRules, isSchema, jsonRoot, schemaRoot, verbatim } from './json-grammar.ts'

/** Of a prompt with tools whose request says no more. */
export const FREE_CALLS: ToolFormat = { kind: 'tool-calls', choice: 'auto', callsMax: LIMITS.answerToolCallsMax }

const refuse = (message: string, param: string): SkeinError => new SkeinError('INVALID_REQUEST', message, { param })

/** The tools that `format` lets the answer call. @throws SkeinError INVALID_REQUEST when there is none. */
export function callable(tools: readonly Tool[], { name }: ToolFormat): readonly Tool[] {
  if (tools.length === 0) throw refuse('tool calls need tools', 'tools')
  const named = name === undefined ? tools : tools.filter((tool) => tool.name === name)
  if (named.length === 0) throw refuse(`there is no tool ${name}`, 'tool_choice')
  return named
}

/**
 * Of a whole answer: calls and nothing else, or with `auto` JSON as `content` has it in their place.
 *
 * @throws SkeinError INVALID_REQUEST, with the parameter `response_format`, as `jsonGrammar`.
 */
export function answerGrammar(tools: readonly Tool[], { choice, callsMax, content }: ToolFormat): string {
  const rules = new GrammarRules()
  const call = rules.add('call', `${verbatim(CALL_OPEN)} ${callBody(tools, rules)}`)
  const calls = callsMax === 1 ? call : rules.add('calls', `${call} ("\\n" ${call}){0,${callsMax - 1}}`)
  return rules.grammar(choice === 'auto' && content !== undefined ? `${calls} | ${jsonRoot(content, rules)}` : calls)
}

/** Of one call in a free answer, from the token on that completes its opening marker, which may have more in front of it. */
export function callGrammar(tools: readonly Tool[]): string {
  const rules = new GrammarRules()
  return rules.grammar(`[^>]* ">" ${callBody(tools, rules)}`)
}

function callBody(tools: readonly Tool[], rules: GrammarRules): string {
  const calls = tools.map(({ name, parameters }) => `${verbatim(`${name}", "arguments": `)} ${held(parameters, rules)}`)
  return `"\\n{\\"name\\": \\"" (${calls.join(' | ')}) "}\\n" ${verbatim(CALL_CLOSE)}`
}

/** The expression of a tool's arguments. */
export function held(parameters: string, rules: GrammarRules): string {
  try {
    return schemaRoot(objectSchema(JSON.parse(parameters)), rules)
  } catch {
    return 'object'
  }
}

/** Arguments are an object, whatever else a schema allows; one that names no properties at all wants none. */
function objectSchema(schema: unknown): unknown {
  const open = { type: 'object' }
  if (!isSchema(schema)) return open
  const { type, properties, additionalProperties } = schema
  if (type !== 'object' && (type !== undefined || !isSchema(properties))) return open
  const isEmpty = isSchema(properties) && Object.keys(properties).length === 0
  return isEmpty && additionalProperties === undefined ? { ...schema, additionalProperties: false } : schema
}
