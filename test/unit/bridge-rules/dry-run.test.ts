import { describe, expect, it } from 'vitest'
import { dryRun, parseRules } from '../../../firmware-bridge/rules/index.ts'
import { renderRows } from '../../../clients/cli/commands/device-rules.ts'
import { ruling } from './support.ts'

const TOML = `[[rule]]
name = "vent"
when = { capability = "temp", above = 30, back = 28 }
act = [{ capability = "vent", value = true }]
cooldown = 60

[[rule]]
name = "evening"
device = "uno"
when = { every = 600 }
ask = { question = "Close?" }
act = [{ device = "esp", capability = "shade", value = 0 }]
`
const START = Date.UTC(2027, 0, 15, 8)
/** A reading every 10 s. */
const VALUES = [29, 31, 32, 27, 31, 20, 20, 20, 20, 31, 40]
const readings = VALUES.map((value, i) => ({ device: 'uno', name: 'temp', value, atMs: START + 10_000 * i }))

describe('a dry run', () => {
  it('says what rules would have done, and what held them back', () => {
    const rows = dryRun(parseRules(TOML, 'f'), {
      sinceMs: START,
      untilMs: START + 600_000,
      readings: readings.reverse(),
    })
    expect(rows.map(({ rule, atMs, held }) => [rule, (atMs - START) / 1000, held])).toEqual([
      ['vent', 10, undefined],
      ['vent', 40, 'cooldown'],
      ['vent', 90, undefined],
      ['evening', 600, undefined],
    ])
    expect(renderRows(rows).split('\n').slice(2)).toEqual([
      '2027-01-15 08:00:40  vent     uno     31     held back: cooldown  uno.vent = true',
      '2027-01-15 08:01:30  vent     uno     31     acts                 uno.vent = true',
      '2027-01-15 08:10:00  evening  uno     -      acts                 asks "Close?" yes: esp.shade = 0',
    ])
  })

  it('is what rules do over the same readings', async () => {
    const bench = await ruling(TOML)
    const begunMs = bench.clock.wallMs()
    const done: number[] = []
    for (const value of VALUES) {
      const before = bench.acts.length
      await bench.reads('temp', value)
      if (bench.acts.length > before) done.push(bench.clock.wallMs() - begunMs)
      await bench.clock.advance(10_000)
    }
    const rows = dryRun(parseRules(TOML, 'f'), { sinceMs: START, untilMs: START + 500_000, readings })
    expect(rows.filter(({ held }) => held === undefined).map(({ atMs }) => atMs - START)).toEqual(done)
  })

  it('looks at no reading outside its time', () => {
    const rules = parseRules(TOML, 'f')
    expect(dryRun(rules, { sinceMs: START + 100_001, untilMs: START + 200_000, readings })).toEqual([])
  })
})
