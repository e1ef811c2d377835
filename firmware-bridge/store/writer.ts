/**
 * The bridge's database file, in the worker: all writes of a batch share one transaction, hence one wait for the disk. Each
 * has a savepoint of its own, so that one that fails takes no other with it.
 */
import { closeSync, openSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { SchemaPart, SqlRow, SqlValue, Statement } from '../ports/index.ts'
import type { Answer, Failure, Request, WorkerInit } from './messages.ts'

/** In the file's header: `SKNB`. */
const APPLICATION_ID = 0x534b_4e42
/** Log kept on disk when nothing is in it. */
const LOG_BYTES_MAX = 16 * 1024 * 1024
/** Statements that stay prepared: those of all parts, which are constants of the code. */
const STATEMENTS_MAX = 256

const isWrite = (request: Request): request is Extract<Request, { write: unknown }> => 'write' in request

export class Writer {
  readonly #db: DatabaseSync
  readonly #path: string
  readonly #statements = new Map<string, StatementSync>()

  private constructor(db: DatabaseSync, path: string) {
    this.#db = db
    this.#path = path
  }

  /** Opens the database, made if need be, and brings the tables of all parts to their newest version. */
  static open({ path, parts, bytesMax }: WorkerInit): Writer | Failure {
    let db: DatabaseSync | undefined
    try {
      // SQLite gives its other files the mode of this one
      closeSync(openSync(path, 'a', 0o600))
      db = new DatabaseSync(path)
      db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = ${LOG_BYTES_MAX};
        PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON`)
      const pageBytes = numberOf(db, 'PRAGMA page_size')
      db.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(bytesMax / pageBytes))}`)
      const unfit = migrate(db, parts)
      if (unfit === undefined) return new Writer(db, path)
      db.close()
      return { code: 'DATA_DIR_UNUSABLE', message: `the devices' database ${path} ${unfit}` }
    } catch (error) {
      if (db?.isOpen === true) db.close()
      return failureOf(error, path)
    }
  }

  /** Answers all of `requests`: those that write when they are durable, then those that read. */
  *run(requests: readonly Request[]): Generator<Answer[], void, undefined> {
    const writes = requests.filter(isWrite)
    if (writes.length > 0) yield this.#commit(writes)
    const reads = requests.filter((request) => !isWrite(request))
    if (reads.length > 0) yield reads.map((request) => this.#read(request))
  }

  #commit(writes: readonly Extract<Request, { write: unknown }>[]): Answer[] {
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      const answers = writes.map(({ id, write }) => this.#inSavepoint(id, write))
      this.#db.exec('COMMIT')
      return answers
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      const failure = failureOf(error, this.#path)
      return writes.map(({ id }) => ({ id, failure }))
    }
  }

  #inSavepoint(id: number, statements: readonly Statement[]): Answer {
    this.#db.exec('SAVEPOINT request')
    try {
      const value = this.#write(statements)
      this.#db.exec('RELEASE request')
      return { id, value }
    } catch (error) {
      // a full disk ends the whole transaction: nothing of it is left to go on with
      if (!this.#db.isTransaction) throw error
      this.#db.exec('ROLLBACK TO request; RELEASE request')
      return { id, failure: failureOf(error, this.#path) }
    }
  }

  #write(statements: readonly Statement[]): number[] {
    const changes: number[] = []
    for (const [sql, ...values] of statements) {
      changes.push(Number(this.#prepared(sql).run(...values).changes))
      if (changes[0] === 0) break
    }
    return changes
  }

  #read(request: Request): Answer {
    const { id } = request
    try {
      if ('close' in request) {
        this.#db.close()
        return { id }
      }
      const [sql, ...values] = (request as { readonly read: Statement }).read
      return { id, value: this.#prepared(sql).all(...values) as SqlRow[] }
    } catch (error) {
      return { id, failure: failureOf(error, this.#path) }
    }
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      if (this.#statements.size >= STATEMENTS_MAX) this.#statements.clear()
      this.#statements.set(sql, (statement = this.#db.prepare(sql)))
    }
    return statement
  }
}

const numberOf = (db: DatabaseSync, sql: string, ...values: SqlValue[]): number =>
  Number(Object.values((db.prepare(sql).get(...values) ?? {}) as object)[0] ?? 0)

/** Each step in a transaction of its own. Returns why the file is not ours, or of a newer Skein. */
function migrate(db: DatabaseSync, parts: readonly SchemaPart[]): string | undefined {
  const isEmpty = numberOf(db, 'SELECT count(*) FROM sqlite_schema') === 0
  if (!isEmpty && numberOf(db, 'PRAGMA application_id') !== APPLICATION_ID)
    return 'is no database of Skein; move it away'
  db.exec(`PRAGMA application_id = ${APPLICATION_ID};
    CREATE TABLE IF NOT EXISTS parts (part TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID`)
  for (const { part, steps } of parts) {
    const version = numberOf(db, 'SELECT version FROM parts WHERE part = ?', part)
    if (version > steps.length)
      return `is of a newer Skein (${part} ${version}, this one knows ${steps.length}); update Skein`
    for (let at = version; at < steps.length; at++) step(db, steps[at]!, part, at + 1)
  }
  return undefined
}

function step(db: DatabaseSync, sql: string, part: string, version: number): void {
  db.exec('BEGIN IMMEDIATE')
  try {
    db.exec(sql)
    db.prepare('INSERT INTO parts VALUES (?1, ?2) ON CONFLICT DO UPDATE SET version = ?2').run(part, version)
    db.exec('COMMIT')
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

/** SQLITE_ERROR, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE: what was asked is wrong, not the disk. */
const DEFECTS: ReadonlySet<number> = new Set([1, 19, 20, 25])
const SQLITE_FULL = 13

/** What a thrown error of SQLite or the file system means. */
function failureOf(thrown: unknown, path: string): Failure {
  const { errcode, code, message } = thrown as { errcode?: number; code?: string; message: string }
  const primary = errcode === undefined ? undefined : errcode & 0xff
  if (primary === SQLITE_FULL || code === 'ENOSPC' || code === 'EDQUOT')
    return { code: 'DISK_FULL', message: `there is no room for the devices' database ${path}` }
  if (primary !== undefined && DEFECTS.has(primary))
    return { code: 'INTERNAL', message: `the devices' database was asked what it cannot do: ${message}` }
  return { code: 'DATA_DIR_UNUSABLE', message: `the devices' database ${path}: ${message}` }
}
