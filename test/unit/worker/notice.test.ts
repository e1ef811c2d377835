/** Notices that a provider takes a machine back, as each tells them. */
import { writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ManualClock, silentLogger, SystemClock } from '../../../mesh/runtime/index.ts'
import { noticeSource, NoticeWatch, type Notice } from '../../../node/worker/index.ts'
import { after, temporaryDirectory } from '../../fixtures/temporary.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void
const never = new AbortController().signal

async function serve(answer: Answer): Promise<string> {
  const server = createServer(answer)
  after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** EC2's metadata service: a token first, by PUT, and then the action, if one is planned. */
async function aws(action: string | undefined, date?: string) {
  const asked: string[] = []
  const base = await serve((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    if (date !== undefined) response.setHeader('date', date)
    if (request.url === '/latest/api/token') {
      const isAsked = request.method === 'PUT' && request.headers['x-aws-ec2-metadata-token-ttl-seconds'] === '21600'
      return void response.writeHead(isAsked ? 200 : 400).end('secret-token')
    }
    if (request.headers['x-aws-ec2-metadata-token'] !== 'secret-token') return void response.writeHead(401).end()
    if (request.url !== '/latest/meta-data/spot/instance-action' || action === undefined)
      return void response.writeHead(404).end('<html>')
    response.end(action)
  })
  return { asked, look: noticeSource(new SystemClock(), 'aws', base) }
}

describe('a notice of AWS', () => {
  it('is asked for with a token, which is kept', async () => {
    const { asked, look } = await aws(undefined)
    expect(await look(never)).toBeUndefined()
    expect(await look(never)).toBeUndefined()
    expect(asked.map((each) => each.split(' ')[0])).toEqual(['PUT', 'GET', 'GET'])
  })

  it('says how long is left by the clock of the service, however wrong the one of the machine is', async () => {
    const { look } = await aws(
      '{"action": "terminate", "time": "2026-09-18T08:22:00Z"}',
      'Fri, 18 Sep 2026 08:20:30 GMT',
    )
    expect(await look(never)).toEqual({ reason: 'the provider will terminate the machine', withinMs: 90_000 })
  })

  it.each(['{"action": "stop", "time": "soon"}', 'terminate', '{"action": 5}'])('is one even as %j', async (action) => {
    const { look } = await aws(action)
    expect(await look(never)).toMatchObject({ withinMs: 120_000 })
  })

  it('cannot be had of a service that gives no token', async () => {
    const base = await serve((_, response) => void response.writeHead(200).end('two\nlines'))
    await expect(noticeSource(new SystemClock(), 'aws', base)(never)).rejects.toThrow(/no token/)
  })
})

describe('a notice of Scaleway', () => {
  const look = async (conf: object | string): Promise<Notice | undefined> => {
    const base = await serve((request, response) => {
      response.setHeader('date', 'Fri, 18 Sep 2026 08:20:00 GMT')
      response.writeHead(request.url === '/conf?format=json' ? 200 : 404)
      response.end(typeof conf === 'string' ? conf : JSON.stringify(conf))
    })
    return noticeSource(new SystemClock(), 'scaleway', base)(never)
  }

  it('is maintenance that begins soon, or a machine that is being stopped', async () => {
    const at = (start_date: string) => ({ state_detail: 'booted', maintenances: [{ reason: 'a rack', start_date }] })
    expect(await look({ state_detail: 'booted', tags: [] })).toBeUndefined()
    expect(await look(at('2026-09-20T08:00:00Z'))).toBeUndefined()
    expect(await look(at('2026-09-18T08:21:00Z'))).toEqual({
      reason: 'maintenance by the provider: a rack',
      withinMs: 60_000,
    })
    expect(await look({ state_detail: 'stopping' })).toMatchObject({ withinMs: 0 })
  })

  it('cannot be had of what says nothing of a machine', async () => {
    await expect(look('<html>')).rejects.toThrow(/says nothing/)
    await expect(look('x'.repeat(70_000))).rejects.toThrow(/more than/)
  })
})

describe('a notice by a file', () => {
  it('is there when the file is, with as many seconds as it says', async () => {
    const file = join(await temporaryDirectory(), 'notice')
    const look = noticeSource(new SystemClock(), { file })
    expect(await look(never)).toBeUndefined()
    await writeFile(file, '')
    expect(await look(never)).toMatchObject({ withinMs: 120_000 })
    await writeFile(file, '7\n')
    expect(await look(never)).toMatchObject({ withinMs: 7000 })
  })
})

describe('the watch for notices', () => {
  it('looks every five seconds, survives a service that is away, and tells once', async () => {
    const clock = new ManualClock()
    const told: Notice[] = []
    let answer: () => Promise<Notice | undefined> = () => Promise.reject(new TypeError('away'))
    const watch = new NoticeWatch({
      clock,
      log: silentLogger,
      source: () => answer(),
      choice: 'aws',
      onNotice: (notice) => void told.push(notice),
    })
    await watch.start()
    await clock.advance(5000)
    answer = () => Promise.resolve(undefined)
    await clock.advance(5000)
    expect(told).toEqual([])
    answer = () => Promise.resolve({ reason: 'x', withinMs: 5 })
    await clock.advance(20_000)
    expect(told).toEqual([{ reason: 'x', withinMs: 5 }])
    expect(clock.pendingTimers).toBe(0)
    await watch.stop()
  })
})
