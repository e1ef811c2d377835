/** OpenAI's responses API: shapes, numbers of events, and answers that are found again. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SkeinError, taskIdOfResponse } from '../../../mesh/protocol/index.ts'
import { end, saysAndHangs, started, tokens, TWIN_USAGE } from '../../fixtures/mesh-service-twin.ts'
import { createHarness, sent, turns, type Harness } from './harness.ts'

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const ASK = { model: 'tiny', input: 'hi' }
const create = (extra: object = {}, headers: Record<string, string> = {}) =>
  h.post('/v1/responses', { ...ASK, ...extra }, headers)
const taskIdOf = (id: string) => taskIdOfResponse(id)!

interface ResponseEvent {
  type: string
  sequence_number: number
  delta?: string
  text?: string
  response?: { status: string; error: unknown; output: { content: { text: string }[] }[] }
}
const eventsOf = (body: string): ResponseEvent[] => sent(body).map(({ data }) => JSON.parse(data) as ResponseEvent)
const textOf = (all: ResponseEvent[]): string => all.map(({ delta }) => delta ?? '').join('')

/** `Hello world` and a tail, in five tokens of which one releases nothing. */
function speaks(finishReason: 'stop' | 'length' = 'stop'): void {
  h.twin.script = async function* () {
    yield started()
    for (const [index, text, count] of [
      [0, 'Hel', 2],
      [2, '', 1],
      [3, 'lo', 1],
      [4, ' world', 1],
    ] as const) {
      yield tokens(index, text, count)
      await new Promise((resolve) => setImmediate(resolve))
    }
    yield end('!', TWIN_USAGE, 1, finishReason)
  }
}

const LAST = 3 + 5 + 5

describe('what becomes of a request', () => {
  it('is a chat with instructions in front, stored and resumable', async () => {
    await create({
      input: [
        { role: 'user', content: [{ type: 'input_text', text: 'a' }] },
        { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'b' }] },
        { role: 'user', content: 'c' },
      ],
      instructions: 'be brief',
      max_output_tokens: 9,
      temperature: 0,
      top_p: 0.5,
      text: { format: { type: 'json_schema', name: 'x', schema: { type: 'object' } } },
    })
    expect(h.twin.calls[0]!.request).toMatchObject({
      prompt: {
        kind: 'chat',
        messages: [
          { role: 'system', content: 'be brief' },
          { role: 'user', content: 'a' },
          { role: 'assistant', content: 'b' },
          { role: 'user', content: 'c' },
        ],
      },
      maxTokens: 9,
      sampling: { temperature: 0, topP: 0.5 },
      format: { kind: 'json-schema', schema: '{"type":"object"}' },
      attachment: 'resumable',
      stored: true,
    })
  })

  it.each([
    [{ store: false }, 'attached', false],
    [{ background: true }, 'background', true],
  ])('with %j is %s', async (extra, attachment, stored) => {
    await create(extra)
    expect(h.twin.calls[0]!.request).toMatchObject({ attachment, stored })
  })

  it.each<[string, string, object]>([
    ['input', 'invalid_request', { input: undefined }],
    ['input', 'invalid_request', { input: [] }],
    ['input[0].role', 'invalid_request', { input: [{ content: 'x' }] }],
    ['input[0].content', 'invalid_request', { input: [{ role: 'user' }] }],
    ['input[0].content[0].text', 'invalid_request', { input: [{ role: 'user', content: [{ type: 'input_text' }] }] }],
    [
      'input[0].content[0].type',
      'unsupported_parameter',
      { input: [{ role: 'user', content: [{ type: 'input_image' }] }] },
    ],
    ['input[0].type', 'unsupported_parameter', { input: [{ type: 'computer_call_output', output: 'x' }] }],
    ['input[0].call_id', 'invalid_request', { input: [{ type: 'function_call_output', output: 'x' }] }],
    ['input[0].call_id', 'invalid_request', { input: [{ type: 'function_call_output', call_id: 'c', output: 'x' }] }],
    ['input[0].name', 'invalid_request', { input: [{ type: 'function_call', call_id: 'c', arguments: '{}' }] }],
    [
      'input[0].arguments',
      'invalid_request',
      { input: [{ type: 'function_call', call_id: 'c', name: 'x', arguments: '[]' }] },
    ],
    ['tools[0].type', 'unsupported_parameter', { tools: [{ type: 'web_search' }] }],
    ['tools[0].name', 'invalid_request', { tools: [{ type: 'function' }] }],
    ['tool_choice', 'invalid_request', { tool_choice: 'required' }],
    ['tool_choice.type', 'unsupported_parameter', { tool_choice: { type: 'mcp' } }],
    ['tool_choice.tools', 'invalid_request', { tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [] } }],
    ['include[1]', 'unsupported_parameter', { include: ['reasoning.encrypted_content', 'message.input_audio.bytes'] }],
    ['top_logprobs', 'invalid_request', { top_logprobs: 1 }],
    ['top_logprobs', 'invalid_request', { top_logprobs: 21, include: ['message.output_text.logprobs'] }],
    [
      'include[0]',
      'unsupported_parameter',
      { include: ['message.output_text.logprobs'], tools: [{ type: 'function', name: 'say' }] },
    ],
    ['truncation', 'unsupported_parameter', { truncation: 'auto' }],
    ['conversation', 'unsupported_parameter', { conversation: 'conv_1' }],
    ['text.format.schema', 'invalid_request', { text: { format: { type: 'json_schema', name: 'x' } } }],
    ['text.format.type', 'unsupported_parameter', { text: { format: { type: 'grammar' } } }],
    ['store', 'invalid_request', { background: true, store: false }],
    ['max_output_tokens', 'invalid_request', { max_output_tokens: 0 }],
    ['metadata.a', 'invalid_request', { metadata: { a: 'x'.repeat(513) } }],
    ['skein.local_only', 'invalid_request', { skein: { local_only: 'yes' } }],
  ])('%s is refused as %s', async (param, code, extra) => {
    const answer = await create(extra)
    expect(answer.statusCode).toBe(400)
    expect(answer.json().error).toMatchObject({ code, param })
    expect(h.twin.calls).toEqual([])
  })

  it('keeps what the ledger holds small, whatever is repeated', async () => {
    await create({ instructions: 'ü'.repeat(60_000), metadata: { a: 'b' } })
    const { shape } = h.twin.calls[0]!.request
    expect(Buffer.byteLength(shape)).toBeLessThan(64 * 1024)
    expect(JSON.parse(shape).response).toMatchObject({ instructions: null, metadata: { a: 'b' } })
  })
})

describe('a whole response', () => {
  it('has the shape of OpenAI, and is found again as it was', async () => {
    const answer = await create({ metadata: { room: 'kitchen' }, instructions: 'x', max_output_tokens: 7 })
    expect(answer.statusCode).toBe(200)
    const body = answer.json()
    expect(body).toMatchObject({
      id: expect.stringMatching(/^resp_[a-z2-7]{24}$/),
      object: 'response',
      created_at: 1_800_000_000,
      status: 'completed',
      error: null,
      incomplete_details: null,
      instructions: 'x',
      max_output_tokens: 7,
      metadata: { room: 'kitchen' },
      model: 'tiny',
      background: false,
      store: true,
      output: [
        {
          id: expect.stringMatching(/^msg_/),
          type: 'message',
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text: 'Hello world', annotations: [], logprobs: [] }],
        },
      ],
      usage: { input_tokens: 7, input_tokens_details: { cached_tokens: 3 }, output_tokens: 2, total_tokens: 9 },
    })
    const { completed_at: _, ...found } = (await h.get(`/v1/responses/${body.id}`)).json()
    expect(body).toMatchObject(found)
  })

  it('that ran out of tokens is incomplete', async () => {
    speaks('length')
    const body = (await create()).json()
    expect(body).toMatchObject({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } })
    expect((await h.get(`/v1/responses/${body.id}`)).json()).toMatchObject({
      status: 'incomplete',
      output: [{ status: 'incomplete' }],
    })
  })

  it('that failed is an error with its status, and a failed response afterwards', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'half')
      throw new SkeinError('ATTEMPTS_EXHAUSTED', 'every node was lost')
    }
    const answer = await create()
    expect(answer.statusCode).toBe(502)
    const id = String(answer.headers['x-skein-task']).replace('task_', 'resp_')
    expect((await h.get(`/v1/responses/${id}`)).json()).toMatchObject({
      status: 'failed',
      error: { code: 'server_error', type: 'attempts_exhausted', message: 'every node was lost' },
      output: [{ status: 'incomplete', content: [{ text: 'half' }] }],
    })
  })

  it.each(['resp_x', 'task_aaaaaaaaaaaaaaaaaaaaaaaa', `resp_${'a'.repeat(24)}`])('%s is not there', async (id) => {
    for (const query of ['', '?stream=true'])
      expect((await h.get(`/v1/responses/${id}${query}`)).json().error.code).toBe('not_found')
  })
})

describe('a response in the background', () => {
  it('is answered at once, runs without its client, and can be asked for', async () => {
    h.twin.script = saysAndHangs('some')
    const body = (await create({ background: true })).json()
    expect(body).toMatchObject({ background: true, output: [] })
    expect(['queued', 'in_progress']).toContain(body.status)
    await h.clock.advance(0)
    expect((await h.get(`/v1/responses/${body.id}`)).json()).toMatchObject({
      status: 'in_progress',
      output: [{ status: 'in_progress', content: [{ text: 'some' }] }],
    })
  })

  it('is not answered before it is durable', async () => {
    const durable = Promise.withResolvers<void>()
    h.twin.admission = durable.promise
    let isAnswered = false
    const answering = create({ background: true }).then(() => (isAnswered = true))
    await h.twin.called()
    await turns()
    expect(isAnswered).toBe(false)
    durable.resolve()
    await answering
  })

  it('can be cancelled, also twice', async () => {
    h.twin.script = saysAndHangs('some')
    const { id } = (await create({ background: true })).json()
    const cancel = () => h.gateway.app.inject({ method: 'POST', url: `/v1/responses/${id}/cancel` })
    expect((await cancel()).json()).toMatchObject({ id, status: 'cancelled' })
    expect((await cancel()).json().status).toBe('cancelled')
    const last = eventsOf((await h.get(`/v1/responses/${id}?stream=true`)).body).at(-1)!
    expect(last).toMatchObject({ type: 'response.incomplete', response: { status: 'cancelled', error: null } })
  })

  it('can be streamed while it runs', async () => {
    speaks()
    const all = eventsOf((await create({ background: true, stream: true })).body)
    expect(all[0]).toMatchObject({ type: 'response.created', response: { status: 'queued' } })
    expect(textOf(all)).toBe('Hello world!')
  })
})

describe('the events of a stream', () => {
  it('are those of OpenAI, numbered by the answer alone', async () => {
    speaks()
    const { body } = await create({ stream: true })
    const all = eventsOf(body)
    expect(
      all.filter(({ type }) => type !== 'response.output_text.delta').map((each) => [each.type, each.sequence_number]),
    ).toEqual([
      ['response.created', 0],
      ['response.in_progress', 1],
      ['response.output_item.added', 2],
      ['response.content_part.added', 3],
      ['response.output_text.done', 10],
      ['response.content_part.done', 11],
      ['response.output_item.done', 12],
      ['response.completed', LAST],
    ])
    expect(textOf(all)).toBe('Hello world!')
    expect(all.findLast(({ type }) => type === 'response.output_text.delta')!.sequence_number).toBe(3 + 5 + 1)
    for (const { id, name, data } of sent(body)) {
      const event = JSON.parse(data) as ResponseEvent
      expect([id, name]).toEqual([event.sequence_number, event.type])
    }
  })

  it('have no ids where nobody can come back', async () => {
    expect(sent((await create({ stream: true, store: false })).body).every(({ id }) => id === undefined)).toBe(true)
  })

  it('end with incomplete when the tokens ran out', async () => {
    speaks('length')
    const last = eventsOf((await create({ stream: true })).body).at(-1)!
    expect(last).toMatchObject({
      type: 'response.incomplete',
      sequence_number: LAST,
      response: { status: 'incomplete' },
    })
  })

  it('end with failed, behind what was delivered, never in silence', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'half', 2)
      throw new SkeinError('TASK_EXPIRED', 'too late')
    }
    const answer = await create({ stream: true })
    const failed = {
      type: 'response.failed',
      sequence_number: 6,
      response: {
        status: 'failed',
        error: { code: 'server_error', type: 'task_expired', message: 'too late' },
        output: [{ content: [{ text: 'half' }] }],
      },
    }
    expect(eventsOf(answer.body).at(-1)).toMatchObject(failed)
    const id = eventsOf(answer.body)[0]!.response as unknown as { id: string }
    // again from the ledger, and from its middle
    for (const query of ['', '&starting_after=5', '&starting_after=6'])
      expect(eventsOf((await h.get(`/v1/responses/${id.id}?stream=true${query}`)).body).at(-1)).toMatchObject(failed)
  })

  it('tell a stop of the coordinator apart from an end of the task', async () => {
    h.twin.script = saysAndHangs('begun', ' and')
    const streaming = create({ stream: true })
    await h.twin.called()
    await h.clock.advance(0)
    await h.gateway.stop()
    const all = eventsOf((await streaming).body)
    expect(all.at(-1)).toMatchObject({ type: 'error', code: 'shutting_down', sequence_number: 5 })
    expect(h.twin.inside(h.twin.taskIds[0]!).view().state).toBe('running')
  })
})

describe('coming back to a stream', () => {
  it('gives behind every number exactly the events that follow', async () => {
    speaks()
    const whole = await create({ stream: true })
    const id = (eventsOf(whole.body)[0]!.response as unknown as { id: string }).id
    const places = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, LAST]
    const untimed = ({ response: _, ...event }: ResponseEvent) => event
    await h.clock.advance(60_000)
    for (const after of places) {
      const had = eventsOf(whole.body).filter(({ sequence_number }) => sequence_number <= after)
      for (const rest of [
        await h.get(`/v1/responses/${id}?stream=true&starting_after=${after}`),
        await h.get(`/v1/responses/${id}?stream=true`, { 'last-event-id': String(after) }),
      ]) {
        const all = eventsOf(rest.body)
        if (after < LAST) expect(all.every(({ sequence_number }) => sequence_number > after)).toBe(true)
        // how many deltas the text came in depends on the reader; text and other events do not
        const isDelta = ({ type }: ResponseEvent): boolean => type.endsWith('.delta')
        const expected = eventsOf(whole.body).filter(({ sequence_number }) => sequence_number > after)
        if (after < LAST)
          expect(all.filter((each) => !isDelta(each)).map(untimed)).toEqual(
            expected.filter((each) => !isDelta(each)).map(untimed),
          )
        // numbers of which some lie inside a delta that this reader had: those it does not name
        if (had.some(({ sequence_number }) => sequence_number === after) && after > 3)
          expect(textOf(had) + textOf(all)).toBe('Hello world!')
        expect(all.at(-1)).toMatchObject({
          type: 'response.completed',
          sequence_number: LAST,
          // of the end, and not of this reading
          response: { completed_at: 1_800_000_001, output: [{ content: [{ text: 'Hello world!' }] }] },
        })
      }
    }
  })

  it('refuses a number inside a piece that no event ended with', async () => {
    speaks()
    const { id } = (await create()).json()
    const answer = await h.get(`/v1/responses/${id}?stream=true&starting_after=4`)
    expect(answer.statusCode).toBe(400)
  })

  it('goes on with an answer that still runs', async () => {
    const gate = Promise.withResolvers<void>()
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'a')
      yield tokens(1, 'b')
      await gate.promise
      yield tokens(2, 'c')
      yield end()
    }
    const { id } = (await create({ background: true })).json()
    await h.clock.advance(0)
    const streaming = h.get(`/v1/responses/${id}?stream=true&starting_after=4`)
    await h.clock.advance(0)
    gate.resolve()
    const all = eventsOf((await streaming).body)
    expect(textOf(all)).toBe('bc')
    expect(all.find(({ type }) => type === 'response.output_text.done')!.text).toBe('abc')
  })

  it('by its Idempotency-Key is a replay, from a number when it is named', async () => {
    speaks()
    const key = { 'idempotency-key': 'k' }
    await create({ stream: true }, key)
    const again = await create({ stream: true }, { ...key, 'last-event-id': '7' })
    expect(again.headers['x-skein-replayed']).toBe('true')
    expect(textOf(eventsOf(again.body))).toBe(' world!')
    expect(eventsOf(again.body)[0]!.sequence_number).toBeGreaterThan(7)
  })

  it.each([
    ['starting_after', '?starting_after=1'],
    ['starting_after', '?stream=true&starting_after=-1'],
    ['stream', '?stream=yes'],
  ])('refuses %s in %s', async (param, query) => {
    const { id } = (await create()).json()
    expect((await h.get(`/v1/responses/${id}${query}`)).json().error).toMatchObject({ code: 'invalid_request', param })
  })

  it('of a response whose text was deleted finds nothing', async () => {
    const { id } = (await create()).json()
    h.twin.inside(taskIdOf(id)).isPurged = true
    for (const rest of ['', '?stream=true', '/input_items'])
      expect((await h.get(`/v1/responses/${id}${rest}`)).statusCode).toBe(404)
  })

  it('that diverged is a conflict before any header', async () => {
    const { id } = (await create()).json()
    h.twin.divergence = new SkeinError('ANSWER_DIVERGED', 'made again')
    const answer = await h.get(`/v1/responses/${id}?stream=true&starting_after=4`)
    expect(answer.statusCode).toBe(409)
    expect(answer.json().error.code).toBe('answer_diverged')
  })
})
