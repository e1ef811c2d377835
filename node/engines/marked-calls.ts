/**
 * Tool calls of models that write them behind a mark of their own, with arguments as JSON:
 *
 *     [TOOL_CALLS] [{"name": "greenhouse.temperature", "arguments": {"unit": "C"}}]
 *     [TOOL_CALLS]greenhouse.temperature[ARGS]{"unit": "C"}
 *
 * A mark that no call comes behind is text. Of a call that is told already the arguments end where their JSON does,
 * whatever the model writes behind them.
 */
import { CALL_CLOSE, CALL_OPEN, ObjectScanner } from '../../mesh/protocol/index.ts'
import {
  isBegun,
  isToolName,
  MarkScanner,
  sequence,
  wholeOf,
  type CallText,
  type MarkedSyntax,
  type Sequence,
} from './call-text.ts'

interface Marking {
  /** In front of the first call. */
  readonly mark: string
  /** From the mark to the first brace of the first object. Each that names a tool does so by its group. */
  readonly heads: readonly Sequence[]
  /** The same of the calls that follow. */
  readonly nexts: readonly Sequence[]
  /** Behind an object, up to what ends its call. */
  readonly tails: readonly Sequence[]
  /** Behind the last call, up to the end of the mark's part of the answer. */
  readonly ends: readonly Sequence[]
  /** Of its words, those that are tokens of their own, in vocabularies that have them. */
  readonly tokens: readonly string[]
}

/** The names stand between marks or quotes; those that no tool can have are told from others behind it. */
const NAME = /([A-Za-z0-9._-]*)/
const SPACE = /\s*/

/** Objects that are whole calls, with name and arguments. */
const inList = (mark: string, closing = ''): Marking => ({
  mark,
  heads: [sequence(SPACE, '[', SPACE, '{'), ...(closing === '' ? [] : [sequence(SPACE, '{')])],
  nexts: [sequence(SPACE, ',', SPACE, '{')],
  tails: [],
  ends: [sequence(SPACE, ']', ...(closing === '' ? [] : [SPACE, closing])), sequence(SPACE, closing || ']')],
  tokens: [mark, ...(closing === '' ? [] : [closing])],
})

const DEEPSEEK_CALL = [
  ['function<｜tool▁sep｜>', NAME, /[ \t]*/, '\n', SPACE, '```json', SPACE, '{'],
  [NAME, '<｜tool▁sep｜>', SPACE, '{'],
].map((parts) => sequence(SPACE, '<｜tool▁call▁begin｜>', ...parts))
const DEEPSEEK: Marking = {
  mark: '<｜tool▁calls▁begin｜>',
  heads: DEEPSEEK_CALL,
  nexts: DEEPSEEK_CALL,
  tails: [['```', SPACE], []].map((fence) => sequence(SPACE, ...fence, '<｜tool▁call▁end｜>')),
  ends: [sequence(SPACE, '<｜tool▁calls▁end｜>')],
  tokens: ['calls▁begin', 'call▁begin', 'sep', 'call▁end', 'calls▁end'].map((word) => `<｜tool▁${word}｜>`),
}

const COMMAND_CALL = [[], ['"tool_call_id"', SPACE, ':', SPACE, '"', /[^"\\]*/, '"', SPACE, ',', SPACE]].map((id) =>
  [...id, '"tool_name"', SPACE, ':', SPACE, '"', NAME, '"', SPACE, ',', SPACE].concat(
    ...['"parameters"', SPACE, ':', SPACE, '{'],
  ),
)
const COMMAND: Marking = {
  mark: '<|START_ACTION|>',
  heads: COMMAND_CALL.map((parts) => sequence(SPACE, '[', SPACE, '{', SPACE, ...parts)),
  nexts: COMMAND_CALL.map((parts) => sequence(SPACE, ',', SPACE, '{', SPACE, ...parts)),
  tails: [sequence(SPACE, '}')],
  ends: [sequence(SPACE, ']', SPACE, '<|END_ACTION|>')],
  tokens: ['<|START_ACTION|>', '<|END_ACTION|>'],
}

const MISTRAL_NAMED: Marking = {
  mark: '[TOOL_CALLS]',
  heads: [[], ['[CALL_ID]', /[A-Za-z0-9]*/]].map((id) => sequence(SPACE, NAME, ...id, '[ARGS]', SPACE, '{')),
  nexts: [],
  tails: [],
  ends: [],
  tokens: ['[TOOL_CALLS]', '[CALL_ID]', '[ARGS]'],
}

const MARKINGS: Readonly<Record<MarkedSyntax, Marking>> = {
  mistral: inList('[TOOL_CALLS]'),
  'mistral-named': MISTRAL_NAMED,
  deepseek: DEEPSEEK,
  'deepseek-bare': DEEPSEEK,
  command: COMMAND,
  granite: inList('<|tool_call|>'),
  phi: inList('<|tool_call|>', '<|/tool_call|>'),
}

/** What begins the calls of an answer in that syntax. */
export const markOf = (syntax: MarkedSyntax): string => MARKINGS[syntax].mark

/** Of the words of calls in that syntax, those that vocabularies may have tokens for. */
export const tokensOf = (syntax: MarkedSyntax): readonly string[] => MARKINGS[syntax].tokens

/** Writes calls behind a mark in the markup that is ours. */
export class MarkedCallText implements CallText {
  readonly #marking: Marking
  readonly #mark: MarkScanner
  #state: 'text' | 'head' | 'object' | 'tail' = 'text'
  #held = ''
  #object = new ObjectScanner()
  /** Whether a call was told behind the mark. */
  #hasCalls = false
  /** Closes the call that is told. */
  #closing = ''

  constructor(syntax: MarkedSyntax) {
    this.#marking = MARKINGS[syntax]
    this.#mark = new MarkScanner(this.#marking.mark)
  }

  push(piece: string): string {
    let told = ''
    // by code units: what is told does not depend on how the text was cut
    for (let at = 0; at < piece.length; at++) told += this.#take(piece[at]!)
    return told
  }

  end(): string {
    const held = this.#held
    const state = this.#state
    this.#held = ''
    this.#state = 'text'
    if (state === 'text') return this.#mark.reset()
    if (state === 'tail') return this.#closing
    if (state === 'object') return ''
    if (!this.#hasCalls) return this.#marking.mark + held
    return isBegun(this.#marking.ends, held) || /^[\s,]*$/.test(held) ? '' : held
  }

  #take(unit: string): string {
    if (this.#state === 'text') return this.#free(unit)
    if (this.#state === 'object') return this.#tell(unit)
    this.#held += unit
    return this.#state === 'head' ? this.#begin() : this.#close()
  }

  #free(unit: string): string {
    const { text, isWhole } = this.#mark.take(unit)
    if (isWhole) {
      this.#state = 'head'
      this.#hasCalls = false
    }
    return text
  }

  #begin(): string {
    const { heads, nexts, ends } = this.#marking
    const due = this.#hasCalls ? nexts : heads
    const head = wholeOf(due, this.#held)
    const name = head?.[1]
    if (head && (name === undefined || isToolName(name))) return this.#enter(name)
    const closing = this.#hasCalls ? ends : []
    if (wholeOf(closing, this.#held)) {
      this.#state = 'text'
      this.#held = ''
      return ''
    }
    return isBegun(due, this.#held) || isBegun(closing, this.#held) ? '' : this.#giveUp()
  }

  /** @param name of the tool, where the object has its arguments alone. */
  #enter(name: string | undefined): string {
    const gap = this.#hasCalls ? '\n' : ''
    this.#state = 'object'
    this.#held = ''
    this.#hasCalls = true
    this.#closing = `${name === undefined ? '' : '}'}\n${CALL_CLOSE}`
    this.#object = new ObjectScanner()
    this.#object.push('{')
    return `${gap}${CALL_OPEN}\n${name === undefined ? '' : `{"name": "${name}", "arguments": `}{`
  }

  #tell(unit: string): string {
    this.#object.push(unit)
    if (!this.#object.isOver) return unit
    this.#state = 'tail'
    return unit + (this.#marking.tails.length === 0 ? this.#close() : '')
  }

  #close(): string {
    const { tails, nexts } = this.#marking
    const isWhole = tails.length === 0 || wholeOf(tails, this.#held) !== undefined
    if (!isWhole && isBegun(tails, this.#held)) return ''
    const rest = isWhole ? '' : this.#held
    this.#held = ''
    this.#state = isWhole && nexts.length > 0 ? 'head' : 'text'
    return this.#closing + this.push(rest)
  }

  /** What is held is text, in which there may be a mark. */
  #giveUp(): string {
    const rest = this.#held
    this.#held = ''
    this.#state = 'text'
    return (this.#hasCalls ? '' : this.#marking.mark) + this.push(rest)
  }
}
