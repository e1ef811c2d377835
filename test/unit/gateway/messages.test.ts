/** Anthropic's messages API: what its bodies become, and its own errors. Its answers: `message-answers.test.ts`. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { errorType } from '../../../coordinator/gateway/anthropic-errors.ts'
import { ERRORS, LIMITS, SkeinError, type ChatMessage } from '../../../mesh/protocol/index.ts'
import { createHarness, type Harness } from './harness.ts'

const TOOL = { name: 'lamp.set', description: 'Switches it', input_schema: { type: 'object' } }
const ASK = { model: 'tiny', max_tokens: 64, messages: [{ role: 'user', content: 'hi' }] }

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const post = (extra: object = {}, headers: Record<string, string> = {}) =>
  h.post('/v1/messages', { ...ASK, ...extra }, headers)

async function promptOf(extra: object = {}) {
  const response = await post(extra)
  expect(response.statusCode, response.body).toBe(200)
  const { prompt } = h.twin.calls.at(-1)!.request
  if (prompt.kind !== 'chat') throw new TypeError('no chat')
  return prompt
}
const messagesOf = async (messages: object[], extra: object = {}): Promise<readonly ChatMessage[]> =>
  (await promptOf({ messages, ...extra })).messages

interface Refusal {
  error: { type: string; message: string; details: { error_code: string; param?: string } }
}
async function refusal(extra: object, url = '/v1/messages'): Promise<[number, string, string, string | undefined]> {
  const response = await h.post(url, { ...ASK, ...extra })
  const { error } = response.json<Refusal>()
  expect(h.twin.calls).toHaveLength(0)
  return [response.statusCode, error.type, error.details.error_code, error.details.param]
}

describe('a request', () => {
  it('brings its system prompt, as a string or in blocks', async () => {
    const user = { role: 'user', content: 'hi' }
    expect((await promptOf({ system: 'Be brief.' })).messages).toEqual([{ role: 'system', content: 'Be brief.' }, user])
    const blocks = [
      { type: 'text', text: 'Be ', cache_control: { type: 'ephemeral' } },
      { type: 'text', text: 'kind.' },
    ]
    expect((await promptOf({ system: blocks })).messages[0]).toEqual({ role: 'system', content: 'Be kind.' })
    expect((await promptOf({ system: '' })).messages).toEqual([user])
  })

  it('tells results of tools in front of what is said beside them, and failed ones as errors', async () => {
    const messages = await messagesOf([
      { role: 'user', content: [{ type: 'text', text: 'Light?' }] },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'Both.', signature: 'x' },
          { type: 'redacted_thinking', data: 'abc' },
          { type: 'text', text: 'Yes.' },
          { type: 'tool_use', id: 'toolu_1', name: 'lamp.set', input: { on: true } },
          { type: 'tool_use', id: 'toolu_2', name: 'lamp.set', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Now?' },
          { type: 'tool_result', tool_use_id: 'toolu_1', content: 'on' },
          { type: 'tool_result', tool_use_id: 'toolu_2', content: [{ type: 'text', text: 'stuck' }], is_error: true },
        ],
      },
    ])
    expect(messages).toEqual([
      { role: 'user', content: 'Light?' },
      {
        role: 'assistant',
        content: 'Yes.',
        thought: 'Both.',
        toolCalls: [
          { id: 'toolu_1', name: 'lamp.set', arguments: '{"on":true}' },
          { id: 'toolu_2', name: 'lamp.set', arguments: '{}' },
        ],
      },
      { role: 'tool', content: 'on', toolCallId: 'toolu_1' },
      { role: 'tool', content: 'Error: stuck', toolCallId: 'toolu_2' },
      { role: 'user', content: 'Now?' },
    ])
  })

  it('takes a result without content, and joins turns of one side', async () => {
    const messages = await messagesOf([
      { role: 'user', content: 'a' },
      { role: 'user', content: [{ type: 'text', text: 'b' }] },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'x', name: 'n', input: {} }] },
      { role: 'assistant', content: 'c' },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'x' }] },
    ])
    expect(messages).toEqual([
      { role: 'user', content: 'a\nb' },
      { role: 'assistant', content: 'c', toolCalls: [{ id: 'x', name: 'n', arguments: '{}' }] },
      { role: 'tool', content: '', toolCallId: 'x' },
    ])
  })

  it.each<[string, object, object | undefined]>([
    ['none', {}, { isOn: false }],
    ['disabled', { thinking: { type: 'disabled' } }, { isOn: false }],
    ['enabled', { thinking: { type: 'enabled', budget_tokens: 1024 } }, { isOn: true }],
    [
      'enabled with effort',
      { thinking: { type: 'enabled' }, output_config: { effort: 'max' } },
      { isOn: true, effort: 'xhigh' },
    ],
    ['adaptive', { thinking: { type: 'adaptive' } }, undefined],
    [
      'adaptive with effort',
      { thinking: { type: 'adaptive' }, output_config: { effort: 'low' } },
      { isOn: true, effort: 'low' },
    ],
  ])('says of thinking: %s', async (_, extra, wish) => {
    expect((await promptOf(extra)).thinking).toEqual(wish)
  })

  it('names its sampling, its bounds and who it is for', async () => {
    await post({ temperature: 0.5, top_p: 0.9, top_k: 40, stop_sequences: ['END'], metadata: { user_id: 'u' } })
    expect(h.twin.calls[0]!.request).toMatchObject({
      sampling: { temperature: 0.5, topP: 0.9, topK: 40 },
      stop: ['END'],
      maxTokens: 64,
      priority: 'default',
      attachment: 'attached',
    })
    await post({ stream: true, skein: { local_only: true } }, { 'x-skein-priority': 'bulk' })
    expect(h.twin.calls[1]!.request).toMatchObject({ localOnly: true, priority: 'bulk' })
    await post({ stream: true })
    expect(h.twin.calls[2]!.request.priority).toBe('interactive')
  })

  it.each<[object | undefined, object | undefined]>([
    [undefined, { choice: 'auto', callsMax: LIMITS.answerToolCallsMax }],
    [
      { type: 'auto', disable_parallel_tool_use: true },
      { choice: 'auto', callsMax: 1 },
    ],
    [{ type: 'any' }, { choice: 'required', callsMax: LIMITS.answerToolCallsMax }],
    [
      { type: 'tool', name: 'lamp.set' },
      { choice: 'required', callsMax: 1, name: 'lamp.set' },
    ],
    [{ type: 'none' }, undefined],
  ])('says with %j how its tools may be called', async (choice, format) => {
    const { tools } = await promptOf({ tools: [TOOL], ...(choice && { tool_choice: choice }) })
    const { request } = h.twin.calls[0]!
    expect(request.format).toEqual(format && { kind: 'tool-calls', ...format })
    const shown = [{ name: 'lamp.set', description: 'Switches it', parameters: '{"type":"object"}' }]
    expect(tools).toEqual(format && shown)
  })

  it('holds the answer to a schema', async () => {
    const schema = { type: 'object' }
    await post({ output_config: { format: { type: 'json_schema', schema } } })
    expect(h.twin.calls[0]!.request.format).toEqual({ kind: 'json-schema', schema: '{"type":"object"}' })
  })

  const said = (...content: object[]): object => ({ messages: [{ role: 'user', content }] })
  it.each<[string, object, string, string | undefined]>([
    ['no max_tokens', { max_tokens: null }, 'invalid_request', 'max_tokens'],
    ['no messages', { messages: [] }, 'invalid_request', 'messages'],
    ['an unknown role', { messages: [{ role: 'tool', content: 'x' }] }, 'invalid_request', 'messages[0].role'],
    ['a turn without blocks', said(), 'invalid_request', 'messages[0].content'],
    ['an image', said({ type: 'image', source: {} }), 'unsupported_parameter', 'messages[0].content[0].type'],
    ['a document', said({ type: 'document', source: {} }), 'unsupported_parameter', 'messages[0].content[0].type'],
    ['a call by the user', said({ type: 'tool_use', id: 'x' }), 'unsupported_parameter', 'messages[0].content[0].type'],
    ['text that is none', said({ type: 'text', text: 1 }), 'invalid_request', 'messages[0].content[0].text'],
    ['a result of nothing', said({ type: 'tool_result' }), 'invalid_request', 'messages[0].content[0].tool_use_id'],
    [
      'a result of an endless id',
      said({ type: 'tool_result', tool_use_id: 'x'.repeat(LIMITS.toolCallIdLengthMax + 1) }),
      'invalid_request',
      'messages[0].content[0].tool_use_id',
    ],
    [
      'a result that is a number',
      said({ type: 'tool_result', tool_use_id: 'x', content: 5 }),
      'invalid_request',
      'messages[0].content[0].content',
    ],
    [
      'a picture as a result',
      said({ type: 'tool_result', tool_use_id: 'x', content: [{ type: 'image' }] }),
      'unsupported_parameter',
      'messages[0].content[0].content[0].type',
    ],
    [
      'a call with a list',
      { messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 'x', name: 'n', input: [] }] }] },
      'invalid_request',
      'messages[0].content[0].input',
    ],
    [
      'a call of an odd name',
      { messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 'x', name: 'a b', input: {} }] }] },
      'invalid_request',
      'messages[0].content[0].name',
    ],
    [
      'an answer begun for the model',
      { messages: [...ASK.messages, { role: 'assistant', content: 'Once' }] },
      'unsupported_parameter',
      'messages[1].role',
    ],
    [
      'a tool that Anthropic brings',
      { tools: [{ type: 'bash_20250124', name: 'bash' }] },
      'unsupported_parameter',
      'tools[0].type',
    ],
    ['a tool without schema', { tools: [{ name: 'x' }] }, 'invalid_request', 'tools[0].input_schema'],
    ['a tool twice', { tools: [TOOL, TOOL] }, 'invalid_request', 'tools[1].name'],
    ['a choice of no tool', { tool_choice: { type: 'any' } }, 'invalid_request', 'tool_choice'],
    ['a choice without name', { tools: [TOOL], tool_choice: { type: 'tool' } }, 'invalid_request', 'tool_choice.name'],
    ['another choice', { tools: [TOOL], tool_choice: { type: 'some' } }, 'invalid_request', 'tool_choice.type'],
    ['another thinking', { thinking: { type: 'much' } }, 'invalid_request', 'thinking.type'],
    ['a thread', { thread: { type: 'create' } }, 'thread_unsupported_request', undefined],
    ['a container', { container: 'x' }, 'unsupported_parameter', 'container'],
    ['servers of tools', { mcp_servers: [{ url: 'x' }] }, 'unsupported_parameter', 'mcp_servers'],
    ['a misspelt wish', { skein: { localonly: true } }, 'invalid_request', 'skein'],
  ])('is refused for %s', async (_, extra, code, param) => {
    expect(await refusal(extra)).toEqual([400, 'invalid_request_error', code, param])
  })

  it('is refused for more turns and results than a chat may have', async () => {
    const many = Array.from({ length: LIMITS.messagesMax }, (_, i) => ({ type: 'tool_result', tool_use_id: `x${i}` }))
    const ask = { messages: [{ role: 'user', content: many }], system: 'Be brief.' }
    expect(await refusal(ask)).toEqual([400, 'invalid_request_error', 'invalid_request', 'messages'])
  })

  it('is refused for more calls than a chat may have', async () => {
    const content = Array.from({ length: LIMITS.toolCallsMax + 1 }, (_, i) => {
      return { type: 'tool_use', id: `x${i}`, name: 'n', input: {} }
    })
    const ask = { messages: [{ role: 'assistant', content }, ...ASK.messages] }
    expect(await refusal(ask)).toEqual([400, 'invalid_request_error', 'invalid_request', 'messages'])
  })

  it('is not gone on with behind an event: its events have no ids', async () => {
    const { statusCode, body } = await post({ stream: true }, { 'last-event-id': '3', 'idempotency-key': 'k' })
    expect([statusCode, body]).toEqual([400, expect.stringContaining('unsupported_parameter')])
  })
})

describe('the count of tokens', () => {
  it('is what a node says of the prompt, cached or not', async () => {
    const { max_tokens: _, ...ask } = ASK
    const body = { ...ask, tools: [TOOL], tool_choice: { type: 'any' }, system: 'Be brief.' }
    const response = await h.post('/v1/messages/count_tokens', body)
    expect(response.json()).toEqual({ input_tokens: 7 })
    const { prompt, maxTokens, format } = h.twin.calls[0]!.request
    expect([maxTokens, format]).toEqual([1, undefined])
    await post(body)
    expect(h.twin.calls[1]!.request.prompt).toEqual(prompt)
  })

  it('is refused what a message is refused for', async () => {
    const image = { messages: [{ role: 'user', content: [{ type: 'image' }] }] }
    const [status, type] = await refusal(image, '/v1/messages/count_tokens')
    expect([status, type]).toEqual([400, 'invalid_request_error'])
  })
})

describe('errors', () => {
  it('have the shape of the API before any handler, behind any header', async () => {
    const request_id = expect.any(String)
    const shape = (type: string) => ({ type: 'error', error: expect.objectContaining({ type }), request_id })
    const json = async (url: string, body: unknown, headers = {}) => (await h.post(url, body, headers)).json()
    expect(await json('/v1/messages', '{')).toEqual(shape('invalid_request_error'))
    expect(await json('/v1/messages', 'x', { 'content-type': 'text/plain' })).toEqual(shape('invalid_request_error'))
    expect((await post({ model: 'none' })).json()).toEqual(shape('not_found_error'))
    const version = { 'anthropic-version': 'whatever' }
    expect(await json('/v1/messages/batches', {}, version)).toEqual(shape('not_found_error'))
    expect((await h.get('/v1/messages', version)).json()).toEqual(shape('invalid_request_error'))
    expect((await h.get('/v1/messages')).json()).toMatchObject({ error: { code: 'method_not_allowed' } })
  })

  it('say when to come again', async () => {
    h.twin.refusal = new SkeinError('SATURATED', 'no slot is free', { retryAfterSeconds: 7 })
    const { statusCode, headers, ...response } = await post()
    expect(statusCode).toBe(503)
    expect(headers).toMatchObject({ 'retry-after': '7', 'x-should-retry': 'true' })
    expect(headers['request-id']).toBe(headers['x-request-id'])
    expect(response.json()).toMatchObject({ error: { type: 'overloaded_error', message: 'no slot is free' } })
  })

  it('have a name of the API for every status of the registry', () => {
    const names = new Map(Object.values(ERRORS).map(({ http }) => [http, errorType(http)]))
    expect(Object.fromEntries(names)).toEqual({
      400: 'invalid_request_error',
      401: 'authentication_error',
      402: 'billing_error',
      403: 'permission_error',
      404: 'not_found_error',
      405: 'invalid_request_error',
      408: 'timeout_error',
      409: 'invalid_request_error',
      413: 'request_too_large',
      415: 'invalid_request_error',
      422: 'invalid_request_error',
      429: expect.stringMatching(/^rate_limit_error$/),
      499: 'invalid_request_error',
      500: 'api_error',
      502: 'api_error',
      503: 'overloaded_error',
      504: 'timeout_error',
      507: 'api_error',
      508: 'api_error',
    })
  })

  it('keep what a defect says to the log', async () => {
    h.twin.refusal = new SkeinError('INTERNAL', 'secret')
    expect((await post()).body).not.toContain('secret')
  })
})

describe('the key', () => {
  it('is taken from either header', async () => {
    const locked = createHarness({ apiKey: 'sk-1' })
    const ask = (headers: Record<string, string>) => locked.post('/v1/messages', ASK, headers)
    expect((await ask({ 'x-api-key': 'sk-1' })).statusCode).toBe(200)
    expect((await ask({ authorization: 'Bearer sk-1' })).statusCode).toBe(200)
    for (const headers of [{ 'x-api-key': 'sk-2' }, { 'x-api-key': '' }, {}]) {
      const response = await ask(headers as Record<string, string>)
      expect(response.statusCode).toBe(401)
      expect(response.json()).toMatchObject({ type: 'error', error: { type: 'authentication_error' } })
    }
    await locked.gateway.stop()
  })
})
