import { expect, test } from 'vitest'
import { Library, UNDO_MS } from '../../../../clients/web/chats/library.ts'
import { openedPorts, until } from './fixtures.ts'

const titles = (library: Library): string[] =>
  library.rows.value.map((row) => (row.type === 'chat' ? row.chat.title : `[${row.heading.kind}]`))

test('chats show as they are changed, from wherever', async () => {
  const { ports, store } = await openedPorts()
  const library = new Library(ports)
  expect(library.chats.value).toBeUndefined()
  const { id } = await store.createChat({ title: 'a' })
  await until(() => titles(library).includes('a'))
  await library.set(id, { folder: 'work' })
  await until(() => titles(library).includes('[folder]'))
  expect(library.folders.value).toEqual(['work'])
  library.toggleFolder('work')
  expect(titles(library)).toEqual(['[folder]'])
  // another page of the same device has it closed too
  const other = new Library(ports)
  await until(() => other.chats.value !== undefined)
  expect(titles(other)).toEqual(['[folder]'])
  library.close()
  other.close()
})

test('a deleted chat is hidden at once, and gone when nobody takes it back', async () => {
  const { ports, store, clock } = await openedPorts()
  const library = new Library(ports)
  const { id } = await store.createChat({ title: 'a' })
  await until(() => titles(library).length === 2)
  await library.remove(id)
  expect(titles(library)).toEqual([])
  expect(await store.chat(id)).toBeDefined()
  library.undoDelete()
  expect(titles(library)).toEqual(['[age]', 'a'])
  clock.move(UNDO_MS)
  expect(await store.chat(id)).toBeDefined()
  await library.remove(id)
  clock.move(UNDO_MS)
  await expect.poll(() => store.chat(id)).toBeUndefined()
  library.close()
})

test('a second deletion does the first, and leaving the page the last', async () => {
  const { ports, store } = await openedPorts()
  const library = new Library(ports)
  const [a, b] = [await store.createChat({ title: 'a' }), await store.createChat({ title: 'b' })]
  await until(() => library.chats.value?.length === 2)
  await library.remove(a.id)
  await library.remove(b.id)
  expect(await store.chat(a.id)).toBeUndefined()
  expect(await store.chat(b.id)).toBeDefined()
  library.close()
  await expect.poll(() => store.chat(b.id)).toBeUndefined()
})

test('what was to be deleted when the page was left stays hidden, and is deleted by the next one', async () => {
  const { ports, store, clock } = await openedPorts()
  const left = new Library(ports)
  const { id } = await store.createChat({ title: 'a' })
  await until(() => left.chats.value?.length === 1)
  await left.remove(id)
  const next = new Library(ports)
  await until(() => next.chats.value !== undefined)
  expect(next.chats.value).toEqual([])
  // taken back where it was deleted: shown again here as well
  left.undoDelete()
  clock.move(UNDO_MS)
  expect(next.chats.value).toHaveLength(1)
  await left.remove(id)
  const last = new Library(ports)
  clock.move(UNDO_MS)
  await expect.poll(() => store.chat(id)).toBeUndefined()
  for (const library of [left, next, last]) library.close()
})

test('a search looks once, for what was typed last', async () => {
  const { ports, store, clock } = await openedPorts()
  const { id } = await store.createChat({ title: 'Weather in the greenhouse' })
  const library = new Library(ports)
  const queries: string[] = []
  const search = store.search.bind(store)
  store.search = (query, options) => {
    queries.push(query)
    return search(query, options)
  }
  library.find('gre')
  library.find('greenh')
  expect(library.search.value).toEqual({ query: 'greenh', hits: undefined })
  clock.move(80)
  await until(() => library.search.value?.hits !== undefined)
  expect(queries).toEqual(['greenh'])
  expect(library.search.value?.hits?.map(({ chatId }) => chatId)).toEqual([id])
  library.find('  ')
  expect(library.search.value).toBeUndefined()
  library.close()
})
