/**
 * The ledger's database, in the worker: all requests of a batch that write share one transaction, hence one wait for the
 * disk; each has a savepoint of its own, so that one that fails takes no other with it.
 */
import { closeSync, openSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import {
  WRITES,
  type Answer,
  type BilledRow,
  type LeaseChargeRow,
  type NewEvent,
  type OperationName,
  type Operations,
  type Request,
  type RequestOf,
  type RowChange,
  type StoredEvent,
  type TaskRow,
  type UsageSumRow,
} from './messages.ts'
import type { UsageAxis } from '../usage.ts'
import { failureOf, isFailure, migrate, numberOf, quickCheck, type Failure } from './schema.ts'

/** A backup that starts may hold the database for a moment. */
const BUSY_MS = 2000

/** Log kept on disk when nothing is in it. */
const LOG_BYTES_MAX = 64 * 1024 * 1024

/** All but `seq`. */
const USAGE_COLUMNS = `task_id, at, tenant, model, digest, node_id, node_name, route, kind, state, code, prompt_tokens,
  cached_tokens, completion_tokens, attempts, took_ms, cost_micros, joules, estimated_joules, energy_micros,
  cloud_micros`
const USAGE_AXES: Readonly<Record<UsageAxis, string>> = {
  tenant: 'tenant',
  model: 'model',
  day: 'CAST(at / 86400000 AS INTEGER)',
  node: 'node_name',
  route: 'route',
  kind: 'kind',
  state: 'state',
}
const USAGE_SUMS = [
  'count(*) AS requests',
  "count(*) FILTER (WHERE state = 'completed') AS completed",
  'sum(prompt_tokens) AS promptTokens',
  'sum(cached_tokens) AS cachedTokens',
  'sum(completion_tokens) AS completionTokens',
  'total(took_ms) AS tookMs',
  'total(cost_micros) + total(energy_micros) AS costMicros',
  'total(joules) AS joules',
  'total(estimated_joules) AS estimatedJoules',
  'total(energy_micros) AS energyMicros',
  'total(cloud_micros) AS cloudMicros',
]

const EPOCH = "SELECT value FROM meta WHERE key = 'epoch'"

type Handlers = { readonly [N in OperationName]: (request: RequestOf<N>) => Operations[N]['answer'] | Failure }

export class Store {
  readonly epoch: number
  readonly #db: DatabaseSync
  readonly #path: string
  readonly #statements = new Map<string, StatementSync>()

  private constructor(db: DatabaseSync, path: string) {
    this.#db = db
    this.#path = path
    db.exec("UPDATE meta SET value = value + 1 WHERE key = 'epoch'")
    this.epoch = numberOf(db, EPOCH)
  }

  /** Opens the ledger in `path`, made if need be, and makes the number of this opening durable. */
  static open(path: string): Store | Failure {
    let db: DatabaseSync | undefined
    try {
      // SQLite gives its other files the mode of this one
      closeSync(openSync(path, 'a', 0o600))
      db = new DatabaseSync(path, { timeout: BUSY_MS })
      const failure = Store.#prepare(db, path)
      if (failure === undefined) return new Store(db, path)
      db.close()
      return failure
    } catch (error) {
      if (db?.isOpen === true) db.close()
      return failureOf(error, path)
    }
  }

  static #prepare(db: DatabaseSync, path: string): Failure | undefined {
    db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
      PRAGMA journal_size_limit = ${LOG_BYTES_MAX}`)
    // macOS: its plain fsync leaves data in the drive's cache; elsewhere this does nothing
    db.exec('PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON')
    const damage = quickCheck(db, path)
    if (damage !== undefined) return damage
    const unfit = migrate(db)
    return unfit && { ...unfit, message: `${path} ${unfit.message}` }
  }

  /** Answers all of `requests`: those that write when they are durable, then those that read. */
  *run(requests: readonly Request[]): Generator<Answer[], void, undefined> {
    const writes = requests.filter((request) => WRITES.has(request.name))
    if (writes.length > 0) yield this.#commit(writes)
    const reads = requests.filter((request) => !WRITES.has(request.name))
    if (reads.length > 0) yield reads.map((request) => this.#answer(request))
  }

  #commit(writes: readonly Request[]): Answer[] {
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      const fenced = this.#fenced()
      const answers = fenced ? failAll(writes, fenced) : writes.map((request) => this.#inSavepoint(request))
      this.#db.exec('COMMIT')
      return answers
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      return failAll(writes, failureOf(error, this.#path))
    }
  }

  /** Should another process have opened this ledger past the lock, it is the later one that may write. */
  #fenced(): Failure | undefined {
    if (numberOf(this.#db, EPOCH) === this.epoch) return undefined
    return {
      code: 'LEDGER_UNAVAILABLE',
      message: `another process has opened the ledger ${this.#path} since: stop this one`,
    }
  }

  #inSavepoint(request: Request): Answer {
    this.#db.exec('SAVEPOINT request')
    const answer = this.#answer(request)
    if ('failure' in answer) this.#db.exec('ROLLBACK TO request')
    this.#db.exec('RELEASE request')
    return answer
  }

  #answer(request: Request): Answer {
    const { id, name } = request
    try {
      const value = (this.#handlers[name] as (request: Request) => unknown)(request)
      if (typeof value === 'object' && value !== null && isFailure(value)) return { id, failure: value }
      return { id, value }
    } catch (error) {
      // a full disk ends the whole transaction: nothing of it is left to go on with
      if (WRITES.has(name) && !this.#db.isTransaction) throw error
      return { id, failure: failureOf(error, this.#path) }
    }
  }

  readonly #handlers: Handlers = {
    admit: ({ task }) => {
      const found =
        this.#row('SELECT seq, body_digest AS digest FROM tasks WHERE tenant = ? AND idempotency_key = ?', [
          task.tenant,
          task.key,
        ]) ?? this.#row('SELECT seq, ? AS digest FROM tasks WHERE task_id = ?', [task.bodyDigest, task.taskId])
      if (found !== undefined) {
        if (found['digest'] !== task.bodyDigest)
          return { code: 'IDEMPOTENCY_MISMATCH', message: `the key '${task.key}' was used with another body` }
        return { isNew: false, events: this.#eventsOf(found['seq'] as number) }
      }
      this.#do(
        `INSERT INTO tasks
           (task_id, tenant, idempotency_key, body_digest, model, digest, priority, is_stored, admitted_at, state)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued')`,
        [
          task.taskId,
          task.tenant,
          task.key,
          task.bodyDigest,
          task.model,
          task.digest,
          task.priority,
          task.isStored ? 1 : 0,
          task.atMs,
        ],
      )
      this.#insert({ ...task, type: 'task.admitted' })
      return { isNew: true }
    },
    append: ({ events }) => {
      for (const event of events) if (this.#change(event) > 0) this.#insert(event)
      return null
    },
    task: ({ taskId }) => this.#found('SELECT seq FROM tasks WHERE task_id = ?', [taskId]),
    byKey: ({ tenant, key }) =>
      this.#found('SELECT seq FROM tasks WHERE tenant = ? AND idempotency_key = ?', [tenant, key]),
    list: ({ limit, before, isOpen, tenant }) =>
      this.#all(
        `SELECT task_id, tenant, model, priority, admitted_at, state, attempts, tokens, node_id, node_name, ended_at, code
         FROM tasks WHERE (?1 IS NULL OR seq < (SELECT seq FROM tasks WHERE task_id = ?1))
         ${isOpen ? 'AND ended_at IS NULL' : ''} ${tenant === null ? '' : 'AND tenant = ?2'} ORDER BY seq DESC LIMIT ?3`,
        [before, tenant, limit],
      ) as unknown as TaskRow[],
    open: ({ after, limit }) =>
      this.#all('SELECT seq FROM tasks WHERE ended_at IS NULL AND seq > ? ORDER BY seq LIMIT ?', [after, limit]).map(
        (row) => ({ seq: row['seq'] as number, events: this.#eventsOf(row['seq'] as number) }),
      ),
    billed: ({ sinceMs }) =>
      this.#all(
        `SELECT tenant, CAST(at / 86400000 AS INTEGER) AS day, sum(micros) AS micros FROM charges
         WHERE at >= ? GROUP BY 1, 2`,
        [sinceMs],
      ) as unknown as BilledRow[],
    recordLeaseCharges: ({ charges }) => {
      for (const { leaseId, part, atMs, micros, isOpen } of charges)
        this.#do(
          `INSERT INTO charges (kind, id, part, at, micros, is_open) VALUES ('lease', ?, ?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET at = excluded.at, micros = excluded.micros, is_open = excluded.is_open`,
          [leaseId, part, atMs, micros, isOpen ? 1 : 0],
        )
      return null
    },
    openLeaseCharges: () =>
      this.#all(
        "SELECT id AS leaseId, part, at AS atMs, micros FROM charges WHERE is_open = 1 AND kind = 'lease' ORDER BY seq",
        [],
      ) as unknown as LeaseChargeRow[],
    recordBudget: ({ atMs, payload }) => {
      this.#do('INSERT INTO budget_events (at, payload) VALUES (?, ?)', [atMs, payload])
      return null
    },
    budgetEvents: ({ after, limit }) =>
      this.#all('SELECT seq, payload FROM budget_events WHERE seq > ? ORDER BY seq LIMIT ?', [
        after,
        limit,
      ]) as unknown as StoredEvent[],
    purgeable: ({ beforeMs, limit }) =>
      this.#all(
        `SELECT seq, task_id FROM tasks WHERE ended_at < ? AND ended_at IS NOT NULL AND is_purged = 0 AND is_stored = 0
         ORDER BY ended_at LIMIT ?`,
        [beforeMs, limit],
      ).map((row) => this.#withEvents(row)),
    erasable: ({ taskId }) =>
      this.#all('SELECT seq, task_id FROM tasks WHERE task_id = ? AND ended_at IS NOT NULL AND is_purged = 0', [
        taskId,
      ]).map((row) => this.#withEvents(row)),
    purge: ({ tasks }) => {
      for (const { seq, rewritten, deleted, purged } of tasks) {
        this.#do('UPDATE tasks SET is_purged = 1 WHERE seq = ?', [seq])
        for (const event of rewritten)
          this.#do('UPDATE events SET payload = ? WHERE seq = ?', [event.payload, event.seq])
        for (const event of deleted) this.#do('DELETE FROM events WHERE seq = ?', [event])
        this.#do('INSERT INTO events (task, type, at, payload) VALUES (?, ?, ?, ?)', [
          seq,
          purged.type,
          purged.atMs,
          purged.payload,
        ])
      }
      return null
    },
    forget: ({ beforeMs, limit }) =>
      this.#do(
        'DELETE FROM tasks WHERE seq IN (SELECT seq FROM tasks WHERE ended_at < ? AND ended_at IS NOT NULL LIMIT ?)',
        [beforeMs, limit],
      ),
    forgetUsage: ({ beforeMs, limit }) => {
      this.#do(
        `DELETE FROM charges WHERE seq IN
           (SELECT seq FROM charges WHERE at < ? AND (is_open = 0 OR kind = 'attempt') LIMIT ?)`,
        [beforeMs, limit],
      )
      return this.#do('DELETE FROM usage WHERE seq IN (SELECT seq FROM usage WHERE at < ? LIMIT ?)', [beforeMs, limit])
    },
    usage: ({ sinceMs, untilMs, tenant, by, limit }) => {
      const axes = by.map((axis) => `${USAGE_AXES[axis]} AS ${axis}`)
      const places = by.map((_, index) => index + 1).join(', ')
      return this.#all(
        `SELECT ${[...axes, ...USAGE_SUMS].join(', ')} FROM usage
         WHERE at >= ?1 AND at < ?2 AND (?3 IS NULL OR tenant = ?3)
         ${by.length === 0 ? 'HAVING count(*) > 0' : `GROUP BY ${places} ORDER BY ${places}`} LIMIT ?4`,
        [sinceMs, untilMs, tenant, limit],
      ) as UsageSumRow[]
    },
    recordAccess: ({ atMs, payload }) => {
      this.#do('INSERT INTO access_events (at, payload) VALUES (?, ?)', [atMs, payload])
      return null
    },
    accessEvents: ({ after, limit }) =>
      this.#all('SELECT seq, payload FROM access_events WHERE seq > ? ORDER BY seq LIMIT ?', [
        after,
        limit,
      ]) as unknown as StoredEvent[],
    recordBatches: ({ events }) => {
      for (const { id, atMs, payload } of events)
        this.#do('INSERT INTO batch_events (id, at, payload) VALUES (?, ?, ?)', [id, atMs, payload])
      return null
    },
    batchEvents: ({ after, limit }) =>
      this.#all('SELECT seq, payload FROM batch_events WHERE seq > ? ORDER BY seq LIMIT ?', [
        after,
        limit,
      ]) as unknown as StoredEvent[],
    forgetBatches: ({ ids }) => {
      for (const id of ids) this.#do('DELETE FROM batch_events WHERE id = ?', [id])
      return null
    },
    recordLeases: ({ events }) => {
      for (const { id, atMs, payload } of events)
        this.#do('INSERT INTO lease_events (id, at, payload) VALUES (?, ?, ?)', [id, atMs, payload])
      return null
    },
    leaseEvents: ({ after, limit }) =>
      this.#all('SELECT seq, payload FROM lease_events WHERE seq > ? ORDER BY seq LIMIT ?', [
        after,
        limit,
      ]) as unknown as StoredEvent[],
    forgetLeases: ({ ids }) => {
      for (const id of ids) this.#do('DELETE FROM lease_events WHERE id = ?', [id])
      return null
    },
    scrub: () => {
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
      return null
    },
    close: () => {
      this.#db.close()
      return null
    },
  }

  /** Changes the row of the event's task. Returns 0 when the event does not fit, and is not to be recorded. */
  #change({ taskId, atMs, change }: NewEvent): number {
    switch (change.kind) {
      case 'none':
        return this.#row('SELECT 1 FROM tasks WHERE task_id = ?', [taskId]) === undefined ? 0 : 1
      case 'assigned': {
        const changed = this.#do(
          `UPDATE tasks SET state = 'running', attempts = attempts + 1, node_id = ?, node_name = ?, route = ?
           WHERE task_id = ? AND ended_at IS NULL`,
          [change.nodeId, change.nodeName, change.route, taskId],
        )
        if (changed > 0 && change.reservedMicros !== null)
          this.#do(
            `INSERT INTO charges (kind, id, part, tenant, at, micros, is_open)
             SELECT 'attempt', task_id, ?, tenant, ?, ?, 1 FROM tasks WHERE task_id = ? ON CONFLICT DO NOTHING`,
            [change.attempt, change.countedAtMs, change.reservedMicros, taskId],
          )
        return changed
      }
      case 'attempt end':
        if (change.costMicros !== null)
          this.#do(
            `UPDATE charges SET micros = ?, is_open = 0 WHERE kind = 'attempt' AND id = ? AND part = ? AND is_open = 1`,
            [change.costMicros, taskId, change.attempt],
          )
        return this.#do(
          `UPDATE tasks SET cost_micros = iif(?1 IS NULL, cost_micros, coalesce(cost_micros, 0) + ?1),
             joules = iif(?2 IS NULL, joules, coalesce(joules, 0) + ?2),
             estimated_joules = iif(?3 IS NULL, estimated_joules, coalesce(estimated_joules, 0) + ?3),
             energy_micros = iif(?4 IS NULL, energy_micros, coalesce(energy_micros, 0) + ?4)
           WHERE task_id = ?5`,
          [change.costMicros, change.joules, change.estimatedJoules, change.energyMicros, taskId],
        )
      case 'tokens':
        return this.#do('UPDATE tasks SET tokens = ? WHERE task_id = ? AND ended_at IS NULL AND tokens = ?', [
          change.to,
          taskId,
          change.from,
        ])
      case 'end': {
        const changed = this.#do(
          `UPDATE tasks SET state = ?, ended_at = ?, code = ?, tokens = iif(tokens = ?, ?, tokens)
           WHERE task_id = ? AND ended_at IS NULL`,
          [change.state, atMs, change.code, change.from, change.to, taskId],
        )
        if (changed > 0) this.#use(taskId, atMs, change)
        return changed
      }
      case 'work':
        this.#do(`INSERT INTO usage (${USAGE_COLUMNS}) VALUES (${'?, '.repeat(20)}?) ON CONFLICT DO NOTHING`, [
          taskId,
          atMs,
          ...change.usage,
        ])
        // it has no task that the event could belong to
        return 0
    }
  }

  /** The row of a task that has ended just now. */
  #use(taskId: string, atMs: number, change: Extract<RowChange, { kind: 'end' }>): void {
    this.#do(
      `INSERT INTO usage (${USAGE_COLUMNS})
       SELECT task_id, ?1, tenant, model, digest, node_id, node_name, route, 'answer', state, code, ?2, ?3,
         coalesce(?4, tokens), attempts, max(0, ?1 - admitted_at), cost_micros, joules, estimated_joules,
         energy_micros, ?5
       FROM tasks WHERE task_id = ?6 ON CONFLICT DO NOTHING`,
      [atMs, change.promptTokens, change.cachedTokens, change.completionTokens, change.cloudMicros, taskId],
    )
  }

  #insert({ taskId, type, atMs, payload }: Omit<NewEvent, 'change'>): void {
    this.#do('INSERT INTO events (task, type, at, payload) SELECT seq, ?, ?, ? FROM tasks WHERE task_id = ?', [
      type,
      atMs,
      payload,
      taskId,
    ])
  }

  #found(sql: string, values: readonly SQLInputValue[]): Uint8Array[] | null {
    const row = this.#row(sql, values)
    return row === undefined ? null : this.#eventsOf(row['seq'] as number)
  }

  #withEvents({ seq, task_id: taskId }: Record<string, unknown>): Operations['purgeable']['answer'][number] {
    const events = this.#all('SELECT seq, payload FROM events WHERE task = ? ORDER BY seq', [seq as number])
    return { seq: seq as number, taskId: taskId as string, events: events as unknown as StoredEvent[] }
  }

  #eventsOf(seq: number): Uint8Array[] {
    return this.#all('SELECT payload FROM events WHERE task = ? ORDER BY seq', [seq]).map(
      (row) => row['payload'] as Uint8Array,
    )
  }

  #row(sql: string, values: readonly SQLInputValue[]): Record<string, unknown> | undefined {
    return this.#statement(sql).get(...values)
  }

  #all(sql: string, values: readonly SQLInputValue[]): Record<string, unknown>[] {
    return this.#statement(sql).all(...values)
  }

  /** Rows that it changed. */
  #do(sql: string, values: readonly SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes)
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) this.#statements.set(sql, (statement = this.#db.prepare(sql)))
    return statement
  }
}

const failAll = (requests: readonly Request[], failure: Failure): Answer[] =>
  requests.map(({ id }) => ({ id, failure }))
