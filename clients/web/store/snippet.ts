/** A piece of a text around the words that were searched for, with the places of the words as ranges, never as markup. */
import { INDEXED_MAX, wordsOf, type Word } from './terms.ts'

/** Of a snippet, in UTF-16 units. */
const SNIPPET_MAX = 160
const BEFORE = 40
const SPACES = /\s/g

export interface Snippet {
  readonly snippet: string
  readonly marks: readonly (readonly [number, number])[]
}

/** Whether `term` answers to one of `wanted`, whose last is the beginning of a word. */
const isWanted = (term: string, wanted: readonly string[]): boolean =>
  wanted.some((word, i) => term === word || (i === wanted.length - 1 && term.startsWith(word)))

/** Around the place where the most different words of `wanted` are close together. */
export function snippetOf(text: string, wanted: readonly string[]): Snippet {
  const found: Word[] = []
  for (const word of wordsOf(text.slice(0, INDEXED_MAX))) if (isWanted(word.term, wanted)) found.push(word)
  const from = startOf(text, bestOf(found))
  const to = endOf(text, from)
  const [head, tail] = [from > 0 ? '…' : '', to < text.length ? '…' : '']
  const marks = found
    .filter((word) => word.from >= from && word.to <= to)
    .map((word) => [word.from - from + head.length, word.to - from + head.length] as const)
  return { snippet: `${head}${text.slice(from, to).replace(SPACES, ' ')}${tail}`, marks }
}

/** Where the window begins that holds the most different words. */
function bestOf(found: readonly Word[]): number {
  let best = 0
  let at = found[0]?.from ?? 0
  const terms = new Map<string, number>()
  let left = 0
  for (const word of found) {
    terms.set(word.term, (terms.get(word.term) ?? 0) + 1)
    while (word.to - found[left]!.from > SNIPPET_MAX - BEFORE) {
      const { term } = found[left++]!
      const count = terms.get(term)! - 1
      if (count === 0) terms.delete(term)
      else terms.set(term, count)
    }
    if (terms.size > best) [best, at] = [terms.size, found[left]?.from ?? word.from]
  }
  return at
}

/** A little before `at`, at the beginning of a word. */
function startOf(text: string, at: number): number {
  const from = Math.max(0, at - BEFORE)
  if (from === 0) return 0
  const space = text.slice(from, at).search(/\s/)
  return space < 0 ? whole(text, from) : from + space + 1
}

function endOf(text: string, from: number): number {
  const to = Math.min(text.length, from + SNIPPET_MAX)
  if (to === text.length) return to
  const space = text.slice(from, to).search(/\s\S*$/)
  return space > SNIPPET_MAX / 2 ? from + space : whole(text, to)
}

/** Not between the two halves of a character. */
const whole = (text: string, at: number): number => (/[\udc00-\udfff]/.test(text[at] ?? '') ? at - 1 : at)
