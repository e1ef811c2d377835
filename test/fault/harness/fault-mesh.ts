/**
 * A mesh of real processes to be hurt: one coordinator, nodes that can be killed, frozen, cut off and started again in
 * their data directories. Everything is on loopback, or, with `network`, each node in a network namespace of its own.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NamespaceNetwork } from '../../fixtures/namespaces.ts'
import { eventually, SkeinProcess } from '../../fixtures/skein-process.ts'
import { Answer, type Question } from './answer.ts'
import { enginesOf, processTree, signalAll } from './processes.ts'

export interface NodeSpec {
  readonly name: string
  /** Arguments behind those that every node gets: models, slots, threads. */
  readonly args: readonly string[]
  /** How many models it comes to have; those of its arguments when absent. */
  readonly models?: number
}

export interface FaultMeshInit {
  readonly nodes: readonly NodeSpec[]
  /** The coordinator is at the gateway's address of it, node `i` on host `i`. */
  readonly network?: NamespaceNetwork
  /** Data directory of the coordinator, which is then left where it is. */
  readonly dataDir?: string
  /** Arguments of the coordinator behind those that it always gets. */
  readonly coordinatorArgs?: readonly string[]
}

/** A task as `GET /mesh/v1/tasks/{id}` tells it, as far as it is looked at here. */
export interface TaskOnRecord {
  readonly state: string
  readonly text: string
  readonly tokens: number
  readonly attempts: readonly AttemptOnRecord[]
}

export interface AttemptOnRecord {
  readonly assigned: {
    readonly atMs: number
    readonly attempt: number
    readonly fence: number
    readonly reason: string
    readonly from: number
    readonly node: { readonly name: string }
  }
  readonly ended?: {
    readonly atMs: number
    readonly outcome: string
    readonly code?: string
    readonly to: number
    readonly observed: { readonly firstTokenMs?: number }
  }
}

interface NodeOnRecord {
  readonly name: string
  readonly eligible: boolean
  readonly models: readonly unknown[]
}

/** Bounds for a machine that is busy with other things; a second each is usual. */
const READY_MS = 60_000
const ELIGIBLE_MS = 60_000

export class FaultMesh {
  readonly #init: FaultMeshInit
  readonly #specs: ReadonlyMap<string, NodeSpec & { readonly host: number }>
  readonly #processes = new Map<string, SkeinProcess>()
  readonly #dataDir: string
  #coordinator!: SkeinProcess
  /** Of the first start: a restarted coordinator listens where its nodes and clients know it. */
  #http = '127.0.0.1:0'
  #port = '0'
  #invite = ''

  private constructor(init: FaultMeshInit, dataDir: string) {
    this.#init = init
    this.#dataDir = dataDir
    this.#specs = new Map(init.nodes.map((node, host) => [node.name, { ...node, host }]))
  }

  static async start(init: FaultMeshInit): Promise<FaultMesh> {
    const mesh = new FaultMesh(init, init.dataDir ?? (await mkdtemp(join(tmpdir(), 'skein-fault-'))))
    try {
      await mesh.startCoordinator()
      // all of them settle before any failure is told: one that starts later would be left behind
      const starts = await Promise.allSettled(mesh.names.map((name) => mesh.startNode(name)))
      for (const start of starts) if (start.status === 'rejected') throw start.reason as Error
    } catch (error) {
      await mesh.stop()
      throw error
    }
    return mesh
  }

  get http(): string {
    return this.#coordinator.http
  }

  get coordinator(): SkeinProcess {
    return this.#coordinator
  }

  get names(): string[] {
    return [...this.#specs.keys()]
  }

  node(name: string): SkeinProcess {
    return this.#processes.get(name)!
  }

  /** Also after `coordinator.stop('SIGKILL')`: it comes back at its addresses, with what it had on disk. */
  async startCoordinator(): Promise<void> {
    const address = this.#init.network?.gateway ?? '127.0.0.1'
    const listen = `/ip4/${address}/tcp/${this.#port}`
    const args = ['coordinator', '--name', 'first', '--http', this.#http, '--no-mdns', '--listen', listen]
    args.push(...(this.#init.coordinatorArgs ?? []))
    this.#coordinator = await SkeinProcess.start({ args, dataDir: this.#dataDir, readyMs: READY_MS })
    this.#http = new URL(this.#coordinator.http).host
    this.#port = /\/tcp\/(\d+)/.exec(this.#coordinator.ready.addresses[0]!)![1]!
    this.#invite ||= this.#coordinator.ready.invite!
  }

  /** Starts a node, again with what it had on disk, and waits until it gets work. */
  async startNode(name: string): Promise<void> {
    const spec = this.#specs.get(name)!
    const host = this.#init.network?.hosts[spec.host]
    const dataDir = this.#processes.get(name)?.dataDir
    const listen = `/ip4/${host?.address ?? '127.0.0.1'}/tcp/${host ? 4001 : 0}`
    const args = ['node', '--name', name, '--join', this.#invite, '--no-mdns', '--listen', listen, ...spec.args]
    const started = SkeinProcess.start({
      args,
      readyMs: READY_MS,
      ...(dataDir !== undefined && { dataDir }),
      ...(host !== undefined && { netns: host.netns }),
    })
    this.#processes.set(name, await started)
    await this.eligible(name)
  }

  /** Waits until a node may get work for each of its models. */
  async eligible(name: string, withinMs = ELIGIBLE_MS): Promise<void> {
    const spec = this.#specs.get(name)!
    const models = spec.models ?? spec.args.filter((argument) => argument === '--model').length
    await eventually(
      `${name} is eligible`,
      async () => {
        const { data } = await this.get<{ data: NodeOnRecord[] }>('/mesh/v1/nodes')
        const node = data.find((each) => each.name === name)
        return (node?.eligible && node.models.length === models) || undefined
      },
      withinMs,
    )
  }

  async get<T>(path: string): Promise<T> {
    const response = await fetch(`${this.http}${path}`)
    if (!response.ok) throw new TypeError(`${path}: ${response.status} ${await response.text()}`)
    return (await response.json()) as T
  }

  ask(question: Question): Answer {
    return new Answer(this.http, question)
  }

  task(taskId: string): Promise<TaskOnRecord> {
    return this.get(`/mesh/v1/tasks/${taskId}`)
  }

  /** Stops the clock of a node and of its engines, as closing a laptop's lid does. */
  async freeze(name: string): Promise<void> {
    signalAll(await processTree(this.node(name).child.pid!), 'SIGSTOP')
  }

  async thaw(name: string): Promise<void> {
    signalAll(await processTree(this.node(name).child.pid!), 'SIGCONT')
  }

  engines(name: string): Promise<number[]> {
    return enginesOf(this.node(name).child.pid!)
  }

  async stop(): Promise<void> {
    for (const node of this.#processes.values()) {
      // an engine that is stopped does not see that its agent ended
      const tree = await processTree(node.child.pid!)
      await node.kill()
      signalAll(tree, 'SIGKILL')
    }
    if (this.#coordinator === undefined) return
    await this.#coordinator.stop('SIGKILL')
    if (this.#init.dataDir === undefined) await rm(this.#dataDir, { recursive: true, force: true })
  }
}
