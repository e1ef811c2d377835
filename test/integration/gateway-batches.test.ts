/** Files and batches with the official client on a real socket: over scripts of a twin, and over a real model. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI, { toFile } from 'openai'
import type { Batch } from 'openai/resources/batches'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createProgram } from '../../clients/cli/program.ts'
import { Batches } from '../../coordinator/batches/index.ts'
import { createGateway, type Gateway } from '../../coordinator/gateway/index.ts'
import { MemoryLedger } from '../../coordinator/ledger/index.ts'
import { asModelDigest, SkeinError } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { createEngine } from '../../node/engines/index.ts'
import { accessOf } from '../fixtures/access.ts'
import {
  aborted,
  end,
  MeshServiceTwin,
  started,
  tokens,
  TWIN_DIGEST,
  TWIN_NODE_VIEW,
} from '../fixtures/mesh-service-twin.ts'
import { embedsTo } from '../fixtures/twin-answers.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { chat, create, ended, lineOf, results, until, upload } from './batches.harness.ts'
import { engineScript } from './gateway.harness.ts'

const OWNER = 'sk-owner'
const clock = new SystemClock()
const random = new SystemRandom()
const access = accessOf(OWNER)
const twin = new MeshServiceTwin()
let directory: string
let batches: Batches
let gateway: Gateway
let owner: OpenAI
/** Clients with keys of their own. */
let ada: OpenAI
let bob: OpenAI

const clientOf = (apiKey: string): OpenAI => new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey, maxRetries: 0 })

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'skein-gateway-batches-'))
  const store = new MemoryLedger({ clock }, { commitMs: 0 })
  const shared = { clock, random, log: silentLogger }
  batches = new Batches({ ...shared, store }, { directory: join(directory, 'files'), diskBytesMax: 8 * 1024 ** 2 })
  await batches.start()
  gateway = createGateway({ ...shared, service: twin, access, batches }, { host: '127.0.0.1', port: 0 })
  await gateway.start()
  owner = clientOf(OWNER)
  const grant = { routes: ['inference'], models: ['tiny'], priority: 'interactive', localOnly: false } as const
  ada = clientOf((await access.add({ name: 'ada', grant })).secret)
  bob = clientOf((await access.add({ name: 'bob', grant: { ...grant, models: ['*'] } })).secret)
})
afterAll(async () => {
  await gateway.stop()
  await batches.stop()
  await rm(directory, { recursive: true })
})
beforeEach(() => {
  twin.calls.length = 0
  const model = {
    digest: TWIN_DIGEST,
    name: 'tiny',
    residency: 'resident',
    contextTokens: 64,
    slots: 8,
    slotsInUse: 0,
  } as const
  twin.nodeViews = [{ ...TWIN_NODE_VIEW, models: [model] }]
  twin.script = async function* ({ request: { prompt } }) {
    yield started()
    yield tokens(0, prompt.kind === 'chat' ? String(prompt.messages.at(-1)!.content) : prompt.text)
    yield end()
  }
})

/** What `ask` throws. */
const thrown = (ask: Promise<unknown>): Promise<unknown> =>
  ask.then(
    () => 'nothing was thrown',
    (error: unknown) => error,
  )

describe('files', () => {
  it('go to the disk and back, are listed and deleted', async () => {
    const content = Buffer.from(Array.from({ length: 5000 }, (_, i) => `${i} ${'x'.repeat(1000)}\n`).join(''))
    const file = await ada.files.create({
      file: await toFile(content, '../grüße/in put.jsonl'),
      purpose: 'batch',
      expires_after: { anchor: 'created_at', seconds: 7200 },
    })
    expect(file).toMatchObject({ object: 'file', bytes: content.length, purpose: 'batch', status: 'processed' })
    expect(file.filename).toBe('in put.jsonl')
    expect(file.expires_at! - file.created_at).toBe(7200)
    expect(await ada.files.retrieve(file.id)).toEqual(file)
    const answer = await ada.files.content(file.id)
    expect(Buffer.from(await answer.arrayBuffer()).equals(content)).toBe(true)
    expect(answer.headers.get('content-type')).toBe('application/octet-stream')
    expect(answer.headers.get('content-disposition')).toContain('attachment')
    expect(await ada.files.delete(file.id)).toEqual({ id: file.id, object: 'file', deleted: true })
    expect(await thrown(ada.files.retrieve(file.id))).toMatchObject({ status: 404, code: 'not_found' })
  })

  it('come in pages, in both orders', async () => {
    const ids: string[] = []
    for (let i = 0; i < 5; i++) ids.push(await upload(ada, [`${i}`]))
    const all = async (order: 'asc' | 'desc'): Promise<string[]> => {
      const seen: string[] = []
      for await (const file of ada.files.list({ limit: 2, order, purpose: 'batch' })) seen.push(file.id)
      return seen
    }
    expect(await all('asc')).toEqual(ids)
    expect(await all('desc')).toEqual(ids.toReversed())
    expect((await ada.files.list({ purpose: 'batch_output' })).data).toEqual([])
    expect(await thrown(ada.files.list({ after: 'file-none' }))).toMatchObject({ status: 400, param: 'after' })
    for (const id of ids) await ada.files.delete(id)
  })

  it('are for batches only, and say what is wrong with a form', async () => {
    const file = await toFile(Buffer.from('{}'), 'a.jsonl')
    for (const purpose of ['fine-tune', 'assistants'] as const)
      expect(await thrown(ada.files.create({ file, purpose }))).toMatchObject({ status: 400, param: 'purpose' })
    const wrong = { anchor: 'created_at', seconds: 5 } as const
    expect(await thrown(ada.files.create({ file, purpose: 'batch', expires_after: wrong }))).toMatchObject({
      status: 400,
      param: 'expires_after',
    })
    const send = async (body: FormData | string, headers: Record<string, string> = {}): Promise<unknown> => {
      const init = { method: 'POST', headers: { authorization: `Bearer ${OWNER}`, ...headers }, body }
      const answer = await fetch(`${gateway.url}/v1/files`, init)
      const { error } = (await answer.json()) as { error: { param: string | null; code: string } }
      return [answer.status, error.code, error.param]
    }
    const form = (fields: Record<string, string | Blob>): FormData => {
      const made = new FormData()
      for (const [name, value] of Object.entries(fields)) made.append(name, value)
      return made
    }
    expect(await send(form({ purpose: 'batch' }))).toEqual([400, 'invalid_request', 'file'])
    expect(await send(form({ file: new Blob(['x']) }))).toEqual([400, 'invalid_request', 'purpose'])
    expect(await send(form({ file: new Blob([]), purpose: 'batch' }))).toEqual([400, 'invalid_request', 'file'])
    expect(await send('{}', { 'content-type': 'application/json' })).toEqual([415, 'unsupported_media_type', null])
    const broken = { 'content-type': 'multipart/form-data; boundary=b' }
    expect(await send('--b\r\nnonsense', broken)).toEqual([400, 'invalid_request', null])
    // no other route reads forms
    const elsewhere = await fetch(`${gateway.url}/v1/batches`, {
      method: 'POST',
      headers: { authorization: `Bearer ${OWNER}` },
      body: form({ a: 'b' }),
    })
    expect(elsewhere.status).toBe(415)
    expect(batches.files.usedBytes).toBe(0)
  })

  it('over the bound are refused, and leave nothing', async () => {
    const chunk = new Uint8Array(1024 ** 2)
    const body = new ReadableStream({
      start: (controller) =>
        controller.enqueue(Buffer.from('--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n')),
      pull: (controller) => controller.enqueue(chunk),
    })
    const headers = { authorization: `Bearer ${OWNER}`, 'content-type': 'multipart/form-data; boundary=b' }
    // the room on this disk is less than the bound of one file
    const answer = await fetch(`${gateway.url}/v1/files`, {
      method: 'POST',
      headers,
      body,
      duplex: 'half',
    } as RequestInit)
      .then((response) => response.status)
      .catch(() => 507)
    expect(answer).toBe(507)
    await untilTrue(() => batches.files.usedBytes === 0)
  })
})

async function untilTrue(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2))
}

describe('a batch', () => {
  it('of chats is answered line by line, as tasks of its key that nobody waits for', async () => {
    const names = Array.from({ length: 20 }, (_, i) => `line-${i}`)
    const input_file_id = await upload(
      ada,
      names.map((name) => lineOf(name, chat(`say ${name}`))),
    )
    const metadata = { run: 'first' }
    const made = await ada.batches.create({
      input_file_id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      metadata,
    })
    expect(made).toMatchObject({ object: 'batch', input_file_id, metadata, errors: null, output_file_id: null })
    expect(['validating', 'in_progress']).toContain(made.status)
    expect(made.expires_at! - made.created_at).toBe(86_400)
    const batch = await ended(ada, made)
    expect(batch).toMatchObject({ status: 'completed', model: 'tiny', error_file_id: null })
    expect(batch.request_counts).toEqual({ total: 20, completed: 20, failed: 0 })
    expect(batch.usage).toMatchObject({ input_tokens: 140, output_tokens: 40, total_tokens: 180 })
    for (const at of [batch.in_progress_at, batch.finalizing_at, batch.completed_at])
      expect(at).toBeGreaterThanOrEqual(made.created_at)
    const output = await results(ada, batch.output_file_id)
    for (const name of names) {
      const { response, error, id } = output.get(name)!
      expect(id).toMatch(/^batch_req_/)
      expect(error).toBeNull()
      expect(response!.request_id).toMatch(/^req_/)
      const completion = response!.body as unknown as OpenAI.ChatCompletion
      expect(completion.choices[0]!.message.content).toBe(`say ${name}`)
    }
    const { tenant } = twin.calls[0]!.request
    expect(tenant).toMatch(/^key:/)
    for (const { request } of twin.calls)
      expect([request.priority, request.attachment, request.tenant]).toEqual(['bulk', 'background', tenant])
    expect(await ada.files.retrieve(batch.output_file_id!)).toMatchObject({ purpose: 'batch_output' })
  })

  it.each([
    ['/v1/completions', { model: 'tiny', prompt: 'once' }, 'choices'],
    ['/v1/responses', { model: 'tiny', input: 'once' }, 'output'],
    ['/v1/embeddings', { model: 'tiny', input: ['a', 'b'] }, 'data'],
  ] as const)('may go to %s', async (endpoint, body, member) => {
    const vector = new Uint8Array(Float32Array.of(0.5, -0.25).buffer)
    twin.worker = embedsTo(vector, vector)
    const batch = await ended(
      ada,
      await create(ada, [lineOf('a', body, endpoint), lineOf('b', body, endpoint)], endpoint),
    )
    expect(batch.request_counts).toEqual({ total: 2, completed: 2, failed: 0 })
    const output = await results(ada, batch.output_file_id)
    for (const name of ['a', 'b']) expect(output.get(name)!.response!.body[member]).toBeInstanceOf(Array)
    expect(batch.usage!.input_tokens).toBeGreaterThan(0)
  })

  it('tells errors by line, each as its request alone would have', async () => {
    const lines = [
      lineOf('good', chat('fine')),
      lineOf('wrong', chat('x', { temperature: 9 })),
      lineOf('unknown', { ...chat('x'), model: 'nowhere' }),
      lineOf('stream', chat('x', { stream: true })),
      lineOf('urgent', chat('x', { skein: { priority: 'interactive', local_only: true } })),
    ]
    const batch = await ended(bob, await create(bob, lines))
    expect(batch.request_counts).toEqual({ total: 5, completed: 2, failed: 3 })
    const errors = await results(bob, batch.error_file_id)
    const told = (name: string): unknown[] => {
      const { status_code, body } = errors.get(name)!.response!
      const { code, param } = (body as { error: { code: string; param: string | null } }).error
      return [status_code, code, param]
    }
    expect(told('wrong')).toEqual([400, 'invalid_request', 'temperature'])
    expect(told('unknown')).toEqual([404, 'model_not_found', 'model'])
    expect(told('stream')).toEqual([400, 'invalid_request', 'stream'])
    expect([...(await results(bob, batch.output_file_id)).keys()].toSorted()).toEqual(['good', 'urgent'])
    expect(twin.calls.map(({ request }) => request.priority)).toEqual(['bulk', 'bulk'])
    expect(twin.calls.some(({ request }) => request.localOnly)).toBe(true)
  })

  it('asks nothing that its key may not ask', async () => {
    const batch = await ended(ada, await create(ada, [lineOf('other', { ...chat('x'), model: 'secret-model' })]))
    const { response } = (await results(ada, batch.error_file_id)).get('other')!
    expect(response).toMatchObject({ status_code: 403, body: { error: { code: 'forbidden' } } })
    expect(twin.calls).toEqual([])
  })

  it('asks nothing more for a key that was revoked', async () => {
    const grant = { routes: ['inference'], models: ['*'], priority: 'bulk', localOnly: false } as const
    const { secret, key } = await access.add({ name: 'eve', grant })
    const gate = Promise.withResolvers<void>()
    twin.nodeViews = [TWIN_NODE_VIEW]
    twin.script = async function* () {
      yield started()
      await gate.promise
      yield end('done')
    }
    // under a name whose nodes nobody has looked at: what was seen of the other a moment ago, eight slots, still holds
    const body = { ...chat('x'), model: 'org/tiny-chat' }
    const made = await create(clientOf(secret), [lineOf('a', body), lineOf('b', body)])
    await twin.called()
    await access.revoke(key.id)
    gate.resolve()
    const batch = await ended(owner, made)
    expect(batch.request_counts).toEqual({ total: 2, completed: 1, failed: 1 })
    const [refused] = [...(await results(owner, batch.error_file_id)).values()]
    expect(refused!.response).toMatchObject({ status_code: 401, body: { error: { code: 'unauthenticated' } } })
  })

  it('fails by an input that is wrong, with its lines', async () => {
    const batch = await ended(ada, await create(ada, [lineOf('a', chat('x')), '{oops', lineOf('a', chat('y'))]))
    expect(batch).toMatchObject({ status: 'failed', output_file_id: null })
    expect(batch.failed_at).toBeGreaterThan(0)
    expect(batch.errors!.data!.map(({ code, line }) => [code, line])).toEqual([
      ['invalid_json_line', 2],
      ['duplicate_custom_id', 3],
    ])
    expect(twin.calls).toEqual([])
  })

  it('is refused where its parameters are wrong', async () => {
    const input_file_id = await upload(ada, [lineOf('a', chat('x'))])
    const right = { input_file_id, endpoint: '/v1/chat/completions', completion_window: '24h' } as const
    const refusal = async (more: object): Promise<unknown> => thrown(ada.batches.create({ ...right, ...more } as never))
    expect(await refusal({ endpoint: '/v1/moderations' })).toMatchObject({ status: 400, param: 'endpoint' })
    expect(await refusal({ completion_window: '30d' })).toMatchObject({ status: 400, param: 'completion_window' })
    expect(await refusal({ completion_window: 'soon' })).toMatchObject({ status: 400, param: 'completion_window' })
    expect(await refusal({ input_file_id: 'file-none' })).toMatchObject({ status: 400, param: 'input_file_id' })
    expect(await refusal({ metadata: { a: 'x'.repeat(513) } })).toMatchObject({ status: 400 })
    await ada.files.delete(input_file_id)
  })

  it('is cancelled: what runs is ended, the rest is told so', async () => {
    twin.script = async function* ({ request: { prompt } }) {
      yield started()
      const text = prompt.kind === 'chat' ? String(prompt.messages[0]!.content) : ''
      if (text === 'quick') yield end('done')
      else throw await aborted(new AbortController().signal)
    }
    const names = Array.from({ length: 30 }, (_, i) => `slow-${i}`)
    const made = await create(ada, [lineOf('quick', chat('quick')), ...names.map((name) => lineOf(name, chat(name)))])
    const running = await until(ada, made, ({ request_counts }) => request_counts!.completed === 1)
    expect(running.status).toBe('in_progress')
    expect(await thrown(ada.files.delete(made.input_file_id))).toMatchObject({ status: 409, code: 'file_in_use' })
    expect((await ada.batches.cancel(made.id)).status).toBe('cancelling')
    const batch = await ended(ada, made)
    expect(batch).toMatchObject({ status: 'cancelled', request_counts: { total: 31, completed: 1, failed: 30 } })
    expect(batch.cancelled_at).toBeGreaterThanOrEqual(batch.cancelling_at!)
    const errors = await results(ada, batch.error_file_id)
    expect([...errors.keys()].toSorted()).toEqual(names.toSorted())
    expect(new Set([...errors.values()].map(({ error }) => error!.code))).toEqual(new Set(['batch_cancelled']))
    await untilTrue(() => twin.taskIds.every((id) => twin.inside(id).view().state !== 'running'))
  })

  it('keeps what its slots are, and holds back while more urgent tasks wait', async () => {
    let now = 0
    let most = 0
    twin.script = async function* () {
      most = Math.max(most, ++now)
      yield started()
      await new Promise((resolve) => setTimeout(resolve, 2))
      now--
      yield end('done')
    }
    const lines = Array.from({ length: 30 }, (_, i) => lineOf(`${i}`, chat('x')))
    await ended(ada, await create(ada, lines))
    // eight slots, and two tasks of a higher class that wait, as the twin tells
    expect(most).toBe(6)
  })

  it('is tried again where the mesh had no room for it', async () => {
    let asked = 0
    const submit = twin.submit.bind(twin)
    twin.submit = (request, signal) => {
      if (++asked === 1) return Promise.reject(new SkeinError('SATURATED', 'no place is left'))
      return submit(request, signal)
    }
    const batch = await ended(ada, await create(ada, [lineOf('a', chat('x'))])).finally(() => (twin.submit = submit))
    expect(batch.request_counts).toEqual({ total: 1, completed: 1, failed: 0 })
    expect(asked).toBe(2)
  })
})

describe('two keys', () => {
  it('see nothing of each other; the owner sees both', async () => {
    const batch = await ended(ada, await create(ada, [lineOf('a', chat('x'))]))
    for (const id of [batch.input_file_id, batch.output_file_id!])
      for (const ask of [bob.files.retrieve(id), bob.files.content(id), bob.files.delete(id)])
        expect(await thrown(ask)).toMatchObject({ status: 404, code: 'not_found' })
    expect(await thrown(bob.batches.retrieve(batch.id))).toMatchObject({ status: 404 })
    expect(await thrown(bob.batches.cancel(batch.id))).toMatchObject({ status: 404 })
    const input_file_id = batch.input_file_id
    const stolen = bob.batches.create({ input_file_id, endpoint: '/v1/chat/completions', completion_window: '24h' })
    expect(await thrown(stolen)).toMatchObject({ status: 400, param: 'input_file_id' })
    expect(await thrown(bob.batches.list({ after: batch.id }))).toMatchObject({ status: 400, param: 'after' })
    const own = await ended(bob, await create(bob, [lineOf('b', chat('x'))]))
    const seenBy = async (client: OpenAI): Promise<string[]> => {
      const ids: string[] = []
      for await (const each of client.batches.list({ limit: 3 })) ids.push(each.id)
      return ids
    }
    expect(await seenBy(bob)).not.toContain(batch.id)
    expect(await seenBy(ada)).not.toContain(own.id)
    expect(await seenBy(owner)).toEqual(expect.arrayContaining([batch.id, own.id]))
  })

  it('a line cannot be forged by its header', async () => {
    const headers = { 'x-skein-line': 'A'.repeat(43), 'content-type': 'application/json' }
    const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers,
      body: JSON.stringify(chat('x')),
    })
    expect(answer.status).toBe(401)
  })
})

describe('skein batches', () => {
  const skein = async (...args: string[]): Promise<string> => {
    const written: string[] = []
    const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0)
    const where = ['--url', gateway.url, '--api-key', OWNER, '--data', directory, '--json']
    try {
      await (await createProgram()).parseAsync(['batches', ...args, ...where], { from: 'user' })
    } finally {
      write.mockRestore()
    }
    return written.join('')
  }

  it('runs a file and writes what came of it; lists, shows and cancels', async () => {
    const [input, out] = [join(directory, 'in.jsonl'), join(directory, 'out.jsonl')]
    await writeFile(input, [lineOf('a', chat('hello')), lineOf('b', chat('x', { temperature: 9 }))].join('\n'))
    const failure = await thrown(skein('run', input, '--out', out))
    expect(failure).toMatchObject({ code: 'INVALID_REQUEST', message: expect.stringContaining('1 of 2') as string })
    expect(JSON.parse(await readFile(out, 'utf8'))).toMatchObject({ custom_id: 'a', response: { status_code: 200 } })
    expect(JSON.parse(await readFile(`${out}.errors`, 'utf8'))).toMatchObject({ custom_id: 'b' })
    const [newest] = JSON.parse(await skein('list', '--limit', '1')) as Batch[]
    expect(newest).toMatchObject({ status: 'completed', request_counts: { total: 2, completed: 1, failed: 1 } })
    expect(JSON.parse(await skein('show', newest!.id))).toEqual(newest)
    expect(JSON.parse(await skein('cancel', newest!.id))).toEqual(newest)
    await writeFile(input, lineOf('a', chat('hello')))
    await skein('run', input, '--out', out)
    expect(await thrown(skein('run', join(directory, 'none'), '--out', out))).toMatchObject({ code: 'USAGE' })
  })
})

describe('a real model', () => {
  const engine = createEngine('llama', { clock, log: silentLogger })
  beforeAll(async () => {
    const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
    await engine.load({ path: await ensureModel('tools'), digest, slots: 4, contextTokens: 1024, threads: 1 })
  }, 60_000)
  afterAll(() => engine.unload())

  it('answers the lines of a batch as it answers them alone', async () => {
    twin.script = engineScript(engine)
    const bodies = ['one', 'two', 'three'].map((word) => chat(word, { temperature: 0, max_tokens: 8 }))
    const lines = bodies.map((body, i) => lineOf(String(i), body))
    const batch = await ended(ada, await create(ada, lines))
    const output = await results(ada, batch.output_file_id)
    for (const [i, body] of bodies.entries()) {
      const alone = await ada.chat.completions.create(body as never as OpenAI.ChatCompletionCreateParamsNonStreaming)
      const inBatch = output.get(String(i))!.response!.body as unknown as OpenAI.ChatCompletion
      expect(inBatch.choices).toEqual(alone.choices)
      expect(Object.keys(inBatch).toSorted()).toEqual(Object.keys(alone).toSorted())
    }
  })
})
