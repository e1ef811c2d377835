/** All models of this node: the inventory, and a host for each model that it found. */
import { rm } from 'node:fs/promises'
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type LoadReport,
  type ModelCapability,
  type ModelDigest,
} from '../../mesh/protocol/index.ts'
import { Inventory, type ModelFile, type ModelProblem } from './inventory.ts'
import type { AdaptedModel } from './adapters.ts'
import { Company } from './company.ts'
import type { Digests } from './digests.ts'
import { ModelHost, type ModelHostComponents, type ModelHostInit } from './model-host.ts'
import { Residency } from './residency.ts'
import { UpstreamModels, type UpstreamModelsInit } from './upstream-models.ts'

export type ModelSetComponents = Omit<ModelHostComponents, 'onProblem' | 'onWanted' | 'onIdle' | 'company'> & {
  readonly digests: Digests
  /** Memory that this machine could give now, in bytes. */
  readonly memoryFreeBytes: () => number
}

export interface ModelSetInit extends ModelHostInit {
  /** Files, directories of `.gguf` files, `echo:` labels. */
  readonly specs: readonly string[]
  readonly adapted?: readonly AdaptedModel[]
  /** Servers that run already, and the peer id of this node; none when absent. */
  readonly upstream?: UpstreamModelsInit & { readonly owner: string }
}

export class ModelSet {
  readonly #components: ModelSetComponents
  readonly #init: ModelSetInit
  readonly #inventory: Inventory
  readonly #hosts = new Map<ModelDigest, ModelHost>()
  readonly #stopping = new AbortController()
  readonly #upstream: UpstreamModels | undefined
  readonly #residency: Residency
  readonly #company = new Company()

  constructor(components: ModelSetComponents, init: ModelSetInit) {
    this.#components = components
    this.#init = init
    this.#inventory = new Inventory({ digests: components.digests, log: components.log.scope('models') })
    const { clock, log, digests, memoryFreeBytes } = components
    this.#residency = new Residency({ clock, log: log.scope('residency'), memoryFreeBytes })
    const listener = { found: (file: ModelFile) => this.#found(file), lost: (file: ModelFile) => this.#lost(file) }
    this.#upstream =
      init.upstream && new UpstreamModels({ clock, log, digests, ...listener }, init.upstream, init.upstream.owner)
  }

  /** Finds the models, and loads those that fit as soon as they are known. Resolves when all were looked at; does not throw. */
  async scan(): Promise<void> {
    const { signal } = this.#stopping
    // of a process that was killed together with its engines
    await this.#discardKvStates()
    for await (const file of this.#inventory.scan(this.#init.specs, signal)) this.#add(file)
    for await (const file of this.#inventory.adapted(this.#init.adapted ?? [], signal)) this.#add(file)
    // after the files: a model that this node can run itself is not asked of a server
    if (!signal.aborted) this.#upstream?.start()
  }

  #add(file: ModelFile): void {
    if (this.#stopping.signal.aborted) return
    const onProblem = (error: unknown): void => this.#inventory.report(file.path, asSkeinError(error))
    const residency = this.#residency
    const listener = {
      company: this.#company,
      onProblem,
      onWanted: (wanted: ModelHost) => residency.wanted(wanted),
      onIdle: (idle: ModelHost) => residency.idle(idle),
      onCapability: () => {
        residency.changed()
        this.#components.onCapability()
      },
    }
    const host = new ModelHost({ ...this.#components, ...listener }, file, this.#init)
    this.#hosts.set(file.digest, host)
    residency.add(host)
    this.#components.onCapability()
  }

  /**
   * Loads a model that is on the disk, for a coordinator. Resolves when it is in memory.
   *
   * @throws SkeinError MODEL_NOT_FOUND, NO_FREE_SLOT; what loading it throws; the signal's reason.
   */
  async ordered(digest: ModelDigest, signal: AbortSignal): Promise<void> {
    const host = this.#hosts.get(digest)
    if (host === undefined) throw new SkeinError('MODEL_NOT_FOUND', 'this node does not have the model')
    await this.#residency.ordered(host)
    await host.resident(signal)
  }

  /** A model has come into the store at `path`: it is one of this node's from now on. Does not throw. */
  async include(path: string): Promise<void> {
    for await (const file of this.#inventory.scan([path], this.#stopping.signal)) this.#found(file)
  }

  /**
   * A model is about to leave the store: it is unloaded, and one of this node's no more. Resolves when its engine has ended.
   *
   * @throws SkeinError MODEL_IN_USE while something runs on it.
   */
  async exclude(digest: ModelDigest): Promise<void> {
    const host = this.#hosts.get(digest)
    if (host === undefined) return
    if (host.running > 0)
      throw new SkeinError('MODEL_IN_USE', `${host.running} requests run on it; ask again when they have ended`)
    this.#inventory.forget(digest)
    await this.#drop(host)
  }

  #found(file: ModelFile): void {
    if (this.#hosts.has(file.digest) || this.#hosts.size >= LIMITS.modelsPerNodeMax) return
    this.#add(file)
  }

  /** Attempts that still run there end with an error, and go on elsewhere. */
  #lost(file: ModelFile): void {
    const host = this.#hosts.get(file.digest)
    if (host?.file === file) void this.#drop(host)
  }

  /** Bounded, does not throw. */
  async #drop(host: ModelHost): Promise<void> {
    this.#hosts.delete(host.file.digest)
    this.#residency.remove(host)
    const stopped = host.stop()
    this.#components.onCapability()
    await stopped
  }

  host(digest: ModelDigest): ModelHost | undefined {
    return this.#hosts.get(digest)
  }

  hosts(): ModelHost[] {
    return [...this.#hosts.values()]
  }

  problems(): ModelProblem[] {
    return this.#inventory.problems()
  }

  /** What is announced: a model that cannot be loaded is not. */
  capabilities(): ModelCapability[] {
    return this.#usable().map((host) => host.capability)
  }

  loads(): LoadReport['models'] {
    return this.#usable().map((host) => host.load)
  }

  /** Unloads everything. Bounded, does not throw. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#residency.stop()
    await Promise.all([this.#upstream?.stop(), ...this.hosts().map((host) => host.stop())])
    await this.#discardKvStates()
  }

  /** What people said is not to outlive the process. Does not throw. */
  async #discardKvStates(): Promise<void> {
    const { kvStates } = this.#init
    if (kvStates === undefined) return
    await rm(kvStates.dir, { recursive: true, force: true }).catch((thrown: unknown) =>
      this.#components.log.warn({ reason: asSkeinError(thrown).message }, 'KV states were not deleted'),
    )
  }

  #usable(): ModelHost[] {
    return this.hosts().filter((host) => host.failure === undefined)
  }
}
