/** The manual page, `skein(1)`, in the macros of man(7), made of the command line itself. */
import { everyCommand, type ArgumentNode, type CommandNode, type OptionNode } from './tree.ts'

export interface ManPageInit {
  readonly version: string
  /** What each exit code says. */
  readonly exitCodes: readonly (readonly [code: number, meaning: string])[]
}

/** Text as roff takes it: no escape of its own, no line that is a request, dashes that can be copied. */
export const roff = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^([.'])/gm, '\\&$1')

const usage = ({ name, isRequired, isVariadic }: ArgumentNode): string => {
  const shown = `${name.toUpperCase()}${isVariadic ? '...' : ''}`
  return isRequired ? shown : `[${shown}]`
}

function optionLines({ short, long, value, description, standard, env }: OptionNode): string[] {
  const flags = [short, long].filter((each) => each !== undefined).map((each) => `\\fB${roff(each)}\\fR`)
  const named = value === undefined ? '' : ` \\fI${roff(value.replaceAll(/[<>]/g, ''))}\\fR`
  const more = [
    ...(standard === undefined ? [] : [`default: ${standard}`]),
    ...(env === undefined ? [] : [`environment: ${env}`]),
  ]
  const told = more.length === 0 ? '' : ` (${more.join('; ')})`
  return ['.TP', `${flags.join(', ')}${named}`, roff(description + told)]
}

/** What nearly every command takes is told once. */
const COMMON = new Set(['--data', '--json', '--url', '--api-key', '--help'])

function commandLines(node: CommandNode): string[] {
  const synopsis = [...node.path, ...node.arguments.map(usage)].join(' ')
  const own = node.options.filter(({ long }) => !COMMON.has(long))
  const places = node.arguments.filter(({ description }) => description !== '')
  return [
    `.SS "${roff(synopsis)}"`,
    roff(`${node.description}.`),
    ...places.flatMap((each) => ['.TP', `\\fI${roff(each.name.toUpperCase())}\\fR`, roff(each.description)]),
    ...own.flatMap(optionLines),
  ]
}

/** An option as most commands have it: the same flag is another thing to who serves and to who asks. */
function usual(options: readonly OptionNode[], long: string): OptionNode | undefined {
  const all = options.filter((option) => option.long === long)
  const times = ({ description }: OptionNode): number => all.filter((each) => each.description === description).length
  return all.toSorted((a, b) => times(b) - times(a))[0]
}

/** The whole page. */
export function manPage(tree: CommandNode, { version, exitCodes }: ManPageInit): string {
  const commands = [...everyCommand(tree)].slice(1).filter(({ commands }) => commands.length === 0)
  const common = [...COMMON].flatMap(
    (long) =>
      usual(
        commands.flatMap(({ options }) => options),
        long,
      ) ?? [],
  )
  const lines = [
    `.TH SKEIN 1 "" "skein ${roff(version)}" "Skein"`,
    '.SH NAME',
    `skein \\- ${roff('run AI on the devices you already own, as if those were one machine')}`,
    '.SH SYNOPSIS',
    '.B skein',
    '\\fICOMMAND\\fR [\\fIARGUMENT\\fR...] [\\fIOPTION\\fR...]',
    '.SH DESCRIPTION',
    roff(tree.description),
    'The answer goes to standard output, progress and remarks to standard error.',
    '.SH OPTIONS OF NEARLY EVERY COMMAND',
    ...common.flatMap(optionLines),
    '.SH COMMANDS',
    ...commands.flatMap(commandLines),
    '.SH EXIT STATUS',
    ...exitCodes.flatMap(([code, meaning]) => ['.TP', `\\fB${code}\\fR`, roff(meaning)]),
    '.SH FILES',
    '.TP',
    `\\fI${roff('~/.skein')}\\fR`,
    'The data directory: identity, models, ledger, settings.',
  ]
  return `${lines.join('\n')}\n`
}
