/** All models of this node: the inventory, and a host for each model that it found. */
import {
  asSkeinError,
  LIMITS,
  type LoadReport,
  type ModelCapability,
  type ModelDigest,
} from '../../mesh/protocol/index.ts'
import { Inventory, type ModelFile, type ModelProblem } from './inventory.ts'
import type { Digests } from './digests.ts'
import { ModelHost, type ModelHostComponents, type ModelHostInit } from './model-host.ts'
import { Residency } from './residency.ts'
import { UpstreamModels, type UpstreamModelsInit } from './upstream-models.ts'

export type ModelSetComponents = Omit<ModelHostComponents, 'onProblem' | 'onWanted' | 'onIdle'> & {
  readonly digests: Digests
  /** Memory that this machine could give now, in bytes. */
  readonly memoryFreeBytes: () => number
}

export interface ModelSetInit extends ModelHostInit {
  /** Files, directories of `.gguf` files, `echo:` labels. */
  readonly specs: readonly string[]
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
    for await (const file of this.#inventory.scan(this.#init.specs, signal)) this.#add(file)
    // after the files: a model that this node can run itself is not asked of a server
    if (!signal.aborted) this.#upstream?.start()
  }

  #add(file: ModelFile): void {
    if (this.#stopping.signal.aborted) return
    const onProblem = (error: unknown): void => this.#inventory.report(file.path, asSkeinError(error))
    const residency = this.#residency
    const listener = {
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

  #found(file: ModelFile): void {
    if (this.#hosts.has(file.digest) || this.#hosts.size >= LIMITS.modelsPerNodeMax) return
    this.#add(file)
  }

  /** Attempts that still run there end with an error, and go on elsewhere. */
  #lost(file: ModelFile): void {
    const host = this.#hosts.get(file.digest)
    if (host?.file !== file) return
    this.#hosts.delete(file.digest)
    this.#residency.remove(host)
    void host.stop()
    this.#components.onCapability()
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
  }

  #usable(): ModelHost[] {
    return this.hosts().filter((host) => host.failure === undefined)
  }
}
