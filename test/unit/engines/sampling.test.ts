import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { drawSeed } from '../../../node/engines/llama/sampling.ts'

describe('drawSeed', () => {
  it('is a function of seed and index, in 32 bits', () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), fc.nat(131_072), (seed, index) => {
        const drawn = drawSeed(seed, index)
        expect(drawn).toBe(drawSeed(seed, index))
        expect(Number.isInteger(drawn) && drawn >= 0 && drawn <= 0xffff_ffff).toBe(true)
      }),
    )
  })

  it('gives every index of an answer a seed of its own', () => {
    for (const seed of [0, 1, 0xffff_ffff]) {
      const seeds = new Set(Array.from({ length: 10_000 }, (_, index) => drawSeed(seed, index)))
      expect(seeds.size).toBe(10_000)
    }
  })

  it('keeps neighbouring seeds from drawing each other, one index later', () => {
    for (let seed = 0; seed < 1000; seed++) expect(drawSeed(seed, 1)).not.toBe(drawSeed(seed + 1, 0))
  })
})
