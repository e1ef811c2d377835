/** Sessions and streams of the Model Context Protocol, in time that is moved by hand. */
import { describe, expect, it } from 'vitest'
import { McpSessions, callKey } from '../../../coordinator/gateway/mcp-sessions.ts'
import { CallStream } from '../../../coordinator/gateway/mcp-stream.ts'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom } from '../../../mesh/runtime/index.ts'
import { createHarness, turns } from './harness.ts'

const VERSION = '2025-11-25'

describe('a page of another site', () => {
  it('calls no tools, wherever the gateway listens', async () => {
    const { post } = createHarness({ apiKey: 'sk-test', host: '0.0.0.0' })
    const ask = async (origin?: string): Promise<number> => {
      const headers = { authorization: 'Bearer sk-test', host: 'mesh.example:7337', ...(origin && { origin }) }
      const params = { protocolVersion: VERSION }
      return (await post('/mcp', { jsonrpc: '2.0', id: 1, method: 'initialize', params }, headers)).statusCode
    }
    for (const own of [undefined, 'http://mesh.example:7337', 'https://mesh.example:7337'])
      expect(await ask(own)).toBe(200)
    for (const foreign of [
      'https://evil.example',
      'http://mesh.example',
      'null',
      'https://mesh.example:7337.evil.example',
    ])
      expect(await ask(foreign), foreign).toBe(403)
  })
})

describe('sessions', () => {
  const create = () => {
    const clock = new ManualClock()
    return { clock, sessions: new McpSessions({ clock, random: new SeededRandom(1) }) }
  }

  it('are of one tenant, and end when nobody uses them for long', async () => {
    const { clock, sessions } = create()
    const { id } = sessions.open('a', VERSION)
    expect(() => sessions.of(id, 'b')).toThrow('no such session')
    await clock.advance(LIMITS.mcpSessionIdleMs - 1)
    expect(sessions.of(id, 'a').version).toBe(VERSION)
    await clock.advance(LIMITS.mcpSessionIdleMs)
    expect(() => sessions.of(id, 'a')).toThrow('no such session')
    expect(sessions.size).toBe(0)
  })

  it('stay while something runs in them, and end it when they are ended', async () => {
    const { clock, sessions } = create()
    const session = sessions.open('a', VERSION)
    let cancelled = 0
    session.calls.set(callKey(1), () => cancelled++)
    await clock.advance(2 * LIMITS.mcpSessionIdleMs)
    expect(sessions.of(session.id, 'a')).toBe(session)
    sessions.end(session.id, 'a')
    expect(cancelled).toBe(1)
    expect(() => sessions.of(session.id, 'a')).toThrow('no such session')
  })

  it('are as many as there may be: of a tenant its own longest unused gives way, else that of all', () => {
    const { sessions } = create()
    const first = sessions.open('a', VERSION)
    const second = sessions.open('a', VERSION)
    for (let i = 2; i < LIMITS.mcpSessionsPerTenantMax; i++) sessions.open('a', VERSION)
    sessions.of(first.id, 'a')
    sessions.open('a', VERSION)
    expect(() => sessions.of(second.id, 'a')).toThrow('no such session')
    expect(sessions.of(first.id, 'a')).toBe(first)
    for (let tenant = 0; sessions.size < LIMITS.mcpSessionsMax; tenant++)
      for (let i = 0; i < 100 && sessions.size < LIMITS.mcpSessionsMax; i++) sessions.open(`t${tenant}`, VERSION)
    sessions.open('late', VERSION)
    expect(sessions.size).toBe(LIMITS.mcpSessionsMax)
  })

  it('are refused when something runs in all of them', () => {
    const { sessions } = create()
    for (let i = 0; i < LIMITS.mcpSessionsPerTenantMax; i++) sessions.open('a', VERSION).calls.set(callKey(i), () => {})
    expect(() => sessions.open('a', VERSION)).toThrow('too many sessions')
  })

  it('keep ids of both kinds apart', () => {
    expect(callKey(1)).not.toBe(callKey('1'))
  })
})

describe('the stream of a call', () => {
  const messageOf = (event: string): object => JSON.parse(event.slice('data: '.length)) as object

  it('tells the newest alone, ever higher, and nothing behind the result', async () => {
    const stream = new CallStream(new ManualClock(), 1000, 'token')
    const run = Promise.withResolvers<object | undefined>()
    const events = stream.events(run.promise)
    stream.tell({ progress: 0, message: 'queued 2' })
    expect(messageOf((await events.next()).value!)).toMatchObject({
      method: 'notifications/progress',
      params: { progressToken: 'token', progress: 0.001, message: 'queued 2' },
    })
    for (let i = 1; i <= 1000; i++) stream.tell({ progress: i, total: 2000, message: `${i}` })
    expect(messageOf((await events.next()).value!)).toMatchObject({ params: { progress: 1000, total: 2000 } })
    stream.tell({ progress: 1000, message: 'node lost' })
    expect(messageOf((await events.next()).value!)).toMatchObject({ params: { progress: 1000.001 } })
    stream.tell({ progress: 1001, message: 'late' })
    run.resolve({ id: 1 })
    await turns()
    expect(messageOf((await events.next()).value!)).toEqual({ id: 1 })
    expect((await events.next()).done).toBe(true)
  })

  it('gives signs of life, and tells nobody who did not ask', async () => {
    const clock = new ManualClock()
    const stream = new CallStream(clock, 1000, undefined)
    const run = Promise.withResolvers<object | undefined>()
    const events = stream.events(run.promise)
    const alive = events.next()
    await clock.advance(1000)
    expect((await alive).value).toBe(': keepalive\n\n')
    stream.tell({ progress: 1, message: '1 tokens' })
    expect((await events.next()).value).toBe(': 1 tokens\n\n')
    // of a call that its client has cancelled nothing is told
    run.resolve(undefined)
    expect((await events.next()).done).toBe(true)
    expect(clock.pendingTimers).toBe(0)
  })
})
