/** What an engine tells of its tokens, and what it holds answers to; an engine that cannot says so. */
import { describe, expect, it } from 'vitest'
import { GREEDY, LIMITS, type OutputFormat, type Prompt } from '../../mesh/protocol/index.ts'
import { codeOf, type EngineUnderTest } from './engine.suite.ts'

/** Of log probabilities whose batches had another shape. */
const NOISE = 0.05

const SCHEMA: OutputFormat = {
  kind: 'json-schema',
  schema: JSON.stringify({
    type: 'object',
    properties: { name: { type: 'string', maxLength: 8 }, size: { enum: ['small', 'large'] } },
    required: ['name', 'size'],
    additionalProperties: false,
  }),
}

export function outputTests({ model, isExact, generate }: EngineUnderTest): void {
  describe('log probabilities', () => {
    const sampling = { ...GREEDY, seed: 3, temperature: 1 }

    it('come with each token, the likeliest first, and only when they are asked for', async () => {
      expect(model().features).toContain('logprobs')
      expect((await generate()).logprobs).toEqual([])
      const { ids, logprobs } = await generate({ sampling, logprobs: 4 })
      expect(logprobs).toHaveLength(ids.length)
      for (const { logprob, top } of logprobs) {
        expect(logprob).toBeLessThanOrEqual(0)
        expect(top.length).toBeGreaterThan(0)
        expect(top.length).toBeLessThanOrEqual(4)
        expect(top.map((each) => each.logprob)).toEqual(top.map((each) => each.logprob).toSorted((a, b) => b - a))
        expect(top.reduce((sum, each) => sum + Math.exp(each.logprob), 0)).toBeLessThanOrEqual(1 + 1e-3)
        // the drawn one is among the likeliest, or less likely than all of them
        expect(top[0]!.logprob).toBeGreaterThanOrEqual(logprob)
      }
    })

    it('are of the token alone when no others are asked for', async () => {
      const { logprobs } = await generate({ logprobs: 0, maxTokens: 5 })
      expect(logprobs.map((each) => each.top)).toEqual([[], [], [], [], []])
    })

    it('are those of the likeliest token in a greedy answer', async () => {
      const { logprobs } = await generate({ logprobs: LIMITS.topLogprobsMax })
      for (const { bytes, logprob, top } of logprobs) {
        expect(logprob).toBe(top[0]!.logprob)
        expect(top.filter((each) => each.logprob === logprob).map((each) => Buffer.from(each.bytes))).toContainEqual(
          Buffer.from(bytes),
        )
      }
    })

    it('have the bytes of the text', async () => {
      const { text, logprobs } = await generate({ sampling, logprobs: 1, maxTokens: 200 })
      expect(Buffer.concat(logprobs.map((each) => each.bytes)).toString('utf8')).toBe(text)
    })

    it('go on at the seam', async () => {
      const whole = await generate({ logprobs: 2 })
      const { ids, logprobs } = await generate({ logprobs: 2, generated: whole.ids.slice(0, 15) })
      const common = ids.findIndex((id, i) => id !== whole.ids[15 + i])
      const compared = logprobs.slice(0, common < 0 ? undefined : common)
      expect(compared.length).toBeGreaterThan(0)
      for (const [i, { logprob }] of compared.entries())
        expect(Math.abs(logprob - whole.logprobs[15 + i]!.logprob)).toBeLessThan(isExact ? 1e-9 : NOISE)
    })
  })

  describe('an answer held to a format', () => {
    it.each<OutputFormat>([{ kind: 'json' }, SCHEMA])('$kind', async (format) => {
      const answer = generate({ format, maxTokens: 300 })
      if (!model().features.includes('json')) return expect(await codeOf(answer)).toBe('INVALID_REQUEST')
      const { text, finishReason } = await answer
      if (finishReason === 'stop') expect(JSON.parse(text)).toBeTypeOf('object')
      else expect(text).toMatch(/^\{/)
    })

    it('calls the tool that it must call, or refuses', async () => {
      const prompt: Prompt = {
        kind: 'chat',
        messages: [{ role: 'user', content: 'x' }],
        tools: [{ name: 'a.b', parameters: '{"type":"object","properties":{}}' }],
      }
      const format: OutputFormat = { kind: 'tool-calls', choice: 'required', callsMax: 1 }
      if (!model().features.includes('tools')) {
        expect(await codeOf(generate({ prompt }))).toBe('INVALID_REQUEST')
        return expect(await codeOf(generate({ prompt, format }))).toBe('INVALID_REQUEST')
      }
      const { text } = await generate({ prompt, format, maxTokens: 300 })
      expect(text).toMatch(/^<tool_call>\n\{"name": "a\.b", "arguments": \{\s*\}\}\n<\/tool_call>$/)
    })

    it('refuses a schema that it cannot hold to, and says which parameter it was', async () => {
      const refused = generate({ format: { kind: 'json-schema', schema: '{"type":"string","pattern":"^a"}' } })
      await expect(refused).rejects.toMatchObject({ code: 'INVALID_REQUEST', param: 'response_format' })
      expect((await generate({ maxTokens: 3 })).ids).toHaveLength(3)
    })
  })
}
