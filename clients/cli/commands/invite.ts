/** `skein invite`: a short-lived token with which another device joins the mesh, or with `--code` a code to be typed. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { formatDuration, parseDuration } from '../output.ts'

interface InviteOptions extends ClientOptions {
  readonly uses: number
  readonly valid: number
  readonly code?: boolean
}

const USES_MAX = 1000

function uses(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > USES_MAX)
    throw new InvalidArgumentError(`a whole number from 1 to ${USES_MAX}`)
  return value
}

function validity(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined) throw new InvalidArgumentError('a duration such as 15m, 24h or 7d')
  return ms
}

export function registerInvite(program: Command): void {
  addClientOptions(program.command('invite').description('print an invite with which another device can join'))
    .addOption(new Option('--uses <n>', 'how many devices may use it').argParser(uses).default(1))
    .addOption(new Option('--valid <duration>', 'how long it holds').argParser(validity).default(24 * 3_600_000, '24h'))
    .option('--code', 'a short code for one machine on this network instead, good for ten minutes')
    .action(async (options: InviteOptions) => {
      const { output, client } = createContext(options)
      if (options.code) {
        const view = await client().pair()
        if (output.json) return output.value(view)
        output.line(view.code ?? '')
        output.note(`\nOn the other machine, in the same network:  skein join ${view.code}`)
        return output.note('Holds for ten minutes, one machine and a few tries.')
      }
      const view = await client().invite(options.uses, options.valid)
      if (output.json) return output.value(view)
      output.line(view.invite)
      output.note(`\nOn the other device:  skein node --join INVITE --model PATH`)
      output.note(
        `Holds for ${formatDuration(options.valid)} and ${view.uses === 1 ? 'one device' : `${view.uses} devices`}. Whoever has it may join.`,
      )
    })
}
