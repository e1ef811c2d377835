import { describe, expect, it } from 'vitest'
import { decideRestore, decideSave, LateRate, type KvRates } from '../../../node/engines/llama/kv-decision.ts'

/** A 135M model on two cores: 300 tokens/s, 23 KB a token; a disk of 500 MB/s. */
const rates: KvRates = {
  prefillTokensPerMs: 0.3,
  writeBytesPerMs: 500_000,
  readBytesPerMs: 500_000,
  loadBytesPerMs: 1_000_000,
}
const tokens = 1000
const bytes = tokens * 23_000
const bytesMax = 1e9

describe('whether a state is worth a file', () => {
  it('is where prefilling is slower than writing and reading', () => {
    const decision = decideSave({ tokens, bytes, rates, bytesMax })
    expect(decision).toMatchObject({ reason: 'pays', tokens, bytes })
    expect(decision.prefillMs).toBeCloseTo(3333.3, 0)
    expect(decision.fileMs).toBeCloseTo(92)
  })

  it('turns where bytes per token times the prefill rate meet the bandwidth', () => {
    // writing and reading at 500 MB/s each are 250 MB/s: 23 KB a token at 10.87 tokens/ms
    const at = (prefillTokensPerMs: number): string =>
      decideSave({ tokens, bytes, bytesMax, rates: { ...rates, prefillTokensPerMs } }).reason
    expect([at(10.8), at(10.9)]).toEqual(['pays', 'prefill'])
    const reading = (prefillTokensPerMs: number): string =>
      decideRestore({ tokens, bytes, rates: { ...rates, prefillTokensPerMs } }).reason
    expect([reading(21.7), reading(21.8)]).toEqual(['pays', 'prefill'])
  })

  it('is not for a few tokens, nor beyond the budget, nor unmeasured', () => {
    expect(decideSave({ tokens: 63, bytes: 1, rates, bytesMax }).reason).toBe('few')
    expect(decideSave({ tokens, bytes, rates, bytesMax: bytes - 1 }).reason).toBe('budget')
    expect(decideRestore({ tokens: 63, bytes: 1, rates }).reason).toBe('few')
    for (const rate of ['prefillTokensPerMs', 'writeBytesPerMs', 'readBytesPerMs'] as const)
      expect(decideSave({ tokens, bytes, rates: { ...rates, [rate]: undefined }, bytesMax }).reason).toBe('unmeasured')
    for (const rate of ['prefillTokensPerMs', 'readBytesPerMs', 'loadBytesPerMs'] as const)
      expect(decideRestore({ tokens, bytes, rates: { ...rates, [rate]: undefined } }).reason).toBe('unmeasured')
  })

  it('is not where the answers beside it would stand still for too long', () => {
    // 46 ms to write and as long to read, half of it by the engine
    expect(decideSave({ tokens, bytes, rates, bytesMax, stallMsMax: 45 }).reason).toBe('stall')
    expect(decideSave({ tokens, bytes, rates, bytesMax, stallMsMax: 47 }).reason).toBe('pays')
    expect(decideRestore({ tokens, bytes, rates, stallMsMax: 22 }).reason).toBe('stall')
    expect(decideRestore({ tokens, bytes, rates, stallMsMax: 24 }).reason).toBe('pays')
  })

  it('counts what a file spares, not all that it has', () => {
    // 1000 tokens in the file, 100 of them not held already: 333 ms of prefill
    const slow = { ...rates, readBytesPerMs: 60_000 }
    expect(decideRestore({ tokens: 1000, bytes, rates: slow }).reason).toBe('pays')
    expect(decideRestore({ tokens: 100, bytes, rates: slow }).reason).toBe('prefill')
  })
})

describe('a late rate', () => {
  it('is unknown until something was measured', () => {
    const rate = new LateRate(100)
    rate.add(0, 5)
    rate.add(5, 0)
    expect(rate.perMs).toBeUndefined()
  })

  it('follows what changed', () => {
    const rate = new LateRate(100)
    for (let i = 0; i < 10; i++) rate.add(50, 50)
    expect(rate.perMs).toBeCloseTo(1)
    for (let i = 0; i < 10; i++) rate.add(50, 500)
    expect(rate.perMs).toBeCloseTo(0.1, 2)
  })
})
