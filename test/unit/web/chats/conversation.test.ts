import { expect, test } from 'vitest'
import { Conversation } from '../../../../clients/web/chats/conversation.ts'
import { saidBy } from '../../../../clients/web/chats/parts.ts'
import type { ChatsPorts } from '../../../../clients/web/chats/ports.ts'
import { DEFAULTS, type ChatSettings } from '../../../../clients/web/store/index.ts'
import { openedPorts, until } from './fixtures.ts'

const start = (ports: ChatsPorts, id?: string): Conversation =>
  new Conversation({
    ...{ ports, settings: DEFAULTS as ChatSettings, modelOf: () => 'm' },
    ...(id !== undefined && { id }),
  })

const said = (conversation: Conversation): string[] => conversation.path.value.map(({ parts }) => saidBy(parts))

test('a chat is kept with its first message, and not before', async () => {
  const { ports, store, visited } = await openedPorts()
  const conversation = start(ports)
  await conversation.set({ localOnly: false })
  expect(await store.chats()).toEqual([])
  conversation.type('  # Hello there\nfriend ')
  await conversation.sendDraft()
  await until(() => said(conversation).length === 2)
  expect(said(conversation)).toEqual(['# Hello there\nfriend', 'about # Hello there\nfriend'])
  expect(await store.chat(conversation.id)).toMatchObject({ title: 'Hello there', model: 'm', localOnly: false })
  expect(visited).toEqual([`/chat/${conversation.id}`])
  expect(conversation.draft.value).toBe('')
})

test('an edit is a branch beside the message, and the way back shows the old one as it was left', async () => {
  const { ports } = await openedPorts()
  const conversation = start(ports)
  await conversation.send('one')
  await until(() => said(conversation).length === 2)
  await conversation.send('two')
  await until(() => said(conversation).length === 4)
  const [first] = conversation.path.value
  await conversation.edit(first!.id, 'uno')
  await until(() => said(conversation)[0] === 'uno')
  expect(said(conversation)).toEqual(['uno', 'about uno'])
  const versions = conversation.versionsOf(conversation.path.value[0]!.id)
  expect(versions.map(({ parts }) => saidBy(parts))).toEqual(['one', 'uno'])
  await conversation.show(first!.id)
  await until(() => said(conversation)[0] === 'one')
  expect(said(conversation)).toEqual(['one', 'about one', 'two', 'about two'])
})

test('a branch is come back to at the leaf that was looked at, not at the newest', async () => {
  const { ports } = await openedPorts()
  const conversation = start(ports)
  await conversation.send('one')
  await until(() => said(conversation).length === 2)
  const [question, answer] = conversation.path.value
  await conversation.regenerate(answer!.id)
  await until(() => said(conversation)[1] === 'again')
  await conversation.show(answer!.id)
  await until(() => said(conversation)[1] === 'about one')
  await conversation.edit(question!.id, 'other')
  await until(() => said(conversation)[0] === 'other')
  await conversation.show(question!.id)
  await until(() => said(conversation)[0] === 'one')
  expect(said(conversation)).toEqual(['one', 'about one'])
})

test('another model answers again without becoming that of the chat', async () => {
  const { ports, store, answers } = await openedPorts()
  const conversation = start(ports)
  await conversation.send('one')
  await until(() => said(conversation).length === 2)
  await conversation.regenerate(conversation.path.value[1]!.id, 'larger')
  expect(answers.asked).toEqual(['larger'])
  expect(await store.chat(conversation.id)).toMatchObject({ model: 'm' })
})

test('files stay with a message that is edited', async () => {
  const { ports } = await openedPorts()
  const conversation = start(ports)
  conversation.addFiles([{ attachment: { name: 'a.txt', text: 'A' } }, { name: 'b.png', refusal: 'not-text' }])
  expect(conversation.refused.value).toEqual([{ name: 'b.png', refusal: 'not-text' }])
  expect(conversation.canSend()).toBe(true)
  conversation.type('look')
  await conversation.sendDraft()
  await until(() => said(conversation).length === 2)
  expect(conversation.attachments.value).toEqual([])
  await conversation.edit(conversation.path.value[0]!.id, 'look again')
  await until(() => said(conversation)[0] === 'look again')
  expect(conversation.path.value[0]!.parts[0]).toEqual({ type: 'file', name: 'a.txt', text: 'A' })
})

test('what could not be sent is in the box again', async () => {
  const { ports, answers } = await openedPorts()
  const conversation = start(ports)
  answers.send = () => Promise.reject(new TypeError('full'))
  conversation.type('precious')
  conversation.addFiles([{ attachment: { name: 'a.txt', text: 'A' } }])
  await expect(conversation.sendDraft()).rejects.toThrow('full')
  expect(conversation.draft.value).toBe('precious')
  expect(conversation.attachments.value).toHaveLength(1)
})

test('a draft is kept a moment after the last key, and at once when the page is left', async () => {
  const { ports, store, clock } = await openedPorts()
  const conversation = start(ports)
  conversation.type('hel')
  conversation.type('hello')
  expect(await store.draft('')).toBe('')
  clock.move(400)
  await expect.poll(() => store.draft('')).toBe('hello')
  conversation.type('hello you')
  conversation.close()
  await expect.poll(() => store.draft('')).toBe('hello you')
  const again = start(ports)
  await until(() => again.draft.value === 'hello you')
})

test('what is typed in the moment in which the page is left is there again', async () => {
  const { ports, store } = await openedPorts()
  const setDraft = store.setDraft.bind(store)
  // the browser gives the database no time any more
  store.setDraft = () => new Promise(() => undefined)
  const conversation = start(ports)
  conversation.type('half a thought')
  conversation.leave()
  store.setDraft = setDraft
  const again = start(ports)
  await until(() => again.draft.value === 'half a thought')
  await expect.poll(() => store.draft('')).toBe('half a thought')
  // it is taken once, by its own chat
  await store.setDraft('', '')
  const third = start(ports)
  await expect.poll(() => store.draft('')).toBe('')
  expect(third.draft.value).toBe('')
})

test('a message that was found is shown, wherever in the tree it is', async () => {
  const { ports } = await openedPorts()
  const conversation = start(ports)
  await conversation.send('one')
  await until(() => said(conversation).length === 2)
  const [question] = conversation.path.value
  await conversation.edit(question!.id, 'uno')
  await until(() => said(conversation)[0] === 'uno')
  conversation.close()
  const again = start(ports, conversation.id)
  await again.reveal(question!.id)
  await until(() => said(again)[0] === 'one')
  expect(again.wanted.value).toBe(question!.id)
})

test('a chat that is not on this device is said to be gone', async () => {
  const { ports, store } = await openedPorts()
  const missing = start(ports, store.newId())
  await until(() => missing.state.value === 'gone')
  expect(missing.settings.value).toBeUndefined()
})

test('the last message of the user is the one that is edited from the box', async () => {
  const { ports } = await openedPorts()
  const conversation = start(ports)
  expect(conversation.editLast()).toBe(false)
  await conversation.send('one')
  await until(() => said(conversation).length === 2)
  expect(conversation.editLast()).toBe(true)
  expect(conversation.editing.value).toBe(conversation.path.value[0]!.id)
  expect(conversation.lastAnswer()).toBe('about one')
})
