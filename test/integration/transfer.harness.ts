/** Real hosts on loopback that share models, and one that pulls from them into a store. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { asModelDigest, type ModelDigest } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock, SystemRandom, type Clock } from '../../mesh/runtime/index.ts'
import type { PeerHost } from '../../mesh/network/index.ts'
import {
  createModelShare,
  MeshAsker,
  MeshMembers,
  type ModelShare,
  type SharedModel,
} from '../../node/models/share/index.ts'
import { ModelStore, pull, type Disk, type Pulled, type PullEvent } from '../../node/models/store/index.ts'
import { after, inviteOf, startHost, temporaryDirectory } from './network.harness.ts'
import { sha256Of } from './pull.hub.ts'

export const MIB = 1024 ** 2
export const clock = new SystemClock(true)
export const random = new SystemRandom()

export interface SharedFileInit {
  readonly name: string
  readonly bytes: Buffer
  /** The digest that the node says; the true one when absent. */
  readonly digest?: ModelDigest
  readonly references?: readonly string[]
}

export interface Sharer {
  readonly host: PeerHost
  readonly share: ModelShare
  /** Where its files are: a test may change them. */
  readonly models: SharedModel[]
  isBusy: boolean
  /** Why its owner lets nothing be given. */
  refusal?: string
}

export interface ShareInit {
  readonly invite?: string
  readonly files?: readonly SharedFileInit[]
  /** Streams of the mesh alone. */
  readonly isHidden?: boolean
  readonly clock?: Clock
  readonly busyBytesPerSecond?: number
}

export const digestOf = (bytes: Buffer): ModelDigest => asModelDigest(`sha256:${sha256Of(bytes)}`)

export async function modelOf(dir: string, init: SharedFileInit): Promise<SharedModel> {
  const { name, bytes, references = [], digest = digestOf(bytes) } = init
  const path = join(dir, `${name}.gguf`)
  await writeFile(path, bytes)
  return { digest, path, names: [name], references, sizeBytes: bytes.length, quantization: 'Q8_0' }
}

/** A member that shares `files`; the first one makes the mesh. */
export async function startSharer(name: string, init: ShareInit = {}): Promise<Sharer> {
  const dir = await temporaryDirectory()
  const models = await Promise.all((init.files ?? []).map((file) => modelOf(dir, file)))
  const roles = init.invite === undefined ? (['coordinator', 'node'] as const) : (['node'] as const)
  const host = await startHost(name, { roles, ...(init.invite !== undefined && { invite: init.invite }) })
  const sharer: { -readonly [K in keyof Sharer]?: Sharer[K] } = { host, models, isBusy: false }
  const share = createModelShare(
    {
      clock: init.clock ?? clock,
      random,
      log: silentLogger,
      transport: host,
      shelf: () => Promise.resolve(models),
      addresses: () => host.addresses(),
      isBusy: () => sharer.isBusy === true,
      refusal: () => sharer.refusal,
    },
    {
      listen: init.isHidden ? [] : ['/ip4/127.0.0.1/tcp/0'],
      ...(init.busyBytesPerSecond !== undefined && { busyBytesPerSecond: init.busyBytesPerSecond }),
    },
  )
  sharer.share = share
  await share.start()
  after(() => share.stop())
  return sharer as Sharer
}

export interface Puller {
  readonly host: PeerHost
  readonly asker: MeshAsker
  readonly members: MeshMembers
  readonly store: ModelStore
  readonly events: PullEvent[]
  pull(reference: string, init?: { disk?: Disk; signal?: AbortSignal; hub?: string }): Promise<Pulled>
}

/** A member that pulls. It knows the members that it is connected to. */
export async function startPuller(sharers: readonly Sharer[]): Promise<Puller> {
  const host = await startHost('puller', { invite: await inviteOf(sharers[0]!.host) })
  for (const { host: other } of sharers) await host.connect(other.self.peerId).catch(() => dialAll(host, other))
  const asker = new MeshAsker({ clock, log: silentLogger, transport: host, discovery: host })
  const members = new MeshMembers({ clock, asker })
  after(() => Promise.resolve(members.close()))
  const store = new ModelStore({ clock, random }, await temporaryDirectory())
  const events: PullEvent[] = []
  return {
    host,
    asker,
    members,
    store,
    events,
    pull: (reference, { disk, signal = new AbortController().signal, hub = 'http://127.0.0.1:1' } = {}) =>
      pull(
        { clock, random, store, hub: { endpoint: new URL(hub) }, members, ...(disk && { disk }) },
        reference,
        { keepFree: { bytes: 0 }, onEvent: (event) => void events.push(event) },
        signal,
      ),
  }
}

/** Two nodes of one mesh have met nowhere yet: the DHT brings them together in a while, an address at once. */
async function dialAll(host: PeerHost, other: PeerHost): Promise<void> {
  const endMs = clock.nowMs() + 15_000
  for (;;)
    try {
      await host.connect(other.self.peerId)
      return
    } catch (thrown) {
      if (clock.nowMs() > endMs) throw thrown
      await new Promise<void>((resolve) => void clock.timer(100, resolve))
    }
}
