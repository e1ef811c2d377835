/** What the scheduler sees and says. Plain data: a snapshot is taken by the directory, a plan is committed by dispatch. */
import type {
  Access,
  CloudReason,
  ErrorCode,
  ModelAbility,
  ModelCapability,
  ModelDigest,
  PeerId,
  Price,
  Prediction,
} from '../../mesh/protocol/index.ts'

export type { Prediction } from '../../mesh/protocol/index.ts'

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
  /** What the node says why its owner's policy takes no new work; it is draining then. */
  readonly pausedBecause?: string
  /** Whom its owner serves; absent when everyone. */
  readonly access?: Access
  /** A rented machine: nothing local-only goes there. */
  readonly isCloud: boolean
  /** There is no such machine yet: it may be launched, or is on its way. */
  readonly isComing?: boolean
  /** For each million tokens; absent where nothing is billed. */
  readonly price?: Price
  /** Its breaker is open: too many attempts failed there lately. */
  readonly isTripped: boolean
  readonly onBattery: boolean
  /** One way and back on the control stream, in ms; 0 for ourselves. */
  readonly linkMs: number
  /** What prompts lately went there at; absent until a long one did. */
  readonly linkBytesPerSecond?: number
  /** Failures of attempts on it, halved every minute. */
  readonly recentFailures: number
  readonly models: ReadonlyMap<ModelDigest, ModelSnapshot>
}

export interface ModelSnapshot {
  readonly capability: ModelCapability
  /** Attempts that hold a slot: reported, corrected by what was dispatched and ended since the report. */
  readonly running: number
  readonly prefillTokensPending: number
  /** Delivered speed as a share of the measured one that the node claims; 1 until learned. */
  readonly prefillCorrection: number
  readonly decodeCorrection: number
  /** Expected ms until each slot in use is free, shortest first; as long as `running`, or shorter when unknown. */
  readonly slotFreeMs: readonly number[]
  /** Ms from one slot's becoming free to the next one's while all are in use, as it lately was; absent until seen. */
  readonly turnMs?: number
  /** Bytes of prompt, counted from its start, whose state the node likely holds. */
  readonly cachedBytes: (prefix: PromptPrefix) => number
}

/** Hashes of a prompt's growing beginnings, by which equal beginnings are found. */
export interface PromptPrefix {
  /** Hash of the first `ends[i]` bytes, chained. */
  readonly hashes: readonly number[]
  readonly ends: readonly number[]
}

export interface Snapshot {
  readonly nodes: readonly NodeSnapshot[]
  /** Ms of a node's time that tasks ahead in the line wait for: the sum of their `Wait.workMs`. */
  readonly claims?: ReadonlyMap<PeerId, number>
  /** The node that lately held most of a prompt's state: a sample of a large mesh must not miss it. */
  readonly warmest?: (digest: ModelDigest, prefix: PromptPrefix) => NodeSnapshot | undefined
}

/** What a task needs, as far as it is known before a tokenizer has seen it. */
export interface TaskDemand {
  readonly digest: ModelDigest
  /** Estimate of prompt and generated tokens that must be prefilled. */
  readonly prefillTokens: number
  /** Lower bound of the same, by which a context can be ruled out for certain. */
  readonly prefillTokensMin: number
  /** UTF-8 bytes of the prompt, and the beginnings by which a warm node is found. */
  readonly promptBytes: number
  readonly prefix: PromptPrefix
  /** What the model must be able to do. */
  readonly features: readonly ModelAbility[]
  readonly localOnly: boolean
  /** What may make it leave the owner's nodes; absent when nothing may. */
  readonly leave?: LeaveDemand
  /** Whose task it is; one that names none runs only where everyone is served. */
  readonly tenant?: string
  /** What may still be spent on this task, in units of currency; 0 keeps it off nodes with a price. */
  readonly budget: number
  /** What it may still cost by its client's own limit, in the same units; no limit when absent. */
  readonly costMax?: number
  /** The most that it can take: by these a budget is checked, since an answer may become longer than expected. */
  readonly inputTokensMax: number
  readonly outputTokensMax: number
  /** Tokens expected to be generated. */
  readonly decodeTokens: number
  /** Nodes (by `exclusionKey`) that failed this task lately. */
  readonly excluded: ReadonlySet<string>
  /** Node that it runs on now: of a planned move, which must not end where it began. */
  readonly leaving?: PeerId
  /** A free slot is not waited for: a planned move needs one now. */
  readonly mustStartNow?: boolean
  /** Ms for which it has waited in the line already. */
  readonly waitedMs?: number
  /** Of an answer that has begun; absent of others. */
  readonly goesOn?: GoesOn
}

/** What an answer that has begun asks of the node that goes on with it. */
export interface GoesOn {
  /** Some of its tokens are pieces of text: it goes on behind its text, wherever. */
  readonly hasPieces: boolean
  /** It can go on behind its text. */
  readonly canSay: boolean
}

/** By which of its owner's reasons a task may leave, and what is known that may be one. */
export interface LeaveDemand {
  /** Those that the policy takes for this task. */
  readonly reasons: ReadonlySet<CloudReason>
  /** The client asked for the cloud, and nothing else will do. */
  readonly isNamed: boolean
  /** The answer of a node of the owner's was not sure enough: another one will not do. */
  readonly isUnsure?: boolean
  /** It was running before: of its answer there may be something. */
  readonly hasBegun: boolean
  /** Why it has left before: it may go on elsewhere in the cloud for the same. */
  readonly earlier?: CloudReason
  /** From now to its deadline. */
  readonly leftMs: number
  /** From now until it is not kept waiting for a slot any longer. */
  readonly waitLeftMs: number
  /** Predicted ms until those ahead of it in the line have a slot of the owner's nodes. */
  readonly aheadMs: number
}

export const exclusionKey = (node: Pick<NodeSnapshot, 'peerId' | 'session'>): string => `${node.peerId}#${node.session}`

/** Why a cloud node was not considered. */
export const CLOUD_REJECTIONS = [
  'cloud, and the task is local-only',
  'cloud, and the policy lets no such task leave',
  "cloud, and the owner's nodes can do it",
  'cloud, and the policy does not take the reason',
] as const
export type CloudRejection = (typeof CLOUD_REJECTIONS)[number]

/** Why a node was not considered, for people, but for what a node says itself: a closed set, for metrics. */
export const REJECTIONS = [
  'no such model',
  'no such feature',
  'not connected',
  'suspect',
  'draining',
  ...CLOUD_REJECTIONS,
  'not cloud, and the cloud was asked for',
  'not cloud, and the answer was not sure enough',
  'cannot go on with this answer',
  'does not serve this tenant',
  'over the budget',
  'costs more than the request allows',
  'failed this task',
  'breaker open',
  'the node it leaves',
  'context too small',
  'no free slot',
] as const
export type Rejection = `paused: ${string}` | (typeof REJECTIONS)[number]

export interface Candidate {
  readonly peerId: PeerId
  readonly name: string
  readonly verdict: { readonly prediction: Prediction } | { readonly rejected: Rejection }
}

/** Its best node has no free slot yet, and waiting for it is predicted to end sooner than any that has one. */
export interface Wait {
  readonly kind: 'wait'
  readonly node: NodeSnapshot
  readonly prediction: Prediction
  /** Ms of the node's time that it will take: claimed before those behind it in the line. */
  readonly workMs: number
  /** Why it may leave, where its node is a cloud node. */
  readonly reason?: CloudReason
  readonly explain: readonly Candidate[]
}

/** A proposal: dispatch verifies it against the present before it commits. */
export interface Plan {
  readonly kind: 'plan'
  readonly node: NodeSnapshot
  readonly prediction: Prediction
  /** Why it may leave, where its node is a cloud node. */
  readonly reason?: CloudReason
  readonly explain: readonly Candidate[]
}

export interface Unschedulable {
  readonly kind: 'unschedulable'
  readonly code: Extract<
    ErrorCode,
    | 'NO_NODE'
    | 'MODEL_NOT_FOUND'
    | 'UNSUPPORTED_PARAMETER'
    | 'CONTEXT_LENGTH_EXCEEDED'
    | 'LOCAL_ONLY'
    | 'CLOUD_NOT_ALLOWED'
    | 'NOT_SERVED'
    | 'BUDGET_EXCEEDED'
    | 'NOT_CONTINUABLE'
    | 'NO_ELIGIBLE_NODE'
    | 'SATURATED'
  >
  readonly message: string
  /** Predicted ms until a slot is free, where all are taken. */
  readonly waitMs?: number
  /** They are those of cloud nodes: who waits for the owner's is not behind it. */
  readonly isAway?: boolean
  /** Among them is a machine that may come: it is worth a longer wait. */
  readonly isComing?: boolean
  readonly explain: readonly Candidate[]
}
