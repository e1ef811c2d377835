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
import { readChips, type ChipReadings } from './hwmon.ts'
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
  /** Whether to ask the tool of NVIDIA's GPUs; always when absent. */
  readonly hasNvidia?: () => boolean
}

type GpuSensors = ReturnType<typeof parseNvidiaSensors>

/** What is read once for temperature and watts. */
interface Meters {
  readonly nvidia: Promise<GpuSensors>
  readonly chips: Promise<ChipReadings>
}

export class SystemSenses implements Senses {
  readonly #clock: Clock
  readonly #run: RunCommand
  readonly #power: PowerSource & ChargeSource
  readonly #platform: string
  readonly #hasNvidia: () => boolean
  readonly #cpu = new CpuMeter()
  readonly #rapl = new RaplMeter()

  constructor(components: SystemSensesComponents) {
    const { clock, run = runCommand, power, platform = process.platform, hasNvidia = () => true } = components
    this.#clock = clock
    this.#run = run
    this.#platform = platform
    this.#hasNvidia = hasNvidia
    this.#power = power ?? createPowerSource(clock, platform, run)
  }

  wallMs(): number {
    return this.#clock.wallMs()
  }

  async read(wanted: ReadonlySet<Sense>): Promise<Observations> {
    const meters = wanted.has('temperature') || wanted.has('watts') ? this.#meters() : undefined
    const readers: { readonly [S in Sense]: () => Promise<Observations[S]> } = {
      power: () => this.#power.read(),
      charge: () => this.#power.readCharge(),
      temperature: () => this.#temperature(meters!),
      inputIdleMs: () => this.#inputIdle(),
      cpuByOthers: async () => (this.#isLinux ? this.#cpu.add(await readCpuFacts()) : 'unknown'),
      gpuByOthers: () => this.#gpuByOthers(),
      metered: async () => (this.#isLinux ? parseNmcli(await this.#ask('nmcli', NMCLI_QUERY)) : 'unknown'),
      watts: () => this.#watts(meters!),
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

  #meters(): Meters {
    return {
      nvidia: this.#nvidia(),
      chips: this.#isLinux ? readChips() : Promise.resolve({ temperature: 'unknown', watts: 'unknown' }),
    }
  }

  async #nvidia(): Promise<GpuSensors> {
    return parseNvidiaSensors(this.#hasNvidia() ? await this.#ask('nvidia-smi', NVIDIA_QUERY) : '')
  }

  async #temperature({ nvidia, chips }: Meters): Promise<Known<number>> {
    const zones = this.#isLinux ? await readThermalZones() : 'unknown'
    const known = [zones, (await chips).temperature, (await nvidia).temperature].filter((each) => each !== 'unknown')
    return known.length === 0 ? 'unknown' : Math.max(...known)
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
  async #watts({ nvidia, chips }: Meters): Promise<Known<number>> {
    const discharge = await this.#power.readWatts()
    const processors = this.#isLinux ? await this.#rapl.read(this.#clock.nowMs()) : 'unknown'
    if (discharge !== 'unknown') return discharge
    const known = [processors, (await chips).watts, (await nvidia).watts].filter((each) => each !== 'unknown')
    return known.length === 0 ? 'unknown' : known.reduce((sum, each) => sum + each, 0)
  }
}
