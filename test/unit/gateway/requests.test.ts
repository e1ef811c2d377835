import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { createLogger } from '../../../mesh/runtime/index.ts'
import { CHAT, createHarness, type Harness } from './harness.ts'

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const user = (content: unknown, extra: object = {}): object => ({ messages: [{ role: 'user', content, ...extra }] })
const LEGACY = { model: 'tiny', prompt: 'x' }

describe('what becomes of a request', () => {
  it('is a task with what was asked, and no more', async () => {
    await h.chat()
    const { requestId, ...task } = h.twin.calls[0]!.request
    expect(requestId).toMatch(/^req_/)
    expect(task).toEqual({
      model: 'tiny',
      prompt: { kind: 'chat', messages: [{ role: 'user', content: 'hi' }] },
      sampling: {},
      stop: [],
      priority: 'default',
      tenant: 'local',
      attachment: 'attached',
      stored: false,
      shape: '{"api":"chat","created":1800000000}',
    })
  })

  it('has every sampling member', async () => {
    await h.chat({
      temperature: 0,
      top_p: 0.5,
      top_k: 40,
      min_p: 0.1,
      seed: 7,
      presence_penalty: -2,
      frequency_penalty: 2,
      stop: 'END',
      max_tokens: 5,
      max_completion_tokens: 6,
    })
    expect(h.twin.calls[0]!.request).toMatchObject({
      sampling: { temperature: 0, topP: 0.5, topK: 40, minP: 0.1, seed: 7, presencePenalty: -2, frequencyPenalty: 2 },
      stop: ['END'],
      maxTokens: 6,
    })
  })

  it.each([
    [-1, 0xffff_ffff],
    [2 ** 32 + 5, 5],
    [2 ** 53, 0],
    [1e300, 0],
  ])('maps the seed %d into 32 bits', async (seed, mapped) => {
    await h.chat({ seed })
    expect(h.twin.calls[0]!.request.sampling.seed).toBe(mapped)
  })

  it.each([
    [-1, 0],
    [0, 0],
    [1e12, 0],
    [1, 1],
  ])('takes top_k %d as %d', async (top_k, mapped) => {
    await h.chat({ top_k })
    expect(h.twin.calls[0]!.request.sampling.topK).toBe(mapped)
  })

  it.each([LIMITS.generatedTokensMax + 1, 1e300])('leaves the bound of max_tokens %d to the context', async (max) => {
    await h.chat({ max_tokens: max })
    expect(h.twin.calls[0]!.request).not.toHaveProperty('maxTokens')
  })

  it('joins text parts, keeps all roles and names, and mends half characters', async () => {
    const messages = [
      { role: 'system', content: 'a' },
      {
        role: 'developer',
        content: [
          { type: 'text', text: 'b' },
          { type: 'text', text: 'c' },
        ],
      },
      { role: 'user', content: 'd\ud83d', name: 'ann' },
      { role: 'assistant', content: '', tool_calls: [] },
      { role: 'tool', content: 'e', tool_call_id: 'x' },
    ]
    await h.chat({ messages })
    expect(h.twin.calls[0]!.request.prompt).toEqual({
      kind: 'chat',
      messages: [
        { role: 'system', content: 'a' },
        { role: 'developer', content: 'bc' },
        { role: 'user', content: 'd\ufffd', name: 'ann' },
        { role: 'assistant', content: '' },
        { role: 'tool', content: 'e', toolCallId: 'x' },
      ],
    })
  })

  it('ignores what is unknown, null, or switched off', async () => {
    const answer = await h.chat({
      user: 'me',
      metadata: { a: 1 },
      some_extension: [1],
      temperature: null,
      stop: null,
      max_tokens: null,
      stream: null,
      tools: [],
      tool_choice: 'none',
      n: 1,
      logprobs: false,
      response_format: { type: 'text' },
      modalities: ['text'],
      logit_bias: {},
    })
    expect(answer.statusCode).toBe(200)
    expect(h.twin.calls[0]!.request.sampling).toEqual({})
  })

  it('moves logits and penalizes repeats, where that changes something', async () => {
    await h.chat({ logit_bias: { 7: -100, 5: 0.5, 6: 0 }, repetition_penalty: 1.1 })
    await h.chat({ repetition_penalty: 1 })
    await h.post('/v1/completions', { ...LEGACY, logit_bias: { 5: 1 }, repetition_penalty: 0.9 })
    expect(h.twin.calls.map(({ request }) => request.sampling)).toEqual([
      {
        repeatPenalty: 1.1,
        logitBias: [
          { token: 5, bias: 0.5 },
          { token: 7, bias: -100 },
        ],
      },
      {},
      { repeatPenalty: 0.9, logitBias: [{ token: 5, bias: 1 }] },
    ])
  })

  it('reads what was refused before as what was said', async () => {
    await h.chat({
      messages: [
        { role: 'assistant', content: null, refusal: 'no' },
        { role: 'assistant', content: [{ type: 'refusal', refusal: 'never' }] },
        { role: 'user', content: 'why?' },
      ],
    })
    expect(h.twin.calls[0]!.request.prompt).toMatchObject({
      messages: [{ content: 'no' }, { content: 'never' }, { content: 'why?' }],
    })
  })

  it('shows of its tools those that are allowed', async () => {
    const tool = (name: string) => ({ type: 'function', function: { name } })
    const allowed_tools = { mode: 'required', tools: [tool('b')] }
    await h.chat({ tools: [tool('a'), tool('b')], tool_choice: { type: 'allowed_tools', allowed_tools } })
    expect(h.twin.calls[0]!.request).toMatchObject({
      prompt: { tools: [{ name: 'b' }] },
      format: { kind: 'tool-calls', choice: 'required' },
    })
  })

  it('is not poisoned by the names of prototypes', async () => {
    const body =
      '{"model":"tiny","messages":[{"role":"user","content":"hi"}],"__proto__":{"stream":true,"max_tokens":1},"constructor":{"prototype":{"temperature":0}}}'
    const answer = await h.post('/v1/chat/completions', body)
    expect(answer.json().object).toBe('chat.completion')
    expect(h.twin.calls[0]!.request).not.toHaveProperty('maxTokens')
    expect(({} as Record<string, unknown>)['stream']).toBeUndefined()
    const hidden = await h.post('/v1/chat/completions', '{"__proto__":{"model":"tiny","messages":[]}}')
    expect(hidden.json().error).toMatchObject({ code: 'invalid_request', param: 'model' })
  })
})

describe('wrong requests are refused by name', () => {
  it.each<[string, object]>([
    ['model', { model: undefined }],
    ['model', { model: 5 }],
    ['model', { model: '' }],
    ['messages', { messages: undefined }],
    ['messages', { messages: [] }],
    ['messages', { messages: 'hi' }],
    ['messages', { messages: null }],
    ['messages[0]', { messages: ['hi'] }],
    ['messages[0].role', { messages: [{ role: 'robot', content: 'x' }] }],
    ['messages[0].role', { messages: [{ content: 'x' }] }],
    ['messages[0].content', user(undefined)],
    ['messages[0].content', user(null)],
    ['messages[0].content', user(7)],
    [
      'messages[1].content',
      {
        messages: [
          { role: 'user', content: 'a' },
          { role: 'user', content: {} },
        ],
      },
    ],
    ['messages[0].content[0]', user(['x'])],
    ['messages[0].content[0].type', user([{ text: 'x' }])],
    ['messages[0].content[0].type', user([{ type: 'smell' }])],
    [
      'messages[0].content[1].text',
      user([
        { type: 'text', text: 'x' },
        { type: 'text', text: 5 },
      ]),
    ],
    ['temperature', { temperature: '1' }],
    ['temperature', { temperature: 2.1 }],
    ['top_p', { top_p: -0.1 }],
    ['top_k', { top_k: -2 }],
    ['min_p', { min_p: 1.5 }],
    ['seed', { seed: 1.5 }],
    ['max_tokens', { max_tokens: 0 }],
    ['max_tokens', { max_tokens: -1 }],
    ['max_completion_tokens', { max_completion_tokens: 1.5 }],
    ['stop', { stop: '' }],
    ['stop', { stop: ['a', 'b', 'c', 'd', 'e'] }],
    ['stop[1]', { stop: ['a', 5] }],
    ['stop', { stop: 'x'.repeat(LIMITS.stopStringLengthMax + 1) }],
    ['stream', { stream: 'yes' }],
    ['stream_options', { stream_options: { include_usage: true } }],
    ['stream_options.include_usage', { stream: true, stream_options: { include_usage: 1 } }],
    ['presence_penalty', { presence_penalty: 3 }],
    ['frequency_penalty', { frequency_penalty: true }],
    ['n', { n: 0 }],
    ['n', { n: LIMITS.choicesMax + 1 }],
    ['repetition_penalty', { repetition_penalty: 2.5 }],
    ['logit_bias', { logit_bias: { '4294967296': 1 } }],
    ['logit_bias[5]', { logit_bias: { 5: 101 } }],
    ['logit_bias', { logit_bias: { goose: 1 } }],
    ['messages[0].content', { messages: [{ role: 'user', refusal: 'no' }] }],
    ['tool_choice.allowed_tools.mode', { tool_choice: { type: 'allowed_tools' } }],
    ['tool_choice.allowed_tools.tools', { tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'auto' } } }],
  ])('%s', async (param, extra) => {
    const answer = await h.chat(extra)
    expect(answer.statusCode).toBe(400)
    const { error } = answer.json()
    expect(error).toMatchObject({ code: 'invalid_request', type: 'invalid_request_error', param })
    expect(error.message).toContain(param)
    expect(h.twin.calls).toEqual([])
  })

  it.each<[string, object]>([
    ['functions', { functions: [{}] }],
    ['response_format.type', { response_format: { type: 'grammar' } }],
    ['audio', { audio: { voice: 'x' } }],
    ['modalities', { modalities: ['text', 'audio'] }],
    ['moderation', { moderation: { model: 'x' } }],
    ['tool_choice.type', { tool_choice: { type: 'custom', custom: { name: 'x' } } }],
    ['messages[0].content[0].type', user([{ type: 'image_url', image_url: { url: 'x' } }])],
    ['messages[0].content[0].type', user([{ type: 'input_audio' }])],
  ])('%s, as not supported yet', async (param, extra) => {
    const answer = await h.chat(extra)
    expect(answer.statusCode).toBe(400)
    expect(answer.json().error).toMatchObject({ code: 'unsupported_parameter', param })
    expect(h.twin.calls).toEqual([])
  })

  it.each<[string, string, object]>([
    ['prompt', 'unsupported_parameter', { prompt: ['a', 2] }],
    ['prompt', 'unsupported_parameter', { prompt: [1, 2] }],
    ['prompt', 'unsupported_parameter', { prompt: [[1], [2]] }],
    ['prompt', 'invalid_request', { prompt: [] }],
    ['prompt', 'invalid_request', { prompt: undefined }],
    ['echo', 'unsupported_parameter', { echo: true }],
    ['best_of', 'unsupported_parameter', { best_of: 2 }],
    ['logprobs', 'invalid_request', { logprobs: LIMITS.topLogprobsMax + 1 }],
    ['suffix', 'unsupported_parameter', { suffix: 'end' }],
    ['max_tokens', 'invalid_request', { max_tokens: 0 }],
  ])('%s of a text completion, as %s', async (param, code, extra) => {
    const answer = await h.post('/v1/completions', { ...LEGACY, ...extra })
    expect(answer.statusCode).toBe(400)
    expect(answer.json().error).toMatchObject({ code, param })
  })

  it('passes on what the mesh refuses, with its status and when to come again', async () => {
    for (const [code, status, headers] of [
      ['NO_NODE', 503, { 'retry-after': '1', 'x-should-retry': 'true' }],
      ['CONTEXT_LENGTH_EXCEEDED', 400, { 'x-should-retry': 'false' }],
    ] as const) {
      h.twin.refusal = new SkeinError(code, 'because')
      const answer = await h.chat()
      expect(answer.statusCode).toBe(status)
      expect(answer.headers).toMatchObject(headers)
      expect(answer.json().error).toMatchObject({ code: code.toLowerCase(), message: 'because' })
    }
  })

  it('hides the cause of a defect and logs it under the request id', async () => {
    const lines: string[] = []
    const logged = createHarness({}, createLogger('debug', { write: (line) => lines.push(line) }))
    logged.twin.refusal = new SkeinError('INTERNAL', 'a secret path')
    const answer = await logged.chat(user('a private prompt'))
    expect(answer.statusCode).toBe(500)
    expect(answer.body).not.toContain('secret')
    const id = String(answer.headers['x-request-id'])
    expect(answer.body).toContain(id)
    const line = lines.find((each) => each.includes('a secret path'))
    expect(line).toContain(id)
    await logged.post('/v1/chat/completions', '{"model": private}')
    expect(lines.join('')).not.toContain('private')
    await logged.gateway.stop()
  })
})

describe('bodies', () => {
  const code = (answer: { json(): { error: { code: string } } }): string => answer.json().error.code

  it.each([
    ['no JSON', '{"model": tiny}'],
    ['cut off', '{"model": "tiny"'],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['nested too deep', `${'['.repeat(LIMITS.jsonDepthMax + 1)}${']'.repeat(LIMITS.jsonDepthMax + 1)}`],
    ['a nesting bomb', '[{"":'.repeat(700_000)],
  ])('that are %s are INVALID_JSON', async (_name, body) => {
    const answer = await h.post('/v1/chat/completions', body)
    expect(answer.statusCode).toBe(400)
    expect(code(answer)).toBe('invalid_json')
  })

  it('may nest as deep as the limit, and as deep as they like in strings', async () => {
    const depth = LIMITS.jsonDepthMax - 1
    expect((await h.chat({ extension: JSON.parse('['.repeat(depth) + ']'.repeat(depth)) })).statusCode).toBe(200)
    expect((await h.chat(user(`${'['.repeat(1000)}\\"${'{'.repeat(1000)}`))).statusCode).toBe(200)
  })

  it.each(['[]', '"x"', '5', 'null', ''])('that are %s instead of an object are refused', async (body) => {
    expect(code(await h.post('/v1/chat/completions', body))).toBe('invalid_request')
  })

  it('over the limit are BODY_TOO_LARGE', async () => {
    const answer = await h.chat(user('x'.repeat(LIMITS.httpBodyBytesMax)))
    expect(answer.statusCode).toBe(413)
    expect(code(answer)).toBe('body_too_large')
  })

  it.each<Record<string, string>>([
    { 'content-type': 'text/plain' },
    { 'content-type': 'application/x-www-form-urlencoded' },
    { 'content-type': 'application/json; charset=latin1' },
    { 'content-type': 'application/json', 'content-encoding': 'gzip' },
    { 'content-type': ';;;' },
  ])('described as %o are UNSUPPORTED_MEDIA_TYPE', async (headers) => {
    const answer = await h.post('/v1/chat/completions', CHAT, headers)
    expect(answer.statusCode).toBe(415)
    expect(code(answer)).toBe('unsupported_media_type')
  })

  it('in UTF-8 by name are fine', async () => {
    expect(
      (await h.post('/v1/chat/completions', CHAT, { 'content-type': 'application/json; charset=UTF-8' })).statusCode,
    ).toBe(200)
  })
})

describe('addresses', () => {
  it.each(['/v1', '/v1/chat', '/v1/chat/completions/', '/%00', '/health/live/x'])('%s is nothing', async (url) => {
    const answer = await h.get(url)
    expect(answer.statusCode).toBe(404)
    expect(answer.json().error).toMatchObject({ type: 'invalid_request_error', param: null })
  })

  it.each([
    ['GET', '/v1/chat/completions', 'POST'],
    ['PUT', '/v1/models', 'GET, HEAD'],
    ['OPTIONS', '/v1/completions', 'POST'],
    ['POST', '/mesh/v1/nodes/desk-pc', 'DELETE'],
    ['PATCH', '/v1/models/org/tiny-chat?x=1', 'GET, HEAD'],
  ] as const)('%s %s is told to use %s', async (method, url, allow) => {
    const answer = await h.gateway.app.inject({ method, url })
    expect(answer.statusCode).toBe(405)
    expect(answer.headers['allow']).toBe(allow)
    expect(answer.json().error.code).toBe('method_not_allowed')
  })

  it('that are no URL are refused', async () => {
    const answer = await h.get('/v1/models/%zz')
    expect(answer.statusCode).toBe(400)
    expect(answer.json().error.code).toBe('invalid_request')
    expect(answer.headers['x-request-id']).toMatch(/^req_/)
  })
})
