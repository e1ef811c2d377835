/** What this device remembers of its sync, in one row beside the chats; there while sync is on. */
import { markPending, SYNC_KEY } from '../store/index.ts'
import { metaOf, type Database } from '../store/index.ts'
import { keyOf } from '../store/index.ts'
import type { LocalStore } from '../store/index.ts'
import type { WebRandom } from '../platform/index.ts'
import { newKey } from './account.ts'
import { toHex } from './bytes.ts'
import type { Heights } from './envelope.ts'
import { newDeviceKeys, type DeviceKeys } from './keys.ts'

const DEVICE_BYTES = 8

/** A batch that is sealed and not wholly sent: sent again as it is, so that a number never names two contents. */
export interface Outgoing {
  readonly first: number
  readonly entries: readonly string[]
  /** How many of them have been taken. */
  readonly sent: number
  /** What it says, with the change that it says. */
  readonly covers: readonly (readonly [key: string, rev: number])[]
  readonly endsAll: boolean
}

export interface SyncState extends DeviceKeys {
  /** The account's. */
  readonly key: string
  /** Of this device, as the owner calls it. */
  readonly name: string
  /** Of this device in the mailbox; made anew when a copy of this browser's data speaks with it too. */
  readonly device: string
  /** Of the mailbox when it was last read; undefined before. */
  readonly generation?: string | undefined
  /** All up to here has been read. */
  readonly cursor: number
  /** The last number that this device has used. */
  readonly seq: number
  readonly heights: Heights
  /** Up to which number something of a device has never come. */
  readonly gaps: Heights
  /** For which gaps the others have been asked, as JSON. */
  readonly asked?: string | undefined
  readonly outgoing?: Outgoing | undefined
  /** All is being sent: the number from which on, and what had been folded in then. */
  readonly all?: { readonly from: number; readonly has: Heights } | undefined
  /** Sealed bytes of the last time that all was sent. */
  readonly allBytes?: number
  /** The account before this one, whose mailbox is deleted when every device has had the time to follow. */
  readonly leaving?: { readonly key: string; readonly untilMs: number } | undefined
  readonly syncedAtMs?: number
}

const LEFT_KEY = 'sync-left'

/** Why sync went off without this device's doing. */
export const leftOf = (db: Database): Promise<string | undefined> => metaOf<string>(db, LEFT_KEY)

export const loadState = (db: Database): Promise<SyncState | undefined> => metaOf<SyncState>(db, SYNC_KEY)

/** Writes what changes. @returns the state as it is now; undefined when sync is off by now. */
export const saveState = (db: Database, change: Partial<SyncState>): Promise<SyncState | undefined> =>
  db.transaction('rw', db.meta, async () => {
    const had = await loadState(db)
    if (had === undefined) return undefined
    const value = { ...had, ...change }
    await db.meta.put({ key: SYNC_KEY, value })
    return value
  })

/** The first state on an account; everything that is here has yet to be sent. */
export async function beginState(store: LocalStore, name: string, key = newKey(store.random)): Promise<SyncState> {
  const { db, random } = store
  const keys = await newDeviceKeys()
  const state: SyncState = { ...keys, key, name, device: newDeviceId(random), cursor: 0, seq: 0, heights: {}, gaps: {} }
  return store.guard(() =>
    db.transaction('rw', allTables(db), async () => {
      await db.meta.delete(LEFT_KEY)
      await db.devices.clear()
      await db.meta.put({ key: SYNC_KEY, value: state })
      return markAll(db, state)
    }),
  )
}

/** Sync is off: what it kept goes, the chats stay. */
export const endState = (db: Database, left?: string): Promise<void> =>
  db.transaction('rw', [db.meta, db.pending, db.devices], async () => {
    await Promise.all([db.meta.delete(SYNC_KEY), db.pending.clear(), db.devices.clear()])
    if (left === undefined) await db.meta.delete(LEFT_KEY)
    else await db.meta.put({ key: LEFT_KEY, value: left })
  })

export const newDeviceId = (random: WebRandom): string => toHex(random.bytes(DEVICE_BYTES))

export const allTables = (db: Database) => [db.meta, db.pending, db.devices, db.messages, db.registers, db.gone]

/** Everything has yet to be sent, in the transaction that runs. */
export async function markAll(db: Database, state: SyncState): Promise<SyncState> {
  const messages = (await db.messages.toCollection().primaryKeys()).map(([chatId, id]) => `m:${chatId}:${id}`)
  const registers = (await db.registers.toCollection().primaryKeys()).map(([chatId, field]) => `s:${chatId}:${field}`)
  const gone = (await db.gone.toArray()).map(({ id, at }) => keyOf({ kind: 'gone', id, at }))
  // registers first: a chat is listed by them
  await markPending(db, [...gone, ...registers, ...messages])
  const outgoing = state.outgoing
  const from = outgoing === undefined ? state.seq + 1 : outgoing.first + outgoing.entries.length
  const next = { ...state, all: { from, has: state.heights }, allBytes: 0 }
  await db.meta.put({ key: SYNC_KEY, value: next })
  return next
}

/**
 * A copy of this browser's data speaks under this device's name: this one takes another, hears what the copy has said
 * under the old one, and says all again.
 */
export const renamedState = (store: LocalStore): Promise<SyncState | undefined> =>
  store.guard(() => {
    const { db, random } = store
    return db.transaction('rw', allTables(db), async () => {
      const had = await loadState(db)
      if (had === undefined) return undefined
      const { device, seq, outgoing } = had
      const own = outgoing === undefined ? seq : outgoing.first + outgoing.sent - 1
      const change = { device: newDeviceId(random), seq: 0, outgoing: undefined, cursor: 0 }
      return markAll(db, { ...had, ...change, heights: { ...had.heights, [device]: own } })
    })
  })

/** The account that the devices go on with; this device's numbers go on too. */
export const movedState = (db: Database, state: SyncState, key: string, leaving?: SyncState['leaving']) =>
  db.transaction('rw', allTables(db), async () =>
    markAll(db, {
      ...{ ...state, key, leaving, cursor: 0, heights: {}, gaps: {} },
      ...{ generation: undefined, outgoing: undefined, asked: undefined },
    }),
  )
