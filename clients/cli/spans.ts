/** Where the spans of this process go. */
import { SpanExporter, type Lifecycle } from '../../mesh/runtime/index.ts'
import type { Base, Parts } from './running.ts'
import type { ServeOptions } from './serve-options.ts'
import { collectorHeaders } from './trace-options.ts'
import { VERSION } from './version.ts'

/** Started before whatever makes spans, and so stopped after it; `undefined` without a collector. */
export async function startSpans(
  { otlp, name }: ServeOptions,
  parts: Parts,
  base: Base,
  lifecycle: Lifecycle,
): Promise<SpanExporter | undefined> {
  if (!otlp) return undefined
  const headers = collectorHeaders(process.env['OTEL_EXPORTER_OTLP_HEADERS'])
  const roles = (['coordinator', 'node'] as const).filter((role) => parts[role])
  const resource = { version: VERSION, attributes: { 'service.instance.id': name, 'skein.roles': roles } }
  return lifecycle.start(new SpanExporter(base, { url: otlp, headers, resource }))
}
