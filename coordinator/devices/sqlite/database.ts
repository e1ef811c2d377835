/**
 * The devices' database, in the worker. Requests that came while the disk was busy share one transaction; each has a
 * savepoint of its own, so that one that fails takes no other with it. Loads nothing of the protocol.
 */
import { closeSync, openSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import type { DeviceChange, DeviceSnapshot, StoredCall, StoredDesire, StoredDevice, StoredReading } from '../store.ts'
import type { StoredTask, StoredTaskCall, TaskAndCalls } from '../task-types.ts'
import type { Answer, Failure, OperationName, Operations, Request, RequestOf, WorkerInit } from './messages.ts'

/** In the file's header: `SKDV`. */
const APPLICATION_ID = 0x534b_4456
const BUSY_MS = 2000
/** Log kept on disk when nothing is in it. */
const LOG_BYTES_MAX = 16 * 1024 * 1024

/** Statements that lead from version n (their index) to n + 1. Never changed once published: the next version is added. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE bridges (bridge TEXT PRIMARY KEY, recorded INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    payload TEXT NOT NULL,
    kept INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE last_values (
    device TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (device, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE desired (device TEXT PRIMARY KEY, payload TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE readings (
    seq INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    at REAL NOT NULL
  ) STRICT;
  CREATE INDEX readings_by_device ON readings (device, seq);
  CREATE INDEX readings_by_time ON readings (at);
  CREATE TABLE calls (
    seq INTEGER PRIMARY KEY,
    call TEXT NOT NULL UNIQUE,
    device TEXT NOT NULL,
    ended_at REAL,
    payload TEXT NOT NULL
  ) STRICT;
  CREATE INDEX calls_by_device ON calls (device, seq);
  CREATE INDEX calls_open ON calls (seq) WHERE ended_at IS NULL;
  CREATE INDEX calls_ended ON calls (ended_at) WHERE ended_at IS NOT NULL;
  `,
  `
  CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY,
    task TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    ended_at REAL,
    payload TEXT NOT NULL
  ) STRICT;
  CREATE INDEX tasks_by_tenant ON tasks (tenant, seq);
  CREATE INDEX tasks_active ON tasks (seq) WHERE ended_at IS NULL;
  CREATE INDEX tasks_ended ON tasks (ended_at) WHERE ended_at IS NOT NULL;
  CREATE TABLE task_calls (
    task TEXT NOT NULL,
    n INTEGER NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (task, n)
  ) STRICT, WITHOUT ROWID;
  `,
]

/** Error numbers of SQLite, in their low byte: damaged (11), no database (26). */
const CORRUPT: ReadonlySet<number> = new Set([11, 26])

export function failureOf(error: unknown, path: string): Failure {
  const { errcode, message } = error as { errcode?: number; message: string }
  if (errcode !== undefined && CORRUPT.has(errcode & 0xff))
    return { code: 'LEDGER_CORRUPT', message: `${path} is damaged (${message}); move it away, and bridges report anew` }
  return { code: 'LEDGER_UNAVAILABLE', message: `${path}: ${message}` }
}

type Handlers = { readonly [N in OperationName]: (request: RequestOf<N>) => Operations[N]['answer'] }

export class DeviceDatabase {
  readonly #db: DatabaseSync
  readonly #init: WorkerInit
  readonly #statements = new Map<string, StatementSync>()

  /** Opens the database, made if need be. Throws what SQLite does. */
  constructor(init: WorkerInit) {
    this.#init = init
    // SQLite gives its other files the mode of this one
    closeSync(openSync(init.path, 'a', 0o600))
    const db = new DatabaseSync(init.path, { timeout: BUSY_MS })
    this.#db = db
    db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = ${LOG_BYTES_MAX};
      PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON`)
    const version = Number(this.#all<{ user_version: number }>('PRAGMA user_version')[0]?.user_version)
    const owner = Number(this.#all<{ application_id: number }>('PRAGMA application_id')[0]?.application_id)
    if (version > MIGRATIONS.length || (version > 0 && owner !== APPLICATION_ID))
      throw Object.assign(new TypeError('is of a newer Skein, or of another program'), { errcode: 26 })
    for (let at = version; at < MIGRATIONS.length; at++)
      db.exec(`BEGIN IMMEDIATE; ${MIGRATIONS[at]!}
        PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${at + 1}; COMMIT`)
  }

  /** Answers all of `requests` when what they write is durable. */
  run(requests: readonly Request[]): Answer[] {
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      const answers = requests.map((request) => this.#inSavepoint(request))
      this.#db.exec('COMMIT')
      if (requests.some(({ name }) => name === 'close')) this.#db.close()
      return answers
    } catch (error) {
      if (this.#db.isOpen && this.#db.isTransaction) this.#db.exec('ROLLBACK')
      const failure = failureOf(error, this.#init.path)
      return requests.map(({ id }) => ({ id, failure }))
    }
  }

  #inSavepoint(request: Request): Answer {
    this.#db.exec('SAVEPOINT request')
    try {
      const value = (this.#handlers[request.name] as (request: Request) => unknown)(request)
      this.#db.exec('RELEASE request')
      return { id: request.id, value }
    } catch (error) {
      // a full disk ends the whole transaction: nothing of it is left to go on with
      if (!this.#db.isTransaction) throw error
      this.#db.exec('ROLLBACK TO request; RELEASE request')
      return { id: request.id, failure: failureOf(error, this.#init.path) }
    }
  }

  readonly #handlers: Handlers = {
    load: () => this.#load(),
    record: ({ change }) => this.#record(change),
    recordCall: ({ call }) => this.#recordCall(call),
    desire: ({ device, desires }) => {
      this.#do('INSERT OR REPLACE INTO desired VALUES (?, ?)', device, JSON.stringify(desires))
      return null
    },
    history: ({ query: { device, name, sinceMs, limit } }) => {
      const named = name === undefined ? [] : [name]
      const rows = this.#all<ReadingRow>(
        `SELECT device, name, value, at FROM readings WHERE device = ? AND at >= ? ${name === undefined ? '' : 'AND name = ?'}
         ORDER BY seq DESC LIMIT ?`,
        ...[device, sinceMs, ...named, limit],
      )
      return rows.reverse().map(readingOf)
    },
    calls: ({ query: { device, limit } }) => {
      const where = device === undefined ? '' : 'WHERE device = ?'
      const given = device === undefined ? [limit] : [device, limit]
      return this.#payloads<StoredCall>(`SELECT payload FROM calls ${where} ORDER BY seq DESC LIMIT ?`, ...given)
    },
    call: ({ call }) => this.#payloads<StoredCall>('SELECT payload FROM calls WHERE call = ?', call)[0] ?? null,
    recordTask: ({ task, calls }) => this.#recordTask(task, calls),
    activeTasks: () => this.#tasks('ended_at IS NULL'),
    task: ({ task }) => this.#tasks('task = ?', task)[0] ?? null,
    tasks: ({ query: { tenant, limit } }) => {
      const where = tenant === undefined ? '' : 'WHERE tenant = ?'
      const given = tenant === undefined ? [limit] : [tenant, limit]
      return this.#payloads<StoredTask>(`SELECT payload FROM tasks ${where} ORDER BY seq DESC LIMIT ?`, ...given)
    },
    sweep: ({ readingsBeforeMs, callsBeforeMs }) => this.#sweep(readingsBeforeMs, callsBeforeMs),
    close: () => null,
  }

  #load(): DeviceSnapshot {
    return {
      bridges: this.#all('SELECT bridge, recorded FROM bridges ORDER BY bridge'),
      devices: this.#payloads<StoredDevice>('SELECT payload FROM devices ORDER BY id'),
      last: this.#all<ReadingRow>('SELECT device, name, value, at FROM last_values').map(readingOf),
      desired: this.#payloads<StoredDesire[]>('SELECT payload FROM desired').flat(),
      open: this.#payloads<StoredCall>('SELECT payload FROM calls WHERE ended_at IS NULL ORDER BY seq'),
    }
  }

  #record({ bridge, recorded, devices, gone, readings, last, ends }: DeviceChange): null {
    this.#do('INSERT OR REPLACE INTO bridges VALUES (?, ?)', bridge, recorded)
    for (const device of devices)
      this.#do(
        'INSERT INTO devices (id, payload) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET payload = excluded.payload',
        device.descriptor.id,
        JSON.stringify(device),
      )
    const counts = new Map<string, number>()
    for (const { device, name, value, atMs } of readings) {
      this.#do(
        'INSERT INTO readings (device, name, value, at) VALUES (?, ?, ?, ?)',
        ...[device, name, JSON.stringify(value), atMs],
      )
      counts.set(device, (counts.get(device) ?? 0) + 1)
    }
    for (const { device, name, value, atMs } of last)
      this.#do('INSERT OR REPLACE INTO last_values VALUES (?, ?, ?, ?)', ...[device, name, JSON.stringify(value), atMs])
    for (const id of gone)
      for (const [table, column] of OF_DEVICE) this.#do(`DELETE FROM ${table} WHERE ${column} = ?`, id)
    for (const [device, count] of counts) this.#trim(device, count)
    for (const { call, end } of ends)
      this.#do(
        "UPDATE calls SET ended_at = ?, payload = json_set(payload, '$.end', json(?)) WHERE call = ?",
        ...[end.endedAtMs, JSON.stringify(end), call],
      )
    return null
  }

  /** Of a device that has so many more readings. */
  #trim(device: string, more: number): void {
    this.#do('UPDATE devices SET kept = kept + ? WHERE id = ?', more, device)
    const kept = this.#all<{ kept: number }>('SELECT kept FROM devices WHERE id = ?', device)[0]?.kept ?? 0
    const surplus = kept - this.#init.bounds.readingsPerDeviceMax
    if (surplus <= 0) return
    this.#do(
      'DELETE FROM readings WHERE seq IN (SELECT seq FROM readings WHERE device = ? ORDER BY seq LIMIT ?)',
      ...[device, surplus],
    )
    this.#do('UPDATE devices SET kept = kept - ? WHERE id = ?', surplus, device)
  }

  #recordCall(call: StoredCall): null {
    this.#do(
      `INSERT INTO calls (call, device, ended_at, payload) VALUES (?, ?, ?, ?)
       ON CONFLICT (call) DO UPDATE SET ended_at = excluded.ended_at, payload = excluded.payload`,
      ...[call.call, call.device, call.end?.endedAtMs ?? null, JSON.stringify(call)],
    )
    return null
  }

  #tasks(where: string, ...given: SQLInputValue[]): TaskAndCalls[] {
    return this.#payloads<StoredTask>(`SELECT payload FROM tasks WHERE ${where} ORDER BY seq`, ...given).map(
      (task) => ({
        task,
        calls: this.#payloads('SELECT payload FROM task_calls WHERE task = ? ORDER BY n', task.task),
      }),
    )
  }

  #recordTask(task: StoredTask, calls: readonly StoredTaskCall[]): null {
    this.#do(
      `INSERT INTO tasks (task, tenant, ended_at, payload) VALUES (?, ?, ?, ?)
       ON CONFLICT (task) DO UPDATE SET ended_at = excluded.ended_at, payload = excluded.payload`,
      ...[task.task, task.tenant, task.end?.endedAtMs ?? null, JSON.stringify(task)],
    )
    for (const call of calls)
      this.#do('INSERT OR REPLACE INTO task_calls VALUES (?, ?, ?)', task.task, call.n, JSON.stringify(call))
    const surplus = task.calls - this.#init.bounds.taskCallsMax
    if (surplus > 0) this.#do('DELETE FROM task_calls WHERE task = ? AND n <= ?', task.task, surplus)
    return null
  }

  #sweep(readingsBeforeMs: number, callsBeforeMs: number): null {
    const { readingsMax, callsMax, tasksMax } = this.#init.bounds
    this.#do('DELETE FROM readings WHERE at < ?', readingsBeforeMs)
    this.#do(
      'DELETE FROM readings WHERE seq <= (SELECT seq FROM readings ORDER BY seq DESC LIMIT 1 OFFSET ?)',
      readingsMax,
    )
    this.#do('UPDATE devices SET kept = (SELECT count(*) FROM readings WHERE device = id)')
    this.#do('DELETE FROM calls WHERE ended_at < ?', callsBeforeMs)
    this.#do(
      `DELETE FROM calls WHERE ended_at IS NOT NULL AND
       seq <= (SELECT seq FROM calls WHERE ended_at IS NOT NULL ORDER BY seq DESC LIMIT 1 OFFSET ?)`,
      callsMax,
    )
    this.#do('DELETE FROM tasks WHERE ended_at < ?', callsBeforeMs)
    this.#do(
      `DELETE FROM tasks WHERE ended_at IS NOT NULL AND
       seq <= (SELECT seq FROM tasks WHERE ended_at IS NOT NULL ORDER BY seq DESC LIMIT 1 OFFSET ?)`,
      tasksMax,
    )
    this.#do('DELETE FROM task_calls WHERE task NOT IN (SELECT task FROM tasks)')
    return null
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) this.#statements.set(sql, (statement = this.#db.prepare(sql)))
    return statement
  }

  #do(sql: string, ...given: SQLInputValue[]): void {
    this.#statement(sql).run(...given)
  }

  #all<T>(sql: string, ...given: SQLInputValue[]): T[] {
    return this.#statement(sql).all(...given) as T[]
  }

  #payloads<T>(sql: string, ...given: SQLInputValue[]): T[] {
    return this.#all<{ payload: string }>(sql, ...given).map(({ payload }) => JSON.parse(payload) as T)
  }
}

/** Tables that have what is known of a device, and the column with its id. */
const OF_DEVICE = [
  ['devices', 'id'],
  ['last_values', 'device'],
  ['desired', 'device'],
  ['readings', 'device'],
] as const

interface ReadingRow {
  readonly device: string
  readonly name: string
  readonly value: string
  readonly at: number
}

const readingOf = ({ device, name, value, at }: ReadingRow): StoredReading => ({
  device,
  name,
  value: JSON.parse(value) as StoredReading['value'],
  atMs: at,
})
