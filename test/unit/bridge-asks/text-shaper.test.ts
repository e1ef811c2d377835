import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fitText, wireBytes, type Charset } from '../../../firmware-bridge/asks/charset.ts'
import { shapeText, TextShaper } from '../../../firmware-bridge/asks/text-shaper.ts'

const CHARSETS: readonly Charset[] = ['ascii', 'latin1', 'utf8']
const anyText = fc.string({ unit: 'grapheme', maxLength: 300 })
const words = fc
  .array(
    fc.string({
      unit: fc.constantFrom('a', 'é', '…', '“', '☕', '\n', ' ', 'ß', '漢', '👩‍🌾', 'e\u0301'),
      maxLength: 20,
    }),
  )
  .map((each) => each.join(' '))
const shape = fc.record({
  charset: fc.constantFrom(...CHARSETS),
  bytesMax: fc.integer({ min: 1, max: 200 }),
  oneLine: fc.boolean(),
})

describe('the characters of a board', () => {
  it.each([
    ['ascii', 'Füße “über” 21 °C — naïve…', 'Fusse "uber" 21 degC - naive...'],
    ['latin1', 'Füße “über” 21 °C — naïve…', 'Füße "über" 21 °C - naïve...'],
    ['utf8', 'Füße “über” 21 °C — naïve…', 'Füße “über” 21 °C — naïve…'],
    ['ascii', 'Straße 5 € ½ m² Ω µ', 'Strasse 5 EUR 1/2 m2 Ohm u'],
    ['ascii', 'Привет, Ελλάδα', 'Privet, Ellada'],
    ['ascii', 'ok 👍🏽 go 🇩🇪 1️⃣', 'ok  go  1'],
    ['ascii', '漢字', '??'],
    ['utf8', 'a\u0000b\u202Ec\u200bd', 'abcd'],
    ['ascii', 'ﬁne ＡＢ', 'fine AB'],
  ] as const)('has in %s for %j', (charset, text, fitted) => {
    expect(fitText(text, charset)).toBe(fitted)
  })

  it('is never left', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(fitText(text, 'ascii')).toMatch(/^[\x20-\x7e\n]*$/)
        expect(fitText(text, 'latin1')).toMatch(/^[\x20-\x7e\n\xa0-\xff]*$/)
        expect(fitText(text, 'utf8').isWellFormed()).toBe(true)
      }),
    )
  })
})

describe('a shaped text', () => {
  it('is cut between words, with a mark', () => {
    const ascii = { charset: 'ascii', bytesMax: 20, oneLine: false } as const
    expect(shapeText('The vent is open now, since noon.', ascii)).toEqual({ text: 'The vent is open...', isCut: true })
    expect(shapeText('The vent is open.', ascii)).toEqual({ text: 'The vent is open.', isCut: false })
    expect(shapeText('Pneumonoultramicroscopic', ascii).text).toBe('Pneumonoultramicr...')
    expect(shapeText('The vent is open now', { ...ascii, charset: 'utf8' }).text).toBe('The vent is open now')
    expect(shapeText('The vent is open now!', { ...ascii, charset: 'utf8' }).text).toBe('The vent is open…')
  })

  it('has no mark where that would be most of it', () => {
    expect(shapeText('open now', { charset: 'ascii', bytesMax: 5, oneLine: false }).text).toBe('open')
  })

  it('has no white space around it, and no empty lines', () => {
    const lines = { charset: 'ascii', bytesMax: 100, oneLine: false } as const
    expect(shapeText('  \n one \n\n two  ', lines).text).toBe('one\ntwo')
    expect(shapeText('  \n one \n\n two  ', { ...lines, oneLine: true }).text).toBe('one two')
  })

  it('fits, is well-formed and the same however it comes', () => {
    fc.assert(
      fc.property(
        fc.oneof(words, anyText),
        shape,
        fc.infiniteStream(fc.integer({ min: 1, max: 7 })),
        (text, init, steps) => {
          const whole = shapeText(text, init)
          expect(wireBytes(whole.text)).toBeLessThanOrEqual(init.bytesMax)
          expect(whole.text.isWellFormed()).toBe(true)
          const shaper = new TextShaper(init)
          let given = ''
          for (let at = 0; at < text.length;) {
            const step = steps.next().value
            given += shaper.feed(text.slice(at, at + step))
            at += step
          }
          expect(given + shaper.end()).toBe(whole.text)
          expect(shaper.isCut).toBe(whole.isCut)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('gives text out while it comes, and says when no more is of use', () => {
    const shaper = new TextShaper({ charset: 'utf8', bytesMax: 100, oneLine: false })
    expect(shaper.feed('one two three four ')).toBe('one two three four')
    for (let i = 0; i < 30 && !shaper.isFull; i++) shaper.feed('five ')
    expect(shaper.isFull).toBe(true)
  })

  it('does not keep a grapheme without an end', () => {
    const shaper = new TextShaper({ charset: 'utf8', bytesMax: 10_000, oneLine: false })
    for (let i = 0; i < 1000; i++) shaper.feed('\u0301'.repeat(100))
    expect(shaper.end().length).toBeLessThan(200)
  })
})
