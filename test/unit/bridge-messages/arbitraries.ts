/** Messages of every kind as fast-check makes them, within what their fields allow. */
import fc from 'fast-check'
import { DEVICE_STATES } from '../../../mesh/protocol/index.ts'
import {
  ANSWER_ENDS,
  ANSWER_SHAPES,
  ASK_STATES,
  CHARSETS,
  COMPACT_ERRORS,
  FORMATS,
  type Message,
  type MessageKind,
} from '../../../firmware-bridge/messages/index.ts'

const encoder = new TextEncoder()
const textOf = (bytesMax: number): fc.Arbitrary<string> =>
  fc.string({ unit: 'grapheme', maxLength: bytesMax }).filter((text) => encoder.encode(text).length <= bytesMax)
const uint = (max = 2 ** 32 - 1, min = 0): fc.Arbitrary<number> => fc.integer({ min, max })
const index16 = uint(2 ** 16 - 1)
/** Of a question; 0 is none's. */
const askId = uint(2 ** 16 - 1, 1)
const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,30}$/)
export const deviceId = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,22}$/)
const finite = fc.oneof(uint(), fc.double({ noNaN: true, noDefaultInfinity: true })).map((number) => number + 0)
const value = fc.oneof(fc.boolean(), finite, textOf(40))
const capability = textOf(64)
const error = fc.constantFrom(...COMPACT_ERRORS)

/** Of one kind and format: CBOR has no schemas, and readings of names are JSON's, of indexes CBOR's. */
function fieldsOf(format: 'json' | 'cbor'): Record<MessageKind, fc.Arbitrary<object>> {
  const ref = format === 'json' ? name : uint(31)
  const readings = fc.uniqueArray(fc.tuple(ref, value), { maxLength: 8, selector: ([key]) => key })
  const some = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined })
  const version = fc.constant(1)
  const schema = fc.dictionary(name, fc.oneof(fc.string(), fc.integer()), { maxKeys: 4 })
  return {
    hello: fc.record({
      ...{ v: version, fw: textOf(16), rx: uint(1 << 20, 16), win: uint(255, 1), boot: uint(), n: uint(32) },
      ...{ fmt: some(fc.constantFrom(...FORMATS)), cs: some(fc.constantFrom(...CHARSETS)), sleep: some(uint()) },
      ...{ cmd: some(uint()), caps: some(fc.array(capability, { maxLength: 8 })), class: some(textOf(12)) },
    }),
    welcome: fc.record({ v: version, boot: uint(), t: uint(), hb: uint(86_400, 1), rx: uint(1 << 20), id: deviceId }),
    caps: fc.record({ i: uint(31), c: fc.array(capability, { maxLength: 8 }) }),
    state: fc.record({ s: fc.constantFrom(...DEVICE_STATES), t: some(uint()) }),
    ping: fc.record({ n: uint() }),
    tele: fc.record({ n: uint(2 ** 32 - 1, 1), a: some(fc.boolean()), r: readings, age: some(uint()) }),
    ack: fc.record({ n: uint() }),
    cmd: fc.record({ id: uint(2 ** 32 - 1, 1), c: ref, v: some(value), exp: some(uint()) }),
    result: fc.record({ id: uint(2 ** 32 - 1, 1), ok: fc.boolean(), v: some(value), e: some(error) }),
    infer: fc.record({
      ...{ id: askId, q: textOf(200), ttl: uint(86_400, 1), max: some(uint(1 << 20, 1)), m: some(textOf(40)) },
      ...{ as: some(fc.constantFrom(...ANSWER_SHAPES)), of: some(fc.array(textOf(20), { maxLength: 4 })) },
      ...{
        tok: some(uint(1000, 1)),
        pn: some(uint(64)),
        sch: some(format === 'json' ? schema : fc.constant(undefined)),
      },
    }),
    chunk: fc.record({
      ...{ id: askId, i: index16, l: fc.boolean(), t: textOf(200) },
      ...{ by: some(textOf(20)), fin: some(fc.constantFrom(...ANSWER_ENDS)) },
    }),
    credit: fc.record({ id: askId, next: index16, n: uint(255) }),
    fail: fc.record({ id: index16, c: error, retry: some(uint()) }),
    accept: fc.record({ id: askId, s: fc.constantFrom(...ASK_STATES), n: some(uint()) }),
    cancel: fc.record({ id: askId }),
    prompt: fc.record({ id: askId, i: uint(63), t: textOf(100) }),
    bye: fc.record({ c: error }),
    class: fc.record({ c: ref, label: textOf(20), score: fc.double({ min: 0, max: 1, noNaN: true }) }),
    claim: fc.record({ v: version, code: fc.stringMatching(/^[A-Z0-9-]{4,12}$/), class: some(textOf(12)) }),
    grant: fc.record({ id: deviceId, key: fc.stringMatching(/^[a-zA-Z0-9]{8,64}$/) }),
    log: fc.record({ t: textOf(64) }),
  }
}

export const anyMessage = (format: 'json' | 'cbor'): fc.Arbitrary<Message> =>
  fc.oneof(
    ...Object.entries(fieldsOf(format)).map(([kind, fields]) =>
      fields.map((record) => {
        const present = Object.entries(record).filter(([, each]) => each !== undefined)
        return { kind, ...Object.fromEntries(present) } as unknown as Message
      }),
    ),
  )
