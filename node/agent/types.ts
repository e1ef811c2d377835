/** What the node agent is given, and what it says of itself. */
import type {
  CapabilityRecord,
  Hardware,
  ModelCapability,
  ModelDigest,
  PeerId,
  Price,
  ReplicaConsent,
  Signed,
  SkeinError,
  Tier,
} from '../../mesh/protocol/index.ts'
import type { Clock, Logger, Random, SpanSink, Startable } from '../../mesh/runtime/index.ts'
import type { Discovery, PeerTransport } from '../../mesh/network/index.ts'
import type { EnergyMeter, HostFacts, PowerSource, PowerState, RunCommand, WatchOthers } from '../capability/index.ts'
import type { CreateEngine, EngineDevices } from '../engines/index.ts'
import type { AdaptedModel, ModelParts, ModelProblem, UpstreamModelsInit } from '../models/index.ts'
import type { OwnerPolicy, PolicyStatus, Senses } from '../policy/index.ts'
import type { LinkState } from './control-link.ts'

export interface NodeAgentComponents {
  readonly transport: PeerTransport
  readonly discovery: Discovery
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** Signs as this peer, under the domain `capability`. */
  readonly sign: (record: CapabilityRecord) => Promise<Signed>
  readonly createEngine: CreateEngine
  /** What the engine itself can compute on; asked in a process of its own when absent. */
  readonly probeDevices?: () => Promise<EngineDevices>
  /** Takes over a revocation list that a coordinator handed over, after checking its signature. */
  readonly onRevocations?: (revocations: Signed) => Promise<void>
  /** What `models()` or `problems()` say has changed. */
  readonly onModels?: () => void
  /** When, for whom and how much this node serves; always and for everyone when absent. */
  readonly policy?: OwnerPolicy
  /** What tells how warm the machine is and what it takes; nothing is said of that when absent. */
  readonly senses?: (hasNvidia: () => boolean) => Senses
  /** The policy's verdict, or what is wrong with it, has changed. */
  readonly onPolicy?: () => void
  /** Brings a model into this machine's store, from members; gives its path. Absent where nothing can be fetched. */
  readonly fetchModel?: (digest: ModelDigest, signal: AbortSignal) => Promise<string>
  /** Where spans of attempts go; there are none without it. */
  readonly spans?: SpanSink | undefined
  /** Addresses at which this peer can be dialled, for the record. */
  readonly addresses?: () => readonly string[]
  /** For tests: other machines than this one. */
  readonly power?: PowerSource
  readonly runCommand?: RunCommand
  readonly hostFacts?: () => HostFacts
  readonly watchOthers?: WatchOthers
  readonly energy?: EnergyMeter
}

export interface NodeAgentInit {
  readonly dataDir: string
  /** Files, directories of `.gguf` files, `echo:` labels. */
  readonly models: readonly string[]
  /** Models that are another one with adapters. */
  readonly adapted?: readonly AdaptedModel[]
  /** Servers on this machine that run models already; none when absent. */
  readonly upstream?: UpstreamModelsInit
  readonly name: string
  /** Sequences that each model decodes together; the engine's default when absent. */
  readonly slots?: number
  /** CPU threads of each engine; the engine's default when absent. */
  readonly threads?: number
  readonly contextTokens?: number
  /** Of KV states in files, for each loaded model; none are kept when 0 or absent. */
  readonly kvStatesBytesMax?: number
  readonly labels?: Readonly<Record<string, string>>
  /** `edge` when absent. */
  readonly tier?: Tier
  readonly price?: Price
  /** What coordinators may order where no policy says it; `load` when absent. */
  readonly replicas?: ReplicaConsent
  /** Time for running attempts to end at `stop`, in ms. */
  readonly graceMs?: number
}

export interface ModelStatus {
  readonly path: string
  /** Whether the model is more than the file at `path`, which then does not have its digest. */
  readonly isAdapted: boolean
  /** Its files, of one that is not one GGUF file. */
  readonly parts?: ModelParts
  readonly capability: ModelCapability
  readonly loadedShare: number
  readonly running: number
  readonly failure?: SkeinError
}

export interface NodeStatus {
  readonly peerId: PeerId
  readonly name: string
  /** Takes no new work: its owner, or the owner's policy, said so. */
  readonly isCordoned: boolean
  /** Takes no new work, and asks the coordinators to move what runs. */
  readonly isDraining: boolean
  readonly running: number
  /** Sequence of the record that holds now; absent before the first. */
  readonly sequence?: number
  readonly hardware: Hardware
  readonly power: PowerState
  /** Absent without a policy. */
  readonly policy?: PolicyStatus
  readonly coordinators: readonly {
    readonly peerId: PeerId
    readonly state: LinkState
    /** There and back on its control stream; absent until it is known. */
    readonly roundTripMs?: number
    /** Origins of its gateway that other machines reach; absent where there is none. */
    readonly http?: readonly string[]
  }[]
}

export interface NodeAgent extends Startable {
  status(): NodeStatus
  models(): ModelStatus[]
  /** Models that coordinators are told of now; `undefined` while those that its owner named are still being looked at. */
  announced(): readonly ModelDigest[] | undefined
  /** Models that cannot be used, and why. */
  problems(): ModelProblem[]
  /** A model has come into the store at `path`: it is served from now on. Does not throw; `problems()` has what was wrong. */
  include(path: string): Promise<void>
  /**
   * A model is about to leave the store: it is unloaded, and served no more. Resolves when its engine has ended.
   *
   * @throws SkeinError MODEL_IN_USE while something runs on it.
   */
  exclude(digest: ModelDigest): Promise<void>
  /**
   * Before the node leaves; there is no way back. Refuses new attempts, lets coordinators move the running ones, or those
   * end, for `graceMs`, then ends them with NODE_DRAINING. Resolves as soon as nothing runs.
   */
  drain(graceMs?: number): Promise<void>
}
