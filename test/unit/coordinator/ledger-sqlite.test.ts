/** What the SQLite ledger does when its disk, its file or its worker fails; what it promises stands in the compliance suite. */
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { openLedger, restoreBackup, writeBackup, type Ledger } from '../../../coordinator/ledger/index.ts'
import type { Answer, Request } from '../../../coordinator/ledger/sqlite/messages.ts'
import { encodeEvent, toNewEvent, toNewTask } from '../../../coordinator/ledger/sqlite/rows.ts'
import { migrate, MIGRATIONS, numberOf } from '../../../coordinator/ledger/sqlite/schema.ts'
import { Store } from '../../../coordinator/ledger/sqlite/store.ts'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger, SystemClock, type Clock, type Logger } from '../../../mesh/runtime/index.ts'
import { admitted, assigned, checkpointed, ended, part } from '../../compliance/ledger.samples.ts'

/** The real workers, within reach of the tests. */
const workers = vi.hoisted(() => {
  // files of a lane may share their modules; this one wants its own, with what it puts in their place
  vi.resetModules()
  return [] as Worker[]
})
vi.mock('node:worker_threads', async (load) => {
  const actual = await load<{ Worker: typeof Worker }>()
  return {
    ...actual,
    Worker: class extends actual.Worker {
      constructor(...args: ConstructorParameters<typeof Worker>) {
        super(...args)
        workers.push(this)
      }
    },
  }
})

/** The same for databases, of this thread. */
const databases = vi.hoisted(() => [] as DatabaseSync[])
vi.mock('node:sqlite', async (load) => {
  const actual = await load<{ DatabaseSync: typeof DatabaseSync }>()
  return {
    ...actual,
    DatabaseSync: class extends actual.DatabaseSync {
      constructor(...args: ConstructorParameters<typeof DatabaseSync>) {
        super(...args)
        databases.push(this)
      }
    },
  }
})

const components = { clock: new SystemClock(true), log: silentLogger }
let directory: string
let path: string
let opened: Ledger[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'skein-ledger-'))
  path = join(directory, 'ledger.db')
})
afterEach(async () => {
  for (const ledger of opened) await ledger.close()
  opened = []
  rmSync(directory, { recursive: true })
})
const open = async (log: Logger = silentLogger, clock: Clock = components.clock): Promise<Ledger> => {
  const ledger = await openLedger({ clock, log }, { path })
  opened.push(ledger)
  return ledger
}
/** Changes the file as another program could. */
const edit = (sql: string): void => {
  const db = new DatabaseSync(path)
  db.exec(sql)
  db.close()
}

describe('the files of the ledger', () => {
  it('are for their owner alone', async () => {
    const ledger = await open()
    await ledger.admit(admitted())
    await ledger.backup(join(directory, 'copy.db'))
    for (const name of ['ledger.db', 'ledger.db-wal', 'ledger.db-shm', 'copy.db'])
      expect(statSync(join(directory, name)).mode & 0o777, name).toBe(0o600)
  })

  it('belong to one process', async () => {
    await open()
    await expect(open()).rejects.toMatchObject({
      code: 'DATA_DIR_LOCKED',
      message: expect.stringContaining(path) as string,
    })
  })

  it('are free again after a close', async () => {
    await (await open()).close()
    expect((await open()).epoch).toBe(2)
  })

  it('take no write of one that was opened before another, should the lock be passed by', async () => {
    const ledger = await open()
    edit("UPDATE meta SET value = value + 1 WHERE key = 'epoch'")
    const event = admitted()
    await expect(ledger.admit(event)).rejects.toMatchObject({
      code: 'LEDGER_UNAVAILABLE',
      message: expect.stringContaining('another process has opened') as string,
    })
    expect(await ledger.task(event.spec.taskId)).toBeUndefined()
  })

  it('that are damaged are not opened, and the message names the way out', async () => {
    writeFileSync(path, 'x'.repeat(8192))
    await expect(open()).rejects.toMatchObject({
      code: 'LEDGER_CORRUPT',
      message: expect.stringContaining('skein restore') as string,
    })
  })

  it('that have lost a page are not opened', async () => {
    const ledger = await open()
    await Promise.all(Array.from({ length: 60 }, () => ledger.admit(admitted({ shape: 'x'.repeat(4000) }))))
    await ledger.close()
    const page = Buffer.alloc(4096, 0xff)
    const db = new DatabaseSync(path)
    const root = numberOf(db, "SELECT rootpage FROM sqlite_schema WHERE name = 'events'")
    db.close()
    const file = openSync(path, 'r+')
    writeSync(file, page, 0, page.length, (root - 1) * page.length)
    closeSync(file)
    await expect(open()).rejects.toMatchObject({ code: 'LEDGER_CORRUPT' })
  })

  it('of another program are left alone', async () => {
    edit('CREATE TABLE recipes (name TEXT)')
    await expect(open()).rejects.toMatchObject({
      code: 'LEDGER_CORRUPT',
      message: expect.stringContaining('is no ledger') as string,
    })
  })

  it('of a newer Skein are left alone', async () => {
    await (await open()).close()
    edit(`PRAGMA user_version = ${MIGRATIONS.length + 1}`)
    await expect(open()).rejects.toMatchObject({
      code: 'LEDGER_CORRUPT',
      message: expect.stringContaining('Update Skein') as string,
    })
  })

  it('that cannot be made are said to be so', async () => {
    path = join(directory, 'nowhere', 'ledger.db')
    await expect(open()).rejects.toMatchObject({
      code: 'LEDGER_UNAVAILABLE',
      message: expect.stringContaining(path) as string,
    })
  })

  it('say so when an event in them was damaged', async () => {
    const ledger = await open()
    const event = admitted()
    await ledger.admit(event)
    edit("UPDATE events SET payload = x'ff'")
    await expect(ledger.task(event.spec.taskId)).rejects.toMatchObject({ code: 'LEDGER_CORRUPT' })
  })
})

it.each([
  'UPDATE usage SET completion_tokens = 1',
  'DELETE FROM usage',
  "INSERT INTO access_events (at, payload) VALUES (0, x'00')",
])('a backup is not restored after: %s', async (change) => {
  const ledger = await open()
  const event = admitted()
  await ledger.admit(event)
  await ledger.append([ended(event.spec.taskId)])
  const file = join(directory, 'backup')
  writeBackup({ ledgerPath: path, files: [], version: '0.1.0', createdAtMs: 0 }, file)
  const db = new DatabaseSync(file)
  db.exec(change)
  db.close()
  expect(() => restoreBackup(file, join(directory, 'restored'), [])).toThrow(
    expect.objectContaining({ code: 'BACKUP_INVALID' }),
  )
})

describe('migrations', () => {
  const next = [...MIGRATIONS, 'ALTER TABLE tasks ADD COLUMN note TEXT; UPDATE tasks SET note = model']

  it('lead from version 1 on, with all that is there', async () => {
    const ledger = await open()
    await ledger.admit(admitted())
    await ledger.close()
    const db = new DatabaseSync(path)
    expect(numberOf(db, 'PRAGMA user_version')).toBe(MIGRATIONS.length)
    expect(migrate(db, next)).toBeUndefined()
    expect(numberOf(db, 'PRAGMA user_version')).toBe(next.length)
    expect(db.prepare('SELECT note, (SELECT count(*) FROM events) AS events FROM tasks').get()).toEqual({
      note: 'tiny',
      events: 1,
    })
    expect(migrate(db, next)).toBeUndefined()
    db.close()
  })

  it('give what was open in version 1 its row of the usage', async () => {
    const db = new DatabaseSync(path)
    migrate(db, MIGRATIONS.slice(0, 1))
    const event = admitted({ tenant: 'key_a' })
    const { taskId, model, priority } = event.spec
    db.prepare(
      `INSERT INTO tasks (task_id, tenant, model, priority, is_stored, admitted_at, state)
       VALUES (?, 'key_a', ?, ?, 0, ?, 'queued')`,
    ).run(taskId, model, priority, event.atMs)
    db.prepare("INSERT INTO events (task, type, at, payload) VALUES (1, 'task.admitted', 0, ?)").run(encodeEvent(event))
    db.close()
    const ledger = await open()
    expect((await ledger.task(taskId))?.spec).toEqual(event.spec)
    await ledger.append([ended(taskId)])
    const query = { sinceMs: 0, untilMs: Number.MAX_SAFE_INTEGER, by: ['tenant', 'route'], limit: 9 } as const
    expect(await ledger.usage(query)).toMatchObject([{ tenant: 'key_a', requests: 1, completionTokens: 12 }])
  })

  it('are not needed for a backup: one of version 1 is restored', async () => {
    const db = new DatabaseSync(path)
    migrate(db, MIGRATIONS.slice(0, 1))
    db.close()
    const file = join(directory, 'backup')
    const { ledger: facts } = writeBackup({ ledgerPath: path, files: [], version: '0.1.0', createdAtMs: 0 }, file)
    expect(facts).toEqual({ schemaVersion: 1, events: 0, tasks: 0, epoch: 0 })
    restoreBackup(file, join(directory, 'restored'), [])
    path = join(directory, 'restored', 'ledger.db')
    expect((await open()).epoch).toBeGreaterThan(65_536)
  })

  it('that fail leave the version before', () => {
    const db = new DatabaseSync(':memory:')
    expect(() => migrate(db, [...next, 'CREATE TABLE half (a); UPDATE nowhere SET a = 1'])).toThrow('nowhere')
    expect(numberOf(db, 'PRAGMA user_version')).toBe(next.length)
    expect(numberOf(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'")).toBe(0)
    expect(db.isTransaction).toBe(false)
    db.close()
  })
})

describe('a transaction', () => {
  let store: Store
  let ids = 0
  const admit = (shape = ''): Request => ({ id: ++ids, name: 'admit', task: toNewTask(admitted({ shape })) })
  const run = (...requests: Request[]): Answer[] => [...store.run(requests)].flat()
  const codes = (answers: Answer[]): unknown[] =>
    answers.map((answer) => ('failure' in answer ? answer.failure.code : 'ok'))
  /** SQLite's own way to a full disk: no room for more than `more` pages. */
  const limitPages = (more: number): void => {
    const db = databases.at(-1)!
    db.exec(`PRAGMA max_page_count = ${numberOf(db, 'PRAGMA page_count') + more}`)
  }

  beforeEach(() => {
    const made = Store.open(path)
    if (!(made instanceof Store)) throw new TypeError(made.message)
    store = made
  })
  afterEach(() => void run({ id: ++ids, name: 'close' }))

  it('takes in what is right beside what fails', () => {
    const bad = admit() as Request & { name: 'admit' }
    const broken: Request = { ...bad, task: { ...bad.task, atMs: 'never' as unknown as number } }
    expect(codes(run(admit(), broken, admit()))).toEqual(['ok', 'INTERNAL', 'ok'])
    const list = run({ id: ++ids, name: 'list', limit: 9, before: null, isOpen: false, tenant: null })
    expect(list).toMatchObject([{ value: [{ state: 'queued' }, { state: 'queued' }] }])
  })

  it('that finds the disk full records nothing of it, and goes on once there is room', () => {
    expect(codes(run(admit()))).toEqual(['ok'])
    limitPages(2)
    const [answer] = run(admit('x'.repeat(100_000)))
    expect(answer).toMatchObject({
      failure: { code: 'LEDGER_UNAVAILABLE', message: expect.stringContaining('disk is full. Make room') as string },
    })
    const open = { id: ++ids, name: 'open', after: 0, limit: 9 } as const
    expect(run(open)).toMatchObject([{ value: [{ seq: 1 }] }])
    limitPages(1000)
    expect(codes(run(admit('x'.repeat(100_000)), admit()))).toEqual(['ok', 'ok'])
    expect(run(open)).toMatchObject([{ value: [{ seq: 1 }, { seq: 2 }, { seq: 3 }] }])
  })
})

describe('the queue before the worker', () => {
  it('is bounded, and what it refuses is not recorded', async () => {
    const ledger = await open()
    const admissions = await Promise.allSettled(
      Array.from({ length: 2 * LIMITS.tasksMax + 50 }, () => ledger.admit(admitted())),
    )
    const refused = admissions.filter((each) => each.status === 'rejected')
    expect(refused).toHaveLength(50)
    expect(refused[0]!.reason).toMatchObject({
      code: 'LEDGER_UNAVAILABLE',
      message: expect.stringContaining('too slow') as string,
    })
    expect(await ledger.open()).toHaveLength(2 * LIMITS.tasksMax)
  })

  it('is bounded in bytes; one alone may be of any size', async () => {
    const ledger = await open()
    const large = ledger.admit(admitted({ shape: 'x'.repeat(8 * LIMITS.promptBytesMax) }))
    await expect(ledger.admit(admitted())).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
    expect(await large).toEqual({ isNew: true })
    expect(await ledger.admit(admitted())).toEqual({ isNew: true })
  })

  it('logs a disk that does not answer', async () => {
    const clock = new ManualClock()
    const warnings: string[] = []
    const log: Logger = { ...silentLogger, warn: (_, message) => void warnings.push(message), scope: () => log }
    const ledger = await open(log, clock)
    const admission = ledger.admit(admitted())
    await clock.advance(0)
    await clock.advance(2000)
    expect(warnings).toEqual([expect.stringContaining('has not answered for 2000 ms')])
    await admission
    await ledger.admit(admitted())
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('a worker that dies', () => {
  it('fails what waits and what comes, and gives the lock back with the close', async () => {
    const ledger = await open()
    const event = admitted()
    await ledger.admit(event)
    const pending = Array.from({ length: 3 }, () => ledger.admit(admitted()))
    const failed = Promise.allSettled(pending)
    await workers.at(-1)!.terminate()
    for (const result of await failed)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
    await expect(ledger.append([assigned(event.spec.taskId)])).rejects.toMatchObject({
      code: 'LEDGER_UNAVAILABLE',
      message: expect.stringContaining('worker ended') as string,
    })
    await ledger.close()
    expect((await (await open()).task(event.spec.taskId))?.state).toBe('queued')
  })
})

describe('a disk that hangs', () => {
  it('holds up a close for a bounded time, and what waited is told', async () => {
    const clock = new ManualClock()
    const ledger = await open(silentLogger, clock)
    const other = new DatabaseSync(path)
    other.exec('BEGIN IMMEDIATE')
    const waiting = Promise.allSettled([ledger.admit(admitted())])
    const closed = ledger.close()
    await clock.advance(5000)
    const reason = { code: 'LEDGER_UNAVAILABLE', message: expect.stringContaining('before the end') as string }
    expect(await waiting).toMatchObject([{ status: 'rejected', reason }])
    await closed
    other.close()
    expect(await (await open()).open()).toEqual([])
  })
})

describe('an event that could not be read again', () => {
  it('is refused before it is acknowledged', async () => {
    const ledger = await open()
    const event = admitted()
    await ledger.admit(event)
    const broken = { ...assigned(event.spec.taskId), price: undefined } as unknown as ReturnType<typeof assigned>
    await expect(ledger.append([broken])).rejects.toMatchObject({ code: 'INTERNAL' })
    expect(() =>
      toNewEvent({ ...checkpointed(event.spec.taskId, 0, 1), part: { ...part(0, 1), index: NaN } }),
    ).toThrow()
    expect((await ledger.task(event.spec.taskId))?.attempts).toEqual([])
  })
})
