/** Bytes from people who mean harm, and from those who have a bad day: each gets an answer or a close; the gateway lives. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { GatewayLimits } from '../../coordinator/gateway/index.ts'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { aborted, end, saysAndHangs, started, tokens, TWIN_NODE_VIEW } from '../fixtures/mesh-service-twin.ts'
import { bytesOf, chatBytes, RawClient, startGateway, type RunningGateway } from './gateway.harness.ts'

let running: RunningGateway
const start = async (limits: Partial<GatewayLimits> = {}): Promise<RunningGateway> =>
  (running = await startGateway({ limits }))
afterEach(async () => {
  // whatever was done to it, it answers the next one
  const response = await fetch(`${running.gateway.url}/health/live`)
  expect(await response.json()).toEqual({ live: true })
  await running.gateway.stop()
})

const raw = (): Promise<RawClient> => RawClient.connect(running.port)

describe('bytes that are no HTTP', () => {
  beforeEach(() => start())

  it.each([
    ['noise', Uint8Array.from({ length: 512 }, (_, i) => (i * 131) % 256)],
    ['TLS', Uint8Array.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc])],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a method that is none', 'SPEAK /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n'],
    ['a header without a name', 'GET / HTTP/1.1\r\n: x\r\n\r\n'],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n'],
    [
      'two lengths',
      'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello',
    ],
    [
      'length and chunks (smuggling)',
      'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a negative length', 'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n'],
    [
      'a chunk size that is none',
      'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
    ],
  ])('%s: 400 and closed', async (_name, bytes) => {
    const client = (await raw()).send(bytes)
    await client.closed
    expect(client.received).toMatch(/^(HTTP\/1\.1 400 |$)/)
    expect(running.twin.calls).toEqual([])
  })

  it('an empty Host is foreign', async () => {
    const client = (await raw()).send('GET /v1/models HTTP/1.1\r\nhost: \r\n\r\n')
    expect(await client.until(/"code":/)).toMatch(/^HTTP\/1\.1 403 /)
    client.socket.destroy()
  })

  it('an absolute address of another host is foreign or nothing', async () => {
    const client = (await raw()).send('GET http://evil.example/v1/models HTTP/1.1\r\nhost: evil.example\r\n\r\n')
    expect(await client.until(/"code":/)).toMatch(/^HTTP\/1\.1 40[34] /)
    client.socket.destroy()
  })

  it('CONNECT and upgrades get nowhere', async () => {
    const tunnel = (await raw()).send('CONNECT example.com:443 HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await tunnel.closed
    const upgrade = (await raw()).send(
      bytesOf('GET', '/v1/models', undefined, { connection: 'upgrade', upgrade: 'websocket' }),
    )
    expect(await upgrade.until(/"object":"list"/)).toMatch(/^HTTP\/1\.1 200 /)
    upgrade.socket.destroy()
  })
})

describe('too much', () => {
  it('headers over the limit: 431 and closed', async () => {
    await start()
    const flood = Array.from({ length: 2000 }, (_, i) => `x-${i}: ${'y'.repeat(20)}\r\n`).join('')
    const client = (await raw()).send(`GET /v1/models HTTP/1.1\r\nhost: localhost\r\n${flood}\r\n`)
    await client.closed
    expect(client.received).toMatch(/^HTTP\/1\.1 431 /)
    expect(client.received).toContain('"type":"invalid_request_error"')
    expect(running.gateway.counters.protocolErrors).toBe(1)
  })

  it.each(['content-length', 'chunked'])(
    'a body of 10 MB (%s): 413, and the connection serves the next request',
    async (how) => {
      await start()
      const body = Buffer.alloc(10 * 1024 * 1024, 0x20)
      const client = await raw()
      const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n'
      if (how === 'chunked')
        client
          .send(`${head}transfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n`)
          .send(body)
          .send('\r\n0\r\n\r\n')
      else client.send(`${head}content-length: ${body.length}\r\n\r\n`).send(body)
      expect(await client.until(/"code":"body_too_large"/)).toMatch(/^HTTP\/1\.1 413 /)
      client.send(chatBytes())
      expect(await client.until(/"content":"Hello world"/)).toContain('HTTP/1.1 200 ')
      client.socket.destroy()
    },
  )

  it('a body that announces a terabyte: 413 at once', async () => {
    await start()
    const client = (await raw()).send(
      'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1099511627776\r\n\r\n{',
    )
    await client.closed
    expect(client.received).toMatch(/^HTTP\/1\.1 413 /)
  })

  it('connections over the limit: closed and counted, the others served', async () => {
    await start({ connectionsMax: 3 })
    const held = [await raw(), await raw(), await raw()]
    const over = await raw()
    await over.closed
    expect(over.received).toBe('')
    expect(running.gateway.counters.connectionsRefused).toBe(1)
    held[0]!.send(bytesOf('GET', '/health/live'))
    expect(await held[0]!.until(/live/)).toMatch(/^HTTP\/1\.1 200 /)
    for (const { socket } of held) socket.end()
    await Promise.all(held.map(({ closed }) => closed))
  })

  it('a wrong body of the wrong type: 415, and the connection serves on', async () => {
    await start()
    const client = await raw()
    const body = 'x'.repeat(LIMITS.httpBodyBytesMax / 4)
    client.send(`POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    expect(await client.until(/"code":"unsupported_media_type"/)).toMatch(/^HTTP\/1\.1 415 /)
    client.send(chatBytes())
    expect(await client.until(/"content":"Hello world"/)).toContain('HTTP/1.1 200 ')
    client.socket.destroy()
  })
})

describe('too slow', () => {
  it('headers that do not end: 408 and closed', async () => {
    await start({ headersMs: 200, requestMs: 200 })
    const client = (await raw()).send('GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx-slow: ')
    await client.closed
    expect(client.received).toMatch(/^HTTP\/1\.1 408 /)
    expect(client.received).toContain('"code":"request_timeout"')
  })

  it('a body that does not end: 408 and closed', async () => {
    await start({ headersMs: 200, requestMs: 300 })
    const client = (await raw()).send(
      'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"model"',
    )
    await client.closed
    expect(client.received).toMatch(/^HTTP\/1\.1 408 /)
    expect(running.twin.calls).toEqual([])
  })
})

describe('clients that leave or do not read', () => {
  /** Says more than the sockets' own buffers hold, for as long as someone wants it. */
  async function* endless({ signal }: { signal: AbortSignal }) {
    yield started()
    const text = 'x'.repeat(16 * 1024)
    for (let index = 0; !signal.aborted; index++) {
      yield tokens(index, text)
      // lets sockets work, as an engine would
      await new Promise((resolve) => setImmediate(resolve))
    }
    throw await aborted(signal)
  }

  it('one that does not read is cut when too much waits, and its task cancelled', async () => {
    await start({ clientBacklogBytesMax: 256 * 1024 })
    running.twin.script = endless
    const client = await raw()
    client.send(chatBytes({ stream: true }))
    await client.until(/"content":"x/)
    client.socket.pause()
    const { signal, ended } = await running.twin.called()
    expect(await aborted(signal)).toMatchObject({ code: 'CLIENT_STALLED' })
    await ended
    expect(running.gateway.counters.clientsStalled).toBe(1)
    client.socket.resume()
    await client.closed
    expect(client.received).not.toContain('[DONE]')
    expect(running.gateway.running).toBe(0)
  })

  it('one that does not read is cut after a time, however little waits', async () => {
    await start({ clientStallMs: 300, clientBacklogBytesMax: Number.MAX_SAFE_INTEGER })
    // stops as soon as the sockets take no more, so that the backlog never grows
    running.twin.script = async function* ({ signal }) {
      yield started()
      for (let index = 0; index < 4096 && !signal.aborted; index++) yield tokens(index, 'x'.repeat(8 * 1024))
      throw await aborted(signal)
    }
    const client = await raw()
    client.socket.pause()
    client.send(chatBytes({ stream: true }))
    const { signal } = await running.twin.called()
    expect(await aborted(signal)).toMatchObject({ code: 'CLIENT_STALLED' })
    client.socket.resume()
    await client.closed
  })

  it('one that pauses for a while gets all of it, merged into fewer chunks', async () => {
    await start()
    const count = 60_000
    const isSaid = Promise.withResolvers<void>()
    running.twin.script = async function* () {
      yield started()
      for (let index = 0; index < count; index++) yield tokens(index, `${index} `)
      isSaid.resolve()
      yield end()
    }
    const client = await raw()
    client.socket.pause()
    client.send(chatBytes({ stream: true }))
    await isSaid.promise
    client.socket.resume()
    const all = await client.until(/\[DONE\]/)
    const texts = [...all.matchAll(/"delta":\{"content":"([^"]*)"\}/g)].map((match) => match[1])
    expect(texts.join('')).toBe(Array.from({ length: count }, (_, i) => `${i} `).join(''))
    expect(texts.length).toBeLessThan(count)
    client.socket.destroy()
  })

  it('one that does not read an answer which is no stream is cut as well', async () => {
    await start({ clientStallMs: 300 })
    // more than the sockets' own buffers hold
    running.twin.nodeViews = Array.from({ length: 100_000 }, () => TWIN_NODE_VIEW)
    const client = await raw()
    client.socket.pause()
    client.send(bytesOf('GET', '/mesh/v1/nodes'))
    await expect.poll(() => running.gateway.counters.clientsStalled, { timeout: 10_000 }).toBe(1)
    client.socket.resume()
    await client.closed
  })

  it('one that sends garbage after its request loses its stream, and finds no other answer in it', async () => {
    await start()
    running.twin.script = saysAndHangs('a')
    const client = (await raw()).send(chatBytes({ stream: true }))
    await client.until(/"content":"a"/)
    client.send('\0\0 garbage \r\n\r\n')
    await client.closed
    expect(client.received.match(/HTTP\/1\.1/g)).toHaveLength(1)
    expect(client.received).not.toContain('[DONE]')
    expect(running.twin.calls[0]!.signal.aborted).toBe(true)
  })

  it.each(['streamed', 'whole'])('one that resets its connection cancels its %s answer', async (how) => {
    await start()
    running.twin.script = saysAndHangs('a')
    const client = (await raw()).send(chatBytes({ stream: how === 'streamed' }))
    const { signal, ended } = await running.twin.called()
    client.socket.resetAndDestroy()
    expect(await aborted(signal)).toMatchObject({ code: 'CLIENT_CLOSED' })
    await ended
  })
})

describe('pipelining', () => {
  it('answers in order, one task at a time', async () => {
    await start()
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    running.twin.script = async function* () {
      const turn = running.twin.calls.length
      yield started()
      await gates[turn - 1]?.promise
      yield end(`answer ${turn}`)
    }
    const client = (await raw()).send(chatBytes() + chatBytes({ stream: true }) + bytesOf('GET', '/health/live'))
    await running.twin.called(1)
    gates[1]!.resolve()
    expect(running.twin.calls).toHaveLength(1)
    gates[0]!.resolve()
    const all = await client.until(/"live":true/)
    expect(all.indexOf('answer 1')).toBeLessThan(all.indexOf('answer 2'))
    expect(all.indexOf('[DONE]')).toBeLessThan(all.indexOf('"live":true'))
    client.socket.destroy()
  })

  it('forgets what waits when the connection ends', async () => {
    await start()
    running.twin.script = saysAndHangs('a')
    const client = (await raw()).send(chatBytes().repeat(20))
    const { ended } = await running.twin.called(1)
    client.socket.destroy()
    await ended
    await running.gateway.drain()
    expect(running.twin.calls).toHaveLength(1)
    expect(running.gateway.running).toBe(0)
  })
})
