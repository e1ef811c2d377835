import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { pathOf, policyTemplate, readPolicy, SETTINGS } from '../../../node/policy/index.ts'
import { DEFAULT_POLICY } from '../../../node/policy/settings.ts'

const message = (text: string): string => {
  try {
    readPolicy(text)
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(SkeinError)
    expect((thrown as SkeinError).code).toBe('CONFIG_INVALID')
    return (thrown as SkeinError).message
  }
  return 'it was taken'
}

describe('the policy file', () => {
  it('of the first start sets nothing, and lists every setting with its default', () => {
    const { settings, written } = readPolicy(policyTemplate())
    expect(settings).toEqual(DEFAULT_POLICY)
    expect(written.size).toBe(0)
  })

  it('is the same when every line of the first start counts', () => {
    const all = policyTemplate().replaceAll(/^# ([a-z_]+ = )/gm, '$1')
    const { settings, written } = readPolicy(all)
    expect(settings).toEqual(DEFAULT_POLICY)
    expect([...written.keys()]).toEqual(SETTINGS.map(pathOf))
  })

  it('is read', () => {
    const { settings } = readPolicy(`
reopen_after = "2m"
hours.zone = "Europe/Berlin"
[quota]
tokens_per_day = 1_000_000
when_used_up = "hand-over"
[power]   # laptops
source = "mains"
[in_use]
input_idle = "5m"
[access]
models = ["llama*", "tiny"]
`)
    expect(settings).toEqual({
      ...DEFAULT_POLICY,
      reopenAfterMs: 120_000,
      zone: 'Europe/Berlin',
      tokensPerDay: 1_000_000,
      whenUsedUp: 'hand-over',
      powerSource: 'mains',
      inputIdleMs: 300_000,
      models: ['llama*', 'tiny'],
    })
  })

  it.each([
    ['[power]\n\nsource = "solar"\n', 'line 3: power.source is "solar"; allowed: "any" or "mains"'],
    ['reopen_after = 5', 'line 1: reopen_after is 5; allowed: a duration'],
    ['[in_use]\ninput_idle = "5 parsecs"', 'line 2: in_use.input_idle is "5 parsecs"'],
    ['[in_use]\ninput_idle = "25h"', 'line 2: in_use.input_idle'],
    ['[hours]\nwindows = ["mon-fri 18:00"]', 'line 2: hours.windows is ["mon-fri 18:00"]'],
    ['[hours]\nzone = "Mars/Olympus"', 'line 2: hours.zone is "Mars/Olympus"; allowed: a time zone'],
    ['[quota]\ntokens_per_day = -1', 'line 2: quota.tokens_per_day is -1; allowed: a whole number'],
    ['[quota]\ntokens_per_day = nan', 'line 2: quota.tokens_per_day is null'],
    ['[quota]\ntokens_per_day = 1.5', 'line 2: quota.tokens_per_day is 1.5'],
    ['[power]\nbattery_above = 101', 'line 2: power.battery_above is 101; allowed: a number from 0 to 100'],
    ['[power]\nbattery = 40', 'line 2: [power] has no setting "battery"; there are source, battery_above'],
    ['\n[powr]\nsource = "any"', 'line 2: there is no setting or table "powr"; there are reopen_after'],
    ['power = "mains"', 'line 1: power is a table'],
    ['quota = [1]', 'line 1: quota is a table'],
    ['[power\nsource = "any"', 'line 1:'],
    ['[power]\nsource = "any"\nsource = "mains"', 'line 3:'],
    ['[temperature]\nmax = 80\nresume_below = 85', 'line 3: temperature.resume_below must be below'],
    ['[access]\nmodels = ["a", 3]', 'line 2: access.models'],
    ['[access]\nmodels = [""]', 'line 2: access.models'],
    [`[access]\nmodels = [${'"a",'.repeat(65)}]`, 'line 2: access.models'],
    ['[__proto__]\nsource = "any"', 'policy.toml'],
    ['__proto__.polluted = 1', 'policy.toml'],
    ['[power]\nsource = 1979-05-27', 'line 2: power.source'],
    [`# ${'x'.repeat(LIMITS.policyFileBytesMax)}`, 'larger than 65536 bytes'],
    [`x = ${'['.repeat(2000)}`, 'policy.toml'],
  ])('%j is refused', (text, expected) => {
    const said = message(text)
    expect(said).toContain(expected)
    expect(said).toMatch(/^policy\.toml.*; correct it, it is read again at once$/s)
    expect(said.length).toBeLessThan(600)
  })

  it('never fails with anything but a line of advice, whatever is in it', () => {
    const names = SETTINGS.flatMap(({ table, key }) => [table, key])
    const line = fc.oneof(
      fc.string(),
      fc.constantFrom(...names).map((name) => `[${name}]`),
      fc.tuple(fc.constantFrom(...names), fc.json()).map(([name, value]) => `${name} = ${value}`),
    )
    fc.assert(fc.property(fc.array(line, { maxLength: 6 }), (lines) => void message(lines.join('\n'))))
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false)
  })

  it('is described in docs/POLICY.md, setting by setting', () => {
    const page = readFileSync(new URL('../../../docs/POLICY.md', import.meta.url), 'utf8')
    const listed = [...page.matchAll(/^\| `([a-z_.]+)` \| `([^`]*)` \|/gm)].map(([, path, byDefault]) => [
      path,
      byDefault,
    ])
    expect(listed).toEqual(SETTINGS.map((setting) => [pathOf(setting), JSON.stringify(setting.byDefault)]))
  })
})
