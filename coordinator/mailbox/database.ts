/**
 * The mailboxes' database, in the worker: each request is a transaction, and is answered when what it wrote is durable.
 * Loads nothing of the protocol.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import type {
  Answer,
  Appended,
  Entry,
  Failure,
  MailboxState,
  OperationName,
  Operations,
  Page,
  Request,
  RequestOf,
  Right,
  WorkerInit,
} from './types.ts'

/** In the file's header: `SKMB`. */
const APPLICATION_ID = 0x534b_4d42
const BUSY_MS = 2000
/** Log kept on disk when nothing is in it. */
const LOG_BYTES_MAX = 4 * 1024 * 1024

/** Statements that lead from version n (their index) to n + 1. Never changed once published: the next version is added. */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE mailboxes (
    id TEXT PRIMARY KEY,
    token_hash BLOB NOT NULL,
    generation TEXT NOT NULL,
    last INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    used_at REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE senders (
    mailbox TEXT NOT NULL,
    device TEXT NOT NULL,
    seq INTEGER NOT NULL,
    digest BLOB NOT NULL,
    at_index INTEGER NOT NULL,
    PRIMARY KEY (mailbox, device)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE entries (
    mailbox TEXT NOT NULL,
    at_index INTEGER NOT NULL,
    device TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at REAL NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (mailbox, at_index),
    UNIQUE (mailbox, device, seq)
  ) STRICT;
  `,
]

/** Error numbers of SQLite, in their low byte: full (13), damaged (11), no database (26). */
const FULL = 13
const CORRUPT: ReadonlySet<number> = new Set([11, 26])

/** What a request is refused for, with its code. */
class Refusal extends TypeError {
  readonly failure: Failure
  constructor(code: Failure['code'], message: string) {
    super(message)
    this.failure = { code, message }
  }
}

export function failureOf(error: unknown, path: string): Failure {
  if (error instanceof Refusal) return error.failure
  const { errcode, message } = error as { errcode?: number; message: string }
  const number = errcode === undefined ? 0 : errcode & 0xff
  if (CORRUPT.has(number))
    return { code: 'LEDGER_CORRUPT', message: `${path} is damaged (${message}); move it away, and devices send anew` }
  if (number === FULL) return { code: 'SYNC_FULL', message: 'the disk of the coordinator is full' }
  return { code: 'LEDGER_UNAVAILABLE', message: `${path}: ${message}` }
}

interface MailboxRow {
  readonly token_hash: Uint8Array
  readonly generation: string
  readonly last: number
  readonly bytes: number
}
interface SenderRow {
  readonly seq: number
  readonly digest: Uint8Array
  readonly at_index: number
}
interface EntryRow {
  readonly at_index: number
  readonly device: string
  readonly seq: number
  readonly at: number
  readonly data: Uint8Array
}

const digestOf = (data: Uint8Array): Buffer => createHash('sha256').update(data).digest()
const isSame = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b)

type Handlers = { readonly [N in OperationName]: (request: RequestOf<N>) => Operations[N]['answer'] }

export class MailboxDatabase {
  readonly #db: DatabaseSync
  readonly #init: WorkerInit
  readonly #statements = new Map<string, StatementSync>()

  /** Opens the database, made if need be. Throws what SQLite does. */
  constructor(init: WorkerInit) {
    this.#init = init
    // SQLite gives its other files the mode of this one
    closeSync(openSync(init.path, 'a', 0o600))
    this.#db = new DatabaseSync(init.path, { timeout: BUSY_MS })
    // what was dropped is neither on the disk any more nor does it take room there
    this.#db.exec(`PRAGMA auto_vacuum = FULL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
      PRAGMA secure_delete = ON; PRAGMA journal_size_limit = ${LOG_BYTES_MAX};
      PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON`)
    const version = this.#one<{ user_version: number }>('PRAGMA user_version')!.user_version
    const owner = this.#one<{ application_id: number }>('PRAGMA application_id')!.application_id
    if (version > MIGRATIONS.length || (version > 0 && owner !== APPLICATION_ID))
      throw Object.assign(new TypeError('is of a newer Skein, or of another program'), { errcode: 26 })
    for (let at = version; at < MIGRATIONS.length; at++)
      this.#db.exec(`BEGIN IMMEDIATE; ${MIGRATIONS[at]!}
        PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${at + 1}; COMMIT`)
  }

  /** Answers when what it writes is durable. */
  run(request: Request): Answer {
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      const value = (this.#handlers[request.name] as (request: Request) => unknown)(request)
      this.#db.exec('COMMIT')
      if (request.name === 'close') this.#db.close()
      return { id: request.id, value }
    } catch (error) {
      if (this.#db.isOpen && this.#db.isTransaction) this.#db.exec('ROLLBACK')
      return { id: request.id, failure: failureOf(error, this.#init.path) }
    }
  }

  readonly #handlers: Handlers = {
    make: (request) => this.#make(request),
    append: (request) => this.#append(request),
    read: (request) => this.#read(request),
    trim: (request) => this.#trim(request),
    remove: (request) => {
      this.#mailbox(request)
      this.#drop(request.mailbox)
      return null
    },
    sweep: ({ unusedSinceMs }) => {
      const unused = this.#all<{ id: string }>('SELECT id FROM mailboxes WHERE used_at < ?', unusedSinceMs)
      for (const { id } of unused) this.#drop(id)
      return unused.length
    },
    close: () => null,
  }

  #make({ mailbox, tokenHash, generation, nowMs }: RequestOf<'make'>): Operations['make']['answer'] {
    const known = this.#find(mailbox)
    if (known) return { ...this.#state(mailbox, this.#mailbox({ mailbox, tokenHash }, nowMs)), isNew: false }
    const { mailboxesMax } = this.#init.bounds
    if (this.#one<{ n: number }>('SELECT count(*) AS n FROM mailboxes')!.n >= mailboxesMax)
      throw new Refusal('SYNC_FULL', `this coordinator has ${mailboxesMax} mailboxes already`)
    this.#run('INSERT INTO mailboxes VALUES (?, ?, ?, 0, 0, ?)', mailbox, tokenHash, generation, nowMs)
    return { generation, first: 1, last: 0, bytes: 0, isNew: true }
  }

  #append(request: RequestOf<'append'>): Appended {
    const { mailbox, entry, nowMs } = request
    const { last, bytes } = this.#mailbox(request, nowMs)
    const { device, seq, data } = entry
    const digest = digestOf(data)
    const sender = this.#one<SenderRow>('SELECT * FROM senders WHERE mailbox = ? AND device = ?', mailbox, device)
    if (sender && seq <= sender.seq) {
      const index = this.#indexBefore(request, sender, digest)
      if (index === undefined)
        throw new Refusal('SYNC_CONFLICT', `this device has sent ${sender.seq} already, and not this as ${seq}`)
      return { index, last, bytes, isNew: false }
    }
    this.#checkRoom(mailbox, bytes, data.length, sender === undefined)
    const index = last + 1
    this.#run(
      'INSERT INTO entries (mailbox, at_index, device, seq, at, data) VALUES (?, ?, ?, ?, ?, ?)',
      ...[mailbox, index, device, seq, nowMs, data],
    )
    this.#run('INSERT OR REPLACE INTO senders VALUES (?, ?, ?, ?, ?)', mailbox, device, seq, digest, index)
    this.#run('UPDATE mailboxes SET last = ?, bytes = ? WHERE id = ?', index, bytes + data.length, mailbox)
    return { index, last: index, bytes: bytes + data.length, isNew: true }
  }

  /** The index that the same entry has; `undefined` for another one under its number, and for one that is forgotten. */
  #indexBefore({ mailbox, entry }: RequestOf<'append'>, sender: SenderRow, digest: Buffer): number | undefined {
    if (entry.seq === sender.seq) return isSame(sender.digest, digest) ? sender.at_index : undefined
    const query = 'SELECT at_index, data FROM entries WHERE mailbox = ? AND device = ? AND seq = ?'
    const before = this.#one<EntryRow>(query, mailbox, entry.device, entry.seq)
    return before && isSame(digestOf(before.data), digest) ? before.at_index : undefined
  }

  /** Throws SYNC_FULL. */
  #checkRoom(mailbox: string, bytes: number, more: number, isNewDevice: boolean): void {
    const { mailboxBytesMax, entriesMax, devicesMax, bytesMax } = this.#init.bounds
    const count = (table: 'entries' | 'senders'): number =>
      this.#one<{ n: number }>(`SELECT count(*) AS n FROM ${table} WHERE mailbox = ?`, mailbox)!.n
    if (bytes + more > mailboxBytesMax) throw new Refusal('SYNC_FULL', `a mailbox holds ${mailboxBytesMax} bytes`)
    if (count('entries') >= entriesMax) throw new Refusal('SYNC_FULL', `a mailbox holds ${entriesMax} entries`)
    if (isNewDevice && count('senders') >= devicesMax)
      throw new Refusal('SYNC_FULL', `a mailbox is for ${devicesMax} devices`)
    const total = this.#one<{ n: number }>('SELECT coalesce(sum(bytes), 0) AS n FROM mailboxes')!.n
    if (total + more > bytesMax)
      throw new Refusal('SYNC_FULL', `the mailboxes of this coordinator hold ${bytesMax} bytes in all`)
  }

  #read(request: RequestOf<'read'>): Page {
    const { mailbox, after, limit, nowMs } = request
    const { bytes: _, ...state } = this.#state(mailbox, this.#mailbox(request, nowMs))
    const entries: Entry[] = []
    let bytes = 0
    const query = 'SELECT * FROM entries WHERE mailbox = ? AND at_index > ? ORDER BY at_index LIMIT ?'
    for (const row of this.#prepared(query).iterate(mailbox, after, limit) as Iterable<unknown>) {
      const { at_index: index, device, seq, at: atMs, data } = row as EntryRow
      bytes += data.length
      if (entries.length > 0 && bytes > this.#init.bounds.pageBytesMax) break
      entries.push({ index, device, seq, atMs, data })
    }
    return { ...state, entries }
  }

  #trim(request: RequestOf<'trim'>): MailboxState {
    const { mailbox, through, nowMs } = request
    const row = this.#mailbox(request, nowMs)
    if (through > row.last) throw new Refusal('INVALID_REQUEST', `through: the last entry is ${row.last}`)
    this.#run('DELETE FROM entries WHERE mailbox = ? AND at_index <= ?', mailbox, through)
    const sum = 'SELECT coalesce(sum(length(data)), 0) AS n FROM entries WHERE mailbox = ?'
    const bytes = this.#one<{ n: number }>(sum, mailbox)!.n
    this.#run('UPDATE mailboxes SET bytes = ? WHERE id = ?', bytes, mailbox)
    return this.#state(mailbox, { ...row, bytes })
  }

  #drop(mailbox: string): void {
    for (const table of ['entries', 'senders']) this.#run(`DELETE FROM ${table} WHERE mailbox = ?`, mailbox)
    this.#run('DELETE FROM mailboxes WHERE id = ?', mailbox)
  }

  #find(mailbox: string): MailboxRow | undefined {
    return this.#one<MailboxRow>('SELECT * FROM mailboxes WHERE id = ?', mailbox)
  }

  /** Throws SYNC_MAILBOX_NOT_FOUND for one that is not there and for one that is another's: nothing tells which. */
  #mailbox({ mailbox, tokenHash }: Right, nowMs?: number): MailboxRow {
    const row = this.#find(mailbox)
    if (row === undefined || !isSame(row.token_hash, tokenHash))
      throw new Refusal('SYNC_MAILBOX_NOT_FOUND', 'there is no such mailbox, or the token is not its own')
    if (nowMs !== undefined) this.#run('UPDATE mailboxes SET used_at = ? WHERE id = ?', nowMs, mailbox)
    return row
  }

  #state(mailbox: string, { generation, last, bytes }: MailboxRow): MailboxState {
    const lowest = this.#one<{ n: number | null }>('SELECT min(at_index) AS n FROM entries WHERE mailbox = ?', mailbox)
    return { generation, first: lowest?.n ?? last + 1, last, bytes }
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) this.#statements.set(sql, (statement = this.#db.prepare(sql)))
    return statement
  }

  #all<T>(sql: string, ...values: SQLInputValue[]): T[] {
    return this.#prepared(sql).all(...values) as T[]
  }

  #one<T>(sql: string, ...values: SQLInputValue[]): T | undefined {
    return this.#prepared(sql).get(...values) as T | undefined
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#prepared(sql).run(...values)
  }
}
