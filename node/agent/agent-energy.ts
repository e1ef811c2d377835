/** What an agent says of energy: metered by the machine, else by what its owner says, else by rule of thumb. */
import type { Hardware } from '../../mesh/protocol/index.ts'
import { createPowerSource, estimatedEnergy, estimateWatts, measureEnergy, SystemEnergy } from '../capability/index.ts'
import type { EnergyOfModel } from '../models/index.ts'
import type { NodeAgentComponents } from './types.ts'

export interface AgentEnergy extends EnergyOfModel {
  /** What this machine takes more while it answers, by rule of thumb, in watts. */
  estimatedWatts(): number
}

/** @param threads of each engine, where its owner says. */
export function agentEnergy(
  { clock, energy, policy, runCommand: run }: NodeAgentComponents,
  hardware: () => Hardware,
  threads: number | undefined,
): AgentEnergy {
  const isOfNvidia = ({ vendor, backend }: Hardware['gpus'][number]): boolean =>
    vendor === 'nvidia' && backend !== 'none'
  const meter =
    energy ??
    new SystemEnergy({
      clock,
      power: createPowerSource(clock),
      hasNvidia: () => hardware().gpus.some(isOfNvidia),
      ...(run && { run }),
    })
  const estimatedWatts = (): number => estimateWatts(hardware(), threads)
  return {
    estimatedWatts,
    estimate: (speed) => {
      const ownerWatts = policy?.ownerWatts
      if (ownerWatts !== undefined) return estimatedEnergy(speed, ownerWatts, 'owner')
      return estimatedEnergy(speed, estimatedWatts(), 'estimated')
    },
    measure: (engine, speed, signal) => measureEnergy(engine, clock, meter, { speed, signal }),
  }
}
