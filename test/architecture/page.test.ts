/** The page as it is built: small to begin with, whole, and of its own files alone. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Page } from '../../mesh/page/index.ts'
import { buildPage } from '../../scripts/web-page/build.ts'
import { digestOfSources, type Stamp } from '../../scripts/web-page/sources.ts'
import { isPageAddress } from '../../clients/web/worker/addresses.ts'

const INITIAL_GZIP_BYTES_MAX = 120_000

describe('the page', () => {
  let folder: string
  let stamp: Stamp
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8')

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'skein-page-'))
    stamp = await buildPage(folder, digestOfSources())
  })

  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('needs at most 120 kB of scripts and styles before it shows a chat', () => {
    const sizes = Object.entries(stamp.files).map(
      ([name, bytes]) => `${(bytes / 1000).toFixed(1).padStart(6)} kB ${name}`,
    )
    process.stdout.write(`${sizes.join('\n')}\n${stamp.initialGzipBytes} bytes to begin with (gzip)\n`)
    // what is counted is what there is: a script and a style at least
    expect(stamp.initialGzipBytes).toBeGreaterThan(40_000)
    expect(stamp.initialGzipBytes).toBeLessThanOrEqual(INITIAL_GZIP_BYTES_MAX)
  })

  it('keeps each of its files for the time without network, and no other', () => {
    const [, list] = /JSON\.parse\((["'`])(.*?)\1\)/s.exec(read('sw.js'))!.slice(1)
    const { digest, files } = JSON.parse(list!.replaceAll('\\"', '"')) as { digest: string; files: string[] }
    expect(digest).toBe(stamp.digest)
    const served = Object.keys(stamp.files).filter((name) => name !== '/sw.js')
    expect(files.toSorted()).toEqual(served.toSorted())
    expect(files).toContain('/index.html')
  })

  it('has no script or style within its document, and nothing from elsewhere', () => {
    const page = read('index.html')
    expect(page).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/)
    expect([...page.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, url]) => url!.startsWith('/'))).not.toContain(false)
    const styles = readdirSync(join(folder, 'assets')).filter((name) => name.endsWith('.css'))
    for (const name of styles) expect(read(join('assets', name)), name).not.toMatch(/url\(|@import/)
  })

  it('has addresses that its server and its service worker know, and none of an API', async () => {
    const server = new Page(folder)
    const isServed = async (url: string): Promise<boolean> =>
      (await server.answer({ method: 'GET', url, headers: { accept: 'text/html' } }))?.status === 200
    const routes = readFileSync(new URL('../../clients/web/routes.tsx', import.meta.url), 'utf8')
    const patterns = [...routes.matchAll(/'(\/[a-z/:A-Z]*)'/g)].map(([, pattern]) => pattern!)
    expect(patterns).toEqual(expect.arrayContaining(['/', '/chat/:id', '/mesh/nodes/:peerId', '/settings/sync']))
    for (const pattern of patterns) {
      const path = pattern.replaceAll(/:\w+/g, 'a1')
      expect([path, await isServed(path), isPageAddress(path)]).toEqual([path, true, true])
    }
    for (const path of ['/mesh/v1/self', '/v1/models', '/api/tags', '/health/ready', '/mcp'])
      expect([path, await isServed(path), isPageAddress(path)]).toEqual([path, false, false])
  })
})
