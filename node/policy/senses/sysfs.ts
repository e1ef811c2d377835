/** Linux: temperatures of the thermal zones, and what the processors take where their meters may be read. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Known } from './senses.ts'

const THERMAL_DIR = '/sys/class/thermal'
const POWERCAP_DIR = '/sys/class/powercap'
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
  readonly #dir: string
  #last: { readonly atMs: number; readonly microjoules: ReadonlyMap<string, number> } | undefined

  constructor(dir: string = POWERCAP_DIR) {
    this.#dir = dir
  }

  /** @param nowMs monotonic. The first reading tells nothing yet. */
  async read(nowMs: number): Promise<Known<number>> {
    // Packages alone: what is below them, `intel-rapl:0:0`, is part of them.
    const packages = (await entries(this.#dir)).filter((name) => /^[a-z]+-rapl:\d+$/.test(name))
    const microjoules = new Map<string, number>()
    for (const name of packages) {
      const value = await readNumber(join(this.#dir, name, 'energy_uj'))
      if (Number.isFinite(value)) microjoules.set(name, value)
    }
    const last = this.#last
    this.#last = { atMs: nowMs, microjoules }
    if (last === undefined || nowMs <= last.atMs) return 'unknown'
    let sum: Known<number> = 'unknown'
    for (const [name, value] of microjoules) {
      const before = last.microjoules.get(name)
      // A counter that began anew tells nothing this time.
      if (before === undefined || value < before) continue
      sum = (sum === 'unknown' ? 0 : sum) + (value - before) / 1e3 / (nowMs - last.atMs)
    }
    return sum
  }
}
