/** What a capability measured over an hour, a day or a week: a line over time, with its lowest and highest value. */
import { useMemo, useState } from 'preact/hooks'
import { Card, Copyable, Disclosure, Section, Select, Skeleton } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { DeviceShown } from './devices-model.ts'
import { numberText, valueText } from './format.ts'
import { useHistory } from './history.ts'
import { Problem } from './Parts.tsx'
import type { HouseGateway } from './ports.ts'
import { useNow } from './resource.ts'

const HOUR_MS = 3_600_000
const RANGES = { hour: HOUR_MS, day: 24 * HOUR_MS, week: 7 * 24 * HOUR_MS } as const
type Range = keyof typeof RANGES
const WIDTH = 720
const HEIGHT = 180
const TOP = 12
const BOTTOM = 24
/** A line is broken where nothing was heard for this share of the time shown. */
const GAP_SHARE = 1 / 12

export interface Point {
  readonly atMs: number
  readonly value: number
}

interface HistoryChartProps {
  readonly gateway: HouseGateway
  readonly device: DeviceShown
  readonly names: readonly string[]
  readonly name: string
  readonly onName: (name: string) => void
}

export function HistoryChart({ gateway, device, names, name, onName }: HistoryChartProps) {
  const text = words.value.devices
  const [range, setRange] = useState<Range>('hour')
  const readings = useHistory(gateway, device, RANGES[range], name)
  const nowMs = useNow(30_000)
  const points = useMemo(
    () =>
      (readings.value ?? []).flatMap(({ value, atMs }): Point[] =>
        typeof value === 'string' ? [] : [{ atMs, value: Number(value) }],
      ),
    [readings.value],
  )
  const choose = (
    <>
      {names.length > 1 && (
        <Select
          label={text.measured}
          isLabelHidden
          value={name}
          onChange={onName}
          options={names.map((value) => ({ value, label: value }))}
        />
      )}
      <div class="house-segments" role="group" aria-label={text.range}>
        {(Object.keys(RANGES) as Range[]).map((each) => (
          <button
            key={each}
            type="button"
            class="house-segment"
            aria-pressed={each === range}
            onClick={() => setRange(each)}
          >
            {text.ranges[each]}
          </button>
        ))}
      </div>
    </>
  )
  return (
    <Section title={text.history} actions={choose}>
      <Card>
        {readings.error && <Problem error={readings.error} onRetry={readings.reload} />}
        {readings.value === undefined ? (
          <Skeleton lines={4} />
        ) : points.length < 2 ? (
          <p class="house-quiet house-chart-none">{text.historyNone}</p>
        ) : (
          <Chart
            {...{ points, device, name, toMs: nowMs, fromMs: nowMs - RANGES[range] }}
            isDay={range === 'hour' || range === 'day'}
          />
        )}
      </Card>
      <Disclosure summary={text.command}>
        <Copyable
          isCommand
          text={`skein devices history ${device.id} ${name} --since ${{ hour: '1h', day: '24h', week: '7d' }[range]}`}
        />
      </Disclosure>
    </Section>
  )
}

interface ChartProps {
  readonly points: readonly Point[]
  readonly device: DeviceShown
  readonly name: string
  readonly fromMs: number
  readonly toMs: number
  readonly isDay: boolean
}

function Chart({ points, device, name, fromMs, toMs, isDay }: ChartProps) {
  const text = words.value.devices
  const capability = device.capabilities.find((each) => each.name === name)
  const isSwitch = capability?.type === 'boolean'
  const { path, low, high } = chartOf(points, { fromMs, toMs, isSwitch })
  const said = (value: number): string => (isSwitch ? valueText(value === 1) : valueText(value, capability?.unit))
  const last = points.at(-1)!
  const middleMs = (fromMs + toMs) / 2
  const clock = isDay ? format.time : format.date
  return (
    <figure class="house-chart">
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={`${text.historyOf(name)}: ${text.low} ${said(low)}, ${text.high} ${said(high)}, ${said(last.value)}`}
        preserveAspectRatio="none"
      >
        <path class="house-chart-grid" d={`M0 ${TOP}H${WIDTH}M0 ${HEIGHT - BOTTOM}H${WIDTH}`} />
        <path class="house-chart-line" d={path} />
      </svg>
      <span class="house-chart-high">{isSwitch ? said(1) : numberText(high)}</span>
      <span class="house-chart-low">{isSwitch ? said(0) : numberText(low)}</span>
      <figcaption class="house-chart-times">
        <span>{clock(fromMs)}</span>
        <span>{clock(middleMs)}</span>
        <span>{clock(toMs)}</span>
      </figcaption>
    </figure>
  )
}

interface Window {
  readonly fromMs: number
  readonly toMs: number
  /** Steps between 0 and 1 instead of slopes. */
  readonly isSwitch: boolean
}

/** The line as SVG's `d`, and the ends of its scale. */
export function chartOf(
  points: readonly Point[],
  { fromMs, toMs, isSwitch }: Window,
): { path: string; low: number; high: number } {
  const values = points.map(({ value }) => value)
  const low = isSwitch ? 0 : values.reduce((a, b) => Math.min(a, b))
  const high = isSwitch ? 1 : values.reduce((a, b) => Math.max(a, b))
  const y = (value: number): number =>
    high === low ? HEIGHT / 2 : TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low))
  const x = (atMs: number): number => WIDTH * Math.min(1, Math.max(0, (atMs - fromMs) / (toMs - fromMs)))
  const gapMs = (toMs - fromMs) * GAP_SHARE
  const path = points.map(({ atMs, value }, i) => {
    const to = `${x(atMs).toFixed(1)} ${y(value).toFixed(1)}`
    const before = points[i - 1]
    if (before === undefined || (!isSwitch && atMs - before.atMs > gapMs)) return `M${to}`
    return isSwitch ? `H${x(atMs).toFixed(1)}V${y(value).toFixed(1)}` : `L${to}`
  })
  return { path: path.join(''), low, high }
}
