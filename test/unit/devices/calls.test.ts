/** The desk: what may be called, and that it is called once. */
import { describe, expect, it } from 'vitest'
import { BRIDGE_DEVICE, LIMITS } from '../../../mesh/protocol/index.ts'
import { Devices, MemoryDeviceStore, type StoredCall } from '../../../coordinator/devices/index.ts'
import { SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { asks, readingOf, World } from './support.ts'

describe('a call', () => {
  it('is durable before it is sent, sent once, and ends as the device says', async () => {
    const order: string[] = []
    class Noting extends MemoryDeviceStore {
      override async recordCall(call: StoredCall): Promise<void> {
        order.push(call.end ? 'ended' : 'recorded')
        await super.recordCall(call)
      }
    }
    const world = await new World(new Noting()).begin()
    const push = world.messages.push.bind(world.messages)
    world.messages.push = (...messages) => {
      order.push('sent')
      return push(...messages)
    }
    const { ended } = world.devices.begin(asks('vent', { value: true }))
    await world.settle()
    expect(order).toEqual(['recorded', 'sent'])
    await world.answer({ outcome: 'done', value: true })
    expect(await ended).toMatchObject({ outcome: 'done', value: true })
    expect(world.devices.get('green')!.last).toMatchObject([{ name: 'vent', value: true }])
    expect((await world.store.calls({ limit: 5 }))[0]).toMatchObject({ capability: 'vent', end: { outcome: 'done' } })
    await world.answer({ outcome: 'failed' })
    expect((await world.store.calls({ limit: 5 }))[0]).toMatchObject({ end: { outcome: 'done' } })
    expect(world.devices.stats().calls).toEqual(new Map([['write done', 1]]))
  })

  it('is not sent when it could not be recorded', async () => {
    class Full extends MemoryDeviceStore {
      override recordCall(): Promise<void> {
        return Promise.reject(new TypeError('full'))
      }
    }
    const world = await new World(new Full()).begin()
    await expect(world.devices.begin(asks('vent', { value: true })).ended).rejects.toThrow('full')
    expect(world.calls).toEqual([])
  })

  it('ends unknown without a result, and as it was when the result comes later', async () => {
    const world = await new World().begin()
    const { ended } = world.devices.begin(asks('vent', { value: true, ttlMs: 1000 }))
    await world.settle()
    await world.clock.advance(1000)
    await world.settle()
    await world.clock.advance(2000)
    expect(await ended).toMatchObject({ outcome: 'unknown' })
    await world.answer({ outcome: 'done', value: true })
    expect((await world.store.calls({ limit: 5 }))[0]).toMatchObject({ end: { outcome: 'done' } })
  })

  it('waits for a bridge that is just away, and expires when that does not come back', async () => {
    const world = await new World().begin()
    world.leave()
    const back = world.devices.begin(asks('vent', { value: true, ttlMs: 2000 }))
    await world.settle()
    expect(world.calls).toEqual([])
    world.connect()
    expect(world.calls).toHaveLength(1)
    await world.answer({ outcome: 'done' })
    expect(await back.ended).toMatchObject({ outcome: 'done' })
    world.leave()
    const late = world.devices.begin(asks('vent', { value: false, ttlMs: 1000 }))
    await world.settle()
    await world.clock.advance(1000)
    expect(await late.ended).toMatchObject({ outcome: 'expired' })
    world.connect()
    expect(world.calls).toHaveLength(1)
  })

  it('fails at once when its bridge is away', async () => {
    const world = await new World().begin()
    world.leave()
    await world.clock.advance(LIMITS.bridgeGraceMs)
    expect(await world.devices.begin(asks('vent', { value: true })).ended).toMatchObject({ outcome: 'failed' })
  })

  it('is not sent again after a restart, and takes the result that comes then', async () => {
    const world = await new World().begin()
    world.devices.begin(asks('vent', { value: true }))
    await world.settle()
    const { call } = world.calls[0]!
    const { clock, store } = world
    const again = new Devices({ clock, random: new SeededRandom(2), log: silentLogger, store })
    await again.start()
    const sent: unknown[] = []
    again.link('house', { session: 'x', send: (message) => sent.push(message), close: () => undefined })
    const lists = { devices: [], gone: [], states: [], readings: [] }
    const results = [{ call, outcome: 'done' as const, atMs: clock.wallMs() }]
    await again.report({ bridge: 'house', session: 'x', seq: 99, ...lists, results })
    expect(sent).toEqual([])
    expect((await store.calls({ limit: 5 }))[0]).toMatchObject({ end: { outcome: 'done' } })
  })

  it('takes no result from a bridge that it was not sent to', async () => {
    const world = await new World().begin()
    const { call } = world.devices.begin(asks('vent', { value: true }))
    await world.settle()
    await world.report({
      ...{ bridge: 'shed', seq: 1, results: [{ call: call.call, outcome: 'done', atMs: world.clock.wallMs() }] },
    })
    expect((await world.store.calls({ limit: 1 }))[0]!.end).toBeUndefined()
  })
})

describe('what is asked', () => {
  it.each([
    ['an unknown capability', asks('window'), 'INVALID_REQUEST'],
    ['an unknown device', asks('vent', { device: 'blue' }), 'NOT_FOUND'],
    ['to set a sensor', asks('temperature', { op: 'write', value: 1 }), 'INVALID_REQUEST'],
    ['to read a command', asks('reboot', { op: 'read' }), 'INVALID_REQUEST'],
    ['to run an actuator', asks('vent', { op: 'run' }), 'INVALID_REQUEST'],
    ['a value to read with', asks('vent', { op: 'read', value: true }), 'INVALID_REQUEST'],
    ['no value', asks('vent', { op: 'write' }), 'INVALID_REQUEST'],
    ['a text for a switch', asks('vent', { value: 'on' }), 'INVALID_REQUEST'],
    ['a number above the largest', asks('fan', { value: 101 }), 'INVALID_REQUEST'],
    ['half of a whole number', asks('fan', { value: 1.5 }), 'INVALID_REQUEST'],
    ['no number', asks('fan', { value: Number.NaN }), 'INVALID_REQUEST'],
    ['what is no option', asks('mode', { value: 'medium' }), 'INVALID_REQUEST'],
    ['a text that is too long', asks('label', { value: 'x'.repeat(300) }), 'INVALID_REQUEST'],
    ['an object', asks('label', { value: {} }), 'INVALID_REQUEST'],
    ['a value for a command without', asks('reboot', { value: 1 }), 'INVALID_REQUEST'],
    ['to set, without the permission', asks('vent', { value: true, level: 'read' }), 'FORBIDDEN'],
    ['to read, without the permission', asks('temperature', { level: 'none' }), 'FORBIDDEN'],
    ['a bridge, by no admin', asks('add', { device: BRIDGE_DEVICE, value: { name: 'x' } }), 'FORBIDDEN'],
  ])('is refused: %s', async (_name, request, code) => {
    const world = await new World().begin()
    expect(() => world.devices.begin(request)).toThrow(expect.objectContaining({ code }))
    await world.settle()
    expect(world.messages).toEqual([])
  })

  it('is held to the policy of the device', async () => {
    const world = await new World().begin({ act: 'no', read: false })
    for (const request of [asks('vent', { value: true }), asks('reboot'), asks('temperature')])
      expect(() => world.devices.begin(request)).toThrow(expect.objectContaining({ code: 'FORBIDDEN' }))
  })

  it('is bounded in a second, for a capability and for a device', async () => {
    const world = await new World().begin()
    const fan = (): void => void world.devices.begin(asks('fan', { value: 1 }))
    for (let i = 0; i < 10; i++) fan()
    expect(fan).toThrow(expect.objectContaining({ code: 'RATE_LIMITED', retryAfterSeconds: 1 }))
    for (let i = 0; i < 10; i++) world.devices.begin(asks('mode', { value: 'low' }))
    expect(() => world.devices.begin(asks('vent', { value: true }))).toThrow(/too often/)
    await world.clock.advance(1000)
    fan()
  })

  it('is not slowed down where an owner lets a house of boards in by one script', async () => {
    const world = await new World().begin()
    const add = (n: number) => asks('add', { device: BRIDGE_DEVICE, value: { name: `b${n}` }, isAdmin: true })
    for (let n = 0; n < 100; n++) world.devices.begin(add(n))
    await world.settle()
    expect(world.calls).toHaveLength(100)
  })
})

describe('a call that a person is to confirm', () => {
  const begin = async (): Promise<{ world: World; handle: ReturnType<World['devices']['begin']> }> => {
    const world = await new World().begin({ act: 'confirm' })
    const handle = world.devices.begin(asks('vent', { value: true, tenant: 'key:a' }))
    expect(handle.waitsForConfirm).toBe(true)
    await world.settle()
    expect(world.calls).toEqual([])
    expect(world.devices.waiting()).toHaveLength(1)
    return { world, handle }
  }

  it('is sent after a yes', async () => {
    const { world, handle } = await begin()
    await world.clock.advance(LIMITS.deviceConfirmMs - 1)
    world.devices.confirm(handle.call.call, true, { tenant: 'key:a', isAdmin: false })
    await world.settle()
    expect(world.calls).toHaveLength(1)
    await world.answer({ outcome: 'done', value: true })
    expect(await handle.ended).toMatchObject({ outcome: 'done' })
    expect(world.devices.waiting()).toEqual([])
  })

  it('is refused after a no, or without a word, and kept as such', async () => {
    const { world, handle } = await begin()
    world.devices.confirm(handle.call.call, false, { tenant: 'admin', isAdmin: true })
    expect(await handle.ended).toMatchObject({ outcome: 'refused' })
    const silent = world.devices.begin(asks('fan', { value: 1 }))
    await world.clock.advance(LIMITS.deviceConfirmMs)
    expect(await silent.ended).toMatchObject({ outcome: 'refused' })
    await world.settle()
    expect(world.messages).toEqual([])
    expect((await world.store.calls({ limit: 5 })).map(({ end }) => end?.outcome)).toEqual(['refused', 'refused'])
  })

  it("is nobody else's to confirm, nor twice", async () => {
    const { world, handle } = await begin()
    const confirm = (tenant: string) => () => world.devices.confirm(handle.call.call, true, { tenant, isAdmin: false })
    expect(confirm('key:b')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
    confirm('key:a')()
    expect(confirm('key:a')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
  })

  it('is given up with its caller', async () => {
    const { world, handle } = await begin()
    const left = new AbortController()
    const outcome = world.devices.outcome(handle, left.signal)
    left.abort(new TypeError('left'))
    await expect(outcome).rejects.toThrow('left')
    expect(await handle.ended).toMatchObject({ outcome: 'refused' })
  })

  it('is told to the bridge as cancelled when it was sent, and its end is still recorded', async () => {
    const world = await new World().begin()
    const handle = world.devices.begin(asks('vent', { value: true }))
    await world.settle()
    const left = new AbortController()
    const outcome = world.devices.outcome(handle, left.signal)
    left.abort(new TypeError('left'))
    await expect(outcome).rejects.toThrow('left')
    expect(world.messages.at(-1)).toEqual({ type: 'cancel', call: handle.call.call })
    await world.answer({ outcome: 'refused' })
    expect(await handle.ended).toMatchObject({ outcome: 'refused' })
  })
})

describe('a reading', () => {
  it("is the device's own answer, where it is there", async () => {
    const world = await new World().begin()
    const read = world.devices.read(asks('temperature', { level: 'read' }))
    await world.settle()
    expect(world.calls).toMatchObject([{ capability: 'temperature', op: 'read' }])
    await world.answer({ outcome: 'done', value: 31.2 })
    expect(await read).toMatchObject({ outcome: 'done', value: 31.2, isFresh: true, ageMs: 0 })
    expect(await world.store.calls({ limit: 5 })).toEqual([])
  })

  it('is the last value with its age, where it does not answer or is away', async () => {
    const world = await new World().begin()
    await world.report({ readings: [readingOf(20, world.clock.wallMs())] })
    const slow = world.devices.read(asks('temperature'))
    await world.settle()
    await world.clock.advance(2000)
    await world.settle()
    await world.clock.advance(2000)
    expect(await slow).toMatchObject({ outcome: 'done', value: 20, isFresh: false, ageMs: 4000 })
    await world.report({ states: [{ device: 'green', state: 'sleeping', atMs: world.clock.wallMs() }] })
    expect(await world.devices.read(asks('temperature'))).toMatchObject({ value: 20, isFresh: false, ageMs: 4000 })
    expect(world.calls).toHaveLength(1)
    expect(await world.devices.read(asks('vent'))).toMatchObject({ outcome: 'failed' })
  })

  it('is refused like any other call, also of a device that is away', async () => {
    const world = await new World().begin({ read: false })
    world.leave()
    await world.clock.advance(LIMITS.bridgeGraceMs)
    await expect(world.devices.read(asks('temperature'))).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })
})

describe('a call to a bridge', () => {
  const add = asks('add', { device: BRIDGE_DEVICE, value: { name: 'x' }, isAdmin: true })

  it('is answered with what is kept nowhere', async () => {
    const world = await new World().begin()
    const { ended } = world.devices.begin(add)
    await world.settle()
    expect(world.calls).toMatchObject([{ device: BRIDGE_DEVICE, capability: 'add', value: { name: 'x' } }])
    await world.answer({ outcome: 'done', value: { key: 'secret' } })
    expect(await ended).toMatchObject({ value: { key: 'secret' } })
    expect(JSON.stringify(await world.store.calls({ limit: 5 }))).not.toMatch(/secret|"x"/)
    expect(JSON.stringify(world.events)).not.toContain('secret')
  })

  it('wants a bridge that is there, and to know which', async () => {
    const world = await new World().begin()
    world.devices.link('shed', { session: 'y', send: () => undefined, close: () => undefined })
    expect(() => world.devices.begin(add)).toThrow(/one of: house, shed/)
    expect(() => world.devices.begin({ ...add, bridge: 'barn' })).toThrow(
      expect.objectContaining({ code: 'BRIDGE_OFFLINE' }),
    )
    expect(world.devices.begin({ ...add, bridge: 'shed' }).call.bridge).toBe('shed')
  })
})
