/** What a device and the bridge say comes through as it was, in both formats; anything else is refused and never thrown. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalBytes, ERRORS, LIMITS } from '../../../mesh/protocol/index.ts'
import {
  codeOfCompact,
  COMPACT_ERRORS,
  compactNumber,
  compactOfCode,
  compactOfNumber,
  decodeMessage,
  encodeMessage,
  fits,
  FORMATS,
  KINDS,
  kindOf,
  messageTopic,
  publishBytes,
  sizeOf,
  typeOf,
  type Direction,
  type Message,
} from '../../../firmware-bridge/messages/index.ts'
import { anyMessage } from './arbitraries.ts'

const directionOf = (message: Message): Direction => {
  const { direction } = KINDS.find((row) => row.kind === message.kind)!
  return direction === 'both' ? 'up' : direction
}
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')
const codeOf = (decoded: ReturnType<typeof decodeMessage>): string =>
  decoded.ok ? 'ok' : `${decoded.refusal.code}: ${decoded.refusal.why}`

describe('messages', () => {
  it.each(FORMATS)('come back as they were from %s', (format) => {
    fc.assert(
      fc.property(anyMessage(format), (message) => {
        const body = encodeMessage(message, format)
        const decoded = decodeMessage(message.kind, body, format, directionOf(message))
        expect(decoded).toEqual({ ok: true, value: message })
        if (format === 'cbor')
          expect(decodeMessage(typeOf(message.kind), body, format, directionOf(message))).toEqual(decoded)
        // the same message is the same bytes: a size that was told stays true
        expect(encodeMessage(message, format)).toEqual(body)
      }),
      { numRuns: 500 },
    )
  })

  it('are as small as the contract says', () => {
    const ask: Message = { kind: 'infer', id: 7, q: 'Is the plant dry? 312', ttl: 20, max: 32, as: 'yesno' }
    expect(hex(encodeMessage(ask, 'cbor'))).toBe('850775' + hex(bytes('Is the plant dry? 312')) + '14182003')
    expect(Buffer.from(encodeMessage(ask, 'json')).toString()).toBe(
      '{"id":7,"q":"Is the plant dry? 312","ttl":20,"max":32,"as":"yesno"}',
    )
    const tele: Message = { kind: 'tele', n: 3, r: [[0, 21.5]] }
    expect(hex(encodeMessage(tele, 'cbor'))).toBe('8303f68200f94d60')
    expect(hex(encodeMessage({ kind: 'fail', id: 1, c: 'deadline' }, 'cbor'))).toBe('820107')
    expect(Buffer.from(encodeMessage({ kind: 'fail', id: 1, c: 'deadline' }, 'json')).toString()).toBe('{"id":1,"c":7}')
  })

  it('ignore what newer firmware adds, and read words and numbers of enumerations', () => {
    const json = bytes('{"id":1,"q":"x","ttl":5,"as":3,"colour":"red","max":null}')
    expect(decodeMessage('infer', json, 'json', 'up')).toEqual({
      ok: true,
      value: { kind: 'infer', id: 1, q: 'x', ttl: 5, as: 'yesno' },
    })
    expect(decodeMessage('ack', canonicalBytes([5, 'new', 7]), 'cbor', 'down')).toEqual({
      ok: true,
      value: { kind: 'ack', n: 5 },
    })
  })

  it('take the bare word of a last will', () => {
    for (const format of FORMATS)
      expect(decodeMessage('state', bytes('lost'), format, 'up')).toEqual({
        ok: true,
        value: { kind: 'state', s: 'lost' },
      })
    expect(decodeMessage('state', bytes('gone'), 'json', 'up').ok).toBe(false)
  })

  it('write half a pair of surrogates as a character, not as half of one', () => {
    const body = encodeMessage({ kind: 'log', t: 'a\ud83d' }, 'json')
    expect(decodeMessage('log', body, 'json', 'up')).toEqual({ ok: true, value: { kind: 'log', t: 'a\ufffd' } })
  })

  it.each([
    ['another version', 'hello', '{"v":2,"fw":"1","rx":128,"win":1,"boot":1,"n":0}', 'malformed: hello: v is wrong'],
    ['a missing field', 'infer', '{"id":1,"ttl":5}', 'malformed: infer: q is missing'],
    ['a number too large', 'cancel', '{"id":65536}', 'malformed: cancel: id is wrong'],
    ['the id of no question', 'infer', '{"id":0,"q":"x","ttl":5}', 'malformed: infer: id is wrong'],
    ['a fraction', 'cancel', '{"id":1.5}', 'malformed: cancel: id is wrong'],
    ['what is no object', 'cancel', '[1]', 'malformed: cancel: no object'],
    ['what is no JSON', 'cancel', '{"id":1', 'malformed: cancel: not JSON'],
    [
      'JSON too deep',
      'infer',
      `{"id":1,"q":"x","ttl":5,"sch":${'{"a":'.repeat(20)}1${'}'.repeat(20)}}`,
      'malformed: infer: JSON too deep',
    ],
    ['a name that no capability has', 'tele', '{"n":1,"r":{"__proto__":1}}', 'malformed: tele: r is wrong'],
    ['a value that is a list', 'tele', '{"n":1,"r":{"a":[1]}}', 'malformed: tele: r is wrong'],
    ['a message of the bridge', 'welcome', '{}', 'malformed: welcome does not go up'],
    ['a kind of nobody', 'flood', '{}', 'malformed: no message is of that kind'],
    ['a body too large', 'log', `{"t":"${'x'.repeat(LIMITS.deviceMessageBytesMax)}"}`, 'too_large: log: too large'],
  ])('refuse %s', (_what, kind, json, refusal) => {
    expect(codeOf(decodeMessage(kind, bytes(json), 'json', 'up'))).toBe(refusal)
  })

  it.each([
    ['nothing', '', 'it is cut off'],
    ['a map', 'a10101', 'an item that messages do not have'],
    ['bytes', '8141ff', 'an item that messages do not have'],
    ['a tag', 'c101', 'an item that messages do not have'],
    ['an indefinite list', '9f01ff', 'an indefinite or reserved length'],
    ['undefined', '81f7', 'an item that messages do not have'],
    ['a list longer than it can be', '9b00ffffffffffffff', 'it is cut off'],
    ['a text longer than it can be', '817a7fffffff', 'it is cut off'],
    ['lists in lists in lists', '8181818101', 'lists too deep'],
    ['text that is no UTF-8', '8162c328', 'text that is not UTF-8'],
    ['more behind its end', '810101', 'more behind its end'],
    ['many items', '98ff' + '00'.repeat(255), 'too many items'],
  ])('refuse CBOR that is %s', (_what, cbor, why) => {
    const decoded = decodeMessage('log', Buffer.from(cbor, 'hex'), 'cbor', 'up')
    expect(codeOf(decoded)).toBe(`malformed: log: not our CBOR: ${why}`)
  })

  it.each(FORMATS)('refuse or read any bytes of %s, and never throw', (format) => {
    const kinds = fc.constantFrom(...KINDS.map((row) => row.kind))
    const near = anyMessage(format).map((message) => encodeMessage(message, format))
    const noisy = fc.tuple(near, fc.nat(), fc.nat(255)).map(([body, at, byte]) => {
      if (body.length > 0) body[at % body.length] = byte
      return body
    })
    fc.assert(
      fc.property(kinds, fc.oneof(fc.uint8Array({ maxLength: 64 }), noisy), (kind, body) => {
        const decoded = decodeMessage(kind, body, format, kind === 'chunk' ? 'down' : 'up')
        // what was read can be written, and is read again as the same
        if (decoded.ok)
          expect(
            decodeMessage(kind, encodeMessage(decoded.value, format), format, kind === 'chunk' ? 'down' : 'up'),
          ).toEqual(decoded)
      }),
      { numRuns: 1000 },
    )
  })
})

describe('sizes', () => {
  it('are those of the packet or frame, to the byte', () => {
    fc.assert(
      fc.property(anyMessage('json'), (message) => {
        const topic = messageTopic('greenhouse-1', 'down', message.kind)
        const payload = encodeMessage(message, 'json').length
        const size = sizeOf(message, 'mqtt-json', topic)
        expect(size).toBe(publishBytes(topic, payload))
        expect(fits(message, 'mqtt-json', size, topic)).toBe(true)
        expect(fits(message, 'mqtt-json', size - 1, topic)).toBe(false)
        // MQTT 5 has the length of its properties
        expect(sizeOf(message, 'mqtt-json', topic, 1)).toBeGreaterThan(size)
      }),
    )
    const chunk: Message = { kind: 'chunk', id: 1, i: 0, l: true, t: 'é"\n', fin: 'stop' }
    expect(sizeOf(chunk, 'frames')).toBe(11)
    // PUBLISH, length 41, topic 2 + 25: {"id":1,"i":0,"l":1,"t":"é\"\n","fin":0}
    expect(sizeOf(chunk, 'mqtt-json', 'skein/v1/dev/a/down/chunk')).toBe(1 + 1 + 2 + 25 + 41)
    expect(publishBytes('t', 124)).toBe(1 + 1 + 127)
    expect(publishBytes('t', 125)).toBe(1 + 2 + 128)
    expect(publishBytes('t', 16_381)).toBe(1 + 3 + 16_384)
  })
})

describe('compact errors', () => {
  it('are numbers from 1 and codes of the mesh', () => {
    expect(COMPACT_ERRORS.map(compactNumber)).toEqual(COMPACT_ERRORS.map((_, place) => place + 1))
    for (const error of COMPACT_ERRORS) {
      expect(compactOfNumber(compactNumber(error))).toBe(error)
      expect(ERRORS[codeOfCompact(error)]).toBeDefined()
    }
    expect([compactOfNumber(0), compactOfNumber(200), compactOfNumber('1'), compactOfNumber(-1)]).toEqual(
      Array(4).fill(undefined),
    )
    expect(compactOfCode('TASK_EXPIRED')).toBe('deadline')
    expect(compactOfCode('CERTIFICATE_INVALID' as never)).toBe('internal')
  })

  it('have the numbers of the table of kinds, each kind one type', () => {
    expect(new Set(KINDS.map((row) => row.type)).size).toBe(KINDS.length)
    for (const { kind, type } of KINDS) expect([kindOf(type), typeOf(kind)]).toEqual([kind, type])
  })
})
