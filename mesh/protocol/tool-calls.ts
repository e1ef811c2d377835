/**
 * Tool calls in the text of an answer. Whatever a model writes them like, the text that nodes deliver has one markup, that
 * of the Hermes and Qwen templates, so that positions, checkpoints and moves of an answer know nothing of calls:
 *
 *     <tool_call>
 *     {"name": "greenhouse.temperature", "arguments": {"unit": "C"}}
 *     </tool_call>
 *
 * Calls in a row are parallel ones. Both classes take the text in pieces, and what they have said depends on the text
 * alone, not on how it was cut: a reader that comes back parses the text in front of its place again and is where it was.
 */
import { TOOL_NAME, type ToolCall } from './generation.ts'
import { LIMITS } from './limits.ts'

export const CALL_OPEN = '<tool_call>'
export const CALL_CLOSE = '</tool_call>'

/** A call as an answer has it: without an id, which is the reader's to give. */
export type AnsweredCall = Omit<ToolCall, 'id'>

/** A call in the markup, as the models' templates write it. `arguments` stand as they are. */
export const toolCallText = ({ name, arguments: given }: AnsweredCall): string =>
  `${CALL_OPEN}\n{"name": ${JSON.stringify(name)}, "arguments": ${given}}\n${CALL_CLOSE}`

/** A part of a text: markup from its opening to its closing, or what is none. */
export interface MarkupSpan {
  readonly kind: 'text' | 'call'
  readonly text: string
}

/** Length of `marker` matched behind `unit`, when so much of it was before. Its first character is nowhere else in it. */
const advance = (marker: string, matched: number, unit: string): number =>
  unit === marker[matched] ? matched + 1 : unit === marker[0] ? 1 : 0

/**
 * Finds the markup in a text. A closing marker within a JSON string is part of the string. A call that is longer than
 * `answerToolCallLengthMax` is text.
 */
export class CallScanner {
  #isInCall = false
  /** Of the opening marker outside of a call, of the closing one in it. */
  #matched = 0
  #isInString = false
  #isEscaped = false
  /** Of the call so far, its opening included. */
  #call: string[] = []
  #callLength = 0

  /** Whether the text so far ends within a call, behind its opening. */
  get isInCall(): boolean {
    return this.#isInCall
  }

  /** Takes the next piece of the text, and gives the spans that it completes. */
  push(piece: string): MarkupSpan[] {
    const spans: MarkupSpan[] = []
    for (let at = 0; at < piece.length;)
      at = this.#isInCall ? this.#inCall(piece, at, spans) : this.#free(piece, at, spans)
    return spans
  }

  /** The end of the text: what was held back, for it may have become a call. */
  end(): MarkupSpan[] {
    const text = this.#isInCall ? this.#call.join('') : CALL_OPEN.slice(0, this.#matched)
    this.#leave()
    return text === '' ? [] : [{ kind: 'text', text }]
  }

  #free(piece: string, from: number, spans: MarkupSpan[]): number {
    const held = this.#matched
    let at = from
    while (at < piece.length && this.#matched < CALL_OPEN.length)
      this.#matched = advance(CALL_OPEN, this.#matched, piece[at++]!)
    const text = CALL_OPEN.slice(0, held) + piece.slice(from, at)
    if (text.length > this.#matched) spans.push({ kind: 'text', text: text.slice(0, text.length - this.#matched) })
    if (this.#matched === CALL_OPEN.length) this.#enter()
    return at
  }

  #enter(): void {
    this.#leave()
    this.#isInCall = true
    this.#call = [CALL_OPEN]
    this.#callLength = CALL_OPEN.length
  }

  #leave(): void {
    this.#isInCall = this.#isInString = this.#isEscaped = false
    this.#matched = this.#callLength = 0
    this.#call = []
  }

  #inCall(piece: string, from: number, spans: MarkupSpan[]): number {
    const end = Math.min(piece.length, from + LIMITS.answerToolCallLengthMax - this.#callLength)
    let at = from
    while (at < end && this.#matched < CALL_CLOSE.length) this.#look(piece[at++]!)
    this.#call.push(piece.slice(from, at))
    this.#callLength += at - from
    const isClosed = this.#matched === CALL_CLOSE.length
    if (isClosed || this.#callLength >= LIMITS.answerToolCallLengthMax) {
      spans.push({ kind: isClosed ? 'call' : 'text', text: this.#call.join('') })
      this.#leave()
    }
    return at
  }

  #look(unit: string): void {
    if (!this.#isInString) {
      this.#matched = advance(CALL_CLOSE, this.#matched, unit)
      this.#isInString = unit === '"'
    } else if (this.#isEscaped) this.#isEscaped = false
    else if (unit === '\\') this.#isEscaped = true
    else if (unit === '"') this.#isInString = false
  }
}

/** What an answer says, in its order. */
export type AnsweredPart =
  { readonly kind: 'content'; readonly text: string } | { readonly kind: 'call'; readonly call: AnsweredCall }

/** White space in front of a call that is held back, since it would be dropped with it. */
const GAP_MAX = 64

/**
 * The text of an answer as content and whole calls. White space between them is the markup's own and is dropped. Nothing
 * else is lost: a call that is broken off, names no tool, or is no JSON is content, as it was written.
 */
export class ToolCallParser {
  readonly #scanner = new CallScanner()
  /** White space that may stand in front of a call. */
  #gap = ''
  /** Nothing but white space came since the last call. */
  #isBehindCall = false
  #calls = 0

  /** Calls so far. */
  get calls(): number {
    return this.#calls
  }

  push(piece: string): AnsweredPart[] {
    return this.#read(this.#scanner.push(piece))
  }

  /** The end of the answer: what was held back. */
  end(): AnsweredPart[] {
    const parts = this.#read(this.#scanner.end())
    const gap = this.#gap
    this.#gap = ''
    if (gap !== '') addText(parts, gap)
    return parts
  }

  #read(spans: readonly MarkupSpan[]): AnsweredPart[] {
    const parts: AnsweredPart[] = []
    for (const { kind, text } of spans) {
      const call = kind === 'call' && this.#calls < LIMITS.answerToolCallsMax ? readCall(text) : undefined
      if (call === undefined) this.#say(text, parts)
      else {
        this.#gap = ''
        this.#isBehindCall = true
        this.#calls++
        parts.push({ kind: 'call', call })
      }
    }
    return parts
  }

  #say(text: string, parts: AnsweredPart[]): void {
    const said = this.#isBehindCall ? text.trimStart() : this.#gap + text
    if (said === '') return
    this.#isBehindCall = false
    const end = Math.max(said.trimEnd().length, said.length - GAP_MAX)
    this.#gap = said.slice(end)
    if (end > 0) addText(parts, said.slice(0, end))
  }
}

function addText(parts: AnsweredPart[], text: string): void {
  const last = parts.at(-1)
  if (last?.kind === 'content') parts[parts.length - 1] = { kind: 'content', text: last.text + text }
  else parts.push({ kind: 'content', text })
}

/** As nearly all models write it: then the arguments are told digit for digit as they stand. */
const CANONICAL = /^\s*\{\s*"name"\s*:\s*"[^"\\]*"\s*,\s*"arguments"\s*:\s*(\{[^]*\})\s*\}\s*$/
const NAME = new RegExp(TOOL_NAME)

function readCall(markup: string): AnsweredCall | undefined {
  const body = markup.slice(CALL_OPEN.length, -CALL_CLOSE.length)
  const whole = parsedObject(body)
  const name = whole?.['name']
  if (whole === undefined || typeof name !== 'string' || !NAME.test(name)) return undefined
  const verbatim = CANONICAL.exec(body)?.[1]
  if (verbatim !== undefined && parsedObject(verbatim)) return { name, arguments: verbatim }
  const given = whole['arguments'] ?? {}
  const text = typeof given === 'string' ? given : JSON.stringify(given)
  return parsedObject(text) && { name, arguments: text }
}

/** @returns `undefined` for what is no JSON object. */
function parsedObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
