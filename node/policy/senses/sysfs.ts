/** Linux: temperatures of the thermal zones, and what the processors take where their meters may be read. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { joulesBetween, readRapl, type RaplReading } from '../../capability/index.ts'
import type { Known } from './senses.ts'

const THERMAL_DIR = '/sys/class/thermal'
/** Zones that are not connected say 0, or hundreds of degrees. */
const CELSIUS_MAX = 150

const readNumber = async (path: string): Promise<number> => {
  try {
    const text = (await readFile(path, 'utf8')).trim()
    return text === '' ? Number.NaN : Number(text)
  } catch {
    return Number.NaN
  }
}

const entries = (dir: string): Promise<string[]> => readdir(dir).catch(() => [])

/** Degrees Celsius of the hottest zone. */
export async function readThermalZones(dir: string = THERMAL_DIR): Promise<Known<number>> {
  const zones = (await entries(dir)).filter((name) => name.startsWith('thermal_zone'))
  const celsius = await Promise.all(zones.map(async (zone) => (await readNumber(join(dir, zone, 'temp'))) / 1000))
  const plausible = celsius.filter((each) => each > 0 && each < CELSIUS_MAX)
  return plausible.length > 0 ? Math.max(...plausible) : 'unknown'
}

/** Watts of the processors between two readings, from their energy counters (RAPL); most systems show these to root alone. */
export class RaplMeter {
  readonly #dir: string | undefined
  #last: { readonly atMs: number; readonly reading: RaplReading } | undefined

  constructor(dir?: string) {
    this.#dir = dir
  }

  /** @param nowMs monotonic. The first reading tells nothing yet. */
  async read(nowMs: number): Promise<Known<number>> {
    const last = this.#last
    const reading = await readRapl(this.#dir)
    this.#last = { atMs: nowMs, reading }
    if (last === undefined) return 'unknown'
    const joules = joulesBetween(last.reading, reading, nowMs - last.atMs)
    return joules === undefined ? 'unknown' : (joules * 1000) / (nowMs - last.atMs)
  }
}
