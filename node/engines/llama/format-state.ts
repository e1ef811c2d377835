/**
 * What an answer is held to, as the grammar of its next token. A function of the answer's tokens: those that were drawn
 * elsewhere are replayed, and it is where it was there.
 */
import { LlamaGrammarEvaluationState, type Llama, type LlamaGrammar, type LlamaModel, type Token } from 'node-llama-cpp'
import {
  CallScanner,
  SkeinError,
  ThoughtScanner,
  type ThoughtMarks,
  type Tool,
  type ToolFormat,
} from '../../../mesh/protocol/index.ts'
import type { CallSyntax } from '../call-text.ts'
import { callTokens } from '../call-texts.ts'
import { CHANNEL_CALL, CHANNEL_TOKENS, HeaderText } from '../channel-text.ts'
import type { GenerationRequest } from '../engine.ts'
import { behindMessage, CHANNEL_MARKS, channelAnswerGrammar, channelCallGrammar, inFinal } from './channel-grammar.ts'
import { jsonGrammar } from './json-grammar.ts'
import { callMark, markedAnswerGrammar, markedCallGrammar } from './marked-call-grammar.ts'
import { MarkedCallFormat, type MarkedCalls } from './marked-call-format.ts'
import { acceptByGrammar } from './native.ts'
import { plainAnswerGrammar, plainCallGrammar, PlainCallFormat } from './plain-call-format.ts'
import { SaidText } from './said-text.ts'
import { printedWith, textBytes } from './token-bytes.ts'
import { behindThought, thoughtOr } from './thought-grammar.ts'
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
  | {
      readonly kind: 'answer'
      readonly grammar: LlamaGrammar
      readonly param: string
      /** Of an answer that may think first. */
      readonly thought?: HeldThought
    }
  /** The answer is free but for its calls, and over behind the last of `callsMax`. */
  | {
      readonly kind: 'calls'
      readonly call: LlamaGrammar
      readonly end: LlamaGrammar
      readonly callsMax: number
      readonly marks?: ThoughtMarks
    }
  | PlainCalls
  | MarkedCalls

/** The answer is free, unless it begins as a call. */
interface PlainCalls {
  readonly kind: 'plain'
  readonly call: LlamaGrammar
}

interface HeldThought {
  readonly marks: ThoughtMarks
  /** From the first token on, of an answer that does not begin within a thought. */
  readonly start: LlamaGrammar
  /** From within the thought on, in front of its closing mark. */
  readonly behind: LlamaGrammar
  /** Special tokens that its marks are made of, beside those that all answers have. */
  readonly printed?: ReadonlySet<string>
}

/** How a model writes what an answer is made of. */
export interface Writing {
  readonly marks?: ThoughtMarks | undefined
  readonly syntax?: CallSyntax | undefined
  /** Its answers to chats are in channels. */
  readonly hasChannels?: boolean
}

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
  { marks: told, syntax = 'tagged', hasChannels = false }: Writing = {},
): Promise<CompiledFormat | undefined> {
  const { format } = request
  const inChannels = hasChannels && request.prompt.kind === 'chat'
  // a grammar is of what the model writes, a reader's marks are of what nodes deliver
  const marks = inChannels ? { ...CHANNEL_MARKS, isOpen: false } : told
  const allowed = mayThink(request, marks) ? marks : undefined
  if (format !== undefined && format.kind !== 'tool-calls') {
    const grammar = inChannels ? inFinal(jsonGrammar(format)) : jsonGrammar(format)
    const thought = await compileThought(llama, grammar, { marks: allowed, inChannels })
    return { kind: 'answer', grammar: await compile(llama, grammar), param: 'response_format', ...thought }
  }
  const given = toolsOf(request)
  if (format === undefined && given.length === 0) return undefined
  const calls = format ?? FREE_CALLS
  const tools = callable(given, calls)
  if (calls.choice === 'auto' && calls.content === undefined) {
    const { grammar: call } = await compileCalls(llama, tools, (some) => callsBegun(syntax, some, calls))
    if (syntax === 'plain') return { kind: 'plain', call }
    if (syntax !== 'tagged') {
      const printed = printedWith(callTokens(syntax))
      if (syntax === 'channels')
        return { kind: 'marked', call, mark: CHANNEL_CALL, printed, said: () => new HeaderText() }
      return { kind: 'marked', call, mark: callMark(syntax), printed, said: () => new SaidText(marks) }
    }
    const end = await compile(llama, END_GRAMMAR)
    return { kind: 'calls', call, end, callsMax: calls.callsMax, ...(marks && { marks }) }
  }
  const { grammar, text } = await compileCalls(llama, tools, (some) => wholeAnswer(syntax, some, calls))
  const thought = await compileThought(llama, text, { marks: allowed, inChannels })
  return { kind: 'answer', grammar, param: calls.choice === 'required' ? 'tool_choice' : 'response_format', ...thought }
}

/** The grammar of calls in an answer that was free in front of them. */
function callsBegun(syntax: CallSyntax, tools: readonly Tool[], format: ToolFormat): string {
  if (syntax === 'tagged') return callGrammar(tools)
  if (syntax === 'channels') return channelCallGrammar(tools)
  return syntax === 'plain' ? plainCallGrammar(tools) : markedCallGrammar(syntax, tools, format)
}

/** The grammar of an answer that is nothing but what `format` says. */
function wholeAnswer(syntax: CallSyntax, tools: readonly Tool[], format: ToolFormat): string {
  if (syntax === 'tagged') return answerGrammar(tools, format)
  if (syntax === 'channels') return channelAnswerGrammar(tools, format)
  return syntax === 'plain' ? plainAnswerGrammar(tools, format) : markedAnswerGrammar(syntax, tools, format)
}

/** Who told a model not to think gets nothing but what was asked for, unless its template opens a thought all the same. */
const mayThink = ({ prompt }: Pick<GenerationRequest, 'prompt'>, marks: ThoughtMarks | undefined): boolean =>
  marks?.isOpen === true || prompt.kind !== 'chat' || prompt.thinking?.isOn !== false

async function compileThought(
  llama: Llama,
  grammar: string,
  { marks, inChannels }: { readonly marks: ThoughtMarks | undefined; readonly inChannels: boolean },
): Promise<{ thought?: HeldThought }> {
  if (marks === undefined) return {}
  const start = await compile(llama, thoughtOr(grammar, marks))
  const said = inChannels ? behindMessage(grammar) : grammar
  const behind = await compile(llama, behindThought(said, marks))
  return { thought: { marks, start, behind, ...(inChannels && { printed: printedWith(CHANNEL_TOKENS) }) } }
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
): Promise<{ grammar: LlamaGrammar; text: string }> {
  const compiled = async (some: readonly Tool[]): Promise<{ grammar: LlamaGrammar; text: string }> => {
    const text = grammarOf(some)
    return { grammar: await compile(llama, text), text }
  }
  const open = (tool: Tool): Tool => ({ ...tool, parameters: OPEN_PARAMETERS })
  const compiles = (some: readonly Tool[]): Promise<boolean> =>
    compile(llama, grammarOf(some)).then(
      () => true,
      () => false,
    )
  try {
    return await compiled(tools)
  } catch {
    const mended = await Promise.all(tools.map(async (tool) => ((await compiles([tool])) ? tool : open(tool))))
    return compiled((await compiles(mended)) ? mended : tools.map(open))
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

export function formatState(model: LlamaModel, by: CompiledFormat): FormatState {
  if (by.kind === 'plain') return new PlainCallFormat(model, by.call)
  if (by.kind === 'marked') return new MarkedCallFormat(model, by)
  if (by.kind === 'calls') return new CallFormat(model, by)
  return by.thought ? new ThoughtfulFormat(model, { ...by, thought: by.thought }) : new WholeFormat(model, by)
}

/** One unit for each byte: markers, quotes and backslashes are the same in all of them. */
const unitsOf = (model: LlamaModel, token: Token, printed?: ReadonlySet<string>): string =>
  Buffer.from(textBytes(model, token, printed)).toString('latin1')

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
 * The answer is of one grammar behind its thought, if it has one. Within the thought it is free, but for the end of it: from
 * the token on that may begin the closing mark a grammar sees to it that what comes behind the mark is the answer, in
 * whatever tokens the mark is written.
 */
class ThoughtfulFormat implements FormatState {
  readonly #model: LlamaModel
  readonly #thought: HeldThought
  readonly #said: LlamaGrammar
  readonly #param: string
  readonly #scanner: ThoughtScanner
  #grammar: LlamaGrammarEvaluationState | undefined

  constructor(
    model: LlamaModel,
    { thought, grammar, param }: Extract<CompiledFormat, { kind: 'answer' }> & { readonly thought: HeldThought },
  ) {
    this.#model = model
    this.#said = grammar
    this.#thought = thought
    this.#param = param
    this.#scanner = new ThoughtScanner(thought.marks)
    this.#grammar = this.#state(thought.marks.isOpen ? thought.behind : thought.start)
  }

  get grammar(): LlamaGrammarEvaluationState | undefined {
    return this.#grammar
  }

  drawn(token: Token): void {
    const { phase, matched } = this.#scanner
    if (phase === 'gap' || phase === 'said') return
    this.#scanner.push(unitsOf(this.#model, token, this.#thought.printed))
    const isThinking = this.#scanner.phase === 'thought'
    // no mark yet, or an answer without a thought: the grammar of the start goes on
    if (!isThinking && this.#scanner.closedAt === undefined) return
    if (isThinking && this.#scanner.matched === 0) this.#grammar = undefined
    else if (phase === 'begin' ? !this.#thought.marks.isOpen : matched === 0) this.#hold(token)
  }

  replayed(token: Token): void {
    if (this.#grammar !== undefined)
      try {
        accept(this.#model, this.#grammar, token)
      } catch {
        throw misfit(this.#param)
      }
    this.drawn(token)
  }

  #hold(token: Token): void {
    this.#grammar = this.#state(this.#thought.behind)
    try {
      acceptByGrammar(this.#model, this.#grammar, token)
    } catch {
      // one token that has more than a mark; no vocabulary is known to have such a one
      this.#grammar = this.#state(this.#said)
    }
  }

  #state(grammar: LlamaGrammar): LlamaGrammarEvaluationState {
    return new LlamaGrammarEvaluationState({ model: this.#model, grammar })
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
  readonly #said: SaidText
  #grammar: LlamaGrammarEvaluationState | undefined
  #calls = 0

  constructor(model: LlamaModel, by: Extract<CompiledFormat, { kind: 'calls' }>) {
    this.#model = model
    this.#by = by
    this.#said = new SaidText(by.marks)
  }

  get grammar(): LlamaGrammarEvaluationState | undefined {
    return this.#grammar
  }

  drawn(token: Token): void {
    const wasInCall = this.#scanner.isInCall
    const spans = this.#scanner.push(this.#said.push(unitsOf(this.#model, token)))
    const closed = spans.filter((span) => span.kind === 'call' && span.isEnd).length
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
