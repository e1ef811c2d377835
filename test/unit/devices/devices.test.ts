/** Devices as their bridge reports them, and what is wanted of them. */
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { Devices, MemoryDeviceStore } from '../../../coordinator/devices/index.ts'
import { SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { asks, descriptorOf, readingOf, SESSION, World } from './support.ts'

describe('a report', () => {
  it('makes devices known, with their states and last values', async () => {
    const world = await new World().begin()
    const now = world.clock.wallMs()
    await world.report({ readings: [readingOf(20, now - 5), readingOf(21, now)] })
    expect(world.devices.get('green')).toMatchObject({
      ...{ bridge: 'house', isBridgeOnline: true, state: 'ready', readings: 2 },
      last: [{ name: 'temperature', value: 21 }],
    })
    expect(await world.devices.history({ device: 'green', sinceMs: 0, limit: 10 })).toHaveLength(2)
    expect(world.events.map(({ type }) => type)).toEqual([
      ...['device.bridge', 'device.joined', 'device.state', 'device.reading'],
    ])
  })

  it('changes nothing when it comes again, or late', async () => {
    const world = await new World().begin()
    const now = world.clock.wallMs()
    expect(await world.report({ seq: 9, readings: [readingOf(20, now)] })).toBe(9)
    expect(await world.report({ seq: 9, readings: [readingOf(30, now)] })).toBe(9)
    expect(await world.report({ seq: 4, readings: [readingOf(40, now)] })).toBe(9)
    expect(world.devices.get('green')).toMatchObject({ readings: 1, last: [{ value: 20 }] })
    expect(world.devices.stats().reports).toEqual({ applied: 2, repeated: 2, failed: 0 })
  })

  it('does not put an older value in the place of a newer, nor believes a clock that is ahead', async () => {
    const world = await new World().begin()
    const now = world.clock.wallMs()
    await world.report({ readings: [readingOf(20, now + 1e9)] })
    expect(world.devices.get('green')!.last).toMatchObject([{ value: 20, atMs: now }])
    await world.report({ readings: [readingOf(10, now - 1000)] })
    expect(world.devices.get('green')).toMatchObject({ readings: 2, last: [{ value: 20 }] })
  })

  it('says nothing of devices of another bridge, nor of capabilities that there are not', async () => {
    const world = await new World().begin()
    const now = world.clock.wallMs()
    const other = { bridge: 'shed', seq: 1, readings: [readingOf(99, now)], gone: ['green'] }
    await world.report({ ...other, states: [{ device: 'green', state: 'lost', atMs: now }] })
    await world.report({ readings: [readingOf(1, now, 'nothing')] })
    expect(world.devices.get('green')).toMatchObject({ state: 'ready', readings: 0, last: [] })
    expect(world.devices.stats().dropped).toBe(4)
  })

  it('takes a device away, with all that is known of it', async () => {
    const world = await new World().begin()
    await world.report({ gone: ['green'] })
    expect(world.devices.get('green')).toBeUndefined()
    expect(world.events.at(-1)).toEqual({ type: 'device.gone', device: 'green', bridge: 'house' })
  })

  it('is refused of more bridges than there may be', async () => {
    const world = await new World().begin()
    for (let i = 1; i < LIMITS.bridgesMax; i++) await world.report({ bridge: `b${i}`, seq: 1 })
    await expect(world.report({ bridge: 'more', seq: 1 })).rejects.toMatchObject({ code: 'SATURATED' })
    expect(await world.report()).toBeGreaterThan(0)
  })

  it('is not taken when it cannot be recorded, and taken when it is sent again', async () => {
    class Full extends MemoryDeviceStore {
      isFull = false
      override record(...given: Parameters<MemoryDeviceStore['record']>): Promise<void> {
        return this.isFull ? Promise.reject(new TypeError('full')) : super.record(...given)
      }
    }
    const store = new Full()
    const world = await new World(store).begin()
    const readings = [readingOf(20, world.clock.wallMs())]
    store.isFull = true
    await expect(world.report({ seq: 50, readings })).rejects.toThrow('full')
    expect(world.devices.get('green')!.last).toEqual([])
    store.isFull = false
    expect(await world.report({ seq: 50, readings })).toBe(50)
    expect(world.devices.get('green')!.last).toHaveLength(1)
  })

  it('tells a capability once in a second, and of all devices fifty', async () => {
    const world = await new World().begin()
    const told = (): number => world.events.filter(({ type }) => type === 'device.reading').length
    for (let i = 0; i < 5; i++) await world.report({ readings: [readingOf(i, world.clock.wallMs())] })
    expect(told()).toBe(1)
    await world.clock.advance(1000)
    await world.report({ readings: [readingOf(9, world.clock.wallMs())] })
    expect(told()).toBe(2)
    const many = Array.from({ length: 80 }, (_, i) => `d${i}`)
    await world.report({ devices: many.map((id) => descriptorOf(id)) })
    await world.clock.advance(1000)
    await world.report({
      readings: many.map((device) => ({ ...readingOf(1, world.clock.wallMs()), device })),
    })
    expect(told()).toBe(52)
  })
})

describe('presence', () => {
  it('has two levels: a bridge that leaves is away after a grace, whatever its devices said', async () => {
    const world = await new World().begin()
    world.leave()
    expect(world.devices.get('green')).toMatchObject({ isBridgeOnline: true })
    await world.clock.advance(LIMITS.bridgeGraceMs)
    expect(world.devices.get('green')).toMatchObject({ isBridgeOnline: false, state: 'ready' })
    expect(world.events.at(-1)).toEqual({ type: 'device.bridge', bridge: 'house', isOnline: false })
    world.connect()
    expect(world.devices.get('green')).toMatchObject({ isBridgeOnline: true })
  })

  it('knows after a restart what it knew before', async () => {
    const world = await new World().begin()
    await world.report({ readings: [readingOf(20, world.clock.wallMs())] })
    const { clock, store } = world
    const again = new Devices({ clock, random: new SeededRandom(2), log: silentLogger, store })
    await again.start()
    expect(again.get('green')).toMatchObject({ state: 'ready', isBridgeOnline: false, last: [{ value: 20 }] })
    const lists = { devices: [], gone: [], states: [], readings: [], results: [] }
    expect(await again.report({ bridge: 'house', session: SESSION, seq: 1, ...lists })).toBe(2)
  })
})

describe('the shadow', () => {
  const wish = (world: World, values: Record<string, boolean | number | null>, isConfirmed = false) =>
    world.devices.desire('green', values, { level: 'act', isConfirmed })

  it('brings a device that is there what it lacks, once', async () => {
    const world = await new World().begin()
    await wish(world, { fan: 40 })
    await world.settle()
    expect(world.calls).toMatchObject([{ capability: 'fan', op: 'write', value: 40 }])
    await world.answer({ outcome: 'failed' })
    await world.settle()
    expect(world.calls).toHaveLength(1)
  })

  it('waits for a device that is away, and brings it the newest wish', async () => {
    const world = await new World().begin()
    const state = (state: 'lost' | 'ready') =>
      world.report({ states: [{ device: 'green', state, atMs: world.clock.wallMs() }] })
    await state('lost')
    await wish(world, { fan: 40 })
    await world.clock.advance(1)
    await wish(world, { fan: 60, vent: true })
    expect(world.calls).toEqual([])
    await state('ready')
    await world.settle()
    expect(world.calls.map(({ capability, value }) => [capability, value])).toEqual([
      ['fan', 60],
      ['vent', true],
    ])
    for (const { call, value } of world.calls) await world.answer({ outcome: 'done', value: value! }, call)
    await state('lost')
    await state('ready')
    await world.settle()
    expect(world.calls).toHaveLength(2)
  })

  it('brings a wish that came while another was on its way', async () => {
    const world = await new World().begin()
    await wish(world, { fan: 40 })
    await world.settle()
    await world.clock.advance(1)
    await wish(world, { fan: 50 })
    await world.settle()
    expect(world.calls).toHaveLength(1)
    await world.answer({ outcome: 'done', value: 40 })
    await world.settle()
    expect(world.calls.at(-1)).toMatchObject({ value: 50 })
  })

  it('is as strict as a call', async () => {
    const world = await new World().begin({ act: 'confirm' })
    await expect(wish(world, { fan: 40 })).rejects.toMatchObject({ code: 'FORBIDDEN', param: 'confirmed' })
    await expect(wish(world, { fan: 101 }, true)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    await expect(wish(world, { temperature: 1 }, true)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    await expect(world.devices.desire('green', { fan: 1 }, { level: 'read', isConfirmed: true })).rejects.toMatchObject(
      {
        code: 'FORBIDDEN',
      },
    )
    await wish(world, { fan: 40 }, true)
    await wish(world, { fan: null }, true)
    expect(world.devices.get('green')!.desired).toEqual([])
  })

  it('does not count against the rates of those who ask', async () => {
    const world = await new World().begin()
    await wish(world, { fan: 40 })
    for (let i = 0; i < 10; i++) world.devices.begin(asks('fan', { value: i }))
    expect(() => world.devices.begin(asks('fan', { value: 1 }))).toThrow(/too often/)
  })
})

describe('a rule that did nothing', () => {
  it('is an event of its device and counted by its outcome, once however often the report comes', async () => {
    const world = await new World().begin()
    const ruled = { rule: 'vent-opens', device: 'green', outcome: 'cooldown', times: 3, atMs: 1 } as const
    const report = { seq: 50, rules: [ruled, { ...ruled, device: 'nobody', outcome: 'declined', times: 1 }] } as const
    await world.report({ ...report, rules: [...report.rules] })
    await world.report({ ...report, rules: [...report.rules] })
    expect(world.events.filter(({ type }) => type === 'device.rule')).toEqual([
      { type: 'device.rule', device: 'green', bridge: 'house', rule: 'vent-opens', outcome: 'cooldown', times: 3 },
    ])
    expect(world.devices.stats().ruleOutcomes).toMatchObject({ cooldown: 3, declined: 1, forbidden: 0 })
  })
})
