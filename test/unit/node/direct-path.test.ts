/** Chunks over HTTPS, from a door that does as a test says. */
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { SystemClock, SystemRandom } from '../../../mesh/runtime/index.ts'
import type { Grant } from '../../../node/models/share/asker.ts'
import { makeSelfSigned } from '../../../mesh/certificates/index.ts'
import { DirectPath } from '../../../node/models/share/direct-path.ts'
import { after, digestOf } from './support.ts'

const clock = new SystemClock()
const never = new AbortController().signal
const digest = digestOf('a')
const BYTES = 300_000

/** A door, and a way to it. `connections` counts those that were made. */
async function door(answer: RequestListener) {
  const validity = { fromMs: clock.wallMs() - 1000, untilMs: clock.wallMs() + 60_000 }
  const { key, cert } = await makeSelfSigned(new SystemRandom(), { subject: 'skein', ...validity })
  const server = createServer({ key, cert }, (request, response) => {
    request.resume()
    answer(request, response)
  })
  let connections = 0
  server.on('secureConnection', () => connections++)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const path = new DirectPath(clock, digest)
  after(async () => {
    path.close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const direct = { certificate: new X509Certificate(cert).raw, addresses: ['127.0.0.1'], port }
  const grant: Grant = { digest, sizeBytes: 10 * BYTES, chunkBytes: BYTES, ticket: new Uint8Array(32), validMs: 1000, direct } // prettier-ignore
  const read = (start: number, into: Uint8Array): Promise<number | undefined> => path.read(grant, start, into, never)
  return { read, connections: () => connections }
}

const partOf = (range: string | undefined, extraBytes = 0): Buffer => {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '')!
  return Buffer.alloc(Number(last) + 1 - Number(first) + extraBytes, Number(first) % 251)
}

describe('the direct path to a member', () => {
  it('fills the buffer, over one connection for all chunks that are asked for one after the other', async () => {
    const { read, connections } = await door(({ headers }, response) => {
      const part = partOf(headers.range)
      response.writeHead(206, { 'content-length': part.length })
      response.end(part)
    })
    for (const start of [3, 100_003, 5]) {
      const into = Buffer.alloc(BYTES)
      expect(await read(start, into)).toBe(BYTES)
      expect(into.equals(Buffer.alloc(BYTES, start % 251))).toBe(true)
    }
    expect(connections()).toBe(1)
  })

  it('asks for half of the chunks at once that a member gives, and for the others as those come', async () => {
    let running = 0
    let most = 0
    const { read, connections } = await door(({ headers }, response) => {
      most = Math.max(most, ++running)
      setImmediate(() => {
        running--
        const part = partOf(headers.range)
        response.writeHead(206, { 'content-length': part.length })
        response.end(part)
      })
    })
    const half = LIMITS.modelTransfersPerPeerMax / 2
    await Promise.all(Array.from({ length: 3 * half }, (_, start) => read(start, Buffer.alloc(BYTES))))
    expect(most).toBeLessThanOrEqual(half)
    expect(connections()).toBe(half)
  })

  it('takes neither more nor fewer bytes than were asked for', async () => {
    const { read } = await door(({ headers }, response) => {
      const part = partOf(headers.range, headers.range?.startsWith('bytes=0') ? 1 : -1)
      response.writeHead(206, { 'content-length': part.length })
      response.end(part)
    })
    const around = Buffer.alloc(BYTES + 1, 99)
    await expect(read(0, around.subarray(0, BYTES))).rejects.toMatchObject({
      code: 'MODEL_PULL_FAILED',
      message: `127.0.0.1: the member gives ${BYTES + 1} bytes where ${BYTES} were asked for`,
    })
    expect(around[BYTES]).toBe(99)
    await expect(read(1, Buffer.alloc(BYTES))).rejects.toMatchObject({
      code: 'MODEL_PULL_FAILED',
      message: `127.0.0.1: the member gives ${BYTES - 1} bytes where ${BYTES} were asked for`,
    })
  })

  it('takes nothing that is not the answer to what it asked', async () => {
    const into = Buffer.alloc(BYTES + 10, 99)
    const { read } = await door(({ headers, socket }, response) => {
      if (headers.range?.startsWith('bytes=0')) {
        socket.write(`HTTP/1.1 206 OK\r\ncontent-length: ${BYTES}\r\n\r\n`)
        return void socket.write(Buffer.alloc(BYTES + 10, 1))
      }
      if (headers.range?.startsWith('bytes=1')) return void socket.write('x'.repeat(9000))
      response.writeHead(206, { 'content-length': BYTES })
      response.write(Buffer.alloc(10, 1))
      socket.destroySoon()
    })
    const message = (text: string): unknown => expect.objectContaining({ message: `127.0.0.1: ${text}` })
    await expect(read(0, into.subarray(0, BYTES))).rejects.toEqual(message('the member sends more than was asked for'))
    expect(into.subarray(BYTES).equals(Buffer.alloc(10, 99))).toBe(true)
    await expect(read(1, into)).rejects.toEqual(message('what the member answers is no HTTP'))
    await expect(read(2, Buffer.alloc(BYTES))).rejects.toEqual(message('the connection ended early'))
  })

  it('passes on why it is refused, and when to come back', async () => {
    let status = 401
    const { read } = await door((_request, response) => {
      response.writeHead(status, { 'retry-after': '7' })
      response.end('{}')
    })
    await expect(read(0, Buffer.alloc(9))).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    status = 503
    await expect(read(0, Buffer.alloc(9))).rejects.toMatchObject({ code: 'MODEL_PULL_FAILED', retryAfterSeconds: 7 })
    status = 410
    await expect(read(0, Buffer.alloc(9))).rejects.toMatchObject({ code: 'MODEL_SOURCE_REFUSED' })
  })
})
