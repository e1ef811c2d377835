/**
 * Nothing of what people say, are told or prove themselves with is in a log, an error or any other output of a process:
 * canaries through every API of a real process that logs all it can, over TLS with a certificate of its own authority.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { trustFiles } from '../../clients/cli/trusted.ts'
import { ManualClock } from '../../mesh/runtime/index.ts'
import { OtlpCollector } from '../fixtures/otlp-collector.ts'
import { LocalProvider, makeKey, type OwnKey } from '../fixtures/jwt-provider.ts'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'

/** In prompts; the echo engine says it back, so that it is in answers too. */
const SAID = 'canaryprompt'
const OWNER = 'sk-canaryowner'
let provider: LocalProvider
let signing: OwnKey
let folder: string
let up: SkeinProcess
let key: string
let token: string
let collector: OtlpCollector
const told: string[] = []

const clock = new ManualClock()
const ask = async (path: string, body: unknown, headers: Record<string, string> = {}): Promise<number> => {
  const answer = await fetch(up.http + path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...headers },
  })
  const text = await answer.text()
  // what was refused must not be told back
  if (answer.status >= 400) told.push(text, JSON.stringify([...answer.headers]))
  return answer.status
}

const owned = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(up.http + path, { ...init, headers: { authorization: `Bearer ${OWNER}`, ...init.headers } })

/** Its text is among what is looked through. */
async function look(path: string): Promise<void> {
  const answer = await owned(path)
  expect(answer.status, path).toBe(200)
  told.push(await answer.text())
}

/** Asks through a tool; the answer is the asker's own. */
async function askByTool(): Promise<void> {
  const call = async (body: object, session?: string): Promise<Response> =>
    owned('/mcp', {
      method: 'POST',
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...body }),
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...(session !== undefined && { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }),
      },
    })
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }
  const opened = await call({ method: 'initialize', params })
  const session = opened.headers.get('mcp-session-id')!
  await opened.text()
  const good = await call(
    { method: 'tools/call', params: { name: 'ask_model', arguments: { prompt: `${SAID} tool`, max_tokens: 3 } } },
    session,
  )
  expect(await good.text()).toContain(SAID)
  const wrong = { name: 'ask_model', arguments: { prompt: SAID, temperature: SAID } }
  await (await call({ method: 'tools/call', params: wrong }, session)).text()
}

/** Asks by a batch of one good line and a wrong one, and deletes what it came to. */
async function askByBatch(): Promise<void> {
  const line = (id: string, body: object): string =>
    JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/chat/completions', body })
  const messages = [{ role: 'user', content: `${SAID} line` }]
  const form = new FormData()
  const lines = [
    line('good', { model: 'parrot', max_tokens: 3, messages }),
    line('wrong', { model: SAID, max_tokens: 3, messages }),
  ]
  form.set('purpose', 'batch')
  form.set('file', new Blob([lines.join('\n')]), 'in.jsonl')
  const { id: input_file_id } = (await (await owned('/v1/files', { method: 'POST', body: form })).json()) as {
    id: string
  }
  const body = JSON.stringify({ input_file_id, endpoint: '/v1/chat/completions', completion_window: '24h' })
  const made = await owned('/v1/batches', { method: 'POST', body, headers: { 'content-type': 'application/json' } })
  const { id } = (await made.json()) as { id: string }
  const ended = await eventually('the batch has ended', async () => {
    const batch = (await (await owned(`/v1/batches/${id}`)).json()) as { status: string; output_file_id: string }
    return /completed|failed/.test(batch.status) ? batch : undefined
  })
  expect(ended.status).toBe('completed')
  const output = await owned(`/v1/files/${ended.output_file_id}/content`)
  expect(await output.text()).toContain(SAID)
}

/** Follows the events until it is told to stop; then what was told is among what is looked through. */
async function followEvents(): Promise<() => Promise<void>> {
  const leaving = new AbortController()
  const response = await owned('/mesh/v1/events', { signal: leaving.signal })
  let text = ''
  const read = (async () => {
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) text += chunk
  })().catch(() => undefined)
  return async () => {
    await eventually('events were told', () => Promise.resolve(text.includes('task.ended') || undefined))
    leaving.abort()
    await read
    told.push(text)
  }
}

beforeAll(async () => {
  collector = await OtlpCollector.start()
  folder = await mkdtemp(join(tmpdir(), 'skein-redaction-'))
  signing = await makeKey('EdDSA', 'one')
  provider = await LocalProvider.start([signing])
  await clock.advance(Date.now() - clock.wallMs())
  token = await provider.sign(signing, clock, { sub: 'canarysubject' })
  const settings = `[[provider]]\nname = "home"\nissuer = "${provider.issuer}"\naudience = "skein"\n`
  await writeFile(join(folder, 'jwt.toml'), settings)
  const args = [
    ...['up', '--name', 'first', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--upstream', 'off'],
    ...['--model', 'echo:parrot', '--http', '127.0.0.1:0', '--api-key', OWNER, '--tls', 'local'],
    ...['--jwt', join(folder, 'jwt.toml'), '--log-level', 'trace', '--log-file', join(folder, 'skein.log')],
    ...['--otlp', collector.url],
  ]
  up = await SkeinProcess.start({ args, dataDir: join(folder, 'data'), readyMs: 110_000 })
  trustFiles([join(folder, 'data', 'trust-ca.crt')])
  const made = await fetch(`${up.http}/mesh/v1/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${OWNER}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'canary' }),
  })
  key = ((await made.json()) as { secret: string }).secret
})
afterAll(async () => {
  await up.kill()
  await provider.stop()
  await collector.stop()
  await rm(folder, { recursive: true, force: true })
})

describe('a process with TLS of its own authority', () => {
  it('is reached by the commands of its machine', async () => {
    expect(up.http).toMatch(/^https:/)
    const command = (...args: string[]) => skein([...args, '--data', join(folder, 'data')], { timeoutMs: 60_000 })
    const listed = await command('keys', 'list', '--json')
    expect(listed.code, listed.stderr).toBe(0)
    expect(JSON.parse(listed.stdout)).toMatchObject([{ name: 'canary' }])
    const status = await command('trust', 'status', '--json')
    expect(JSON.parse(status.stdout)).toMatchObject({
      names: expect.arrayContaining(['localhost', '127.0.0.1']) as string[],
    })
    const exported = await command('trust', 'export')
    expect(exported.stdout).toBe(await readFile(join(folder, 'data', 'trust-ca.crt'), 'utf8'))
    expect(exported.stderr).toContain('NODE_EXTRA_CA_CERTS')
    const again = await command('trust', 'init')
    expect(again.code).toBe(2)
  })

  it('tells no prompt, answer, key or token in any output', async () => {
    const messages = [{ role: 'user', content: `${SAID} one two` }]
    const asked = { model: 'parrot', max_tokens: 5, messages }
    const good: [string, unknown][] = [
      ['/v1/chat/completions', asked],
      ['/v1/chat/completions', { ...asked, stream: true }],
      ['/v1/completions', { model: 'parrot', prompt: SAID, max_tokens: 5 }],
      ['/v1/responses', { model: 'parrot', input: SAID, max_output_tokens: 5 }],
      ['/v1/messages', asked],
      ['/v1/messages', { ...asked, stream: true }],
      ['/api/chat', { model: 'parrot', messages }],
      ['/api/generate', { model: 'parrot', prompt: SAID }],
    ]
    const stopFollowing = await followEvents()
    for (const [path, body] of good) {
      expect(await ask(path, body), path).toBe(200)
      expect(await ask(path, body, { authorization: `Bearer ${token}` }), path).toBe(200)
      expect(await ask(path, body, { authorization: `Bearer ${OWNER}` }), path).toBe(200)
      // forged, and otherwise wrong
      expect(await ask(path, body, { authorization: `Bearer ${token.slice(0, -6)}canary` }), path).toBe(401)
      expect(await ask(path, body, { authorization: 'Bearer sk-canarywrong' }), path).toBe(401)
      expect(await ask(path, `{"model": "parrot", "${SAID}`), path).toBe(400)
      expect(await ask(path, { ...(body as object), temperature: SAID, options: SAID }), path).toBe(400)
      expect(await ask(path, { ...(body as object), prompt: 5, input: 5, messages: [SAID] }), path).toBe(400)
    }
    expect(await ask('/v1/embeddings', { model: 'parrot', input: SAID })).toBe(400)
    expect(await ask('/v1/chat/completions', { ...asked, response_format: { type: SAID } })).toBe(400)
    await askByTool()
    await askByBatch()
    await stopFollowing()
    for (const path of ['/metrics', '/mesh/v1/stats', '/mesh/v1/nodes']) await look(path)
    await look('/mesh/v1/usage?by=key,model,node,day,kind,state')
    expect(await up.stop()).toBe(0)
    // of each kind of request there was a span
    for (const route of ['/v1/chat/completions', '/v1/messages', '/api/generate', '/mcp'])
      expect(
        collector.spans.some(({ attributes }) => attributes['http.route'] === route),
        route,
      ).toBe(true)
    expect(collector.named('skein.node.attempt').length).toBeGreaterThan(20)
    told.push(...collector.bodies)

    const files = await readdir(folder)
    const logs = await Promise.all(
      files.filter((name) => name.startsWith('skein.log')).map((name) => readFile(join(folder, name), 'utf8')),
    )
    const log = logs.join('')
    // it did log all it can, and of these requests
    expect(log).toContain('"level":20')
    expect(log.split('\n').length).toBeGreaterThan(100)
    const all = [log, up.stderr, JSON.stringify(up.events.filter(({ event }) => event !== 'ready')), ...told].join('\n')
    const [, claims = '', signature = ''] = token.split('.')
    for (const canary of [SAID, 'canaryowner', 'canarysubject', 'canarywrong', key.slice(9, -4), claims, signature])
      expect(all.includes(canary), `${canary.slice(0, 20)} was told: ${around(all, canary)}`).toBe(false)
  })
})

/** What stands about it. */
function around(text: string, word: string): string {
  const at = text.indexOf(word)
  return at < 0 ? '' : text.slice(Math.max(0, at - 200), at + 100)
}
