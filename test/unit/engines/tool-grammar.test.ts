import { describe, expect, it } from 'vitest'
import { LIMITS, type Tool, type ToolFormat } from '../../../mesh/protocol/index.ts'
import { answerGrammar, callable, callGrammar, FREE_CALLS } from '../../../node/engines/llama/tool-grammar.ts'

const tool = (name: string, parameters: unknown): Tool => ({ name, parameters: JSON.stringify(parameters) })
const NAMED = tool('say', { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] })
const OPEN = tool('a.b', { type: 'object' })
const FORCED: ToolFormat = { kind: 'tool-calls', choice: 'required', callsMax: 3 }

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

describe('the grammar of tool calls', () => {
  it('has the markup, the names and the arguments of each tool', () => {
    const rules = rulesOf(answerGrammar([NAMED, OPEN], FORCED))
    expect(rules.get('root')).toBe('calls')
    expect(rules.get('calls')).toBe(String.raw`call ("\n" call){0,2}`)
    expect(rules.get('call')).toMatch(
      /^"<tool_call>" "\\n\{\\"name\\": \\"" \("say\\", \\"arguments\\": " r\d+ \| "a\.b\\", \\"arguments\\": " \w+\) "\}\\n" "<\/tool_call>"$/,
    )
  })

  it('has one call alone where no more are wanted', () => {
    expect(rulesOf(answerGrammar([OPEN], { ...FORCED, callsMax: 1 })).get('root')).toBe('call')
  })

  it('is of a call from the token on that opens it, in an answer that is free else', () => {
    expect(rulesOf(callGrammar([NAMED])).get('root')).toMatch(/^\[\^>\]\* ">" "\\n/)
  })

  it('leaves an answer that is held to JSON the choice', () => {
    const format = { ...FREE_CALLS, content: { kind: 'json-schema' as const, schema: '{"type":"integer"}' } }
    expect(rulesOf(answerGrammar([NAMED], format)).get('root')).toBe('calls | integer')
    const bad = { ...format, content: { kind: 'json-schema' as const, schema: '{"type":"string","pattern":"x"}' } }
    expect(() => answerGrammar([NAMED], bad)).toThrow(expect.objectContaining({ param: 'response_format' }))
  })

  it.each<[string, unknown]>([
    ['a keyword that cannot be held to', { type: 'object', properties: { x: { type: 'string', pattern: 'x' } } }],
    ['no object', { type: 'string' }],
    ['anything', true],
    ['nothing at all', {}],
    ['a reference that points nowhere', { type: 'object', properties: { x: { $ref: '#/nowhere' } } }],
    ['more values than a grammar may list', { type: 'object', properties: { x: { enum: [...Array(501).keys()] } } }],
  ])('holds arguments of a schema that says %s to any object', (_what, schema) => {
    const rules = rulesOf(callGrammar([tool('x', schema), NAMED]))
    expect(rules.get('root')).toMatch(/\("x\\", \\"arguments\\": " (object|r\d+) \| "say/)
    const name = /arguments\\": " (\w+) \|/.exec(rules.get('root')!)![1]!
    expect(name === 'object' || /string ":"/.test(rules.get(name)! + [...rules.values()].join('\n'))).toBe(true)
    expect(rules.get('root')).toMatch(/"say\\", \\"arguments\\": " r\d+\)/)
  })

  it('wants no arguments where a schema names none', () => {
    const none = rulesOf(callGrammar([tool('x', { type: 'object', properties: {} })]))
    const rule = /arguments\\": " (\w+)\)/.exec(none.get('root')!)![1]!
    expect(none.get(rule)).toBe('"{" ws "" ws "}"')
  })

  it('has bounds for all tools together', () => {
    const large = tool('large', { type: 'object', properties: { x: { enum: [...Array(400).keys()] } } })
    const grammar = callGrammar([large, { ...large, name: 'larger' }])
    expect(grammar.split('"399"')).toHaveLength(2)
  })
})

it('keeps nothing of a schema that cannot be held to', () => {
  const listed = (from: number): object => ({ enum: Array.from({ length: 400 }, (_, i) => from + i) })
  const bad = tool('bad', { type: 'object', properties: { x: listed(0), y: { type: 'string', pattern: 'x' } } })
  const good = tool('good', { type: 'object', properties: { x: listed(1000) } })
  const grammar = callGrammar([bad, good])
  expect(grammar).toContain('"1399"')
  expect(grammar).not.toContain('"399"')
})

describe('the tools that may be called', () => {
  it('are all, or the one that is named', () => {
    expect(callable([NAMED, OPEN], FORCED)).toHaveLength(2)
    expect(callable([NAMED, OPEN], { ...FORCED, name: 'a.b' })).toEqual([OPEN])
  })

  it('are not none', () => {
    expect(() => callable([], FORCED)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST', param: 'tools' }))
    expect(() => callable([OPEN], { ...FORCED, name: 'x' })).toThrow(expect.objectContaining({ param: 'tool_choice' }))
  })

  it('are called as often as an answer may, when nothing else is said', () => {
    expect(FREE_CALLS.callsMax).toBe(LIMITS.answerToolCallsMax)
  })
})
