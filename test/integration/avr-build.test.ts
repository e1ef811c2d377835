/** The library compiled by avr-gcc: within its budget, and to the very programs that the other tests run. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { programOf } from '../fixtures/avr/uno.ts'
import * as toolchain from '../fixtures/avr/toolchain.ts'
import { temporaryDirectory } from '../fixtures/temporary.ts'

it('has the compilers that CI must have', () => {
  if (process.env['CI'] !== 'true') return
  const { hasAvr, hasArduinoCore, hasHost, hasSimavr } = toolchain
  expect({ hasAvr, hasArduinoCore, hasHost, hasSimavr }).toEqual({
    ...{ hasAvr: true, hasArduinoCore: true, hasHost: true, hasSimavr: true },
  })
})

const FLASH_MAX = 8192
const RAM_MAX = 700

describe.skipIf(!toolchain.hasAvr)('compiled by avr-gcc', () => {
  it('sketches are the programs that are kept, and the greenhouse is within its budget', async () => {
    const folder = await temporaryDirectory()
    const names = Object.keys(toolchain.SKETCHES)
    toolchain.buildForAvr(names, folder)
    for (const name of names) expect(readFileSync(join(folder, `${name}.hex`), 'utf8'), name).toBe(programOf(name))
    const { flash, ram } = toolchain.sizeOf(join(folder, 'greenhouse.elf'))
    expect(flash).toBeLessThanOrEqual(FLASH_MAX)
    expect(ram).toBeLessThanOrEqual(RAM_MAX)
  })
})

describe.skipIf(!toolchain.hasAvr || !toolchain.hasArduinoCore)("compiled with Arduino's own core", () => {
  it('the greenhouse is within its budget too, and as large as the README says', async () => {
    const folder = await temporaryDirectory()
    toolchain.buildForAvr(['greenhouse'], folder, 'arduino')
    const size = toolchain.sizeOf(join(folder, 'greenhouse.elf'))
    expect(size.flash).toBeLessThanOrEqual(FLASH_MAX)
    expect(size.ram).toBeLessThanOrEqual(RAM_MAX)
    const readme = readFileSync(new URL('../../clients/arduino/README.md', import.meta.url), 'utf8')
    const [, flash, ram] = /\| `SensorAndActuator`[^|]*\| ([\d,]+) \| ([\d,]+) \|/.exec(readme) ?? []
    expect({ flash: Number(flash?.replace(',', '')), ram: Number(ram) }).toEqual(size)
  })
})

it('has the model that its training gives', () => {
  const script = fileURLToPath(new URL('../../scripts/arduino-classifier.ts', import.meta.url))
  const said = execFileSync(process.execPath, [script, '--check'], { encoding: 'utf8' })
  expect(Number(/([\d.]+) % in int8/.exec(said)?.[1])).toBeGreaterThan(97)
})
