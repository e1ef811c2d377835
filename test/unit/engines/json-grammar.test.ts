import { describe, expect, it } from 'vitest'
import { jsonGrammar } from '../../../node/engines/llama/json-grammar.ts'

const grammarOf = (schema: unknown): string => jsonGrammar({ kind: 'json-schema', schema: JSON.stringify(schema) })
const properties = (count: number, schema: unknown): Record<string, unknown> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, schema]))
const nested = (depth: number): unknown => (depth === 0 ? true : { type: 'array', items: nested(depth - 1) })

describe('jsonGrammar', () => {
  it('defines each rule that it names, once', () => {
    const grammar = grammarOf({
      type: 'object',
      properties: {
        name: { type: 'string', minLength: 1, maxLength: 9, title: 'Name', description: 'of the goose' },
        kind: { enum: ['a "quoted" one', 'back\\slash', 3, null, { x: 1 }] },
        born: { type: 'string', format: 'date-time' },
        mate: { anyOf: [{ $ref: '#' }, { type: 'null' }] },
        eggs: { type: 'array', items: { $ref: '#/$defs/egg~1s' }, minItems: 1, maxItems: 4 },
        age: { type: ['integer', 'null'], minimum: 0, maximum: 30 },
        rest: { type: 'object', additionalProperties: { type: 'number', minimum: 0 } },
      },
      required: ['name', 'unnamed'],
      $defs: { 'egg/s': { type: 'object', properties: { weight: { type: 'number' } } } },
    })
    const rules = grammar.split('\n').map((line) => line.split(' ::= ') as [string, string])
    const names = rules.map(([name]) => name)
    expect(new Set(names).size).toBe(names.length)
    for (const [, body] of rules) {
      const bare = body.replaceAll(/"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{[\d,]*\}/g, '')
      for (const [name] of bare.matchAll(/[a-z]\w*/g)) expect(names, body).toContain(name)
    }
    expect(names[0]).toBe('root')
  })

  it('writes values as JSON does, within quotes of the grammar', () => {
    expect(grammarOf({ const: 'a "b" \\ \n' })).toMatch(String.raw`root ::= "\"a \\\"b\\\" \\\\ \\n\""`)
  })

  it('counts small ranges out', () => {
    expect(grammarOf({ type: 'integer', minimum: 1, exclusiveMaximum: 4 })).toContain('r0 ::= "1" | "2" | "3"')
    expect(grammarOf({ type: 'integer', minimum: 0 })).toMatch(/^root ::= digits\n/)
  })

  it.each<[string, unknown, RegExp]>([
    ['an unknown keyword', { type: 'string', pattern: '^a' }, /pattern is not supported for string/],
    ["another type's keyword", { type: 'string', maxItems: 3 }, /maxItems is not supported for string/],
    ['an unknown type', { type: 'date' }, /type "date" is unknown/],
    ['an unknown format', { type: 'string', format: 'email' }, /format "email"/],
    ['nothing', false, /false is no schema/],
    ['an empty choice', { anyOf: [] }, /allows nothing/],
    ['values of no allowed type', { type: 'string', enum: [1, 2] }, /allows nothing/],
    ['an empty range', { type: 'integer', minimum: 3, maximum: 2 }, /allows nothing/],
    ['a wide range', { type: 'integer', minimum: 5 }, /integers from 5 to Infinity/],
    ['a range of numbers', { type: 'number', minimum: 2 }, /minimum of a number/],
    ['lengths that contradict', { type: 'string', minLength: 3, maxLength: 2 }, /maxLength is below/],
    ['a length beyond bounds', { type: 'string', maxLength: 1001 }, /maxLength is no whole number up to 1000/],
    ['a reference to elsewhere', { $ref: 'https://example.org/a' }, /does not point into the schema/],
    ['a reference to nothing', { $ref: '#/$defs/a' }, /points at nothing/],
    ['a reference to a prototype', { $ref: '#/constructor' }, /points at nothing/],
    ['siblings of a choice', { type: 'object', anyOf: [true] }, /anyOf stands beside type/],
    ['several schemas at once', { allOf: [true, true] }, /allOf/],
    ['too deep a nesting', nested(70), /nests deeper than 64/],
    ['too many schemas', { type: 'object', properties: properties(1001, true) }, /more than 1000 schemas/],
    ['too many values', { enum: Array.from({ length: 501 }, (_, i) => i) }, /more than 500 values/],
    [
      'too long texts together',
      { type: 'object', properties: properties(60, { type: 'string', maxLength: 1000 }) },
      /add up to more than 50000/,
    ],
  ])('refuses %s', (_, schema, why) => {
    expect(() => grammarOf(schema)).toThrow(why)
    expect(() => grammarOf(schema)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST', param: 'response_format' }) as Error,
    )
  })

  it('refuses what is no JSON', () => {
    expect(() => jsonGrammar({ kind: 'json-schema', schema: '{"type":' })).toThrow(/it is no JSON/)
  })
})
