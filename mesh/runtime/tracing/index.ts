/** Spans and where they go. */
export { SpanExporter, type SpanCounts, type SpanExporterInit } from './exporter.ts'
export type { SpanResource } from './otlp.ts'
export { attributesOf, type Attributes, type AttributeValue, type Span, type SpanEvent, type SpanSink } from './span.ts'
