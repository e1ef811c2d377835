/** The settings with which a service is installed, as flags: read by the parser that a start would use, and written as given. */
import { resolve } from 'node:path'
import type { Command, Option } from 'commander'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { absoluteAdapter } from '../adapter-options.ts'
import { absoluteForWorker } from '../worker-options.ts'

export interface GivenSetting {
  readonly flag: string
  /** Absent for a switch. */
  readonly value: string | undefined
}

/** Not for the service's command line: said otherwise there, or used up at the installation. */
const LEFT_OUT = new Set(['data', 'json', 'join', 'api-key', 'log-file', 'log-level'])

/**
 * Notes what is given to `command` by flag or variable, in order. A service has no variables of the shell that installed
 * it, so that both are written as flags. To be called when `command` has the options of a start and no other.
 */
export function noteSettings(command: Command): GivenSetting[] {
  const given: GivenSetting[] = []
  for (const option of command.options) {
    if (LEFT_OUT.has(nameOf(option))) continue
    const note = (value: unknown): void => {
      given.push({ flag: option.long!, value: typeof value === 'string' ? value : undefined })
    }
    command.on(`option:${option.name()}`, note)
    command.on(`optionEnv:${option.name()}`, note)
  }
  return given
}

const nameOf = (option: Option): string => option.long!.slice(2)

/**
 * The arguments of the service's command. Paths are made absolute: a service starts elsewhere.
 *
 * @throws SkeinError USAGE when a model's name begins with a dash.
 */
export async function serviceArguments(given: readonly GivenSetting[]): Promise<string[]> {
  const { isPath } = await import('../../../node/models/store/index.ts')
  const args: string[] = []
  for (const { flag, value } of given) {
    if (value?.startsWith('-')) throw new SkeinError('USAGE', `${flag} ${value}: begins with a dash`)
    args.push(flag)
    if (value === undefined) continue
    if (flag === '--adapter') args.push(await absoluteAdapter(value, isPath, (path) => resolve(path)))
    else args.push(flag === '--model' && (await isPath(value)) ? resolve(value) : absoluteForWorker(flag, value))
  }
  return args
}
