/** Capabilities as tools, in the words that models of all sizes take for what they are. */
import { describe, expect, it } from 'vitest'
import { MemoryDeviceStore, Devices } from '../../../coordinator/devices/index.ts'
import { argumentsOf, deviceToolsOf, resultLine, resultText } from '../../../coordinator/gateway/tool-loop-tools.ts'
import type { DeviceCapability, DeviceLevel } from '../../../mesh/protocol/index.ts'
import { silentLogger, SystemClock, SystemRandom } from '../../../mesh/runtime/index.ts'

const TEMPERATURE: DeviceCapability = { name: 'temperature', dir: 'sensor', type: 'number', unit: 'C' }
const VENT: DeviceCapability = { name: 'roof_vent_2', dir: 'actuator', type: 'boolean' }
const LAMP: DeviceCapability = { name: 'lamp', dir: 'actuator', type: 'boolean' }
const FAN: DeviceCapability = { name: 'fan', dir: 'actuator', type: 'integer', unit: '%', min: 0, max: 100 }

async function toolsAt(level: DeviceLevel, name: string) {
  const components = { clock: new SystemClock(), random: new SystemRandom(), log: silentLogger }
  const devices = new Devices({ ...components, store: new MemoryDeviceStore() })
  await devices.start()
  const device = { id: 'greenhouse', name, class: 'uno', firmware: '1', dialect: 'frames' as const, rx: 96, sleeps: 0 }
  const policy = { read: true, act: 'yes' as const, ask: true, local_only: false }
  await devices.report({
    ...{ bridge: 'house', session: '123e4567-e89b-42d3-a456-426614174000', seq: 1 },
    ...{ gone: [], states: [], readings: [], results: [] },
    devices: [{ ...device, policy, capabilities: [TEMPERATURE, VENT, LAMP, FAN] }],
  })
  const tools = deviceToolsOf(devices, level)
  await devices.stop()
  return tools
}

describe('a tool', () => {
  it('says what it does: opens or closes, switches, or sets', async () => {
    const tools = await toolsAt('act', 'Greenhouse')
    expect(tools.map(({ description }) => description)).toEqual([
      'Reads the temperature of greenhouse in C.',
      'Opens or closes the roof vent 2 of greenhouse; without a value it reads it.',
      'Switches the lamp of greenhouse on or off; without a value it reads it.',
      'Sets the fan of greenhouse in %; without a value it reads it.',
    ])
    expect(tools.map(({ parameters }) => parameters['properties'])).toEqual([
      {},
      { value: { type: 'string', enum: ['open', 'closed'] } },
      { value: { type: 'boolean' } },
      { value: { type: 'integer', minimum: 0, maximum: 100 } },
    ])
  })

  it('names the board where its id does not, and only reads where that is all', async () => {
    const tools = await toolsAt('read', 'Glass house')
    expect(tools.map(({ description }) => description)).toContain('Reads the lamp of greenhouse (Glass house).')
    expect(tools.flatMap(({ parameters }) => Object.keys(parameters['properties'] as object))).toEqual([])
  })
})

describe('arguments of a call', () => {
  it.each([
    [VENT, '{"value": "open"}', { value: true }],
    [VENT, '{"value": "closed"}', { value: false }],
    [LAMP, '{"value": "On"}', { value: true }],
    [LAMP, '{"value": false}', { value: false }],
    [LAMP, '{"value": "dim"}', { value: 'dim' }],
    [FAN, '{"value": 40}', { value: 40 }],
    [FAN, '{"value": null}', {}],
    [FAN, '{}', {}],
    [FAN, '{"value": [1]}', undefined],
    [FAN, '{"speed": 1}', undefined],
    [FAN, 'open', undefined],
  ] as const)('%o %s', (capability, text, value) => {
    expect(argumentsOf(capability, text)).toEqual(value)
  })
})

describe('an end, as a model is told it', () => {
  const VALUE = { op: 'write', outcome: 'done', value: true } as const
  it.each([
    [
      { op: 'read', outcome: 'done', value: 30.56640625, unit: 'C' } as const,
      undefined,
      '{"value":30.56641,"unit":"C"}',
    ],
    [VALUE, true, '{"ok":true}'],
    [VALUE, false, '{"ok":true,"value":true}'],
    [{ op: 'run', outcome: 'done', value: 7 } as const, undefined, '{"ok":true,"value":7}'],
    [
      { op: 'write', outcome: 'refused', error: 'nobody confirmed it' } as const,
      true,
      '{"ok":false,"error":"refused: nobody confirmed it"}',
    ],
    [{ op: 'write', outcome: 'unknown' } as const, true, '{"ok":false,"error":"unknown"}'],
  ])('%j', (view, wanted, text) => {
    expect(resultText(view, wanted)).toBe(text)
  })

  it('is told to people with its unit', () => {
    expect(resultLine('a.t', { op: 'read', outcome: 'done', value: 1.23456789, unit: 'C' })).toBe(
      'read a.t: 1.234568 C',
    )
  })
})
