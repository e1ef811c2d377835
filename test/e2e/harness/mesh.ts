/** A mesh of real processes: `skein up` or `skein coordinator`, nodes that joined it, and what may stand for a cloud. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { ensureModel } from '../../fixtures/models/index.ts'
import { eventually, skein, SkeinProcess } from '../../fixtures/skein-process.ts'
import { startVllm, type VllmDouble } from '../../fixtures/vllm/index.ts'

const LOCAL = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
/** Of a process, on a machine that does much else. */
const READY_MS = 120_000
/** Of the model that only the cloud has. */
export const CLOUD_MODEL = 'far-tiny'
/** The one that comes with Skein. */
export const BUNDLED_MODEL = 'skein-tiny'

export interface MeshInit {
  /** `up` serves models itself: the one that comes with Skein, unless `args` name others. */
  readonly command?: 'up' | 'coordinator'
  /** More of the coordinator's flags. */
  readonly args?: readonly string[]
  /** Nodes by name, each with its flags: `{ desk: ['--model', 'echo:slow?tps=40'] }`. */
  readonly nodes?: Readonly<Record<string, readonly string[]>>
  /** A rented server with `CLOUD_MODEL`: a double of vLLM with a real small model behind it. */
  readonly hasCloud?: boolean
}

interface Listed {
  readonly data: readonly { readonly id?: string; readonly name?: string; readonly eligible?: boolean }[]
}

export class Mesh {
  readonly nodes = new Map<string, SkeinProcess>()
  readonly folder: string
  readonly #command: 'up' | 'coordinator'
  readonly #args: readonly string[]
  cloud: VllmDouble | undefined
  up!: SkeinProcess

  private constructor(folder: string, { command = 'up', args = [] }: MeshInit) {
    this.folder = folder
    this.#command = command
    this.#args = args
  }

  static async start(init: MeshInit = {}): Promise<Mesh> {
    const mesh = new Mesh(await mkdtemp(join(tmpdir(), 'skein-e2e-')), init)
    try {
      if (init.hasCloud) await mesh.#rent()
      await mesh.startCoordinator('127.0.0.1:0')
      for (const [name, args] of Object.entries(init.nodes ?? {})) await mesh.startNode(name, args)
      if (init.hasCloud) await mesh.untilOffered(CLOUD_MODEL)
      return mesh
    } catch (error) {
      await mesh.stop()
      throw error
    }
  }

  /** Origin of the page. */
  get http(): string {
    return this.up.http
  }

  /** JSON of the API. */
  async get<T>(path: string): Promise<T> {
    return (await (await fetch(this.http + path)).json()) as T
  }

  /** A command of the command line, at this mesh. Returns what it printed. */
  async run(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await skein([...args, '--data', this.up.dataDir], { timeoutMs: READY_MS })
    if (code !== 0) throw new TypeError(`skein ${args.join(' ')} ended with ${code}: ${stderr}`)
    return stdout
  }

  /** Starts a node that joins, and waits until it is asked. */
  async startNode(name: string, args: readonly string[]): Promise<SkeinProcess> {
    const invite = (await this.run('invite')).trim()
    const node = await SkeinProcess.start({
      args: ['node', '--name', name, '--join', invite, ...LOCAL, '--upstream', 'off', ...args],
      dataDir: join(this.folder, name),
      readyMs: READY_MS,
    })
    this.nodes.set(name, node)
    await eventually(
      `${name} is asked`,
      async () => (await this.get<Listed>('/mesh/v1/nodes')).data.find((row) => row.name === name && row.eligible),
      READY_MS,
    )
    return node
  }

  /** As when somebody pulls its plug. */
  async killNode(name: string): Promise<void> {
    const node = this.nodes.get(name)
    if (node === undefined)
      throw new TypeError(`there is no node ${name}; there are ${[...this.nodes.keys()].join(', ')}`)
    this.nodes.delete(name)
    await node.stop('SIGKILL')
  }

  async startCoordinator(http = new URL(this.http).host): Promise<void> {
    // servers of models that happen to run on this machine are none of a test's
    const models = this.#command === 'up' ? ['--upstream', 'off'] : []
    const args = [this.#command, '--name', 'home', '--http', http, ...LOCAL, ...models, ...this.#args]
    this.up = await SkeinProcess.start({ args, dataDir: join(this.folder, 'home'), readyMs: READY_MS })
  }

  /** Away, as when the machine is switched off; `startCoordinator` brings it back, at the same address. */
  async stopCoordinator(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.up.stop(signal)
  }

  untilOffered(model: string): Promise<unknown> {
    return eventually(
      `${model} is offered`,
      async () => (await this.get<Listed>('/v1/models')).data.find(({ id }) => id === model),
      READY_MS,
    )
  }

  async stop(): Promise<void> {
    for (const node of this.nodes.values()) await node.stop('SIGKILL')
    // not when its start has failed
    await (this.up as SkeinProcess | undefined)?.stop('SIGKILL')
    await this.cloud?.stop()
    await rm(this.folder, { recursive: true, force: true })
  }

  async #rent(): Promise<void> {
    this.cloud = await startVllm({ model: await ensureModel('tiny'), servedName: CLOUD_MODEL })
    const endpoint = {
      name: 'rented',
      url: `${this.cloud.url}/v1`,
      free: true,
      models: [{ name: CLOUD_MODEL }],
      slots: 4,
    }
    await mkdir(join(this.folder, 'home'))
    await writeFile(join(this.folder, 'home', 'cloud.json'), JSON.stringify({ endpoints: [endpoint] }))
  }
}

/** A mesh for a file of tests, or for a `describe`: it is there from the first test on. */
export function useMesh(init: MeshInit = {}): Mesh {
  let mesh: Mesh | undefined
  beforeAll(async () => {
    mesh = await Mesh.start(init)
  }, 300_000)
  afterAll(() => mesh?.stop())
  // one object for the tests to hold, which is filled before the first of them
  return new Proxy({} as Mesh, {
    get: (_, key) => {
      if (mesh === undefined) throw new TypeError('the mesh is started before the first test, not earlier')
      const value = Reflect.get(mesh, key, mesh) as unknown
      return typeof value === 'function' ? (value.bind(mesh) as unknown) : value
    },
  })
}
