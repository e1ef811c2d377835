/**
 * The fleet: one fast GPU, four laptops, eight slow CPUs, all with one 1B model. What a slow CPU does was measured
 * (`docs/PERFORMANCE.md`, 1B on 2 threads); a laptop's accelerator is taken as 4 and 2.5 times as fast at prefill and at
 * one sequence's decode, the GPU as 46 and 7.5 times. Not every node does what it claims.
 */
import { decodeRate } from '../../../coordinator/scheduler/index.ts'
import {
  asMeshId,
  asModelDigest,
  asPeerId,
  type CapabilityRecord,
  type ModelCapability,
  type ModelSpeed,
} from '../../../mesh/protocol/index.ts'
import type { Trace } from './traces.ts'

export const DIGEST = asModelDigest(`sha256:${'a'.repeat(64)}`)

export interface Machine {
  readonly name: string
  /** What it claims. */
  readonly speed: ModelSpeed
  /** What it delivers, as a share of it. */
  readonly truth: number
  readonly slots: number
  /** Prompt tokens of one step. */
  readonly chunkTokens: number
  readonly linkMs: number
  /** Of a model that is on disk at first; 0 when it is in memory. */
  readonly loadMs: number
}

const speed = (prefillTokensPerSecond: number, ...decode: [sequences: number, rate: number][]): ModelSpeed => ({
  prefillTokensPerSecond,
  decode: decode.map(([sequences, tokensPerSecond]) => ({ sequences, tokensPerSecond })),
  measuredAtMs: 1,
})

const GPU = { speed: speed(8000, [1, 180], [4, 560], [8, 900], [16, 1300]), slots: 16, chunkTokens: 512, linkMs: 1 }
const LAPTOP = { speed: speed(700, [1, 60], [2, 90], [4, 130]), slots: 4, chunkTokens: 512, linkMs: 5 }
const CPU = { speed: speed(175, [1, 24], [2, 29], [4, 49]), slots: 4, chunkTokens: 128, linkMs: 3 }

const of = (kind: typeof GPU, name: string, truths: readonly number[], cold: number, loadMs: number): Machine[] =>
  truths.map((truth, i) => ({ ...kind, name: `${name}-${i + 1}`, truth, loadMs: i < cold ? loadMs : 0 }))

export const FLEET: readonly Machine[] = [
  ...of(GPU, 'gpu', [0.95], 0, 0),
  ...of(LAPTOP, 'laptop', [1, 0.9, 0.9, 0.5], 1, 4000),
  ...of(CPU, 'cpu', [1, 1, 1, 0.9, 0.9, 0.9, 0.7, 0.4], 2, 6000),
]

export function recordOf(
  machine: Machine,
  residency: ModelCapability['residency'],
  sequence: number,
): CapabilityRecord {
  return {
    meshId: asMeshId('mesh'),
    peerId: asPeerId(machine.name),
    name: machine.name,
    sequence,
    issuedAtMs: 0,
    expiresAtMs: Number.MAX_SAFE_INTEGER,
    hardware: { cpu: { model: 'x', architecture: 'x64', threads: 8 }, memoryBytes: 1, gpus: [], platform: 'linux' },
    models: [
      {
        digest: DIGEST,
        aliases: ['model'],
        engine: 'llama',
        quantization: 'Q4_0',
        parameters: 1e9,
        sizeBytes: 1e9,
        contextTokens: 16_384,
        features: ['chat', 'completion'],
        residency,
        loadMs: machine.loadMs,
        slots: machine.slots,
        speed: machine.speed,
        numerics: { engineBuild: 'x', flashAttention: true, batchTokens: 512, threads: 8 },
      },
    ],
    power: 'mains',
    tier: 'edge',
    labels: {},
    addresses: [],
  }
}

/** Requests like those of `trace` that the fleet serves in a ms when every node is busy with all its slots; no caches. */
export function capacityPerMs(trace: Trace): number {
  const { requests } = trace
  const mean = (value: (request: (typeof requests)[number]) => number): number =>
    requests.reduce((sum, each) => sum + value(each), 0) / requests.length
  const prompt = mean((each) => each.promptTokens)
  const answer = mean((each) => each.answer.tokens)
  let perSecond = 0
  for (const { speed: claimed, truth, slots } of FLEET) {
    const engineSeconds = prompt / claimed.prefillTokensPerSecond + answer / (decodeRate(claimed, slots) * slots)
    perSecond += truth / engineSeconds
  }
  return perSecond / 1000
}
