/**
 * Words as the search knows them: folded, so that case, accents and widths do not matter. Scripts that put no space
 * between words are cut by the browser's segmenter, which is slow, and therefore they alone are.
 */

/** Longer words are known by their beginning. */
const TERM_MAX = 32
/** Different words of one text; a text has some hundreds. */
export const TERMS_MAX = 4_000
/** Of a text, in UTF-16 units: what is behind is not found. */
export const INDEXED_MAX = 200_000

const WORDS = /[\p{L}\p{N}][\p{L}\p{N}\p{M}_]*/gu
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u
const PLAIN = /^[a-z0-9_]*$/
const MARKS = /\p{M}/gu

export interface Word {
  readonly term: string
  /** In the text as it is, in UTF-16 units. */
  readonly from: number
  readonly to: number
}

let segmenter: Intl.Segmenter | undefined

/** As it is compared: `Café` and `ＣＡＦＥ` are `cafe`. */
export function foldTerm(word: string): string {
  const lower = word.toLowerCase()
  if (PLAIN.test(lower)) return lower.slice(0, TERM_MAX)
  return lower.normalize('NFKD').replace(MARKS, '').replaceAll('ß', 'ss').toLowerCase().slice(0, TERM_MAX)
}

/** The words of `text`, in order. */
export function* wordsOf(text: string): Generator<Word> {
  for (const match of text.matchAll(WORDS)) {
    const [word] = match
    if (UNSPACED.test(word)) yield* segmentsOf(word, match.index)
    else yield { term: foldTerm(word), from: match.index, to: match.index + word.length }
  }
}

function* segmentsOf(run: string, from: number): Generator<Word> {
  segmenter ??= new Intl.Segmenter(undefined, { granularity: 'word' })
  for (const { segment, index, isWordLike } of segmenter.segment(run)) {
    if (isWordLike === true) yield { term: foldTerm(segment), from: from + index, to: from + index + segment.length }
  }
}

/** Of a word, in UTF-16 units: so short a beginning has words without number, and the index keeps it as a word of its own. */
const BEGINNINGS = [2, 3]
/** In no word: what begins words and a word that is spelled alike are two things. */
const BEGINNING_MARK = '*'

/** Whether `typed` is looked up as one row a chunk, whatever the number of words that begin with it. */
export const isKeptBeginning = (typed: string): boolean => BEGINNINGS.includes(typed.length)

/** As the index knows the words that begin with `typed` and are longer. */
export const beginningOf = (typed: string): string => `${typed}${BEGINNING_MARK}`

/** The kept beginnings of `terms`, each with the sum of the counts of its words. */
export function countBeginnings(terms: Iterable<readonly [string, number]>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const [term, count] of terms) {
    for (const size of BEGINNINGS) {
      if (term.length <= size) break
      const beginning = beginningOf(term.slice(0, size))
      counts.set(beginning, (counts.get(beginning) ?? 0) + count)
    }
  }
  return counts
}

/** How often each word is in `text`, and how many words there are. */
export function countTerms(text: string): { readonly counts: ReadonlyMap<string, number>; readonly length: number } {
  const counts = new Map<string, number>()
  let length = 0
  for (const { term } of wordsOf(text.slice(0, INDEXED_MAX))) {
    length++
    const had = counts.get(term)
    if (had !== undefined) counts.set(term, had + 1)
    else if (counts.size < TERMS_MAX) counts.set(term, 1)
  }
  return { counts, length }
}
