/**
 * An inverted index in IndexedDB, kept as messages come and go. A word has one row for each chunk of 4,096 document
 * numbers, so that one more message rewrites little; a document is a message or the title of a chat. So has each beginning
 * of two or three letters: a search that has just begun reads a row a chunk, not one for each of a thousand words. Jobs
 * are written in the transaction of the change itself and worked off later, in any tab: the index is late at worst, never
 * wrong.
 */
import { textOf } from './changes.ts'
import { messageKeyOf, metaOf, type Database, type Doc, type IndexJob, type Posting } from './database.ts'
import { countBeginnings, countTerms } from './terms.ts'

/** Bits of a document's number within its chunk, and of its weight. */
const LOCAL_BITS = 12
const WEIGHT_BITS = 12
const WEIGHT_MAX = 2 ** WEIGHT_BITS - 1
/** Jobs of one transaction: some 20 ms. */
export const JOBS_AT_ONCE = 100

/** As BM25 has them: how soon a word that comes again counts no more, and how much a long text is worth less. */
const SATURATION = 1.2
const LENGTH_SHARE = 0.6
const USUAL_LENGTH = 120
/** The part of the largest weight that a text can reach; a title has all of it. */
const TEXT_SHARE = 0.45

/** Of what the rows of words hold; one of another form is made anew from the texts. */
const FORM = 2
export const FORM_KEY = 'search-form'

export const chunkOf = (no: number): number => Math.floor(no / 2 ** LOCAL_BITS)
const localOf = (no: number): number => no % 2 ** LOCAL_BITS
const pack = (no: number, weight: number): number => localOf(no) * 2 ** WEIGHT_BITS + weight

/** Calls `on` for each document of `posting`, with its weight from 0 to 1. */
export function eachDoc({ chunk, docs }: Posting, on: (no: number, weight: number) => void): void {
  const base = chunk * 2 ** LOCAL_BITS
  for (const packed of docs) on(base + (packed >>> WEIGHT_BITS), (packed & WEIGHT_MAX) / WEIGHT_MAX)
}

function weightOf(count: number, length: number, isTitle: boolean): number {
  const long = 1 - LENGTH_SHARE + LENGTH_SHARE * (length / USUAL_LENGTH)
  const weight = count / (count + SATURATION * long)
  return Math.max(1, Math.round(weight * (isTitle ? 1 : TEXT_SHARE) * WEIGHT_MAX))
}

/** What one transaction adds to and takes from the rows of words. */
class PostingChanges {
  readonly #rows = new Map<string, { term: string; chunk: number; add: Map<number, number>; remove: Set<number> }>()

  #row(term: string, no: number) {
    const chunk = chunkOf(no)
    const key = `${chunk} ${term}`
    const had = this.#rows.get(key)
    if (had !== undefined) return had
    const row = { term, chunk, add: new Map<number, number>(), remove: new Set<number>() }
    this.#rows.set(key, row)
    return row
  }

  add(term: string, no: number, weight: number): void {
    this.#row(term, no).add.set(localOf(no), pack(no, weight))
  }

  remove(term: string, no: number): void {
    const row = this.#row(term, no)
    row.add.delete(localOf(no))
    row.remove.add(localOf(no))
  }

  async write(db: Database): Promise<void> {
    const rows = [...this.#rows.values()]
    const had = await db.postings.bulkGet(rows.map(({ term, chunk }) => [term, chunk]))
    const put: Posting[] = []
    const empty: [string, number][] = []
    rows.forEach(({ term, chunk, add, remove }, i) => {
      const kept = Array.from(had[i]?.docs ?? []).filter((packed) => {
        const local = packed >>> WEIGHT_BITS
        return !add.has(local) && !remove.has(local)
      })
      const docs = Uint32Array.from([...kept, ...add.values()]).sort()
      if (docs.length === 0) empty.push([term, chunk])
      else put.push({ term, chunk, docs })
    })
    await db.postings.bulkPut(put)
    await db.postings.bulkDelete(empty)
  }
}

/** Works off some jobs. @returns whether there are more. */
export const workOff = (db: Database): Promise<boolean> =>
  db.transaction('rw', [db.meta, db.jobs, db.docs, db.postings, db.messages, db.chats], async () => {
    await beginAnew(db)
    const jobs = await db.jobs.orderBy('id').limit(JOBS_AT_ONCE).toArray()
    if (jobs.length === 0) return false
    const changes = new PostingChanges()
    for (const job of jobs) {
      if (job.kind !== 'remove') continue
      for (const term of job.terms) changes.remove(term, job.no)
      const beginnings = countBeginnings(job.terms.map((term) => [term, 1]))
      for (const beginning of beginnings.keys()) changes.remove(beginning, job.no)
    }
    await learn(db, jobs, changes)
    await changes.write(db)
    await db.jobs.bulkDelete(jobs.map(({ id }) => id!))
    return jobs.length === JOBS_AT_ONCE
  })

/** Lets go of an index of another form: all texts are to be learned again, the oldest first, for numbers tell what is newer. */
async function beginAnew(db: Database): Promise<void> {
  if ((await metaOf<number>(db, FORM_KEY)) === FORM) return
  await db.meta.put({ key: FORM_KEY, value: FORM })
  await Promise.all([db.jobs.clear(), db.docs.clear(), db.postings.clear()])
  const unfinished = await db.messages.where('status').anyOf('queued', 'running').primaryKeys()
  const left = new Set(unfinished.map(([chatId, id]) => `m:${chatId}:${id}`))
  const titles = (await db.chats.toCollection().primaryKeys()).map((id) => ({ id, key: `t:${id}` }))
  const messages = (await db.messages.toCollection().primaryKeys()).map(([chatId, id]) => ({
    id,
    key: `m:${chatId}:${id}`,
  }))
  // ids begin with their time
  const all = [...titles, ...messages].filter(({ key }) => !left.has(key)).sort((a, b) => (a.id < b.id ? -1 : 1))
  await db.jobs.bulkAdd(all.map(({ key }): IndexJob => ({ kind: 'add', key })))
}

/** Gives numbers to the documents that have none yet, and their words to `changes`. */
async function learn(db: Database, jobs: readonly IndexJob[], changes: PostingChanges): Promise<void> {
  const keys = new Set(jobs.flatMap((job) => (job.kind === 'add' ? [job.key] : [])))
  for (const { key } of await db.docs
    .where('key')
    .anyOf([...keys])
    .toArray())
    keys.delete(key)
  const texts = await textsOf(db, [...keys])
  const found = [...texts].map(([key, text]) => ({ key, ...countTerms(text) })).filter(({ length }) => length > 0)
  const docs: Doc[] = found.map(({ key }) => ({ key }))
  const numbers = await db.docs.bulkAdd(docs, { allKeys: true })
  found.forEach(({ key, counts, length }, i) => {
    const isTitle = key.startsWith('t:')
    for (const [term, count] of [...counts, ...countBeginnings(counts)]) {
      changes.add(term, numbers[i]!, weightOf(count, length, isTitle))
    }
  })
}

/** The texts of those that are still there. */
async function textsOf(db: Database, keys: readonly string[]): Promise<Map<string, string>> {
  const texts = new Map<string, string>()
  const [messages, titles] = [keys.filter((key) => key.startsWith('m:')), keys.filter((key) => key.startsWith('t:'))]
  for (const row of await db.messages.bulkGet(messages.map(messageKeyOf))) {
    if (row) texts.set(`m:${row.chatId}:${row.id}`, textOf(row))
  }
  for (const chat of await db.chats.bulkGet(titles.map((key) => key.slice(2)))) {
    if (chat) texts.set(`t:${chat.id}`, chat.title)
  }
  return texts
}
