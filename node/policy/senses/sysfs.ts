/** Linux: temperatures of the thermal zones, and what the processors take where their meters may be read. */
import { join } from 'node:path'
import { joulesBetween, readRapl, type RaplReading } from '../../capability/index.ts'
import type { Known } from './senses.ts'
import { entries, hottestOf, readLine, readNumber } from './sysfs-files.ts'

const THERMAL_DIR = '/sys/class/thermal'
/** More are no zones of a machine. */
const ZONES_MAX = 128
/** Zones are named by who builds the machine. */
const OF_PROCESSOR = /cpu|gpu|soc|pkg|package|core/i
const OF_OTHERS = /wifi|wlan|modem|batt|bms|charg|nvme|ssd/i

/** Degrees Celsius of the hottest zone of processors and GPUs; where none says that it is one, of those that may be. */
export async function readThermalZones(dir: string = THERMAL_DIR): Promise<Known<number>> {
  const names = (await entries(dir)).filter((name) => name.startsWith('thermal_zone')).slice(0, ZONES_MAX)
  const zones = await Promise.all(
    names.map(async (name) => ({
      type: await readLine(join(dir, name, 'type')),
      celsius: (await readNumber(join(dir, name, 'temp'))) / 1000,
    })),
  )
  const hottest = (of: (type: string) => boolean): Known<number> =>
    hottestOf(zones.filter(({ type }) => of(type)).map(({ celsius }) => celsius))
  const ofProcessors = hottest((type) => OF_PROCESSOR.test(type))
  return ofProcessors === 'unknown' ? hottest((type) => !OF_OTHERS.test(type)) : ofProcessors
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
