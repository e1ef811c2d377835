import { afterEach, describe, expect, it } from 'vitest'
import { CHAT, createHarness, type Harness, type HarnessInit } from './harness.ts'

let h: Harness
afterEach(() => h.gateway.stop())
const open = (init: HarnessInit = {}): Harness => (h = createHarness(init))
const chat = (headers: Record<string, string>) => h.post('/v1/chat/completions', CHAT, headers)

describe('on loopback', () => {
  it.each(['localhost', 'LocalHost:7337', '127.0.0.1', '127.9.8.7:80', '[::1]:7337', '[::1]'])(
    'Host %s is ours',
    async (host) => {
      open()
      expect((await h.get('/v1/models', { host })).statusCode).toBe(200)
    },
  )

  it.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '192.168.1.5:7337',
    'localhost:80:80',
    'a@localhost',
    '[fe80::1]',
  ])('Host %j is another (DNS rebinding)', async (host) => {
    open()
    for (const url of ['/v1/models', '/health/live', '/nothing']) {
      const answer = await h.get(url, { host })
      expect(answer.statusCode).toBe(403)
      expect(answer.json().error).toMatchObject({ code: 'forbidden', type: 'permission_error' })
    }
  })

  it.each([
    'https://evil.example',
    'null',
    'http://localhost:3000',
    'https://localhost:7337',
    'http://localhost:7337.evil.example',
  ])('Origin %s may not change anything', async (origin) => {
    open()
    expect((await chat({ host: 'localhost:7337', origin })).statusCode).toBe(403)
    expect(h.twin.calls).toEqual([])
    const read = await h.get('/v1/models', { host: 'localhost:7337', origin })
    expect(read.statusCode).toBe(200)
    expect(Object.keys(read.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  })

  it('its own Origin may', async () => {
    open()
    expect((await chat({ host: 'localhost:7337', origin: 'http://localhost:7337' })).statusCode).toBe(200)
  })
})

describe('with a key', () => {
  const KEY = 'sk-correct-horse'

  it.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    `Basic ${KEY}`,
    KEY,
    'Bearer sk-wrong',
    `Bearer ${KEY}x`,
    `Bearer ${KEY} x`,
  ])('Authorization %j is refused everywhere but at /health', async (authorization) => {
    open({ apiKey: KEY })
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization }
    // who has shown a key is told that it is the wrong one
    const challenge = /^Bearer \S+$/.test(authorization ?? '') ? 'Bearer error="invalid_token"' : 'Bearer'
    for (const url of ['/v1/models', '/mesh/v1/nodes', '/nothing', '/v1/chat/completions', '/%68ealth/../v1/models']) {
      const answer = await h.get(url, headers)
      expect(answer.statusCode).toBe(401)
      expect(answer.headers['www-authenticate']).toBe(challenge)
      expect(answer.json().error).toMatchObject({ code: 'unauthenticated', type: 'authentication_error' })
    }
    expect((await h.get('/health/live', headers)).statusCode).toBe(200)
    expect((await h.get('/health/ready', headers)).statusCode).toBe(200)
  })

  it.each([`Bearer ${KEY}`, `bearer  ${KEY}`])('%j is let in', async (authorization) => {
    open({ apiKey: KEY })
    expect((await chat({ authorization })).statusCode).toBe(200)
  })

  it('beyond loopback any Host and Origin will do, for proxies', async () => {
    open({ apiKey: KEY, host: '0.0.0.0' })
    const headers = { authorization: `Bearer ${KEY}`, host: 'ai.example', origin: 'https://ai.example' }
    expect((await chat(headers)).statusCode).toBe(200)
  })
})

describe('starting', () => {
  it.each(['0.0.0.0', '::', '192.168.1.5', 'example.com'])(
    'on %s without a key is refused with the next step',
    async (host) => {
      open({ host })
      await expect(h.gateway.start()).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('key'),
      })
    },
  )
})
