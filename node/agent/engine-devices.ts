/** The engine's list of accelerators in the words of the hardware probe. */
import { existsSync } from 'node:fs'
import { platform } from 'node:os'
import type { Logger } from '../../mesh/runtime/index.ts'
import type { EngineDevice } from '../capability/index.ts'
import { probeDevices } from '../engines/index.ts'

/** Without any of these a Linux kernel offers no accelerator to anyone: no process needs to be started to know it. */
const LINUX_DEVICES = ['/dev/dri', '/dev/nvidiactl', '/dev/kfd', '/dev/dxg']
const hasNone = (): boolean => platform() === 'linux' && !LINUX_DEVICES.some((path) => existsSync(path))

/** Starts an engine process, asks it, and ends it. @throws SkeinError MODEL_LOAD_FAILED when no engine runs here. */
export async function engineDevices(log: Logger): Promise<EngineDevice[]> {
  if (hasNone()) return []
  const { backend, deviceNames, memoryTotalBytes } = await probeDevices({ log })
  // The engine tells the memory of all devices together.
  const memoryBytes = Math.floor(memoryTotalBytes / Math.max(1, deviceNames.length))
  return deviceNames.map((name) => ({ name, backend, memoryBytes }))
}
