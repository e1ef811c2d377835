/** The measures of the evaluations, on cases that can be counted by hand. */
import { describe, expect, it } from 'vitest'
import { bm25, fuse, rankOf, wordsOf } from '../../eval/embedding.ts'
import { metadataOf } from '../../eval/onnx.ts'
import { auroc, rateOfChange, WINDOW, zScore, type Window } from '../../eval/sensor.ts'

function windowOf(readings: readonly number[], missing: readonly number[] = []): Window {
  const padded = Array.from({ length: WINDOW }, (_, i) => readings[i] ?? readings.at(-1)!)
  const mask = Float32Array.from(padded, (_, i) => (missing.includes(i) ? 0 : 1))
  return { kind: 'x', label: 'normal', readings: Float32Array.from(padded), mask }
}

describe('AUROC', () => {
  it('counts the pairs that are in order, ties half', () => {
    expect(auroc([3, 2], [1, 2])).toBe((1 + 1 + 1 + 0.5) / 4)
    expect(auroc([1], [2, 3])).toBe(0)
    expect(auroc([1, 1], [1])).toBe(0.5)
  })
})

describe('the baselines for sensors', () => {
  it('see a spike, and nothing in a constant or an empty window', () => {
    const spike = windowOf([...Array.from({ length: 30 }, (_, i) => i % 2), 50, 1, 0])
    expect(zScore(spike)).toBeGreaterThan(7)
    expect(rateOfChange(spike)).toBeGreaterThan(20)
    for (const measure of [zScore, rateOfChange]) {
      expect(measure(windowOf([5]))).toBe(0)
      expect(
        measure(
          windowOf(
            [5],
            Array.from({ length: WINDOW }, (_, i) => i),
          ),
        ),
      ).toBe(0)
    }
  })

  it('leave out what is missing', () => {
    const hole = windowOf([1, 2, 1, 2, 1000, 1, 2, 1], [4])
    expect(zScore(hole)).toBeLessThan(6)
    expect(rateOfChange(hole)).toBeLessThan(20)
  })
})

describe('BM25', () => {
  const notes = ['the key is in the drawer', 'the drawer is broken', 'the Café key', 'milk']

  it('prefers rare words, and short notes', () => {
    const [scores] = bm25(notes, ['cafe KEY'])
    expect(scores!.indexOf(Math.max(...scores!))).toBe(2)
    const [milk] = bm25(notes, ['milk'])
    expect(milk!.map((score) => score > 0)).toEqual([false, false, false, true])
    const [the] = bm25(notes, ['drawer'])
    expect(the![1]).toBeGreaterThan(the![0]!)
  })

  it('moves a note up beside the likeness, the best one by the same step whatever the query', () => {
    expect(fuse([0.5, 0.4, 0.2], [0, 8, 4])).toEqual([0.5, 0.4 + 0.15, 0.2 + 0.075])
    expect(fuse([0.5, 0.4], [0, 0])).toEqual([0.5, 0.4])
  })

  it('sees words without case and accents', () => {
    expect(wordsOf("L'Été, 24h/24!")).toEqual(['l', 'ete', '24h', '24'])
  })
})

describe('a rank', () => {
  it('counts better notes and earlier ones that are as good', () => {
    expect(rankOf([3, 1, 2], 0)).toBe(1)
    expect(rankOf([3, 1, 2], 1)).toBe(3)
    expect(rankOf([1, 1, 1], 2)).toBe(3)
    expect(rankOf([1, 1, 1], 0)).toBe(1)
  })
})

describe('the metadata of a model file', () => {
  const field = (number: number, ...bytes: number[]): number[] => [number * 8 + 2, bytes.length, ...bytes]
  const text = (value: string): number[] => [...Buffer.from(value)]

  it('is read from between other fields', () => {
    const pair = field(14, ...field(1, ...text('unit')), ...field(2, ...text('°C')))
    const bytes = Uint8Array.from([1 * 8, 200, 1, ...field(7, 1, 2, 3), ...pair, 3 * 8 + 5, 0, 0, 0, 0])
    expect(metadataOf(bytes)).toEqual(new Map([['unit', '°C']]))
  })

  it.each([
    ['a field that is cut off', [14 * 8 + 2, 9, 1]],
    ['a number that is cut off', [8, 200]],
    ['a number without end', [8, ...Array<number>(20).fill(255), 0]],
    ['a group, which no model has', [8 + 3]],
  ])('is not read from %s', (_what, bytes) => {
    expect(() => metadataOf(Uint8Array.from(bytes))).toThrow(TypeError)
  })
})
