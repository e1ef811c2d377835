/** Makers of valid snapshots for scheduler tests. */
import {
  asModelDigest,
  asPeerId,
  CLOUD_REASONS,
  type ModelCapability,
  type ModelDigest,
  type ModelSpeed,
} from '../../../mesh/protocol/index.ts'
import {
  NO_PREFIX,
  type LeaveDemand,
  type ModelSnapshot,
  type NodeSnapshot,
  type TaskDemand,
} from '../../../coordinator/scheduler/index.ts'

export const DIGEST: ModelDigest = asModelDigest(`sha256:${'a'.repeat(64)}`)
export const OTHER_DIGEST: ModelDigest = asModelDigest(`sha256:${'b'.repeat(64)}`)

export const speed = (prefill: number, ...decode: [sequences: number, tokensPerSecond: number][]): ModelSpeed => ({
  prefillTokensPerSecond: prefill,
  decode: decode.map(([sequences, tokensPerSecond]) => ({ sequences, tokensPerSecond })),
  measuredAtMs: 1,
})

export function capability(init: Partial<ModelCapability> = {}): ModelCapability {
  return {
    digest: DIGEST,
    aliases: ['tiny'],
    engine: 'echo',
    quantization: 'Q8_0',
    parameters: 1_000_000,
    sizeBytes: 1_000_000,
    contextTokens: 4096,
    features: ['chat', 'completion'],
    residency: 'resident',
    loadMs: 0,
    slots: 4,
    speed: speed(1000, [1, 100], [4, 200]),
    numerics: { engineBuild: 'test', flashAttention: false, batchTokens: 512, threads: 2 },
    ...init,
  }
}

export const model = (init: Partial<ModelSnapshot> = {}): ModelSnapshot => ({
  capability: capability(),
  running: 0,
  prefillTokensPending: 0,
  prefillCorrection: 1,
  decodeCorrection: 1,
  slotFreeMs: [],
  cachedBytes: () => 0,
  ...init,
})

export const node = (name: string, init: Partial<NodeSnapshot> = {}): NodeSnapshot => ({
  peerId: asPeerId(name),
  name,
  isSelf: false,
  session: 1,
  isConnected: true,
  isSuspect: false,
  isDraining: false,
  isCloud: false,
  isTripped: false,
  onBattery: false,
  linkMs: 1,
  recentFailures: 0,
  models: new Map([[DIGEST, model()]]),
  ...init,
})

export const withModel = (snapshot: ModelSnapshot): Pick<NodeSnapshot, 'models'> => ({
  models: new Map([[snapshot.capability.digest, snapshot]]),
})

/** Everything may leave, and there is no reason yet. */
export const leave = (init: Partial<LeaveDemand> = {}): LeaveDemand => ({
  reasons: new Set(CLOUD_REASONS),
  isNamed: false,
  hasBegun: false,
  leftMs: 60_000,
  waitLeftMs: 60_000,
  aheadMs: 0,
  ...init,
})

export const demand = (init: Partial<TaskDemand> = {}): TaskDemand => ({
  digest: DIGEST,
  prefillTokens: 100,
  prefillTokensMin: 10,
  promptBytes: 400,
  prefix: NO_PREFIX,
  features: [],
  localOnly: false,
  budget: 0,
  inputTokensMax: 100,
  outputTokensMax: 100,
  decodeTokens: 100,
  excluded: new Set(),
  ...init,
})
