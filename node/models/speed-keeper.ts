/**
 * Measures one model while nobody uses it, and keeps what came out. A request never waits for a measurement: it gives way
 * and is made later. What answers show afterwards is held against it (`capability/drift.ts`); when that drifts, the model is
 * measured again, once nothing else runs on the machine and its owner's policy lets it serve.
 */
import {
  asSkeinError,
  SkeinError,
  type ModelDigest,
  type ModelEnergy,
  type ModelSpeed,
} from '../../mesh/protocol/index.ts'
import { sleep, type CancelTimer, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import {
  afterAnswer,
  hasDrifted,
  MEASURED_AGAIN_MS,
  measureModel,
  nextIntervalMs,
  NO_DRIFT,
  type DeliveredSpeed,
  type Drift,
  type MeasurementKey,
  type Measurements,
  type WatchOthers,
} from '../capability/index.ts'
import type { Engine, LoadedModel } from '../engines/index.ts'
import type { Company, Presence } from './company.ts'

const MEASUREMENTS_FAILED_MAX = 3
/** How long a model must be unused before it is measured after a request. */
const IDLE_BEFORE_MEASURE_MS = 2000
/** A measurement that had to give way, or found the machine busy, is tried again after this long. */
const TRY_AGAIN_MS = 60_000
/** How long the machine is watched before a model is measured again. */
const QUIET_MS = 1000
/** Of all processors, taken by other programs: of more, an answer tells nothing of the model. */
const OTHERS_SHARE_MAX = 0.15
/** Watching the machine costs some reads of small files: not for every answer. */
const WATCH_EVERY_MS = 10_000

/** What can be measured. */
export interface Subject {
  readonly engine: Engine
  readonly loaded: LoadedModel
}

/** What an answer of this model costs in energy. */
export interface EnergyOfModel {
  /** Without looking. */
  estimate(speed: ModelSpeed): ModelEnergy | undefined
  /** As `measureEnergy`. */
  measure(engine: Engine, speed: ModelSpeed, signal: AbortSignal): Promise<ModelEnergy | undefined>
}

export interface SpeedKeeperComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly measurements: Measurements
  /** Resolves when the hardware has been probed. */
  readonly hardwareFingerprint: () => Promise<string>
  readonly company: Company
  readonly watchOthers: WatchOthers
  /** Nothing is said of energy when absent. */
  readonly energy: EnergyOfModel | undefined
  /** Whether the owner's policy, and the owner, let this node serve now. */
  readonly isOpen: () => boolean
  /** The model as it is now; `undefined` unless it is loaded, unused, and of a kind that is measured. */
  readonly subject: () => Subject | undefined
  /** `speed` is another one now. */
  readonly onSpeed: () => void
  /** `isMeasuring` is false again. */
  readonly onSettled: () => void
  readonly onCrash: (engine: Engine, error: SkeinError) => void
}

export class SpeedKeeper {
  readonly #components: SpeedKeeperComponents
  readonly #digest: ModelDigest
  readonly #stopping = new AbortController()
  #speed: ModelSpeed | undefined
  #measuring: AbortController | undefined
  #failed = 0
  #cancelTimer: CancelTimer = () => {}
  /** The last measurement on its way to the disk. */
  #keeping: Promise<void> = Promise.resolve()
  #drift: Drift = NO_DRIFT
  /** It has drifted, and is to be measured again. */
  #isDue = false
  /** What it takes in energy is not measured yet, and may be. */
  #lacksEnergy = false
  #intervalMs = MEASURED_AGAIN_MS
  #notBeforeMs = Number.NEGATIVE_INFINITY
  #watchedAtMs = Number.NEGATIVE_INFINITY
  #isLooking = false

  constructor(components: SpeedKeeperComponents, digest: ModelDigest) {
    this.#components = components
    this.#digest = digest
  }

  get speed(): ModelSpeed | undefined {
    return this.#speed
  }

  get isMeasuring(): boolean {
    return this.#measuring !== undefined
  }

  /** A measurement that is under way is ended, and one that was to come is not made before `whenIdle`. */
  giveWay(reason: SkeinError): void {
    this.#cancelTimer()
    this.#measuring?.abort(reason)
  }

  /** The model was loaded, or its last user has left. @param isFresh nobody has used it since it was loaded. */
  whenIdle(isFresh = false): void {
    this.#cancelTimer()
    if (this.#stopping.signal.aborted || this.#components.subject() === undefined) return
    const isWanted = this.#speed === undefined || this.#isDue || this.#lacksEnergy
    if (!isWanted || this.#failed >= MEASUREMENTS_FAILED_MAX) return
    if (isFresh) void this.#measure()
    else this.#inMs(IDLE_BEFORE_MEASURE_MS)
  }

  /** An answer begins, which may show something. Gives what is called when it has. */
  watch(presence: Presence): (shown: DeliveredSpeed) => void {
    const { clock, watchOthers } = this.#components
    const nowMs = clock.nowMs()
    const speed = this.#speed
    const isOfUse = speed !== undefined && !this.#isDue && presence.wasAlone
    if (!isOfUse || nowMs - this.#watchedAtMs < WATCH_EVERY_MS) return () => {}
    this.#watchedAtMs = nowMs
    const watching = watchOthers().catch(() => undefined)
    return (shown) => {
      if (presence.wasAlone) void this.#judge(speed, shown, watching)
    }
  }

  /** Bounded, does not throw. */
  async stop(reason: SkeinError): Promise<void> {
    this.#stopping.abort(reason)
    this.giveWay(reason)
    await this.#keeping
  }

  /** Does not throw. */
  async #judge(
    speed: ModelSpeed,
    shown: DeliveredSpeed,
    watching: Promise<(() => Promise<number | undefined>) | undefined>,
  ): Promise<void> {
    const { clock, log } = this.#components
    if (!(await isQuiet(await watching)) || this.#speed !== speed || this.#isDue) return
    this.#drift = afterAnswer(this.#drift, speed, shown)
    if (!hasDrifted(this.#drift) || clock.nowMs() < this.#notBeforeMs) return
    log.info({ ...this.#drift }, 'answers come at another speed than was measured; to be measured again')
    this.#isDue = true
    this.whenIdle()
  }

  #inMs(delayMs: number): void {
    this.#cancelTimer()
    if (this.#stopping.signal.aborted) return
    this.#cancelTimer = this.#components.clock.timer(delayMs, () => void this.#measure())
  }

  /** Takes the kept measurement, or makes one. Does not throw. */
  async #measure(): Promise<void> {
    const subject = this.#components.subject()
    if (subject === undefined || this.isMeasuring || this.#isLooking) return
    const { measurements, clock } = this.#components
    const key = await this.#keyOf(subject.loaded)
    const kept = this.#speed === undefined ? measurements.get(key) : undefined
    if (kept) this.#takeKept(kept)
    if (this.#isDue) {
      const earlyMs = this.#notBeforeMs - clock.nowMs()
      if (earlyMs > 0) return this.#inMs(earlyMs)
      if (!(await this.#isMachineQuiet())) return this.#inMs(TRY_AGAIN_MS)
    }
    // Looked at again: the fingerprint, and the look at the machine, may have taken their time.
    if (this.#components.subject()?.engine !== subject.engine || this.isMeasuring) return
    if (this.#speed === undefined || this.#isDue || this.#lacksEnergy) await this.#run(subject, key)
  }

  /** What was measured in an earlier life. Energy that was not metered then may be now. */
  #takeKept(kept: ModelSpeed): void {
    const { energy, onSpeed } = this.#components
    const isMetered = kept.energy !== undefined && kept.energy.source !== 'owner' && kept.energy.source !== 'estimated'
    const { energy: _, ...speed } = kept
    this.#speed = isMetered ? kept : this.#withEnergy(speed, energy?.estimate(speed))
    this.#lacksEnergy = energy !== undefined && !isMetered
    onSpeed()
  }

  #withEnergy(speed: ModelSpeed, energy: ModelEnergy | undefined): ModelSpeed {
    return energy === undefined ? speed : { ...speed, energy }
  }

  async #keyOf({ numerics, slots }: LoadedModel): Promise<MeasurementKey> {
    const hardwareFingerprint = await this.#components.hardwareFingerprint()
    const { engineBuild, threads } = numerics
    return { digest: this.#digest, hardwareFingerprint, engineBuild, threads, slots }
  }

  /** Nothing runs here, nothing is measured, the policy is open, and for a while no other program took much. */
  async #isMachineQuiet(): Promise<boolean> {
    const { clock, company, isOpen, watchOthers } = this.#components
    const isFree = (): boolean => company.running === 0 && !company.isMeasuring && isOpen()
    if (!isFree()) return false
    this.#isLooking = true
    try {
      const watching = await watchOthers().catch(() => undefined)
      await sleep(clock, QUIET_MS, this.#stopping.signal).catch(() => {})
      return (await isQuiet(watching)) && isFree() && !this.#stopping.signal.aborted
    } finally {
      this.#isLooking = false
    }
  }

  async #run({ engine, loaded }: Subject, key: MeasurementKey): Promise<void> {
    const { clock, company, energy, log, onCrash, onSettled } = this.#components
    const measuring = (this.#measuring = new AbortController())
    const before = this.#speed
    // the first one gives way to its own model alone: until then nobody knows what to expect of it
    const over = company.measure(() => {
      if (this.#speed) measuring.abort(new SkeinError('NO_FREE_SLOT', 'a request came'))
    })
    try {
      if (before === undefined || this.#isDue) {
        const speed = await measureModel(engine, clock, { slots: loaded.slots, signal: measuring.signal })
        this.#measuredAgain(before, speed)
        this.#lacksEnergy = energy !== undefined
        this.#keep(key, this.#withEnergy(speed, energy?.estimate(speed)))
      }
      await this.#runForEnergy(engine, key, measuring.signal)
    } catch (thrown) {
      const error = asSkeinError(thrown, 'ENGINE_FAILED')
      if (error.code === 'ENGINE_CRASHED') onCrash(engine, error)
      if (!measuring.signal.aborted) {
        this.#failed++
        log.warn({ code: error.code }, `not measured: ${error.message}`)
      }
      if (this.#isDue) this.#putOff(measuring.signal.aborted)
    } finally {
      over()
      this.#measuring = undefined
      onSettled()
    }
  }

  /** Announces it, and writes it down. */
  #keep(key: MeasurementKey, speed: ModelSpeed): void {
    const { log, measurements, onSpeed } = this.#components
    this.#speed = speed
    log.info({ speed }, 'measured')
    this.#keeping = measurements.put(key, speed)
    onSpeed()
  }

  /** Once for each measurement; one that gives way is made when the model is idle again. @throws as `measureEnergy`. */
  async #runForEnergy(engine: Engine, key: MeasurementKey, signal: AbortSignal): Promise<void> {
    const speed = this.#speed
    if (!this.#lacksEnergy || speed === undefined) return
    try {
      const energy = await this.#components.energy?.measure(engine, speed, signal)
      this.#lacksEnergy = false
      if (energy !== undefined) this.#keep(key, { ...speed, energy })
    } catch (thrown) {
      this.#lacksEnergy = signal.aborted
      throw thrown
    }
  }

  #measuredAgain(before: ModelSpeed | undefined, now: ModelSpeed): void {
    if (before) this.#intervalMs = nextIntervalMs(this.#intervalMs, before, now)
    this.#notBeforeMs = this.#components.clock.nowMs() + this.#intervalMs
    this.#isDue = false
    this.#failed = 0
    this.#drift = NO_DRIFT
  }

  /** One that gave way is made soon; one that failed is no more than one that was made. */
  #putOff(gaveWay: boolean): void {
    const waitMs = gaveWay ? TRY_AGAIN_MS : this.#intervalMs
    this.#notBeforeMs = this.#components.clock.nowMs() + waitMs
    if (!gaveWay) {
      this.#isDue = false
      this.#drift = NO_DRIFT
    } else this.#inMs(waitMs)
  }
}

/** Where the system does not tell what others take, what is seen is believed. */
async function isQuiet(watching: (() => Promise<number | undefined>) | undefined): Promise<boolean> {
  const share = await watching?.().catch(() => undefined)
  return share === undefined || share <= OTHERS_SHARE_MAX
}
