import { describe, expect, it } from 'vitest'
import { GREEDY, SkeinError } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import {
  EchoEngine,
  echoDigest,
  isEchoPath,
  parseEchoPath,
  type GenerationEvent,
  type GenerationRequest,
} from '../../../node/engines/index.ts'

const request = (overrides: Partial<GenerationRequest> = {}): GenerationRequest => ({
  id: 'one',
  prompt: { kind: 'text', text: 'a b c' },
  sampling: { ...GREEDY, seed: 1 },
  stop: [],
  maxTokens: 4,
  generated: [],
  ...overrides,
})

async function make(path: string): Promise<{ engine: EchoEngine; clock: ManualClock }> {
  const clock = new ManualClock()
  const engine = new EchoEngine({ clock })
  await engine.load({ path, digest: echoDigest(path), slots: 2 })
  return { engine, clock }
}

/** Starts reading; the events, and the code of an error, come in as time is moved. */
async function read(
  { engine, clock }: { engine: EchoEngine; clock: ManualClock },
  overrides: Partial<GenerationRequest> = {},
): Promise<(GenerationEvent | { readonly type: 'error'; readonly code: string })[]> {
  const events: (GenerationEvent | { type: 'error'; code: string })[] = []
  const reading = async (): Promise<void> => {
    for await (const event of engine.generate(request(overrides), new AbortController().signal)) events.push(event)
  }
  void reading().catch((error: SkeinError) => events.push({ type: 'error', code: error.code }))
  await clock.advance(0)
  return events
}

describe('parseEchoPath', () => {
  it('reads the options of a label', () => {
    expect(parseEchoPath('echo:')).toEqual({ tokensPerStep: 1, contextTokens: 4096 })
    expect(
      parseEchoPath('echo:?tps=50&prefill=1000&step=4&ctx=128&answer=9&cache=1&load=250&work=1&mute=1&item=0.5'),
    ).toEqual({
      tokensPerSecond: 50,
      prefillTokensPerSecond: 1000,
      tokensPerStep: 4,
      contextTokens: 128,
      answerTokens: 9,
      isCached: true,
      loadMs: 250,
      doesWork: true,
      isMute: true,
      itemMs: 0.5,
    })
  })

  it.each([
    'model.gguf',
    'echo:?tps=0',
    'echo:?tps=fast',
    'echo:?speed=9',
    'echo:?step=513',
    'echo:?toString=1',
    'echo:?cache=2',
  ])('refuses %s', (path) => {
    expect(() => parseEchoPath(path)).toThrow(SkeinError)
  })

  it('tells labels from paths, and labels apart', () => {
    expect([isEchoPath('echo:'), isEchoPath('/models/echo.gguf')]).toEqual([true, false])
    expect(echoDigest('echo:?tps=1')).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(echoDigest('echo:?tps=1')).not.toBe(echoDigest('echo:?tps=2'))
  })
})

describe('EchoEngine', () => {
  it('gives tokens at its pace', async () => {
    const echo = await make('echo:?tps=10')
    const { clock } = echo
    const events = await read(echo)
    await clock.advance(99)
    expect(events).toEqual([])
    await clock.advance(1)
    expect(events).toEqual([{ type: 'tokens', index: 0, ids: [0], text: 'a ' }])
    await clock.advance(300)
    expect(events.map((event) => event.type)).toEqual(['tokens', 'tokens', 'tokens', 'tokens', 'end'])
    expect(events.at(-1)).toMatchObject({
      finishReason: 'length',
      usage: { promptTokens: 3, completionTokens: 4 },
      timing: { waitMs: 0, prefillMs: 100, decodeMs: 300 },
    })
    expect(clock.pendingTimers).toBe(0)
  })

  it('reports the progress of its prefill at least every second', async () => {
    const echo = await make('echo:?prefill=1&tps=10')
    const { engine, clock } = echo
    const events = await read(echo)
    await clock.advance(2900)
    expect(events.length).toBeGreaterThanOrEqual(3)
    expect(events[0]).toEqual({ type: 'progress', phase: 'prefill', done: 0, total: 3 })
    expect(engine.stats().prefillTokensPending).toBe(1)
    await clock.advance(200)
    expect(events.at(-1)?.type).toBe('tokens')
    await engine.unload()
    await clock.advance(0)
    expect(events.at(-1)).toEqual({ type: 'error', code: 'ENGINE_FAILED' })
    expect(clock.pendingTimers).toBe(0)
  })

  it('ends its prefill at a pace whose rest is shorter than the clock can tell', async () => {
    // 3 tokens take 1000/3 ms: begun at this time, a timer of that length leaves 2.8e-13 ms, less than the clock can add
    const echo = await make('echo:?prefill=9&tps=10')
    const { clock } = echo
    await clock.advance(4096.1)
    const events = await read(echo)
    await clock.advance(335)
    expect(echo.engine.stats().prefillTokensPending).toBe(0)
    await clock.advance(100)
    expect(events.at(-1)?.type).toBe('tokens')
  })

  it('ends by itself after the tokens that its label says', async () => {
    const echo = await make('echo:?tps=10&answer=5&step=2')
    const { clock } = echo
    const events = await read(echo, { maxTokens: 100 })
    await clock.advance(1000)
    expect(events.map((event) => (event.type === 'tokens' ? event.ids.length : event.type))).toEqual([2, 2, 1, 'end'])
    expect(events.at(-1)).toMatchObject({ finishReason: 'stop', usage: { completionTokens: 5 } })
  })

  it('does not end by itself when it must not', async () => {
    const echo = await make('echo:?tps=10&answer=5&step=2')
    const events = await read(echo, { maxTokens: 9, isEndless: true })
    await echo.clock.advance(2000)
    expect(events.at(-1)).toMatchObject({ finishReason: 'length', usage: { completionTokens: 9 } })
  })

  it('drops the tokens of a step that lie behind a stop string', async () => {
    const echo = await make('echo:?tps=10&step=8')
    const { clock } = echo
    const events = await read(echo, { stop: ['c'], maxTokens: 100 })
    await clock.advance(1000)
    expect(events).toMatchObject([
      { type: 'progress', phase: 'decode' },
      { type: 'tokens', ids: [0, 1, 2], text: 'a b ' },
      { type: 'end', finishReason: 'stop', text: '', usage: { completionTokens: 3 } },
    ])
  })

  it('tells twice a second that it decodes, while no token comes', async () => {
    const echo = await make('echo:?tps=0.4')
    const { clock } = echo
    const events = await read(echo, { maxTokens: 2 })
    await clock.advance(2500)
    expect(events.map((event) => event.type)).toEqual([...Array<string>(4).fill('progress'), 'tokens'])
    // the one at half a second after the token is passed over
    await clock.advance(2499)
    expect(events.slice(5)).toEqual(Array(3).fill({ type: 'progress', phase: 'decode', done: 1, total: 2 }))
    await clock.advance(1)
    expect(events.at(-1)).toMatchObject({ type: 'end', usage: { completionTokens: 2 } })
    expect(clock.pendingTimers).toBe(0)
  })

  it('takes the time that its label says to load, and tells how far it is', async () => {
    const clock = new ManualClock()
    const engine = new EchoEngine({ clock })
    const path = 'echo:?load=1200'
    const shares: number[] = []
    let isLoaded = false
    const loading = engine.load({ path, digest: echoDigest(path), slots: 2 }, (share) => shares.push(share))
    void loading.then(() => (isLoaded = true))
    await expect(engine.load({ path, digest: echoDigest(path), slots: 2 })).rejects.toThrow('has a model already')
    await clock.advance(1199)
    expect(isLoaded).toBe(false)
    await clock.advance(1)
    expect(isLoaded).toBe(true)
    expect(shares).toEqual([0, 500 / 1200, 1000 / 1200, 1].map((share) => expect.closeTo(share, 9) as number))
  })

  it('gives up a load when it is unloaded', async () => {
    const clock = new ManualClock()
    const engine = new EchoEngine({ clock })
    const path = 'echo:?load=1200'
    const loading = engine.load({ path, digest: echoDigest(path), slots: 2 })
    await engine.unload()
    await expect(loading).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
    expect(clock.pendingTimers).toBe(0)
  })

  it('prefills a tail at its pace, when its hold has brought one', async () => {
    const echo = await make('echo:?prefill=10&tps=10')
    const { clock } = echo
    const { promise, resolve } = Promise.withResolvers<readonly number[]>()
    const events = await read(echo, { hold: promise })
    await clock.advance(300)
    expect(events.at(-1)).toEqual({ type: 'prepared' })
    resolve([0, 1])
    await clock.advance(0)
    await clock.advance(299)
    expect(events.at(-1)?.type).toBe('progress')
    await clock.advance(1)
    expect(events.at(-1)).toMatchObject({ type: 'tokens', index: 2, ids: [2], text: 'c ' })
  })

  describe('with a cache', () => {
    const turn = (content: string, role: 'user' | 'assistant' = 'user') => ({ role, content })
    const cachedOf = async (
      echo: { engine: EchoEngine; clock: ManualClock },
      overrides: Partial<GenerationRequest>,
    ): Promise<{ cachedTokens: number; prefillMs: number }> => {
      const events = await read(echo, { maxTokens: 3, ...overrides })
      await echo.clock.advance(10_000)
      const end = events.at(-1)
      if (end?.type !== 'end') throw new SkeinError('INTERNAL', 'the answer did not end')
      return { cachedTokens: end.usage.cachedTokens, prefillMs: end.timing.prefillMs }
    }
    const first = { prompt: { kind: 'chat' as const, messages: [turn('one two three four')] } }
    const second = {
      prompt: {
        kind: 'chat' as const,
        messages: [turn('one two three four'), turn('one two three ', 'assistant'), turn('five six')],
      },
    }

    it('does not prefill what a slot remembers of the last prompt and answer', async () => {
      const echo = await make('echo:?prefill=10&tps=10&cache=1')
      // a role and four words; 100 ms more until the first token
      expect(await cachedOf(echo, first)).toEqual({ cachedTokens: 0, prefillMs: 600 })
      // all but the last, from which it draws
      expect(await cachedOf(echo, first)).toEqual({ cachedTokens: 4, prefillMs: 200 })
      // the first turn and its answer of three words, each with a role; left are a role and two words
      expect(await cachedOf(echo, second)).toEqual({ cachedTokens: 9, prefillMs: 400 })
      // the other slot remembers nothing, and this prompt fits neither
      expect(await cachedOf(echo, { prompt: { kind: 'text', text: 'a b c' } })).toMatchObject({ cachedTokens: 0 })
    })

    it('remembers nothing when its label does not say so', async () => {
      const echo = await make('echo:?prefill=10&tps=10')
      await cachedOf(echo, first)
      expect(await cachedOf(echo, first)).toEqual({ cachedTokens: 0, prefillMs: 600 })
    })

    it('gives an attempt the slot that remembers most of its prompt', async () => {
      const echo = await make('echo:?prefill=10&tps=10&cache=1')
      await Promise.all([cachedOf(echo, { prompt: { kind: 'text', text: 'x y z' } }), cachedOf(echo, first)])
      expect(await cachedOf(echo, first)).toMatchObject({ cachedTokens: 4 })
      expect(await cachedOf(echo, { prompt: { kind: 'text', text: 'x y z' } })).toMatchObject({ cachedTokens: 2 })
    })
  })
})
