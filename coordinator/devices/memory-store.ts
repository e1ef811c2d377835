/** The twin of the database: the same, for as long as the process lives. */
import { LIMITS } from '../../mesh/protocol/index.ts'
import type {
  CallsQuery,
  DeviceBounds,
  DeviceChange,
  DeviceSnapshot,
  DeviceStore,
  HistoryQuery,
  StoredCall,
  StoredDesire,
  StoredDevice,
  StoredReading,
} from './store.ts'
import type { StoredTask, StoredTaskCall, TaskAndCalls, TasksQuery } from './task-types.ts'

export const DEVICE_BOUNDS: DeviceBounds = {
  readingsPerDeviceMax: LIMITS.deviceReadingsPerDeviceMax,
  readingsMax: LIMITS.deviceReadingsMax,
  callsMax: LIMITS.deviceCallsKeptMax,
  tasksMax: LIMITS.deviceTasksKeptMax,
  taskCallsMax: LIMITS.deviceTaskCallsKeptMax,
}

export class MemoryDeviceStore implements DeviceStore {
  readonly #bounds: DeviceBounds
  readonly #bridges = new Map<string, number>()
  readonly #devices = new Map<string, StoredDevice>()
  readonly #last = new Map<string, StoredReading>()
  readonly #desired = new Map<string, readonly StoredDesire[]>()
  /** In the order of their making. */
  readonly #calls = new Map<string, StoredCall>()
  /** In the order of their making. */
  readonly #tasks = new Map<string, TaskAndCalls>()
  #readings: StoredReading[] = []

  constructor(bounds: DeviceBounds = DEVICE_BOUNDS) {
    this.#bounds = bounds
  }

  async load(): Promise<DeviceSnapshot> {
    return {
      bridges: Array.from(this.#bridges, ([bridge, recorded]) => ({ bridge, recorded })),
      devices: [...this.#devices.values()],
      last: [...this.#last.values()],
      desired: [...this.#desired.values()].flat(),
      open: [...this.#calls.values()].filter(({ end }) => end === undefined),
    }
  }

  async record({ bridge, recorded, devices, gone, readings, last, ends }: DeviceChange): Promise<void> {
    this.#bridges.set(bridge, recorded)
    for (const device of devices) this.#devices.set(device.descriptor.id, device)
    this.#readings.push(...readings)
    for (const reading of last) this.#last.set(`${reading.device} ${reading.name}`, reading)
    const isGone = new Set(gone)
    for (const id of gone) {
      this.#devices.delete(id)
      this.#desired.delete(id)
    }
    for (const [key, { device }] of this.#last) if (isGone.has(device)) this.#last.delete(key)
    if (gone.length > 0) this.#readings = this.#readings.filter(({ device }) => !isGone.has(device))
    for (const id of new Set(readings.map(({ device }) => device))) this.#trim(id)
    for (const { call, end } of ends) {
      const known = this.#calls.get(call)
      if (known) this.#calls.set(call, { ...known, end })
    }
  }

  async recordCall(call: StoredCall): Promise<void> {
    this.#calls.set(call.call, call)
  }

  async desire(device: string, desires: readonly StoredDesire[]): Promise<void> {
    this.#desired.set(device, desires)
  }

  async history({ device, name, sinceMs, limit }: HistoryQuery): Promise<StoredReading[]> {
    const found = this.#readings.filter(
      (each) => each.device === device && each.atMs >= sinceMs && (name === undefined || each.name === name),
    )
    return found.slice(-limit)
  }

  async calls({ device, limit }: CallsQuery): Promise<StoredCall[]> {
    const found = [...this.#calls.values()].filter((call) => device === undefined || call.device === device)
    return found.reverse().slice(0, limit)
  }

  async call(id: string): Promise<StoredCall | undefined> {
    return this.#calls.get(id)
  }

  async recordTask(task: StoredTask, calls: readonly StoredTaskCall[]): Promise<void> {
    const known = new Map(this.#tasks.get(task.task)?.calls.map((call) => [call.n, call]))
    for (const call of calls) known.set(call.n, call)
    const kept = [...known.values()].filter(({ n }) => n > task.calls - this.#bounds.taskCallsMax)
    this.#tasks.set(task.task, { task, calls: kept.toSorted((a, b) => a.n - b.n) })
  }

  async activeTasks(): Promise<TaskAndCalls[]> {
    return [...this.#tasks.values()].filter(({ task }) => task.end === undefined)
  }

  async task(id: string): Promise<TaskAndCalls | undefined> {
    return this.#tasks.get(id)
  }

  async tasks({ tenant, limit }: TasksQuery): Promise<StoredTask[]> {
    const all = [...this.#tasks.values()].map(({ task }) => task)
    return all
      .filter((task) => tenant === undefined || task.tenant === tenant)
      .toReversed()
      .slice(0, limit)
  }

  async sweep(readingsBeforeMs: number, callsBeforeMs: number): Promise<void> {
    const young = this.#readings.filter(({ atMs }) => atMs >= readingsBeforeMs)
    this.#readings = young.slice(Math.max(0, young.length - this.#bounds.readingsMax))
    const ended = [...this.#calls.values()].filter(({ end }) => end !== undefined)
    const surplus = ended.length - this.#bounds.callsMax
    for (const [index, { call, end }] of ended.entries())
      if (index < surplus || end!.endedAtMs < callsBeforeMs) this.#calls.delete(call)
    const endedTasks = [...this.#tasks.values()].filter(({ task }) => task.end !== undefined)
    const surplusTasks = endedTasks.length - this.#bounds.tasksMax
    for (const [index, { task }] of endedTasks.entries())
      if (index < surplusTasks || task.end!.endedAtMs < callsBeforeMs) this.#tasks.delete(task.task)
  }

  async close(): Promise<void> {}

  #trim(id: string): void {
    let surplus = this.#readings.filter(({ device }) => device === id).length - this.#bounds.readingsPerDeviceMax
    if (surplus > 0) this.#readings = this.#readings.filter(({ device }) => device !== id || surplus-- <= 0)
  }
}
