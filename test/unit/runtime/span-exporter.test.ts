/** Spans go out in OTLP's form, and a collector that is away, slow or strict costs spans and nothing else. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { createLogger, ManualClock, SpanExporter, type Span } from '../../../mesh/runtime/index.ts'
import { OtlpCollector } from '../../fixtures/otlp-collector.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const id = (number: number): string => (number + 1).toString(16).padStart(16, '0')
const span = (number: number, more: Partial<Span> = {}): Span => ({
  context: { traceId: TRACE, spanId: id(number), isSampled: true },
  name: 'skein.attempt',
  kind: 'client',
  beganAtMs: 1_800_000_000_000.25,
  endedAtMs: 1_800_000_000_500,
  attributes: { 'gen_ai.request.model': 'tiny', 'skein.from': 0, 'skein.share': 0.5, 'skein.local_only': true },
  ...more,
})

let clock: ManualClock
let collector: OtlpCollector
let lines: string[]
let exporter: SpanExporter
const exporterTo = (url: string): SpanExporter =>
  new SpanExporter(
    { clock, log: createLogger('info', { write: (line) => lines.push(line) }) },
    {
      url: new URL(`${url}/v1/traces`),
      headers: { authorization: 'Bearer c' },
      resource: { version: '1.2.3', attributes: { 'service.instance.id': 'desk' } },
    },
  )
/** Moves time until `condition`, with turns for real sockets between. */
async function until(condition: () => boolean, stepMs = 20): Promise<void> {
  for (let step = 0; !condition(); step++) {
    if (step > 5000) throw new TypeError(`never came: ${condition}`)
    await clock.advance(stepMs)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

beforeEach(async () => {
  clock = new ManualClock()
  lines = []
  collector = await OtlpCollector.start()
  exporter = exporterTo(collector.url)
})
afterEach(() => collector.stop())

describe('a span exporter', () => {
  it('sends spans as they are, several in one message', async () => {
    const links = [{ spanId: id(7) }]
    exporter.record(span(1, { parentSpanId: id(0), links, events: [{ name: 'accepted', atMs: 1_800_000_000_100 }] }))
    exporter.record(span(2, { kind: 'server', error: 'NODE_LOST' }))
    await until(() => exporter.counts.sent === 2)
    expect(collector.bodies).toHaveLength(1)
    expect(collector.headers[0]).toMatchObject({ authorization: 'Bearer c', 'user-agent': 'skein/1.2.3' })
    expect(collector.spans[0]).toEqual({
      ...{ traceId: TRACE, spanId: id(1), parentSpanId: id(0), name: 'skein.attempt', kind: 3 },
      ...{ startMs: 1_800_000_000_000.25, endMs: 1_800_000_000_500 },
      attributes: { 'gen_ai.request.model': 'tiny', 'skein.from': 0, 'skein.share': 0.5, 'skein.local_only': true },
      events: [{ name: 'accepted', ms: 1_800_000_000_100 }],
      links: [expect.objectContaining({ traceId: TRACE, spanId: id(7) })],
      status: { code: 0 },
      sender: { 'service.name': 'skein', 'service.version': '1.2.3', 'service.instance.id': 'desk' },
    })
    expect(collector.spans[1]).toMatchObject({ kind: 2, status: { code: 2, message: 'NODE_LOST' } })
    expect(exporter.counts).toEqual({ sent: 2, dropped: 0, rejected: 0 })
  })

  it('sends again what a collector could not take, and gives up after some tries', async () => {
    collector.status = 503
    exporter.record(span(1))
    await until(() => collector.bodies.length === 2)
    collector.status = 200
    await until(() => exporter.counts.sent === 1)
    expect(exporter.counts).toEqual({ sent: 1, dropped: 0, rejected: 0 })
    collector.status = 503
    exporter.record(span(2))
    await until(() => exporter.counts.dropped === 1, 1000)
    // said once each time, however often it was tried
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
      'spans cannot be sent to the collector',
      'the collector takes spans again',
      'spans cannot be sent to the collector',
    ])
  })

  it('counts what a collector does not want, and does not send it again', async () => {
    collector.status = 400
    exporter.record(span(1))
    await until(() => exporter.counts.rejected === 1)
    collector.status = 200
    collector.answer = JSON.stringify({ partialSuccess: { rejectedSpans: '1', errorMessage: 'too long' } })
    exporter.record(span(2))
    exporter.record(span(3))
    await until(() => exporter.counts.sent === 1)
    expect(exporter.counts).toEqual({ sent: 1, dropped: 0, rejected: 2 })
    expect(collector.bodies).toHaveLength(2)
  })

  it('keeps a bounded number of spans, and drops and counts the rest', async () => {
    await collector.stop()
    const further = 10
    for (let number = 0; number < LIMITS.spansWaitingMax + further; number++) exporter.record(span(number))
    // the first message is on its way
    expect(exporter.counts.dropped).toBeGreaterThanOrEqual(further - 1)
    expect(exporter.counts.dropped).toBeLessThanOrEqual(further)
    await exporter.stop()
    expect(exporter.counts.dropped).toBe(LIMITS.spansWaitingMax + further)
    collector = await OtlpCollector.start()
  })

  it('sends what waits when it is stopped', async () => {
    exporter.record(span(1))
    await exporter.stop()
    expect(collector.spans.map(({ spanId }) => spanId)).toEqual([id(1)])
    expect(clock.pendingTimers).toBe(0)
  })

  it('sends a message that was on its way at the stop, and is not held up by a collector that hangs', async () => {
    collector.status = 503
    exporter.record(span(1))
    await until(() => collector.bodies.length === 1)
    collector.status = 200
    await exporter.stop()
    expect(exporter.counts).toEqual({ sent: 1, dropped: 0, rejected: 0 })
  })
})
