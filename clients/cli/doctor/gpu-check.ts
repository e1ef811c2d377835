/** GPUs: what the machine has, what the engine can use of it, and why not all. */
import { ok, warning, type Finding } from './check.ts'
import type { Machine } from './machine.ts'

const PCI = '/sys/bus/pci/devices'
/** Display controllers: VGA, 3D, other. */
const DISPLAY_CLASS = /^0x03/
const VENDORS: Readonly<Record<string, string>> = { '0x10de': 'NVIDIA', '0x1002': 'AMD', '0x8086': 'Intel' }

/** What the engine has found, of `probeDevices`. */
export interface EngineGpus {
  readonly deviceNames: readonly string[]
  readonly description: string
}

export interface Reason {
  readonly detail: string
  readonly next: string
}

/** Vendors of the GPUs that the system shows on its buses, whether it has a driver for them or not. */
export async function vendorsOf(machine: Machine): Promise<string[]> {
  const vendors = new Set<string>()
  for (const device of await machine.list(PCI)) {
    const [kind, vendor] = await Promise.all([
      machine.text(`${PCI}/${device}/class`),
      machine.text(`${PCI}/${device}/vendor`),
    ])
    const name = VENDORS[vendor?.trim() ?? '']
    if (name !== undefined && DISPLAY_CLASS.test(kind ?? '')) vendors.add(name)
  }
  return [...vendors].sort()
}

export async function checkGpu(machine: Machine, engine: EngineGpus): Promise<Finding> {
  if (engine.deviceNames.length > 0) return ok('GPU', engine.description)
  const none = 'none that the engine can use; models run on the CPU'
  if (machine.platform !== 'linux') return ok('GPU', none)
  const vendors = await vendorsOf(machine)
  const reasons = (await Promise.all(vendors.map((vendor) => reasonsOf(machine, vendor)))).flat()
  if (reasons.length === 0) return ok('GPU', vendors.length === 0 ? none : `${none} (${vendors.join(', ')} graphics)`)
  const details = reasons.map(({ detail }) => detail).join('; ')
  return warning('GPU', `${none}: ${details}`, reasons.map(({ next }) => next).join('; then '))
}

async function reasonsOf(machine: Machine, vendor: string): Promise<Reason[]> {
  if (vendor === 'NVIDIA') return nvidiaReasons(machine)
  return [...(vendor === 'AMD' ? await nodeReasons(machine, ['/dev/kfd']) : []), ...(await renderReasons(machine))]
}

async function nvidiaReasons(machine: Machine): Promise<Reason[]> {
  const driver = await machine.text('/proc/driver/nvidia/version')
  if (driver === undefined)
    return [
      {
        detail: 'an NVIDIA GPU without its driver',
        next: 'install the driver: apt install nvidia-driver, or as your distribution says',
      },
    ]
  const reasons = await nodeReasons(machine, ['/dev/nvidiactl', '/dev/nvidia0'])
  const libraries = await machine.ask('ldconfig', '-p')
  if (libraries !== undefined && !libraries.includes('libcuda.so.1'))
    reasons.push({
      detail: 'the NVIDIA driver is there and its library libcuda.so.1 is not',
      next: 'install it: apt install libcuda1, or the full driver (a container needs --gpus all)',
    })
  if ((await machine.ask('nvidia-smi', '--query-gpu=name', '--format=csv,noheader')) === undefined)
    reasons.push({
      detail: 'nvidia-smi does not answer: the kernel module and the driver may differ after an update',
      next: 'restart the machine',
    })
  return reasons
}

async function renderReasons(machine: Machine): Promise<Reason[]> {
  const nodes = (await machine.list('/dev/dri')).filter((name) => name.startsWith('renderD'))
  if (nodes.length === 0)
    return [
      { detail: 'the kernel has no driver for the GPU (/dev/dri is empty)', next: 'install its driver and firmware' },
    ]
  const reasons = await nodeReasons(
    machine,
    nodes.map((name) => `/dev/dri/${name}`),
  )
  const libraries = await machine.ask('ldconfig', '-p')
  if (libraries !== undefined && !libraries.includes('libvulkan.so.1'))
    reasons.push({
      detail: 'the library libvulkan.so.1 is missing',
      next: 'install it: apt install libvulkan1 mesa-vulkan-drivers',
    })
  return reasons
}

/** Device files that are missing, or that this account may not open. */
async function nodeReasons(machine: Machine, paths: readonly string[]): Promise<Reason[]> {
  const reasons: Reason[] = []
  for (const path of paths) {
    if (!(await machine.exists(path)))
      reasons.push({
        detail: `${path} is missing`,
        next: 'load the driver (modprobe), or give the container the device',
      })
    else if (!(await machine.mayUse(path)))
      reasons.push({
        detail: `this account may not use ${path}`,
        next: 'sudo usermod -aG video,render $USER, then log in again',
      })
  }
  return reasons
}
