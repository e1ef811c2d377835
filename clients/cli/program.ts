/** The command line: every command registered, and how each ends. */
import { Command, CommanderError } from 'commander'
import { asSkeinError, SkeinError } from '../../mesh/protocol/index.ts'
import { registerBackup } from './commands/backup.ts'
import { registerBatches } from './commands/batches.ts'
import { registerBudget } from './commands/budget.ts'
import { registerBridge } from './commands/bridge.ts'
import { registerCache } from './commands/cache.ts'
import { registerChat } from './commands/chat.ts'
import { registerCloud } from './commands/cloud.ts'
import { registerCompletion } from './commands/completion.ts'
import { registerConfig } from './commands/config.ts'
import { registerDemo } from './commands/demo.ts'
import { registerDevices } from './commands/devices.ts'
import { registerDirectives } from './commands/directives.ts'
import { registerDoctor } from './commands/doctor.ts'
import { registerEvents } from './commands/events.ts'
import { registerExplain } from './commands/explain.ts'
import { registerInvite } from './commands/invite.ts'
import { registerJoin } from './commands/join.ts'
import { registerKeys } from './commands/keys.ts'
import { registerLeases } from './commands/leases.ts'
import { registerLogs } from './commands/logs.ts'
import { registerModels } from './commands/models.ts'
import { registerNodes } from './commands/nodes.ts'
import { registerPause } from './commands/pause.ts'
import { registerPull } from './commands/pull.ts'
import { registerRestore } from './commands/restore.ts'
import { registerResume } from './commands/resume.ts'
import { registerRm } from './commands/rm.ts'
import { registerRun } from './commands/run.ts'
import { registerServe } from './commands/serve.ts'
import { registerService } from './commands/service.ts'
import { registerTasks } from './commands/tasks.ts'
import { registerTop } from './commands/top.ts'
import { registerTrust } from './commands/trust.ts'
import { registerUsage } from './commands/usage.ts'
import { registerWorker } from './commands/worker.ts'
import { Interrupted } from './interrupt.ts'
import { VERSION } from './version.ts'

export function createProgram(): Command {
  const program = new Command('skein')
    .description('Run AI on the devices you already own, as if those were one machine.')
    .version(VERSION, '--version', 'print the version')
    .showHelpAfterError('(`skein COMMAND --help` shows what it takes)')
    .showSuggestionAfterError()
    .exitOverride()
  registerServe(program)
  registerWorker(program)
  registerBridge(program)
  registerInvite(program)
  registerKeys(program)
  registerUsage(program)
  registerBudget(program)
  registerLeases(program)
  registerCloud(program)
  registerTrust(program)
  registerCache(program)
  registerJoin(program)
  registerRun(program)
  registerDemo(program)
  registerChat(program)
  registerNodes(program)
  registerModels(program)
  registerPull(program)
  registerRm(program)
  registerTasks(program)
  registerBatches(program)
  registerExplain(program)
  registerEvents(program)
  registerTop(program)
  registerDevices(program)
  registerDirectives(program)
  registerPause(program)
  registerResume(program)
  registerConfig(program)
  registerDoctor(program)
  registerLogs(program)
  registerService(program)
  registerBackup(program)
  registerRestore(program)
  registerCompletion(program)
  // Commands take over what the program was told before they were made; these were made before exitOverride reached them.
  for (const command of program.commands) command.exitOverride().showHelpAfterError('(--help shows what it takes)')
  return program
}

/** Runs the command line. Returns the exit code: 0 ok, 1 failure, 2 usage, 3 no node, 4 refused, 130 interrupted. */
export async function runCli(args: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync(args, { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (thrown) {
    return exitCodeOf(thrown)
  }
}

function exitCodeOf(thrown: unknown): number {
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : 2
  if (thrown instanceof Interrupted) return 130
  const error = asSkeinError(thrown)
  process.stderr.write(`skein: ${error.message}\n`)
  if (!(thrown instanceof SkeinError) && process.env['SKEIN_DEBUG'] !== undefined && thrown instanceof Error)
    process.stderr.write(`${thrown.stack}\n`)
  return error.row.exit
}
