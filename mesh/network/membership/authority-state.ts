/** What a mesh's authority keeps in `authority.json`: serials, invites, issued certificates and revocations. */
import { Type, type Static } from 'typebox'
import { checker, LIMITS, RoleSchema } from '../../protocol/index.ts'

const count = () => Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const text = () => Type.String({ maxLength: 128 })
const roles = () => Type.Array(RoleSchema, { minItems: 1, maxItems: 3 })

export const InviteStateSchema = Type.Object({
  inviteId: text(),
  /** SHA-256 of the secret in hexadecimal: the file alone lets nobody join. */
  secretHash: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  roles: roles(),
  usesMax: count(),
  /** Peers that joined by it; each counts once, however often it asks. */
  usedBy: Type.Array(text(), { maxItems: LIMITS.membersMax }),
  createdAtMs: count(),
  expiresAtMs: count(),
})
export type InviteState = Static<typeof InviteStateSchema>

export const IssuedSchema = Type.Object({
  peerId: text(),
  name: text(),
  roles: roles(),
  serial: count(),
  issuedAtMs: count(),
  expiresAtMs: count(),
})
export type Issued = Static<typeof IssuedSchema>

export const AuthorityStateSchema = Type.Object({
  version: Type.Literal(1),
  lastSerial: count(),
  revocationSequence: count(),
  revoked: Type.Array(Type.Object({ peerId: text(), serialMax: count(), revokedAtMs: count() }), {
    maxItems: LIMITS.revocationsMax,
  }),
  invites: Type.Array(InviteStateSchema, { maxItems: LIMITS.invitesMax }),
  /** The newest certificate of each member. */
  issued: Type.Array(IssuedSchema, { maxItems: LIMITS.membersMax }),
})
export type AuthorityState = Static<typeof AuthorityStateSchema>
export const isAuthorityState = checker(AuthorityStateSchema)

export const emptyAuthorityState = (): AuthorityState => ({
  version: 1,
  lastSerial: 0,
  revocationSequence: 0,
  revoked: [],
  invites: [],
  issued: [],
})
