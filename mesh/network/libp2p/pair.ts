/**
 * Joining by a pairing code: a short-lived host without certificate or listeners asks the coordinators that it is told of,
 * or that show a code on the local network, until one proves that it knows the code.
 */
import { multiaddr } from '@multiformats/multiaddr'
import type { Connection } from '@libp2p/interface'
import { asPeerId, asSkeinError, INBOUND, LIMITS, PROTOCOLS, SkeinError, type PeerId } from '../../protocol/index.ts'
import { withDeadline } from '../../runtime/index.ts'
import { StreamFrameChannel } from '../channels/stream-channel.ts'
import type { Identity } from '../identity.ts'
import { claimedCertificate, verifyCertificate, verifyRevocations } from '../membership/certificates.ts'
import { askToPair, type Grant, type JoinSubject } from '../membership/join-service.ts'
import { PairingKey } from '../membership/pairing.ts'
import type { JoinComponents } from './join.ts'
import { createJoinNode } from './node.ts'
import { PAIRING_SERVICE_TAG } from './pairing-beacon.ts'

/** Coordinators of one search, at most: each costs a key that is slow to make. */
const ASKED_MAX = 16
/** When one has refused, others that are slower to show up may still be the one, for so long. */
const AFTER_REFUSAL_MS = 3000

export interface PairInit extends JoinSubject {
  readonly code: string
  readonly identity: Identity
  /** Multiaddrs of the coordinator, for networks without mDNS; these alone are asked when there are any. */
  readonly addresses: readonly string[]
  readonly mdns: boolean
}

export interface Paired {
  readonly grant: Grant
  /** Who granted, and where it was reached. */
  readonly coordinator: { readonly peerId: PeerId; readonly address: string }
}

/**
 * A certificate and the revocation list of the mesh whose coordinator shows the code.
 *
 * @throws SkeinError INVITE_INVALID when everyone who was found refused, DIAL_FAILED when nobody was; CERTIFICATE_INVALID
 *   for an answer that is none.
 */
export async function joinByCode(components: JoinComponents, init: PairInit): Promise<Paired> {
  const { clock, log } = components
  const isAsked = new Set<string>()
  const paired = Promise.withResolvers<Paired>()
  const given = new AbortController()
  let refusal: SkeinError | undefined
  const ask = async (addresses: readonly string[], signal: AbortSignal): Promise<Paired | undefined> => {
    try {
      return await pairAt(components, init, await dial(addresses, signal), signal)
    } catch (thrown) {
      const error = asSkeinError(thrown, 'DIAL_FAILED')
      log.info({ addresses, err: error }, 'no pairing here')
      if (error.code === 'DIAL_FAILED' || refusal) return undefined
      refusal = error
      if (init.addresses.length === 0) clock.timer(AFTER_REFUSAL_MS, () => given.abort(error))
      return undefined
    }
  }
  const node = await createJoinNode({
    identity: init.identity,
    serviceTag: PAIRING_SERVICE_TAG,
    mdns: init.mdns && init.addresses.length === 0,
    onMdnsPeer: ({ id, multiaddrs }) => {
      const peer = id.toString()
      if (isAsked.has(peer) || isAsked.size >= ASKED_MAX) return
      isAsked.add(peer)
      const addresses = multiaddrs.map((address) => address.toString())
      void ask(addresses.map(ending(peer)), given.signal).then((found) => found && paired.resolve(found))
    },
  })
  const dial = (addresses: readonly string[], signal: AbortSignal): Promise<Connection> =>
    node.dial(
      addresses.map((address) => multiaddr(address)),
      { signal },
    )
  await node.start()
  try {
    const late = (): Error => refusal ?? notFound(init)
    return await withDeadline(clock, LIMITS.pairingSearchMs, late, given.signal, async (signal) => {
      if (init.addresses.length === 0) return orAborted(paired.promise, signal)
      for (const address of init.addresses) {
        const found = await ask([address], signal)
        if (found) return found
      }
      throw refusal ?? notFound(init)
    })
  } finally {
    given.abort(notFound(init))
    await node.stop()
  }
}

async function pairAt(
  { clock }: JoinComponents,
  { code, identity, name, roles }: PairInit,
  connection: Connection,
  signal: AbortSignal,
): Promise<Paired> {
  const peerId = asPeerId(connection.remotePeer.toString())
  const key = await PairingKey.of(code, { joiner: identity.peerId, authority: peerId })
  const stream = await connection.newStream(PROTOCOLS.join, { signal }).catch((cause: unknown) => {
    throw asSkeinError(cause, 'DIAL_FAILED')
  })
  const channel = new StreamFrameChannel({
    peer: peerId,
    stream,
    inbound: INBOUND.joinCaller,
    clock,
    frameBytesMax: LIMITS.controlFrameBytesMax,
    onFault: () => undefined,
  })
  const grant = await askToPair(channel, key.request(), { name, roles }, signal)
  // a mesh that takes any code is not the one whose owner shows this one
  if (grant.proof === undefined || !key.isGrant(grant.proof, grant.certificate))
    throw new SkeinError(
      'CERTIFICATE_INVALID',
      `${peerId} let this machine in without knowing the code; it is not joined`,
    )
  const { meshId } = claimedCertificate(grant.certificate)
  const revocations = await verifyRevocations(grant.revocations, meshId)
  await verifyCertificate(grant.certificate, identity.peerId, { meshId, nowMs: clock.wallMs(), revocations })
  return { grant, coordinator: { peerId, address: connection.remoteAddr.toString() } }
}

/** Pinned to the peer whose addresses these are said to be. */
const ending =
  (peer: string) =>
  (address: string): string =>
    address.includes('/p2p/') ? address : `${address}/p2p/${peer}`

const notFound = ({ addresses, mdns }: PairInit): SkeinError => {
  const where =
    addresses.length > 0 ? `at ${addresses.join(', ')}` : mdns ? 'on the local network' : 'without mDNS or --bootstrap'
  return new SkeinError('DIAL_FAILED', `no coordinator that shows a pairing code was found ${where}; try an invite`)
}

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    promise.then(resolve, reject)
  })
}
