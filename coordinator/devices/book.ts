/**
 * Which devices there are, as far as it is durable, and what a report of a bridge makes of that. A report is first turned into
 * a change, which is recorded, and applied here when it is: nobody is told of what a crash could take back.
 */
import { LIMITS, type BridgeReport, type DeviceCapability, type Reading } from '../../mesh/protocol/index.ts'
import type { DeviceChange, DeviceSnapshot, StoredDesire, StoredDevice, StoredReading } from './store.ts'

interface Entry {
  device: StoredDevice
  /** By capability. */
  readonly last: Map<string, StoredReading>
  desired: readonly StoredDesire[]
}

/** A change, and what of the report is not in it. */
export interface Judged {
  readonly change: DeviceChange
  /** Readings and states of devices that this bridge does not have, or of capabilities that the device does not have. */
  readonly dropped: number
}

export class DeviceBook {
  readonly #entries = new Map<string, Entry>()
  readonly #recorded = new Map<string, number>()

  load({ bridges, devices, last, desired }: DeviceSnapshot): void {
    for (const { bridge, recorded } of bridges) this.#recorded.set(bridge, recorded)
    for (const device of devices) this.#entries.set(device.descriptor.id, { device, last: new Map(), desired: [] })
    for (const reading of last) this.#entries.get(reading.device)?.last.set(reading.name, reading)
    for (const desire of desired) {
      const entry = this.#entries.get(desire.device)
      if (entry) entry.desired = [...entry.desired, desire]
    }
  }

  /** Number of the newest report of the bridge; 0 of one that has sent none. */
  recorded(bridge: string): number {
    return this.#recorded.get(bridge) ?? 0
  }

  /** Names of the bridges that ever reported. */
  bridges(): string[] {
    return [...this.#recorded.keys()]
  }

  isKnown(bridge: string): boolean {
    return this.#recorded.has(bridge)
  }

  get(id: string): StoredDevice | undefined {
    return this.#entries.get(id)?.device
  }

  /** By id. */
  all(): StoredDevice[] {
    return [...this.#entries.values()]
      .map(({ device }) => device)
      .toSorted((a, b) => (a.descriptor.id < b.descriptor.id ? -1 : 1))
  }

  capability(id: string, name: string): DeviceCapability | undefined {
    return this.get(id)?.descriptor.capabilities.find((each) => each.name === name)
  }

  last(id: string, name: string): StoredReading | undefined {
    return this.#entries.get(id)?.last.get(name)
  }

  lastOf(id: string): StoredReading[] {
    return [...(this.#entries.get(id)?.last.values() ?? [])]
  }

  desiredOf(id: string): readonly StoredDesire[] {
    return this.#entries.get(id)?.desired ?? []
  }

  /** Once it is durable. */
  desire(id: string, desired: readonly StoredDesire[]): void {
    const entry = this.#entries.get(id)
    if (entry) entry.desired = desired
  }

  /** What `report` changes, had at `nowMs`. What it says of calls is not looked at. */
  judge(report: BridgeReport, nowMs: number): Judged {
    const { bridge, seq, devices, states, readings } = report
    const changed = new Map<string, StoredDevice>()
    const gone = new Set(report.gone.filter((id) => this.get(id)?.bridge === bridge))
    let room = LIMITS.devicesMax - this.#entries.size
    let dropped = report.gone.length - gone.size
    for (const descriptor of devices) {
      const known = this.get(descriptor.id)
      if (known === undefined && --room < 0) dropped++
      else {
        gone.delete(descriptor.id)
        const begin = { state: 'init', stateAtMs: nowMs, joinedAtMs: nowMs, readings: 0 } as const
        changed.set(descriptor.id, { ...(known ?? begin), descriptor, bridge })
      }
    }
    const own = (id: string): StoredDevice | undefined => {
      const device = changed.get(id) ?? this.get(id)
      return device?.bridge === bridge && !gone.has(id) ? device : undefined
    }
    for (const { device: id, state, atMs } of states) {
      const device = own(id)
      if (device === undefined) dropped++
      else if (device.state !== state) changed.set(id, { ...device, state, stateAtMs: Math.min(atMs, nowMs) })
    }
    const kept = readings.flatMap((reading) => {
      const device = own(reading.device)
      if (device?.descriptor.capabilities.some(({ name }) => name === reading.name) !== true) return []
      changed.set(reading.device, { ...device, readings: device.readings + 1 })
      return [storedReading(reading, nowMs)]
    })
    dropped += readings.length - kept.length
    const base = { bridge, recorded: seq, devices: [...changed.values()], gone: [...gone], readings: kept, ends: [] }
    return { change: { ...base, last: this.newest(kept) }, dropped }
  }

  /** Of `readings` those that become the last values. */
  newest(readings: readonly StoredReading[]): StoredReading[] {
    const newest = new Map<string, StoredReading>()
    for (const reading of readings) {
      const { device, name, atMs } = reading
      const before = newest.get(`${device} ${name}`) ?? this.last(device, name)
      // what comes late is older than what is known
      if (before === undefined || atMs >= before.atMs) newest.set(`${device} ${name}`, reading)
    }
    return [...newest.values()]
  }

  /** Once `change` is durable. */
  apply({ bridge, recorded, devices, gone, last }: DeviceChange): void {
    this.#recorded.set(bridge, recorded)
    for (const device of devices) {
      const { id } = device.descriptor
      const entry = this.#entries.get(id)
      if (entry) entry.device = device
      else this.#entries.set(id, { device, last: new Map(), desired: [] })
    }
    for (const reading of last) this.#entries.get(reading.device)?.last.set(reading.name, reading)
    for (const id of gone) this.#entries.delete(id)
  }
}

/** No clock of a board is believed to be ahead: later values would seem older. */
const storedReading = ({ device, name, value, atMs }: Reading, nowMs: number): StoredReading => ({
  device,
  name,
  value,
  atMs: Math.min(atMs, nowMs),
})
