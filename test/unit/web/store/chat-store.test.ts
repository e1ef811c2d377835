import { describe, expect, test } from 'vitest'
import { StoreError, type MessageRow, type NewMessage } from '../../../../clients/web/store/index.ts'
import { opened, seededRandom, TestClock } from './fixtures.ts'

const message = (id: string, chatId: string, parentId?: string, text = id): NewMessage => ({
  ...{ id, chatId, parentId, role: 'user', parts: [{ type: 'text', text }], status: 'done' },
})

const refusal = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof StoreError ? error.code : String(error)),
  )

describe('chats', () => {
  test('begin with the defaults, local only, and keep what is set', async () => {
    const { store, clock } = await opened()
    const made = await store.createChat({ title: 'Tomatoes' })
    expect(made).toMatchObject({ title: 'Tomatoes', localOnly: true, pinned: false, createdAtMs: clock.ms })
    await store.setChat(made.id, { folder: 'Garden', sampling: { temperature: 0.2 } })
    expect(await store.chat(made.id)).toEqual({ ...made, folder: 'Garden', sampling: { temperature: 0.2 } })
    expect(await store.chats()).toEqual([
      expect.objectContaining({ id: made.id, title: 'Tomatoes', folder: 'Garden', updatedAtMs: clock.ms }),
    ])
  })

  test('stand in the order of their last message', async () => {
    const { store, clock } = await opened()
    const a = await store.createChat()
    clock.move(1000)
    const b = await store.createChat()
    expect((await store.chats()).map(({ id }) => id)).toEqual([b.id, a.id])
    clock.move(1000)
    await store.insert([message('m', a.id)])
    expect((await store.chats()).map(({ id }) => id)).toEqual([a.id, b.id])
  })

  test('that are deleted are gone with everything, also from the disk', async () => {
    const { store } = await opened()
    const { id } = await store.createChat({ title: 'secret title' })
    await store.insert([message('m', id, undefined, 'the secret word'), message('n', id, 'm')])
    await store.learned()
    await store.select(id, 'n')
    await store.setDraft(id, 'secret draft')
    await store.asks.put({ id: 'n', chatId: id, order: 1, body: { secret: true } })
    await store.deleteChats([id])
    await store.learned()
    const { db } = store
    const kept = await Promise.all(db.tables.filter(({ name }) => name !== 'meta').map((table) => table.toArray()))
    expect(JSON.stringify(kept)).not.toContain('secret')
    expect(await db.gone.count()).toBe(1)
    expect(await store.chat(id)).toBeUndefined()
    expect(await refusal(store.setChat(id, { title: 'again' }))).toBe('not-found')
    expect(await refusal(store.insert([message('o', id)]))).toBe('not-found')
  })

  test('refuse what has no form or is too large', async () => {
    const { store } = await opened()
    const { id } = await store.createChat()
    expect(await refusal(store.setChat(id, { title: 'x'.repeat(201) }))).toBe('invalid')
    expect(await refusal(store.setChat(id, { nonsense: 1 } as never))).toBe('invalid')
    expect(await refusal(store.createChat({}, 'no/path'))).toBe('invalid')
    expect(await refusal(store.createChat({}, id))).toBe('exists')
    expect(await refusal(store.insert([message('m', id, undefined, 'x'.repeat(2_000_001))]))).toBe('invalid')
    expect(await refusal(store.insert([message('m', id, 'm')]))).toBe('invalid')
    expect(await store.messages(id)).toEqual([])
  })

  test('tombstones are collected after half a year', async () => {
    const { store, clock } = await opened()
    const { id } = await store.createChat()
    await store.deleteChats([id])
    clock.move(179 * 86_400_000)
    expect(await store.collect()).toBe(0)
    clock.move(2 * 86_400_000)
    expect(await store.collect()).toBe(1)
  })
})

describe('messages', () => {
  test('are a tree: editing makes siblings, and a path goes from the start to a leaf', async () => {
    const { store, clock } = await opened()
    const { id } = await store.createChat()
    for (const [name, parent] of [['a'], ['b', 'a'], ['b2', 'a'], ['c', 'b2']] as const) {
      clock.move(1)
      await store.insert([message(name, id, parent)])
    }
    expect((await store.path('c')).map((row) => row.id)).toEqual(['a', 'b2', 'c'])
    expect(await store.path('unknown')).toEqual([])
    await store.deleteMessage('b2')
    expect((await store.messages(id)).map((row) => row.id)).toEqual(['a', 'b'])
  })

  test('are kept all or none, and never written over', async () => {
    const { store } = await opened()
    const { id } = await store.createChat()
    await store.insert([message('a', id)])
    expect(await refusal(store.insert([message('b', id), message('a', id, undefined, 'other')]))).toBe('exists')
    await store.insert([message('a', id), message('b', id, 'a')])
    expect((await store.messages(id)).map(({ parts }) => parts[0])).toEqual([
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ])
  })

  test('change while they come, and not afterwards', async () => {
    const { store } = await opened()
    const { id } = await store.createChat()
    await store.insert([{ ...message('a', id), role: 'assistant', parts: [], status: 'queued' }])
    expect((await store.unfinished()).map((row) => row.id)).toEqual(['a'])
    expect(await store.update('a', { status: 'running', parts: [{ type: 'text', text: 'On' }] })).toBe(true)
    expect(
      await store.update('a', { status: 'done', parts: [{ type: 'text', text: 'Once' }], made: { node: 'desk' } }),
    ).toBe(true)
    expect(await store.update('a', { parts: [] })).toBe(false)
    expect(await store.update('unknown', { parts: [] })).toBe(false)
    expect(await store.message('a')).toMatchObject({
      status: 'done',
      parts: [{ text: 'Once' }],
      made: { node: 'desk' },
    })
    expect(await store.unfinished()).toEqual([])
  })

  test('that failed without a text may be asked for again in their place', async () => {
    const { store } = await opened()
    const { id } = await store.createChat()
    const failed = {
      ...message('a', id),
      role: 'assistant',
      parts: [],
      status: 'failed',
      error: { kind: 'no-node' },
    } as const
    await store.insert([failed, { ...failed, id: 'b', parts: [{ type: 'text', text: 'half' }] }])
    expect(await store.update('a', { status: 'queued' })).toBe(true)
    expect(await store.update('b', { status: 'queued' })).toBe(false)
    expect(await store.message('a')).not.toHaveProperty('error')
  })
})

describe('several tabs', () => {
  test('write to the same chat without losing each other', async () => {
    const { store, factory, clock } = await opened()
    const { store: other } = await opened({ factory, clock, seed: 2 })
    expect(other.deviceId).toBe(store.deviceId)
    const { id } = await store.createChat()
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? store : other).insert([message(`m${i}`, id)])),
    )
    const rows = await store.messages(id)
    expect(rows).toHaveLength(20)
    expect(new Set(rows.map(({ hlc }) => hlc)).size).toBe(20)
  })

  test('hear of what another writes', async () => {
    const { store, factory, clock } = await opened()
    const { store: other } = await opened({ factory, clock, seed: 2 })
    const { id } = await store.createChat()
    const arrived = Promise.withResolvers<readonly MessageRow[]>()
    const stop = other.watchMessages(id, (rows) => {
      if (rows.length > 0) arrived.resolve(rows)
    })
    await store.insert([message('m', id)])
    expect((await arrived.promise).map((row) => row.id)).toEqual(['m'])
    stop()
  })
})

describe('a chat that is watched while an answer grows', () => {
  test('reads what grows, not what is long and final, and misses no change of another tab', async () => {
    const { store, clock, factory } = await opened()
    const { store: other } = await opened({ factory, clock, seed: 2 })
    const { id } = await store.createChat()
    await store.insert([
      message('m0', id),
      message('m1', id),
      message('m2', id),
      { ...message('z', id), status: 'running' },
    ])
    const textsOf = (rows: readonly MessageRow[]): string[] =>
      rows.map(({ parts: [part] }) => (part?.type === 'text' ? part.text : ''))
    let seen: readonly MessageRow[] = []
    let look = (): void => {}
    const until = (is: () => boolean): Promise<void> =>
      new Promise((resolve) => {
        look = () => is() && resolve()
        look()
      })
    let read = 0
    const count = (row: MessageRow): MessageRow => {
      read++
      return row
    }
    const stop = other.watchMessages(id, (rows) => {
      seen = rows
      look()
    })
    await until(() => seen.length === 4)
    other.db.messages.hook('reading', count)
    for (let i = 1; i <= 5; i++) {
      await store.update('z', { parts: [{ type: 'text', text: `grown ${i}` }] })
      await until(() => textsOf(seen)[3] === `grown ${i}`)
    }
    // one row a save, and not four
    expect(read).toBeLessThanOrEqual(5 * 2)
    other.db.messages.hook('reading').unsubscribe(count)
    const before = seen[0]
    // a change of what is final, of an older time than all that is known, as another device may send it
    await store.update('z', { status: 'done', parts: [{ type: 'text', text: 'whole' }] })
    await until(() => seen[3]?.status === 'done')
    expect(textsOf(seen)[3]).toBe('whole')
    expect(before).toEqual(seen[0])
    await store.receive([
      { kind: 'message', row: { ...seen[1]!, hlc: seen[3]!.hlc, parts: [{ type: 'text', text: 'new' }] } },
    ])
    await until(() => textsOf(seen)[1] === 'new')
    await store.insert([{ ...message('zz', id), status: 'running' }])
    await until(() => seen.length === 5)
    await store.update('zz', { parts: [{ type: 'text', text: 'b grows' }] })
    await until(() => textsOf(seen)[4] === 'b grows')
    await store.deleteMessage('zz')
    await until(() => seen.length === 4)
    await store.deleteChats([id])
    await until(() => seen.length === 0)
    stop()
  })
})

describe('what is of the device alone', () => {
  test('selection, drafts and asks', async () => {
    const { store } = await opened()
    await store.select('c', 'leaf')
    await store.setDraft('', 'half a thought')
    expect([await store.selection('c'), await store.draft(''), await store.draft('c')]).toEqual([
      'leaf',
      'half a thought',
      '',
    ])
    await store.setDraft('', '')
    expect(await store.draft('')).toBe('')
    await store.asks.put({ id: 'b', chatId: 'c', order: 2, body: null })
    await store.asks.put({ id: 'a', chatId: 'c', order: 1, body: { model: 'x' } })
    expect((await store.asks.all()).map(({ id }) => id)).toEqual(['a', 'b'])
    await store.asks.delete('a')
    expect(await store.asks.get('a')).toBeUndefined()
  })
})

describe('health', () => {
  test('counts, and asks the browser once, when there is something to lose', async () => {
    let asked = 0
    const { store } = await opened({
      storage: {
        health: () => Promise.resolve({ isDurable: false, usedBytes: 1, quotaBytes: 2 }),
        ask: () => Promise.resolve(++asked === 1),
      },
    })
    expect(await store.askToKeep()).toBe('may-be-evicted')
    const { id } = await store.createChat()
    await store.insert([message('m', id)])
    expect(await store.askToKeep()).toBe('kept')
    await store.askToKeep()
    expect(asked).toBe(1)
    expect(await store.health()).toMatchObject({ chats: 1, messages: 1, usedBytes: 1, quotaBytes: 2 })
  })

  test('a full disk is told as such, and nothing of the write is kept', async () => {
    const { store } = await opened()
    const { id } = await store.createChat()
    let told = 0
    store.onFull(() => told++)
    const put = store.db.messages.bulkPut.bind(store.db.messages)
    store.db.messages.bulkPut = (() => {
      throw new DOMException('no room', 'QuotaExceededError')
    }) as never
    expect(await refusal(store.insert([message('m', id)]))).toBe('full')
    store.db.messages.bulkPut = put
    expect(told).toBe(1)
    expect((await store.health()).fullSinceMs).toBeDefined()
    expect(await store.messages(id)).toEqual([])
  })

  test('what a newer page has written is not touched', async () => {
    const { store, factory } = await opened()
    await store.db.meta.put({ key: 'format', value: 99 })
    store.close()
    expect(await refusal(opened({ factory, clock: new TestClock() }))).toBe('newer')
    expect(seededRandom(3).bytes(2)).toHaveLength(2)
  })
})
