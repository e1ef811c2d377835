/**
 * Identity, membership, and framed channels between members. `createPeerHost` is the way in for processes,
 * `MemoryNetwork` for tests and simulation; nothing outside this folder imports libp2p.
 */
export * from './transport.ts'
export {
  createPeerHost,
  DEFAULT_LISTEN,
  type NetworkDiagnostics,
  type PathReport,
  type PeerHost,
  type PeerHostComponents,
  type PeerHostInit,
} from './host.ts'
export { DISCOVERY_PATHS, type DiscoveryPath } from './libp2p/dialer.ts'
export type { LocalPeer } from './local/local-member.ts'
export { generateIdentity, Identity, loadOrCreateIdentity, verifySignature } from './identity.ts'
export { decodeSigned, encodeSigned, openCapabilityRecord, openSigned, sign } from './signed.ts'
export {
  MESH_KEY_FILE,
  MeshAuthority,
  type InviteInit,
  type IssuedInvite,
  type Subject,
} from './membership/authority.ts'
export type { Issued } from './membership/authority-state.ts'
export { assertCurrent, isRevoked, verifyCertificate, verifyRevocations } from './membership/certificates.ts'
export { decodeInvite, encodeInvite } from './membership/invite.ts'
export { pairingCodeOf, PairingKey, Pairings, type PairingState, type PairingView } from './membership/pairing.ts'
export { MEMBERSHIP_FILE, MembershipStore } from './membership/store.ts'
export {
  IDENTITY_FILE,
  openMembership,
  type Membership,
  type OpenMembershipComponents,
  type OpenMembershipInit,
} from './membership/open.ts'
export { MemoryNetwork, type MemoryNetworkComponents, type MemoryNetworkInit } from './memory/network.ts'
export { MemoryPeerTransport } from './memory/transport.ts'
export { MemoryDiscovery } from './memory/discovery.ts'
export { RoundTrips, type HeartbeatEcho, type RoundTrip } from './round-trips.ts'
