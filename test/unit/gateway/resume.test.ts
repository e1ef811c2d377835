/** Coming back to an answer: by the key that began it, from any place, and never without the ledger. */
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MAKING } from '../../../coordinator/admission/index.ts'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { aborted, end, saysAndHangs, started, status, tokens, TWIN_USAGE } from '../../fixtures/mesh-service-twin.ts'
import { CHAT, chatText, comments, createHarness, events, sent, turns, type Harness } from './harness.ts'

const KEY = { 'idempotency-key': 'key-1' }
const PIECES = ['Grüße', '', ', ', '😀', '', 'Welt', '!']

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const stream = (headers: Record<string, string> = KEY, extra: object = {}) =>
  h.post('/v1/chat/completions', { ...CHAT, stream: true, ...extra }, headers)

/** Each piece two tokens, and `tail` at the end. */
function speaks(tail: string): void {
  h.twin.script = async function* () {
    yield started()
    for (const [i, piece] of PIECES.entries()) {
      yield tokens(2 * i, piece, 2)
      // the reader gets this piece by itself
      await new Promise((resolve) => setImmediate(resolve))
    }
    yield end(tail)
  }
}

describe('an Idempotency-Key', () => {
  it('makes the task resumable, and belongs to its tenant', async () => {
    await stream()
    expect(h.twin.calls[0]!.request).toMatchObject({
      attachment: 'resumable',
      tenant: 'local',
      idempotency: { key: 'key-1', bodyDigest: expect.stringMatching(/^[0-9a-f]{64}$/) },
    })
  })

  it('with the same body gives the same answer, streamed or whole, and says so', async () => {
    const first = await stream()
    const again = await stream()
    expect(first.headers['x-skein-replayed']).toBeUndefined()
    expect(again.headers).toMatchObject({ 'x-skein-replayed': 'true', 'x-skein-task': first.headers['x-skein-task'] })
    expect(chatText(again.body)).toBe('Hello world')
    expect(events(again.body).at(-1)).toBe('[DONE]')
    expect(h.twin.calls).toHaveLength(1)
    const other = { 'idempotency-key': 'key-2' }
    const whole = await h.post('/v1/chat/completions', CHAT, other)
    await h.clock.advance(5000)
    const repeated = await h.post('/v1/chat/completions', CHAT, other)
    expect(repeated.json()).toEqual(whole.json())
    expect(h.twin.calls).toHaveLength(2)
    expect(h.gateway.counters.tasks).toBe(2)
  })

  it.each([
    ['a member', '/v1/chat/completions', { ...CHAT, seed: 5 }],
    ['the way of answering', '/v1/chat/completions', { ...CHAT, stream: true }],
    ['the address', '/v1/responses', { ...CHAT, input: 'hi' }],
  ])('with another body (%s) is refused', async (what, url, body) => {
    await h.post('/v1/chat/completions', what === 'the address' ? body : CHAT, KEY)
    const answer = await h.post(url, body, KEY)
    expect(answer.statusCode).toBe(422)
    expect(answer.json().error).toMatchObject({ code: 'idempotency_mismatch', type: 'invalid_request_error' })
  })

  it('does not mind the order of members', async () => {
    await h.post(
      '/v1/chat/completions',
      '{"model":"tiny","messages":[{"role":"user","content":"hi"}],"a":{"b":1,"c":2}}',
      KEY,
    )
    const turned = '{"a":{"c":2,"b":1},"messages":[{"content":"hi","role":"user"}],"model":"tiny"}'
    expect((await h.post('/v1/chat/completions', turned, KEY)).headers['x-skein-replayed']).toBe('true')
    const inList = '{"model":"tiny","messages":[{"role":"user","content":"hi"}],"a":{"b":2,"c":1}}'
    expect((await h.post('/v1/chat/completions', inList, KEY)).statusCode).toBe(422)
  })

  it.each(['', ' ', 'ü', 'x'.repeat(256), 'a\tb'])('%j is refused', async (key) => {
    const answer = await h.post('/v1/chat/completions', CHAT, { 'idempotency-key': key })
    expect(answer.statusCode).toBe(400)
    expect(answer.json().error).toMatchObject({ code: 'invalid_request', param: 'idempotency-key' })
    expect(h.twin.calls).toEqual([])
  })

  it.each(['x', 'a b', '~'.repeat(255)])('%j is taken', async (key) => {
    expect((await h.post('/v1/chat/completions', CHAT, { 'idempotency-key': key })).statusCode).toBe(200)
  })
})

describe('a stream that can be resumed', () => {
  it('has the place behind each chunk as its id, and without a key it has none', async () => {
    speaks('')
    const chunks = sent((await stream()).body)
    expect(chunks[0]).toMatchObject({ id: 0, data: expect.stringContaining('"role"') })
    const ids = chunks.flatMap(({ id }) => (id === undefined ? [] : [id]))
    expect(ids).toEqual([...new Set(ids)].toSorted((a, b) => a - b))
    expect(ids.at(-1)).toBe(2 * PIECES.length)
    const plain = await h.chat({ stream: true })
    expect(sent(plain.body).filter(({ id }) => id !== undefined)).toEqual([])
  })

  it.each(['', ' (held back)'])('continues behind every id with the rest, tail %j', async (tail) => {
    speaks(tail)
    const whole = sent((await stream()).body)
    const text = PIECES.join('') + tail
    expect(chatText((await stream()).body)).toBe(text)
    let had = ''
    for (const { id, data } of whole) {
      if (id === undefined) continue
      had += JSON.parse(data).choices[0].delta.content
      const rest = await stream({ ...KEY, 'last-event-id': String(id) })
      expect(rest.statusCode).toBe(200)
      expect(had + chatText(rest.body)).toBe(text)
      expect(rest.body).not.toContain('"role"')
      expect(events(rest.body).at(-1)).toBe('[DONE]')
    }
    expect(had).toBe(text)
    expect(h.twin.calls).toHaveLength(1)
  })

  it('goes on live, with every letter once', async () => {
    const gate = Promise.withResolvers<void>()
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'a')
      yield tokens(1, 'b')
      await gate.promise
      yield tokens(2, 'c')
      yield end('d')
    }
    const first = stream()
    await h.twin.called()
    await h.clock.advance(0)
    const second = stream({ ...KEY, 'last-event-id': '1' })
    await h.clock.advance(0)
    gate.resolve()
    expect(chatText((await first).body)).toBe('abcd')
    expect(chatText((await second).body)).toBe('bcd')
  })

  it('that had to be made again has other places, which hold as well', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'old')
      yield { ...tokens(1, ' new'), position: MAKING + 2 }
      yield end(' end')
    }
    const ids = sent((await stream()).body).flatMap(({ id }) => (id === undefined ? [] : [id]))
    expect(ids.at(-1)).toBe(MAKING + 3)
    const resume = async (id: number) => chatText((await stream({ ...KEY, 'last-event-id': String(id) })).body)
    expect(await resume(1)).toBe(' new end')
    expect(await resume(MAKING + 2)).toBe(' end')
    expect(await resume(MAKING + 3)).toBe('')
  })

  it.each([
    ['no number', 'x'],
    ['negative', '-1'],
    ['too long', '1'.repeat(16)],
  ])('refuses a Last-Event-ID that is %s', async (_what, id) => {
    const answer = await stream({ ...KEY, 'last-event-id': id })
    expect(answer.json().error).toMatchObject({ code: 'invalid_request', param: 'last-event-id' })
  })

  it('refuses one without a key or a stream: the beginning would come twice', async () => {
    for (const answer of [
      await stream({ 'last-event-id': '1' }),
      await h.post('/v1/chat/completions', CHAT, { ...KEY, 'last-event-id': '1' }),
    ])
      expect(answer.json().error).toMatchObject({ code: 'invalid_request', param: 'last-event-id' })
    expect(h.twin.calls).toEqual([])
  })

  it('is not joined to a new answer when the old one is not known', async () => {
    h.twin.script = saysAndHangs('new')
    const answer = await stream({ ...KEY, 'last-event-id': '7' })
    expect(answer.statusCode).toBe(409)
    expect(answer.json().error.code).toBe('answer_diverged')
    expect(h.twin.inside(h.twin.taskIds[0]!).view().state).toBe('cancelled')
  })

  it('with log probabilities of text completions cannot be gone on with', async () => {
    const body = { model: 'tiny', prompt: 'x', stream: true, logprobs: 1 }
    const answer = await h.post('/v1/completions', body, { ...KEY, 'last-event-id': '1' })
    expect(answer.json().error).toMatchObject({ code: 'unsupported_parameter', param: 'last-event-id' })
  })

  it('never has a gap: tokens out of their place end it as a defect', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'a')
      yield tokens(2, 'c')
      yield end()
    }
    const { body } = await stream()
    expect(chatText(body)).toBe('a')
    expect(events(body).at(-1)).toMatchObject({ error: { code: 'internal' } })
  })
})

describe('admission', () => {
  it.each([true, false])('comes before anything is acknowledged (stream: %s)', async (isStream) => {
    const durable = Promise.withResolvers<void>()
    h.twin.admission = durable.promise
    let isAnswered = false
    const answering = h.chat({ stream: isStream }).then((answer) => {
      isAnswered = true
      return answer
    })
    await h.twin.called()
    await h.clock.advance(60_000)
    await turns()
    expect(isAnswered).toBe(false)
    durable.resolve()
    expect((await answering).statusCode).toBe(200)
  })

  it('runs beside the waiting for a node', async () => {
    const durable = Promise.withResolvers<void>()
    h.twin.admission = durable.promise
    const isPulled = Promise.withResolvers<void>()
    h.twin.script = async function* () {
      isPulled.resolve()
      yield started()
      yield end('x')
    }
    const answering = h.chat({ stream: true })
    await isPulled.promise
    durable.resolve()
    expect((await answering).headers['x-skein-node']).toBe('desk-pc')
  })

  it.each([true, false])('that fails is told with its own status (stream: %s)', async (isStream) => {
    h.twin.admission = Promise.reject(new SkeinError('LEDGER_UNAVAILABLE', 'the disk is full'))
    h.twin.admission.catch(() => undefined)
    const answer = await h.chat({ stream: isStream })
    expect(answer.statusCode).toBe(503)
    expect(answer.json().error).toMatchObject({ code: 'ledger_unavailable', message: 'the disk is full' })
  })

  it.each([true, false])('is not waited for by a gateway that stops (stream: %s)', async (isStream) => {
    h.twin.admission = new Promise(() => undefined)
    const answering = h.chat({ stream: isStream })
    const { signal } = await h.twin.called()
    await turns()
    await h.gateway.stop()
    expect((await answering).json().error.code).toBe('shutting_down')
    expect(await aborted(signal)).toMatchObject({ code: 'SHUTTING_DOWN' })
  })
})

describe('what a client sees of the queue', () => {
  it('is its place in comments', async () => {
    const gate = Promise.withResolvers<void>()
    h.twin.script = async function* () {
      yield status('queued 3')
      yield status('queued 1')
      await gate.promise
      yield started()
      yield end('x')
    }
    const answering = stream()
    await h.twin.called()
    await h.clock.advance(3000)
    gate.resolve()
    expect(comments((await answering).body)).toEqual(['queued 3', 'queued 1', 'node desk-pc'])
  })
})

it('cuts any answer at any id into two parts that make it whole', async () => {
  const pieces = fc.array(fc.tuple(fc.string({ unit: 'grapheme', maxLength: 4 }), fc.integer({ min: 1, max: 3 })), {
    minLength: 1,
    maxLength: 12,
  })
  let run = 0
  await fc.assert(
    fc.asyncProperty(pieces, fc.string({ maxLength: 3 }), fc.nat(), async (said, tail, at) => {
      const key = { 'idempotency-key': `run-${run++}` }
      h.twin.script = async function* () {
        yield started()
        let index = 0
        for (const [piece, count] of said) {
          yield tokens(index, piece, count)
          index += count
        }
        yield end(tail, { ...TWIN_USAGE, completionTokens: index })
      }
      await stream(key)
      const places = said.reduce((all, [, count]) => [...all, all.at(-1)! + count], [0])
      const place = places[at % places.length]!
      const kept = said.slice(0, places.indexOf(place)).map(([piece]) => piece)
      const rest = await stream({ ...key, 'last-event-id': String(place) })
      expect(kept.join('') + chatText(rest.body)).toBe(said.map(([piece]) => piece).join('') + tail)
    }),
    { numRuns: 40 },
  )
})
