/**
 * Readings of sensors through models: the newest ones of each watched sensor are kept here, a model looks at them from time
 * to time, and the device is told what it says. What it says is a reading too, of sensors `<capability>_anomaly` and
 * `<capability>_class`: for history, people and rules. A look that would have to wait is left out: the next one sees more.
 */
import { SkeinError, type DeviceCapability, type Reading } from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import type { BridgePart, Cancel, DeviceSessions, SessionView, Tally } from '../ports/index.ts'
import type { StreamRule } from './stream-rules.ts'

export interface SensorVerdict {
  readonly label: string
  /** 0 to 1. */
  readonly score: number
}

export interface SensorModels {
  /**
   * What `model` says of `values`, oldest first.
   *
   * @throws SkeinError the gateway's code, COORDINATOR_UNREACHABLE. The signal's reason.
   */
  look(
    model: string,
    device: string,
    values: readonly number[],
    window: number,
    signal: AbortSignal,
  ): Promise<SensorVerdict>
}

export interface SensorStreamsComponents {
  readonly sessions: DeviceSessions
  readonly models: SensorModels
  readonly clock: Clock
  readonly log: Logger
  readonly tally: Tally
}

/** Looks at once, over all sensors. */
const LOOKS_MAX = 8
/** Sensors that are watched; of a further one the window that grew longest ago is forgotten. */
const WINDOWS_MAX = 2048
/** Fewer readings say nothing. */
const READINGS_MIN = 8

interface Window {
  readonly rule: StreamRule
  readonly values: { readonly value: number; readonly atMs: number }[]
  lookedAtMs: number
  isLooking: boolean
  /** What the device was told last. */
  told: SensorVerdict | undefined
}

/** What a model says of `capability`, as sensors. None where their names would be longer than names may be. */
export function derivedOf(capability: string): DeviceCapability[] {
  if (capability.length > NAME_LENGTH_MAX - ANOMALY.length) return []
  return [
    { name: capability + ANOMALY, dir: 'sensor', type: 'number', min: 0, max: 1 },
    { name: capability + CLASS, dir: 'sensor', type: 'text' },
  ]
}

const ANOMALY = '_anomaly'
const CLASS = '_class'
/** Of a capability. */
const NAME_LENGTH_MAX = 31

export class SensorStreams implements BridgePart {
  readonly name = 'sensor streams'
  readonly #parts: SensorStreamsComponents
  readonly #rules: readonly StreamRule[]
  readonly #windows = new Map<string, Window>()
  readonly #stop = new AbortController()
  #looks = 0
  #cancel: Cancel = () => undefined

  constructor(components: SensorStreamsComponents, rules: readonly StreamRule[]) {
    this.#parts = components
    this.#rules = rules
  }

  /** Sensors of which there are readings. */
  get watched(): number {
    return this.#windows.size
  }

  start(): Promise<void> {
    const { sessions } = this.#parts
    const cancels = [
      sessions.onReadings((session, readings) => {
        for (const reading of readings) this.#take(session, reading)
      }),
      sessions.onPresence((session, change) => {
        if (change === 'boot') this.#describe(session)
      }),
    ]
    this.#cancel = () => cancels.forEach((cancel) => cancel())
    return Promise.resolve()
  }

  stop(): Promise<void> {
    this.#cancel()
    this.#stop.abort(new SkeinError('SHUTTING_DOWN', 'the bridge stops'))
    return Promise.resolve()
  }

  /** What is watched is described from the start: it would be gone, else, from each hello to the first look. */
  #describe({ id, descriptor }: SessionView): void {
    for (const { capability, device = id } of this.#rules)
      if (device === id && descriptor.capabilities.some(({ name }) => name === capability))
        this.#parts.sessions.derive(id, derivedOf(capability))
  }

  #take(session: SessionView, { device, name, value, atMs }: Reading): void {
    if (typeof value === 'string') return
    for (const [index, rule] of this.#rules.entries()) {
      if (rule.capability !== name || (rule.device ?? device) !== device) continue
      const key = `${device} ${index}`
      const window = this.#windows.get(key) ?? {
        rule,
        values: [],
        lookedAtMs: -Infinity,
        isLooking: false,
        told: undefined,
      }
      this.#windows.delete(key)
      this.#windows.set(key, window)
      if (this.#windows.size > WINDOWS_MAX) this.#windows.delete(this.#windows.keys().next().value!)
      push(window, Number(value), atMs)
      void this.#look(session, name, window)
    }
  }

  async #look(session: SessionView, name: string, window: Window): Promise<void> {
    const { clock, models, tally, log } = this.#parts
    const { rule, values } = window
    const isDue = clock.nowMs() - window.lookedAtMs >= rule.every * 1000
    if (!isDue || window.isLooking || values.length < Math.min(READINGS_MIN, rule.window)) return
    if (this.#looks >= LOOKS_MAX) return tally.count('stream_busy')
    window.lookedAtMs = clock.nowMs()
    window.isLooking = true
    this.#looks++
    try {
      const verdict = await models.look(
        rule.model,
        session.id,
        values.map(({ value }) => value),
        rule.window,
        this.#stop.signal,
      )
      this.#record(session.id, name, verdict)
      this.#tell(session.id, name, window, verdict)
    } catch (thrown) {
      if (this.#stop.signal.aborted) return
      tally.count('stream_failed')
      log.debug({ err: thrown, device: session.id, capability: name }, 'a model did not look at readings')
    } finally {
      window.isLooking = false
      this.#looks--
    }
  }

  #record(device: string, name: string, { label, score }: SensorVerdict): void {
    const { sessions } = this.#parts
    const derived = derivedOf(name)
    // of a board that does not describe itself the sensor is known by now
    sessions.derive(device, derived)
    sessions.record(
      device,
      derived.map(({ name: each, type }) => [each, type === 'number' ? rounded(score) : label] as const),
    )
  }

  #tell(device: string, name: string, window: Window, verdict: SensorVerdict): void {
    const { threshold, tell } = window.rule
    const isOver = verdict.score >= threshold
    const wasOver = window.told !== undefined && window.told.score >= threshold
    const isNews = tell === 'always' || isOver !== wasOver || (isOver && verdict.label !== window.told?.label)
    if (!isNews) return
    const { label } = verdict
    const sent = this.#parts.sessions.send(device, { kind: 'class', c: name, label, score: rounded(verdict.score) })
    // what did not reach it is news at the next look too
    if (sent === 'sent') window.told = verdict
    this.#parts.tally.count(sent === 'sent' ? 'stream_told' : `stream_${sent}`)
  }
}

const rounded = (score: number): number => Math.round(score * 1000) / 1000

/** Keeps the newest; clocks that went back count as the newest time there was. */
function push({ rule, values }: Window, value: number, atMs: number): void {
  const newestMs = Math.max(atMs, values.at(-1)?.atMs ?? atMs)
  values.push({ value, atMs: newestMs })
  const oldestMs = newestMs - 1000 * (rule.seconds ?? Number.POSITIVE_INFINITY)
  while (values.length > rule.window || values[0]!.atMs < oldestMs) values.shift()
}
