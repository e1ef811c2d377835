import { describe, expect, it } from 'vitest'
import {
  afterEvent,
  argumentOf,
  callOf,
  controlOf,
  deviceOf,
  devicesOf,
  seriesOf,
  stepOf,
  typedValue,
  type Capability,
} from '../../../../clients/web/house/devices-model.ts'

const TOLD = {
  id: 'greenhouse',
  class: 'uno',
  firmware: '1.0',
  capabilities: [
    { name: 'temperature', dir: 'sensor', type: 'number', unit: 'C' },
    { name: 'vent', dir: 'actuator', type: 'boolean' },
  ],
  policy: { read: true, act: 'confirm', ask: true, local_only: true },
  presence: { state: 'ready', sinceMs: 5, bridge: 'house', bridgeOnline: true },
  values: { temperature: { value: 31.2, atMs: 7 } },
  shadow: { desired: { vent: { value: true, atMs: 6 } }, reported: {} },
  counts: { readings: 12 },
  joinedAtMs: 1,
}

const capability = (part: Partial<Capability>): Capability => ({
  ...{ name: 'x', dir: 'actuator', type: 'number', unit: undefined, min: undefined, max: undefined, options: [] },
  ...part,
})

describe('devices', () => {
  it('are read member by member; what is none is left out, and what is odd does no harm', () => {
    const device = deviceOf(TOLD)!
    expect(device).toMatchObject({
      ...{ id: 'greenhouse', state: 'ready', bridge: 'house', isBridgeOnline: true, readings: 12 },
      policy: { read: true, act: 'confirm', ask: true, isLocalOnly: true },
      values: { temperature: { value: 31.2, atMs: 7 } },
      desired: { vent: { value: true, atMs: 6 } },
    })
    expect(devicesOf({ data: [TOLD, null, 'x', { id: 7 }, { id: 'bare' }] }).map(({ id }) => id)).toEqual([
      'greenhouse',
      'bare',
    ])
    const odd = deviceOf({
      ...{ id: 'a', capabilities: [{ name: 'x', dir: 'door', type: 'number' }, 3], values: { x: { value: {} }, y: 4 } },
      ...{ presence: { state: 'on fire' }, policy: 'all' },
    })!
    expect(odd).toMatchObject({ capabilities: [], values: {}, state: 'lost', policy: { read: false, act: 'no' } })
    expect(deviceOf({ id: 'x'.repeat(9999) })!.id.length).toBeLessThan(1000)
  })

  it('follow events, and are asked for anew where an event does not say enough', () => {
    const devices = [deviceOf(TOLD)!]
    const read = { type: 'device.reading', device: 'greenhouse', name: 'temperature', value: 20, readAtMs: 9 }
    expect(afterEvent(devices, read)![0]).toMatchObject({
      values: { temperature: { value: 20, atMs: 9 } },
      readings: 13,
    })
    expect(afterEvent(devices, { ...read, device: 'other' })).toBe(devices)
    expect(afterEvent(devices, { ...read, value: { $: 1 } })).toBe(devices)
    const slept = { type: 'device.state', device: 'greenhouse', state: 'sleeping', atMs: 11 }
    expect(afterEvent(devices, slept)![0]).toMatchObject({ state: 'sleeping', sinceMs: 11 })
    const away = { type: 'device.bridge', bridge: 'house', isOnline: false }
    expect(afterEvent(devices, away)![0]!.isBridgeOnline).toBe(false)
    expect(afterEvent(devices, { type: 'device.changed', device: 'greenhouse' })).toBeUndefined()
    expect(afterEvent(devices, { type: 'device.joined', device: 'new' })).toBeUndefined()
  })

  it('have calls of which none is believed to be more than it says', () => {
    const call = {
      call: 'c1',
      device: 'a',
      capability: 'vent',
      op: 'write',
      state: 'confirm',
      wanted: true,
      origin: 'mcp',
    }
    expect(callOf(call)).toMatchObject({ call: 'c1', wanted: true, state: 'confirm', origin: 'mcp', isFresh: true })
    expect(callOf({ ...call, state: 'over' })).toBeUndefined()
    expect(callOf({ ...call, wanted: { code: 1 } })!.wanted).toBeUndefined()
  })
})

describe('controls', () => {
  it('are those of the type', () => {
    expect(controlOf(capability({ type: 'boolean' }))).toBe('switch')
    expect(controlOf(capability({ type: 'none' }))).toBe('none')
    expect(controlOf(capability({ type: 'choice', options: ['a'] }))).toBe('choice')
    expect(controlOf(capability({ type: 'number' }))).toBe('number')
    expect(controlOf(capability({ type: 'integer', min: 0, max: 100 }))).toBe('slider')
    expect(controlOf(capability({ type: 'integer', min: 0, max: 100_000 }))).toBe('number')
    expect(controlOf(capability({ type: 'number', min: 5, max: 5 }))).toBe('number')
    expect(stepOf(capability({ min: 0, max: 1 }))).toBeCloseTo(0.01)
    expect(stepOf(capability({ min: 5, max: 30 }))).toBeCloseTo(0.1)
    expect(stepOf(capability({ type: 'integer', min: 0, max: 1000 }))).toBe(1)
  })

  it('take what fits, and say what does not', () => {
    expect(typedValue(capability({ min: 5, max: 30 }), '21,5')).toEqual({ value: 21.5 })
    expect(typedValue(capability({ min: 5, max: 30 }), '31')).toEqual({ problem: 'range' })
    expect(typedValue(capability({}), 'warm')).toEqual({ problem: 'number' })
    expect(typedValue(capability({}), ' ')).toEqual({ problem: 'number' })
    expect(typedValue(capability({}), 'Infinity')).toEqual({ problem: 'number' })
    expect(typedValue(capability({ type: 'integer' }), '1.5')).toEqual({ problem: 'whole' })
    expect(typedValue(capability({ type: 'text' }), '')).toEqual({ problem: 'empty' })
    expect(typedValue(capability({ type: 'text' }), '12')).toEqual({ value: '12' })
  })

  it('are written for a shell so that it takes nothing apart', () => {
    expect(argumentOf(true)).toBe('on')
    expect(argumentOf(21.5)).toBe('21.5')
    expect(argumentOf('low')).toBe('low')
    expect(argumentOf("a'; rm -rf ~ #")).toBe(String.raw`'a'\''; rm -rf ~ #'`)
    expect(argumentOf('$(x)')).toBe("'$(x)'")
  })
})

describe('lines', () => {
  it('are of the numbers of one name; a switch is 0 or 1', () => {
    const readings = [
      { name: 'a', value: 1, atMs: 1 },
      { name: 'b', value: 9, atMs: 2 },
      { name: 'a', value: true, atMs: 3 },
      { name: 'a', value: 'text', atMs: 4 },
    ]
    expect(seriesOf(readings, 'a')).toEqual([1, 1])
  })
})
