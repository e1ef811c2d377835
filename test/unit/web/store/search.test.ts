import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { queryTerms } from '../../../../clients/web/store/search.ts'
import { FORM_KEY } from '../../../../clients/web/store/search-index.ts'
import { snippetOf } from '../../../../clients/web/store/snippet.ts'
import { foldTerm, wordsOf } from '../../../../clients/web/store/terms.ts'
import type { LocalStore } from '../../../../clients/web/store/index.ts'
import { opened } from './fixtures.ts'

async function withTexts(texts: readonly string[], title = ''): Promise<{ store: LocalStore; chatId: string }> {
  const { store } = await opened()
  const { id: chatId } = await store.createChat({ title })
  await store.insert(
    texts.map((text, i) => ({
      ...{ id: `m${i}`, chatId, parentId: i === 0 ? undefined : `m${i - 1}`, role: 'user' as const },
      ...{ parts: [{ type: 'text' as const, text }], status: 'done' as const, createdAtMs: i },
    })),
  )
  return { store, chatId }
}

const found = async (store: LocalStore, query: string): Promise<(string | undefined)[]> =>
  (await store.search(query)).map(({ messageId }) => messageId)

/** Of a property, on busy cores. */
const PATIENCE_MS = 90_000

describe('searching', () => {
  test('finds all words, the last by its beginning, whatever the case and the accents', async () => {
    const { store } = await withTexts(['Le Café est fermé', 'A cafeteria opens', 'nothing here'])
    expect(await found(store, 'CAFE')).toEqual(['m0', 'm1'])
    expect(await found(store, 'café fer')).toEqual(['m0'])
    expect(await found(store, 'cafe zebra')).toEqual([])
    expect(await found(store, '  ,. ')).toEqual([])
    // only the last word may be the beginning of one
    expect(await found(store, 'caf est')).toEqual([])
  })

  test('finds words in scripts without spaces', async () => {
    const { store } = await withTexts(['我喜欢喝茶', 'お茶を飲みます', 'ฉันชอบดื่มชา'])
    expect(await found(store, '喜欢')).toEqual(['m0'])
    expect(await found(store, '飲み')).toEqual(['m1'])
  })

  test('ranks: titles first, then the rarer and denser', async () => {
    const { store, chatId } = await withTexts(
      ['tomato soup', `tomato ${'filler '.repeat(300)}`, 'soup soup of the day'],
      'Tomato plants',
    )
    const hits = await store.search('tomato')
    expect(hits.map(({ messageId }) => messageId)).toEqual([undefined, 'm0', 'm1'])
    expect(hits[0]).toMatchObject({ chatId, title: 'Tomato plants', snippet: 'Tomato plants', marks: [[0, 6]] })
  })

  test('learns what changes and forgets what is gone', async () => {
    const { store, chatId } = await withTexts(['alpha', 'beta'], 'old name')
    expect(await found(store, 'alpha')).toEqual(['m0'])
    await store.setChat(chatId, { title: 'new name' })
    expect(await store.search('old')).toEqual([])
    expect(await store.search('new')).toHaveLength(1)
    await store.insert([{ id: 'r', chatId, parentId: 'm1', role: 'assistant', parts: [], status: 'running' }])
    await store.update('r', { parts: [{ type: 'text', text: 'gamma half' }] })
    expect(await found(store, 'gamma')).toEqual([])
    await store.update('r', { status: 'done', parts: [{ type: 'text', text: 'gamma whole' }] })
    expect(await found(store, 'gamma')).toEqual(['r'])
    await store.deleteMessage('m0')
    expect(await found(store, 'alpha')).toEqual([])
    expect(await store.db.postings.where('[term+chunk]').between(['alpha', 0], ['alpha', Infinity]).count()).toBe(0)
    await store.deleteChats([chatId])
    await store.learned()
    expect([await store.db.postings.count(), await store.db.docs.count(), await store.db.jobs.count()]).toEqual([
      0, 0, 0,
    ])
  })

  test('finds by two and three letters all words that begin so, however many there are, and reads a row for all', async () => {
    // far more words with one beginning than rows of words are read for a longer one
    const letters = 'abcdefghijklmnopqrstuvwxyz'
    const many = Array.from({ length: 900 }, (_, i) => `ka${letters[i % 26]}${letters[Math.floor(i / 26) % 26]}${i}`)
    const { store, chatId } = await withTexts([many.join(' '), 'the kazoo plays', 'ka alone', 'ak'], 'Kayak')
    const texts = await store.search('ka')
    expect(new Set(texts.map(({ messageId }) => messageId))).toEqual(new Set([undefined, 'm0', 'm1', 'm2']))
    // the word itself is worth more than one that only begins so
    expect(texts[0]).toMatchObject({ messageId: 'm2', marks: [[0, 2]] })
    expect((await found(store, 'kaz')).sort()).toEqual(['m0', 'm1'])
    expect(await found(store, 'plays ka')).toEqual(['m1'])
    expect(await found(store, 'ka plays')).toEqual([])
    const rows = await store.db.postings.where('[term+chunk]').between(['ka*', 0], ['ka*', Infinity]).toArray()
    expect(rows.map(({ docs }) => docs.length)).toEqual([3])
    await store.deleteChats([chatId])
    expect(await found(store, 'ka')).toEqual([])
    expect(await store.db.postings.count()).toBe(0)
  })

  test('what an older page has learned is learned anew, and unfinished answers are not', async () => {
    const { store, chatId } = await withTexts(['kazoo', 'kayak'], 'Kayaks')
    await store.insert([
      {
        id: 'r',
        chatId,
        parentId: 'm1',
        role: 'assistant',
        parts: [{ type: 'text', text: 'kale' }],
        status: 'running',
      },
    ])
    await store.learned()
    // as it was written before beginnings were kept
    await store.db.meta.delete(FORM_KEY)
    const rows = await store.db.postings.toArray()
    await store.db.postings.bulkDelete(
      rows.filter(({ term }) => term.endsWith('*')).map(({ term, chunk }) => [term, chunk]),
    )
    await store.learned()
    expect(new Set(await found(store, 'ka'))).toEqual(new Set([undefined, 'm0', 'm1']))
    expect(await store.db.postings.toArray()).toHaveLength(rows.length)
    expect(await store.db.jobs.count()).toBe(0)
  })

  test('is told to stop', async () => {
    const { store } = await withTexts(['alpha'])
    await expect(store.search('alpha', { signal: AbortSignal.abort() })).rejects.toThrow('abort')
  })

  test(
    'takes any query',
    async () => {
      const { store } = await withTexts(['alpha'])
      await fc.assert(
        fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 500 }), async (query) => {
          expect(Array.isArray(await store.search(query))).toBe(true)
        }),
        { numRuns: 25 },
      )
      expect(queryTerms('a b a').join(' ')).toBe('b a')
    },
    PATIENCE_MS,
  )
})

describe('words', () => {
  test('lie where they are said to lie, in order and apart', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
        let behind = 0
        for (const { term, from, to } of wordsOf(text)) {
          expect(from).toBeGreaterThanOrEqual(behind)
          expect(foldTerm(text.slice(from, to))).toBe(term)
          behind = to
        }
        expect(behind).toBeLessThanOrEqual(text.length)
      }),
    )
  })
})

describe('a snippet', () => {
  test('shows where the words are close together, cut at words', () => {
    const text = `${'some filler words '.repeat(40)}the red kite\nflew over the red barn ${'and more of it '.repeat(40)}`
    const { snippet, marks } = snippetOf(text, ['red', 'ki'])
    expect(snippet.startsWith('…')).toBe(true)
    expect(marks.map(([from, to]) => snippet.slice(from, to))).toEqual(['red', 'kite', 'red'])
    expect(snippet).not.toContain('\n')
  })

  test('its marks are in it, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('kite', 'red', '\n', '𝔘', 'x'.repeat(90), ' '), { maxLength: 120 }),
        (pieces) => {
          const { snippet, marks } = snippetOf(pieces.join(' '), ['red', 'ki'])
          for (const [from, to] of marks) expect(['red', 'kite']).toContain(snippet.slice(from, to))
          expect(snippet.isWellFormed()).toBe(true)
          expect(snippet.length).toBeLessThanOrEqual(163)
        },
      ),
    )
  })
})
