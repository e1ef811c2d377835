/**
 * Batches as the mailbox keeps them: packed, cut to the size of an entry, each piece sealed by AES-256-GCM. What device
 * and which of its numbers a piece is, is sealed with it, so that the mailbox can neither pass one for another nor
 * bring an old one back as new.
 */
import type { WebRandom } from '../platform/index.ts'
import { opOf, type Op } from '../store/index.ts'
import { isRecord, type Fields } from '../store/index.ts'
import { DEVICE_ID } from '../store/index.ts'
import { subtle, type Account } from './account.ts'
import { fromBase64, joined, packText, toBase64, unpackText, type Bytes } from './bytes.ts'
import { SyncError } from './errors.ts'

/** Of the packed bytes in one entry: with what is around them, below the 256 KiB that a mailbox takes. */
export const PIECE_BYTES = 250_000
/** Of one batch, unpacked. */
export const BATCH_BYTES_MAX = 32_000_000
const PIECES_MAX = 400
const NONCE_BYTES = 12
const HEAD_BYTES = 5
const VERSION = 1
export const NAME_MAX = 60
export const DEVICES_MAX = 32
const OPS_MAX = 50_000

/** Highest numbers of devices, by their id. */
export type Heights = Readonly<Record<string, number>>

/** What a device tells the others at once. */
export interface Batch {
  readonly name: string
  readonly publicKey: JsonWebKey
  /** Wall clock of the sender, ms since 1970. */
  readonly atMs: number
  /** What the sender had folded in when it wrote this, or began to send all. */
  readonly has: Heights
  /** All that the sender had when it began to is in its batches from this number up to this one. */
  readonly allFrom?: number
  /** The sender lacks what others wrote: would they send all again? */
  readonly asks: boolean
  /** The next account's key, sealed for each device that goes along. */
  readonly moveTo?: Readonly<Record<string, string>>
  readonly ops: readonly Op[]
}

export interface Sender {
  readonly device: string
  readonly seq: number
}

const sideOf = ({ mailbox }: Account, { device, seq }: Sender): Bytes =>
  new TextEncoder().encode(`skein sync 1 ${mailbox} ${device} ${seq}`)

/** The entries of `batch`: as many numbers from `first.seq` on. */
export async function sealBatch(account: Account, random: WebRandom, first: Sender, batch: Batch): Promise<string[]> {
  const packed = await packText(JSON.stringify(batch))
  const pieces = Math.max(1, Math.ceil(packed.length / PIECE_BYTES))
  return Promise.all(
    Array.from({ length: pieces }, async (_, i) => {
      const head = new Uint8Array(HEAD_BYTES)
      const view = new DataView(head.buffer)
      view.setUint8(0, VERSION)
      view.setUint16(1, i)
      view.setUint16(3, pieces)
      const plain = joined([head, packed.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES)])
      const iv = random.bytes(NONCE_BYTES)
      const additionalData = sideOf(account, { device: first.device, seq: first.seq + i })
      const sealed = await subtle().encrypt({ name: 'AES-GCM', iv, additionalData }, account.seal, plain)
      return toBase64(joined([iv, new Uint8Array(sealed)]))
    }),
  )
}

export interface Piece {
  readonly index: number
  readonly count: number
  readonly bytes: Bytes
}

/** @throws SyncError `protocol` when it is not of this account, of that device and that number. */
export async function openPiece(account: Account, sender: Sender, data: string): Promise<Piece> {
  const bytes = fromBase64(data)
  const iv = bytes.subarray(0, NONCE_BYTES)
  let plain: Bytes
  try {
    plain = new Uint8Array(
      await subtle().decrypt(
        { name: 'AES-GCM', iv, additionalData: sideOf(account, sender) },
        account.seal,
        bytes.subarray(NONCE_BYTES),
      ),
    )
  } catch (cause) {
    throw new SyncError('protocol', 'an entry of the mailbox was not sealed by one of your devices', { cause })
  }
  const view = new DataView(plain.buffer, plain.byteOffset)
  if (plain.length < HEAD_BYTES || view.getUint8(0) !== VERSION) throw unknown()
  const piece = { index: view.getUint16(1), count: view.getUint16(3), bytes: plain.subarray(HEAD_BYTES) }
  if (piece.index >= piece.count || piece.count > PIECES_MAX) throw unknown()
  return piece
}

const unknown = (): SyncError =>
  new SyncError('protocol', 'an entry has a form that this page does not know: reload it')

/** The batch whose pieces these are, in order. @throws SyncError `protocol`. */
export async function openBatch(pieces: readonly Bytes[]): Promise<Batch> {
  let value: unknown
  try {
    value = JSON.parse(await unpackText(joined(pieces), BATCH_BYTES_MAX))
  } catch (error) {
    if (error instanceof SyncError) throw error
    throw unknown()
  }
  return batchOf(value)
}

/** Operations of forms that this page does not know are left out; all else of another form is an error. */
export function batchOf(value: unknown): Batch {
  if (!isRecord(value)) throw unknown()
  const { name, publicKey, atMs, has, allFrom, asks, moveTo, ops } = value
  if (typeof name !== 'string' || !isRecord(publicKey) || typeof atMs !== 'number' || !Number.isFinite(atMs))
    throw unknown()
  if (!Array.isArray(ops) || ops.length > OPS_MAX) throw unknown()
  return {
    ...{ name: name.slice(0, NAME_MAX), publicKey: publicKeyOf(publicKey), atMs, has: heightsOf(has) },
    ...{ asks: asks === true, ops: ops.flatMap((op) => opOf(op) ?? []) },
    ...(Number.isSafeInteger(allFrom) && { allFrom: allFrom as number }),
    ...(isRecord(moveTo) && { moveTo: movesOf(moveTo) }),
  }
}

function publicKeyOf({ kty, crv, x, y }: Fields): JsonWebKey {
  if (kty !== 'EC' || crv !== 'P-256' || typeof x !== 'string' || typeof y !== 'string') throw unknown()
  return { kty, crv, x: x.slice(0, 60), y: y.slice(0, 60) }
}

function heightsOf(value: unknown): Heights {
  if (!isRecord(value)) throw unknown()
  const entries = Object.entries(value).filter(([id, seq]) => DEVICE_ID.test(id) && Number.isSafeInteger(seq))
  return Object.fromEntries(entries.slice(0, DEVICES_MAX)) as Heights
}

function movesOf(value: Fields): Record<string, string> {
  const entries = Object.entries(value).filter(([id, sealed]) => DEVICE_ID.test(id) && typeof sealed === 'string')
  return Object.fromEntries(entries.slice(0, DEVICES_MAX)) as Record<string, string>
}
