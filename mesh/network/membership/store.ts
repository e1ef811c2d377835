/**
 * What a member knows of its mesh, in `membership.json`: its certificate, the newest revocation list, and addresses at
 * which other members were reached. The file is a cache of signed facts: each is verified again when it is read.
 */
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import {
  checker,
  type Certificate,
  type MeshId,
  type PeerId,
  type Revocations,
  type Signed,
} from '../../protocol/index.ts'
import { readPrivateJson, writePrivateFile } from '../files.ts'
import { decodeSigned, encodeSigned } from '../signed.ts'
import {
  claimedCertificate,
  isRevoked,
  verifyCertificate,
  verifyRevocations,
  type CertificateRules,
} from './certificates.ts'

export const MEMBERSHIP_FILE = 'membership.json'
/** Peers whose addresses are kept, the most recently reached first. */
const REMEMBERED_PEERS_MAX = 64
const REMEMBERED_ADDRESSES_MAX = 4

const FileSchema = Type.Object({
  version: Type.Literal(1),
  /** base64 of the CBOR of the signed record. */
  certificate: Type.String({ maxLength: 8192 }),
  revocations: Type.Optional(Type.String({ maxLength: 256 * 1024 })),
  addresses: Type.Array(
    Type.Object({
      peerId: Type.String({ maxLength: 64 }),
      addresses: Type.Array(Type.String({ maxLength: 512 }), { maxItems: REMEMBERED_ADDRESSES_MAX }),
    }),
    { maxItems: REMEMBERED_PEERS_MAX },
  ),
})
const isFile = checker(FileSchema)
type RememberedPeer = Static<typeof FileSchema>['addresses'][number]

const toText = (signed: Signed): string => Buffer.from(encodeSigned(signed)).toString('base64')
const fromText = (text: string): Signed =>
  decodeSigned(new Uint8Array(Buffer.from(text, 'base64')), 'CERTIFICATE_INVALID')

export class MembershipStore {
  readonly meshId: MeshId
  readonly #path: string
  #certificate: Certificate
  #signedCertificate: Signed
  #revocations: Revocations | undefined
  #signedRevocations: Signed | undefined
  #remembered: RememberedPeer[] = []
  #saving: Promise<void> = Promise.resolve()

  private constructor(path: string, certificate: Certificate, signed: Signed) {
    this.#path = path
    this.meshId = certificate.meshId
    this.#certificate = certificate
    this.#signedCertificate = signed
  }

  /**
   * The membership kept in `dataDir`, or `undefined` when there is none. An expired or revoked certificate is returned
   * all the same: what to do about it is the caller's choice.
   *
   * @throws SkeinError DATA_DIR_UNUSABLE, or CERTIFICATE_INVALID when the file is of another peer.
   */
  static async load(dataDir: string, peerId: PeerId): Promise<MembershipStore | undefined> {
    const path = join(dataDir, MEMBERSHIP_FILE)
    const file = await readPrivateJson(path, isFile)
    if (file === undefined) return undefined
    const signed = fromText(file.certificate)
    const meshId = claimedCertificate(signed).meshId
    const certificate = await verifyCertificate(signed, peerId, timeless(signed, meshId))
    const store = new MembershipStore(path, certificate, signed)
    store.#remembered = file.addresses
    if (file.revocations !== undefined) {
      store.#signedRevocations = fromText(file.revocations)
      store.#revocations = await verifyRevocations(store.#signedRevocations, meshId)
    }
    return store
  }

  /** Writes a new membership into `dataDir`. @throws SkeinError DATA_DIR_UNUSABLE, CERTIFICATE_INVALID. */
  static async create(
    dataDir: string,
    peerId: PeerId,
    facts: { certificate: Signed; revocations: Signed | undefined },
  ): Promise<MembershipStore> {
    const { certificate: signed } = facts
    const meshId = claimedCertificate(signed).meshId
    const certificate = await verifyCertificate(signed, peerId, timeless(signed, meshId))
    const store = new MembershipStore(join(dataDir, MEMBERSHIP_FILE), certificate, signed)
    if (facts.revocations) {
      store.#revocations = await verifyRevocations(facts.revocations, meshId)
      store.#signedRevocations = facts.revocations
    }
    await store.save()
    return store
  }

  get certificate(): Certificate {
    return this.#certificate
  }

  get signedCertificate(): Signed {
    return this.#signedCertificate
  }

  get revocations(): Revocations | undefined {
    return this.#revocations
  }

  get signedRevocations(): Signed | undefined {
    return this.#signedRevocations
  }

  get isRevoked(): boolean {
    return isRevoked(this.#certificate, this.#revocations)
  }

  /** Replaces our certificate by a newer one of the same mesh and peer. @throws as `create`. */
  async renew(signed: Signed): Promise<void> {
    const certificate = await verifyCertificate(signed, this.#certificate.peerId, timeless(signed, this.meshId))
    this.#certificate = certificate
    this.#signedCertificate = signed
    await this.save()
  }

  /**
   * Takes a revocation list over when it is newer than ours. True when it was.
   *
   * @throws SkeinError CERTIFICATE_INVALID or WRONG_MESH for one that the mesh did not sign.
   */
  async offerRevocations(signed: Signed): Promise<boolean> {
    const revocations = await verifyRevocations(signed, this.meshId)
    if (revocations.sequence <= (this.#revocations?.sequence ?? -1)) return false
    this.#revocations = revocations
    this.#signedRevocations = signed
    await this.save()
    return true
  }

  /** Addresses by peer, the most recently reached peer first. */
  get remembered(): readonly { readonly peerId: string; readonly addresses: readonly string[] }[] {
    return this.#remembered
  }

  /** Puts `peerId` first, with these addresses in front of those known. Kept in memory until `save`. */
  remember(peerId: PeerId, addresses: readonly string[]): void {
    const known = this.#remembered.find((other) => other.peerId === peerId)
    const merged = [...new Set([...addresses, ...(known?.addresses ?? [])])].slice(0, REMEMBERED_ADDRESSES_MAX)
    if (merged.length === 0) return
    this.#remembered = [
      { peerId: peerId as string, addresses: merged },
      ...this.#remembered.filter((other) => other !== known),
    ].slice(0, REMEMBERED_PEERS_MAX)
  }

  /** Writes everything after what is being written already. @throws SkeinError DATA_DIR_UNUSABLE. */
  save(): Promise<void> {
    const saved = this.#saving.then(() => writePrivateFile(this.#path, JSON.stringify(this.#file())))
    this.#saving = saved.catch(() => undefined)
    return saved
  }

  #file(): Static<typeof FileSchema> {
    return {
      version: 1,
      certificate: toText(this.#signedCertificate),
      ...(this.#signedRevocations && { revocations: toText(this.#signedRevocations) }),
      addresses: this.#remembered,
    }
  }
}

/** Rules under which only form, mesh, peer and signature count: the time is that of issue, nothing is revoked. */
const timeless = (signed: Signed, meshId: MeshId): CertificateRules => ({
  meshId,
  nowMs: claimedCertificate(signed).issuedAtMs,
  revocations: undefined,
})
