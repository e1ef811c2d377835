/**
 * What vLLM does, as far as Skein depends on it. `SKEIN_TEST_VLLM_URL` (with `SKEIN_TEST_VLLM_KEY`) names a real server on
 * which the first part runs; without it that is the double, and the second part holds the double to its faults.
 */
import { request as httpRequest, Agent } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel, TINY_END_CHARACTER } from '../fixtures/models/index.ts'
import { startVllm, type VllmDouble } from '../fixtures/vllm/index.ts'

const REAL_URL = process.env['SKEIN_TEST_VLLM_URL']
const KEY = REAL_URL === undefined ? 'sesame' : (process.env['SKEIN_TEST_VLLM_KEY'] ?? '')
const GREEDY = { temperature: 0, top_p: 1, top_k: 0, min_p: 0, repetition_penalty: 1 }
/** Drawn, so that it shows whether the noise of a token is keyed by its position. */
const DRAWN = { ...GREEDY, temperature: 0.8, top_k: 12, seed: 11 }
const MESSAGES = [{ role: 'user', content: 'Tell me of the river.' }]

interface Choice {
  readonly index: number
  readonly text?: string
  readonly message?: { readonly role: string; readonly content: string }
  readonly delta?: { readonly role?: string; readonly content?: string }
  readonly finish_reason: string | null
  readonly stop_reason?: string | number | null
  readonly token_ids?: number[]
  readonly prompt_token_ids?: number[]
  readonly logprobs?: unknown
}
interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
}
interface Answer {
  readonly id: string
  readonly object: string
  readonly model: string
  readonly choices: Choice[]
  readonly usage?: Usage
  readonly prompt_token_ids?: number[] | null
  readonly error?: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: number
  }
}

let double: VllmDouble | undefined
let base: string
let model: string
let contextTokens: number

beforeAll(async () => {
  if (REAL_URL === undefined) {
    double = await startVllm({
      model: await ensureModel('tiny'),
      servedName: ['org/tiny', 'tiny:2'],
      key: KEY,
      slots: 2,
    })
    base = double.url
  } else base = REAL_URL.replace(/\/(?:v1\/?)?$/, '')
  const [first] = ((await (await get('/v1/models')).json()) as { data: { id: string; max_model_len: number }[] }).data
  model = first!.id
  contextTokens = first!.max_model_len
}, 60_000)
afterAll(() => double?.stop())

const get = (path: string, key = KEY): Promise<Response> =>
  fetch(base + path, { headers: key === '' ? {} : { authorization: `Bearer ${key}` } })

const post = (
  path: string,
  body: object | string,
  { key = KEY, signal }: { key?: string; signal?: AbortSignal } = {},
) =>
  fetch(base + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key !== '' && { authorization: `Bearer ${key}` }) },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(signal && { signal }),
  })

async function asked(path: string, body: object): Promise<Answer> {
  const response = await post(path, { model, ...body })
  const answer = (await response.json()) as Answer
  expect(response.status, answer.error?.message).toBe(200)
  return answer
}

/** The status of a refusal, and what it says. */
async function refused(path: string, body: object | string): Promise<[number, NonNullable<Answer['error']>]> {
  const response = await post(path, typeof body === 'string' ? body : { model, ...body })
  return [response.status, ((await response.json()) as Answer).error!]
}

/** The data of each event, the last of which is `[DONE]` in a stream that ends in order. */
async function events(response: Response): Promise<string[]> {
  const text = await response.text()
  return text
    .split('\n\n')
    .filter((event) => event !== '')
    .map((event) => event.replace(/^data: /, ''))
}

async function streamed(path: string, body: object): Promise<Answer[]> {
  const response = await post(path, { model, stream: true, ...body })
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/)
  const all = await events(response)
  expect(all.at(-1)).toBe('[DONE]')
  return all.slice(0, -1).map((event) => JSON.parse(event) as Answer)
}

const complete = (prompt: string | readonly number[], more: object): Promise<Answer> =>
  asked('/v1/completions', { prompt, return_token_ids: true, ...more })
const idsOf = (answers: readonly Answer[]): number[] => answers.flatMap(({ choices }) => choices[0]?.token_ids ?? [])
const tokenize = async (body: object): Promise<number[]> =>
  ((await (await post('/tokenize', { model, ...body })).json()) as { tokens: number[] }).tokens

async function metric(name: string): Promise<number> {
  const text = await (await get('/metrics')).text()
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`))
  expect(lines.length, name).toBeGreaterThan(0)
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

describe('what it tells of itself', () => {
  it('models are listed with their context', async () => {
    const list = (await (await get('/v1/models')).json()) as { object: string; data: object[] }
    expect(list.object).toBe('list')
    expect(list.data[0]).toMatchObject({ object: 'model', owned_by: 'vllm', parent: null })
    expect(contextTokens).toBeGreaterThan(64)
  })

  it('health, version and metrics want no key; what answers does, and says so with a plain word', async () => {
    for (const path of ['/health', '/version', '/metrics']) expect((await get(path, '')).status, path).toBe(200)
    if (KEY === '') return
    const response = await post('/v1/completions', { model, prompt: 'a' }, { key: 'wrong' })
    expect([response.status, await response.json()]).toEqual([401, { error: 'Unauthorized' }])
  })

  it('metrics count prompt and answer, and tell how full it is', async () => {
    const before = await metric('vllm:generation_tokens_total')
    await complete('the river', { ...GREEDY, max_tokens: 4, ignore_eos: true })
    await expect.poll(() => metric('vllm:generation_tokens_total'), { interval: 10 }).toBe(before + 4)
    for (const name of ['vllm:num_requests_running', 'vllm:num_requests_waiting', 'vllm:kv_cache_usage_perc'])
      expect(await metric(name)).toBeGreaterThanOrEqual(0)
    expect(await metric('vllm:time_to_first_token_seconds_count')).toBeGreaterThan(0)
  })
})

describe('answers', () => {
  it('a chat is the same whole and streamed, with a role first, a reason last, and usage behind it', async () => {
    const body = { messages: MESSAGES, ...GREEDY, max_tokens: 12, ignore_eos: true }
    const whole = await asked('/v1/chat/completions', body)
    expect(whole).toMatchObject({ object: 'chat.completion', model, usage: { completion_tokens: 12 } })
    const chunks = await streamed('/v1/chat/completions', { ...body, stream_options: { include_usage: true } })
    expect(chunks[0]!.choices[0]).toMatchObject({ delta: { role: 'assistant', content: '' }, finish_reason: null })
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: whole.usage })
    expect(chunks.at(-2)!.choices[0]).toMatchObject({ finish_reason: 'length', stop_reason: null })
    const text = chunks.map(({ choices }) => choices[0]?.delta?.content ?? '').join('')
    expect(text).toBe(whole.choices[0]!.message!.content)
  })

  it('a completion has 16 tokens unless it is told otherwise; its ids come when they are asked for', async () => {
    const { choices, usage } = await complete('the river', { ...GREEDY, ignore_eos: true })
    expect(choices[0]).toMatchObject({
      finish_reason: 'length',
      prompt_token_ids: await tokenize({ prompt: 'the river' }),
    })
    expect(choices[0]!.token_ids).toHaveLength(16)
    expect(usage!.total_tokens).toBe(usage!.prompt_tokens + 16)
    expect((await asked('/v1/completions', { prompt: 'a', max_tokens: 1 })).choices[0]!.token_ids ?? null).toBeNull()
  })

  it('a prompt of ids is taken as it is', async () => {
    const ids = (await tokenize({ prompt: 'the river runs' })).slice(1)
    const { choices, usage } = await complete(ids, { ...GREEDY, max_tokens: 2 })
    expect(choices[0]!.prompt_token_ids).toEqual(ids)
    expect(usage!.prompt_tokens).toBe(ids.length)
  })

  it('tokens in, tokens out: the same ids, no text, and no bound of 16', async () => {
    const token_ids = await tokenize({ prompt: 'the river' })
    const { choices } = await complete(token_ids, { ...DRAWN, max_tokens: 20, ignore_eos: true })
    const sampling_params = { ...DRAWN, ignore_eos: true }
    const path = '/inference/v1/generate'
    const chunks = await streamed(path, {
      token_ids,
      sampling_params: { ...sampling_params, max_tokens: 20 },
      stream_options: { include_usage: true },
    })
    expect(idsOf(chunks)).toEqual(choices[0]!.token_ids)
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 20 } })
    expect(JSON.stringify(chunks)).not.toContain('"text"')
    const leaving = new AbortController()
    const response = await post(path, { model, token_ids, sampling_params, stream: true }, { signal: leaving.signal })
    let tokens = 0
    for await (const part of response.body!.pipeThrough(new TextDecoderStream()))
      if ((tokens += part.split('"token_ids"').length - 1) > 17) break
    leaving.abort()
    expect(tokens).toBeGreaterThan(17)
  })

  it('a stop string ends it and is named; of two the one that comes first', async () => {
    const long = await complete('the river', { ...GREEDY, max_tokens: 24, ignore_eos: true })
    const { text } = long.choices[0]!
    const stop = text!.slice(5, 8)
    const { choices } = await complete('the river', {
      ...GREEDY,
      max_tokens: 24,
      ignore_eos: true,
      stop: ['\u0001', stop],
    })
    expect(choices[0]).toMatchObject({
      finish_reason: 'stop',
      stop_reason: stop,
      text: text!.slice(0, text!.indexOf(stop)),
    })
  })

  it('log probabilities come beside each token, in the shape of each endpoint', async () => {
    const body = { ...GREEDY, max_tokens: 3, ignore_eos: true }
    const chat = await asked('/v1/chat/completions', { messages: MESSAGES, ...body, logprobs: true, top_logprobs: 2 })
    const { content } = chat.choices[0]!.logprobs as { content: { logprob: number; top_logprobs: object[] }[] }
    expect(content).toHaveLength(3)
    expect(content.every(({ logprob, top_logprobs }) => logprob <= 0 && top_logprobs.length === 2)).toBe(true)
    const { choices } = await complete('the river', { ...body, logprobs: 1 })
    expect(choices[0]!.logprobs).toMatchObject({ text_offset: { length: 3 }, token_logprobs: { length: 3 } })
    const token_ids = await tokenize({ prompt: 'the river' })
    const tokens = await asked('/inference/v1/generate', { token_ids, sampling_params: { ...body, logprobs: 1 } })
    const told = tokens.choices[0]!.logprobs as { content: { token: string }[] }
    expect(told.content.map(({ token }) => token)).toEqual(tokens.choices[0]!.token_ids!.map((id) => `token_id:${id}`))
  })
})

describe('an answer that is sent back goes on as it would have', () => {
  const prompt = 'the river'
  const whole = (sampling: object): Promise<Answer> =>
    complete(prompt, { ...sampling, max_tokens: 24, ignore_eos: true })

  it.each([
    ['greedy', GREEDY],
    ['drawn', DRAWN],
    ['with a penalty of repeats', { ...GREEDY, repetition_penalty: 1.3 }],
  ])('%s', async (_, sampling) => {
    const [choice] = (await whole(sampling)).choices
    const ids = choice!.token_ids!
    const behind = [...choice!.prompt_token_ids!, ...ids.slice(0, 9)]
    const rest = await complete(behind, { ...sampling, max_tokens: 15, ignore_eos: true })
    expect(rest.choices[0]!.token_ids).toEqual(ids.slice(9))
  })

  it('a penalty of frequency counts what this request makes, and is made up for by a bias', async () => {
    const sampling = { ...GREEDY, frequency_penalty: 0.7 }
    const [choice] = (await whole(sampling)).choices
    const ids = choice!.token_ids!
    const made = ids.slice(0, 9)
    const behind = [...choice!.prompt_token_ids!, ...made]
    const counts = new Map<number, number>()
    for (const id of made) counts.set(id, (counts.get(id) ?? 0) + 1)
    const logit_bias = Object.fromEntries([...counts].map(([id, count]) => [id, -0.7 * count]))
    const rest = await complete(behind, { ...sampling, logit_bias, max_tokens: 15, ignore_eos: true })
    expect(rest.choices[0]!.token_ids).toEqual(ids.slice(9))
  })

  it('a chat goes on behind the text of its last message, and never with both switches', async () => {
    const begun = [...MESSAGES, { role: 'assistant', content: 'The river runs' }]
    const how = { continue_final_message: true, add_generation_prompt: false }
    const behind = await tokenize({ messages: begun, ...how })
    const opened = await tokenize({ messages: MESSAGES })
    expect(behind.slice(0, opened.length)).toEqual(opened)
    const body = { messages: begun, ...GREEDY, max_tokens: 6, ignore_eos: true, return_token_ids: true }
    const answer = await asked('/v1/chat/completions', { ...body, ...how })
    expect(answer.prompt_token_ids).toEqual(behind)
    const same = await complete(behind, { ...GREEDY, max_tokens: 6, ignore_eos: true })
    expect(answer.choices[0]!.message).toMatchObject({ role: 'assistant', content: same.choices[0]!.text })
    const both = { ...how, add_generation_prompt: true }
    const [status, error] = await refused('/v1/chat/completions', { ...body, ...both })
    expect([status, error.type]).toEqual([400, 'BadRequestError'])
    expect((await refused('/v1/chat/completions', { ...body, continue_final_message: true }))[0]).toBe(400)
  })
})

describe('refusals', () => {
  it('another model is not found', async () => {
    const [status, error] = await refused('/v1/completions', { model: 'none', prompt: 'a' })
    expect(status).toBe(404)
    expect(error).toEqual({
      message: 'The model `none` does not exist.',
      type: 'NotFoundError',
      param: 'model',
      code: 404,
    })
  })

  it('what does not fit into the context says so', async () => {
    const prompt = Array.from({ length: contextTokens }, () => 5)
    const [status, error] = await refused('/v1/completions', { prompt, max_tokens: 16 })
    expect([status, error.type, error.code]).toEqual([400, 'BadRequestError', 400])
    expect(error.message).toMatch(/context length/)
    expect((await refused('/inference/v1/generate', { token_ids: [...prompt, 5], sampling_params: {} }))[0]).toBe(400)
  })

  it.each([
    ['an id that there is none of', '/v1/completions', { prompt: [2 ** 31 - 1] }],
    ['a heat below 0', '/v1/completions', { prompt: 'a', temperature: -1 }],
    ['no token at all', '/v1/completions', { prompt: 'a', max_tokens: 0, stream: true }],
    ['options of a stream that is none', '/v1/completions', { prompt: 'a', stream_options: { include_usage: true } }],
    ['a chat without messages', '/v1/chat/completions', {}],
    ['no JSON', '/v1/completions', '{'],
  ])('%s', async (_, path, body) => {
    const [status, error] = await refused(path, body)
    expect(status).toBe(400)
    expect(error).toMatchObject({ code: 400, message: expect.any(String) as string })
  })
})

/** Of a real server nothing is skipped: these are no tests of it. */
const ofDouble = (): void => {
  const path = '/v1/completions'
  const body = { prompt: 'the river', ...GREEDY, max_tokens: 8, ignore_eos: true, stream: true, return_token_ids: true }
  const ask = (): Promise<Response> => post(path, { model, ...body })
  afterEach(() => double!.faults.clear())

  it('is asked by each of its names, and answers by the first', async () => {
    const { data } = (await (await get('/v1/models')).json()) as { data: { id: string }[] }
    expect(data.map(({ id }) => id)).toEqual(['org/tiny', 'tiny:2'])
    expect((await asked('/v1/completions', { model: 'tiny:2', prompt: 'a', max_tokens: 1 })).model).toBe('org/tiny')
  })

  it('counts the token that ends an answer, and leaves it out of the text', async () => {
    const { choices, usage } = await complete(`the end${TINY_END_CHARACTER}`, GREEDY)
    expect(choices[0]).toMatchObject({ text: '', finish_reason: 'stop', stop_reason: null })
    expect([choices[0]!.token_ids!.length, usage!.completion_tokens]).toEqual([1, 1])
  })

  it('has every byte that it was sent, and whole requests', async () => {
    await complete('a word that is found again', { ...GREEDY, max_tokens: 1 })
    expect(double!.received().includes('a word that is found again')).toBe(true)
    expect(double!.received().includes('a word that was never sent')).toBe(false)
    expect(double!.requests.at(-1)).toMatchObject({ method: 'POST', path, body: { max_tokens: 1 } })
  })

  it('requests beyond its sequences wait, and are never refused', async () => {
    const endless = { model, prompt: 'a', ...GREEDY, max_tokens: 2000, ignore_eos: true, stream: true }
    const leaving = Array.from({ length: 3 }, () => new AbortController())
    for (const { signal } of leaving) await post(path, endless, { signal })
    await expect.poll(() => metric('vllm:num_requests_waiting'), { interval: 10 }).toBe(1)
    expect(await metric('vllm:num_requests_running')).toBe(2)
    expect(await metric('vllm:kv_cache_usage_perc')).toBeGreaterThan(0)
    for (const each of leaving) each.abort()
    await expect.poll(() => metric('vllm:num_requests_running'), { interval: 10 }).toBe(0)
  })

  it.each([
    [401, undefined, 'Unauthorized'],
    [429, '7', undefined],
    [429, undefined, undefined],
    [500, undefined, undefined],
    [503, undefined, undefined],
  ])('answers %i, Retry-After %s, as often as it is told', async (status, retryAfter, word) => {
    double!.faults.set({ kind: 'status', status, times: 1, ...(retryAfter !== undefined && { retryAfter }) })
    const response = await ask()
    expect([response.status, response.headers.get('retry-after')]).toEqual([status, retryAfter ?? null])
    const { error } = (await response.json()) as { error: unknown }
    if (word !== undefined) expect(error).toBe(word)
    expect((await ask()).status).toBe(200)
  })

  it('abort is a reason where there is text, and silence where there are ids alone', async () => {
    double!.faults.set({ kind: 'abort', afterTokens: 3 })
    const chunks = (await events(await ask())).slice(0, -1).map((event) => JSON.parse(event) as Answer)
    expect(idsOf(chunks)).toHaveLength(3)
    expect(chunks.at(-1)!.choices[0]!.finish_reason).toBe('abort')
    const tokens = { model, token_ids: [5], sampling_params: { max_tokens: 8, ignore_eos: true }, stream: true }
    const all = await events(await post('/inference/v1/generate', tokens))
    expect(all.at(-1)).toBe('[DONE]')
    expect(all).toHaveLength(4)
    expect(all.every((event) => !event.includes('abort'))).toBe(true)
  })

  it('fails in a stream with an error and 200, and otherwise with 500', async () => {
    double!.faults.set({ kind: 'error', afterTokens: 2 })
    const all = await events(await ask())
    expect(JSON.parse(all.at(-2)!)).toMatchObject({ error: { type: 'InternalServerError', code: 500 } })
    expect((await post(path, { model, ...body, stream: false })).status).toBe(500)
  })

  it('breaks off before the first token and behind it, sends garbage, and ends without a reason', async () => {
    for (const afterTokens of [0, 2]) {
      double!.faults.set({ kind: 'cut', afterTokens })
      const response = await ask()
      expect(response.status).toBe(200)
      await expect(response.text()).rejects.toThrow()
    }
    double!.faults.set({ kind: 'garbage', afterTokens: 1 })
    const last = (await events(await ask())).at(-1)!
    expect(() => JSON.parse(last) as unknown).toThrow()
    double!.faults.set({ kind: 'unfinished', afterTokens: 1 })
    const all = await events(await ask())
    expect([all.length, all.at(-1), JSON.parse(all[0]!)]).toMatchObject([
      2,
      '[DONE]',
      { choices: [{ finish_reason: null }] },
    ])
    double!.faults.set({ kind: 'drop' })
    await expect(ask()).rejects.toThrow()
  })

  it('holds its headers, or the rest of an answer, until it is released', async () => {
    double!.faults.set({ kind: 'headers', times: 1 }, { kind: 'stall', afterTokens: 2, times: 1 })
    const held = (): Promise<void> => expect.poll(() => double!.faults.holding, { interval: 5 }).toBe(1)
    let isAnswered = false
    const asking = ask().finally(() => (isAnswered = true))
    await held()
    expect(isAnswered).toBe(false)
    double!.faults.release()
    const reader = (await asking).body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (text.split('"token_ids"').length <= 2) text += (await reader.read()).value ?? ''
    await held()
    expect(text).not.toContain('[DONE]')
    double!.faults.release()
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value
    expect(text).toContain('[DONE]')
  })

  it('tells another model, another time, no metrics and no health', async () => {
    double!.faults.set({ kind: 'model-told', name: 'someone/else' })
    double!.faults.clockSkewMs = -86_400_000
    double!.faults.hidesMetrics = true
    double!.faults.isDead = true
    const response = await post(path, { model, ...body, stream: false })
    expect(await response.json()).toMatchObject({ model: 'someone/else' })
    expect(Date.now() - Date.parse(response.headers.get('date')!)).toBeGreaterThan(80_000_000)
    expect((await get('/metrics')).status).toBe(404)
    expect((await get('/health')).status).toBe(503)
  })

  it('closes a connection that was kept when the next request comes on it', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const head = (): Promise<number> =>
      new Promise((resolve, reject) => {
        httpRequest(`${base}/version`, { agent }, (response) =>
          response.resume().on('end', () => resolve(response.statusCode!)),
        )
          .on('error', reject)
          .end()
      })
    double!.faults.set({ kind: 'stale', path: '/version' })
    expect(await head()).toBe(200)
    await expect(head()).rejects.toMatchObject({ code: 'ECONNRESET' })
    agent.destroy()
  })

  it('its certificate may have expired', async () => {
    const model = await ensureModel('tiny')
    const served = await startVllm({ model, servedName: 'tiny', tls: 'expired', slots: 1, contextTokens: 256 })
    const outcomeOf = (rejectUnauthorized: boolean): Promise<unknown> =>
      new Promise((resolve) => {
        const how = { ca: served.ca!, agent: false, rejectUnauthorized }
        httpsRequest(`${served.url}/health`, how, (response) => resolve(response.statusCode))
          .on('error', (error: Error & { code?: string }) => resolve(error.code))
          .end()
      })
    expect([await outcomeOf(true), await outcomeOf(false)]).toEqual(['CERT_HAS_EXPIRED', 200])
    await served.stop()
  })
}
if (REAL_URL === undefined) describe('the double', ofDouble)
