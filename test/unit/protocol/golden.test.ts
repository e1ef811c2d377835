/** The bytes on the wire are those of the version's golden file; another version of them needs another number. */
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  decodeFrame,
  dhtProtocol,
  encodeFrame,
  FRAMES,
  frameSet,
  prefixed,
  PROTOCOL_VERSION,
  PROTOCOLS,
  SIGNATURE_DOMAINS,
  WIRE_HISTORY,
} from '../../../mesh/protocol/index.ts'
import { SAMPLES } from '../../golden/samples.ts'

interface Golden {
  readonly version: number
  readonly frames: readonly { type: string; hex: string }[]
}

const FOLDER = new URL('../../golden/', import.meta.url)
const golden = JSON.parse(readFileSync(new URL(`wire-${PROTOCOL_VERSION}.json`, FOLDER), 'utf8')) as Golden

describe('the wire of this version', () => {
  it.each(SAMPLES.map((frame, i) => [`${i} ${frame.type}`, frame, golden.frames[i]] as const))(
    '%s has its golden bytes',
    (_name, frame, expected) => {
      const hint = 'bytes changed: raise PROTOCOL_VERSION, add a line to WIRE_HISTORY, run node test/golden/write.ts'
      expect({ type: frame.type, hex: Buffer.from(encodeFrame(frame)).toString('hex') }, hint).toEqual(expected)
      expect(decodeFrame(Buffer.from(expected!.hex, 'hex'), frameSet(...FRAMES))).toEqual(frame)
    },
  )

  it('has a sample of every frame', () => {
    expect(new Set(SAMPLES.map((frame) => frame.type))).toEqual(new Set(FRAMES.map((frame) => frame.type)))
    expect(golden.frames).toHaveLength(SAMPLES.length)
  })

  it('keeps tags, protocol ids, prefixes and signature domains', () => {
    expect(FRAMES.map((frame) => frame.tag)).toEqual([
      ...[0x01, 0x02, 0x03, 0x04],
      ...[0x10, 0x11, 0x12],
      ...[0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a],
      ...[0x30, 0x37, 0x38, 0x31, 0x32, 0x33, 0x39, 0x34, 0x35, 0x36],
      ...[0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49],
      ...[0x50, 0x51, 0x52, 0x53, 0x54],
    ])
    expect(PROTOCOLS).toEqual({
      join: '/skein/join/2.0.0',
      hello: '/skein/hello/2.0.0',
      control: '/skein/control/2.0.0',
      attempt: '/skein/attempt/2.0.0',
      model: '/skein/model/2.0.0',
      work: '/skein/work/2.0.0',
    })
    expect(dhtProtocol('tag')).toBe('/skein/tag/kad/2.0.0')
    expect(SIGNATURE_DOMAINS).toEqual({
      capability: 'skein-capability-1',
      certificate: 'skein-certificate-1',
      revocations: 'skein-revocations-1',
    })
    expect(
      [0, 1, 127, 128, 300].map((n) =>
        Buffer.from(prefixed(new Uint8Array(n)))
          .subarray(0, 2)
          .toString('hex'),
      ),
    ).toEqual(['00', '0100', '7f00', '8001', 'ac02'])
  })

  it('has a line of history and a golden file for each version', () => {
    expect(WIRE_HISTORY.map((line) => line.version)).toEqual(Array.from({ length: PROTOCOL_VERSION }, (_, i) => i + 1))
    const files = readdirSync(FOLDER).filter((name) => name.startsWith('wire-'))
    expect(files.sort()).toEqual(WIRE_HISTORY.map((line) => `wire-${line.version}.json`).sort())
  })
})
