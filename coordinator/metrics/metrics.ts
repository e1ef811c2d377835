/**
 * The coordinator's metrics, in a registry of their own. What happens is counted as it happens, through the port that the
 * mesh tells its events by; what is kept elsewhere is read when somebody looks. Nothing is done for a token.
 * `docs/METRICS.md` says what each means.
 */
import { Registry } from 'prom-client'
import { SystemProcessMeter, type Clock, type ProcessMeter, type SpanCounts } from '../../mesh/runtime/index.ts'
import type { MeshService } from '../admission/index.ts'
import type { Devices } from '../devices/index.ts'
import type { GatewayFacts, GatewayMetrics } from '../gateway/index.ts'
import { AnswerMetrics } from './answers.ts'
import { deviceMetrics } from './devices.ts'
import { ModelLabels } from './labels.ts'
import {
  budgetMetrics,
  cloudMetrics,
  cacheMetrics,
  dispatchMetrics,
  gatewayMetrics,
  nodeMetrics,
  processMetrics,
  spanMetrics,
  type Present,
} from './present.ts'

export interface MetricsComponents {
  readonly clock: Clock
  readonly service: MeshService
  /** What is behind bridges. */
  readonly devices?: Pick<Devices, 'stats'>
  /** The machine's when absent. */
  readonly meter?: ProcessMeter
  /** Absent where no spans are sent. */
  readonly spans?: () => SpanCounts
}

/** @param facts of the gateway that shows them. */
export function createMetrics(components: MetricsComponents, facts: GatewayFacts): GatewayMetrics {
  const { clock, service, meter = new SystemProcessMeter(), spans } = components
  const registry = new Registry()
  const labels = new ModelLabels(() => service.models())
  const answers = new AnswerMetrics(registry, labels)
  const unwatch = service.watch((event) => answers.take(event))
  const look = (): Present => ({ stats: service.stats(), nodes: service.nodes(), usage: meter.read() })
  let present = look()
  const read = (): Present => present
  dispatchMetrics(registry, read)
  budgetMetrics(registry, read)
  cloudMetrics(registry, read)
  cacheMetrics(registry, read)
  nodeMetrics(registry, read, labels)
  gatewayMetrics(registry, facts)
  const { devices } = components
  if (devices) deviceMetrics(registry, () => devices.stats())
  spanMetrics(registry, spans)
  processMetrics(registry, read, clock.wallMs() / 1000)
  let looking: Promise<string> | undefined
  return {
    contentType: registry.contentType,
    // those who come while it is being written get the same
    text: () =>
      (looking ??= Promise.resolve()
        .then(() => {
          present = look()
          return registry.metrics()
        })
        .finally(() => (looking = undefined))),
    close: () => {
      unwatch()
      meter.stop()
    },
  }
}
