/**
 * What the gateway asks of the coordinator. The gateway knows HTTP and the three APIs; it knows nothing of scheduling,
 * attempts or peers beyond these types, and tests drive it with a twin of this port.
 */
import type {
  Access,
  EngineKind,
  Hardware,
  LoadReport,
  ModelAbility,
  ModelDigest,
  ModelEnergy,
  ModelSpeed,
  OutputFormat,
  PeerId,
  Prompt,
  RequestId,
  Role,
  Sampling,
  TaskId,
  TaskState,
  ThoughtMarks,
  Tier,
  TokenLogprob,
  Work,
} from '../../mesh/protocol/index.ts'
import type { CacheStats } from '../cache/index.ts'
import type { LinkView } from '../directory/index.ts'
import type {
  BudgetChange,
  BudgetView,
  CloudStats,
  LimitState,
  NodeName,
  ShortCounts,
  TaskEstimate,
  TaskHandle,
  WorkAnswer,
  WorkStats,
} from '../dispatch/index.ts'
import type { MeshEvent } from './observers.ts'
import type { ReplicaOrder, ReplicaStats, ReplicaView } from '../residency/index.ts'
import type {
  Attachment,
  LedgerAttempt,
  Priority,
  TaskQuery,
  TaskResult,
  TaskSummary,
  TaskTrace,
} from '../ledger/index.ts'

export type { CacheStats } from '../cache/index.ts'
export type { ReplicaOrder, ReplicaStats, ReplicaView } from '../residency/index.ts'
export { MAKING } from '../dispatch/index.ts'
export { AT_LIMIT } from '../ledger/index.ts'
export type {
  BudgetChange,
  BudgetView,
  CacheOutcome,
  Left,
  LimitState,
  NodeName,
  Receipt,
  TaskEstimate,
  TaskEvent,
  TaskHandle,
  TaskTiming,
  WorkAnswer,
  WorkStats,
} from '../dispatch/index.ts'
export type {
  Attachment,
  LedgerAttempt,
  Priority,
  TaskQuery,
  TaskResult,
  TaskSpec,
  TaskSummary,
  TaskTrace,
} from '../ledger/index.ts'

export interface TaskRequest {
  readonly requestId: RequestId
  /** Alias or digest, as the client wrote it. */
  readonly model: string
  readonly prompt: Prompt
  /**
   * What the client named. Admission fills the rest: with what the model's makers recommend, else with OpenAI's defaults,
   * and with a seed that it draws, so that every task has one.
   */
  readonly sampling: Partial<Sampling>
  readonly stop: readonly string[]
  readonly logprobs?: number
  readonly format?: OutputFormat
  /** `default` when absent. */
  readonly priority?: Priority
  /** Whose share it counts against. */
  readonly tenant: string
  readonly localOnly?: boolean
  /** The client asks for the cloud. */
  readonly route?: 'cloud'
  /** Meshes that it has left before it came to this one; none when absent. */
  readonly hops?: number
  /** Marks of those, oldest first. */
  readonly via?: readonly string[]
  readonly attachment: Attachment
  /** Its text is kept for `LIMITS.taskRetentionMs`. */
  readonly stored?: boolean
  /** What the gateway needs to write the answer again: its own JSON, at most 64 KiB. */
  readonly shape: string
  readonly idempotency?: { readonly key: string; readonly bodyDigest: string }
  /** As much as the context holds, when absent. */
  readonly maxTokens?: number
  /** Longest time from now to the end, in ms; `LIMITS.taskMs` when absent. */
  readonly deadlineMs?: number
  /** `use` when absent. */
  readonly cache?: CacheWish
  /** The most that it may cost, in units of the owner's currency. */
  readonly costMax?: number
  /** Absent where there is no trace. */
  readonly trace?: TaskTrace
}

/** What a client says of answers that are kept. */
export interface CacheWish {
  /** `refresh`: the answer is made anew, and kept. `off`: it is made for this request alone. */
  readonly mode: 'use' | 'refresh' | 'off'
  /** An older one is not wanted. */
  readonly ageMsMax?: number
  /** No answer at all rather than one that was not kept. */
  readonly onlyKept?: boolean
}

/** What a model does in one step: no stream, no ledger, and nothing that could be resumed. */
export interface WorkRequest extends Pick<
  TaskRequest,
  'requestId' | 'model' | 'priority' | 'tenant' | 'localOnly' | 'route' | 'deadlineMs' | 'trace'
> {
  /** With as many texts as `LIMITS.workInputsMax`. */
  readonly work: Work
}

export interface ModelView {
  readonly digest: ModelDigest
  readonly aliases: readonly string[]
  readonly engine: EngineKind
  readonly quantization: string
  readonly parameters: number
  readonly sizeBytes: number
  /** Of the node that can hold the most. */
  readonly contextTokens: number
  /** What one of its nodes can do with it, or more. */
  readonly features: readonly (ModelAbility | 'chat' | 'thinking')[]
  /** With what an answer takes there, as far as that is known. */
  readonly nodes: readonly (NodeName & { readonly energy?: ModelEnergy })[]
  /** True when a node has it in memory. */
  readonly resident: boolean
  /** How many nodes have it where, what is asked of them, and what was ordered. */
  readonly replicas: ReplicaView
}

export interface NodeView {
  readonly peerId: PeerId
  readonly name: string
  readonly roles: readonly Role[]
  readonly state: 'initializing' | 'ready' | 'suspect' | 'disconnected'
  readonly eligible: boolean
  /** Why it is not eligible; empty when it is. */
  readonly reasons: readonly string[]
  readonly isSelf: boolean
  readonly certificateExpiresAtMs: number
  readonly hardware?: Hardware
  readonly power?: 'mains' | 'battery' | 'unknown'
  readonly tier?: Tier
  /** The way from the coordinator to it and back, as far as it is known. */
  readonly link?: LinkView
  /** Whom its owner serves; absent when everyone of the mesh. */
  readonly access?: Access
  readonly labels: Readonly<Record<string, string>>
  readonly models: readonly {
    readonly digest: ModelDigest
    readonly name: string
    readonly residency: 'resident' | 'loading' | 'disk'
    readonly contextTokens: number
    readonly slots: number
    readonly slotsInUse: number
    readonly speed?: ModelSpeed
  }[]
  readonly load?: LoadReport
}

/** What one way of finding members has found, in words. */
export interface DiscoveryReport {
  readonly path: string
  readonly detail: string
}

export interface SelfView extends NodeName {
  readonly meshId: string
  /** Whether the mesh key is here. */
  readonly isAuthority: boolean
  /** This machine's wall clock, in ms since 1970. */
  readonly clockMs: number
  /** Of all amounts: its code of ISO 4217; absent where nothing is priced. */
  readonly currency?: string
  readonly discovery: readonly DiscoveryReport[]
}

export interface InviteRequest {
  readonly uses: number
  readonly validMs: number
}
export interface InviteView {
  /** What the joiner passes to `skein join`. */
  readonly invite: string
  readonly uses: number
  readonly expiresAtMs: number
}

/** A pairing code, by which one machine may join. */
export interface PairingView {
  /** `used`: a machine has joined by it; `spent`: too many wrong codes were shown; `over`: its time is up, or it was taken back. */
  readonly state: 'open' | 'used' | 'spent' | 'over'
  /** Only while it is open. */
  readonly code?: string
  /** Wall clock in ms since 1970. */
  readonly expiresAtMs: number
  readonly triesLeft: number
  /** Who joined by it. */
  readonly joined?: NodeName
}

/** Pairing codes, where the mesh key is. */
export interface PairingDesk {
  /** Makes a code; the one before holds no more. */
  open(validMs: number): PairingView
  /** The last one that was made, as it is now. */
  current(): PairingView | undefined
  /** Takes an open one back. */
  close(): void
}

/** A task with all that is known of it, running or ended. */
export interface TaskView {
  readonly taskId: TaskId
  readonly requestId: RequestId
  readonly model: string
  readonly digest: ModelDigest
  readonly priority: Priority
  readonly tenant: string
  readonly attachment: Attachment
  /** Kept because its client asked for that. */
  readonly stored: boolean
  readonly localOnly: boolean
  readonly state: TaskState
  readonly seed: number
  /** Where the answer has a thought, of a model that thinks. */
  readonly thought?: ThoughtMarks
  readonly shape: string
  readonly admittedAtMs: number
  readonly deadlineAtMs: number
  readonly endedAtMs?: number
  readonly attempts: readonly LedgerAttempt[]
  /** Tokens and text delivered so far; the text is empty when it was deleted after its time. */
  readonly tokens: number
  readonly text: string
  /** Of each token, when they were asked for. */
  readonly logprobs?: readonly TokenLogprob[]
  readonly isPurged: boolean
  readonly result?: TaskResult
  /** Place in the line, from 1, while it waits. */
  readonly position?: number
}

/** Plain numbers about what the mesh did since its start, for people and for metrics. */
export interface MeshStats {
  readonly dispatch: {
    readonly running: number
    readonly waiting: Readonly<Partial<Record<Priority, number>>>
    /** Moves of running answers, by the reason of the attempt that took over. */
    readonly migrations: Readonly<Record<string, number>>
    /** Frames that were not delivered, by reason. */
    readonly droppedFrames: Readonly<Record<string, number>>
    /** Planned moves, by how they ended: `ok`, `failed`. */
    readonly handovers: { readonly ok: number; readonly failed: number }
    /** Attempts that were begun and have not ended. */
    readonly attempts: number
    /** What left for the cloud, what was kept from it, and what came of answers that were judged. */
    readonly cloud: CloudStats
    /** Events that are not durable yet, and how long the oldest has waited, in ms. */
    readonly ledger: { readonly events: number; readonly ms: number }
    /** Limits of money of all, and what became of tasks for which less was left. */
    readonly budget: { readonly short: Readonly<ShortCounts>; readonly periods: readonly LimitState[] }
  }
  readonly work: WorkStats
  readonly replicas: ReplicaStats
  /** How far predictions were off, by their part: errors as a share of what was observed. */
  readonly prediction: Readonly<
    Record<string, { readonly count: number; readonly medianError: number; readonly p90Error: number }>
  >
  /** Absent where no answers are kept. */
  readonly cache?: CacheStats
}

export type NodeDirective = 'cordon' | 'uncordon' | 'drain'

export interface MeshService {
  /**
   * Admits a task, or finds the one that the same `Idempotency-Key` made. Waiting, assignment and tokens come as events.
   *
   * @param signal of the client; what its abort means is said by the request's `attachment`.
   * @throws SkeinError MODEL_NOT_FOUND, NO_NODE, INVALID_REQUEST when the model generates no text, SATURATED, DEADLINE_UNREACHABLE, LOCAL_ONLY, CLOUD_NOT_ALLOWED, SHUTTING_DOWN,
   *   IDEMPOTENCY_MISMATCH, LEDGER_UNAVAILABLE, NOT_CACHED.
   */
  submit(request: TaskRequest, signal: AbortSignal): Promise<TaskHandle>
  /**
   * What would become of a request that came now. Nothing is admitted, set aside, or recorded.
   *
   * @throws SkeinError MODEL_NOT_FOUND, NO_NODE, INVALID_REQUEST when the model generates no text; CLOUD_NOT_ALLOWED.
   */
  estimate(request: TaskRequest): TaskEstimate
  /**
   * Results of all texts, in their order, or of all tensors: whole, or an error.
   *
   * @param signal of the client: its abort ends the work.
   * @throws SkeinError as `submit`, of what concerns no ledger; INVALID_REQUEST when the model does no such work;
   *   TASK_EXPIRED, ATTEMPTS_EXHAUSTED; what a node says about the request.
   */
  work(request: WorkRequest, signal: AbortSignal): Promise<WorkAnswer>
  /** @throws SkeinError NOT_FOUND. */
  task(taskId: TaskId): Promise<TaskView>
  /** A task that runs or has ended, to be followed (again). @throws SkeinError NOT_FOUND. */
  resume(taskId: TaskId): Promise<TaskHandle>
  /** What it was asked, as admission took it. @throws SkeinError NOT_FOUND, also when its texts were deleted. */
  promptOf(taskId: TaskId): Promise<Prompt>
  /** Ends a running task as cancelled; an ended one stays as it is. @throws SkeinError NOT_FOUND. */
  cancel(taskId: TaskId): Promise<TaskView>
  /** Deletes prompt and text of a task; one that runs is cancelled before. @throws SkeinError NOT_FOUND, LEDGER_UNAVAILABLE. */
  erase(taskId: TaskId): Promise<void>
  /** Newest first. */
  tasks(query: TaskQuery): Promise<TaskSummary[]>
  /** Tells a node, by peer id or name, what its owner wants. @throws SkeinError MEMBER_NOT_FOUND, NODE_LOST. */
  direct(member: string, directive: NodeDirective): Promise<NodeName>
  stats(): MeshStats
  /** What may be spent, what was, and who has set it. */
  budget(): BudgetView
  /**
   * Changes that; resolves when it is durable, and holds.
   *
   * @param by the tenant of who asks for it.
   * @throws SkeinError INVALID_REQUEST, LEDGER_UNAVAILABLE.
   */
  setBudget(change: BudgetChange, by: string): Promise<BudgetView>
  /** Deletes the answers that are kept, of all tenants. Does not throw. */
  clearCache(): Promise<void>
  models(): ModelView[]
  /** Orders for replicas: those in flight, then those that ended, the newest first. */
  replicaOrders(): ReplicaOrder[]
  /** Tells of every order for a replica, and of each change of one. Returns how to stop that. */
  watchReplicas(listener: (order: ReplicaOrder) => void): () => void
  /** Tells of all that happens from now on. Returns how to stop that. `listener` must not wait. */
  watch(listener: (event: MeshEvent) => void): () => void
  nodes(): NodeView[]
  self(): SelfView
  /** Whether a request could be served now; `reason` says why not. */
  ready(): { readonly ready: boolean; readonly reason: string }
  /** @throws SkeinError NOT_THE_AUTHORITY. */
  invite(request: InviteRequest): Promise<InviteView>
  /** Absent where the mesh key is not. */
  readonly pairing?: PairingDesk | undefined
  /** Voids the certificates of a member, by peer id or name. @throws SkeinError MEMBER_NOT_FOUND, NOT_THE_AUTHORITY. */
  revoke(member: string): Promise<NodeName>
}
