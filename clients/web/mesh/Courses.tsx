/** Courses of a few numbers since the page is open, drawn by uPlot, which is loaded when it is needed; each also as a table. */
import type uPlot from 'uplot'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Disclosure, Section, Table, type Column } from '../ui/index.ts'
import { format, locale, words } from '../words/index.ts'
import type { Series } from './series.ts'
import { useWidth } from './shared.tsx'

const HEIGHT_PX = 132
/** Rows of the table: one in so many seconds would be too many to read. */
const ROWS_MAX = 30

interface Course {
  readonly label: string
  readonly values: readonly number[]
  /** Of the tokens, as a property of CSS. */
  readonly color: string
}

export function Courses({ series }: { readonly series: Series }) {
  const { courses, chartTokens, chartRunning, chartWaiting, chartEmpty } = words.value.mesh
  const all: readonly Course[] = [
    { label: chartTokens, values: series.tokensPerSecond, color: '--series-1' },
    { label: chartRunning, values: series.running, color: '--series-3' },
    { label: chartWaiting, values: series.waiting, color: '--series-2' },
  ]
  return (
    <Section title={courses}>
      {series.seconds.length < 2 ? (
        <p class="mesh-muted">{chartEmpty}</p>
      ) : (
        <div class="mesh-courses">
          {all.map((course) => (
            <Chart key={course.color} course={course} seconds={series.seconds} />
          ))}
        </div>
      )}
    </Section>
  )
}

function Chart({ course, seconds }: { readonly course: Course; readonly seconds: readonly number[] }) {
  const [ref, width] = useWidth()
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const [library, setLibrary] = useState<typeof uPlot>()
  const data = (): uPlot.AlignedData => [[...seconds], [...course.values]]
  useEffect(() => {
    let isGone = false
    void import('./plot.ts').then((loaded) => isGone || setLibrary(() => loaded.uPlot))
    return () => void (isGone = true)
  }, [])
  useEffect(() => {
    if (library === undefined || place.current === null || width === 0) return
    plot.current = new library(optionsOf(course, width), data(), place.current)
    return () => plot.current?.destroy()
  }, [library, width === 0, course.label, locale.value])
  useEffect(() => plot.current?.setSize({ width, height: HEIGHT_PX }), [width])
  useEffect(() => plot.current?.setData(data()), [seconds])
  const { chartTable } = words.value.mesh
  return (
    <figure class="mesh-course">
      <figcaption>
        {course.label} <strong>{format.number(Math.round(course.values.at(-1) ?? 0))}</strong>
      </figcaption>
      <div ref={ref}>
        <div ref={place} aria-hidden="true" class="mesh-plot" />
      </div>
      <Disclosure summary={chartTable(course.label)}>
        <CourseTable course={course} seconds={seconds} />
      </Disclosure>
    </figure>
  )
}

function optionsOf({ label, color }: Course, width: number): uPlot.Options {
  const tone =
    (name: string): (() => string) =>
    () =>
      resolved(name)
  const axis = {
    stroke: tone('--color-text-faint'),
    grid: { stroke: tone('--color-line'), width: 1 },
    ticks: { show: false },
  }
  return {
    width,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 } },
    scales: { y: { range: (_plot, _min, max) => [0, Math.max(1, max * 1.15)] } },
    axes: [
      { ...axis, size: 26, values: (_plot, at) => at.map((seconds) => clockTime(seconds)), space: 80 },
      {
        ...axis,
        size: 40,
        values: (_plot, at) => at.map((value) => (Number.isInteger(value) ? format.compact(value) : '')),
      },
    ],
    series: [
      {},
      {
        label,
        stroke: tone(color),
        width: 1.75,
        fill: () => `color-mix(in srgb, ${resolved(color)} 12%, transparent)`,
        points: { show: false },
      },
    ],
  }
}

/** A canvas knows no `light-dark()`: the colour as the theme of now has it. */
function resolved(name: string): string {
  const probe = document.createElement('span')
  probe.style.setProperty('color', `var(${name})`)
  document.body.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}

const clockTime = (seconds: number): string =>
  new Intl.DateTimeFormat(locale.value, { hour: 'numeric', minute: '2-digit', second: '2-digit' }).format(
    seconds * 1000,
  )

function CourseTable({ course, seconds }: { readonly course: Course; readonly seconds: readonly number[] }) {
  const { at } = words.value.mesh
  const rows = seconds
    .map((second, i) => ({ second, value: course.values[i] ?? 0 }))
    .slice(-ROWS_MAX)
    .reverse()
  const columns: readonly Column<(typeof rows)[number]>[] = [
    { id: 'at', label: at, cell: (row) => clockTime(row.second) },
    { id: 'value', label: course.label, isNumeric: true, cell: (row) => format.number(Math.round(row.value)) },
  ]
  return <Table label={course.label} columns={columns} rows={rows} rowKey={(row) => row.second} />
}
