/**
 * Thoughts in the text of an answer: what a model writes for itself before it answers, between two marks of its chat
 * template. The text that nodes deliver has both as the model wrote them, so that positions, checkpoints and moves know
 * nothing of thoughts; readers part them:
 *
 *     <think>
 *     The user greets me.
 *     </think>
 *
 *     Hello!
 *
 * The thought is the first thing in an answer or there is none. Some templates open it in the prompt: then the answer
 * begins within it. What the classes have said depends on the text alone, not on how it was cut.
 */
import { Type, type Static } from 'typebox'
import type { Prompt } from './generation.ts'
import { advance, heldSpace, SPACE_MAX } from './scanning.ts'
import { text } from './schema.ts'

const mark = () => text(32, 2)

/** How a model's answers show its thoughts; a function of its chat template. */
export const ThinkingSchema = Type.Object({
  open: mark(),
  close: mark(),
  /** Whether the prompt ends within a thought, by what a request says of thinking. */
  opens: Type.Object({ unsaid: Type.Boolean(), on: Type.Boolean(), off: Type.Boolean() }),
})
export type Thinking = Static<typeof ThinkingSchema>

/** The same for the answer to one prompt. */
export interface ThoughtMarks {
  readonly open: string
  readonly close: string
  /** The answer begins within the thought. */
  readonly isOpen: boolean
}

/** Where the thought of an answer to `prompt` is; `undefined` when it has none. */
export function thoughtMarks(thinking: Thinking | undefined, prompt: Prompt): ThoughtMarks | undefined {
  if (thinking === undefined || prompt.kind !== 'chat') return undefined
  const { open, close, opens } = thinking
  const asked = prompt.thinking?.isOn
  return { open, close, isOpen: opens[asked === undefined ? 'unsaid' : asked ? 'on' : 'off'] }
}

/** A part of a text. `mark` is the marks and the white space around them. */
export interface ThoughtSpan {
  readonly kind: 'mark' | 'thought' | 'said'
  readonly text: string
}

const isSpace = (unit: string): boolean => unit === ' ' || unit === '\n' || unit === '\r' || unit === '\t'

/** `begin`: it may still open a thought. `gap`: white space behind one. */
export type ThoughtPhase = 'begin' | 'thought' | 'gap' | 'said'

/** Parts a text that comes in pieces; the spans of all pieces and of the end are the text. */
export class ThoughtScanner {
  readonly #marks: ThoughtMarks
  #phase: ThoughtPhase = 'begin'
  /** In front of the opening mark, or behind the closing one. */
  #space = 0
  /** Of the opening mark in `begin`, of the closing one in a thought. */
  #matched = 0
  #held = ''
  #closedAt: number | undefined

  constructor(marks: ThoughtMarks) {
    this.#marks = marks
  }

  get phase(): ThoughtPhase {
    return this.#phase
  }

  /** How much of the closing mark the text ends with, in a thought. */
  get matched(): number {
    return this.#phase === 'thought' ? this.#matched : 0
  }

  /** Where in the last piece the closing mark ended, if it did. */
  get closedAt(): number | undefined {
    return this.#closedAt
  }

  push(piece: string): ThoughtSpan[] {
    this.#closedAt = undefined
    const spans: ThoughtSpan[] = []
    let at = 0
    while (at < piece.length && this.#phase !== 'said') {
      if (this.#phase === 'begin') at = this.#begin(piece, at, spans)
      else if (this.#phase === 'thought') at = this.#think(piece, at, spans)
      else at = this.#pause(piece, at, spans)
    }
    if (at < piece.length) spans.push({ kind: 'said', text: piece.slice(at) })
    return spans
  }

  /** The end of the text: what was held back. */
  end(): ThoughtSpan[] {
    const text = this.#held
    this.#held = ''
    if (text === '') return []
    return [{ kind: this.#phase === 'thought' || this.#marks.isOpen ? 'thought' : 'said', text }]
  }

  #begin(piece: string, from: number, spans: ThoughtSpan[]): number {
    const { open, isOpen } = this.#marks
    for (let at = from; at < piece.length; at++) {
      const unit = piece[at]!
      const isBefore = this.#matched === 0 && isSpace(unit) && this.#space < SPACE_MAX
      if (!isBefore && unit !== open[this.#matched]) {
        this.#phase = isOpen ? 'thought' : 'said'
        this.#matched = 0
        const text = this.#held
        this.#held = ''
        if (isOpen) return this.#rethink(text, piece, at, spans)
        if (text !== '') spans.push({ kind: 'said', text })
        return at
      }
      this.#held += unit
      if (isBefore) this.#space++
      else this.#matched++
      if (this.#matched < open.length) continue
      spans.push({ kind: 'mark', text: this.#held })
      this.#enter('thought')
      return at + 1
    }
    return piece.length
  }

  /** What looked like an opening mark may be the beginning of the closing one. */
  #rethink(held: string, piece: string, from: number, spans: ThoughtSpan[]): number {
    const end = this.#think(held + piece.slice(from), 0, spans) - held.length + from
    if (this.#closedAt !== undefined) this.#closedAt = end
    return end
  }

  #think(piece: string, from: number, spans: ThoughtSpan[]): number {
    const { close } = this.#marks
    const held = this.#held
    let at = from
    while (at < piece.length && this.#matched < close.length)
      this.#matched = advance(close, this.#matched, piece[at++]!)
    const text = held + piece.slice(from, at)
    const end = text.length - this.#matched
    if (end > 0) spans.push({ kind: 'thought', text: text.slice(0, end) })
    this.#held = text.slice(end)
    if (this.#matched < close.length) return at
    spans.push({ kind: 'mark', text: this.#held })
    this.#closedAt = at
    this.#enter('gap')
    return at
  }

  #pause(piece: string, from: number, spans: ThoughtSpan[]): number {
    let at = from
    while (at < piece.length && isSpace(piece[at]!) && this.#space < SPACE_MAX) {
      at++
      this.#space++
    }
    if (at > from) spans.push({ kind: 'mark', text: piece.slice(from, at) })
    if (at < piece.length) this.#phase = 'said'
    return at
  }

  #enter(phase: ThoughtPhase): void {
    this.#phase = phase
    this.#held = ''
    this.#matched = this.#space = 0
  }
}

/** What a text says, and what was thought in front of it. */
export interface Parted {
  readonly thought: string
  readonly said: string
}

/** Parts the text of an answer for its readers: without the marks, and without white space around the thought. */
export class ThoughtSplitter {
  readonly #scanner: ThoughtScanner
  #hasThought = false
  /** White space that may be the last of the thought. */
  #gap = ''

  constructor(marks: ThoughtMarks) {
    this.#scanner = new ThoughtScanner(marks)
  }

  push(piece: string): Parted {
    return this.#read(this.#scanner.push(piece))
  }

  /** The end of the answer: what was held back. */
  end(): Parted {
    return this.#read(this.#scanner.end())
  }

  #read(spans: readonly ThoughtSpan[]): Parted {
    let thought = ''
    let said = ''
    for (const { kind, text } of spans)
      if (kind === 'said') said += text
      else if (kind === 'thought') thought += this.#think(text)
    return { thought, said }
  }

  #think(text: string): string {
    const all = this.#hasThought ? this.#gap + text : text.trimStart()
    if (all === '') return ''
    this.#hasThought = true
    const end = heldSpace(all)
    this.#gap = all.slice(end)
    return all.slice(0, end)
  }
}
