/**
 * Checks of what the mesh key signed. Pure but for the signature: the caller brings the time and the revocation list, so
 * that a certificate is judged the same way in a hello, in a renewal and while a connection lives.
 */
import {
  LIMITS,
  parseCertificate,
  parseRevocations,
  readCanonical,
  SkeinError,
  type Certificate,
  type MeshId,
  type PeerId,
  type Revocations,
  type Signed,
} from '../../protocol/index.ts'
import { openSigned } from '../signed.ts'

export interface CertificateRules {
  readonly meshId: MeshId
  /** Wall clock, in ms since 1970. */
  readonly nowMs: number
  readonly revocations: Revocations | undefined
}

/**
 * The certificate in `signed`, when it makes `peer` a member now.
 *
 * @throws SkeinError CERTIFICATE_INVALID, WRONG_MESH, CERTIFICATE_EXPIRED or CERTIFICATE_REVOKED.
 */
export async function verifyCertificate(signed: Signed, peer: PeerId, rules: CertificateRules): Promise<Certificate> {
  // the mesh is read before the signature, so that a member of another mesh is told so
  const certificate = claimedCertificate(signed)
  if (certificate.meshId !== rules.meshId)
    throw new SkeinError('WRONG_MESH', `the certificate is of the mesh ${certificate.meshId}`)
  await openSigned(rules.meshId, 'certificate', signed)
  if (certificate.peerId !== peer)
    throw new SkeinError('CERTIFICATE_INVALID', `the certificate is of ${certificate.peerId}, shown by ${peer}`)
  assertCurrent(certificate, rules)
  return certificate
}

/** @throws SkeinError CERTIFICATE_INVALID (not valid yet), CERTIFICATE_EXPIRED or CERTIFICATE_REVOKED. */
export function assertCurrent(certificate: Certificate, rules: Omit<CertificateRules, 'meshId'>): void {
  if (certificate.issuedAtMs - LIMITS.clockSkewMs > rules.nowMs)
    throw new SkeinError('CERTIFICATE_INVALID', 'the certificate is from the future: the clocks differ too much')
  if (certificate.expiresAtMs + LIMITS.clockSkewMs <= rules.nowMs)
    throw new SkeinError('CERTIFICATE_EXPIRED', `the certificate of ${certificate.name} is over`)
  if (isRevoked(certificate, rules.revocations))
    throw new SkeinError('CERTIFICATE_REVOKED', `the owner has revoked ${certificate.name}`)
}

export function isRevoked(certificate: Certificate, revocations: Revocations | undefined): boolean {
  const entry = revocations?.revoked.find((revoked) => revoked.peerId === certificate.peerId)
  return entry !== undefined && certificate.serial <= entry.serialMax
}

/** @throws SkeinError CERTIFICATE_INVALID or WRONG_MESH. */
export async function verifyRevocations(signed: Signed, meshId: MeshId): Promise<Revocations> {
  const revocations = parseRevocations(await openSigned(meshId, 'revocations', signed))
  if (revocations.meshId !== meshId) throw new SkeinError('WRONG_MESH', 'the revocation list is of another mesh')
  return revocations
}

/** What a certificate says, unverified. @throws SkeinError CERTIFICATE_INVALID. */
export const claimedCertificate = (signed: Signed): Certificate => parseCertificate(readCanonical(signed.payload))
