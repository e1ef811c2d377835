/** What the coordinator shows to Prometheus. Nothing else of it knows of that. */
export { createMetrics, type MetricsComponents } from './metrics.ts'
