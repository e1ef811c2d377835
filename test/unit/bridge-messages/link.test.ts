/** Serial lines: every frame that noise left whole comes through, none that it broke does, and nothing grows. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  answerLines,
  cobsDecode,
  cobsEncode,
  commandLine,
  crc16,
  DialectDetector,
  encodeFrame,
  failureLine,
  FRAME_BYTES_MAX,
  FRAME_OVERHEAD_BYTES,
  FrameDecoder,
  LineDecoder,
  parseLine,
  type SerialFrame,
} from '../../../firmware-bridge/link/index.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const payload = fc.uint8Array({ maxLength: FRAME_BYTES_MAX - FRAME_OVERHEAD_BYTES })
const anyFrame = fc.record({ type: fc.nat(255), seq: fc.nat(255), payload })

describe('COBS', () => {
  it('gives back any bytes, has no zero, and one byte more for each 254', () => {
    const long = fc.uint8Array({ maxLength: 800, size: 'max' })
    const full = fc.integer({ min: 250, max: 520 }).map((length) => new Uint8Array(length).fill(7))
    fc.assert(
      fc.property(fc.oneof(long, full), (data) => {
        const stuffed = cobsEncode(data)
        expect(stuffed.includes(0)).toBe(false)
        expect(stuffed.length).toBeLessThanOrEqual(data.length + Math.max(1, Math.ceil(data.length / 254)))
        expect(cobsDecode(stuffed)).toEqual(data)
      }),
    )
  })

  it.each([
    ['00', '0101'],
    ['0000', '010101'],
    ['11220033', '0311220233'],
    ['11223344', '0511223344'],
    ['11000000', '0211010101'],
  ])('%s is %s', (data, stuffed) => {
    expect(Buffer.from(cobsEncode(Buffer.from(data, 'hex'))).toString('hex')).toBe(stuffed)
  })

  it.each(['', '00', '02', '0511', '0200'])('refuses %s', (stuffed) => {
    expect(cobsDecode(Buffer.from(stuffed, 'hex'))).toBeUndefined()
  })
})

describe('frames', () => {
  it('have the checksum of its catalogue', () => {
    expect(crc16(bytes('123456789'))).toBe(0x6f91)
  })

  it('come through in pieces of any size, after noise', () => {
    const pieces = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 6 }),
        fc.uint8Array({ maxLength: 40 }),
        pieces,
        (frames, noise, sizes) => {
          const line = Buffer.concat([noise, ...frames.map((frame) => encodeFrame(frame)!)])
          const decoder = new FrameDecoder()
          const got: SerialFrame[] = []
          for (let at = 0, turn = 0; at < line.length; turn++) {
            const size = sizes[turn % sizes.length]!
            got.push(...decoder.push(line.subarray(at, at + size)))
            at += size
          }
          expect(got.slice(got.length - frames.length)).toEqual(frames)
        },
      ),
    )
  })

  it('that are broken anywhere are none, and the next one is', () => {
    fc.assert(
      fc.property(anyFrame, fc.nat(), fc.integer({ min: 1, max: 255 }), (frame, at, flip) => {
        const line = encodeFrame(frame)!
        line[1 + (at % (line.length - 2))]! ^= flip
        const decoder = new FrameDecoder()
        const next = { type: 1, seq: 2, payload: bytes('next') }
        expect(decoder.push(Buffer.concat([line, encodeFrame(next)!]))).toEqual([next])
        expect(decoder.counts.bad + decoder.counts.overruns).toBeGreaterThan(0)
      }),
    )
  })

  it('are counted when they are lost, and not when the board began again', () => {
    const decoder = new FrameDecoder()
    const send = (seq: number): void => void decoder.push(encodeFrame({ type: 1, seq, payload: bytes('x') })!)
    for (const seq of [254, 255, 0, 3, 4]) send(seq)
    expect(decoder.counts).toEqual({ good: 5, bad: 0, overruns: 0, lost: 2 })
    send(200)
    expect(decoder.counts.lost).toBe(2)
  })

  it('too long are counted and forgotten', () => {
    expect(encodeFrame({ type: 1, seq: 0, payload: new Uint8Array(252) })).toBeUndefined()
    const decoder = new FrameDecoder(64)
    for (let turn = 0; turn < 100; turn++) expect(decoder.push(new Uint8Array(1000).fill(9))).toEqual([])
    expect(decoder.push(Uint8Array.of(0))).toEqual([])
    expect(decoder.push(encodeFrame({ type: 1, seq: 0, payload: new Uint8Array(61) })!)).toEqual([])
    expect(decoder.counts).toMatchObject({ good: 0, overruns: 2 })
    expect(decoder.push(encodeFrame({ type: 1, seq: 0, payload: new Uint8Array(60) })!)).toHaveLength(1)
  })

  it('are none of any bytes, mostly, and nothing is thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600, size: 'max' }), (noise) => {
        const decoder = new FrameDecoder()
        for (const { payload: got } of decoder.push(noise)) expect(got.length).toBeLessThanOrEqual(251)
      }),
    )
  })
})

describe('lines', () => {
  it.each([
    [
      'temp=21.5 hum=40',
      {
        of: 'readings',
        readings: [
          ['temp', 21.5],
          ['hum', 40],
        ],
      },
    ],
    [
      'Temp=-3, Door=ON',
      {
        of: 'readings',
        readings: [
          ['temp', -3],
          ['door', true],
        ],
      },
    ],
    ['mode=low', { of: 'readings', readings: [['mode', 'low']] }],
    ['? is it warm', { of: 'question', text: 'is it warm' }],
    ['ok vent=on', { of: 'done', name: 'vent', value: true }],
    ['ok reboot', { of: 'done', name: 'reboot' }],
    ['ERR vent stuck', { of: 'failed', name: 'vent' }],
    ['booting v1.2', { of: 'text', text: 'booting v1.2' }],
    ['temp=', { of: 'text', text: 'temp=' }],
    ['a=1 b', { of: 'text', text: 'a=1 b' }],
    [Array.from({ length: 33 }, (_, i) => `a${i}=1`).join(' '), { of: 'text' }],
    ['x=1e999', { of: 'readings', readings: [['x', '1e999']] }],
  ])('%s', (line, expected) => {
    expect(parseLine(line)).toMatchObject(expected)
  })

  it('tell answers, failures and commands without breaking out of their line', () => {
    expect(answerLines('one\ntwo')).toEqual(['> one\n', '> two\n', '.\n'])
    expect(failureLine('deadline\n> x')).toBe('! deadline > x\n')
    expect([commandLine('vent', true), commandLine('fan', 3), commandLine('temp'), commandLine('say', 'a\nb')]).toEqual(
      ['vent=on\n', 'fan=3\n', 'temp?\n', 'say=a b\n'],
    )
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 300, size: 'max' }),
        fc.integer({ min: 16, max: 256 }),
        (text, max) => {
          const lines = answerLines(text, max)
          for (const line of lines) {
            expect(bytes(line).length).toBeLessThanOrEqual(max)
            expect(line.indexOf('\n')).toBe(line.length - 1)
          }
          const back = lines
            .slice(0, -1)
            .map((line) => line.slice(2, -1))
            .join('')
            .replace(/[\s\p{Cc}]/gu, '')
          expect(back).toBe(text.replace(/[\s\p{Cc}]/gu, ''))
        },
      ),
    )
  })

  it('are found in bytes, and too long ones dropped whole', () => {
    const decoder = new LineDecoder(16)
    expect(decoder.push(bytes('temp=1\r\n\nhum'))).toEqual(['temp=1'])
    expect(decoder.push(bytes('=2\n' + 'x'.repeat(40) + '\nok a\n'))).toEqual(['hum=2', 'ok a'])
    expect(decoder.overruns).toBe(1)
    expect(decoder.push(Uint8Array.of(0xff, 0x0a))).toEqual(['\ufffd'])
  })

  it('are read whatever they are', () => {
    fc.assert(fc.property(fc.string({ maxLength: 256 }), (line) => void parseLine(line)))
  })
})

const connect = Buffer.from('101300044d5154540402003c000767726e682d3031', 'hex')
const hello = Buffer.from(encodeFrame({ type: 1, seq: 0, payload: bytes('hello') })!)

describe('which dialect a board speaks', () => {
  it.each([
    ['frames', hello],
    ['mqtt', connect],
    ['lines', bytes('temp=21.5\n')],
    ['lines', bytes('? is it warm\n')],
    ['lines', bytes('one\ntwo\nthree\n')],
    ['frames', Buffer.concat([bytes('boot v1\n\u0010'), hello])],
    ['mqtt', Buffer.concat([Uint8Array.of(0xff, 0x80), connect])],
    ['lines', Buffer.concat([Uint8Array.of(0x81, 0x07), bytes('temp=21.5\n')])],
  ] as const)('%s', (dialect, line) => {
    const atOnce = new DialectDetector().push(line)
    expect(atOnce?.dialect).toBe(dialect)
    // byte by byte it is the same, and nothing of what its decoder needs is lost
    const detector = new DialectDetector()
    let pending: number[] | undefined
    for (const byte of line) {
      if (pending !== undefined) pending.push(byte)
      else {
        const found = detector.push(Uint8Array.of(byte))
        pending = found && [...found.pending]
      }
    }
    expect(detector.dialect).toBe(dialect)
    expect(Uint8Array.from(pending!)).toEqual(Uint8Array.from(atOnce!.pending))
    if (dialect === 'frames') expect(new FrameDecoder().push(atOnce!.pending)).toHaveLength(1)
  })

  it('is not told by noise, which is not kept', () => {
    const detector = new DialectDetector()
    for (let turn = 0; turn < 50; turn++) expect(detector.push(new Uint8Array(400).fill(0xee))).toBeUndefined()
    expect(detector.push(hello)?.dialect).toBe('frames')
  })
})
