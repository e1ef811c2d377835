/** Splitting and joining: nothing is lost, doubled, moved or mixed. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { joinResults, splitWork } from '../../../coordinator/dispatch/work-parts.ts'
import { LIMITS, workBytes, type Work, type WorkResult } from '../../../mesh/protocol/index.ts'

const embed = (texts: string[]): Work => ({ kind: 'embed', texts, dimensions: 3 })
const textsOf = (parts: readonly Work[]): string[] => parts.flatMap((part) => ('texts' in part ? part.texts : []))
const vector = (...numbers: number[]): Uint8Array => new Uint8Array(Float32Array.from(numbers).buffer)

describe('splitWork', () => {
  it('keeps all texts in order, in parts that fit a frame', () => {
    const kinds = fc.constantFrom('embed' as const, 'classify' as const)
    const texts = fc.array(fc.nat({ max: LIMITS.workTextLengthMax }), { minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(kinds, texts, fc.nat({ max: 100 }), (kind, lengths, slots) => {
        const work = { kind, texts: lengths.map((length) => 'x'.repeat(length)) }
        const parts = splitWork(work, slots)
        expect(textsOf(parts)).toEqual(work.texts)
        const most = kind === 'embed' ? LIMITS.workInputsPerFrameMax : LIMITS.workClassifyInputsPerFrameMax
        for (const part of parts) {
          expect('texts' in part && part.texts.length > 0 && part.texts.length <= most).toBe(true)
          expect(workBytes(part)).toBeLessThanOrEqual(LIMITS.workBytesMax)
        }
      }),
      { numRuns: 30 },
    )
  })

  it('makes as many parts of one size as there are slots, and none for a handful of texts', () => {
    const sizes = (texts: number, slots: number): number[] =>
      splitWork(embed(Array.from({ length: texts }, () => 'a')), slots).map((part) => textsOf([part]).length)
    expect(sizes(1, 10)).toEqual([1])
    expect(sizes(8, 10)).toEqual([8])
    expect(sizes(64, 2)).toEqual([32, 32])
    expect(sizes(100, 1)).toEqual([50, 50])
    expect(sizes(100, 0)).toEqual([50, 50])
    expect(sizes(40, 10)).toEqual([8, 8, 8, 8, 8])
  })

  it('repeats what is asked of each text, and leaves tensors whole', () => {
    for (const part of splitWork(embed(Array.from({ length: 70 }, () => 'a')), 1))
      expect(part).toMatchObject({ kind: 'embed', dimensions: 3 })
    const infer: Work = { kind: 'infer', tensors: [{ name: 'x', type: 'bool', shape: [], data: Uint8Array.of(1) }] }
    expect(splitWork(infer, 5)).toEqual([infer])
  })
})

describe('joinResults', () => {
  it('joins in order and adds up the tokens', () => {
    const results: WorkResult[] = [
      { kind: 'embed', vectors: [vector(1), vector(2)], promptTokens: 3 },
      { kind: 'embed', vectors: [vector(3)], promptTokens: 4 },
    ]
    const vectors = [vector(1), vector(2), vector(3)]
    expect(joinResults(results)).toEqual({ kind: 'embed', vectors, promptTokens: 7 })
    const classes = (label: string): WorkResult => ({
      kind: 'classify',
      classes: [[{ label, score: 1 }]],
      promptTokens: 1,
    })
    expect(joinResults([classes('a'), classes('b')])).toMatchObject({
      classes: [[{ label: 'a' }], [{ label: 'b' }]],
      promptTokens: 2,
    })
  })

  it('never puts vectors of two sizes beside each other', () => {
    const results: WorkResult[] = [
      { kind: 'embed', vectors: [vector(1)], promptTokens: 1 },
      { kind: 'embed', vectors: [vector(1, 0)], promptTokens: 1 },
    ]
    expect(() => joinResults(results)).toThrow('different lengths')
  })
})
