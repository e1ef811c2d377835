/** The metrics of a twin of the mesh, and what Prometheus would read of them. */
import { createMetrics } from '../../../coordinator/metrics/index.ts'
import type { DeviceStats } from '../../../coordinator/devices/index.ts'
import type { MeshStats } from '../../../coordinator/admission/index.ts'
import type { GatewayFacts, GatewayMetrics } from '../../../coordinator/gateway/index.ts'
import { createCounters } from '../../../coordinator/gateway/counters.ts'
import { ManualClock, type ProcessUsage } from '../../../mesh/runtime/index.ts'
import { expiryOf, lifeOf, MESH_EVENTS, taskOf, workOf } from '../../fixtures/mesh-events.ts'
import { MeshServiceTwin, TWIN_DIGEST, TWIN_NODE_VIEW } from '../../fixtures/mesh-service-twin.ts'

/** A mesh with devices. */
const DEVICES = {
  stats: (): DeviceStats => ({
    byState: { init: 0, ready: 2, sleeping: 1, disconnected: 0, lost: 0 },
    bridgesOnline: 1,
    readings: 100,
    reports: { applied: 9, repeated: 1, failed: 0 },
    dropped: 3,
    calls: new Map([['write done', 4]]),
    ruleCalls: { done: 2 },
    ruleOutcomes: {
      ...{ cooldown: 1, per_hour: 0, busy: 0, not_permitted: 0, declined: 0 },
      ...{ not_asked: 0, forbidden: 0, not_acted: 0, not_recorded: 0 },
    },
    waiting: 1,
    tasks: 2,
  }),
}

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Family {
  readonly type: string
  readonly help: string
  readonly samples: Sample[]
}

const USAGE: ProcessUsage = {
  cpu: { user: 1.5, system: 0.25 },
  memory: { resident: 3e8, heap: 1e8, external: 2e7 },
  loopDelay: { median: 0.001, p99: 0.02, max: 0.05 },
}

const CACHE: NonNullable<MeshStats['cache']> = {
  hits: { memory: 6, disk: 3, shared: 1 },
  ...{ misses: 5, bypassed: 2, kept: 4, evicted: 1, expired: 2, corrupted: 0, unwritten: 0 },
  memory: { entries: 4, bytes: 900, bytesMax: 1000 },
}

export class MetricsHarness {
  readonly twin = new MeshServiceTwin()
  readonly counters = createCounters()
  readonly metrics: GatewayMetrics
  usage = USAGE
  isStopped = false

  constructor() {
    const facts: GatewayFacts = { counters: this.counters, running: () => 3, eventClients: () => 2 }
    const meter = { read: () => this.usage, stop: () => void (this.isStopped = true) }
    this.metrics = createMetrics(
      { clock: new ManualClock(1_800_000_000_000), service: this.twin, devices: DEVICES, meter },
      facts,
    )
  }

  /** Something of everything, so that each metric has a series. */
  fill(): this {
    const { twin, counters } = this
    twin.nodeViews = [nodeView('desk', 40), { ...nodeView('attic', 10), state: 'suspect', eligible: false }]
    for (const event of [...lifeOf(taskOf()), expiryOf(taskOf()), workOf('local'), ...MESH_EVENTS]) twin.tell(event)
    counters.answers.set('x', { method: 'GET', route: '/mesh/v1/nodes', status: '2xx', count: 4 })
    counters.refusals.set('NOT_FOUND', 2)
    counters.clientsStalled = 5
    const { stats } = twin
    twin.stats = () => ({ ...stats.call(twin), cache: CACHE })
    return this
  }

  async families(): Promise<Map<string, Family>> {
    return parse(await this.metrics.text())
  }

  /** The value of the one sample of `name` that has `labels`. */
  async value(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number | undefined> {
    const samples = [...(await this.families()).values()].flatMap((family) => family.samples)
    const found = samples.filter(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
    )
    if (found.length > 1) throw new TypeError(`${found.length} series of ${name} have ${JSON.stringify(labels)}`)
    return found[0]?.value
  }
}

export const nodeView = (name: string, tokensPerSecond: number): MeshServiceTwin['nodeViews'][number] => ({
  ...TWIN_NODE_VIEW,
  name,
  load: {
    ...{ sequence: 1, models: [], memoryFreeBytes: 0, cordoned: false, draining: false },
    ...{ temperatureCelsius: 61, watts: 38 },
  },
  models: [
    {
      ...{ digest: TWIN_DIGEST, name: 'tiny', residency: 'resident', contextTokens: 2048, slots: 4, slotsInUse: 1 },
      speed: { prefillTokensPerSecond: 900, decode: [{ sequences: 1, tokensPerSecond }], measuredAtMs: 1 },
    },
  ],
})

/** Prometheus' text format, as strictly as Prometheus reads it: every sample behind the head of its family. */
export function parse(text: string): Map<string, Family> {
  const families = new Map<string, Family>()
  let current: [string, Family] | undefined
  for (const line of text.split('\n')) {
    if (line === '') continue
    const help = /^# HELP ([a-z_]+) (.+)$/.exec(line)
    const type = /^# TYPE ([a-z_]+) (counter|gauge|histogram)$/.exec(line)
    const sample = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (help) current = [help[1]!, { type: '', help: help[2]!, samples: [] }]
    else if (type && current && current[0] === type[1]) {
      current[1] = { ...current[1], type: type[2]! }
      families.set(current[0], current[1])
    } else if (sample && current && sample[1]!.startsWith(current[0])) {
      const labels = [...(sample[2] ?? '').matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"(?:,|$)/g)].map(([, k, v]) => [
        k!,
        v!,
      ])
      current[1].samples.push({ name: sample[1]!, labels: Object.fromEntries(labels), value: Number(sample[3]) })
    } else throw new TypeError(`this is no line of a family: ${line}`)
  }
  return families
}
