/** `skein usage`: what answers and work have used, by key, model, day and more. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import type { UsageView } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { formatDuration, parseDuration, table } from '../output.ts'
import { printable } from '../printable.ts'

interface UsageOptions extends ClientOptions {
  readonly since: number
  readonly by: string
  readonly csv?: boolean
}

const SINCE_MS = 30 * 86_400_000
const MICROS = 1_000_000

function since(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined) throw new InvalidArgumentError('a duration such as 24h or 7d')
  return ms
}

export function registerUsage(program: Command): void {
  addClientOptions(program.command('usage').description('what was used, by key, model, day and more'))
    .addOption(new Option('--since <duration>', 'of how long').argParser(since).default(SINCE_MS, '30d'))
    .addOption(
      new Option('--by <what>', 'with commas between: key, model, day, node, route, kind, state').default('key,model'),
    )
    .addOption(new Option('--csv', 'comma-separated values, with a heading'))
    .action(async (options: UsageOptions) => {
      const { output, client } = createContext(options)
      const rows = await client().usage(Math.max(0, new SystemClock().wallMs() - options.since), options.by)
      if (output.json) return output.value(rows)
      if (options.csv) return output.line(csvOf(options.by.split(','), rows))
      if (rows.length === 0) return output.note('nothing was used')
      output.line(renderUsage(options.by.split(','), rows))
    })
}

/** What one row tells by `axis`: a member of it, or for `key` its name too. */
const cellOf = (row: UsageView, axis: string): string => String(row[axis as keyof UsageView] ?? '')

export function renderUsage(axes: readonly string[], rows: readonly UsageView[]): string {
  const heading = [
    ...axes.map((axis) => axis.toUpperCase()),
    ...['REQUESTS', 'COMPLETED', 'IN', 'CACHED', 'OUT', 'TOOK', 'ENERGY', 'COST', 'CLOUD'],
  ]
  const lines = rows.map((row) => [
    ...axes.map((axis) => printable((axis === 'key' ? row.name : undefined) ?? cellOf(row, axis)) || '-'),
    ...sumCells(row),
  ])
  if (rows.length > 1 && axes.length > 0)
    lines.push([...axes.map((_, index) => (index === 0 ? 'TOTAL' : '')), ...sumCells(totalOf(rows))])
  return table([heading, ...lines])
}

const SUMS = [
  ...(['requests', 'completed', 'promptTokens', 'cachedTokens', 'completionTokens', 'tookMs', 'costMicros'] as const),
  ...(['joules', 'estimatedJoules', 'energyMicros', 'cloudMicros'] as const),
]
type Sums = Pick<UsageView, (typeof SUMS)[number]>

const totalOf = (rows: readonly UsageView[]): Sums =>
  Object.fromEntries(SUMS.map((name) => [name, rows.reduce((sum, row) => sum + row[name], 0)])) as unknown as Sums

const sumCells = (row: Sums): string[] => [
  ...[row.requests, row.completed, row.promptTokens, row.cachedTokens, row.completionTokens].map(String),
  formatDuration(row.tookMs),
  energyText(row),
  moneyText(row.costMicros),
  moneyText(row.cloudMicros),
]

const JOULES_PER_WATT_HOUR = 3600

/** With `~` where some of it is a rule of thumb. */
function energyText({ joules, estimatedJoules }: Pick<Sums, 'joules' | 'estimatedJoules'>): string {
  if (joules === 0) return '-'
  const wattHours = joules / JOULES_PER_WATT_HOUR
  const [value, unit] = wattHours < 1000 ? [wattHours, 'Wh'] : [wattHours / 1000, 'kWh']
  return `${estimatedJoules > 0 ? '~' : ''}${value.toPrecision(3)} ${unit}`
}

/** In units of the owner's currency; small sums with as many digits as say something. */
function moneyText(micros: number): string {
  if (micros === 0) return '-'
  const units = micros / MICROS
  return units < 0.01 ? units.toPrecision(2) : units.toFixed(4)
}

/** RFC 4180, with one line for each row. */
export function csvOf(axes: readonly string[], rows: readonly UsageView[]): string {
  const named = axes.includes('key') ? [...axes, 'name'] : axes
  const lines = rows.map((row) => [...named, ...SUMS].map((column) => csvCell(cellOf(row, column))).join(','))
  return [[...named, ...SUMS].join(','), ...lines].join('\r\n')
}

/** Names are others' words: one that a spreadsheet would take for a formula is made a text. */
function csvCell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
