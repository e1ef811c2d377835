/** One exchange with the mailbox after another: open, read, say, and now and then make room. */
import { type LocalStore } from '../store/index.ts'
import { accountOf, codeOf, keyOf, newKey, type Account } from './account.ts'
import { NAME_MAX, type Batch } from './envelope.ts'
import { SyncError } from './errors.ts'
import { sealFor } from './keys.ts'
import { Mailbox, type MailboxState, type SyncRequest } from './mailbox.ts'
import { pull } from './pull.ts'
import { push, sealOutgoing } from './push.ts'
import { allTables, beginState, endState, loadState, markAll, movedState, saveState, type SyncState } from './state.ts'

const MIB = 2 ** 20
/** A mailbox is made small when it has grown to this, and to this many times of what all there is takes. */
const COMPACT_BYTES = 8 * MIB
const COMPACT_TIMES = 3
const COMPACT_ENTRIES = 4_000
/** For the devices that stay to follow to the next account. */
const LEAVING_MS = 60 * 86_400_000
/** Devices may move while they are read; more often in one breath is no accident. */
const MOVES_MAX = 4
const LOCK = 'skein-sync'

export interface EngineOptions {
  /** Of a mailbox that is not made small; 8 MiB when absent. */
  readonly compactBytes?: number
}

export class SyncEngine {
  readonly #store: LocalStore
  readonly #request: SyncRequest
  readonly #compactBytes: number

  constructor(store: LocalStore, request: SyncRequest, { compactBytes = COMPACT_BYTES }: EngineOptions = {}) {
    this.#store = store
    this.#request = request
    this.#compactBytes = compactBytes
  }

  state(): Promise<SyncState | undefined> {
    return loadState(this.#store.db)
  }

  /** A new account, of which this is the first device. */
  turnOn(name: string): Promise<void> {
    return this.#alone(async () => {
      if ((await this.state()) === undefined) await beginState(this.#store, named(name))
    })
  }

  /** The account of another device, by its code or its link. @throws SyncError `bad-code`. */
  join(typed: string, name: string): Promise<void> {
    return this.#alone(async () => {
      const key = await keyOf(typed)
      const had = await this.state()
      if (had?.key !== key) await beginState(this.#store, named(name), key)
    })
  }

  /** What another device types to join. */
  async code(): Promise<string | undefined> {
    const state = await this.state()
    return state && codeOf(state.key)
  }

  /** One exchange. @throws SyncError, StoreError. */
  round(signal?: AbortSignal): Promise<void> {
    return this.#alone(() => this.#round(signal))
  }

  /** Everything is sent again, for a device that lacks something. */
  sendAll(): Promise<void> {
    return this.#alone(async () => {
      const { db } = this.#store
      await db.transaction('rw', allTables(db), async () => {
        const state = await loadState(db)
        if (state !== undefined) await markAll(db, state)
      })
    })
  }

  /** The other devices go on with a new key, which this one never gets. @throws SyncError. */
  forget(device: string, signal?: AbortSignal): Promise<void> {
    return this.#alone(async () => {
      await this.#round(signal)
      const state = await this.state()
      if (state === undefined) return
      const { db, random, clock } = this.#store
      const key = newKey(random)
      const others = (await db.devices.toArray()).filter(({ id }) => id !== device)
      const sealed = await Promise.all(
        others.map(async ({ id, publicKey }) => [id, await sealFor(state.privateKey, publicKey, random, key)] as const),
      )
      const told = await this.#tellMove(state, Object.fromEntries(sealed), signal)
      await movedState(db, told, key, { key: state.key, untilMs: clock.nowMs() + LEAVING_MS })
      await db.devices.delete(device)
      await this.#round(signal)
    })
  }

  /** No more sync here. @param everywhere what the mailbox has is deleted, and the other devices are told to end it too. */
  turnOff(everywhere: boolean, signal?: AbortSignal): Promise<void> {
    return this.#alone(async () => {
      const state = await this.state()
      if (state === undefined) return
      if (everywhere) {
        const isAlone = (await this.#store.db.devices.count()) === 0
        if (isAlone) await new Mailbox(await accountOf(state.key), this.#request).remove(signal)
        else await this.#tellMove(state, {}, signal)
      }
      await endState(this.#store.db)
    })
  }

  /** Leaves a word of the move as the only entry of the mailbox. */
  async #tellMove(state: SyncState, moveTo: Record<string, string>, signal?: AbortSignal): Promise<SyncState> {
    const account = await accountOf(state.key)
    const mailbox = new Mailbox(account, this.#request)
    await mailbox.open(signal)
    const { name, publicKey, heights: has } = state
    const atMs = Math.trunc(this.#store.clock.nowMs())
    const batch: Batch = { name, publicKey, atMs, has, asks: false, ops: [], moveTo }
    const init = { store: this.#store, account, mailbox, signal }
    await sealOutgoing(init, state, batch, { covers: [], endsAll: false, asked: undefined })
    const sealed = (await this.state())!
    const { seq, device, outgoing } = sealed
    const { index } = await mailbox.append({ device, seq, data: outgoing!.entries[0]! }, signal)
    await mailbox.trim(index - 1, signal)
    return { ...sealed, outgoing: undefined }
  }

  async #round(signal?: AbortSignal): Promise<void> {
    for (let moves = 0; moves < MOVES_MAX; moves++) {
      const begun = await this.state()
      if (begun === undefined) return
      const account = await accountOf(begun.key)
      const mailbox = new Mailbox(account, this.#request)
      const there = await mailbox.open(signal)
      const opened = await this.#opened(begun, there)
      const { state, isMoved } = await pull(this.#store, account, this.#request, opened, signal)
      if (isMoved) continue
      const init = { store: this.#store, account, mailbox, signal }
      const pushed = await push(init, state)
      const bytes = pushed.bytes ?? there.bytes
      await this.#compact(init, pushed.state, { ...there, bytes })
      await this.#leave(pushed.state, signal)
      await saveState(this.#store.db, { syncedAtMs: this.#store.clock.nowMs() })
      return
    }
    throw new SyncError('protocol', 'the devices move from account to account')
  }

  /** A mailbox that is another than last time knows nothing: everything is read and said again. */
  async #opened(state: SyncState, { generation, last }: MailboxState): Promise<SyncState> {
    const isSame = generation === state.generation && last >= state.cursor
    if (isSame) return state
    const { db } = this.#store
    const change = { generation, cursor: 0, asked: undefined }
    return db.transaction('rw', allTables(db), async () => {
      const next = { ...state, ...change }
      return state.all === undefined ? markAll(db, next) : markKept(db, next)
    })
  }

  /** Says all in new entries, then drops those before: what one device has read and said again, nobody needs twice. */
  async #compact(
    init: { store: LocalStore; account: Account; mailbox: Mailbox; signal: AbortSignal | undefined },
    state: SyncState,
    { bytes, first, last }: MailboxState,
  ): Promise<void> {
    const isLarge = bytes > Math.max(this.#compactBytes, COMPACT_TIMES * (state.allBytes ?? 0))
    if (!isLarge && last - first < COMPACT_ENTRIES) return
    // only who has everything may speak for all
    if (Object.keys(state.gaps).length > 0 || state.cursor === 0) return
    const { db } = this.#store
    const through = state.cursor
    const begun = await db.transaction('rw', allTables(db), async () => markAll(db, state))
    await push(init, begun)
    await init.mailbox.trim(through, init.signal)
  }

  /** The mailbox of the account before goes when its time is over. */
  async #leave({ leaving }: SyncState, signal?: AbortSignal): Promise<void> {
    if (leaving === undefined || this.#store.clock.nowMs() < leaving.untilMs) return
    await new Mailbox(await accountOf(leaving.key), this.#request).remove(signal)
    await saveState(this.#store.db, { leaving: undefined })
  }

  /** One tab at a time. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#store.locks.hold(LOCK, work)
  }
}

const named = (name: string): string => name.trim().slice(0, NAME_MAX) || 'device'

async function markKept(db: LocalStore['db'], state: SyncState): Promise<SyncState> {
  await db.meta.put({ key: 'sync', value: state })
  return state
}
