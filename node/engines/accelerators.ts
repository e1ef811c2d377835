/** Whether this machine can have an accelerator at all, told without starting an engine process. */
import { existsSync } from 'node:fs'
import { platform } from 'node:os'

/** A Linux kernel that offers none of these offers no accelerator to anyone. The last is WSL's. */
const LINUX_DEVICES = ['/dev/dri', '/dev/nvidiactl', '/dev/kfd', '/dev/dxg']

export const mayHaveAccelerator = (): boolean =>
  platform() !== 'linux' || LINUX_DEVICES.some((path) => existsSync(path))
