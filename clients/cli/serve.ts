/**
 * One process of a mesh from start to stop: data directory, identity and membership, libp2p host, then the parts that
 * were asked for. What started is stopped in reverse; running answers get their grace before anything is taken away.
 */
import { resolve } from 'node:path'
import { LIMITS } from '../../mesh/protocol/index.ts'
import {
  DataDir,
  Lifecycle,
  SystemClock,
  SystemRandom,
  type Clock,
  type Logger,
  type SpanExporter,
} from '../../mesh/runtime/index.ts'
import { Page } from '../../mesh/page/index.ts'
import { createPeerHost, openCapabilityRecord, openMembership, type PeerHost } from '../../mesh/network/index.ts'
import {
  Access,
  Batches,
  createCoordinator,
  createGateway,
  createMetrics,
  Devices,
  createTraces,
  LEDGER_FILE,
  Mailboxes,
  newSecret,
  openDeviceStore,
  openLedger,
  ownersOf,
  standingOf,
  type CloudSettingsSource,
  type Coordinator,
  type CoordinatorComponents,
  type Gateway,
  type GatewayComponents,
  type Ledger,
} from '../../coordinator/index.ts'
import {
  createEngine,
  createNodeAgent,
  isEchoPath,
  mayHaveAccelerator,
  probeDevices,
  type NodeAgent,
  type NodeAgentComponents,
} from '../../node/index.ts'
import { FileSenses, OwnerPolicy, SystemSenses, type Senses } from '../../node/policy/index.ts'
import { gatewayKey } from './api-key.ts'
import { FleetSource } from './cloud-fleet.ts'
import { startEndpoints } from './cloud-endpoints.ts'
import { startCloudSettings } from './cloud-settings.ts'
import { costsOf } from './costs.ts'
import { announceBridge, createBridge } from './bridging.ts'
import { outliveOutput } from './broken-output.ts'
import { stopRequested } from './interrupt.ts'
import { AUTHORITY_CERT } from './coordinator-client.ts'
import { jwtBook } from './jwt-settings.ts'
import { modelsListed } from './listed.ts'
import { LocalModels } from './local-models.ts'
import { discoveryReport, hostMembership } from './membership.ts'
import type { Output } from './output.ts'
import { startModelSharing } from './model-sharing.ts'
import { demandStore, modelFetcher } from './replicas.ts'
import { startNodePage } from './node-page.ts'
import { openServeLog } from './serve-log.ts'
import { gatewayOrigins } from './origins.ts'
import { announceReady, createModelReport, createPolicyReport, reportEvents } from './serve-report.ts'
import type { Base, Parts, Running } from './running.ts'
import { FILES_DISK_BYTES, type ServeOptions } from './serve-options.ts'
import { startSpans } from './spans.ts'
import { tlsSource } from './tls-settings.ts'
import { trustFiles } from './trusted.ts'
import { upstreamOf, type Upstream } from './upstream-options.ts'
import { VERSION } from './version.ts'
import { createWorker } from './working.ts'

/** Folder of clients' files in the data directory. */
const FILES_DIR = 'files'

/** Devices, what they said, and calls of them, in the data directory. */
const DEVICES_FILE = 'devices.db'

/** Sealed entries of users' devices, in the data directory. */
const MAILBOXES_FILE = 'mailboxes.db'

/** Folder of kept answers in the data directory. */
const ANSWERS_DIR = 'answers'

/**
 * Runs until a signal asks it to stop. Returns the exit code.
 *
 * @throws SkeinError when it cannot start: DATA_DIR_LOCKED, PORT_IN_USE, INVITE_INVALID, …
 */
export async function serve(parts: Parts, options: ServeOptions, output: Output): Promise<number> {
  // Asked for first: a signal during the start must end it in order too.
  const stop = stopRequested()
  outliveOutput()
  const data = DataDir.open(options.data)
  try {
    const clock = new SystemClock(true)
    const logging = await openServeLog(options, { clock, data }, output)
    try {
      const base: Base = { clock, random: new SystemRandom(), log: logging.log, data }
      return await run(parts, options, base, { output, told: logging.output, stop })
    } finally {
      await logging.close()
    }
  } finally {
    data.close()
  }
}

interface Surroundings {
  readonly output: Output
  /** For what is told while it runs. */
  readonly told: Output
  readonly stop: Promise<'SIGINT' | 'SIGTERM'>
}

async function run(
  parts: Parts,
  options: ServeOptions,
  base: Base,
  { output, told, stop }: Surroundings,
): Promise<number> {
  const { log } = base
  surviveDefects(log)
  const lifecycle = new Lifecycle(log)
  try {
    const running = await start(parts, options, base, lifecycle, { output, told }).catch((error: unknown) => {
      // without a file the command line says it where the log would
      if (options.logFile !== undefined) log.error({ err: error }, 'Skein did not start')
      throw error
    })
    const { host, worker } = running
    const signal = await Promise.race([stop, putOut(host, told), ...(worker ? [worker.leaving] : [])])
    if (output.json) output.value({ event: 'stopping', signal })
    else told.note('\nstopping; running answers may end …')
    await stopAll(running, lifecycle, base)
    return EXIT_CODES[signal]
  } finally {
    await lifecycle.stop()
  }
}

/**
 * A defect in the handling of one peer or one request must not take the others' answers with it: libp2p has had such, and
 * they could be triggered from outside. Each is an error in the log.
 */
function surviveDefects(log: Logger): void {
  process.on('uncaughtException', (error) => log.error({ err: error }, 'a defect: an exception that nothing caught'))
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'a defect: a rejection that nothing handled'))
}

const EXIT_CODES = { SIGINT: 130, SIGTERM: 0, revoked: 4, notice: 0 } as const

/** Resolves, having said so, when the owner has revoked this machine: what it could still do is annoy the others. */
function putOut({ revoked }: PeerHost, output: Output): Promise<'revoked'> {
  return new Promise((resolve) => {
    const tell = (): void => {
      const { message } = revoked.reason as Error
      if (output.json) output.value({ event: 'revoked', message })
      output.note(`${message}; to let it in again, give it a new invite (--join INVITE)`)
      resolve('revoked')
    }
    if (revoked.aborted) tell()
    else revoked.addEventListener('abort', tell, { once: true })
  })
}

async function start(
  parts: Parts,
  options: ServeOptions,
  base: Base,
  lifecycle: Lifecycle,
  { output, told }: Omit<Surroundings, 'stop'>,
): Promise<Running> {
  const spans = await startSpans(options, parts, base, lifecycle)
  const ledger = parts.coordinator ? await startLedger(base, lifecycle) : undefined
  const apiKey = ledger ? await gatewayKey(options, base) : undefined
  const ownKey = ledger && apiKey === undefined ? newSecret(base.random) : undefined
  const jwt = ledger && (await jwtBook(options.jwt, base))
  const access = ledger
    ? await lifecycle.start(new Access({ ...base, store: ledger, ...(jwt && { jwt }) }, ownersOf(apiKey, ownKey)))
    : undefined
  const host = await lifecycle.start(await createHost(parts, options, base))
  // nodes are welcomed before the gateway listens
  const listening: { url?: string } = {}
  const kept = ledger && access ? { ledger, access } : undefined
  const cloud = kept && (await startCloudSettings(base, lifecycle))
  const coordinator =
    kept && cloud
      ? await lifecycle.start(await coordinatorOf(host, { ...kept, cloud, url: () => listening.url }, options, base))
      : undefined
  const reports = { onModels: () => reportModels(), onPolicy: () => reportPolicy() }
  const worker = options.worker && createWorker(options.worker, { slots: options.slots, host }, base, process.env, told)
  const upstream = worker?.upstream ?? (await upstreamOf(options.upstream, options.tier, process.env))
  const agent = parts.node ? agentOf(host, options, base, { ...reports, upstream, spans }) : undefined
  const reportModels = createModelReport(() => agent, told)
  const reportPolicy = createPolicyReport(() => agent, told)
  if (agent) await lifecycle.start(agent)
  if (agent) await worker?.start(agent, lifecycle)
  if (cloud && coordinator) await startEndpoints({ host, agent, coordinator, source: cloud }, base, lifecycle, told)
  const door = await startModelSharing({ host, agent }, options, base, lifecycle)
  const models = agent && new LocalModels({ ...base, host, agent }, options)
  const gateway =
    coordinator && kept
      ? await lifecycle.start(await gatewayOf(coordinator, { ...kept, spans, models }, options, base, lifecycle))
      : undefined
  if (gateway) listening.url = gateway.url
  const page = await startNodePage(parts, options, agent, base, lifecycle)
  const running: Running = { host, coordinator, gateway, agent, worker, apiKey, page }
  await base.data.announce({
    pid: process.pid,
    peerId: host.self.peerId,
    version: VERSION,
    startedAtMs: base.clock.wallMs(),
    ...(gateway && { http: gateway.url }),
    ...(gateway && options.tlsCert !== undefined && { tlsCert: resolve(options.tlsCert) }),
    ...(apiKey !== undefined && { apiKey }),
    ...(ownKey !== undefined && { ownKey }),
    ...(door && { door }),
  })
  await announceReady(running, options, output, await modelsListed(running, base.clock))
  reportEvents(running, told)
  if (parts.node && gateway) await startBridge(gateway, ownKey ?? apiKey, options, base, lifecycle, told)
  return running
}

/** Started last: devices are not what the others wait for. A client of the gateway, as any bridge is. */
async function startBridge(
  gateway: Gateway,
  key: string | undefined,
  options: ServeOptions,
  base: Base,
  lifecycle: Lifecycle,
  output: Output,
): Promise<void> {
  const bridge = await createBridge(
    { ...base, output },
    { options, name: options.name, dataDir: base.data.path, coordinators: [gateway.url], apiKey: () => key },
  )
  if (bridge === undefined) return
  if (gateway.url.startsWith('https:'))
    trustFiles([base.data.file(AUTHORITY_CERT), ...(options.tlsCert === undefined ? [] : [resolve(options.tlsCert)])])
  await lifecycle.start(bridge)
  announceBridge(bridge, options, output)
}

/** Started first, hence stopped last: whatever stops may have something to record. */
async function startLedger(base: Base, lifecycle: Lifecycle): Promise<Ledger> {
  const ledger = await openLedger(base, { path: base.data.file(LEDGER_FILE) })
  await lifecycle.start({ name: 'ledger', start: () => Promise.resolve(), stop: () => ledger.close() })
  return ledger
}

async function createHost(parts: Parts, options: ServeOptions, base: Base): Promise<PeerHost> {
  const roles = [...(parts.coordinator ? (['coordinator'] as const) : []), ...(parts.node ? (['node'] as const) : [])]
  const membership = await openMembership(base, {
    dataDir: base.data.path,
    name: options.name,
    roles,
    mayCreate: parts.coordinator,
    mdns: options.mdns,
    ...(options.join !== undefined && { invite: options.join, bootstrap: options.bootstrap }),
  })
  return createPeerHost(base, {
    membership,
    listen: options.listen,
    announce: options.announce,
    bootstrap: options.bootstrap,
    mdns: options.mdns,
    // A node behind a router is reached through a coordinator; a coordinator relays and needs no relay itself.
    relay: { use: !parts.coordinator },
  })
}

interface Kept {
  readonly ledger: Ledger
  readonly access: Access
}

async function coordinatorOf(
  host: PeerHost,
  {
    ledger,
    access,
    cloud,
    url,
  }: Kept & { readonly cloud: CloudSettingsSource; readonly url: () => string | undefined },
  options: ServeOptions,
  base: Base,
): Promise<Coordinator> {
  const fleet = new FleetSource(host, base)
  const coordinator = createCoordinator({
    ...base,
    ...fleet.initial(cloud),
    cloudRules: cloud.rules,
    costs: await costsOf(options),
    http: () => gatewayOrigins(options, url),
    replicas: options.replicas ?? 'auto',
    profileStore: demandStore(base),
    ...answerCache(options, base),
    ledger,
    onUsed: (tenant, tokens) => access.charge(tenant, tokens),
    transport: host,
    discovery: host,
    membership: hostMembership(host),
    discoveryReport: () => discoveryReport(host),
    openRecord: openCapabilityRecord,
    revocations: () => host.revocations(),
  })
  fleet.follow(coordinator, cloud)
  return coordinator
}

/** On when it has room anywhere. */
function answerCache({ cache = 0, cacheDisk = 0 }: ServeOptions, { data }: Base): Pick<CoordinatorComponents, 'cache'> {
  if (cache === 0 && cacheDisk === 0) return {}
  const disk = cacheDisk > 0 && { disk: { dir: data.file(ANSWERS_DIR), bytesMax: cacheDisk } }
  return { cache: { bytesMax: cache, ...disk } }
}

function agentOf(
  host: PeerHost,
  options: ServeOptions,
  base: Base,
  around: Pick<NodeAgentComponents, 'onModels' | 'onPolicy' | 'spans'> & { readonly upstream: Upstream },
): NodeAgent {
  const { upstream, ...reports } = around
  const { slots, threads, context, kvStates, tier, price } = options
  const hasModelFile = (options.adapter ?? []).length > 0 || options.model.some((path) => !isEchoPath(path))
  return createNodeAgent(
    {
      ...base,
      transport: host,
      discovery: host,
      sign: (record) => host.sign('capability', record),
      createEngine: (kind, components) => createEngine(kind, components, { upstream }),
      ...reports,
      policy: new OwnerPolicy({ ...base, senses: sensesOf(options, base) }, { dataDir: base.data.path }),
      senses: (hasNvidia) => sensesOf(options, base, hasNvidia),
      ...(hasModelFile && mayHaveAccelerator() && { probeDevices: () => probeDevices({ log: base.log }) }),
      ...(options.offline !== true && { fetchModel: modelFetcher(host, options, base) }),
      addresses: () => host.addresses(),
      onRevocations: (signed) => host.applyRevocations(signed),
    },
    {
      dataDir: base.data.path,
      name: host.self.certificate.name,
      models: options.model,
      adapted: (options.adapter ?? []).map(({ name, base, adapters }) => ({
        name,
        base,
        adapters: adapters.map(({ file, scale }) => ({ path: file, scale })),
      })),
      upstream: upstream.init,
      labels: options.label,
      kvStatesBytesMax: kvStates,
      ...(tier !== undefined && { tier }),
      ...(price !== undefined && { price }),
      ...(slots !== undefined && { slots }),
      ...(threads !== undefined && { threads }),
      ...(context !== undefined && { contextTokens: context }),
    },
  )
}

/** @param hasNvidia whether NVIDIA's tool is worth a question; it is asked when absent. */
const sensesOf = ({ senses }: ServeOptions, { clock }: Base, hasNvidia = (): boolean => true): Senses =>
  senses === undefined ? new SystemSenses({ clock, hasNvidia }) : new FileSenses(clock, resolve(senses))

/** What the gateway has beside the coordinator, where it is there. */
interface Aside {
  readonly spans: SpanExporter | undefined
  readonly models: LocalModels | undefined
}

async function gatewayOf(
  coordinator: Coordinator,
  { access, ledger, spans, models }: Kept & Aside,
  options: ServeOptions,
  base: Base,
  lifecycle: Lifecycle,
): Promise<Gateway> {
  const { http, ollama, filesDisk: diskBytesMax = FILES_DISK_BYTES } = options
  const tls = await tlsSource(options, base)
  const init = { ...http, ...(ollama && { ollama }), ...(tls && { tls }) }
  const { service } = coordinator
  const store = { directory: base.data.file(FILES_DIR), diskBytesMax }
  const batches = await lifecycle.start(new Batches({ ...base, store: ledger }, store))
  const deviceStore = await openDeviceStore({ path: base.data.file(DEVICES_FILE) })
  const devices = await lifecycle.start(new Devices({ ...base, store: deviceStore, standing: standingOf(access) }))
  const metrics: GatewayComponents['metrics'] = (facts) =>
    createMetrics({ ...base, service, devices, ...(spans && { spans: () => spans.counts }) }, facts)
  const traces = spans && createTraces({ ...base, service, spans }, { ratio: options.otlpRatio ?? 1 })
  const { leases } = coordinator
  const mailboxes = await lifecycle.start(new Mailboxes(base, { path: base.data.file(MAILBOXES_FILE) }))
  const aside = { ...(traces && { traces }), ...(models && { models }), ...(leases && { leases }) }
  return createGateway(
    { ...base, service, access, batches, devices, metrics, mailboxes, page: new Page(), ...aside },
    init,
  )
}

/** Lets running answers end within their grace, then stops every part; the process ends in time whatever happens. */
async function stopAll(running: Running, lifecycle: Lifecycle, { clock, log }: Base): Promise<void> {
  clock.timer(LIMITS.shutdownMs, () => {
    log.error({}, 'a part did not stop in time')
    process.exit(1)
  })
  running.coordinator?.close()
  const drained = Promise.all([running.gateway?.drain(), running.agent?.drain()])
  await Promise.race([drained, graceOver(clock)])
  await lifecycle.stop()
}

const graceOver = (clock: Clock): Promise<void> =>
  new Promise((resolve) => void clock.timer(LIMITS.shutdownGraceMs, resolve))
