/**
 * What the others have said, folded in. The mailbox is trusted with nothing: what it repeats is passed over, what it
 * mixes up has no order to lose, and what it holds back leaves a gap in the numbers of a device, which is told.
 */
import type { LocalStore } from '../store/index.ts'
import { accountOf, type Account } from './account.ts'
import type { Bytes } from './bytes.ts'
import { openBatch, openPiece, type Batch, type Piece } from './envelope.ts'
import { SyncError } from './errors.ts'
import { openFrom } from './keys.ts'
import { Mailbox, type Entry, type SyncRequest } from './mailbox.ts'
import { allTables, endState, markAll, movedState, renamedState, saveState, type SyncState } from './state.ts'

interface Pieces {
  readonly first: number
  readonly count: number
  /** Of its first entry: from here on is read again when the rest does not come. */
  readonly fromIndex: number
  readonly bytes: Bytes[]
}

/** Folded in by one transaction. */
const OPS_AT_ONCE = 2_000
/** Entries after which the rest of a batch is not waited for: its device will never end it. */
const PATIENCE = 1_000

/** Reads all that is new. @returns whether the devices have moved to another account meanwhile. */
export async function pull(
  store: LocalStore,
  account: Account,
  request: SyncRequest,
  begun: SyncState,
  signal?: AbortSignal,
): Promise<{ state: SyncState; isMoved: boolean }> {
  const reader = new Reader(store, account, begun)
  const mailbox = new Mailbox(account, request)
  let after = begun.cursor
  for (;;) {
    const { generation, entries } = await mailbox.read(after, signal)
    if (generation !== begun.generation) throw new SyncError('offline', 'the mailbox was made anew meanwhile')
    if (entries.length === 0) return { state: reader.state, isMoved: false }
    for (const entry of entries) {
      if (await reader.take(entry)) return { state: reader.state, isMoved: true }
      after = entry.index
    }
    await reader.keep(after)
  }
}

class Reader {
  readonly #store: LocalStore
  readonly #account: Account
  readonly #open = new Map<string, Pieces>()
  state: SyncState

  constructor(store: LocalStore, account: Account, state: SyncState) {
    this.#store = store
    this.#account = account
    this.state = state
  }

  /** @returns whether the account is another one now. */
  async take(entry: Entry): Promise<boolean> {
    const { device, seq } = entry
    if (device === this.state.device) {
      if (seq <= this.state.seq) return false
      this.state = (await renamedState(this.#store)) ?? this.state
    }
    if (seq <= (this.state.heights[device] ?? 0)) return false
    try {
      const piece = await openPiece(this.#account, entry, entry.data)
      const whole = this.#collect(entry, piece)
      if (whole === undefined) return false
      const batch = await openBatch(whole.bytes)
      return await this.#fold(device, whole.first, seq, batch)
    } catch (error) {
      // not of our devices, or of a form that this page does not know: its number stays a gap
      if (!(error instanceof SyncError && error.code === 'protocol')) throw error
      this.#open.delete(device)
      return false
    }
  }

  /** How far was read. */
  async keep(after: number): Promise<void> {
    const waiting = [...this.#open.values()].map(({ fromIndex }) => fromIndex - 1).filter((at) => after - at < PATIENCE)
    await this.#save({ cursor: Math.min(after, ...waiting) })
  }

  /** @returns the pieces once they are all there. */
  #collect({ index, device, seq }: Entry, piece: Piece): Pieces | undefined {
    const had = this.#open.get(device)
    if (piece.index === 0) {
      const begun = { first: seq, count: piece.count, fromIndex: index, bytes: [piece.bytes] }
      if (piece.count === 1) return begun
      this.#open.set(device, begun)
      return undefined
    }
    const isNext = had !== undefined && had.bytes.length === piece.index && had.first + piece.index === seq
    if (!isNext || had.count !== piece.count) {
      // its beginning was dropped, and all it said is in what came later; what comes twice is passed over
      if (had === undefined || seq >= had.first + had.bytes.length) this.#open.delete(device)
      return undefined
    }
    had.bytes.push(piece.bytes)
    if (had.bytes.length < had.count) return undefined
    this.#open.delete(device)
    return had
  }

  async #fold(device: string, first: number, last: number, batch: Batch): Promise<boolean> {
    const heights: Record<string, number> = { ...this.state.heights, [device]: last }
    const had = this.state.heights[device] ?? 0
    const gaps: Record<string, number> = { ...this.state.gaps }
    if (first > had + 1) gaps[device] = first - 1
    for (let i = 0; i < batch.ops.length; i += OPS_AT_ONCE)
      await this.#store.receive(batch.ops.slice(i, i + OPS_AT_ONCE))
    const publicKey = await this.#meet(device, last, batch)
    const covered = batch.allFrom !== undefined && (gaps[device] ?? 0) < batch.allFrom
    if (covered) {
      // what the sender had of the others has come with what it had
      for (const [id, height] of Object.entries(batch.has)) heights[id] = Math.max(heights[id] ?? 0, height)
      for (const [id, gap] of Object.entries(gaps)) if (id === device || (batch.has[id] ?? 0) >= gap) delete gaps[id]
    }
    await this.#save({ heights, gaps })
    if (batch.moveTo !== undefined) return this.#move(publicKey, batch.moveTo)
    if (batch.asks && this.state.all === undefined) {
      const { db } = this.#store
      this.state = await db.transaction('rw', allTables(db), async () => markAll(db, this.state))
    }
    return false
  }

  /** Remembers a device; the first key that it names is its key for good. */
  async #meet(id: string, seq: number, { name, atMs, publicKey }: Batch): Promise<JsonWebKey> {
    const { db } = this.#store
    const had = await db.devices.get(id)
    const known = had?.publicKey ?? publicKey
    await this.#store.guard(() => db.devices.put({ id, name, seq, atMs, publicKey: known }))
    return known
  }

  /** The devices go on with another account: this one too, where it was sealed for it. */
  async #move(sender: JsonWebKey, moveTo: Readonly<Record<string, string>>): Promise<boolean> {
    const sealed = moveTo[this.state.device]
    if (sealed === undefined) {
      await endState(this.#store.db, 'forgotten')
      throw new SyncError('forgotten', 'another of your devices has ended the sync of this one')
    }
    const key = await openFrom(this.state.privateKey, sender, sealed)
    await accountOf(key)
    this.state = await movedState(this.#store.db, this.state, key, this.state.leaving)
    return true
  }

  async #save(change: Partial<SyncState>): Promise<void> {
    const saved = await this.#store.guard(() => saveState(this.#store.db, change))
    if (saved === undefined) throw new SyncError('forgotten', 'the sync of this device was ended')
    this.state = saved
  }
}
