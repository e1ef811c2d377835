/**
 * A backup: one SQLite file with a copy of the ledger, the small files of the data directory that a lost disk would take,
 * and a manifest with the digest of each. Writing ends with a restore into a temporary directory; only what could be
 * restored is called a backup.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { isDeepStrictEqual } from 'node:util'
import { Type, type Static } from 'typebox'
import { checker, SkeinError } from '../../../mesh/protocol/index.ts'
import type { LedgerFacts } from '../ledger.ts'
import { copyLedger, syncPath, withDatabase } from './copy.ts'
import {
  factsOf,
  hasBatches,
  hasBudgets,
  hasLeases,
  hasUsage,
  integrityOf,
  isFailure,
  numberOf,
  refuse,
  type Failure,
} from './schema.ts'

/** One small file of a data directory. */
export interface BackupFile {
  readonly name: string
  readonly content: Uint8Array
}

export interface BackupSource {
  /** The ledger; there need be none. */
  readonly ledgerPath: string
  readonly files: readonly BackupFile[]
  /** Of Skein. */
  readonly version: string
  readonly createdAtMs: number
}

const FactsSchema = Type.Object({
  schemaVersion: Type.Integer(),
  events: Type.Integer(),
  tasks: Type.Integer(),
  epoch: Type.Integer(),
  accessEvents: Type.Optional(Type.Integer()),
  usage: Type.Optional(Type.Integer()),
  batchEvents: Type.Optional(Type.Integer()),
  leaseEvents: Type.Optional(Type.Integer()),
  charges: Type.Optional(Type.Integer()),
  budgetEvents: Type.Optional(Type.Integer()),
})
const ManifestSchema = Type.Object({
  format: Type.Literal(1),
  version: Type.String(),
  createdAtMs: Type.Number(),
  files: Type.Array(Type.Object({ name: Type.String(), sha256: Type.String() })),
  ledger: Type.Optional(Type.Object({ facts: FactsSchema, sha256: Type.String() })),
})
type Manifest = Static<typeof ManifestSchema>
const isManifest = checker(ManifestSchema)

/** What a backup says of itself, once that was found true. */
export interface BackupContent {
  readonly version: string
  readonly createdAtMs: number
  readonly files: readonly string[]
  readonly ledger?: LedgerFacts
}

/** Name of the ledger in a data directory. */
export const LEDGER_FILE = 'ledger.db'

/** A restored ledger is behind the lost one, which may have been opened again: no fencing token may come twice. */
const EPOCH_LEAP = 65_536

/**
 * Writes a backup to `path` (mode 0600), while a coordinator may be running, and restores it for a test.
 *
 * @throws SkeinError BACKUP_INVALID when `path` exists, cannot be written, or does not hold what was put in;
 *   LEDGER_CORRUPT, LEDGER_UNAVAILABLE for a ledger that cannot be read.
 */
export function writeBackup(source: BackupSource, path: string): BackupContent {
  try {
    // the name is taken first, so that nobody's file is written over
    closeSync(openSync(path, 'wx', 0o600))
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === 'EEXIST' ? 'it exists already' : (cause as Error).message
    throw invalid(path, `cannot be written: ${why}`, cause)
  }
  let beside: string | undefined
  try {
    beside = mkdtempSync(`${path}.partial-`)
    const made = join(beside, 'backup')
    fill(made, source)
    const content = restoreBackup(
      made,
      join(beside, 'restored'),
      source.files.map(({ name }) => name),
    )
    renameSync(made, path)
    syncPath(dirname(resolve(path)))
    return content
  } catch (cause) {
    rmSync(path, { force: true })
    throw cause instanceof SkeinError ? cause : invalid(path, `cannot be written: ${(cause as Error).message}`, cause)
  } finally {
    if (beside !== undefined) rmSync(beside, { recursive: true, force: true })
  }
}

function fill(path: string, { ledgerPath, files, version, createdAtMs }: BackupSource): void {
  if (existsSync(ledgerPath)) orThrow(copyLedger(ledgerPath, path))
  else writeFileSync(path, '', { flag: 'wx', mode: 0o600 })
  const filled = withDatabase(path, false, (db) => {
    const hasLedger = existsSync(ledgerPath)
    const manifest: Manifest = {
      format: 1,
      version,
      createdAtMs,
      files: files.map(({ name, content }) => ({ name, sha256: sha256(content) })),
      ...(hasLedger && { ledger: { facts: factsOf(db), sha256: digestOf(db) } }),
    }
    const text = JSON.stringify(manifest)
    db.exec(`BEGIN;
      CREATE TABLE backup (manifest TEXT NOT NULL, sha256 TEXT NOT NULL) STRICT;
      CREATE TABLE backup_files (name TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT`)
    db.prepare('INSERT INTO backup VALUES (?, ?)').run(text, sha256(text))
    const insert = db.prepare('INSERT INTO backup_files VALUES (?, ?)')
    for (const { name, content } of files) insert.run(name, content)
    db.exec('COMMIT')
    return undefined
  })
  orThrow(filled)
  syncPath(path)
}

/**
 * Makes `dataDir` of the backup in `path`: all of it or nothing. `dataDir` must be empty or not be there; files whose
 * names are not in `names` are refused. The ledger's epoch leaps, so that no fencing token comes twice.
 *
 * @throws SkeinError BACKUP_INVALID; DATA_DIR_UNUSABLE.
 */
export function restoreBackup(path: string, dataDir: string, names: readonly string[]): BackupContent {
  const target = resolve(dataDir)
  const present = existsSync(target) ? readdirSync(target) : []
  if (present.length > 0)
    throw unusable(target, `is not empty (${present.slice(0, 3).join(', ')}); name a new one with --data DIR`)
  let stage: string | undefined
  try {
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 })
    stage = mkdtempSync(join(dirname(target), `.${basename(target)}.restore-`))
    const content = unpack(path, stage, names)
    renameSync(stage, target)
    syncPath(dirname(target))
    return content
  } catch (cause) {
    if (stage !== undefined) rmSync(stage, { recursive: true, force: true })
    if (cause instanceof SkeinError) throw cause
    const { code, message } = cause as NodeJS.ErrnoException
    const isMount = code === 'EBUSY' || code === 'EXDEV'
    throw unusable(
      target,
      isMount ? 'is a mount point; name a new directory in it' : `cannot be made: ${message}`,
      cause,
    )
  }
}

/** Checks a private copy, so that what was checked is what is restored. */
function unpack(path: string, stage: string, names: readonly string[]): BackupContent {
  const ledger = join(stage, LEDGER_FILE)
  try {
    copyFileSync(path, ledger)
  } catch (cause) {
    throw invalid(path, `cannot be read: ${(cause as Error).message}`, cause)
  }
  chmodSync(ledger, 0o600)
  const { manifest, files } = readArchive(path, ledger, names)
  for (const { name, content } of files) {
    writeFileSync(join(stage, name), content, { mode: 0o600 })
    syncPath(join(stage, name))
  }
  if (manifest.ledger === undefined) rmSync(ledger)
  else release(ledger, manifest.ledger.facts)
  syncPath(stage)
  const { version, createdAtMs } = manifest
  return {
    version,
    createdAtMs,
    files: files.map(({ name }) => name),
    ...(manifest.ledger && { ledger: manifest.ledger.facts }),
  }
}

/** Makes a ledger of the backup in `path`, and counts what is in it again. */
function release(path: string, facts: LedgerFacts): void {
  const restored = withDatabase(path, false, (db) => {
    // secret keys: nothing of them may stay in the ledger's free pages
    db.exec(`PRAGMA secure_delete = ON; DROP TABLE backup; DROP TABLE backup_files;
      UPDATE meta SET value = value + ${EPOCH_LEAP} WHERE key = 'epoch'; VACUUM`)
    return integrityOf(db, path) ?? factsOf(db)
  })
  orThrow(restored)
  if (!isDeepStrictEqual(restored, { ...facts, epoch: facts.epoch + EPOCH_LEAP }))
    throw invalid(path, 'does not hold what it says')
  syncPath(path)
}

interface Archive {
  readonly manifest: Manifest
  readonly files: readonly BackupFile[]
}

/** Reads all of `copy`. @throws SkeinError BACKUP_INVALID naming `path` and what is wrong with it. */
function readArchive(path: string, copy: string, names: readonly string[]): Archive {
  const read = withDatabase(copy, true, (db): Archive | Failure => {
    const isBackup = numberOf(db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('backup', 'backup_files')") === 2
    if (!isBackup) return wrong('is no backup of Skein')
    if (numberOf(db, "SELECT count(*) FROM sqlite_schema WHERE type IN ('trigger', 'view')") > 0)
      return wrong('has programs in it, which no backup of Skein has')
    const damage = integrityOf(db, path)
    if (damage !== undefined) return wrong('is damaged')
    const manifest = manifestOf(db)
    if (isFailure(manifest)) return manifest
    const files = db.prepare('SELECT name, content FROM backup_files ORDER BY name').all() as unknown as BackupFile[]
    return checkFiles(manifest, files, names) ?? checkLedger(db, manifest) ?? { manifest, files }
  })
  if (!isFailure(read)) return read
  throw invalid(path, read.code === 'BACKUP_INVALID' ? read.message : 'is damaged, or no backup of Skein')
}

function manifestOf(db: DatabaseSync): Manifest | Failure {
  const row = db.prepare('SELECT manifest, sha256 FROM backup').get() as
    { manifest: string; sha256: string } | undefined
  if (row === undefined || sha256(row.manifest) !== row.sha256) return wrong('is damaged: its manifest')
  const manifest: unknown = JSON.parse(row.manifest)
  return isManifest(manifest) ? manifest : wrong('is of a newer Skein. Update Skein')
}

function checkFiles(manifest: Manifest, files: readonly BackupFile[], names: readonly string[]): Failure | undefined {
  const digests = new Map(manifest.files.map(({ name, sha256: digest }) => [name, digest]))
  if (files.length !== digests.size) return wrong('does not have the files that its manifest lists')
  for (const { name, content } of files) {
    if (!names.includes(name)) return wrong(`has a file that no data directory has ('${name}')`)
    if (sha256(content) !== digests.get(name)) return wrong(`is damaged: ${name}`)
  }
  return undefined
}

function checkLedger(db: DatabaseSync, { ledger }: Manifest): Failure | undefined {
  if (ledger === undefined) return undefined
  const unfit = refuse(db)
  if (unfit !== undefined) return wrong(`holds a ledger that ${unfit.message}`)
  return digestOf(db) === ledger.sha256 ? undefined : wrong('is damaged: its ledger')
}

/** Over every value of the ledger: SQLite itself has no check sums. */
function digestOf(db: DatabaseSync): string {
  const hash = createHash('sha256')
  for (const query of [
    'SELECT * FROM meta ORDER BY key',
    'SELECT * FROM tasks ORDER BY seq',
    'SELECT * FROM events ORDER BY seq',
    ...(hasUsage(db) ? ['SELECT * FROM access_events ORDER BY seq', 'SELECT * FROM usage ORDER BY seq'] : []),
    ...(hasBatches(db) ? ['SELECT * FROM batch_events ORDER BY seq'] : []),
    ...(hasLeases(db) ? ['SELECT * FROM lease_events ORDER BY seq'] : []),
    ...(hasBudgets(db) ? ['SELECT * FROM charges ORDER BY seq', 'SELECT * FROM budget_events ORDER BY seq'] : []),
  ])
    for (const row of db.prepare(query).iterate())
      for (const value of Object.values(row))
        if (value instanceof Uint8Array) hash.update(`${value.length}:`).update(value)
        else hash.update(`${JSON.stringify(value)}\n`)
  return hash.digest('hex')
}

const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex')
const wrong = (message: string): Failure => ({ code: 'BACKUP_INVALID', message })
const invalid = (path: string, why: string, cause?: unknown): SkeinError =>
  new SkeinError('BACKUP_INVALID', `${path} ${why}`, { cause })
const unusable = (path: string, why: string, cause?: unknown): SkeinError =>
  new SkeinError('DATA_DIR_UNUSABLE', `${path} ${why}`, { cause })

/** @throws SkeinError for a failure. */
function orThrow<T>(value: T | Failure): asserts value is T {
  if (typeof value === 'object' && value !== null && isFailure(value)) throw new SkeinError(value.code, value.message)
}
