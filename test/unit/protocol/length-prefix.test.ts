/** Cutting a byte stream into frames: the same frames wherever the chunks end, and never more memory than one frame. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeFrame, FrameSplitter, prefixed, SkeinError } from '../../../mesh/protocol/index.ts'
import { anyFrame } from './arbitraries.ts'

const FRAME_BYTES_MAX = 100_000

/** `bytes` cut at `borders`, in pieces. */
function cut(bytes: Uint8Array, borders: readonly number[]): Uint8Array[] {
  const sorted = [...new Set(borders.map((border) => border % (bytes.length + 1)))].sort((a, b) => a - b)
  return [...sorted, bytes.length].map((end, i) => bytes.subarray(i === 0 ? 0 : sorted[i - 1], end))
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts))
}

function drain(splitter: FrameSplitter): Uint8Array[] {
  const payloads: Uint8Array[] = []
  for (let next = splitter.next(); next !== undefined; next = splitter.next()) payloads.push(next)
  return payloads
}

describe('FrameSplitter', () => {
  it('gives the same frames wherever the chunks end', () => {
    const payloads = fc.array(
      fc.oneof(
        anyFrame.map(encodeFrame),
        fc.uint8Array({ maxLength: 3 }),
        fc.nat(20_000).map((n) => new Uint8Array(n).fill(n)),
      ),
      { maxLength: 8 },
    )
    fc.assert(
      fc.property(payloads, fc.array(fc.nat()), fc.boolean(), (sent, borders, eager) => {
        const splitter = new FrameSplitter(FRAME_BYTES_MAX)
        const got: Uint8Array[] = []
        for (const chunk of cut(joined(sent.map(prefixed)), borders)) {
          // a chunk's memory may be used again by who gave it only after the frame was taken: hand over a copy
          splitter.push(Uint8Array.from(chunk))
          if (eager) got.push(...drain(splitter))
        }
        got.push(...drain(splitter))
        expect(got.map((payload) => [...payload])).toEqual(sent.map((payload) => [...payload]))
        expect(splitter.pendingBytes).toBe(0)
      }),
      { numRuns: 500 },
    )
  })

  it('leaves what it gave alone when more comes', () => {
    const splitter = new FrameSplitter(FRAME_BYTES_MAX)
    const sent = Array.from({ length: 50 }, (_, i) => Uint8Array.of(i, i, i))
    const got: Uint8Array[] = []
    for (const byte of joined(sent.map(prefixed))) {
      splitter.push(Uint8Array.of(byte))
      const next = splitter.next()
      if (next !== undefined) got.push(next)
    }
    expect(got).toEqual(sent)
  })

  it('gives payloads or a SkeinError for any bytes, and says beforehand whether it has decided', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 20 })), (chunks) => {
        const splitter = new FrameSplitter(64)
        for (const chunk of chunks) splitter.push(chunk)
        for (;;) {
          const { decided, pendingBytes } = splitter
          try {
            const payload = splitter.next()
            expect(decided).toBe(payload !== undefined)
            if (payload === undefined) return
            expect(payload.length).toBeLessThanOrEqual(64)
            expect(splitter.pendingBytes).toBeLessThan(pendingBytes)
          } catch (error) {
            expect(error).toBeInstanceOf(SkeinError)
            expect(['FRAME_TOO_LARGE', 'FRAME_MALFORMED']).toContain((error as SkeinError).code)
            expect(decided).toBe(true)
            return
          }
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('refuses a length over the bound before any of the frame has come', () => {
    const splitter = new FrameSplitter(1000)
    splitter.push(prefixed(new Uint8Array(1001)).subarray(0, 2))
    expect(splitter.decided).toBe(true)
    expect(() => splitter.next()).toThrow('a frame of 1001 bytes where 1000 are allowed')
    const exact = new FrameSplitter(1000)
    exact.push(prefixed(new Uint8Array(1000)))
    expect(exact.next()).toHaveLength(1000)
  })

  it('refuses a length of five bytes', () => {
    const splitter = new FrameSplitter(1000)
    splitter.push(Uint8Array.of(0x80, 0x80, 0x80))
    expect(splitter.decided).toBe(false)
    splitter.push(Uint8Array.of(0x80))
    expect(() => splitter.next()).toThrow('more than four bytes')
  })

  it('holds a frame that comes in single bytes in little more than its size', () => {
    const bytes = 2_000_000
    const splitter = new FrameSplitter(bytes)
    const whole = prefixed(new Uint8Array(bytes).fill(7))
    const before = process.memoryUsage()
    for (const byte of whole.subarray(0, -1)) splitter.push(Uint8Array.of(byte))
    globalThis.gc?.()
    const after = process.memoryUsage()
    // an object for each byte would be over a hundred megabytes
    const grown = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers
    expect(grown).toBeLessThan(60_000_000)
    splitter.push(whole.subarray(-1))
    expect(splitter.next()).toHaveLength(bytes)
  })
})
