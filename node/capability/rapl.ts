/**
 * Energy that the processors have taken, from the counters of the Linux kernel (RAPL, `/sys/class/powercap`). Most systems
 * show these to root alone. What a file says is believed as far as it can be: a name, a whole number, nothing larger.
 */
import { constants } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'

const POWERCAP_DIR = '/sys/class/powercap'
/** Packages of a machine; more entries are no powercap. */
const ZONES_MAX = 256
/** A counter has at most 20 digits. */
const TEXT_BYTES_MAX = 64
/** Above this a counter is broken: no machine of a house takes as much. */
const WATTS_MAX = 20_000

interface Counter {
  readonly microjoules: number
  /** It begins anew above this; 0 when not told. */
  readonly range: number
}

/** By zone, such as `intel-rapl:0`. `denied`: they are there and may not be read. */
export type RaplReading = ReadonlyMap<string, Counter> | 'none' | 'denied'

/** Does not throw. */
export async function readRapl(dir: string = POWERCAP_DIR): Promise<RaplReading> {
  const names = await readdir(dir).catch((): string[] => [])
  const counters = new Map<string, Counter>()
  let isDenied = false
  for (const zone of names.slice(0, ZONES_MAX)) {
    // Packages alone: what is below them, `intel-rapl:0:0`, is part of them.
    if (!/^[a-z]+-rapl:\d{1,4}$/.test(zone)) continue
    // The platform's meter counts the packages once more.
    if ((await textOf(join(dir, zone, 'name'))) === 'psys') continue
    const value = await textOf(join(dir, zone, 'energy_uj'))
    isDenied ||= value === DENIED
    const microjoules = numberOf(value)
    if (microjoules === undefined) continue
    counters.set(zone, { microjoules, range: numberOf(await textOf(join(dir, zone, 'max_energy_range_uj'))) ?? 0 })
  }
  if (counters.size > 0) return counters
  return isDenied ? 'denied' : 'none'
}

/**
 * Joules between two readings that lie `ms` apart, over all zones that both have; `undefined` when none tells. A counter
 * that began anew is taken to have done so once: it lasts for minutes at least.
 */
export function joulesBetween(before: RaplReading, after: RaplReading, ms: number): number | undefined {
  if (typeof before === 'string' || typeof after === 'string' || !(ms > 0)) return undefined
  let sum: number | undefined
  for (const [zone, { microjoules, range }] of after) {
    const from = before.get(zone)?.microjoules
    if (from === undefined) continue
    const grown = microjoules >= from ? microjoules - from : range >= from ? range - from + microjoules : undefined
    if (grown === undefined || grown / 1e3 / ms > WATTS_MAX) continue
    sum = (sum ?? 0) + grown / 1e6
  }
  return sum
}

const DENIED = Symbol('not to be read')

/** The first bytes of a file; nothing of what is none. */
async function textOf(path: string): Promise<string | typeof DENIED | undefined> {
  try {
    // without waiting for a writer, should it be a pipe
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(TEXT_BYTES_MAX), 0, TEXT_BYTES_MAX, 0)
      return buffer.toString('latin1', 0, bytesRead).trim()
    } finally {
      await file.close()
    }
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    return code === 'EACCES' || code === 'EPERM' ? DENIED : undefined
  }
}

function numberOf(text: string | typeof DENIED | undefined): number | undefined {
  if (typeof text !== 'string' || !/^\d{1,20}$/.test(text)) return undefined
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}
