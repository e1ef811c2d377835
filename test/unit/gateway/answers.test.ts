import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { aborted, end, saysAndHangs, started, status, tokens } from '../../fixtures/mesh-service-twin.ts'
import { CHAT, comments, createHarness, events, type Harness } from './harness.ts'

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const CREATED = 1_800_000_000
const HEAD = { created: CREATED, model: 'tiny', system_fingerprint: 'fp_0123456789ab' }
const ID = 'aaaaaaaaaaaaaaaaaaaaaaab'
const USAGE = {
  prompt_tokens: 7,
  completion_tokens: 2,
  total_tokens: 9,
  prompt_tokens_details: { cached_tokens: 3 },
}

describe('whole answers', () => {
  it('are chat completions in the shape of OpenAI', async () => {
    const answer = await h.chat()
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toEqual({
      id: `chatcmpl-${ID}`,
      object: 'chat.completion',
      ...HEAD,
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'Hello world', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: USAGE,
    })
  })

  it('are text completions, with the 16 tokens that OpenAI defaults to', async () => {
    const answer = await h.post('/v1/completions', { model: 'tiny', prompt: ['once'] })
    expect(answer.json()).toEqual({
      id: `cmpl-${ID}`,
      object: 'text_completion',
      ...HEAD,
      choices: [{ index: 0, text: 'Hello world', logprobs: null, finish_reason: 'stop' }],
      usage: USAGE,
    })
    expect(h.twin.calls[0]!.request).toMatchObject({ prompt: { kind: 'text', text: 'once' }, maxTokens: 16 })
  })

  it('say where they were made, and how long that took', async () => {
    h.twin.script = async function* () {
      yield started(1, 'laptop')
      yield tokens(0, 'a')
      yield status('node lost, resuming on desk-pc')
      yield started(2, 'desk-pc', 'local')
      yield tokens(1, 'b')
      yield end('c', { promptTokens: 1, cachedTokens: 0, completionTokens: 3 }, 2)
    }
    const { headers, body } = await h.chat()
    expect(headers).toMatchObject({
      'x-skein-task': `task_${ID}`,
      'x-skein-node': 'desk-pc',
      'x-skein-route': 'local',
      'x-skein-attempts': '2',
      'server-timing': 'queue;dur=1.0, first_token;dur=2.0, decode;dur=3.0',
    })
    expect(headers['x-request-id']).toMatch(/^req_[a-z2-7]{24}$/)
    expect(JSON.parse(body).choices[0].message.content).toBe('abc')
  })

  it('are errors with the status of their code when the task fails, and still name the task', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'half an answer')
      throw new SkeinError('ATTEMPTS_EXHAUSTED', 'every attempt was lost')
    }
    const answer = await h.chat()
    expect(answer.statusCode).toBe(502)
    expect(answer.json()).toEqual({
      error: { message: 'every attempt was lost', type: 'server_error', param: null, code: 'attempts_exhausted' },
    })
    expect(answer.headers).toMatchObject({ 'x-skein-task': `task_${ID}`, 'x-skein-node': 'desk-pc' })
  })

  it('are errors when a task ends without saying how', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'x')
    }
    const answer = await h.chat()
    expect(answer.statusCode).toBe(500)
    expect(answer.json().error.message).toBe(
      `an internal error; the log has its cause under ${answer.headers['x-request-id']}`,
    )
  })

  it('take the request id of a client when it is harmless', async () => {
    const sane = await h.post('/v1/chat/completions', CHAT, { 'x-request-id': 'trace-1:2.3_4' })
    expect(sane.headers['x-request-id']).toBe('trace-1:2.3_4')
    expect(h.twin.calls[0]!.request.requestId).toBe('trace-1:2.3_4')
    const odd = await h.post('/v1/chat/completions', CHAT, { 'x-request-id': 'a b"<script>' })
    expect(odd.headers['x-request-id']).toMatch(/^req_/)
  })
})

describe('streams', () => {
  it('name the role, then text, then the reason, then [DONE]', async () => {
    const answer = await h.chat({ stream: true })
    expect(answer.headers['content-type']).toBe('text/event-stream; charset=utf-8')
    const head = { id: `chatcmpl-${ID}`, object: 'chat.completion.chunk', ...HEAD }
    const chunk = (delta: object, finish_reason: string | null = null): object => ({
      ...head,
      choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    })
    const all = events(answer.body)
    expect(all[0]).toEqual(chunk({ role: 'assistant', content: '', refusal: null }))
    expect(all.at(-2)).toEqual(chunk({}, 'stop'))
    expect(all.at(-1)).toBe('[DONE]')
    const texts = all.slice(1, -2) as { choices: [{ delta: { content: string } }] }[]
    expect(texts.map((each) => each.choices[0].delta.content).join('')).toBe('Hello world')
    expect(texts[0]).toEqual(chunk({ content: texts[0]!.choices[0].delta.content }))
    expect(answer.body.endsWith('data: [DONE]\n\n')).toBe(true)
  })

  it('of text completions have text in place of a delta', async () => {
    const answer = await h.post('/v1/completions', { model: 'tiny', prompt: 'x', stream: true })
    const all = events(answer.body)
    expect(all[0]).toMatchObject({
      id: `cmpl-${ID}`,
      object: 'text_completion',
      choices: [{ index: 0, finish_reason: null }],
    })
    expect(all.at(-2)).toMatchObject({ choices: [{ text: '', finish_reason: 'stop' }] })
    const texts = all.slice(0, -2) as { choices: [{ text: string }] }[]
    expect(texts.map((each) => each.choices[0].text).join('')).toBe('Hello world')
  })

  it('with include_usage bear null usage, and the real one in a chunk of its own', async () => {
    const all = events((await h.chat({ stream: true, stream_options: { include_usage: true } })).body)
    expect(all.at(-1)).toBe('[DONE]')
    expect(all.at(-2)).toMatchObject({ choices: [], usage: USAGE })
    for (const chunk of all.slice(0, -2)) expect(chunk).toHaveProperty('usage', null)
  })

  it('escape what a model may write', async () => {
    const nasty = '"\\\u0000\n\ndata: [DONE]\n\n\u2028😀'
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, nasty)
      yield end()
    }
    const all = events((await h.chat({ stream: true })).body) as { choices: [{ delta: { content?: string } }] }[]
    expect(all[1]!.choices[0].delta.content).toBe(nasty)
    expect(all.at(-1)).toBe('[DONE]')
  })

  it('have headers that name the node when it begins within the hold', async () => {
    const { headers, body } = await h.chat({ stream: true })
    expect(headers).toMatchObject({ 'x-skein-node': 'desk-pc', 'x-skein-route': 'mesh', 'x-skein-attempts': '1' })
    expect(headers['server-timing']).toBe('queue;dur=0.0')
    expect(comments(body)).toEqual([])
  })

  it('that fail before they begin are plain errors with their own status', async () => {
    h.twin.script = async function* () {
      yield status('queued 1')
      throw new SkeinError('SATURATED', 'the wait for a slot was too long', { retryAfterSeconds: 4.2 })
    }
    const answer = await h.chat({ stream: true })
    expect(answer.statusCode).toBe(503)
    expect(answer.headers).toMatchObject({ 'retry-after': '5', 'x-should-retry': 'true' })
    expect(answer.headers['content-type']).toMatch(/^application\/json/)
    expect(answer.json().error).toMatchObject({ code: 'saturated', type: 'server_error' })
  })

  it('begin after the hold without a node, and name it in a comment when one takes the task', async () => {
    const gate = Promise.withResolvers<void>()
    h.twin.script = async function* () {
      yield status('queued 2')
      await gate.promise
      yield started(1, 'attic\r\nx: y')
      yield tokens(0, 'late')
      yield end()
    }
    const answering = h.chat({ stream: true })
    await h.twin.called()
    await h.clock.advance(2000)
    gate.resolve()
    const answer = await answering
    expect(answer.headers).not.toHaveProperty('x-skein-node')
    expect(comments(answer.body)).toEqual(['queued 2', 'node attic x: y'])
    expect(events(answer.body).at(-1)).toBe('[DONE]')
  })

  it('that fail after they began end with an error event and no [DONE]', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'half')
      throw new SkeinError('TASK_EXPIRED', 'the task did not end in time')
    }
    const answer = await h.chat({ stream: true })
    expect(answer.statusCode).toBe(200)
    expect(events(answer.body).at(-1)).toEqual({
      error: { message: 'the task did not end in time', type: 'server_error', param: null, code: 'task_expired' },
    })
    expect(answer.body).toContain('half')
    expect(answer.body).not.toContain('[DONE]')
  })

  it('break a silence of ten seconds, again and again', async () => {
    const gate = Promise.withResolvers<void>()
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'a')
      await gate.promise
      yield end()
    }
    const answering = h.chat({ stream: true })
    await h.twin.called()
    await h.clock.advance(0)
    await h.clock.advance(31_000)
    gate.resolve()
    expect(comments((await answering).body)).toEqual(['keepalive', 'keepalive', 'keepalive'])
  })

  it('leave no timer behind', async () => {
    await h.chat({ stream: true })
    await h.chat()
    expect(h.clock.pendingTimers).toBe(0)
    expect(h.gateway.running).toBe(0)
  })
})

describe('draining and stopping', () => {
  it('lets running answers end and refuses new ones', async () => {
    const gate = Promise.withResolvers<void>()
    h.twin.script = async function* () {
      yield started()
      await gate.promise
      yield end('done')
    }
    const answering = h.chat()
    await h.twin.called()
    let isDrained = false
    const draining = h.gateway.drain().then(() => (isDrained = true))
    const refused = await h.chat()
    expect(refused.statusCode).toBe(503)
    expect(refused.json().error.code).toBe('shutting_down')
    expect((await h.get('/health/ready')).json()).toEqual({ ready: false, reason: 'the coordinator is stopping' })
    expect((await h.get('/health/live')).statusCode).toBe(200)
    expect(isDrained).toBe(false)
    gate.resolve()
    expect((await answering).json().choices[0].message.content).toBe('done')
    await draining
  })

  it('ends what still runs with SHUTTING_DOWN, streamed or not, and cancels the tasks', async () => {
    h.twin.script = saysAndHangs('begun')
    const streaming = h.chat({ stream: true })
    const whole = h.chat()
    const calls = [await h.twin.called(1), await h.twin.called(2)]
    await h.clock.advance(0)
    await h.gateway.stop()
    const stream = await streaming
    expect(stream.body).toContain('begun')
    expect(events(stream.body).at(-1)).toMatchObject({ error: { code: 'shutting_down' } })
    expect(stream.body).not.toContain('[DONE]')
    expect((await whole).statusCode).toBe(503)
    for (const { signal } of calls) expect(await aborted(signal)).toMatchObject({ code: 'SHUTTING_DOWN' })
  })
})
