/** What a process needs for replicas on demand: a file for what was learned of the days, and a way to fetch a model. */
import { readFile } from 'node:fs/promises'
import { asSkeinError, LIMITS, SkeinError, type ModelDigest } from '../../mesh/protocol/index.ts'
import { sleep, writeFileAtomic, type Clock } from '../../mesh/runtime/index.ts'
import type { PeerHost } from '../../mesh/network/index.ts'
import type { ProfileStore } from '../../coordinator/index.ts'
import { MeshAsker, MeshMembers } from '../../node/models/share/index.ts'
import { hubOf, ModelStore, pull } from '../../node/models/store/index.ts'
import type { Base } from './running.ts'
import type { ServeOptions } from './serve-options.ts'

export const DEMAND_FILE = 'demand.json'
/** More than the longest profile; what is larger was not written by us. */
const DEMAND_BYTES_MAX = 16_384 * LIMITS.demandModelsMax
/** A coordinator orders what some member has: one that was too busy to say so in time is asked again, after so long each time. */
const ASK_AGAIN_MS = [1000, 3000, 10_000]

/** What is kept there can be learned again: a damaged file, or a full disk, costs a line in the log. */
export function demandStore({ data, log }: Base): ProfileStore {
  const path = data.file(DEMAND_FILE)
  return {
    load: async () => {
      try {
        const text = await readFile(path, 'utf8')
        return text.length > DEMAND_BYTES_MAX ? null : (JSON.parse(text) as unknown)
      } catch (thrown) {
        return (thrown as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : null
      }
    },
    save: async (profile) => {
      try {
        await writeFileAtomic(path, JSON.stringify(profile))
      } catch (thrown) {
        log.warn({ path, reason: asSkeinError(thrown).message }, 'the days of demand could not be written')
      }
    },
  }
}

/** Brings models into the store from other members, by their digest; what came of a fetch that broke off is kept. */
export function modelFetcher(
  host: PeerHost,
  options: ServeOptions,
  { clock, random, log, data }: Base,
): (digest: ModelDigest, signal: AbortSignal) => Promise<string> {
  const { keepFree } = options
  const mark = servedMark(clock)
  return async (digest, signal) => {
    const members = new MeshMembers({ clock, asker: new MeshAsker({ clock, log, transport: host, discovery: host }) })
    const store = new ModelStore({ clock, random }, data.path)
    const init = { sha256: digest.slice('sha256:'.length), onEvent: () => {}, ...(keepFree && { keepFree }) }
    try {
      const components = { clock, random, store, members, hub: hubOf(process.env) }
      const { path } = (await askedAgain(clock, signal, () => pull(components, digest, init, signal))).model
      await mark(store, digest)
      return path
    } finally {
      members.close()
    }
  }
}

async function askedAgain<T>(clock: Clock, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  for (const waitMs of ASK_AGAIN_MS)
    try {
      return await work()
    } catch (thrown) {
      if (asSkeinError(thrown).code !== 'MODEL_NOT_STORED') throw thrown
      await sleep(clock, waitMs, signal)
    }
  return work()
}

/** Marks models as those of the start are: `skein rm` does not take the file of a running node away unless forced to. */
export function servedMark(clock: Clock): (store: ModelStore, digest: ModelDigest) => Promise<void> {
  // of a node that served nothing of its store: held to the end of the process
  let held: unknown
  return async (store, digest) => {
    try {
      held = (await store.locks.serveAlso([digest])) ?? held
      await store.touch([digest], clock.wallMs())
    } catch (thrown) {
      // a disk that has just become full: the model is here, and can be served
      if (!(thrown instanceof SkeinError)) throw thrown
    }
  }
}
