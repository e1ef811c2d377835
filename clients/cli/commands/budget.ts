/** `skein budget`: what may be spent in a day and in a month, in all and by one key, and what happens at the limit. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { LimitState, NamedBudget } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { table } from '../output.ts'
import { printable } from '../printable.ts'

interface SetOptions extends ClientOptions {
  /** Micro-units. */
  readonly day?: number | 'none'
  readonly month?: number | 'none'
  readonly key?: string
  readonly atLimit?: string
  readonly localModel?: string
}

const MICROS = 1_000_000

/** An amount in units of the owner's currency, exactly: `5`, `0.25`; `none` for no limit. In micro-units. */
export function amount(text: string): number | 'none' {
  if (text === 'none') return text
  const match = /^(\d{1,9})(?:\.(\d{1,6}))?$/.exec(text)
  if (match === null)
    throw new InvalidArgumentError('an amount such as 5 or 0.25, with six digits behind the point at most, or none')
  return Number(match[1]) * MICROS + Number((match[2] ?? '').padEnd(6, '0'))
}

export function registerBudget(program: Command): void {
  const budget = program.command('budget').description('tell and set what may be spent on nodes with a price')
  addClientOptions(
    budget.command('show', { isDefault: true }).description('what may be spent, what was spent, and who has set it'),
  ).action(async (options: ClientOptions) => {
    const { output, client } = createContext(options)
    const shown = await client().budget()
    if (output.json) return output.value(shown)
    output.line(renderBudget(shown))
  })
  addClientOptions(budget.command('set').description('set limits, and what happens at them'))
    .addOption(new Option('--day <amount>', 'in a day (UTC), in your currency; none for no limit').argParser(amount))
    .addOption(
      new Option('--month <amount>', 'in a month (UTC), in your currency; none for no limit').argParser(amount),
    )
    .addOption(new Option('--key <key>', 'for this key alone, by name or id (default: for all together)'))
    .addOption(
      new Option(
        '--at-limit <what>',
        'what happens to a request for which less is left; none of a key: as for all',
      ).choices(['refuse', 'wait', 'local', 'none']),
    )
    .addOption(new Option('--local-model <name>', 'the model of your own nodes that answers with --at-limit local'))
    .action(async (options: SetOptions) => {
      const { output, client } = createContext(options)
      const { key, day, month, atLimit, localModel } = options
      const change = { day_micros: day, month_micros: month, at_limit: atLimit, local_model: localModel }
      if (Object.values(change).every((value) => value === undefined))
        throw new SkeinError('INVALID_REQUEST', 'say what to set: --day, --month, --at-limit or --local-model')
      const now = await client().setBudget({ ...change, key })
      if (output.json) return output.value(now)
      output.line(renderBudget(now))
      for (const text of overruns(now)) output.note(text)
    })
}

/** For people: a line for each limit, then what happens at them. */
export function renderBudget(budget: NamedBudget): string {
  const ofAll = budget.periods.map((each) => ['all', ...cells(each)])
  const own = budget.tenants.flatMap(({ name, tenant, atLimit, localModel, periods }) =>
    periods
      .filter(({ limitMicros }) => limitMicros !== undefined)
      .map((each) => [printable(name ?? tenant), ...cells(each), choiceText(atLimit, localModel)]),
  )
  const rows = table([
    ['WHO', 'PERIOD', 'FROM', 'LIMIT', 'SPENT', 'SET ASIDE', 'LEFT', 'AT THE LIMIT'],
    ...ofAll,
    ...own,
  ])
  const isUnset = budget.periods.every(({ limitMicros }) => limitMicros === undefined)
  const leases = budget.leases.map(
    ({ leaseId, reservedMicros }) => `rented: ${printable(leaseId)}, ${money(reservedMicros)} set aside`,
  )
  return [
    rows,
    ...leases,
    isUnset ? 'No budget is set: nothing is spent.' : `At the limit: ${choiceText(budget.atLimit, budget.localModel)}.`,
  ].join('\n')
}

const cells = ({ period, from, limitMicros, spentMicros, reservedMicros, leftMicros }: LimitState): string[] => [
  ...[period, from],
  limitMicros === undefined ? 'none' : money(limitMicros),
  ...[money(spentMicros), money(reservedMicros)],
  leftMicros === undefined ? '-' : money(leftMicros),
]

const choiceText = (atLimit: string | undefined, localModel: string | undefined): string =>
  atLimit === 'local' ? `local (${printable(localModel ?? '')})` : (atLimit ?? '')

/** Where a limit is below what is spent and set aside already. */
const overruns = (budget: NamedBudget): string[] =>
  [...budget.periods, ...budget.tenants.flatMap(({ periods }) => periods)].flatMap(({ period, overMicros }) =>
    overMicros === undefined
      ? []
      : [`${money(overMicros)} more than this limit of the ${period} is spent or set aside already; nothing is added.`],
  )

/** In units of the owner's currency; all digits of small sums. */
const money = (micros: number): string => {
  const units = (micros / MICROS).toFixed(6)
  return units.replace(/0{1,4}$/, '')
}
