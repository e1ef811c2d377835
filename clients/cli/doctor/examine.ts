/** All checks of `skein doctor`, in the order in which they are told. */
import type { Instance, Random } from '../../../mesh/runtime/index.ts'
import type { EngineDevices, InspectedServer } from '../../../node/index.ts'
import type { StoredModel } from '../../../node/models/store/index.ts'
import { DEFAULT_HTTP } from '../coordinator-client.ts'
import { formatBytes } from '../output.ts'
import { failure, ok, runChecks, skipped, type Check, type Finding } from './check.ts'
import { checkEnergy } from './energy-check.ts'
import { checkGpu } from './gpu-check.ts'
import type { Machine } from './machine.ts'
import {
  checkDataDirectory,
  checkDisk,
  checkMemory,
  checkNode,
  checkOpenFiles,
  checkSettings,
  checkTimeZone,
} from './machine-checks.ts'
import type { MembershipFacts } from './membership-facts.ts'
import { checkCloud } from './cloud-check.ts'
import { checkCertificate, checkCoordinator, type CoordinatorFacts } from './mesh-checks.ts'
import { checkFit, checkModels } from './model-checks.ts'
import { checkAddress, checkDials, checkMdns, hostPortOf, type Dial, type TryListen } from './network-checks.ts'
import { checkPolicy } from './policy-check.ts'
import { checkUpstream } from './upstream-check.ts'

/** Most checks answer at once. */
const QUICK_MS = 5000
/** Starting an engine takes seconds, on a busy machine many. */
const ENGINE_MS = 30_000
/** Heads of a few hundred models. */
const MODELS_MS = 20_000

export interface Surroundings {
  readonly machine: Machine
  readonly random: Random
  readonly dataDir: string
  /** Names of all variables that Skein reads. */
  readonly variables: ReadonlySet<string>
  /** The Skein that runs in the data directory. */
  readonly instance: Instance | undefined
  readonly coordinator: CoordinatorFacts
  readonly listen: TryListen
  readonly dial: Dial
  readonly fetchText: (url: string) => Promise<string>
  readonly membership: () => Promise<MembershipFacts | undefined>
  readonly probeEngine: () => Promise<EngineDevices>
  readonly store: () => Promise<readonly StoredModel[]>
  /** Servers that run models already. */
  readonly servers: () => Promise<readonly InspectedServer[]>
  readonly readHead: (path: string) => Promise<{ readonly sizeBytes: number }>
}

/** Looks at everything at the same time, each check within its own bound. Never rejects. */
export function examine(around: Surroundings): Promise<Finding[]> {
  const { machine, dataDir } = around
  const one = (name: string, run: () => Finding | Promise<Finding>): Check => ({
    name,
    withinMs: QUICK_MS,
    run: async () => [await run()],
  })
  const checks: Check[] = [
    one('Node.js', () => checkNode(machine)),
    { name: 'settings', withinMs: QUICK_MS, run: async () => checkSettings(machine, around.variables) },
    { name: 'data directory', withinMs: QUICK_MS, run: () => checkDataDirectory(machine, dataDir) },
    one('policy', () => checkPolicy(dataDir, machine.clock)),
    one('cloud', () => checkCloud(dataDir, process.env)),
    one('disk', () => checkDisk(machine, dataDir)),
    one('memory', () => checkMemory(machine)),
    one('open files', () => checkOpenFiles(machine)),
    one('time', () => checkTimeZone(machine)),
    one('energy', () => checkEnergy(machine)),
    { name: 'engine', withinMs: ENGINE_MS, run: () => checkEngineAndFit(around) },
    {
      name: 'models',
      withinMs: MODELS_MS,
      run: async (signal) => checkModels({ models: await around.store(), readHead: around.readHead }, signal),
    },
    { name: 'upstream servers', withinMs: MODELS_MS, run: () => checkUpstream(around.servers) },
    { name: 'API address', withinMs: QUICK_MS, run: () => checkAddresses(around) },
    { name: 'membership', withinMs: MODELS_MS, run: (signal) => checkMembers(around, signal) },
    {
      name: 'discovery: mdns',
      withinMs: QUICK_MS,
      run: async (signal) => [await checkMdns(machine, around.random, signal)],
    },
    { name: 'coordinator', withinMs: QUICK_MS, run: () => checkMesh(around) },
  ]
  return runChecks(checks, machine.clock)
}

/** Starts an engine process and asks it for its devices: what a node would compute on. */
async function checkEngineAndFit({ machine, probeEngine, store }: Surroundings): Promise<Finding[]> {
  const engine = await probeEngine().catch((error: unknown) => error as Error)
  const models = await store()
  const { sizeBytes } = machine.memory()
  if (engine instanceof Error)
    return [
      failure('engine', engine.message, 'run `npm ci` again: the engine is one of its optional packages'),
      skipped('GPU', 'no engine could be asked'),
      checkFit(models, { sizeBytes, gpuBytes: 0 }),
    ]
  const { backend, engineBuild, deviceNames, memoryTotalBytes } = engine
  const hasGpu = deviceNames.length > 0
  const description = `${deviceNames.join(', ')}, ${formatBytes(memoryTotalBytes)}, by ${backend}`
  return [
    ok('engine', engineBuild),
    await checkGpu(machine, { deviceNames, description }),
    checkFit(models, { sizeBytes, gpuBytes: hasGpu ? memoryTotalBytes : 0 }),
  ]
}

/** Addresses that a start would listen on: the API's, and those that the settings name. */
async function checkAddresses({ machine, instance, listen, fetchText }: Surroundings): Promise<Finding[]> {
  const at = (check: string, host: string, port: number, flag: string): Promise<Finding> =>
    checkAddress(machine, { check, host, port, flag }, listen, fetchText)
  if (instance !== undefined)
    return [
      instance.http === undefined
        ? skipped('API address', 'the Skein that runs here is a node, which has none')
        : ok('API address', `${instance.http} is this Skein`),
    ]
  const [host, port] = splitHostPort(machine.env['SKEIN_HTTP'] ?? DEFAULT_HTTP)
  const listening = hostPortOf(machine.env['SKEIN_LISTEN'] ?? '')
  const findings = [await at('API address', host, port, '--http HOST:PORT')]
  if (listening === undefined || listening.port === 0)
    return [...findings, skipped('listen address', 'a start takes any free port (set one with --listen)')]
  return [...findings, await at('listen address', listening.host, listening.port, '--listen MULTIADDR')]
}

function splitHostPort(text: string): [string, number] {
  const at = text.lastIndexOf(':')
  const host = text.slice(0, at).replaceAll(/[[\]]/g, '')
  const port = Number(text.slice(at + 1))
  // what is malformed is a finding of the settings
  return [host === '' ? '127.0.0.1' : host, Number.isInteger(port) && port >= 0 && port < 65_536 ? port : 0]
}

/** The certificate, and the addresses of members that a start would dial. */
async function checkMembers(around: Surroundings, signal: AbortSignal): Promise<Finding[]> {
  const { machine, membership, dial } = around
  const facts = await membership()
  const bootstrap = machine.env['SKEIN_BOOTSTRAP']
  const configured = bootstrap === undefined ? [] : [{ path: 'configured', address: bootstrap }]
  const targets = [...configured, ...(facts?.remembered ?? [])]
  // what runs here dials them all the time and tells of it
  const dials = around.instance === undefined ? await checkDials(targets, dial, signal) : []
  return [checkCertificate(facts?.certificate, machine.clock), ...dials]
}

async function checkMesh(around: Surroundings): Promise<Finding[]> {
  const { machine, instance, coordinator } = around
  const findings = await checkCoordinator(coordinator, machine.clock)
  const isAnswered = findings.some(({ check }) => check.startsWith('discovery: '))
  if (isAnswered) return findings
  const why = instance === undefined ? 'no Skein runs here' : 'a node tells of them in its log (skein logs)'
  return [...findings, ...['relay', 'dht'].map((path) => skipped(`discovery: ${path}`, why))]
}
