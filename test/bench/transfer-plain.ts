/**
 * The other side of the comparison, in processes of its own. `node test/bench/transfer-plain.ts serve PATH` gives one file
 * over HTTP and HTTPS; with `fetch URL TO SHA256` in place of `serve PATH` it gets one in one request, writes it, makes it durable and checks its digest. Keys and certificates come as the first
 * message, addresses and a `PlainFigure` go back; a server answers each further message with the computing that it took so
 * far, in ms.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { createServer, get, type IncomingMessage, type RequestListener } from 'node:http'
import { createServer as createSecureServer, get as getSecurely } from 'node:https'
import type { AddressInfo } from 'node:net'

export interface PlainFigure {
  /** From the request to the digest of the whole. */
  readonly ms: number
  readonly cpuMs: number
}

const [mode = '', where = '', to = '', sha256 = ''] = process.argv.slice(2)
const [told] = (await once(process, 'message')) as [{ key: string; cert: string }]

const cpuMs = (before?: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

if (mode === 'serve') {
  const { size } = await stat(where)
  const answer: RequestListener = (_request, response) => {
    response.writeHead(200, { 'content-length': size })
    createReadStream(where, { highWaterMark: 128 * 1024 }).pipe(response)
  }
  const urls: string[] = []
  for (const [scheme, server] of [
    ['http', createServer(answer)],
    ['https', createSecureServer(told, answer)],
  ] as const) {
    await once(server.listen(0, '127.0.0.1'), 'listening')
    urls.push(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  }
  process.on('message', () => process.send!(cpuMs()))
  process.send!(urls)
} else {
  const before = process.cpuUsage()
  const beganMs = performance.now()
  const request = where.startsWith('https:')
    ? getSecurely(where, { ca: told.cert, checkServerIdentity: () => undefined })
    : get(where)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const hash = createHash('sha256')
  const file = await open(to, 'wx')
  for await (const part of response as AsyncIterable<Buffer>) {
    hash.update(part)
    await file.write(part)
  }
  await file.datasync()
  await file.close()
  if (hash.digest('hex') !== sha256) throw new TypeError('another digest')
  const figure: PlainFigure = { ms: performance.now() - beganMs, cpuMs: cpuMs(before) }
  process.send!(figure, () => process.exit(0))
}
