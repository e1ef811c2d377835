/** Seeds whose history once went wrong: kept in the repository, and run first. */
import { readFileSync, writeFileSync } from 'node:fs'

const FILE = new URL('./seeds.json', import.meta.url)

export const keptSeeds = (): number[] => JSON.parse(readFileSync(FILE, 'utf8')) as number[]

/** Adds `failed` to those that are kept. */
export function keepSeeds(failed: readonly number[]): void {
  const kept = keptSeeds()
  const all = [...new Set([...kept, ...failed])].sort((a, b) => a - b)
  if (all.length > kept.length) writeFileSync(FILE, `${JSON.stringify(all)}\n`)
}
