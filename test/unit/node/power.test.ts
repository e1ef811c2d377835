import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { PmsetPowerSource, SysfsPowerSource } from '../../../node/capability/index.ts'
import { temporaryDirectory } from './support.ts'

async function sysfs(supplies: Record<string, Record<string, string>>): Promise<SysfsPowerSource> {
  const dir = await temporaryDirectory()
  for (const [name, fields] of Object.entries(supplies)) {
    await mkdir(join(dir, name))
    for (const [field, text] of Object.entries(fields)) await writeFile(join(dir, name, field), `${text}\n`)
  }
  return new SysfsPowerSource(dir)
}

describe('SysfsPowerSource', () => {
  it.each([
    ['a desktop without supplies', {}, 'mains'],
    [
      'a laptop at the socket',
      { AC: { type: 'Mains', online: '1' }, BAT0: { type: 'Battery', status: 'Charging' } },
      'mains',
    ],
    [
      'a laptop on its battery',
      { AC: { type: 'Mains', online: '0' }, BAT0: { type: 'Battery', status: 'Discharging' } },
      'battery',
    ],
    ['a desktop with a wireless mouse', { hid: { type: 'Battery', status: 'Discharging', scope: 'Device' } }, 'mains'],
  ])('%s', async (_, supplies, expected) => {
    expect(await (await sysfs(supplies)).read()).toBe(expected)
  })

  it('does not know where there is no such directory', async () => {
    expect(await new SysfsPowerSource(join(await temporaryDirectory(), 'none')).read()).toBe('unknown')
  })
})

describe('the battery of a laptop', () => {
  it('tells its charge, the larger one of two counting more', async () => {
    const battery = { type: 'Battery', status: 'Discharging' }
    const source = await sysfs({
      BAT0: { ...battery, capacity: '40', energy_full: '60000000', power_now: '9500000' },
      BAT1: { ...battery, capacity: '80', energy_full: '20000000', current_now: '-500000', voltage_now: '11000000' },
      hid: { type: 'Battery', scope: 'Device', capacity: '5', status: 'Discharging' },
    })
    expect(await source.readCharge()).toBe(50)
    expect(await source.readWatts()).toBe(15)
  })

  it('tells nothing where there is none, or it is charged', async () => {
    expect(await (await sysfs({})).readCharge()).toBe('unknown')
    const charging = await sysfs({
      BAT0: { type: 'Battery', status: 'Charging', capacity: '900', power_now: '5000000' },
    })
    expect(await charging.readCharge()).toBe('unknown')
    expect(await charging.readWatts()).toBe('unknown')
  })
})

describe('PmsetPowerSource', () => {
  it.each([
    ["Now drawing from 'Battery Power'\n", 'battery'],
    ["Now drawing from 'AC Power'\n", 'mains'],
    ['', 'unknown'],
  ])('%j', async (text, expected) => {
    expect(await new PmsetPowerSource(new ManualClock(), async () => text).read()).toBe(expected)
  })
})
