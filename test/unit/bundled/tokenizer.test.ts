import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { readTokenizer } from '../../eval/embedding.ts'
import { pathOf } from '../../eval/onnx.ts'

const cases = JSON.parse(readFileSync(pathOf('test/eval/bundled/embedding-tokens.json'), 'utf8')) as [
  string,
  number[],
][]

describe('the tokenizer of the bundled embedding model', () => {
  const tokenize = readTokenizer()

  it('gives the tokens that the training saw: notes, accents, emoji, CJK, other scripts, control characters', () => {
    expect(cases.length).toBe(500)
    expect(cases.filter(([text]) => /[^\p{Script=Latin}\p{Script=Common}]/u.test(text)).length).toBeGreaterThan(150)
    const wrong = cases.filter(([text, ids]) => JSON.stringify(tokenize(text)) !== JSON.stringify(ids))
    expect(wrong).toEqual([])
  })

  it('folds case and accents, and sees one word behind any sign', () => {
    expect(tokenize('(Café)').slice(1, -1)).toEqual(tokenize('cafe'))
    expect(tokenize('  the\tKITCHEN ')).toEqual(tokenize('the kitchen'))
  })

  it('has a token for every byte: nothing is unknown', () => {
    for (const text of ['\u0000\u0001\u001f', '\u{10ffff}', '\ud800'])
      expect(tokenize(text).every((id) => Number.isInteger(id) && id > 0)).toBe(true)
  })
})
