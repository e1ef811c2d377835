import { describe, expect, it } from 'vitest'
import type { Tool, ToolFormat } from '../../../mesh/protocol/index.ts'
import {
  behindMessage,
  channelAnswerGrammar,
  channelCallGrammar,
  inFinal,
} from '../../../node/engines/llama/channel-grammar.ts'
import { jsonGrammar } from '../../../node/engines/llama/json-grammar.ts'
import {
  callMark,
  markedAnswerGrammar,
  markedCallGrammar,
  type GrammarSyntax,
} from '../../../node/engines/llama/marked-call-grammar.ts'

const tool = (name: string, parameters: unknown): Tool => ({ name, parameters: JSON.stringify(parameters) })
const TYPED = tool('a.b', {
  type: 'object',
  properties: {
    text: { type: 'string', maxLength: 3 },
    unit: { enum: ['C', 'F'] },
    odd: { enum: ['one\ntwo'] },
    count: { type: 'integer' },
    deep: { $ref: '#/$defs/x' },
  },
  required: ['text', 'count'],
  $defs: { x: { type: 'boolean' } },
})
const OPEN = tool('c', { type: 'object' })
const FORCED: ToolFormat = { kind: 'tool-calls', choice: 'required', callsMax: 3 }
const SYNTAXES: readonly GrammarSyntax[] = [
  'mistral',
  'mistral-named',
  'deepseek',
  'deepseek-bare',
  'command',
  'granite',
  'phi',
  'parameters',
]

/** Rules by their names; each is there once, and names none that is not. */
function rulesOf(grammar: string): Map<string, string> {
  const rules = grammar.split('\n').map((line) => line.split(' ::= ') as [string, string])
  const names = new Set(rules.map(([name]) => name))
  expect(names.size).toBe(rules.length)
  for (const [, body] of rules) {
    const bare = body.replaceAll(/"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{[\d,]*\}/g, '')
    for (const [name] of bare.matchAll(/[a-z]\w*/g)) expect(names, body).toContain(name)
  }
  return new Map(rules)
}

describe.each(SYNTAXES)('the grammar of calls as %s writes them', (syntax) => {
  it('has the mark, and as many calls as are wanted', () => {
    const rules = rulesOf(markedAnswerGrammar(syntax, [TYPED, OPEN], FORCED))
    expect(rules.get('root')).toBe('calls')
    expect(rules.get('calls')).toContain(`"${callMark(syntax)}"`)
    expect(rules.get('calls')).toContain('{0,2}')
    expect(rules.get('call')).toMatch(/a\.b.* \| .*c/)
    expect(rulesOf(markedAnswerGrammar(syntax, [OPEN], { ...FORCED, callsMax: 1 })).get('calls')).not.toContain('{0,')
  })

  it('is of calls from the end of the mark on, in an answer that is free else', () => {
    const last = callMark(syntax).at(-1)!
    const root = rulesOf(markedCallGrammar(syntax, [TYPED], FORCED)).get('root')!
    expect(root.startsWith(`[^${last === ']' ? '\\]' : last}]* "${last}" `)).toBe(true)
  })

  it('leaves an answer that is held to JSON the choice', () => {
    const format: ToolFormat = { ...FORCED, choice: 'auto', content: { kind: 'json' } }
    expect(rulesOf(markedAnswerGrammar(syntax, [OPEN], format)).get('root')).toBe('calls | object')
  })
})

it('has parameters one by one: the required each, text up to its mark, lists of values as they are', () => {
  const rules = rulesOf(markedAnswerGrammar('parameters', [TYPED], FORCED))
  const [text, unit, odd, count, deep] = [...rules.get('call')!.matchAll(/ (r\d+\??)/g)].map(([, name]) => name!)
  expect(rules.get(text!)).toBe(String.raw`"<parameter=text>\n" until0 "\n"`)
  expect(unit).toMatch(/\?$/)
  expect(rules.get(unit!.slice(0, -1))).toBe(String.raw`"<parameter=unit>\n" ("C" | "F") "\n</parameter>" "\n"`)
  expect(rules.get(odd!.slice(0, -1))).toContain('until0')
  expect(rules.get(count!)).toBe(String.raw`"<parameter=count>\n" integer "\n</parameter>" "\n"`)
  expect(rules.get(deep!.slice(0, -1))).toContain('value')
  const open = rulesOf(markedAnswerGrammar('parameters', [OPEN], FORCED))
  expect(open.get('call')).toContain('{0,32}')
})

describe('the grammar of an answer in channels', () => {
  it('has a call in a header of its own', () => {
    const rules = rulesOf(channelAnswerGrammar([TYPED, OPEN], FORCED))
    expect(rules.get('call')).toMatch(/^"<\|channel\|>commentary to=functions\." \("a\.b" type r\d+ \| "c" type \w+\)$/)
    expect(rulesOf(channelCallGrammar([OPEN])).get('root')).toMatch(/^\[\^\.\]\* "\." /)
    const format: ToolFormat = { ...FORCED, choice: 'auto', content: { kind: 'json' } }
    expect(rulesOf(channelAnswerGrammar([OPEN], format)).get('root')).toBe(
      'call | "<|channel|>final<|message|>" object',
    )
  })

  it('has what is said in its last channel, behind a message where there was one', () => {
    const final = inFinal(jsonGrammar({ kind: 'json' }))
    expect(rulesOf(final).get('root')).toBe('"<|channel|>final<|message|>" (object)')
    expect(rulesOf(behindMessage(final)).get('root')).toBe(
      '"<|start|>assistant" ("<|channel|>final<|message|>" (object))',
    )
  })
})
