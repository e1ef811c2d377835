/**
 * The table of messages: their numbers in serial frames, who sends them, and their fields in the order of CBOR arrays. New
 * fields go to the end of a row, so that older firmware leaves them out and older bridges do not see them.
 */
import { DEVICE_ID, DEVICE_STATES, LIMITS } from '../../mesh/protocol/index.ts'
import * as f from './fields.ts'
import {
  ANSWER_ENDS,
  ANSWER_SHAPES,
  ASK_STATES,
  CHARSETS,
  FORMATS,
  MESSAGE_VERSION,
  type Direction,
  type MessageKind,
  type MessageOf,
} from './types.ts'

export interface FieldRow {
  readonly key: string
  readonly isRequired: boolean
  readonly field: f.Field<unknown>
}

export interface KindRow {
  readonly kind: MessageKind
  /** First byte of a serial frame. */
  readonly type: number
  readonly direction: Direction | 'both'
  readonly fields: readonly FieldRow[]
}

type FieldsOf<K extends MessageKind> = Omit<MessageOf<K>, 'kind'>
type Required<T> = { [P in keyof T]-?: undefined extends T[P] ? never : P }[keyof T]

/** One entry for each field of a message, in order; the compiler holds names and types to those of the message. */
type Columns<K extends MessageKind> = {
  [P in keyof FieldsOf<K>]-?: f.Field<Exclude<FieldsOf<K>[P], undefined>>
}

function row<K extends MessageKind>(
  kind: K,
  type: number,
  direction: KindRow['direction'],
  columns: Columns<K>,
  required: readonly Required<FieldsOf<K>>[],
): KindRow {
  const fields = Object.entries(columns).map(([key, field]) => ({
    key,
    isRequired: (required as readonly string[]).includes(key),
    field: field as f.Field<unknown>,
  }))
  return { kind, type, direction, fields }
}

const version: f.Field<typeof MESSAGE_VERSION> = {
  read: (wire) => (wire === MESSAGE_VERSION ? MESSAGE_VERSION : undefined),
  write: () => MESSAGE_VERSION,
}
const id32 = f.uint()
/** Of a question. From 1: a `fail` with 0 is of no question. */
const askId = f.uint(f.UINT16_MAX, 1)
const failedId = f.uint(f.UINT16_MAX)
const index = f.uint(f.UINT16_MAX)
const DAY_S = 86_400
const capabilityString = f.text(LIMITS.deviceCapabilityBytesMax)
const body = f.text(LIMITS.deviceMessageBytesMax)
const className = f.text(12)
const firmware = f.text(16)
const deviceId = f.text(23, new RegExp(DEVICE_ID))

export const KINDS: readonly KindRow[] = [
  row(
    'hello',
    0x01,
    'up',
    {
      v: version,
      fw: firmware,
      rx: f.uint(1 << 20, 16),
      win: f.uint(255, 1),
      boot: id32,
      n: f.uint(LIMITS.deviceCapabilitiesMax),
      fmt: f.word(FORMATS),
      cs: f.word(CHARSETS),
      sleep: f.uint(),
      cmd: id32,
      caps: f.list(capabilityString, LIMITS.deviceCapabilitiesMax),
      class: className,
    },
    ['v', 'fw', 'rx', 'win', 'boot', 'n'],
  ),
  row(
    'welcome',
    0x02,
    'down',
    { v: version, boot: id32, t: f.uint(f.MAX_SECONDS), hb: f.uint(DAY_S, 1), rx: f.uint(1 << 20), id: deviceId },
    ['v', 'boot', 't', 'hb', 'rx', 'id'],
  ),
  row(
    'caps',
    0x03,
    'up',
    { i: f.uint(LIMITS.deviceCapabilitiesMax - 1), c: f.list(capabilityString, LIMITS.deviceCapabilitiesMax) },
    ['i', 'c'],
  ),
  row('state', 0x04, 'up', { s: f.word(DEVICE_STATES), t: f.uint() }, ['s']),
  row('ping', 0x05, 'both', { n: id32 }, ['n']),
  row('tele', 0x10, 'up', { n: f.uint(f.UINT32_MAX, 1), a: f.flag, r: f.readings, age: f.uint() }, ['n', 'r']),
  row('ack', 0x11, 'down', { n: id32 }, ['n']),
  row('cmd', 0x20, 'down', { id: f.uint(f.UINT32_MAX, 1), c: f.capabilityRef, v: f.value, exp: f.uint() }, ['id', 'c']),
  row('result', 0x21, 'up', { id: f.uint(f.UINT32_MAX, 1), ok: f.flag, v: f.value, e: f.compactError }, ['id', 'ok']),
  row(
    'infer',
    0x30,
    'up',
    {
      id: askId,
      q: body,
      ttl: f.uint(DAY_S, 1),
      max: f.uint(1 << 20, 1),
      as: f.word(ANSWER_SHAPES),
      of: f.list(f.text(64), LIMITS.deviceCapabilitiesMax),
      m: f.text(128),
      tok: f.uint(LIMITS.generatedTokensMax, 1),
      pn: f.uint(LIMITS.devicePromptPartsMax),
      sch: f.jsonObject,
    },
    ['id', 'q', 'ttl'],
  ),
  row('chunk', 0x31, 'down', { id: askId, i: index, l: f.flag, t: body, by: f.text(63), fin: f.place(ANSWER_ENDS) }, [
    'id',
    'i',
    'l',
    't',
  ]),
  row('credit', 0x32, 'up', { id: askId, next: index, n: f.uint(255) }, ['id', 'next', 'n']),
  row('fail', 0x33, 'down', { id: failedId, c: f.compactError, retry: f.uint() }, ['id', 'c']),
  row('accept', 0x34, 'down', { id: askId, s: f.place(ASK_STATES), n: f.uint() }, ['id', 's']),
  row('cancel', 0x35, 'up', { id: askId }, ['id']),
  row('prompt', 0x36, 'up', { id: askId, i: f.uint(LIMITS.devicePromptPartsMax - 1), t: body }, ['id', 'i', 't']),
  row('bye', 0x40, 'down', { c: f.compactError }, ['c']),
  row('class', 0x41, 'down', { c: f.capabilityRef, label: f.text(32), score: f.share }, ['c', 'label', 'score']),
  row('claim', 0x50, 'up', { v: version, code: f.text(12, /^[A-Z0-9-]{4,12}$/), fw: firmware, class: className }, [
    'v',
    'code',
  ]),
  row('grant', 0x51, 'down', { id: deviceId, key: f.text(64, /^[\x21-\x7e]{8,64}$/) }, ['id', 'key']),
  row('log', 0x7f, 'up', { t: f.text(64) }, ['t']),
]

const byKind = new Map<string, KindRow>(KINDS.map((each) => [each.kind, each]))
const byType = new Map<number, KindRow>(KINDS.map((each) => [each.type, each]))

export const rowOfKind = (kind: string): KindRow | undefined => byKind.get(kind)
export const rowOfType = (type: number): KindRow | undefined => byType.get(type)
