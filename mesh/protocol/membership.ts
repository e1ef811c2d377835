/** Certificates, revocations and invites: the data; keys and signatures are `mesh/network`'s. */
import { Type, type Static } from 'typebox'
import { LIMITS } from './limits.ts'
import { count, list, memberName, meshId, parser, peerId, text } from './schema.ts'

export const RoleSchema = Type.Enum(['coordinator', 'node', 'bridge'])
export type Role = Static<typeof RoleSchema>

/** Says that the mesh takes `peerId` for a member with these roles, until `expiresAtMs`. Signed by the mesh key. */
export const CertificateSchema = Type.Object({
  meshId: meshId(),
  peerId: peerId(),
  name: memberName(),
  roles: list(RoleSchema, 3, 1),
  /** Grows with every certificate that the mesh issues. */
  serial: count(),
  issuedAtMs: count(),
  expiresAtMs: count(),
})
export type Certificate = Static<typeof CertificateSchema>
export const parseCertificate = parser(CertificateSchema, 'certificate', 'CERTIFICATE_INVALID')

/** Who is a member no more. Signed by the mesh key; the list with the highest sequence holds. */
export const RevocationsSchema = Type.Object({
  meshId: meshId(),
  sequence: count(),
  /** Certificates of `peerId` with a serial up to `serialMax` are void: who is invited again gets a higher one. */
  revoked: list(Type.Object({ peerId: peerId(), serialMax: count() }), LIMITS.revocationsMax),
})
export type Revocations = Static<typeof RevocationsSchema>
export const parseRevocations = parser(RevocationsSchema, 'revocation list', 'CERTIFICATE_INVALID')

/** What `skein invite` prints, as `skein1` and base64url of its CBOR. Whoever holds it may join. */
export const InviteSchema = Type.Object({
  meshId: meshId(),
  /** Coordinator that issued it: the joiner accepts no other peer at these addresses. */
  peerId: peerId(),
  addresses: list(text(512), 16, 1),
  inviteId: Type.String({ pattern: '^invite_[a-z2-7]{24}$' }),
  /** 128 random bits in base64url. */
  secret: text(64, 16),
  expiresAtMs: count(),
})
export type Invite = Static<typeof InviteSchema>
export const parseInvite = parser(InviteSchema, 'invite', 'INVITE_INVALID')
export const INVITE_PREFIX = 'skein1'
