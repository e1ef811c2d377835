/** The parts that are loaded: colours of code and formulas, as trees of what is on the list. */
import fc from 'fast-check'
import type { ComponentChild } from 'preact'
import { describe, expect, it } from 'vitest'
import { formula, formulaBefore } from '../../../../clients/web/markdown/formula.ts'
import {
  coloured,
  colouredBefore,
  colourOf,
  languageOf,
  type Coloured,
} from '../../../../clients/web/markdown/highlight.ts'
import { anyText, everyElement, markupOf } from './markup.ts'

const textOf = (pieces: readonly Coloured[]): string =>
  pieces.map((piece) => (typeof piece === 'string' ? piece : textOf(piece.children))).join('')

const scopesOf = (pieces: readonly Coloured[]): string[] =>
  pieces.flatMap((piece) => (typeof piece === 'string' ? [] : [piece.scope, ...scopesOf(piece.children)]))

describe('code', () => {
  it('is coloured in the languages that people write, under the names that models give them', async () => {
    expect(
      ['ts', 'TypeScript', 'py {1}', 'c++', 'js,ignore', 'shell', 'nothing', '', 'constructor'].map(languageOf),
    ).toEqual([...['typescript', 'typescript', 'python', 'cpp', 'javascript', 'bash', undefined, undefined, undefined]])
    const code = 'const a = "<b>" // 1'
    const pieces = await coloured(code, 'typescript')
    expect(textOf(pieces!)).toBe(code)
    expect(scopesOf(pieces!)).toEqual(['keyword', 'string', 'comment'])
    expect(colouredBefore(code, 'typescript')).toBe(pieces)
    expect(['title.function', 'keyword', 'punctuation'].map(colourOf)).toEqual([
      'markdown-c-title',
      'markdown-c-keyword',
      '',
    ])
  })

  it('in a language within a language is coloured too', async () => {
    const pieces = await coloured('<script>let a</script>', 'xml')
    expect(textOf(pieces!)).toBe('<script>let a</script>')
  })

  it('that is too long stays plain', async () => {
    expect(await coloured('x'.repeat(60_001), 'python')).toBeUndefined()
  })

  it('is the same text, whatever it is', async () => {
    const language = fc.constantFrom('python', 'markdown', 'xml', 'bash', 'json', 'cpp')
    await fc.assert(
      fc.asyncProperty(anyText(200), language, async (code, name) => {
        expect(textOf((await coloured(code, name)) ?? [code])).toBe(code)
      }),
      { numRuns: 100 },
    )
  })
})

const check = (set: ComponentChild): void => {
  for (const { type, props } of everyElement(set)) {
    expect(type).toMatch(/^(?:math|m[a-z]+|none|semantics)$/)
    for (const [name, value] of Object.entries(props)) {
      if (name === 'children') continue
      expect(name).toMatch(/^[a-z]+$/)
      expect(name).not.toMatch(/^(?:on|style|class|href|src|xlink)/)
      expect(value).toMatch(/^[A-Za-z0-9 .#%+-]*$/)
    }
  }
}

describe('a formula', () => {
  it('is MathML', async () => {
    const set = await formula('\\frac{a}{\\sqrt{b}} \\le x^2', false)
    expect(markupOf(set)).toMatch(/^<math>.*<mfrac>.*<msqrt>.*<msup>/)
    expect(formulaBefore('\\frac{a}{\\sqrt{b}} \\le x^2', false)).toBe(set)
    const apart = markupOf(await formula('\\sum_{i=1}^n i', true))
    expect(apart).toContain('<math display="block">')
    check(set)
  })

  it('that is none is null, and shown as it is written', async () => {
    expect(await formula('\\frac{', false)).toBeNull()
    expect(await formula('\\nosuchthing', false)).toBeNull()
  })

  it('leads nowhere, loads nothing and cannot grow without bound', async () => {
    for (const tex of [
      ...[
        '\\href{javascript:alert(1)}{a}',
        '\\url{https://x.y}',
        '\\includegraphics{https://x.y/z.png}',
        '\\style{color:red}{a}',
      ],
      ...[
        '\\class{evil}{a}',
        '\\data{a=b}{c}',
        '\\id{a}{b}',
        '\\text{<img src=x onerror=alert(1)>}',
        '\\color{red;x:y}a',
      ],
      '\\def\\a{\\a\\a}\\a',
    ])
      check(await formula(tex, true))
  })

  it('of any text never throws', async () => {
    const pieces = [
      '\\frac',
      '{',
      '}',
      '^',
      '_',
      'x',
      '1',
      '\\left(',
      '\\right',
      '&',
      '\\\\',
      '\\begin{matrix}',
      '\\end{matrix}',
      '#',
      '\\text{',
      '\\def\\a',
    ]
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...pieces), { maxLength: 20 }), async (said) => {
        check(await formula(said.join(''), false))
      }),
      { numRuns: 100 },
    )
  })
})
