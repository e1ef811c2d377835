/**
 * Tool calls in the text of an answer. Whatever a model writes them like, the text that nodes deliver has one markup, that
 * of the Hermes and Qwen templates, so that positions, checkpoints and moves of an answer know nothing of calls:
 *
 *     <tool_call>
 *     {"name": "greenhouse.temperature", "arguments": {"unit": "C"}}
 *     </tool_call>
 *
 * Calls in a row are parallel ones. Both classes take the text in pieces, and what they have said in all depends on the text
 * alone, not on how it was cut: a reader that comes back parses the text in front of its place again and is where it was.
 */
import { TOOL_NAME, type ToolCall } from './generation.ts'
import { LIMITS } from './limits.ts'
import { advance, heldSpace, StringScanner } from './scanning.ts'

export const CALL_OPEN = '<tool_call>'
export const CALL_CLOSE = '</tool_call>'

/** A call as an answer has it: without an id, which is the reader's to give. */
export type AnsweredCall = Omit<ToolCall, 'id'>

/** A call in the markup, as the models' templates write it. `arguments` stand as they are. */
export const toolCallText = ({ name, arguments: given }: AnsweredCall): string =>
  `${CALL_OPEN}\n{"name": ${JSON.stringify(name)}, "arguments": ${given}}\n${CALL_CLOSE}`

/**
 * A part of a text: what is no call; of a call the next of its body, between the markers; or the end of what began as one
 * and is none, with what is still to come of its text.
 */
export type MarkupSpan =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'broken'; readonly text: string }
  | { readonly kind: 'call'; readonly text: string; readonly isEnd: boolean }

/**
 * Finds the markup in a text. A closing marker within a JSON string is part of the string. A call that is longer than
 * `answerToolCallLengthMax` is none.
 */
export class CallScanner {
  #isInCall = false
  /** Of the opening marker outside of a call, of the closing one in it. */
  #matched = 0
  #strings = new StringScanner()
  /** Of the call so far, its opening included. */
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

  /** The end of the text: what was held back, for it may have become a marker. */
  end(): MarkupSpan[] {
    const held = (this.#isInCall ? CALL_CLOSE : CALL_OPEN).slice(0, this.#matched)
    const wasInCall = this.#isInCall
    this.#leave()
    if (wasInCall) return [{ kind: 'broken', text: held }]
    return held === '' ? [] : [{ kind: 'text', text: held }]
  }

  #free(piece: string, from: number, spans: MarkupSpan[]): number {
    const held = this.#matched
    let at = from
    while (at < piece.length && this.#matched < CALL_OPEN.length)
      this.#matched = advance(CALL_OPEN, this.#matched, piece[at++]!)
    const text = CALL_OPEN.slice(0, held) + piece.slice(from, at)
    if (text.length > this.#matched) spans.push({ kind: 'text', text: text.slice(0, text.length - this.#matched) })
    if (this.#matched === CALL_OPEN.length) this.#enter(spans)
    return at
  }

  #enter(spans: MarkupSpan[]): void {
    this.#leave()
    this.#isInCall = true
    this.#callLength = CALL_OPEN.length
    spans.push({ kind: 'call', text: '', isEnd: false })
  }

  #leave(): void {
    this.#isInCall = false
    this.#strings = new StringScanner()
    this.#matched = this.#callLength = 0
  }

  #inCall(piece: string, from: number, spans: MarkupSpan[]): number {
    const held = this.#matched
    const end = Math.min(piece.length, from + LIMITS.answerToolCallLengthMax - this.#callLength)
    let at = from
    while (at < end && this.#matched < CALL_CLOSE.length) this.#look(piece[at++]!)
    this.#callLength += at - from
    const isEnd = this.#matched === CALL_CLOSE.length
    const text = CALL_CLOSE.slice(0, held) + piece.slice(from, at)
    if (!isEnd && this.#callLength >= LIMITS.answerToolCallLengthMax) {
      spans.push({ kind: 'broken', text })
      this.#leave()
      return at
    }
    const body = text.slice(0, text.length - this.#matched)
    if (isEnd || body !== '') spans.push({ kind: 'call', text: body, isEnd })
    if (isEnd) this.#leave()
    return at
  }

  #look(unit: string): void {
    this.#matched = this.#strings.take(unit) ? 0 : advance(CALL_CLOSE, this.#matched, unit)
  }
}

/** What an answer says, in its order: a call begins with its name, and its arguments follow in pieces. */
export type AnsweredPart =
  | { readonly kind: 'content'; readonly text: string }
  | { readonly kind: 'call'; readonly index: number; readonly name: string }
  | { readonly kind: 'arguments'; readonly index: number; readonly text: string }

/** The calls among the parts of a whole answer. */
export function answeredCalls(parts: readonly AnsweredPart[]): AnsweredCall[] {
  const calls: AnsweredCall[] = []
  for (const part of parts)
    if (part.kind === 'call') calls[part.index] = { name: part.name, arguments: '' }
    else if (part.kind === 'arguments') {
      const { name, arguments: before } = calls[part.index]!
      calls[part.index] = { name, arguments: before + part.text }
    }
  return calls
}

/** How nearly all models begin a call: from here on it is told as it comes. */
const CALL_HEAD = /^\s*\{\s*"name"\s*:\s*"([^"\\]*)"\s*,\s*"arguments"\s*:\s*(?=\{)/
/** Longer ones are waited for to their end. */
const CALL_HEAD_MAX = 256

/**
 * The text of an answer as content and calls. White space between them is the markup's own and is dropped. Nothing else is
 * lost. A call that begins as its template has it, with the name of a tool and an object of arguments, is one from then on,
 * and its arguments are told as they come, broken off or not. Any other is told when it is whole; one that is broken off,
 * names no tool, or is no JSON, is content, as it was written.
 */
export class ToolCallParser {
  readonly #scanner = new CallScanner()
  /** White space that may stand in front of a call, and would be dropped with it. */
  #gap = ''
  /** Nothing but white space came since the last call. */
  #isBehindCall = false
  #calls = 0
  /** Of the call that is not told yet. */
  #body = ''
  /** Of the call that is told as it comes. */
  #arguments: ObjectScanner | undefined
  /** Behind its arguments. */
  #rest = ''

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
    for (const span of spans)
      if (span.kind === 'text') this.#say(span.text, parts)
      else if (span.kind === 'broken') this.#break(span.text, parts)
      else this.#inCall(span.text, span.isEnd, parts)
    return parts
  }

  #inCall(text: string, isEnd: boolean, parts: AnsweredPart[]): void {
    if (this.#arguments) this.#tell(this.#arguments, text, parts)
    else {
      const isHead = this.#body.length < CALL_HEAD_MAX
      this.#body += text
      // of the same text however it was cut
      const head = isHead && this.#mayCall ? CALL_HEAD.exec(this.#body.slice(0, CALL_HEAD_MAX)) : null
      if (head && NAME.test(head[1]!)) {
        const body = this.#body.slice(head[0].length)
        this.#call(head[1]!, parts)
        this.#arguments = new ObjectScanner()
        this.#tell(this.#arguments, body, parts)
      }
    }
    if (isEnd) this.#close(parts)
  }

  get #mayCall(): boolean {
    return this.#calls < LIMITS.answerToolCallsMax
  }

  #call(name: string, parts: AnsweredPart[]): void {
    this.#gap = ''
    this.#isBehindCall = true
    this.#body = ''
    parts.push({ kind: 'call', index: this.#calls++, name })
  }

  #tell(object: ObjectScanner, text: string, parts: AnsweredPart[]): void {
    const end = object.push(text)
    if (end > 0) addArguments(parts, this.#calls - 1, text.slice(0, end))
    this.#rest += text.slice(end)
  }

  #close(parts: AnsweredPart[]): void {
    const { rest, isTold } = this.#leave()
    if (isTold) {
      // members that no reader asks for go with the closing brace
      if (parsedObject(`{"arguments":{}${rest}`) === undefined) this.#say(rest.replace(BRACE, ''), parts)
      return
    }
    const call = this.#mayCall ? readCall(rest) : undefined
    if (call === undefined) return this.#say(CALL_OPEN + rest + CALL_CLOSE, parts)
    this.#call(call.name, parts)
    addArguments(parts, this.#calls - 1, call.arguments)
  }

  /** A call that is none, or is told and does not end. */
  #break(held: string, parts: AnsweredPart[]): void {
    if (this.#arguments && !this.#arguments.isOver) {
      if (held !== '') addArguments(parts, this.#calls - 1, held)
      this.#leave()
      return
    }
    const { rest, isTold } = this.#leave()
    if (!isTold) return this.#say(CALL_OPEN + rest + held, parts)
    const more = rest.replace(BRACE, '')
    // else only its closing is missing
    if (more.trim() !== '') this.#say(more + held, parts)
  }

  #leave(): { rest: string; isTold: boolean } {
    const isTold = this.#arguments !== undefined
    const rest = isTold ? this.#rest : this.#body
    this.#arguments = undefined
    this.#rest = this.#body = ''
    return { rest, isTold }
  }

  #say(text: string, parts: AnsweredPart[]): void {
    const said = this.#isBehindCall ? text.trimStart() : this.#gap + text
    if (said === '') return
    this.#isBehindCall = false
    const end = heldSpace(said)
    this.#gap = said.slice(end)
    if (end > 0) addText(parts, said.slice(0, end))
  }
}

/** Of the call, behind its arguments. */
const BRACE = /^\s*\}/

/** Finds the end of an object of JSON that comes in pieces. */
export class ObjectScanner {
  readonly #strings = new StringScanner()
  #depth = 0
  #isOver = false

  get isOver(): boolean {
    return this.#isOver
  }

  /** How much of `piece` belongs to the object. */
  push(piece: string): number {
    let at = 0
    while (at < piece.length && !this.#isOver) this.#look(piece[at++]!)
    return at
  }

  #look(unit: string): void {
    if (this.#strings.take(unit)) return
    if (unit === '{' || unit === '[') this.#depth++
    else if (unit === '}' || unit === ']') this.#isOver = --this.#depth === 0
  }
}

function addText(parts: AnsweredPart[], text: string): void {
  const last = parts.at(-1)
  if (last?.kind === 'content') parts[parts.length - 1] = { kind: 'content', text: last.text + text }
  else parts.push({ kind: 'content', text })
}

function addArguments(parts: AnsweredPart[], index: number, text: string): void {
  const last = parts.at(-1)
  if (last?.kind === 'arguments') parts[parts.length - 1] = { ...last, text: last.text + text }
  else parts.push({ kind: 'arguments', index, text })
}

const NAME = new RegExp(TOOL_NAME)

/** A call that is not written as its template has it: other members in front of its name, or arguments as a text. */
function readCall(body: string): AnsweredCall | undefined {
  const whole = parsedObject(body)
  const name = whole?.['name']
  if (whole === undefined || typeof name !== 'string' || !NAME.test(name)) return undefined
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
