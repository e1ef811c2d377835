/**
 * Joining a mesh: a short-lived host without certificate or listeners dials the coordinator that made the invite and
 * exchanges the invite for a certificate. When none of the invite's addresses answers, mDNS is asked, since the
 * coordinator may have moved.
 */
import { multiaddr } from '@multiformats/multiaddr'
import { peerIdFromString } from '@libp2p/peer-id'
import type { Connection } from '@libp2p/interface'
import { asSkeinError, INBOUND, LIMITS, PROTOCOLS, SkeinError, type Invite } from '../../protocol/index.ts'
import { withDeadline, type Clock, type Logger } from '../../runtime/index.ts'
import { StreamFrameChannel } from '../channels/stream-channel.ts'
import type { Identity } from '../identity.ts'
import { verifyCertificate, verifyRevocations } from '../membership/certificates.ts'
import { askToJoin, type Grant, type JoinSubject } from '../membership/join-service.ts'
import { createJoinNode, mdnsServiceTag } from './node.ts'

export interface JoinComponents {
  readonly clock: Clock
  readonly log: Logger
}

export interface JoinInit extends JoinSubject {
  readonly invite: Invite
  readonly identity: Identity
  /** Ask mDNS when the invite's addresses do not answer. Default true. */
  readonly mdns?: boolean
  readonly signal?: AbortSignal
}

/**
 * A certificate and the revocation list, both verified against the invite's mesh.
 *
 * @throws SkeinError DIAL_FAILED naming the addresses tried, the authority's refusal, or WRONG_MESH and
 *   CERTIFICATE_INVALID for an answer that is none.
 */
export async function joinMesh(components: JoinComponents, init: JoinInit): Promise<Grant> {
  const { invite, identity } = init
  if (invite.expiresAtMs + LIMITS.clockSkewMs <= components.clock.wallMs())
    throw new SkeinError('INVITE_INVALID', 'the invite is over; ask for a new one')
  const found = Promise.withResolvers<string[]>()
  const node = await createJoinNode({
    identity,
    serviceTag: mdnsServiceTag(invite.meshId),
    mdns: init.mdns ?? true,
    onMdnsPeer: (peer) => {
      if (peer.id.toString() === invite.peerId) found.resolve(peer.multiaddrs.map((address) => address.toString()))
    },
  })
  await node.start()
  const late = (): Error => unreachable(invite)
  try {
    return await withDeadline(components.clock, LIMITS.joinMs, late, init.signal, async (signal) => {
      const dial = (addresses: readonly string[]): Promise<Connection> =>
        node.dial(pinned(addresses, invite.peerId), { signal })
      const connection = await dial(invite.addresses).catch(async (cause: unknown) => {
        components.log.info({ addresses: invite.addresses, err: cause }, 'the addresses of the invite do not answer')
        if (init.mdns === false) throw unreachable(invite, cause)
        return dial(await orAborted(found.promise, signal)).catch(() => Promise.reject(unreachable(invite, cause)))
      })
      return exchange(components, init, connection, signal)
    })
  } finally {
    await node.stop()
  }
}

async function exchange(
  { clock }: JoinComponents,
  init: JoinInit,
  connection: Connection,
  signal: AbortSignal,
): Promise<Grant> {
  const { invite, identity } = init
  const stream = await connection.newStream(PROTOCOLS.join, { signal }).catch((cause: unknown) => {
    throw asSkeinError(cause, 'DIAL_FAILED')
  })
  const channel = new StreamFrameChannel({
    peer: invite.peerId,
    stream,
    inbound: INBOUND.joinCaller,
    clock,
    frameBytesMax: LIMITS.controlFrameBytesMax,
    onFault: () => undefined,
  })
  const grant = await askToJoin(channel, invite, init, signal)
  const revocations = await verifyRevocations(grant.revocations, invite.meshId)
  await verifyCertificate(grant.certificate, identity.peerId, {
    meshId: invite.meshId,
    nowMs: clock.wallMs(),
    revocations,
  })
  return grant
}

/** Multiaddrs that end in the peer's id, so that whoever else answers there is refused. */
function pinned(addresses: readonly string[], peerId: string) {
  const suffix = `/p2p/${peerIdFromString(peerId).toString()}`
  return addresses.flatMap((text) => {
    try {
      return [multiaddr(text.includes('/p2p/') ? text : text + suffix)].filter((address) =>
        address.toString().endsWith(suffix),
      )
    } catch {
      return []
    }
  })
}

const unreachable = (invite: Invite, cause?: unknown): SkeinError =>
  new SkeinError(
    'DIAL_FAILED',
    `the coordinator of the invite answers at none of ${invite.addresses.join(', ')}, nor on the local network`,
    { cause },
  )

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    promise.then(resolve, reject)
  })
}
