/** What the mesh API tells, as far as the picture of the mesh shows it. Times are the coordinator's wall clock, in ms since 1970. */

export interface NodeName {
  readonly peerId: string
  readonly name: string
}

export interface DecodeSpeed {
  readonly sequences: number
  readonly tokensPerSecond: number
}

export interface NodeModel {
  readonly digest: string
  readonly name: string
  readonly residency: 'resident' | 'loading' | 'disk'
  readonly contextTokens: number
  readonly slots: number
  readonly slotsInUse: number
  /** Absent until the node has measured it. */
  readonly speed?: { readonly prefillTokensPerSecond: number; readonly decode: readonly DecodeSpeed[] }
}

export interface NodeLoad {
  readonly memoryFreeBytes: number
  /** Of the hottest processor or GPU; absent where the machine does not tell. */
  readonly temperatureCelsius?: number
  /** What the machine takes, as far as it is metered; absent where nothing is. */
  readonly watts?: number
  readonly isCordoned: boolean
  readonly isDraining: boolean
  /** Why the policy of its owner takes no new work. */
  readonly paused?: string
  /** What the owner lets the coordinator order. */
  readonly replicas?: string
}

export interface MeshNode extends NodeName {
  readonly roles: readonly string[]
  readonly state: 'initializing' | 'ready' | 'suspect' | 'disconnected'
  readonly isEligible: boolean
  /** Why it takes no work, in the coordinator's words. */
  readonly reasons: readonly string[]
  readonly isSelf: boolean
  readonly isCloud: boolean
  readonly power: 'mains' | 'battery' | 'unknown'
  readonly certificateExpiresAtMs: number
  readonly hardware?: {
    readonly cpu: string
    readonly threads: number
    readonly memoryBytes: number
    readonly platform: string
    readonly gpus: readonly { readonly name: string; readonly backend: string; readonly memoryBytes: number }[]
  }
  readonly roundTripMs?: number
  readonly bytesPerSecond?: number
  /** Whom its owner serves; everyone when absent. */
  readonly tenants?: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly models: readonly NodeModel[]
  readonly load?: NodeLoad
}

export const OPEN_STATES = ['queued', 'running'] as const
export const ENDED_STATES = ['completed', 'failed', 'cancelled', 'expired', 'rejected'] as const
export type EndedState = (typeof ENDED_STATES)[number]
export type TaskState = (typeof OPEN_STATES)[number] | EndedState

export const PRIORITIES = ['system', 'interactive', 'default', 'bulk'] as const
export type Priority = (typeof PRIORITIES)[number]

/** One line of `GET /mesh/v1/tasks`. */
export interface TaskSummary {
  readonly taskId: string
  readonly model: string
  readonly priority: Priority
  readonly tenant: string
  readonly state: TaskState
  readonly admittedAtMs: number
  readonly endedAtMs?: number
  readonly attempts: number
  /** Of the last attempt. */
  readonly node?: NodeName
  readonly tokens: number
  readonly code?: string
}

/** An attempt as a bar of a lane. */
export interface Bar {
  /** From 1 on. */
  readonly attempt: number
  readonly node: NodeName
  readonly fromMs: number
  /** Absent while it runs. */
  readonly toMs?: number
  /** `first`, or why the task moved here. */
  readonly reason: string
}

export interface ReplicaOrder {
  readonly order: number
  readonly digest: string
  readonly node: NodeName
  readonly cause: string
  readonly reason: string
  readonly state: 'sent' | 'accepted' | 'done' | 'refused' | 'failed' | 'lost'
  readonly message?: string
  readonly atMs: number
  readonly endedAtMs?: number
}

export interface MeshModel {
  readonly id: string
  readonly digest: string
  readonly aliases: readonly string[]
  readonly engine: string
  readonly quantization: string
  readonly parameters: number
  readonly sizeBytes: number
  readonly contextTokens: number
  readonly features: readonly string[]
  readonly nodes: readonly NodeName[]
  readonly isResident: boolean
  readonly replicas: {
    readonly resident: number
    readonly loading: number
    readonly onDisk: number
    readonly requestsPerMinute: number
    readonly loadShare?: number
    readonly waitMs?: number
    readonly hindrance?: string
  }
}

/** A device behind a bridge, as far as the topology shows it. */
export interface BridgedDevice {
  readonly id: string
  readonly name: string
  readonly state: string
  readonly bridge: string
  readonly isBridgeOnline: boolean
}

/** Parts of a prediction in ms, in the order in which they pass. */
export const PARTS = ['waitMs', 'loadMs', 'linkMs', 'prefillMs', 'decodeMs', 'penaltyMs'] as const
export type Part = (typeof PARTS)[number]

export type Prediction = Readonly<Record<Part, number>> & { readonly totalMs: number }

export interface Candidate extends NodeName {
  readonly prediction?: Prediction
  readonly rejected?: string
}

export interface ExplainedAttempt {
  readonly attempt: number
  readonly atMs: number
  readonly node: NodeName
  readonly route: string
  readonly reason: string
  /** Tokens that the answer had when it began. */
  readonly from: number
  readonly to?: number
  readonly leave?: string
  /** What it was expected to cost there, in millionths of the owner's currency. */
  readonly estimateMicros?: number
  readonly predicted?: Prediction
  readonly candidates: readonly Candidate[]
  readonly endedAtMs?: number
  readonly outcome?: string
  readonly code?: string
  readonly message?: string
  /** In ms: `acceptMs`, `firstTokenMs`, `decodeMs`. */
  readonly observed: Readonly<Record<string, number>>
}

export interface Explanation {
  readonly taskId: string
  readonly model: string
  readonly priority: Priority
  readonly isLocalOnly: boolean
  readonly state: TaskState
  readonly tokens: number
  /** Place in the line, from 1 on, while it waits. */
  readonly position?: number
  readonly attempts: readonly ExplainedAttempt[]
  readonly result?: {
    readonly outcome: string
    readonly finishReason?: string
    readonly error?: { readonly code: string; readonly message: string }
    readonly promptTokens?: number
    readonly cachedTokens?: number
    readonly completionTokens?: number
    readonly queuedMs?: number
    readonly firstTokenMs?: number
    readonly decodeMs?: number
  }
}
