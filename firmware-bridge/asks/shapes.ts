/**
 * The forms of answers that boards ask for: what the model is told and held to, and what of its answer the board gets. A
 * text is given out while it comes; of all other forms the whole is made first, since a part of a number is another number.
 */
import type { AnswerEnd, AnswerShape, CompactError } from '../messages/index.ts'
import { fitText, wireBytes } from './charset.ts'
import { firstNumber, fitNumber } from './number.ts'
import { TextShaper, type TextShape } from './text-shaper.ts'

export interface ShapeInit extends TextShape {
  readonly as: AnswerShape
  /** Of a choice. */
  readonly options: readonly string[]
  /** Of JSON; any object when absent. */
  readonly schema: Readonly<Record<string, unknown>> | undefined
}

/** `response_format` of a chat completion. */
export type ResponseFormat =
  | { readonly type: 'json_object' }
  | {
      readonly type: 'json_schema'
      readonly json_schema: { readonly name: string; readonly schema: Readonly<Record<string, unknown>> }
    }

/** What a board gets beside what was given out before. */
export type ShapedEnd =
  | { readonly ok: true; readonly text: string; readonly fin: AnswerEnd }
  /** The model's answer has no such form, or none that the board has room for. */
  | { readonly ok: false; readonly error: CompactError }

/** Of a model that writes more than a form needs, in UTF-16 code units; the rest is not asked for. */
const RAW_LENGTH_MAX = 4096

export interface Shaper {
  /** The part of the answer that is sure now. */
  feed(text: string): string
  /** Nothing that comes changes the answer any more. */
  readonly isFull: boolean
  /** @param isLength the model was stopped by its length. */
  end(isLength: boolean): ShapedEnd
}

export function shaperOf(init: ShapeInit): Shaper {
  return init.as === 'text' ? new StreamedShaper(init) : new WholeShaper(init)
}

class StreamedShaper implements Shaper {
  readonly #shaper: TextShaper

  constructor(shape: TextShape) {
    this.#shaper = new TextShaper(shape)
  }

  get isFull(): boolean {
    return this.#shaper.isFull
  }

  feed(text: string): string {
    return this.#shaper.feed(text)
  }

  end(isLength: boolean): ShapedEnd {
    const text = this.#shaper.end()
    return { ok: true, text, fin: this.#shaper.isCut ? 'shaped' : isLength ? 'length' : 'stop' }
  }
}

class WholeShaper implements Shaper {
  readonly #init: ShapeInit
  #raw = ''

  constructor(init: ShapeInit) {
    this.#init = init
  }

  get isFull(): boolean {
    const { as, bytesMax } = this.#init
    // JSON over the limit is of no use, and white space in it takes none of it
    if (this.#raw.length > (as === 'json' ? 2 * bytesMax : 0) + RAW_LENGTH_MAX) return true
    if (as === 'word') return wordIn(this.#raw)?.isWhole === true
    // a number is followed by something that is none of it
    return as === 'number' && /\d[\d.,]*[^\d.,eE'’\u00a0\u202f]/u.test(this.#raw)
  }

  feed(text: string): string {
    if (!this.isFull) this.#raw += text
    return ''
  }

  end(isLength: boolean): ShapedEnd {
    const { as } = this.#init
    switch (as) {
      case 'word':
        return this.#word(isLength)
      case 'number':
        return this.#number()
      case 'json':
        return this.#json()
      default:
        return this.#option(as === 'yesno' ? ['yes', 'no'] : this.#init.options)
    }
  }

  #word(isLength: boolean): ShapedEnd {
    const { charset, bytesMax } = this.#init
    const word = wordIn(this.#raw)
    if (word === undefined) return NONE
    const shaped = fitText(word.text, charset)
    if (shaped === '') return NONE
    // half a word is another word
    if (wireBytes(shaped) > bytesMax) return TOO_LARGE
    return { ok: true, text: shaped, fin: isLength && !word.isWhole ? 'length' : 'stop' }
  }

  #number(): ShapedEnd {
    const number = firstNumber(this.#raw)
    if (number === undefined) return NONE
    const fitted = fitNumber(number, this.#init.bytesMax)
    return fitted === undefined ? TOO_LARGE : { ok: true, text: fitted, fin: fitted === number ? 'stop' : 'shaped' }
  }

  #option(options: readonly string[]): ShapedEnd {
    const said = plain(textOf(this.#raw))
    const exact = options.find((option) => plain(option) === said)
    // a model that is not held to them may put one into a sentence; two are no choice
    const named = exact === undefined ? options.filter((option) => saysWord(said, plain(option))) : [exact]
    if (named.length !== 1) return NONE
    return wireBytes(named[0]!) > this.#init.bytesMax ? TOO_LARGE : { ok: true, text: named[0]!, fin: 'stop' }
  }

  #json(): ShapedEnd {
    let value: unknown
    try {
      value = JSON.parse(unfenced(this.#raw))
    } catch {
      return NONE
    }
    const text = JSON.stringify(value)
    // by escapes: JSON itself has a form for every character
    const shaped = this.#init.charset === 'utf8' ? text : escaped(text)
    return wireBytes(shaped) > this.#init.bytesMax ? TOO_LARGE : { ok: true, text: shaped, fin: 'stop' }
  }
}

const NONE: ShapedEnd = { ok: false, error: 'no_answer' }
const TOO_LARGE: ShapedEnd = { ok: false, error: 'too_large' }

/** The first word, and whether something that is none of it follows. */
function wordIn(raw: string): { readonly text: string; readonly isWhole: boolean } | undefined {
  const found = /[\p{L}\p{N}][\p{L}\p{M}\p{N}'’-]*/u.exec(raw)
  if (found === null) return undefined
  const end = found.index + found[0].length
  return { text: found[0].replace(/['’-]+$/, ''), isWhole: end < raw.length }
}

/** A text that is written as JSON, or as it stands. */
function textOf(raw: string): string {
  try {
    const value: unknown = JSON.parse(raw)
    return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : raw
  } catch {
    return raw
  }
}

const plain = (text: string): string =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N}]+/gu, ' ')
    .trim()

const saysWord = (said: string, option: string): boolean => option !== '' && ` ${said} `.includes(` ${option} `)

/** Without the fence that models put around JSON. */
const unfenced = (raw: string): string => raw.trim().replace(/^```(?:json)?\s*([\s\S]*?)\s*```$/, '$1')

const escaped = (json: string): string =>
  json.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** What the answer is held to, where the form is one that a grammar can say and that no model should leave. */
export function formatOf({ as, options, schema }: ShapeInit): ResponseFormat | undefined {
  switch (as) {
    case 'yesno':
      return held({ enum: ['yes', 'no'] })
    case 'choice':
      return held({ enum: [...options] })
    case 'json':
      return schema === undefined ? { type: 'json_object' } : held(schema)
    case 'text':
    case 'word':
    case 'number':
      // a model that is held to a number cannot say that it knows none
      return undefined
  }
}

const held = (schema: Readonly<Record<string, unknown>>): ResponseFormat => ({
  type: 'json_schema',
  json_schema: { name: 'answer', schema },
})

/** An English word and the space behind it, in bytes. */
const WORD_BYTES = 6

/** What the model is told of the form: short, since small models follow the first and last thing that they are told. */
export function instructionOf({ as, options, bytesMax, oneLine }: ShapeInit): string {
  switch (as) {
    case 'text': {
      const words = Math.max(1, Math.floor(bytesMax / WORD_BYTES))
      const lines = oneLine ? ' in one line' : ''
      return `Answer in at most ${words} words${lines}, in plain text without markdown.`
    }
    case 'word':
      return 'Answer with exactly one word and nothing else.'
    case 'number':
      return 'Answer with one number in digits and nothing else. If there is none, answer: none.'
    case 'yesno':
      return 'Answer with yes or no and nothing else.'
    case 'choice':
      return `Answer with exactly one of these and nothing else: ${options.join(', ')}.`
    case 'json':
      return 'Answer with JSON and nothing else.'
  }
}

/** Tokens that the form needs at most: no token is shorter than a byte. */
export function tokensFor({ as, bytesMax, options }: ShapeInit): number {
  switch (as) {
    case 'text':
    case 'json':
      return bytesMax + TOKENS_BESIDE
    case 'choice':
      return Math.max(...options.map((option) => wireBytes(option)), 0) + TOKENS_BESIDE
    case 'word':
    case 'number':
    case 'yesno':
      return TOKENS_SHORT
  }
}

/** Quotes, a fence, an end. */
const TOKENS_BESIDE = 16
/** A word, after some that nobody asked for. */
const TOKENS_SHORT = 48
