/** What the scheduler sees and says. Plain data: a snapshot is taken by the directory, a plan is committed by dispatch. */
import type { ErrorCode, ModelCapability, ModelDigest, PeerId } from '../../mesh/protocol/index.ts'

/** One node as it was when the snapshot was taken. */
export interface NodeSnapshot {
  readonly peerId: PeerId
  readonly name: string
  /** True for the coordinator's own machine. */
  readonly isSelf: boolean
  /** Grows with each control stream of the node: an exclusion of an earlier life does not hold for a later one. */
  readonly session: number
  readonly isConnected: boolean
  /** No frame for `LIMITS.suspectAfterMs`: it gets no new work. */
  readonly isSuspect: boolean
  readonly isDraining: boolean
  readonly onBattery: boolean
  /** One way and back on the control stream, in ms; 0 for ourselves. */
  readonly linkMs: number
  /** Failures of attempts on it, halved every minute. */
  readonly recentFailures: number
  readonly models: ReadonlyMap<ModelDigest, ModelSnapshot>
}

export interface ModelSnapshot {
  readonly capability: ModelCapability
  /** Attempts that hold a slot: reported, corrected by what was dispatched and ended since the report. */
  readonly running: number
  readonly prefillTokensPending: number
}

export interface Snapshot {
  readonly nodes: readonly NodeSnapshot[]
}

/** What a task needs, as far as it is known before a tokenizer has seen it. */
export interface TaskDemand {
  readonly digest: ModelDigest
  /** Estimate of prompt and generated tokens that must be prefilled. */
  readonly prefillTokens: number
  /** Lower bound of the same, by which a context can be ruled out for certain. */
  readonly prefillTokensMin: number
  /** Tokens expected to be generated. */
  readonly decodeTokens: number
  /** Nodes (by `exclusionKey`) that failed this task lately. */
  readonly excluded: ReadonlySet<string>
}

export const exclusionKey = (node: Pick<NodeSnapshot, 'peerId' | 'session'>): string => `${node.peerId}#${node.session}`

/** The parts of a predicted completion, in ms. Their sum is the score; less is better. */
export interface Prediction {
  readonly loadMs: number
  readonly prefillMs: number
  readonly decodeMs: number
  readonly linkMs: number
  readonly penaltyMs: number
  readonly totalMs: number
}

/** Why a node was not considered; a closed set, for metrics and for people. */
export type Rejection =
  'no such model' | 'not connected' | 'suspect' | 'draining' | 'failed this task' | 'context too small' | 'no free slot'

export interface Candidate {
  readonly peerId: PeerId
  readonly name: string
  readonly verdict: { readonly prediction: Prediction } | { readonly rejected: Rejection }
}

/** A proposal: dispatch verifies it against the present before it commits. */
export interface Plan {
  readonly kind: 'plan'
  readonly node: NodeSnapshot
  readonly prediction: Prediction
  readonly explain: readonly Candidate[]
}

export interface Unschedulable {
  readonly kind: 'unschedulable'
  readonly code: Extract<
    ErrorCode,
    'NO_NODE' | 'MODEL_NOT_FOUND' | 'CONTEXT_LENGTH_EXCEEDED' | 'NO_ELIGIBLE_NODE' | 'SATURATED'
  >
  readonly message: string
  readonly explain: readonly Candidate[]
}
