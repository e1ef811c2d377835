/** Another mesh as a server: known and left alone, unless its owner has named it as an endpoint; then hops are counted. */
import type { ServerResponse } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { HOPS_HEADER, SKEIN_HEADER, UPSTREAM_HEADER, VIA_HEADER } from '../../../mesh/protocol/index.ts'
import { SeededRandom, SystemClock } from '../../../mesh/runtime/index.ts'
import { Endpoint, probeServer, UpstreamClient } from '../../../node/engines/index.ts'
import { FakeServer, streamOf } from '../../fixtures/upstream/fake-server.ts'

const clock = new SystemClock()
const never = new AbortController().signal
const LIST = { object: 'list', data: [{ id: 'goose', object: 'model', owned_by: 'skein', context_length: 2048 }] }
let server: FakeServer

const endpoint = (): Endpoint => new Endpoint({ clock, random: new SeededRandom(1) }, { keys: [] })
const client = (how: { endpoint?: Endpoint } = {}): UpstreamClient =>
  new UpstreamClient(clock, { url: server.url, ...how })
const ask = async (from: UpstreamClient, hops?: number, via?: readonly string[]): Promise<unknown[]> => {
  const sent = { path: '/v1/completions', body: {}, framing: 'sse', hops, via } as const
  const events: unknown[] = []
  for await (const event of from.stream(sent, never)) events.push(event)
  return events
}

beforeAll(async () => {
  server = await FakeServer.start({})
})
afterEach(() => {
  server.answers = {}
  server.asked.length = 0
})
afterAll(() => server.stop())

describe('another mesh', () => {
  const isSkein = (response: ServerResponse): void => {
    response.setHeader(SKEIN_HEADER, '2')
    response.end(JSON.stringify(LIST))
  }

  it('is no server to be found, and one when it was named as an endpoint', async () => {
    server.answers = { '/v1/models': isSkein }
    expect(await probeServer(client(), 5000)).toBeUndefined()
    expect(server.asked[0]!.headers).toHaveProperty(UPSTREAM_HEADER, '1')
    expect(server.asked[0]!.headers).not.toHaveProperty(HOPS_HEADER)
    const found = await probeServer(client({ endpoint: endpoint() }), 5000)
    expect(found).toMatchObject({ kind: 'openai', models: [{ name: 'goose', contextTokens: 2048 }] })
    expect(server.asked[1]!.headers).toHaveProperty(HOPS_HEADER, '1')
    expect(server.asked[1]!.headers).not.toHaveProperty(UPSTREAM_HEADER)
  })

  it('hears how many meshes a request has left', async () => {
    server.answers = { '/v1/completions': streamOf(['data: [DONE]\n\n']) }
    const from = client({ endpoint: endpoint() })
    await ask(from)
    await ask(from, 2)
    // a server that is none of our own owner's endpoints is told nothing of it
    await ask(client(), 2)
    expect(server.asked.map(({ headers }) => headers[HOPS_HEADER])).toEqual(['1', '3', undefined])
  })

  it('hears which meshes those were, by their marks', async () => {
    server.answers = { '/v1/completions': streamOf(['data: [DONE]\n\n']) }
    const marks = ['Qm9kZW5zZWVmZWxj', 'R2Fuc2ZlZGVya2ll']
    await ask(client({ endpoint: endpoint() }), 1, marks)
    await ask(client(), 1, marks)
    expect(server.asked.map(({ headers }) => headers[VIA_HEADER])).toEqual([marks.join(', '), undefined])
  })

  it('refuses what goes in a circle, which is nobody else’s to do either', async () => {
    server.answers = {
      '/v1/completions': (response) => {
        response.writeHead(508, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ error: { message: 'left 4 meshes', code: 'HOPS_EXCEEDED' } }))
      },
    }
    await expect(ask(client({ endpoint: endpoint() }), 3)).rejects.toMatchObject({ code: 'HOPS_EXCEEDED' })
    expect(server.asked).toHaveLength(1)
  })
})
