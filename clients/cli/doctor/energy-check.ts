/** What the machine tells of the energy that it takes: by it answers are metered, else it is estimated. */
import { ok, type Finding } from './check.ts'
import type { Machine } from './machine.ts'

const POWERCAP = '/sys/class/powercap'

export async function checkEnergy(machine: Machine): Promise<Finding> {
  const metered: string[] = []
  const forbidden: string[] = []
  for (const zone of machine.platform === 'linux' ? await machine.list(POWERCAP) : []) {
    const counter = `${POWERCAP}/${zone}/energy_uj`
    if (!/^[a-z]+-rapl:\d+$/.test(zone) || !(await machine.exists(counter))) continue
    if ((await machine.text(counter)) === undefined) forbidden.push(counter)
    else metered.push(counter)
  }
  const draw = await machine.ask('nvidia-smi', '--query-gpu=power.draw', '--format=csv,noheader,nounits')
  const hasDraw = /^\s*\d+(\.\d+)?\s*$/m.test(draw ?? '')
  const sources = [...(metered.length > 0 ? ['processors (RAPL)'] : []), ...(hasDraw ? ['GPUs (nvidia-smi)'] : [])]
  if (forbidden.length > 0) {
    const how = `sudo chmod a+r ${POWERCAP}/*-rapl:*/energy_uj, after each start of the machine`
    const why = `the processors' counters (RAPL) may be read by root alone; to meter them: ${how}`
    return ok('energy', sources.length > 0 ? `metered: ${sources.join(', ')}; ${why}` : `estimated: ${why}`)
  }
  if (sources.length > 0) return ok('energy', `metered: ${sources.join(', ')}`)
  return ok('energy', 'estimated, or metered on battery: this machine has no counters (its owner may set energy.watts)')
}
