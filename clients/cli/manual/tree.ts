/** The command line as a value: what its manual page and the completions of shells are made of. */
import type { Argument, Command, Option } from 'commander'

/** What stands in a place of a command, and where its values come from: the running mesh, or the disk. */
export const NAMED = ['nodes', 'models', 'tasks', 'devices', 'keys', 'batches', 'leases'] as const
export type Named = (typeof NAMED)[number]

export type Values =
  | { readonly from: 'choices'; readonly choices: readonly string[] }
  | { readonly from: 'mesh'; readonly what: Named }
  | { readonly from: 'files' }
  | { readonly from: 'folders' }
  /** The person knows; a shell does not. */
  | { readonly from: 'nowhere' }

export interface OptionNode {
  readonly short?: string
  readonly long: string
  /** As it is shown: `<n>`; absent for a switch. */
  readonly value?: string
  readonly values?: Values
  readonly description: string
  /** As it is shown. */
  readonly standard?: string
  readonly env?: string
}
export interface ArgumentNode {
  readonly name: string
  readonly isRequired: boolean
  readonly isVariadic: boolean
  readonly description: string
  readonly values: Values
}
export interface CommandNode {
  /** From `skein` on. */
  readonly path: readonly string[]
  readonly description: string
  readonly options: readonly OptionNode[]
  readonly arguments: readonly ArgumentNode[]
  readonly commands: readonly CommandNode[]
}

const IN_THE_MESH: Readonly<Record<string, Named>> = {
  node: 'nodes',
  member: 'nodes',
  model: 'models',
  task: 'tasks',
  key: 'keys',
  batch: 'batches',
  lease: 'leases',
}

/** By the name of the place. `id` is that of a device wherever it stands. */
function valuesOf(name: string, choices: readonly string[] | undefined, path: readonly string[]): Values {
  if (choices !== undefined) return { from: 'choices', choices }
  if (name === 'dir') return { from: 'folders' }
  if (name === 'file' || name === 'path') return { from: 'files' }
  if (name === 'id') return { from: 'mesh', what: 'devices' }
  // tasks of devices are others, and `keys add NAME` makes a key
  const what = path.includes('task') ? undefined : IN_THE_MESH[name]
  return what === undefined ? { from: 'nowhere' } : { from: 'mesh', what }
}

function optionNode(option: Option, path: readonly string[]): OptionNode {
  const value = /[<[].*[>\]]/.exec(option.flags)?.[0]
  const name = value?.replaceAll(/[<>[\].]/g, '')
  const { defaultValueDescription, defaultValue } = option
  const standard =
    defaultValueDescription ??
    (['string', 'number'].includes(typeof defaultValue) && value !== undefined ? String(defaultValue) : undefined)
  return {
    ...(option.short !== undefined && { short: option.short }),
    long: option.long ?? option.flags,
    ...(value !== undefined && { value, values: valuesOf(name!, option.argChoices, path) }),
    description: option.description,
    ...(standard !== undefined && { standard }),
    ...(option.envVar !== undefined && { env: option.envVar }),
  }
}

const argumentNode = (argument: Argument, path: readonly string[]): ArgumentNode => ({
  name: argument.name(),
  isRequired: argument.required,
  isVariadic: argument.variadic,
  description: argument.description,
  values: valuesOf(argument.name(), argument.argChoices, path),
})

/** All that `--help` shows of `command` and of those below it. */
export function commandTree(command: Command, above: readonly string[] = []): CommandNode {
  const path = [...above, command.name()]
  const help = command.createHelp()
  return {
    path,
    description: command.description(),
    options: help.visibleOptions(command).map((option) => optionNode(option, path)),
    arguments: command.registeredArguments.map((argument) => argumentNode(argument, path)),
    commands: help
      .visibleCommands(command)
      .filter((each) => each.name() !== 'help')
      .map((each) => commandTree(each, path)),
  }
}

/** `tree` and all below it, each before those below it. */
export function* everyCommand(tree: CommandNode): Generator<CommandNode> {
  yield tree
  for (const each of tree.commands) yield* everyCommand(each)
}
