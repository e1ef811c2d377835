/** The coordinator's membership port over the host: invites, and revocation by name or peer id. */
import { SkeinError, type PeerId } from '../../mesh/protocol/index.ts'
import type { PeerHost } from '../../mesh/network/index.ts'
import type { DiscoveryReport, Membership, NodeName } from '../../coordinator/index.ts'

export function hostMembership(host: PeerHost): Membership {
  return {
    isAuthority: host.authority !== undefined,
    invite: async ({ uses, validMs }) => {
      const { text, invite } = await host.invite({ uses, validityMs: validMs })
      return { invite: text, uses, expiresAtMs: invite.expiresAtMs }
    },
    ...(host.authority && {
      pairing: {
        open: (validMs) => host.pair(validMs),
        current: () => host.pairing(),
        close: () => host.endPairing(),
      },
    }),
    revoke: async (member) => {
      const found = findMember(host, member)
      await host.revoke(found.peerId)
      return found
    },
  }
}

/** @throws SkeinError MEMBER_NOT_FOUND, or INVALID_REQUEST for a name that two members have. */
function findMember(host: PeerHost, member: string): NodeName {
  const issued = host.authority?.issued() ?? []
  const connected = host.members().map(({ peerId, certificate }) => ({ peerId, name: certificate.name }))
  const known = new Map<string, string>()
  for (const { peerId, name } of [...issued, ...connected]) known.set(peerId, name)
  const matches = [...known].filter(([peerId, name]) => peerId === member || name === member)
  const [first] = matches
  if (first === undefined) throw new SkeinError('MEMBER_NOT_FOUND', `no member is named '${member}'; see: skein nodes`)
  if (matches.length > 1)
    throw new SkeinError('INVALID_REQUEST', `${matches.length} members are named '${member}'; give the peer id`)
  return { peerId: first[0] as PeerId, name: first[1] }
}

/** What each path of discovery has found, in words. */
export function discoveryReport(host: PeerHost): DiscoveryReport[] {
  const { paths, connections, dhtPeers } = host.diagnostics()
  const reports = paths.map(({ path, isEnabled, found }) => {
    if (!isEnabled) return { path, detail: 'off' }
    const connected = found.filter((each) => each.isConnected).length
    const errors = found.flatMap((each) => each.lastError ?? [])
    const trouble = errors.length > 0 ? `; last trouble: ${errors.at(-1)}` : ''
    return { path, detail: `${found.length} found, ${connected} connected${trouble}` }
  })
  return [...reports, { path: 'all', detail: `${connections.length} connections, ${dhtPeers} peers in the DHT` }]
}
