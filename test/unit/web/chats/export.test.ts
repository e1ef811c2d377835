/** One chat leaves the device as a file: its branch to be read, or all of it to come back. */
import { expect, it, onTestFinished } from 'vitest'
import { chatFile } from '../../../../clients/web/chats/export-chat.ts'
import { importChats } from '../../../../clients/web/store/index.ts'
import { speak } from '../../../../clients/web/words/index.ts'
import { opened } from '../store/fixtures.ts'

async function withBranches() {
  const { store, clock } = await opened({ seed: 4711 })
  onTestFinished(() => store.close())
  const chat = await store.createChat({ title: 'Tomates : quand semer ?', system: 'Be short.' })
  const say = async (role: 'user' | 'assistant', text: string, parentId?: string): Promise<string> => {
    clock.move(1000)
    const id = store.newId()
    const parts = [{ type: 'text' as const, text }]
    await store.insert([{ id, chatId: chat.id, parentId, role, parts, status: 'done', model: 'tiny' }])
    return id
  }
  const question = await say('user', 'When do I sow?')
  const first = await say('assistant', 'In March.', question)
  const second = await say('assistant', 'In April.', question)
  return { store, chat, first, second }
}

it('as Markdown: the branch that shows', async () => {
  const { store, chat, first } = await withBranches()
  await store.select(chat.id, first)
  const { name, contents } = await chatFile(store, chat.id, 'markdown')
  const text = await contents.text()
  expect(name).toMatch(/^skein-chat-tomates-quand-semer-\d{4}-\d\d-\d\d\.md$/)
  expect(text).toContain('# Tomates : quand semer ?\n\n> Be short.\n\n## You')
  expect(text).toContain('In March.')
  expect(text).not.toContain('In April.')
})

it('as Markdown: the newest branch where the one that was looked at is gone, in the language of the page', async () => {
  const { store, chat, first } = await withBranches()
  await store.select(chat.id, first)
  await store.deleteMessage(first)
  await speak('fr')
  onTestFinished(() => speak('en'))
  const text = await (await chatFile(store, chat.id, 'markdown')).contents.text()
  expect(text).toContain('## Vous')
  expect(text).toContain('In April.')
})

it('as lines of JSON: the one chat, with all branches, and it comes back', async () => {
  const { store, chat } = await withBranches()
  await store.createChat({ title: 'Another' })
  const { name, contents } = await chatFile(store, chat.id, 'jsonl')
  expect(name).toMatch(/\.jsonl$/)
  const { store: other } = await opened({ seed: 4712 })
  onTestFinished(() => other.close())
  await importChats(other, contents)
  expect((await other.chats()).map(({ title }) => title)).toEqual(['Tomates : quand semer ?'])
  expect(await other.messages(chat.id)).toHaveLength(3)
})

it('with a name that any disk takes, also of a chat without a title', async () => {
  const { store } = await withBranches()
  const odd = await store.createChat({ title: ' ../..\\:*? ' })
  expect((await chatFile(store, odd.id, 'markdown')).name).toMatch(/^skein-chat-\d{4}-\d\d-\d\d\.md$/)
})

it('refuses a chat that is not there', async () => {
  const { store } = await withBranches()
  await expect(chatFile(store, 'gone', 'jsonl')).rejects.toMatchObject({ code: 'not-found' })
})
