/**
 * What the gateway asks of the coordinator. The gateway knows HTTP and the three APIs; it knows nothing of scheduling,
 * attempts or peers beyond these types, and tests drive it with a twin of this port.
 */
import type {
  EngineKind,
  Hardware,
  LoadReport,
  ModelDigest,
  ModelSpeed,
  PeerId,
  Prompt,
  RequestId,
  Role,
  Sampling,
} from '../../mesh/protocol/index.ts'
import type { NodeName, TaskHandle } from '../dispatch/index.ts'

export type { NodeName, TaskEvent, TaskHandle, TaskTiming } from '../dispatch/index.ts'

export interface TaskRequest {
  readonly requestId: RequestId
  /** Alias or digest, as the client wrote it. */
  readonly model: string
  readonly prompt: Prompt
  /** Without a seed, admission draws one: every task has a seed. */
  readonly sampling: Omit<Sampling, 'seed'> & { readonly seed?: number }
  readonly stop: readonly string[]
  /** As much as the context holds, when absent. */
  readonly maxTokens?: number
  /** Longest time from now to the end, in ms; `LIMITS.taskMs` when absent. */
  readonly deadlineMs?: number
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
  readonly nodes: readonly NodeName[]
  /** True when a node has it in memory. */
  readonly resident: boolean
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

export interface MeshService {
  /**
   * Admits a task. Resolves when it was accepted; waiting, assignment and tokens come as events.
   *
   * @throws SkeinError MODEL_NOT_FOUND, NO_NODE, SATURATED, SHUTTING_DOWN.
   */
  submit(request: TaskRequest, signal: AbortSignal): TaskHandle
  models(): ModelView[]
  nodes(): NodeView[]
  self(): SelfView
  /** Whether a request could be served now; `reason` says why not. */
  ready(): { readonly ready: boolean; readonly reason: string }
  /** @throws SkeinError NOT_THE_AUTHORITY. */
  invite(request: InviteRequest): Promise<InviteView>
  /** Voids the certificates of a member, by peer id or name. @throws SkeinError MEMBER_NOT_FOUND, NOT_THE_AUTHORITY. */
  revoke(member: string): Promise<NodeName>
}
