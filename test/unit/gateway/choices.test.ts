/** Several choices of one request: as tasks, as one answer, and when one of them goes wrong. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LightMyRequestResponse } from 'fastify'
import { merged } from '../../../coordinator/gateway/merged.ts'
import { choiceSeed } from '../../../coordinator/gateway/openai-choices.ts'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import {
  aborted,
  end,
  says,
  started,
  status,
  tokens,
  TWIN_USAGE,
  type TwinCall,
  type TwinScript,
} from '../../fixtures/mesh-service-twin.ts'
import { CHAT, comments, createHarness, events, sent, turns, type Harness } from './harness.ts'

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

interface Chunk {
  readonly id: string
  readonly choices: {
    index: number
    delta: { role?: string; content?: string }
    text?: string
    finish_reason: string | null
  }[]
  readonly usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number }
}

/** By number of the task, from 0; tasks beyond the scripts have the last. */
function each(...scripts: TwinScript[]): void {
  h.twin.script = (call) => (scripts[h.twin.calls.indexOf(call)] ?? scripts.at(-1)!)(call)
}

/** Texts by choice of all chunks. */
function texts(answer: LightMyRequestResponse, from: readonly unknown[] = events(answer.body)): string[] {
  const all: string[] = []
  for (const chunk of from as Chunk[])
    for (const { index, delta, text } of chunk.choices ?? [])
      all[index] = (all[index] ?? '') + (delta?.content ?? text ?? '')
  return all
}

const stream = (extra: object = {}, headers: Record<string, string> = {}) =>
  h.post('/v1/chat/completions', { ...CHAT, stream: true, n: 2, ...extra }, headers)

describe('a request of several choices', () => {
  it('is as many tasks, whose seeds follow from its own, and one answer', async () => {
    each(says('one'), says('two', ' and', ' more'), says('three'))
    const answer = await h.chat({ n: 3, seed: 7 })
    const { id, choices, usage } = answer.json()
    expect(choices.map(({ index, message }: never) => [index, (message as { content: string }).content])).toEqual([
      [0, 'one'],
      [1, 'two and more'],
      [2, 'three'],
    ])
    // the prompt once, the tokens of all
    expect(usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 })
    expect(usage.prompt_tokens_details).toEqual({ cached_tokens: 3 })
    const seeds = h.twin.calls.map(({ request }) => request.sampling.seed)
    expect(seeds).toEqual([7, choiceSeed(7, 1), choiceSeed(7, 2)])
    expect(new Set(seeds).size).toBe(3)
    expect(answer.headers).toMatchObject({
      'x-skein-task': h.twin.taskIds[0],
      'x-skein-tasks': h.twin.taskIds.join(', '),
      'x-skein-node': 'desk-pc',
      'x-skein-attempts': '3',
    })
    expect(id).toBe(`chatcmpl-${h.twin.taskIds[0]!.slice('task_'.length)}`)
    expect(h.gateway.counters.tasks).toBe(3)
  })

  it('has seeds that are drawn for each where it names none', async () => {
    await h.chat({ n: 2 })
    expect(h.twin.calls.map(({ request }) => request.sampling.seed)).toEqual([undefined, undefined])
  })

  it('tells of all nodes, the farthest route and the thoughts of all', async () => {
    const thinks = (name: string, route: 'local' | 'mesh'): TwinScript =>
      async function* () {
        yield started(2, name, route)
        yield tokens(0, 'x')
        yield end('', { ...TWIN_USAGE, thoughtTokens: 2 }, 2)
      }
    each(thinks('attic', 'mesh'), thinks('desk-pc', 'local'), thinks('attic', 'mesh'))
    const answer = await h.chat({ n: 3 })
    expect(answer.headers).toMatchObject({
      'x-skein-node': 'attic, desk-pc',
      'x-skein-route': 'mesh',
      'x-skein-attempts': '6',
    })
    expect(answer.json().usage.completion_tokens_details).toEqual({ reasoning_tokens: 6 })
  })

  it('is refused above the limit, over all prompts, and before anything is asked', async () => {
    for (const [url, body, param] of [
      ['/v1/chat/completions', { ...CHAT, n: LIMITS.choicesMax + 1 }, 'n'],
      ['/v1/completions', { model: 'tiny', prompt: ['a', 'b'], n: LIMITS.choicesMax / 2 + 1 }, 'prompt'],
      ['/v1/completions', { model: 'tiny', prompt: Array.from({ length: LIMITS.choicesMax + 1 }, String) }, 'prompt'],
    ] as const) {
      const answer = await h.post(url, body)
      expect(answer.statusCode).toBe(400)
      expect(answer.json().error).toMatchObject({ code: 'invalid_request', param })
    }
    expect(h.twin.calls).toEqual([])
    expect((await h.chat({ n: LIMITS.choicesMax })).json().choices).toHaveLength(LIMITS.choicesMax)
  })

  it('of several prompts has n of each, in their order, and counts each prompt once', async () => {
    const body = { model: 'tiny', prompt: ['a', 'b'], n: 2, best_of: 2, seed: 3 }
    const answer = await h.post('/v1/completions', body)
    const asked = h.twin.calls.map(({ request: { prompt, sampling } }) => [prompt, sampling.seed])
    const text = (each: string): object => ({ kind: 'text', text: each })
    expect(asked).toEqual([
      [text('a'), 3],
      [text('a'), choiceSeed(3, 1)],
      [text('b'), 3],
      [text('b'), choiceSeed(3, 1)],
    ])
    expect(answer.json().choices.map(({ index }: { index: number }) => index)).toEqual([0, 1, 2, 3])
    expect(answer.json().usage).toMatchObject({ prompt_tokens: 14, completion_tokens: 8 })
    for (const best_of of [1, 3]) {
      const refused = await h.post('/v1/completions', { ...body, best_of })
      expect(refused.json().error).toMatchObject({ code: 'unsupported_parameter', param: 'best_of' })
    }
  })
})

describe('a stream of several choices', () => {
  it('has the chunks of all as they come, an end of each, one usage and one end of all', async () => {
    const gate = Promise.withResolvers<void>()
    each(
      async function* () {
        yield started()
        yield tokens(0, 'a')
        await gate.promise
        yield tokens(1, 'b')
        yield end('', { ...TWIN_USAGE, completionTokens: 2 })
      },
      async function* () {
        yield started(1, 'attic')
        for (const [i, text] of ['x', 'y', 'z'].entries()) yield tokens(i, text)
        yield end('', { ...TWIN_USAGE, completionTokens: 3 })
        await turns()
        gate.resolve()
      },
    )
    const answer = await stream({ stream_options: { include_usage: true } })
    const all = events(answer.body)
    expect(all.at(-1)).toBe('[DONE]')
    expect(texts(answer)).toEqual(['ab', 'xyz'])
    const chunks = all.slice(0, -1) as Chunk[]
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1)
    const order = chunks.flatMap(({ choices }) =>
      choices.map(({ index, delta, finish_reason }) => `${index}${delta.role ? ' role' : ''}${finish_reason ?? ''}`),
    )
    expect(order.filter((each) => each.endsWith('role'))).toHaveLength(2)
    // the second has ended before the first goes on
    expect(order.indexOf('1stop')).toBeLessThan(order.indexOf('0stop'))
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 5 } })
    expect(answer.body).not.toContain('id: ')
    expect(answer.headers['x-skein-tasks']).toBe(h.twin.taskIds.join(', '))
  })

  it('is not held back by a choice that waits, and says of which choice a comment is', async () => {
    const gate = Promise.withResolvers<void>()
    each(says('first'), async function* () {
      yield { type: 'status', text: 'queued 1' }
      await gate.promise
      yield started(1, 'attic')
      yield tokens(0, 'second')
      yield end()
    })
    const asked = stream()
    await h.twin.called(2)
    // time stands still: a headers' wait for the second would never end
    await h.twin.calls[0]!.ended
    gate.resolve()
    const answer = await asked
    expect(texts(answer)).toEqual(['first', 'second'])
    expect(comments(answer.body)).toEqual(expect.arrayContaining(['choice 1: queued 1', 'choice 1: node attic']))
  })
})

describe('a choice that fails', () => {
  const fails = (after = 0): TwinScript =>
    async function* () {
      yield started()
      for (let i = 0; i < after; i++) yield tokens(i, 'x')
      throw new SkeinError('ATTEMPTS_EXHAUSTED', 'no node is left')
    }
  const hangs: TwinScript = async function* ({ signal }: TwinCall) {
    yield started()
    yield tokens(0, 'y')
    throw await aborted(signal)
  }
  const states = () => Promise.all(h.twin.taskIds.map(async (id) => (await h.twin.task(id)).state))

  it.each([
    ['whole', false],
    ['whole, under a key', true],
  ])('fails the answer (%s) with its own error, and ends the others', async (_name, isKeyed) => {
    each(hangs, fails())
    const headers = isKeyed ? { 'idempotency-key': 'k' } : {}
    const answer = await h.post('/v1/chat/completions', { ...CHAT, n: 3 }, headers)
    expect(answer.statusCode).toBe(502)
    expect(answer.json().error.code).toBe('attempts_exhausted')
    expect(await states()).toEqual(['cancelled', 'failed', 'failed'])
  })

  it('fails a stream that has begun with an error event, and ends the others', async () => {
    each(hangs, fails(1))
    const answer = await stream()
    const all = events(answer.body) as { error?: { code: string } }[]
    expect(all.at(-1)!.error!.code).toBe('attempts_exhausted')
    expect(answer.body).not.toContain('[DONE]')
    expect(await states()).toEqual(['cancelled', 'failed'])
  })

  it('has its own status where no choice has begun', async () => {
    each(async function* () {
      yield status('queued 1')
      throw new SkeinError('NO_NODE', 'none')
    })
    const answer = await stream()
    expect(answer.statusCode).toBe(503)
    expect(answer.json().error.code).toBe('no_node')
  })

  it('is refused as a whole when the mesh takes one and not another', async () => {
    each(hangs)
    const { submit } = h.twin
    let count = 0
    h.twin.submit = (...args) =>
      ++count === 2 ? Promise.reject(new SkeinError('SATURATED', 'full')) : submit.apply(h.twin, args)
    const answer = await h.chat({ n: 3 })
    expect(answer.json().error.code).toBe('saturated')
    expect(await states()).toEqual(['cancelled', 'cancelled'])
  })

  it('leaves those of a key that were taken to who asks again', async () => {
    const { submit } = h.twin
    let count = 0
    h.twin.submit = (...args) =>
      ++count === 2 ? Promise.reject(new SkeinError('SATURATED', 'full')) : submit.apply(h.twin, args)
    const key = { 'idempotency-key': 'k' }
    expect((await h.post('/v1/chat/completions', { ...CHAT, n: 3 }, key)).statusCode).toBe(503)
    const again = await h.post('/v1/chat/completions', { ...CHAT, n: 3 }, key)
    expect(again.json().choices).toHaveLength(3)
    expect(h.twin.calls).toHaveLength(3)
    expect(again.headers['x-skein-replayed']).toBeUndefined()
  })
})

describe('a key of several choices', () => {
  const KEY = { 'idempotency-key': 'key-1' }

  it('names them all: the same request has the same answer, another number of them is refused', async () => {
    each(says('one'), says('two'))
    const first = await h.post('/v1/chat/completions', { ...CHAT, n: 2 }, KEY)
    const again = await h.post('/v1/chat/completions', { ...CHAT, n: 2 }, KEY)
    expect(again.json()).toEqual(first.json())
    expect(again.headers).toMatchObject({ 'x-skein-replayed': 'true', 'x-skein-tasks': first.headers['x-skein-tasks'] })
    expect(h.twin.calls).toHaveLength(2)
    for (const n of [1, 3])
      expect((await h.post('/v1/chat/completions', { ...CHAT, n }, KEY)).json().error.code).toBe('idempotency_mismatch')
  })

  it('lets a client come back to any place, with every choice whole and nothing twice', async () => {
    const speaks = (...pieces: string[]): TwinScript =>
      async function* () {
        yield started()
        for (const [i, piece] of pieces.entries()) {
          yield tokens(i, piece)
          await new Promise((resolve) => setImmediate(resolve))
        }
        yield end('!')
      }
    each(speaks('Grü', 'ße', ', ', 'Welt'), speaks('a', 'b', '😀'))
    const whole = await stream({}, KEY)
    const all = sent(whole.body)
    const ids = whole.body.match(/^id: .*$/gm)!.map((line) => line.slice('id: '.length))
    expect(ids.length).toBeGreaterThan(7)
    expect(ids.some((id) => id.includes('-'))).toBe(true)
    const told = all.filter(({ data }) => data !== '[DONE]').map(({ data }) => JSON.parse(data) as unknown)
    for (const [i, id] of ids.entries()) {
      const rest = await stream({}, { ...KEY, 'last-event-id': id })
      const first = texts(whole, told.slice(0, told.length - trailing(told, ids.length - 1 - i)))
      const second = texts(rest)
      expect([0, 1].map((choice) => (first[choice] ?? '') + (second[choice] ?? ''))).toEqual(['Grüße, Welt!', 'ab😀!'])
      expect(events(rest.body).at(-1)).toBe('[DONE]')
    }
  })

  it.each(['1', '1.2.3', '1.x', '-1.2', '1.', ''])('does not take %j for a place', async (id) => {
    const answer = await stream({}, { ...KEY, 'last-event-id': id })
    expect(answer.statusCode).toBe(400)
    expect(answer.json().error).toMatchObject({ code: 'invalid_request', param: 'last-event-id' })
  })

  it('joins no new answer to the beginning of one that is not known any more', async () => {
    const answer = await stream({}, { ...KEY, 'last-event-id': '3.-' })
    expect(answer.json().error.code).toBe('answer_diverged')
  })
})

/** Events at the end of which `count` have an id: what ends a choice has none. */
function trailing(told: readonly unknown[], count: number): number {
  let left = count
  let at = told.length
  while (at > 0) {
    const { choices } = told[at - 1] as Chunk
    if (choices.every(({ finish_reason }) => finish_reason === null)) {
      if (left === 0) break
      left--
    }
    at--
  }
  return told.length - at
}

describe('rates', () => {
  it('count every choice: who comes next waits until they are paid off', async () => {
    const grant = { routes: ['inference'], models: ['*'], priority: 'interactive', localOnly: false } as const
    const { secret } = await h.access.add({ name: 'ada', grant: { ...grant, requestsPerMinute: 10 } })
    const headers = { authorization: `Bearer ${secret}` }
    const first = await h.post('/v1/chat/completions', { ...CHAT, n: 4 }, headers)
    expect(first.statusCode).toBe(200)
    expect(first.headers['x-ratelimit-remaining-requests']).toBe('0')
    const early = await h.post('/v1/chat/completions', CHAT, headers)
    expect(early.json().error.code).toBe('rate_limited')
    // a minute has ten: three more than one at once are 18 s
    expect(Number(early.headers['retry-after'])).toBeGreaterThan(18)
    await h.clock.advance(1000 * Number(early.headers['retry-after']))
    expect((await h.post('/v1/chat/completions', CHAT, headers)).statusCode).toBe(200)
  })
})

describe('merged', () => {
  async function* of(...values: number[]): AsyncGenerator<number, void, undefined> {
    for (const value of values) yield value
  }

  it('gives all of all, and passes over none that is slower', async () => {
    const seen: string[] = []
    for await (const [index, value] of merged([of(1, 2, 3), of(4), of()])) seen.push(`${index}:${value}`)
    expect(seen.toSorted()).toEqual(['0:1', '0:2', '0:3', '1:4'])
    expect(seen.indexOf('1:4')).toBeLessThan(2)
  })

  it('fails with the one that fails, and lets go of the others', async () => {
    let isClosed = false
    async function* endless(): AsyncGenerator<number, void, undefined> {
      try {
        for (let i = 0; ; i++) yield i
      } finally {
        isClosed = true
      }
    }
    async function* failing(): AsyncGenerator<number, void, undefined> {
      yield 1
      throw new SkeinError('INTERNAL', 'broken')
    }
    const read = async (): Promise<void> => {
      for await (const _ of merged([endless(), failing()]));
    }
    await expect(read()).rejects.toThrow('broken')
    expect(isClosed).toBe(true)
  })
})

it('seeds of choices are 32 bits, and differ', () => {
  const seeds = [0, 1, 2 ** 32 - 1].flatMap((seed) => Array.from({ length: 16 }, (_, i) => choiceSeed(seed, i)))
  expect(new Set(seeds).size).toBe(seeds.length)
  expect(seeds.every((seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)).toBe(true)
})
