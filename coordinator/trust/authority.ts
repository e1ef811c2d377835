/**
 * The local authority: a key in the data directory that vouches for this machine's names, so that clients which were told
 * of it once can speak TLS with the gateway. It is made once and long-lived, since each client has to be told of it by
 * hand; what it signs is short-lived and never leaves the process.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  isPermitted,
  makeAuthority,
  makeLeaf,
  permittedWith,
  type KeyedCertificate,
  type Permitted,
  type Validity,
} from '../../mesh/certificates/index.ts'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { writeFileAtomic, type Clock, type Random } from '../../mesh/runtime/index.ts'
import { validityOf, tlsPair, type TlsPair } from './pair.ts'

/** In the data directory. */
export const AUTHORITY_FILES = { key: 'trust-ca.key', cert: 'trust-ca.crt', permitted: 'trust-ca.json' } as const

const DAY_MS = 86_400_000
const AUTHORITY_MS = 3650 * DAY_MS
/** Clocks of clients may be off by this much. */
const BACKDATED_MS = DAY_MS
/** What the authority signs is good this long; a new one is made when a third of it is left. */
export const LEAF_MS = 30 * DAY_MS

export interface AuthorityComponents {
  readonly clock: Clock
  readonly random: Random
}

export interface Authority extends Validity {
  readonly subject: string
  /** SHA-256 of the certificate, as systems show it: `AB:CD:…`. */
  readonly fingerprint: string
  /** PEM. */
  readonly cert: string
  readonly permitted: Permitted
}

/** With what it signs. */
interface OwnAuthority extends Authority {
  readonly key: string
}

/**
 * The authority of a data directory; `undefined` when none was made.
 *
 * @throws SkeinError CONFIG_INVALID when its files are damaged.
 */
export async function readAuthority(dataDir: string): Promise<OwnAuthority | undefined> {
  const [key, cert, names] = await Promise.all(
    [AUTHORITY_FILES.key, AUTHORITY_FILES.cert, AUTHORITY_FILES.permitted].map((name) =>
      readIfThere(join(dataDir, name)),
    ),
  )
  if (key === undefined && cert === undefined) return undefined
  const damaged = `the local authority in ${dataDir} is damaged; restore a backup, or make a new one: skein trust init --again`
  if (key === undefined || cert === undefined || names === undefined) throw new SkeinError('CONFIG_INVALID', damaged)
  try {
    const certificate = new X509Certificate(cert)
    const { subject, fingerprint256 } = certificate
    if (!certificate.checkPrivateKey(createPrivateKey(key))) throw new SkeinError('CONFIG_INVALID', damaged)
    const permitted = permittedWith((JSON.parse(names) as { also: string[] }).also)
    const validity = validityOf(certificate)
    return { ...validity, key, cert, subject: subject.replace(/^CN=/, ''), fingerprint: fingerprint256, permitted }
  } catch (cause) {
    throw new SkeinError('CONFIG_INVALID', damaged, { cause })
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new SkeinError('DATA_DIR_UNUSABLE', `${path}: ${(cause as Error).message}`, { cause })
  }
}

export interface NewAuthority {
  /** What this machine is called. */
  readonly host: string
  /** Names and addresses beside the private ones that it may vouch for. */
  readonly also: readonly string[]
}

/**
 * Makes an authority, in place of the one that may be there. The certificate is written last: without it there is none.
 *
 * @throws SkeinError DATA_DIR_UNUSABLE.
 */
export async function createAuthority(
  { clock, random }: AuthorityComponents,
  dataDir: string,
  { host, also }: NewAuthority,
): Promise<OwnAuthority> {
  const nowMs = clock.wallMs()
  const all = [...new Set([host.toLowerCase(), ...also])]
  const made = await makeAuthority(random, {
    // with a part of its own, so that two are told apart in a list
    subject: `Skein local authority ${host} ${Buffer.from(random.bytes(3)).toString('hex')}`,
    permitted: permittedWith(all),
    fromMs: nowMs - BACKDATED_MS,
    untilMs: nowMs + AUTHORITY_MS,
  })
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    await writeFileAtomic(join(dataDir, AUTHORITY_FILES.key), made.key, 0o600)
    await writeFileAtomic(join(dataDir, AUTHORITY_FILES.permitted), JSON.stringify({ also: all }), 0o600)
    await writeFileAtomic(join(dataDir, AUTHORITY_FILES.cert), made.cert, 0o644)
  } catch (cause) {
    throw new SkeinError('DATA_DIR_UNUSABLE', `${dataDir}: ${(cause as Error).message}`, { cause })
  }
  const authority = await readAuthority(dataDir)
  if (authority === undefined) throw new SkeinError('INTERNAL', 'the authority was made and is not there')
  return authority
}

/** Of `names`, those that `authority` may vouch for, in their order, each once. */
export const permittedOf = ({ permitted }: Authority, names: readonly string[]): string[] =>
  [...new Set(names)].filter((name) => isPermitted(name, permitted))

/**
 * A server's certificate with a new key.
 *
 * @param names that the server may be reached by; those that are not permitted are left out.
 * @throws SkeinError CONFIG_INVALID when the authority is over, or none of the names is permitted.
 */
export async function issueLeaf(
  { clock, random }: AuthorityComponents,
  authority: OwnAuthority,
  names: readonly string[],
): Promise<TlsPair> {
  const nowMs = clock.wallMs()
  const permitted = permittedOf(authority, names)
  if (authority.untilMs <= nowMs)
    throw new SkeinError('CONFIG_INVALID', 'the local authority has expired; make a new one: skein trust init --again')
  if (permitted.length === 0)
    throw new SkeinError('CONFIG_INVALID', 'the local authority may vouch for none of the names of this machine')
  const made: KeyedCertificate = await makeLeaf(random, authority, {
    subject: 'Skein',
    names: permitted,
    fromMs: Math.max(nowMs - BACKDATED_MS, authority.fromMs),
    untilMs: Math.min(nowMs + LEAF_MS, authority.untilMs),
  })
  return tlsPair(made, nowMs, { cert: 'of the local authority', key: 'of the local authority' })
}
