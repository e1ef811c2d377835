/**
 * The holder of the mesh key: issues certificates, invites and revocations.
 *
 * Every answer is durable before it is given: a serial, a used invite or a revocation that was told to a peer survives a
 * crash. Changes are made one after another on a copy of the state, which replaces the old one once it is on disk; a
 * failed write therefore changes nothing.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { join } from 'node:path'
import {
  asMeshId,
  LIMITS,
  mintId,
  SkeinError,
  type Certificate,
  type Invite,
  type MeshId,
  type PeerId,
  type Revocations,
  type Role,
  type Signed,
} from '../../protocol/index.ts'
import type { Clock, Random } from '../../runtime/index.ts'
import { readPrivateJson, writePrivateFile } from '../files.ts'
import { loadIdentity, loadOrCreateIdentity, type Identity } from '../identity.ts'
import { sign } from '../signed.ts'
import { emptyAuthorityState, isAuthorityState, type AuthorityState, type Issued } from './authority-state.ts'
import { verifyCertificate } from './certificates.ts'
import { encodeInvite } from './invite.ts'

export const MESH_KEY_FILE = 'mesh.key'
const STATE_FILE = 'authority.json'
const SECRET_BYTES = 16

export interface AuthorityComponents {
  readonly clock: Clock
  readonly random: Random
}

export interface Subject {
  readonly peerId: PeerId
  readonly name: string
  readonly roles: readonly Role[]
}

export interface InviteInit {
  /** Where the joiner finds the authority, with the peer id in front of all: `Identity.peerId` of this coordinator. */
  readonly peerId: PeerId
  /** Multiaddrs; at most 16 are put into the text. */
  readonly addresses: readonly string[]
  /** Peers that may join by it. Default 1. */
  readonly uses?: number
  /** In ms. Default `LIMITS.inviteValidityMs`. */
  readonly validityMs?: number
  /** Roles that it grants. Default all. */
  readonly roles?: readonly Role[]
}

export interface IssuedInvite {
  /** What `skein invite` prints. */
  readonly text: string
  readonly invite: Invite
}

const ADDRESSES_MAX = 16
const ALL_ROLES: readonly Role[] = ['coordinator', 'node', 'bridge']
const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

export class MeshAuthority {
  readonly meshId: MeshId
  readonly #key: Identity
  readonly #components: AuthorityComponents
  readonly #path: string
  #state: AuthorityState
  #revocations: Signed
  #tail: Promise<unknown> = Promise.resolve()

  private constructor(
    components: AuthorityComponents,
    init: { key: Identity; path: string; state: AuthorityState; revocations: Signed },
  ) {
    this.#components = components
    this.#key = init.key
    this.#path = init.path
    this.#state = init.state
    this.#revocations = init.revocations
    this.meshId = asMeshId(init.key.peerId)
  }

  /** The authority of `dataDir`, or `undefined` when that has no mesh key. @throws SkeinError DATA_DIR_UNUSABLE. */
  static async load(components: AuthorityComponents, dataDir: string): Promise<MeshAuthority | undefined> {
    const key = await loadIdentity(join(dataDir, MESH_KEY_FILE))
    return key && MeshAuthority.#open(components, dataDir, key)
  }

  /** Makes a mesh, or opens the one whose key is there. @throws SkeinError DATA_DIR_UNUSABLE. */
  static async create(components: AuthorityComponents, dataDir: string): Promise<MeshAuthority> {
    const key = await loadOrCreateIdentity(join(dataDir, MESH_KEY_FILE), components.random)
    return MeshAuthority.#open(components, dataDir, key)
  }

  static async #open(components: AuthorityComponents, dataDir: string, key: Identity): Promise<MeshAuthority> {
    const path = join(dataDir, STATE_FILE)
    const state = (await readPrivateJson(path, isAuthorityState)) ?? emptyAuthorityState()
    return new MeshAuthority(components, { key, path, state, revocations: await signRevocations(key, state) })
  }

  /** A certificate for `subject`, with a serial above all before. */
  issue(subject: Subject): Promise<Signed> {
    return this.#change((state) => this.#certify(state, subject))
  }

  /** @throws SkeinError INVITE_INVALID when there are too many live invites or a field is out of range. */
  async createInvite(init: InviteInit): Promise<IssuedInvite> {
    const usesMax = init.uses ?? 1
    const validityMs = init.validityMs ?? LIMITS.inviteValidityMs
    if (!Number.isInteger(usesMax) || usesMax < 1 || usesMax > LIMITS.membersMax)
      throw new SkeinError('INVITE_INVALID', `an invite serves 1 to ${LIMITS.membersMax} peers`)
    if (!(validityMs > 0)) throw new SkeinError('INVITE_INVALID', 'an invite must be valid for some time')
    if (init.addresses.length === 0)
      throw new SkeinError('INVITE_INVALID', 'an invite needs an address, and this coordinator listens on none')
    const secret = Buffer.from(this.#components.random.bytes(SECRET_BYTES)).toString('base64url')
    const nowMs = this.#components.clock.wallMs()
    const invite: Invite = {
      meshId: this.meshId,
      peerId: init.peerId,
      addresses: init.addresses.slice(0, ADDRESSES_MAX),
      inviteId: mintId('invite', (length) => this.#components.random.bytes(length)),
      secret,
      expiresAtMs: Math.round(nowMs + validityMs),
    }
    const text = encodeInvite(invite)
    await this.#change((state) => {
      state.invites = state.invites.filter(
        (other) => other.expiresAtMs > nowMs && (other.usedBy.length < other.usesMax || other.usesMax === 1),
      )
      // a used single-use invite is kept a while for its own peer's retry; such ones give way first
      while (state.invites.length >= LIMITS.invitesMax) {
        const spent = state.invites.findIndex((other) => other.usedBy.length >= other.usesMax)
        if (spent < 0) throw new SkeinError('INVITE_INVALID', `there are ${LIMITS.invitesMax} live invites already`)
        state.invites.splice(spent, 1)
      }
      state.invites.push({
        inviteId: invite.inviteId,
        secretHash: sha256(secret).toString('hex'),
        roles: [...(init.roles ?? ALL_ROLES)],
        usesMax,
        usedBy: [],
        createdAtMs: nowMs,
        expiresAtMs: invite.expiresAtMs,
      })
    })
    return { text, invite }
  }

  /**
   * A certificate for who shows an invite. A peer whose answer was lost may ask again: it counts once.
   *
   * @throws SkeinError INVITE_INVALID when it is unknown, expired, used up, or grants none of these roles.
   */
  redeem(subject: Subject, inviteId: string, secret: string): Promise<Signed> {
    return this.#change((state) => {
      const invite = state.invites.find((candidate) => candidate.inviteId === inviteId)
      // one message for all, so that guessing learns nothing
      const refused = new SkeinError('INVITE_INVALID', 'the invite is unknown, expired or used up; make a new one')
      if (invite === undefined) throw refused
      if (!timingSafeEqual(sha256(secret), Buffer.from(invite.secretHash, 'hex'))) throw refused
      if (invite.expiresAtMs <= this.#components.clock.wallMs()) throw refused
      if (!invite.usedBy.includes(subject.peerId)) {
        if (invite.usedBy.length >= invite.usesMax) throw refused
        invite.usedBy.push(subject.peerId)
      }
      const missing = subject.roles.filter((role) => !invite.roles.includes(role))
      if (missing.length > 0)
        throw new SkeinError('INVITE_INVALID', `the invite does not let its holder be a ${missing.join(' or ')}`)
      return this.#certify(state, subject)
    })
  }

  /**
   * A new certificate for a member whose own still holds.
   *
   * @throws SkeinError CERTIFICATE_INVALID, WRONG_MESH, CERTIFICATE_EXPIRED or CERTIFICATE_REVOKED.
   */
  async renew(peerId: PeerId, signed: Signed): Promise<Signed> {
    const rules = { meshId: this.meshId, nowMs: this.#components.clock.wallMs(), revocations: this.#list() }
    const { name, roles } = await verifyCertificate(signed, peerId, rules)
    return this.issue({ peerId, name, roles })
  }

  /**
   * Voids every certificate that `peerId` has, and the invites that it joined by. Resolves to the new signed list.
   *
   * @throws SkeinError INTERNAL when the list is full of revocations that still matter.
   */
  async revoke(peerId: PeerId): Promise<Signed> {
    const nowMs = this.#components.clock.wallMs()
    await this.#change((state) => {
      state.invites = state.invites.filter((invite) => !invite.usedBy.includes(peerId))
      // a certificate issued before then has expired by itself
      const forgottenMs = nowMs - LIMITS.certificateValidityMs - 2 * LIMITS.clockSkewMs
      state.revoked = state.revoked.filter((entry) => entry.peerId !== peerId && entry.revokedAtMs > forgottenMs)
      if (state.revoked.length >= LIMITS.revocationsMax)
        throw new SkeinError('INTERNAL', `${LIMITS.revocationsMax} members are revoked already`)
      state.revoked.push({ peerId, serialMax: state.lastSerial, revokedAtMs: nowMs })
      state.issued = state.issued.filter((issued) => issued.peerId !== peerId)
      state.revocationSequence++
    })
    return this.#revocations
  }

  /** The signed revocation list. */
  revocations(): Signed {
    return this.#revocations
  }

  /** Members with a certificate, the newest of each. */
  issued(): readonly Issued[] {
    return this.#state.issued
  }

  #certify(state: AuthorityState, subject: Subject): Promise<Signed> {
    const issuedAtMs = this.#components.clock.wallMs()
    // at least the time, so that serials still grow after an older copy of the state was restored from a backup
    const serial = Math.max(state.lastSerial + 1, issuedAtMs)
    state.lastSerial = serial
    const certificate: Certificate = {
      meshId: this.meshId,
      peerId: subject.peerId,
      name: freeName(state, subject),
      roles: [...subject.roles],
      serial,
      issuedAtMs,
      expiresAtMs: issuedAtMs + LIMITS.certificateValidityMs,
    }
    const { meshId: _meshId, ...issued } = certificate
    state.issued = state.issued.filter((other) => other.peerId !== subject.peerId && other.expiresAtMs > issuedAtMs)
    if (state.issued.length >= LIMITS.membersMax)
      throw new SkeinError('INVITE_INVALID', `the mesh has ${LIMITS.membersMax} members already`)
    state.issued.push(issued)
    return sign(this.#key, 'certificate', certificate)
  }

  #list(): Revocations {
    return revocationsOf(this.meshId, this.#state)
  }

  /** Runs `change` on a copy of the state after all changes before it; what it returns is given out once on disk. */
  #change<T>(change: (state: AuthorityState) => T | Promise<T>): Promise<T> {
    const next = this.#tail.then(async () => {
      const copy = structuredClone(this.#state)
      const result = await change(copy)
      const revocations = copy.revocationSequence === this.#state.revocationSequence ? this.#revocations : undefined
      await writePrivateFile(this.#path, JSON.stringify(copy))
      this.#state = copy
      this.#revocations = revocations ?? (await signRevocations(this.#key, copy))
      return result
    })
    this.#tail = next.catch(() => undefined)
    return next
  }
}

const NAME_LENGTH_MAX = 63

/** The name that `subject` wishes, with a number behind it when another member has it: people tell nodes apart by name. */
function freeName(state: AuthorityState, { peerId, name }: Subject): string {
  const taken = new Set(state.issued.filter((other) => other.peerId !== peerId).map((other) => other.name))
  let free = name
  for (let n = 2; taken.has(free); n++) free = `${name.slice(0, NAME_LENGTH_MAX - String(n).length - 1)}-${n}`
  return free
}

const revocationsOf = (meshId: MeshId, state: AuthorityState): Revocations => ({
  meshId,
  sequence: state.revocationSequence,
  revoked: state.revoked.map(({ peerId, serialMax }) => ({ peerId: peerId as PeerId, serialMax })),
})

const signRevocations = (key: Identity, state: AuthorityState): Promise<Signed> =>
  sign(key, 'revocations', revocationsOf(asMeshId(key.peerId), state))
