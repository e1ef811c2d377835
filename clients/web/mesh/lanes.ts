/** Lanes over time: a lane for each node, in it a row for each attempt that ran beside others. Pure; x is in 0…1 of the window. */
import type { LiveTask } from './model.ts'
import type { Bar, MeshNode, NodeName } from './types.ts'

export interface LaneBar {
  readonly task: LiveTask
  readonly bar: Bar
  /** The row in its lane, from 0 on. */
  readonly row: number
  readonly x: number
  readonly width: number
  readonly isRunning: boolean
}

export interface Lane extends NodeName {
  readonly rows: number
  readonly bars: readonly LaneBar[]
}

/** From the end of one bar to the beginning of the next. */
export interface Move {
  readonly task: LiveTask
  /** That it led to. */
  readonly attempt: number
  readonly from: { readonly lane: number; readonly row: number; readonly x: number }
  readonly to: { readonly lane: number; readonly row: number; readonly x: number }
  readonly reason: string
}

export interface Lanes {
  readonly lanes: readonly Lane[]
  readonly moves: readonly Move[]
}

export interface LaneWindow {
  readonly fromMs: number
  readonly toMs: number
}

/** Rows of one lane; what is beyond shares the last one. */
export const ROWS_MAX = 8

export function lanesOf(nodes: Iterable<MeshNode>, tasks: readonly LiveTask[], window: LaneWindow): Lanes {
  const shown = tasks.filter((task) => task.bars.some((bar) => isWithin(bar, window)))
  const names = new Map<string, NodeName>()
  for (const node of nodes) if (node.models.length > 0) names.set(node.peerId, { peerId: node.peerId, name: node.name })
  for (const { bars } of shown) for (const { node } of bars) if (!names.has(node.peerId)) names.set(node.peerId, node)
  const order = [...names.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  const lanes = order.map((name) => laneOf(name, shown, window))
  return { lanes, moves: movesOf(lanes, shown) }
}

const isWithin = (bar: Bar, { fromMs, toMs }: LaneWindow): boolean => bar.fromMs <= toMs && (bar.toMs ?? toMs) >= fromMs

function laneOf(name: NodeName, tasks: readonly LiveTask[], window: LaneWindow): Lane {
  const span = Math.max(1, window.toMs - window.fromMs)
  const own = tasks
    .flatMap((task) => task.bars.filter(({ node }) => node.peerId === name.peerId).map((bar) => ({ task, bar })))
    .filter(({ bar }) => isWithin(bar, window))
    .sort((a, b) => a.bar.fromMs - b.bar.fromMs)
  const ends: number[] = []
  const bars = own.map(({ task, bar }): LaneBar => {
    const toMs = bar.toMs ?? window.toMs
    const free = ends.findIndex((endMs) => endMs <= bar.fromMs)
    const row = free === -1 ? Math.min(ends.length, ROWS_MAX - 1) : free
    ends[row] = toMs
    const x = Math.max(0, (bar.fromMs - window.fromMs) / span)
    const end = Math.min(1, (toMs - window.fromMs) / span)
    return { task, bar, row, x, width: Math.max(0, end - x), isRunning: bar.toMs === undefined }
  })
  return { ...name, rows: Math.max(1, ends.length), bars }
}

function movesOf(lanes: readonly Lane[], tasks: readonly LiveTask[]): Move[] {
  const found = (task: LiveTask, attempt: number) => {
    for (const [lane, { bars }] of lanes.entries()) {
      const bar = bars.find((candidate) => candidate.task === task && candidate.bar.attempt === attempt)
      if (bar !== undefined) return { lane, ...bar }
    }
    return undefined
  }
  return tasks.flatMap((task) =>
    task.bars.slice(1).flatMap((bar, i): Move[] => {
      const from = found(task, task.bars[i]!.attempt)
      const to = found(task, bar.attempt)
      // one of them is out of the window
      if (from === undefined || to === undefined) return []
      return [
        {
          task,
          attempt: bar.attempt,
          from: { lane: from.lane, row: from.row, x: from.x + from.width },
          to: { lane: to.lane, row: to.row, x: to.x },
          reason: bar.reason,
        },
      ]
    }),
  )
}

/** Marks of the axis: round distances, at most seven, each with how long ago it is. */
export function marksOf({ fromMs, toMs }: LaneWindow): { readonly x: number; readonly agoMs: number }[] {
  const span = toMs - fromMs
  const step = STEPS_MS.find((candidate) => span / candidate <= 6) ?? span
  const marks: { x: number; agoMs: number }[] = []
  for (let agoMs = 0; agoMs <= span; agoMs += step) marks.push({ x: 1 - agoMs / span, agoMs })
  return marks
}

const STEPS_MS = [5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].map((seconds) => seconds * 1000)
