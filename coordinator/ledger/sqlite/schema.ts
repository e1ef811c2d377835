/**
 * The tables, their versions, and what SQLite's errors mean. Runs in the ledger's worker, which loads nothing of the
 * protocol (its schemas alone take 50 MB): failures are values here, and become SkeinErrors on the other side.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { ErrorCode } from '../../../mesh/protocol/index.ts'
import type { LedgerFacts } from '../ledger.ts'

/** Why something could not be done; a SkeinError without its class. */
export interface Failure {
  readonly code: ErrorCode
  readonly message: string
}

export const isFailure = (value: object): value is Failure => 'code' in value && 'message' in value

/** In the file's header: `SKNL`. */
const APPLICATION_ID = 0x534b_4e4c

/** Statements that lead from version n (their index) to n + 1. Never changed once published: the next version is added. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO meta VALUES ('epoch', 0);

  CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    idempotency_key TEXT,
    body_digest TEXT,
    model TEXT NOT NULL,
    priority TEXT NOT NULL,
    is_stored INTEGER NOT NULL,
    admitted_at REAL NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    tokens INTEGER NOT NULL DEFAULT 0,
    node_id TEXT,
    node_name TEXT,
    ended_at REAL,
    code TEXT,
    is_purged INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE UNIQUE INDEX tasks_by_key ON tasks (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
  CREATE INDEX tasks_open ON tasks (seq) WHERE ended_at IS NULL;
  CREATE INDEX tasks_ended ON tasks (ended_at) WHERE ended_at IS NOT NULL;
  CREATE INDEX tasks_with_text ON tasks (ended_at)
    WHERE ended_at IS NOT NULL AND is_purged = 0 AND is_stored = 0;

  CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    task INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    type TEXT NOT NULL,
    at REAL NOT NULL,
    payload BLOB NOT NULL
  ) STRICT;
  CREATE INDEX events_by_task ON events (task, seq);
  `,
  `
  ALTER TABLE tasks ADD COLUMN digest TEXT;
  ALTER TABLE tasks ADD COLUMN route TEXT;
  ALTER TABLE tasks ADD COLUMN cost_micros REAL;
  CREATE INDEX tasks_by_tenant ON tasks (tenant, seq);

  CREATE TABLE access_events (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    payload BLOB NOT NULL
  ) STRICT;

  CREATE TABLE usage (
    seq INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    at REAL NOT NULL,
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    digest TEXT,
    node_id TEXT,
    node_name TEXT,
    route TEXT,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    code TEXT,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    took_ms REAL NOT NULL,
    cost_micros REAL
  ) STRICT;
  CREATE INDEX usage_by_time ON usage (at);
  `,
  `
  CREATE TABLE batch_events (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    at REAL NOT NULL,
    payload BLOB NOT NULL
  ) STRICT;
  CREATE INDEX batch_events_by_id ON batch_events (id, seq);
  `,
  `
  ALTER TABLE tasks ADD COLUMN joules REAL;
  ALTER TABLE tasks ADD COLUMN estimated_joules REAL;
  ALTER TABLE tasks ADD COLUMN energy_micros REAL;
  ALTER TABLE usage ADD COLUMN joules REAL;
  ALTER TABLE usage ADD COLUMN estimated_joules REAL;
  ALTER TABLE usage ADD COLUMN energy_micros REAL;
  ALTER TABLE usage ADD COLUMN cloud_micros REAL;
  `,
  `
  CREATE TABLE lease_events (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    at REAL NOT NULL,
    payload BLOB NOT NULL
  ) STRICT;
  CREATE INDEX lease_events_by_id ON lease_events (id, seq);
  `,
  `
  CREATE TABLE charges (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    part INTEGER NOT NULL,
    tenant TEXT,
    at REAL NOT NULL,
    micros INTEGER NOT NULL,
    is_open INTEGER NOT NULL,
    UNIQUE (id, part, kind)
  ) STRICT;
  CREATE INDEX charges_by_time ON charges (at);
  CREATE INDEX charges_open ON charges (kind) WHERE is_open = 1;

  CREATE TABLE budget_events (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    payload BLOB NOT NULL
  ) STRICT;
  `,
]

/** The one number that `sql` selects. */
export const numberOf = (db: DatabaseSync, sql: string): number =>
  Number(Object.values((db.prepare(sql).get() ?? {}) as object)[0] ?? Number.NaN)

/**
 * Brings the tables to the newest version, each step in a transaction of its own. A failure leaves the last version that
 * was reached.
 */
export function migrate(db: DatabaseSync, migrations = MIGRATIONS): Failure | undefined {
  const unfit = refuse(db, migrations.length)
  if (unfit !== undefined) return unfit
  for (let version = numberOf(db, 'PRAGMA user_version'); version < migrations.length; version++) {
    db.exec('BEGIN IMMEDIATE')
    try {
      db.exec(migrations[version]!)
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${version + 1}; COMMIT`)
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK')
      throw error
    }
  }
  return undefined
}

/** Why `db` is no ledger of this build, or nothing. An empty file is one of version 0. */
export function refuse(db: DatabaseSync, newest = MIGRATIONS.length): Failure | undefined {
  const version = numberOf(db, 'PRAGMA user_version')
  const isEmpty = numberOf(db, 'SELECT count(*) FROM sqlite_schema') === 0
  if (!isEmpty && (version === 0 || numberOf(db, 'PRAGMA application_id') !== APPLICATION_ID))
    return { code: 'LEDGER_CORRUPT', message: `is no ledger of Skein. ${RESTORE}` }
  if (version > newest)
    return {
      code: 'LEDGER_CORRUPT',
      message: `is of a newer Skein (version ${version}, this one knows ${newest}). Update Skein`,
    }
  return undefined
}

/** True from version 2 on: a backup that an older Skein made has no such tables. */
export const hasUsage = (db: DatabaseSync): boolean => numberOf(db, 'PRAGMA user_version') >= 2

/** True from version 3 on. */
export const hasBatches = (db: DatabaseSync): boolean => numberOf(db, 'PRAGMA user_version') >= 3

/** True from version 5 on. */
export const hasLeases = (db: DatabaseSync): boolean => numberOf(db, 'PRAGMA user_version') >= 5

/** True from version 6 on. */
export const hasBudgets = (db: DatabaseSync): boolean => numberOf(db, 'PRAGMA user_version') >= 6

/** Counts what is in the ledger. */
export const factsOf = (db: DatabaseSync): LedgerFacts => ({
  schemaVersion: numberOf(db, 'PRAGMA user_version'),
  events: numberOf(db, 'SELECT count(*) FROM events'),
  tasks: numberOf(db, 'SELECT count(*) FROM tasks'),
  epoch: numberOf(db, "SELECT value FROM meta WHERE key = 'epoch'"),
  ...(hasUsage(db) && {
    accessEvents: numberOf(db, 'SELECT count(*) FROM access_events'),
    usage: numberOf(db, 'SELECT count(*) FROM usage'),
  }),
  ...(hasBatches(db) && { batchEvents: numberOf(db, 'SELECT count(*) FROM batch_events') }),
  ...(hasLeases(db) && { leaseEvents: numberOf(db, 'SELECT count(*) FROM lease_events') }),
  ...(hasBudgets(db) && {
    charges: numberOf(db, 'SELECT count(*) FROM charges'),
    budgetEvents: numberOf(db, 'SELECT count(*) FROM budget_events'),
  }),
})

const RESTORE = 'Restore a backup into a new data directory: skein restore FILE --data DIR'

/** Primary result codes of SQLite (https://sqlite.org/rescode.html). */
const MEANINGS: Readonly<Record<number, (path: string, why: string) => Failure>> = {
  5: (path) => unavailable(path, 'is locked by another program. Close that one'),
  6: (path) => unavailable(path, 'is locked by another program. Close that one'),
  8: (path) =>
    unavailable(path, 'cannot be written: it is read-only. Mend its permissions, or mount its disk for writing'),
  10: (path, why) => unavailable(path, `cannot be read or written (${why}). See to its disk`),
  11: (path) => ({ code: 'LEDGER_CORRUPT', message: `${path} is damaged. ${RESTORE}` }),
  13: (path) => unavailable(path, 'cannot be written: its disk is full. Make room there; nothing needs a restart'),
  14: (path) => unavailable(path, 'cannot be opened: its directory is not there, or may not be read'),
  26: (path) => ({ code: 'LEDGER_CORRUPT', message: `${path} is damaged: it is no database. ${RESTORE}` }),
}

/** Errors of the file system, as those of SQLite. */
const FILE_ERRORS: Readonly<Record<string, number>> = {
  EACCES: 8,
  EDQUOT: 13,
  EIO: 10,
  EISDIR: 14,
  ENOENT: 14,
  ENOSPC: 13,
  ENOTDIR: 14,
  EPERM: 8,
  EROFS: 8,
}

const unavailable = (path: string, what: string): Failure => ({
  code: 'LEDGER_UNAVAILABLE',
  message: `the ledger ${path} ${what}`,
})

/** SQLITE_ERROR, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE: what was asked is wrong, not the disk. */
const DEFECTS: ReadonlySet<number> = new Set([1, 19, 20, 25])

/** What a thrown error of SQLite or the file system means for the ledger in `path`. */
export function failureOf(thrown: unknown, path: string): Failure {
  const { errcode, code, message } = thrown as { errcode?: number; code?: string; message: string }
  const primary = errcode === undefined ? FILE_ERRORS[code ?? ''] : errcode & 0xff
  if (primary === undefined || DEFECTS.has(primary)) return { code: 'INTERNAL', message: `the ledger: ${message}` }
  return MEANINGS[primary]?.(path, message) ?? unavailable(path, `failed (${message})`)
}

/** Bytes up to which the whole file is checked at each opening; about 100 ms of a disk that has it cached. */
const CHECKED_BYTES_MAX = 64 * 1024 * 1024

/** Damage that SQLite finds in the file's structure, or nothing. A large file is left to `integrityOf` of a backup. */
export function quickCheck(db: DatabaseSync, path: string): Failure | undefined {
  const bytes = numberOf(db, 'PRAGMA page_count') * numberOf(db, 'PRAGMA page_size')
  return bytes > CHECKED_BYTES_MAX ? undefined : checkBy(db, 'quick_check', path)
}

/** Damage anywhere in tables, indexes and references, or nothing. Reads the whole file. */
export function integrityOf(db: DatabaseSync, path: string): Failure | undefined {
  const found = checkBy(db, 'integrity_check', path)
  if (found !== undefined) return found
  const orphan = db.prepare('PRAGMA foreign_key_check').get()
  return orphan && { code: 'LEDGER_CORRUPT', message: `${path} is damaged: events without their task. ${RESTORE}` }
}

function checkBy(db: DatabaseSync, pragma: string, path: string): Failure | undefined {
  const found = Object.values(db.prepare(`PRAGMA ${pragma}(1)`).get() as object)[0] as string
  if (found === 'ok') return undefined
  return { code: 'LEDGER_CORRUPT', message: `${path} is damaged (${found}). ${RESTORE}` }
}
