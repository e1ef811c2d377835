import { describe, expect, it } from 'vitest'
import { AnswerLengths, PredictionAccuracy, type Prediction } from '../../../coordinator/scheduler/index.ts'
import { asModelDigest } from '../../../mesh/protocol/index.ts'
import { DIGEST } from './snapshots.ts'

describe('AnswerLengths', () => {
  it('expects a first guess, and then what answers got', () => {
    const lengths = new AnswerLengths()
    expect(lengths.expected(DIGEST, 4096)).toBe(256)
    expect(lengths.expected(DIGEST, 10)).toBe(10)
    for (let i = 0; i < 64; i++) lengths.learn(DIGEST, 20, 4096)
    expect(lengths.expected(DIGEST, 4096)).toBeLessThan(40)
    for (let i = 0; i < 64; i++) lengths.learn(DIGEST, 1000, 4096)
    expect(lengths.expected(DIGEST, 4096)).toBeGreaterThan(900)
    expect(lengths.expected(DIGEST, 100)).toBe(100)
  })

  it('learns nothing from an answer that was cut short', () => {
    const lengths = new AnswerLengths()
    for (let i = 0; i < 64; i++) lengths.learn(DIGEST, 5, 5)
    expect(lengths.expected(DIGEST, 4096)).toBe(256)
    for (let i = 0; i < 64; i++) lengths.learn(DIGEST, 2000, 2000)
    expect(lengths.expected(DIGEST, 4096)).toBeGreaterThan(1500)
  })

  it('knows a bounded number of models', () => {
    const lengths = new AnswerLengths()
    for (let i = 0; i < 64; i++) lengths.learn(DIGEST, 5, 4096)
    for (let i = 0; i < 256; i++) lengths.learn(asModelDigest(`sha256:${String(i).padStart(64, '0')}`), 5, 4096)
    expect(lengths.expected(DIGEST, 4096)).toBe(256)
  })
})

describe('PredictionAccuracy', () => {
  const predicted: Prediction = {
    waitMs: 100,
    loadMs: 0,
    prefillMs: 90,
    decodeMs: 400,
    linkMs: 10,
    penaltyMs: 1e6,
    totalMs: 1e6 + 600,
  }

  it('says how far off each part was, in the middle and at the worst tenth, and to which side', () => {
    const accuracy = new PredictionAccuracy()
    for (let i = 0; i < 9; i++) accuracy.record(predicted, { firstTokenMs: 200, decodeMs: 400 })
    accuracy.record(predicted, { firstTokenMs: 50, decodeMs: 400 })
    const { wait, firstToken, decode, total } = accuracy.report()
    expect(wait).toEqual({ count: 0 })
    expect(firstToken).toMatchObject({ count: 10, median: 0.5, p90: 0.5 })
    expect(firstToken.bias).toBeCloseTo(850 / 1850)
    expect(decode).toEqual({ count: 10, median: 0, p90: 0, bias: 0 })
    expect(total.median).toBeCloseTo(100 / 600)
  })

  it('leaves out what was not observed or is no number', () => {
    const accuracy = new PredictionAccuracy()
    accuracy.record(predicted, { waitMs: 50 })
    accuracy.record(predicted, { firstTokenMs: Number.NaN })
    accuracy.record({ ...predicted, decodeMs: Number.POSITIVE_INFINITY }, { decodeMs: 1 })
    const { wait, firstToken, decode, total } = accuracy.report()
    expect([wait.count, firstToken.count, decode.count, total.count]).toEqual([1, 0, 0, 0])
    expect(wait.bias).toBe(-1)
  })

  it('forgets what is old', () => {
    const accuracy = new PredictionAccuracy()
    for (let i = 0; i < 512; i++) accuracy.record(predicted, { decodeMs: 4 })
    for (let i = 0; i < 512; i++) accuracy.record(predicted, { decodeMs: 400 })
    expect(accuracy.report().decode).toEqual({ count: 1024, median: 0, p90: 0, bias: 0 })
  })
})
