/**
 * All frames, by stream. `docs/PROTOCOL.md` draws the order in which they are legal. Tags are never used again for
 * another meaning.
 */
import { Type } from 'typebox'
import { SignedSchema } from '../capability.ts'
import {
  FinishReasonSchema,
  OutputFormatSchema,
  PromptSchema,
  SamplingSchema,
  StopSchema,
  TokenIdsSchema,
  TokenLogprobSchema,
  UsageSchema,
} from '../generation.ts'
import { LeaveSchema } from '../leave.ts'
import { LIMITS } from '../limits.ts'
import { LoadReportSchema } from '../load.ts'
import { RoleSchema } from '../membership.ts'
import { bytes, count, list, memberName, modelDigest, peerId, taskId, text } from '../schema.ts'
import { traceparent } from '../trace.ts'
import { WorkResultSchema, WorkSchema } from '../work.ts'
import { defineFrame, frameSet, type FrameOf } from './codec.ts'

const failure = { code: text(48), message: text(1024) }

// join: the only stream that a non-member may open
export const JoinRequest = defineFrame(
  0x01,
  'join.request',
  Type.Object({
    version: count(65_535),
    inviteId: text(64),
    secret: text(64),
    name: memberName(),
    roles: list(RoleSchema, 3, 1),
  }),
)
/** From a member whose certificate still holds, before it expires. */
export const JoinRenew = defineFrame(
  0x02,
  'join.renew',
  Type.Object({ version: count(65_535), certificate: SignedSchema }),
)
export const JoinGranted = defineFrame(
  0x03,
  'join.granted',
  /** `proof` answers a pairing code: who grants knows it too. */
  Type.Object({ certificate: SignedSchema, revocations: SignedSchema, proof: Type.Optional(text(64)) }),
)
export const JoinRefused = defineFrame(0x04, 'join.refused', Type.Object(failure))

// hello: each side shows its certificate
export const HelloCertificate = defineFrame(
  0x10,
  'hello.certificate',
  Type.Object({ version: count(65_535), certificate: SignedSchema, revocations: Type.Optional(SignedSchema) }),
)
export const HelloAccepted = defineFrame(0x11, 'hello.accepted', Type.Object({}))
export const HelloRefused = defineFrame(
  0x12,
  'hello.refused',
  /** `revocations` proves a CERTIFICATE_REVOKED to whoever it concerns. */
  Type.Object({ ...failure, revocations: Type.Optional(SignedSchema) }),
)

// control: node to coordinator, long-lived
export const ControlAnnounce = defineFrame(0x20, 'control.announce', Type.Object({ capability: SignedSchema }))
export const ControlLoad = defineFrame(0x21, 'control.load', Type.Object({ load: LoadReportSchema }))
export const ControlHeartbeat = defineFrame(
  0x22,
  'control.heartbeat',
  Type.Object({
    sequence: count(),
    /** The last heartbeat of the other side that was not sent back yet, and how long it was kept here. */
    echo: Type.Optional(Type.Object({ sequence: count(), heldMs: count(3_600_000) })),
    /** Of no meaning: how long it takes shows how wide the link is. */
    probe: Type.Optional(bytes(LIMITS.linkProbeBytesMax)),
  }),
)
/** The final frame, of either side. */
export const ControlGoodbye = defineFrame(0x23, 'control.goodbye', Type.Object({ reason: text(256) }))
/** The coordinator took the announcement; `sequence` is the record's. */
export const ControlWelcome = defineFrame(
  0x24,
  'control.welcome',
  Type.Object({
    sequence: count(),
    coordinator: peerId(),
    heartbeatIntervalMs: count(60_000, 50),
    /** Origins of its gateway, such as `http://192.168.1.10:7337`, where it can be reached from other machines. */
    http: Type.Optional(list(text(256), LIMITS.gatewayOriginsMax, 1)),
  }),
)
export const ControlRevocations = defineFrame(0x25, 'control.revocations', Type.Object({ revocations: SignedSchema }))

/** Attempts that run or ended here without a coordinator on their stream; sent after the record and on change. */
export const ControlHeld = defineFrame(
  0x26,
  'control.held',
  Type.Object({
    attempts: list(
      Type.Object({
        taskId: taskId(),
        fence: count(),
        /** Index in the answer behind the last token made. */
        index: count(LIMITS.generatedTokensMax),
        /** True when it has made its final frame. */
        ended: Type.Boolean(),
      }),
      LIMITS.heldAttemptsMax,
    ),
  }),
)
/** From the coordinator: these attempts are not wanted any more. */
export const ControlRelease = defineFrame(
  0x27,
  'control.release',
  Type.Object({
    attempts: list(Type.Object({ taskId: taskId(), fence: count() }), LIMITS.heldAttemptsMax),
  }),
)
/** From the coordinator: what the owner wants of the node. It answers by its next load report. */
export const ControlDirective = defineFrame(
  0x28,
  'control.directive',
  Type.Object({ directive: Type.Enum(['cordon', 'uncordon', 'drain']) }),
)
/** From the coordinator: have this model in memory, please. The node answers with `control.outcome`. */
export const ControlOrder = defineFrame(
  0x29,
  'control.order',
  Type.Object({
    /** Number of the order, never given twice by a coordinator. */
    order: count(),
    digest: modelDigest(),
    /** Fetch it from members when it is not on the disk. */
    fetch: Type.Boolean(),
  }),
)
/** What becomes of an order: `accepted`, then `done` or `failed`; or `refused`, or `done` at once. */
export const ControlOutcome = defineFrame(
  0x2a,
  'control.outcome',
  Type.Object({
    order: count(),
    state: Type.Enum(['accepted', 'refused', 'done', 'failed']),
    /** Why, of what was refused or has failed. */
    code: Type.Optional(text(48)),
    message: Type.Optional(text(1024)),
  }),
)

// attempt: coordinator to node, one stream each
const said = () => text(LIMITS.saidLengthMax)

export const AttemptStart = defineFrame(
  0x30,
  'attempt.start',
  Type.Object({
    taskId: taskId(),
    attempt: count(LIMITS.attemptsMax, 1),
    fence: count(),
    digest: modelDigest(),
    prompt: PromptSchema,
    sampling: SamplingSchema,
    stop: StopSchema,
    /** Of the whole task: tokens in `generated` count. */
    maxTokens: count(LIMITS.generatedTokensMax, 1),
    /** Tokens that earlier attempts generated, packed; the first new one has the index of their number. */
    generated: TokenIdsSchema,
    /** How many of the likeliest tokens are told beside each token; no log probabilities when absent. */
    logprobs: Type.Optional(count(LIMITS.topLogprobsMax)),
    format: Type.Optional(OutputFormatSchema),
    /** Prefill, answer `attempt.prepared`, and make no token before `attempt.commit`. */
    hold: Type.Optional(Type.Boolean()),
    /** Why the task leaves the owner's nodes; a cloud node takes none without it. */
    leave: Type.Optional(LeaveSchema),
    /** Text released so far, to go on behind in place of `generated`, which only counts then. */
    said: Type.Optional(said()),
    /** Whose task it is, as its coordinator knows its clients. */
    tenant: Type.Optional(text(LIMITS.tenantLengthMax)),
    /** For the node's log: the request that the task was made of. */
    requestId: Type.Optional(text(LIMITS.requestIdLengthMax)),
    /** Of the coordinator's span of this attempt, where its task belongs to a trace. */
    traceparent: Type.Optional(traceparent()),
  }),
)
/** In place of `attempt.start`: goes on with an attempt whose stream was lost, from token `from` on. */
export const AttemptAttach = defineFrame(
  0x37,
  'attempt.attach',
  Type.Object({
    taskId: taskId(),
    /** Of the attempt that the node holds. */
    heldFence: count(),
    /** The attempt's from now on. */
    fence: count(),
    from: count(LIMITS.generatedTokensMax),
  }),
)
/** To a held attempt: `generated` are the tokens made elsewhere since `attempt.start`; go on behind them. */
export const AttemptCommit = defineFrame(
  0x38,
  'attempt.commit',
  /** `said`: text released so far, the whole of it, to go on behind in place of all tokens, which only count then. */
  Type.Object({ fence: count(), generated: TokenIdsSchema, said: Type.Optional(said()) }),
)
/** The prompt and all tokens of `attempt.start` are prefilled. */
export const AttemptPrepared = defineFrame(0x39, 'attempt.prepared', Type.Object({ fence: count() }))
export const AttemptCancel = defineFrame(0x31, 'attempt.cancel', Type.Object({ fence: count() }))
export const AttemptAccepted = defineFrame(0x32, 'attempt.accepted', Type.Object({ fence: count() }))
/** Sent at least every second while no token is: the node lives, and this is what it does. */
export const AttemptProgress = defineFrame(
  0x33,
  'attempt.progress',
  Type.Object({
    fence: count(),
    phase: Type.Enum(['waiting', 'loading', 'prefill', 'decode']),
    done: count(),
    total: count(),
  }),
)
export const AttemptTokens = defineFrame(
  0x34,
  'attempt.tokens',
  Type.Object({
    fence: count(),
    /** Index in the answer of the first id. */
    index: count(LIMITS.generatedTokensMax),
    ids: TokenIdsSchema,
    /** Text that these tokens release; what may still become a stop string or a character is held back. */
    text: text(1_048_576),
    /** One for each id, when they were asked for. */
    logprobs: Type.Optional(list(TokenLogprobSchema, LIMITS.tokensPerFrameMax)),
  }),
)
/** A final frame: the answer is whole. */
export const AttemptEnd = defineFrame(
  0x35,
  'attempt.end',
  Type.Object({
    fence: count(),
    finishReason: FinishReasonSchema,
    /** Of the stop string that ended it, among those of the start. */
    stopIndex: Type.Optional(count(LIMITS.stopStringsMax - 1)),
    /** What was held back and is released by the end. */
    text: text(1_048_576),
    usage: UsageSchema,
    /** Measured by the node for this attempt, in ms. */
    timing: Type.Object({ waitMs: count(), prefillMs: count(), decodeMs: count() }),
  }),
)
/** A final frame: this attempt will not end the answer. */
export const AttemptFailed = defineFrame(
  0x36,
  'attempt.failed',
  /** `param` is the field of the client's request at fault. */
  Type.Object({ fence: count(), ...failure, param: Type.Optional(text(128)) }),
)

// model: whoever wants a model to a node, one stream for as long as the pull lasts; one answer for each question
const chunkIndex = () => count(LIMITS.modelFileBytesMax / LIMITS.modelChunkBytes)
const ticket = () => bytes(32, 32)

/** Which models do you have under this name, digest or reference? All of them when it is empty. */
export const ModelFind = defineFrame(0x40, 'model.find', Type.Object({ text: text(1024) }))
export const ModelFound = defineFrame(
  0x41,
  'model.found',
  Type.Object({
    models: list(
      Type.Object({
        digest: modelDigest(),
        name: text(LIMITS.modelNameLengthMax, 1),
        sizeBytes: count(LIMITS.modelFileBytesMax, 1),
        quantization: text(32),
        parameters: Type.Optional(count()),
        contextTokens: Type.Optional(count(100_000_000)),
        /** Of a model that is not one GGUF file, when it was asked for: which files it has, and the size of each. */
        manifest: Type.Optional(
          Type.Object({
            text: text(LIMITS.modelManifestBytesMax, 1),
            sizes: list(count(LIMITS.modelFileBytesMax, 1), LIMITS.adaptersMax + 1),
          }),
        ),
      }),
      LIMITS.modelsPerNodeMax,
    ),
  }),
)
/** May I have this model? */
export const ModelAsk = defineFrame(0x42, 'model.ask', Type.Object({ digest: modelDigest() }))
export const ModelGranted = defineFrame(
  0x43,
  'model.granted',
  Type.Object({
    digest: modelDigest(),
    sizeBytes: count(LIMITS.modelFileBytesMax, 1),
    chunkBytes: count(LIMITS.modelChunkBytes, 1),
    ticket: ticket(),
    validMs: count(LIMITS.modelTicketMs, 1),
    /** Where the node gives chunks over HTTPS, under which certificate; absent when it does not. */
    direct: Type.Optional(
      Type.Object({
        certificate: bytes(4096, 1),
        addresses: list(text(64, 2), 16),
        port: count(65_535, 1),
      }),
    ),
  }),
)
/** What are the hashes of the chunks from this one on? */
export const ModelHash = defineFrame(0x44, 'model.hash', Type.Object({ digest: modelDigest(), from: chunkIndex() }))
/** SHA-256 of each chunk from `from` on, as many as the node wants to tell at once, and at least one. */
export const ModelHashes = defineFrame(
  0x45,
  'model.hashes',
  Type.Object({ from: chunkIndex(), hashes: bytes(32 * LIMITS.modelHashesMax, 32) }),
)
/** The bytes of this chunk, please, on this stream. */
export const ModelRead = defineFrame(0x46, 'model.read', Type.Object({ ticket: ticket(), chunk: chunkIndex() }))
export const ModelBytes = defineFrame(
  0x47,
  'model.bytes',
  Type.Object({
    bytes: bytes(LIMITS.modelSliceBytesMax, 1),
    /** Bytes of the chunk that follow in further frames. */
    leftBytes: count(LIMITS.modelChunkBytes),
  }),
)
/** In place of any answer, and of the rest of one. The stream goes on. */
export const ModelRefused = defineFrame(
  0x48,
  'model.refused',
  Type.Object({ ...failure, retryAfterMs: Type.Optional(count(3_600_000)) }),
)
/** The final frame: nothing more is wanted. */
export const ModelGoodbye = defineFrame(0x49, 'model.goodbye', Type.Object({}))

// work: coordinator to node, one stream each
export const WorkStart = defineFrame(
  0x50,
  'work.start',
  Type.Object({
    taskId: taskId(),
    digest: modelDigest(),
    work: WorkSchema,
    /** Why it leaves the owner's nodes; a cloud node takes none without it. */
    leave: Type.Optional(LeaveSchema),
    /** Whose request it is, as its coordinator knows its clients. */
    tenant: Type.Optional(text(LIMITS.tenantLengthMax)),
  }),
)
/** Not wanted any more. */
export const WorkCancel = defineFrame(0x51, 'work.cancel', Type.Object({}))
/** Sent at least every second until the end: the node lives, and this is what it does. */
export const WorkProgress = defineFrame(
  0x52,
  'work.progress',
  Type.Object({ phase: Type.Enum(['waiting', 'loading', 'working']) }),
)
/** A final frame. */
export const WorkEnd = defineFrame(
  0x53,
  'work.end',
  Type.Object({
    result: WorkResultSchema,
    /** Measured by the node, in ms. */
    timing: Type.Object({ waitMs: count(), workMs: count() }),
  }),
)
/** A final frame. `param` is the field of the client's request at fault. */
export const WorkFailed = defineFrame(0x54, 'work.failed', Type.Object({ ...failure, param: Type.Optional(text(128)) }))

/** Every frame of this version. */
export const FRAMES = [
  JoinRequest,
  JoinRenew,
  JoinGranted,
  JoinRefused,
  HelloCertificate,
  HelloAccepted,
  HelloRefused,
  ControlAnnounce,
  ControlLoad,
  ControlHeartbeat,
  ControlGoodbye,
  ControlWelcome,
  ControlRevocations,
  ControlHeld,
  ControlRelease,
  ControlDirective,
  ControlOrder,
  ControlOutcome,
  AttemptStart,
  AttemptAttach,
  AttemptCommit,
  AttemptCancel,
  AttemptAccepted,
  AttemptProgress,
  AttemptPrepared,
  AttemptTokens,
  AttemptEnd,
  AttemptFailed,
  ModelFind,
  ModelFound,
  ModelAsk,
  ModelGranted,
  ModelHash,
  ModelHashes,
  ModelRead,
  ModelBytes,
  ModelRefused,
  ModelGoodbye,
  WorkStart,
  WorkCancel,
  WorkProgress,
  WorkEnd,
  WorkFailed,
] as const

/** Any frame, typed: what a channel takes. */
export type Frame = FrameOf<(typeof FRAMES)[number]>
export type JoinRequest = FrameOf<typeof JoinRequest>
export type ControlHeld = FrameOf<typeof ControlHeld>
export type ControlDirective = FrameOf<typeof ControlDirective>
export type ControlOrder = FrameOf<typeof ControlOrder>
export type ControlOutcome = FrameOf<typeof ControlOutcome>
export type AttemptStart = FrameOf<typeof AttemptStart>
export type AttemptAttach = FrameOf<typeof AttemptAttach>
export type AttemptCommit = FrameOf<typeof AttemptCommit>
export type AttemptProgress = FrameOf<typeof AttemptProgress>
export type AttemptTokens = FrameOf<typeof AttemptTokens>
export type AttemptEnd = FrameOf<typeof AttemptEnd>
export type ModelFound = FrameOf<typeof ModelFound>
export type ModelGranted = FrameOf<typeof ModelGranted>
export type WorkStart = FrameOf<typeof WorkStart>
export type WorkEnd = FrameOf<typeof WorkEnd>

/** What may arrive, by stream and receiver. */
export const INBOUND = {
  joinAuthority: frameSet(JoinRequest, JoinRenew),
  joinCaller: frameSet(JoinGranted, JoinRefused),
  helloAcceptor: frameSet(HelloCertificate, HelloAccepted, HelloRefused),
  helloCaller: frameSet(HelloCertificate, HelloRefused),
  controlCoordinator: frameSet(
    ControlAnnounce,
    ControlLoad,
    ControlHeartbeat,
    ControlHeld,
    ControlOutcome,
    ControlGoodbye,
  ),
  controlNode: frameSet(
    ControlWelcome,
    ControlHeartbeat,
    ControlRevocations,
    ControlRelease,
    ControlDirective,
    ControlOrder,
    ControlGoodbye,
  ),
  attemptNode: frameSet(AttemptStart, AttemptAttach, AttemptCommit, AttemptCancel),
  attemptCoordinator: frameSet(
    AttemptAccepted,
    AttemptProgress,
    AttemptPrepared,
    AttemptTokens,
    AttemptEnd,
    AttemptFailed,
  ),
  modelNode: frameSet(ModelFind, ModelAsk, ModelHash, ModelRead, ModelGoodbye),
  workNode: frameSet(WorkStart, WorkCancel),
  workCoordinator: frameSet(WorkProgress, WorkEnd, WorkFailed),
  modelAsker: frameSet(ModelFound, ModelGranted, ModelHashes, ModelBytes, ModelRefused),
} as const
