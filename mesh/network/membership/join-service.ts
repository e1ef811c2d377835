/** The `join` stream, both ends: an invite or a certificate that still holds is exchanged for a new certificate. */
import {
  asSkeinError,
  type INBOUND,
  isErrorCode,
  LIMITS,
  PROTOCOL_VERSION,
  SkeinError,
  type Frame,
  type Invite,
  type PeerId,
  type Role,
  type Signed,
} from '../../protocol/index.ts'
import { withDeadline, type Clock } from '../../runtime/index.ts'
import type { Counters } from '../counters.ts'
import type { FrameChannel } from '../transport.ts'
import type { MeshAuthority } from './authority.ts'
import { PAIRING_ID, type Pairings } from './pairing.ts'

const MESSAGE_CHARACTERS_MAX = 1024

export interface JoinServiceComponents {
  readonly clock: Clock
  readonly counters: Counters
  /** Absent on a coordinator that does not hold the mesh key, and on every other member. */
  readonly authority: MeshAuthority | undefined
  /** Present where `authority` is. */
  readonly pairings: Pairings | undefined
}

type AuthorityFrame = (typeof INBOUND.joinAuthority)['frame']
type CallerFrame = (typeof INBOUND.joinCaller)['frame']

/** Answers one join or renewal of the peer at the other end. Does not throw: a refusal is told to it. */
export async function answerJoin(
  components: JoinServiceComponents,
  channel: FrameChannel<AuthorityFrame>,
): Promise<void> {
  const late = (): Error => new SkeinError('STREAM_TIMEOUT', 'the join took too long')
  try {
    await withDeadline(components.clock, LIMITS.joinMs, late, channel.closed, async (signal) => {
      await channel.send(await answer(components, channel, signal), signal)
    })
  } catch (error) {
    channel.abort(error as Error)
  }
  await channel.close()
}

async function answer(
  { authority, pairings, counters }: JoinServiceComponents,
  channel: FrameChannel<AuthorityFrame>,
  signal: AbortSignal,
): Promise<Frame> {
  const frame = await channel.receive(signal)
  if (frame === undefined) throw new SkeinError('STREAM_TRUNCATED', 'the peer closed without asking')
  try {
    if (frame.version !== PROTOCOL_VERSION)
      throw new SkeinError('VERSION_MISMATCH', `we speak version ${PROTOCOL_VERSION}; update the older one`)
    if (authority === undefined)
      throw new SkeinError('NOT_THE_AUTHORITY', 'this member does not hold the mesh key; ask the one that does')
    const granted =
      pairings !== undefined && frame.type === 'join.request' && frame.inviteId === PAIRING_ID
        ? await pairings.redeem({ peerId: channel.peer, name: frame.name, roles: frame.roles }, frame.secret)
        : { certificate: await certify(authority, channel.peer, frame) }
    counters.add('join_granted')
    return { type: 'join.granted', revocations: authority.revocations(), ...granted }
  } catch (thrown) {
    const error = asSkeinError(thrown)
    counters.add('join_refused')
    return {
      type: 'join.refused',
      code: error.code,
      message: error.message.slice(0, MESSAGE_CHARACTERS_MAX),
    }
  }
}

function certify(authority: MeshAuthority, peerId: PeerId, frame: AuthorityFrame): Promise<Signed> {
  if (frame.type === 'join.renew') return authority.renew(peerId, frame.certificate)
  return authority.redeem({ peerId, name: frame.name, roles: frame.roles }, frame.inviteId, frame.secret)
}

/** What the authority grants. */
export interface Grant {
  readonly certificate: Signed
  readonly revocations: Signed
  /** Of who answers a pairing code. */
  readonly proof?: string | undefined
}

export interface JoinSubject {
  readonly name: string
  readonly roles: readonly Role[]
}

/** Shows `invite` on an open `join` stream. @throws SkeinError with the authority's code, or the signal's reason. */
export function askToJoin(
  channel: FrameChannel<CallerFrame>,
  invite: Invite,
  subject: JoinSubject,
  signal: AbortSignal,
): Promise<Grant> {
  const { inviteId, secret } = invite
  const { name, roles } = subject
  return ask(
    channel,
    { type: 'join.request', version: PROTOCOL_VERSION, inviteId, secret, name, roles: [...roles] },
    signal,
  )
}

/** Shows a proof of a pairing code on an open `join` stream. @throws SkeinError as `askToJoin`. */
export const askToPair = (
  channel: FrameChannel<CallerFrame>,
  proof: string,
  { name, roles }: JoinSubject,
  signal: AbortSignal,
): Promise<Grant> =>
  ask(
    channel,
    { type: 'join.request', version: PROTOCOL_VERSION, inviteId: PAIRING_ID, secret: proof, name, roles: [...roles] },
    signal,
  )

/** Shows a certificate that still holds. @throws SkeinError with the authority's code, or the signal's reason. */
export const askToRenew = (
  channel: FrameChannel<CallerFrame>,
  certificate: Signed,
  signal: AbortSignal,
): Promise<Grant> => ask(channel, { type: 'join.renew', version: PROTOCOL_VERSION, certificate }, signal)

async function ask(channel: FrameChannel<CallerFrame>, request: Frame, signal: AbortSignal): Promise<Grant> {
  try {
    await channel.send(request, signal)
    const frame = await channel.receive(signal)
    if (frame?.type === 'join.granted') return frame
    if (frame === undefined) throw new SkeinError('STREAM_TRUNCATED', 'the authority closed without an answer')
    const code = isErrorCode(frame.code) ? frame.code : 'INVITE_INVALID'
    throw new SkeinError(code, frame.message)
  } finally {
    await channel.close()
  }
}
