import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  answeredCalls,
  toolCallText,
  ToolCallParser,
  type AnsweredCall,
  type Tool,
} from '../../../mesh/protocol/index.ts'
import { AnswerText } from '../../../node/engines/answer-text.ts'
import type { CallSyntax, MarkedSyntax } from '../../../node/engines/call-text.ts'
import { callTextOf, callTokens, markOf } from '../../../node/engines/call-texts.ts'

const TOOLS: readonly Tool[] = [
  {
    name: 'a.b',
    parameters: JSON.stringify({
      type: 'object',
      properties: { s: { type: 'string' }, n: { type: 'integer' }, o: { type: 'object' }, t: { type: 'boolean' } },
    }),
  },
  { name: 'c', parameters: '{"type":"object"}' },
]

function written(syntax: CallSyntax, ...pieces: string[]): string {
  const calls = callTextOf(syntax, TOOLS)!
  return pieces.map((piece) => calls.push(piece)).join('') + calls.end()
}

function read(text: string): { calls: AnsweredCall[]; content: string } {
  const parser = new ToolCallParser()
  const parts = [...parser.push(text), ...parser.end()]
  return {
    calls: answeredCalls(parts),
    content: parts.map((part) => (part.kind === 'content' ? part.text : '')).join(''),
  }
}

const GIVEN = '{"s": "}]</tool_call>[ARGS]\\"{", "n": 1.50, "o": {"x": [1, {}]}}'
const BEGIN = '<｜tool▁calls▁begin｜>'
const CALL = '<｜tool▁call▁begin｜>'
const SEP = '<｜tool▁sep｜>'
const END = '<｜tool▁call▁end｜>'
const ENDS = '<｜tool▁calls▁end｜>'

/** Of each: a call of `a.b` with `GIVEN`, and one of `c` without arguments behind it. */
const FAMILIES: readonly (readonly [syntax: MarkedSyntax, what: string, text: string])[] = [
  ['mistral', 'a list', `[TOOL_CALLS] [{"name": "a.b", "arguments": ${GIVEN}}, {"name": "c", "arguments": {}}]`],
  [
    'mistral',
    'a list with ids',
    `[TOOL_CALLS][{"name": "a.b", "arguments": ${GIVEN}, "id": "abcdefghi"},{"name":"c","arguments":{},"id":"x"}]`,
  ],
  ['mistral', 'members turned round', `[TOOL_CALLS][{"arguments": ${GIVEN}, "name": "a.b"}, {"name": "c"}]`],
  ['mistral-named', 'names', `[TOOL_CALLS]a.b[ARGS]${GIVEN}[TOOL_CALLS]c[ARGS]{}`],
  ['mistral-named', 'names and ids', `[TOOL_CALLS]a.b[CALL_ID]123456789[ARGS]${GIVEN}\n[TOOL_CALLS]c[ARGS] {}`],
  [
    'deepseek',
    'fences',
    `${BEGIN}${CALL}function${SEP}a.b\n\`\`\`json\n${GIVEN}\n\`\`\`${END}\n${CALL}function${SEP}c\n\`\`\`json\n{}\n\`\`\`\n${END}${ENDS}`,
  ],
  ['deepseek-bare', 'no fences', `${BEGIN}${CALL}a.b${SEP}${GIVEN}${END}${CALL}c${SEP}{}${END}${ENDS}`],
  [
    'command',
    'an action',
    `<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "a.b", "parameters": ${GIVEN}},\n    {"tool_name": "c", "parameters": {}}\n]<|END_ACTION|>`,
  ],
  ['granite', 'a list', `<|tool_call|>[{"name": "a.b", "arguments": ${GIVEN}}, {"name": "c", "arguments": {}}]`],
  [
    'phi',
    'a mark each',
    `<|tool_call|>{"name": "a.b", "arguments": ${GIVEN}}<|/tool_call|><|tool_call|>{"name": "c", "arguments": {}}<|/tool_call|>`,
  ],
  [
    'phi',
    'one list',
    `<|tool_call|>[{"name": "a.b", "arguments": ${GIVEN}}, {"name": "c", "arguments": {}}]<|/tool_call|>`,
  ],
]

describe.each(FAMILIES)('calls as %s writes them, with %s', (syntax, what, text) => {
  it('are ours, and nothing else is said', () => {
    const { calls, content } = read(written(syntax, text))
    expect(calls.map(({ name }) => name)).toEqual(['a.b', 'c'])
    expect(JSON.parse(calls[0]!.arguments)).toEqual(JSON.parse(GIVEN))
    if (!what.includes('turned')) expect(calls[0]!.arguments).toBe(GIVEN)
    expect(calls[1]!.arguments).toBe('{}')
    expect(content).toBe('')
  })

  it('come behind text, and have text behind them', () => {
    const { calls, content } = read(written(syntax, `Let me see. ${text} Then`))
    expect(calls).toHaveLength(2)
    expect(content).toBe('Let me see.Then')
  })

  it('are the same wherever they are cut', () => {
    const whole = written(syntax, text)
    expect(written(syntax, ...text)).toBe(whole)
    for (let at = 0; at <= text.length; at++) {
      expect(written(syntax, text.slice(0, at), text.slice(at)), `cut at ${at}`).toBe(whole)
      // what is told so far is the beginning of what is told in all
      const begun = callTextOf(syntax, TOOLS)!.push(text.slice(0, at))
      expect(whole.startsWith(begun), `told up to ${at}: ${begun}`).toBe(true)
    }
  })

  it('are calls as far as they came, where the answer is broken off', () => {
    for (let at = 0; at < text.length; at++) {
      const told = written(syntax, text.slice(0, at))
      const [first] = read(told).calls
      if (first) expect(GIVEN.startsWith(first.arguments) || what.includes('turned'), `broken off at ${at}`).toBe(true)
      // what is no call yet is text, but for the mark of a list in which an object has begun
      else expect(told === text.slice(0, at) || told.startsWith('<tool_call>\n{'), `broken off at ${at}`).toBe(true)
    }
  })
})

describe('a mark', () => {
  it.each<[MarkedSyntax, string]>([
    ['mistral', '[TOOL_CALLS] is how I call'],
    ['mistral', '[TOOL_CALLS]'],
    ['mistral', '[TOOL_CALLS] ["x"]'],
    ['mistral', '[TOOL'],
    ['mistral-named', '[TOOL_CALLS]a b[ARGS]{}'],
    ['mistral-named', '[TOOL_CALLS][ARGS]{}'],
    ['mistral-named', `[TOOL_CALLS]${'x'.repeat(65)}[ARGS]{}`],
    ['mistral-named', '[TOOL_CALLS]a.b[ARGS][1]'],
    ['deepseek', `${BEGIN}none${ENDS}`],
    ['deepseek-bare', `${BEGIN}${CALL}a b${SEP}{}`],
    ['command', '<|START_ACTION|>[{"tool_name": "x", "arguments": {}}]'],
    ['granite', '<|tool_call|>[]'],
    ['phi', `<|tool_call|>${' '.repeat(300)}{}`],
  ])('of %s that no call comes behind is text: %j', (syntax, text) => {
    expect(written(syntax, text)).toBe(text)
    expect(written(syntax, ...text)).toBe(text)
  })

  it('is found behind one that was none', () => {
    const { calls, content } = read(written('mistral-named', '[TOOL_CALLS]or [TOOL_CALLS]c[ARGS]{}'))
    expect(calls).toEqual([{ name: 'c', arguments: '{}' }])
    expect(content).toBe('[TOOL_CALLS]or')
    expect(read(written('granite', '<|tool_call|><|tool_call|>[{"name": "c", "arguments": {}}]')).calls).toHaveLength(1)
  })

  it('has a call whose object is over, whatever stands behind it', () => {
    expect(written('command', '<|START_ACTION|>[{"tool_name": "c", "parameters": {}, but')).toBe(
      `${toolCallText({ name: 'c', arguments: '{}' })}, but`,
    )
    expect(written('deepseek', `${BEGIN}${CALL}c${SEP}{}\nwell`)).toBe(
      `${toolCallText({ name: 'c', arguments: '{}' })}\nwell`,
    )
    expect(written('deepseek', `${BEGIN}${CALL}c${SEP}{}\n\`\`\``)).toBe(toolCallText({ name: 'c', arguments: '{}' }))
  })

  it('is made of words that vocabularies may have tokens for', () => {
    expect(callTokens('mistral-named')).toEqual(['[TOOL_CALLS]', '[CALL_ID]', '[ARGS]'])
    for (const [syntax] of FAMILIES) expect(callTokens(syntax)).toContain(markOf(syntax))
    expect(callTokens('tagged')).toEqual([])
    expect(callTextOf('tagged', TOOLS)).toBeUndefined()
  })
})

const XML = `<tool_call>
<function=a.b>
<parameter=s>
two "lines"
<b>\\</b>
</parameter>
<parameter=n>
-3
</parameter>
<parameter=o>
{"x": [1]}
</parameter>
<parameter=t>
True
</parameter>
<parameter=other>
7
</parameter>
</function>
</tool_call>`

describe('calls that are written parameter by parameter', () => {
  const GIVEN_XML = { s: 'two "lines"\n<b>\\</b>', n: -3, o: { x: [1] }, t: true, other: '7' }

  it('have text and JSON as their schema says', () => {
    const { calls, content } = read(written('parameters', `So.\n${XML}\n${XML.replace('a.b', 'c')}`))
    expect(content).toBe('So.')
    expect(calls.map(({ name }) => name)).toEqual(['a.b', 'c'])
    expect(JSON.parse(calls[0]!.arguments)).toEqual(GIVEN_XML)
    expect(JSON.parse(calls[1]!.arguments)).toEqual({ ...GIVEN_XML, n: '-3', o: '{"x": [1]}', t: 'True' })
  })

  it('have a text where a value is not the JSON that it should be', () => {
    const text =
      '<tool_call><function=a.b><parameter=n>many\n</parameter><parameter=s>\n\n</parameter></function></tool_call>'
    expect(read(written('parameters', text)).calls).toEqual([{ name: 'a.b', arguments: '{"n": "many", "s": ""}' }])
  })

  it('are the same wherever they are cut', () => {
    const text = `So: ${XML} <tool_call> and`
    const whole = written('parameters', text)
    expect(written('parameters', ...text)).toBe(whole)
    for (let at = 0; at <= text.length; at++) {
      expect(written('parameters', text.slice(0, at), text.slice(at)), `cut at ${at}`).toBe(whole)
      expect(whole.startsWith(callTextOf('parameters', TOOLS)!.push(text.slice(0, at)))).toBe(true)
    }
  })

  it('tell a text as it comes', () => {
    const calls = callTextOf('parameters', TOOLS)!
    expect(calls.push('<tool_call>\n<function=a.b>\n<par')).toBe('<tool_call>\n{"name": "a.b", "arguments": {')
    expect(calls.push('ameter=s>\nab"')).toBe('"s": "ab\\"')
    expect(calls.push('c</par')).toBe('c')
    expect(calls.push('t\n')).toBe('</part')
    expect(calls.push('</parameter>')).toBe('"')
    expect(calls.push('<parameter=n>1')).toBe(', "n": ')
    expect(calls.end()).toBe('')
  })

  it.each<[string, string]>([
    [
      '<tool_call>\n{"name": "c", "arguments": {}}\n</tool_call>',
      '<tool_call>\n{"name": "c", "arguments": {}}\n</tool_call>',
    ],
    ['<tool_call>\n<function=a b>', '<tool_call>\n<function=a b>'],
    ['<tool_call>\n<func', '<tool_call>\n<func'],
    ['<tool_call><function=c>well', '<tool_call>\n{"name": "c", "arguments": {}}\n</tool_call>well'],
    ['<tool_call><function=c>\n</function>\n', '<tool_call>\n{"name": "c", "arguments": {}}\n</tool_call>'],
    ['<tool_call><function=c><parameter=k>v</par', '<tool_call>\n{"name": "c", "arguments": {"k": "v</par'],
    ['<tool_call><function=c><parameter=a"\\>v', '<tool_call>\n{"name": "c", "arguments": {"a\\"\\\\": "v'],
  ])('are told of %j as %j', (text, told) => {
    expect(written('parameters', text)).toBe(told)
  })
})

describe('whatever a model writes', () => {
  const syntaxes: readonly CallSyntax[] = [...new Set(FAMILIES.map(([syntax]) => syntax)), 'parameters']
  const word = fc.oneof(
    fc.constantFrom(...FAMILIES.map(([, , text]) => text), XML),
    fc.constantFrom(...syntaxes.flatMap((syntax) => callTokens(syntax)), '<tool_call>', '</tool_call>', '```json\n'),
    fc.constantFrom('[', '{', '}', ']', '"', '\\', ',', ' ', '\n', 'function', 'é😀', '{"name": "', '"arguments": {'),
    fc.constantFrom('<function=c>', '<parameter=s>\n', '\n</parameter>', '</function>', ' '.repeat(120)),
    fc.string({ maxLength: 4 }),
  )
  const cut = fc.tuple(
    fc.constantFrom(...syntaxes),
    fc.array(word, { maxLength: 10 }),
    fc.array(fc.nat(2000), { maxLength: 10 }),
  )

  it('is told the same, however it is cut', () => {
    fc.assert(
      fc.property(cut, ([syntax, words, places]) => {
        const text = words.join('')
        const borders = [0, ...places.map((at) => at % (text.length + 1)).toSorted((a, b) => a - b), text.length]
        const whole = written(syntax, text)
        expect(written(syntax, ...borders.slice(1).map((border, i) => text.slice(borders[i], border)))).toBe(whole)
        expect(written(syntax, ...Array.from({ length: text.length }, (_, i) => text[i]!))).toBe(whole)
      }),
      { numRuns: 400 },
    )
  })

  it('is told as it stands when it has no mark', () => {
    fc.assert(
      fc.property(fc.constantFrom(...syntaxes), fc.string(), (syntax, text) => {
        const mark = syntax === 'parameters' ? '<tool_call>' : markOf(syntax as MarkedSyntax)
        if (!text.includes(mark)) expect(written(syntax, text)).toBe(text)
      }),
      { numRuns: 300 },
    )
  })
})

describe('the text of an answer', () => {
  const detokenize = (ids: readonly number[]): string => ids.map((id) => String.fromCharCode(id)).join('')
  const idsOf = (text: string): number[] => Array.from({ length: text.length }, (_, i) => text.charCodeAt(i))
  const marks = { open: '<think>', close: '</think>', isOpen: true }

  it('has calls of what is said, and none of what is thought, wherever the answer moves', () => {
    const call = '[TOOL_CALLS]c[ARGS]{"x": 1}'
    const ids = idsOf(`I may write ${call} </think>\n\n${call} STOP more`)
    const answer = (from: number): string => {
      const text = new AnswerText(detokenize, ['STOP'], marks, callTextOf('mistral-named', TOOLS))
      // what was made elsewhere was told there
      for (const id of ids.slice(0, from)) text.push(id)
      return (
        ids
          .slice(from)
          .map((id) => text.push(id))
          .join('') + text.end()
      )
    }
    const whole = answer(0)
    expect(whole).toBe(`I may write ${call} </think>\n\n${toolCallText({ name: 'c', arguments: '{"x": 1}' })} `)
    for (let at = 0; at <= ids.length; at++) {
      const source = new AnswerText(detokenize, ['STOP'], marks, callTextOf('mistral-named', TOOLS))
      const before = ids
        .slice(0, at)
        .map((id) => source.push(id))
        .join('')
      expect(before + answer(at), `moved at ${at}`).toBe(whole)
    }
  })
})
