/** One chat as a file: Markdown to be read, or lines of JSON that come back whole. Loaded when it is wanted first. */
import { saveFile } from '../platform/index.ts'
import { exportJsonl, exportMarkdown, StoreError, type LocalStore } from '../store/index.ts'
import { showToast } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { ExportForm } from './ports.ts'

const SLUG_LENGTH_MAX = 48
const ENDINGS: Readonly<Record<ExportForm, string>> = { markdown: 'md', jsonl: 'jsonl' }

/** @throws StoreError `not-found`. */
export async function saveChat(store: LocalStore, chatId: string, form: ExportForm): Promise<void> {
  const { name, contents } = await chatFile(store, chatId, form)
  saveFile(name, contents)
  showToast({ text: words.peek().chats.exported(format.bytes(contents.size)), tone: 'good' })
}

/** @throws StoreError `not-found`. */
export async function chatFile(
  store: LocalStore,
  chatId: string,
  form: ExportForm,
): Promise<{ readonly name: string; readonly contents: Blob }> {
  const chat = await store.chat(chatId)
  if (chat === undefined) throw new StoreError('not-found', words.peek().chats.gone)
  const contents = form === 'jsonl' ? await exportJsonl(store, [chatId]) : await markdownOf(store, chatId)
  const day = new Date(store.clock.nowMs()).toISOString().slice(0, 10)
  const slug = slugOf(chat.title)
  return { name: `skein-chat-${slug === '' ? '' : `${slug}-`}${day}.${ENDINGS[form]}`, contents }
}

/** The branch that is looked at. */
async function markdownOf(store: LocalStore, chatId: string): Promise<Blob> {
  const say = words.peek().chats
  const roles = { user: say.you, assistant: say.assistant, system: say.systemPrompt, tool: say.devices }
  const selected = await store.selection(chatId)
  // another device may have deleted what was looked at here
  const isThere = selected !== undefined && (await store.message(selected)) !== undefined
  const told = { roles, untitled: say.untitled, date: (ms: number) => format.dateTime(ms) }
  const text = await exportMarkdown(store, chatId, told, isThere ? selected : undefined)
  return new Blob([text ?? ''], { type: 'text/markdown' })
}

/** What every file system takes: letters, digits and hyphens. */
function slugOf(title: string): string {
  const kept = title
    .normalize('NFC')
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{M}\p{N}]+/gu, '-')
  const letters = [...kept]
  const cut = letters.slice(0, SLUG_LENGTH_MAX).join('')
  // whole words
  const whole = letters.length > SLUG_LENGTH_MAX && cut.includes('-') ? cut.replace(/-[^-]*$/, '') : cut
  return whole.replaceAll(/^-+|-+$/g, '')
}
