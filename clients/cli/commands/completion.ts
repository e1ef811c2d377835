/** `skein completion SHELL` and `skein man`: what a shell and a reader know of the command line, made of itself. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Argument, type Command } from 'commander'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import type { CoordinatorClient } from '../coordinator-client.ts'
import { manPage } from '../manual/man-page.ts'
import { completionScript, isHarmless, SHELLS, type Shell } from '../manual/shells.ts'
import { commandTree, NAMED, type Named } from '../manual/tree.ts'
import { VERSION } from '../version.ts'

const EXIT_CODES = [
  [0, 'it was done'],
  [1, 'it failed'],
  [2, 'the command or a setting is wrong'],
  [3, 'no node can serve it'],
  [4, 'refused by policy or budget'],
  [130, 'interrupted'],
] as const

/** Of the tasks that a shell may want to name. */
const TASKS = 50

const NAMES: Readonly<Record<Named, (client: CoordinatorClient) => Promise<readonly string[]>>> = {
  nodes: async (client) => (await client.nodes()).map(({ name }) => name),
  models: async (client) => (await client.models()).flatMap(({ aliases }) => aliases),
  tasks: async (client) => (await client.tasks(TASKS, false)).map(({ taskId }) => taskId),
  devices: async (client) => (await client.devices.list()).map(({ id }) => id),
  keys: async (client) => (await client.keys()).map(({ name }) => name),
  batches: async (client) => (await client.batches(TASKS)).map(({ id }) => id),
  leases: async (client) => (await client.leases()).map(({ id }) => id),
}

export function registerCompletion(program: Command): void {
  program
    .command('completion')
    .description('print a script with which a shell completes commands, options and names')
    .addArgument(new Argument('<shell>', 'which one').choices(SHELLS))
    .addHelpText(
      'after',
      `
bash:  skein completion bash > ~/.local/share/bash-completion/completions/skein
zsh:   skein completion zsh > ~/.zfunc/_skein      (with fpath+=~/.zfunc before compinit)
fish:  skein completion fish > ~/.config/fish/completions/skein.fish`,
    )
    .action((shell: Shell) => void process.stdout.write(completionScript(shell, commandTree(program))))

  addClientOptions(program.command('complete', { hidden: true }).description('names for the script of a shell'))
    .addArgument(new Argument('<what>').choices(NAMED))
    .action(async (what: Named, options: ClientOptions) => {
      const { output, client } = createContext(options)
      // nobody reads an error under a half-written line
      const names = await NAMES[what](client()).catch(() => [])
      for (const name of new Set(names)) if (isHarmless(name)) output.line(name)
    })

  program
    .command('man')
    .description('show the manual page; in a pipe, its source')
    .action(async () => {
      const page = manPage(commandTree(program), { version: VERSION, exitCodes: EXIT_CODES })
      if (process.stdout.isTTY !== true || !(await shownByMan(page))) process.stdout.write(page)
    })
}

/** Whether there is a `man` that shows it. */
async function shownByMan(page: string): Promise<boolean> {
  const man = spawn('man', ['-l', '-'], { stdio: ['pipe', 'inherit', 'inherit'] })
  man.stdin.on('error', () => undefined)
  man.stdin.end(page)
  const [code] = (await once(man, 'close').catch(() => [1])) as [number | null]
  return code === 0
}
