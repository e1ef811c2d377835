import { describe, expect, it } from 'vitest'
import { renderTask, renderTasks, timeOf } from '../../../clients/cli/commands/device-tasks.ts'
import { renderDevice, renderDevices } from '../../../clients/cli/commands/devices.ts'
import { valueOf } from '../../../clients/cli/device-value.ts'
import { isYes } from '../../../clients/cli/yes-no.ts'
import type { DeviceTaskView, DeviceView } from '../../../coordinator/index.ts'

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
    expect(text).toContain('policy: read yes, act confirm, ask no, local only\n')
    const more = renderDevice({ ...DEVICE, policy: { ...DEVICE.policy, asks_per_minute: 60, tokens_per_day: 9 } }, 0)
    expect(more).toContain('local only, 60 questions a minute, 9 tokens a day\n')
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

const TASK: DeviceTaskView = {
  ...{ id: 'a1', object: 'device_task', op: 'write', capability: 'vent', value: true, select: { class: 'uno' } },
  ...{ count: 'all', every: 600, retry: 1, confirmed: true, state: 'active', pass: 2, nextAtMs: 160_000 },
  ...{ key: 'local', atMs: 0 },
  last: { pass: 2, done: false, error: '1 of 2 did it', reasons: { shed: 'it is \u001b[31mlost' } },
  calls: [
    { n: 1, pass: 1, device: 'greenhouse', call: 'c1', outcome: 'done', value: true, atMs: 40_000 },
    { n: 2, pass: 2, device: 'greenhouse', call: 'c2', atMs: 95_000 },
  ],
}

describe('skein devices task', () => {
  it('lists tasks with how their last pass went, and no escape of a device', () => {
    const text = renderTasks([TASK, { ...TASK, select: {} }], 100_000)
    expect(text).toMatch(/a1 +write vent true +uno +all +10 min +active +2 +1 of 2 did it +1 min/)
    expect(text).toMatch(/write vent true +any +all/)
  })

  it('shows one with reasons and calls', () => {
    const text = renderTask(TASK, 100_000)
    expect(text).toMatch(/shed: it is .*lost/)
    expect(text).toMatch(/1 +greenhouse +done +true +1 min/)
    expect(text).toMatch(/2 +greenhouse +open +- +5 s/)
    expect(text).not.toContain('\u001b')
  })

  it('takes a time or a duration for an end', () => {
    expect(timeOf('2030-01-31T18:00Z')).toBe('2030-01-31T18:00:00.000Z')
    expect(timeOf('8h')).toMatch(/^20.*Z$/)
    expect(() => timeOf('soon')).toThrow()
  })
})
