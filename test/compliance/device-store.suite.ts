/** What every store of devices does, whatever keeps it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type {
  DeviceBounds,
  DeviceChange,
  DeviceStore,
  StoredCall,
  StoredTask,
  StoredTaskCall,
} from '../../coordinator/devices/index.ts'
import type { DeviceDescriptor } from '../../mesh/protocol/index.ts'

export const BOUNDS: DeviceBounds = {
  ...{ readingsPerDeviceMax: 5, readingsMax: 8, callsMax: 2, tasksMax: 2, taskCallsMax: 3 },
}

export interface OpenedStore {
  readonly store: DeviceStore
  /** The same store, opened again; where it can be. */
  readonly reopen?: () => Promise<DeviceStore>
  readonly cleanUp: () => Promise<void>
}

const descriptor = (id: string): DeviceDescriptor => ({
  id,
  class: 'uno',
  firmware: '1.0',
  dialect: 'frames',
  rx: 128,
  sleeps: 0,
  capabilities: [{ name: 'temperature', dir: 'sensor', type: 'number', unit: 'C' }],
  policy: { read: true, act: 'confirm', ask: true, local_only: true },
})

const device = (id: string): DeviceChange['devices'][number] => ({
  descriptor: descriptor(id),
  bridge: 'house',
  state: 'ready',
  stateAtMs: 5,
  joinedAtMs: 1,
  readings: 0,
})

const NOTHING: DeviceChange = {
  ...{ bridge: 'house', recorded: 1, devices: [], gone: [], readings: [], last: [], ends: [] },
}
const reading = (id: string, value: number, atMs = value) => ({ device: id, name: 'temperature', value, atMs })
const call = (id: string, atMs: number): StoredCall => ({
  ...{ call: id, device: 'green', bridge: 'house', capability: 'vent', op: 'write', value: true },
  ...{ origin: 'api', tenant: 'local', atMs, expiresAtMs: atMs + 10 },
})

const task = (id: string, more: Partial<StoredTask> = {}): StoredTask => ({
  ...{ task: id, tenant: 'local', level: 'act', atMs: 1, pass: 0, nextAtMs: 1, calls: 0 },
  spec: { op: 'write', capability: 'vent', value: true, select: {}, count: 1, retry: 0, isConfirmed: true },
  ...more,
})
const taskCall = (n: number, more: Partial<StoredTaskCall> = {}): StoredTaskCall => ({
  ...{ task: 'a', n, pass: 1, device: 'green', call: `c${n}`, atMs: n },
  ...more,
})

export function deviceStoreSuite(name: string, open: (bounds: DeviceBounds) => Promise<OpenedStore>): void {
  describe(`the store of devices: ${name}`, () => {
    let opened: OpenedStore
    let store: DeviceStore
    beforeEach(async () => {
      opened = await open(BOUNDS)
      store = opened.store
    })
    afterEach(() => opened.cleanUp())

    it('is empty at first', async () => {
      expect(await store.load()).toEqual({ bridges: [], devices: [], last: [], desired: [], open: [] })
    })

    it('gives back what was recorded, also when it is opened again', async () => {
      const last = [reading('green', 20)]
      await store.record({ ...NOTHING, recorded: 7, devices: [device('green')], readings: last, last })
      await store.desire('green', [{ device: 'green', name: 'vent', value: true, atMs: 3 }])
      await store.recordCall(call('a', 1))
      const known = {
        bridges: [{ bridge: 'house', recorded: 7 }],
        devices: [device('green')],
        last,
        desired: [{ device: 'green', name: 'vent', value: true, atMs: 3 }],
        open: [call('a', 1)],
      }
      expect(await store.load()).toEqual(known)
      if (opened.reopen) expect(await (await opened.reopen()).load()).toEqual(known)
    })

    it('gives the newest readings, oldest first, by capability and time', async () => {
      const readings = [reading('green', 1), { ...reading('green', 2), name: 'humidity' }, reading('green', 3)]
      await store.record({ ...NOTHING, devices: [device('green')], readings })
      const ask = (query: object) => store.history({ device: 'green', sinceMs: 0, limit: 10, ...query })
      expect(await ask({})).toEqual(readings)
      expect(await ask({ limit: 2 })).toEqual(readings.slice(1))
      expect(await ask({ name: 'temperature' })).toEqual([readings[0], readings[2]])
      expect(await ask({ sinceMs: 3 })).toEqual([readings[2]])
      expect(await ask({ device: 'blue' })).toEqual([])
    })

    it('keeps so many readings of a device, and so many of all', async () => {
      const many = (id: string, count: number) => Array.from({ length: count }, (_, i) => reading(id, i))
      await store.record({ ...NOTHING, devices: [device('green'), device('blue')], readings: many('green', 7) })
      const values = async (id: string) =>
        (await store.history({ device: id, sinceMs: 0, limit: 100 })).map(({ value }) => value)
      expect(await values('green')).toEqual([2, 3, 4, 5, 6])
      await store.record({ ...NOTHING, readings: many('blue', 5) })
      await store.sweep(0, 0)
      expect(await values('green')).toEqual([4, 5, 6])
      expect(await values('blue')).toEqual([0, 1, 2, 3, 4])
      await store.sweep(4, 0)
      expect(await values('blue')).toEqual([4])
      await store.record({ ...NOTHING, readings: many('blue', 5) })
      expect(await values('blue')).toHaveLength(5)
    })

    it('forgets all of a device that is gone, but not its calls', async () => {
      const last = [reading('green', 1)]
      await store.record({ ...NOTHING, devices: [device('green')], readings: last, last })
      await store.desire('green', [{ device: 'green', name: 'vent', value: true, atMs: 3 }])
      await store.recordCall(call('a', 1))
      await store.record({ ...NOTHING, recorded: 2, gone: ['green'] })
      expect(await store.load()).toMatchObject({ devices: [], last: [], desired: [], open: [{ call: 'a' }] })
      expect(await store.history({ device: 'green', sinceMs: 0, limit: 10 })).toEqual([])
    })

    it('gives a call its end with the report that brings it, and lists calls newest first', async () => {
      for (const id of ['a', 'b', 'c']) await store.recordCall(call(id, 1))
      const end = { outcome: 'done', value: true, endedAtMs: 4 } as const
      await store.record({
        ...NOTHING,
        recorded: 3,
        ends: [
          { call: 'a', end },
          { call: 'none', end },
        ],
      })
      expect((await store.load()).open.map((each) => each.call)).toEqual(['b', 'c'])
      const calls = await store.calls({ device: 'green', limit: 10 })
      expect(calls.map((each) => each.call)).toEqual(['c', 'b', 'a'])
      expect(calls[2]).toEqual({ ...call('a', 1), end })
      expect(await store.calls({ limit: 1 })).toHaveLength(1)
      expect(await store.calls({ device: 'blue', limit: 10 })).toEqual([])
    })

    it('gives back a call by its id', async () => {
      await store.recordCall(call('a', 1))
      expect(await store.call('a')).toEqual(call('a', 1))
      expect(await store.call('b')).toBeUndefined()
    })

    it('gives back device tasks with their newest calls, also when it is opened again', async () => {
      await store.recordTask(task('a'), [])
      expect(await store.activeTasks()).toEqual([{ task: task('a'), calls: [] }])
      const running = task('a', { pass: 1, passAtMs: 2, calls: 2 })
      await store.recordTask(running, [taskCall(1), taskCall(2)])
      const end = { outcome: 'done', endedAtMs: 4, isSent: true } as const
      await store.recordTask(running, [taskCall(1, { end })])
      const known = { task: running, calls: [taskCall(1, { end }), taskCall(2)] }
      expect(await store.task('a')).toEqual(known)
      if (opened.reopen) store = await opened.reopen()
      expect(await store.activeTasks()).toEqual([known])
      await store.recordTask(task('a', { calls: 5 }), [taskCall(4), taskCall(5), taskCall(2, { call: 'again' })])
      expect((await store.task('a'))?.calls.map(({ n }) => n)).toEqual([4, 5])
      await store.recordTask(task('a', { calls: 4 }), [taskCall(4, { call: 'again' })])
      expect((await store.task('a'))?.calls.map((each) => each.call)).toEqual(['again', 'c5'])
      expect(await store.task('b')).toBeUndefined()
    })

    it('lists device tasks newest first, and forgets ended ones by time and number', async () => {
      const over = (endedAtMs: number) => ({ end: { outcome: 'done', endedAtMs } }) as const
      await store.recordTask(task('open', { tenant: 'other' }), [taskCall(1)])
      for (const [index, id] of ['a', 'b', 'c'].entries())
        await store.recordTask(task(id, { ...over(10 * index), calls: 1 }), [taskCall(1)])
      const ids = async (query: object = {}) => (await store.tasks({ limit: 9, ...query })).map((each) => each.task)
      expect(await ids()).toEqual(['c', 'b', 'a', 'open'])
      expect(await ids({ limit: 1 })).toEqual(['c'])
      expect(await ids({ tenant: 'other' })).toEqual(['open'])
      expect((await store.activeTasks()).map((each) => each.task.task)).toEqual(['open'])
      await store.sweep(0, 0)
      expect(await ids()).toEqual(['c', 'b', 'open'])
      expect(await store.task('a')).toBeUndefined()
      await store.sweep(0, 15)
      expect(await ids()).toEqual(['c', 'open'])
      expect((await store.task('c'))?.calls).toHaveLength(1)
    })

    it('forgets ended calls by time and number, and never an open one', async () => {
      await store.recordCall(call('open', 0))
      for (const [index, id] of ['a', 'b', 'c'].entries())
        await store.recordCall({ ...call(id, 1), end: { outcome: 'unknown', endedAtMs: 10 * index } })
      await store.sweep(0, 0)
      const left = async () => (await store.calls({ limit: 10 })).map((each) => each.call)
      expect(await left()).toEqual(['c', 'b', 'open'])
      await store.sweep(0, 15)
      expect(await left()).toEqual(['c', 'open'])
    })
  })
}
