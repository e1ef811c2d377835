/** Ollama's API: what of its bodies becomes a task, and how answers, models and errors are told. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS, SkeinError, toolCallText } from '../../../mesh/protocol/index.ts'
import { end, says, started, status, tokens, TWIN_MODEL } from '../../fixtures/mesh-service-twin.ts'
import { createHarness, turns, type Harness } from './harness.ts'

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const MESSAGES = [{ role: 'user', content: 'hi' }]
const chat = (extra: object = {}, headers: Record<string, string> = {}) =>
  h.post('/api/chat', { model: 'tiny', messages: MESSAGES, stream: false, ...extra }, headers)
const generate = (extra: object = {}) =>
  h.post('/api/generate', { model: 'tiny', prompt: 'hi', stream: false, ...extra })
const lines = (body: string): Record<string, unknown>[] => {
  expect(body.endsWith('\n')).toBe(true)
  return body
    .slice(0, -1)
    .split('\n')
    .map((each) => JSON.parse(each) as Record<string, unknown>)
}
const asked = (): (typeof h.twin.calls)[number]['request'] => h.twin.calls.at(-1)!.request

const HEAD = { model: 'tiny', created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) }
const METRICS = {
  total_duration: 0,
  prompt_eval_count: 7,
  prompt_eval_duration: 2_000_000,
  eval_count: 2,
  eval_duration: 3_000_000,
}
const DONE = { done: true, done_reason: 'stop', ...METRICS }

describe('an answer', () => {
  it('to a chat is one object, with the headers of every answer', async () => {
    const { statusCode, headers, json } = await chat()
    expect(statusCode).toBe(200)
    expect(json()).toEqual({ ...HEAD, message: { role: 'assistant', content: 'Hello world' }, ...DONE })
    expect(headers).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'x-skein-task': expect.stringMatching(/^task_/),
      'x-skein-version': '2',
    })
  })

  it('is a stream of lines unless it is asked for whole', async () => {
    const { headers, body } = await chat({ stream: undefined })
    expect(headers['content-type']).toBe('application/x-ndjson')
    expect(lines(body)).toEqual([
      { ...HEAD, message: { role: 'assistant', content: 'Hello' }, done: false },
      { ...HEAD, message: { role: 'assistant', content: ' world' }, done: false },
      { ...HEAD, message: { role: 'assistant', content: '' }, ...DONE },
    ])
    expect(asked().priority).toBe('interactive')
  })

  it('to a prompt has its text elsewhere', async () => {
    expect((await generate()).json()).toEqual({ ...HEAD, response: 'Hello world', ...DONE })
    const { body } = await generate({ stream: true })
    expect(lines(body)).toEqual([
      { ...HEAD, response: 'Hello', done: false },
      { ...HEAD, response: ' world', done: false },
      { ...HEAD, response: '', ...DONE },
    ])
  })

  it('tells how long it took in nanoseconds', async () => {
    h.twin.script = async function* () {
      yield started()
      await h.clock.advance(1500)
      yield end()
    }
    expect((await chat()).json()).toMatchObject({ total_duration: 1_500_000_000, prompt_eval_duration: 2_000_000 })
  })

  it('that ran into its length says so', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'a')
      yield end('', undefined, 1, 'length')
    }
    expect((await chat()).json()).toMatchObject({ done: true, done_reason: 'length' })
  })

  it('has its thought apart, whole and streamed', async () => {
    h.twin.thought = { open: '<think>', close: '</think>', isOpen: false }
    h.twin.script = says('<think>', 'Hm.', '</think>', 'So')
    expect((await chat()).json()['message']).toEqual({ role: 'assistant', content: 'So', thinking: 'Hm.' })
    const told = lines((await chat({ stream: true })).body).map(({ message }) => message)
    expect(told).toContainEqual({ role: 'assistant', content: '', thinking: 'Hm.' })
    expect(told).toContainEqual({ role: 'assistant', content: 'So' })
    expect((await generate()).json()).toMatchObject({ response: 'So', thinking: 'Hm.' })
  })

  it('has the log probabilities that were asked for', async () => {
    const bytes = new TextEncoder().encode('Hi')
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'Hi', 1, [{ bytes, logprob: -0.5, top: [{ bytes, logprob: -0.5 }] }])
      yield end()
    }
    const token = { token: 'Hi', logprob: -0.5, bytes: [72, 105] }
    const logprobs = [{ ...token, top_logprobs: [token] }]
    expect((await chat({ logprobs: true, top_logprobs: 1 })).json()['logprobs']).toEqual(logprobs)
    expect(asked().logprobs).toBe(1)
    const [first] = lines((await chat({ logprobs: true, stream: true })).body)
    expect(first!['logprobs']).toEqual(logprobs)
    expect((await chat()).json()).not.toHaveProperty('logprobs')
  })
})

describe('a stream', () => {
  it('keeps its connection in use with lines that say nothing', async () => {
    const gate = Promise.withResolvers<void>()
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'a')
      yield status('node lost, resuming on attic')
      await gate.promise
      yield end()
    }
    const answering = chat({ stream: true })
    await h.twin.called()
    await turns()
    await h.clock.advance(10_000)
    await turns()
    gate.resolve()
    const told = lines((await answering).body)
    const silent = told.filter(({ done, message }) => !done && (message as { content: string }).content === '')
    expect(silent.length).toBeGreaterThanOrEqual(2)
    expect(told.at(-1)).toMatchObject({ done: true })
  })

  it('that fails in its middle ends with a line that says so', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'half')
      throw new SkeinError('ATTEMPTS_EXHAUSTED', 'every node was lost')
    }
    const { statusCode, body } = await chat({ stream: true })
    expect(statusCode).toBe(200)
    expect(lines(body).at(-1)).toEqual({ error: 'every node was lost' })
  })

  it('that fails before it begins has a status', async () => {
    h.twin.refusal = new SkeinError('SATURATED', 'no slot is free', { retryAfterSeconds: 3 })
    const { statusCode, headers, json } = await chat({ stream: true })
    expect(statusCode).toBe(503)
    expect(headers['retry-after']).toBe('3')
    expect(json()).toEqual({ error: 'no slot is free' })
  })

  it('cannot be come back to in its middle, and is told again from its start', async () => {
    const key = { 'idempotency-key': 'k' }
    const first = await chat({ stream: true }, key)
    const again = await chat({ stream: true }, key)
    expect(again.headers['x-skein-replayed']).toBe('true')
    expect(lines(again.body)).toEqual(lines(first.body))
    expect((await chat({ stream: true }, { ...key, 'last-event-id': '1' })).statusCode).toBe(400)
  })
})

describe('a chat', () => {
  it('is a task with its options', async () => {
    await chat({
      options: {
        ...{ num_predict: 9, num_ctx: 2048, seed: 42, temperature: 0.5, top_k: 20, top_p: 0.9, min_p: 0.1 },
        ...{ stop: ['a', 'b'], presence_penalty: 1, frequency_penalty: -1, repeat_penalty: 1, mirostat: 0 },
        ...{ num_gpu: 1, num_thread: null, use_mmap: true, unknown: 'x' },
      },
      keep_alive: '5m',
      truncate: true,
    })
    const sampling = { temperature: 0.5, topK: 20, topP: 0.9, minP: 0.1, presencePenalty: 1, frequencyPenalty: -1 }
    expect(asked()).toMatchObject({ maxTokens: 9, stop: ['a', 'b'], model: 'tiny' })
    expect(asked().sampling).toEqual({ ...sampling, seed: 42 })
    expect(asked().prompt).toEqual({ kind: 'chat', messages: MESSAGES })
  })

  it('penalizes repeats as it says', async () => {
    for (const options of [
      { repeat_penalty: 1.1 },
      { repeat_penalty: 1.2, repeat_last_n: 64 },
      { repeat_penalty: 1.1, repeat_last_n: 0 },
      { repeat_last_n: 128 },
    ])
      await chat({ options })
    expect(h.twin.calls.map(({ request }) => request.sampling)).toEqual([
      { repeatPenalty: 1.1 },
      { repeatPenalty: 1.2 },
      {},
      {},
    ])
  })

  it.each([-2, -1, 0])('with num_predict %d has as many tokens as the context holds', async (num_predict) => {
    await chat({ options: { num_predict, seed: -1, top_k: -1 } })
    expect(asked()).not.toHaveProperty('maxTokens')
    expect(asked().sampling).toEqual({ topK: 0 })
  })

  it.each([
    ['json', { kind: 'json' }],
    [{ type: 'object' }, { kind: 'json-schema', schema: '{"type":"object"}' }],
    ['', undefined],
    [null, undefined],
  ])('with the format %j is held to it', async (format, expected) => {
    expect((await chat({ format })).statusCode).toBe(200)
    expect(asked().format).toEqual(expected)
  })

  it.each([
    [true, { isOn: true }],
    [false, { isOn: false }],
    ['low', { isOn: true, effort: 'low' }],
    ['max', { isOn: true, effort: 'xhigh' }],
    [undefined, undefined],
  ])('with think %j wishes for that', async (think, thinking) => {
    h.twin.modelViews = [{ ...TWIN_MODEL, features: ['chat', 'completion', 'thinking'] }]
    await chat({ think })
    expect(asked().prompt).toEqual({ kind: 'chat', messages: MESSAGES, ...(thinking && { thinking }) })
  })

  it('knows a model with the usual tag and without it', async () => {
    h.twin.modelViews = [{ ...TWIN_MODEL, aliases: ['tiny', 'goose:latest'] }]
    for (const model of ['tiny', 'tiny:latest', 'goose', 'goose:latest'])
      expect((await chat({ model })).json()).toMatchObject({ model, done: true })
    for (const model of ['tiny:1b', 'goose:1b', ':latest']) {
      const { statusCode, json } = await chat({ model })
      expect(statusCode, model).toBe(404)
      expect(json()).toEqual({ error: expect.stringContaining(`'${model}'`) })
    }
    expect((await h.get('/v1/models/goose')).json()).toMatchObject({ id: 'goose' })
  })

  it.each([
    ['images in a message', { messages: [{ ...MESSAGES[0], images: ['aGk='] }] }, /messages\[0\]\.images/],
    ['a penalty out of range', { options: { repeat_penalty: 3 } }, /options\.repeat_penalty/],
    ['a penalty of more tokens', { options: { repeat_penalty: 1.1, repeat_last_n: -1 } }, /options\.repeat_last_n/],
    ['mirostat', { options: { mirostat: 2 } }, /options\.mirostat/],
    ['more context than there is', { options: { num_ctx: 2049 } }, /num_ctx is more than the 2048 tokens/],
    ['thinking of one that does not', { think: true }, /think is not for 'tiny'/],
    ['a role that is none', { messages: [{ role: 'robot', content: 'x' }] }, /messages\[0\]\.role must be/],
    [
      'calls of a user',
      { messages: [{ ...MESSAGES[0], tool_calls: [{ function: { name: 'x' } }] }] },
      /is for an assistant/,
    ],
    ['a format that is none', { format: 'xml' }, /format/],
    ['an option of a wrong type', { options: { temperature: 'hot' } }, /options\.temperature must be number/],
    ['no model', { model: undefined }, /model is required/],
    ['another template', { template: '{{ .Prompt }}' }, /template/],
    ['a misspelt member of skein', { skein: { localonly: true } }, /skein/],
  ])('with %s is refused in Ollama’s shape', async (_what, extra, error) => {
    const { statusCode, json } = await chat(extra)
    expect(statusCode).toBe(400)
    expect(json()).toEqual({ error: expect.stringMatching(error) })
    expect(h.twin.calls).toHaveLength(0)
  })

  it('obeys the mesh’s own wishes', async () => {
    await chat({ skein: { local_only: true }, messages: [{ role: 'USER', content: 'hi', images: null }] })
    expect(asked()).toMatchObject({ localOnly: true, prompt: { messages: MESSAGES } })
  })

  it('without messages only asks for the model', async () => {
    const message = { role: 'assistant', content: '' }
    expect((await chat({ messages: [] })).json()).toEqual({ ...HEAD, message, done: true, done_reason: 'load' })
    const unload = { messages: undefined, keep_alive: 0 }
    expect((await chat(unload)).json()).toEqual({ ...HEAD, message, done: true, done_reason: 'unload' })
    expect((await generate({ prompt: '', keep_alive: '0s' })).json()).toMatchObject({
      response: '',
      done_reason: 'unload',
    })
    expect((await generate({ prompt: undefined, keep_alive: '10m' })).json()).toMatchObject({ done_reason: 'load' })
    expect((await chat({ messages: [], model: 'none' })).statusCode).toBe(404)
    expect(h.twin.calls).toHaveLength(0)
  })
})

describe('a prompt', () => {
  it('is a message behind the system’s', async () => {
    await generate({ system: 'be kind', suffix: '', context: [], images: [], template: '' })
    const messages = [{ role: 'system', content: 'be kind' }, ...MESSAGES]
    expect(asked().prompt).toEqual({ kind: 'chat', messages })
  })

  it('that is raw is a text', async () => {
    await generate({ raw: true })
    expect(asked().prompt).toEqual({ kind: 'text', text: 'hi' })
  })

  it.each([
    ['suffix', { suffix: 'x' }],
    ['images', { images: ['aGk='] }],
    ['context', { context: [1, 2] }],
    ['system', { raw: true, system: 'x' }],
    ['_debug_render_only', { _debug_render_only: true }],
  ])('with %s that is not served is refused', async (name, extra) => {
    const { statusCode, json } = await generate(extra)
    expect(statusCode).toBe(400)
    expect(json().error).toMatch(new RegExp(`^${name} `))
  })
})

describe('tools', () => {
  const TOOLS = [{ type: 'function', function: { name: 'say', parameters: { type: 'object' } } }]
  const call = (given: string): string => toolCallText({ name: 'say', arguments: given })
  const ID = 'call_aaaaaaaaaaaaaaaaaaaaaaab'
  const told = (index: number, given: object): object => ({
    id: `${ID}_${index}`,
    function: { index, name: 'say', arguments: given },
  })

  it('are given, and an answer may call them', async () => {
    h.twin.script = says('So: ', call('{"a":{"b":1}}'), '\n', call('{}'))
    const { message, done_reason } = (await chat({ tools: TOOLS })).json()
    expect(message).toEqual({ role: 'assistant', content: 'So:', tool_calls: [told(0, { a: { b: 1 } }), told(1, {})] })
    expect(done_reason).toBe('stop')
    expect(asked().prompt).toMatchObject({ tools: [{ name: 'say', parameters: '{"type":"object"}' }] })
    expect(asked().format).toMatchObject({ kind: 'tool-calls', choice: 'auto', callsMax: LIMITS.answerToolCallsMax })
  })

  it('are called in a stream with whole objects, however their text is cut', async () => {
    const text = call('{"a":{"b":1}}') + '\n' + call('{}')
    h.twin.script = says(...text.match(/.{1,5}/gs)!)
    const all = lines((await chat({ tools: TOOLS, stream: true })).body)
    const calls = all.flatMap(({ message }) => (message as { tool_calls?: object[] }).tool_calls ?? [])
    expect(calls).toEqual([told(0, { a: { b: 1 } }), { ...told(1, {}), id: expect.stringMatching(/_1$/) }])
    expect(all.at(-1)).toMatchObject({ done: true, message: { content: '' } })
  })

  it.each([false, true])('that are called in half are content (streamed: %j)', async (stream) => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, '<tool_call>\n{"name": "say", "arguments": {"a": ')
      yield end('', undefined, 1, 'length')
    }
    const { body } = await chat({ tools: TOOLS, stream })
    const all = lines(stream ? body : `${body}\n`)
    const content = all.map(({ message }) => (message as { content: string }).content).join('')
    expect(content).toBe('<tool_call>\n{"name": "say", "arguments": {"a": ')
    expect(body).not.toContain('tool_calls')
    expect(all.at(-1)).toMatchObject({ done: true, done_reason: 'length' })
  })

  it('have results that belong to calls, with ids and without', async () => {
    const called = (name: string, id?: string): object => ({
      ...(id && { id }),
      function: { name, arguments: { a: 1 } },
    })
    const messages = [
      { role: 'user', content: 'do' },
      { role: 'assistant', content: '', thinking: 'Hm.', tool_calls: [called('x'), called('y'), called('z', 'mine')] },
      { role: 'tool', content: 'of y', tool_name: 'y' },
      { role: 'tool', content: 'of z', tool_call_id: 'mine' },
      { role: 'tool', content: 'of x' },
      { role: 'tool', content: 'of nothing' },
    ]
    expect((await chat({ messages })).statusCode).toBe(200)
    expect(asked().prompt).toEqual({
      kind: 'chat',
      messages: [
        { role: 'user', content: 'do' },
        {
          role: 'assistant',
          content: '',
          thought: 'Hm.',
          toolCalls: [
            { id: 'call_0', name: 'x', arguments: '{"a":1}' },
            { id: 'call_1', name: 'y', arguments: '{"a":1}' },
            { id: 'mine', name: 'z', arguments: '{"a":1}' },
          ],
        },
        { role: 'tool', content: 'of y', name: 'y', toolCallId: 'call_1' },
        { role: 'tool', content: 'of z', toolCallId: 'mine' },
        { role: 'tool', content: 'of x', toolCallId: 'call_0' },
        { role: 'tool', content: 'of nothing' },
      ],
    })
  })
})
