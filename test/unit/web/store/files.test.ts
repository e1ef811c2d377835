/** Chats as files: ours come back whole, others' come in as they were, and what is hostile is left out and told. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  exportJsonl,
  exportMarkdown,
  importChats,
  type ImportReport,
  type LocalStore,
} from '../../../../clients/web/store/index.ts'
import { opened } from './fixtures.ts'

const WORDS = {
  roles: { user: 'You', assistant: 'Answer', system: 'System', tool: 'Tool' },
  untitled: 'Untitled',
  date: (ms: number) => `at ${ms}`,
}

const read = (store: LocalStore, value: unknown): Promise<ImportReport> =>
  importChats(store, new Blob([typeof value === 'string' ? value : JSON.stringify(value)]))

/** All that is kept, without what is of one device. */
async function kept(store: LocalStore): Promise<unknown> {
  const chats = (await store.chats()).sort((a, b) => (a.id < b.id ? -1 : 1))
  return Promise.all(
    chats.map(async ({ id }) => ({
      chat: await store.chat(id),
      selected: await store.selection(id),
      messages: (await store.messages(id)).map(({ hlc: _, ...row }) => row).sort((a, b) => (a.id < b.id ? -1 : 1)),
    })),
  )
}

async function filled(): Promise<LocalStore> {
  const { store } = await opened()
  const { id } = await store.createChat(
    { title: 'Tomatoes', system: 'Be short.', sampling: { seed: 4 }, pinned: true },
    'c1',
  )
  await store.insert([
    {
      id: 'q',
      chatId: id,
      parentId: undefined,
      role: 'user',
      status: 'done',
      parts: [{ type: 'text', text: 'When?' }],
    },
    {
      ...{
        id: 'a',
        chatId: id,
        parentId: 'q',
        role: 'assistant',
        status: 'done',
        model: 'skein-tiny',
        made: { node: 'desk' },
      },
      parts: [
        { type: 'thought', text: 'spring' },
        { type: 'text', text: 'In March.' },
        { type: 'call', call: { tool: 'a.b', arguments: '{}', state: 'ended', outcome: 'done', value: 3 } },
      ],
    },
    {
      ...{ id: 'b', chatId: id, parentId: 'q', role: 'assistant', status: 'stopped', createdAtMs: 5 },
      parts: [{ type: 'file', name: 'x.md', text: '```js\n1\n```' }],
    },
  ])
  await store.select(id, 'b')
  await store.createChat({}, 'c2')
  return store
}

describe('our own file', () => {
  test('comes back whole, and a second time changes nothing', async () => {
    const store = await filled()
    const file = await exportJsonl(store)
    const { store: other } = await opened({ seed: 2 })
    expect(await importChats(other, file)).toEqual({ format: 'skein', chats: 2, messages: 3, known: 0, left: [] })
    expect(await kept(other)).toEqual(await kept(store))
    expect(await importChats(other, file)).toEqual({ format: 'skein', chats: 0, messages: 0, known: 3, left: [] })
    expect(await kept(other)).toEqual(await kept(store))
    expect(await (await exportJsonl(other)).text()).toBe(await file.text())
  })

  test('writes over nothing: what has the same id and says something else gets a new one', async () => {
    const store = await filled()
    const file = await exportJsonl(store)
    const { store: other } = await opened({ seed: 2 })
    await other.createChat({ title: 'mine' }, 'c1')
    const part = { type: 'text', text: 'mine' } as const
    await other.insert([{ id: 'q', chatId: 'c1', parentId: undefined, role: 'user', parts: [part], status: 'done' }])
    expect(await importChats(other, file)).toMatchObject({ chats: 1, messages: 3, known: 0 })
    expect((await other.chat('c1'))?.title).toBe('mine')
    expect((await other.message('q'))?.parts).toEqual([part])
    const path = await other.path('a')
    expect(path.map(({ parts }) => parts.find(({ type }) => type === 'text'))).toEqual([
      { type: 'text', text: 'When?' },
      { type: 'text', text: 'In March.' },
    ])
  })

  test('brings back what was deleted here, as new', async () => {
    const store = await filled()
    const file = await exportJsonl(store, ['c1'])
    await store.deleteChats(['c1'])
    expect(await importChats(store, file)).toMatchObject({ chats: 1, messages: 3 })
    const chat = (await store.chats()).find(({ title }) => title === 'Tomatoes')!
    expect(chat.id).not.toBe('c1')
    expect(await store.messages(chat.id)).toHaveLength(3)
  })

  test('tells what it leaves out, and keeps the rest', async () => {
    const text = await (await exportJsonl(await filled())).text()
    const lines = text.trimEnd().split('\n')
    lines.splice(3, 0, 'no json', '{"type":"message","chatId":"c1"}', '{"type":"else"}')
    lines.push(
      JSON.stringify({
        type: 'message',
        id: 'z',
        chatId: 'c2',
        role: 'user',
        parts: [],
        status: 'done',
        createdAtMs: 1,
      }),
    )
    const { store } = await opened()
    expect(await read(store, lines.join('\n'))).toEqual({
      ...{ format: 'skein', chats: 2, messages: 3, known: 0 },
      left: [
        { reason: 'unreadable', count: 3, examples: ['4', '5', '6'] },
        { reason: 'homeless', count: 1, examples: ['10'] },
      ],
    })
  })

  test('of a newer version is refused', async () => {
    const { store } = await opened()
    await expect(read(store, '{"format":"skein-chats","version":2}\n')).rejects.toMatchObject({ code: 'invalid' })
  })
})

const openAi = {
  conversation_id: 'conv-1',
  ...{ title: 'Soup', create_time: 1_600_000_000.5, current_node: 'n4' },
  mapping: {
    root: { id: 'root', message: null, parent: null, children: ['n1'] },
    n1: {
      id: 'n1',
      parent: 'root',
      message: { author: { role: 'system' }, content: { content_type: 'text', parts: [''] } },
    },
    n2: {
      id: 'n2',
      parent: 'n1',
      message: { author: { role: 'user' }, create_time: 1_600_000_001, content: { parts: ['Hot?'] } },
    },
    n3: {
      id: 'n3',
      parent: 'n2',
      message: { author: { role: 'assistant' }, content: { parts: ['Yes.'] }, metadata: { model_slug: 'gpt' } },
    },
    n4: {
      id: 'n4',
      parent: 'n2',
      message: { author: { role: 'assistant' }, content: { parts: ['No.', { asset: 1 }] } },
    },
  },
}

describe('files of others', () => {
  test("OpenAI's conversations: the tree stays, what says nothing is passed over", async () => {
    const { store } = await opened()
    expect(await read(store, [openAi])).toEqual({
      ...{ format: 'openai', chats: 1, messages: 3, known: 0 },
      left: [{ reason: 'not-text', count: 1, examples: ['Soup'] }],
    })
    expect(await store.chat('conv-1')).toMatchObject({ title: 'Soup', createdAtMs: 1_600_000_000_500, localOnly: true })
    expect((await store.path('n4')).map(({ id }) => id)).toEqual(['n2', 'n4'])
    expect(await store.message('n3')).toMatchObject({ parentId: 'n2', model: 'gpt', role: 'assistant' })
    expect(await store.selection('conv-1')).toBe('n4')
    expect(await read(store, [openAi])).toMatchObject({ chats: 0, messages: 0, known: 3 })
  })

  test("Open WebUI's history and its older lists", async () => {
    const { store } = await opened()
    const content = '<details type="reasoning" done="true">\n<summary>Thought</summary>\nhm\n</details>\nYes.'
    const history = {
      currentId: 'b',
      messages: {
        a: { id: 'a', parentId: null, role: 'user', content: 'Hot?', timestamp: 1_700_000_000 },
        b: { id: 'b', parentId: 'a', role: 'assistant', content, model: 'llama', timestamp: 1_700_000_002 },
      },
    }
    const tree = {
      id: 'w1',
      title: 'Soup',
      pinned: true,
      chat: { models: ['llama'], params: { system: 'Short.' }, history },
    }
    const list = {
      id: 'w2',
      chat: {
        title: 'List',
        messages: [
          { role: 'user', content: 'x' },
          { role: 'assistant', content: 'y' },
        ],
      },
    }
    expect(await read(store, [tree, list, { nonsense: 1 }])).toMatchObject({
      format: 'open-webui',
      chats: 2,
      messages: 4,
      left: [{ reason: 'unreadable', count: 1 }],
    })
    expect(await store.chat('w1')).toMatchObject({ pinned: true, model: 'llama', system: 'Short.' })
    expect((await store.message('b'))?.parts).toEqual([
      { type: 'thought', text: 'hm' },
      { type: 'text', text: 'Yes.' },
    ])
    const [, second] = await store.messages('w2')
    expect(await store.path(second!.id)).toHaveLength(2)
  })

  test('that are none are refused, whatever they are', async () => {
    const { store } = await opened()
    for (const file of ['', 'null', '[]', '{}', '[[[[', '"text"', '\0']) {
      await expect(read(store, file)).rejects.toMatchObject({ code: 'invalid' })
    }
    expect(await store.chats()).toEqual([])
  })

  test('that are hostile are taken or left, without harm', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string(), fc.anything()), fc.anything(), async (mapping, chat) => {
        const { store } = await opened()
        const plain = (value: unknown): unknown => {
          try {
            return JSON.parse(JSON.stringify(value) ?? 'null')
          } catch {
            return null
          }
        }
        const hostile = [
          { id: '__proto__', title: 5, mapping: plain(mapping) },
          { id: 'x', chat: { history: { messages: plain(mapping) }, messages: plain(chat) } },
        ]
        const report = await read(store, hostile).catch((error: unknown) => error)
        expect(report).toHaveProperty('left')
        store.close()
      }),
      { numRuns: 40 },
    )
  })

  test('with rings and too many stay finite', async () => {
    const { store } = await opened()
    const ring = {
      title: 'ring',
      mapping: {
        a: { parent: 'b', message: { author: { role: 'user' }, content: { parts: ['a'] } } },
        b: { parent: 'a', message: { author: { role: 'user' }, content: { parts: ['b'] } } },
        c: { parent: 'd', message: null },
        d: { parent: 'c', message: null },
      },
      current_node: 'c',
    }
    expect(await read(store, ring)).toMatchObject({ messages: 2 })
    const [chat] = await store.chats()
    const rows = await store.messages(chat!.id)
    expect((await store.path(rows[0]!.id)).length).toBeLessThanOrEqual(2)
    await store.deleteMessage(rows[0]!.id)
    expect(await store.messages(chat!.id)).toEqual([])
  })
})

describe('Markdown', () => {
  test('is one branch, to be read', async () => {
    const store = await filled()
    expect(await exportMarkdown(store, 'c1', WORDS, 'a')).toBe(
      [
        ...['# Tomatoes', '> Be short.', '## You', `*at ${store.clock.nowMs()}*`, 'When?'],
        ...['## Answer (skein-tiny)', `*at ${store.clock.nowMs()}*`, 'In March.', '`a.b` done\n'],
      ].join('\n\n'),
    )
    expect(await exportMarkdown(store, 'c1', WORDS, 'b')).toContain('**x.md**\n\n````\n```js\n1\n```\n````')
    expect(await exportMarkdown(store, 'c2', WORDS)).toBe('# Untitled\n')
    expect(await exportMarkdown(store, 'unknown', WORDS)).toBeUndefined()
  })
})
