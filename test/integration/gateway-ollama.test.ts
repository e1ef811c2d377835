/** The official client of Ollama's API, on a real socket: against the twin, the echo engine and a real model; and the second address. */
import { createServer } from 'node:net'
import { Ollama } from 'ollama'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { asModelDigest, SkeinError } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, echoDigest, UpstreamClient, type Engine } from '../../node/engines/index.ts'
import { inspectUpstream } from '../../node/models/index.ts'
import { aborted, end, saysAndHangs, started, status, tokens } from '../fixtures/mesh-service-twin.ts'
import { embedsTo } from '../fixtures/twin-answers.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { bytesOf, engineScript, RawClient, startGateway, type RunningGateway } from './gateway.harness.ts'

const ASK = { model: 'tiny', messages: [{ role: 'user', content: 'How warm is it?' }] }
const TOOL = {
  type: 'function',
  function: {
    name: 'greenhouse.temperature',
    description: 'Reads the thermometer',
    parameters: {
      type: 'object',
      properties: { unit: { type: 'string', enum: ['C', 'F'] } },
      required: ['unit'],
    },
  },
}

let running: RunningGateway
let client: Ollama
beforeEach(async () => {
  running = await startGateway({ apiKey: 'sk-test' })
  client = clientOf(running.gateway.url)
})
afterEach(() => running.gateway.stop())

const clientOf = (host: string, key = 'sk-test'): Ollama =>
  new Ollama({ host, headers: { authorization: `Bearer ${key}` } })

describe('the official client', () => {
  it('gets a whole answer', async () => {
    const answer = await client.chat(ASK)
    expect(answer.message).toEqual({ role: 'assistant', content: 'Hello world' })
    expect(answer).toMatchObject({
      model: 'tiny',
      done: true,
      done_reason: 'stop',
      eval_count: 2,
      prompt_eval_count: 7,
    })
    expect(answer.total_duration).toBeGreaterThan(0)
    expect(new Date(answer.created_at).getTime()).toBeGreaterThan(0)
    expect(await client.generate({ model: 'tiny:latest', prompt: 'hi' })).toMatchObject({ response: 'Hello world' })
  })

  it('puts a stream together, through lines that say nothing', async () => {
    running.twin.thought = { open: '<think>', close: '</think>', isOpen: false }
    running.twin.script = async function* () {
      yield status('queued 1')
      yield started()
      yield tokens(0, '<think>Hm.')
      yield status('node lost, resuming on attic')
      yield started(2, 'attic')
      yield tokens(1, '</think>Grüße 😀')
      yield end('!', { promptTokens: 5, cachedTokens: 1, completionTokens: 3, thoughtTokens: 2 }, 2)
    }
    let content = ''
    let thought = ''
    let last
    for await (const part of await client.chat({ ...ASK, stream: true })) {
      content += part.message.content
      thought += part.message.thinking ?? ''
      last = part
    }
    expect(content).toBe('Grüße 😀!')
    expect(thought).toBe('Hm.')
    expect(last).toMatchObject({ done: true, done_reason: 'stop', eval_count: 3, eval_duration: 3_000_000 })
  })

  it('is told what is wrong, before a stream and in it', async () => {
    const refused = client.chat({ ...ASK, model: 'none' })
    await expect(refused).rejects.toMatchObject({
      name: 'ResponseError',
      status_code: 404,
      message: expect.stringContaining("'none'"),
    })
    await expect(clientOf(running.gateway.url, 'wrong').list()).rejects.toMatchObject({ status_code: 401 })
    running.twin.script = async function* () {
      yield started()
      yield tokens(0, 'half')
      throw new SkeinError('ATTEMPTS_EXHAUSTED', 'every node was lost')
    }
    let text = ''
    const reading = (async () => {
      for await (const part of await client.generate({ model: 'tiny', prompt: 'hi', stream: true }))
        text += part.response
    })()
    await expect(reading).rejects.toThrow('every node was lost')
    expect(text).toBe('half')
  })

  it('that hangs up ends the task', async () => {
    running.twin.script = saysAndHangs('a')
    const stream = await client.chat({ ...ASK, stream: true })
    const call = await running.twin.called()
    const reading = (async () => {
      for await (const _part of stream) stream.abort()
    })()
    await expect(reading).rejects.toThrow()
    expect(await aborted(call.signal)).toMatchObject({ code: 'CLIENT_CLOSED' })
  })

  it('gets embeddings', async () => {
    const vector = new Uint8Array(Float32Array.from([0.5, -0.25]).buffer)
    running.twin.worker = embedsTo(vector, vector)
    const answer = await client.embed({ model: 'tiny', input: ['a', 'b'] })
    expect(answer).toMatchObject({ model: 'tiny', prompt_eval_count: 5 })
    expect(answer.embeddings).toEqual([
      [0.5, -0.25],
      [0.5, -0.25],
    ])
    expect(await client.embeddings({ model: 'tiny', prompt: 'a' })).toEqual({ embedding: [0.5, -0.25] })
  })

  it('finds the models', async () => {
    const { models } = await client.list()
    expect(models.map(({ name }) => name)).toEqual(['tiny:latest'])
    expect((await client.show({ model: models[0]!.name })).capabilities).toEqual(['completion'])
    expect((await client.ps()).models).toHaveLength(1)
    expect((await client.version()).version).toMatch(/^\d+\.\d+\.\d+$/)
    expect(await client.pull({ model: 'tiny' })).toEqual({ status: 'success' })
    for await (const part of await client.pull({ model: 'tiny', stream: true })) expect(part.status).toBe('success')
    await expect(client.pull({ model: 'other' })).rejects.toThrow('skein pull other')
    await expect(client.delete({ model: 'tiny' })).rejects.toThrow('skein rm tiny')
  })
})

describe('with the echo engine', () => {
  it('a long answer comes whole, and as a stream', async () => {
    const engine = createEngine('echo', { clock: new SystemClock(), log: silentLogger })
    await engine.load({ path: 'echo:', digest: echoDigest('echo:'), slots: 2, contextTokens: 4096, threads: 1 })
    running.twin.script = engineScript(engine)
    const content = Array.from({ length: 400 }, (_, i) => `wort${i} 😀`).join(' ')
    const ask = { model: 'tiny', messages: [{ role: 'user', content }], options: { num_predict: 1500 } }
    const whole = await client.chat(ask)
    expect(whole.message.content.startsWith(content)).toBe(true)
    let streamed = ''
    for await (const part of await client.chat({ ...ask, stream: true })) streamed += part.message.content
    expect(streamed).toBe(whole.message.content)
    await engine.unload()
  })
})

describe('with a real model', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = createEngine('llama', { clock: new SystemClock(), log: silentLogger })
    const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
    await engine.load({ path: await ensureModel('tools'), digest, slots: 2, contextTokens: 2048, threads: 1 })
  }, 60_000)
  afterAll(() => engine.unload())
  beforeEach(() => {
    running.twin.script = engineScript(engine)
  })

  it('an answer is the same whole and streamed', async () => {
    // greedy: the second begins from kept states, and where weights are random a draw hangs on the last bits
    const ask = { ...ASK, options: { num_predict: 24, temperature: 0 } }
    const whole = await client.chat(ask)
    expect(whole.eval_count).toBeGreaterThan(0)
    let streamed = ''
    for await (const part of await client.chat({ ...ask, stream: true })) streamed += part.message.content
    expect(streamed).toBe(whole.message.content)
  })

  it('an answer is held to a schema', async () => {
    const format = {
      type: 'object',
      properties: { unit: { enum: ['C', 'F'] } },
      required: ['unit'],
      additionalProperties: false,
    }
    const { response } = await client.generate({
      model: 'tiny',
      prompt: 'Which?',
      format,
      options: { seed: 1, num_predict: 200 },
    })
    expect(['C', 'F']).toContain((JSON.parse(response!) as { unit: string }).unit)
  })

  it('a call is an object, and its result is given back', async () => {
    // nothing in Ollama's API makes a model call a tool: one that was called is asked about
    const tool_calls = [{ function: { name: TOOL.function.name, arguments: { unit: 'C' } } }]
    const messages = [
      ...ASK.messages,
      { role: 'assistant', content: '', tool_calls },
      { role: 'tool', content: '17.5', tool_name: TOOL.function.name },
    ]
    const { message, prompt_eval_count } = await client.chat({
      ...ASK,
      messages,
      tools: [TOOL],
      options: { num_predict: 20 },
    })
    for (const { function: called } of message.tool_calls ?? []) expect(called.arguments).toBeTypeOf('object')
    expect(prompt_eval_count).toBeGreaterThan(0)
  })
})

describe('the second address', () => {
  let second: RunningGateway | undefined
  afterEach(() => second?.gateway.stop())

  it('serves all that the first does, behind the same guards', async () => {
    second = await startGateway({ apiKey: 'sk-test', ollama: { host: '127.0.0.1', port: 0 } })
    const { ollamaUrl, url } = second.gateway
    expect(ollamaUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect(ollamaUrl).not.toBe(url)
    expect((await clientOf(ollamaUrl!).chat(ASK)).message.content).toBe('Hello world')
    expect((await fetch(`${ollamaUrl}/v1/models`)).status).toBe(401)
    const foreign = { method: 'POST', headers: { origin: 'http://evil.example' }, body: '{}' }
    expect((await fetch(`${ollamaUrl}/api/chat`, foreign)).status).toBe(403)
    await second.gateway.stop()
    await expect(fetch(`${ollamaUrl}/health/live`)).rejects.toThrow()
  })

  it('takes no more connections together with the first', async () => {
    second = await startGateway({ ollama: { host: '127.0.0.1', port: 0 }, limits: { connectionsMax: 2 } })
    const port = Number(new URL(second.gateway.ollamaUrl!).port)
    const kept = await RawClient.connect(port)
    const refused = await RawClient.connect(port)
    await refused.closed
    expect(second.gateway.counters.connectionsRefused).toBe(1)
    kept.send(bytesOf('GET', '/api/version'))
    expect(await kept.until(/version/)).toContain('200 OK')
    expect((await fetch(`${second.gateway.url}/health/live`)).status).toBe(200)
    kept.socket.destroy()
  })

  it('is checked like the first when it can be reached from elsewhere', async () => {
    await expect(startGateway({ ollama: { host: '0.0.0.0', port: 0 } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    })
  })

  it('that is taken says what to do, and leaves the first free again', async () => {
    const holder = createServer()
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
    const { port } = holder.address() as { port: number }
    const free = createServer()
    await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve))
    const first = (free.address() as { port: number }).port
    await new Promise((resolve) => free.close(resolve))
    const start = (): Promise<unknown> => startGateway({ port: first, ollama: { host: '127.0.0.1', port } })
    const message = new RegExp(
      `127\\.0\\.0\\.1:${port} \\(Ollama itself\\?\\); stop it, or choose another with: --ollama HOST:PORT`,
    )
    await expect(start()).rejects.toMatchObject({ code: 'PORT_IN_USE', message: expect.stringMatching(message) })
    second = await startGateway({ port: first })
    await new Promise((resolve) => holder.close(resolve))
  })
})

describe('a node that looks for servers', () => {
  const look = (url: string) => inspectUpstream(new SystemClock(), { isAuto: true, named: [], usual: [url] })

  it.each([
    ['with a model', undefined],
    ['without any', []],
  ])('finds a Skein %s, whatever it answers', async (_what, models) => {
    if (models) running.twin.modelViews = models
    // behind its key it tells nothing but what it is
    expect(await look(running.gateway.url)).toMatchObject([{ kind: 'skein', models: [] }])
    const open = await startGateway()
    if (models) open.twin.modelViews = models
    expect(await look(open.gateway.url)).toMatchObject([{ kind: 'skein', models: [] }])
    await open.gateway.stop()
  })

  it('is refused when it asks for an answer all the same', async () => {
    const open = await startGateway()
    const upstream = new UpstreamClient(new SystemClock(), { url: open.gateway.url })
    const asking = async (): Promise<void> => {
      const body = { model: 'tiny', prompt: 'hi', raw: true }
      const asked = { path: '/api/generate', body, framing: 'lines' as const }
      for await (const _event of upstream.stream(asked, new AbortController().signal)) continue
    }
    await expect(asking()).rejects.toMatchObject({ message: expect.stringContaining('this is a Skein') })
    expect(open.twin.calls).toHaveLength(0)
    await open.gateway.stop()
  })
})
