/** A certificate with its key, as a server shows them, and whether they are fit for it. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { KeyedCertificate, Validity } from '../../mesh/certificates/index.ts'
import { SkeinError } from '../../mesh/protocol/index.ts'

/** `cert` may be followed by those that lead to an authority. */
export interface TlsPair extends KeyedCertificate, Validity {
  /** Names and addresses that it is good for, as it says them. */
  readonly names: readonly string[]
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/**
 * @param where the files, for messages.
 * @throws SkeinError CONFIG_INVALID when they are no certificate and key, do not belong together, or are over.
 */
export function tlsPair(
  { cert, key }: KeyedCertificate,
  nowMs: number,
  where: { readonly cert: string; readonly key: string },
): TlsPair {
  const leaf = parsed(cert.match(PEM)?.[0] ?? '', where.cert)
  const privateKey = reading(`${where.key} is no private key in PEM without a password`, () => createPrivateKey(key))
  if (!leaf.checkPrivateKey(privateKey)) throw invalid(`${where.key} is not the key of the certificate ${where.cert}`)
  const { fromMs, untilMs } = validityOf(leaf)
  if (untilMs <= nowMs) throw invalid(`the certificate ${where.cert} has expired (${day(untilMs)})`)
  if (fromMs > nowMs + CLOCK_LEEWAY_MS) throw invalid(`the certificate ${where.cert} is not good before ${day(fromMs)}`)
  for (const link of cert.match(PEM)!.slice(1)) parsed(link, where.cert)
  return { cert, key, fromMs, untilMs, names: namesOf(leaf) }
}

/** A clock that is a little late must not keep a new certificate out. */
const CLOCK_LEEWAY_MS = 300_000

export const validityOf = ({ validFromDate, validToDate }: X509Certificate): Validity => ({
  fromMs: validFromDate.getTime(),
  untilMs: validToDate.getTime(),
})

/** `DNS:a, IP Address:b` as `a`, `b`. */
const namesOf = ({ subjectAltName = '' }: X509Certificate): string[] =>
  [...subjectAltName.matchAll(/(?:DNS|IP Address):([^\s,"]+)/g)].map(([, name]) => name!)

const parsed = (pem: string, file: string): X509Certificate =>
  reading(`${file} is no certificate in PEM`, () => new X509Certificate(pem))

function reading<T>(otherwise: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new SkeinError('CONFIG_INVALID', otherwise, { cause })
  }
}

const invalid = (message: string): SkeinError => new SkeinError('CONFIG_INVALID', message)

export const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
