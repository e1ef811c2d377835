/** What a node *can* do: the capability record, signed by the node and published in the DHT and on control streams. */
import { Type, type Static } from 'typebox'
import { SamplingDefaultsSchema, type SamplingOption } from './generation.ts'
import { LIMITS } from './limits.ts'
import { ThinkingSchema } from './thinking.ts'
import { amount, bytes, count, list, memberName, meshId, modelDigest, parser, peerId, text } from './schema.ts'

export const GpuSchema = Type.Object({
  name: text(128),
  vendor: Type.Enum(['nvidia', 'amd', 'intel', 'apple', 'other']),
  /** Compute interface that the engine would use. */
  backend: Type.Enum(['cuda', 'rocm', 'vulkan', 'metal', 'none']),
  memoryBytes: count(),
})
export type Gpu = Static<typeof GpuSchema>

export const HardwareSchema = Type.Object({
  cpu: Type.Object({
    model: text(128),
    architecture: text(32),
    /** Threads that the process may use (its affinity, not the machine's count). */
    threads: count(65_536, 1),
  }),
  memoryBytes: count(),
  gpus: list(GpuSchema, 64),
  platform: text(32),
})
export type Hardware = Static<typeof HardwareSchema>

/** What an answer that has the machine to itself takes above the idle machine. */
export const ModelEnergySchema = Type.Object({
  /** Of the answer; its short prompt is in it. */
  joulesPerToken: amount(),
  /**
   * What told it: the processors' counters (`rapl`), NVIDIA's GPUs (`nvml`), the battery's draw; what its owner says it
   * takes; or a rule of thumb.
   */
  source: Type.Enum(['rapl', 'nvml', 'rapl+nvml', 'battery', 'owner', 'estimated']),
})
export type ModelEnergy = Static<typeof ModelEnergySchema>

/** Speed of one model on one node, measured by the node itself. Rates are in tokens per second. */
export const ModelSpeedSchema = Type.Object({
  /** Prompt tokens per second of one sequence that has the engine to itself. */
  prefillTokensPerSecond: amount(),
  /** Generated tokens per second of all sequences together, for each number of parallel sequences measured. */
  decode: list(Type.Object({ sequences: count(LIMITS.slotsPerModelMax, 1), tokensPerSecond: amount() }), 16, 1),
  measuredAtMs: count(),
  energy: Type.Optional(ModelEnergySchema),
})
export type ModelSpeed = Static<typeof ModelSpeedSchema>

/**
 * What decides whether two nodes compute alike in the last bits (`docs/ARCHITECTURE.md`, "Exactness"): on one build only
 * the shape of the batches moves them.
 */
export const NumericsSchema = Type.Object({
  engineBuild: text(96),
  flashAttention: Type.Boolean(),
  batchTokens: count(1_000_000),
  threads: count(65_536),
})

export const EngineKindSchema = Type.Enum(['llama', 'onnx', 'upstream', 'echo'])
export type EngineKind = Static<typeof EngineKindSchema>

/** What a model may be able to do beyond chat and completion. */
const MODEL_FEATURES = ['json', 'logprobs', 'tools', 'embed', 'classify', 'infer'] as const
export type ModelFeature = (typeof MODEL_FEATURES)[number]
/** What a request may need of a model. */
export type ModelAbility = 'completion' | ModelFeature | SamplingOption

export const ModelCapabilitySchema = Type.Object({
  digest: modelDigest(),
  /** Names under which clients may ask for it; the first is shown. */
  aliases: list(text(128, 1), 8, 1),
  engine: EngineKindSchema,
  /** Such as `Q8_0`. */
  quantization: text(32),
  parameters: count(),
  sizeBytes: count(),
  /** Tokens of prompt and answer together that one sequence can hold. */
  contextTokens: count(100_000_000, 1),
  /**
   * `json`: answers can be held to a JSON schema; `logprobs`: log probabilities of the tokens can be had; `tools`: its
   * chat template shows tools and their calls, and answers are held to the calls that were given; `embed`, `classify`,
   * `infer`: it does such work (`work.ts`). One without `completion` generates no text.
   */
  features: list(Type.Enum(['chat', 'completion', ...MODEL_FEATURES]), 16),
  /**
   * Options of sampling that came after this record and that its engine honours, by their names in `Sampling`; none when
   * absent. Readers pass over names that they do not know.
   */
  options: Type.Optional(list(text(32, 1), 16)),
  /** What its makers recommend; nothing when absent. */
  sampling: Type.Optional(SamplingDefaultsSchema),
  /** Of a model that thinks before it answers. */
  thinking: Type.Optional(ThinkingSchema),
  /** Whether its chat template reads the clock, so that the same chat is another prompt later; not known when absent. */
  readsClock: Type.Optional(Type.Boolean()),
  residency: Type.Enum(['resident', 'loading', 'disk']),
  /** Expected time from disk to resident in ms, when not resident. */
  loadMs: amount(),
  /** Attempts that it runs together. */
  slots: count(LIMITS.slotsPerModelMax, 1),
  /** Absent until measured. */
  speed: Type.Optional(ModelSpeedSchema),
  numerics: NumericsSchema,
  /**
   * How it goes on with an answer that was begun elsewhere. `ids`: behind the tokens, which are of this digest's vocabulary;
   * behind the text (`said`) where some of them are pieces of text. `text`: behind the text alone, and what it makes are
   * pieces. Absent of an older node, which knows no `said`.
   */
  continues: Type.Optional(Type.Enum(['ids', 'text'])),
})
export type ModelCapability = Static<typeof ModelCapabilitySchema>

export const TierSchema = Type.Enum(['edge', 'cloud'])
export type Tier = Static<typeof TierSchema>

/** In units of the owner's currency for a million tokens. */
export const PriceSchema = Type.Object({ inputPerMillion: amount(1e6), outputPerMillion: amount(1e6) })
export type Price = Static<typeof PriceSchema>

/** Whom the policy of a node's owner serves, as lists for `isListed`; what is absent is not restricted. */
export const AccessSchema = Type.Object({
  tenants: Type.Optional(list(text(LIMITS.tenantLengthMax, 1), LIMITS.policyListMax, 1)),
})
export type Access = Static<typeof AccessSchema>

/** Names of one thing that people may use: `home`, or `llama*` for all that begin so; everything fits an empty list. */
export const isListed = (entries: readonly string[], names: readonly string[]): boolean =>
  entries.length === 0 ||
  entries.some((entry) =>
    entry.endsWith('*') ? names.some((name) => name.startsWith(entry.slice(0, -1))) : names.includes(entry),
  )

/** Whether a task of `tenant` may run where `access` holds. One that names none runs only where all do. */
export const isServed = ({ tenants = [] }: Access, tenant: string | undefined): boolean =>
  isListed(tenants, tenant === undefined ? [] : [tenant])

export const CapabilityRecordSchema = Type.Object({
  meshId: meshId(),
  peerId: peerId(),
  name: memberName(),
  /** Grows with every record of a node, across its restarts. A record with a lower one is stale, whoever serves it. */
  sequence: count(),
  issuedAtMs: count(),
  expiresAtMs: count(),
  hardware: HardwareSchema,
  models: list(ModelCapabilitySchema, LIMITS.modelsPerNodeMax),
  power: Type.Enum(['mains', 'battery', 'unknown']),
  /** `cloud`: a rented machine. Nothing that is marked local-only goes there. */
  tier: TierSchema,
  /** What its owner is billed; nothing when absent. */
  price: Type.Optional(PriceSchema),
  labels: Type.Record(Type.String({ pattern: '^[a-z0-9._/-]{1,63}$' }), text(63), {
    additionalProperties: false,
    maxProperties: LIMITS.labelsMax,
  }),
  addresses: list(text(512), 32),
  /** Absent when everyone of the mesh is served. */
  access: Type.Optional(AccessSchema),
})
export type CapabilityRecord = Static<typeof CapabilityRecordSchema>

export const parseCapabilityRecord = parser(CapabilityRecordSchema, 'capability record', 'FRAME_MALFORMED')

/** CBOR of a record and the Ed25519 signature of its node over `domain || payload`. */
export const SignedSchema = Type.Object({
  payload: bytes(LIMITS.capabilityRecordBytesMax, 1),
  signature: bytes(64, 64),
})
export type Signed = Static<typeof SignedSchema>

/** Domains keep a signature made for one purpose from being shown as another. */
export const SIGNATURE_DOMAINS = {
  capability: 'skein-capability-1',
  certificate: 'skein-certificate-1',
  revocations: 'skein-revocations-1',
} as const
export type SignatureDomain = keyof typeof SIGNATURE_DOMAINS

const GIB = 1024 ** 3
/** Thresholds of memory classes in GiB: a node is in every class that it reaches. */
const CLASS_GIB = [4, 8, 12, 16, 24, 32, 48, 64, 80, 128] as const

/**
 * Capability classes under which a node announces itself in the DHT, such as `cpu:8g` and `gpu:cuda:24g`: one for each
 * memory step that it reaches, so that a look-up names the least that it needs.
 */
export function capabilityClasses(hardware: Hardware): string[] {
  const steps = (prefix: string, memoryBytes: number): string[] =>
    // 6 % off: firmware keeps some of what is sold as 24 GiB
    CLASS_GIB.filter((gib) => memoryBytes >= gib * GIB * 0.94).map((gib) => `${prefix}:${gib}g`)
  const classes = new Set(['cpu', ...steps('cpu', hardware.memoryBytes)])
  for (const gpu of hardware.gpus) {
    classes.add('gpu').add(`gpu:${gpu.backend}`)
    for (const step of steps(`gpu:${gpu.backend}`, gpu.memoryBytes)) classes.add(step)
  }
  return [...classes]
}
