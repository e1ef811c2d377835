/**
 * The node agent: what this machine has and does, said to every coordinator, and attempts served. It is eligible as soon
 * as the network is up: the first record goes out with what is known by then, and another one follows with every model
 * that is found, loaded or measured.
 */
import { join } from 'node:path'
import { Type } from 'typebox'
import {
  asSkeinError,
  checker,
  CapabilityRecordSchema,
  LIMITS,
  PriceSchema,
  SkeinError,
  type Hardware,
  type LoadReport,
  type ModelDigest,
  type PeerId,
} from '../../mesh/protocol/index.ts'
import { sleep, type CancelTimer, type Logger } from '../../mesh/runtime/index.ts'
import {
  createPowerSource,
  hardwareFingerprint,
  hardwareOf,
  hostFacts,
  KeptTable,
  Measurements,
  memoryFreeBytes,
  probeHardware,
  RecordIssuer,
  type CapabilityContent,
  type PowerSource,
  type PowerState,
} from '../capability/index.ts'
import { probeDevices, type EngineDevices } from '../engines/index.ts'
import { Executor } from '../executor/index.ts'
import {
  Digests,
  ModelSet,
  storeDir,
  type ModelProblem,
  type ModelSetComponents,
  type ModelSetInit,
} from '../models/index.ts'
import { watchOthers } from '../policy/index.ts'
import { Announcer } from './announcer.ts'
import type { ControlOrders, ControlSource, Directive } from './control-link.ts'
import { CoordinatorLinks } from './coordinator-links.ts'
import { agentEnergy, type AgentEnergy } from './agent-energy.ts'
import { agentPolicy, type AgentPolicy } from './agent-policy.ts'
import { AgentSenses } from './agent-senses.ts'
import { ReplicaOrders, type ReplicaOrdersComponents } from './replica-orders.ts'
import type { ModelStatus, NodeAgent, NodeAgentComponents, NodeAgentInit, NodeStatus } from './types.ts'

/** The first record waits this long for GPUs and digests: small files and absent tools are done by then. */
const FIRST_RECORD_MS = 250
const POWER_MS = 15_000

const CORDON_KEY = 'cordoned'

const isPrice = checker(PriceSchema)
const isName = checker(CapabilityRecordSchema.properties.name)
const LABEL_LENGTH_MAX = 63
/** As the record has it. */
const LABEL_KEY = /^[a-z0-9._/-]{1,63}$/

/** @throws SkeinError CONFIG_INVALID naming what in `init` cannot be announced. */
export function createNodeAgent(components: NodeAgentComponents, init: NodeAgentInit): NodeAgent {
  if (!isName(init.name))
    throw new SkeinError(
      'CONFIG_INVALID',
      `the name ${JSON.stringify(init.name)} has other characters than A-Z a-z 0-9 . _ -, or more than 63`,
    )
  for (const [key, value] of Object.entries(init.labels ?? {}))
    if (!LABEL_KEY.test(key) || value.length > LABEL_LENGTH_MAX)
      throw new SkeinError(
        'CONFIG_INVALID',
        `the label ${key}=${value}: keys are of a-z 0-9 . _ / -, keys and values at most ${LABEL_LENGTH_MAX} long`,
      )
  const { slots, price } = init
  if (price !== undefined && !isPrice(price))
    throw new SkeinError('CONFIG_INVALID', 'price: two amounts from 0 to 1000000, for a million tokens each')
  if (slots !== undefined && !(Number.isInteger(slots) && slots >= 1 && slots <= LIMITS.slotsPerModelMax))
    throw new SkeinError('CONFIG_INVALID', `slots: a whole number from 1 to ${LIMITS.slotsPerModelMax}`)
  return new Agent(components, init)
}

/** What outlives the process, in the data directory. */
interface Kept {
  readonly digests: Digests
  readonly measurements: Measurements
  readonly issuer: RecordIssuer
  /** Whether the owner has cordoned the node: a restart must not take that back. */
  readonly cordon: KeptTable<boolean>
}

/** What exists once `start` has opened the data directory. */
interface Parts extends Pick<Kept, 'issuer' | 'cordon'> {
  readonly models: ModelSet
  readonly executor: Executor
  readonly announcer: Announcer
  readonly links: CoordinatorLinks
  readonly policy: AgentPolicy
  readonly orders: ReplicaOrders
}

class Agent implements NodeAgent {
  readonly name = 'node agent'
  readonly #components: NodeAgentComponents
  readonly #init: NodeAgentInit
  readonly #log: Logger
  readonly #power: PowerSource
  #hardware: Hardware
  readonly #energy: AgentEnergy
  readonly #senses: AgentSenses | undefined
  #powerState: PowerState = 'unknown'
  #parts: Parts | undefined
  #isScanned = false
  #cancelPower: CancelTimer = () => {}
  #unwatch: () => void = () => {}
  #stopping: Promise<void> | undefined

  constructor(components: NodeAgentComponents, init: NodeAgentInit) {
    this.#components = components
    this.#init = init
    this.#log = components.log.scope('node')
    this.#power = components.power ?? createPowerSource(components.clock)
    this.#hardware = hardwareOf((components.hostFacts ?? hostFacts)())
    this.#energy = agentEnergy(components, () => this.#hardware, init.threads)
    const hasNvidia = (): boolean => this.#hardware.gpus.some(({ vendor }) => vendor === 'nvidia')
    const senses = components.senses?.(hasNvidia)
    this.#senses = senses && new AgentSenses(components.clock, senses, () => this.#parts?.links.report(false))
  }

  async start(): Promise<void> {
    const { clock, transport } = this.#components
    const probe = this.#probe()
    const parts = (this.#parts = await this.#assemble(probe))
    const { models, executor, announcer, links, cordon, policy } = parts
    // `stop` has found nothing to stop, and will not be asked a second time.
    if (this.#stopping) throw new SkeinError('SHUTTING_DOWN', 'the node was stopped while it was starting')
    if (cordon.get(CORDON_KEY)) {
      this.#log.info({}, 'cordoned: no new work until `skein uncordon`')
      executor.cordon()
    }
    await policy.start()
    executor.start()
    await this.#readPower()
    const early = new AbortController()
    await Promise.race([
      Promise.all([probe, this.#scan(models)]),
      sleep(clock, FIRST_RECORD_MS, early.signal).catch(() => {}),
    ])
    early.abort()
    await announcer.start()
    links.start()
    void this.#senses?.look()
    this.#unwatch = transport.watch({ connected: () => announcer.republish() })
  }

  async #scan(models: ModelSet): Promise<void> {
    await models.scan()
    this.#isScanned = true
    this.#components.onModels?.()
  }

  announced(): readonly ModelDigest[] | undefined {
    const announcer = this.#parts?.announcer
    if (!this.#isScanned || announcer?.isCurrent !== true) return undefined
    return announcer.newest?.record.models.map(({ digest }) => digest)
  }

  status(): NodeStatus {
    const { transport } = this.#components
    const parts = this.#parts
    const sequence = parts?.announcer.newest?.record.sequence
    const policy = parts?.policy.status()
    return {
      peerId: transport.self.peerId,
      name: this.#init.name,
      isCordoned: parts?.executor.isCordoned ?? false,
      isDraining: parts?.executor.isDraining ?? false,
      running: parts?.executor.running ?? 0,
      ...(sequence === undefined ? {} : { sequence }),
      hardware: this.#hardware,
      power: this.#powerState,
      ...(policy && { policy }),
      coordinators: parts?.links.list() ?? [],
    }
  }

  models(): ModelStatus[] {
    const hosts = this.#parts?.models.hosts() ?? []
    return hosts.map((host) => ({
      path: host.file.path,
      isAdapted: host.file.adapters !== undefined,
      ...(host.file.parts && { parts: host.file.parts }),
      capability: host.capability,
      loadedShare: host.loadedShare,
      running: host.running,
      ...(host.failure === undefined ? {} : { failure: host.failure }),
    }))
  }

  problems(): ModelProblem[] {
    return this.#parts?.models.problems() ?? []
  }

  async include(path: string): Promise<void> {
    await this.#parts?.models.include(path)
  }

  async exclude(digest: ModelDigest): Promise<void> {
    await this.#parts?.models.exclude(digest)
  }

  async drain(graceMs: number = LIMITS.shutdownGraceMs): Promise<void> {
    await this.#parts?.executor.drain(graceMs)
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  /** Running answers first, then goodbye, then the engines: a coordinator that hears goodbye expects nothing more. */
  async #stop(): Promise<void> {
    this.#cancelPower()
    this.#senses?.stop()
    this.#unwatch()
    const parts = this.#parts
    if (parts === undefined) return
    parts.announcer.stop()
    const ordersStopped = parts.orders.stop()
    await parts.executor.drain(this.#init.graceMs ?? LIMITS.shutdownGraceMs)
    await Promise.all([
      parts.links.stop('the node is stopping'),
      parts.models.stop(),
      ordersStopped,
      parts.issuer.settled(),
      parts.cordon.settled(),
      parts.policy.stop(),
    ])
  }

  #directed(directive: Directive, executor: Executor, cordon: KeptTable<boolean>): void {
    this.#log.info({ directive }, 'the owner asks')
    void cordon.put(CORDON_KEY, directive !== 'uncordon')
    if (directive === 'uncordon') executor.uncordon()
    else if (directive === 'drain') executor.handOver()
    else executor.cordon()
  }

  /** GPUs come with the tools' answers; the record is corrected then. Does not throw. */
  async #probe(): Promise<void> {
    const { clock, log, runCommand: run, hostFacts: facts } = this.#components
    const probe = this.#components.probeDevices ?? ((): Promise<EngineDevices> => probeDevices({ log }))
    try {
      this.#hardware = await probeHardware({
        clock,
        ...(run && { run }),
        ...(facts && { facts }),
        probeDevices: probe,
      })
    } catch (thrown) {
      this.#log.warn(
        { reason: asSkeinError(thrown).message },
        'the hardware could not be probed; GPUs are not announced',
      )
    }
    this.#parts?.announcer.changed()
  }

  async #assemble(probe: Promise<void>): Promise<Parts> {
    const { transport, discovery, clock, random, log, spans, onRevocations = async () => {} } = this.#components
    const kept = await this.#openKept()
    const { issuer, cordon } = kept
    const onLoad = (isUrgent: boolean): void => links.report(isUrgent)
    const models: ModelSet = this.#createModels(kept, probe, {
      onCapability: () => {
        announcer.changed()
        this.#components.onModels?.()
      },
      onLoad: () => onLoad(false),
      isOpen: () => !executor.isCordoned && !executor.isDraining,
    })
    const executor = new Executor({
      clock,
      log,
      transport,
      host: (digest) => policy.permitted(models.host(digest)),
      onLoad,
      onHeld: () => links.tellHeld(),
      isCloud: this.#init.tier === 'cloud',
      refusalOf: (member, tenant) => policy.refusalOf(member, tenant),
      onUse: (use) => policy.used(use),
      spans,
    })
    const facts = {
      withoutPolicy: this.#init.replicas ?? 'load',
      estimatedWatts: () => this.#energy.estimatedWatts(),
      // before the first link there is nobody to tell
      onLoad: () => announcer.newest && onLoad(false),
    }
    const policy: AgentPolicy = agentPolicy(this.#components, executor, facts, () => {
      // Before the first record and the first link there is nobody to tell.
      if (announcer.newest === undefined) return
      announcer.changed()
      links.report(true)
    })
    const announcer: Announcer = new Announcer({
      clock,
      log,
      issuer,
      discovery,
      content: () => this.#content(models, policy),
      onRecord: () => links.announce(),
    })
    const source: ControlSource = {
      // Links start after the first record.
      record: () => announcer.shown()!.signed,
      load: (coordinator) =>
        policy.shownTo(coordinator, {
          models: models.loads().filter(({ digest }) => policy.permitted(models.host(digest)) !== undefined),
          memoryFreeBytes: memoryFreeBytes(),
          ...this.#senses?.sensed,
          cordoned: executor.isCordoned,
          draining: executor.isDraining,
          ...this.#consented(policy),
        }),
      held: () => executor.held(),
    }
    const tell: ReplicaOrdersComponents['tell'] = (coordinator, outcome) => links.outcome(coordinator, outcome)
    const replicas = this.#replicaOrders(models, executor, policy, tell)
    const orders: ControlOrders = {
      released: (coordinator, attempts) => executor.release(coordinator, attempts),
      directed: (directive) => this.#directed(directive, executor, cordon),
      ordered: (coordinator, order) => replicas.ordered(coordinator, order),
    }
    const components = { clock, random, log, transport, discovery, source, orders, onRevocations }
    const links: CoordinatorLinks = new CoordinatorLinks(components)
    return { models, executor, announcer, links, issuer, cordon, policy, orders: replicas }
  }

  /** For the load report. */
  #consented(policy: AgentPolicy): Pick<LoadReport, 'replicas'> {
    const consent = policy.consent()
    if (consent === 'off') return {}
    return { replicas: this.#components.fetchModel === undefined ? 'load' : consent }
  }

  #replicaOrders(
    models: ModelSet,
    executor: Executor,
    policy: AgentPolicy,
    tell: ReplicaOrdersComponents['tell'],
  ): ReplicaOrders {
    const { clock, log, fetchModel } = this.#components
    return new ReplicaOrders({
      ...{ clock, log, models, tell },
      ...(fetchModel && { fetch: fetchModel }),
      consent: () => this.#consented(policy).replicas ?? 'off',
      isPermitted: (digest, host) => policy.isPermitted(digest, host),
      closedBecause: () => {
        if (executor.isDraining) return 'the node is draining'
        return executor.isCordoned ? 'the node takes no new work' : undefined
      },
    })
  }

  async #openKept(): Promise<Kept> {
    const { clock, sign } = this.#components
    const log = this.#log
    const path = (file: string): string => join(this.#init.dataDir, file)
    const [digests, measurements, issuer, cordon] = await Promise.all([
      Digests.open(path('digests.json'), log, storeDir(this.#init.dataDir)),
      Measurements.open(path('measurements.json'), log),
      RecordIssuer.open({ clock, log, sign }, path('capability.json')),
      KeptTable.open({ path: path('cordon.json'), isEntry: checker(Type.Boolean()), entriesMax: 1 }, log),
    ])
    return { digests, measurements, issuer, cordon }
  }

  #createModels(
    { digests, measurements }: Kept,
    probe: Promise<void>,
    listener: Pick<ModelSetComponents, 'onCapability' | 'onLoad' | 'isOpen'>,
  ): ModelSet {
    const { clock, random, log, createEngine, watchOthers: watch = watchOthers } = this.#components
    const fingerprint = async (): Promise<string> => {
      await probe
      return hardwareFingerprint(this.#hardware)
    }
    return new ModelSet(
      {
        ...{ clock, random, log, createEngine, digests, measurements, memoryFreeBytes, ...listener },
        hardwareFingerprint: fingerprint,
        watchOthers: watch,
        energy: this.#energy,
      },
      modelSetInit(this.#init, this.#components.transport.self.peerId),
    )
  }

  #content(models: ModelSet, policy: AgentPolicy): CapabilityContent {
    const { transport, addresses = () => [] } = this.#components
    const { name, labels, tier = 'edge', price } = this.#init
    const access = policy.access()
    return {
      meshId: transport.self.certificate.meshId,
      peerId: transport.self.peerId,
      name,
      hardware: this.#hardware,
      models: models.capabilities().filter(({ digest }) => policy.permitted(models.host(digest)) !== undefined),
      power: this.#powerState,
      tier,
      ...(price !== undefined && { price }),
      labels: { ...labels },
      addresses: addresses().slice(0, 32),
      ...(access && { access }),
    }
  }

  /** Reads the power source now, and again and again. Does not throw. */
  async #readPower(): Promise<void> {
    const now = await this.#power.read()
    if (now !== this.#powerState) {
      this.#powerState = now
      this.#parts?.announcer.changed()
    }
    if (this.#stopping) return
    this.#cancelPower = this.#components.clock.timer(POWER_MS, () => void this.#readPower())
  }
}

function modelSetInit(init: NodeAgentInit, owner: PeerId): ModelSetInit {
  const { dataDir, models, adapted, upstream, slots, threads, contextTokens, kvStatesBytesMax = 0 } = init
  return {
    specs: models,
    ...(adapted && { adapted }),
    kvStates: { dir: join(dataDir, 'kv-states'), bytesMax: kvStatesBytesMax },
    ...(upstream && { upstream: { ...upstream, owner } }),
    ...(slots !== undefined && { slots }),
    ...(threads !== undefined && { threads }),
    ...(contextTokens !== undefined && { contextTokens }),
  }
}
