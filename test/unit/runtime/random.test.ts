/** The seeded generator repeats, and is uniform enough for a simulation. */
import { describe, expect, it } from 'vitest'
import { SeededRandom, SystemRandom } from '../../../mesh/runtime/index.ts'

describe('SeededRandom', () => {
  it('repeats with its seed and differs with another', () => {
    const draw = (seed: number): number[] => {
      const random = new SeededRandom(seed)
      return Array.from({ length: 5 }, () => random.next())
    }
    expect(draw(1)).toEqual(draw(1))
    expect(draw(1)).not.toEqual(draw(2))
    // fixed for good: a seed that found a defect must find it again
    expect(new SeededRandom(42).next()).toBeCloseTo(0.6011037519, 9)
  })

  it('fills [0, 1) evenly', () => {
    const random = new SeededRandom(7)
    const bins = new Array<number>(10).fill(0)
    for (let i = 0; i < 10_000; i++) bins[Math.floor(random.next() * 10)]!++
    // 1000 each, standard deviation 30
    for (const count of bins) expect(Math.abs(count - 1000)).toBeLessThan(150)
    expect(new Set(random.bytes(2000)).size).toBe(256)
  })
})

describe('SystemRandom', () => {
  it('gives bytes and numbers in range', () => {
    const random = new SystemRandom()
    expect(random.bytes(32)).toHaveLength(32)
    expect(Buffer.from(random.bytes(32)).equals(random.bytes(32))).toBe(false)
    for (let i = 0; i < 100; i++) expect(random.next() >= 0 && random.next() < 1).toBe(true)
  })
})
