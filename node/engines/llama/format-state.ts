/**
 * What an answer is held to, as the grammar of its next token. A function of the answer's tokens: those that were drawn
 * elsewhere are replayed, and it is where it was there.
 */
import { LlamaGrammarEvaluationState, type Llama, type LlamaGrammar, type LlamaModel, type Token } from 'node-llama-cpp'
import { CallScanner, SkeinError, type Tool } from '../../../mesh/protocol/index.ts'
import type { GenerationRequest } from '../engine.ts'
import { jsonGrammar } from './json-grammar.ts'
import { acceptByGrammar } from './native.ts'
import { textBytes } from './token-bytes.ts'
import { answerGrammar, callable, callGrammar, FREE_CALLS } from './tool-grammar.ts'

/** Where one answer is in its format. */
export interface FormatState {
  /** What the next token must fit; moved on by the engine when it draws one. */
  readonly grammar: LlamaGrammarEvaluationState | undefined
  /** A token was drawn here, by the grammar if there is one. */
  drawn(token: Token): void
  /** A token was drawn elsewhere. @throws SkeinError INVALID_REQUEST when it does not fit. */
  replayed(token: Token): void
}

/** The grammars of one request. */
export type CompiledFormat =
  | { readonly kind: 'answer'; readonly grammar: LlamaGrammar; readonly param: string }
  /** The answer is free but for its calls, and over behind the last of `callsMax`. */
  | { readonly kind: 'calls'; readonly call: LlamaGrammar; readonly end: LlamaGrammar; readonly callsMax: number }

const END_GRAMMAR = 'root ::= ""'

const unheld = (cause: unknown): SkeinError => {
  const message = 'the JSON schema cannot be held to: it is too large, or refers to itself without end'
  return new SkeinError('INVALID_REQUEST', message, { cause, param: 'response_format' })
}

const toolsOf = ({ prompt }: Pick<GenerationRequest, 'prompt'>): readonly Tool[] =>
  prompt.kind === 'chat' ? (prompt.tools ?? []) : []

const OPEN_PARAMETERS = '{"type":"object"}'

/**
 * @returns `undefined` for an answer that is free.
 * @throws SkeinError INVALID_REQUEST when the format cannot be held to, with the parameter at fault.
 */
export async function compileFormat(
  llama: Llama,
  request: Pick<GenerationRequest, 'prompt' | 'format'>,
): Promise<CompiledFormat | undefined> {
  const { format } = request
  if (format !== undefined && format.kind !== 'tool-calls')
    return { kind: 'answer', grammar: await compile(llama, jsonGrammar(format)), param: 'response_format' }
  const given = toolsOf(request)
  if (format === undefined && given.length === 0) return undefined
  const calls = format ?? FREE_CALLS
  const tools = callable(given, calls)
  if (calls.choice === 'auto' && calls.content === undefined) {
    const call = await compileCalls(llama, tools, callGrammar)
    return { kind: 'calls', call, end: await compile(llama, END_GRAMMAR), callsMax: calls.callsMax }
  }
  const grammar = await compileCalls(llama, tools, (some) => answerGrammar(some, calls))
  return { kind: 'answer', grammar, param: calls.choice === 'required' ? 'tool_choice' : 'response_format' }
}

async function compile(llama: Llama, grammar: string): Promise<LlamaGrammar> {
  try {
    return await llama.createGrammar({ grammar })
  } catch (cause) {
    throw unheld(cause)
  }
}

/** The grammar of calls, in which those tools have open parameters that the library makes no grammar of. */
async function compileCalls(
  llama: Llama,
  tools: readonly Tool[],
  grammarOf: (tools: readonly Tool[]) => string,
): Promise<LlamaGrammar> {
  const open = (tool: Tool): Tool => ({ ...tool, parameters: OPEN_PARAMETERS })
  const compiles = (some: readonly Tool[]): Promise<boolean> =>
    compile(llama, callGrammar(some)).then(
      () => true,
      () => false,
    )
  try {
    return await compile(llama, grammarOf(tools))
  } catch {
    const mended = await Promise.all(tools.map(async (tool) => ((await compiles([tool])) ? tool : open(tool))))
    return compile(llama, grammarOf((await compiles(mended)) ? mended : tools.map(open)))
  }
}

/** Whether the library can read the vocabulary, which grammars need. */
export async function canFormat(llama: Llama, model: LlamaModel): Promise<boolean> {
  const state = formatState(
    model,
    (await compileFormat(llama, { prompt: { kind: 'text', text: '' }, format: { kind: 'json' } }))!,
  )
  try {
    for (const token of model.tokenize('{}', false)) state.replayed(token)
    return true
  } catch {
    return false
  }
}

export const formatState = (model: LlamaModel, by: CompiledFormat): FormatState =>
  by.kind === 'answer' ? new WholeFormat(model, by) : new CallFormat(model, by)

/** @throws what the library throws when the token does not fit. */
function accept(model: LlamaModel, grammar: LlamaGrammarEvaluationState, token: Token): void {
  // the library aborts the process over a token that ends a text
  if (model.isEogToken(token)) throw new SkeinError('INVALID_REQUEST', 'the answer has ended before its last token')
  acceptByGrammar(model, grammar, token)
}

const misfit = (param: string): SkeinError =>
  new SkeinError('INVALID_REQUEST', 'the tokens so far do not fit the format', { param })

/** From its first token to its last the answer is of one grammar. */
class WholeFormat implements FormatState {
  readonly grammar: LlamaGrammarEvaluationState
  readonly #model: LlamaModel
  readonly #param: string

  constructor(model: LlamaModel, { grammar, param }: Extract<CompiledFormat, { kind: 'answer' }>) {
    this.#model = model
    this.#param = param
    this.grammar = new LlamaGrammarEvaluationState({ model, grammar })
  }

  /** The engine has moved the grammar on. */
  drawn(): void {}

  replayed(token: Token): void {
    try {
      accept(this.#model, this.grammar, token)
    } catch {
      throw misfit(this.#param)
    }
  }
}

/**
 * The answer is free until it opens a call, which a grammar holds from then on to its end. A model that opens one in a way
 * which the grammar does not know (a token that has more behind the marker than a line feed) is left to finish it as it
 * likes.
 */
class CallFormat implements FormatState {
  readonly #model: LlamaModel
  readonly #by: Extract<CompiledFormat, { kind: 'calls' }>
  readonly #scanner = new CallScanner()
  #grammar: LlamaGrammarEvaluationState | undefined
  #calls = 0

  constructor(model: LlamaModel, by: Extract<CompiledFormat, { kind: 'calls' }>) {
    this.#model = model
    this.#by = by
  }

  get grammar(): LlamaGrammarEvaluationState | undefined {
    return this.#grammar
  }

  drawn(token: Token): void {
    const wasInCall = this.#scanner.isInCall
    // one unit for each byte: a marker, a quote and a backslash are the same in all of them
    const spans = this.#scanner.push(Buffer.from(textBytes(this.#model, token)).toString('latin1'))
    const closed = spans.filter(({ kind }) => kind === 'call').length
    this.#calls += closed
    if (this.#calls >= this.#by.callsMax) this.#grammar = this.#begin(this.#by.end)
    else if (this.#scanner.isInCall && (!wasInCall || closed > 0)) this.#open(token)
    else if (!this.#scanner.isInCall) this.#grammar = undefined
  }

  replayed(token: Token): void {
    if (this.#grammar !== undefined)
      try {
        accept(this.#model, this.#grammar, token)
      } catch {
        throw misfit('tools')
      }
    this.drawn(token)
  }

  #open(token: Token): void {
    const grammar = this.#begin(this.#by.call)
    try {
      accept(this.#model, grammar, token)
      this.#grammar = grammar
    } catch {
      this.#grammar = undefined
    }
  }

  #begin(grammar: LlamaGrammar): LlamaGrammarEvaluationState {
    return new LlamaGrammarEvaluationState({ model: this.#model, grammar })
  }
}
