/**
 * The endpoints of the cloud settings as nodes of this process: each is a member of its own beside the coordinator, with a node
 * agent that asks its server. What the settings change is added, drained and removed while all else runs.
 */
import { join } from 'node:path'
import { asSkeinError, LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { Lifecycle, Logger, Startable } from '../../mesh/runtime/index.ts'
import type { LocalPeer, PeerHost } from '../../mesh/network/index.ts'
import type { CloudSettings, Coordinator, EndpointSettings } from '../../coordinator/index.ts'
import {
  createEngine,
  createNodeAgent,
  Endpoint,
  isOnOwnNetwork,
  serverUrl,
  type NamedServer,
  type NodeAgent,
  type NodeAgentComponents,
  type NodeAgentInit,
} from '../../node/index.ts'
import type { Output } from './output.ts'
import type { Base } from './running.ts'

/** Folder of the endpoints' files in the data directory. */
const ENDPOINTS_DIR = 'endpoints'
/** Between two looks at what a server has: each counts against what it lets a key ask. */
const LOOK_MS = 15_000
/** At first it is looked at more often: what its models stand in for may just be found, too. */
const FIRST_LOOK_MS = 1000
const FIRST_MS = 10_000

/** The settings as they are, and as they become. */
export interface CloudSettingsSource {
  readonly settings: Pick<CloudSettings, 'endpoints'>
  watch(changed: (settings: Pick<CloudSettings, 'endpoints'>) => void): () => void
}

type StandsFor = NonNullable<NonNullable<NodeAgentInit['upstream']>['standsFor']>
type StoodFor = NonNullable<Awaited<ReturnType<StandsFor>>>

export interface CloudEndpointsComponents extends Base {
  readonly host: Pick<PeerHost, 'local' | 'authority'>
  readonly source: CloudSettingsSource
  /** Where keys are, by the names that the settings have for them. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Finds the models of the mesh that those of endpoints stand in for. */
  readonly standsFor?: StandsFor
  /** They are others than before, or in another state. */
  readonly onStatus?: (status: readonly EndpointStatus[]) => void
}

export interface EndpointStatus {
  readonly name: string
  readonly url: string
  /** Why it is no node; absent when it is one. */
  readonly problem?: string
}

interface Running {
  /** What it was started with. */
  readonly told: string
  readonly settings: EndpointSettings
  readonly local?: LocalPeer
  readonly agent?: NodeAgent
  readonly problem?: string
}

export class CloudEndpoints implements Startable {
  readonly name = 'cloud endpoints'
  readonly #components: CloudEndpointsComponents
  readonly #log: Logger
  readonly #running = new Map<string, Running>()
  /** Changes are made one after another: a name is free only when who had it is gone. */
  #turn: Promise<void> = Promise.resolve()
  #unwatch: () => void = () => {}
  #isStopping = false

  constructor(components: CloudEndpointsComponents) {
    this.#components = components
    this.#log = components.log.scope('endpoints')
  }

  /** Starts those that are in the settings; one that cannot be started is told, and keeps no other. Does not throw. */
  async start(): Promise<void> {
    const { source } = this.#components
    this.#unwatch = source.watch(({ endpoints }) => this.#change(endpoints))
    this.#change(source.settings.endpoints)
    await this.#turn
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    this.#unwatch()
    await this.#turn
    await Promise.all([...this.#running.values()].map((running) => this.#end(running)))
  }

  status(): EndpointStatus[] {
    const all = Array.from(this.#running.values(), ({ settings: { name, url }, problem }) => ({
      name,
      url,
      ...(problem !== undefined && { problem }),
    }))
    return all.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  #change(endpoints: readonly EndpointSettings[]): void {
    this.#turn = this.#turn.then(() => this.#apply(endpoints))
  }

  async #apply(endpoints: readonly EndpointSettings[]): Promise<void> {
    if (this.#isStopping) return
    const wanted = new Map(endpoints.map((settings) => [settings.name, JSON.stringify(settings)]))
    const over = [...this.#running.values()].filter(({ told, settings }) => wanted.get(settings.name) !== told)
    await Promise.all(over.map((running) => this.#end(running)))
    const added = endpoints.filter(({ name }) => !this.#running.has(name))
    await Promise.all(added.map((settings) => this.#begin(settings)))
    this.#components.onStatus?.(this.status())
  }

  /** Does not throw. */
  async #begin(settings: EndpointSettings): Promise<void> {
    const { name } = settings
    const told = JSON.stringify(settings)
    let local: LocalPeer | undefined
    try {
      const { host, data } = this.#components
      const server = this.#serverOf(settings)
      const dataDir = join(data.path, ENDPOINTS_DIR, name)
      local = await host.local({ dataDir, name })
      const agent = this.#agentOf(settings, server, local, dataDir)
      await agent.start()
      this.#running.set(name, { told, settings, local, agent })
      this.#watchRevoked(name, local)
    } catch (thrown) {
      local?.leave()
      const problem = asSkeinError(thrown).message
      this.#log.info({ endpoint: name }, `the endpoint ${name} is not used: ${problem}`)
      this.#running.set(name, { told, settings, problem })
    }
  }

  /** One that its owner has put out of the mesh stays out of it until its settings change, or the coordinator starts anew. */
  #watchRevoked(name: string, local: LocalPeer): void {
    const end = async (): Promise<void> => {
      const running = this.#running.get(name)
      if (running?.local !== local || this.#isStopping) return
      await this.#end(running)
      const { told, settings } = running
      this.#running.set(name, { told, settings, problem: 'it was revoked; to use it again, change it in cloud.json' })
      this.#components.onStatus?.(this.status())
    }
    local.revoked.addEventListener('abort', () => void (this.#turn = this.#turn.then(end)), { once: true })
  }

  /** What runs there goes elsewhere, or ends within its grace. Does not throw. */
  async #end({ settings, agent, local }: Running): Promise<void> {
    try {
      await agent?.drain(LIMITS.shutdownGraceMs)
      await agent?.stop()
    } catch (thrown) {
      this.#log.warn({ endpoint: settings.name, reason: asSkeinError(thrown).message }, 'an endpoint ended uncleanly')
    }
    local?.leave()
    this.#running.delete(settings.name)
  }

  /** @throws SkeinError CONFIG_INVALID. */
  #serverOf({ url: text, keys: variables = [], models, slots }: EndpointSettings): NamedServer {
    const { clock, random, environment } = this.#components
    const url = serverUrl(text)
    if (url.startsWith('http:') && !isOnOwnNetwork(url))
      throw new SkeinError('CONFIG_INVALID', `${url}: outside of your own network only https: is asked`)
    const keys = variables.map((variable) => {
      const key = environment[variable]
      if (!key || !/^[\x21-\x7e]+$/.test(key))
        throw new SkeinError('CONFIG_INVALID', `the variable ${variable} is not set, or is no key`)
      return key
    })
    const served = models.flatMap(({ name, serves }): [string, string][] => (serves ? [[name, serves]] : []))
    return {
      url,
      models: models.map(({ name }) => name),
      ...(served.length > 0 && { serves: Object.fromEntries(served) }),
      ...(slots !== undefined && { slots }),
      endpoint: new Endpoint({ clock, random }, { keys }),
    }
  }

  #agentOf(settings: EndpointSettings, server: NamedServer, local: LocalPeer, dataDir: string): NodeAgent {
    const { clock, random, standsFor } = this.#components
    const { price, slots } = settings
    const servers = new Map([[server.url, server]])
    const beganMs = clock.nowMs()
    const lookMs = (): number => (clock.nowMs() - beganMs < FIRST_MS ? FIRST_LOOK_MS : LOOK_MS)
    return createNodeAgent(
      {
        ...{ clock, random, log: this.#log.scope('node', { endpoint: settings.name }) },
        ...ELSEWHERE,
        transport: local,
        discovery: local,
        sign: (record) => local.sign('capability', record),
        createEngine: (kind, components) => createEngine(kind, components, { upstream: { servers } }),
      },
      {
        dataDir,
        models: [],
        upstream: { isAuto: false, named: [server], lookMs, ...(standsFor && { standsFor }) },
        name: local.self.certificate.name,
        tier: 'cloud',
        replicas: 'off',
        ...(price !== undefined && { price }),
        ...(slots !== undefined && { slots }),
      },
    )
  }
}

/** Of the machine that computes nothing is known; this one's hardware and battery are not the endpoint's. */
const ELSEWHERE: Pick<NodeAgentComponents, 'hostFacts' | 'probeDevices' | 'runCommand' | 'power'> = {
  hostFacts: () => ({
    cpuModel: 'an endpoint',
    architecture: '',
    threads: 1,
    totalMemoryBytes: 0,
    memoryLimitBytes: 0,
    platform: 'endpoint',
  }),
  probeDevices: () => Promise.reject(new SkeinError('NOT_FOUND', 'the devices of an endpoint are its own')),
  runCommand: () => Promise.reject(new SkeinError('NOT_FOUND', 'an endpoint is asked in one way alone')),
  power: { read: () => Promise.resolve('unknown') },
}

/** Starts those of the settings, where this process holds the mesh key: endpoints are members that it lets in. */
export function startEndpoints(
  { host, agent, coordinator, source }: Pick<CloudEndpointsComponents, 'host' | 'source'> & Meant,
  base: Base,
  lifecycle: Lifecycle,
  output: Output,
): Promise<CloudEndpoints> {
  const around = { standsFor: rememberingMeaning({ agent, coordinator }), onStatus: statusReport(output) }
  return lifecycle.start(new CloudEndpoints({ ...base, host, source, environment: process.env, ...around }))
}

/** Reports what became of each endpoint since the last call. */
function statusReport(output: Output): (status: readonly EndpointStatus[]) => void {
  const told = new Map<string, string | undefined>()
  return (status) => {
    for (const { name, problem } of status) {
      if (told.has(name) && told.get(name) === problem) continue
      told.set(name, problem)
      const state = problem === undefined ? 'used' : 'unused'
      if (output.json)
        output.value({ event: 'endpoint', name, state, ...(problem !== undefined && { message: problem }) })
      else if (problem !== undefined) output.note(`! the endpoint ${name} is not used: ${problem}`)
    }
  }
}

/** Who knows what a name means. */
interface Meant {
  readonly agent: NodeAgent | undefined
  readonly coordinator: { readonly service: Pick<Coordinator['service'], 'models'> }
}

/** What a name meant once it means until it means another model: an endpoint is needed most when the node that had it is gone. */
function rememberingMeaning(meant: Meant): StandsFor {
  const known = new Map<string, StoodFor>()
  return (name) => {
    const found = stoodForBy(meant, name)
    if (found !== undefined) known.set(name, found)
    return Promise.resolve(known.get(name))
  }
}

function stoodForBy({ agent, coordinator }: Meant, name: string): StoodFor | undefined {
  for (const { path, isAdapted, parts, capability } of agent?.models() ?? []) {
    const { digest, aliases, engine, thinking } = capability
    if (digest !== name && !aliases.includes(name)) continue
    const isFile = engine === 'llama' && !isAdapted && parts === undefined
    return { digest, aliases, ...(isFile && { vocabulary: path }), ...(thinking && { thinking }) }
  }
  const view = coordinator.service.models().find(({ digest, aliases }) => digest === name || aliases.includes(name))
  return view && { digest: view.digest, aliases: view.aliases }
}
