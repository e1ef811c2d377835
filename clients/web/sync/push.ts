/** What this device has to say: what changed here since it last spoke, in bounded batches that are sent until taken. */
import { isFinal } from '../store/index.ts'
import { messageKeyOf, type Pending } from '../store/index.ts'
import type { Op } from '../store/index.ts'
import type { LocalStore } from '../store/index.ts'
import type { Account } from './account.ts'
import { sealBatch, type Batch } from './envelope.ts'
import { SyncError } from './errors.ts'
import type { Mailbox } from './mailbox.ts'
import { renamedState, saveState, type Outgoing, type SyncState } from './state.ts'

/** Things of one batch, and of their JSON about. */
const THINGS_MAX = 2_000
const BATCH_CHARS = 2_000_000

export interface PushInit {
  readonly store: LocalStore
  readonly account: Account
  readonly mailbox: Mailbox
  readonly signal?: AbortSignal | undefined
}

/** Sends all that is waiting. @returns the state, and the bytes of the mailbox if anything was sent. */
export async function push(init: PushInit, begun: SyncState): Promise<{ state: SyncState; bytes: number | undefined }> {
  let state = begun
  let bytes: number | undefined
  for (;;) {
    if (state.outgoing === undefined) {
      const next = await sealNext(init, state)
      if (next === undefined) return { state, bytes }
      state = next
    }
    const sent = await send(init, state, state.outgoing!)
    state = sent.state
    bytes = sent.bytes ?? bytes
  }
}

/** Seals the next batch and keeps it before it is sent; undefined when there is nothing to say. */
async function sealNext({ store, account }: PushInit, state: SyncState): Promise<SyncState | undefined> {
  const { db, clock } = store
  const waiting = await db.pending.limit(THINGS_MAX + 1).toArray()
  const { ops, taken } = await opsOf(store, waiting.slice(0, THINGS_MAX))
  const asked = Object.keys(state.gaps).length === 0 ? undefined : JSON.stringify(state.gaps)
  const asks = asked !== undefined && asked !== state.asked
  const endsAll = state.all !== undefined && taken.length === waiting.length
  if (taken.length === 0 && !endsAll && !asks) return undefined
  const batch: Batch = {
    ...{ name: state.name, publicKey: state.publicKey, atMs: Math.trunc(clock.nowMs()), ops, asks },
    has: state.all?.has ?? state.heights,
    ...(endsAll && { allFrom: state.all!.from }),
  }
  return sealOutgoing({ store, account }, state, batch, {
    covers: taken.map(({ key, rev }) => [key, rev]),
    endsAll,
    asked,
  })
}

/** Seals `batch` under the next numbers, and keeps it. */
export async function sealOutgoing(
  { store, account }: Pick<PushInit, 'store' | 'account'>,
  state: SyncState,
  batch: Batch,
  { covers, endsAll, asked }: { covers: Outgoing['covers']; endsAll: boolean; asked: string | undefined },
): Promise<SyncState> {
  const first = state.seq + 1
  const entries = await sealBatch(account, store.random, { device: state.device, seq: first }, batch)
  return save(store, {
    outgoing: { first, entries, sent: 0, covers, endsAll },
    ...{ seq: state.seq + entries.length, asked: asked ?? state.asked },
  })
}

/** What the things are now; those that are gone by now are told as tombstones of their own. */
async function opsOf(store: LocalStore, waiting: readonly Pending[]): Promise<{ ops: Op[]; taken: Pending[] }> {
  const { db } = store
  const keys = (letter: string): string[] => waiting.map(({ key }) => key).filter((key) => key.startsWith(letter))
  const [messages, registers, gone] = await Promise.all([
    db.messages.bulkGet(keys('m:').map(messageKeyOf)),
    db.registers.bulkGet(keys('s:').map((key) => key.slice(2).split(':') as [string, string])),
    db.gone.bulkGet(keys('g:').map((key) => key.slice(2))),
  ])
  const found = new Map<string, Op>()
  for (const row of messages) {
    if (row && isFinal(row.status)) found.set(`m:${row.chatId}:${row.id}`, { kind: 'message', row })
  }
  for (const each of registers) if (each) found.set(`s:${each.chatId}:${each.field}`, { kind: 'set', ...each })
  for (const each of gone) if (each) found.set(`g:${each.id}`, { kind: 'gone', ...each })
  const ops: Op[] = []
  const taken: Pending[] = []
  let size = 0
  for (const each of waiting) {
    const op = found.get(each.key)
    const length = op === undefined ? 0 : JSON.stringify(op).length
    if (ops.length > 0 && size + length > BATCH_CHARS) break
    size += length
    if (op !== undefined) ops.push(op)
    taken.push(each)
  }
  return { ops, taken }
}

/** Sends what is left of `outgoing`, then forgets what it has told. */
async function send(
  { store, mailbox, signal }: PushInit,
  begun: SyncState,
  outgoing: Outgoing,
): Promise<{ state: SyncState; bytes: number | undefined }> {
  let state = begun
  let bytes: number | undefined
  try {
    for (let i = outgoing.sent; i < outgoing.entries.length; i++) {
      const data = outgoing.entries[i]!
      bytes = (await mailbox.append({ device: state.device, seq: outgoing.first + i, data }, signal)).bytes
      if (i + 1 < outgoing.entries.length) state = await save(store, { outgoing: { ...outgoing, sent: i + 1 } })
    }
  } catch (error) {
    if (!(error instanceof SyncError && error.code === 'conflict')) throw error
    return { state: kept(await renamedState(store)), bytes }
  }
  return { state: await told(store, outgoing), bytes }
}

/** What was sent is no longer waiting, unless it has changed since. */
async function told(store: LocalStore, { entries, covers, endsAll }: Outgoing): Promise<SyncState> {
  const { db } = store
  await store.guard(() =>
    db.transaction('rw', db.pending, async () => {
      const now = await db.pending.bulkGet(covers.map(([key]) => key))
      await db.pending.bulkDelete(covers.filter(([, rev], i) => now[i]?.rev === rev).map(([key]) => key))
    }),
  )
  const bytes = entries.reduce((sum, { length }) => sum + Math.ceil((length * 3) / 4), 0)
  const had = await save(store, { outgoing: undefined })
  const allBytes = had.all === undefined ? had.allBytes : (had.allBytes ?? 0) + bytes
  return save(store, { ...(allBytes !== undefined && { allBytes }), ...(endsAll && { all: undefined }) })
}

const save = async (store: LocalStore, change: Partial<SyncState>): Promise<SyncState> =>
  kept(await store.guard(() => saveState(store.db, change)))

function kept(state: SyncState | undefined): SyncState {
  if (state === undefined) throw new SyncError('forgotten', 'the sync of this device was ended')
  return state
}
