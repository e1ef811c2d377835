/**
 * Calls behind a mark (`marked-calls.ts`), and those that are written parameter by parameter (`parameter-calls.ts`), as
 * grammars. Behind the mark there are calls to the end of the answer.
 */
import { CALL_CLOSE, CALL_OPEN, type Tool, type ToolFormat } from '../../../mesh/protocol/index.ts'
import type { CallSyntax } from '../call-text.ts'
import { markOf } from '../call-texts.ts'
import { GrammarRules, jsonRoot, verbatim } from './json-grammar.ts'
import { parameterList } from './parameter-grammar.ts'
import { held } from './tool-grammar.ts'

export type GrammarSyntax = Exclude<CallSyntax, 'tagged' | 'plain' | 'channels'>

/** Expressions: what stands behind the mark, what a call is, what is between two of them, and behind the last. */
interface CallForm {
  readonly open: string
  readonly call: (tool: Tool, rules: GrammarRules) => string
  readonly gap: string
  readonly close: string
}

/** As `verbatim`, of a text that may have line breaks. */
const words = (text: string): string => verbatim(text).replaceAll('\n', String.raw`\n`)

/** `before` has the tool's name for an ampersand. */
const around =
  (before: string, after: string) =>
  ({ name, parameters }: Tool, rules: GrammarRules): string =>
    [words(before.replace('&', name)), held(parameters, rules), ...(after === '' ? [] : [words(after)])].join(' ')

const LISTED = around('{"name": "&", "arguments": ', '}')
const LIST: CallForm = { open: '" "? "["', call: LISTED, gap: '", "', close: '"]"' }

const FORMS: Readonly<Record<GrammarSyntax, CallForm>> = {
  mistral: LIST,
  granite: LIST,
  'mistral-named': {
    open: '',
    call: ({ name, parameters }, rules) =>
      `${words(name)} ("[CALL_ID]" [0-9A-Za-z]{9})? "[ARGS]" ${held(parameters, rules)}`,
    gap: '"[TOOL_CALLS]"',
    close: '',
  },
  phi: { open: '', call: LISTED, gap: '"<|/tool_call|><|tool_call|>"', close: '"<|/tool_call|>"' },
  deepseek: {
    open: '',
    call: (tool, rules) =>
      `${around('<｜tool▁call▁begin｜>function<｜tool▁sep｜>&\n```json\n', '\n```')(tool, rules)} "\\n"? "<｜tool▁call▁end｜>"`,
    gap: String.raw`"\n"?`,
    close: '"<｜tool▁calls▁end｜>"',
  },
  'deepseek-bare': {
    open: '',
    call: around('<｜tool▁call▁begin｜>&<｜tool▁sep｜>', '<｜tool▁call▁end｜>'),
    gap: '""',
    close: '"<｜tool▁calls▁end｜>"',
  },
  command: {
    open: String.raw`"[\n    "`,
    call: (tool, rules) =>
      `"{\\"tool_call_id\\": \\"" [0-9]{1,3} ${around('", "tool_name": "&", "parameters": ', '}')(tool, rules)}`,
    gap: String.raw`",\n    "`,
    close: String.raw`"\n]<|END_ACTION|>"`,
  },
  parameters: {
    open: String.raw`"\n"?`,
    call: ({ name, parameters }, rules) =>
      `${words(`<function=${name}>\n`)} ${parameterList(parameters, rules)} ${words(`</function>\n${CALL_CLOSE}`)}`,
    gap: words(`\n${CALL_OPEN}\n`),
    close: '',
  },
}

/** What begins the calls of an answer. */
export const callMark = (syntax: GrammarSyntax): string => (syntax === 'parameters' ? CALL_OPEN : markOf(syntax))

/**
 * Of a whole answer: calls and nothing else, or with `auto` JSON as `content` has it in their place.
 *
 * @throws SkeinError INVALID_REQUEST, with the parameter `response_format`, as `jsonGrammar`.
 */
export function markedAnswerGrammar(syntax: GrammarSyntax, tools: readonly Tool[], format: ToolFormat): string {
  const rules = new GrammarRules()
  const { choice, content } = format
  const calls = rules.add('calls', `${words(callMark(syntax))} ${callsOf(syntax, { tools, format, rules })}`)
  return rules.grammar(choice === 'auto' && content !== undefined ? `${calls} | ${jsonRoot(content, rules)}` : calls)
}

/** Of an answer that was free, from the token on that completes the mark, which may have more in front of it. */
export function markedCallGrammar(syntax: GrammarSyntax, tools: readonly Tool[], format: ToolFormat): string {
  const rules = new GrammarRules()
  const last = callMark(syntax).at(-1)!
  const calls = callsOf(syntax, { tools, format, rules })
  return rules.grammar(`[^${last === ']' ? String.raw`\]` : last}]* "${last}" ${calls}`)
}

function callsOf(
  syntax: GrammarSyntax,
  { tools, format, rules }: { tools: readonly Tool[]; format: ToolFormat; rules: GrammarRules },
): string {
  const { open, call, gap, close } = FORMS[syntax]
  const one = rules.add('call', tools.map((tool) => call(tool, rules)).join(' | '))
  const more = format.callsMax === 1 ? '' : `(${gap} ${one}){0,${format.callsMax - 1}}`
  return [open, one, more, close].filter((part) => part !== '').join(' ')
}
