/** The picture as lines of a terminal: nothing in them is longer or more than fits. */
import type { NodeView, TaskSummary } from '../../../coordinator/index.ts'
import { renderEvent } from '../commands/events.ts'
import { formatBytes, formatDuration, formatSensed, type Output, type Style } from '../output.ts'
import { printable } from '../printable.ts'
import type { TopPicture } from './picture.ts'

export interface ScreenInit {
  readonly columns: number
  readonly rows: number
  readonly paint: Output['paint']
  /** What keys do; absent where there are none. */
  readonly keys?: string
}

const GAP = 2
/** Heading and blank line of a section. */
const FRAME = 2
/** What a section has at least, where there is room for it. */
const SECTION_ROWS_MIN = 3

interface Section {
  readonly heading: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly empty: string
  readonly style: (row: number) => Style | undefined
}

export function renderTop(picture: TopPicture, init: ScreenInit): string[] {
  const { columns, rows, paint } = init
  const lines = [paint('bold', cut(title(picture, init), columns))]
  const { reading } = picture
  if (reading === undefined) return [...lines, cut(picture.problem ?? 'reading …', columns)]
  const nodes = nodesSection(reading.nodes)
  const tasks = tasksSection(reading.tasks, reading.atMs)
  const room = Math.max(0, rows - lines.length)
  const forEvents = Math.max(SECTION_ROWS_MIN, Math.floor(room / 4))
  const [nodesRoom, tasksRoom] = shared(room - forEvents - 2 * FRAME, nodes.rows.length, tasks.rows.length)
  lines.push(
    '',
    ...sectionLines(nodes, nodesRoom, columns, paint),
    '',
    ...sectionLines(tasks, tasksRoom, columns, paint),
  )
  const left = rows - lines.length - 1
  if (left > 0 && picture.events.length > 0)
    lines.push('', ...picture.events.slice(0, left).map((event) => paint('dim', cut(renderEvent(event), columns))))
  return lines.slice(0, rows)
}

function title(picture: TopPicture, { keys }: ScreenInit): string {
  const { reading, problem } = picture
  if (reading === undefined) return 'skein top'
  const { running, waiting } = reading.stats.dispatch
  const queued = Object.values(waiting).reduce((sum, each) => sum + each, 0)
  const parts = [
    `skein top  ${printable(reading.self.name)}`,
    `${reading.nodes.length} ${reading.nodes.length === 1 ? 'member' : 'members'}`,
    `${running} running`,
    `${queued} waiting`,
    `${Math.round(picture.tokensPerSecond)} tok/s`,
    ...(problem === undefined ? [] : [printable(problem)]),
    ...(keys === undefined ? [] : [keys]),
  ]
  return parts.join(' · ')
}

const NODE_STYLES = { eligible: 'green', waiting: 'yellow', gone: 'red' } as const

function nodesSection(nodes: readonly NodeView[]): Section {
  const shown = nodes.toSorted((a, b) => Number(b.eligible) - Number(a.eligible) || a.name.localeCompare(b.name))
  // no column of dashes where no machine tells
  const isSensed = shown.some((node) => sensedText(node) !== '-')
  const rows = shown.map((node) => {
    const inUse = node.models.reduce((sum, model) => sum + model.slotsInUse, 0)
    const slots = node.models.reduce((sum, model) => sum + model.slots, 0)
    const models = node.models.map(({ name, residency }) =>
      residency === 'resident' ? name : `${name} (${residency})`,
    )
    const total = node.hardware?.memoryBytes
    const free = node.load?.memoryFreeBytes
    return [
      node.name + (node.isSelf ? ' (this)' : ''),
      node.eligible ? 'ready' : node.reasons.join(', ') || node.state,
      slots === 0 ? '-' : `${bar(inUse / slots)} ${inUse}/${slots}`,
      free === undefined ? '-' : `${formatBytes(free)}${total === undefined ? '' : ` of ${formatBytes(total)}`}`,
      ...(isSensed ? [sensedText(node)] : []),
      node.link?.roundTripMs === undefined ? '-' : `${Number(node.link.roundTripMs.toPrecision(2))} ms`,
      models.join(', ') || '-',
    ]
  })
  const style = (row: number): Style => {
    const node = shown[row]!
    if (node.eligible) return NODE_STYLES.eligible
    return node.state === 'suspect' || node.state === 'disconnected' ? NODE_STYLES.gone : NODE_STYLES.waiting
  }
  return {
    heading: ['MEMBER', 'STATE', 'SLOTS', 'FREE MEMORY', ...(isSensed ? ['HEAT, POWER'] : []), 'LINK', 'MODELS'],
    ...{ rows, style },
    empty: 'no members; another machine joins by: skein invite',
  }
}

/** Of one that is away nobody knows how warm it is. */
const sensedText = ({ state, load }: NodeView): string => (state === 'disconnected' ? '-' : formatSensed(load ?? {}))

function tasksSection(tasks: readonly TaskSummary[], nowMs: number): Section {
  const rows = tasks.map((task) => [
    task.taskId,
    task.state,
    task.node?.name ?? '-',
    String(task.tokens),
    task.attempts > 1 ? `${task.attempts - 1}` : '-',
    formatDuration(nowMs - task.admittedAtMs),
    task.priority,
    task.model,
  ])
  return {
    heading: ['TASK', 'STATE', 'NODE', 'TOKENS', 'MOVES', 'AGE', 'PRIORITY', 'MODEL'],
    rows,
    empty: 'nothing runs',
    style: (row) => (tasks[row]!.attempts > 1 ? 'yellow' : undefined),
  }
}

/** Rows for each of two: neither takes what the other needs, unless it has more than half. */
function shared(room: number, first: number, second: number): [number, number] {
  const half = Math.max(SECTION_ROWS_MIN, Math.floor(room / 2))
  if (first <= half) return [Math.max(1, first), Math.max(1, Math.min(second, room - first))]
  if (second <= half) return [Math.max(1, room - second), Math.max(1, second)]
  return [half, Math.max(1, room - half)]
}

function sectionLines(
  { heading, rows, empty, style }: Section,
  room: number,
  columns: number,
  paint: Output['paint'],
): string[] {
  if (rows.length === 0) return [paint('dim', cut(empty, columns))]
  // the last row says how many there are beyond it
  const shown = rows.length > room ? rows.slice(0, Math.max(0, room - 1)) : rows
  const cells = [heading, ...shown].map((row) => row.map(printable))
  const widths = heading.map((_, i) => Math.max(...cells.map((row) => row[i]!.length)))
  const texts = cells.map((row) =>
    cut(
      row
        .map((cell, i) => cell.padEnd(widths[i]! + GAP))
        .join('')
        .trimEnd(),
      columns,
    ),
  )
  const [top, ...others] = texts
  const rest = rows.length - shown.length
  return [
    paint('bold', top!),
    ...others.map((text, i) => {
      const painted = style(i)
      return painted === undefined ? text : paint(painted, text)
    }),
    ...(rest > 0 ? [paint('dim', cut(`and ${rest} more`, columns))] : []),
  ]
}

const BAR = 6
const bar = (share: number): string => '▰'.repeat(Math.round(share * BAR)).padEnd(BAR, '▱')

/** At most `columns` characters. */
const cut = (text: string, columns: number): string =>
  text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`
