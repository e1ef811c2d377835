/** All models of this node: the inventory, and a host for each model that it found. */
import { asSkeinError, type LoadReport, type ModelCapability, type ModelDigest } from '../../mesh/protocol/index.ts'
import { Inventory, type ModelProblem } from './inventory.ts'
import type { Digests } from './digests.ts'
import { ModelHost, type ModelHostComponents, type ModelHostInit } from './model-host.ts'

export type ModelSetComponents = Omit<ModelHostComponents, 'onProblem'> & { readonly digests: Digests }

export interface ModelSetInit extends ModelHostInit {
  /** Files, directories of `.gguf` files, `echo:` labels. */
  readonly specs: readonly string[]
}

export class ModelSet {
  readonly #components: ModelSetComponents
  readonly #init: ModelSetInit
  readonly #inventory: Inventory
  readonly #hosts = new Map<ModelDigest, ModelHost>()
  readonly #stopping = new AbortController()

  constructor(components: ModelSetComponents, init: ModelSetInit) {
    this.#components = components
    this.#init = init
    this.#inventory = new Inventory({ digests: components.digests, log: components.log.scope('models') })
  }

  /** Finds the models and starts to load each as soon as it is known. Resolves when all were looked at; does not throw. */
  async scan(): Promise<void> {
    const { signal } = this.#stopping
    for await (const file of this.#inventory.scan(this.#init.specs, signal)) {
      const onProblem = (error: unknown): void => this.#inventory.report(file.path, asSkeinError(error))
      const host = new ModelHost({ ...this.#components, onProblem }, file, this.#init)
      if (signal.aborted) return
      this.#hosts.set(file.digest, host)
      host.start()
      this.#components.onCapability()
    }
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
    await Promise.all(this.hosts().map((host) => host.stop()))
  }

  #usable(): ModelHost[] {
    return this.hosts().filter((host) => host.failure === undefined)
  }
}
