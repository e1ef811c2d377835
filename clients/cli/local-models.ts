/** What clients of the gateway may do with the models of this machine, where it has a node: pull, have served, remove. */
import { resolve, sep } from 'node:path'
import { SkeinError, type ModelDigest } from '../../mesh/protocol/index.ts'
import type { PeerHost } from '../../mesh/network/index.ts'
import type { ModelAdministration, PulledModel, PullProgress } from '../../coordinator/index.ts'
import type { NodeAgent } from '../../node/index.ts'
import { MeshAsker, MeshMembers } from '../../node/models/share/index.ts'
import {
  hubOf,
  isDigest,
  isReference,
  ModelStore,
  notStored,
  pull,
  type PullEvent,
  type StoredModel,
} from '../../node/models/store/index.ts'
import { servedMark } from './replicas.ts'
import type { Base } from './running.ts'
import type { ServeOptions } from './serve-options.ts'

export interface LocalModelsComponents extends Base {
  readonly host: PeerHost
  readonly agent: NodeAgent
}

export class LocalModels implements ModelAdministration {
  readonly #components: LocalModelsComponents
  readonly #options: Pick<ServeOptions, 'offline' | 'keepFree'>
  readonly #store: ModelStore
  readonly #mark: ReturnType<typeof servedMark>

  constructor(components: LocalModelsComponents, options: Pick<ServeOptions, 'offline' | 'keepFree'>) {
    this.#components = components
    this.#options = options
    const { clock, random, data } = components
    this.#store = new ModelStore({ clock, random }, data.path)
    this.#mark = servedMark(clock)
  }

  serves(digest: ModelDigest): boolean {
    return this.#servedAt(digest) !== undefined
  }

  async pull(
    reference: string,
    onProgress: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<PulledModel> {
    const { clock, random, log, host } = this.#components
    const { keepFree, offline } = this.#options
    if (offline === true)
      throw new SkeinError('MODEL_SOURCE_REFUSED', 'this node was started with --offline, and pulls nothing')
    const members = new MeshMembers({ clock, asker: new MeshAsker({ clock, log, transport: host, discovery: host }) })
    try {
      const components = { clock, random, store: this.#store, members, hub: hubOf(process.env) }
      // by its digest, since a pull takes a name for that of a file first
      const text = isReference(reference) ? reference : await digestOf(reference, members, signal)
      const sha256 = isDigest(text) && { sha256: text.slice('sha256:'.length) }
      const init = { ...sha256, ...(keepFree && { keepFree }), onEvent: progressTo(onProgress) }
      return await this.#served((await pull(components, text, init, signal)).model)
    } finally {
      members.close()
    }
  }

  async remove(name: string): Promise<void> {
    const { agent } = this.#components
    const stored = await this.#store.find(name)
    if (stored === undefined) throw this.#notStored(name, await this.#store.list())
    const { digest } = stored
    const served = this.#servedAt(digest)
    // one that its owner named by another path is served on from there
    if (served?.startsWith(resolve(this.#store.dir) + sep) === true) await agent.exclude(digest)
    await this.#store.remove(name, true)
    const other = await this.#store.withDigest(digest)
    if (other && other.kind === undefined) await agent.include(other.path)
  }

  /** @throws SkeinError MODEL_FILE_INVALID, CONFIG_INVALID when the node cannot serve it. */
  async #served({ name, digest, path, kind }: StoredModel): Promise<PulledModel> {
    if (kind !== undefined) return { name }
    const { agent } = this.#components
    await this.#mark(this.#store, digest)
    await agent.include(path)
    if (this.serves(digest)) return { name, digest }
    const problem = agent.problems().find((each) => each.path === path)
    throw (
      problem?.error ?? new SkeinError('CONFIG_INVALID', `${name} is in the store; the node has no room to serve it`)
    )
  }

  /** The path from which the node serves it. */
  #servedAt(digest: ModelDigest): string | undefined {
    return this.#components.agent.models().find(({ capability }) => capability.digest === digest)?.path
  }

  #notStored(name: string, stored: readonly StoredModel[]): SkeinError {
    const isServed = this.#components.agent
      .models()
      .some(({ capability: { aliases, digest } }) => aliases.includes(name) || digest === name)
    if (!isServed) return notStored(name, stored)
    return new SkeinError(
      'MODEL_IN_USE',
      `${name} is not in the store: it comes with Skein, from a file, or from a server beside it; to have it served no ` +
        'more, start this node with other models (--model)',
    )
  }
}

/** @throws SkeinError MODEL_NOT_STORED, MODEL_REFERENCE_INVALID for a name of several models. */
async function digestOf(text: string, members: MeshMembers, signal: AbortSignal): Promise<string> {
  if (isDigest(text)) return text
  const digests = new Set((await members.find(text, signal)).map(({ digest }) => digest))
  if (digests.size > 1)
    throw new SkeinError('MODEL_REFERENCE_INVALID', `members have several models named ${text}; give the digest`)
  const [digest] = digests
  if (digest === undefined) throw new SkeinError('MODEL_NOT_STORED', `no member of the mesh has a model '${text}'`)
  return digest
}

/** What of a pull's events clients are told. */
function progressTo(onProgress: (progress: PullProgress) => void): (event: PullEvent) => void {
  let digest: Pick<PullProgress, 'digest'> = {}
  return (event) => {
    if (event.event === 'located')
      digest = event.sha256 === undefined ? {} : { digest: `sha256:${event.sha256}` as ModelDigest }
    const doneBytes = 'doneBytes' in event ? event.doneBytes : event.event === 'began' ? event.resumedBytes : 0
    if (!('sizeBytes' in event)) return
    const state = event.event === 'checking' ? 'checking' : 'pulling'
    onProgress({ state, doneBytes, sizeBytes: event.sizeBytes, ...digest })
  }
}
