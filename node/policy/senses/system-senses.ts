/** The machine's own senses: files of the kernel and tools of the system, each asked only when somebody wants to know. */
import {
  createPowerSource,
  runCommand,
  tryCommand,
  type ChargeSource,
  type PowerSource,
  type RunCommand,
} from '../../capability/index.ts'
import type { Clock } from '../../../mesh/runtime/index.ts'
import { CpuMeter, ownProcesses, readCpuFacts } from './processes.ts'
import { NOTHING_KNOWN, type Known, type Observations, type Sense, type Senses } from './senses.ts'
import { RaplMeter, readThermalZones } from './sysfs.ts'
import {
  NMCLI_QUERY,
  NVIDIA_PROCESSES,
  NVIDIA_QUERY,
  parseIoreg,
  parseNmcli,
  parseNvidiaProcesses,
  parseNvidiaSensors,
  parseSeat,
  parseXprintidle,
  SEAT_QUERY,
} from './tools.ts'

/** A tool that takes longer has hung: what it would have said is not known. */
const TOOL_MS = 2000

export interface SystemSensesComponents {
  readonly clock: Clock
  readonly run?: RunCommand
  readonly power?: PowerSource & ChargeSource
  readonly platform?: string
}

type GpuSensors = ReturnType<typeof parseNvidiaSensors>

export class SystemSenses implements Senses {
  readonly #clock: Clock
  readonly #run: RunCommand
  readonly #power: PowerSource & ChargeSource
  readonly #platform: string
  readonly #cpu = new CpuMeter()
  readonly #rapl = new RaplMeter()

  constructor({ clock, run = runCommand, power, platform = process.platform }: SystemSensesComponents) {
    this.#clock = clock
    this.#run = run
    this.#platform = platform
    this.#power = power ?? createPowerSource(clock, platform, run)
  }

  wallMs(): number {
    return this.#clock.wallMs()
  }

  async read(wanted: ReadonlySet<Sense>): Promise<Observations> {
    const gpu = wanted.has('temperature') || wanted.has('watts') ? this.#gpuSensors() : undefined
    const readers: { readonly [S in Sense]: () => Promise<Observations[S]> } = {
      power: () => this.#power.read(),
      charge: () => this.#power.readCharge(),
      temperature: () => this.#temperature(gpu),
      inputIdleMs: () => this.#inputIdle(),
      cpuByOthers: async () => (this.#isLinux ? this.#cpu.add(await readCpuFacts()) : 'unknown'),
      gpuByOthers: () => this.#gpuByOthers(),
      metered: async () => (this.#isLinux ? parseNmcli(await this.#ask('nmcli', NMCLI_QUERY)) : 'unknown'),
      watts: () => this.#watts(gpu),
    }
    const read = await Promise.all([...wanted].map(async (sense) => [sense, await readers[sense]()] as const))
    return { ...NOTHING_KNOWN, ...Object.fromEntries(read) }
  }

  get #isLinux(): boolean {
    return this.#platform === 'linux'
  }

  /** Output of a tool; '' when it is missing, fails or is late. */
  async #ask(file: string, args: readonly string[]): Promise<string> {
    return (await tryCommand(this.#run, this.#clock, TOOL_MS, file, ...args)) ?? ''
  }

  async #gpuSensors(): Promise<GpuSensors> {
    return parseNvidiaSensors(await this.#ask('nvidia-smi', NVIDIA_QUERY))
  }

  async #temperature(gpu: Promise<GpuSensors> | undefined): Promise<Known<number>> {
    const zones = this.#isLinux ? await readThermalZones() : 'unknown'
    const hottest = (await gpu)?.temperature ?? 'unknown'
    if (zones === 'unknown' || hottest === 'unknown') return zones === 'unknown' ? hottest : zones
    return Math.max(zones, hottest)
  }

  /** The X server knows to the moment; logind learns it from desktops, some of which tell it late. */
  async #inputIdle(): Promise<Known<number>> {
    if (this.#platform === 'darwin') return parseIoreg(await this.#ask('ioreg', ['-c', 'IOHIDSystem', '-d', '4']))
    if (!this.#isLinux) return 'unknown'
    const ofX = parseXprintidle(await this.#ask('xprintidle', []))
    return ofX === 'unknown' ? parseSeat(await this.#ask('loginctl', SEAT_QUERY), this.#clock.wallMs()) : ofX
  }

  async #gpuByOthers(): Promise<Known<number>> {
    const own = await ownProcesses()
    return own ? parseNvidiaProcesses(await this.#ask('nvidia-smi', NVIDIA_PROCESSES), own) : 'unknown'
  }

  /** On battery the whole machine is metered; else what its processors and GPUs tell. */
  async #watts(gpu: Promise<GpuSensors> | undefined): Promise<Known<number>> {
    const discharge = await this.#power.readWatts()
    const processors = this.#isLinux ? await this.#rapl.read(this.#clock.nowMs()) : 'unknown'
    if (discharge !== 'unknown') return discharge
    const gpus = (await gpu)?.watts ?? 'unknown'
    if (processors === 'unknown' || gpus === 'unknown') return processors === 'unknown' ? gpus : processors
    return processors + gpus
  }
}
