/** TLS of the gateway: a local authority and given files, through real clients on real sockets. */
import OpenAI from 'openai'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, rootCertificates, type TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { trustFiles } from '../../clients/cli/trusted.ts'
import { createGateway } from '../../coordinator/gateway/index.ts'
import { makeAuthority, makeLeaf, type KeyedCertificate } from '../../mesh/certificates/certificate.ts'
import { permittedWith } from '../../mesh/certificates/constraints.ts'
import { createAuthority, FileTlsSource, LocalTlsSource, type Authority } from '../../coordinator/trust/index.ts'
import { createLogger, ManualClock, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { accessOf } from '../fixtures/access.ts'
import { MeshServiceTwin, says } from '../fixtures/mesh-service-twin.ts'
import { CHAT, chatBytes, RawClient, startGateway, type RunningGateway } from './gateway.harness.ts'

const DAY_MS = 86_400_000
const clock = new SystemClock()
const random = new SystemRandom()
let folder: string
let authority: Authority
let running: RunningGateway

const shows = (port: number, ca: string, servername = 'localhost'): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket: TLSSocket = connectTls({ host: '127.0.0.1', port, ca, servername }, () => {
      resolve(socket.getPeerCertificate().serialNumber)
      socket.destroy()
    })
    socket.once('error', reject)
  })

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'skein-tls-'))
  authority = await createAuthority({ clock, random }, folder, { host: 'desk', also: [] })
  const names = (): string[] => ['localhost', 'desk', 'example.org', '127.0.0.1', '::1', '192.0.2.7']
  const tls = new LocalTlsSource({ clock, random }, { dataDir: folder, names })
  running = await startGateway({ tls, ollama: { host: '127.0.0.1', port: 0 } })
  running.twin.script = says('the answer')
})
afterAll(async () => {
  await running.gateway.stop()
  rmSync(folder, { recursive: true })
})

describe('with the local authority', () => {
  it('clients that do not know it are let down by TLS itself', async () => {
    expect(running.gateway.url).toBe(`https://127.0.0.1:${running.port}`)
    await expect(fetch(`${running.gateway.url}/health/live`)).rejects.toMatchObject({ message: 'fetch failed' })
    await expect(shows(running.port, rootCertificates[0]!)).rejects.toThrow()
  })

  it('the official client has its answer, whole and streamed, once its certificate is trusted', async () => {
    trustFiles([join(folder, 'trust-ca.crt'), join(folder, 'none.crt')])
    const client = new OpenAI({ baseURL: `${running.gateway.url}/v1`, apiKey: 'any', maxRetries: 0 })
    const { data, response } = await client.chat.completions.create(CHAT).withResponse()
    expect(data.choices[0]?.message.content).toBe('the answer')
    // whoever goes back to plain HTTP, or to another certificate, must not be locked out by a browser's memory
    expect(response.headers.get('strict-transport-security')).toBeNull()
    let text = ''
    for await (const chunk of await client.chat.completions.create({ ...CHAT, stream: true }))
      text += chunk.choices[0]?.delta.content ?? ''
    expect(text).toBe('the answer')
  })

  it('curl has it with --cacert, if there is a curl', async () => {
    const run = promisify(execFile)
    if ((await run('curl', ['--version']).catch(() => undefined)) === undefined) return
    const url = `https://localhost:${running.port}/health/live`
    const { stdout } = await run('curl', ['-sS', '--cacert', join(folder, 'trust-ca.crt'), url])
    expect(JSON.parse(stdout)).toEqual({ live: true })
  })

  it('it vouches for the names of the house alone', async () => {
    await shows(running.port, authority.cert, 'desk')
    await expect(shows(running.port, authority.cert, 'example.org')).rejects.toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    })
  })

  it('a page of its own may ask, one over plain HTTP may not', async () => {
    const ask = (origin: string): Promise<Response> =>
      fetch(`${running.gateway.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin },
        body: JSON.stringify(CHAT),
      })
    expect((await ask(running.gateway.url)).status).toBe(200)
    expect((await ask(running.gateway.url.replace('https', 'http'))).status).toBe(403)
  })
})

describe('plain HTTP at an address of TLS', () => {
  it('is told what to do', async () => {
    const answer = await fetch(`http://127.0.0.1:${running.port}/v1/models`)
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ error: { message: expect.stringContaining('https://') as string } })
  })

  it('is answered whatever it sends, and cut', async () => {
    const client = await RawClient.connect(running.port)
    client.send(chatBytes({ pad: 'x'.repeat(100_000) }))
    expect(await client.until(/\}\}$/)).toMatch(/^HTTP\/1\.1 400 /)
    client.socket.end()
    await client.closed
  })

  it('noise and silence hurt nobody', async () => {
    const [noise, silent] = [await RawClient.connect(running.port), await RawClient.connect(running.port)]
    noise.send(Buffer.from([0x16, 3, 1, 0, 4, 9, 9, 9, 9]))
    await noise.closed
    expect(silent.received).toBe('')
    expect((await fetch(`${running.gateway.url}/health/live`)).status).toBe(200)
    silent.socket.destroy()
  })
})

describe("Ollama's address", () => {
  it('speaks plain HTTP on loopback, since its tools know no TLS', async () => {
    expect(running.gateway.ollamaUrl).toMatch(/^http:/)
    expect(await (await fetch(running.gateway.ollamaUrl!)).text()).toBe('Skein is running')
  })
})

describe('with given files', () => {
  let ca: KeyedCertificate
  const leafOf = (days: number): Promise<KeyedCertificate> => {
    const nowMs = clock.wallMs()
    const init = { subject: 'x', names: ['localhost'], fromMs: nowMs - DAY_MS, untilMs: nowMs + days * DAY_MS }
    return makeLeaf(random, ca, init)
  }
  const place = ({ key, cert }: KeyedCertificate): { cert: string; key: string } => {
    const files = { cert: join(folder, 'given.crt'), key: join(folder, 'given.key') }
    writeFileSync(files.cert, cert)
    writeFileSync(files.key, key)
    return files
  }
  /** A gateway in hand-moved time, and what it logs. */
  const start = async (files: { cert: string; key: string }) => {
    const manual = new ManualClock()
    await manual.advance(clock.wallMs() - manual.wallMs())
    const lines: { level: number; msg: string }[] = []
    const log = createLogger('info', {
      write: (line) => void lines.push(JSON.parse(line) as { level: number; msg: string }),
    })
    const gateway = createGateway(
      { service: new MeshServiceTwin(), access: accessOf(undefined), clock: manual, random, log },
      { host: '127.0.0.1', port: 0, tls: new FileTlsSource(manual, files) },
    )
    await gateway.start()
    const port = Number(new URL(gateway.url).port)
    /** Past the next look, and what it set off. */
    const look = async (done: () => boolean): Promise<void> => {
      await manual.advance(LIMITS.tlsCheckMs)
      while (!done()) await new Promise((resolve) => setImmediate(resolve))
    }
    return { gateway, port, lines, look }
  }
  beforeAll(async () => {
    const nowMs = clock.wallMs()
    const validity = { fromMs: nowMs - DAY_MS, untilMs: nowMs + 99 * DAY_MS }
    ca = await makeAuthority(random, { subject: 'test', permitted: permittedWith([]), ...validity })
  })

  it('new ones are shown without a restart, and one that does not fit is not', async () => {
    const files = place(await leafOf(60))
    const { gateway, port, lines, look } = await start(files)
    const first = await shows(port, ca.cert)
    const next = await leafOf(60)
    writeFileSync(files.cert, next.cert)
    // half of the exchange: the key is still the old one
    await look(() => lines.some(({ msg }) => msg.startsWith('the new certificate is not used')))
    expect(await shows(port, ca.cert)).toBe(first)
    writeFileSync(files.key, next.key)
    await look(() => lines.filter(({ msg }) => msg === 'shows a certificate').length === 2)
    expect(await shows(port, ca.cert)).not.toBe(first)
    expect(lines.some(({ msg }) => msg.includes('expires soon'))).toBe(false)
    expect(JSON.stringify(lines)).not.toContain('PRIVATE')
    await gateway.stop()
  })

  it('their end is told two weeks before', async () => {
    const { gateway, lines } = await start(place(await leafOf(13)))
    expect(lines.filter(({ msg }) => msg.includes('expires soon'))).toHaveLength(1)
    expect(gateway.url).toMatch(/^https:\/\/localhost:/)
    // nor does its stop wait for connections that never spoke
    const silent = await RawClient.connect(Number(new URL(gateway.url).port))
    await gateway.stop()
    await silent.closed
  })

  it.each<[string, () => Promise<{ cert: string; key: string }>]>([
    ['is over', async () => place(await leafOf(-0.5))],
    ['is not the key of', async () => place({ ...(await leafOf(9)), key: ca.key })],
    ['is no certificate', async () => place({ ...(await leafOf(9)), cert: 'none' })],
    ['is no private key', async () => place({ ...(await leafOf(9)), key: 'none' })],
    ['cannot be read', async () => ({ ...place(await leafOf(9)), key: join(folder, 'nowhere') })],
  ])('they are refused when one %s', async (_what, files) => {
    await expect(new FileTlsSource(clock, await files()).current()).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('it does not start with such', async () => {
    const tls = new FileTlsSource(clock, place(await leafOf(-0.5)))
    await expect(startGateway({ tls })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})
