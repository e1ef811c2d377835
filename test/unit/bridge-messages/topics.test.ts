/** Topics and capability strings: what is ours is read, and everything else has a reason why not. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DeviceCapability } from '../../../mesh/protocol/index.ts'
import {
  bridgeTopic,
  checkValue,
  claimTopic,
  formatCapability,
  KINDS,
  messageTopic,
  parseCapability,
  parseTopic,
  valueTopic,
} from '../../../firmware-bridge/messages/index.ts'
import { deviceId } from './arbitraries.ts'

describe('topics', () => {
  it('are read as they were built', () => {
    const kinds = KINDS.filter(({ kind }) => kind !== 'claim' && kind !== 'grant')
    fc.assert(
      fc.property(deviceId, fc.constantFrom(...kinds), (device, { kind, direction }) => {
        const way = direction === 'both' ? 'down' : direction
        expect(parseTopic(messageTopic(device, way, kind))).toEqual({
          ok: true,
          value: { of: 'message', device, direction: way, kind },
        })
      }),
    )
    expect(parseTopic(valueTopic('a', 'temp'))).toEqual({
      ok: true,
      value: { of: 'value', device: 'a', capability: 'temp' },
    })
    expect(parseTopic(claimTopic('A0B1', 'up'))).toEqual({
      ok: true,
      value: { of: 'claim', chip: 'A0B1', direction: 'up' },
    })
    expect(parseTopic(bridgeTopic('house.1'))).toEqual({ ok: true, value: { of: 'bridge', bridge: 'house.1' } })
  })

  it.each([
    ['', 'no topic of ours'],
    ['skein/v2/dev/a/up/hello', 'no topic of ours'],
    ['skein/v1/dev/a/up/hello/more/x', 'no topic of ours'],
    ['skein/v1/dev/a/up/hello/more', 'no message is of that kind'],
    ['skein/v1/dev/A/up/hello', 'no id of a device'],
    ['skein/v1/dev/+/up/hello', 'no id of a device'],
    ['skein/v1/dev/a/sideways/hello', 'no topic of ours'],
    ['skein/v1/dev/a/down/hello', 'no message is of that kind'],
    ['skein/v1/dev/a/up/claim', 'no message is of that kind'],
    ['skein/v1/dev/a/up/v/Temp', 'no name of a capability'],
    ['skein/v1/dev/a/down/v/temp', 'no message is of that kind'],
    ['skein/v1/claim//up', 'no id of a chip'],
    ['skein/v1/bridge/a b/state', 'no id of a bridge'],
    ['x/'.repeat(100), 'a topic too long'],
  ])('%s is none', (topic, why) => {
    expect(parseTopic(topic)).toMatchObject({ ok: false, refusal: { why } })
  })

  it('never throw', () => {
    const levels = fc.array(
      fc.oneof(fc.constantFrom('skein', 'v1', 'dev', 'up', 'down', 'v', 'claim', 'a'), fc.string()),
      { maxLength: 9 },
    )
    fc.assert(fc.property(levels, (parts) => void parseTopic(parts.join('/'))))
  })
})

const read = (text: string): DeviceCapability => {
  const parsed = parseCapability(text)
  if (!parsed.ok) expect.fail(`${text}: ${parsed.refusal.why}`)
  return parsed.value
}

describe('capability strings', () => {
  it.each([
    ['rf:temperature:C', { name: 'temperature', dir: 'sensor', type: 'number', unit: 'C' }],
    ['wb:vent', { name: 'vent', dir: 'actuator', type: 'boolean' }],
    ['wi:fan:%:0:100', { name: 'fan', dir: 'actuator', type: 'integer', unit: '%', min: 0, max: 100 }],
    ['we:mode::off|low|high', { name: 'mode', dir: 'actuator', type: 'choice', options: ['off', 'low', 'high'] }],
    ['xn:reboot', { name: 'reboot', dir: 'command', type: 'none' }],
    ['me:posture::upright|fallen', { name: 'posture', dir: 'model', type: 'choice', options: ['upright', 'fallen'] }],
    ['rf:t::0:100', { name: 't', dir: 'sensor', type: 'number', min: 0, max: 100 }],
    ['rf:t::-40:85.5', { name: 't', dir: 'sensor', type: 'number', min: -40, max: 85.5 }],
  ])('%s', (text, capability) => {
    expect(read(text)).toEqual(capability)
    expect(formatCapability(capability as DeviceCapability)).toBe(text)
  })

  it.each([
    ['', 'qf:a', 'rn:a', 'rf', 'rf:', 'rf:Temp', 'rf:a:C:1', 'rf:a:C:2:1', 'rf:a:C:x:1', 'rf:a::1e3:2e9', 'rb:a::0:1'],
    [
      're:a',
      're:a::',
      're:a::x|x',
      're:a::x|',
      're:a::x:y',
      `rf:a:${'m'.repeat(17)}`,
      'rf:a:\u001b[2J',
      `rs:${'a'.repeat(70)}`,
    ],
  ])('refuses %s and others', (...texts) => {
    for (const text of texts) expect(parseCapability(text).ok, text).toBe(false)
  })

  it('knows one zero alone', () => {
    expect(read('wi:fan:%:0:-0')).toEqual(read('wi:fan:%:0:0'))
  })

  it('never throws, and gives back what it read', () => {
    const parts = fc.array(fc.oneof(fc.constantFrom('rf', 'we', 'wi', 'a', 'b|c', '0', '1.5', 'C', ''), fc.string()), {
      maxLength: 6,
    })
    fc.assert(
      fc.property(parts, (words) => {
        const parsed = parseCapability(words.join(':'))
        if (parsed.ok) expect(parseCapability(formatCapability(parsed.value))).toEqual(parsed)
      }),
    )
  })
})

describe('values of capabilities', () => {
  it.each([
    ['wi:fan:%:0:100', 50, 50],
    ['wi:fan:%:0:100', 101, undefined],
    ['wi:fan:%:0:100', 0.5, undefined],
    ['wi:fan:%:0:100', '50', undefined],
    ['rf:t', Number.NaN, undefined],
    ['wb:vent', true, true],
    ['wb:vent', 1, true],
    ['wb:vent', 2, undefined],
    ['we:mode::off|low', 'low', 'low'],
    ['we:mode::off|low', 1, 'low'],
    ['we:mode::off|low', 2, undefined],
    ['we:mode::off|low', 'high', undefined],
    ['ws:line', 'hello', 'hello'],
    ['ws:line', 3, undefined],
    ['xn:reboot', true, undefined],
  ])('%s of %s', (capability, value, expected) => {
    const checked = checkValue(read(capability), value)
    if (expected === undefined) expect(checked).toMatchObject({ ok: false, refusal: { code: 'out_of_range' } })
    else expect(checked).toEqual({ ok: true, value: expected })
  })
})
