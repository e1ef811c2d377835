/** `skein leases`: machines that were launched, what they cost, and ending one. */
import type { Command } from 'commander'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import type { LeaseView } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { formatDuration, table } from '../output.ts'
import { printable } from '../printable.ts'

const MICROS = 1_000_000

export function registerLeases(program: Command): void {
  const leases = program.command('leases').description('machines that were launched, and what they cost')

  addClientOptions(
    leases
      .command('list', { isDefault: true })
      .description('those that are there, oldest first, then those that ended last'),
  ).action(async (options: ClientOptions) => {
    const { output, client } = createContext(options)
    const listed = await client().leases()
    if (output.json) return output.value(listed)
    if (listed.length === 0) return output.note('no machine was launched')
    output.line(renderLeases(listed, new SystemClock().wallMs()))
  })

  addClientOptions(
    leases
      .command('end')
      .description('end a machine, after the answers on it have moved')
      .argument('<lease>', 'its id'),
  ).action(async (lease: string, options: ClientOptions) => {
    const { output, client } = createContext(options)
    const ended = await client().endLease(lease)
    if (output.json) return output.value(ended)
    output.line(`${printable(ended.name)} takes nothing new, and ends when its answers have moved`)
  })
}

export function renderLeases(leases: readonly LeaseView[], nowMs: number): string {
  const rows = leases.map((lease) => {
    const { id, name, pool, phase, orderedAtMs, endedAtMs = nowMs, microsPerHour, running, slots } = lease
    const money = lease.costMicros ?? lease.paidMicros
    return [
      id,
      printable(name),
      printable(pool),
      phase,
      formatDuration(Math.max(0, endedAtMs - orderedAtMs)),
      running === undefined ? '' : `${running}/${slots}`,
      `${units(microsPerHour)}/h`,
      `${units(money)}${lease.costMicros === undefined ? ' set aside' : ''}`,
      printable(lease.releasedWhy ?? lease.trouble ?? lease.why),
    ]
  })
  return table([['LEASE', 'NODE', 'POOL', 'STATE', 'FOR', 'SLOTS', 'PRICE', 'COST', 'WHY'], ...rows])
}

const units = (micros: number): string => (micros / MICROS).toFixed(2)
