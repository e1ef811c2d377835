import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { FileSenses, NOTHING_KNOWN, SystemSenses, type Sense } from '../../../node/policy/index.ts'
import { readChips } from '../../../node/policy/senses/hwmon.ts'
import { CpuMeter, ownProcesses, readCpuFacts } from '../../../node/policy/senses/processes.ts'
import { RaplMeter, readThermalZones } from '../../../node/policy/senses/sysfs.ts'
import {
  parseIoreg,
  parseNmcli,
  parseNvidiaProcesses,
  parseNvidiaSensors,
  parseSeat,
  parseXprintidle,
} from '../../../node/policy/senses/tools.ts'
import { temporaryDirectory } from '../node/support.ts'

const ALL = new Set(Object.keys(NOTHING_KNOWN) as Sense[])

async function tree(files: Record<string, string>): Promise<string> {
  const dir = await temporaryDirectory()
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(dir, path, '..'), { recursive: true })
    await writeFile(join(dir, path), text)
  }
  return dir
}

describe('what tools say', () => {
  it('nvidia-smi: the hottest, and the sum', () => {
    expect(parseNvidiaSensors('45, 120.50\n61, 80.25\n')).toEqual({ temperature: 61, watts: 200.75 })
    expect(parseNvidiaSensors('[N/A], [N/A]\n50, [N/A]\n')).toEqual({ temperature: 50, watts: 'unknown' })
    for (const text of ['', 'Failed to initialize NVML', ' , ', '900, -5'])
      expect(parseNvidiaSensors(text)).toEqual({ temperature: 'unknown', watts: 'unknown' })
  })

  it('nvidia-smi pmon: the busiest GPU, without our own processes', () => {
    const text = [
      '# gpu         pid   type     sm    mem    enc    dec    jpg    ofa    command ',
      '# Idx           #    C/G      %      %      %      %      %      %    name ',
      '    0       1234     C     40     10      -      -      -      -    python         ',
      '    0       1235     C     20     10      -      -      -      -    node           ',
      '    1       1236     G      -      -      -      -      -      -    Xorg           ',
    ].join('\n')
    expect(parseNvidiaProcesses(text, new Set())).toBe(60)
    expect(parseNvidiaProcesses(text, new Set([1234, 1235]))).toBe(0)
    expect(parseNvidiaProcesses('    0          -     -      -      -   -   -  -  -  -', new Set())).toBe(0)
    expect(parseNvidiaProcesses('No devices were found', new Set())).toBe('unknown')
  })

  it('loginctl: a seat in use, idle since, and one at which nobody is', () => {
    expect(parseSeat('ActiveSession=2\nIdleHint=no\nIdleSinceHint=0\n', 1e12)).toBe(0)
    expect(parseSeat('IdleHint=yes\nIdleSinceHint=999999970000000\nActiveSession=2\n', 1e12)).toBe(30_000)
    expect(parseSeat('IdleHint=no\nIdleSinceHint=0\nActiveSession=\n', 1e12)).toBe('unknown')
    for (const text of ['', 'ActiveSession=2', 'ActiveSession=2\nIdleHint=yes\nIdleSinceHint=soon'])
      expect(parseSeat(text, 1e12)).toBe('unknown')
  })

  it('xprintidle and ioreg', () => {
    expect(parseXprintidle('4711\n')).toBe(4711)
    expect(parseXprintidle("couldn't open display")).toBe('unknown')
    expect(parseIoreg('    | |   "HIDIdleTime" = 5000000000\n')).toBe(5000)
    expect(parseIoreg('')).toBe('unknown')
  })

  it('nmcli: ways to the internet alone, the metered one before others', () => {
    const device = (state: string, metered: string, gateway: string): string =>
      `GENERAL.STATE:${state}\nGENERAL.METERED:${metered}\nIP4.GATEWAY:${gateway}\nIP6.GATEWAY:\n`
    const bridge = device('100 (connected (externally))', 'yes', '')
    const cable = device('100 (connected)', 'no (guessed)', '192.168.1.1')
    const phone = device('100 (connected)', 'yes (guessed)', '172.20.10.1')
    const off = device('30 (disconnected)', 'yes', '10.0.0.1')
    expect(parseNmcli([bridge, cable, off].join('\n'))).toBe(false)
    expect(parseNmcli([cable, phone].join('\n'))).toBe(true)
    expect(parseNmcli(device('100 (connected)', 'unknown', '192.168.1.1'))).toBe('unknown')
    expect(parseNmcli('')).toBe('unknown')
  })
})

describe('what the kernel says', () => {
  it('temperatures: of the hottest zone that is one', async () => {
    const dir = await tree({
      'thermal_zone0/temp': '45000\n',
      'thermal_zone1/temp': '61500\n',
      'thermal_zone2/temp': '250000\n',
      'thermal_zone3/type': 'none\n',
      'cooling_device0/temp': '99000\n',
    })
    expect(await readThermalZones(dir)).toBe(61.5)
    expect(await readThermalZones(join(dir, 'none'))).toBe('unknown')
  })

  it('temperatures: of processors before what else is warm, and never of a radio', async () => {
    const zones = (...each: [type: string, temp: string][]): Promise<string> =>
      tree(Object.fromEntries(each.flatMap(([type, temp], i) => [[`thermal_zone${i}/type`, `${type}\n`], [`thermal_zone${i}/temp`, `${temp}\n`]]))) // prettier-ignore
    const laptop = [['acpitz', '27800'], ['x86_pkg_temp', '52000'], ['iwlwifi_1', '71000']] as const // prettier-ignore
    expect(await readThermalZones(await zones(...laptop.map(([type, temp]): [string, string] => [type, temp])))).toBe(
      52,
    )
    expect(await readThermalZones(await zones(['cpu-thermal', '48312']))).toBeCloseTo(48.312)
    expect(await readThermalZones(await zones(['acpitz', '35000'], ['iwlwifi_1', '71000']))).toBe(35)
    // the sensor of the processor is broken
    expect(await readThermalZones(await zones(['acpitz', '35000'], ['cpu-thermal', '-274000']))).toBe(35)
    expect(await readThermalZones(await zones(['iwlwifi_1', '71000'], ['BAT0', 'warm']))).toBe('unknown')
  })

  it('chips: of processors and cards by their drivers, and the watts of cards', async () => {
    const intel = await tree({
      'hwmon0/name': 'nvme\n',
      'hwmon0/temp1_input': '84850\n',
      'hwmon1/name': 'coretemp\n',
      'hwmon1/temp1_label': 'Package id 0\n',
      'hwmon1/temp1_input': '58000\n',
      'hwmon1/temp2_input': '99000\n',
      'hwmon2/name': 'coretemp\n',
      'hwmon2/temp1_input': '61000\n',
      'hwmon3/name': 'dell_smm\n',
      'hwmon3/temp1_input': '90000\n',
    })
    expect(await readChips(intel)).toEqual({ temperature: 61, watts: 'unknown' })
    const amd = await tree({
      'hwmon0/name': 'k10temp\n',
      'hwmon0/temp1_label': 'Tctl\n',
      'hwmon0/temp1_input': '88000\n',
      'hwmon0/temp2_label': 'Tdie\n',
      'hwmon0/temp2_input': '61000\n',
      'hwmon1/name': 'amdgpu\n',
      'hwmon1/temp1_input': '55000\n',
      'hwmon1/temp2_label': 'junction\n',
      'hwmon1/temp2_input': '66500\n',
      'hwmon1/power1_average': '143000000\n',
      'hwmon2/name': 'amdgpu\n',
      'hwmon2/temp1_input': '61000\n',
      'hwmon2/power1_input': '30000000\n',
    })
    // the second is within the processor: its watts are the processor's
    expect(await readChips(amd)).toEqual({ temperature: 66.5, watts: 143 })
    const tctlAlone = await tree({ 'hwmon0/name': 'k10temp\n', 'hwmon0/temp1_label': 'Tctl\n', 'hwmon0/temp1_input': '47125\n' }) // prettier-ignore
    expect(await readChips(tctlAlone)).toEqual({ temperature: 47.125, watts: 'unknown' })
    const pi = await tree({ 'hwmon0/name': 'cpu_thermal\n', 'hwmon0/temp1_input': '51120\n', 'hwmon1/name': 'rpi_volt\n' }) // prettier-ignore
    expect(await readChips(pi)).toEqual({ temperature: 51.12, watts: 'unknown' })
  })

  it('chips: what is broken or talks nonsense is not known', async () => {
    const dir = await tree({
      'hwmon0/name': 'coretemp',
      'hwmon0/temp1_input': '',
      'hwmon1/name': 'k10temp',
      'hwmon1/temp1_input': 'hot',
      'hwmon1/temp2_input': '-273150',
      'hwmon1/temp3_input': '9'.repeat(5000),
      'hwmon2/name': 'amdgpu',
      'hwmon2/temp2_label': 'junction',
      'hwmon2/power1_average': '-1',
      'hwmon3/temp1_input': '50000',
    })
    expect(await readChips(dir)).toEqual({ temperature: 'unknown', watts: 'unknown' })
    expect(await readChips(join(dir, 'none'))).toEqual({ temperature: 'unknown', watts: 'unknown' })
  })

  it('energy: between two readings of the packages', async () => {
    const dir = await tree({
      'intel-rapl:0/energy_uj': '1000000',
      'intel-rapl:0:0/energy_uj': '900000',
      'intel-rapl:1/energy_uj': '5000000',
    })
    const meter = new RaplMeter(dir)
    expect(await meter.read(0)).toBe('unknown')
    await writeFile(join(dir, 'intel-rapl:0/energy_uj'), '41000000')
    await writeFile(join(dir, 'intel-rapl:1/energy_uj'), '25000000')
    expect(await meter.read(2000)).toBeCloseTo(30)
    // one began anew: it tells nothing this time
    await writeFile(join(dir, 'intel-rapl:0/energy_uj'), '5')
    await writeFile(join(dir, 'intel-rapl:1/energy_uj'), '27000000')
    expect(await meter.read(3000)).toBeCloseTo(2)
    expect(await new RaplMeter(join(dir, 'none')).read(0)).toBe('unknown')
  })

  it('processes of ours: this one and all below it', async () => {
    const stat = (ticks: number): string => `1 (a (b) c) S ${'0 '.repeat(10)}${ticks} ${ticks} 0 0`
    const dir = await tree({
      '10/task/10/children': '20 ',
      '10/task/11/children': '30 40 ',
      '10/stat': stat(5),
      '20/task/20/children': '21 ',
      '20/stat': stat(7),
      '21/task/21/children': '',
      '30/task/30/children': '',
    })
    expect(await ownProcesses(10, dir)).toEqual(new Set([10, 20, 30, 40, 21]))
    expect(await ownProcesses(99, dir)).toBeUndefined()
    expect((await readCpuFacts(10, dir))!.own).toEqual(new Map([[10, 100], [20, 140]])) // prettier-ignore
    expect(await readCpuFacts(99, dir)).toBeUndefined()
  })

  it('processors: what is left when ours is taken away, smoothed', () => {
    const meter = new CpuMeter()
    const facts = (busyMs: number, wholeMs: number, ...own: [number, number][]) => ({
      busyMs,
      wholeMs,
      own: new Map(own),
    })
    expect(meter.add(facts(0, 0, [1, 0]))).toBe('unknown')
    expect(meter.add(facts(800, 1000, [1, 300], [2, 100]))).toBe(40)
    // all of it is ours: falls by its share
    expect(meter.add(facts(1800, 2000, [1, 1300], [2, 100]))).toBeCloseTo(24)
    expect(meter.add(facts(1800, 2000, [1, 1300]))).toBeCloseTo(24)
    expect(meter.add(undefined)).toBe('unknown')
  })
})

describe('the senses of this machine', () => {
  it('ask for nothing that is not wanted, and live without any tool', async () => {
    const asked: string[] = []
    const run = async (file: string): Promise<string> => {
      asked.push(file)
      throw new RangeError('ENOENT')
    }
    const senses = new SystemSenses({ clock: new ManualClock(), run, platform: 'linux' })
    expect(await senses.read(new Set())).toEqual(NOTHING_KNOWN)
    expect(asked).toEqual([])
    await senses.read(new Set(['metered', 'inputIdleMs']))
    expect(asked.sort()).toEqual(['loginctl', 'nmcli', 'xprintidle'])
  })

  it("ask NVIDIA's tool once for heat and power, and not where there is none of its GPUs", async () => {
    const asked: string[] = []
    const run = async (file: string): Promise<string> => (asked.push(file), '61, 143.5\n')
    let hasNvidia = false
    const senses = new SystemSenses({ clock: new ManualClock(), run, platform: 'win32', hasNvidia: () => hasNvidia })
    const wanted = new Set<Sense>(['temperature', 'watts'])
    expect(await senses.read(wanted)).toEqual(NOTHING_KNOWN)
    expect(asked).toEqual([])
    hasNvidia = true
    expect(await senses.read(wanted)).toEqual({ ...NOTHING_KNOWN, temperature: 61, watts: 143.5 })
    expect(asked).toEqual(['nvidia-smi'])
  })

  it('know nothing of a system that does not tell', async () => {
    const run = (): Promise<string> => Promise.reject(new RangeError('ENOENT'))
    const senses = new SystemSenses({ clock: new ManualClock(), run, platform: 'win32' })
    expect(await senses.read(ALL)).toEqual(NOTHING_KNOWN)
  })

  it('read what a Mac tells', async () => {
    const run = async (file: string): Promise<string> =>
      file === 'pmset'
        ? "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t57%; discharging; 3:10 remaining\n"
        : '"HIDIdleTime" = 2000000'
    const senses = new SystemSenses({ clock: new ManualClock(), run, platform: 'darwin' })
    expect(await senses.read(new Set(['power', 'charge', 'inputIdleMs']))).toEqual({
      ...NOTHING_KNOWN,
      power: 'battery',
      charge: 57,
      inputIdleMs: 2,
    })
  })
})

describe('senses that a file plays', () => {
  it('say what it says, of what was asked', async () => {
    const dir = await tree({ 'senses.json': '{"power":"battery","charge":30,"metered":true}' })
    const senses = new FileSenses(new ManualClock(), join(dir, 'senses.json'))
    expect(await senses.read(new Set(['power', 'metered', 'watts']))).toEqual({
      ...NOTHING_KNOWN,
      power: 'battery',
      metered: true,
    })
    await writeFile(join(dir, 'senses.json'), '{"power":"sun"}')
    expect(await senses.read(ALL)).toEqual(NOTHING_KNOWN)
    expect(await new FileSenses(new ManualClock(), join(dir, 'none')).read(ALL)).toEqual(NOTHING_KNOWN)
  })

  it('have a clock that can be set, and that runs faster', async () => {
    const dir = await tree({ 'senses.json': '{}' })
    const clock = new ManualClock(1000)
    const senses = new FileSenses(clock, join(dir, 'senses.json'))
    await senses.read(ALL)
    expect(senses.wallMs()).toBe(1000)
    await writeFile(join(dir, 'senses.json'), '{"wallMs":500000,"speed":60}')
    await senses.read(ALL)
    await clock.advance(2000)
    await senses.read(ALL)
    expect(senses.wallMs()).toBe(620_000)
    await writeFile(join(dir, 'senses.json'), '{}')
    await senses.read(ALL)
    expect(senses.wallMs()).toBe(3000)
  })
})
