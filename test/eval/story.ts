/**
 * What can be told of a story without reading it: whether it repeats itself, whether its sentences and quotations are whole,
 * whether its words are words, and whether those in it stay the same.
 */
import { readFileSync } from 'node:fs'

/** All words of the generator, small letters; made-up names and those of people apart. */
const WORDS: ReadonlySet<string> = new Set(
  JSON.parse(readFileSync(new URL('./bundled/story-words.json', import.meta.url), 'utf8')) as string[],
)
const SENTENCES_MIN = 5
/** Those in a story: two, and now and then a name that only comes up. */
const NAMES_MAX = 3
/** Of groups of five words, those that came before. The generator's own stories stay under it. */
const REPEATED_SHARE_MAX = 0.08

/** What is wrong with a story, the worst first. `names` are to be in it. */
export function storyFaults(text: string, names: readonly string[]): string[] {
  const faults: string[] = []
  const sentences = text.split(/(?<=[.!?]"?) /)
  if (sentences.length < SENTENCES_MIN) faults.push(`only ${sentences.length} sentences`)
  if (!/[.!?]"?$/.test(text)) faults.push('no end')
  if ((text.match(/"/g) ?? []).length % 2 > 0) faults.push('a quotation without an end')
  const lower = sentences.find((sentence) => /^"?[a-z]/.test(sentence) && !isSpoken(text, sentence))
  if (lower !== undefined) faults.push(`a sentence without a capital: ${lower.slice(0, 40)}`)
  const cast = castOf(text)
  const unknown = wordsOf(text).find((word) => !WORDS.has(word.toLowerCase()) && !cast.has(word.replace(/'s$/, '')))
  if (unknown !== undefined) faults.push(`no word: ${unknown}`)
  if (cast.size > NAMES_MAX) faults.push(`too many names: ${[...cast].join(', ')}`)
  const missing = names.find((name) => !text.includes(name))
  if (missing !== undefined) faults.push(`without ${missing}`)
  const share = repeatedShare(text)
  if (share > REPEATED_SHARE_MAX) faults.push(`${Math.round(share * 100)} % repeated`)
  return faults
}

/** After a question or an exclamation that someone speaks the sentence goes on: `"Who is it?" asked Mia.` */
const isSpoken = (text: string, sentence: string): boolean => text.includes(`" ${sentence}`)

const wordsOf = (text: string): string[] => text.match(/[A-Za-z][A-Za-z'-]*[A-Za-z]|[A-Za-z]/g) ?? []

/** Capitalised words that the generator does not know as words: the names. */
function castOf(text: string): Set<string> {
  const capitalised = wordsOf(text).filter((word) => /^[A-Z]/.test(word))
  return new Set(capitalised.map((word) => word.replace(/'s$/, '')).filter((word) => !WORDS.has(word.toLowerCase())))
}

function repeatedShare(text: string): number {
  const words = wordsOf(text.toLowerCase())
  const groups = words.slice(4).map((_, i) => words.slice(i, i + 5).join(' '))
  return groups.length === 0 ? 0 : 1 - new Set(groups).size / groups.length
}
