/**
 * Answers in channels, as gpt-oss writes them: each message of an answer has a header that says what it is.
 *
 *     <|channel|>analysis<|message|>The user asks …<|end|><|start|>assistant<|channel|>final<|message|>It is 17 °C.
 *     <|channel|>commentary to=functions.greenhouse.temperature <|constrain|>json<|message|>{"unit": "C"}
 *
 * What nodes deliver has the first of the analysis as a thought between `<think>` and `</think>`, calls in the markup of
 * `mesh/protocol/tool-calls.ts`, and the rest as what is said. What is analysed behind something that was said is left out:
 * a thought is in front of its answer.
 */
import { CALL_CLOSE, CALL_OPEN, ObjectScanner } from '../../mesh/protocol/index.ts'
import { HEAD_LENGTH_MAX, isBegun, isToolName, MarkScanner, sequence, wholeOf, type CallText } from './call-text.ts'

/** Words that vocabularies have special tokens for. */
export const CHANNEL_TOKENS = ['<|channel|>', '<|message|>', '<|start|>', '<|end|>', '<|constrain|>'] as const

/** Around the thoughts of what is delivered. */
export const CHANNEL_THOUGHT = { open: '<think>', close: '</think>' } as const

/** In front of the name of a tool that a header calls. */
export const CHANNEL_CALL = ' to=functions.'

const BODY = '<|message|>'
const NEXT = [sequence(/\s*/, '<|start|>assistant')]
const CALLED = /(?:^|\s)to=functions\.([^\s<]+)/
const CHANNEL = /<\|channel\|>\s*([a-z]+)/

/** Writes the messages of one answer as thought, calls and text. */
export class ChannelText implements CallText {
  readonly writesThoughts = true
  readonly #body = new MarkScanner(BODY)
  readonly #close = new MarkScanner('<|end|>')
  /** `gap`: in front of the arguments of a call. `end`: behind a message. */
  #state: 'header' | 'thought' | 'dropped' | 'said' | 'gap' | 'arguments' | 'end' = 'header'
  /** Of a header all but its last mark; of what is behind a message all. */
  #held = ''
  #thought: 'none' | 'open' | 'over' = 'none'
  #tool = ''
  #calls = 0
  #object = new ObjectScanner()

  push(piece: string): string {
    let told = ''
    // by code units: what is told does not depend on how the text was cut
    for (let at = 0; at < piece.length; at++) told += this.#take(piece[at]!)
    return told
  }

  end(): string {
    const [state, held] = [this.#state, this.#held]
    const rest = state === 'header' ? this.#body.reset() : this.#close.reset()
    this.#held = ''
    this.#state = 'said'
    if (state === 'thought' || state === 'said') return rest
    // a header that is none, of an answer that has no other
    if (state === 'header') return this.#thought === 'none' && this.#calls === 0 ? held + rest : ''
    return state === 'gap' ? held : ''
  }

  #take(unit: string): string {
    switch (this.#state) {
      case 'header':
        return this.#head(unit)
      case 'gap':
        return this.#begin(unit)
      case 'arguments':
        return this.#tell(unit)
      case 'end':
        return this.#next(unit)
      default:
        return this.#say(unit)
    }
  }

  #head(unit: string): string {
    const { text, isWhole } = this.#body.take(unit)
    this.#held += text
    if (isWhole) return this.#enter()
    if (this.#held.length < HEAD_LENGTH_MAX) return ''
    const held = this.#held + this.#body.reset()
    this.#held = ''
    return this.#open('said') + this.push(held)
  }

  #enter(): string {
    const header = this.#held
    this.#held = ''
    const name = CALLED.exec(header)?.[1]
    if (name !== undefined && isToolName(name)) {
      this.#tool = name
      this.#state = 'gap'
      return ''
    }
    if (CHANNEL.exec(header)?.[1] !== 'analysis') return this.#open('said')
    if (this.#thought === 'over') {
      this.#state = 'dropped'
      return ''
    }
    return this.#open('thought')
  }

  /** A message whose text is told. */
  #open(state: 'thought' | 'said'): string {
    const before = this.#thought
    this.#state = state
    if (state === 'said') return this.#closeThought()
    this.#thought = 'open'
    return before === 'none' ? `${CHANNEL_THOUGHT.open}\n` : '\n\n'
  }

  #closeThought(): string {
    const before = this.#thought
    this.#thought = 'over'
    return before === 'open' ? `\n${CHANNEL_THOUGHT.close}\n\n` : ''
  }

  #say(unit: string): string {
    const { text, isWhole } = this.#close.take(unit)
    const told = this.#state === 'dropped' ? '' : text
    if (isWhole) this.#state = 'end'
    return told
  }

  /** Arguments are an object; of a call that has something else the text is said. */
  #begin(unit: string): string {
    if (unit === '{') {
      this.#held = ''
      this.#state = 'arguments'
      this.#object = new ObjectScanner()
      this.#object.push(unit)
      const gap = this.#calls++ === 0 ? '' : '\n'
      return `${this.#closeThought()}${gap}${CALL_OPEN}\n{"name": "${this.#tool}", "arguments": {`
    }
    this.#held += unit
    if (/^\s*$/.test(this.#held) && this.#held.length < HEAD_LENGTH_MAX) return ''
    const held = this.#held
    this.#held = ''
    return this.#open('said') + this.push(held)
  }

  #tell(unit: string): string {
    this.#object.push(unit)
    if (!this.#object.isOver) return unit
    this.#state = 'said'
    return `${unit}}\n${CALL_CLOSE}`
  }

  /** Behind a message there is another, or nothing. */
  #next(unit: string): string {
    this.#held += unit
    if (wholeOf(NEXT, this.#held)) {
      this.#held = ''
      this.#state = 'header'
      return ''
    }
    if (isBegun(NEXT, this.#held)) return ''
    const held = this.#held
    this.#held = ''
    return this.#open('said') + this.push(held)
  }
}

/** Of the text as the model writes it, the headers: where calls begin. */
export class HeaderText {
  readonly #marks = [new MarkScanner(BODY), new MarkScanner('<|start|>')] as const
  #isIn = true

  push(piece: string): string {
    let headers = ''
    for (const unit of piece) {
      if (this.#isIn) headers += unit
      const [body, start] = this.#marks.map((mark) => mark.take(unit).isWhole)
      if (body) this.#isIn = false
      else if (start) this.#isIn = true
    }
    return headers
  }
}
