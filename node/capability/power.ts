/** Whether the machine runs on its battery: the scheduler then prefers others. */
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

const SYSFS_DIR = '/sys/class/power_supply'
const PMSET_MS = 2000

/** Linux: `/sys/class/power_supply/<name>/{type,online,status,scope}`. */
export class SysfsPowerSource implements PowerSource {
  readonly #dir: string

  constructor(dir: string = SYSFS_DIR) {
    this.#dir = dir
  }

  async read(): Promise<PowerState> {
    let names: string[]
    try {
      names = await readdir(this.#dir)
    } catch {
      return 'unknown'
    }
    const supplies = await Promise.all(names.map((name) => this.#supply(name)))
    if (supplies.some((supply) => supply.type !== 'Battery' && supply.online === '1')) return 'mains'
    // Batteries of mice and keyboards have the scope Device.
    const batteries = supplies.filter((supply) => supply.type === 'Battery' && supply.scope !== 'Device')
    return batteries.some((battery) => battery.status === 'Discharging') ? 'battery' : 'mains'
  }

  async #supply(name: string): Promise<Record<'type' | 'online' | 'status' | 'scope', string>> {
    const field = (file: string): Promise<string> =>
      readFile(join(this.#dir, name, file), 'utf8').then(
        (text) => text.trim(),
        () => '',
      )
    const [type, online, status, scope] = await Promise.all([
      field('type'),
      field('online'),
      field('status'),
      field('scope'),
    ])
    return { type, online, status, scope }
  }
}

/** macOS: the first line of `pmset -g batt` names the source. */
export class PmsetPowerSource implements PowerSource {
  readonly #clock: Clock
  readonly #run: RunCommand

  constructor(clock: Clock, run: RunCommand = runCommand) {
    this.#clock = clock
    this.#run = run
  }

  async read(): Promise<PowerState> {
    const text = (await tryCommand(this.#run, this.#clock, PMSET_MS, 'pmset', '-g', 'batt')) ?? ''
    if (text.includes("'Battery Power'")) return 'battery'
    return text.includes("'AC Power'") ? 'mains' : 'unknown'
  }
}

export function createPowerSource(clock: Clock, platform: string = process.platform): PowerSource {
  if (platform === 'linux') return new SysfsPowerSource()
  if (platform === 'darwin') return new PmsetPowerSource(clock)
  return { read: async () => 'unknown' }
}
