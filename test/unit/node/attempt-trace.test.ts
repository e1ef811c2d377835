/** The span of an attempt at its node, and the ids on its log lines. */
import { describe, expect, it } from 'vitest'
import { attemptSpanId, readTraceparent, type AttemptStart } from '../../../mesh/protocol/index.ts'
import { ManualClock, type Span } from '../../../mesh/runtime/index.ts'
import { AttemptTrace } from '../../../node/executor/attempt-trace.ts'
import { start } from './executor.harness.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const traceparent = `00-${TRACE}-${PARENT}-01`
const SAID = 'canaryprompt'

async function traced(init: Partial<AttemptStart>) {
  const clock = new ManualClock()
  const spans: Span[] = []
  const frame = start({ prompt: { kind: 'text', text: SAID }, stop: [SAID], ...init }) as AttemptStart
  const trace = new AttemptTrace({ clock, spans: { record: (span) => void spans.push(span) } }, frame)
  const began = clock.wallMs()
  trace.mark('prefill')
  await clock.advance(40)
  trace.mark('decode')
  trace.mark('decode')
  await clock.advance(60)
  return { trace, spans, frame, began }
}
const end = {
  type: 'attempt.end',
  fence: 1,
  finishReason: 'stop',
  text: SAID,
  usage: { promptTokens: 9, cachedTokens: 4, completionTokens: 12 },
  timing: { waitMs: 1, prefillMs: 40, decodeMs: 60 },
} as const

describe('an attempt of a trace', () => {
  it('is a span under that of its coordinator, with what the node has measured', async () => {
    const { trace, spans, frame, began } = await traced({ traceparent, requestId: 'req_1' })
    trace.end(end, 12)
    expect(spans).toHaveLength(1)
    const [span] = spans
    expect(span).toMatchObject({
      context: { traceId: TRACE, spanId: attemptSpanId(frame.taskId, 1, 'node'), isSampled: true },
      parentSpanId: PARENT,
      name: 'skein.node.attempt',
      beganAtMs: began,
      endedAtMs: began + 100,
      events: [
        { name: 'prefill', atMs: began },
        { name: 'decode', atMs: began + 40 },
      ],
      attributes: { 'gen_ai.usage.input_tokens': 9, 'gen_ai.usage.output_tokens': 12, 'skein.prefill_ms': 40 },
    })
    expect(span).not.toHaveProperty('error')
    expect(JSON.stringify(span)).not.toContain(SAID)
    // servers that are asked for it are told of this span
    expect(readTraceparent(trace.traceparent!)).toEqual(span!.context)
    expect(trace.ids).toEqual({ task: frame.taskId, attempt: 1, request: 'req_1', trace: TRACE })
  })

  it('bears the error that ended it, unless somebody wanted that end', async () => {
    for (const [code, error] of [
      ['ENGINE_CRASHED', 'ENGINE_CRASHED'],
      ['CLIENT_CLOSED', undefined],
      ['STALE_FENCING_TOKEN', undefined],
    ] as const) {
      const { trace, spans } = await traced({ traceparent })
      trace.end({ type: 'attempt.failed', fence: 1, code, message: SAID }, 3)
      expect(spans[0]!.error).toBe(error)
      expect(spans[0]!.attributes).toMatchObject({ 'error.type': code, 'gen_ai.usage.output_tokens': 3 })
      expect(JSON.stringify(spans)).not.toContain(SAID)
    }
  })

  it('is none where nobody wants it, and the context goes on all the same', async () => {
    const unwanted = `00-${TRACE}-${PARENT}-00`
    const { trace, spans } = await traced({ traceparent: unwanted })
    trace.end(end, 12)
    expect(spans).toEqual([])
    expect(trace.traceparent).toBe(unwanted)
    const without = await traced({})
    without.trace.end(end, 12)
    expect(without.spans).toEqual([])
    expect(without.trace.traceparent).toBeUndefined()
    expect(without.trace.ids).not.toHaveProperty('trace')
  })
})
