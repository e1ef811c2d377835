/**
 * All frames, by stream. `docs/PROTOCOL.md` draws the order in which they are legal. Tags are never used again for
 * another meaning.
 */
import { Type } from 'typebox'
import { SignedSchema } from '../capability.ts'
import {
  FinishReasonSchema,
  PromptSchema,
  SamplingSchema,
  StopSchema,
  TokenIdsSchema,
  UsageSchema,
} from '../generation.ts'
import { LIMITS } from '../limits.ts'
import { LoadReportSchema } from '../load.ts'
import { RoleSchema } from '../membership.ts'
import { count, list, memberName, modelDigest, peerId, taskId, text } from '../schema.ts'
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
  Type.Object({ certificate: SignedSchema, revocations: SignedSchema }),
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
export const ControlHeartbeat = defineFrame(0x22, 'control.heartbeat', Type.Object({ sequence: count() }))
/** The final frame, of either side. */
export const ControlGoodbye = defineFrame(0x23, 'control.goodbye', Type.Object({ reason: text(256) }))
/** The coordinator took the announcement; `sequence` is the record's. */
export const ControlWelcome = defineFrame(
  0x24,
  'control.welcome',
  Type.Object({ sequence: count(), coordinator: peerId(), heartbeatIntervalMs: count(60_000, 50) }),
)
export const ControlRevocations = defineFrame(0x25, 'control.revocations', Type.Object({ revocations: SignedSchema }))

// attempt: coordinator to node, one stream each
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
  }),
)
export const AttemptCancel = defineFrame(0x31, 'attempt.cancel', Type.Object({ fence: count() }))
export const AttemptAccepted = defineFrame(0x32, 'attempt.accepted', Type.Object({ fence: count() }))
/** Sent at least every second while a model is loaded or a prompt is prefilled. */
export const AttemptProgress = defineFrame(
  0x33,
  'attempt.progress',
  Type.Object({ fence: count(), phase: Type.Enum(['waiting', 'loading', 'prefill']), done: count(), total: count() }),
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
  }),
)
/** A final frame: the answer is whole. */
export const AttemptEnd = defineFrame(
  0x35,
  'attempt.end',
  Type.Object({
    fence: count(),
    finishReason: FinishReasonSchema,
    /** What was held back and is released by the end. */
    text: text(1_048_576),
    usage: UsageSchema,
    /** Measured by the node for this attempt, in ms. */
    timing: Type.Object({ waitMs: count(), prefillMs: count(), decodeMs: count() }),
  }),
)
/** A final frame: this attempt will not end the answer. */
export const AttemptFailed = defineFrame(0x36, 'attempt.failed', Type.Object({ fence: count(), ...failure }))

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
  AttemptStart,
  AttemptCancel,
  AttemptAccepted,
  AttemptProgress,
  AttemptTokens,
  AttemptEnd,
  AttemptFailed,
] as const

/** Any frame, typed: what a channel takes. */
export type Frame = FrameOf<(typeof FRAMES)[number]>
export type JoinRequest = FrameOf<typeof JoinRequest>
export type AttemptStart = FrameOf<typeof AttemptStart>
export type AttemptProgress = FrameOf<typeof AttemptProgress>
export type AttemptTokens = FrameOf<typeof AttemptTokens>
export type AttemptEnd = FrameOf<typeof AttemptEnd>

/** What may arrive, by stream and receiver. */
export const INBOUND = {
  joinAuthority: frameSet(JoinRequest, JoinRenew),
  joinCaller: frameSet(JoinGranted, JoinRefused),
  helloAcceptor: frameSet(HelloCertificate, HelloAccepted, HelloRefused),
  helloCaller: frameSet(HelloCertificate, HelloRefused),
  controlCoordinator: frameSet(ControlAnnounce, ControlLoad, ControlHeartbeat, ControlGoodbye),
  controlNode: frameSet(ControlWelcome, ControlHeartbeat, ControlRevocations, ControlGoodbye),
  attemptNode: frameSet(AttemptStart, AttemptCancel),
  attemptCoordinator: frameSet(AttemptAccepted, AttemptProgress, AttemptTokens, AttemptEnd, AttemptFailed),
} as const
