/** What the data directory says of its membership, read without changing it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { SystemRandom } from '../../../mesh/runtime/index.ts'
import type { DialTarget } from './network-checks.ts'
import type { CertificateFacts } from './mesh-checks.ts'

export interface MembershipFacts {
  readonly certificate: CertificateFacts
  /** Addresses at which members were reached before. */
  readonly remembered: readonly DialTarget[]
}

/** `undefined` when `dataDir` is in no mesh. @throws SkeinError DATA_DIR_UNUSABLE, CERTIFICATE_INVALID. */
export async function membershipFacts(dataDir: string): Promise<MembershipFacts | undefined> {
  const identityFile = join(dataDir, 'identity.key')
  // one that is not there would be made
  if (!existsSync(identityFile) || !existsSync(join(dataDir, 'membership.json'))) return undefined
  const { loadOrCreateIdentity, MembershipStore } = await import('../../../mesh/network/index.ts')
  const identity = await loadOrCreateIdentity(identityFile, new SystemRandom())
  const store = await MembershipStore.load(dataDir, identity.peerId)
  if (store === undefined) return undefined
  const { name, roles, issuedAtMs, expiresAtMs } = store.certificate
  return {
    certificate: { name, roles, issuedAtMs, expiresAtMs, isRevoked: store.isRevoked },
    remembered: store.remembered.flatMap(({ addresses }) =>
      addresses.map((address) => ({ path: 'remembered', address })),
    ),
  }
}
