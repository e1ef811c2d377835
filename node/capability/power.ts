/** Whether the machine runs on its battery, and how it stands: the scheduler then prefers others, its owner may pause it. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CapabilityRecord } from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import { runCommand, tryCommand, type RunCommand } from './command.ts'

export type PowerState = CapabilityRecord['power']

export interface PowerSource {
  /** Does not throw; `unknown` when the system does not tell. */
  read(): Promise<PowerState>
}

/** What a battery tells. */
export interface ChargeSource {
  /** Percent of all batteries together, 0 to 100. Does not throw; `unknown` without a battery, too. */
  readCharge(): Promise<number | 'unknown'>
  /** What the whole machine draws from its batteries, in watts; `unknown` unless it runs on them. Does not throw. */
  readWatts(): Promise<number | 'unknown'>
}

const SYSFS_DIR = '/sys/class/power_supply'
const PMSET_MS = 2000

const FIELDS = [
  ...['type', 'online', 'status', 'scope', 'capacity', 'energy_full', 'charge_full'],
  ...['power_now', 'current_now', 'voltage_now'],
] as const
type Supply = Readonly<Record<string, string>>

/** Linux: `/sys/class/power_supply/<name>/{type,online,status,scope,capacity,…}`. */
export class SysfsPowerSource implements PowerSource, ChargeSource {
  readonly #dir: string

  constructor(dir: string = SYSFS_DIR) {
    this.#dir = dir
  }

  async read(): Promise<PowerState> {
    const supplies = await this.#supplies()
    if (supplies === undefined) return 'unknown'
    if (supplies.some((supply) => supply['type'] !== 'Battery' && supply['online'] === '1')) return 'mains'
    return batteriesOf(supplies).some((battery) => battery['status'] === 'Discharging') ? 'battery' : 'mains'
  }

  /** Larger batteries weigh more, where the system says how large each is. */
  async readCharge(): Promise<number | 'unknown'> {
    let sum = 0
    let weights = 0
    for (const battery of batteriesOf((await this.#supplies()) ?? [])) {
      const percent = numberOf(battery['capacity'])
      if (!(percent >= 0 && percent <= 100)) continue
      const weight = numberOf(battery['energy_full']) || numberOf(battery['charge_full']) || 1
      sum += percent * weight
      weights += weight
    }
    return weights > 0 ? sum / weights : 'unknown'
  }

  async readWatts(): Promise<number | 'unknown'> {
    const discharging = batteriesOf((await this.#supplies()) ?? []).filter(
      (battery) => battery['status'] === 'Discharging',
    )
    let sum: number | 'unknown' = 'unknown'
    for (const battery of discharging) {
      // In millionths of watts, amperes and volts; some drivers give currents a sign.
      const watts = Math.abs(numberOf(battery['power_now'])) / 1e6
      const product = (Math.abs(numberOf(battery['current_now'])) * numberOf(battery['voltage_now'])) / 1e12
      const each = watts > 0 ? watts : product
      if (each > 0) sum = (sum === 'unknown' ? 0 : sum) + each
    }
    return sum
  }

  /** `undefined` where there is no such directory. */
  async #supplies(): Promise<Supply[] | undefined> {
    try {
      return await Promise.all((await readdir(this.#dir)).map((name) => this.#supply(name)))
    } catch {
      return undefined
    }
  }

  async #supply(name: string): Promise<Supply> {
    const field = async (file: string): Promise<[string, string]> => {
      const text = await readFile(join(this.#dir, name, file), 'utf8').catch(() => '')
      return [file, text.trim()]
    }
    return Object.fromEntries(await Promise.all(FIELDS.map(field)))
  }
}

/** Batteries of mice and keyboards have the scope Device. */
const batteriesOf = (supplies: readonly Supply[]): Supply[] =>
  supplies.filter((supply) => supply['type'] === 'Battery' && supply['scope'] !== 'Device')

const numberOf = (text: string | undefined): number => (text ? Number(text) : Number.NaN)

/** macOS: the first line of `pmset -g batt` names the source, the next ones the batteries with their percent. */
export class PmsetPowerSource implements PowerSource, ChargeSource {
  readonly #clock: Clock
  readonly #run: RunCommand

  constructor(clock: Clock, run: RunCommand = runCommand) {
    this.#clock = clock
    this.#run = run
  }

  async read(): Promise<PowerState> {
    const text = await this.#ask()
    if (text.includes("'Battery Power'")) return 'battery'
    return text.includes("'AC Power'") ? 'mains' : 'unknown'
  }

  async readCharge(): Promise<number | 'unknown'> {
    const match = /\s(\d{1,3})%;/.exec(await this.#ask())
    return match && Number(match[1]) <= 100 ? Number(match[1]) : 'unknown'
  }

  /** `pmset` does not say. */
  async readWatts(): Promise<'unknown'> {
    return 'unknown'
  }

  async #ask(): Promise<string> {
    return (await tryCommand(this.#run, this.#clock, PMSET_MS, 'pmset', '-g', 'batt')) ?? ''
  }
}

export function createPowerSource(
  clock: Clock,
  platform: string = process.platform,
  run: RunCommand = runCommand,
): PowerSource & ChargeSource {
  if (platform === 'linux') return new SysfsPowerSource()
  if (platform === 'darwin') return new PmsetPowerSource(clock, run)
  return { read: async () => 'unknown', readCharge: async () => 'unknown', readWatts: async () => 'unknown' }
}
