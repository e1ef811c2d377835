/** A held attempt: it prefills, waits for the tokens that were made elsewhere, and goes on behind them. */
import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { GenerationEvent, GenerationRequest } from '../../node/engines/index.ts'
import { codeOf, collect, request, SUITE_SLOTS, type EngineUnderTest } from './engine.suite.ts'

const never = new AbortController().signal

interface Held {
  readonly commit: (tail: readonly number[]) => void
  readonly refuse: (error: SkeinError) => void
  /** The events from `prepared` on. */
  readonly rest: AsyncGenerator<GenerationEvent>
}

async function* drain(events: AsyncIterator<GenerationEvent>): AsyncGenerator<GenerationEvent> {
  for (let step = await events.next(); !step.done; step = await events.next()) yield step.value
}

export function holdTests({ engine, isExact, generate }: EngineUnderTest): void {
  /** Starts a held attempt and reads it up to `prepared`. */
  async function held(overrides: Partial<GenerationRequest> = {}, signal: AbortSignal = never): Promise<Held> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly number[]>()
    const events = engine().generate(request({ ...overrides, hold: promise }), signal)
    const iterator = events[Symbol.asyncIterator]()
    for (;;) {
      const step = await iterator.next()
      expect(step.done ?? false, 'a held attempt is prepared before it ends').toBe(false)
      expect(step.value.type, 'a held attempt makes no token').not.toBe('tokens')
      if (step.value.type === 'prepared') return { commit: resolve, refuse: reject, rest: drain(iterator) }
    }
  }

  describe('a held attempt', () => {
    it.each([
      [0, 0],
      [0, 5],
      [10, 0],
      [10, 1],
      [10, 12],
    ])('that was given %i tokens goes on behind %i more', async (given, more) => {
      const whole = await generate()
      const attempt = await held({ generated: whole.ids.slice(0, given) })
      attempt.commit(whole.ids.slice(given, given + more))
      const tail = await collect(attempt.rest)
      expect(tail.indices[0]).toBe(given + more)
      expect(tail.ids).toHaveLength(whole.ids.length - given - more)
      expect(tail.usage.completionTokens).toBe(whole.ids.length)
      if (!isExact) return
      expect(tail.ids).toEqual(whole.ids.slice(given + more))
      const before = await generate({ maxTokens: given + more + 1 })
      expect(whole.text.endsWith(tail.text)).toBe(true)
      expect(before.text.length + tail.text.length).toBeGreaterThan(whole.text.length)
    })

    it('lives through a hold that is settled before it is prefilled', async () => {
      const whole = await generate()
      const hold = Promise.resolve(whole.ids.slice(0, 4))
      const events: string[] = []
      for await (const event of engine().generate(request({ hold }), never)) events.push(event.type)
      expect(events.filter((type) => type !== 'progress')[0]).toBe('prepared')
      expect(events.filter((type) => type === 'tokens')).toHaveLength(whole.ids.length - 4)
    })

    it('ends at once when the tail is the rest of the answer', async () => {
      const whole = await generate({ maxTokens: 12 })
      const attempt = await held({ maxTokens: 12, generated: whole.ids.slice(0, 5) })
      attempt.commit(whole.ids.slice(5))
      const rest = await collect(attempt.rest)
      expect(rest).toMatchObject({ ids: [], finishReason: 'length', usage: { completionTokens: 12 } })
    })

    it('ends at once when a stop string ends in the tail', async () => {
      const whole = await generate()
      const stop = [whole.text.slice(9, 19)]
      const cut = await generate({ stop })
      expect(cut.finishReason).toBe('stop')
      const attempt = await held({ stop, generated: cut.ids.slice(0, -2) })
      attempt.commit(cut.ids.slice(-2))
      expect(await collect(attempt.rest)).toMatchObject({ ids: [], text: '', finishReason: 'stop' })
    })

    it('keeps its sequence, and gives it back when it is cancelled', async () => {
      const controller = new AbortController()
      const attempts = await Promise.all(Array.from({ length: SUITE_SLOTS }, () => held({}, controller.signal)))
      expect(engine().stats()).toMatchObject({ running: SUITE_SLOTS, prefillTokensPending: 0 })
      expect(await codeOf(generate({ maxTokens: 3 }))).toBe('NO_FREE_SLOT')
      const reason = new SkeinError('CLIENT_CLOSED', 'the move was given up')
      const codes = attempts.map((attempt) => codeOf(collect(attempt.rest)))
      controller.abort(reason)
      expect(await Promise.all(codes)).toEqual(attempts.map(() => 'CLIENT_CLOSED'))
      const answers = await Promise.all(attempts.map(() => generate({ maxTokens: 3 })))
      expect(answers.map((answer) => answer.ids.length)).toEqual(attempts.map(() => 3))
    })

    it('lets its neighbours decode', async () => {
      const attempt = await held()
      expect((await generate({ maxTokens: 10 })).ids).toHaveLength(10)
      attempt.commit([])
      expect((await collect(attempt.rest)).ids).toHaveLength(40)
    })

    it('ends with the error that its hold was rejected with', async () => {
      const attempt = await held()
      const ended = codeOf(collect(attempt.rest))
      attempt.refuse(new SkeinError('CLIENT_CLOSED', 'the move was given up'))
      expect(await ended).toBe('CLIENT_CLOSED')
      expect((await generate({ maxTokens: 3 })).ids).toHaveLength(3)
    })

    it('refuses a tail of ids that the model does not have', async () => {
      const attempt = await held()
      attempt.commit([2 ** 31])
      expect(await codeOf(collect(attempt.rest))).toBe('INVALID_REQUEST')
      expect((await generate({ maxTokens: 3 })).ids).toHaveLength(3)
    })

    it('tells that it lives', async () => {
      const attempt = await held()
      const first = await attempt.rest.next()
      expect(first.value).toMatchObject({ type: 'progress', phase: 'waiting' })
      attempt.commit([])
      expect((await collect(attempt.rest)).ids).toHaveLength(40)
    })
  })
}
