/** Spans of requests and attempts, over moves and restarts, and nothing in them that people said. */
import { readFileSync } from 'node:fs'
import { beforeEach, describe, expect, it } from 'vitest'
import { createTraces } from '../../../coordinator/traces/index.ts'
import type { RequestTrace, RequestTraces, TracedRequest } from '../../../coordinator/gateway/index.ts'
import { asRequestId, attemptSpanId, readTraceparent, type TraceContext } from '../../../mesh/protocol/index.ts'
import { SeededRandom, type Span } from '../../../mesh/runtime/index.ts'
import {
  accept,
  ANSWER,
  answers,
  DispatchHarness,
  fails,
  tokensFrom,
  type Begin,
  type Script,
} from './dispatch.harness.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT: TraceContext = { traceId: TRACE, spanId: '00f067aa0ba902b7', isSampled: true }
const SAID = 'canaryprompt'

let harness: DispatchHarness
let spans: Span[]
let traces: RequestTraces
const setUp = (ratio = 1): void => {
  harness = new DispatchHarness()
  spans = []
  const service = { watch: harness.observers.watch.bind(harness.observers) }
  const sink = { record: (span: Span) => void spans.push(span) }
  traces = createTraces({ clock: harness.clock, random: new SeededRandom(3), service, spans: sink }, { ratio })
}
beforeEach(() => setUp())
const begin = (more: Partial<TracedRequest> = {}): RequestTrace =>
  traces.begin({
    requestId: asRequestId('req_1'),
    method: 'POST',
    route: '/v1/chat/completions',
    parent: PARENT,
    isQuiet: false,
    ...more,
  })
const named = (name: string): Span[] => spans.filter((span) => span.name === name)
const traceparentOf = (frame: Begin): string | undefined =>
  frame.type === 'attempt.start' ? frame.traceparent : undefined
const breaks: Script = async (channel, start) => {
  await accept(channel, start)
  await tokensFrom(channel, start.fence, 0, 3)
  channel.abort(new TypeError('the process died'))
}

describe('the spans of a request', () => {
  it('go on with the trace of the client, one for each attempt, linked over a loss', async () => {
    harness.node('breaks', 1000, [breaks])
    harness.node('good', 10, [answers])
    const trace = begin()
    const prompt = { kind: 'text', text: SAID } as const
    const following = await harness.run(harness.task({ trace: trace.task, prompt, stop: [SAID], tenant: SAID }))
    expect(following.error).toBeUndefined()
    // until its client has the answer the request is open
    expect(named('text_completion tiny')).toHaveLength(0)
    trace.ended({ status: 200 })
    const [request] = named('text_completion tiny')
    const [first, second] = named('skein.attempt')
    expect(spans).toHaveLength(3)
    for (const span of spans) expect(span.context.traceId).toBe(TRACE)
    expect(request).toMatchObject({
      kind: 'server',
      parentSpanId: PARENT.spanId,
      attributes: {
        'gen_ai.usage.input_tokens': 3,
        'gen_ai.usage.output_tokens': ANSWER.length,
        'gen_ai.response.finish_reasons': ['stop'],
        'http.response.status_code': 200,
        'skein.attempts': 2,
        'skein.outcome': 'completed',
      },
    })
    expect(request!.error).toBeUndefined()
    const parentSpanId = request!.context.spanId
    expect(first).toMatchObject({ parentSpanId, kind: 'client', links: [], error: expect.any(String) as string })
    expect(first!.events?.map(({ name }) => name)).toEqual(['accepted', 'first_token'])
    expect(second).toMatchObject({ parentSpanId, links: [{ spanId: first!.context.spanId }] })
    expect(second!.attributes).toMatchObject({ 'skein.reason': 'lost', 'skein.from': 3, 'server.address': 'good' })
    // the nodes are told of the very spans
    const sent = harness.begins.map((frame) => readTraceparent(traceparentOf(frame) ?? ''))
    expect(sent).toEqual([first!.context, second!.context])
    expect(JSON.stringify(spans)).not.toContain(SAID)
  })

  it('begin a trace where the client has none, and bear the error that ended it', async () => {
    harness.node('bad', 100, [fails('INVALID_REQUEST', SAID)])
    const trace = traces.begin({ requestId: asRequestId('req_1'), method: 'POST', route: '/v1/x', isQuiet: false })
    await harness.run(harness.task({ trace: trace.task }))
    trace.ended({ status: 400 })
    const [request] = named('text_completion tiny')
    expect(request).not.toHaveProperty('parentSpanId')
    expect(request).toMatchObject({ error: 'INVALID_REQUEST', attributes: { 'error.type': 'INVALID_REQUEST' } })
    expect(named('skein.attempt')).toMatchObject([{ error: 'INVALID_REQUEST' }])
    expect(JSON.stringify(spans)).not.toContain(SAID)
  })

  it('are those of requests, too, of which nothing was made, but for quiet ones', () => {
    const trace = begin()
    trace.failed('RATE_LIMITED')
    trace.ended({ status: 429 })
    expect(spans).toMatchObject([{ name: 'POST /v1/chat/completions', error: 'RATE_LIMITED' }])
    begin({ isQuiet: true }).ended({ status: 200 })
    expect(spans).toHaveLength(1)
  })

  it('last until all has ended that was made, when the client is gone before', async () => {
    harness.node('good', 10, [answers])
    const trace = begin()
    const run = await harness.submit(harness.task({ trace: trace.task, attachment: 'background' }))
    trace.ended({ status: 200 })
    expect(named('text_completion tiny')).toHaveLength(0)
    await harness.until(() => named('text_completion tiny').length > 0)
    expect(run.result).toBeDefined()
    expect(named('text_completion tiny')).toMatchObject([{ attributes: { 'skein.outcome': 'completed' } }])
  })

  it('go on after a restart of the coordinator, linked to what came before', async () => {
    harness.node('slow', 100, [
      async (channel, start) => {
        await accept(channel, start)
        await tokensFrom(channel, start.fence, 0, 4)
        await new Promise(() => {})
      },
      answers,
    ])
    const task = harness.task({ trace: begin().task, attachment: 'background' })
    await harness.submit(task)
    await harness.until(() => task.answer.length === 4)
    // the attempt is on record
    await harness.clock.advance(10)
    // whoever was to have the answer is gone with the process, and so are its open spans
    spans.length = 0
    const service = { watch: harness.observers.watch.bind(harness.observers) }
    createTraces(
      {
        clock: harness.clock,
        random: new SeededRandom(4),
        service,
        spans: { record: (span) => void spans.push(span) },
      },
      { ratio: 0 },
    )
    await harness.restart()
    const own = attemptSpanId(task.id, 2 ** 20 + 1, 'coordinator')
    await harness.until(() => named('text_completion tiny').length > 0)
    expect(named('skein.attempt').at(-1)).toMatchObject({ links: [{ spanId: own }], context: { traceId: TRACE } })
    expect(named('text_completion tiny')[0]).toMatchObject({ context: readTraceparent(task.spec.trace!.traceparent) })
  })

  it('are made of the share of requests that is wanted, and of those whose clients want them', () => {
    setUp(0.25)
    const sampled = Array.from({ length: 400 }, () => {
      const { traceparent } = traces.begin({
        requestId: asRequestId('r'),
        method: 'POST',
        route: '/',
        isQuiet: false,
      }).task
      return readTraceparent(traceparent)!.isSampled
    }).filter(Boolean)
    expect(sampled.length).toBeGreaterThan(60)
    expect(sampled.length).toBeLessThan(140)
    expect(readTraceparent(begin().task.traceparent)).toMatchObject({ traceId: TRACE, isSampled: true })
    const unwanted = begin({ parent: { ...PARENT, isSampled: false } })
    unwanted.ended({ status: 200 })
    expect(readTraceparent(unwanted.task.traceparent)).toMatchObject({ traceId: TRACE, isSampled: false })
    expect(spans).toEqual([])
  })
})

describe('docs/TRACES.md', () => {
  const page = readFileSync(new URL('../../../docs/TRACES.md', import.meta.url), 'utf8')
  const listed = page
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => /^\| `([^`]+)`/.exec(line)![1]!)

  it('names every attribute of these spans', async () => {
    harness.node('breaks', 1000, [breaks])
    harness.node('good', 10, [answers])
    const trace = begin()
    await harness.run(harness.task({ trace: trace.task }))
    trace.failed('RATE_LIMITED')
    trace.ended({ status: 200 })
    const made = new Set(spans.flatMap(({ attributes }) => Object.keys(attributes)))
    for (const name of made) expect(listed, name).toContain(name)
    expect(made.size).toBeGreaterThan(30)
  })
})
