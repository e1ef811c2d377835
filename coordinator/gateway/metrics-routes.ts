/** `GET /metrics`, for Prometheus. What is measured, and how it is written, is behind a port. */
import type { FastifyInstance } from 'fastify'
import type { GatewayCounters } from './counters.ts'
import { METRICS_DOC } from './mesh-answer-schemas.ts'

/** What the gateway knows of itself. */
export interface GatewayFacts {
  readonly counters: Readonly<GatewayCounters>
  /** Requests of answers and work that are open. */
  readonly running: () => number
  /** Clients that follow events. */
  readonly eventClients: () => number
}

export interface GatewayMetrics {
  /** Of `text`. */
  readonly contentType: string
  /** All metrics as they are now. */
  text(): Promise<string>
  /** Nothing is measured any more. */
  close(): void
}

export function metricsRoutes(app: FastifyInstance, metrics: GatewayMetrics): void {
  app.get('/metrics', { config: { doc: METRICS_DOC } }, async (_request, reply) => {
    const text = await metrics.text()
    return reply.header('content-type', metrics.contentType).header('cache-control', 'no-store').send(text)
  })
}
