/** Formats of answers in channels (`channel-text.ts`), as grammars: each in a message of its own, behind its header. */
import type { Thinking, Tool, ToolFormat } from '../../../mesh/protocol/index.ts'
import { CHANNEL_CALL } from '../channel-text.ts'
import { GrammarRules, jsonRoot, verbatim } from './json-grammar.ts'
import { held } from './tool-grammar.ts'

/** What is around a thought as the model writes it. */
export const CHANNEL_MARKS: Pick<Thinking, 'open' | 'close'> = {
  open: '<|channel|>analysis<|message|>',
  close: '<|end|>',
}

const FINAL = '"<|channel|>final<|message|>"'
const ROOT = /^root ::= (.*)$/m

/** The same answer, in its channel. */
export const inFinal = (grammar: string): string => grammar.replace(ROOT, (_, root) => `root ::= ${FINAL} (${root})`)

/** The same message, behind another of the answer. */
export const behindMessage = (grammar: string): string =>
  grammar.replace(ROOT, (_, root) => `root ::= "<|start|>assistant" (${root})`)

/** Of a whole answer: one call, behind which the model waits, or with `auto` JSON as `content` has it in its place. */
export function channelAnswerGrammar(tools: readonly Tool[], { choice, content }: ToolFormat): string {
  const rules = new GrammarRules()
  const call = rules.add('call', `${verbatim(`<|channel|>commentary${CHANNEL_CALL}`)} ${callBody(tools, rules)}`)
  const isFree = choice === 'auto' && content !== undefined
  return rules.grammar(isFree ? `${call} | ${FINAL} ${jsonRoot(content, rules)}` : call)
}

/** Of a call, from the token on that ends what stands in front of the tool's name. */
export function channelCallGrammar(tools: readonly Tool[]): string {
  const rules = new GrammarRules()
  return rules.grammar(`[^.]* "." ${callBody(tools, rules)}`)
}

/** The recipient stands in the channel, or in front of it. */
function callBody(tools: readonly Tool[], rules: GrammarRules): string {
  const calls = tools.map(({ name, parameters }) => `${verbatim(name)} type ${held(parameters, rules)}`)
  rules.add('type', `"<|channel|>commentary"? (" "? "<|constrain|>"? "json")? "<|message|>"`)
  return `(${calls.join(' | ')})`
}
