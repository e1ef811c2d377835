/**
 * The text of an answer as it comes, brought to what a board can take: its characters, at most so many bytes, cut between
 * words and with a mark where there was more. What was given out is never taken back: as long as a cut may still fall into
 * the newest words, these wait. A function of the text alone, however it comes in pieces, so that an answer that is read
 * again is cut at the same place.
 */
import { fitGrapheme, graphemesOf, wireBytes, type Charset } from './charset.ts'

export interface TextShape {
  readonly charset: Charset
  /** Bytes of the whole, the mark included. */
  readonly bytesMax: number
  /** Line feeds become spaces: for what shows or reads lines. */
  readonly oneLine: boolean
}

/** What a cut goes back for a word's end at most; a longer word is cut within. */
const WORD_BYTES_MAX = 24
/** Code points of an unfinished grapheme that are kept: more of them than are ever shown. */
const GRAPHEME_POINTS_MAX = 32

const markOf = ({ charset, bytesMax }: TextShape): string => {
  const mark = charset === 'utf8' ? '…' : '...'
  return wireBytes(mark) * 4 <= bytesMax ? mark : ''
}

export class TextShaper {
  readonly #shape: TextShape
  readonly #mark: string
  /** Text of which no grapheme is sure yet. */
  #raw = ''
  #half = ''
  /** Fitted graphemes that a cut may still fall into. */
  #held: string[] = []
  #heldBytes = 0
  #givenBytes = 0
  #hasText = false
  /** White space that is text only when more follows. */
  #space = ''
  #isFull = false
  #isCut = false

  constructor(shape: TextShape) {
    this.#shape = shape
    this.#mark = markOf(shape)
  }

  /** Nothing that comes changes the answer any more: who makes it may stop. */
  get isFull(): boolean {
    return this.#isFull
  }

  /** Something of the text was left out. */
  get isCut(): boolean {
    return this.#isCut
  }

  /** The part of the shaped text that is sure now. */
  feed(text: string): string {
    if (this.#isFull || text === '') return ''
    this.#raw += this.#half + text
    // half a pair says nothing yet, and would end what it belongs to
    this.#half = /[\ud800-\udbff]$/.test(this.#raw) ? this.#raw.slice(-1) : ''
    if (this.#half !== '') this.#raw = this.#raw.slice(0, -1)
    if (this.#raw === '') return ''
    const whole = [...graphemesOf(this.#raw)]
    // what comes next may belong to the last one
    const last = whole.pop()!
    this.#raw = last.length > GRAPHEME_POINTS_MAX ? [...last].slice(0, GRAPHEME_POINTS_MAX).join('') : last
    let given = ''
    for (const grapheme of whole) given += this.#take(grapheme)
    return given
  }

  /** The rest. */
  end(): string {
    if (this.#isFull) return ''
    let given = ''
    const raw = this.#raw
    this.#raw = ''
    for (const grapheme of graphemesOf(raw)) given += this.#take(grapheme)
    if (this.#isFull) return given
    this.#isFull = true
    return given + this.#give(this.#held.length)
  }

  #take(grapheme: string): string {
    if (this.#isFull) return ''
    const fitted = fitGrapheme(grapheme, this.#shape.charset)
    let given = ''
    // a form of several characters is cut between them like text
    for (const part of fitted === grapheme || fitted === '' ? [fitted] : graphemesOf(fitted)) given += this.#add(part)
    return given
  }

  #add(part: string): string {
    if (part === '') return ''
    if (part.trim() === '') {
      if (this.#hasText && !this.#space.includes('\n')) this.#space = this.#spaceOf(part)
      return ''
    }
    const given = this.#space === '' ? '' : this.#push(this.#space)
    this.#space = ''
    this.#hasText = true
    return given + this.#push(part)
  }

  #spaceOf(part: string): string {
    return part.includes('\n') && !this.#shape.oneLine ? '\n' : ' '
  }

  #push(part: string): string {
    if (this.#isFull) return ''
    const { bytesMax } = this.#shape
    if (this.#givenBytes + this.#heldBytes + wireBytes(part) > bytesMax) return this.#cut()
    this.#held.push(part)
    this.#heldBytes += wireBytes(part)
    // a cut falls behind `bytesMax - mark - word` at the earliest
    const safeBytes = bytesMax - wireBytes(this.#mark) - WORD_BYTES_MAX
    let count = 0
    let bytes = this.#givenBytes
    while (count < this.#held.length && bytes + wireBytes(this.#held[count]!) <= safeBytes)
      bytes += wireBytes(this.#held[count++]!)
    return this.#give(count)
  }

  /** There is more than fits: what is held goes up to the last word's end before the mark. */
  #cut(): string {
    this.#isFull = true
    this.#isCut = true
    const room = this.#shape.bytesMax - wireBytes(this.#mark) - this.#givenBytes
    let fits = 0
    let bytes = 0
    while (fits < this.#held.length && bytes + wireBytes(this.#held[fits]!) <= room)
      bytes += wireBytes(this.#held[fits++]!)
    const given = this.#give(this.#wordEnd(fits))
    return given + this.#mark
  }

  /** Where the last word within `count` graphemes ends; `count` itself when that would leave nothing of them. */
  #wordEnd(count: number): number {
    const isSpace = (at: number): boolean => this.#held[at]!.trim() === ''
    let end = count
    if (count < this.#held.length && !isSpace(count)) while (end > 0 && !isSpace(end - 1)) end--
    while (end > 0 && isSpace(end - 1)) end--
    return end === 0 ? count : end
  }

  #give(count: number): string {
    const given = this.#held.splice(0, count).join('')
    this.#heldBytes -= wireBytes(given)
    this.#givenBytes += wireBytes(given)
    return given
  }
}

/** All of `text` in one step, and whether something of it was left out. */
export function shapeText(text: string, shape: TextShape): { readonly text: string; readonly isCut: boolean } {
  const shaper = new TextShaper(shape)
  const fed = shaper.feed(text)
  const whole = fed + shaper.end()
  return { text: whole, isCut: shaper.isCut }
}
