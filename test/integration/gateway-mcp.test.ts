/** The official client of the Model Context Protocol, unchanged, in both eras of it. */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { asModelDigest, SkeinError } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, type Engine } from '../../node/engines/index.ts'
import {
  aborted,
  end,
  says,
  saysAndHangs,
  started,
  status,
  tokens,
  TWIN_MODEL,
  TWIN_NODE,
} from '../fixtures/mesh-service-twin.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { engineScript, startGateway, type RunningGateway } from './gateway.harness.ts'

const ERAS = [
  ['2026-07-28, without sessions', { pin: '2026-07-28' }],
  ['2025-11-25, with sessions', 'legacy'],
] as const

let running: RunningGateway
beforeAll(async () => {
  running = await startGateway({ apiKey: 'sk-test' })
})
afterAll(() => running.gateway.stop())
beforeEach(() => {
  running.twin.calls.length = 0
  running.twin.works.length = 0
  running.twin.script = says('Hello', ' world')
  running.twin.modelViews = [TWIN_MODEL]
})

const open: Client[] = []
afterEach(async () => {
  for (const client of open.splice(0)) await client.close()
})

type Era = (typeof ERAS)[number][1]

async function connect(mode: Era, secret = 'sk-test'): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
  const requestInit = { headers: { authorization: `Bearer ${secret}` } }
  await client.connect(new StreamableHTTPClientTransport(new URL(`${running.gateway.url}/mcp`), { requestInit }))
  open.push(client)
  return client
}

type Result = Awaited<ReturnType<Client['callTool']>>
const textOf = ({ content }: Result): string => content.map((part) => (part.type === 'text' ? part.text : '')).join('')

describe.each(ERAS)('%s', (_name, era) => {
  it('finds the tools, each with the schemas of what it takes and gives', async () => {
    const client = await connect(era)
    expect(client.getServerVersion()).toMatchObject({ name: 'skein' })
    expect(client.getInstructions()).toContain('ask_model')
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name)).toEqual(['ask_model', 'list_models', 'mesh_status'])
    for (const { inputSchema, outputSchema, description } of tools) {
      expect(inputSchema.type).toBe('object')
      expect(outputSchema).toBeDefined()
      expect(description).toMatch(/\w\.$/)
    }
  })

  it('asks a model, and hears how far it is', async () => {
    const isSaid = Promise.withResolvers<void>()
    running.twin.script = async function* () {
      yield status('queued 2')
      yield started()
      yield tokens(0, 'Hello')
      await isSaid.promise
      yield tokens(1, ' world')
      yield end('', { promptTokens: 5, cachedTokens: 0, completionTokens: 2 })
    }
    const client = await connect(era)
    const heard: { progress: number; total?: number | undefined; message?: string | undefined }[] = []
    const result = await client.callTool(
      { name: 'ask_model', arguments: { prompt: 'hi', system: 'be kind', max_tokens: 9, temperature: 0 } },
      {
        onprogress: (progress) => {
          heard.push(progress)
          isSaid.resolve()
        },
      },
    )
    expect(textOf(result)).toBe('Hello world')
    expect(result.structuredContent).toMatchObject({
      model: 'tiny',
      node: 'desk-pc',
      route: 'mesh',
      finish_reason: 'stop',
      completion_tokens: 2,
    })
    expect(heard.length).toBeGreaterThan(0)
    expect(heard[0]).toMatchObject({ total: 9 })
    for (const [index, { progress }] of heard.entries())
      expect(progress).toBeGreaterThan(heard[index - 1]?.progress ?? 0)
    const { request } = running.twin.calls[0]!
    expect(request).toMatchObject({ model: 'tiny', maxTokens: 9, attachment: 'attached', stored: false })
    expect(request.prompt).toMatchObject({
      kind: 'chat',
      messages: [
        { role: 'system', content: 'be kind' },
        { role: 'user', content: 'hi' },
      ],
    })
  })

  it('is told as a result what a model could read and mend', async () => {
    const client = await connect(era)
    const failing = async (args: Record<string, unknown>): Promise<string> => {
      const result = await client.callTool({ name: 'ask_model', arguments: args })
      expect(result.isError).toBe(true)
      return textOf(result)
    }
    expect(await failing({})).toMatch(/^invalid_request: either prompt or messages/)
    expect(await failing({ prompt: 'x', messages: [{ role: 'user', content: 'y' }] })).toMatch(
      /^invalid_request: either/,
    )
    expect(await failing({ prompt: 'x', temperature: 3 })).toMatch(/^invalid_request: .*temperature/)
    expect(await failing({ prompt: 'x', tempreature: 0 })).toMatch(/^invalid_request: /)
    expect(await failing({ prompt: 'x', model: 'none' })).toMatch(/^model_not_found: /)
    running.twin.script = async function* () {
      yield started()
      throw new SkeinError('SATURATED', 'all slots are taken', { retryAfterSeconds: 3 })
    }
    expect(await failing({ prompt: 'x' })).toBe('saturated: all slots are taken (again in 3 s)')
    await expect(client.callTool({ name: 'sudo', arguments: {} })).rejects.toThrow(/there is no tool 'sudo'/)
  })

  it('ends a call that it gives up, down to the engine', async () => {
    running.twin.script = saysAndHangs('a')
    const client = await connect(era)
    const giveUp = new AbortController()
    const call = client.callTool({ name: 'ask_model', arguments: { prompt: 'hi' } }, { signal: giveUp.signal })
    const heard = call.catch((error: unknown) => error)
    const { signal, ended } = await running.twin.called()
    giveUp.abort()
    expect(await aborted(signal)).toMatchObject({ code: 'CLIENT_CLOSED' })
    await ended
    expect(await heard).toBeInstanceOf(Error)
    // and goes on with the next
    running.twin.script = says('again')
    expect(textOf(await client.callTool({ name: 'ask_model', arguments: { prompt: 'hi' } }))).toBe('again')
  })

  it('makes vectors and classes where there are models for it', async () => {
    const embedder = {
      ...TWIN_MODEL,
      digest: asModelDigest(`sha256:${'e'.repeat(64)}`),
      aliases: ['embedder'],
      features: ['embed', 'classify'] as const,
    }
    running.twin.modelViews = [TWIN_MODEL, embedder]
    running.twin.worker = ({ work }) => {
      const count = work.kind === 'infer' ? 0 : work.texts.length
      const vectors = Array.from({ length: count }, () => new Uint8Array(new Float32Array([0.6, 0.8]).buffer))
      const classes = Array.from({ length: count }, () => [
        { label: 'calm', score: 0.25 },
        { label: 'storm', score: 0.75 },
      ])
      const result =
        work.kind === 'embed'
          ? { kind: 'embed' as const, vectors, promptTokens: 4 }
          : { kind: 'classify' as const, classes, promptTokens: 4 }
      const timing = { queuedMs: 0, workMs: 1 }
      return Promise.resolve({
        result,
        digest: embedder.digest,
        nodes: [TWIN_NODE],
        route: 'local' as const,
        attempts: 1,
        timing,
      })
    }
    const client = await connect(era)
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual([
      'ask_model',
      'list_models',
      'embed',
      'classify',
      'mesh_status',
    ])
    const vectors = await client.callTool({ name: 'embed', arguments: { texts: ['a', 'b'] } })
    expect(vectors.structuredContent).toMatchObject({ model: 'embedder', prompt_tokens: 4 })
    expect((vectors.structuredContent as { embeddings: number[][] }).embeddings[1]![1]).toBeCloseTo(0.8)
    const classes = await client.callTool({ name: 'classify', arguments: { texts: ['a'], top: 1 } })
    expect(textOf(classes)).toBe('storm 0.750')
    expect(running.twin.works.map(({ work }) => work.kind)).toEqual(['embed', 'classify'])
  })

  it('lists the models and tells how the mesh is', async () => {
    const client = await connect(era)
    const models = await client.callTool({ name: 'list_models', arguments: {} })
    expect(models.structuredContent).toMatchObject({ models: [{ name: 'tiny', context_tokens: 2048, nodes: 1 }] })
    const mesh = await client.callTool({ name: 'mesh_status', arguments: {} })
    expect(mesh.structuredContent).toMatchObject({ ready: true, running: 1, nodes: [{ name: 'desk-pc' }] })
  })
})

describe('a client that would take either era', () => {
  it('finds the newer one', async () => {
    const client = await connect('auto' as never)
    expect((await client.listTools()).tools).toHaveLength(3)
  })
})

/** A message as bytes go, for what the official client would not send. */
function post(body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${running.gateway.url}/mcp`, {
    method: 'POST',
    headers: { authorization: 'Bearer sk-test', 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}
const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}
const modern = (method: string, params: object = {}, headers: Record<string, string> = {}): Promise<Response> =>
  post(
    { jsonrpc: '2.0', id: 7, method, params: { _meta: META, ...params } },
    { 'mcp-protocol-version': '2026-07-28', 'mcp-method': method, ...headers },
  )
interface Failure {
  readonly id?: unknown
  readonly error: { readonly code: number; readonly message: string; readonly data?: object }
}
const failureOf = async (response: Response): Promise<[number, number]> => [
  response.status,
  ((await response.json()) as Failure).error.code,
]

describe('messages of the newer era', () => {
  it.each([
    ['a version that is unknown', { 'mcp-protocol-version': '1900-01-01' }, '1900-01-01', [400, -32022]],
    ['a header that says another version', { 'mcp-protocol-version': '2025-11-25' }, '2026-07-28', [400, -32020]],
    ['a method that is not the header’s', { 'mcp-method': 'ping' }, '2026-07-28', [400, -32020]],
  ])('%s', async (_name, headers, version, wanted) => {
    const _meta = { ...META, 'io.modelcontextprotocol/protocolVersion': version }
    expect(await failureOf(await modern('tools/list', { _meta }, headers))).toEqual(wanted)
  })

  it('names what it speaks to who asks for another', async () => {
    const _meta = { ...META, 'io.modelcontextprotocol/protocolVersion': '1900-01-01' }
    const response = await modern('tools/list', { _meta }, { 'mcp-protocol-version': '1900-01-01' })
    expect(((await response.json()) as Failure).error.data).toEqual({
      supported: ['2026-07-28', '2025-11-25', '2025-06-18'],
      requested: '1900-01-01',
    })
  })

  it('wants capabilities, the name of the tool in its header, and a method that there is', async () => {
    const { 'io.modelcontextprotocol/clientCapabilities': _, ...without } = META
    expect(await failureOf(await modern('tools/list', { _meta: without }))).toEqual([400, -32602])
    const call = { name: 'list_models', arguments: {} }
    expect(await failureOf(await modern('tools/call', call))).toEqual([400, -32020])
    expect(await failureOf(await modern('tools/call', call, { 'mcp-name': 'ask_model' }))).toEqual([400, -32020])
    const encoded = `=?base64?${Buffer.from('list_models').toString('base64')}?=`
    expect((await modern('tools/call', call, { 'mcp-name': encoded })).status).toBe(200)
    expect(await failureOf(await modern('resources/list'))).toEqual([404, -32601])
  })

  it('acknowledges who listens for changes, and ends: there are none', async () => {
    const text = await (await modern('subscriptions/listen', { notifications: { toolsListChanged: true } })).text()
    const events = text
      .split('\n\n')
      .filter((each) => each !== '')
      .map((each) => JSON.parse(each.slice(6)) as object)
    const key = 'io.modelcontextprotocol/subscriptionId'
    expect(events).toMatchObject([
      { method: 'notifications/subscriptions/acknowledged', params: { _meta: { [key]: 7 }, notifications: {} } },
      { id: 7, result: { resultType: 'complete', _meta: { [key]: 7 } } },
    ])
  })

  it('answers who takes no events with one body', async () => {
    const call = { name: 'ask_model', arguments: { prompt: 'hi' } }
    const headers = { 'mcp-name': 'ask_model', accept: 'application/json' }
    const response = await modern('tools/call', call, headers)
    expect(response.headers.get('content-type')).toMatch(/^application\/json/)
    expect(await response.json()).toMatchObject({ id: 7, result: { content: [{ text: 'Hello world' }] } })
  })
})

describe('what is no message, or of nobody who may', () => {
  it.each([
    ['no JSON', '{', [400, -32700]],
    ['a batch', [{ jsonrpc: '2.0', id: 1, method: 'ping' }], [400, -32600]],
    ['another JSON-RPC', { id: 1, method: 'ping' }, [400, -32600]],
    ['a response', { jsonrpc: '2.0', id: 1, result: {} }, [400, -32600]],
    ['an id that is an object', { jsonrpc: '2.0', id: {}, method: 'ping' }, [400, -32600]],
    ['nesting without end', '['.repeat(100_000), [400, -32700]],
  ])('%s is refused in JSON-RPC', async (_name, body, wanted) => {
    expect(await failureOf(await post(body))).toEqual(wanted)
  })

  it('needs a key, and is for no page of another site', async () => {
    expect((await post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { authorization: '' })).status).toBe(401)
    const foreign = await post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { origin: 'https://evil.example' })
    expect(foreign.status).toBe(403)
    expect(((await foreign.json()) as Failure).error.data).toMatchObject({ code: 'forbidden' })
    expect(running.twin.calls).toEqual([])
  })

  it('has nothing to GET', async () => {
    const response = await fetch(`${running.gateway.url}/mcp`, { headers: { authorization: 'Bearer sk-test' } })
    expect(response.status).toBe(405)
    expect(response.headers.get('allow')).toBe('DELETE, POST')
  })
})

describe('sessions', () => {
  const ping = async (session?: string): Promise<number> => {
    const headers = session === undefined ? {} : { 'mcp-session-id': session }
    return (await post({ jsonrpc: '2.0', id: 2, method: 'ping' }, headers)).status
  }

  it('are needed in the older era, and end when they are ended', async () => {
    expect(await ping()).toBe(400)
    expect(await ping('guessed')).toBe(404)
    const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'raw', version: '1' } }
    const begun = await post({ jsonrpc: '2.0', id: 1, method: 'initialize', params })
    expect(await begun.json()).toMatchObject({ result: { protocolVersion: '2025-06-18', capabilities: { tools: {} } } })
    const session = begun.headers.get('mcp-session-id')!
    expect(await ping(session)).toBe(200)
    const headers = { authorization: 'Bearer sk-test', 'mcp-session-id': session }
    expect((await fetch(`${running.gateway.url}/mcp`, { method: 'DELETE', headers })).status).toBe(204)
    expect(await ping(session)).toBe(404)
  })

  it('offer the newest version of their era to who asks for another', async () => {
    const begun = await post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2024-11-05' } })
    expect(await begun.json()).toMatchObject({ result: { protocolVersion: '2025-11-25' } })
    expect(await failureOf(await post({ jsonrpc: '2.0', id: 1, method: 'initialize' }))).toEqual([400, -32602])
  })
})

describe('keys', () => {
  const issue = async (extra: object): Promise<string> => {
    const key = { name: `k${Object.keys(extra).join('')}`, ...extra }
    const response = await fetch(`${running.gateway.url}/mesh/v1/keys`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk-test', 'content-type': 'application/json' },
      body: JSON.stringify(key),
    })
    return ((await response.json()) as { secret: string }).secret
  }

  it('see the tools and the models that they are for', async () => {
    const client = await connect({ pin: '2026-07-28' }, await issue({ routes: ['inference'], models: ['other*'] }))
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['ask_model', 'list_models'])
    const models = await client.callTool({ name: 'list_models', arguments: {} })
    expect(models.structuredContent).toEqual({ models: [] })
    const asked = await client.callTool({ name: 'ask_model', arguments: { prompt: 'hi', model: 'tiny' } })
    expect(textOf(asked)).toMatch(/^forbidden: this key is not for the model/)
    await expect(client.callTool({ name: 'mesh_status', arguments: {} })).rejects.toThrow(/there is no tool/)
    expect(running.twin.calls).toEqual([])
  })

  it('are counted by the tools that work, and by nothing else', async () => {
    const client = await connect('legacy', await issue({ requests_per_minute: 10 }))
    for (let i = 0; i < 3; i++) await client.callTool({ name: 'list_models', arguments: {} })
    expect(textOf(await client.callTool({ name: 'ask_model', arguments: { prompt: 'hi' } }))).toBe('Hello world')
    const refused = await client.callTool({ name: 'ask_model', arguments: { prompt: 'hi' } })
    expect(textOf(refused)).toMatch(/^rate_limited: /)
    expect(running.twin.calls).toHaveLength(1)
  })

  it('do not find the sessions of others', async () => {
    const begun = await post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25' } })
    const session = { 'mcp-session-id': begun.headers.get('mcp-session-id')! }
    const other = { authorization: `Bearer ${await issue({ valid_ms: 60_000 })}` }
    const message = { jsonrpc: '2.0', id: 2, method: 'ping' }
    expect((await post(message, { ...session, ...other })).status).toBe(404)
    expect((await post(message, session)).status).toBe(200)
  })
})

describe('a real model', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = createEngine('llama', { clock: new SystemClock(), log: silentLogger })
    const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
    await engine.load({ path: await ensureModel('tiny'), digest, slots: 2, contextTokens: 512, threads: 1 })
  }, 60_000)
  afterAll(() => engine.unload())

  it.each(ERAS)('is asked, held to a schema, and given up: %s', async (_name, era) => {
    running.twin.script = engineScript(engine)
    const client = await connect(era)
    const schema = {
      type: 'object',
      properties: { ok: { type: 'boolean' } },
      required: ['ok'],
      additionalProperties: false,
    }
    const asked = { prompt: 'Is it warm?', temperature: 0, max_tokens: 60, schema }
    const first = await client.callTool({ name: 'ask_model', arguments: asked })
    expect(JSON.parse(textOf(first))).toEqual({ ok: expect.any(Boolean) as boolean })
    // greedy: the same again
    expect(textOf(await client.callTool({ name: 'ask_model', arguments: asked }))).toBe(textOf(first))
    const giveUp = new AbortController()
    const onprogress = (): void => giveUp.abort()
    const call = client.callTool(
      { name: 'ask_model', arguments: { prompt: 'Tell a story', max_tokens: 400 } },
      { signal: giveUp.signal, onprogress },
    )
    await expect(call).rejects.toThrow()
    expect(await aborted((await running.twin.called(3)).signal)).toMatchObject({ code: 'CLIENT_CLOSED' })
  })
})
