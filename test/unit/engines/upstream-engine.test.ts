/** The upstream engine on servers that are broken, hostile, or know nothing of token ids. */
import { afterEach, describe, expect, it } from 'vitest'
import { asModelDigest, GREEDY, type ErrorCode } from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger, SystemClock, type Clock } from '../../../mesh/runtime/index.ts'
import { UpstreamEngine, upstreamPath, type GenerationRequest } from '../../../node/engines/index.ts'
import { codeOf, collect, type Answer } from '../../compliance/engine.suite.ts'
import { FakeServer, streamOf, type Answers } from '../../fixtures/upstream/fake-server.ts'

const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
const never = new AbortController().signal
const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const MODELS = { data: [{ id: 'm', owned_by: 'vllm', max_model_len: 64 }] }
const chunk = (content: string, finish_reason: string | null = null) => ({
  choices: [{ delta: { content }, finish_reason }],
})
const part = (text: string, finish_reason: string | null = null) => ({ choices: [{ text, finish_reason }] })
const WHOLE = [chunk('one '), chunk('two '), chunk('three'), chunk('', 'stop'), 'data: [DONE]\n\n']

interface Started {
  readonly server: FakeServer
  readonly engine: UpstreamEngine
}

async function start(answers: Answers, init: { keys?: boolean; clock?: Clock } = {}): Promise<Started> {
  const server = await FakeServer.start({ '/v1/models': MODELS, ...answers })
  cleanups.push(() => server.stop())
  const components = { clock: init.clock ?? new SystemClock(), log: silentLogger }
  const engine = new UpstreamEngine(components, init.keys ? { keys: new Map([[server.url, 'secret']]) } : {})
  cleanups.push(() => engine.unload())
  await engine.load({ path: upstreamPath({ url: server.url, model: 'm' }), digest, slots: 4 })
  return { server, engine }
}

const request = (overrides: Partial<GenerationRequest> = {}): GenerationRequest => ({
  id: 'a',
  prompt: { kind: 'chat', messages: [{ role: 'user', content: 'count' }] },
  sampling: { ...GREEDY, seed: 7, topP: 0.5 },
  stop: [],
  maxTokens: 40,
  generated: [],
  ...overrides,
})
const ask = (engine: UpstreamEngine, overrides: Partial<GenerationRequest> = {}): Promise<Answer> =>
  collect(engine.generate(request(overrides), never))
const chatOf = (...events: Parameters<typeof streamOf>): Answers => ({ '/v1/chat/completions': streamOf(...events) })

describe('a model that is known by its server alone', () => {
  it('has an answer of pieces of its text, and every sampling field is sent, but no stop string', async () => {
    const { server, engine } = await start(chatOf(WHOLE))
    const answer = await ask(engine, { stop: ['never'] })
    expect(answer).toMatchObject({ text: 'one two three', finishReason: 'stop' })
    expect(answer.ids).toHaveLength(4)
    expect(answer.usage.completionTokens).toBe(4)
    const { body } = server.asked.at(-1)!
    expect(body).toMatchObject({ temperature: 0, top_p: 0.5, top_k: -1, min_p: 0, seed: 7, repetition_penalty: 1 })
    expect(body).toMatchObject({ presence_penalty: 0, frequency_penalty: 0, max_tokens: 40, stream: true })
    expect(body).not.toHaveProperty('stop')
  })

  it.each(['reasoning_content', 'reasoning'])(
    'has the thoughts that a server tells apart as %s in front of it',
    async (member) => {
      const thinks = (text: string) => ({ choices: [{ delta: { [member]: text }, finish_reason: null }] })
      const { server, engine } = await start(
        chatOf([thinks('count '), thinks('up'), chunk('one '), chunk('two'), chunk('', 'stop'), 'data: [DONE]\n\n']),
      )
      const thinking = { isOn: true }
      const messages = [
        { role: 'assistant' as const, content: 'zero', thought: 'why' },
        { role: 'user' as const, content: 'count' },
      ]
      const answer = await ask(engine, { prompt: { kind: 'chat', messages, thinking }, stop: ['up', 'two'] })
      expect(answer).toMatchObject({ text: '<think>\ncount up\n</think>\n\none ', finishReason: 'stop' })
      expect(answer.usage.thoughtTokens).toBeGreaterThan(0)
      expect(answer.usage.thoughtTokens).toBeLessThan(answer.usage.completionTokens)
      expect(server.asked.at(-1)!.body).toMatchObject({
        messages: [{ content: 'zero', reasoning_content: 'why' }, { content: 'count' }],
        chat_template_kwargs: { enable_thinking: true },
      })
      // of its own text nothing is left to go on behind
      const generated = answer.ids.slice(0, 3)
      expect(await codeOf(ask(engine, { generated }))).toBe('NOT_CONTINUABLE')
    },
  )

  it('may end in its thought', async () => {
    const thought = { choices: [{ delta: { reasoning_content: 'hm' }, finish_reason: null }] }
    const { engine } = await start(chatOf([thought, chunk('', 'length')]))
    expect(await ask(engine)).toMatchObject({ text: '<think>\nhm', finishReason: 'length' })
    const other = await start(chatOf([thought, chunk('', 'stop')]))
    expect(await ask(other.engine)).toMatchObject({ text: '<think>\nhm\n</think>\n\n', finishReason: 'stop' })
  })

  it('goes on behind what was said, within what is left of the budget', async () => {
    const { server, engine } = await start(chatOf(WHOLE))
    const whole = await ask(engine)
    server.answers = { ...server.answers, ...chatOf([chunk('three'), chunk('', 'stop')]) }
    const rest = await ask(engine, { generated: whole.ids.slice(0, 2) })
    expect(server.asked.at(-1)!.body).toMatchObject({
      messages: [
        { role: 'user', content: 'count' },
        { role: 'assistant', content: 'one two ' },
      ],
      continue_final_message: true,
      add_generation_prompt: false,
      max_tokens: 38,
    })
    expect(rest.indices[0]).toBe(2)
    expect(rest.text).toBe('three')
    expect([...whole.ids.slice(0, 2), ...rest.ids]).toEqual(whole.ids)
  })

  it('ends in front of a stop string that the text so far began', async () => {
    const { engine } = await start(chatOf(WHOLE))
    const { ids } = await ask(engine)
    const stopped = await ask(engine, { stop: ['two t'] })
    expect(stopped).toMatchObject({ text: 'one ', finishReason: 'stop' })
    const rest = await start(chatOf([chunk('three'), chunk('', 'stop')]))
    expect(await ask(rest.engine, { stop: ['two t'], generated: ids.slice(0, 2) })).toMatchObject({
      text: '',
      finishReason: 'stop',
    })
  })

  it('completes text, with characters of any length', async () => {
    const { server, engine } = await start({
      '/v1/completions': streamOf([part('gänse'), part(' 🪿'), part('', 'length')]),
    })
    const prompt = { kind: 'text' as const, text: 'the ' }
    const answer = await ask(engine, { prompt })
    expect(answer).toMatchObject({ text: 'gänse 🪿', finishReason: 'length' })
    await ask(engine, { prompt, generated: answer.ids })
    expect(server.asked.at(-1)!.body['prompt']).toBe('the gänse 🪿')
  })

  it.each(['', '\n', '\r\n\r\n'])('is heard to the end where its last event ends with %j', async (end) => {
    const events = ['data: {"choices":[{"delta":\r\n', 'data: {"content":"a"}}]}\r\n\r\n']
    const last = `data: ${JSON.stringify(chunk('b', 'stop'))}${end}`
    const { engine } = await start(chatOf([...events, ': comment\n\n', last]))
    expect(await ask(engine)).toMatchObject({ text: 'ab', finishReason: 'stop' })
  })

  it('is not refused by an estimate of the length of its prompt', async () => {
    const { engine } = await start(chatOf(WHOLE))
    const prompt = { kind: 'chat' as const, messages: [{ role: 'user' as const, content: 'a '.repeat(500) }] }
    expect((await ask(engine, { prompt })).text).toBe('one two three')
  })

  it('is let go of when a stop string has ended the answer', async () => {
    let closed: Promise<void> | undefined
    const { engine } = await start({
      '/v1/chat/completions': async (response) => {
        closed = new Promise((resolve) => response.on('close', resolve))
        await streamOf([chunk('one two')], 'stay')(response)
      },
    })
    expect((await ask(engine, { stop: ['two'] })).text).toBe('one ')
    await closed
  })

  it('is asked by its own API where it is Ollama, which would cut off what is too long by the other', async () => {
    const lines = (...events: object[]) => streamOf(events.map((event) => `${JSON.stringify(event)}\n`))
    const { server, engine } = await start({
      '/v1/models': { data: [{ id: 'm', owned_by: 'library' }] },
      '/api/version': { version: '1' },
      '/api/tags': { models: [{ model: 'm' }] },
      '/api/show': { parameters: 'num_ctx 77', capabilities: ['completion'] },
      '/api/chat': lines(
        { message: { content: 'one ' }, done: false },
        { message: { content: 'two' }, done: true, done_reason: 'stop' },
      ),
      '/api/generate': lines({ response: 'three', done: false }, { response: '', done: true, done_reason: 'load' }),
    })
    const answer = await ask(engine)
    expect(answer).toMatchObject({ text: 'one two', finishReason: 'stop' })
    expect(server.asked.at(-1)!.body).toMatchObject({
      truncate: false,
      options: { num_ctx: 77, num_predict: 40, stop: [] },
    })
    expect(await codeOf(ask(engine, { generated: answer.ids }))).toBe('NOT_CONTINUABLE')
    const text = ask(engine, { prompt: { kind: 'text', text: 'a' }, generated: answer.ids })
    expect(await codeOf(text), 'it was unloaded, not done').toBe('ENGINE_CRASHED')
    expect(server.asked.at(-1)!.body).toMatchObject({ raw: true, prompt: 'aone two' })
  })

  it('is told of the trace that an answer belongs to, where there is one', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    const { server, engine } = await start(chatOf(WHOLE))
    await ask(engine, { traceparent })
    expect(server.asked.at(-1)!.headers['traceparent']).toBe(traceparent)
    await ask(engine)
    expect(server.asked.at(-1)!.headers).not.toHaveProperty('traceparent')
  })

  it('is asked with its key, and without one where none is configured', async () => {
    for (const keys of [true, false]) {
      const { server, engine } = await start(chatOf(WHOLE), { keys })
      await ask(engine)
      for (const { headers } of server.asked) expect(headers.authorization).toBe(keys ? 'Bearer secret' : undefined)
    }
  })

  it('refuses what it was not seen to do', async () => {
    const { engine } = await start(chatOf(WHOLE))
    for (const overrides of [{ format: { kind: 'json' as const } }, { logprobs: 1 }])
      expect(await codeOf(ask(engine, overrides))).toBe('INVALID_REQUEST')
    expect(engine.stats().running).toBe(0)
  })

  it('makes embeddings of length 1 where the server was seen to', async () => {
    const embedding = (index: number) => ({ index, embedding: [3, 4] })
    const { engine } = await start({
      '/v1/embeddings': (response, { body }) => {
        const count = Array.isArray(body['input']) ? body['input'].length : 1
        // in another order than they were asked for
        const data = Array.from({ length: count }, (_, i) => embedding(count - 1 - i))
        response.end(JSON.stringify({ data, usage: { prompt_tokens: 5 } }))
      },
    })
    const result = await engine.work({ id: 'w', work: { kind: 'embed', texts: ['a', 'b'] } }, never)
    const vector = new Uint8Array(Float32Array.of(0.6, 0.8).buffer)
    expect(result).toEqual({ kind: 'embed', vectors: [vector, vector], promptTokens: 5 })
    expect(await codeOf(engine.work({ id: 'w', work: { kind: 'classify', texts: ['a'] } }, never))).toBe(
      'INVALID_REQUEST',
    )
  })
})

describe('a server that dies or lies', () => {
  const said = [chunk('one '), chunk('two ')]
  it.each<[string, Parameters<typeof streamOf>, ErrorCode]>([
    ['breaks off', [said, 'break'], 'ENGINE_CRASHED'],
    ['ends without saying why', [said], 'ENGINE_CRASHED'],
    ['says that it is done, and not why', [[...said, 'data: [DONE]\n\n']], 'ENGINE_CRASHED'],
    ['aborts', [[...said, chunk('', 'abort')]], 'ENGINE_CRASHED'],
    ['gives an error in its stream', [[...said, { error: { message: 'out of memory' } }]], 'ENGINE_FAILED'],
    ['gives an error beside a piece', [[...said, { ...chunk('?', 'stop'), error: 'no' }]], 'ENGINE_FAILED'],
    ['gives no JSON', [[...said, 'data: {"choices":\n\n']], 'ENGINE_FAILED'],
    ['gives JSON of another form', [[...said, { choices: 'many' }]], 'ENGINE_FAILED'],
    ['never ends a line', [[...said, `data: ${'x'.repeat(20_000_000)}`]], 'ENGINE_FAILED'],
    [
      'never ends an event',
      [[...said, ...Array<string>(20).fill(`data: ${'x'.repeat(1_000_000)}\n`)]],
      'ENGINE_FAILED',
    ],
  ])('%s', async (_, stream, code) => {
    const { engine } = await start(chatOf(...stream))
    const events = engine.generate(request(), never)
    let text = ''
    const failed = (async () => {
      for await (const event of events) if (event.type === 'tokens') text += event.text
    })()
    expect(await codeOf(failed)).toBe(code)
    expect(text).toBe('one two ')
    expect(engine.stats().running).toBe(0)
  })

  it.each<[number, object, ErrorCode]>([
    [429, { error: { message: 'busy' } }, 'NO_FREE_SLOT'],
    [503, { error: 'loading' }, 'NO_FREE_SLOT'],
    [404, { error: { message: 'no such model' } }, 'ENGINE_CRASHED'],
    [401, { error: 'Unauthorized' }, 'ENGINE_FAILED'],
    [302, {}, 'ENGINE_FAILED'],
    [400, { error: { message: "This model's maximum context length is 512 tokens" } }, 'CONTEXT_LENGTH_EXCEEDED'],
    [400, { error: { message: 'no' } }, 'ENGINE_FAILED'],
    [500, {}, 'ENGINE_FAILED'],
  ])('answers with %i', async (status, body, code) => {
    const elsewhere = await FakeServer.start(chatOf(WHOLE))
    cleanups.push(() => elsewhere.stop())
    const { engine } = await start({
      '/v1/chat/completions': (response) => {
        response.writeHead(status, { location: `${elsewhere.url}/v1/chat/completions` })
        response.end(JSON.stringify(body))
      },
    })
    expect(await codeOf(ask(engine))).toBe(code)
    expect(elsewhere.asked, 'a redirect is not followed').toEqual([])
  })

  it('hangs: the attempt ends, however many signs of life without a token come', async () => {
    const clock = new ManualClock()
    const { engine } = await start(chatOf([chunk('one '), ': alive\n\n', ': alive\n\n'], 'stay'), { clock })
    const events = engine.generate(request(), never)[Symbol.asyncIterator]()
    expect((await events.next()).value).toMatchObject({ type: 'tokens' })
    const failed = (async () => {
      while (!(await events.next()).done) continue
    })()
    const code = codeOf(failed)
    for (let i = 0; i < 40; i++) await clock.advance(1000)
    expect(await code).toBe('ENGINE_CRASHED')
  })

  it('is let go of when the attempt is cancelled', async () => {
    let closed: Promise<void> | undefined
    const { engine } = await start({
      '/v1/chat/completions': async (response) => {
        closed = new Promise((resolve) => response.on('close', resolve))
        await streamOf([chunk('one ')], 'stay')(response)
      },
    })
    const events = engine.generate(request(), never)[Symbol.asyncIterator]()
    await events.next()
    await events.return?.(undefined)
    await closed
    expect(engine.stats().running).toBe(0)
  })

  it('is gone: what runs ends as crashed, and it cannot be loaded until it is back', async () => {
    const { server, engine } = await start(chatOf([chunk('one ')], 'stay'))
    const both = [ask(engine), ask(engine, { id: 'b' })].map((answer) => codeOf(answer))
    const { url } = server
    const isAnswer = ({ path }: { readonly path: string }): boolean => path === '/v1/chat/completions'
    await expect.poll(() => server.asked.filter(isAnswer).length).toBe(2)
    await server.stop()
    expect(await Promise.all(both)).toEqual(['ENGINE_CRASHED', 'ENGINE_CRASHED'])
    await engine.unload()
    const again = engine.load({ path: upstreamPath({ url, model: 'm' }), digest, slots: 1 })
    expect(await codeOf(again)).toBe('ENGINE_CRASHED')
  })

  it('is gone for all attempts when one has found out and the model is unloaded', async () => {
    const { server, engine } = await start(chatOf([chunk('one ')], 'stay'))
    const running = engine.generate(request(), never)[Symbol.asyncIterator]()
    await running.next()
    server.answers = { ...server.answers, ...chatOf([chunk('one ')], 'break') }
    expect(await codeOf(ask(engine, { id: 'b' }))).toBe('ENGINE_CRASHED')
    const rest = codeOf(running.next())
    await engine.unload()
    expect(await rest).toBe('ENGINE_CRASHED')
  })

  it('has another model now: nothing is asked of it', async () => {
    const { server, engine } = await start({})
    await engine.unload()
    server.answers = { '/v1/models': { data: [{ id: 'other', owned_by: 'vllm' }] } }
    const again = engine.load({ path: upstreamPath({ url: server.url, model: 'm' }), digest, slots: 1 })
    expect(await codeOf(again)).toBe('ENGINE_CRASHED')
  })
})
