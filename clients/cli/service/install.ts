/** `skein service install`: what is asked for, checked before anything is written, made into a plan and carried out. */
import { access, readdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve, sep } from 'node:path'
import { asSkeinError, SkeinError } from '../../../mesh/protocol/index.ts'
import { defaultDataDir } from '../../../mesh/runtime/index.ts'
import { joinWithInvite } from '../joining.ts'
import type { Output } from '../output.ts'
import type { ServeOptions } from '../serve-options.ts'
import { VERSION } from '../version.ts'
import type { WorkerOptions } from '../worker-options.ts'
import { apply, askWith, type Run } from './apply.ts'
import { commandOf, type Installation } from './launcher.ts'
import { findManager, SYSTEM_ACCOUNT, SYSTEM_DATA_DIR } from './managers.ts'
import { serviceArguments, type GivenSetting } from './settings.ts'
import type { ServiceManager, ServicePlan, ServiceRole, ServiceScope, ServiceSpec } from './types.ts'

export interface InstallOptions extends ServeOptions {
  readonly system?: boolean
  readonly user?: string
  readonly instance?: string
  readonly dryRun?: boolean
  readonly start: boolean
  readonly nice?: number
  /** Bytes. */
  readonly memoryMax?: number
  /** Of a worker. */
  readonly vllm?: WorkerOptions['vllm']
}

export interface InstallComponents {
  readonly platform: NodeJS.Platform
  readonly env: Readonly<Record<string, string | undefined>>
  readonly run: Run
  readonly installation: Installation
  /** Whether this process may change the machine. */
  readonly isRoot: boolean
  readonly output: Output
}

/** Of a node, which computes; a coordinator or a worker that gives way would make every answer wait. */
const NODE_NICE = 5

/** Files by which a data directory is known. */
const OWN_FILES = new Set(['identity.key', 'lock.db', 'models'])

export const serviceName = (instance: string | undefined): string =>
  instance === undefined ? 'skein' : `skein-${instance}`

/**
 * Installs the service, or prints what it would do.
 *
 * @throws SkeinError USAGE, SERVICE_UNSUPPORTED, SERVICE_FAILED; what joining throws.
 */
export async function installService(
  role: ServiceRole,
  options: InstallOptions,
  given: readonly GivenSetting[],
  components: InstallComponents,
): Promise<void> {
  const { output, run, env, platform } = components
  const scope: ServiceScope = options.system ? 'system' : 'user'
  checkRequest(options, components)
  const account = accountOf(options, platform)
  const manager = await findManager({
    platform,
    scope,
    env,
    ask: askWith(run),
    ...(account !== undefined && { account }),
  })
  const spec = await specOf(role, options, given, { ...components, account, scope })
  const plan = manager.install(spec)
  if (options.dryRun) return show(plan, options, output)
  await assertOwnFolder(spec.dataDir)
  await joinMesh(role, options, spec, output)
  const done = (step: string): void => {
    if (output.json) output.value({ event: 'service', step })
    else output.note(step)
  }
  await apply(plan, { run, done }, { commands: options.start })
  report(plan, spec, manager, options, output)
}

function checkRequest(options: InstallOptions, { installation, isRoot, platform }: InstallComponents): void {
  if (options.apiKey !== undefined)
    throw new SkeinError(
      'USAGE',
      'a key on the command line of a service can be read by every account of this machine. Beyond loopback Skein makes ' +
        'a key by itself and keeps it in http.key of the data directory; to have your own, put it there',
    )
  if (installation.kind === 'npx')
    throw new SkeinError(
      'SERVICE_UNSUPPORTED',
      'npx keeps Skein in a cache that npm may empty; install it to stay: npm install -g skein-mesh',
    )
  if (options.user !== undefined && !options.system) throw new SkeinError('USAGE', '--user is for --system')
  if (options.system && !isRoot && !options.dryRun && platform !== 'win32')
    throw new SkeinError(
      'SERVICE_FAILED',
      'a service of the machine is installed by its administrator: run it with sudo',
    )
}

function accountOf({ system, user }: InstallOptions, platform: NodeJS.Platform): string | undefined {
  if (!system || platform === 'win32') return undefined
  if (user === undefined && platform === 'darwin')
    throw new SkeinError('USAGE', 'name the account that it is to run as: --user NAME')
  return user ?? SYSTEM_ACCOUNT
}

interface SpecComponents extends InstallComponents {
  readonly account: string | undefined
  readonly scope: ServiceScope
}

async function specOf(
  role: ServiceRole,
  options: InstallOptions,
  given: readonly GivenSetting[],
  { account, scope, installation }: SpecComponents,
): Promise<ServiceSpec> {
  const dataDir = dataDirOf(options, scope)
  const level = options.logLevel === 'warn' ? 'info' : options.logLevel
  const logFile = options.logFile === undefined || options.logFile === 'auto' ? 'auto' : resolve(options.logFile)
  const own = ['--data', dataDir, '--log-file', logFile, '--log-level', level]
  return {
    name: serviceName(options.instance),
    role,
    scope,
    dataDir,
    command: commandOf(installation, [role, ...own, ...(await serviceArguments(given))]),
    version: VERSION,
    account,
    nice: options.nice ?? (role === 'coordinator' || role === 'worker' ? 0 : NODE_NICE),
    memoryMaxBytes: options.memoryMax,
  }
}

/** The home of an administrator is no place for the data of a service of the machine. */
function dataDirOf({ data }: InstallOptions, scope: ServiceScope): string {
  const isDefault = resolve(data) === resolve(defaultDataDir())
  return scope === 'system' && isDefault && sep === '/' ? SYSTEM_DATA_DIR : resolve(data)
}

/** A service of the machine owns its data directory with all that is in it: a folder of something else is no such. */
async function assertOwnFolder(dataDir: string): Promise<void> {
  const names = await readdir(dataDir).catch((): string[] => [])
  if (names.length === 0 || names.some((name) => OWN_FILES.has(name))) return
  throw new SkeinError('USAGE', `${dataDir} has other files; name a folder of its own with --data DIR`)
}

/** Uses the invite here and now: what is on a command line, every account of the machine can read. */
async function joinMesh(role: ServiceRole, options: InstallOptions, spec: ServiceSpec, output: Output): Promise<void> {
  const isMember = await access(join(spec.dataDir, 'membership.json')).then(
    () => true,
    () => false,
  )
  if (options.join !== undefined) {
    try {
      const roles = role === 'worker' && { roles: ['node'] as const }
      const { name } = await joinWithInvite({ ...options, ...roles, data: spec.dataDir, invite: options.join })
      output.note(`${name} is a member of the mesh`)
    } catch (thrown) {
      // it runs already, as a member
      if (!isMember || asSkeinError(thrown).code !== 'DATA_DIR_LOCKED') throw thrown
      output.note('this machine is a member already and Skein runs: the invite is not used')
    }
  } else if ((role === 'node' || role === 'worker') && !isMember)
    throw new SkeinError('NOT_A_MEMBER', `${spec.dataDir} is in no mesh: add --join INVITE`)
}

function show(plan: ServicePlan, options: InstallOptions, output: Output): void {
  if (output.json) return output.value({ ...plan, joins: options.join !== undefined })
  if (options.join !== undefined) output.line('# would join the mesh of the invite')
  const command = ({ argv }: { argv: readonly string[] }): void => output.line(`# would run: ${argv.join(' ')}`)
  plan.before.forEach(command)
  for (const { path, content } of plan.files) {
    output.line(`# would write ${path}:`)
    output.answer(content)
  }
  if (options.start) plan.after.forEach(command)
}

function report(
  plan: ServicePlan,
  spec: ServiceSpec,
  manager: ServiceManager,
  options: InstallOptions,
  output: Output,
): void {
  const path = manager.path(spec.name)
  if (output.json) return output.value({ event: 'service', state: 'installed', name: spec.name, path })
  if (!options.start)
    for (const { argv } of [...plan.before, ...plan.after]) output.note(`left to you: ${argv.join(' ')}`)
  for (const note of plan.notes) output.note(note)
  const { variable } = options.vllm ?? {}
  if (variable !== undefined)
    output.note(`left to you: give the service the variable ${variable}, which has the key of vLLM`)
  const flags = [...(options.system ? ['--system'] : []), ...(options.instance ? ['--instance', options.instance] : [])]
  const tail = flags.map((flag) => ` ${flag}`).join('')
  output.line(`${spec.name} is installed (${spec.role}, data in ${shortened(spec.dataDir)}).`)
  output.line(`  See it   skein service status${tail}`)
  output.line(`  Log      skein service logs -f${tail}`)
  output.line(`  Undo     skein service uninstall${tail}`)
}

const shortened = (path: string): string =>
  path.startsWith(homedir() + sep) ? `~${path.slice(homedir().length)}` : path
