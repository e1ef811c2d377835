/** What this machine is: CPU, memory, platform and GPUs. */
import { availableParallelism, cpus, totalmem } from 'node:os'
import type { Hardware } from '../../mesh/protocol/index.ts'
import { sleep, type Clock } from '../../mesh/runtime/index.ts'
import type { EngineDevices } from '../engines/index.ts'
import { runCommand, type RunCommand } from './command.ts'
import { gpusOfTools, mergeGpus, type EngineDevice } from './gpu-tools.ts'

/** Starting an engine process and its drivers on a slow disk; beyond that the driver hangs. */
const ENGINE_PROBE_MS = 20_000

/** The operating system's own figures, as a port so that tests can be other machines. */
export interface HostFacts {
  readonly cpuModel: string
  readonly architecture: string
  /** By affinity and cgroup quota. */
  readonly threads: number
  readonly totalMemoryBytes: number
  /** cgroup limit; 0 or beyond the total where there is none. */
  readonly memoryLimitBytes: number
  readonly platform: string
}

export const hostFacts = (): HostFacts => ({
  cpuModel: cpus()[0]?.model ?? '',
  architecture: process.arch,
  threads: availableParallelism(),
  totalMemoryBytes: totalmem(),
  memoryLimitBytes: process.constrainedMemory(),
  platform: process.platform,
})

/** Bytes that could be taken now without swapping, under the cgroup's limit. */
export const memoryFreeBytes = (): number => Math.max(0, Math.floor(process.availableMemory()))

/** All but the GPUs: known without waiting. */
export function hardwareOf(facts: HostFacts): Hardware {
  const { totalMemoryBytes: total, memoryLimitBytes: limit } = facts
  return {
    cpu: {
      model: facts.cpuModel.trim().replaceAll(/\s+/g, ' ').slice(0, 128) || 'unknown',
      architecture: facts.architecture.slice(0, 32),
      threads: Math.max(1, facts.threads),
    },
    memoryBytes: limit > 0 && limit < total ? limit : total,
    gpus: [],
    platform: facts.platform.slice(0, 32),
  }
}

export interface HardwareProbeComponents {
  readonly clock: Clock
  readonly run?: RunCommand
  readonly facts?: () => HostFacts
  /** What the engine itself can compute on; it may take seconds, and failing means that nothing is known. */
  readonly probeDevices: () => Promise<EngineDevices>
}

/** The whole hardware. Bounded by the tools' own bounds and the engine's probe; does not throw. */
export async function probeHardware(components: HardwareProbeComponents): Promise<Hardware> {
  const { clock, run = runCommand, facts = hostFacts, probeDevices } = components
  const base = hardwareOf(facts())
  const [tools, devices] = await Promise.all([
    gpusOfTools(run, clock, base.platform, base.memoryBytes),
    devicesOf(clock, probeDevices),
  ])
  return { ...base, gpus: mergeGpus(tools, devices) }
}

/** The engine's devices one by one, or `undefined` when it does not say in time. */
async function devicesOf(clock: Clock, probe: () => Promise<EngineDevices>): Promise<EngineDevice[] | undefined> {
  const over = new AbortController()
  const late = sleep(clock, ENGINE_PROBE_MS, over.signal).then(
    () => undefined,
    () => undefined,
  )
  try {
    const found = await Promise.race([probe(), late])
    if (found === undefined) return undefined
    const { backend, deviceNames, memoryTotalBytes } = found
    // It tells the sum over its devices alone: equal shares are right for the common case of equal boards.
    return deviceNames.map((name) => ({ name, backend, memoryBytes: memoryTotalBytes / deviceNames.length }))
  } catch {
    return undefined
  } finally {
    over.abort()
  }
}

/** Measurements made on one fingerprint say nothing about another. Free memory and names of people are not in it. */
export function hardwareFingerprint(hardware: Hardware): string {
  const { cpu, gpus, platform } = hardware
  const devices = gpus.filter((gpu) => gpu.backend !== 'none').map((gpu) => `${gpu.backend}:${gpu.name}`)
  return [platform, cpu.architecture, cpu.model, cpu.threads, ...devices.sort()].join('|')
}
