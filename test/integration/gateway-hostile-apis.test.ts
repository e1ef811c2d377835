/** Clients that mean harm, in every API alike: those that do not read, those that never ask, and those that ask slowly. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { aborted, end, started, tokens, type TwinCall } from '../fixtures/mesh-service-twin.ts'
import { bytesOf, CHAT, RawClient, startGateway, type RunningGateway } from './gateway.harness.ts'

let running: RunningGateway
beforeAll(async () => {
  const limits = { clientBacklogBytesMax: 256 * 1024, clientStallMs: 300, headersMs: 200, requestMs: 300 }
  running = await startGateway({ limits })
})
afterEach(async () => {
  expect(await (await fetch(`${running.gateway.url}/health/live`)).json()).toEqual({ live: true })
  expect(running.gateway.running).toBe(0)
  running.twin.calls.length = 0
})
afterAll(() => running.gateway.stop())

const raw = (): Promise<RawClient> => RawClient.connect(running.port)

/** Says more than the sockets' own buffers hold, for as long as someone wants it. */
async function* endless({ signal }: TwinCall) {
  yield started()
  for (let index = 0; !signal.aborted; index++) {
    yield tokens(index, 'x'.repeat(16 * 1024))
    // lets sockets work, as an engine would
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw await aborted(signal)
}

const STREAMS: readonly [path: string, body: object][] = [
  ['/v1/chat/completions', { ...CHAT, stream: true }],
  ['/v1/completions', { model: 'tiny', prompt: 'hi', stream: true }],
  ['/v1/responses', { model: 'tiny', input: 'hi', stream: true, store: false }],
  ['/v1/messages', { ...CHAT, max_tokens: 100_000, stream: true }],
  ['/api/chat', CHAT],
  ['/api/generate', { model: 'tiny', prompt: 'hi' }],
]

describe('a client that does not read', () => {
  it.each(STREAMS)('%s: is cut and counted, and its task is cancelled', async (path, body) => {
    const before = running.gateway.counters.clientsStalled
    running.twin.script = endless
    const client = await raw()
    client.send(bytesOf('POST', path, body))
    await client.until(/x{100}/)
    client.socket.pause()
    const { signal, ended } = await running.twin.called()
    expect(await aborted(signal)).toMatchObject({ code: 'CLIENT_STALLED' })
    await ended
    expect(running.gateway.counters.clientsStalled).toBe(before + 1)
    client.socket.resume()
    await client.closed
    expect(client.received).not.toMatch(/\[DONE\]|"done":true|message_stop|response\.completed/)
  })

  it('is cut by the tools of MCP as well', async () => {
    const before = running.gateway.counters.clientsStalled
    running.twin.script = async function* () {
      yield started()
      for (let index = 0; index < 512; index++) yield tokens(index, 'x'.repeat(16 * 1024))
      yield end()
    }
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientCapabilities': {},
    }
    const params = { name: 'ask_model', arguments: { prompt: 'hi' }, _meta }
    const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params }
    const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'ask_model' }
    const client = await raw()
    client.socket.pause()
    client.send(bytesOf('POST', '/mcp', message, headers))
    await expect.poll(() => running.gateway.counters.clientsStalled, { timeout: 20_000 }).toBe(before + 1)
    client.socket.resume()
    await client.closed
  })
})

describe('a client that leaves', () => {
  it.each(STREAMS)('%s: takes its task with it', async (path, body) => {
    running.twin.script = endless
    const client = await raw()
    client.send(bytesOf('POST', path, body))
    await client.until(/x{100}/)
    client.socket.resetAndDestroy()
    const { signal, ended } = await running.twin.called()
    expect(await aborted(signal)).toMatchObject({ code: expect.stringMatching(/^CLIENT_(CLOSED|STALLED)$/) as string })
    await ended
  })
})

describe('a body that does not end', () => {
  const PATHS = [...STREAMS.map(([path]) => path), '/v1/embeddings', '/mesh/v1/infer', '/mesh/v1/keys', '/mcp']
  const HEAD = 'HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"model"'

  it('is not waited for, whoever it is for', async () => {
    const clients = await Promise.all(PATHS.map(async (path) => (await raw()).send(`POST ${path} ${HEAD}`)))
    await Promise.all(clients.map(({ closed }) => closed))
    for (const [index, { received }] of clients.entries()) expect(received, PATHS[index]).toMatch(/^HTTP\/1\.1 408 /)
    expect(running.twin.calls).toEqual([])
  })
})

describe('connections', () => {
  it('of hundreds that ask nothing keep nobody from being served, and are closed', async () => {
    const idle = await Promise.all(Array.from({ length: 300 }, raw))
    const response = await fetch(`${running.gateway.url}/v1/models`)
    expect(response.status).toBe(200)
    await response.body?.cancel()
    await Promise.all(idle.map(({ closed }) => closed))
    expect(idle.every(({ received }) => /^(HTTP\/1\.1 408 |$)/.test(received))).toBe(true)
  })
})
