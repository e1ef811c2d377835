/**
 * A command's way to what other members have. When a Skein runs in the data directory, that one is asked: an identity is
 * for one process at a time. When none does and the machine is a member, the command is that process for as long as it
 * takes.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { asSkeinError, type Role } from '../../mesh/protocol/index.ts'
import { createLogger, DataDir, sleep, type Clock, type Random } from '../../mesh/runtime/index.ts'
import type { PeerHost } from '../../mesh/network/index.ts'
import type { DoorAddress } from '../../node/models/share/index.ts'
import type { Holder, MemberOffer, Members } from '../../node/models/store/index.ts'

/** The first members are waited for this long. */
const FIRST_MEMBER_MS = 8000
/** After the first, others that were known are met within this time. */
const OTHERS_MS = 500

export interface MeshMembersInit {
  readonly dataDir: string
  /** For a machine that is to be a member from now on. */
  readonly join?: string
  readonly name?: string
  readonly roles?: readonly Role[]
  readonly mdns?: boolean
  readonly bootstrap?: readonly string[]
}

interface Opened {
  readonly members: Members
  close(): Promise<void>
}

/** Opens the way when somebody is first looked for. */
export class CommandMembers implements Members {
  readonly #components: { readonly clock: Clock; readonly random: Random }
  readonly #init: MeshMembersInit
  #opened: Promise<Opened | undefined> | undefined
  #members: Members | undefined

  constructor(components: { readonly clock: Clock; readonly random: Random }, init: MeshMembersInit) {
    this.#components = components
    this.#init = init
  }

  async find(text: string, signal: AbortSignal): Promise<readonly MemberOffer[]> {
    this.#opened ??= this.#open()
    this.#members = (await this.#opened)?.members
    return (await this.#members?.find(text, signal)) ?? []
  }

  holder(offer: MemberOffer): Holder {
    // only what `find` gave is asked for
    return this.#members!.holder(offer)
  }

  /** Leaves the mesh, if this command was in it. Does not throw. */
  async close(): Promise<void> {
    await (await this.#opened?.catch(() => undefined))?.close()
  }

  /** `undefined` when this machine is in no mesh, or the mesh cannot be asked: then the internet is what is left. */
  async #open(): Promise<Opened | undefined> {
    const { dataDir, join: invite } = this.#init
    if (invite === undefined && !existsSync(join(dataDir, 'membership.json'))) return undefined
    let data: DataDir
    try {
      data = DataDir.open(dataDir)
    } catch (thrown) {
      const door = DataDir.instance(dataDir)?.door
      if (asSkeinError(thrown).code !== 'DATA_DIR_LOCKED' || door === undefined) return undefined
      return this.#throughDoor(door)
    }
    try {
      return await this.#asMember(data)
    } catch (thrown) {
      data.close()
      // without an invite being in the mesh is a help and no need
      if (invite !== undefined) throw thrown
      return undefined
    }
  }

  async #throughDoor(door: DoorAddress): Promise<Opened> {
    const { clock } = this.#components
    const { DoorAsker, MeshMembers } = await import('../../node/models/share/index.ts')
    const members = new MeshMembers({ clock, asker: new DoorAsker(clock, door) })
    return { members, close: () => Promise.resolve(members.close()) }
  }

  async #asMember(data: DataDir): Promise<Opened> {
    const { clock } = this.#components
    const log = createLogger('silent')
    const { MeshAsker, MeshMembers } = await import('../../node/models/share/index.ts')
    const host = await this.#startHost(data)
    const asker = new MeshAsker({ clock, log, transport: host, discovery: host })
    const members = new MeshMembers({ clock, asker })
    return {
      members,
      close: async () => {
        members.close()
        await host.stop()
        data.close()
      },
    }
  }

  async #startHost(data: DataDir): Promise<PeerHost> {
    const { clock, random } = this.#components
    const { join: invite, mdns = true, bootstrap = [] } = this.#init
    const log = createLogger('silent')
    const { createPeerHost, IDENTITY_FILE, loadOrCreateIdentity, MembershipStore, openMembership } =
      await import('../../mesh/network/index.ts')
    const { peerId } = await loadOrCreateIdentity(data.file(IDENTITY_FILE), random)
    // as what it is already: another name or other roles would need another certificate
    const known = (await MembershipStore.load(data.path, peerId))?.certificate
    const membership = await openMembership(
      { clock, random, log },
      {
        dataDir: data.path,
        name: known?.name ?? this.#init.name ?? 'node',
        roles: known?.roles ?? this.#init.roles ?? ['node'],
        mayCreate: false,
        mdns,
        ...(invite !== undefined && { invite }),
      },
    )
    const host = createPeerHost({ clock, random, log }, { membership, mdns, bootstrap, relay: { use: true } })
    await host.start()
    await firstMembers(host, clock)
    return host
  }
}

async function firstMembers(host: PeerHost, clock: Clock): Promise<void> {
  const found = Promise.withResolvers<void>()
  const unwatch = host.watch({ connected: () => found.resolve() })
  const late = new AbortController()
  const isThere = await Promise.race([
    found.promise.then(() => true),
    sleep(clock, FIRST_MEMBER_MS, late.signal).then(
      () => false,
      () => false,
    ),
  ])
  late.abort()
  unwatch()
  if (isThere) await sleep(clock, OTHERS_MS)
}
