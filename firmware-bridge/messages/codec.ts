/**
 * Messages as bytes. Reading is total: any bytes give a message or a `Refusal`, never an exception, and never more memory
 * than a small multiple of `deviceMessageBytesMax`. Writing is exact: the same message gives the same bytes, so that its
 * size can be known before it is sent.
 */
import { canonicalBytes, DEVICE_STATES, LIMITS, readCanonical } from '../../mesh/protocol/index.ts'
import { flawOfCbor } from './cbor-scan.ts'
import { rowOfKind, rowOfType, type FieldRow, type KindRow } from './kinds.ts'
import {
  refuse,
  type Decoded,
  type Direction,
  type DownMessage,
  type Format,
  type Message,
  type MessageKind,
  type UpMessage,
} from './types.ts'

type Sent<D extends Direction> = D extends 'up' ? UpMessage : DownMessage

const encoder = new TextEncoder()
const utf8 = new TextDecoder('utf-8', { fatal: true })

/** A level of a schema in JSON is some characters long; deeper ones are nobody's. */
const JSON_DEPTH_MAX = 16

/** First byte of the serial frame of a message. */
export const typeOf = (kind: MessageKind): number => rowOfKind(kind)!.type

/** Kind of the message in a serial frame that begins with `type`. */
export const kindOf = (type: number): MessageKind | undefined => rowOfType(type)?.kind

/** The bytes of `message`, without frame or packet. */
export const encodeMessage = (message: Message, format: Format): Uint8Array =>
  format === 'json' ? encodeJson(message) : encodeCbor(message)

function encodeJson(message: Message): Uint8Array {
  const fields = message as unknown as Record<string, unknown>
  const out: Record<string, unknown> = {}
  for (const { key, field } of rowOfKind(message.kind)!.fields)
    if (fields[key] !== undefined) out[key] = field.write(fields[key], 'json')
  return encoder.encode(JSON.stringify(out))
}

function encodeCbor(message: Message): Uint8Array {
  const fields = message as unknown as Record<string, unknown>
  const out = rowOfKind(message.kind)!
    .fields.filter((row) => row.key !== 'sch')
    .map(({ key, field }) => (fields[key] === undefined ? null : field.write(fields[key], 'cbor')))
  while (out.at(-1) === null) out.pop()
  return canonicalBytes(out)
}

/**
 * The message of `kind` that a device or the bridge sent in `direction`.
 *
 * `kind` is the last level of a topic, or the type byte of a serial frame.
 */
export function decodeMessage<D extends Direction>(
  kind: string | number,
  body: Uint8Array,
  format: Format,
  direction: D,
): Decoded<Sent<D>> {
  const row = typeof kind === 'number' ? rowOfType(kind) : rowOfKind(kind)
  if (row === undefined) return refuse('no message is of that kind')
  if (row.direction !== direction && row.direction !== 'both') return refuse(`${row.kind} does not go ${direction}`)
  if (body.length > LIMITS.deviceMessageBytesMax) return refuse(`${row.kind}: too large`, 'too_large')
  const bare = row.kind === 'state' ? bareState(body) : undefined
  if (bare !== undefined) return { ok: true, value: bare as Sent<D> }
  return (format === 'json' ? decodeJson(row, body) : decodeCbor(row, body)) as Decoded<Sent<D>>
}

/** A last will is a word: MQTT libraries have no codec at hand when it is made. */
function bareState(body: Uint8Array): Message | undefined {
  // no state is longer, and no CBOR of ours begins with a letter
  if (body.length > 12) return undefined
  const word = String.fromCharCode(...body)
  const state = DEVICE_STATES.find((known) => known === word)
  return state === undefined ? undefined : { kind: 'state', s: state }
}

function decodeJson(row: KindRow, body: Uint8Array): Decoded<Message> {
  let fields: unknown
  try {
    const text = utf8.decode(body)
    if (isTooDeep(text)) return refuse(`${row.kind}: JSON too deep`)
    fields = JSON.parse(text)
  } catch {
    return refuse(`${row.kind}: not JSON`)
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return refuse(`${row.kind}: no object`)
  const named = fields as Record<string, unknown>
  return read(row, 'json', ({ key }) => named[key])
}

function isTooDeep(json: string): boolean {
  let depth = 0
  let isQuoted = false
  for (let at = 0; at < json.length; at++) {
    const character = json[at]
    if (isQuoted) {
      if (character === '\\') at++
      else if (character === '"') isQuoted = false
    } else if (character === '"') isQuoted = true
    else if (character === '{' || character === '[') {
      if (++depth > JSON_DEPTH_MAX) return true
    } else if (character === '}' || character === ']') depth--
  }
  return false
}

function decodeCbor(row: KindRow, body: Uint8Array): Decoded<Message> {
  const flaw = flawOfCbor(body)
  if (flaw !== undefined) return refuse(`${row.kind}: not our CBOR: ${flaw}`)
  const fields = readCanonical(body)
  if (!Array.isArray(fields)) return refuse(`${row.kind}: no array`)
  const values = fields as unknown[]
  // more fields than are known come from newer firmware
  return read(row, 'cbor', (_, index) => values[index])
}

function read(row: KindRow, format: Format, wireOf: (row: FieldRow, index: number) => unknown): Decoded<Message> {
  const message: Record<string, unknown> = { kind: row.kind }
  for (const [index, fieldRow] of row.fields.entries()) {
    const wire = wireOf(fieldRow, index)
    if (wire === undefined || wire === null) {
      if (fieldRow.isRequired) return refuse(`${row.kind}: ${fieldRow.key} is missing`)
      continue
    }
    const value = fieldRow.field.read(wire, format)
    if (value === undefined) return refuse(`${row.kind}: ${fieldRow.key} is wrong`)
    message[fieldRow.key] = value
  }
  return { ok: true, value: message as unknown as Message }
}

/** The format of a `hello` over MQTT, which is where the device tells it: an object of JSON begins with its brace. */
export const formatOf = (body: Uint8Array): Format => (body[0] === 0x7b ? 'json' : 'cbor')
