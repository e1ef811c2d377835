/** X.509 certificates on P-256. A library writes their bytes; what stands in them is said here. */
import { BitString, Integer, OctetString, Utf8String } from 'asn1js'
import { createHash, createPrivateKey, generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto'
import { isIP } from 'node:net'
import {
  AltName,
  AttributeTypeAndValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  Extension,
  ExtKeyUsage,
  GeneralName,
  GeneralSubtree,
  NameConstraints,
} from 'pkijs'
import type { Random } from '../runtime/index.ts'
import { addressBytes, maskBytes, type Permitted } from './constraints.ts'

const COMMON_NAME = '2.5.4.3'
const SUBJECT_KEY_ID = '2.5.29.14'
const KEY_USAGE = '2.5.29.15'
const SUBJECT_ALT_NAME = '2.5.29.17'
const BASIC_CONSTRAINTS = '2.5.29.19'
const NAME_CONSTRAINTS = '2.5.29.30'
const AUTHORITY_KEY_ID = '2.5.29.35'
const EXT_KEY_USAGE = '2.5.29.37'
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
/** Kinds of a GeneralName (RFC 5280, 4.2.1.6). */
const DNS_NAME = 2
const IP_ADDRESS = 7
/** Bits of a key usage, from the left. */
const DIGITAL_SIGNATURE = 0x80
const CERT_AND_CRL_SIGN = 0x06
const EC = { name: 'ECDSA', namedCurve: 'P-256' } as const

/** A key with its certificate, each in PEM. */
export interface KeyedCertificate {
  readonly key: string
  readonly cert: string
}

export interface Validity {
  /** Wall clock, in ms since 1970. */
  readonly fromMs: number
  readonly untilMs: number
}

export interface AuthorityInit extends Validity {
  readonly subject: string
  readonly permitted: Permitted
}

/** A new authority, which may vouch for what is permitted and make no further authorities. */
export async function makeAuthority(random: Random, init: AuthorityInit): Promise<KeyedCertificate> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const keyId = keyIdOf(publicKey)
  const certificate = await bare(random, publicKey, init)
  certificate.issuer = certificate.subject
  certificate.extensions = [
    extension(BASIC_CONSTRAINTS, true, new BasicConstraints({ cA: true, pathLenConstraint: 0 }).toSchema()),
    extension(KEY_USAGE, true, bits(CERT_AND_CRL_SIGN, 1)),
    extension(NAME_CONSTRAINTS, true, constraintsOf(init.permitted).toSchema()),
    extension(SUBJECT_KEY_ID, false, new OctetString({ valueHex: bufferOf(keyId) })),
  ]
  return { key: pemOfKey(privateKey), cert: await signed(certificate, privateKey) }
}

/** A new key with a certificate that vouches for nothing: who connects accepts this very one and no other. */
export async function makeSelfSigned(
  random: Random,
  init: Validity & { readonly subject: string },
): Promise<KeyedCertificate> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const certificate = await bare(random, publicKey, init)
  certificate.issuer = certificate.subject
  return { key: pemOfKey(privateKey), cert: await signed(certificate, privateKey) }
}

export interface LeafInit extends Validity {
  readonly subject: string
  /** Names and addresses that a client may reach it by; at least one. */
  readonly names: readonly string[]
}

/** A new key for a server with its certificate, which `authority` has signed. */
export async function makeLeaf(random: Random, authority: KeyedCertificate, init: LeafInit): Promise<KeyedCertificate> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { raw, publicKey: issuerKey } = new X509Certificate(authority.cert)
  const certificate = await bare(random, publicKey, init)
  certificate.issuer = Certificate.fromBER(bufferOf(raw)).subject
  const keyIdentifier = new OctetString({ valueHex: bufferOf(keyIdOf(issuerKey)) })
  certificate.extensions = [
    extension(BASIC_CONSTRAINTS, true, new BasicConstraints({ cA: false }).toSchema()),
    extension(KEY_USAGE, true, bits(DIGITAL_SIGNATURE, 7)),
    extension(EXT_KEY_USAGE, false, new ExtKeyUsage({ keyPurposes: [SERVER_AUTH] }).toSchema()),
    extension(SUBJECT_ALT_NAME, false, new AltName({ altNames: init.names.map(altName) }).toSchema()),
    extension(SUBJECT_KEY_ID, false, new OctetString({ valueHex: bufferOf(keyIdOf(publicKey)) })),
    extension(AUTHORITY_KEY_ID, false, new AuthorityKeyIdentifier({ keyIdentifier }).toSchema()),
  ]
  return { key: pemOfKey(privateKey), cert: await signed(certificate, createPrivateKey(authority.key)) }
}

async function bare(
  random: Random,
  publicKey: KeyObject,
  { subject, fromMs, untilMs }: Validity & { readonly subject: string },
): Promise<Certificate> {
  const certificate = new Certificate()
  // 3, counted from 0
  certificate.version = 2
  const serial = random.bytes(16)
  // positive, and not shorter than it says
  serial[0] = (serial[0]! & 0x7f) | 0x40
  certificate.serialNumber = new Integer({ valueHex: bufferOf(serial) })
  certificate.subject.typesAndValues.push(commonName(subject))
  certificate.notBefore.value = new Date(fromMs)
  certificate.notAfter.value = new Date(untilMs)
  await certificate.subjectPublicKeyInfo.importKey(publicKey.toCryptoKey(EC, true, ['verify']))
  return certificate
}

async function signed(certificate: Certificate, key: KeyObject): Promise<string> {
  await certificate.sign(key.toCryptoKey(EC, false, ['sign']), 'SHA-256')
  return new X509Certificate(Buffer.from(certificate.toSchema(true).toBER(false))).toString()
}

const commonName = (value: string): AttributeTypeAndValue =>
  new AttributeTypeAndValue({ type: COMMON_NAME, value: new Utf8String({ value }) })

/** What pkijs makes of its own types: their ASN.1. */
interface Encodable {
  toBER(sizeOnly?: boolean): ArrayBuffer
}

const extension = (extnID: string, critical: boolean, value: Encodable): Extension =>
  new Extension({ extnID, critical, extnValue: value.toBER(false) })

const bits = (byte: number, unusedBits: number): BitString =>
  new BitString({ valueHex: bufferOf(Uint8Array.of(byte)), unusedBits })

const altName = (name: string): GeneralName =>
  isIP(name) === 0
    ? new GeneralName({ type: DNS_NAME, value: name })
    : new GeneralName({ type: IP_ADDRESS, value: new OctetString({ valueHex: bufferOf(addressBytes(name)) }) })

function constraintsOf({ domains, blocks }: Permitted): NameConstraints {
  const names = domains.map((value) => new GeneralName({ type: DNS_NAME, value }))
  const addresses = blocks.map((block) => {
    const value = Uint8Array.of(...addressBytes(block.address), ...maskBytes(block))
    return new GeneralName({ type: IP_ADDRESS, value: new OctetString({ valueHex: bufferOf(value) }) })
  })
  const permittedSubtrees = [...names, ...addresses].map((base) => new GeneralSubtree({ base }))
  return new NameConstraints({ permittedSubtrees })
}

/** As RFC 7093 makes it: the first 160 bits of a SHA-256. */
const keyIdOf = (key: KeyObject): Uint8Array =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest()
    .subarray(0, 20)

const pemOfKey = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()
const bufferOf = (bytes: Uint8Array): ArrayBuffer => Uint8Array.from(bytes).buffer
