/** Traces at the edge: in from a client, on to tasks and work, and out again, with spans or without. */
import { afterEach, describe, expect, it } from 'vitest'
import type { RequestTrace, RequestTraces, TracedRequest } from '../../../coordinator/gateway/index.ts'
import { createLogger } from '../../../mesh/runtime/index.ts'
import { createHarness, turns, type Harness } from './harness.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const GIVEN = `00-${TRACE}-00f067aa0ba902b7-01`
const OWN = `00-${TRACE}-1111111111111111-01`

let h: Harness
afterEach(() => h.gateway.stop())

class Recording implements RequestTraces {
  readonly begun: TracedRequest[] = []
  readonly told: unknown[] = []

  begin(request: TracedRequest): RequestTrace {
    this.begun.push(request)
    return {
      task: { traceparent: OWN, isOwn: true },
      failed: (code) => this.told.push(code),
      ended: (answer) => this.told.push(answer),
    }
  }
}
const chat = { model: 'tiny', messages: [{ role: 'user', content: 'hi' }] }

describe('without a collector', () => {
  it("a client's trace goes on as it came, into the task, the answer and the log", async () => {
    const lines: Record<string, unknown>[] = []
    const log = createLogger('debug', { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) })
    h = createHarness({}, log)
    const answer = await h.post('/v1/chat/completions', chat, { traceparent: GIVEN, 'x-request-id': 'mine' })
    expect(answer.headers['traceparent']).toBe(GIVEN)
    expect(h.twin.calls[0]!.request.trace).toEqual({ traceparent: GIVEN, isOwn: false })
    await turns()
    expect(lines.find(({ msg }) => msg === 'answered')).toMatchObject({
      request: 'mine',
      task: answer.headers['x-skein-task'],
      trace: TRACE,
    })
  })

  it('of a later version what is known of it goes on, and what is none is passed over', async () => {
    h = createHarness()
    const asked = (traceparent: string) => h.post('/v1/chat/completions', chat, { traceparent })
    expect((await asked(`cc-${TRACE}-00f067aa0ba902b7-09-more`)).headers['traceparent']).toBe(GIVEN)
    const answer = await asked('00-nonsense')
    expect(answer.statusCode).toBe(200)
    expect(answer.headers).not.toHaveProperty('traceparent')
    expect(h.twin.calls.at(-1)!.request).not.toHaveProperty('trace')
  })
})

describe('with a collector', () => {
  it('each request that makes something has a span, refused ones too, and no other', async () => {
    const traces = new Recording()
    h = createHarness({ traces })
    const answer = await h.post('/v1/chat/completions', chat, { traceparent: GIVEN, 'x-request-id': 'mine' })
    expect(answer.headers['traceparent']).toBe(OWN)
    expect(h.twin.calls[0]!.request.trace).toEqual({ traceparent: OWN, isOwn: true })
    await h.post('/v1/chat/completions', { ...chat, temperature: 9 })
    await h.post('/mcp', { jsonrpc: '2.0', id: 1, method: 'ping' })
    await h.get('/v1/models')
    await h.post('/v1/nothing', {})
    expect(traces.begun).toEqual([
      {
        requestId: 'mine',
        method: 'POST',
        route: '/v1/chat/completions',
        parent: { traceId: TRACE, spanId: '00f067aa0ba902b7', isSampled: true },
        isQuiet: false,
      },
      expect.objectContaining({ route: '/v1/chat/completions', isQuiet: false }),
      expect.objectContaining({ route: '/mcp', isQuiet: true }),
    ])
    await turns()
    expect(traces.told.slice(0, 3)).toEqual([
      { status: 200, taskId: answer.headers['x-skein-task'] },
      'INVALID_REQUEST',
      { status: 400 },
    ])
  })
})
