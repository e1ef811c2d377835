/** Operations into tables: the fold of `fold.ts`, for as many things at once as there are, in one transaction. */
import { isFinal, SETTING_NAMES, DEFAULTS } from './check.ts'
import { later, msOf, NEVER } from './clock.ts'
import {
  messageKeyOf,
  metaOf,
  type Database,
  type Gone,
  type IndexJob,
  type KeptChat,
  type Register,
} from './database.ts'
import { keyOf, stampOf, wins, type MessageOp, type Op, type SetOp } from './fold.ts'
import { countTerms } from './terms.ts'
import type { ChatSettings, MessageRow, Stamp } from './types.ts'

export const CLOCK_KEY = 'clock'
export const SYNC_KEY = 'sync'

/** What a transaction that applies operations touches. */
export const changedTables = (db: Database) => [
  ...[db.meta, db.chats, db.registers, db.messages, db.gone, db.selections, db.drafts, db.asks],
  ...[db.pending, db.jobs, db.docs],
]

/** What a person reads of a message, as one text: thoughts are left out. */
export const textOf = (row: Pick<MessageRow, 'parts'>): string =>
  row.parts
    .map((part) => (part.type === 'text' ? part.text : part.type === 'file' ? `${part.name}\n${part.text}` : ''))
    .filter((text) => text !== '')
    .join('\n\n')

const keyOfRow = (row: MessageRow): string => keyOf({ kind: 'message', row })

/** The tables' view of what the operations are about, changed in memory and written at once. */
class Changes {
  readonly #db: Database
  readonly #gone = new Map<string, Gone>()
  readonly #messages = new Map<string, MessageRow>()
  readonly #registers = new Map<string, Register>()
  readonly #changed = new Set<string>()
  readonly #dropped = { chats: new Set<string>(), messages: new Map<string, MessageRow>() }
  readonly #chats = new Set<string>()
  /** What was found, by the document that the search knows it as, with its words before the change. */
  readonly #forget = new Map<string, string>()
  readonly #learn = new Set<string>()

  constructor(db: Database) {
    this.#db = db
  }

  /** Reads what is there of the things that `ops` are about. */
  async load(ops: readonly Op[]): Promise<void> {
    const goneIds = new Set<string>()
    const messageKeys = new Map<string, [string, string]>()
    const registerKeys = new Map<string, [string, string]>()
    for (const op of ops) {
      if (op.kind === 'gone') goneIds.add(op.id)
      else if (op.kind === 'message') {
        goneIds.add(op.row.chatId).add(op.row.id)
        messageKeys.set(keyOf(op), [op.row.chatId, op.row.id])
      } else {
        goneIds.add(op.chatId)
        registerKeys.set(keyOf(op), [op.chatId, op.field])
      }
    }
    const db = this.#db
    for (const gone of await db.gone.bulkGet([...goneIds])) if (gone) this.#gone.set(gone.id, gone)
    for (const row of await db.messages.bulkGet([...messageKeys.values()]))
      if (row) this.#messages.set(keyOfRow(row), row)
    for (const register of await db.registers.bulkGet([...registerKeys.values()])) {
      if (register) this.#registers.set(`s:${register.chatId}:${register.field}`, register)
    }
  }

  /** @returns whether it changed anything. */
  async apply(op: Op): Promise<boolean> {
    if (op.kind === 'message') return this.#applyMessage(op)
    if (op.kind === 'set') return this.#applySet(op)
    const had = this.#gone.get(op.id)
    if (!wins(op, had && { kind: 'gone', ...had })) return false
    this.#gone.set(op.id, { id: op.id, at: op.at })
    this.#changed.add(keyOf(op))
    if (had === undefined) await this.#drop(op.id)
    return true
  }

  #applyMessage(op: MessageOp): boolean {
    const { row } = op
    if (this.#gone.has(row.chatId) || this.#gone.has(row.id)) return false
    const key = keyOf(op)
    const had = this.#messages.get(key)
    if (!wins(op, had && { kind: 'message', row: had })) return false
    if (had !== undefined && isFinal(had.status)) this.#forgetLater(key, textOf(had))
    this.#messages.set(key, row)
    this.#changed.add(key)
    this.#chats.add(row.chatId)
    if (isFinal(row.status)) this.#learn.add(key)
    return true
  }

  #applySet(op: SetOp): boolean {
    if (this.#gone.has(op.chatId)) return false
    const key = keyOf(op)
    const had = this.#registers.get(key)
    if (!wins(op, had && { kind: 'set', ...had })) return false
    const { chatId, field, value, at } = op
    this.#registers.set(key, { chatId, field, value, at })
    this.#changed.add(key)
    this.#chats.add(chatId)
    if (field !== 'title' || had?.value === value) return true
    if (had !== undefined) this.#forgetLater(`t:${chatId}`, had.value as string)
    this.#learn.add(`t:${chatId}`)
    return true
  }

  /** The contents of a chat or a message go, those that came in the same breath too. */
  async #drop(id: string): Promise<void> {
    const db = this.#db
    const stored = await db.messages.where('[chatId+createdAtMs]').between([id, 0], [id, Infinity]).toArray()
    const named = await db.messages.where('id').equals(id).toArray()
    const rows = new Map([...stored, ...named].map((row) => [keyOfRow(row), row]))
    for (const [key, row] of this.#messages) if (row.chatId === id || row.id === id) rows.set(key, row)
    for (const [key, row] of rows) {
      this.#messages.delete(key)
      this.#changed.delete(key)
      this.#learn.delete(key)
      if (isFinal(row.status)) this.#forgetLater(key, textOf(row))
      this.#dropped.messages.set(key, row)
      if (row.chatId !== id) this.#chats.add(row.chatId)
    }
    const title = await db.registers.get([id, 'title'])
    if (title !== undefined) this.#forgetLater(`t:${id}`, title.value as string)
    this.#learn.delete(`t:${id}`)
    for (const [key, register] of this.#registers) {
      if (register.chatId !== id) continue
      this.#registers.delete(key)
      this.#changed.delete(key)
    }
    this.#chats.delete(id)
    this.#dropped.chats.add(id)
  }

  /** The words that the search has to take back: those of the state in the tables, which is the first that is seen. */
  #forgetLater(key: string, text: string): void {
    if (!this.#forget.has(key)) this.#forget.set(key, text)
  }

  /** Writes it all. @returns the keys of what changed. */
  async write(): Promise<ReadonlySet<string>> {
    const db = this.#db
    const changed = <T>(all: ReadonlyMap<string, T>, key: (name: string) => string): T[] =>
      [...all].filter(([name]) => this.#changed.has(key(name))).map(([, value]) => value)
    await db.gone.bulkPut(changed(this.#gone, (id) => `g:${id}`))
    const dropped = [...this.#dropped.messages.values()]
    await db.messages.bulkDelete(dropped.map(({ chatId, id }) => [chatId, id]))
    await db.asks.bulkDelete(dropped.map(({ id }) => id))
    for (const id of this.#dropped.chats) {
      await db.registers.where('chatId').equals(id).delete()
      await Promise.all([db.chats.delete(id), db.selections.delete(id), db.drafts.delete(id)])
    }
    await db.messages.bulkPut(changed(this.#messages, (key) => key))
    await db.registers.bulkPut(changed(this.#registers, (key) => key))
    await this.#writeJobs()
    for (const id of this.#chats) await projectChat(db, id)
    return this.#changed
  }

  async #writeJobs(): Promise<void> {
    const db = this.#db
    const jobs: IndexJob[] = []
    if (this.#forget.size > 0) {
      for (const { no, key } of await db.docs
        .where('key')
        .anyOf([...this.#forget.keys()])
        .toArray()) {
        // the words go with the job, for the text itself is gone by then
        jobs.push({ kind: 'remove', no: no!, terms: [...countTerms(this.#forget.get(key)!).counts.keys()] })
      }
      await db.docs.bulkDelete(jobs.flatMap((job) => (job.kind === 'remove' ? [job.no] : [])))
    }
    for (const key of this.#learn) jobs.push({ kind: 'add', key })
    if (jobs.length > 0) await db.jobs.bulkAdd(jobs)
  }
}

/** What the list shows of a chat, from its registers and its last message. */
async function projectChat(db: Database, id: string): Promise<void> {
  const registers = await db.registers.where('chatId').equals(id).toArray()
  if (registers.length === 0) return
  const last = await db.messages.where('[chatId+createdAtMs]').between([id, 0], [id, Infinity]).last()
  const { createdAtMs, ...settings } = settingsOf(registers)
  const { title, folder, pinned, model } = settings
  const had = await db.chats.get(id)
  const row: KeptChat = {
    ...{ id, title, folder, pinned, model, createdAtMs, changes: (had?.changes ?? 0) + 1 },
    updatedAtMs: Math.max(createdAtMs, last?.createdAtMs ?? 0),
  }
  await db.chats.put(row)
}

/** The settings that registers say, with the defaults of what none says. */
export function settingsOf(registers: readonly Register[]): ChatSettings & { readonly createdAtMs: number } {
  const values = new Map(registers.map(({ field, value }) => [field, value]))
  const settings = Object.fromEntries(
    SETTING_NAMES.map((name) => [name, values.has(name) ? values.get(name) : DEFAULTS[name]]),
  ) as unknown as ChatSettings
  const created = values.get('created') as number | undefined
  // a chat whose making has not arrived yet is as old as the first that is known of it
  return { ...settings, createdAtMs: created ?? Math.min(...registers.map(({ at }) => msOf(at))) }
}

/**
 * Applies `ops` in the transaction that runs, and moves this device's clock behind all of them.
 *
 * @param isOwn they were made here, and the other devices have yet to be told.
 * @returns how many changed something.
 */
export async function applyOps(db: Database, ops: readonly Op[], isOwn: boolean): Promise<number> {
  if (ops.length === 0) return 0
  const changes = new Changes(db)
  await changes.load(ops)
  let count = 0
  let last = (await metaOf<Stamp>(db, CLOCK_KEY)) ?? NEVER
  for (const op of ops) {
    if (await changes.apply(op)) count++
    last = later(last, stampOf(op))
  }
  const changed = await changes.write()
  await db.meta.put({ key: CLOCK_KEY, value: last })
  if (isOwn && (await db.meta.get(SYNC_KEY)) !== undefined) await markPending(db, [...changed])
  return count
}

/** These have yet to be sent to the other devices. */
export async function markPending(db: Database, keys: readonly string[]): Promise<void> {
  const had = await db.pending.bulkGet([...keys])
  const rows = await db.messages.bulkGet(keys.filter((key) => key.startsWith('m:')).map(messageKeyOf))
  const local = new Set(rows.flatMap((row) => (row !== undefined && !isFinal(row.status) ? [keyOfRow(row)] : [])))
  await db.pending.bulkPut(
    keys.map((key, i) => ({ key, rev: (had[i]?.rev ?? 0) + 1 })).filter(({ key }) => !local.has(key)),
  )
}
