/** Whether a server has the vocabulary of a file: one difference, and answers do not cross by ids. */
import { describe, expect, it } from 'vitest'
import { GREEDY } from '../../../mesh/protocol/index.ts'
import { disagreement, PROBES } from '../../../node/engines/upstream/agreement.ts'
import type { Question } from '../../../node/engines/upstream/dialects.ts'
import type { AskInit } from '../../../node/engines/upstream/http.ts'
import { biasFor, countedBy } from '../../../node/engines/upstream/penalties.ts'
import { vllmByIds } from '../../../node/engines/upstream/vllm-ids.ts'

const BOS = 1
const END = { id: 2, name: '<end>' }
/** Tokens are code points, behind those two. */
const idsOf = (text: string): number[] => Array.from(text, (character) => 10 + character.codePointAt(0)!)
const SAMPLE = ['a', ' b', '→'].map((text, i) => ({ id: 100 + i, text }))

const vocabulary = {
  facts: () =>
    Promise.resolve({ vocabularySize: 2 ** 21, bos: BOS as number | undefined, ends: [END], sample: SAMPLE }),
  plain: (texts: readonly string[]) => Promise.resolve(texts.map(idsOf)),
}

interface Deviation {
  readonly tokenize?: (text: string, ids: number[]) => number[] | undefined
  readonly detokenized?: string
}

const why = ({ tokenize = (_, ids) => ids, detokenized = 'a  b →' }: Deviation): Promise<string | undefined> =>
  disagreement(
    {
      ask: (path: string, { body }: AskInit) => {
        const { prompt = '', add_special_tokens: adds } = body as { prompt?: string; add_special_tokens?: boolean }
        if (path === '/detokenize') return Promise.resolve({ status: 200, headers: {}, body: { prompt: detokenized } })
        const ids = prompt === END.name ? [END.id] : [...(adds ? [BOS] : []), ...idsOf(prompt)]
        const tokens = tokenize(prompt, ids)
        const answer = tokens === undefined ? { status: 404, body: {} } : { status: 200, body: { tokens } }
        return Promise.resolve({ headers: {}, ...answer })
      },
    },
    'm',
    vocabulary,
  )

describe('a server and a file', () => {
  it('have one vocabulary when they agree on all that is asked', async () => {
    expect(await why({})).toBeUndefined()
  })

  it.each<[string, Deviation, RegExp]>([
    [
      'cuts one of the texts otherwise',
      { tokenize: (text, ids) => (text === PROBES.at(-1) ? ids.slice(1) : ids) },
      /cuts/,
    ],
    ['does not tell', { tokenize: () => undefined }, /does not tell/],
    ['begins texts with nothing', { tokenize: (_, ids) => ids.filter((id) => id !== BOS) }, /begins/],
    ['has another end', { tokenize: (text, ids) => (text === END.name ? [3] : ids) }, /end an answer/],
    ['writes out other texts', { detokenized: 'a c →' }, /other texts/],
  ])('have two when the server %s', async (_, deviation, expected) => {
    expect(await why(deviation)).toMatch(expected)
  })
})

const question = (overrides: Partial<Question> = {}): Question => ({
  model: 'm',
  prompt: { kind: 'text', text: 'x' },
  rendered: { tokens: 2, ids: [BOS, 20] },
  answer: [30, 31, 30],
  answerText: '',
  index: 3,
  counted: [30, 31, 30],
  sampling: { ...GREEDY, seed: 7 },
  maxTokens: 5,
  contextTokens: 64,
  isEndless: false,
  ...overrides,
})

describe('vLLM asked by ids', () => {
  it('is given prompt and answer, what is left, and every field of sampling', () => {
    const sampling = { temperature: 0, top_p: 1, top_k: -1, min_p: 0, seed: 7, repetition_penalty: 1, max_tokens: 5 }
    expect(vllmByIds([END.id], true).request(question())).toMatchObject({
      path: '/inference/v1/generate',
      body: {
        model: 'm',
        token_ids: [BOS, 20, 30, 31, 30],
        stream: true,
        sampling_params: { ...sampling, stop_token_ids: [2] },
      },
    })
    expect(vllmByIds([END.id], false).request(question({ maxTokens: 0, isEndless: true }))).toMatchObject({
      path: '/v1/completions',
      body: {
        prompt: [BOS, 20, 30, 31, 30],
        return_token_ids: true,
        max_tokens: 1,
        ignore_eos: true,
        stop_token_ids: [],
      },
    })
  })

  it('is heard to its end, and `abort` is none', () => {
    const { hear } = vllmByIds([], true)
    expect(hear({ choices: [{ token_ids: [5, 6], finish_reason: null }] })).toEqual({ text: '', ids: [5, 6] })
    expect(hear({ choices: [] })).toEqual({ text: '', ids: [] })
    expect(hear({ choices: [{ token_ids: [7], finish_reason: 'length' }] })).toMatchObject({ finishReason: 'length' })
    expect(() => hear({ choices: [{ token_ids: [7], finish_reason: 'abort' }] })).toThrowError(/abort/)
    expect(() => hear({ error: { message: 'no' } })).toThrowError(/no/)
    expect(() => hear({ choices: [{ token_ids: [-1] }] })).toThrowError(/unknown form/)
  })

  it('has what it does not count of penalties put on its logits, within its bounds', async () => {
    const sampling = { ...GREEDY, seed: 7, frequencyPenalty: 0.5, presencePenalty: 0.25 }
    expect(biasFor(question({ sampling }))).toEqual({ logit_bias: { '30': -1.25, '31': -0.75 } })
    expect(biasFor(question())).toEqual({})
    const many = Array.from({ length: 3000 }, (_, id) => id)
    const { logit_bias: bounded } = biasFor({ counted: [...many, ...new Array<number>(400).fill(5)], sampling }) as {
      logit_bias: Record<string, number>
    }
    expect(Object.keys(bounded)).toHaveLength(1024)
    expect(bounded['5']).toBe(-100)
    // whoever counts by itself, or has nothing to count, is not asked for it
    const never = (): Promise<readonly number[]> => Promise.reject(new RangeError('asked'))
    expect(await countedBy(sampling, 'llama-server', never)).toEqual([])
    expect(await countedBy({ ...GREEDY, seed: 1 }, 'vllm', never)).toEqual([])
    expect(await countedBy(sampling, 'vllm', () => Promise.resolve([1]))).toEqual([1])
  })
})
