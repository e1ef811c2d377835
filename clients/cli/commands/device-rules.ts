/** `skein devices rules`: what the owner's rules would have done over what is recorded. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import type { DryRunRow, RecordedReading, Rule } from '../../../firmware-bridge/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import type { DevicesClient } from '../devices-client.ts'
import { parseDuration, table } from '../output.ts'
import { printable } from '../printable.ts'

interface RulesOptions extends ClientOptions {
  /** Path. */
  readonly dryRun: string
  readonly since: number
}

const SINCE_MS = 24 * 3_600_000

function duration(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined || ms <= 0 || ms > LIMITS.deviceReadingsRetentionMs)
    throw new InvalidArgumentError('a duration such as 15m or 24h, to 7d: readings are kept no longer')
  return ms
}

export function registerRules(devices: Command): void {
  addClientOptions(devices.command('rules').description('what rules would have done over recorded readings'))
    .addOption(
      new Option('--dry-run <file>', 'the rules; no model is asked, and nothing is set').makeOptionMandatory(true),
    )
    .addOption(new Option('--since <duration>', 'how far back').argParser(duration).default(SINCE_MS, '24h'))
    .action(async (options: RulesOptions) => {
      // loaded here: the bridge's brokers and serial ports take a while
      const { dryRun, readRules } = await import('../../../firmware-bridge/index.ts')
      const rules = readRules(options.dryRun)
      const { output, client } = createContext(options)
      const untilMs = new SystemClock().wallMs()
      const sinceMs = untilMs - options.since
      const recorded = await readingsFor(rules, client().devices, sinceMs)
      const rows = dryRun(rules, { sinceMs, untilMs, readings: recorded.readings })
      if (output.json) return output.value({ sinceMs, untilMs, cut: recorded.cut, rows })
      for (const { device, name, fromMs } of recorded.cut)
        output.note(
          `of ${device}.${name} only the newest ${LIMITS.deviceHistoryMax} readings are looked at, from ${timeOf(fromMs)}`,
        )
      if (rows.length === 0) return output.note('no rule would have done anything')
      output.line(renderRows(rows))
    })
}

interface Cut {
  readonly device: string
  readonly name: string
  readonly fromMs: number
}

/** @throws SkeinError INVALID_REQUEST for a device that there is not; the gateway's code. */
async function readingsFor(
  rules: readonly Rule[],
  api: DevicesClient,
  sinceMs: number,
): Promise<{ readings: RecordedReading[]; cut: Cut[] }> {
  const listed = await api.list()
  const missing = rules.find(({ device }) => device !== undefined && !listed.some(({ id }) => id === device))
  if (missing !== undefined)
    throw new SkeinError('INVALID_REQUEST', `rule '${missing.name}': there is no device '${missing.device}'`)
  const wanted = new Map<string, { device: string; name: string }>()
  for (const { device, when } of rules)
    for (const { id, capabilities } of listed) {
      const name = when.capability
      const isMeant = name !== undefined && (device ?? id) === id && capabilities.some((each) => each.name === name)
      if (isMeant) wanted.set(`${id}.${name}`, { device: id, name })
    }
  const readings: RecordedReading[] = []
  const cut: Cut[] = []
  for (const { device, name } of wanted.values()) {
    const kept = await api.history(device, name, sinceMs, LIMITS.deviceHistoryMax)
    for (const { value, atMs } of kept) readings.push({ device, name, value, atMs })
    if (kept.length >= LIMITS.deviceHistoryMax) cut.push({ device, name, fromMs: kept[0]!.atMs })
  }
  return { readings, cut }
}

export function renderRows(rows: readonly DryRunRow[]): string {
  const cells = rows.map((row) => [
    timeOf(row.atMs),
    row.rule,
    row.device,
    row.value === undefined ? '-' : printable(String(row.value)),
    row.held === undefined ? 'acts' : row.held === 'cooldown' ? 'held back: cooldown' : 'held back: per_hour',
    printable(actsOf(row)),
  ])
  return table([['TIME', 'RULE', 'DEVICE', 'VALUE', 'THEN', 'WHAT'], ...cells])
}

const timeOf = (atMs: number): string => new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')

function actsOf({ question, acts }: DryRunRow): string {
  const done = acts.map(({ device, capability, value, on }) => {
    const what = `${device}.${capability}${value === undefined ? '' : ` = ${String(value)}`}`
    return on === undefined ? what : `${on}: ${what}`
  })
  return question === undefined ? done.join(', ') : `asks "${question}" ${done.join(', ')}`
}
