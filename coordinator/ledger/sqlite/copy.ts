/** A copy of a ledger as it is at one moment, while others write to it. */
import { closeSync, fsyncSync, openSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { LedgerFacts } from '../ledger.ts'
import { factsOf, failureOf, integrityOf, isFailure, refuse, type Failure } from './schema.ts'

/** A copy waits this long for a writer that changes the log's form; that is never more than a moment. */
const BUSY_MS = 5000

/**
 * Copies the ledger in `path` to `target`, which must not exist, checks the copy whole, and returns what is in it. One
 * read transaction: the writer is not held up, and nothing that comes after the start is in the copy.
 */
export function copyLedger(path: string, target: string): LedgerFacts | Failure {
  try {
    closeSync(openSync(target, 'wx', 0o600))
  } catch (error) {
    return invalid(target, `cannot be written: ${(error as Error).message}`)
  }
  const copied = copy(path, target)
  if (isFailure(copied)) rmSync(target, { force: true })
  return copied
}

function copy(path: string, target: string): LedgerFacts | Failure {
  const failure = withDatabase(path, true, (source) => {
    const unfit = refuse(source)
    if (unfit !== undefined) return { ...unfit, message: `${path} ${unfit.message}` }
    try {
      source.prepare('VACUUM INTO ?').run(target)
      return undefined
    } catch (error) {
      const why = failureOf(error, path)
      return why.code === 'LEDGER_CORRUPT' ? why : invalid(target, `cannot be written: ${(error as Error).message}`)
    }
  })
  if (failure !== undefined) return failure
  syncPath(target)
  return withDatabase(target, true, (db) => integrityOf(db, target) ?? factsOf(db))
}

/** Runs `work` on the database in `path`. What SQLite throws becomes a failure. */
export function withDatabase<T>(path: string, readOnly: boolean, work: (db: DatabaseSync) => T): T | Failure {
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(path, { readOnly, timeout: BUSY_MS })
    return work(db)
  } catch (error) {
    return failureOf(error, path)
  } finally {
    db?.close()
  }
}

/** Makes a file, or the names in a directory, durable. */
export function syncPath(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

const invalid = (path: string, why: string): Failure => ({ code: 'BACKUP_INVALID', message: `${path} ${why}` })
