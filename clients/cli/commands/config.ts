/**
 * `skein config show`: every setting, what holds, and where that comes from. Flags and variables are those that this call
 * was given: what `skein up` started here with the same ones would take; the policy is that of the data directory.
 */
import { Argument, Option, type Command } from 'commander'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import { createContext } from '../context.ts'
import { table } from '../output.ts'
import { policyInForce } from '../owner-policy.ts'
import { addServeOptions, type ServeOptions } from '../serve-options.ts'

type Origin = 'default' | 'file' | 'environment' | 'flag' | 'pause'

interface Shown {
  readonly setting: string
  readonly value: unknown
  readonly origin: Origin
  /** The variable or file that it comes from. */
  readonly from?: string
}

interface ConfigOptions extends Partial<ServeOptions> {
  readonly data: string
  readonly origin?: boolean
}

/** Whoever has these can act as the owner. */
const SECRETS: ReadonlySet<string> = new Set(['api-key', 'join'])
/** Of this command, or for tests. */
const LEFT_OUT: ReadonlySet<string> = new Set(['json', 'origin', 'senses'])

export function registerConfig(program: Command): void {
  const command = program
    .command('config')
    .description('show all settings, and with --origin where each comes from')
    .addArgument(new Argument('<action>', 'what to do').choices(['show']))
  addServeOptions(command, { coordinator: true, node: true })
    .addOption(new Option('--origin', 'say where each value comes from'))
    .action(async (_action: string, options: ConfigOptions) => {
      const { output, dataDir } = createContext(options)
      const { shown, problem } = await policySettings(dataDir)
      const settings = [...flags(command), ...shown]
      if (problem !== undefined) process.exitCode = 2
      if (output.json) return output.value({ settings, ...(problem !== undefined && { problem }) })
      output.line(render(settings, options.origin ?? false))
      if (problem !== undefined) output.note(`${problem}\nthe policy above is the last one without an error`)
    })
}

/** The flags of `skein up`, as commander understood them from this call and its environment. */
function flags(command: Command): Shown[] {
  const origins: Readonly<Record<string, Origin>> = { env: 'environment', cli: 'flag' }
  return command.options.flatMap((option) => {
    // `--no-mdns` sets `mdns`, which is true without it
    const setting = option.long!.replace(option.negate ? /^--no-/ : /^--/, '')
    if (LEFT_OUT.has(setting)) return []
    const name = option.attributeName()
    const origin = origins[command.getOptionValueSource(name) ?? ''] ?? 'default'
    const given: unknown = command.getOptionValue(name)
    const value = origin === 'default' ? (option.defaultValueDescription ?? given ?? null) : given
    return [
      {
        setting,
        value: SECRETS.has(setting) && value !== null ? '(hidden)' : value,
        origin,
        ...(origin === 'environment' && option.envVar !== undefined && { from: option.envVar }),
      },
    ]
  })
}

/** The pause, and the settings of the policy; where the file is wrong, those that still hold. */
async function policySettings(dataDir: string): Promise<{ shown: Shown[]; problem?: string }> {
  const { clockText, pathOf, readPause, SETTINGS } = await import('../../../node/policy/index.ts')
  const { policy, file: from, problem } = await policyInForce(dataDir)
  const nowMs = new SystemClock().wallMs()
  const pause = await readPause(dataDir)
  const isPaused = pause !== undefined && (pause.untilMs === undefined || pause.untilMs > nowMs)
  const until = pause?.untilMs === undefined ? 'until `skein resume`' : `until ${clockText(pause.untilMs, nowMs, '')}`
  const paused: Shown = { setting: 'paused', value: isPaused ? until : false, origin: isPaused ? 'pause' : 'default' }
  const settings = SETTINGS.map((setting): Shown => {
    const path = pathOf(setting)
    const isSet = policy.written.has(path)
    const value = isSet ? policy.written.get(path) : setting.byDefault
    return { setting: `policy ${path}`, value, origin: isSet ? 'file' : 'default', ...(isSet && { from }) }
  })
  return { shown: [paused, ...settings], ...(problem !== undefined && { problem }) }
}

function render(settings: readonly Shown[], withOrigin: boolean): string {
  const text = (value: unknown): string =>
    value === null ? '-' : typeof value === 'string' ? value || '""' : JSON.stringify(value)
  const rows = settings.map(({ setting, value, origin, from }) => [
    setting,
    text(value),
    ...(withOrigin ? [from === undefined ? origin : `${origin} (${from})`] : []),
  ])
  return table([['SETTING', 'VALUE', ...(withOrigin ? ['ORIGIN'] : [])], ...rows])
}
