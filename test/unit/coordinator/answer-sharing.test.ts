/** Which requests are given the answer to an equal one, from the cache or as it is made, and what becomes of it. */
import { beforeEach, describe, expect, it } from 'vitest'
import type { TaskHandle, TaskRequest } from '../../../coordinator/admission/index.ts'
import { AnswerCache } from '../../../coordinator/cache/index.ts'
import { asRequestId, GREEDY, LIMITS, SkeinError, unpackTokenIds, type Prompt } from '../../../mesh/protocol/index.ts'
import { silentLogger } from '../../../mesh/runtime/index.ts'
import {
  accept,
  ANSWER,
  answers,
  DispatchHarness,
  end,
  fails,
  stallsAfter,
  TEXT,
  tokensFrom,
  type Following,
  type Script,
} from './dispatch.harness.ts'

const never = new AbortController().signal
const CHAT: Prompt = { kind: 'chat', messages: [{ role: 'user', content: 'why' }] }
const request = (init: Partial<TaskRequest> = {}): TaskRequest => ({
  requestId: asRequestId('req_1'),
  model: 'tiny',
  prompt: { kind: 'text', text: 'why' },
  sampling: { temperature: 0 },
  stop: [],
  tenant: 'local',
  attachment: 'attached',
  shape: '{}',
  ...init,
})

describe('answers to equal requests', () => {
  let harness: DispatchHarness
  let cache: AnswerCache
  let service: ReturnType<DispatchHarness['service']>
  beforeEach(() => {
    harness = new DispatchHarness()
    cache = new AnswerCache({ clock: harness.clock, log: silentLogger }, { bytesMax: 1e6 })
    service = harness.service(cache)
  })

  const submit = (init?: Partial<TaskRequest>, signal = never): Promise<TaskHandle> =>
    harness.settled(service.submit(request(init), signal))
  /** Asks, and reads the answer to its end. */
  const ask = async (init?: Partial<TaskRequest>): Promise<Following & { outcome: string | undefined }> => {
    const handle = await submit(init)
    const following = await harness.follow(handle).over(1)
    await harness.settled(handle.admitted)
    await harness.clock.advance(5)
    return Object.assign(following, { outcome: handle.cache?.outcome, handle })
  }
  const outcomesOf = async (...inits: Partial<TaskRequest>[]): Promise<(string | undefined)[]> => {
    const outcomes: (string | undefined)[] = []
    for (const init of inits) outcomes.push((await ask(init)).outcome)
    return outcomes
  }
  /** Says the first `count` tokens, waits for `gate`, and says the rest. */
  const waits =
    (count: number, gate: Promise<void>): Script =>
    async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start.fence, 0, count)
      await gate
      await tokensFrom(channel, start.fence, count, ANSWER.length)
      await end(channel, start)
    }

  it('the second is given what the first got: no node is asked, and it is a task of its own', async () => {
    harness.node('good', 100, [answers])
    const first = await ask()
    const handle = await submit({ attachment: 'background' })
    const second = await harness.follow(handle).over(1)
    expect([first.outcome, handle.cache]).toEqual(['miss', { outcome: 'hit', ageMs: expect.any(Number) as number }])
    expect([second.text, second.indices, second.nodes]).toEqual([TEXT, [0, 1, 2, 3, 4, 5, 6, 7], []])
    expect(second.events.at(-1)).toMatchObject({
      finishReason: 'stop',
      stopIndex: 0,
      attempts: 0,
      usage: { promptTokens: 3, cachedTokens: 3, completionTokens: ANSWER.length },
    })
    expect(harness.begins.length).toBe(1)
    await harness.settled(handle.admitted)
    await harness.clock.advance(60_000)
    const recorded = await harness.settled(harness.ledger.task(handle.taskId))
    expect(recorded).toMatchObject({ state: 'completed', attempts: [] })
    expect((await service.task(handle.taskId)).text).toBe(TEXT)
    // it can be followed again from any place, as any other answer
    expect((await harness.follow(await service.resume(handle.taskId), 3).over()).text).toBe(ANSWER.slice(3).join(''))
    const usage = await harness.settled(harness.ledger.usage({ sinceMs: 0, untilMs: 1e15, by: ['node'], limit: 9 }))
    expect(usage).toMatchObject([
      { requests: 1, completionTokens: 8, cachedTokens: 3 },
      { node: 'good', requests: 1, completionTokens: 8, cachedTokens: 0 },
    ])
    // limits are for what nodes do
    expect(harness.used).toEqual([['local', 3 + ANSWER.length]])
    expect(service.stats().cache).toMatchObject({ hits: { memory: 1, shared: 0 }, misses: 1, kept: 1 })
  })

  it('what may differ, or is for another one, is made anew', async () => {
    const model = { readsClock: false, features: ['chat' as const, 'completion' as const, 'logprobs' as const] }
    harness.node('good', 100, [answers], { model })
    await ask()
    const others: Partial<TaskRequest>[] = [
      { tenant: 'key:other' },
      { localOnly: true },
      { prompt: CHAT },
      { stop: ['x'] },
      { maxTokens: 9 },
      { sampling: { temperature: 0, topK: 3 } },
      { sampling: { temperature: 0.5, seed: 4 } },
      { sampling: { temperature: 0.5, seed: 5 } },
    ]
    expect(await outcomesOf(...others)).toEqual(others.map(() => 'miss'))
    const drawn = [{ sampling: { temperature: 0.5 } }, { sampling: {} }]
    expect(await outcomesOf(...drawn, ...drawn)).toEqual(Array(4).fill('bypass'))
    expect(await outcomesOf(...others)).toEqual(others.map(() => 'hit'))
    expect(await outcomesOf({ sampling: { ...GREEDY, seed: 7 } }, { maxTokens: LIMITS.generatedTokensMax })).toEqual([
      'hit',
      'hit',
    ])
    expect(harness.begins.length).toBe(1 + others.length + drawn.length * 2)
    expect((await submit({ logprobs: 0 })).cache?.outcome).toBe('bypass')
  })

  it.each([
    ['whose template reads the clock', { readsClock: true }, 'bypass'],
    ['of an older node, which does not say', {}, 'bypass'],
    ['whose template does not', { readsClock: false }, 'miss'],
    ['of a server beside its node', { readsClock: false, engine: 'upstream' as const }, 'bypass'],
  ])('a chat with a model %s', async (_what, model, outcome) => {
    harness.node('good', 100, [answers], { model })
    expect(await outcomesOf({ prompt: CHAT }, { prompt: CHAT })).toEqual([
      outcome,
      outcome === 'miss' ? 'hit' : outcome,
    ])
  })

  it('what a client says of kept answers holds', async () => {
    harness.node('good', 100, [answers])
    const only = { cache: { mode: 'use', onlyKept: true } } as const
    await expect(submit(only)).rejects.toMatchObject({ code: 'NOT_CACHED' })
    expect(await outcomesOf({ cache: { mode: 'off' } }, { cache: { mode: 'off' } })).toEqual(['bypass', 'bypass'])
    await expect(submit(only)).rejects.toMatchObject({ code: 'NOT_CACHED' })
    expect(await outcomesOf({ cache: { mode: 'refresh' } }, only)).toEqual(['bypass', 'hit'])
    await harness.clock.advance(2000)
    const recent = { cache: { mode: 'use', ageMsMax: 1000 } } as const
    expect(await outcomesOf({}, recent, recent)).toEqual(['hit', 'miss', 'hit'])
    await expect(submit({ ...only, sampling: {} })).rejects.toMatchObject({ code: 'NOT_CACHED' })
    await expect(harness.service().submit(request(only), never)).rejects.toMatchObject({ code: 'NOT_CACHED' })
  })

  it('a kept answer needs no slot, and no node that may take work', async () => {
    harness.node('good', 100, [answers, stallsAfter(1)])
    await ask()
    const stuck = await submit({ prompt: { kind: 'text', text: 'another' } })
    const other = harness.follow(stuck)
    expect((await ask()).text).toBe(TEXT)
    expect(other.isOver).toBe(false)
  })

  it.each([
    [
      'cut by the context of its node',
      async (channel, start) => {
        await accept(channel, start)
        await tokensFrom(channel, start.fence, 0, 3)
        await channel.send({
          type: 'attempt.end',
          fence: start.fence,
          finishReason: 'length',
          text: '',
          usage: { promptTokens: 3, cachedTokens: 0, completionTokens: 3 },
          timing: { waitMs: 0, prefillMs: 0, decodeMs: 0 },
        })
        await channel.close()
      },
    ],
    ['that failed', fails('CONTEXT_LENGTH_EXCEEDED', 'too long')],
  ] satisfies [string, Script][])('an answer %s is not kept', async (_what, script) => {
    harness.node('good', 100, [script])
    expect(await outcomesOf({}, {})).toEqual(['miss', 'miss'])
    expect(cache.stats().kept).toBe(0)
  })

  it.each([
    ['unlike nodes', 'other', 'miss'],
    ['like nodes', 'test', 'hit'],
  ])('an answer that %s made together', async (_what, engineBuild, outcome) => {
    const numerics = { engineBuild, flashAttention: false, batchTokens: 512, threads: 2 }
    const breaks: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start.fence, 0, 3)
      await channel.close()
    }
    harness.node('quick', 1000, [breaks])
    harness.node('other', 10, [answers], { model: { numerics } })
    const first = await ask()
    expect([first.text, harness.asked]).toEqual([TEXT, ['quick', 'other']])
    expect((await submit()).cache?.outcome).toBe(outcome)
  })

  it('an erased answer is kept for nobody', async () => {
    harness.node('good', 100, [answers])
    const { handle } = (await ask()) as unknown as { handle: TaskHandle }
    await harness.settled(service.erase(handle.taskId))
    expect((await ask()).outcome).toBe('miss')
  })

  it('equal requests with different keys of their own are different tasks with one answer', async () => {
    harness.node('good', 100, [answers])
    const keyed = (key: string): Partial<TaskRequest> => ({
      attachment: 'resumable',
      idempotency: { key, bodyDigest: 'a' },
    })
    expect(await outcomesOf(keyed('a'), keyed('b'), keyed('a'))).toEqual(['miss', 'hit', undefined])
    expect(harness.begins.length).toBe(1)
  })

  describe('at the same time', () => {
    it('one is made, and all get it as it comes', async () => {
      const gate = Promise.withResolvers<void>()
      harness.node('good', 100, [waits(3, gate.promise)])
      const handles = await harness.settled(
        Promise.all(Array.from({ length: 20 }, () => service.submit(request(), never))),
      )
      expect(handles.map((handle) => handle.cache?.outcome).toSorted()).toEqual([
        'miss',
        ...Array<string>(19).fill('shared'),
      ])
      expect(new Set(handles.map(({ taskId }) => taskId)).size).toBe(20)
      const followings = handles.map((handle) => harness.follow(handle))
      await harness.until(() => followings.every(({ indices }) => indices.length === 3))
      expect(followings.map(({ nodes }) => nodes)).toEqual(Array(20).fill(['good']))
      gate.resolve()
      for (const following of followings) expect((await following.over(1)).text).toBe(TEXT)
      expect(harness.begins.length).toBe(1)
      expect(harness.used).toEqual([['local', 3 + ANSWER.length]])
      expect((await ask()).outcome).toBe('hit')
      expect(service.stats().cache).toMatchObject({ hits: { shared: 19 }, kept: 1, misses: 1 })
    })

    it('of two tenants each has its own', async () => {
      harness.node('good', 100, [answers], { model: { slots: 4 } })
      const handles = [await submit(), await submit({ tenant: 'key:other' })]
      expect(handles.map((handle) => handle.cache?.outcome)).toEqual(['miss', 'miss'])
    })

    it.each([
      ['is cancelled by name', async (first: TaskHandle) => void (await harness.settled(service.cancel(first.taskId)))],
      ['runs out of time', async () => harness.clock.advance(700)],
    ])('when the one that is made %s, one of the others goes on from the last token', async (_what, harm) => {
      harness.node('good', 100, [stallsAfter(3), answers], { model: { slots: 4 } })
      const first = await submit({ deadlineMs: 600 })
      const others = [await submit(), await submit(), await submit()]
      expect(others.map(({ cache }) => cache?.outcome)).toEqual(Array(3).fill('shared'))
      const [leader, ...followings] = [first, ...others].map((handle) => harness.follow(handle))
      await harness.until(() => followings.every(({ indices }) => indices.length === 3))
      await harm(first)
      for (const following of followings) {
        expect((await following.over(1)).error).toBeUndefined()
        expect([following.text, following.indices]).toEqual([TEXT, [0, 1, 2, 3, 4, 5, 6, 7]])
      }
      expect(leader!.error).toBeInstanceOf(SkeinError)
      expect(harness.begins.length).toBe(2)
      const { generated } = harness.begins[1] as { generated: Uint8Array }
      expect(unpackTokenIds(generated)).toEqual([100, 101, 102])
      // which node began it is forgotten with its task
      expect(cache.stats().kept).toBe(0)
    })

    it('when the client of the one that is made leaves, that goes on for the others', async () => {
      const gate = Promise.withResolvers<void>()
      harness.node('good', 100, [waits(3, gate.promise)])
      const client = new AbortController()
      const first = await submit({}, client.signal)
      const second = await submit()
      const [leader, follower] = [harness.follow(first, 0, client.signal), harness.follow(second)]
      await harness.until(() => follower!.indices.length === 3)
      client.abort(new SkeinError('CLIENT_CLOSED', 'gone'))
      await leader!.over(1)
      gate.resolve()
      expect((await follower!.over(1)).text).toBe(TEXT)
      expect(harness.begins.length).toBe(1)
    })

    it('when all its clients leave, nothing goes on', async () => {
      harness.node('good', 100, [stallsAfter(3)])
      const clients = [new AbortController(), new AbortController()]
      const handles = [await submit({}, clients[0]!.signal), await submit({}, clients[1]!.signal)]
      const followings = handles.map((handle, i) => harness.follow(handle, 0, clients[i]!.signal))
      await harness.until(() => followings.every(({ indices }) => indices.length === 3))
      for (const client of clients) client.abort(new SkeinError('CLIENT_CLOSED', 'gone'))
      for (const following of followings) await following.over(1)
      await harness.until(() => service.stats().dispatch.running === 0)
      for (const { taskId } of handles) expect((await service.task(taskId)).state).toBe('cancelled')
    })

    it('what is wrong with the request itself is told to all, and asked once', async () => {
      const gate = Promise.withResolvers<void>()
      const refuses: Script = async (channel, start) => {
        await accept(channel, start)
        await gate.promise
        await fails('CONTEXT_LENGTH_EXCEEDED', 'too long')(channel, start)
      }
      harness.node('good', 100, [refuses])
      const followings = [await submit(), await submit()].map((handle) => harness.follow(handle))
      gate.resolve()
      for (const following of followings)
        expect((await following.over(1)).error).toMatchObject({ code: 'CONTEXT_LENGTH_EXCEEDED' })
      expect(harness.begins.length).toBe(1)
    })

    it('nobody waits behind one who is less urgent', async () => {
      const gate = Promise.withResolvers<void>()
      harness.node('good', 100, [stallsAfter(1), waits(1, gate.promise)], { model: { slots: 4 } })
      await submit({ priority: 'bulk' })
      const urgent = await submit({ priority: 'interactive' })
      expect(urgent.cache?.outcome).toBe('miss')
      const patient = await submit({ priority: 'bulk' })
      expect(patient.cache?.outcome).toBe('shared')
      gate.resolve()
      for (const handle of [urgent, patient]) expect((await harness.follow(handle).over(1)).text).toBe(TEXT)
      expect(harness.begins.length).toBe(2)
    })

    it('a request that was refused holds up nobody', async () => {
      harness.node('good', 100, [answers])
      const late = { deadlineMs: 1 }
      harness.node('good', 100, [answers])
      harness.ledger.failWrites('the disk is full')
      const keyed = { attachment: 'resumable', idempotency: { key: 'k', bodyDigest: 'a' } } as const
      await expect(submit({ ...keyed, ...late })).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
      expect((await submit()).cache?.outcome).toBe('miss')
    })
  })
})
