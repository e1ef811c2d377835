import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  featuresNeeded,
  LIMITS,
  toolCallText,
  ToolCallParser,
  type AnsweredPart,
  type Prompt,
} from '../../../mesh/protocol/index.ts'

const call = (name: string, given = '{}'): string => toolCallText({ name, arguments: given })

/** Neighbouring contents joined, as a reader sees them. */
function joined(parts: readonly AnsweredPart[]): (string | { name: string; arguments: string })[] {
  const said: ReturnType<typeof joined> = []
  for (const part of parts) {
    const last = said.at(-1)
    if (part.kind === 'call') said.push({ name: part.name, arguments: '' })
    else if (part.kind === 'arguments') {
      const { name, arguments: before } = said.pop() as { name: string; arguments: string }
      said.push({ name, arguments: before + part.text })
    } else if (typeof last === 'string') said[said.length - 1] = last + part.text
    else said.push(part.text)
  }
  return said
}

function read(...pieces: string[]): ReturnType<typeof joined> {
  const parser = new ToolCallParser()
  return joined([...pieces.flatMap((piece) => parser.push(piece)), ...parser.end()])
}

describe('the text of an answer', () => {
  it('is content and calls, in their order', () => {
    const text = `Let me see.\n${call('a.b', '{"x": 1}')}\n${call('c')}\nThere.`
    expect(read(text)).toEqual([
      'Let me see.',
      { name: 'a.b', arguments: '{"x": 1}' },
      { name: 'c', arguments: '{}' },
      'There.',
    ])
  })

  it('is released at once, but for what may become a call', () => {
    const parser = new ToolCallParser()
    const said = (piece: string): string => joined(parser.push(piece)).join('')
    expect(said('Hello, ')).toBe('Hello,')
    expect(said('a < b')).toBe(' a < b')
    expect(said(' <tool')).toBe('')
    expect(said('s> ')).toBe(' <tools>')
    expect(said('<')).toBe('')
    expect(parser.calls).toBe(0)
    expect(joined(parser.end())).toEqual([' <'])
  })

  it('keeps arguments digit for digit', () => {
    const given = '{"big": 12345678901234567890, "one": 1.0,"s": "</tool_call> \\"\\\\", "deep": {"a": [ 1 , {} ]}}'
    expect(read(call('x', given))).toEqual([{ name: 'x', arguments: given }])
  })

  it.each<[string, string, string]>([
    ['without white space', '<tool_call>{"name":"x","arguments":{"a":1}}</tool_call>', '{"a":1}'],
    ['members turned round', '<tool_call>\n{"arguments": {"a": 1}, "name": "x"}\n</tool_call>', '{"a":1}'],
    ['more members', '<tool_call>{"name":"x","arguments":{"a":1},"id":{}}</tool_call>', '{"a":1}'],
    ['arguments as text', '<tool_call>{"name":"x","arguments":"{\\"a\\": 1}"}</tool_call>', '{"a": 1}'],
    ['no arguments', '<tool_call>{"name":"x"}</tool_call>', '{}'],
  ])('reads a call with %s', (_what, text, given) => {
    expect(read(text)).toEqual([{ name: 'x', arguments: given }])
  })

  it.each<[string, string]>([
    ['broken off', '<tool_call>\n{"name": "x", "argum'],
    ['broken off in its marker', 'so <tool_ca'],
    ['closed in a string', '<tool_call>{"name": "x</tool_call>'],
    ['no JSON', '<tool_call>\nprint("x")\n</tool_call> and on'],
    ['a list', '<tool_call>[{"name": "x"}]</tool_call>'],
    ['without a name', '<tool_call>{"arguments": {}}</tool_call>'],
    ['with a name that no tool can have', '<tool_call>{"name": "a b", "arguments": {}}</tool_call>'],
    ['with arguments that are no object', '<tool_call>{"name": "x", "arguments": [1]}</tool_call>'],
    ['with text for arguments', '<tool_call>{"name": "x", "arguments": "now"}</tool_call>'],
  ])('has a call that is %s as it stands', (_what, text) => {
    expect(read(`well \n${text}`)).toEqual([`well \n${text}`])
  })

  it.each<[string, string, string]>([
    ['broken off in its arguments', '<tool_call>\n{"name": "x", "arguments": {"a": "b', '{"a": "b'],
    ['broken off in its closing', '<tool_call>{"name": "x", "arguments": {}}\n</tool_', '{}'],
    ['not closed', '<tool_call>\n{"name": "x", "arguments": {}}', '{}'],
    ['closed in its arguments', '<tool_call>{"name": "x", "arguments": {"a": [</tool_call>', '{"a": ['],
  ])('has a call that is %s as far as it came', (_what, text, given) => {
    expect(read(`well\n${text}`)).toEqual(['well', { name: 'x', arguments: given }])
  })

  it('loses nothing behind the arguments of a call', () => {
    const begun = '<tool_call>{"name": "x", "arguments": {}'
    expect(read(`${begun}, but</tool_call>`)).toEqual([{ name: 'x', arguments: '{}' }, ', but'])
    expect(read(`${begun}} or {"a": 1}</tool_call>!`)).toEqual([{ name: 'x', arguments: '{}' }, 'or {"a": 1}!'])
    expect(read(`${begun}} or`)).toEqual([{ name: 'x', arguments: '{}' }, 'or'])
    expect(read(`${begun}, "id": "1"}</tool_call>`)).toEqual([{ name: 'x', arguments: '{}' }])
  })

  it('tells arguments as they come, from the call on that has begun with a name', () => {
    const parser = new ToolCallParser()
    expect(parser.push('Well. <tool_call>\n{"name": "a.b", "argum')).toEqual([{ kind: 'content', text: 'Well.' }])
    expect(parser.push('ents": ')).toEqual([])
    expect(parser.push('{"x"')).toEqual([
      { kind: 'call', index: 0, name: 'a.b' },
      { kind: 'arguments', index: 0, text: '{"x"' },
    ])
    expect(parser.calls).toBe(1)
    expect(parser.push(': "}</tool_call>')).toEqual([{ kind: 'arguments', index: 0, text: ': "}</tool_call>' }])
    expect(parser.push('"}')).toEqual([{ kind: 'arguments', index: 0, text: '"}' }])
    expect(parser.push('}\n</tool_call>')).toEqual([])
    expect(parser.end()).toEqual([])
  })

  it('goes on behind what is no call', () => {
    expect(read(`<tool_call>nothing</tool_call>\n${call('x')}`)).toEqual([
      '<tool_call>nothing</tool_call>',
      { name: 'x', arguments: '{}' },
    ])
  })

  it('finds a marker behind the beginning of one', () => {
    expect(read(`<<tool_<${call('x')}`)).toEqual(['<<tool_<', { name: 'x', arguments: '{}' }])
    expect(read(`<tool_call>{} </tool_</tool_call>${call('x')}`)).toEqual([
      '<tool_call>{} </tool_</tool_call>',
      { name: 'x', arguments: '{}' },
    ])
  })

  it('has no more calls than an answer may have', () => {
    const parts = read(call('x').repeat(LIMITS.answerToolCallsMax + 1))
    expect(parts).toHaveLength(LIMITS.answerToolCallsMax + 1)
    expect(parts.at(-1)).toBe(call('x'))
  })

  it('holds no more back than one call may have, and white space of a line', () => {
    const parser = new ToolCallParser()
    parser.push('<tool_call>')
    let held = '<tool_call>'.length
    for (let i = 0; i < 300; i++) {
      held += 1024 - parser.push('"'.padEnd(1024, '<tool_call>')).reduce((sum, part) => sum + lengthOf(part), 0)
      expect(held).toBeLessThanOrEqual(LIMITS.answerToolCallLengthMax)
    }
    const spaces = new ToolCallParser()
    expect(joined(spaces.push(' '.repeat(1000)))[0]!.toString().length).toBeGreaterThan(900)
  })
})

const lengthOf = (part: AnsweredPart): number => (part.kind === 'content' ? part.text.length : 0)

describe('however a text is cut', () => {
  const fragment = fc.oneof(
    fc.constantFrom('<tool_call>', '</tool_call>', '\n', ' ', '<', '{"name": "x", "arguments": {}}', '"', '\\', 'é😀'),
    fc.string({ maxLength: 5 }),
    fc.constantFrom(call('a'), `\n${call('b', '{"s": "</tool_call>"}')}`, ' '.repeat(70)),
  )
  const cut = fc.tuple(fc.array(fragment, { maxLength: 12 }), fc.array(fc.nat(400), { maxLength: 12 }))

  it('says the same', () => {
    fc.assert(
      fc.property(cut, ([fragments, places]) => {
        const text = fragments.join('')
        const borders = [0, ...places.map((at) => at % (text.length + 1)).toSorted((a, b) => a - b), text.length]
        const pieces = borders.slice(1).map((border, i) => text.slice(borders[i], border))
        const parser = new ToolCallParser()
        const said: AnsweredPart[] = []
        let before = ''
        for (const piece of pieces) {
          said.push(...parser.push(piece))
          before += piece
          // a reader that begins here anew is where this one is
          const other = new ToolCallParser()
          expect(joined(other.push(before))).toEqual(joined(said))
          expect(other.calls).toBe(parser.calls)
        }
        expect(joined([...said, ...parser.end()])).toEqual(read(text))
      }),
      { numRuns: 500 },
    )
  })

  it('loses nothing but the white space around calls', () => {
    fc.assert(
      fc.property(fc.array(fragment, { maxLength: 12 }), (fragments) => {
        const text = fragments.join('')
        // of a call that was broken off the markup is wanting
        const solid = (all: string): string => all.replaceAll(/\s|\}|<\/?tool_call>|<(?:\/[a-z_]*)?$/g, '')
        const said = read(text)
        // calls that are written otherwise are compared by what they say
        const written = said.map((part) => (typeof part === 'string' ? part : toolCallText(part))).join('')
        expect(solid(written)).toBe(solid(text))
        if (said.every((part) => typeof part === 'string')) expect(said.join('')).toBe(text)
      }),
      { numRuns: 500 },
    )
  })
})

describe('featuresNeeded', () => {
  const prompt: Prompt = { kind: 'chat', messages: [{ role: 'user', content: 'x' }] }
  const tools = [{ name: 'x', parameters: '{}' }]
  const toolCalls = [{ id: '1', name: 'x', arguments: '{}' }]
  const auto = { kind: 'tool-calls', choice: 'auto', callsMax: 1 } as const

  it.each<[Parameters<typeof featuresNeeded>[0], string[]]>([
    [{ prompt }, []],
    [{ prompt: { kind: 'text', text: '' }, format: { kind: 'json' }, logprobs: 0 }, ['json', 'logprobs']],
    [{ prompt: { ...prompt, tools } }, ['tools']],
    [{ prompt, sampling: { repeatPenalty: 1.1 } }, ['repeatPenalty']],
    [{ prompt, sampling: { logitBias: [{ token: 1, bias: 2 }] }, logprobs: 1 }, ['logprobs', 'logitBias']],
    [{ prompt: { ...prompt, messages: [{ role: 'assistant', content: '', toolCalls }] } }, ['tools']],
    [{ prompt: { ...prompt, tools }, format: auto }, ['tools']],
    [{ prompt: { ...prompt, tools }, format: { ...auto, content: { kind: 'json' } } }, ['json', 'tools']],
  ])('of %j are %j', (request, features) => {
    expect(featuresNeeded(request)).toEqual(features)
  })
})
