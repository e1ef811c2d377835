/** Readings of devices: held to what the device said of its capabilities, recorded, and only then acknowledged. */
import {
  asSkeinError,
  LIMITS,
  type DeviceDescriptor,
  type DeviceValue,
  type Reading,
} from '../../mesh/protocol/index.ts'
import type { Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import { checkValue, compactOfCode, type CapabilityRef, type CompactError, type MessageOf } from '../messages/index.ts'
import type { Tally } from '../ports/index.ts'
import type { DeviceStore } from '../store/index.ts'
import { learnt } from './learning.ts'
import type { Session } from './session.ts'

export interface TelemetryComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly tally: Tally
  readonly store: DeviceStore
  readonly onRecorded: (session: Session, readings: readonly Reading[]) => void
  readonly acknowledge: (session: Session, n: number) => void
  readonly refuse: (session: Session, error: CompactError) => void
}

export class Telemetry {
  readonly #components: TelemetryComponents
  /** Numbers of messages of devices that do not number them. */
  readonly #numbers = new WeakMap<Session, number>()

  constructor(components: TelemetryComponents) {
    this.#components = components
  }

  onTele(session: Session, { n, a, r, age = 0 }: MessageOf<'tele'>): void {
    const readings: Reading[] = []
    for (const [ref, value] of r) {
      const reading = this.#reading(session, ref, value, { n, age })
      if (reading) readings.push(reading)
    }
    this.#record(session, n, readings, a === true)
  }

  /** Of a device that does not describe itself: what it tells, it has. */
  onValues(session: Session, values: readonly (readonly [name: string, value: DeviceValue])[]): void {
    const n = (this.#numbers.get(session) ?? 0) + 1
    this.#numbers.set(session, n)
    const fresh = values.filter(
      ([name, value]) => session.capability(name) === undefined && this.#learn(session, name, value),
    )
    if (fresh.length > 0) this.describe(session)
    const readings = values.flatMap(([name, value]) => this.#reading(session, name, value, { n, age: 0 }) ?? [])
    if (readings.length > 0) this.#record(session, n, readings, false)
  }

  /** What the bridge makes of a device's readings. */
  onDerived(session: Session, values: readonly (readonly [name: string, value: DeviceValue])[]): void {
    const { clock, log, onRecorded, store, tally } = this.#components
    const readings = values.flatMap(([name, value]): Reading[] => {
      const capability = session.derived(name)
      const checked = capability && checkValue(capability, value)
      if (checked?.ok !== true) return []
      return [{ device: session.id, name, value: checked.value, atMs: clock.wallMs(), boot: session.boot, n: 0 }]
    })
    if (readings.length === 0) return
    if (session.writes >= LIMITS.deviceWritesPendingMax) return tally.count('derived_not_recorded')
    session.writes++
    store
      .derived(readings)
      .then(
        () => onRecorded(session, readings),
        (error: unknown) => {
          tally.count('derived_not_recorded')
          log.warn({ err: error, device: session.id }, 'what a model said of readings was not recorded')
        },
      )
      .finally(() => session.writes--)
  }

  /** Makes what is known of the device durable, for the report as well. */
  describe({ descriptor, boot }: Session): void {
    this.redescribe(descriptor, boot)
  }

  /** @param boot the device's newest: another one would count its readings anew. */
  redescribe(descriptor: DeviceDescriptor, boot: number): void {
    const { store, tally } = this.#components
    store.hello(descriptor, boot).catch((error: unknown) => {
      tally.count(compactOfCode(asSkeinError(error).code))
    })
  }

  #learn(session: Session, name: string, value: DeviceValue): boolean {
    return session.learn(learnt(name, 'sensor', value))
  }

  #reading(
    session: Session,
    ref: CapabilityRef,
    value: DeviceValue,
    { n, age }: { readonly n: number; readonly age: number },
  ): Reading | undefined {
    const { clock, tally } = this.#components
    const capability = session.capability(ref)
    if (capability === undefined) {
      tally.count('unknown_capability')
      return undefined
    }
    const checked = checkValue(capability, value)
    if (!checked.ok) {
      tally.count('out_of_range')
      return undefined
    }
    const atMs = Math.max(0, clock.wallMs() - 1000 * age)
    return { device: session.id, name: capability.name, value: checked.value, atMs, boot: session.boot, n }
  }

  #record(session: Session, n: number, readings: readonly Reading[], wantsAck: boolean): void {
    const { log, onRecorded, acknowledge, refuse, store, tally } = this.#components
    if (session.writes >= LIMITS.deviceWritesPendingMax) return refuse(session, 'rate_limited')
    session.writes++
    const record = async (): Promise<void> => {
      try {
        const isNew = await store.tele(session.id, session.boot, n, readings)
        if (isNew) onRecorded(session, readings)
        else tally.count('duplicate')
        if (wantsAck) acknowledge(session, n)
      } catch (error) {
        const failure = asSkeinError(error)
        log.warn({ err: error, device: session.id }, 'readings were not recorded')
        refuse(session, failure.code === 'DISK_FULL' ? 'storage_full' : compactOfCode(failure.code))
      } finally {
        session.writes--
      }
    }
    void record()
  }
}
