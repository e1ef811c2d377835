/** Device tasks over the desk: durable before they act, never twice, and at their end whatever comes between. */
import { describe, expect, it } from 'vitest'
import {
  MemoryDeviceStore,
  type StoredCall,
  type StoredTask,
  type TaskSpec,
} from '../../../coordinator/devices/index.ts'
import { LIMITS, type DevicePolicy } from '../../../mesh/protocol/index.ts'
import { descriptorOf, World } from './support.ts'

const OWNER = { tenant: 'local', isAdmin: false }
const spec = (more: Partial<TaskSpec> = {}): TaskSpec => ({
  ...{ op: 'write', capability: 'vent', value: true, select: {}, count: 1, retry: 0, isConfirmed: false },
  ...more,
})
const make = async (world: World, more: Partial<TaskSpec> = {}, tenant = 'local'): Promise<string> => {
  const { task } = await world.devices.tasks.make({ spec: spec(more), tenant, level: 'act' })
  await world.settle()
  return task.task
}
const shown = async (world: World, id: string) => {
  await world.settle()
  return world.devices.tasks.get(id, OWNER)
}

/** Devices of these names, all ready. */
async function worldOf(ids: string[], policy: Partial<DevicePolicy> = {}, given = new World()): Promise<World> {
  await given.devices.start()
  given.connect()
  await given.report({
    devices: ids.map((id) => descriptorOf(id, policy)),
    states: ids.map((device) => ({ device, state: 'ready' as const, atMs: given.clock.wallMs() })),
  })
  return given
}

/** A coordinator that is started over what another has left. */
async function restarted({ store, clock }: World, isBridgeBack = true): Promise<World> {
  const again = new World(store, { clock })
  await again.devices.start()
  if (isBridgeBack) again.connect()
  await again.settle()
  await clock.advance(200)
  await again.settle()
  return again
}
const late = (world: World, call: string): Promise<number> =>
  world.report({ seq: 1000, results: [{ call, outcome: 'done', value: true, atMs: world.clock.wallMs() }] })

describe('a device task', () => {
  it('is durable before its call, which is recorded and sent once; then it is done', async () => {
    const order: string[] = []
    class Noting extends MemoryDeviceStore {
      override async recordTask(...given: Parameters<MemoryDeviceStore['recordTask']>): Promise<void> {
        order.push(given[1].some(({ end }) => end === undefined) ? 'task has call' : 'task')
        await super.recordTask(...given)
      }
      override async recordCall(...given: Parameters<MemoryDeviceStore['recordCall']>): Promise<void> {
        order.push('desk')
        await super.recordCall(...given)
      }
    }
    const world = await worldOf(['green'], {}, new World(new Noting()))
    const id = await make(world)
    expect(order).toEqual(['task', 'task has call', 'desk'])
    expect(world.calls).toMatchObject([{ device: 'green', capability: 'vent', op: 'write', value: true }])
    await world.answer({ outcome: 'done', value: true })
    const { task, calls } = await shown(world, id)
    expect(task.end).toMatchObject({ outcome: 'done' })
    expect(calls).toMatchObject([{ n: 1, device: 'green', end: { outcome: 'done', value: true } }])
    expect((await world.store.calls({ limit: 1 }))[0]).toMatchObject({ origin: 'task', task: id, call: calls[0]!.call })
    const told = world.events.flatMap((event) => (event.type === 'device.task' ? [[event.state, event.outcome]] : []))
    expect(told).toEqual([
      ['made', undefined],
      ['passed', 'done'],
      ['ended', 'done'],
    ])
    expect(world.devices.stats().tasks).toBe(0)
  })

  it('reaches all that are meant, and says of each that it did not', async () => {
    const world = await worldOf(['green', 'blue', 'red'])
    const id = await make(world, { count: 'all', retry: 3, ttlMs: 1000 })
    expect(world.calls.map(({ device }) => device)).toEqual(['blue', 'green', 'red'])
    const [blue, green] = world.calls
    await world.answer({ outcome: 'done' }, blue!.call)
    await world.answer({ outcome: 'failed', error: 'internal' }, green!.call)
    await world.settle()
    await world.clock.advance(1000)
    await world.clock.advance(2000)
    const { task } = await shown(world, id)
    expect(task).toMatchObject({
      end: { outcome: 'failed', error: '1 of 3 did it' },
      last: { reasons: { green: 'failed: internal', red: expect.stringMatching(/^unknown/) as string } },
    })
    expect(world.calls).toHaveLength(3)
  })

  it('goes to another device after one that certainly did nothing, and next time does not begin there', async () => {
    const world = await worldOf(['blue', 'green'])
    const id = await make(world, { retry: 1 })
    await world.answer({ outcome: 'expired' })
    await world.settle()
    expect(world.calls.map(({ device }) => device)).toEqual(['blue', 'green'])
    await world.answer({ outcome: 'done' })
    expect((await shown(world, id)).task.end).toMatchObject({ outcome: 'done' })
    await make(world)
    expect(world.calls.at(-1)!.device).toBe('green')
  })

  it('has a device to itself until its call has ended', async () => {
    const world = await worldOf(['green'])
    const [first, second] = [await make(world), await make(world, { value: false })]
    expect(world.calls).toHaveLength(1)
    await world.answer({ outcome: 'done' })
    await world.settle()
    expect(world.calls.map(({ value }) => value)).toEqual([true, false])
    await world.answer({ outcome: 'done' })
    for (const id of [first, second]) expect((await shown(world, id)).task.end).toMatchObject({ outcome: 'done' })
  })

  it('has it to itself also where another task wants it in the same moment', async () => {
    const world = await worldOf(['green'])
    const { tasks } = world.devices
    const one = { tenant: 'local', level: 'act' } as const
    await Promise.all([tasks.make({ spec: spec(), ...one }), tasks.make({ spec: spec({ value: false }), ...one })])
    await world.settle()
    expect(world.calls).toHaveLength(1)
    await world.answer({ outcome: 'done' })
    await world.clock.advance(200)
    await world.settle()
    expect(world.calls.map(({ value }) => value)).toEqual([true, false])
  })

  it('is of the device that it names, and of no other', async () => {
    const world = await worldOf(['blue', 'green'])
    await make(world, { select: { device: 'green' } })
    expect(world.calls).toMatchObject([{ device: 'green' }])
  })

  it('waits for room where tasks have as many calls under way as there may be', async () => {
    const half = LIMITS.deviceTaskCallsOpenMax / 2 + 8
    const world = await worldOf(Array.from({ length: 2 * half }, (_, n) => `d${n}`))
    await make(world, { count: half })
    await make(world, { count: half, value: false })
    expect(world.calls).toHaveLength(LIMITS.deviceTaskCallsOpenMax)
    await world.answer({ outcome: 'done' })
    await world.clock.advance(200)
    await world.settle()
    expect(world.calls).toHaveLength(LIMITS.deviceTaskCallsOpenMax + 1)
  })

  it('waits for a device that is away as long as it has patience', async () => {
    const world = await worldOf(['green'])
    const at = (state: 'lost' | 'ready') =>
      world.report({ states: [{ device: 'green', state, atMs: world.clock.wallMs() }] })
    await at('lost')
    const id = await make(world)
    expect(world.calls).toEqual([])
    await at('ready')
    await world.clock.advance(200)
    await world.settle()
    expect(world.calls).toHaveLength(1)
    await world.answer({ outcome: 'done' })
    expect((await shown(world, id)).task.end).toMatchObject({ outcome: 'done' })
    await at('lost')
    const hopeless = await make(world)
    await world.clock.advance(LIMITS.deviceTaskPatienceMs)
    expect((await shown(world, hopeless)).task).toMatchObject({
      end: { outcome: 'failed' },
      last: { reasons: { green: 'it is lost' } },
    })
  })

  it('goes on by its beat until it is cancelled; what was sent keeps its end', async () => {
    const world = await worldOf(['green'])
    const id = await make(world, { op: 'read', capability: 'temperature', value: undefined as never, everyMs: 5000 })
    for (const value of [20, 21]) {
      await world.answer({ outcome: 'done', value })
      await world.settle()
      await world.clock.advance(5000)
      await world.settle()
    }
    expect(world.calls).toHaveLength(3)
    const { task } = await world.devices.tasks.cancel(id, OWNER)
    expect(task.end).toMatchObject({ outcome: 'cancelled' })
    expect(world.messages.at(-1)).toEqual({ type: 'cancel', call: world.calls[2]!.call })
    await world.answer({ outcome: 'done', value: 22 })
    const { calls } = await shown(world, id)
    expect(calls.map(({ pass, end }) => [pass, end?.value])).toEqual([
      [1, 20],
      [2, 21],
      [3, 22],
    ])
    await world.clock.advance(60_000)
    expect(world.calls).toHaveLength(3)
    expect((await world.devices.tasks.cancel(id, OWNER)).task.end).toMatchObject({ outcome: 'cancelled' })
  })

  it('expires at its time', async () => {
    const world = await worldOf(['green'])
    const id = await make(world, { everyMs: 5000, untilMs: world.clock.wallMs() + 7000 })
    await world.answer({ outcome: 'done' })
    await world.settle()
    await world.clock.advance(7000)
    expect((await shown(world, id)).task).toMatchObject({ pass: 2, end: { outcome: 'expired' } })
  })

  it('does nothing that it could not record, and does it when it can', async () => {
    class Failing extends MemoryDeviceStore {
      isFull = false
      isFullOfCalls = true
      override recordTask(...given: Parameters<MemoryDeviceStore['recordTask']>): Promise<void> {
        const isFull = this.isFull || (this.isFullOfCalls && given[1].length > 0)
        return isFull ? Promise.reject(new TypeError('full')) : super.recordTask(...given)
      }
    }
    const store = new Failing()
    const world = await worldOf(['green'], {}, new World(store))
    const id = (await world.devices.tasks.make({ spec: spec(), tenant: 'local', level: 'act' })).task.task
    await world.settle()
    expect(world.calls).toEqual([])
    store.isFull = true
    await expect(world.devices.tasks.make({ spec: spec(), tenant: 'local', level: 'act' })).rejects.toThrow('full')
    await expect(world.devices.tasks.cancel(id, OWNER)).rejects.toThrow('full')
    store.isFull = store.isFullOfCalls = false
    await world.clock.advance(5000)
    await world.settle()
    expect(world.calls).toHaveLength(1)
    expect(world.devices.stats().tasks).toBe(1)
  })
})

describe('after a restart', () => {
  it('a call that was sent is not made again, and its result is taken', async () => {
    const world = await worldOf(['green'])
    const id = await make(world, { retry: 5 })
    const again = await restarted(world)
    expect(again.calls).toEqual([])
    await late(again, world.calls[0]!.call)
    expect((await shown(again, id)).task.end).toMatchObject({ outcome: 'done' })
    expect(again.calls).toEqual([])
  })

  it('a call that the desk never had is made, when its bridge is back', async () => {
    class Cut extends MemoryDeviceStore {
      isCut = true
      override recordCall(call: StoredCall): Promise<void> {
        return this.isCut ? new Promise(() => undefined) : super.recordCall(call)
      }
    }
    const store = new Cut()
    const world = await worldOf(['green'], {}, new World(store))
    const id = await make(world)
    expect(world.calls).toEqual([])
    store.isCut = false
    const again = await restarted(world, false)
    expect(again.calls).toEqual([])
    again.connect()
    await again.clock.advance(200)
    await again.settle()
    expect(again.calls).toHaveLength(1)
    await late(again, again.calls[0]!.call)
    const { task, calls } = await shown(again, id)
    expect(task.end).toMatchObject({ outcome: 'done' })
    expect(calls).toMatchObject([{ n: 1, end: { outcome: 'done' } }])
  })

  it('an end that the desk recorded and the task did not is taken', async () => {
    class Cut extends MemoryDeviceStore {
      override recordTask(task: StoredTask, calls: Parameters<MemoryDeviceStore['recordTask']>[1]): Promise<void> {
        return calls.some(({ end }) => end) ? new Promise(() => undefined) : super.recordTask(task, calls)
      }
    }
    const store = new Cut()
    const world = await worldOf(['green'], {}, new World(store))
    const id = await make(world)
    await world.answer({ outcome: 'done', value: true })
    await world.settle()
    store.recordTask = MemoryDeviceStore.prototype.recordTask.bind(store)
    const again = await restarted(world)
    expect((await shown(again, id)).task.end).toMatchObject({ outcome: 'done' })
    expect(again.calls).toEqual([])
  })

  it('devices that are away are waited for anew: their bridges are on their way back', async () => {
    const world = await worldOf(['green'])
    const become = (where: World, state: 'lost' | 'ready', seq?: number) =>
      where.report({ ...(seq !== undefined && { seq }), states: [{ device: 'green', state, atMs: 1 }] })
    await become(world, 'lost')
    const id = await make(world)
    await world.devices.stop()
    await world.clock.advance(LIMITS.deviceTaskPatienceMs + 1000)
    const again = await restarted(world)
    expect((await shown(again, id)).task.end).toBeUndefined()
    await become(again, 'ready', 1000)
    await again.clock.advance(200)
    await again.settle()
    expect(again.calls).toHaveLength(1)
  })

  it('passes go on, and one that was due meanwhile is made once', async () => {
    const world = await worldOf(['green'])
    const id = await make(world, { everyMs: 5000 })
    await world.answer({ outcome: 'done' })
    await world.settle()
    await world.devices.stop()
    await world.clock.advance(23_000)
    const again = await restarted(world)
    expect(again.calls).toHaveLength(1)
    await again.report({ seq: 1000, results: [{ call: again.calls[0]!.call, outcome: 'done', atMs: 1 }] })
    expect((await shown(again, id)).task).toMatchObject({
      pass: 2,
      nextAtMs: (await shown(again, id)).task.atMs + 25_000,
    })
  })
})

describe('whose word holds', () => {
  it('is the owner of the device: what wants a person wants one at the making, once', async () => {
    const world = await worldOf(['green'], { act: 'confirm' })
    const forbidden = { code: 'FORBIDDEN', param: 'confirmed' }
    await expect(make(world)).rejects.toMatchObject(forbidden)
    const id = await make(world, { isConfirmed: true, everyMs: 5000 })
    expect(world.calls).toHaveLength(1)
    expect(world.devices.waiting()).toEqual([])
    await world.answer({ outcome: 'done' })
    await world.report({ devices: [descriptorOf('green', { act: 'no' })] })
    await world.clock.advance(5000)
    expect((await shown(world, id)).task.last).toMatchObject({
      isDone: false,
      reasons: { green: expect.any(String) as string },
    })
    expect(world.calls).toHaveLength(1)
  })

  it('is the owner’s of this moment: what wants a person since it was decided is not done without one', async () => {
    const disk = Promise.withResolvers<void>()
    class Slow extends MemoryDeviceStore {
      override async recordTask(...given: Parameters<MemoryDeviceStore['recordTask']>): Promise<void> {
        if (given[1].length > 0) await disk.promise
        return super.recordTask(...given)
      }
    }
    const world = await worldOf(['green'], {}, new World(new Slow()))
    await make(world)
    await world.report({ devices: [descriptorOf('green', { act: 'confirm' })] })
    disk.resolve()
    await world.settle()
    expect(world.calls).toEqual([])
    expect(world.devices.waiting()).toMatchObject([{ device: 'green', capability: 'vent' }])
  })

  it('is that of keys: who may not do it any more has nothing done', async () => {
    let level: 'act' | 'none' = 'act'
    const world = await worldOf(['green'], {}, new World(undefined, { standing: () => level }))
    const id = await make(world, { everyMs: 5000 })
    await world.answer({ outcome: 'done' })
    await world.settle()
    level = 'none'
    await world.clock.advance(5000)
    expect((await shown(world, id)).task.end).toMatchObject({ outcome: 'failed' })
    expect(world.calls).toHaveLength(1)
  })

  it.each<[string, Partial<TaskSpec>, string, string?]>([
    ['a device that there is not', { select: { device: 'blue' } }, 'NOT_FOUND'],
    ['a capability that nobody has', { capability: 'door' }, 'INVALID_REQUEST', 'select'],
    ['a class that nobody is of', { select: { class: 'esp32' } }, 'INVALID_REQUEST', 'select'],
    ['a unit that it has not', { select: { unit: 'C' } }, 'INVALID_REQUEST', 'select'],
    ['a bridge that it is not behind', { select: { bridge: 'barn' } }, 'INVALID_REQUEST', 'select'],
    ['a value that does not fit', { value: 'open' }, 'INVALID_REQUEST'],
    ['an operation that does not fit', { op: 'run' }, 'INVALID_REQUEST'],
    ['more devices than there are', { count: 2 }, 'INVALID_REQUEST', 'count'],
  ])('is asked before: %s is refused', async (_name, more, code, param) => {
    const world = await worldOf(['green'])
    await expect(make(world, more)).rejects.toMatchObject({ code, ...(param !== undefined && { param }) })
    expect(await world.store.tasks({ limit: 9 })).toEqual([])
  })

  it('lets a key read that may read alone', async () => {
    const world = await worldOf(['green'])
    const one = { tenant: 'local', level: 'read' as const }
    await expect(world.devices.tasks.make({ spec: spec(), ...one })).rejects.toMatchObject({ code: 'FORBIDDEN' })
    const { value: _none, ...read } = spec({ op: 'read', capability: 'posture' })
    await world.devices.tasks.make({ spec: read, ...one })
    await world.settle()
    expect(world.calls).toMatchObject([{ capability: 'posture', op: 'read' }])
  })

  it('shows nobody the tasks of others, and takes so many of one tenant', async () => {
    const world = await worldOf(['green'])
    const id = await make(world, { everyMs: 5000 }, 'other')
    await expect(world.devices.tasks.get(id, OWNER)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(world.devices.tasks.cancel(id, OWNER)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect((await world.devices.tasks.get(id, { tenant: 'x', isAdmin: true })).task.tenant).toBe('other')
    for (let i = 0; i < LIMITS.deviceTasksPerTenantMax; i++)
      await world.devices.tasks.make({ spec: spec({ everyMs: 5000 }), tenant: 'local', level: 'act' })
    await expect(make(world)).rejects.toMatchObject({ code: 'SATURATED' })
  })

  it('is nobody’s when there are as many as there may be, or the coordinator stops', async () => {
    const world = await worldOf(['green'])
    for (let n = 0; n < LIMITS.deviceTasksMax; n++)
      await world.devices.tasks.make({ spec: spec({ everyMs: 5000 }), tenant: `key:${n}`, level: 'act' })
    await expect(make(world, {}, 'key:more')).rejects.toMatchObject({ code: 'SATURATED' })
    await world.devices.stop()
    await expect(make(world)).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
  })
})
