/**
 * Keeps one model resident, from `start` to `rest`: loads it, loads it again after its engine crashed, counts its slots, and
 * measures it while nobody uses it. A request never waits for a measurement: the measurement gives way and is made later.
 * Which models are to be resident is decided elsewhere (`residency.ts`).
 */
import {
  SAMPLING_OPTIONS,
  asSkeinError,
  SkeinError,
  type EngineKind,
  type LoadReport,
  type ModelCapability,
  type SamplingOption,
} from '../../mesh/protocol/index.ts'
import { sleep, withDeadline, type Clock, type Logger, type Random } from '../../mesh/runtime/index.ts'
import type { DeliveredSpeed, Measurements, WatchOthers } from '../capability/index.ts'
import type { CreateEngine, Engine, KvStatesPlace, LoadedModel, ServerStats } from '../engines/index.ts'
import { Company } from './company.ts'
import type { ModelFile } from './inventory.ts'
import { SpeedKeeper, type EnergyOfModel, type Subject } from './speed-keeper.ts'
import { Waiters } from './waiters.ts'

/** Back-off between loads after crashes: doubled from the first up to the last, with jitter. */
const RELOAD_MS_MIN = 500
const RELOAD_MS_MAX = 30_000
/** An engine that lived this long is not in a crash loop. */
const HEALTHY_MS = 60_000
/** Reading a model from a disk, in bytes per ms: a SATA SSD. Until it was loaded once. */
const LOAD_BYTES_PER_MS = 500_000
const LOAD_MS_LEAST = 300
/** An engine that does not let go within this time is left to its own end. */
const UNLOAD_MS = 2000
/** Sequences decoded together, unless the owner says otherwise: more of them slow each one down. */
const SLOTS: Readonly<Record<EngineKind, number>> = { llama: 4, onnx: 2, upstream: 16, echo: 64 }
/** What an engine is expected to do until it was loaded once, where the file does not say. */
const FEATURES: Readonly<Record<EngineKind, LoadedModel['features']>> = {
  llama: ['json', 'logprobs'],
  onnx: [],
  upstream: [],
  echo: ['logprobs'],
}

/** Options of sampling that an engine honours. What echoes draws nothing, so that nothing changes how it draws. */
const OPTIONS: Readonly<Record<EngineKind, readonly SamplingOption[]>> = {
  llama: SAMPLING_OPTIONS,
  onnx: [],
  upstream: [],
  echo: SAMPLING_OPTIONS,
}

/** How answers go on, until the engine has found out: behind text where that is all that may be counted on. */
const CONTINUES: Readonly<Record<EngineKind, LoadedModel['continues']>> = {
  llama: 'ids',
  onnx: undefined,
  upstream: 'text',
  echo: 'ids',
}

export interface ModelHostComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly createEngine: CreateEngine
  readonly measurements: Measurements
  /** Resolves when the hardware has been probed. */
  readonly hardwareFingerprint: () => Promise<string>
  /** Whether this node may serve now, as its owner and the policy say; always when absent. */
  readonly isOpen?: () => boolean
  /** What other programs take of the processors; not known when absent. */
  readonly watchOthers?: WatchOthers
  /** What an answer of a model costs in energy; nothing is said of it when absent. */
  readonly energy?: EnergyOfModel
  /** Those who use other models of this node; nobody when absent. */
  readonly company?: Company
  /** What is announced about the model changed. */
  readonly onCapability: () => void
  /** Its load changed. */
  readonly onLoad: () => void
  /** It cannot be loaded, and will not be tried again. */
  readonly onProblem: (error: SkeinError) => void
  /** It is on the disk, and somebody waits for it. */
  readonly onWanted: (host: ModelHost) => void
  /** The last slot was given back. */
  readonly onIdle: (host: ModelHost) => void
}

export interface ModelHostInit {
  readonly slots?: number
  readonly threads?: number
  readonly contextTokens?: number
  /** Where engines keep KV states, each in a folder of its own; nowhere when absent. */
  readonly kvStates?: KvStatesPlace
}

/** The right to run one attempt, or one piece of work; `release` may be called more than once. */
export interface Slot {
  /** What the attempt showed of the model's speed; before `release`. */
  showed(speed: DeliveredSpeed): void
  release(): void
}

export class ModelHost {
  readonly file: ModelFile
  readonly #components: ModelHostComponents
  readonly #init: ModelHostInit
  readonly #log: Logger
  readonly #stopping = new AbortController()
  readonly #waiters = new Waiters()
  #engine: Engine | undefined
  #loaded: LoadedModel | undefined
  #isResident = false
  #failure: SkeinError | undefined
  #share = 0
  #loadMs: number
  readonly #speed: SpeedKeeper
  readonly #company: Company
  #running = 0
  #crash: SkeinError | undefined
  #loop: Promise<void> | undefined
  /** Ends with `rest`. */
  #residence: AbortController | undefined
  /** Why it is not loaded for those who wait now. */
  #refusal: SkeinError | undefined
  #lastUsedMs: number

  constructor(components: ModelHostComponents, file: ModelFile, init: ModelHostInit) {
    this.file = file
    this.#components = components
    this.#init = init
    this.#log = components.log.scope('model', { model: file.aliases[0] })
    this.#loadMs = LOAD_MS_LEAST + file.sizeBytes / LOAD_BYTES_PER_MS
    this.#lastUsedMs = components.clock.nowMs()
    this.#company = components.company ?? new Company()
    this.#speed = this.#createSpeed()
  }

  #createSpeed(): SpeedKeeper {
    const { clock, measurements, hardwareFingerprint, energy, onCapability } = this.#components
    const { isOpen = () => true, watchOthers = async () => async () => undefined } = this.#components
    return new SpeedKeeper(
      {
        ...{ clock, measurements, hardwareFingerprint, isOpen, watchOthers, energy },
        log: this.#log,
        company: this.#company,
        subject: () => this.#subject(),
        onSpeed: onCapability,
        onSettled: () => this.#waiters.notify(),
        onCrash: (engine, error) => this.crashed(engine, error),
      },
      this.file.digest,
    )
  }

  #subject(): Subject | undefined {
    const [engine, loaded] = [this.#engine, this.#loaded]
    const isMeasurable = this.isGenerator && !this.file.isOnDemand
    if (!this.#isResident || engine === undefined || loaded === undefined) return undefined
    return isMeasurable && this.#running === 0 ? { engine, loaded } : undefined
  }

  get isResident(): boolean {
    return this.#isResident
  }

  get residency(): ModelCapability['residency'] {
    if (this.#isResident) return 'resident'
    return this.#loop === undefined ? 'disk' : 'loading'
  }

  /** Monotonic, in ms: when its last slot was given back, or when it was found. */
  get lastUsedMs(): number {
    return this.#lastUsedMs
  }

  /** What its engine's process takes now; 0 unless it is resident. */
  get memoryBytes(): number {
    return this.#isResident ? this.#engine!.stats().memoryBytes : 0
  }

  /** Why it is not loaded and will not be. */
  get failure(): SkeinError | undefined {
    return this.#failure
  }

  /** 0 to 1 while it is loaded. */
  get loadedShare(): number {
    return this.#share
  }

  get slots(): number {
    return this.#loaded?.slots ?? this.#init.slots ?? SLOTS[this.file.engine]
  }

  get running(): number {
    return this.#running
  }

  /** Whether it makes text: as its file promises, until it was loaded. */
  get isGenerator(): boolean {
    const { isGenerator, engine } = this.file
    return this.#loaded ? this.#loaded.isGenerator !== false : (isGenerator ?? engine !== 'onnx')
  }

  get load(): LoadReport['models'][number] {
    const stats = this.#isResident ? this.#engine!.stats() : undefined
    const pending = this.#running > 0 ? (stats?.prefillTokensPending ?? 0) : 0
    return {
      digest: this.file.digest,
      running: this.#running,
      prefillTokensPending: Math.max(0, Math.round(pending)),
      ...(stats?.server && this.#serverLoad(stats.server)),
    }
  }

  /** A server that others use too, or that has no memory for more, has fewer slots for us. */
  #serverLoad({ others, isFull, waiting, kvUse }: ServerStats): Partial<LoadReport['models'][number]> {
    const running = isFull ? this.slots : Math.min(this.slots, this.#running + others)
    return { running: Math.max(this.#running, running), waiting, ...(kvUse !== undefined && { kvUse }) }
  }

  get capability(): ModelCapability {
    const { file } = this
    const loaded = this.#loaded
    const claimed = this.#init.contextTokens ?? file.contextTokens
    const options = this.isGenerator ? (file.options ?? OPTIONS[file.engine]) : []
    const continues = this.isGenerator ? (loaded?.continues ?? CONTINUES[file.engine]) : undefined
    return {
      digest: file.digest,
      aliases: file.aliases.slice(0, 8),
      engine: file.engine,
      quantization: (loaded?.quantization ?? file.quantization).slice(0, 32),
      parameters: loaded?.parameters ?? file.parameters,
      sizeBytes: loaded?.sizeBytes ?? file.sizeBytes,
      contextTokens: Math.max(1, loaded?.contextTokens ?? claimed),
      features: [
        ...(this.isGenerator && (loaded?.hasChatTemplate ?? file.hasChatTemplate) ? (['chat'] as const) : []),
        ...(this.isGenerator ? (['completion'] as const) : []),
        ...(loaded?.features ?? file.features ?? FEATURES[file.engine]),
      ],
      ...(options.length > 0 && { options: [...options] }),
      ...(Object.keys(file.sampling).length > 0 && { sampling: file.sampling }),
      ...(file.thinking && { thinking: file.thinking }),
      ...(file.readsClock !== undefined && { readsClock: file.readsClock }),
      residency: this.residency,
      loadMs: this.#loadMs,
      slots: this.slots,
      ...(this.#speed.speed && { speed: this.#speed.speed }),
      ...(continues && { continues }),
      numerics: loaded?.numerics ?? { engineBuild: '', flashAttention: false, batchTokens: 0, threads: 0 },
    }
  }

  /** Loads it, and keeps it loaded. */
  start(): void {
    if (this.#loop !== undefined || this.#stopping.signal.aborted || this.#failure !== undefined) return
    const residence = (this.#residence = new AbortController())
    this.#refusal = undefined
    this.#loop = this.#keepResident(AbortSignal.any([residence.signal, this.#stopping.signal])).then(() => {
      this.#loop = undefined
      this.#components.onCapability()
      // who came while it was being unloaded
      if (this.#running > 0 && this.#failure === undefined && !this.#stopping.signal.aborted)
        this.#components.onWanted(this)
    })
  }

  /** Unloads it, when nobody uses it; it can be started again. Says whether it did. Bounded, does not throw. */
  async rest(): Promise<boolean> {
    if (this.#running > 0 || this.#loop === undefined) return false
    // at once: who comes from now on waits for it to be loaded again
    this.#isResident = false
    this.#residence!.abort(new SkeinError('ENGINE_FAILED', 'the model is being unloaded'))
    await this.#loop
    return true
  }

  /** Whoever waits for it to be loaded gets this error: it cannot be now. */
  refuse(error: SkeinError): void {
    if (this.#loop !== undefined) return
    this.#refusal = error
    this.#waiters.notify()
  }

  /** A slot, or `undefined` when none is free. A measurement gives way. */
  acquire(): Slot | undefined {
    if (this.#running >= this.slots || this.#failure || this.#stopping.signal.aborted) return undefined
    this.#running++
    this.#speed.giveWay(new SkeinError('NO_FREE_SLOT', 'a request came'))
    const presence = this.#company.enter()
    const showed = this.#speed.watch(presence)
    this.#components.onLoad()
    if (this.#loop === undefined) {
      this.#refusal = undefined
      this.#components.onWanted(this)
    }
    let held = true
    return {
      showed,
      release: () => {
        if (!held) return
        held = false
        this.#running--
        presence.leave()
        this.#lastUsedMs = this.#components.clock.nowMs()
        this.#waiters.notify()
        this.#components.onLoad()
        this.#speed.whenIdle()
        if (this.#running === 0) this.#components.onIdle(this)
      },
    }
  }

  /**
   * The engine, once it is loaded and not busy measuring.
   *
   * @throws SkeinError why it will not be, or cannot be now; the signal's reason.
   */
  ready(signal: AbortSignal): Promise<Engine> {
    return this.#waiters.until(
      () => {
        const reason = this.#failure ?? this.#refusal
        if (reason) throw reason
        return this.#isResident && !this.#speed.isMeasuring ? this.#engine : undefined
      },
      AbortSignal.any([signal, this.#stopping.signal]),
    )
  }

  /** Resolves when it is in memory. @throws SkeinError why it will not be; the signal's reason. */
  async resident(signal: AbortSignal): Promise<void> {
    await this.#waiters.until(
      () => {
        if (this.#failure) throw this.#failure
        return this.#isResident ? true : undefined
      },
      AbortSignal.any([signal, this.#stopping.signal]),
    )
  }

  /** Resolves when a slot is free. @throws the signal's reason. */
  async slotFree(signal: AbortSignal): Promise<void> {
    await this.#waiters.until(() => (this.#running < this.slots ? true : undefined), signal)
  }

  /**
   * `engine` is dead: it said so, or an attempt found out. It is loaded again. Said again, or of an engine that was
   * replaced, it changes nothing.
   */
  crashed(engine: Engine, error: SkeinError): void {
    if (engine !== this.#engine || this.#crash) return
    this.#crash = error
    // a load that it ended fails by itself
    if (!this.#isResident) return
    this.#log.error({ err: error }, 'the engine crashed; loading it again')
    this.#isResident = false
    this.#waiters.notify()
    this.#components.onCapability()
  }

  /** Unloads; attempts that still run there end with an error. Bounded, does not throw. */
  async stop(): Promise<void> {
    const stopped = new SkeinError('NODE_DRAINING', 'the node is stopping')
    this.#stopping.abort(stopped)
    const settled = this.#speed.stop(stopped)
    this.#waiters.notify()
    await this.#loop
    await settled
  }

  /** Load, wait for a crash, back off, again, until `signal` aborts or it is beyond hope. Does not throw. */
  async #keepResident(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#components
    for (let failures = 0; !signal.aborted;) {
      const beganMs = clock.nowMs()
      try {
        await this.#loadOnce(signal)
        await this.#waiters.until(() => this.#crash, signal)
      } catch (thrown) {
        if (!signal.aborted && this.#isHopeless(asSkeinError(thrown, 'MODEL_LOAD_FAILED'))) break
      }
      await this.#letGo()
      if (signal.aborted) break
      failures = clock.nowMs() - beganMs > HEALTHY_MS ? 1 : failures + 1
      const delayMs = Math.min(RELOAD_MS_MAX, RELOAD_MS_MIN * 2 ** (failures - 1)) * (0.5 + random.next() / 2)
      await sleep(clock, delayMs, signal).catch(() => {})
    }
    await this.#letGo()
  }

  async #loadOnce(signal: AbortSignal): Promise<void> {
    const { clock, log, createEngine } = this.#components
    const { slots, threads, contextTokens, kvStates } = this.#init
    const beganMs = clock.nowMs()
    this.#share = 0
    const engine: Engine = createEngine(this.file.engine, {
      clock,
      log,
      onExit: (error) => this.crashed(engine, error),
      onLoad: () => this.#components.onLoad(),
    })
    this.#engine = engine
    const request = {
      path: this.file.path,
      digest: this.file.digest,
      slots: slots ?? SLOTS[this.file.engine],
      ...(threads === undefined ? {} : { threads }),
      ...(contextTokens === undefined ? {} : { contextTokens }),
      ...(kvStates !== undefined && this.file.engine === 'llama' && kvStates.bytesMax > 0 && { kvStates }),
      ...(this.file.adapters && { adapters: this.file.adapters }),
    }
    const loading = engine.load(request, (share) => (this.#share = Math.min(1, Math.max(0, share))))
    this.#loaded = await Promise.race([loading, aborted(signal)])
    if (this.#crash) throw this.#crash
    this.#loadMs = clock.nowMs() - beganMs
    this.#isResident = true
    this.#share = 1
    this.#log.info({ loadMs: Math.round(this.#loadMs), contextTokens: this.#loaded.contextTokens }, 'resident')
    this.#waiters.notify()
    this.#components.onCapability()
    this.#speed.whenIdle(true)
  }

  /** Whether loading again is of no use: the file or this machine would have to change. */
  #isHopeless(error: SkeinError): boolean {
    if (error.row.retryable) {
      this.#log.error({ code: error.code }, error.message)
      return false
    }
    this.#failure = error
    this.#waiters.notify()
    this.#components.onProblem(error)
    this.#components.onCapability()
    return true
  }

  async #letGo(): Promise<void> {
    const engine = this.#engine
    this.#engine = undefined
    this.#crash = undefined
    this.#isResident = false
    this.#speed.giveWay(new SkeinError('ENGINE_CRASHED', 'the engine is unloaded'))
    if (engine === undefined) return
    const late = (): SkeinError => new SkeinError('ENGINE_FAILED', `the engine did not unload within ${UNLOAD_MS} ms`)
    await withDeadline(this.#components.clock, UNLOAD_MS, late, undefined, (signal) =>
      Promise.race([engine.unload(), aborted(signal)]),
    ).catch((thrown: unknown) => this.#log.warn({ reason: asSkeinError(thrown).message }, 'unload failed'))
  }
}

/** Never resolves; rejects with the reason of `signal` when it aborts. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
