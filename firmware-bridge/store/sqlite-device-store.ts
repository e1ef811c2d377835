/** Devices in the bridge's database. */
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type BridgeCall,
  type CallResult,
  type DeviceDescriptor,
  type DevicePolicy,
  type DeviceStateReport,
  type Reading,
  type RuleReport,
} from '../../mesh/protocol/index.ts'
import type { Cancel, Database, OutboxPart, SqlRow, Statement } from '../ports/index.ts'
import type {
  Approval,
  DeviceChange,
  DeviceStore,
  NewDevice,
  OpenCallState,
  StoredCall,
  StoredDevice,
} from './device-store.ts'
import { PartBounds, partOf, type OutboxEntry } from './outbox-part.ts'

/** Entries read at once to make a part of them. */
const PAGE = 2000

const ADD_ENTRY = 'INSERT INTO outbox (kind, payload) VALUES (?, ?)'

const entryOf = (entry: OutboxEntry): Statement => [ADD_ENTRY, entry.kind, JSON.stringify(entry.payload)]

/**
 * Opens what `database` has of devices. Its schema must have `DEVICE_SCHEMA` among its parts.
 *
 * @throws SkeinError DATA_DIR_UNUSABLE.
 */
export async function openDeviceStore(database: Database): Promise<DeviceStore> {
  const counters = await database.read('SELECT name, value FROM counters')
  const [pending] = await database.read('SELECT count(*) AS entries FROM outbox')
  const counter = (name: string): number => Number(counters.find((row) => row['name'] === name)?.['value'] ?? 0)
  return new SqliteDeviceStore(database, {
    command: counter('command'),
    part: { seq: counter('part'), to: counter('part_to') },
    entries: Number(pending!['entries']),
  })
}

interface Opened {
  readonly command: number
  readonly part: { readonly seq: number; readonly to: number }
  readonly entries: number
}

class SqliteDeviceStore implements DeviceStore {
  readonly #db: Database
  readonly #listeners = new Set<() => void>()
  #command: number
  /** The newest numbered part, and the last entry of it; 0 when it is recorded. */
  #part: { readonly seq: number; readonly to: number }
  /** Entries of the outbox. */
  #entries: number

  constructor(db: Database, opened: Opened) {
    this.#db = db
    this.#command = opened.command
    this.#part = opened.part
    this.#entries = opened.entries
  }

  async devices(): Promise<StoredDevice[]> {
    return (await this.#db.read('SELECT * FROM devices ORDER BY added_at, id')).map(toDevice)
  }

  add({ id, name, addedAtMs, policy, credential, port, approval }: NewDevice): Promise<boolean> {
    return this.#write([
      `INSERT INTO devices (id, name, added_at, policy, credential, port, approval) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO NOTHING`,
      ...[id, name, Math.floor(addedAtMs), JSON.stringify(policy), credential ?? null, port ?? null],
      approval === undefined ? null : JSON.stringify(approval),
    ])
  }

  change(id: string, { policy, credential, port, approval }: DeviceChange): Promise<boolean> {
    return this.#write([
      `UPDATE devices SET policy = coalesce(?2, policy), credential = coalesce(?3, credential), port = coalesce(?4, port),
         approval = iif(?5 = 0, approval, ?6) WHERE id = ?1`,
      ...[id, policy === undefined ? null : JSON.stringify(policy), credential ?? null, port ?? null],
      ...(approval === undefined ? [0, null] : [1, approval === null ? null : JSON.stringify(approval)]),
    ])
  }

  remove(id: string): Promise<boolean> {
    return this.#write(['DELETE FROM devices WHERE id = ?', id], { kind: 'gone', payload: id })
  }

  async hello(descriptor: DeviceDescriptor, boot: number): Promise<void> {
    await this.#write(
      [
        'UPDATE devices SET descriptor = ?2, tele = iif(boot IS ?3, tele, 0), boot = ?3 WHERE id = ?1',
        descriptor.id,
        JSON.stringify(descriptor),
        boot,
      ],
      { kind: 'device', payload: descriptor },
    )
  }

  async describeAll(): Promise<void> {
    const rows = await this.#db.read('SELECT descriptor, policy FROM devices WHERE descriptor IS NOT NULL')
    const entries = rows.map(({ descriptor, policy }): OutboxEntry => {
      // what its owner lets others do may have changed since it said hello
      return { kind: 'device', payload: { ...parse<DeviceDescriptor>(descriptor), policy: parse(policy) } }
    })
    if (entries.length > 0) await this.#write(undefined, ...entries)
  }

  async tele(device: string, boot: number, n: number, readings: readonly Reading[]): Promise<boolean> {
    this.#checkRoom()
    return this.#write(['UPDATE devices SET tele = ?3 WHERE id = ?1 AND boot = ?2 AND tele < ?3', device, boot, n], {
      kind: 'readings',
      payload: readings,
    })
  }

  async derived(readings: readonly Reading[]): Promise<void> {
    this.#checkRoom()
    await this.#write(undefined, { kind: 'readings', payload: readings })
  }

  /** @throws SkeinError DISK_FULL. */
  #checkRoom(): void {
    if (this.#entries >= LIMITS.bridgeOutboxMax)
      throw new SkeinError('DISK_FULL', `${this.#entries} reports wait for the coordinator already`)
  }

  async state(state: DeviceStateReport): Promise<void> {
    await this.#write(undefined, { kind: 'state', payload: state })
  }

  async ruled(reports: readonly RuleReport[]): Promise<void> {
    this.#checkRoom()
    await this.#write(undefined, { kind: 'rules', payload: reports })
  }

  nextCommand(): number {
    return ++this.#command
  }

  addCall({ call, state, cmd }: StoredCall): Promise<boolean> {
    return this.#writeAll([
      [
        'INSERT INTO calls (call, payload, state, cmd, expires_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
        ...[call.call, JSON.stringify(call), state, cmd ?? null, call.expiresAtMs],
      ],
      ...(cmd === undefined ? [] : [keepCommand(cmd)]),
    ])
  }

  sendCall(call: string, cmd: number): Promise<boolean> {
    return this.#writeAll([
      ["UPDATE calls SET state = 'sent', cmd = ?2 WHERE call = ?1 AND state = 'waiting'", call, cmd],
      keepCommand(cmd),
    ])
  }

  endCall(result: CallResult): Promise<boolean> {
    return this.#write(["UPDATE calls SET state = 'ended' WHERE call = ? AND state <> 'ended'", result.call], {
      kind: 'result',
      payload: result,
    })
  }

  async openCalls(): Promise<StoredCall[]> {
    const rows = await this.#db.read("SELECT payload, state, cmd FROM calls WHERE state <> 'ended' ORDER BY cmd, call")
    return rows.map(({ payload, state, cmd }) => ({
      call: parse<BridgeCall>(payload),
      state: state as OpenCallState,
      ...(cmd !== null && { cmd: Number(cmd) }),
    }))
  }

  async purge(beforeMs: number): Promise<void> {
    await this.#db.write([["DELETE FROM calls WHERE state = 'ended' AND expires_at < ?", beforeMs]])
  }

  async next(): Promise<OutboxPart | undefined> {
    if (this.#part.to > 0) return partOf(this.#part.seq, await this.#entriesTo(this.#part.to))
    const rows = await this.#db.read('SELECT seq, kind, payload FROM outbox ORDER BY seq LIMIT ?', PAGE)
    const bounds = new PartBounds()
    const taken: { readonly seq: number; readonly entry: OutboxEntry }[] = []
    for (const row of rows) {
      const entry = toEntry(row)
      if (!bounds.take(entry, (row['payload'] as string).length)) break
      taken.push({ seq: Number(row['seq']), entry })
    }
    const last = taken.at(-1)
    if (last === undefined) return undefined
    const part = { seq: this.#part.seq + 1, to: last.seq }
    // durable before it is shown: whoever has seen it once under this number sees it so again
    await this.#db.write([count('part', part.seq), count('part_to', part.to)])
    this.#part = part
    return partOf(
      part.seq,
      taken.map(({ entry }) => entry),
    )
  }

  async recorded(seq: number): Promise<void> {
    if (this.#part.to === 0 || seq < this.#part.seq) return
    const changes = await this.#db.write([count('part_to', 0), ['DELETE FROM outbox WHERE seq <= ?', this.#part.to]])
    this.#part = { seq: this.#part.seq, to: 0 }
    this.#entries -= changes[1] ?? 0
  }

  async renumber(seq: number): Promise<void> {
    await this.#db.write([count('part', seq), count('part_to', 0)])
    this.#part = { seq, to: 0 }
  }

  onPending(listener: () => void): Cancel {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async #entriesTo(last: number): Promise<OutboxEntry[]> {
    return (await this.#db.read('SELECT kind, payload FROM outbox WHERE seq <= ? ORDER BY seq', last)).map(toEntry)
  }

  /** Entries are added only when `guard` changed something. Gives whether it did. */
  async #write(guard: Statement | undefined, ...entries: readonly OutboxEntry[]): Promise<boolean> {
    const isDone = await this.#writeAll([...(guard === undefined ? [] : [guard]), ...entries.map(entryOf)])
    if (!isDone || entries.length === 0) return isDone
    this.#entries += entries.length
    for (const listener of this.#listeners) listener()
    return true
  }

  async #writeAll(statements: readonly Statement[]): Promise<boolean> {
    const [changed = 0] = await this.#db.write(statements)
    return changed > 0
  }
}

const count = (name: string, value: number): Statement => [
  'UPDATE counters SET value = ?2 WHERE name = ?1',
  name,
  value,
]
/** Commands are written in any order; the counter never goes back. */
const keepCommand = (cmd: number): Statement => [
  "UPDATE counters SET value = max(value, ?) WHERE name = 'command'",
  cmd,
]

function parse<T>(json: unknown): T {
  try {
    return JSON.parse(json as string) as T
  } catch (error) {
    throw new SkeinError('DATA_DIR_UNUSABLE', `the devices' database is damaged: ${asSkeinError(error).message}`)
  }
}

const toEntry = (row: SqlRow): OutboxEntry =>
  ({ kind: row['kind'], payload: parse(row['payload']) }) as unknown as OutboxEntry

const toDevice = (row: SqlRow): StoredDevice => ({
  id: row['id'] as string,
  name: row['name'] as string,
  addedAtMs: Number(row['added_at']),
  policy: parse<DevicePolicy>(row['policy']),
  ...(row['credential'] !== null && { credential: row['credential'] as Uint8Array }),
  ...(row['port'] !== null && { port: row['port'] as string }),
  ...(row['approval'] !== null && { approval: parse<Approval>(row['approval']) }),
  ...(row['descriptor'] !== null && { descriptor: parse<DeviceDescriptor>(row['descriptor']) }),
  ...(row['boot'] !== null && { boot: Number(row['boot']) }),
  tele: Number(row['tele']),
})
