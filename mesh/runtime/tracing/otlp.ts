/**
 * Spans as OTLP has them in JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): ids in hexadecimal, enums
 * as numbers, 64-bit integers as decimal texts.
 */
import type { Attributes, AttributeValue, Span } from './span.ts'

/** Who sends the spans: the same for all of a process. */
export interface SpanResource {
  readonly version: string
  readonly attributes: Attributes
}

const KINDS = { server: 2, client: 3 } as const
const STATUS_UNSET = 0
const STATUS_ERROR = 2

/** Times have microseconds at most. */
const nanos = (ms: number): string => String(BigInt(Math.max(0, Math.round(ms * 1000))) * 1000n)

function valueOf(value: AttributeValue): object {
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  if (typeof value !== 'number') return { arrayValue: { values: value.map((each) => ({ stringValue: each })) } }
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

const attributes = (values: Attributes = {}): object[] =>
  Object.entries(values).map(([key, value]) => ({ key, value: valueOf(value) }))

function spanBody({ context, parentSpanId, name, kind, beganAtMs, endedAtMs, ...span }: Span): object {
  const { traceId, spanId } = context
  const { events = [], links = [], error } = span
  return {
    traceId,
    spanId,
    ...(parentSpanId !== undefined && { parentSpanId }),
    name,
    kind: KINDS[kind],
    startTimeUnixNano: nanos(beganAtMs),
    // a wall clock may have been put back meanwhile
    endTimeUnixNano: nanos(Math.max(beganAtMs, endedAtMs)),
    attributes: attributes(span.attributes),
    events: events.map((event) => ({
      timeUnixNano: nanos(event.atMs),
      name: event.name,
      attributes: attributes(event.attributes),
    })),
    links: links.map((link) => ({ traceId, spanId: link.spanId, attributes: attributes(link.attributes) })),
    status: error === undefined ? { code: STATUS_UNSET } : { code: STATUS_ERROR, message: error },
  }
}

/** Body of `POST /v1/traces`. */
export function otlpBody({ version, attributes: own }: SpanResource, spans: readonly Span[]): string {
  const resource = { attributes: attributes({ 'service.name': 'skein', 'service.version': version, ...own }) }
  const scopeSpans = [{ scope: { name: 'skein', version }, spans: spans.map(spanBody) }]
  return JSON.stringify({ resourceSpans: [{ resource, scopeSpans }] })
}

/** How many spans of a message its collector has not taken, by its answer. */
export function rejectedBy(answer: string): number {
  try {
    const { partialSuccess } = JSON.parse(answer) as { partialSuccess?: { rejectedSpans?: unknown } }
    const rejected = Number(partialSuccess?.rejectedSpans ?? 0)
    return Number.isSafeInteger(rejected) && rejected > 0 ? rejected : 0
  } catch {
    // an empty body, or no JSON: all were taken
    return 0
  }
}
