import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checker, HardwareSchema, type Gpu } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import {
  hardwareFingerprint,
  hardwareOf,
  mergeGpus,
  parseNvidiaSmi,
  parseRocmSmi,
  parseSystemProfiler,
  probeHardware,
  type HostFacts,
} from '../../../node/capability/index.ts'
import { until } from './support.ts'

const GIB = 1024 ** 3
const FACTS: HostFacts = {
  cpuModel: 'Example  CPU   9000 ',
  architecture: 'x64',
  threads: 8,
  totalMemoryBytes: 32 * GIB,
  memoryLimitBytes: 0,
  platform: 'linux',
}
const h200: Gpu = { name: 'NVIDIA H200', vendor: 'nvidia', backend: 'cuda', memoryBytes: 143_771 * 1024 ** 2 }
const isHardware = checker(HardwareSchema)

describe('the vendors’ tools', () => {
  it('reads nvidia-smi, also of boards without memory of their own', () => {
    expect(parseNvidiaSmi('NVIDIA H200, 143771\nNVIDIA GB10, [N/A]\n')).toEqual([
      h200,
      { name: 'NVIDIA GB10', vendor: 'nvidia', backend: 'cuda', memoryBytes: 0 },
    ])
  })

  it('reads rocm-smi with a warning in front and keys of either case', () => {
    const json = `WARNING: AMD GPU device(s) is/are in a low-power state
      {"card0": {"Card Series": "Radeon RX 7900 XTX", "VRAM Total Memory (B)": "25753026560"},
       "card1": {"Card series": "Instinct MI210", "VRAM Total Memory (B)": "68702699520"}, "system": {"Driver": "6"}}`
    expect(parseRocmSmi(json).map(({ name, memoryBytes }) => [name, memoryBytes])).toEqual([
      ['Radeon RX 7900 XTX', 25_753_026_560],
      ['Instinct MI210', 68_702_699_520],
    ])
  })

  it('gives an Apple GPU the share of unified memory that Metal may use', () => {
    const json = JSON.stringify({
      SPDisplaysDataType: [{ sppci_model: 'Apple M2', spdisplays_vendor: 'sppci_vendor_Apple' }],
    })
    expect(parseSystemProfiler(json, 24 * GIB)).toEqual([
      { name: 'Apple M2', vendor: 'apple', backend: 'metal', memoryBytes: 16 * GIB },
    ])
  })

  it('makes of any text GPUs that fit the record, or none', () => {
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc.string().map((name) => `{"card0":{"Card series":${JSON.stringify(name)}}}`),
    )
    fc.assert(
      fc.property(text, (junk) => {
        const gpus = [...parseNvidiaSmi(junk), ...parseRocmSmi(junk), ...parseSystemProfiler(junk, GIB)]
        return isHardware({ ...hardwareOf(FACTS), gpus: gpus.slice(0, 64) })
      }),
    )
  })
})

describe('mergeGpus', () => {
  it('takes the backend from the engine and the memory from the tool', () => {
    const device = { name: 'NVIDIA H200 (0)', backend: 'vulkan', memoryBytes: 1 } as const
    expect(mergeGpus([h200], [device])).toEqual([{ ...h200, backend: 'vulkan' }])
  })

  it('says that a GPU is of no use when the engine does not list it, and adds one that only the engine sees', () => {
    const device = { name: 'Intel Arc A770', backend: 'vulkan', memoryBytes: 16 * GIB } as const
    expect(mergeGpus([h200], [device])).toEqual([
      { ...h200, backend: 'none' },
      { name: 'Intel Arc A770', vendor: 'intel', backend: 'vulkan', memoryBytes: 16 * GIB },
    ])
  })

  it('believes the tools when the engine could not be asked', () => {
    expect(mergeGpus([h200], undefined)).toEqual([h200])
  })
})

describe('probeHardware', () => {
  it('counts the memory that the cgroup allows', () => {
    expect(hardwareOf({ ...FACTS, memoryLimitBytes: 4 * GIB }).memoryBytes).toBe(4 * GIB)
    expect(hardwareOf({ ...FACTS, memoryLimitBytes: 2 ** 64 }).memoryBytes).toBe(32 * GIB)
  })

  it('does not wait for a tool that hangs', async () => {
    const clock = new ManualClock()
    const aborted: string[] = []
    const probing = probeHardware({
      clock,
      facts: () => FACTS,
      probeDevices: () => new Promise(() => {}),
      run: (file, _args, signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(aborted.push(file)))),
    })
    await clock.advance(60_000)
    expect((await probing).gpus).toEqual([])
    expect(aborted.sort()).toEqual(['nvidia-smi', 'rocm-smi'])
    await until('no timer is left', () => clock.pendingTimers === 0)
  })

  it('lives without tools and without the engine’s list', async () => {
    const hardware = await probeHardware({
      clock: new ManualClock(),
      facts: () => FACTS,
      run: () => Promise.reject(new RangeError('ENOENT')),
      probeDevices: () => Promise.reject(new RangeError('the child died')),
    })
    expect(hardware).toEqual({
      cpu: { model: 'Example CPU 9000', architecture: 'x64', threads: 8 },
      memoryBytes: 32 * GIB,
      gpus: [],
      platform: 'linux',
    })
  })

  it('asks the engine what it can compute on', async () => {
    const devices = {
      backend: 'cuda',
      deviceNames: ['NVIDIA H200', 'NVIDIA H200'],
      memoryTotalBytes: 280 * GIB,
      memoryFreeBytes: 0,
      engineBuild: 'b',
      cpuThreads: 1,
    } as const
    const hardware = await probeHardware({
      clock: new ManualClock(),
      facts: () => FACTS,
      run: () => Promise.reject(new RangeError('ENOENT')),
      probeDevices: async () => devices,
    })
    expect(hardware.gpus.map(({ name, backend, memoryBytes }) => [name, backend, memoryBytes])).toEqual([
      ['NVIDIA H200', 'cuda', 140 * GIB],
      ['NVIDIA H200', 'cuda', 140 * GIB],
    ])
  })

  it('fingerprints what decides about speed', () => {
    const base = hardwareOf(FACTS)
    expect(hardwareFingerprint({ ...base, memoryBytes: 1 })).toBe(hardwareFingerprint(base))
    expect(hardwareFingerprint({ ...base, gpus: [h200] })).not.toBe(hardwareFingerprint(base))
    expect(hardwareFingerprint({ ...base, cpu: { ...base.cpu, threads: 2 } })).not.toBe(hardwareFingerprint(base))
  })
})
