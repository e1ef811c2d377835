/** The one way to node-llama-cpp: its prebuilt binaries as npm installed them, never a download or a compilation. */
import { getLlama, LlamaLogLevel, type Llama } from 'node-llama-cpp'
import { asSkeinError } from '../../../mesh/protocol/index.ts'
import type { Logger } from '../../../mesh/runtime/index.ts'

/** What the engine itself sees of this machine's accelerators. */
export interface EngineDevices {
  readonly backend: 'cuda' | 'vulkan' | 'metal' | 'none'
  readonly deviceNames: readonly string[]
  /** Of all devices together; 0 without any. */
  readonly memoryTotalBytes: number
  readonly memoryFreeBytes: number
  readonly engineBuild: string
  /** Threads that the engine would use for arithmetic. */
  readonly cpuThreads: number
}

/** Version of node-llama-cpp whose numerics `engineBuild` stands for; `package.json` pins the same. */
const BINDING_VERSION = '3.22.1'

/** @throws SkeinError MODEL_LOAD_FAILED when no binary fits this machine. */
export async function openLlama(log: Logger): Promise<Llama> {
  try {
    return await getLlama({
      build: 'never',
      skipDownload: true,
      logLevel: LlamaLogLevel.warn,
      logger: (level, message) => log.debug({ level }, message.trim()),
    })
  } catch (error) {
    throw asSkeinError(error, 'MODEL_LOAD_FAILED')
  }
}

export const engineBuild = (llama: Llama): string =>
  `node-llama-cpp ${BINDING_VERSION}, llama.cpp ${llama.llamaCppRelease.release}, ${llama.gpu === false ? 'cpu' : llama.gpu}`

export async function describeDevices(llama: Llama): Promise<EngineDevices> {
  const memory = await llama.getVramState()
  return {
    backend: llama.gpu === false ? 'none' : llama.gpu,
    deviceNames: await llama.getGpuDeviceNames(),
    memoryTotalBytes: memory.total,
    memoryFreeBytes: memory.free,
    engineBuild: engineBuild(llama),
    cpuThreads: llama.cpuMathCores,
  }
}
