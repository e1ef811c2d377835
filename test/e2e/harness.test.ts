/** The lane's own eyes: what must not happen in a browser is seen, whatever the test looks at. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestBrowser } from './harness/browser.ts'

const PAGE = `<!doctype html><html lang="en"><head><title>A page</title><link rel="icon" href="data:,"></head>
<body><main><h1>A page</h1><p id="pale">text</p><img id="nameless"></main></body></html>`
const POLICY = "default-src 'none'; img-src data:; script-src 'self'; style-src 'self'; connect-src *"

describe('the eyes of the harness', () => {
  const browser = new TestBrowser()
  let server: Server
  let origin: string

  beforeAll(async () => {
    server = createServer((request, response) => {
      const isPage = request.url === '/'
      response.writeHead(isPage ? 200 : 404, { 'content-type': 'text/html', 'content-security-policy': POLICY })
      response.end(isPage ? PAGE : '')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await browser.launch()
  }, 60_000)
  afterAll(async () => {
    await browser.close()
    server.closeAllConnections()
    server.close()
  })

  it('have nothing to tell of a page that is in order', async () => {
    const view = await browser.view(origin)
    await view.open()
    expect(await browser.afterTest()).toEqual([])
  })

  it.each([
    ['an error in the console', 'console.error("not well")', /console: not well/],
    [
      'an exception that nobody caught',
      'setTimeout(() => { throw new TypeError("thrown") })',
      /page error: TypeError: thrown/,
    ],
    ['a promise that nobody held', 'void Promise.reject(new TypeError("let fall"))', /page error: TypeError: let fall/],
    ['an inline style', 'document.body.setAttribute("style", "color: red")', /console: .*Content Security Policy/],
    [
      'a request to elsewhere',
      'void fetch("http://127.0.0.1:9/").catch(() => 0)',
      /elsewhere: http:\/\/127\.0\.0\.1:9/,
    ],
    ['a file that is not there', 'void fetch("/missing")', /console: Failed to load resource.*404/],
  ])('see %s', async (_name, script, problem) => {
    const view = await browser.view(origin)
    const page = await view.open()
    const seen = view.problems.next(problem)
    await page.evaluate(script)
    await seen
    expect((await browser.afterTest()).join('\n')).toMatch(problem)
  })

  it('look past what a test means to cause', async () => {
    const view = await browser.view(origin)
    const page = await view.open()
    view.problems.allow(/meant/)
    const other = view.problems.next(/not well/)
    await page.evaluate('console.error("meant"); console.error("not well")')
    await other
    expect(await browser.afterTest()).toEqual([expect.stringMatching(/not well/)])
  })

  it('see what somebody cannot read', async () => {
    const view = await browser.view(origin)
    const page = await view.open()
    await expect(view.expectAxeClean()).rejects.toThrow(/nameless/)
    await page.evaluate(() => document.querySelector('#nameless')!.remove())
    await view.expectAxeClean()
    await page.evaluate(() => Object.assign((document.querySelector('#pale') as HTMLElement).style, { color: '#ddd' }))
    await expect(view.expectAxeClean()).rejects.toThrow(/color-contrast/)
    await browser.afterTest()
  })
})
