/** How this data directory belongs to a mesh: as before, by an invite, or as the first coordinator of a new one. */
import { join } from 'node:path'
import { asSkeinError, LIMITS, SkeinError, type MeshId, type PeerId, type Role } from '../../protocol/index.ts'
import type { Clock, Logger, Random } from '../../runtime/index.ts'
import { loadOrCreateIdentity, type Identity } from '../identity.ts'
import { joinMesh } from '../libp2p/join.ts'
import { joinByCode } from '../libp2p/pair.ts'
import { MeshAuthority } from './authority.ts'
import { assertCurrent, claimedCertificate } from './certificates.ts'
import { decodeInvite } from './invite.ts'
import type { Grant, JoinSubject } from './join-service.ts'
import { pairingCodeOf } from './pairing.ts'
import { MembershipStore } from './store.ts'

export const IDENTITY_FILE = 'identity.key'

export interface OpenMembershipComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export interface OpenMembershipInit extends JoinSubject {
  readonly dataDir: string
  /** Text of an invite, or a pairing code, for a directory that is in no mesh yet or whose certificate no longer serves. */
  readonly invite?: string
  /** Make a new mesh when there is neither a membership nor an invite. */
  readonly mayCreate: boolean
  /** Look for the invite's coordinator with mDNS when it does not answer where the invite says. */
  readonly mdns: boolean
  /** Where a pairing code is asked for; on the local network when there is none. */
  readonly bootstrap?: readonly string[]
}

export interface Membership {
  readonly identity: Identity
  readonly store: MembershipStore
  /** Present where the mesh key is. */
  readonly authority: MeshAuthority | undefined
  /** Where the invite says that its coordinator is. */
  readonly inviteAddresses: readonly string[]
}

/**
 * Opens, joins or makes the membership of `dataDir`.
 *
 * @throws SkeinError NOT_A_MEMBER when there is none and no way to one; WRONG_MESH when the invite or the code is of another mesh
 *   than the directory; the join's refusal; CERTIFICATE_EXPIRED or CERTIFICATE_REVOKED without a new invite;
 *   CERTIFICATE_INVALID when a role was not granted; DATA_DIR_UNUSABLE.
 */
export async function openMembership(
  components: OpenMembershipComponents,
  init: OpenMembershipInit,
): Promise<Membership> {
  const { clock, random, log } = components
  const code = init.invite === undefined ? undefined : pairingCodeOf(init.invite)
  const invite = init.invite === undefined || code !== undefined ? undefined : decodeInvite(init.invite)
  const identity = await loadOrCreateIdentity(join(init.dataDir, IDENTITY_FILE), random)
  const known = await MembershipStore.load(init.dataDir, identity.peerId)
  const authority = await MeshAuthority.load({ clock, random }, init.dataDir)
  const meshId = authority?.meshId ?? known?.meshId
  if (invite !== undefined && meshId !== undefined && invite.meshId !== meshId)
    throw new SkeinError(
      'WRONG_MESH',
      `${init.dataDir} belongs to another mesh (${meshId}) than the invite; use another data directory`,
    )
  const inviteAddresses = (invite?.addresses ?? []).map((address) =>
    address.includes('/p2p/') ? address : `${address}/p2p/${invite!.peerId}`,
  )
  const membership = (store: MembershipStore, holder = authority): Membership => ({
    identity,
    store,
    authority: holder,
    inviteAddresses,
  })
  if (authority !== undefined) return membership(await certifySelf(components, init, { identity, authority, known }))
  const problem = known && problemOf(known, clock, init.roles)
  if (known !== undefined && problem === undefined) return membership(known)
  const { name, roles, mdns, bootstrap = [] } = init
  if (code !== undefined) {
    const asked = { name, roles, mdns, addresses: bootstrap, code, identity }
    const { grant, coordinator } = await joinByCode({ clock, log }, asked)
    const joined = { peerId: coordinator.peerId, addresses: [coordinator.address] }
    return membership(await createStore(init.dataDir, identity, grant, { meshId, ...joined }))
  }
  if (invite !== undefined) {
    const grant = await joinMesh({ clock, log }, { name, roles, mdns, invite, identity })
    return membership(await createStore(init.dataDir, identity, grant, invite))
  }
  if (problem !== undefined) throw problem
  if (!init.mayCreate)
    throw new SkeinError('NOT_A_MEMBER', 'this machine is in no mesh: join one with an invite (--join INVITE)')
  const made = await MeshAuthority.create({ clock, random }, init.dataDir)
  log.info({ meshId: made.meshId }, 'made a new mesh')
  return membership(await certifySelf(components, init, { identity, authority: made, known }), made)
}

interface JoinedAt {
  /** The mesh that the directory is of, if any. */
  readonly meshId: MeshId | undefined
  readonly peerId: PeerId
  readonly addresses: readonly string[]
}

/** @throws SkeinError WRONG_MESH, DATA_DIR_UNUSABLE. */
async function createStore(dataDir: string, identity: Identity, grant: Grant, at: JoinedAt): Promise<MembershipStore> {
  const granted = claimedCertificate(grant.certificate).meshId
  if (at.meshId !== undefined && granted !== at.meshId)
    throw new SkeinError('WRONG_MESH', `${dataDir} belongs to another mesh (${at.meshId}); use another data directory`)
  const store = await MembershipStore.create(dataDir, identity.peerId, grant)
  // the next start has no invite: this is the one member that is known
  store.remember(at.peerId, at.addresses)
  await store.save()
  return store
}

/**
 * The membership of one more member in the process that holds the mesh key.
 *
 * @throws SkeinError DATA_DIR_UNUSABLE; INVITE_INVALID when the mesh is full.
 */
export async function openLocalMembership(
  { clock, random }: Omit<OpenMembershipComponents, 'log'>,
  subject: JoinSubject & { readonly dataDir: string },
  authority: MeshAuthority,
): Promise<Pick<Membership, 'identity' | 'store'>> {
  const identity = await loadOrCreateIdentity(join(subject.dataDir, IDENTITY_FILE), random)
  const known = await MembershipStore.load(subject.dataDir, identity.peerId)
  // of a mesh that was made anew in the same data directory
  const isOfMesh = known?.meshId === authority.meshId
  const store = await certifySelf({ clock }, subject, { identity, authority, known: isOfMesh ? known : undefined })
  return { identity, store }
}

interface SelfCertification {
  readonly identity: Identity
  readonly authority: MeshAuthority
  readonly known: MembershipStore | undefined
}

/** The authority certifies itself, anew when its name, its roles or the time ask for it. */
async function certifySelf(
  { clock }: Pick<OpenMembershipComponents, 'clock'>,
  init: JoinSubject & { readonly dataDir: string },
  { identity, authority, known }: SelfCertification,
): Promise<MembershipStore> {
  const { name, roles, dataDir } = init
  const isGood =
    known !== undefined &&
    problemOf(known, clock, roles) === undefined &&
    known.certificate.name === name &&
    known.certificate.expiresAtMs - clock.wallMs() > LIMITS.certificateValidityMs / 3
  const revocations = authority.revocations()
  if (!isGood) {
    const certificate = await authority.issue({ peerId: identity.peerId, name, roles })
    if (known === undefined) return MembershipStore.create(dataDir, identity.peerId, { certificate, revocations })
    await known.renew(certificate)
  }
  await known.offerRevocations(revocations)
  return known
}

/** Why the stored membership does not serve, or nothing. */
function problemOf(store: MembershipStore, clock: Clock, roles: readonly Role[]): SkeinError | undefined {
  try {
    assertCurrent(store.certificate, { nowMs: clock.wallMs(), revocations: store.revocations })
  } catch (error) {
    return asSkeinError(error)
  }
  const missing = roles.filter((role) => !store.certificate.roles.includes(role))
  if (missing.length === 0) return undefined
  return new SkeinError(
    'CERTIFICATE_INVALID',
    `this machine is in the mesh as ${store.certificate.roles.join(' and ')}; to be a ${missing.join(' or ')} it needs a new invite (--join INVITE)`,
  )
}
