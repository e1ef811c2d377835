/**
 * What an answer costs in energy. Measured where the machine tells (RAPL, `nvidia-smi`, the battery's draw), as what a run
 * takes above the idle machine; else estimated by a rule of thumb, or by what the owner says, and marked so.
 */
import {
  asSkeinError,
  GREEDY,
  SkeinError,
  type Hardware,
  type ModelEnergy,
  type ModelSpeed,
} from '../../mesh/protocol/index.ts'
import { sleep, withDeadline, type CancelTimer, type Clock } from '../../mesh/runtime/index.ts'
import type { Engine } from '../engines/index.ts'
import { runCommand, tryCommand, type RunCommand } from './command.ts'
import type { ChargeSource } from './power.ts'
import { joulesBetween, readRapl } from './rapl.ts'

type Metered = Exclude<ModelEnergy['source'], 'owner' | 'estimated'>

/** Energy of a stretch of time. */
export interface EnergySpan {
  /** Ends it. `undefined` when nothing told enough. Does not throw. */
  end(): Promise<{ readonly joules: number; readonly ms: number; readonly source: Metered } | undefined>
}

export interface EnergyMeter {
  /** Begins to meter; `undefined` where nothing of this machine tells. Does not throw. */
  begin(): Promise<EnergySpan | undefined>
}

/** A machine that tells nothing. */
export const NO_METER: EnergyMeter = { begin: async () => undefined }

/** Draw is asked for this often. */
const SAMPLE_MS = 500
const TOOL_MS = 2000
/** One that nobody ends is over by then. */
const SPAN_MS_MAX = 60_000
const DRAW_QUERY = ['--query-gpu=power.draw', '--format=csv,noheader,nounits']
const GPU_WATTS_MAX = 10_000

export interface SystemEnergyComponents {
  readonly clock: Clock
  readonly run?: RunCommand
  /** The battery's draw. */
  readonly power: Pick<ChargeSource, 'readWatts'>
  /** Whether a GPU of NVIDIA computes here. */
  readonly hasNvidia: () => boolean
  /** In place of `/sys/class/powercap`. */
  readonly raplDir?: string
}

/** The machine's own meters. */
export class SystemEnergy implements EnergyMeter {
  readonly #components: SystemEnergyComponents

  constructor(components: SystemEnergyComponents) {
    this.#components = components
  }

  async begin(): Promise<EnergySpan | undefined> {
    const { clock, hasNvidia, power, raplDir } = this.#components
    const gpu = hasNvidia() ? await this.#sampled(() => this.#gpuWatts()) : undefined
    const rapl = await readRapl(raplDir)
    // What the battery gives is the whole machine, but many tell it some seconds late: only where nothing better is there.
    const battery =
      gpu === undefined && typeof rapl === 'string' ? await this.#sampled(() => power.readWatts()) : undefined
    if (gpu === undefined && battery === undefined && typeof rapl === 'string') return undefined
    const beganMs = clock.nowMs()
    return {
      end: async () => {
        const ms = clock.nowMs() - beganMs
        const processors = joulesBetween(rapl, await readRapl(raplDir), ms)
        const others = (gpu ?? battery)?.end(ms)
        const joules = (processors ?? 0) + (others ?? 0)
        if (processors === undefined && others === undefined) return undefined
        if (battery !== undefined) return { joules, ms, source: 'battery' }
        if (others === undefined) return { joules, ms, source: 'rapl' }
        return { joules, ms, source: processors === undefined ? 'nvml' : 'rapl+nvml' }
      },
    }
  }

  async #gpuWatts(): Promise<number | 'unknown'> {
    const { clock, run = runCommand } = this.#components
    const csv = (await tryCommand(run, clock, TOOL_MS, 'nvidia-smi', ...DRAW_QUERY)) ?? ''
    const watts = csv
      .split('\n')
      .filter((line) => /^\s*\d+(\.\d+)?\s*$/.test(line))
      .map(Number)
      .filter((draw) => draw < GPU_WATTS_MAX)
    return watts.length > 0 ? watts.reduce((sum, each) => sum + each, 0) : 'unknown'
  }

  /** Asks `read` again and again; its mean counts. `undefined` when the first answer is none. */
  async #sampled(
    read: () => Promise<number | 'unknown'>,
  ): Promise<{ end(ms: number): number | undefined } | undefined> {
    const { clock } = this.#components
    const samples: number[] = []
    const first = await read()
    if (first === 'unknown') return undefined
    let isOver = false
    let cancel: CancelTimer = () => {}
    const again = async (): Promise<void> => {
      const watts = await read()
      if (isOver) return
      if (watts !== 'unknown') samples.push(watts)
      cancel = clock.timer(SAMPLE_MS, () => void again())
    }
    const stop = (): void => {
      isOver = true
      cancel()
      cancelLimit()
    }
    const cancelLimit = clock.timer(SPAN_MS_MAX, stop)
    void again()
    return {
      end: (ms) => {
        stop()
        if (samples.length === 0) samples.push(first)
        return (samples.reduce((sum, each) => sum + each, 0) / samples.length) * (ms / 1000)
      },
    }
  }
}

/** The idle machine is metered this long, and a run is sized to take about as long as the next. */
const IDLE_MS = 1000
const RUN_MS = 3000
const TOKENS_MIN = 8
const TOKENS_MAX = 512
/** Both together. */
const MEASURE_MS = 15_000

/**
 * Joules that a token takes above the idle machine, of one answer that has the machine to itself.
 *
 * @returns `undefined` where nothing tells, or no more than the idle machine takes was seen.
 * @throws SkeinError ENGINE_FAILED when it takes too long; the signal's reason; what the engine throws.
 */
export async function measureEnergy(
  engine: Engine,
  clock: Clock,
  meter: EnergyMeter,
  { speed, signal: given }: { readonly speed: ModelSpeed; readonly signal: AbortSignal },
): Promise<ModelEnergy | undefined> {
  const idle = await meter.begin()
  if (idle === undefined) return undefined
  const late = (): SkeinError => new SkeinError('ENGINE_FAILED', `its energy was not measured within ${MEASURE_MS} ms`)
  return withDeadline(clock, MEASURE_MS, late, given, async (signal) => {
    try {
      await sleep(clock, IDLE_MS, signal)
    } catch (thrown) {
      await idle.end()
      throw asSkeinError(thrown)
    }
    const rest = await idle.end()
    const span = await meter.begin()
    const running = run(engine, speed, signal)
    // whatever becomes of it, the span is over when it is
    const used = await running.then(
      () => span?.end(),
      () => span?.end(),
    )
    const tokens = await running
    if (rest === undefined || used === undefined || rest.source !== used.source || tokens === 0) return undefined
    const joules = used.joules - (rest.joules / rest.ms) * used.ms
    return joules > 0 ? { joulesPerToken: joules / tokens, source: used.source } : undefined
  })
}

/** Makes tokens for a while, and says how many. */
async function run(engine: Engine, { decode }: ModelSpeed, signal: AbortSignal): Promise<number> {
  const wanted = ((decode[0]?.tokensPerSecond ?? 0) * RUN_MS) / 1000
  const maxTokens = Math.round(Math.min(TOKENS_MAX, Math.max(TOKENS_MIN, wanted)))
  let tokens = 0
  const prompt = { kind: 'text', text: 'What does the day cost?' } as const
  const sampling = { ...GREEDY, seed: 1 }
  const request = { id: 'measure-energy', prompt, sampling, stop: [], maxTokens, isEndless: true, generated: [] }
  for await (const event of engine.generate(request, signal)) if (event.type === 'tokens') tokens += event.ids.length
  return tokens
}

/** Watts of a processor's thread that computes, and of the rest of a machine that does not idle. */
const WATTS_PER_THREAD = 6
const WATTS_BESIDE = 5
/** Of a GPU with memory of its own: what cards of the last ten years take, for each GiB, and most of one. */
const WATTS_PER_GIB = 12
const GPU_WATTS_ESTIMATE_MAX = 350
const APPLE_GPU_WATTS = 30

/** What a machine takes more while it answers, by rule of thumb, in watts. @param threads that its engines use. */
export function estimateWatts({ gpus, cpu }: Hardware, threads: number = Math.max(1, cpu.threads - 1)): number {
  const used = gpus.filter(({ backend }) => backend !== 'none')
  if (used.length === 0) return WATTS_BESIDE + WATTS_PER_THREAD * threads
  const ofGpu = ({ vendor, memoryBytes }: Hardware['gpus'][number]): number =>
    vendor === 'apple'
      ? APPLE_GPU_WATTS
      : Math.min(GPU_WATTS_ESTIMATE_MAX, (WATTS_PER_GIB * memoryBytes) / 1024 ** 3 || GPU_WATTS_ESTIMATE_MAX / 2)
  return WATTS_BESIDE + WATTS_PER_THREAD + used.reduce((sum, gpu) => sum + ofGpu(gpu), 0)
}

/** Of a model at this speed, one answer alone, on a machine that takes `watts` for it. */
export function estimatedEnergy(
  { decode }: ModelSpeed,
  watts: number,
  source: 'owner' | 'estimated',
): ModelEnergy | undefined {
  const rate = decode[0]?.tokensPerSecond ?? 0
  return rate > 0 && Number.isFinite(watts / rate) ? { joulesPerToken: watts / rate, source } : undefined
}
