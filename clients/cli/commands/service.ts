/** `skein service install|uninstall|status|logs`: Skein as a service of this machine. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import { addGlobalOptions } from '../context.ts'
import { createOutput, type Output } from '../output.ts'
import { keepFree } from '../pull-options.ts'
import { autoLogPath } from '../serve-log.ts'
import { addServeOptions, serveOptions } from '../serve-options.ts'
import { apply, askWith, runProgram } from '../service/apply.ts'
import { installService, serviceName, type InstallOptions } from '../service/install.ts'
import { findInstallation } from '../service/launcher.ts'
import { findManager } from '../service/managers.ts'
import { noteSettings } from '../service/settings.ts'
import { readMark, reportStatus, serviceStatus } from '../service/status.ts'
import { SERVICE_ROLES, type ServiceManager } from '../service/types.ts'
import { addLogsOptions, showLog, type LogsOptions } from './logs.ts'
import { addWorkerFlags } from '../worker-options.ts'
import { ROLE_PARTS } from './serve.ts'

const NICE_MAX = 19

interface WhichOptions {
  readonly system?: boolean
  readonly instance?: string
  readonly json?: boolean
}

export function registerService(program: Command): void {
  const service = program.command('service').description('run Skein as a service of this machine')
  registerInstall(service)
  registerUninstall(service)
  registerStatus(service)
  registerServiceLogs(service)
}

function instance(text: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(text))
    throw new InvalidArgumentError('small letters, digits and dashes, at most 32, the first no dash')
  return text
}

function nice(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > NICE_MAX) throw new InvalidArgumentError(`a whole number from 0 to ${NICE_MAX}`)
  return value
}

function account(text: string): string {
  if (!/^[a-z_][a-z0-9_-]{0,31}$/.test(text)) throw new InvalidArgumentError('the name of an account')
  return text
}

function memory(text: string): number {
  const size = keepFree(text)
  if (!('bytes' in size) || size.bytes < 1) throw new InvalidArgumentError('a size, such as 8GiB')
  return Math.floor(size.bytes)
}

/** Which service of this machine is meant. */
function addWhichOptions(command: Command): Command {
  return command
    .addOption(new Option('--system', 'a service of the machine, not of this account; needs an administrator'))
    .addOption(new Option('--instance <name>', 'a further service beside the first').argParser(instance))
}

function registerInstall(service: Command): void {
  const install = service.command('install').description('install a service, or change the one that is installed')
  for (const role of SERVICE_ROLES) {
    const command = install.command(role).description(`a service that runs: skein ${role}`)
    if (role === 'worker') addWorkerFlags(command)
    else addServeOptions(command, ROLE_PARTS[role])
    const given = noteSettings(command)
    addWhichOptions(command)
      .addOption(new Option('--user <account>', 'with --system: account that it runs as').argParser(account))
      .addOption(new Option('--nice <n>', 'how much it gives way to other programs, 0 to 19').argParser(nice))
      .addOption(new Option('--memory-max <size>', 'most memory that it gets (systemd only)').argParser(memory))
      .addOption(new Option('--dry-run', 'print what would be done, and do nothing'))
      .addOption(new Option('--no-start', 'write it and leave starting it to you'))
      .action(async (parsed: Partial<InstallOptions>) => {
        const options = { ...serveOptions(parsed), start: true, ...parsed } as InstallOptions
        await installService(role, options, given, {
          platform: process.platform,
          env: process.env,
          run: runProgram,
          installation: findInstallation(),
          isRoot: process.getuid?.() === 0,
          output: createOutput(options.json ?? false),
        })
      })
  }
}

const managerOf = ({ system }: WhichOptions): Promise<ServiceManager> =>
  findManager({
    platform: process.platform,
    scope: system ? 'system' : 'user',
    env: process.env,
    ask: askWith(runProgram),
  })

function registerUninstall(service: Command): void {
  const command = service.command('uninstall').description('stop the service and remove it; its data stays')
  addWhichOptions(addGlobalOptions(command))
    .addOption(new Option('--dry-run', 'print what would be done, and do nothing'))
    .addOption(new Option('--no-start', 'only remove its file'))
    .action(async (options: WhichOptions & { readonly dryRun?: boolean; readonly start: boolean }) => {
      const output = createOutput(options.json ?? false)
      const manager = await managerOf(options)
      const name = serviceName(options.instance)
      const { data } = await readMark(manager, name)
      const plan = manager.uninstall(name)
      if (options.dryRun) {
        for (const { argv } of plan.before) output.line(`# would run: ${argv.join(' ')}`)
        for (const path of plan.removed) output.line(`# would remove ${path}`)
        for (const { argv } of plan.after) output.line(`# would run: ${argv.join(' ')}`)
        return
      }
      await apply(plan, { run: runProgram, done: (step) => output.note(step) }, { commands: options.start })
      if (output.json) output.value({ event: 'service', state: 'uninstalled', name, dataDir: data })
      else output.line(`${name} is removed. Its data stays in ${data}.`)
    })
}

function registerStatus(service: Command): void {
  const command = service.command('status').description('whether the service runs, since when and where')
  addWhichOptions(addGlobalOptions(command)).action(async (options: WhichOptions) => {
    const output: Output = createOutput(options.json ?? false)
    const status = await serviceStatus(await managerOf(options), serviceName(options.instance))
    if (output.json) output.value(status)
    else reportStatus(status, new SystemClock().wallMs(), output)
    if (!status.isRunning) process.exitCode = 1
  })
}

function registerServiceLogs(service: Command): void {
  const command = service.command('logs').description('what the service has logged')
  addWhichOptions(addLogsOptions(command)).action(async (options: LogsOptions & WhichOptions) => {
    const output = createOutput(options.json ?? false)
    const manager = await managerOf(options)
    const name = serviceName(options.instance)
    const { data } = await readMark(manager, name)
    const other = manager.outputCommand(name)
    if (other !== undefined) output.note(`what the service manager has of it: ${other}`)
    await showLog(autoLogPath(data), options, output)
  })
}
