/**
 * The tables. Each change of them is a new version below, with its `upgrade`, and the older ones stay: a page that was
 * not opened for a year goes through all of them. What another version of the page has written and this one cannot
 * read is not touched ({@link StoreError} `newer`).
 */
import { Dexie, type EntityTable, type Table } from 'dexie'
import { StoreError } from './errors.ts'
import type { RegisterName } from './fold.ts'
import type { Ask, ChatRow, MessageRow, Stamp } from './types.ts'

export interface KeptChat extends ChatRow {
  /** Counts the operations' changes of the chat and its messages: what watches it sees that there was one. */
  readonly changes?: number
}

export interface Register {
  readonly chatId: string
  readonly field: RegisterName
  readonly value: unknown
  readonly at: Stamp
}

export interface Gone {
  readonly id: string
  readonly at: Stamp
}

/** Something that this device has changed and not yet sent; kept while there is a sync. */
export interface Pending {
  /** As `keyOf` makes it. */
  readonly key: string
  /** Counts its changes: what changes again while it is sent stays. */
  readonly rev: number
}

/** What the search has yet to learn or to forget, in its order. */
export type IndexJob = { readonly id?: number } & (
  | { readonly kind: 'add'; readonly key: string }
  | { readonly kind: 'remove'; readonly no: number; readonly terms: readonly string[] }
)

/** What a number in the index stands for: `m:`, a chat and a message, or `t:` and the chat of a title. */
export interface Doc {
  readonly no?: number
  readonly key: string
}

/** The documents of one chunk of numbers that have a word: place in the chunk and weight, packed. */
export interface Posting {
  readonly term: string
  readonly chunk: number
  readonly docs: Uint32Array<ArrayBuffer>
}

export interface Meta {
  readonly key: string
  readonly value: unknown
}

/** Another of the owner's devices, as its own batches tell of it. */
export interface DeviceRow {
  readonly id: string
  readonly name: string
  /** Of its last batch that this device has read. */
  readonly seq: number
  /** Wall clock of that device, ms since 1970. */
  readonly atMs: number
  /** To which secrets for it are sealed: a public JWK; the first that it named. */
  readonly publicKey: JsonWebKey
}

export interface DatabaseInit {
  /** `skein` when absent. */
  readonly name?: string
  /** Of the browser when absent. */
  readonly idb?: { readonly indexedDB: IDBFactory; readonly IDBKeyRange: typeof IDBKeyRange }
}

/** Raised with a change that an older page would misread, beyond a table that it does not know. */
const FORMAT = 1

export class Database extends Dexie {
  declare readonly meta: EntityTable<Meta, 'key'>
  declare readonly chats: EntityTable<KeptChat, 'id'>
  declare readonly registers: Table<Register, [string, string]>
  declare readonly messages: Table<MessageRow, [string, string]>
  declare readonly gone: EntityTable<Gone, 'id'>
  declare readonly selections: EntityTable<{ chatId: string; leafId: string }, 'chatId'>
  declare readonly drafts: EntityTable<{ chatId: string; text: string }, 'chatId'>
  declare readonly asks: EntityTable<Ask, 'id'>
  declare readonly pending: EntityTable<Pending, 'key'>
  declare readonly devices: EntityTable<DeviceRow, 'id'>
  declare readonly jobs: Table<IndexJob, number>
  declare readonly docs: Table<Doc, number>
  declare readonly postings: Table<Posting, [string, number]>

  constructor({ name = 'skein', idb }: DatabaseInit = {}) {
    super(name, { ...idb, chromeTransactionDurability: 'strict' })
    this.version(1).stores({
      meta: 'key',
      chats: 'id',
      registers: '[chatId+field], chatId',
      // of the same id in two chats, which no page makes and any hand can, neither is the other
      messages: '[chatId+id], id, [chatId+createdAtMs], status',
      gone: 'id, at',
      selections: 'chatId',
      drafts: 'chatId',
      asks: 'id, order, chatId',
      pending: 'key',
      devices: 'id',
      jobs: '++id',
      docs: '++no, &key',
      postings: '[term+chunk]',
    })
  }
}

/** Opens it and looks whether this page can read it. @throws StoreError `newer`, `unavailable`. */
export async function openDatabase(init: DatabaseInit): Promise<Database> {
  const db = new Database(init)
  try {
    await db.open()
    const format = await db.meta.get('format')
    if (format === undefined) await db.meta.put({ key: 'format', value: FORMAT })
    else if (typeof format.value !== 'number' || format.value > FORMAT) {
      db.close()
      throw new StoreError('newer', 'the chats here were written by a newer version of this page: reload it')
    }
    return db
  } catch (error) {
    if (error instanceof StoreError) throw error
    throw new StoreError('unavailable', 'the browser keeps nothing for this page', error)
  }
}

/** Of a message in what is keyed by `keyOf`: the key of its row. */
export const messageKeyOf = (key: string): [string, string] => key.slice(2).split(':') as [string, string]

/** A value of `meta`, which only this module's callers write. */
export const metaOf = async <T>(db: Database, key: string): Promise<T | undefined> =>
  (await db.meta.get(key))?.value as T | undefined
