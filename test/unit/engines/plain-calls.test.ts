import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { answeredCalls, toolCallText, ToolCallParser } from '../../../mesh/protocol/index.ts'
import { PlainCallText } from '../../../node/engines/plain-calls.ts'

function written(...pieces: string[]): string {
  const calls = new PlainCallText()
  return pieces.map((piece) => calls.push(piece)).join('') + calls.end()
}
const call = (name: string, given: string): string => toolCallText({ name, arguments: given })

describe('a bare call', () => {
  it.each<[string, string, string]>([
    ['as the template has it', '{"name": "a.b", "parameters": {"x": 1}}', call('a.b', '{"x": 1}')],
    ['in other white space', ' \n{ "name":"x","parameters":{ } }\n', `${call('x', '{ }')}\n`],
    [
      'and another',
      '{"name": "x", "parameters": {}}; {"name": "y", "parameters": {"s": "}\\"{"}}',
      `${call('x', '{}')}\n${call('y', '{"s": "}\\"{"}')}`,
    ],
    ['and text', '{"name": "x", "parameters": {}} done', `${call('x', '{}')} done`],
  ])('%s is one in our markup', (_what, text, markup) => {
    expect(written(text)).toBe(markup)
    const parser = new ToolCallParser()
    expect(answeredCalls([...parser.push(markup), ...parser.end()]).length).toBeGreaterThan(0)
  })

  it.each([
    'Hello {"name": "x", "parameters": {}}',
    '{"name": "x", "arguments": {}}',
    '{"name": "a b", "parameters": {}}',
    '{"name": "x", "parameters": [1]}',
    '{"name": "x", "para',
    `${' '.repeat(300)}{"name": "x", "parameters": {}}`,
    '',
  ])('is none in %j', (text) => {
    expect(written(text)).toBe(text)
  })

  it('is told as it comes, and as far as it came', () => {
    const calls = new PlainCallText()
    expect(calls.push('{"name": "x", "param')).toBe('')
    expect(calls.push('eters": {"a"')).toBe('<tool_call>\n{"name": "x", "arguments": {"a"')
    expect(calls.push(': 1}')).toBe(': 1}')
    expect(calls.end()).toBe('')
    expect(written('{"name": "x", "parameters": {}, "id": 1}')).toBe(
      '<tool_call>\n{"name": "x", "arguments": {}, "id": 1}',
    )
  })

  it('is the same however it is cut', () => {
    const fragment = fc.oneof(
      fc.constantFrom(
        '{"name": "x", "parameters": {"a": [1]}}',
        '; ',
        '\n',
        '{',
        '}',
        '"',
        '{"name": "',
        '"parameters": ',
      ),
      fc.string({ maxLength: 4 }),
    )
    const cut = fc.tuple(fc.array(fragment, { maxLength: 8 }), fc.array(fc.nat(200), { maxLength: 12 }))
    fc.assert(
      fc.property(cut, ([fragments, places]) => {
        const text = fragments.join('')
        const borders = [0, ...places.map((at) => at % (text.length + 1)).toSorted((a, b) => a - b), text.length]
        expect(written(...borders.slice(1).map((border, i) => text.slice(borders[i], border)))).toBe(written(text))
        expect(written(...text)).toBe(written(text))
      }),
      { numRuns: 1000 },
    )
  })
})
