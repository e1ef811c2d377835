/** Searching: all words of a query, the last as the beginning of one, ranked, without reading a text that is not shown. */
import { Dexie } from 'dexie'
import { textOf } from './changes.ts'
import { messageKeyOf, type Database, type Posting } from './database.ts'
import { HITS_MAX, QUERY_MAX, QUERY_WORDS_MAX } from './limits.ts'
import { eachDoc } from './search-index.ts'
import { snippetOf } from './snippet.ts'
import { beginningOf, isKeptBeginning, wordsOf } from './terms.ts'
import type { SearchHit, SearchOptions } from './types.ts'

const HITS_USUAL = 30
/** Rows of words that begin with the last one of a query, where that has four letters or more: some ten words. */
const BEGINNINGS_MAX = 600
/** A single letter has too many to mean anything. */
const BEGINNING_MIN = 2
/** What a word that is longer than what was typed counts. */
const LONGER_SHARE = 0.7
/** The newest counts this much more than the oldest. */
const NEWNESS = 0.15

/** Words of a query, folded; the last may be the beginning of a word. */
export function queryTerms(query: string): string[] {
  const terms: string[] = []
  for (const { term } of wordsOf(query.slice(0, QUERY_MAX))) {
    // only the last is a beginning: what comes again further on is meant there
    const had = terms.indexOf(term)
    if (had >= 0) terms.splice(had, 1)
    terms.push(term)
    if (terms.length === QUERY_WORDS_MAX) break
  }
  return terms
}

/** Of what is indexed by now. */
export async function search(
  db: Database,
  query: string,
  { limit = HITS_USUAL, signal }: SearchOptions = {},
): Promise<SearchHit[]> {
  const terms = queryTerms(query)
  if (terms.length === 0) return []
  const last = await db.docs.orderBy('no').last()
  if (last === undefined) return []
  const count = last.no! + 1
  const postings = await Promise.all(terms.map((term, i) => postingsOf(db, term, i === terms.length - 1)))
  signal?.throwIfAborted()
  const scores = postings
    .map((of, i) => scoresOf(of, terms[i]!, count))
    .reduce((all, of) => all.map((score, no) => (score > 0 && of[no]! > 0 ? score + of[no]! : 0)))
  const best = bestOf(scores, Math.min(Math.max(1, limit), HITS_MAX))
  return hitsOf(db, best, terms)
}

async function postingsOf(db: Database, term: string, isBeginning: boolean): Promise<Posting[]> {
  const rowsOf = (word: string): PromiseLike<Posting[]> =>
    db.postings.where('[term+chunk]').between([word, 0], [word, Dexie.maxKey]).toArray()
  const exact = await rowsOf(term)
  if (!isBeginning || term.length < BEGINNING_MIN) return exact
  if (isKeptBeginning(term)) return [...exact, ...(await rowsOf(beginningOf(term)))]
  const longer = await db.postings
    .where('[term+chunk]')
    .between([term, Dexie.maxKey], [`${term}\uffff`, Dexie.maxKey], false)
    .limit(BEGINNINGS_MAX)
    .toArray()
  return [...exact, ...longer]
}

/** What each document is worth for one word of the query; 0: it does not have it. */
function scoresOf(postings: readonly Posting[], typed: string, count: number): Float32Array {
  const scores = new Float32Array(count)
  const holders = new Map<string, number>()
  for (const { term, docs } of postings) holders.set(term, (holders.get(term) ?? 0) + docs.length)
  for (const posting of postings) {
    const rarity = Math.log(1 + count / holders.get(posting.term)!)
    const share = rarity * (posting.term === typed ? 1 : LONGER_SHARE)
    eachDoc(posting, (no, weight) => {
      const score = share * weight
      if (score > (scores[no] ?? 0)) scores[no] = score
    })
  }
  return scores
}

/** The numbers of the best, the best first; of equals the newer. */
function bestOf(scores: Float32Array, limit: number): number[] {
  const found: { no: number; score: number }[] = []
  scores.forEach((score, no) => {
    if (score > 0) found.push({ no, score: score * (1 + (NEWNESS * no) / scores.length) })
  })
  found.sort((a, b) => b.score - a.score || b.no - a.no)
  return found.slice(0, limit).map(({ no }) => no)
}

async function hitsOf(db: Database, numbers: readonly number[], terms: readonly string[]): Promise<SearchHit[]> {
  const docs = await db.docs.bulkGet([...numbers])
  const keys = docs.flatMap((doc) => (doc === undefined ? [] : [doc.key]))
  const messages = await db.messages.bulkGet(keys.filter((key) => key.startsWith('m:')).map(messageKeyOf))
  const rows = new Map(
    messages.flatMap((row) => (row === undefined ? [] : [[`m:${row.chatId}:${row.id}` as string, row] as const])),
  )
  const chatIds = new Set(keys.map((key) => rows.get(key)?.chatId ?? key.slice(2)))
  const chats = new Map((await db.chats.bulkGet([...chatIds])).flatMap((chat) => (chat ? [[chat.id, chat]] : [])))
  return keys.flatMap((key): SearchHit[] => {
    const row = rows.get(key)
    const chat = chats.get(row?.chatId ?? key.slice(2))
    if (chat === undefined || (key.startsWith('m:') && row === undefined)) return []
    const found = { chatId: chat.id, title: chat.title }
    if (row === undefined) return [{ ...found, atMs: chat.updatedAtMs, ...snippetOf(chat.title, terms) }]
    const { id: messageId, role, createdAtMs: atMs } = row
    return [{ ...found, messageId, role, atMs, ...snippetOf(textOf(row), terms) }]
  })
}
