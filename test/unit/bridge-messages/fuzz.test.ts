/** A share of `npm run fuzz -- --devices N`, on every run. */
import { expect, it } from 'vitest'
import { fuzzDevices } from '../../fuzz/devices.ts'

it('survives whatever devices say', () => {
  const { findings, counts } = fuzzDevices({ inputs: 20_000, seed: 7 })
  expect(findings).toEqual([])
  // bent enough that some are refused, and not so much that none is taken
  for (const [name, { taken, refused }] of Object.entries(counts)) {
    expect(taken, name).toBeGreaterThan(100)
    expect(refused, name).toBeGreaterThan(100)
  }
})
