/** A new version of the page: it waits, the page says so, and takes it when its reader wants it. */
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { useBrowser, useMesh } from './harness/index.ts'

const mesh = useMesh()
const browser = useBrowser()

let front: Server
let origin: string
/** Behind the worker's script: another number makes it another version. */
let version = 1

/** The gateway, but for the worker, of which there is a newer one when the test says so. */
beforeAll(async () => {
  front = createServer((asked, answer) => {
    const upstream = new URL(mesh.http)
    const isWorker = asked.url === '/sw.js'
    const headers = { ...asked.headers, host: upstream.host, ...(isWorker && { 'accept-encoding': 'identity' }) }
    const { hostname, port } = upstream
    const passed = request({ hostname, port, path: asked.url, method: asked.method, headers }, (from) => {
      const { 'content-length': _length, etag: _etag, ...kept } = from.headers
      answer.writeHead(from.statusCode ?? 502, isWorker ? kept : from.headers)
      from.pipe(answer, { end: !isWorker })
      if (isWorker) from.on('end', () => answer.end(`\n// version ${version}\n`))
    })
    passed.on('error', () => answer.destroy())
    answer.on('close', () => passed.destroy())
    asked.pipe(passed)
  })
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(front.address() as AddressInfo).port}`
})

afterAll(() => {
  front.closeAllConnections()
  front.close()
})

it('is told, and used when it is wanted', async () => {
  const view = await browser.view(origin)
  const page = await view.open('/settings')
  await page.getByRole('heading', { level: 1, name: 'Settings' }).waitFor()
  await view.untilKept()
  const notice = page.getByText('A new version of this page is ready.')
  expect(await notice.count()).toBe(0)

  version = 2
  await page.evaluate(async () => (await navigator.serviceWorker.getRegistration())?.update())
  await notice.waitFor()
  await view.expectAxeClean()

  const isLoaded = page.waitForEvent('load')
  await page.getByRole('button', { name: 'Use it now' }).click()
  await isLoaded
  await page.getByRole('heading', { level: 1, name: 'Settings' }).waitFor()
  // the page that is there now is of the newer one, and none waits
  expect(
    await page.evaluate(async () => {
      const registration = await navigator.serviceWorker.getRegistration()
      return [registration?.waiting ?? null, registration?.active === null]
    }),
  ).toEqual([null, false])
  expect(await notice.count()).toBe(0)
})
