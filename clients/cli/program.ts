/** The command line: every command registered, and how each ends. */
import { Command, CommanderError } from 'commander'
import { asSkeinError, SkeinError } from '../../mesh/protocol/index.ts'
import { Interrupted } from './interrupt.ts'
import { VERSION } from './version.ts'

interface CommandModule {
  /** By which it can be loaded alone; a command that is not named here looks at all the others. */
  readonly names: readonly string[]
  readonly load: () => Promise<(program: Command) => void>
}

/** Where the commands are, in the order of the help. */
const MODULES: readonly CommandModule[] = [
  { names: ['up', 'node', 'coordinator'], load: async () => (await import('./commands/serve.ts')).registerServe },
  { names: ['worker'], load: async () => (await import('./commands/worker.ts')).registerWorker },
  { names: ['bridge'], load: async () => (await import('./commands/bridge.ts')).registerBridge },
  { names: ['invite'], load: async () => (await import('./commands/invite.ts')).registerInvite },
  { names: ['keys'], load: async () => (await import('./commands/keys.ts')).registerKeys },
  { names: ['usage'], load: async () => (await import('./commands/usage.ts')).registerUsage },
  { names: ['budget'], load: async () => (await import('./commands/budget.ts')).registerBudget },
  { names: ['leases'], load: async () => (await import('./commands/leases.ts')).registerLeases },
  { names: ['cloud'], load: async () => (await import('./commands/cloud.ts')).registerCloud },
  { names: ['trust'], load: async () => (await import('./commands/trust.ts')).registerTrust },
  { names: ['cache'], load: async () => (await import('./commands/cache.ts')).registerCache },
  { names: ['join'], load: async () => (await import('./commands/join.ts')).registerJoin },
  { names: ['run'], load: async () => (await import('./commands/run.ts')).registerRun },
  { names: ['demo'], load: async () => (await import('./commands/demo.ts')).registerDemo },
  { names: ['chat'], load: async () => (await import('./commands/chat.ts')).registerChat },
  { names: ['nodes'], load: async () => (await import('./commands/nodes.ts')).registerNodes },
  { names: ['models'], load: async () => (await import('./commands/models.ts')).registerModels },
  { names: ['pull'], load: async () => (await import('./commands/pull.ts')).registerPull },
  { names: ['rm'], load: async () => (await import('./commands/rm.ts')).registerRm },
  { names: ['tasks'], load: async () => (await import('./commands/tasks.ts')).registerTasks },
  { names: ['batches'], load: async () => (await import('./commands/batches.ts')).registerBatches },
  { names: ['explain'], load: async () => (await import('./commands/explain.ts')).registerExplain },
  { names: ['events'], load: async () => (await import('./commands/events.ts')).registerEvents },
  { names: ['top'], load: async () => (await import('./commands/top.ts')).registerTop },
  { names: ['devices'], load: async () => (await import('./commands/devices.ts')).registerDevices },
  {
    names: ['drain', 'cordon', 'uncordon'],
    load: async () => (await import('./commands/directives.ts')).registerDirectives,
  },
  { names: ['pause'], load: async () => (await import('./commands/pause.ts')).registerPause },
  { names: ['resume'], load: async () => (await import('./commands/resume.ts')).registerResume },
  { names: ['config'], load: async () => (await import('./commands/config.ts')).registerConfig },
  { names: [], load: async () => (await import('./commands/doctor.ts')).registerDoctor },
  { names: ['logs'], load: async () => (await import('./commands/logs.ts')).registerLogs },
  { names: ['service'], load: async () => (await import('./commands/service.ts')).registerService },
  { names: ['backup'], load: async () => (await import('./commands/backup.ts')).registerBackup },
  { names: ['restore'], load: async () => (await import('./commands/restore.ts')).registerRestore },
  { names: ['complete'], load: async () => (await import('./commands/completion.ts')).registerCompletion },
]

/** The program with the one command of that name, with none for `''`, or with all: to load them takes a second or two. */
export async function createProgram(name?: string): Promise<Command> {
  const program = new Command('skein')
    .description('Run AI on the devices you already own, as if those were one machine.')
    .version(VERSION, '--version', 'print the version')
    .showHelpAfterError('(`skein COMMAND --help` shows what it takes)')
    .showSuggestionAfterError()
    .exitOverride()
  const wanted = name === '' ? [] : MODULES.filter(({ names }) => name !== undefined && names.includes(name))
  for (const { load } of wanted.length > 0 || name === '' ? wanted : MODULES) (await load())(program)
  // Commands take over what the program was told before they were made; these were made before exitOverride reached them.
  for (const command of program.commands) command.exitOverride().showHelpAfterError('(--help shows what it takes)')
  return program
}

/** The command that `args` ask for, as far as it can be told without knowing them all. */
function commandOf(args: readonly string[]): string | undefined {
  return args[0] === '--version' ? '' : args.find((arg) => !arg.startsWith('-'))
}

/** Runs the command line. Returns the exit code: 0 ok, 1 failure, 2 usage, 3 no node, 4 refused, 130 interrupted. */
export async function runCli(args: readonly string[]): Promise<number> {
  try {
    const program = await createProgram(commandOf(args))
    await program.parseAsync(args, { from: 'user' })
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
