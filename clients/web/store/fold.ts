/**
 * What a chat is, as a fold over operations that commute, associate and may come twice: devices that have seen the same
 * operations, in whatever order, hold the same. An operation is the state of one thing at one time and no difference to
 * a state before, so that there is no log to keep: what is there now is its own last operation.
 */
import { isCreatedAt, isId, isRecord, isSetting, isSettingName, messageOf, isFinal, type SettingName } from './check.ts'
import { isStamp } from './clock.ts'
import type { MessageRow, Stamp } from './types.ts'

export type RegisterName = SettingName | 'created'

/** A message that is final; the later of two with the same id in the same chat is the one. */
export interface MessageOp {
  readonly kind: 'message'
  readonly row: MessageRow
}

/** One register of a chat; the later write wins. A chat is there when one of its registers is. */
export interface SetOp {
  readonly kind: 'set'
  readonly chatId: string
  readonly field: RegisterName
  readonly value: unknown
  readonly at: Stamp
}

/** A chat or a message is gone for good, whatever is said of it later. */
export interface GoneOp {
  readonly kind: 'gone'
  readonly id: string
  readonly at: Stamp
}

export type Op = MessageOp | SetOp | GoneOp

export const stampOf = (op: Op): Stamp => (op.kind === 'message' ? op.row.hlc : op.at)

/** The thing that an operation is about: of two about the same thing one wins. */
export const keyOf = (op: Op): string =>
  op.kind === 'message'
    ? `m:${op.row.chatId}:${op.row.id}`
    : op.kind === 'set'
      ? `s:${op.chatId}:${op.field}`
      : `g:${op.id}`

/** An order of contents, for two that were stamped alike by a device that lost its memory. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, each: unknown) =>
    isRecord(each) ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1))) : each,
  )

/** Whether `op` takes the place of `had`, which is about the same thing. */
export function wins(op: Op, had: Op | undefined): boolean {
  if (had === undefined) return true
  const [a, b] = [stampOf(op), stampOf(had)]
  // of a tombstone the first is kept: it says how long it has been gone
  if (a !== b) return op.kind === 'gone' ? a < b : a > b
  return canonical(op) > canonical(had)
}

/** All that is known, by the thing that it is about. */
export type Folded = ReadonlyMap<string, Op>

export const nothing: Folded = new Map()

const isGone = (folded: Folded, op: Op): boolean => {
  if (op.kind === 'gone') return false
  if (op.kind === 'set') return folded.has(`g:${op.chatId}`)
  return folded.has(`g:${op.row.chatId}`) || folded.has(`g:${op.row.id}`)
}

/** `folded` with `op`. */
export function apply(folded: Folded, op: Op): Folded {
  const key = keyOf(op)
  if (isGone(folded, op) || !wins(op, folded.get(key))) return folded
  const next = new Map(folded).set(key, op)
  if (op.kind !== 'gone') return next
  for (const [each, had] of folded) if (isGone(next, had)) next.delete(each)
  return next
}

export const fold = (ops: Iterable<Op>, from: Folded = nothing): Folded => {
  let folded = from
  for (const op of ops) folded = apply(folded, op)
  return folded
}

/** An operation that another device sent, in its form; undefined of what is none. */
export function opOf(value: unknown): Op | undefined {
  if (!isRecord(value)) return undefined
  if (value['kind'] === 'message') {
    const { row } = value
    const message = messageOf(row)
    const hlc = isRecord(row) ? row['hlc'] : undefined
    return message !== undefined && isFinal(message.status) && isStamp(hlc)
      ? { kind: 'message', row: { ...message, hlc } }
      : undefined
  }
  const { kind, chatId, field, value: of, id, at } = value
  if (!isStamp(at)) return undefined
  if (kind === 'gone') return isId(id) ? { kind, id, at } : undefined
  if (kind !== 'set' || !isId(chatId)) return undefined
  if (field === 'created') return isCreatedAt(of) ? { kind, chatId, field, value: of, at } : undefined
  return isSettingName(field) && isSetting(field, of) ? { kind, chatId, field, value: of, at } : undefined
}
