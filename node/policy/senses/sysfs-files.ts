/** Files of `/sys` as numbers: what is not there, cannot be read or is no number is `NaN`, and none is longer than a line. */
import { readdir, readFile } from 'node:fs/promises'
import type { Known } from './senses.ts'

/** Sensors that are not connected say 0, or hundreds of degrees. */
const CELSIUS_MAX = 150
const LINE_MAX = 64

/** Names in order, so that what is read of too many is always the same; none where there is no such directory. */
export const entries = async (dir: string): Promise<string[]> => (await readdir(dir).catch(() => [])).sort()

/** `''` where it cannot be read. */
export async function readLine(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim().slice(0, LINE_MAX)
  } catch {
    return ''
  }
}

export async function readNumber(path: string): Promise<number> {
  const text = await readLine(path)
  return text === '' ? Number.NaN : Number(text)
}

/** The hottest of those that can be. */
export function hottestOf(celsius: readonly number[]): Known<number> {
  const plausible = celsius.filter((each) => each > 0 && each < CELSIUS_MAX)
  return plausible.length > 0 ? Math.max(...plausible) : 'unknown'
}
