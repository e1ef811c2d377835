/** Bare JSON calls (`plain-calls.ts`) as grammars, and when an answer that may be anything is held to one. */
import { LlamaGrammarEvaluationState, type LlamaGrammar, type LlamaModel, type Token } from 'node-llama-cpp'
import { SkeinError, type Tool, type ToolFormat } from '../../../mesh/protocol/index.ts'
import type { FormatState } from './format-state.ts'
import { GrammarRules, jsonRoot, verbatim } from './json-grammar.ts'
import { acceptByGrammar } from './native.ts'
import { textBytes } from './token-bytes.ts'
import { held } from './tool-grammar.ts'

function callBody(tools: readonly Tool[], rules: GrammarRules): string {
  const calls = tools.map(
    ({ name, parameters }) => `${verbatim(`${name}", "parameters": `)} ${held(parameters, rules)}`,
  )
  return String.raw`"{\"name\": \"" (${calls.join(' | ')}) "}"`
}

/** Of a whole answer: one call, since these models make no more; or with `auto` JSON as `content` has it in its place. */
export function plainAnswerGrammar(tools: readonly Tool[], { choice, content }: ToolFormat): string {
  const rules = new GrammarRules()
  const call = rules.add('call', callBody(tools, rules))
  return rules.grammar(choice === 'auto' && content !== undefined ? `${call} | ${jsonRoot(content, rules)}` : call)
}

/** Of a call, from the first token of the answer on. */
export function plainCallGrammar(tools: readonly Tool[]): string {
  const rules = new GrammarRules()
  return rules.grammar(String.raw`[ \n]{0,8} ${callBody(tools, rules)}`)
}

/** The first of a call, by which it is told from other JSON. */
const HEAD = '{"name": "'

/** The answer is free, unless it begins as a call, which a grammar holds from then on to its end. */
export class PlainCallFormat implements FormatState {
  readonly #model: LlamaModel
  readonly #call: LlamaGrammar
  #grammar: LlamaGrammarEvaluationState | undefined
  /** Of the answer, while it may be a call. */
  #begun: { units: string; readonly tokens: Token[] } | undefined = { units: '', tokens: [] }

  constructor(model: LlamaModel, call: LlamaGrammar) {
    this.#model = model
    this.#call = call
  }

  get grammar(): LlamaGrammarEvaluationState | undefined {
    return this.#grammar
  }

  drawn(token: Token): void {
    const begun = this.#begun
    if (begun === undefined) return
    begun.tokens.push(token)
    begun.units += Buffer.from(textBytes(this.#model, token)).toString('latin1')
    const text = begun.units.trimStart()
    if (text.startsWith(HEAD)) this.#hold(begun.tokens)
    if (!HEAD.startsWith(text)) this.#begun = undefined
  }

  replayed(token: Token): void {
    if (this.#grammar !== undefined)
      try {
        if (this.#model.isEogToken(token)) throw new SkeinError('INVALID_REQUEST', 'the answer has ended')
        acceptByGrammar(this.#model, this.#grammar, token)
      } catch {
        throw new SkeinError('INVALID_REQUEST', 'the tokens so far do not fit the format', { param: 'tools' })
      }
    this.drawn(token)
  }

  /** A call that begins otherwise than the grammar has it is left to its model. */
  #hold(tokens: readonly Token[]): void {
    const grammar = new LlamaGrammarEvaluationState({ model: this.#model, grammar: this.#call })
    try {
      for (const token of tokens) acceptByGrammar(this.#model, grammar, token)
      this.#grammar = grammar
    } catch {
      this.#grammar = undefined
    }
  }
}
