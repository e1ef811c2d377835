/** The simulation's own promises, the seeds that once failed, and a few new ones. CI runs many more (`npm run sim`). */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { MUTATIONS, mutated } from './mutations.ts'
import { runSeeds } from './runner.ts'
import { keptSeeds } from './seeds.ts'

const ROOT = new URL('../../', import.meta.url)
const NEW_SEEDS = 40

function replay(seed: number, world?: 'fleet'): string {
  const file = fileURLToPath(new URL('./replay.ts', import.meta.url))
  const hooks = new URL('./hooks.ts', import.meta.url).href
  return spawnSync(process.execPath, ['--import', hooks, file, String(seed), ...(world ? [world] : [])], {
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
  }).stdout
}

async function violationsOf(seeds: Iterable<number>, mutation?: string, world?: 'fleet'): Promise<string[]> {
  const violations: string[] = []
  await runSeeds(seeds, {
    ...(mutation !== undefined && { mutation }),
    world,
    onResult: ({ seed, violation }) => {
      if (violation) violations.push(`seed ${seed}: ${violation.invariant} ${violation.message}`)
      return mutation !== undefined && violation !== undefined
    },
  })
  return violations
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1)

/** A history of a fleet is some hundredth of a second. */
const FLEET_SEEDS = 40

describe('the simulation of a fleet', () => {
  it('is a function of its seed, to the last byte of what it prints', () => {
    const transcript = replay(31, 'fleet')
    expect(transcript.length).toBeGreaterThan(5000)
    expect(replay(31, 'fleet')).toBe(transcript)
  })

  it('finds no violation', async () => {
    expect(await violationsOf(range(FLEET_SEEDS), undefined, 'fleet')).toEqual([])
  })

  it('goes red without a guard', async () => {
    const violations = await violationsOf(range(100), 'fleet: no order without money', 'fleet')
    expect(violations[0]).toContain('F1')
  })
})

describe('the simulation', () => {
  it('is a function of its seed, to the last byte of what it prints', () => {
    // one of few and one of many faults
    for (const seed of [2, 84]) {
      const transcript = replay(seed)
      expect(transcript.length).toBeGreaterThan(10_000)
      expect(replay(seed)).toBe(transcript)
    }
  })

  it('finds no violation in the seeds that once failed, nor in some others', async () => {
    expect(await violationsOf(new Set([...keptSeeds(), ...range(NEW_SEEDS)]))).toEqual([])
  })

  it('finds each guard of the mutation table in the source', () => {
    for (const { name, patches } of MUTATIONS)
      for (const patch of patches) {
        const source = readFileSync(new URL(patch.file, ROOT), 'utf8')
        expect(mutated(patch, source), name).not.toBe(source)
      }
  })

  it('goes red without a guard', async () => {
    // each worker may find one
    const violations = await violationsOf(range(400), 'admitted before acknowledged')
    expect(violations[0]).toContain('I3')
  })

  it('refuses a guard that is not in the source', () => {
    const patch = { file: 'a.ts', guard: 'not there', without: '' }
    expect(() => mutated(patch, 'text')).toThrow('stands there 0 times')
    expect(() => mutated(patch, 'not there, not there')).toThrow('stands there 2 times')
  })
})
