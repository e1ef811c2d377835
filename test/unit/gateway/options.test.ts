/** What a client may ask for beside the text: urgency, place, format, log probabilities. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TokenLogprob } from '../../../mesh/protocol/index.ts'
import { end, started, tokens } from '../../fixtures/mesh-service-twin.ts'
import { CHAT, createHarness, events, type Harness } from './harness.ts'

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const chat = (extra: object, headers: Record<string, string> = {}) =>
  h.post('/v1/chat/completions', { ...CHAT, ...extra }, headers)

describe('priority, deadline and place', () => {
  it.each<[string, string, object, string]>([
    ['a chat that is streamed', '/v1/chat/completions', { ...CHAT, stream: true }, 'interactive'],
    ['a chat that is not', '/v1/chat/completions', CHAT, 'default'],
    ['a text', '/v1/completions', { model: 'tiny', prompt: 'x', stream: true }, 'default'],
    ['a response that is streamed', '/v1/responses', { model: 'tiny', input: 'x', stream: true }, 'interactive'],
    [
      'a background response',
      '/v1/responses',
      { model: 'tiny', input: 'x', stream: true, background: true },
      'default',
    ],
  ])('of %s', async (_what, url, body, priority) => {
    await h.post(url, body)
    expect(h.twin.calls[0]!.request.priority).toBe(priority)
    expect(h.twin.calls[0]!.request).not.toHaveProperty('localOnly')
  })

  const WISH = { priority: 'bulk', deadlineMs: 5000, localOnly: true, costMax: 0.25 }
  const HEADERS = {
    'x-skein-priority': 'bulk',
    'x-skein-deadline-ms': '5000',
    'x-skein-local-only': 'true',
    'x-skein-max-cost': '0.25',
  }
  const BODY = { skein: { priority: 'bulk', deadline_ms: 5000, local_only: true, max_cost: 0.25 } }
  it.each<[string, object, Record<string, string>]>([
    ['in the body', BODY, {}],
    ['in headers', {}, HEADERS],
    ['in both', BODY, HEADERS],
  ])('are taken %s', async (_where, extra, headers) => {
    expect((await chat(extra, headers)).statusCode).toBe(200)
    expect(h.twin.calls[0]!.request).toMatchObject(WISH)
  })

  it('asks for the cloud in the body, in a header, or behind the name of the model', async () => {
    await chat({ skein: { route: 'cloud' } })
    await chat({}, { 'x-skein-route': 'cloud' })
    await chat({ model: 'tiny@cloud' })
    await h.post('/v1/embeddings', { model: 'tiny@cloud', input: 'x' })
    for (const request of [...h.twin.calls.map((call) => call.request), ...h.twin.works])
      expect(request).toMatchObject({ route: 'cloud', model: 'tiny' })
    expect(h.twin.calls).toHaveLength(3)
  })

  it('says how many meshes it has left, each for the next, and no more than may be', async () => {
    for (const hops of ['0', '1', '3']) expect((await chat({}, { 'x-skein-hops': hops })).statusCode).toBe(200)
    expect(h.twin.calls.map(({ request }) => request.hops)).toEqual([undefined, 1, 3])
    const circle = await chat({}, { 'x-skein-hops': '4' })
    expect([circle.statusCode, circle.json<{ error: object }>().error]).toMatchObject([508, { code: 'hops_exceeded' }])
    expect((await chat({}, { 'x-skein-hops': 'many' })).statusCode).toBe(400)
  })

  it('says by their marks which meshes it has left', async () => {
    const marks = ['Qm9kZW5zZWVmZWxj', 'R2Fuc2ZlZGVya2ll', '________--------']
    for (const via of [marks[0]!, marks.join(','), marks.join(', ')])
      expect((await chat({}, { 'x-skein-via': via })).statusCode, via).toBe(200)
    expect(h.twin.calls.map(({ request }) => request.via)).toEqual([[marks[0]], marks, marks])
    const wrong = ['', 'short', `${marks[0]}x`, `${marks[0]},`, 'Qm9kZW5zZWVmZW+/', [...marks, marks[0]].join(',')]
    for (const via of wrong) {
      const { statusCode, body } = await chat({}, { 'x-skein-via': via })
      expect([statusCode, body], via).toEqual([400, expect.stringContaining('x-skein-via must be 1 to 3 marks')])
    }
    expect(h.twin.calls).toHaveLength(3)
  })

  it.each<[string, object, Record<string, string>]>([
    ['skein.priority', BODY, { 'x-skein-priority': 'default' }],
    ['skein.deadline_ms', BODY, { 'x-skein-deadline-ms': '4999' }],
    ['skein.local_only', BODY, { 'x-skein-local-only': 'false' }],
    ['skein.local_only', { skein: { local_only: false } }, { 'x-skein-local-only': 'true' }],
    ['skein.priority', { skein: { priority: 'urgent' } }, {}],
    ['skein.deadline_ms', { skein: { deadline_ms: 0 } }, {}],
    ['skein', { skein: { localonly: true } }, {}],
    ['skein.route', { skein: { route: 'mesh' } }, {}],
    ['x-skein-route', {}, { 'x-skein-route': 'local' }],
    ['x-skein-priority', {}, { 'x-skein-priority': 'urgent' }],
    ['x-skein-deadline-ms', {}, { 'x-skein-deadline-ms': '0' }],
    ['x-skein-deadline-ms', {}, { 'x-skein-deadline-ms': '1e3' }],
    ['x-skein-deadline-ms', {}, { 'x-skein-deadline-ms': '3600001' }],
    ['x-skein-local-only', {}, { 'x-skein-local-only': 'yes' }],
    ['skein.max_cost', BODY, { 'x-skein-max-cost': '0.3' }],
    ['skein.max_cost', { skein: { max_cost: -1 } }, {}],
    ['skein.max_cost', { skein: { max_cost: '1' } }, {}],
    ['x-skein-max-cost', {}, { 'x-skein-max-cost': '-1' }],
    ['x-skein-max-cost', {}, { 'x-skein-max-cost': '1e3' }],
    ['x-skein-max-cost', {}, { 'x-skein-max-cost': '1000001' }],
    ['x-skein-max-cost', {}, { 'x-skein-max-cost': 'Infinity' }],
  ])('%s is refused when it is wrong or contradicts', async (param, extra, headers) => {
    const answer = await chat(extra, headers)
    expect(answer.statusCode).toBe(400)
    expect(answer.json().error).toMatchObject({ code: 'invalid_request', param })
    expect(h.twin.calls).toEqual([])
  })

  it.each([
    [{ skein: { priority: 'system' } }, {}],
    [{}, { 'x-skein-priority': 'system' }],
  ])('system is for the mesh itself', async (extra, headers) => {
    const answer = await chat(extra, headers as Record<string, string>)
    expect(answer.statusCode).toBe(403)
    expect(h.twin.calls).toEqual([])
  })

  it('count against the key, which the tenant does not give away', async () => {
    const keyed = createHarness({ apiKey: 'sk-correct-horse' })
    await keyed.post('/v1/chat/completions', CHAT, { authorization: 'Bearer sk-correct-horse' })
    expect(keyed.twin.calls[0]!.request.tenant).toMatch(/^key:[0-9a-f]{12}$/)
    await keyed.gateway.stop()
  })
})

describe('the format of an answer', () => {
  const schema = { type: 'object', properties: { a: { type: 'integer' } } }
  it.each<[object | undefined, object]>([
    [undefined, {}],
    [undefined, { response_format: { type: 'text' } }],
    [{ kind: 'json' }, { response_format: { type: 'json_object' } }],
    [
      { kind: 'json-schema', schema: JSON.stringify(schema) },
      { response_format: { type: 'json_schema', json_schema: { name: 'x', schema, strict: true } } },
    ],
  ])('is %j', async (format, extra) => {
    await chat(extra)
    expect(h.twin.calls[0]!.request.format).toEqual(format)
  })

  it.each<[string, object]>([
    ['response_format.json_schema.schema', { response_format: { type: 'json_schema' } }],
    ['response_format.json_schema.schema', { response_format: { type: 'json_schema', json_schema: { schema: 'x' } } }],
    [
      'response_format.json_schema.schema',
      { response_format: { type: 'json_schema', json_schema: { schema: { title: 'x'.repeat(70_000) } } } },
    ],
  ])('%s is refused when it is wrong', async (param, extra) => {
    const answer = await chat(extra)
    expect(answer.json().error).toMatchObject({ code: 'invalid_request', param })
  })
})

describe('log probabilities', () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
  const [smileStart, smileEnd] = [bytes('😀').slice(0, 2), bytes('😀').slice(2)]
  const of = (part: Uint8Array, logprob: number): TokenLogprob => ({
    bytes: part,
    logprob,
    top: [
      { bytes: part, logprob },
      { bytes: bytes('no'), logprob: -5 },
    ],
  })
  beforeEach(() => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'Hi', 1, [of(bytes('Hi'), -0.5)])
      yield tokens(1, '', 1, [of(smileStart, -1)])
      yield tokens(2, '😀', 1, [of(smileEnd, -2)])
      // part of a stop string: it releases nothing
      yield tokens(3, '', 1, [of(bytes('END'), -3)])
      yield end()
    }
  })
  const share = (token: string, part: Uint8Array, logprob: number) => ({ token, logprob, bytes: [...part] })
  const CONTENT = [
    ['Hi', bytes('Hi'), -0.5],
    ['\ufffd', smileStart, -1],
    ['\ufffd\ufffd', smileEnd, -2],
    ['END', bytes('END'), -3],
  ].map(([token, part, logprob]) => {
    const own = share(token as string, part as Uint8Array, logprob as number)
    return { ...own, top_logprobs: [own, share('no', bytes('no'), -5)] }
  })

  it('of a chat have OpenAI’s shape, streamed as whole', async () => {
    const whole = await chat({ logprobs: true, top_logprobs: 2 })
    expect(h.twin.calls[0]!.request.logprobs).toBe(2)
    const [choice] = whole.json().choices
    expect(choice.logprobs.content.map(({ bytes: own }: { bytes: number[] }) => own)).toEqual(
      CONTENT.map(({ bytes: own }) => own),
    )
    expect(choice.logprobs.content[0]).toEqual(CONTENT[0])
    expect(choice.logprobs).toHaveProperty('refusal', null)
    const all = events((await chat({ logprobs: true, top_logprobs: 2, stream: true })).body) as {
      choices?: [{ logprobs: { content: unknown[] } | null; delta: { content?: string } }]
    }[]
    const parts = all.flatMap((event) => event.choices?.[0].logprobs?.content ?? [])
    expect(parts).toEqual(choice.logprobs.content)
    const text = all.map((event) => event.choices?.[0].delta.content ?? '').join('')
    expect(text).toBe('Hi😀')
  })

  it('of a chat need no likeliest tokens beside them', async () => {
    await chat({ logprobs: true })
    expect(h.twin.calls[0]!.request.logprobs).toBe(0)
    const refused = await chat({ top_logprobs: 2 })
    expect(refused.json().error).toMatchObject({ code: 'invalid_request', param: 'top_logprobs' })
  })

  it('that were not asked for are null', async () => {
    expect((await chat({})).json().choices[0].logprobs).toBeNull()
    expect((await chat({ stream: true })).body).not.toContain('top_logprobs')
  })

  it('of a text completion have the older shape, whose offsets count characters that are whole', async () => {
    const ask = (extra: object) => h.post('/v1/completions', { model: 'tiny', prompt: 'x', ...extra })
    const { logprobs } = (await ask({ logprobs: 1 })).json().choices[0]
    expect(logprobs).toMatchObject({ token_logprobs: [-0.5, -1, -2, -3], text_offset: [0, 2, 2, 4] })
    expect(logprobs.tokens[0]).toBe('Hi')
    expect(logprobs.top_logprobs[0]).toEqual({ Hi: -0.5, no: -5 })
    expect((await ask({ logprobs: 0 })).json().choices[0].logprobs.top_logprobs).toBeNull()
    const all = events((await ask({ logprobs: 1, stream: true })).body) as {
      choices?: [{ logprobs: { tokens: string[]; text_offset: number[] } | null }]
    }[]
    const parts = all.flatMap((event) => event.choices?.[0].logprobs ?? [])
    expect(parts.flatMap((part) => part.text_offset)).toEqual([0, 2, 2, 4])
    expect(parts.flatMap((part) => part.tokens)).toEqual(logprobs.tokens)
  })
})
