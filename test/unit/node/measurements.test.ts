import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { ModelSpeed } from '../../../mesh/protocol/index.ts'
import { createLogger, silentLogger } from '../../../mesh/runtime/index.ts'
import { KeptTable, Measurements, type MeasurementKey } from '../../../node/capability/index.ts'
import { digestOf, temporaryDirectory } from './support.ts'

const KEY: MeasurementKey = {
  digest: digestOf('a'),
  hardwareFingerprint: 'linux|x64|cpu|2',
  engineBuild: 'b1',
  threads: 2,
  slots: 4,
}
const SPEED: ModelSpeed = {
  prefillTokensPerSecond: 800,
  decode: [{ sequences: 1, tokensPerSecond: 40 }],
  measuredAtMs: 1_800_000_000_000,
}

describe('Measurements', () => {
  it('survive a restart, and hold for one model, machine and engine build', async () => {
    const path = join(await temporaryDirectory(), 'measurements.json')
    await (await Measurements.open(path, silentLogger)).put(KEY, SPEED)
    const again = await Measurements.open(path, silentLogger)
    expect(again.get(KEY)).toEqual(SPEED)
    for (const other of [{ digest: digestOf('b') }, { hardwareFingerprint: 'x' }, { engineBuild: 'b2' }, { slots: 8 }])
      expect(again.get({ ...KEY, ...other })).toBeUndefined()
  })

  it.each([['{"cut'], ['[]'], ['"text"'], [`{"x": {"prefillTokensPerSecond": -1}}`]])(
    'ignores a damaged file: %s',
    async (content) => {
      const path = join(await temporaryDirectory(), 'measurements.json')
      await writeFile(path, content)
      const lines: string[] = []
      const measurements = await Measurements.open(path, createLogger('warn', { write: (line) => lines.push(line) }))
      expect(measurements.get(KEY)).toBeUndefined()
      expect(lines.length).toBe(content.startsWith('{"x"') ? 0 : 1)
      await measurements.put(KEY, SPEED)
      expect((await Measurements.open(path, silentLogger)).get(KEY)).toEqual(SPEED)
    },
  )

  it('live on when the disk takes nothing', async () => {
    const path = join(await temporaryDirectory(), 'no-such-directory', 'measurements.json')
    const lines: string[] = []
    const measurements = await Measurements.open(path, createLogger('warn', { write: (line) => lines.push(line) }))
    await measurements.put(KEY, SPEED)
    expect(measurements.get(KEY)).toEqual(SPEED)
    expect(lines.join()).toContain('could not be written')
  })
})

describe('KeptTable', () => {
  const isNumber = (value: unknown): value is number => typeof value === 'number'

  it('drops what was put longest ago above its bound, and writes puts that meet together', async () => {
    const path = join(await temporaryDirectory(), 'table.json')
    const table = await KeptTable.open({ path, isEntry: isNumber, entriesMax: 2 }, silentLogger)
    await Promise.all([table.put('a', 1), table.put('b', 2), table.put('a', 3), table.put('c', 4)])
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ a: 3, c: 4 })
  })

  it('writes a put that comes right after a write ended', async () => {
    const path = join(await temporaryDirectory(), 'table.json')
    const table = await KeptTable.open({ path, isEntry: isNumber, entriesMax: 10 }, silentLogger)
    await table.put('a', 1).then(() => table.put('b', 2))
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ a: 1, b: 2 })
  })
})
