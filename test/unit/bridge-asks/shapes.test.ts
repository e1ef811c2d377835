import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { firstNumber, fitNumber } from '../../../firmware-bridge/asks/number.ts'
import { formatOf, instructionOf, shaperOf, tokensFor, type ShapeInit } from '../../../firmware-bridge/asks/shapes.ts'

const init = (as: ShapeInit['as'], extra: Partial<ShapeInit> = {}): ShapeInit => ({
  ...{ as, charset: 'ascii', bytesMax: 40, oneLine: false, options: [], schema: undefined },
  ...extra,
})

/** What a board gets of `raw`, coming in pieces of `step`. */
function shaped(raw: string, shape: ShapeInit, step = 3) {
  const shaper = shaperOf(shape)
  let text = ''
  for (let at = 0; at < raw.length && !shaper.isFull; at += step) text += shaper.feed(raw.slice(at, at + step))
  const end = shaper.end(false)
  return end.ok ? { text: text + end.text, fin: end.fin } : end.error
}

describe('a number', () => {
  it.each([
    ['21', '21'],
    ['It is 21.5 °C now', '21.5'],
    ['21,5 Grad', '21.5'],
    ['-3', '-3'],
    ['−3,25', '-3.25'],
    ['about 1,500 hens', '1500'],
    ['1.234.567,89 EUR', '1234567.89'],
    ["1'234.5", '1234.5'],
    ['0,125', '0.125'],
    ['1,5', '1.5'],
    ['1e3', '1e3'],
    ['in 2024-11', '2024'],
    ['007', '7'],
    ['Seven.', '7'],
    ['none', undefined],
    ['I do not know.', undefined],
    ['', undefined],
  ])('in %j is %j', (text, number) => {
    expect(firstNumber(text)).toBe(number)
  })

  it('is one that a board can read, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'0123456789.,-+eE \u00a0x'), maxLength: 30 }), (text) => {
        const number = firstNumber(text)
        if (number !== undefined) expect(number).toMatch(/^-?\d+(\.\d+)?(e[-+]?\d+)?$/)
      }),
      { numRuns: 1000 },
    )
  })

  it('loses its fraction before it is refused', () => {
    expect(fitNumber('3.14159', 4)).toBe('3.14')
    expect(fitNumber('1234.9', 4)).toBe('1235')
    expect(fitNumber('12345', 4)).toBeUndefined()
    expect(shaped('3.14159 or so', init('number', { bytesMax: 4 }))).toEqual({ text: '3.14', fin: 'shaped' })
    expect(shaped('12345 ', init('number', { bytesMax: 4 }))).toBe('too_large')
  })

  it('that there is none of is said', () => {
    expect(shaped('none', init('number'))).toBe('no_answer')
  })

  it('is not waited for once it is there', () => {
    const shaper = shaperOf(init('number'))
    shaper.feed('21.')
    expect(shaper.isFull).toBe(false)
    shaper.feed('5 degrees')
    expect(shaper.isFull).toBe(true)
  })
})

describe('a word', () => {
  it.each([
    ['Open.', 'Open'],
    ['"geöffnet"', 'geoffnet'],
    ['**well-known** fact', 'well-known'],
    ["don't", "don't"],
  ])('of %j is %j', (raw, text) => {
    expect(shaped(raw, init('word'))).toMatchObject({ text })
  })

  it('is whole or none', () => {
    expect(shaped('Donaudampfschiff', init('word', { bytesMax: 8 }))).toBe('too_large')
    expect(shaped('...', init('word'))).toBe('no_answer')
  })

  it('that the model did not end is marked', () => {
    const shaper = shaperOf(init('word'))
    shaper.feed('Donaudampf')
    expect(shaper.end(true)).toMatchObject({ fin: 'length' })
  })
})

describe('a choice', () => {
  const vent = init('choice', { options: ['Open', 'half open', 'closed'] })
  it.each([
    ['"closed"', 'closed'],
    ['OPEN', 'Open'],
    ['I would say: closed.', 'closed'],
    ['"half open"', 'half open'],
  ])('of %j is %j, as the board wrote it', (raw, text) => {
    expect(shaped(raw, vent)).toEqual({ text, fin: 'stop' })
  })

  it('is one of them or none', () => {
    expect(shaped('ajar', vent)).toBe('no_answer')
    expect(shaped('Open or closed', vent)).toBe('no_answer')
    expect(shaped('openly', vent)).toBe('no_answer')
  })

  it('is held to', () => {
    expect(formatOf(vent)).toMatchObject({ json_schema: { schema: { enum: vent.options } } })
    expect(formatOf(init('yesno'))).toMatchObject({ json_schema: { schema: { enum: ['yes', 'no'] } } })
    expect(shaped('"yes"', init('yesno'))).toEqual({ text: 'yes', fin: 'stop' })
    expect(shaped('No, it is not.', init('yesno'))).toEqual({ text: 'no', fin: 'stop' })
  })
})

describe('JSON', () => {
  it('is short, whole, and in the characters of the board', () => {
    expect(shaped('{ "vent": "offen ☀" }\n', init('json'))).toEqual({ text: '{"vent":"offen \\u2600"}', fin: 'stop' })
    expect(shaped('```json\n{"a": 1}\n```', init('json', { charset: 'utf8' }))).toMatchObject({ text: '{"a":1}' })
    expect(shaped('{"a": [1, 2', init('json'))).toBe('no_answer')
    expect(shaped(JSON.stringify({ a: 'x'.repeat(60) }), init('json'))).toBe('too_large')
  })

  it('has the schema of the board, or none', () => {
    const schema = { type: 'object', properties: { open: { type: 'boolean' } } }
    expect(formatOf(init('json', { schema }))).toMatchObject({ json_schema: { schema } })
    expect(formatOf(init('json'))).toEqual({ type: 'json_object' })
  })
})

describe('every shape', () => {
  it('has an instruction and a bound that depend on it', () => {
    const shapes = (['text', 'word', 'number', 'yesno', 'choice', 'json'] as const).map((as) =>
      init(as, { options: ['a'] }),
    )
    expect(new Set(shapes.map(instructionOf)).size).toBe(shapes.length)
    for (const shape of shapes) expect(tokensFor(shape)).toBeGreaterThan(8)
    expect(instructionOf(init('text', { bytesMax: 60 }))).toContain('10 words')
  })

  it('fits, or is refused, whatever the model writes', () => {
    const as = fc.constantFrom('text', 'word', 'number', 'yesno', 'choice', 'json')
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 200 }),
        as,
        fc.integer({ min: 1, max: 60 }),
        (raw, each, bytesMax) => {
          const result = shaped(raw, init(each, { bytesMax, options: ['on', 'off'] }), 5)
          if (typeof result !== 'string') expect(Buffer.byteLength(result.text)).toBeLessThanOrEqual(bytesMax)
        },
      ),
      { numRuns: 300 },
    )
  })
})
