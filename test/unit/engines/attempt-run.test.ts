import { describe, expect, it } from 'vitest'
import { GREEDY, SkeinError } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { AttemptRun } from '../../../node/engines/attempt-run.ts'
import type { GenerationEvent, GenerationRequest } from '../../../node/engines/index.ts'

const LETTERS = 'abcdefghij'

function make(
  overrides: Partial<GenerationRequest> = {},
  contextTokens = 100,
): { run: AttemptRun; clock: ManualClock } {
  const clock = new ManualClock()
  const request: GenerationRequest = {
    id: 'one',
    prompt: { kind: 'text', text: 'x' },
    sampling: { ...GREEDY, seed: 1 },
    stop: [],
    maxTokens: 8,
    generated: [],
    ...overrides,
  }
  const detokenize = (ids: readonly number[]): string => ids.map((id) => LETTERS[id]).join('')
  const run = new AttemptRun({ request, promptTokens: 2, contextTokens, vocabularySize: 10, detokenize, clock })
  return { run, clock }
}

/** What waits to be read; the run has to have ended. */
async function eventsOf(run: AttemptRun): Promise<GenerationEvent[]> {
  const events: GenerationEvent[] = []
  for await (const event of run.events) events.push(event)
  return events
}

describe('AttemptRun', () => {
  it('tells progress unless a token was delivered since the last time', async () => {
    const { run } = make()
    run.progress('prefill', 1, 2)
    run.deliver([0])
    run.progress('decode', 1, 8)
    run.progress('decode', 1, 8)
    run.deliver([1])
    run.progress('decode', 2, 8)
    run.finish('stop')
    const types = (await eventsOf(run)).map((event) => (event.type === 'progress' ? event.phase : event.type))
    expect(types).toEqual(['prefill', 'tokens', 'decode', 'tokens', 'end'])
  })

  it('counts no token of earlier attempts as one that was delivered', async () => {
    const { run } = make({ generated: [0, 1, 2] })
    run.progress('prefill', 1, 5)
    run.finish('stop')
    expect((await eventsOf(run)).map((event) => event.type)).toEqual(['progress', 'end'])
  })

  it('takes the time that it was held out of the time of its prefill', async () => {
    const { promise, resolve } = Promise.withResolvers<readonly number[]>()
    const { run, clock } = make({ hold: promise })
    await clock.advance(10)
    run.admit(0)
    await clock.advance(100)
    const prepared = run.prepared()
    await clock.advance(5000)
    resolve([0, 1])
    expect(await prepared).toEqual([0, 1])
    await clock.advance(20)
    run.deliver([2])
    await clock.advance(7)
    run.finish('stop')
    const end = (await eventsOf(run)).at(-1)
    expect(end).toMatchObject({ type: 'end', usage: { completionTokens: 3 } })
    expect(end).toMatchObject({ timing: { waitMs: 10, prefillMs: 120, decodeMs: 7 } })
    expect(clock.pendingTimers).toBe(0)
  })

  it('tells twice a second that it is held, until it is cancelled', async () => {
    const { run, clock } = make({ hold: new Promise(() => {}), generated: [0] })
    void run.prepared()
    await clock.advance(1600)
    run.fail(new SkeinError('CLIENT_CLOSED', 'the move was given up'))
    const events: GenerationEvent[] = []
    await expect(
      (async () => {
        for await (const event of run.events) events.push(event)
      })(),
    ).rejects.toThrow('given up')
    const waiting = { type: 'progress', phase: 'waiting', done: 3, total: 3 }
    expect(events).toEqual([{ type: 'prepared' }, waiting, waiting, waiting])
    await clock.advance(1000)
    expect(clock.pendingTimers).toBe(0)
  })

  it('does not release the text of the tail, nor lose what it holds back', async () => {
    const { run } = make({ generated: [0], stop: ['cdx'], hold: Promise.resolve([1, 2]) })
    expect(await run.prepared()).toEqual([1, 2])
    run.deliver([3])
    run.deliver([4])
    run.finish('stop')
    const texts = (await eventsOf(run)).flatMap((event) => (event.type === 'tokens' ? [[event.index, event.text]] : []))
    expect(texts).toEqual([
      [3, ''],
      [4, 'cde'],
    ])
  })

  it.each([
    ['maxTokens', { maxTokens: 3 }, 100, { finishReason: 'length' }],
    ['the context', {}, 5, { finishReason: 'length' }],
    ['a stop string', { stop: ['x', 'bc'] }, 100, { finishReason: 'stop', stopIndex: 1 }],
  ])('ends at once when the tail reaches %s', async (_, overrides, contextTokens, end) => {
    const { run } = make({ ...overrides, hold: Promise.resolve([0, 1, 2]) }, contextTokens)
    await run.prepared()
    expect(run.ended).toBe(true)
    expect((await eventsOf(run)).at(-1)).toMatchObject({ type: 'end', ...end })
  })

  it('ends with what rejects its hold, prefilled or not', async () => {
    const { run } = make({ hold: Promise.reject(new SkeinError('CLIENT_CLOSED', 'the move was given up')) })
    await expect(eventsOf(run)).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
    expect(await run.prepared()).toEqual([])
  })

  it('drops the log probabilities of tokens behind its end', async () => {
    const { run } = make({ stop: ['b'] })
    const of = (logprob: number) => ({ bytes: new Uint8Array(), logprob, top: [] })
    run.deliver([0, 1, 2], [of(-1), of(-2), of(-3)])
    expect((await eventsOf(run))[0]).toEqual({
      type: 'tokens',
      index: 0,
      ids: [0, 1],
      text: 'a',
      logprobs: [of(-1), of(-2)],
    })
  })
})
