/** The page of a node, before a real gateway: what it serves itself, and what it passes on, to whom, and for whom. */
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NodePage, type NodePageInit } from '../../clients/cli/node-page.ts'
import { gatewayChoice, gatewayOrigins } from '../../clients/cli/origins.ts'
import type { ServeOptions } from '../../clients/cli/serve-options.ts'
import { Page } from '../../mesh/page/index.ts'
import type { NodeAgent } from '../../node/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { bytesOf, CHAT, RawClient, startGateway } from './gateway.harness.ts'

const LOCAL = { host: '127.0.0.1', port: 0 }
const BROWSER = { accept: 'text/html' }

describe('the page of a node', () => {
  const closing: (() => Promise<unknown>)[] = []
  let folder: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skein-page-'))
    await mkdir(join(folder, 'assets'))
    await writeFile(join(folder, 'index.html'), '<!doctype html><title>a node</title>')
  })
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
    await rm(folder, { recursive: true })
  })

  const start = async (gateway?: string, init: Partial<NodePageInit> = { at: LOCAL }): Promise<NodePage> => {
    const url = gateway === undefined ? undefined : new URL(gateway)
    const page = new NodePage(
      { clock: new SystemClock(), log: silentLogger, page: new Page(folder) },
      { usual: LOCAL, gateway: gatewayChoice(url, undefined), ...init },
    )
    await page.start()
    closing.push(() => page.stop())
    return page
  }
  /** A gateway that answers as `handle` does. */
  const played = async (handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> => {
    const server: Server = createServer(handle)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closing.push(() => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    })
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const code = async (response: Response): Promise<[number, string]> => [
    response.status,
    ((await response.json()) as { error: { code: string } }).error.code,
  ]

  it('is there without any coordinator, and says what it lacks to who asks the mesh', async () => {
    const { url } = await start()
    const page = await fetch(`${url}/chat/one`, { headers: BROWSER })
    expect(await page.text()).toContain('a node')
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
    const refused = await fetch(`${url}/v1/models`)
    expect(refused.headers.get('retry-after')).toBe('5')
    expect(await code(refused)).toEqual([503, 'coordinator_unreachable'])
    expect(await code(await fetch(`${url}/v1x`))).toEqual([404, 'not_found'])
    expect(await code(await fetch(`${url}/metrics`))).toEqual([404, 'not_found'])
  })

  it('passes the API on, with the key that it was shown', async () => {
    const { gateway } = await startGateway({ apiKey: 'the-key' })
    closing.push(() => gateway.stop())
    const { url } = await start(gateway.url)
    expect((await fetch(`${url}/v1/models`)).status).toBe(401)
    const headers = { authorization: 'Bearer the-key', 'content-type': 'application/json', origin: url }
    const models = await fetch(`${url}/v1/models`, { headers })
    expect(models.status).toBe(200)
    expect(models.headers.get('x-request-id')).toMatch(/^req_/)
    const answer = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body: JSON.stringify(CHAT) })
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ object: 'chat.completion' })
  })

  it('gives each part of a stream as it comes, and ends it with who reads it', async () => {
    const parts: ServerResponse[] = []
    const left = Promise.withResolvers<void>()
    const upstream = await played((_request, response) => {
      response.once('close', () => left.resolve())
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: one\n\n')
      parts.push(response)
    })
    const { url } = await start(upstream)
    const gone = new AbortController()
    const response = await fetch(`${url}/mesh/v1/events`, { signal: gone.signal })
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader.read()).value).toBe('data: one\n\n')
    parts[0]!.write('data: two\n\n')
    expect((await reader.read()).value).toBe('data: two\n\n')
    gone.abort()
    await left.promise
  })

  it('ends an answer whose gateway is gone in the middle, so that it is not taken for whole', async () => {
    const upstream = await played((_request, response) => {
      response.writeHead(200).write('half of')
      response.socket!.end()
    })
    const { url } = await start(upstream)
    const response = await fetch(`${url}/v1/models`)
    await expect(response.text()).rejects.toThrow()
  })

  it('holds what is sent back to what is read', async () => {
    let sent = 0
    const upstream = await played((request, response) => {
      response.writeHead(200)
      const more = (): void => {
        while (!response.destroyed && sent < 256 * 1024 * 1024) {
          sent += 65_536
          if (!response.write(Buffer.alloc(65_536))) return void response.once('drain', more)
        }
      }
      more()
      request.resume()
    })
    const { url } = await start(upstream)
    const client = await RawClient.connect(Number(new URL(url).port))
    client.socket.pause()
    client.send(bytesOf('GET', '/v1/models'))
    // once nothing moves any more, all buffers between are full: the rest waits at its source
    let before = -1
    while (before !== sent || sent === 0) {
      before = sent
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    expect(sent).toBeLessThan(64 * 1024 * 1024)
    client.socket.destroy()
    await client.closed
  })

  it('tells the gateway nothing of the site, and keeps what belongs to one connection', async () => {
    const seen: IncomingMessage[] = []
    const upstream = await played((request, response) => {
      seen.push(request)
      response.writeHead(200, { 'x-of-hop': '1', connection: 'x-of-hop', 'x-other': '2' }).end('{}')
    })
    const { url } = await start(upstream)
    const { host } = new URL(url)
    const client = await RawClient.connect(Number(new URL(url).port))
    const headers = {
      host,
      origin: url,
      cookie: 'a=b',
      connection: 'close, x-secret-hop',
      'x-secret-hop': '1',
      'x-kept': '1',
    }
    client.send(bytesOf('POST', '/v1/x?q=%2F..%2F', {}, headers))
    await client.closed
    expect(seen[0]!.url).toBe('/v1/x?q=%2F..%2F')
    expect(seen[0]!.headers).toMatchObject({ host: new URL(upstream).host, 'x-kept': '1' })
    for (const name of ['origin', 'cookie', 'x-secret-hop']) expect(seen[0]!.headers).not.toHaveProperty(name)
    expect(client.received).toContain('x-other: 2')
    expect(client.received).not.toContain('x-of-hop')
  })

  it('is not for pages of other sites, nor for other names of this machine', async () => {
    let asked = 0
    const upstream = await played((_request, response) => void response.end(String(++asked)))
    const { url } = await start(upstream)
    const foreign = { origin: 'https://attacker.example', 'content-type': 'application/json' }
    expect(await code(await fetch(`${url}/v1/x`, { method: 'POST', headers: foreign, body: '{}' }))).toEqual([
      403,
      'forbidden',
    ])
    for (const path of ['/v1/models', '/']) {
      const client = await RawClient.connect(Number(new URL(url).port))
      client.send(bytesOf('GET', path, undefined, { host: 'attacker.example', connection: 'close', ...BROWSER }))
      await client.closed
      expect(client.received).toMatch(/^HTTP\/1\.1 403 /)
    }
    expect(asked).toBe(0)
  })

  it('asks what its coordinators say, the next one where one does not answer', async () => {
    const upstream = await played((_request, response) => void response.end('{}'))
    const told = ['http://127.0.0.1:9', 'no address', 'ftp://127.0.0.1', `${upstream}/elsewhere`, upstream]
    const welcomed = { peerId: 'a', state: 'welcomed', http: told }
    const away = { peerId: 'b', state: 'connecting', http: ['http://127.0.0.1:8'] }
    const agent = { status: () => ({ coordinators: [away, welcomed] }) } as unknown as NodeAgent
    const { url } = await start(undefined, { at: LOCAL, gateway: gatewayChoice(undefined, agent) })
    expect(await code(await fetch(`${url}/v1/models`))).toEqual([503, 'coordinator_unreachable'])
    expect((await fetch(`${url}/v1/models`)).status).toBe(200)
    expect((await fetch(`${url}/v1/models`)).status).toBe(200)
  })

  it.each([
    [{ host: '127.0.0.1', port: 7337 }, {}, undefined, []],
    [{ host: 'localhost', port: 7337 }, {}, undefined, []],
    [{ host: '192.0.2.7', port: 7337 }, {}, undefined, ['http://192.0.2.7:7337']],
    [{ host: '2001:db8::7', port: 7337 }, { tls: 'local' }, undefined, ['https://[2001:db8::7]:7337']],
    [{ host: '192.0.2.7', port: 0 }, {}, undefined, []],
    [{ host: '192.0.2.7', port: 0 }, {}, 'http://192.0.2.7:4711', ['http://192.0.2.7:4711']],
  ] as const)('is told of a gateway at %j with %j, which listens at %s: %j', (http, more, url, origins) => {
    expect(gatewayOrigins({ http, ...more } as ServeOptions, () => url)).toEqual(origins)
  })

  it('asks nobody in a circle', async () => {
    const first = await start(undefined, { at: LOCAL })
    const second = await start(first.url)
    const closed = await start(second.url)
    expect(await code(await fetch(`${second.url}/v1/models`))).toEqual([503, 'coordinator_unreachable'])
    expect(await code(await fetch(`${closed.url}/v1/models`))).toEqual([508, 'hops_exceeded'])
  })

  it('says that the coordinator does not answer, and goes on when it does again', async () => {
    const { gateway, port } = await startGateway()
    const { url } = await start(gateway.url)
    await gateway.stop()
    const refused = await fetch(`${url}/v1/models`)
    expect(refused.headers.get('retry-after')).toBe('2')
    expect(await code(refused)).toEqual([503, 'coordinator_unreachable'])
    const again = await startGateway({ port })
    closing.push(() => again.gateway.stop())
    expect((await fetch(`${url}/v1/models`)).status).toBe(200)
  })

  it('takes the next port when the usual one is taken, and none but the one that was named', async () => {
    const taken = createServer()
    taken.listen(0, '127.0.0.1')
    await once(taken, 'listening')
    closing.push(() => new Promise((resolve) => taken.close(resolve)))
    const usual = { host: '127.0.0.1', port: (taken.address() as AddressInfo).port }
    const page = await start(undefined, { usual })
    const { port } = new URL(page.url)
    expect(Number(port) - usual.port).toBeGreaterThan(0)
    expect(Number(port) - usual.port).toBeLessThan(10)
    await expect(start(undefined, { at: usual })).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: expect.stringContaining('--page') as string,
    })
  })
})
