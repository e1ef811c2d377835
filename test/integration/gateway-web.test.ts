/** The page at a real gateway: what a browser gets, what programs get, and what nobody gets. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Gateway } from '../../coordinator/gateway/index.ts'
import { Page, PAGE_FILES_MAX } from '../../mesh/page/index.ts'
import { bytesOf, RawClient, startGateway } from './gateway.harness.ts'

const SCRIPT = `export const words = [${'"a line that packs well", '.repeat(200)}]\n`
const BROWSER = { accept: 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8' }

let folder: string
let gateway: Gateway | undefined
let port = 0

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-page-'))
})
afterEach(async () => {
  await gateway?.stop()
  gateway = undefined
  await rm(folder, { recursive: true, force: true })
})

async function build(text = 'first'): Promise<void> {
  await mkdir(join(folder, 'assets'), { recursive: true })
  await writeFile(join(folder, 'assets', 'main-abcd1234.js'), SCRIPT)
  await writeFile(join(folder, 'sw.js'), 'self.skein = 1\n')
  await writeFile(join(folder, 'manifest.webmanifest'), '{"name":"Skein"}')
  await writeFile(join(folder, 'index.html'), `<!doctype html><title>${text}</title>`)
}

async function start(apiKey?: string): Promise<string> {
  const running = await startGateway({ page: new Page(folder), ...(apiKey && { apiKey }) })
  gateway = running.gateway
  port = running.port
  return gateway.url
}

/** The status line, the headers and the body as they were sent: fetch unpacks and joins them. */
async function raw(path: string, headers: Record<string, string>, method = 'GET'): Promise<string> {
  const client = await RawClient.connect(port)
  client.send(bytesOf(method, path, undefined, { connection: 'close', ...headers }))
  await client.closed
  return client.received
}

describe('the page at the gateway', () => {
  it.each([
    '/',
    '/chat',
    '/chat/0192-ab',
    '/mesh/nodes/12D3',
    '/tasks/task-1',
    '/devices',
    '/settings/sync',
    '/join?code=1',
  ])('is what a browser gets at %s, without a key', async (path) => {
    await build()
    const url = await start('secret-key')
    const answer = await fetch(url + path, { headers: BROWSER })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(answer.headers.get('cache-control')).toBe('no-cache')
    expect(await answer.text()).toBe('<!doctype html><title>first</title>')
  })

  it('allows nothing from elsewhere, no inline script and no frame around it', async () => {
    await build()
    const { headers } = await fetch(await start(), { headers: BROWSER })
    const policy = headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self';")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).not.toContain('unsafe')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('referrer-policy')).toBe('no-referrer')
    expect(headers.get('cross-origin-opener-policy')).toBe('same-origin')
  })

  it('leaves programs what they had, and their keys', async () => {
    await build()
    const url = await start('secret-key')
    expect((await fetch(url)).status).toBe(401)
    const greeted = await fetch(url, { headers: { authorization: 'Bearer secret-key' } })
    expect(await greeted.text()).toBe('Skein is running')
    expect((await fetch(`${url}/v1/models`, { headers: BROWSER })).status).toBe(401)
    expect((await fetch(`${url}/chat/x`)).status).toBe(401)
    expect((await fetch(`${url}/chat`, { method: 'POST', headers: BROWSER })).status).toBe(401)
  })

  it('sends files packed as the client takes them, and those with a hash in their name for good', async () => {
    await build()
    const url = await start()
    const asset = '/assets/main-abcd1234.js'
    const packed = await fetch(url + asset, { headers: { 'accept-encoding': 'gzip, br' } })
    expect(packed.headers.get('content-encoding')).toBe('br')
    expect(packed.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    expect(packed.headers.get('vary')).toContain('accept-encoding')
    expect(Number(packed.headers.get('content-length'))).toBeLessThan(SCRIPT.length / 10)
    expect(await packed.text()).toBe(SCRIPT)
    const page = new Page(folder)
    const body = async (encoding: string): Promise<Buffer> =>
      (await page.answer({ method: 'GET', url: asset, headers: { 'accept-encoding': encoding } }))!.body!
    expect(brotliDecompressSync(await body('br')).toString()).toBe(SCRIPT)
    expect(gunzipSync(await body('gzip, br;q=0')).toString()).toBe(SCRIPT)
    expect((await body('br;q=0.0, gzip;q=0')).toString()).toBe(SCRIPT)
    expect((await body('identity')).toString()).toBe(SCRIPT)
  })

  it('sends nothing again that has not changed, and all of a new build', async () => {
    await build()
    const url = await start()
    const etag = (await fetch(url, { headers: BROWSER })).headers.get('etag')!
    const again = { ...BROWSER, 'if-none-match': `"other", W/${etag}` }
    const unchanged = await fetch(url, { headers: again })
    expect(unchanged.status).toBe(304)
    expect(await unchanged.text()).toBe('')
    await build('a second build')
    const changed = await fetch(url, { headers: again })
    expect(changed.status).toBe(200)
    expect(await changed.text()).toContain('a second build')
  })

  it('says the length of what HEAD does not send', async () => {
    await build()
    await start()
    const head = await raw('/', BROWSER, 'HEAD')
    expect(head).toMatch(/^HTTP\/1\.1 200 /)
    expect(head).toMatch(/content-length: 35\r\n/i)
    expect(head.endsWith('\r\n\r\n')).toBe(true)
  })

  it('lets the service worker have the whole site, and asks anew for it each time', async () => {
    await build()
    const { headers } = await fetch(`${await start()}/sw.js`)
    expect(headers.get('service-worker-allowed')).toBe('/')
    expect(headers.get('cache-control')).toBe('no-cache')
  })

  it.each([
    '/../package.json',
    '/assets/../../../package.json',
    '/assets/%2e%2e/%2e%2e/package.json',
    '/%2e%2e%2fpackage.json',
    '//etc/hosts.txt',
    '/assets/..\\..\\package.json',
    '/assets/link-abcd1234.js',
    '/assets/main-abcd1234.js/',
    '/assets',
    '/index.html%00.js',
  ])('has nothing at %s', async (path) => {
    await build()
    await symlink('/etc/hosts', join(folder, 'assets', 'link-abcd1234.js'))
    await start()
    expect(await raw(path, BROWSER)).toMatch(/^HTTP\/1\.1 40[04] /)
  })

  it('is not given to a page of another name that was bound to this machine', async () => {
    await build()
    await start()
    expect(await raw('/', { ...BROWSER, host: 'attacker.example' })).toMatch(/^HTTP\/1\.1 403 /)
  })

  it('says that it is not built, looks again by itself, and opens once it is', async () => {
    const url = await start()
    const waiting = await fetch(url, { headers: BROWSER })
    expect(waiting.status).toBe(503)
    expect(waiting.headers.get('refresh')).toBe('2')
    expect(await waiting.text()).toContain('npm run build:web')
    expect(await (await fetch(url)).text()).toBe('Skein is running')
    await build()
    expect((await fetch(url, { headers: BROWSER })).status).toBe(200)
  })

  it('takes no folder for a page that has more than one ever has', async () => {
    await build()
    const many = Array.from({ length: PAGE_FILES_MAX }, (_, index) => writeFile(join(folder, `${index}.txt`), ''))
    await Promise.all(many)
    expect((await fetch(await start(), { headers: BROWSER })).status).toBe(503)
  })
})
