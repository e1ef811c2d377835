/**
 * A certificate that nobody signed but itself, for the HTTPS door of one process: made at its start, and told to each
 * holder of a ticket over the mesh's own encrypted streams. Who connects accepts this very certificate and no other, so
 * that names and authorities play no part. Node can read certificates and not write them; this is the little DER of it.
 *
 *   Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
 *   tbsCertificate ::= SEQUENCE { [0] version, serial, algorithm, issuer, validity, subject, publicKeyInfo }
 */
import { generateKeyPairSync, sign } from 'node:crypto'
import type { Clock, Random } from '../../../mesh/runtime/index.ts'

export interface Certificate {
  /** PEM. */
  readonly key: string
  /** PEM. */
  readonly cert: string
  readonly der: Uint8Array
}

const SEQUENCE = 0x30
const SET = 0x31
const INTEGER = 0x02
const BIT_STRING = 0x03
const OBJECT_ID = 0x06
const UTF8 = 0x0c
const GENERALIZED_TIME = 0x18
/** [0], constructed: the version. */
const VERSION_TAG = 0xa0
/** 1.2.840.10045.4.3.2, ecdsa-with-SHA256. */
const ECDSA_SHA256 = Buffer.from('2a8648ce3d040302', 'hex')
/** 2.5.4.3, the common name. */
const COMMON_NAME = Buffer.from('550403', 'hex')
const DAY_MS = 24 * 3_600_000
/** Longer than any process runs; clocks that are off by days must not lock a house out of its own files. */
const VALID_DAYS = 3650

/** A new key on P-256 and its certificate. */
export function selfSigned(components: { readonly clock: Clock; readonly random: Random }): Certificate {
  const { clock, random } = components
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const algorithm = element(SEQUENCE, element(OBJECT_ID, ECDSA_SHA256))
  const name = element(
    SEQUENCE,
    element(SET, element(SEQUENCE, element(OBJECT_ID, COMMON_NAME), element(UTF8, Buffer.from('skein')))),
  )
  const nowMs = clock.wallMs()
  const validity = element(SEQUENCE, time(nowMs - VALID_DAYS * DAY_MS), time(nowMs + VALID_DAYS * DAY_MS))
  const serial = Buffer.from(random.bytes(16))
  // positive, and not shorter than it says
  serial[0] = (serial[0]! & 0x7f) | 0x40
  const body = element(
    SEQUENCE,
    element(VERSION_TAG, element(INTEGER, Buffer.of(2))),
    element(INTEGER, serial),
    algorithm,
    name,
    validity,
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  )
  const signature = sign('sha256', body, privateKey)
  const der = element(SEQUENCE, body, algorithm, element(BIT_STRING, Buffer.of(0), signature))
  return { der, cert: pemOf(der), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

/** A certificate as Node's TLS takes it. */
export function pemOf(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  if (length < 128) return Buffer.concat([Buffer.of(tag, length), content])
  const size = length < 256 ? Buffer.of(0x81, length) : Buffer.of(0x82, length >> 8, length & 0xff)
  return Buffer.concat([Buffer.of(tag), size, content])
}

/** `YYYYMMDDHHMMSSZ`. */
const time = (atMs: number): Buffer =>
  element(GENERALIZED_TIME, Buffer.from(`${new Date(atMs).toISOString().replaceAll(/[-:T]|\.\d+Z/g, '')}Z`))
