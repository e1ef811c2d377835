/**
 * Tool calls of models that write them parameter by parameter, as Qwen 3 Coder does:
 *
 *     <tool_call>
 *     <function=greenhouse.temperature>
 *     <parameter=unit>
 *     C
 *     </parameter>
 *     </function>
 *     </tool_call>
 *
 * What a value is, its tool's schema says: text as it stands, or JSON. A call whose function is named is one from then on,
 * with the parameters that are whole; what stands between them and is none ends it, and is text behind it.
 */
import { CALL_CLOSE, CALL_OPEN, type Tool } from '../../mesh/protocol/index.ts'
import { isBegun, isToolName, MarkScanner, sequence, wholeOf, type CallText } from './call-text.ts'
import { ValueTypes } from './value-types.ts'

const SPACE = /\s*/
const HEAD = [sequence(SPACE, '<function=', /([A-Za-z0-9._-]*)/, '>')]
const PARAMETER = [sequence(SPACE, '<parameter=', /([^>\n]*)/, '>')]
const END = [sequence(SPACE, '</function>', SPACE, CALL_CLOSE)]
const VALUE_CLOSE = '</parameter>'

/** Of a JSON string, unit by unit. */
const escaped = (text: string): string =>
  // eslint-disable-next-line no-control-regex -- JSON has none of them as they are
  text.replaceAll(/["\\\u0000-\u001F]/g, (unit) => JSON.stringify(unit).slice(1, -1))

/** Writes such calls in the markup that is ours. */
export class ParameterCallText implements CallText {
  readonly #types: ValueTypes
  readonly #open = new MarkScanner(CALL_OPEN)
  #state: 'text' | 'head' | 'between' | 'value' = 'text'
  #held = ''
  #calls = 0
  #tool = ''
  #hasParameters = false
  #value: ValueText | undefined

  /** @param tools that the answer may call, by whose schemas values are read. */
  constructor(tools: readonly Tool[]) {
    this.#types = new ValueTypes(tools)
  }

  push(piece: string): string {
    let told = ''
    // by code units: what is told does not depend on how the text was cut
    for (let at = 0; at < piece.length; at++) told += this.#take(piece[at]!)
    return told
  }

  end(): string {
    const [state, held, value] = [this.#state, this.#held, this.#value]
    this.#state = 'text'
    this.#held = ''
    this.#value = undefined
    if (state === 'text') return this.#open.reset()
    if (state === 'value') return value!.broken()
    if (state === 'head') return CALL_OPEN + held
    // all but the closing marker is there
    return held.trimStart().startsWith('</function>') ? this.#closing : ''
  }

  get #closing(): string {
    return `}}\n${CALL_CLOSE}`
  }

  #take(unit: string): string {
    if (this.#state === 'text') return this.#free(unit)
    if (this.#state === 'value') return this.#tell(unit)
    this.#held += unit
    return this.#state === 'head' ? this.#begin() : this.#next()
  }

  #free(unit: string): string {
    const { text, isWhole } = this.#open.take(unit)
    if (isWhole) this.#state = 'head'
    return text
  }

  #begin(): string {
    const name = wholeOf(HEAD, this.#held)?.[1]
    if (name !== undefined && isToolName(name)) {
      this.#enter('between')
      this.#tool = name
      this.#hasParameters = false
      return `${this.#calls++ === 0 ? '' : '\n'}${CALL_OPEN}\n{"name": "${name}", "arguments": {`
    }
    return isBegun(HEAD, this.#held) ? '' : this.#giveUp(CALL_OPEN)
  }

  #next(): string {
    const key = wholeOf(PARAMETER, this.#held)?.[1]
    if (key !== undefined) {
      const gap = this.#hasParameters ? ', ' : ''
      this.#enter('value')
      this.#hasParameters = true
      this.#value = new ValueText(this.#types.of(this.#tool, key))
      return `${gap}"${escaped(key)}": `
    }
    if (wholeOf(END, this.#held)) {
      this.#enter('text')
      return this.#closing
    }
    return isBegun(PARAMETER, this.#held) || isBegun(END, this.#held) ? '' : this.#giveUp(this.#closing)
  }

  #tell(unit: string): string {
    const value = this.#value!
    const told = value.take(unit)
    if (value.isOver) this.#enter('between')
    return told
  }

  #enter(state: 'text' | 'between' | 'value'): void {
    this.#state = state
    this.#held = ''
  }

  /** What is held is text, in which there may be a call. */
  #giveUp(before: string): string {
    const rest = this.#held
    this.#enter('text')
    return before + this.push(rest)
  }
}

/** One value as JSON. The line feeds next to its marks are the template's. */
class ValueText {
  readonly #type: 'text' | 'json'
  readonly #close = new MarkScanner(VALUE_CLOSE)
  #isBegun = false
  /** Of a text, the line feed that may be the last of it; of JSON all so far. */
  #held = ''
  #hasQuote = false
  isOver = false

  constructor(type: 'text' | 'json') {
    this.#type = type
  }

  take(unit: string): string {
    const { text, isWhole } = this.#close.take(unit)
    const fresh = this.#behindFirst(text)
    const told = this.#type === 'text' ? this.#text(fresh) : this.#json(fresh)
    if (!isWhole) return told
    this.isOver = true
    return told + (this.#type === 'text' ? `${this.#quote()}"` : valueOf(this.#held))
  }

  /** As far as it came. */
  broken(): string {
    const rest = this.#behindFirst(this.#close.reset())
    return this.#type === 'text' ? this.#text(rest) : ''
  }

  #behindFirst(text: string): string {
    if (this.#isBegun || text === '') return text
    this.#isBegun = true
    return text.startsWith('\n') ? text.slice(1) : text
  }

  #text(fresh: string): string {
    if (fresh === '') return ''
    const all = this.#held + fresh
    this.#held = all.endsWith('\n') ? '\n' : ''
    return this.#quote() + escaped(all.slice(0, all.length - this.#held.length))
  }

  #quote(): string {
    const quote = this.#hasQuote ? '' : '"'
    this.#hasQuote = true
    return quote
  }

  #json(fresh: string): string {
    this.#held += fresh
    return ''
  }
}

/** As templates of Python write what JSON has other words for. */
const WORDS: ReadonlyMap<string, string> = new Map([
  ['True', 'true'],
  ['False', 'false'],
  ['None', 'null'],
])

/** JSON as it was written; a string of what is none. */
function valueOf(text: string): string {
  const written = text.trim()
  const word = WORDS.get(written) ?? written
  try {
    JSON.parse(word)
    return word
  } catch {
    return `"${escaped(text.endsWith('\n') ? text.slice(0, -1) : text)}"`
  }
}
