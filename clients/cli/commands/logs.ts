/** `skein logs`: what the Skein of a data directory has logged into its file, rotated parts included. */
import { once } from 'node:events'
import { resolve } from 'node:path'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { SystemClock, type Clock } from '../../../mesh/runtime/index.ts'
import { addGlobalOptions, createContext, type GlobalOptions } from '../context.ts'
import { interruptSignal } from '../interrupt.ts'
import { formatLogLine, isShown, parseLogLine, SHOWN_LEVELS, type LogFilter, type ShownLevel } from '../log-format.ts'
import { readLog } from '../log-reader.ts'
import { parseDuration, type Output } from '../output.ts'
import { autoLogPath } from '../serve-log.ts'

export interface LogsOptions extends GlobalOptions {
  readonly follow?: boolean
  /** Milliseconds. */
  readonly since?: number
  readonly level?: ShownLevel
  readonly grep?: string
  readonly lines?: number
  readonly file?: string
}

const LINES_MAX = 100_000

function duration(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined) throw new InvalidArgumentError('such as 90s, 10m, 24h or 7d')
  return ms
}

function lineCount(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > LINES_MAX)
    throw new InvalidArgumentError(`a whole number from 1 to ${LINES_MAX}`)
  return value
}

/** What `skein logs` and `skein service logs` have in common. */
export function addLogsOptions(command: Command): Command {
  return addGlobalOptions(command)
    .addOption(new Option('-f, --follow', 'go on as lines come'))
    .addOption(new Option('--since <duration>', 'only what is younger, such as 10m').argParser(duration))
    .addOption(new Option('--level <level>', 'only what is as bad or worse').choices(SHOWN_LEVELS))
    .addOption(new Option('--grep <text>', 'only lines with this text, in whatever case'))
    .addOption(new Option('--lines <n>', 'only the last n that fit').argParser(lineCount))
}

export function registerLogs(program: Command): void {
  addLogsOptions(program.command('logs').description('show what a service, or a Skein with --log-file, has logged'))
    .addOption(new Option('--file <path>', 'log to read (default: logs/skein.log of the data directory)'))
    .action(async (options: LogsOptions) => {
      const { output, dataDir } = createContext(options)
      const path = options.file === undefined ? autoLogPath(dataDir) : resolve(options.file)
      await showLog(path, options, output)
    })
}

/**
 * Shows the log at `path`, then what comes to it when it is followed.
 *
 * @throws SkeinError NOT_FOUND when there is none and it is not followed; DATA_DIR_UNUSABLE.
 */
export async function showLog(path: string, options: LogsOptions, output: Output): Promise<void> {
  const clock = new SystemClock(true)
  const signal = interruptSignal()
  const filter = filterOf(options, clock)
  const kept = options.lines === undefined ? undefined : new LastLines(options.lines)
  const show = async (text: string): Promise<void> => {
    signal.throwIfAborted()
    output.line(options.json ? text : formatLogLine(parseLogLine(text), output.paint))
    if (process.stdout.writableNeedDrain) await once(process.stdout, 'drain')
  }
  let isPresent = true
  const onPresentRead = async (): Promise<void> => {
    isPresent = false
    for (const text of kept?.take() ?? []) await show(text)
  }
  const since = filter.sinceMs === undefined ? {} : { sinceMs: filter.sinceMs }
  const follow = options.follow ? { follow: { clock, signal } } : {}
  for await (const text of readLog({ path, onPresentRead, ...since, ...follow })) {
    if (text === '' || !isShown(parseLogLine(text), filter)) continue
    if (isPresent && kept !== undefined) kept.add(text)
    else await show(text)
  }
}

/** The last lines of many. */
class LastLines {
  readonly #max: number
  #lines: string[] = []

  constructor(max: number) {
    this.#max = max
  }

  add(line: string): void {
    this.#lines.push(line)
    if (this.#lines.length > 2 * this.#max) this.#lines = this.#lines.slice(-this.#max)
  }

  take(): string[] {
    return this.#lines.slice(-this.#max)
  }
}

const filterOf = ({ level, since, grep }: LogsOptions, clock: Clock): LogFilter => ({
  ...(level !== undefined && { level }),
  ...(grep !== undefined && { grep }),
  ...(since !== undefined && { sinceMs: clock.wallMs() - since }),
})
