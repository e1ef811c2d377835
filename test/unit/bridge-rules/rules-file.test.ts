import { describe, expect, it } from 'vitest'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { parseRules, readRules } from '../../../firmware-bridge/rules/index.ts'

const RULE = `[[rule]]
name = "vent"
when = { capability = "temperature", above = 30, back = 28 }
act = [{ capability = "vent", value = true }]
`
const whenIs = (when: string): string => RULE.replace(/when = .*/, `when = { ${when} }`)

describe('the file of rules', () => {
  it('has defaults for how often a rule acts', () => {
    expect(parseRules(RULE, 'f')).toEqual([
      {
        name: 'vent',
        when: { capability: 'temperature', above: 30, back: 28 },
        act: [{ capability: 'vent', value: true }],
        cooldown: 300,
        per_hour: 6,
      },
    ])
  })

  it.each([
    ['[[rule]]\nname = ', 'f, line 2: '],
    ['# rules\nrules = 1', 'f, line 1: '],
    [`${RULE}\n[[rule]]\nname = "Vent"\nwhen = { every = 60 }\nact = []`, 'f, line 7: rule.1.name'],
    [`${RULE}cooldown = 0`, 'f, line 5: rule.0.cooldown'],
    [`${RULE}cool_down = 9`, 'f, line 5: rule.0.cool_down is not known here; see'],
    [whenIs('capability = "temperature", above = "warm"'), 'f, line 3: rule.0.when.above'],
    [whenIs('capability = "temperature"'), "line 3: rule 'vent': when needs one of above"],
    [whenIs('capability = "temperature", above = 3, below = 1'), 'when needs one of above'],
    [whenIs('above = 3'), 'when needs a capability'],
    [whenIs('capability = "temperature", above = 30, back = 31'), 'back is a bound on the other side'],
    [whenIs('capability = "temperature", becomes = ["on"], back = 1'), 'back is a bound on the other side'],
    [whenIs('every = 60'), 'every is of one device: add device'],
    [RULE + RULE, "line 6: rule 'vent': there are two rules 'vent': rename one"],
    [RULE.replace('value = true', 'value = true, on = "yes"'), "line 4: rule 'vent': on is for rules that ask"],
    [`${RULE}ask = { question = "?", of = ["a", "b"] }`, 'each act needs on, the answer that it is for: one of a, b'],
    [`${RULE.replace('true', 'true, on = "c"')}ask = { question = "?", of = ["a", "b"] }`, 'on = "c" is no answer'],
    [Array.from({ length: LIMITS.rulesMax + 1 }, (_, i) => RULE.replace('"vent"', `"v${i}"`)).join(''), 'line 1: '],
  ])('that is %j is refused where it is wrong', (text, where) => {
    expect(() => parseRules(text, 'f')).toThrow(where)
    expect(() => parseRules(text, 'f')).toThrow(SkeinError)
  })

  it('that is not there is named', () => {
    expect(() => readRules('/nowhere/rules.toml')).toThrow('/nowhere/rules.toml')
  })
})
