/** What an answer is kept under: everything that decides it, however it was spelled, and nothing else. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { answerKey, isRepeatable, type Asked } from '../../../coordinator/cache/index.ts'
import { GREEDY, type ChatMessage, type Prompt } from '../../../mesh/protocol/index.ts'
import { DIGEST, OTHER_DIGEST } from '../coordinator/snapshots.ts'

const text = fc.string({ unit: 'grapheme', maxLength: 12 })
const message: fc.Arbitrary<ChatMessage> = fc.record(
  {
    role: fc.constantFrom('system' as const, 'user' as const, 'assistant' as const),
    content: text,
    name: text,
    thought: text,
  },
  { requiredKeys: ['role', 'content'] },
)
const tool = fc.record(
  { name: text, description: text, parameters: fc.constant('{"type":"object"}') },
  { requiredKeys: ['name', 'parameters'] },
)
const prompt: fc.Arbitrary<Prompt> = fc.oneof(
  fc.record({ kind: fc.constant('text' as const), text }),
  fc.record(
    {
      kind: fc.constant('chat' as const),
      messages: fc.array(message, { minLength: 1, maxLength: 3 }),
      tools: fc.array(tool, { minLength: 1, maxLength: 2 }),
      thinking: fc.record({ isOn: fc.boolean() }),
    },
    { requiredKeys: ['kind', 'messages'] },
  ),
)
const asked: fc.Arbitrary<Asked> = fc.record(
  {
    tenant: text,
    localOnly: fc.boolean(),
    digest: fc.constantFrom(DIGEST, OTHER_DIGEST),
    prompt,
    sampling: fc.record({
      temperature: fc.constantFrom(0, 0.5, 1),
      topP: fc.constantFrom(0.5, 1),
      topK: fc.nat(50),
      minP: fc.constantFrom(0, 0.1),
      presencePenalty: fc.constantFrom(0, 1),
      frequencyPenalty: fc.constantFrom(0, 1),
      seed: fc.nat(),
    }),
    stop: fc.array(text, { maxLength: 2 }),
    maxTokens: fc.nat(1000),
    logprobs: fc.nat(5),
    format: fc.constantFrom({ kind: 'json' as const }, { kind: 'json-schema' as const, schema: '{}' }),
    thought: fc.record({ open: text, close: text, isOpen: fc.boolean() }),
  },
  { requiredKeys: ['tenant', 'localOnly', 'digest', 'prompt', 'sampling', 'stop', 'maxTokens'] },
)

/** What of `asked` decides nothing: the seed of what is greedy. */
const decisive = ({ sampling, ...rest }: Asked): unknown => {
  const { seed, ...others } = sampling
  return { ...rest, sampling: others.temperature === 0 ? others : { ...others, seed } }
}

const shuffled = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(shuffled)
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).map(([name, member]) => [name, shuffled(member)] as const)
  return Object.fromEntries([...members.reverse(), ['absent', undefined]])
}

describe('answerKey', () => {
  it('is equal for requests that are equal in all that decides, and different for all others', () => {
    fc.assert(
      fc.property(asked, asked, (a, b) => {
        const isEqual = (() => {
          try {
            expect(decisive(a)).toStrictEqual(decisive(b))
            return true
          } catch {
            return false
          }
        })()
        expect(answerKey(a) === answerKey(b)).toBe(isEqual)
      }),
      { numRuns: 300 },
    )
  })

  it('changes with each single member, at any depth', () => {
    fc.assert(
      fc.property(asked, (a) => {
        const keys = new Set([answerKey(a)])
        const others: Asked[] = [
          { ...a, tenant: `${a.tenant}+` },
          { ...a, localOnly: !a.localOnly },
          { ...a, route: 'cloud' },
          { ...a, digest: a.digest === DIGEST ? OTHER_DIGEST : DIGEST },
          { ...a, stop: [...a.stop, 'x'] },
          { ...a, maxTokens: a.maxTokens + 1 },
          { ...a, logprobs: (a.logprobs ?? 0) + 1 },
          { ...a, format: { kind: 'json-schema', schema: '{"type":"string"}' } },
          { ...a, thought: { open: 'o', close: 'c', isOpen: a.thought?.isOpen !== true } },
          { ...a, prompt: { kind: 'text', text: `${JSON.stringify(a.prompt)}` } },
          ...(['temperature', 'topP', 'topK', 'minP', 'presencePenalty', 'frequencyPenalty'] as const).map((name) => ({
            ...a,
            sampling: { ...a.sampling, [name]: a.sampling[name] + 0.25 },
          })),
        ]
        for (const other of others) keys.add(answerKey(other))
        expect(keys.size).toBe(others.length + 1)
      }),
      { numRuns: 100 },
    )
  })

  it('does not depend on the order of members, nor on members that are undefined', () => {
    fc.assert(
      fc.property(asked, (a) => {
        expect(answerKey(shuffled(a) as Asked)).toBe(answerKey(a))
      }),
    )
  })

  it('has the seed where something is drawn, and only there', () => {
    const base: Asked = {
      tenant: 'local',
      localOnly: false,
      digest: DIGEST,
      prompt: { kind: 'text', text: 'why' },
      sampling: { ...GREEDY, seed: 1 },
      stop: [],
      maxTokens: 8,
    }
    const seeded = (temperature: number, seed: number): Asked => ({
      ...base,
      sampling: { ...base.sampling, temperature, seed },
    })
    expect(answerKey(seeded(0, 1))).toBe(answerKey(seeded(0, 2)))
    expect(answerKey(seeded(0.1, 1))).not.toBe(answerKey(seeded(0.1, 2)))
    expect(answerKey(base)).toMatch(/^[0-9a-f]{64}$/)
  })
})

describe('isRepeatable', () => {
  it.each([
    ['greedy', 0, undefined, false, true],
    ['greedy with a seed', 0, undefined, true, true],
    ['drawn by a seed of the client', 0.7, undefined, true, true],
    ['drawn by a seed of ours', 0.7, undefined, false, false],
    ['greedy with log probabilities', 0, 0, true, false],
  ])('%s', (_what, temperature, logprobs, namedSeed, expected) => {
    const sampling = { ...GREEDY, seed: 1, temperature }
    expect(isRepeatable({ sampling, ...(logprobs !== undefined && { logprobs }) }, namedSeed)).toBe(expected)
  })
})
