/** `/usage`: what was used and by whom, what it cost and would have cost, the budget, and rented machines. */
import { useMemo, useState } from 'preact/hooks'
import {
  Button,
  Card,
  Copyable,
  Disclosure,
  Empty,
  Page,
  Section,
  Select,
  Stat,
  Table,
  type Column,
} from '../ui/index.ts'
import { saveFile, systemClock } from '../platform/index.ts'
import { format, words } from '../words/index.ts'
import { Budget } from './Budget.tsx'
import { amountText, dayText, energyText } from './format.ts'
import { Leases } from './Leases.tsx'
import { Loaded } from './Parts.tsx'
import type { HousePorts } from './ports.ts'
import { useResource } from './resource.ts'
import { csvOf, GROUPS, totalOf, usageOf, type Group, type UsageRow } from './usage-model.ts'
import { useEvents } from './useDevices.ts'
import './house.css'

const DAY_MS = 24 * 3_600_000
const PERIODS = { day: DAY_MS, week: 7 * DAY_MS, month: 30 * DAY_MS, all: undefined } as const
type Period = keyof typeof PERIODS
const SINCE = { day: '1d', week: '7d', month: '30d', all: undefined } as const

export function UsagePage({ gateway }: HousePorts) {
  const text = words.value.access.usage
  const [group, setGroup] = useState<Group>('model')
  const [period, setPeriod] = useState<Period>('month')
  const load = async (by: Group, signal: AbortSignal): Promise<UsageRow[]> => {
    const spanMs = PERIODS[period]
    const since = spanMs === undefined ? '' : `&since_ms=${sinceOf(period, systemClock.nowMs(), spanMs)}`
    return usageOf(await gateway.get(`/mesh/v1/usage?by=${by}${since}`, signal), by)
  }
  const usage = useResource((signal) => load(group, signal), [gateway, group, period])
  const days = useResource((signal) => load('day', signal), [gateway, period])
  useEvents(gateway, ['task.ended', 'work.ended'], () => {
    usage.reload()
    days.reload()
  })
  const csv = (
    <Button
      icon="download"
      disabled={(usage.value ?? []).length === 0}
      onClick={() =>
        saveFile(`skein-usage-${group}.csv`, new Blob([csvOf(usage.value ?? [], group)], { type: 'text/csv' }))
      }
    >
      {text.csv}
    </Button>
  )
  return (
    <Page title={text.title} description={text.about} actions={csv}>
      <div class="house-filters">
        <Select
          label={text.since}
          value={period}
          onChange={setPeriod}
          options={(Object.keys(PERIODS) as Period[]).map((value) => ({ value, label: text.periods[value] }))}
        />
        <Select
          label={text.by}
          value={group}
          onChange={setGroup}
          options={GROUPS.map((value) => ({ value, label: text.groups[value] }))}
        />
      </div>
      <Loaded of={usage}>
        {(rows) =>
          rows.length === 0 ? (
            <Empty icon="chart" title={text.none} />
          ) : (
            <>
              <Totals rows={rows} />
              {(days.value ?? []).length > 1 && <Days rows={days.value!} />}
              <UsageTable rows={rows} group={group} />
            </>
          )
        }
      </Loaded>
      <Disclosure summary={words.value.access.command}>
        <Copyable
          isCommand
          text={['skein usage', `--by ${group}`, SINCE[period] && `--since ${SINCE[period]}`].filter(Boolean).join(' ')}
        />
      </Disclosure>
      <Budget gateway={gateway} />
      <Leases gateway={gateway} />
    </Page>
  )
}

/** Today is the day of UTC, as the sums by day are. */
const sinceOf = (period: Period, nowMs: number, spanMs: number): number =>
  period === 'day' ? Math.floor(nowMs / DAY_MS) * DAY_MS : Math.floor(nowMs - spanMs)

function Totals({ rows }: { readonly rows: readonly UsageRow[] }) {
  const text = words.value.access.usage
  const total = totalOf(rows)
  const less = total.cloudMicros - total.costMicros
  return (
    <div class="house-stats">
      <Stat
        label={text.requests}
        value={format.compact(total.requests)}
        detail={`${format.compact(total.completed)} ${text.completed}`}
      />
      <Stat
        label={text.tokensIn}
        value={format.compact(total.promptTokens)}
        {...(total.cachedTokens > 0 && { detail: `${format.compact(total.cachedTokens)} ${text.cached}` })}
      />
      <Stat label={text.tokensOut} value={format.compact(total.completionTokens)} />
      <Stat
        label={text.energy}
        value={energyText(total.joules)}
        {...(total.estimatedJoules > 0 && { detail: <span title={text.estimated}>{text.estimatedShort}</span> })}
      />
      <Stat label={text.cost} value={amountText(total.costMicros)} />
      <Stat
        label={text.cloud}
        value={amountText(total.cloudMicros)}
        {...(Math.abs(less) >= SAID_MICROS && {
          detail: less >= 0 ? text.saved(amountText(less)) : text.dearer(amountText(-less)),
        })}
      />
    </div>
  )
}

/** A difference that is less than a hundredth of the currency is none to speak of. */
const SAID_MICROS = 10_000

const tokensOf = ({ promptTokens, completionTokens }: UsageRow): number => promptTokens + completionTokens

/** Days are bars, the newest at the right. */
const DAYS_SHOWN = 31
const BAR_HEIGHT = 96

function Days({ rows }: { readonly rows: readonly UsageRow[] }) {
  const text = words.value.access.usage
  const days = [...rows].sort((a, b) => a.id.localeCompare(b.id)).slice(-DAYS_SHOWN)
  const most = days.reduce((max, row) => Math.max(max, tokensOf(row)), 1)
  return (
    <Section title={text.perDay}>
      <Card>
        <ul role="list" class="house-days" aria-label={text.perDay}>
          {days.map((row) => {
            const said = `${dayText(row.id)}: ${format.number(tokensOf(row))} ${text.tokens}`
            return (
              <li key={row.id} title={said}>
                <span class="ui-offscreen">{said}</span>
                <svg class="house-bar" viewBox={`0 0 10 ${BAR_HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
                  <rect width="10" y={BAR_HEIGHT - barOf(row, most)} height={barOf(row, most)} rx="1.5" />
                </svg>
                <span class="house-day" aria-hidden="true">
                  {row.id.slice(-2)}
                </span>
              </li>
            )
          })}
        </ul>
      </Card>
    </Section>
  )
}

const barOf = (row: UsageRow, most: number): number => Math.max(1, (BAR_HEIGHT * tokensOf(row)) / most)

interface UsageTableProps {
  readonly rows: readonly UsageRow[]
  readonly group: Group
}

function UsageTable({ rows, group }: UsageTableProps) {
  const { usage } = words.value.access
  const columns = useMemo(() => columnsOf(group, rows), [group, rows, usage])
  return (
    <Card isFlush>
      <Table
        key={group}
        label={usage.groups[group]}
        columns={columns}
        rows={rows}
        rowKey={({ id }) => id}
        firstSort={{ column: group === 'day' ? 'label' : 'out', isDescending: true }}
      />
    </Card>
  )
}

function columnsOf(group: Group, rows: readonly UsageRow[]): Column<UsageRow>[] {
  const text = words.value.access.usage
  const most = rows.reduce((max, row) => Math.max(max, tokensOf(row)), 1)
  const figure = (
    id: string,
    label: string,
    of: (row: UsageRow) => number,
    shown: (value: number) => string,
    isWide = false,
  ) => ({
    ...{ id, label, isNumeric: true, isWide, sortBy: of },
    cell: (row: UsageRow) => shown(of(row)),
  })
  return [
    {
      id: 'label',
      label: text.groups[group],
      sortBy: ({ id, label }) => (group === 'day' ? id : label),
      cell: (row) => (
        <div class="house-named-bar">
          <span>{labelOf(row, group)}</span>
          <svg viewBox="0 0 100 3" preserveAspectRatio="none" aria-hidden="true">
            <rect width={Math.max(0.5, (100 * tokensOf(row)) / most)} height="3" rx="1.5" />
          </svg>
        </div>
      ),
    },
    figure('requests', text.requests, ({ requests }) => requests, format.compact),
    figure('in', text.tokensIn, ({ promptTokens }) => promptTokens, format.compact),
    figure('out', text.tokensOut, ({ completionTokens }) => completionTokens, format.compact),
    figure('took', text.took, ({ tookMs }) => tookMs, format.duration, true),
    figure('energy', text.energy, ({ joules }) => joules, energyText, true),
    figure('cost', text.cost, ({ costMicros }) => costMicros, amountText),
    figure('cloud', text.cloud, ({ cloudMicros }) => cloudMicros, amountText, true),
  ]
}

const ROUTES: Readonly<Record<string, 'house' | 'cloud'>> = { local: 'house', mesh: 'house', cloud: 'cloud' }

function labelOf({ id, label }: UsageRow, group: Group): string {
  const text = words.value.access.usage
  if (group === 'day') return dayText(id)
  if (group === 'key') return id === 'local' || id === '' ? text.unnamed : label
  const route = group === 'route' ? ROUTES[id] : undefined
  if (route !== undefined) return `${text.routes[route]} (${id})`
  return label === '' ? text.unknown : label
}
