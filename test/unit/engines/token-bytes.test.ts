import { describe, expect, it } from 'vitest'
import { bytesOfByteLevel, bytesOfPiece } from '../../../node/engines/llama/token-bytes.ts'

describe('bytes of tokens', () => {
  it.each([
    ['hello', [0x68, 0x65, 0x6c, 0x6c, 0x6f]],
    // as GPT-2 writes a space, a line feed and a soft hyphen
    ['ĠĊŃ', [0x20, 0x0a, 0xad]],
    // two bytes of the three of →
    ['âĨ', [0xe2, 0x86]],
    ['Ã', [0xc3]],
    ['\u2581a', [0x20, 0x61]],
    ['\u{1f600}', [0xf0, 0x9f, 0x98, 0x80]],
  ])('of byte-level BPE: %s', (text, bytes) => {
    expect([...bytesOfByteLevel(text)]).toEqual(bytes)
  })

  it('of byte-level BPE tell all bytes apart', () => {
    // the first 256 code points that the table uses, in the order of their bytes
    const seen = new Set<number>()
    for (let point = 0x21; point < 0x144; point++) {
      const bytes = bytesOfByteLevel(String.fromCodePoint(point))
      if (bytes.length === 1) seen.add(bytes[0]!)
    }
    expect(seen.size).toBe(256)
  })

  it.each([
    ['\u2581the', [0x20, 0x74, 0x68, 0x65]],
    ['<0xE2>', [0xe2]],
    ['é', [0xc3, 0xa9]],
  ])('of SentencePiece: %s', (text, bytes) => {
    expect([...bytesOfPiece(text)]).toEqual(bytes)
  })
})
