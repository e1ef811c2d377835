/** Becoming a member by an invite, without starting anything. */
import type { Role } from '../../mesh/protocol/index.ts'
import { createLogger, DataDir, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import type { ServeOptions } from './serve-options.ts'

export interface JoinInit extends Pick<ServeOptions, 'data' | 'name' | 'mdns' | 'logLevel'> {
  /** Or a pairing code. */
  readonly invite: string
  /** Where a pairing code is asked for; the local network when there is none. */
  readonly bootstrap?: readonly string[]
  /** What it is to be; all that a machine may be when absent. */
  readonly roles?: readonly Role[]
}

export interface Joined {
  readonly meshId: string
  readonly peerId: string
  readonly name: string
  /** Of the certificate: wall clock in ms since 1970. */
  readonly expiresAtMs: number
}

/** @throws SkeinError DATA_DIR_LOCKED, DATA_DIR_UNUSABLE, WRONG_MESH, INVITE_INVALID, DIAL_FAILED; the join's refusal. */
export async function joinWithInvite({
  data: path,
  name,
  mdns,
  logLevel,
  invite,
  roles,
  bootstrap = [],
}: JoinInit): Promise<Joined> {
  const data = DataDir.open(path)
  try {
    const components = { clock: new SystemClock(true), random: new SystemRandom(), log: createLogger(logLevel) }
    // loaded here: the mesh's libraries take longer to load than most commands take to run
    const { openMembership } = await import('../../mesh/network/index.ts')
    const { store } = await openMembership(components, {
      dataDir: data.path,
      name,
      roles: roles ?? ['coordinator', 'node'],
      invite,
      mayCreate: false,
      mdns,
      bootstrap,
    })
    const { meshId, peerId, expiresAtMs } = store.certificate
    return { meshId, peerId, name: store.certificate.name, expiresAtMs }
  } finally {
    data.close()
  }
}
