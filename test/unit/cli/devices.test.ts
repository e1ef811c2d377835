import { describe, expect, it } from 'vitest'
import { renderDevice, renderDevices, valueOf } from '../../../clients/cli/commands/devices.ts'
import { isYes } from '../../../clients/cli/yes-no.ts'
import type { DeviceView } from '../../../coordinator/index.ts'

const DEVICE: DeviceView = {
  ...{ id: 'greenhouse', name: 'Glass \u001b[31mhouse', class: 'uno', firmware: '1.2', dialect: 'frames' },
  ...{ rx: 128, sleeps: 0, joinedAtMs: 0, counts: { readings: 3 } },
  capabilities: [
    { name: 'temperature', dir: 'sensor', type: 'number', unit: 'C' },
    { name: 'fan', dir: 'actuator', type: 'integer', min: 0, max: 100 },
    { name: 'mode', dir: 'actuator', type: 'choice', options: ['off', 'low'] },
  ],
  policy: { read: true, act: 'confirm', ask: false, local_only: true },
  presence: { state: 'ready', sinceMs: 40_000, bridge: 'house', bridgeOnline: false },
  values: { temperature: { value: 31.2, atMs: 95_000 } },
  shadow: { desired: { fan: { value: 40, atMs: 1 } }, reported: {} },
}

describe('skein devices', () => {
  it('lists devices with how they are and what they last said, and no escape of theirs', () => {
    const text = renderDevices([DEVICE], 100_000)
    expect(text).toMatch(/^ID +NAME +CLASS +STATE +SINCE +BRIDGE +VALUES\n/)
    expect(text).toMatch(/greenhouse .* uno +ready, bridge away +1 min +house +temperature 31\.2 °C/)
    expect(text).not.toContain('\u001b')
  })

  it('shows one with its policy, its capabilities and what is wanted of them', () => {
    const text = renderDevice(DEVICE, 100_000)
    expect(text).toContain('policy: read yes, act confirm, ask no, local only')
    expect(text).toMatch(/temperature +sensor +number °C +31\.2 +5 s +-/)
    expect(text).toMatch(/fan +actuator +integer 0…100 +- +- +40/)
    expect(text).toMatch(/mode +actuator +choice off\|low/)
    expect(text).not.toContain('\u001b')
  })

  it('reads a value by what the capability takes', () => {
    const of = (type: 'boolean' | 'number' | 'choice', text: string) =>
      valueOf({ name: 'x', dir: 'actuator', type }, text)
    expect([of('boolean', 'ON'), of('boolean', 'no'), of('number', '1.5'), of('choice', '7')]).toEqual([
      true,
      false,
      1.5,
      '7',
    ])
    for (const [type, text] of [
      ['boolean', 'open'],
      ['number', 'much'],
      ['number', ''],
    ] as const)
      expect(() => of(type, text)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }))
  })

  it('takes nothing but yes for a yes', () => {
    expect(['y', ' Yes ', 'YES'].every(isYes)).toBe(true)
    expect(['', 'n', 'yep', 'no', 'y?'].some(isYes)).toBe(false)
  })
})
