/**
 * Linux: sensors of processors and GPUs by the names of their drivers (`/sys/class/hwmon`). AMD's processors and most cards
 * are there and in no thermal zone.
 */
import { join } from 'node:path'
import type { Known } from './senses.ts'
import { entries, hottestOf, readLine, readNumber } from './sysfs-files.ts'

const HWMON_DIR = '/sys/class/hwmon'
/** Drivers of processors, of chips with processor and GPU, of GPUs. What else is there (disks, radios, boards) is not asked. */
const CHIPS = new Set([
  ...['coretemp', 'k10temp', 'k8temp', 'zenpower', 'cpu_thermal', 'soc_thermal', 'gpu_thermal', 'scpi_sensors'],
  ...['amdgpu', 'radeon', 'nouveau', 'i915', 'xe'],
])
/** More are no sensors of a machine. */
const CHIPS_MAX = 64
const SENSORS_MAX = 32
const CARD_WATTS_MAX = 10_000

export interface ChipReadings {
  /** Of the hottest, in degrees Celsius. */
  readonly temperature: Known<number>
  /** Of all cards together. */
  readonly watts: Known<number>
}

/** Does not throw; `unknown` where no such chip tells. */
export async function readChips(dir: string = HWMON_DIR): Promise<ChipReadings> {
  const chips = (await entries(dir)).slice(0, CHIPS_MAX).map((name) => join(dir, name))
  const read = await Promise.all(
    chips.map(async (chip) => {
      const driver = await readLine(join(chip, 'name'))
      if (!CHIPS.has(driver)) return { celsius: [], watts: Number.NaN }
      const files = await entries(chip)
      return {
        celsius: await temperatures(chip, driver, files),
        watts: driver === 'amdgpu' ? await cardWatts(chip, files) : Number.NaN,
      }
    }),
  )
  const watts = read.map((chip) => chip.watts).filter((each) => each > 0 && each < CARD_WATTS_MAX)
  return {
    temperature: hottestOf(read.flatMap(({ celsius }) => celsius)),
    watts: watts.length === 0 ? 'unknown' : watts.reduce((sum, each) => sum + each, 0),
  }
}

async function temperatures(chip: string, driver: string, files: readonly string[]): Promise<number[]> {
  const numbers = files.flatMap((file) => /^temp(\d{1,3})_input$/.exec(file)?.[1] ?? []).map(Number)
  const sensors = numbers.sort((a, b) => a - b).slice(0, SENSORS_MAX)
  const labels = await Promise.all(sensors.map((sensor) => readLine(join(chip, `temp${sensor}_label`))))
  const asked = sensors.filter((sensor, i) => {
    // the package has the hottest core, and to ask a core wakes it
    if (driver === 'coretemp' && sensors[0] === 1) return sensor === 1
    // what steers the fans is up to 27 degrees above what is
    return !(labels[i] === 'Tctl' && labels.includes('Tdie'))
  })
  return Promise.all(asked.map(async (sensor) => (await readNumber(join(chip, `temp${sensor}_input`))) / 1000))
}

/** Of a card: a GPU within a processor, which has no junction of its own, says what the processor takes. */
async function cardWatts(chip: string, files: readonly string[]): Promise<number> {
  if ((await readLine(join(chip, 'temp2_label'))) !== 'junction') return Number.NaN
  const file = ['power1_average', 'power1_input'].find((name) => files.includes(name))
  return file === undefined ? Number.NaN : (await readNumber(join(chip, file))) / 1e6
}
