/** What leaves the device as files: all chats in a form that comes back whole, or one branch to be read. */
import { isFinal } from './check.ts'
import { metaFreeRow, OWN_FORMAT, OWN_VERSION } from './formats.ts'
import type { LocalStore } from './chat-store.ts'
import { DEPTH_MAX } from './limits.ts'
import { newestLeaf, pathTo } from './tree.ts'
import type { MessageRow, Role } from './types.ts'

/**
 * Chats with all their branches as lines of JSON (docs/CHATS.md): a head, then each chat before its messages. What is
 * still coming is written as stopped.
 */
export async function* exportLines(store: LocalStore, chatIds?: readonly string[]): AsyncGenerator<string> {
  const ids = chatIds ?? (await store.chats()).map(({ id }) => id)
  const head = {
    format: OWN_FORMAT,
    version: OWN_VERSION,
    exportedAtMs: Math.trunc(store.clock.nowMs()),
    chats: ids.length,
  }
  yield `${JSON.stringify(head)}\n`
  for (const id of ids) {
    const chat = await store.chat(id)
    if (chat === undefined) continue
    const { updatedAtMs: _, ...kept } = chat
    const selected = await store.selection(id)
    yield `${JSON.stringify({ type: 'chat', ...kept, ...(selected !== undefined && { selected }) })}\n`
    for (const row of await store.messages(id)) {
      const { status } = row
      yield `${JSON.stringify({ type: 'message', ...metaFreeRow(row), status: isFinal(status) ? status : 'stopped' })}\n`
    }
  }
}

/** All of `exportLines` as one file. */
export async function exportJsonl(store: LocalStore, chatIds?: readonly string[]): Promise<Blob> {
  const pieces: string[] = []
  for await (const line of exportLines(store, chatIds)) pieces.push(line)
  return new Blob(pieces, { type: 'application/jsonl' })
}

/** What stands over the messages of each role, in the person's language. */
export interface MarkdownWords {
  readonly roles: Readonly<Record<Role, string>>
  readonly untitled: string
  /** A moment as the person reads it. */
  date(ms: number): string
}

/** One branch of a chat as Markdown: the one that ends in `leafId`, or the newest; undefined when the chat is not there. */
export async function exportMarkdown(
  store: LocalStore,
  chatId: string,
  words: MarkdownWords,
  leafId?: string,
): Promise<string | undefined> {
  const chat = await store.chat(chatId)
  if (chat === undefined) return undefined
  const messages = await store.messages(chatId)
  const leaf = leafId ?? newestLeaf(messages)
  const path = leaf === undefined ? [] : pathTo(messages, leaf, DEPTH_MAX)
  const system = chat.system === '' ? [] : [`> ${chat.system.replaceAll('\n', '\n> ')}`]
  const title = chat.title.replace(/\s+/g, ' ').trim() || words.untitled
  return `${[`# ${title}`, ...system, ...path.map((row) => sectionOf(row, words))].join('\n\n')}\n`
}

function sectionOf(row: MessageRow, { roles, date }: MarkdownWords): string {
  const by = row.role === 'assistant' && row.model !== undefined ? `${roles.assistant} (${row.model})` : roles[row.role]
  const parts = row.parts.flatMap((part) => {
    if (part.type === 'text') return part.text.trim() === '' ? [] : [part.text.trim()]
    if (part.type === 'file') return [`**${part.name}**\n\n${fenced(part.text)}`]
    if (part.type === 'call') return [`\`${part.call.tool}\` ${part.call.outcome ?? ''}`.trim()]
    return [] // what a model thought is not what it said
  })
  return [`## ${by}`, `*${date(row.createdAtMs)}*`, ...parts].join('\n\n')
}

/** In a fence that is longer than any inside. */
function fenced(text: string): string {
  const longest = Math.max(2, ...(text.match(/`{3,}/g) ?? []).map(({ length }) => length))
  const fence = '`'.repeat(longest + 1)
  return `${fence}\n${text.replace(/\n$/, '')}\n${fence}`
}
