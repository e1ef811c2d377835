/** Answers that go on behind text that was released elsewhere, of tokens that mean nothing here. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GREEDY, LIMITS, type ErrorCode } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { AnswerText } from '../../../node/engines/answer-text.ts'
import { AttemptRun, textBehind } from '../../../node/engines/attempt-run.ts'
import type { GenerationEvent, GenerationRequest, Tail } from '../../../node/engines/index.ts'
import { TextTokens } from '../../../node/engines/upstream/tokens.ts'
import { codeOf } from '../../compliance/engine.suite.ts'

const THINK = { open: '<think>', close: '</think>', isOpen: false }
/** Tokens are UTF-16 code units here. */
const units = (ids: readonly number[]): string => String.fromCharCode(...ids)
const idsOf = (text: string): number[] => Array.from({ length: text.length }, (_, i) => text.charCodeAt(i))

/** What is released of `text` in all when it is cut behind `at` tokens, and whether a stop string ended it. */
function crossed(
  text: string,
  at: number,
  stop: readonly string[],
): { readonly text: string; readonly stopped: boolean } {
  const source = new AnswerText(units, stop)
  const said = idsOf(text.slice(0, at))
    .map((id) => source.push(id))
    .join('')
  if (source.stopped) return { text: said, stopped: true }
  const target = new AnswerText(units, stop)
  target.resume(said, at, [])
  // what was held back is made again
  const rest = idsOf(text.slice(said.length))
    .map((id) => target.push(id))
    .join('')
  const last = target.stopped ? '' : target.end()
  return { text: said + rest + last, stopped: target.stopped }
}

describe('text behind which an answer goes on', () => {
  it('is released once, and a stop string may begin in it', () => {
    // `a` was released, since only `ab` may become the stop string; and the next part makes one of both
    const text = new AnswerText(units, ['abc'])
    text.resume('xa', 2, [])
    expect(idsOf('bc').map((id) => text.push(id))).toEqual(['', ''])
    expect(text.stopped).toBe(true)
    const other = new AnswerText(units, ['abc'])
    other.resume('xa', 2, [])
    expect(idsOf('bd').map((id) => other.push(id))).toEqual(['', 'bd'])
  })

  it('makes the same answer as without the border, wherever that is', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 24 })
    const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), {
      maxLength: 3,
    })
    fc.assert(
      fc.property(letters, stops, fc.nat(24), (text, stop, cut) => {
        const at = Math.min(cut, text.length)
        const whole = crossed(text, text.length, stop)
        const moved = crossed(text, at, stop)
        expect(moved.stopped).toBe(whole.stopped)
        expect(moved.text).toBe(whole.text)
      }),
      { numRuns: 300 },
    )
  })

  it('has a character again that was begun on the other side', () => {
    const bytes = (ids: readonly number[]): string => Buffer.from(ids).toString('utf8')
    const characters = fc.string({ unit: fc.constantFrom('a', 'é', '→', '🪿'), maxLength: 12 })
    fc.assert(
      fc.property(characters, fc.nat(48), (text, cut) => {
        const source = new AnswerText(bytes, [])
        const said = [...Buffer.from(text).subarray(0, cut)].map((id) => source.push(id)).join('')
        expect(said).not.toContain('\uFFFD')
        const target = new AnswerText(units, [])
        target.resume(said, cut, [])
        const rest = idsOf(text.slice(said.length)).map((id) => target.push(id))
        expect(said + rest.join('') + target.end()).toBe(text)
      }),
    )
  })

  it('has its thought told apart, and no stop string is looked for there', () => {
    const text = new AnswerText(units, ['END'], THINK)
    text.resume('<think>\nEND of it', 9, [])
    const rest = idsOf(' all</think>ok END!').map((id) => text.push(id))
    expect(rest.join('')).toBe(' all</think>ok ')
    expect(text.stopped).toBe(true)
    // those of the thought that was begun elsewhere, and ` all</think>`
    expect(text.thoughtTokens).toBe(9 + 12)
  })

  it('loses the opening of a thought that the prompt has opened', () => {
    expect(textBehind('<think>\nhm', { ...THINK, isOpen: true })).toBe('hm')
    expect(textBehind('<think>\nhm', THINK)).toBe('<think>\nhm')
    expect(textBehind('hm <think>', { ...THINK, isOpen: true })).toBe('hm <think>')
  })
})

function make(overrides: Partial<GenerationRequest> = {}, contextTokens = 100): AttemptRun {
  const request: GenerationRequest = {
    id: 'one',
    prompt: { kind: 'text', text: 'x' },
    sampling: { ...GREEDY, seed: 1 },
    stop: [],
    maxTokens: 20,
    generated: [],
    ...overrides,
  }
  const clock = new ManualClock()
  const shape = { promptTokens: 2, contextTokens, vocabularySize: 200, detokenize: units, clock }
  return new AttemptRun({ request, ...shape, tokenize: idsOf })
}

async function eventsOf(run: AttemptRun): Promise<GenerationEvent[]> {
  const events: GenerationEvent[] = []
  for await (const event of run.events) events.push(event)
  return events
}

/** Pieces of a text, as ids. */
const PIECES = [2 ** 31, 2 ** 31 + 1, 2 ** 31 + 2]

describe('an attempt that goes on behind text', () => {
  it('counts the tokens before it by their number, and its context by its own', async () => {
    const run = make({ generated: PIECES, said: 'abcdefgh' }, 12)
    expect(run.behind).toEqual(idsOf('abcdefgh'))
    run.deliver(idsOf('ij'))
    expect(run.ended).toBe(true)
    const [tokens, end] = await eventsOf(run)
    expect(tokens).toMatchObject({ index: 3, text: 'ij' })
    // 2 of the prompt, 8 of the text and 2 more fill the context
    expect(end).toMatchObject({ finishReason: 'length', usage: { completionTokens: 5 } })
  })

  it('begins anew behind nothing, though there were tokens', () => {
    const run = make({ generated: PIECES, said: '', format: { kind: 'json' } })
    expect(run.behind).toEqual([])
    expect(run.answer).toEqual(PIECES)
  })

  it.each<[string, Partial<GenerationRequest>]>([
    ['a format', { format: { kind: 'json' } }],
    ['log probabilities', { logprobs: 0 }],
  ])('refuses text of an answer with %s', (_, more) => {
    expect(() => make({ generated: PIECES, said: '{"a', ...more })).toThrowError(
      expect.objectContaining({ code: 'NOT_CONTINUABLE' }),
    )
  })

  it('takes the whole text when it is committed, in place of what it was given', async () => {
    const hold: Promise<Tail> = Promise.resolve({ ids: PIECES.slice(1), said: 'abc' })
    const run = make({ generated: PIECES.slice(0, 1), said: 'a', hold })
    await run.prepared()
    expect(run.behind).toEqual(idsOf('abc'))
    expect(run.answer).toEqual(PIECES)
    run.deliver(idsOf('d'))
    run.finish('stop')
    expect((await eventsOf(run)).filter(({ type }) => type === 'tokens')).toMatchObject([{ index: 3, text: 'd' }])
  })

  it('takes text though it was given tokens, of a source that continues by text', async () => {
    const hold: Promise<Tail> = Promise.resolve({ ids: PIECES, said: 'abc' })
    const run = make({ hold })
    await run.prepared()
    expect(run.behind).toEqual(idsOf('abc'))
    expect(run.answer).toHaveLength(3)
  })
})

describe('pieces of text', () => {
  const tokens = new TextTokens()
  const text = fc.string({ unit: 'grapheme', maxLength: 30 })

  it('are larger than any id of a vocabulary, and whole characters', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(text, fc.string({ unit: fc.constantFrom('\0', 'a', 'é', '→', '🪿') })),
        async (said) => {
          const bytes = Buffer.from(said.toWellFormed())
          const ids = await tokens.idsOf(bytes)
          expect(tokens.detokenize(ids)).toBe(said.toWellFormed())
          for (const id of ids) {
            expect(id).toBeGreaterThanOrEqual(LIMITS.vocabularyTokensMax)
            expect(tokens.detokenize([id])).not.toContain('\uFFFD')
          }
        },
      ),
      { numRuns: 200 },
    )
  })

  it('are told from tokens by an attempt that has no vocabulary', async () => {
    const code = await codeOf(
      (async () => {
        const { vocabularySize, firstId, detokenize } = tokens
        const request = {
          id: '',
          prompt: { kind: 'text', text: '' },
          sampling: { ...GREEDY, seed: 1 },
          stop: [],
        } as const
        new AttemptRun({
          request: { ...request, maxTokens: 4, generated: [42] },
          ...{ promptTokens: 1, contextTokens: 99, vocabularySize, firstId, detokenize, clock: new ManualClock() },
        })
      })(),
    )
    expect(code).toBe<ErrorCode>('NOT_CONTINUABLE')
  })
})
