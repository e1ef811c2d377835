/**
 * Files of chats into the store. Nothing that is here is written over: what is the same is passed over, what only has
 * the same id gets a new one. What cannot be taken is left out and told; the rest is kept.
 */
import { isFinal, isId, isRecord, messageOf, type Fields } from './check.ts'
import type { LocalStore } from './chat-store.ts'
import {
  CHATS_MAX,
  CHAT_MESSAGES_MAX,
  isOpenAi,
  isOpenWebUi,
  openAiChatOf,
  openWebUiChatOf,
  OWN_FORMAT,
  OWN_VERSION,
  ownChatOf,
  ownMessageOf,
  type Left,
  type LeftReason,
  type PlainMessage,
  type ReadChat,
} from './formats.ts'
import { StoreError } from './errors.ts'
import type { Op } from './fold.ts'
import { SETTING_NAMES } from './check.ts'

/** Of a file of ours, which is read line by line, and of another, which has to be held whole; in bytes. */
const OWN_BYTES_MAX = 2 ** 31
const OTHER_BYTES_MAX = 512 * 2 ** 20
const LINE_MAX = 16_000_000
const HEAD_BYTES = 512
const EXAMPLES = 3
/** Messages of one transaction. */
const AT_ONCE = 500

export interface LeftOut {
  readonly reason: LeftReason
  readonly count: number
  /** Titles of chats or numbers of lines, the first few. */
  readonly examples: readonly string[]
}

export interface ImportReport {
  readonly format: 'skein' | 'openai' | 'open-webui'
  /** Chats that are new here. */
  readonly chats: number
  /** Messages that are new here. */
  readonly messages: number
  /** Messages that were here already. */
  readonly known: number
  readonly left: readonly LeftOut[]
}

export interface ImportOptions {
  readonly signal?: AbortSignal
  /** Chats that have been looked at so far. */
  readonly onProgress?: (chats: number) => void
}

/** @throws StoreError `invalid` when nothing of the file is known, `full`; the reason of the signal: what came before is kept. */
export async function importChats(store: LocalStore, file: Blob, options: ImportOptions = {}): Promise<ImportReport> {
  const importing = new Import(store, options)
  const head = await file.slice(0, HEAD_BYTES).text()
  const isOwn = head.trimStart().startsWith(`{"format":"${OWN_FORMAT}"`)
  if (file.size > (isOwn ? OWN_BYTES_MAX : OTHER_BYTES_MAX)) throw new StoreError('invalid', 'the file is too large')
  return isOwn ? importing.own(file) : importing.others(file)
}

class Import {
  readonly #store: LocalStore
  readonly #options: ImportOptions
  readonly #left = new Map<LeftReason, { count: number; examples: string[] }>()
  #chats = 0
  #messages = 0
  #known = 0
  #looked = 0

  constructor(store: LocalStore, options: ImportOptions) {
    this.#store = store
    this.#options = options
  }

  async own(file: Blob): Promise<ImportReport> {
    let chat: ReadChat | undefined
    let number = 0
    for await (const line of linesOf(file)) {
      number++
      const value = line === undefined ? undefined : jsonOf(line)
      if (line === '') continue
      if (number === 1) checkHead(value)
      else if (isRecord(value) && value['type'] === 'chat') {
        if (chat !== undefined) await this.#keep(chat)
        chat = ownChatOf(value)
        if (chat === undefined) this.#leave('unreadable', String(number))
      } else if (isRecord(value) && value['type'] === 'message') this.#ownMessage(value, chat, number)
      else this.#leave(line === undefined ? 'too-large' : 'unreadable', String(number))
    }
    if (chat !== undefined) await this.#keep(chat)
    return this.#report('skein')
  }

  #ownMessage(value: Fields, chat: ReadChat | undefined, number: number): void {
    const message = ownMessageOf(value)
    if (message === undefined) this.#leave('unreadable', String(number))
    else if (chat === undefined || message.chatId !== chat.id) this.#leave('homeless', String(number))
    else if (chat.messages.length >= CHAT_MESSAGES_MAX) this.#leave('too-many', chat.settings.title)
    else chat.messages.push(message)
  }

  async others(file: Blob): Promise<ImportReport> {
    const value = jsonOf(await file.text())
    const list: unknown[] = Array.isArray(value) ? value : [value]
    const format = list.some(isOpenAi) ? 'openai' : list.some(isOpenWebUi) ? 'open-webui' : undefined
    if (format === undefined) throw new StoreError('invalid', 'the file has no chats of a form that is known')
    const nowMs = Math.trunc(this.#store.clock.nowMs())
    for (const [i, each] of list.entries()) {
      if (isOpenAi(each)) await this.#keep(openAiChatOf(each, nowMs, this.#leave))
      else if (isOpenWebUi(each)) await this.#keep(openWebUiChatOf(each, nowMs, this.#leave))
      else this.#leave('unreadable', String(i + 1))
    }
    return this.#report(format)
  }

  readonly #leave: Left = (reason, what) => {
    const had = this.#left.get(reason) ?? { count: 0, examples: [] }
    had.count++
    if (had.examples.length < EXAMPLES && !had.examples.includes(what)) had.examples.push(what.slice(0, 80))
    this.#left.set(reason, had)
  }

  /** One chat with its messages, beside what is there. */
  async #keep(read: ReadChat): Promise<void> {
    this.#options.signal?.throwIfAborted()
    if (this.#looked >= CHATS_MAX) return this.#leave('too-many', read.settings.title)
    this.#looked++
    const { db } = this.#store
    const isGone = read.id !== undefined && (await db.gone.get(read.id)) !== undefined
    const id = read.id === undefined || isGone ? this.#store.newId() : read.id
    const isNew = (await db.chats.get(id)) === undefined
    const fitting = read.messages.slice(0, CHAT_MESSAGES_MAX).flatMap((message) => this.#fitting(message, id))
    for (let i = CHAT_MESSAGES_MAX; i < read.messages.length; i++) this.#leave('too-many', read.settings.title)
    const { fresh, names } = await this.#named(fitting, id)
    if (isNew) await this.#begin(read, id)
    for (let i = 0; i < fresh.length; i += AT_ONCE) {
      const rows = fresh.slice(i, i + AT_ONCE)
      await this.#store.write((stamp) => rows.map((row): Op => ({ kind: 'message', row: { ...row, hlc: stamp() } })))
      this.#messages += rows.length
    }
    const selected = read.selected === undefined ? undefined : names.get(read.selected)
    if (isNew && selected !== undefined) await this.#store.select(id, selected)
    this.#options.onProgress?.(this.#looked)
  }

  async #begin({ settings, createdAtMs }: ReadChat, id: string): Promise<void> {
    await this.#store.write((stamp) => [
      { kind: 'set', chatId: id, field: 'created', value: createdAtMs, at: stamp() },
      ...SETTING_NAMES.map((field): Op => ({ kind: 'set', chatId: id, field, value: settings[field], at: stamp() })),
    ])
    this.#chats++
  }

  /** In a form that is kept, under an id that can be; its own id stays for what follows on it. */
  #fitting(message: PlainMessage, chatId: string): { own: string; message: PlainMessage }[] {
    const id = isId(message.id) ? message.id : this.#store.newId()
    const { parentId } = message
    const checked = messageOf({
      ...message,
      id,
      chatId,
      parentId: isId(parentId) && parentId !== id ? parentId : undefined,
    })
    if (checked === undefined || !isFinal(checked.status)) {
      this.#leave('too-large', message.id)
      return []
    }
    return [{ own: message.id, message: { ...checked, parentId } }]
  }

  /** Those that are not here yet, each under an id that nothing else has. */
  async #named(read: { own: string; message: PlainMessage }[], chatId: string) {
    const { db } = this.#store
    const ids = read.map(({ message }) => message.id)
    const had = new Map((await db.messages.where('id').anyOf(ids).toArray()).map((row) => [row.id, row]))
    const gone = new Set((await db.gone.bulkGet(ids)).flatMap((each) => (each === undefined ? [] : [each.id])))
    const names = new Map<string, string>()
    const used = new Set<string>()
    const fresh: { own: string; message: PlainMessage }[] = []
    for (const { own, message } of read) {
      const there = had.get(message.id)
      if (there !== undefined && there.chatId === chatId && isSame(there, message)) {
        this.#known++
        names.set(own, message.id)
        continue
      }
      const isTaken = there !== undefined || gone.has(message.id) || used.has(message.id)
      const id = isTaken ? this.#store.newId() : message.id
      used.add(id)
      if (!names.has(own)) names.set(own, id)
      fresh.push({ own, message: { ...message, id } })
    }
    const parentOf = (parentId: string | undefined): string | undefined =>
      parentId === undefined ? undefined : names.get(parentId)
    return { names, fresh: fresh.map(({ message }) => ({ ...message, parentId: parentOf(message.parentId) })) }
  }

  #report(format: ImportReport['format']): ImportReport {
    const left = [...this.#left].map(([reason, { count, examples }]) => ({ reason, count, examples }))
    return { format, chats: this.#chats, messages: this.#messages, known: this.#known, left }
  }
}

const isSame = (a: PlainMessage, b: PlainMessage): boolean =>
  a.role === b.role && JSON.stringify(a.parts) === JSON.stringify(b.parts)

function checkHead(value: unknown): void {
  const version = isRecord(value) ? value['version'] : undefined
  if (version === OWN_VERSION) return
  throw new StoreError('invalid', 'the file was written by a newer version of Skein')
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/** Lines of a file, one at a time; undefined for one that is too long. */
async function* linesOf(file: Blob): AsyncGenerator<string | undefined> {
  const reader = file.stream().pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  let isSkipping = false
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const pieces = (rest + next.value).split('\n')
      rest = pieces.pop()!
      for (const piece of pieces) {
        yield isSkipping ? undefined : piece.trim()
        isSkipping = false
      }
      if (rest.length > LINE_MAX) {
        isSkipping = true
        rest = ''
      }
    }
    if (isSkipping) yield undefined
    else if (rest.trim() !== '') yield rest.trim()
  } finally {
    await reader.cancel()
  }
}
