/** `/metrics` and the events on real sockets: who may read them, what they hold, and who is cut. */
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createMetrics } from '../../coordinator/metrics/index.ts'
import { SystemClock } from '../../mesh/runtime/index.ts'
import { lifeOf, MESH_EVENTS, SECRET_PROMPT, taskOf } from '../fixtures/mesh-events.ts'
import { parse } from '../unit/metrics/harness.ts'
import { bytesOf, CHAT, RawClient, startGateway, type RunningGateway } from './gateway.harness.ts'

const OWNER = 'sk-owner'
let running: RunningGateway
const secrets: Record<string, { id: string; secret: string }> = {}
beforeAll(async () => {
  running = await startGateway({
    apiKey: OWNER,
    limits: { clientStallMs: 50 },
    metrics: (facts, service) => createMetrics({ clock: new SystemClock(), service }, facts),
  })
  for (const [name, routes] of [
    ['ada', ['inference']],
    ['bob', ['inference', 'mesh']],
    ['eve', ['admin']],
  ] as const) {
    const answer = await ask('POST', '/mesh/v1/keys', OWNER, { name, routes })
    secrets[name] = (await answer.json()) as { id: string; secret: string }
  }
})
afterAll(() => running.gateway.stop())

const ask = (method: string, path: string, secret: string, body?: unknown, more: object = {}): Promise<Response> =>
  fetch(running.gateway.url + path, {
    method,
    headers: {
      authorization: `Bearer ${secret}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...more,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })

/** A client of the events, and what it has heard. */
class Listener {
  readonly heard: EventSourceMessage[] = []
  readonly over: Promise<void>
  readonly #left: AbortController
  #wake: () => void = () => {}

  private constructor(response: Response, left: AbortController) {
    this.#left = left
    this.over = this.#read(response)
  }

  static async open(secret: string, query = '', more: object = {}): Promise<Listener> {
    const left = new AbortController()
    const response = await fetch(`${running.gateway.url}/mesh/v1/events${query}`, {
      headers: { authorization: `Bearer ${secret}`, ...more },
      signal: left.signal,
    })
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    return new Listener(response, left)
  }

  async #read(response: Response): Promise<void> {
    const parser = createParser({ onEvent: (event) => (this.heard.push(event), this.#wake()) })
    const decoder = new TextDecoder()
    try {
      for await (const chunk of response.body!) parser.feed(decoder.decode(chunk as Uint8Array, { stream: true }))
    } catch {
      // it left
    }
  }

  /** The types of the first `count` events. */
  async types(count: number): Promise<(string | undefined)[]> {
    while (this.heard.length < count) await new Promise<void>((resolve) => (this.#wake = resolve))
    return this.heard.map(({ event }) => event)
  }

  leave(): void {
    this.#left.abort()
  }
}

describe('/metrics', () => {
  it('is for keys that may look at the mesh', async () => {
    expect((await ask('GET', '/metrics', secrets['ada']!.secret)).status).toBe(403)
    expect((await fetch(`${running.gateway.url}/metrics`)).status).toBe(401)
    for (const name of ['bob', 'eve']) expect((await ask('GET', '/metrics', secrets[name]!.secret)).status).toBe(200)
    expect((await ask('HEAD', '/metrics', OWNER)).status).toBe(200)
  })

  it('has what the gateway has answered, by route, and what it refused', async () => {
    await ask('POST', '/v1/chat/completions', secrets['ada']!.secret, CHAT)
    await ask('GET', `/v1/models/${'x'.repeat(30)}`, OWNER)
    await ask('GET', '/no/such/place', OWNER)
    const answer = await ask('GET', '/metrics', OWNER)
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const families = parse(await answer.text())
    const count = (name: string, labels: Record<string, string>): number | undefined =>
      families
        .get(name)!
        .samples.find((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
        ?.value
    const requests = 'skein_http_requests_total'
    expect(count(requests, { method: 'POST', route: '/v1/chat/completions', status: '2xx' })).toBe(1)
    expect(count(requests, { route: '/v1/models/*', status: '4xx' })).toBe(1)
    expect(count(requests, { route: 'none', status: '4xx' })).toBe(1)
    expect(count(requests, { route: '/metrics', status: '4xx' })).toBe(2)
    expect(count('skein_refused_requests_total', { code: 'NOT_FOUND' })).toBe(1)
    expect(count('skein_refused_requests_total', { code: 'FORBIDDEN' })).toBe(1)
    expect(count('skein_process_memory_bytes', { kind: 'resident' })).toBeGreaterThan(1e6)
  })
})

describe('/mesh/v1/events', () => {
  it('shows a key its own tasks, one that may read the mesh its nodes and replicas, and an admin everything', async () => {
    const { ada, bob, eve } = secrets
    const watching = { name: 'watching', routes: ['mesh'] }
    const { secret } = (await (await ask('POST', '/mesh/v1/keys', OWNER, watching)).json()) as { secret: string }
    const [own, other, admin, watcher] = [
      await Listener.open(ada!.secret),
      await Listener.open(bob!.secret),
      await Listener.open(eve!.secret),
      await Listener.open(secret),
    ]
    const tasks = lifeOf(taskOf({ tenant: ada!.id }))
    for (const event of [...tasks, ...MESH_EVENTS, ...lifeOf(taskOf({ tenant: bob!.id })).slice(0, 1)])
      running.twin.tell(event)
    const mine = ['task.queued', 'task.started', 'task.moved', 'task.ended']
    const money = ['budget.spent', 'budget.exhausted', 'budget.set']
    const mesh = ['node.joined', 'node.lost', 'replica.sent', ...money]
    expect(await admin.types(11)).toEqual([...mine, ...mesh, 'task.queued'])
    expect(await other.types(4)).toEqual(['node.joined', 'node.lost', 'replica.sent', 'task.queued'])
    expect(await watcher.types(3)).toEqual(['node.joined', 'node.lost', 'replica.sent'])
    expect((await ask('GET', '/mesh/v1/tasks', secret)).status).toBe(403)
    expect(await own.types(4)).toEqual(mine)
    expect(JSON.stringify(admin.heard)).not.toContain(SECRET_PROMPT)
    for (const listener of [own, other, admin, watcher]) listener.leave()
    expect(watcher.heard).toHaveLength(3)
    expect((await ask('DELETE', '/mesh/v1/keys/watching', OWNER)).status).toBe(200)
  })

  it('goes on behind the last event, with those that are wanted', async () => {
    const first = await Listener.open(OWNER, '?types=node.joined')
    running.twin.tell(MESH_EVENTS[0]!)
    await first.types(1)
    first.leave()
    for (const event of MESH_EVENTS) running.twin.tell(event)
    const second = await Listener.open(OWNER, '?types=node,key', { 'last-event-id': first.heard[0]!.id })
    expect(await second.types(2)).toEqual(['node.joined', 'node.lost'])
    const made = await ask('POST', '/mesh/v1/keys', OWNER, { name: 'temp' })
    expect(made.status).toBe(201)
    expect((await second.types(3)).at(-1)).toBe('key.made')
    expect(JSON.stringify(second.heard)).not.toMatch(/secret|digest|sk-skein/)
    second.leave()
  })

  it('ends when the key is revoked', async () => {
    const { secret } = (await (await ask('POST', '/mesh/v1/keys', OWNER, { name: 'brief' })).json()) as {
      secret: string
    }
    const listener = await Listener.open(secret)
    expect((await ask('DELETE', '/mesh/v1/keys/brief', OWNER)).status).toBe(200)
    await listener.over
    expect(listener.heard).toEqual([])
  })

  it.each(['?types=', '?types=task,nothing', '?types=task.', '?type=task', `?types=${'task,'.repeat(300)}task`])(
    'refuses %s',
    async (query) => {
      const answer = await ask('GET', `/mesh/v1/events${query}`, OWNER)
      expect(answer.status).toBe(400)
      expect(await answer.json()).toMatchObject({ error: { code: 'invalid_request' } })
    },
  )

  it('answers HEAD at once', async () => {
    const answer = await ask('HEAD', '/mesh/v1/events', OWNER)
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8'])
  })

  it('cuts a client that does not read, and counts it', async () => {
    const client = await RawClient.connect(running.port)
    client.send(bytesOf('GET', '/mesh/v1/events', undefined, { authorization: `Bearer ${OWNER}` }))
    await client.until(/watching/)
    client.socket.pause()
    const long = taskOf({ model: 'm'.repeat(30_000) })
    // more than the socket's buffers take
    for (let n = 0; n < 2000 && running.gateway.counters.eventClientsCut === 0; n++) {
      running.twin.tell({ type: 'task.queued', task: long })
      await new Promise((resolve) => setImmediate(resolve))
    }
    while (running.gateway.counters.eventClientsCut === 0) await new Promise((resolve) => setImmediate(resolve))
    expect(running.gateway.counters.eventClientsCut).toBe(1)
    client.socket.resume()
    await client.closed
  })
})
