/** What every engine promises (see the port), run against each implementation. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  GREEDY,
  SkeinError,
  type ErrorCode,
  type FinishReason,
  type TokenLogprob,
  type Usage,
} from '../../mesh/protocol/index.ts'
import type { Engine, GenerationEvent, GenerationRequest, LoadedModel } from '../../node/engines/index.ts'
import { holdTests } from './engine-hold.suite.ts'
import { outputTests } from './engine-output.suite.ts'

export interface EngineSuiteInit {
  readonly name: string
  /** An engine without a model. */
  make(): Engine
  /** Loads a model with `SUITE_SLOTS` slots of `SUITE_CONTEXT_TOKENS` tokens. */
  load(engine: Engine): Promise<LoadedModel>
  /**
   * Whether a continuation is token for token the unbroken greedy run. True where nothing is computed; engines that
   * compute differ in the last bits, and the suite asks them for the shape of it alone.
   */
  readonly isExact: boolean
  /** False of an engine that tells no log probabilities and holds no answer to a format; true when absent. */
  readonly hasOutputs?: boolean
}

export const SUITE_SLOTS = 3
export const SUITE_CONTEXT_TOKENS = 512

export interface Answer {
  readonly ids: number[]
  readonly text: string
  /** What each event of tokens released. */
  readonly releases: string[]
  readonly indices: number[]
  readonly logprobs: TokenLogprob[]
  readonly finishReason: FinishReason
  readonly usage: Usage
}

/** What the parts of the suite are run against. */
export interface EngineUnderTest {
  /** With its model, from the first test on. */
  engine(): Engine
  model(): LoadedModel
  readonly isExact: boolean
  /** An attempt read to its end. */
  generate(overrides?: Partial<GenerationRequest>): Promise<Answer>
}

let attempts = 0

export function request(overrides: Partial<GenerationRequest> = {}): GenerationRequest {
  return {
    id: `attempt-${++attempts}`,
    prompt: {
      kind: 'chat',
      messages: [{ role: 'user', content: 'Whoever tires falls back, another takes the lead.' }],
    },
    sampling: { ...GREEDY, seed: 7 },
    stop: [],
    maxTokens: 40,
    generated: [],
    ...overrides,
  }
}

/** Reads an attempt to its end, holding it to the order of events that the port promises. */
export async function collect(events: AsyncIterable<GenerationEvent>): Promise<Answer> {
  const ids: number[] = []
  const indices: number[] = []
  const logprobs: TokenLogprob[] = []
  const releases: string[] = []
  let text = ''
  let end: (GenerationEvent & { type: 'end' }) | undefined
  for await (const event of events) {
    expect(end, 'no event comes after the end').toBeUndefined()
    if (event.type === 'tokens') {
      expect(event.ids.length).toBeGreaterThan(0)
      indices.push(event.index)
      ids.push(...event.ids)
      if (event.logprobs !== undefined) {
        expect(event.logprobs, 'one for each token').toHaveLength(event.ids.length)
        logprobs.push(...event.logprobs)
      }
      releases.push(event.text)
      text += event.text
    } else if (event.type === 'end') {
      text += event.text
      end = event
    }
  }
  expect(end, 'an attempt ends with an end event').toBeDefined()
  return { ids, indices, text, releases, logprobs, finishReason: end!.finishReason, usage: end!.usage }
}

/**
 * Moves an answer at every `step`th of its tokens, and at its last ones. A tail is followed for a few tokens, which shows
 * whether the state was rebuilt at the seam, and some to the end.
 * @param tail Goes on behind `generated`, up to `maxTokens` of both together when given.
 */
export async function expectSameWhereverMoved(
  whole: Answer,
  step: number,
  tail: (generated: readonly number[], maxTokens?: number) => Promise<Answer>,
): Promise<void> {
  const followed = 10
  const last = whole.ids.length
  const places = new Set([...Array(Math.ceil(last / step)).keys()].map((each) => each * step)).add(last - 1).add(last)
  for (const at of places) {
    const isWhole = at % (step * 12) === 0 || at + followed >= last
    const moved = await tail(whole.ids.slice(0, at), isWhole ? undefined : at + followed)
    const until = isWhole ? last : at + followed
    expect(moved.ids, `moved at ${at}`).toEqual(whole.ids.slice(at, until))
    // what is held back at a cut by length is given as it is, so that only what was released can be compared
    if (isWhole) expect(whole.releases.slice(0, at).join('') + moved.text, `moved at ${at}`).toBe(whole.text)
    else expect(moved.releases.join(''), `moved at ${at}`).toBe(whole.releases.slice(at, until).join(''))
    expect(moved.finishReason, `moved at ${at}`).toBe(isWhole ? whole.finishReason : 'length')
  }
}

const generate = (engine: Engine, overrides: Partial<GenerationRequest> = {}): Promise<Answer> =>
  collect(engine.generate(request(overrides), new AbortController().signal))

export async function codeOf(work: Promise<unknown>): Promise<ErrorCode | undefined> {
  return work.then(
    () => undefined,
    (error) => (error instanceof SkeinError ? error.code : undefined),
  )
}

/** Starts an attempt and resolves once its first tokens have come, with the iterator to go on or leave. */
export async function started(
  engine: Engine,
  overrides: Partial<GenerationRequest> = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<AsyncIterator<GenerationEvent>> {
  const events = engine.generate(request({ maxTokens: 400, ...overrides }), signal)[Symbol.asyncIterator]()
  for (;;) {
    const step = await events.next()
    expect(step.done ?? false, 'an answer has tokens before its end').toBe(false)
    if (step.value.type === 'tokens') return events
  }
}

export function engineSuite(init: EngineSuiteInit): void {
  describe(`Engine: ${init.name}`, () => {
    let engine: Engine
    let model: LoadedModel

    beforeAll(async () => {
      engine = init.make()
      model = await init.load(engine)
    }, 60_000)
    afterAll(() => engine.unload())

    const underTest: EngineUnderTest = {
      engine: () => engine,
      model: () => model,
      isExact: init.isExact,
      generate: (overrides) => generate(engine, overrides),
    }
    holdTests(underTest)
    if (init.hasOutputs !== false) outputTests(underTest)

    it('says what it loaded', () => {
      expect(model.slots).toBe(SUITE_SLOTS)
      expect(model.contextTokens).toBe(SUITE_CONTEXT_TOKENS)
      expect(engine.stats().running).toBe(0)
      expect(engine.stats().memoryBytes).toBeGreaterThanOrEqual(0)
    })

    it('answers with contiguous indices from 0, up to maxTokens', async () => {
      const answer = await generate(engine, { maxTokens: 25 })
      expect(answer.ids).toHaveLength(25)
      expect(answer.indices[0]).toBe(0)
      expect(new Set(answer.indices).size).toBe(answer.indices.length)
      expect(answer.finishReason).toBe('length')
      expect(answer.usage.completionTokens).toBe(25)
      expect(answer.usage.promptTokens).toBeGreaterThan(0)
      expect(answer.text.length).toBeGreaterThan(0)
    })

    it('gives the same answer to the same request', async () => {
      const first = await generate(engine)
      const second = await generate(engine)
      expect(second.text).toBe(first.text)
      expect(second.usage.cachedTokens).toBeGreaterThanOrEqual(0)
      expect(second.usage.cachedTokens).toBeLessThanOrEqual(second.usage.promptTokens)
    })

    it.each([1, 7, 20, 39])('goes on at index %i where the tokens so far end', async (position) => {
      const whole = await generate(engine)
      const tail = await generate(engine, { generated: whole.ids.slice(0, position) })
      expect(tail.indices[0]).toBe(position)
      expect(tail.ids).toHaveLength(whole.ids.length - position)
      expect(tail.usage.completionTokens).toBe(whole.ids.length)
      if (!init.isExact) return
      expect(tail.ids).toEqual(whole.ids.slice(position))
      expect(whole.text.endsWith(tail.text)).toBe(true)
    })

    it('ends at once when the tokens so far are the whole answer', async () => {
      const whole = await generate(engine, { maxTokens: 10 })
      const nothing = await generate(engine, { maxTokens: 10, generated: whole.ids })
      expect(nothing.ids).toEqual([])
      expect(nothing.finishReason).toBe('length')
      expect(nothing.usage.completionTokens).toBe(10)
    })

    it('ends in front of a stop string that crosses the borders of tokens', async () => {
      const whole = await generate(engine)
      // from the middle of one token to the middle of another
      const stop = whole.text.slice(9, 19)
      const answer = await generate(engine, { stop: [stop] })
      expect(answer.finishReason).toBe('stop')
      expect(answer.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)))
    })

    it('releases what it held back when the stop string does not come', async () => {
      const whole = await generate(engine)
      const answer = await generate(engine, { stop: [`${whole.text.slice(-6)}#never#`] })
      expect(answer.finishReason).toBe('length')
      expect(answer.text).toBe(whole.text)
    })

    it('rebuilds a half-seen stop string from the tokens so far', async () => {
      const whole = await generate(engine)
      const stop = whole.text.slice(9, 19)
      const cut = await generate(engine, { stop: [stop] })
      const position = cut.ids.length - 1
      const tail = await generate(engine, { stop: [stop], generated: cut.ids.slice(0, position) })
      expect(tail.indices[0]).toBe(position)
      if (!init.isExact) return
      expect(tail.finishReason).toBe('stop')
      expect(tail.ids).toEqual(cut.ids.slice(position))
      expect(cut.text.endsWith(tail.text)).toBe(true)
    })

    it('runs as many attempts as it has slots, and refuses one more', async () => {
      const running = await Promise.all(Array.from({ length: SUITE_SLOTS }, () => started(engine)))
      expect(engine.stats().running).toBe(SUITE_SLOTS)
      expect(await codeOf(generate(engine))).toBe('NO_FREE_SLOT')
      for (const events of running) await events.return?.()
      expect((await generate(engine, { maxTokens: 3 })).ids).toHaveLength(3)
    })

    it('answers parallel attempts each with its own text', async () => {
      const words = ['river', 'bridge', 'winter'].map((word) => ({
        prompt: { kind: 'text' as const, text: `The ${word} of the ${word} said to the ${word}` },
      }))
      const alone: Answer[] = []
      for (const word of words) alone.push(await generate(engine, word))
      const together = await Promise.all(words.map((word) => generate(engine, word)))
      expect(together.map((answer) => answer.ids.length)).toEqual([40, 40, 40])
      expect(together.map((answer) => answer.usage.promptTokens)).toEqual(alone.map((a) => a.usage.promptTokens))
      if (init.isExact) expect(together.map((answer) => answer.text)).toEqual(alone.map((answer) => answer.text))
    })

    it('throws the reason of an abort, and its slot is free for the next', async () => {
      const controller = new AbortController()
      const others = await Promise.all(Array.from({ length: SUITE_SLOTS - 1 }, () => started(engine)))
      const events = await started(engine, {}, controller.signal)
      const reason = new SkeinError('CLIENT_CLOSED', 'the client hung up')
      controller.abort(reason)
      await expect(
        (async () => {
          while (!(await events.next()).done) continue
        })(),
      ).rejects.toBe(reason)
      expect((await generate(engine, { maxTokens: 5 })).ids).toHaveLength(5)
      for (const other of others) await other.return?.()
      expect(engine.stats().running).toBe(0)
    })

    it('does not start under an aborted signal', async () => {
      const reason = new SkeinError('CLIENT_CLOSED', 'the client hung up')
      await expect(collect(engine.generate(request(), AbortSignal.abort(reason)))).rejects.toBe(reason)
    })

    it('refuses a prompt longer than its context, with both numbers', async () => {
      const text = 'another goose takes the lead and '.repeat(SUITE_CONTEXT_TOKENS)
      const refused = generate(engine, { prompt: { kind: 'text', text } })
      expect(await codeOf(refused)).toBe('CONTEXT_LENGTH_EXCEEDED')
      await expect(refused).rejects.toThrow(new RegExp(`\\d{3,} tokens.*${SUITE_CONTEXT_TOKENS}`))
    })

    it.each([-1, 0.5, 2 ** 31])('refuses %d among the tokens so far', async (id) => {
      const { ids } = await generate(engine, { maxTokens: 2 })
      expect(await codeOf(generate(engine, { generated: [...ids, id] }))).toBe('INVALID_REQUEST')
      expect(engine.stats().running).toBe(0)
    })

    it('ends with length when the context is full', async () => {
      const answer = await generate(engine, { maxTokens: 100_000 })
      expect(answer.finishReason).toBe('length')
      expect(answer.usage.promptTokens + answer.usage.completionTokens).toBe(SUITE_CONTEXT_TOKENS)
    })

    it('ends running attempts when it is unloaded, and takes a model again', async () => {
      const events = await started(engine)
      const drained = (async () => {
        while (!(await events.next()).done) continue
      })()
      const code = codeOf(drained)
      await engine.unload()
      expect(await code).toBe('ENGINE_FAILED')
      expect(await codeOf(generate(engine))).toBe('ENGINE_FAILED')
      await init.load(engine)
      expect((await generate(engine, { maxTokens: 3 })).ids).toHaveLength(3)
    }, 30_000)
  })
}
