/**
 * What a chat template is told, out of its sight: each text is a placeholder while the template runs, and is put back behind
 * it. Within JSON it comes back as JSON has it, which the template's own quotes show.
 */
import { SkeinError } from '../../../mesh/protocol/index.ts'

/** A part of a rendered chat. */
export interface ChatPiece {
  readonly text: string
  /** False for what a message or a tool says. */
  readonly isMarkup: boolean
}

/** Whether a word of letters and digits is plain text to the tokenizer too. */
export type IsPlain = (word: string) => boolean

/** Texts that stand for themselves in a template, so that it may look at them: names and types mostly. */
const WORD = /^[A-Za-z0-9_.-]{0,64}$/
/** The quote shows whether the text came through JSON, where a backslash is put in front of it. */
const PLACEHOLDER = /~@(\d+)(\\*)"@~/g
const FRAGMENT = /~@\d|"@~/
/** Of texts that went through JSON so often: more is no template's business. */
const JSON_DEPTHS: ReadonlyMap<number, number> = new Map([
  [0, 0],
  [1, 1],
  [3, 2],
])

export class Placeholders {
  readonly #isPlain: IsPlain
  readonly #texts: string[] = []
  readonly #contents = new Set<number>()
  readonly #restored = new Set<number>()

  constructor(isPlain: IsPlain) {
    this.#isPlain = isPlain
  }

  get contentsRestored(): number {
    return this.#restored.size
  }

  /** Of a message. An empty one stays empty: templates ask whether there is one. */
  content(text: string): string {
    if (text === '') return ''
    this.#contents.add(this.#texts.length)
    return this.#hide(text)
  }

  word(text: string): string {
    return WORD.test(text) && this.#isPlain(text) ? text : this.#hide(text)
  }

  /** Of a value of JSON, in all its depth. */
  value(value: unknown): unknown {
    if (typeof value === 'string') return this.word(value)
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map((item) => this.value(item))
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [this.word(key), this.value(item)]))
  }

  /** @throws SkeinError ENGINE_FAILED when a template has done to a placeholder what it cannot be put back after. */
  restore(text: string): ChatPiece[] {
    const pieces: ChatPiece[] = []
    const add = (piece: string, isMarkup: boolean): void => {
      if (isMarkup && FRAGMENT.test(piece))
        throw new SkeinError('ENGINE_FAILED', 'the template changes what it is told')
      if (piece !== '') pieces.push({ text: piece, isMarkup })
    }
    let at = 0
    for (const match of text.matchAll(PLACEHOLDER)) {
      const [whole, index, slashes] = match
      const told = this.#texts[Number(index)]
      const depth = JSON_DEPTHS.get(slashes!.length)
      if (told === undefined || depth === undefined) break
      add(text.slice(at, match.index), true)
      add(escaped(told, depth), false)
      if (this.#contents.has(Number(index))) this.#restored.add(Number(index))
      at = match.index + whole.length
    }
    add(text.slice(at), true)
    return pieces
  }

  #hide(text: string): string {
    return `~@${this.#texts.push(text) - 1}"@~`
  }
}

const escaped = (text: string, depth: number): string =>
  depth === 0 ? text : escaped(JSON.stringify(text).slice(1, -1), depth - 1)
