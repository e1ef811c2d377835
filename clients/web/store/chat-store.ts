/** The store over Dexie: each write is one transaction, and every tab hears of it through `liveQuery`. */
import { liveQuery } from 'dexie'
import {
  askDurable,
  mintId,
  storageHealth,
  systemClock,
  systemRandom,
  tabLocks,
  type TabLocks,
  type WebClock,
  type WebRandom,
} from '../platform/index.ts'
import { applyOps, changedTables, CLOCK_KEY, settingsOf } from './changes.ts'
import { allOf, rowsOf } from './chat-rows.ts'
import {
  DEFAULTS,
  defined,
  isFinal,
  isId,
  isSetting,
  messageOf,
  MS_MAX,
  partsOf,
  SETTING_NAMES,
  type SettingName,
} from './check.ts'
import { NEVER, nextStamp } from './clock.ts'
import { metaOf, openDatabase, type Database, type DatabaseInit } from './database.ts'
import { StoreError } from './errors.ts'
import type { Op } from './fold.ts'
import { ASK_BYTES_MAX, DEPTH_MAX, DRAFT_MAX, TOMBSTONE_DAYS } from './limits.ts'
import { workOff } from './search-index.ts'
import { pathTo, subtreeOf } from './tree.ts'
import type {
  Ask,
  AskTable,
  Chat,
  ChatRow,
  ChatSettings,
  ChatStore,
  MessagePatch,
  MessageRow,
  NewMessage,
  SearchHit,
  SearchOptions,
  Stamp,
  StorageHealth,
  Unsubscribe,
} from './types.ts'

export interface StoreInit extends DatabaseInit {
  readonly clock?: WebClock
  readonly random?: WebRandom
  readonly locks?: TabLocks
  /** What the browser says of its storage. */
  readonly storage?: { health: typeof storageHealth; ask: typeof askDurable }
}

const DEVICE_BYTES = 8
const DAY_MS = 86_400_000
/** After a change, until the search learns of it: typing and streaming come first. */
const LEARN_AFTER_MS = 400
/** After the page was opened: old tombstones are in nobody's way. */
const COLLECT_AFTER_MS = 60_000
/** Between transactions of learning, so that the page stays quick. */
const LEARN_PAUSE_MS = 30
/** Before a search looks, it learns this many hundreds of messages: the rest is found by later ones. */
const LEARN_BEFORE_SEARCH = 1
const LEARN_LOCK = 'skein-search'

/** Opens what this device keeps. @throws StoreError `newer`, `unavailable`. */
export async function openChatStore(init: StoreInit = {}): Promise<LocalStore> {
  const { clock = systemClock, random = systemRandom, locks = tabLocks() } = init
  const storage = init.storage ?? { health: storageHealth, ask: askDurable }
  const db = await openDatabase(init)
  const deviceId = await db.transaction('rw', db.meta, async () => {
    const had = await metaOf<string>(db, 'device')
    if (had !== undefined) return had
    const made = Array.from(random.bytes(DEVICE_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('')
    await db.meta.put({ key: 'device', value: made })
    return made
  })
  return new LocalStore({ db, deviceId, clock, random, locks, storage })
}

interface Parts {
  readonly db: Database
  readonly deviceId: string
  readonly clock: WebClock
  readonly random: WebRandom
  readonly locks: TabLocks
  readonly storage: NonNullable<StoreInit['storage']>
}

/** What another module of this device's keeping (import, export, sync) needs beyond {@link ChatStore}. */
export class LocalStore implements ChatStore {
  readonly deviceId: string
  readonly db: Database
  readonly clock: WebClock
  readonly random: WebRandom
  readonly locks: TabLocks
  readonly asks: AskTable
  readonly #storage: Parts['storage']
  readonly #onFull = new Set<() => void>()
  #fullSinceMs: number | undefined
  #cancelLearning: (() => void) | undefined
  readonly #cancelCollecting: () => void
  #hasAsked = false
  #isClosed = false

  constructor({ db, deviceId, clock, random, locks, storage }: Parts) {
    this.db = db
    this.deviceId = deviceId
    this.clock = clock
    this.random = random
    this.locks = locks
    this.#storage = storage
    this.asks = {
      get: (id) => this.guard(() => db.asks.get(id)),
      put: (ask) => this.guard(() => db.asks.put(checkedAsk(ask)).then(() => undefined)),
      delete: (id) => this.guard(() => db.asks.delete(id)),
      all: () => this.guard(() => db.asks.orderBy('order').toArray()),
    }
    this.#learnSoon()
    this.#cancelCollecting = clock.after(COLLECT_AFTER_MS, () => void this.collect().catch(() => undefined))
  }

  newId(): string {
    return mintId(this.clock, this.random)
  }

  watchChats(on: (chats: readonly ChatRow[]) => void): Unsubscribe {
    return this.watch(() => this.chats(), on)
  }

  watchChat(id: string, on: (chat: Chat | undefined) => void): Unsubscribe {
    return this.watch(() => this.chat(id), on)
  }

  watchMessages(chatId: string, on: (messages: readonly MessageRow[]) => void): Unsubscribe {
    return this.watch(rowsOf(this.db, chatId), on)
  }

  async chats(): Promise<ChatRow[]> {
    const rows = await this.db.chats.toArray()
    return rows
      .map(({ changes: _, ...row }) => row)
      .sort((a, b) => b.updatedAtMs - a.updatedAtMs || (a.id < b.id ? 1 : -1))
  }

  async chat(id: string): Promise<Chat | undefined> {
    const [row, registers] = await Promise.all([
      this.db.chats.get(id),
      this.db.registers.where('chatId').equals(id).toArray(),
    ])
    return row && { ...settingsOf(registers), id, updatedAtMs: row.updatedAtMs }
  }

  async messages(chatId: string): Promise<MessageRow[]> {
    return allOf(this.db, chatId)
  }

  message(id: string): Promise<MessageRow | undefined> {
    return this.db.messages.where('id').equals(id).first()
  }

  async path(messageId: string): Promise<MessageRow[]> {
    const leaf = await this.message(messageId)
    return leaf === undefined ? [] : pathTo(await this.messages(leaf.chatId), messageId, DEPTH_MAX)
  }

  async unfinished(): Promise<MessageRow[]> {
    const rows = await this.db.messages.where('status').anyOf('queued', 'running').toArray()
    return rows.sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1))
  }

  async createChat(settings: Partial<ChatSettings> = {}, id: string = this.newId()): Promise<Chat> {
    if (!isId(id)) throw new StoreError('invalid', 'an id has 1 to 64 letters, digits, "-" and "_"')
    const checked = { ...DEFAULTS, ...checkedSettings(settings) }
    const createdAtMs = Math.trunc(this.clock.nowMs())
    await this.write(async (stamp) => {
      if ((await this.db.chats.get(id)) !== undefined) throw new StoreError('exists', 'there is a chat with this id')
      const set = (field: SettingName | 'created', value: unknown): Op => ({
        ...{ kind: 'set' as const, chatId: id, field, value, at: stamp() },
      })
      return [set('created', createdAtMs), ...SETTING_NAMES.map((name) => set(name, checked[name]))]
    })
    return { ...checked, id, createdAtMs, updatedAtMs: createdAtMs }
  }

  async setChat(id: string, settings: Partial<ChatSettings>): Promise<void> {
    const checked = checkedSettings(settings)
    await this.write(async (stamp) => {
      const registers = await this.db.registers.where('chatId').equals(id).toArray()
      if (registers.length === 0) throw new StoreError('not-found', 'the chat is gone')
      const now = settingsOf(registers)
      return (Object.entries(checked) as [SettingName, unknown][])
        .filter(([name, value]) => JSON.stringify(now[name]) !== JSON.stringify(value))
        .map(([field, value]) => ({ kind: 'set', chatId: id, field, value, at: stamp() }))
    })
  }

  async deleteChats(ids: readonly string[]): Promise<void> {
    await this.write((stamp) => ids.filter(isId).map((id) => ({ kind: 'gone', id, at: stamp() })))
  }

  async insert(messages: readonly NewMessage[]): Promise<void> {
    const rows = messages.map((message) => {
      const checked = messageOf({ createdAtMs: Math.trunc(this.clock.nowMs()), ...message })
      if (checked === undefined) throw new StoreError('invalid', `the message ${String(message.id)} has no proper form`)
      return checked
    })
    await this.write(async (stamp) => {
      const chatIds = [...new Set(rows.map(({ chatId }) => chatId))]
      const chats = await this.db.chats.bulkGet(chatIds)
      if (chats.includes(undefined)) throw new StoreError('not-found', 'the chat is gone')
      const had = await this.db.messages
        .where('id')
        .anyOf(rows.map(({ id }) => id))
        .toArray()
      const byId = new Map(had.map((row) => [row.id, row]))
      const fresh = rows.filter((row) => !isKept(byId.get(row.id), row))
      return fresh.map((row) => ({ kind: 'message', row: { ...row, hlc: stamp() } }))
    })
  }

  async update(id: string, patch: MessagePatch): Promise<boolean> {
    if (patch.parts !== undefined && partsOf(patch.parts) === undefined) {
      throw new StoreError('invalid', 'the message is larger than a message can be')
    }
    let isDone = false
    await this.write(async (stamp) => {
      isDone = false
      const had = await this.message(id)
      if (had === undefined || !isOpen(had, patch)) return []
      const { hlc: _, ...row } = { ...had, ...defined(patch) }
      // a row that is asked for again has no error any more
      if (!isFinal(row.status) && patch.error === undefined) delete row.error
      const checked = messageOf(row)
      if (checked === undefined) throw new StoreError('invalid', `the message ${id} has no proper form`)
      isDone = true
      if (isFinal(checked.status) || isFinal(had.status)) {
        return [{ kind: 'message', row: { ...checked, hlc: stamp() } }]
      }
      // while it comes it is this device's own: no stamp, no operation, no word for the search
      await this.db.messages.put({ ...checked, hlc: had.hlc })
      return []
    })
    // the first whole answer is the moment at which there is something to lose
    if (isDone && patch.status === 'done' && !this.#hasAsked) {
      this.#hasAsked = true
      void this.askToKeep().catch(() => undefined)
    }
    return isDone
  }

  async deleteMessage(id: string): Promise<void> {
    await this.write(async (stamp) => {
      const row = await this.message(id)
      if (row === undefined) return []
      return subtreeOf(await this.messages(row.chatId), id).map((each) => ({ kind: 'gone', id: each, at: stamp() }))
    })
  }

  async selection(chatId: string): Promise<string | undefined> {
    return (await this.db.selections.get(chatId))?.leafId
  }

  watchSelection(chatId: string, on: (leafId: string | undefined) => void): Unsubscribe {
    return this.watch(() => this.selection(chatId), on)
  }

  async select(chatId: string, leafId: string): Promise<void> {
    await this.guard(() => this.db.selections.put({ chatId, leafId }))
  }

  async draft(chatId: string): Promise<string> {
    return (await this.db.drafts.get(chatId))?.text ?? ''
  }

  async setDraft(chatId: string, text: string): Promise<void> {
    const kept = text.slice(0, DRAFT_MAX)
    await this.guard(async () => {
      if (kept === '') await this.db.drafts.delete(chatId)
      else await this.db.drafts.put({ chatId, text: kept })
    })
  }

  search(query: string, options: SearchOptions = {}): Promise<SearchHit[]> {
    return this.guard(async () => {
      for (let i = 0; i < LEARN_BEFORE_SEARCH && (await workOff(this.db)); i++) options.signal?.throwIfAborted()
      options.signal?.throwIfAborted()
      // not of the first paint
      const { search } = await import('./search.ts')
      return search(this.db, query, options)
    })
  }

  async health(): Promise<StorageHealth> {
    const [{ isDurable, usedBytes, quotaBytes }, chats, messages, unindexed] = await Promise.all([
      this.#storage.health(),
      ...[this.db.chats.count(), this.db.messages.count(), this.db.jobs.count()],
    ] as const)
    const persistence = isDurable === undefined ? 'unknown' : isDurable ? 'kept' : 'may-be-evicted'
    return { usedBytes, quotaBytes, persistence, chats, messages, unindexed, fullSinceMs: this.#fullSinceMs }
  }

  async askToKeep(): Promise<StorageHealth['persistence']> {
    const { persistence, messages } = await this.health()
    if (persistence !== 'may-be-evicted' || messages === 0) return persistence
    const asked = await metaOf<boolean>(this.db, 'asked-to-keep')
    if (asked === true) return persistence
    await this.guard(() => this.db.meta.put({ key: 'asked-to-keep', value: true }))
    return (await this.#storage.ask()) ? 'kept' : 'may-be-evicted'
  }

  onFull(on: () => void): Unsubscribe {
    this.#onFull.add(on)
    return () => this.#onFull.delete(on)
  }

  close(): void {
    this.#isClosed = true
    this.#cancelLearning?.()
    this.#cancelCollecting()
    this.db.close()
  }

  /**
   * Writes operations of this device in one transaction: what `make` returns, stamped in order by what it is given. May
   * run `make` again.
   */
  async write(make: (stamp: () => Stamp) => readonly Op[] | Promise<readonly Op[]>): Promise<void> {
    await this.guard(() =>
      this.db.transaction('rw', changedTables(this.db), async () => {
        let last = (await metaOf<Stamp>(this.db, CLOCK_KEY)) ?? NEVER
        const stamp = (): Stamp => (last = nextStamp(last, this.clock.nowMs(), this.deviceId))
        await applyOps(this.db, await make(stamp), true)
      }),
    )
    this.#learnSoon()
  }

  /** Folds in what other devices have sent. @returns how much of it was new. */
  async receive(ops: readonly Op[]): Promise<number> {
    const count = await this.guard(() =>
      // Dexie follows an async function through its awaits, and no other
      this.db.transaction('rw', changedTables(this.db), async () => applyOps(this.db, ops, false)),
    )
    this.#learnSoon()
    return count
  }

  /** Lets go of what tombstones are old enough: {@link TOMBSTONE_DAYS}. */
  async collect(): Promise<number> {
    const before = nextStamp(NEVER, Math.max(0, this.clock.nowMs() - TOMBSTONE_DAYS * DAY_MS), this.deviceId)
    return this.guard(() => this.db.gone.where('at').below(before).delete())
  }

  /** Until the search knows everything; for tests and imports. */
  async learned(): Promise<void> {
    while (await this.guard(() => workOff(this.db)));
  }

  /** Runs `work` and tells failures of the browser's storage apart. @throws StoreError. */
  async guard<T>(work: () => PromiseLike<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const told = storeErrorOf(error)
      if (told instanceof StoreError && told.code === 'full') {
        this.#fullSinceMs = this.clock.nowMs()
        for (const on of this.#onFull) on()
      }
      throw told
    }
  }

  /** Calls `on` with what `read` reads of the tables, at once and after each change of them, from any tab. */
  watch<T>(read: () => Promise<T>, on: (value: T) => void): Unsubscribe {
    const subscription = liveQuery(read).subscribe({ next: on, error: () => undefined })
    return () => subscription.unsubscribe()
  }

  #learnSoon(after = LEARN_AFTER_MS): void {
    if (this.#isClosed) return
    this.#cancelLearning?.()
    this.#cancelLearning = this.clock.after(after, () => {
      // one tab is enough; what fails is tried again with the next change
      void this.locks
        .holdIfFree(LEARN_LOCK, () => workOff(this.db))
        .then((isMore) => (isMore === true ? this.#learnSoon(LEARN_PAUSE_MS) : undefined))
        .catch(() => undefined)
    })
  }
}

/** Whether `patch` may change `had`: what is final stays, but a failure without a text may be asked for again. */
function isOpen(had: MessageRow, patch: MessagePatch): boolean {
  if (!isFinal(had.status)) return true
  const isAgain = patch.status !== undefined && !isFinal(patch.status)
  return had.status === 'failed' && isAgain && had.parts.every((part) => part.type === 'text' && part.text === '')
}

/** @throws StoreError `exists`. */
function isKept(had: MessageRow | undefined, row: Omit<MessageRow, 'hlc'>): boolean {
  if (had === undefined) return false
  const same =
    had.chatId === row.chatId && had.parentId === row.parentId && had.role === row.role && isEqual(had.parts, row.parts)
  if (!same) throw new StoreError('exists', `other contents are kept as ${row.id}`)
  return true
}

const isEqual = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

function checkedSettings(settings: Partial<ChatSettings>): Partial<ChatSettings> {
  const named = defined(settings)
  for (const [name, value] of Object.entries(named)) {
    if (!SETTING_NAMES.includes(name as SettingName) || !isSetting(name as SettingName, value)) {
      throw new StoreError('invalid', `${name} is not of the form or the size that a chat keeps`)
    }
  }
  return named
}

function checkedAsk(ask: Ask): Ask {
  const size = JSON.stringify(ask.body).length
  if (!isId(ask.id) || !isId(ask.chatId) || !(ask.order >= 0 && ask.order <= MS_MAX) || size > ASK_BYTES_MAX) {
    throw new StoreError('invalid', 'the request is larger than what is kept')
  }
  return ask
}

/** Dexie names what the browser said, at times one error inside another. */
function storeErrorOf(error: unknown): unknown {
  if (error instanceof StoreError) return error
  const names = [error, (error as { inner?: unknown } | undefined)?.inner].map(
    (each) => (each as { name?: unknown } | undefined)?.name,
  )
  if (names.includes('QuotaExceededError'))
    return new StoreError('full', 'the browser gives this page no more room', error)
  if (names.includes('DatabaseClosedError')) return new StoreError('closed', 'what this page keeps was closed', error)
  return error
}
