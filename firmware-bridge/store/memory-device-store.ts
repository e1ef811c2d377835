/** The memory twin of the devices' store: nothing outlives it. For tests of what stands on the port. */
import {
  LIMITS,
  SkeinError,
  type CallResult,
  type DeviceDescriptor,
  type DeviceStateReport,
  type Reading,
  type RuleReport,
} from '../../mesh/protocol/index.ts'
import type { Cancel, OutboxPart } from '../ports/index.ts'
import type { DeviceChange, DeviceStore, NewDevice, StoredCall, StoredDevice } from './device-store.ts'
import { PartBounds, partOf, type OutboxEntry } from './outbox-part.ts'

export class MemoryDeviceStore implements DeviceStore {
  readonly #devices = new Map<string, StoredDevice>()
  /** Of ended calls the expiry alone. */
  readonly #calls = new Map<string, StoredCall | number>()
  readonly #listeners = new Set<() => void>()
  #outbox: OutboxEntry[] = []
  #part: { readonly seq: number; readonly entries: number } = { seq: 0, entries: 0 }
  #command = 0
  #failure: SkeinError | undefined

  /** What writes fail with from now on; `undefined` mends it. */
  fail(error: SkeinError | undefined): void {
    this.#failure = error
  }

  devices(): Promise<StoredDevice[]> {
    return Promise.resolve([...this.#devices.values()])
  }

  async add(device: NewDevice): Promise<boolean> {
    await this.#disk()
    if (this.#devices.has(device.id)) return false
    this.#devices.set(device.id, { ...device, tele: 0 })
    return true
  }

  async change(id: string, { approval, ...change }: DeviceChange): Promise<boolean> {
    await this.#disk()
    const device = this.#devices.get(id)
    if (device === undefined) return false
    const { approval: former, ...rest } = { ...device, ...change }
    const kept = approval === undefined ? former : (approval ?? undefined)
    this.#devices.set(id, { ...rest, ...(kept && { approval: kept }) })
    return true
  }

  async remove(id: string): Promise<boolean> {
    await this.#disk()
    if (!this.#devices.delete(id)) return false
    this.#add({ kind: 'gone', payload: id })
    return true
  }

  async hello(descriptor: DeviceDescriptor, boot: number): Promise<void> {
    await this.#disk()
    const device = this.#devices.get(descriptor.id)
    if (device === undefined) return
    this.#devices.set(device.id, { ...device, descriptor, boot, tele: device.boot === boot ? device.tele : 0 })
    this.#add({ kind: 'device', payload: descriptor })
  }

  async describeAll(): Promise<void> {
    await this.#disk()
    for (const { descriptor, policy } of this.#devices.values())
      if (descriptor) this.#add({ kind: 'device', payload: { ...descriptor, policy } })
  }

  async tele(id: string, boot: number, n: number, readings: readonly Reading[]): Promise<boolean> {
    this.#checkRoom()
    await this.#disk()
    const device = this.#devices.get(id)
    if (device === undefined || device.boot !== boot || device.tele >= n) return false
    this.#devices.set(id, { ...device, tele: n })
    this.#add({ kind: 'readings', payload: readings })
    return true
  }

  async derived(readings: readonly Reading[]): Promise<void> {
    this.#checkRoom()
    await this.#disk()
    this.#add({ kind: 'readings', payload: readings })
  }

  async state(state: DeviceStateReport): Promise<void> {
    await this.#disk()
    this.#add({ kind: 'state', payload: state })
  }

  async ruled(reports: readonly RuleReport[]): Promise<void> {
    this.#checkRoom()
    await this.#disk()
    this.#add({ kind: 'rules', payload: reports })
  }

  nextCommand(): number {
    return ++this.#command
  }

  async addCall(stored: StoredCall): Promise<boolean> {
    await this.#disk()
    if (this.#calls.has(stored.call.call)) return false
    this.#calls.set(stored.call.call, stored)
    return true
  }

  async sendCall(call: string, cmd: number): Promise<boolean> {
    await this.#disk()
    const stored = this.#calls.get(call)
    if (typeof stored !== 'object' || stored.state !== 'waiting') return false
    this.#calls.set(call, { ...stored, state: 'sent', cmd })
    return true
  }

  async endCall(result: CallResult): Promise<boolean> {
    await this.#disk()
    const stored = this.#calls.get(result.call)
    if (typeof stored !== 'object') return false
    this.#calls.set(result.call, stored.call.expiresAtMs)
    this.#add({ kind: 'result', payload: result })
    return true
  }

  openCalls(): Promise<StoredCall[]> {
    const open = [...this.#calls.values()].filter((stored) => typeof stored === 'object')
    return Promise.resolve(open.sort((a, b) => (a.cmd ?? 0) - (b.cmd ?? 0)))
  }

  async purge(beforeMs: number): Promise<void> {
    await this.#disk()
    for (const [call, stored] of this.#calls)
      if (typeof stored === 'number' && stored < beforeMs) this.#calls.delete(call)
  }

  next(): Promise<OutboxPart | undefined> {
    if (this.#part.entries === 0) {
      const bounds = new PartBounds()
      const end = this.#outbox.findIndex((entry) => !bounds.take(entry, JSON.stringify(entry.payload).length))
      const entries = end < 0 ? this.#outbox.length : end
      if (entries === 0) return Promise.resolve(undefined)
      this.#part = { seq: this.#part.seq + 1, entries }
    }
    return Promise.resolve(partOf(this.#part.seq, this.#outbox.slice(0, this.#part.entries)))
  }

  async recorded(seq: number): Promise<void> {
    await this.#disk()
    if (seq < this.#part.seq) return
    this.#outbox = this.#outbox.slice(this.#part.entries)
    this.#part = { seq: this.#part.seq, entries: 0 }
  }

  async renumber(seq: number): Promise<void> {
    await this.#disk()
    this.#part = { seq, entries: 0 }
  }

  onPending(listener: () => void): Cancel {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** @throws SkeinError DISK_FULL. */
  #checkRoom(): void {
    if (this.#outbox.length >= LIMITS.bridgeOutboxMax)
      throw new SkeinError('DISK_FULL', `${this.#outbox.length} reports wait for the coordinator already`)
  }

  #add(entry: OutboxEntry): void {
    this.#outbox.push(entry)
    for (const listener of this.#listeners) listener()
  }

  /** As with a disk, nothing is done in the turn of the call. */
  async #disk(): Promise<void> {
    await Promise.resolve()
    if (this.#failure) throw this.#failure
  }
}
