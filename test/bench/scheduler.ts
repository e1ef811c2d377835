/** Time of one plan over 10 to 10,000 nodes, snapshot included, as dispatch asks for it: `node test/bench/scheduler.ts`. */
import { Directory, type Reservation } from '../../coordinator/directory/index.ts'
import { promptPrefix, schedule, type TaskDemand } from '../../coordinator/scheduler/index.ts'
import { asMeshId, asModelDigest, asPeerId, type CapabilityRecord } from '../../mesh/protocol/index.ts'
import { SeededRandom, silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { machine, median, percentile, print } from './stats.ts'

const SIZES = [10, 100, 1000, 10_000]
const WARM_UP = 200
const PLANS = 1000
/** Attempts that run at any time. */
const HELD = 8
const PROMPT = 'What is the weather like? '.repeat(32)
const EXPECTED = { prefillTokens: 200, decodeTokens: 256 }
const DIGEST = asModelDigest(`sha256:${'a'.repeat(64)}`)

const clock = new SystemClock(true)
const random = new SeededRandom(1)

function record(i: number): CapabilityRecord {
  const rate = 5 + random.next() * 200
  return {
    meshId: asMeshId('mesh'),
    peerId: asPeerId(`node-${i}`),
    name: `node-${i}`,
    sequence: 1,
    issuedAtMs: clock.wallMs(),
    expiresAtMs: clock.wallMs() + 3_600_000,
    hardware: {
      cpu: { model: 'x', architecture: 'x64', threads: 8 },
      memoryBytes: 2 ** 34,
      gpus: [],
      platform: 'linux',
    },
    models: [
      {
        digest: DIGEST,
        aliases: ['model'],
        engine: 'llama',
        quantization: 'Q8_0',
        parameters: 1e9,
        sizeBytes: 1e9,
        contextTokens: 8192,
        features: ['chat', 'completion'],
        residency: 'resident',
        loadMs: 0,
        slots: 4,
        speed: {
          prefillTokensPerSecond: rate * 10,
          decode: [
            { sequences: 1, tokensPerSecond: rate },
            { sequences: 4, tokensPerSecond: rate * 2 },
          ],
          measuredAtMs: 1,
        },
        numerics: { engineBuild: 'x', flashAttention: true, batchTokens: 512, threads: 8 },
      },
    ],
    power: 'mains',
    tier: 'edge',
    labels: {},
    addresses: [],
  }
}

function directoryOf(size: number): Directory {
  const directory = new Directory({ clock, log: silentLogger }, asPeerId('self'))
  for (let i = 0; i < size; i++) {
    const each = record(i)
    const { peerId, name, meshId } = each
    const certificate = { meshId, peerId, name, roles: ['node' as const], serial: 1, issuedAtMs: 0, expiresAtMs: 1e15 }
    directory.connected({ peerId, certificate, isSelf: false })
    directory.announce(peerId, each)
  }
  return directory
}

/** Plans and reserves, as dispatch does; every plan changes one node, so that its view is made anew. */
function measure(size: number): number[] {
  const directory = directoryOf(size)
  const demand: TaskDemand = {
    digest: DIGEST,
    prefillTokens: 200,
    prefillTokensMin: 50,
    promptBytes: PROMPT.length,
    prefix: promptPrefix({ kind: 'text', text: PROMPT }),
    features: [],
    localOnly: false,
    budget: 0,
    inputTokensMax: 0,
    outputTokensMax: 0,
    decodeTokens: 256,
    excluded: new Set(),
  }
  const figures: number[] = []
  const held: Reservation[] = []
  for (let i = -WARM_UP; i < PLANS; i++) {
    const beganMs = performance.now()
    const plan = schedule(directory.snapshot(), demand, () => random.next())
    const tookMs = performance.now() - beganMs
    if (plan.kind !== 'plan') throw new TypeError(`no plan but ${plan.kind}`)
    held.push(directory.reserve(plan.node.peerId, DIGEST, EXPECTED))
    directory.entry(plan.node.peerId)!.remember(DIGEST, demand.prefix)
    if (held.length > HELD) held.shift()!.release()
    if (i >= 0) figures.push(tookMs * 1000)
    if (i % 30 === 0) for (const entry of directory.entries()) directory.report(entry.peerId, load(i + WARM_UP))
  }
  return figures
}

const load = (sequence: number) => ({
  sequence,
  models: [{ digest: DIGEST, running: Math.floor(random.next() * 3), prefillTokensPending: 0 }],
  memoryFreeBytes: 1,
  cordoned: false,
  draining: false,
})

print(machine())
const long = 'What is the weather like? '.repeat(400).slice(0, 10_000)
const hashing = Array.from({ length: 2000 }, () => {
  const beganMs = performance.now()
  promptPrefix({ kind: 'text', text: long })
  return (performance.now() - beganMs) * 1000
}).slice(1000)
print(
  `prefix of a prompt of 10 kB: p50 ${median(hashing).toFixed(1)} µs, p99 ${percentile(hashing, 0.99).toFixed(1)} µs`,
)
for (const size of SIZES) {
  const figures = measure(size)
  print(`plan over ${size} nodes: p50 ${median(figures).toFixed(1)} µs, p99 ${percentile(figures, 0.99).toFixed(1)} µs`)
}
