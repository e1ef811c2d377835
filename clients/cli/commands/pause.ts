/** `skein pause`: the node of this machine takes no work, at once, until `skein resume` or for a time. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import { addGlobalOptions, createContext, type GlobalOptions } from '../context.ts'
import { parseDuration } from '../output.ts'

/** Longer pauses have no end but `skein resume`. */
const FOR_MS_MAX = 366 * 24 * 3_600_000

interface PauseOptions extends GlobalOptions {
  readonly for?: number
}

export function registerPause(program: Command): void {
  addGlobalOptions(
    program.command('pause').description('let the node of this machine rest; what runs there moves to other nodes'),
  )
    .addOption(new Option('--for <duration>', 'how long; until `skein resume` when absent').argParser(pauseDuration))
    .action(async (options: PauseOptions) => {
      const { output, dataDir } = createContext(options)
      const { clockText, writePause } = await import('../../../node/policy/index.ts')
      const sinceMs = new SystemClock().wallMs()
      const untilMs = options.for === undefined ? undefined : sinceMs + options.for
      await writePause(dataDir, { sinceMs, ...(untilMs !== undefined && { untilMs }) })
      const until = untilMs === undefined ? 'until `skein resume`' : `until ${clockText(untilMs, sinceMs, '')}`
      if (output.json) output.value({ paused: true, ...(untilMs !== undefined && { untilMs }) })
      else output.line(`paused ${until}; answers that run here move to other nodes, or end here where there is none`)
    })
}

function pauseDuration(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined || ms <= 0 || ms > FOR_MS_MAX)
    throw new InvalidArgumentError('a duration such as 90s, 15m, 2h or 7d, up to 366d')
  return ms
}
