/** Signed records: canonical CBOR and the signature over it, as they travel in frames, in the DHT and on disk. */
import {
  canonicalBytes,
  checker,
  parseCapabilityRecord,
  readCanonical,
  SignedSchema,
  SkeinError,
  type CapabilityRecord,
  type ErrorCode,
  type PeerId,
  type SignatureDomain,
  type Signed,
} from '../protocol/index.ts'
import { verifySignature, type Identity } from './identity.ts'

const isSigned = checker(SignedSchema)

/** `value` as canonical CBOR, signed by `identity` for `domain`. */
export async function sign(identity: Identity, domain: SignatureDomain, value: unknown): Promise<Signed> {
  const payload = canonicalBytes(value)
  return { payload, signature: await identity.sign(domain, payload) }
}

/**
 * The value that `signer` signed for `domain`.
 *
 * @throws SkeinError `code` when the signature is not `signer`'s or the payload is no CBOR.
 */
export async function openSigned(
  signer: string,
  domain: SignatureDomain,
  signed: Signed,
  code: ErrorCode = 'CERTIFICATE_INVALID',
): Promise<unknown> {
  if (!(await verifySignature(signer, domain, signed.payload, signed.signature)))
    throw new SkeinError(code, `the ${domain} is not signed by ${signer}`)
  return readCanonical(signed.payload)
}

export const encodeSigned = (signed: Signed): Uint8Array =>
  canonicalBytes({ payload: signed.payload, signature: signed.signature })

/** @throws SkeinError `code` for bytes that are no signed record. */
export function decodeSigned(bytes: Uint8Array, code: ErrorCode = 'FRAME_MALFORMED'): Signed {
  const value = readCanonical(bytes)
  if (!isSigned(value)) throw new SkeinError(code, 'the bytes are no signed record')
  return value
}

/**
 * The capability record of `peer`: its signature and schema are checked, and that it speaks of `peer` itself. Expiry and
 * sequence are the reader's to judge.
 *
 * @throws SkeinError FRAME_MALFORMED.
 */
export async function openCapabilityRecord(peer: PeerId, signed: Signed): Promise<CapabilityRecord> {
  const record = parseCapabilityRecord(await openSigned(peer, 'capability', signed, 'FRAME_MALFORMED'))
  if (record.peerId !== peer) throw new SkeinError('FRAME_MALFORMED', `a capability record of ${record.peerId}`)
  return record
}
