/**
 * Text into chunks that a board can take. Each is as full as its size as written allows, and none ends within a character.
 * A function of the text and of the board alone, however the text comes: after a restart of the bridge the same answer is
 * cut into the same chunks, so that a board that awaits number 7 gets what it would have got.
 */
import { graphemesOf } from './charset.ts'
import type { AnswerEnd, Chunk } from '../messages/index.ts'

export type Fits = (chunk: Chunk) => boolean

export interface ChunkEnd {
  readonly fin: AnswerEnd
  /** Name of the node; left out where there is no room for it. */
  readonly by: string | undefined
}

/** Whether a cut at `at` would leave half a character on either side. */
const isInPair = (text: string, at: number): boolean =>
  at > 0 && at < text.length && /[\ud800-\udbff]/.test(text[at - 1]!) && /[\udc00-\udfff]/.test(text[at]!)

/** The longest beginning of `text` that `fits`, whole characters alone; 0 when not even one does. */
function longest(text: string, lengthMax: number, fits: (part: string) => boolean): number {
  let low = 0
  let high = Math.min(text.length, lengthMax)
  if (isInPair(text, high)) high--
  while (low < high) {
    let middle = Math.ceil((low + high) / 2)
    if (isInPair(text, middle)) middle++
    if (fits(text.slice(0, middle))) low = middle
    else high = isInPair(text, middle - 1) ? middle - 2 : middle - 1
  }
  if (low === text.length) return low
  return wholeGraphemes(text, low) || low
}

/** End of the last grapheme of `text` that ends at `length` or before. */
function wholeGraphemes(text: string, length: number): number {
  let end = 0
  for (const grapheme of graphemesOf(text.slice(0, length + GRAPHEME_LOOKAHEAD))) {
    if (end + grapheme.length > length) return end
    end += grapheme.length
  }
  return end
}

/** Enough of what follows to know whether a grapheme ends there. */
const GRAPHEME_LOOKAHEAD = 64

export class Chunker {
  readonly #id: number
  readonly #fits: Fits
  readonly #lengthMax: number
  readonly #chunks: Chunk[] = []
  /** Text of no chunk yet. */
  #rest = ''
  #isWhole = false
  #isStuck = false

  /** @param rx bytes that the board takes: no chunk has a longer text. */
  constructor(id: number, rx: number, fits: Fits) {
    this.#id = id
    this.#fits = fits
    this.#lengthMax = rx
  }

  get chunks(): readonly Chunk[] {
    return this.#chunks
  }

  /** The last chunk is there. */
  get isWhole(): boolean {
    return this.#isWhole
  }

  /** Not one character fits what the board takes. */
  get isStuck(): boolean {
    return this.#isStuck
  }

  /** More text; chunks are made of it as soon as they are full. */
  feed(text: string): void {
    this.#rest += text
    // a chunk is full when what follows it is known not to fit
    while (!this.#isStuck && this.#fill(false));
  }

  /** There is no more. */
  end({ fin, by }: ChunkEnd): void {
    while (!this.#isStuck) {
      const last = { ...this.#chunk(this.#rest, true), fin }
      const named = by === undefined ? last : { ...last, by }
      const fitting = [named, last].find((each) => this.#rest.length <= this.#lengthMax && this.#fits(each))
      if (fitting !== undefined) {
        this.#chunks.push(fitting)
        this.#rest = ''
        this.#isWhole = true
        return
      }
      this.#fill(true)
    }
  }

  /**
   * Ends the answer at chunk `at`, of which and behind which the board has nothing yet: what else there was is left out.
   *
   * @param isBare without text, where the board may have no room for more.
   */
  cut(at: number, isBare: boolean): void {
    const behind = this.#chunks.splice(at)
    const text = isBare ? '' : behind.map(({ t }) => t).join('') + this.#rest
    const lastOf = (t: string): Chunk => ({ ...this.#chunk(t, true), fin: 'length' })
    const length = longest(text, this.#lengthMax, (part) => this.#fits(lastOf(part)))
    this.#rest = ''
    // the last word may be half of one
    this.#chunks.push(lastOf(text.slice(0, length).replace(/\s+\S*$/, '')))
    this.#isWhole = true
  }

  /** Makes one full chunk of the rest; not when all of it fits, unless `isAll`. */
  #fill(isAll: boolean): boolean {
    if (this.#rest === '') {
      // not even an empty one that is the last
      this.#isStuck ||= isAll
      return false
    }
    const length = longest(this.#rest, this.#lengthMax, (part) => this.#fits(this.#chunk(part, false)))
    if (length === this.#rest.length && !isAll) return false
    if (length === 0) {
      this.#isStuck = true
      return false
    }
    this.#chunks.push(this.#chunk(this.#rest.slice(0, length), false))
    this.#rest = this.#rest.slice(length)
    return true
  }

  #chunk(t: string, l: boolean): Chunk {
    return { kind: 'chunk', id: this.#id, i: this.#chunks.length, l, t }
  }
}
