/** Lanes over time, drawn: bars of attempts, and arrows from bar to bar where an answer moved. */
import { useMemo } from 'preact/hooks'
import { format, words } from '../words/index.ts'
import { lanesOf, marksOf, type Lane, type LaneBar, type Lanes, type LaneWindow, type Move } from './lanes.ts'
import type { LiveTask } from './model.ts'
import { named, shortId, taskHref, useWidth } from './shared.tsx'
import './lanes.css'
import type { MeshNode } from './types.ts'

const ROW_PX = 20
const BAR_PX = 15
const LANE_GAP_PX = 18
const AXIS_PX = 26
const NAMES_PX = 132
const NAMES_NARROW_PX = 76
const NARROW_PX = 560
/** Thinner is not seen, or hit. */
const BAR_MIN_PX = 4
/** From this width on its model is written on a bar. */
const TEXT_FROM_PX = 64
const EDGE_PX = 8
const BEND_PX = 16
/** Moves that are nearer to each other than a part of the window are one for their label. */
const MOMENTS = 30
const LABEL_GAP_PX = 12
const LABEL_PX = 160

interface ChartProps {
  readonly nodes: readonly MeshNode[]
  readonly tasks: readonly LiveTask[]
  readonly window: LaneWindow
}

interface Scale {
  readonly left: number
  readonly width: number
  /** Of each lane, in px from above. */
  readonly tops: readonly number[]
  readonly height: number
}

export function LanesChart({ nodes, tasks, window }: ChartProps) {
  const [ref, width] = useWidth()
  const lanes = useMemo(() => lanesOf(nodes, tasks, window), [nodes, tasks, window.fromMs, window.toMs])
  const { lanesLabel, nodesCount } = words.value.mesh
  const scale = scaleOf(lanes, width)
  const bars = lanes.lanes.reduce((sum, lane) => sum + lane.bars.length, 0)
  return (
    <div ref={ref} class="mesh-lanes">
      {width > 0 && (
        <svg
          width={width}
          height={scale.height}
          viewBox={`0 0 ${width} ${scale.height}`}
          role="group"
          aria-label={lanesLabel(nodesCount(lanes.lanes.length), bars)}
        >
          <defs>
            <marker id="mesh-arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
              <path d="M0.5 0.5 7 4 0.5 7.5z" class="mesh-arrow-head" />
            </marker>
          </defs>
          <Axis window={window} scale={scale} />
          {lanes.lanes.map((lane, i) => (
            <LaneRow key={lane.peerId} lane={lane} top={scale.tops[i]!} scale={scale} />
          ))}
          {lanes.moves.map((move) => (
            <MoveArrow key={`${move.task.taskId} ${move.attempt}`} move={move} scale={scale} />
          ))}
          <MoveReasons moves={lanes.moves} scale={scale} />
        </svg>
      )}
    </div>
  )
}

function scaleOf({ lanes }: Lanes, width: number): Scale {
  const left = width < NARROW_PX ? NAMES_NARROW_PX : NAMES_PX
  const tops: number[] = []
  let top = AXIS_PX
  for (const { rows } of lanes) {
    tops.push(top)
    top += rows * ROW_PX + LANE_GAP_PX
  }
  return { left, width: Math.max(1, width - left - EDGE_PX), tops, height: top + 2 }
}

function Axis({ window, scale }: { readonly window: LaneWindow; readonly scale: Scale }) {
  const { now } = words.value.mesh
  return (
    <g class="mesh-axis" aria-hidden="true">
      {marksOf(window).map(({ x, agoMs }) => {
        const at = scale.left + x * scale.width
        return (
          <g key={agoMs}>
            <line x1={at} x2={at} y1={AXIS_PX - 6} y2={scale.height} />
            <text x={at} y={14} class={agoMs === 0 ? 'mesh-axis-now' : ''}>
              {agoMs === 0 ? now : `−${format.duration(agoMs)}`}
            </text>
          </g>
        )
      })}
    </g>
  )
}

function LaneRow({ lane, top, scale }: { readonly lane: Lane; readonly top: number; readonly scale: Scale }) {
  const height = lane.rows * ROW_PX
  const letters = Math.floor((scale.left - 12) / 7)
  return (
    <g>
      <rect class="mesh-lane" x={scale.left} y={top - 4} width={scale.width} height={height + 6} rx="5" />
      <text class="mesh-lane-name" x={0} y={top + 12}>
        {lane.name.length > letters ? `${lane.name.slice(0, letters - 1)}…` : lane.name}
      </text>
      {lane.bars.map((bar) => (
        <BarMark key={`${bar.task.taskId} ${bar.bar.attempt}`} lane={lane} bar={bar} top={top} scale={scale} />
      ))}
    </g>
  )
}

interface BarProps {
  readonly lane: Lane
  readonly bar: LaneBar
  readonly top: number
  readonly scale: Scale
}

function BarMark({ lane, bar: { task, bar, row, x, width, isRunning }, top, scale }: BarProps) {
  const { taskStates } = words.value.mesh
  const left = scale.left + x * scale.width
  const wide = Math.max(BAR_MIN_PX, width * scale.width)
  const isLast = bar.attempt === task.attempts
  const tone = isRunning ? 'running' : isLast ? task.state : 'moved'
  const label = `${task.model} ${shortId(task.taskId)}, ${lane.name}: ${isLast ? taskStates[task.state] : words.value.mesh.filters.moved}`
  const letters = Math.floor((wide - 12) / 6.6)
  return (
    <a href={taskHref(task.taskId)} aria-label={label} class="mesh-bar-link">
      <title>{label}</title>
      <rect
        class={`mesh-bar mesh-bar-${tone}`}
        x={Math.min(left, scale.left + scale.width - BAR_MIN_PX)}
        y={top + row * ROW_PX}
        width={wide}
        height={BAR_PX}
        rx="3.5"
      />
      {wide >= TEXT_FROM_PX && (
        <text class={`mesh-bar-text mesh-bar-text-${tone}`} x={left + 6} y={top + row * ROW_PX + 11.5}>
          {task.model.length > letters ? `${task.model.slice(0, Math.max(1, letters - 1))}…` : task.model}
        </text>
      )}
    </a>
  )
}

function MoveArrow({ move, scale }: { readonly move: Move; readonly scale: Scale }) {
  const from = pointOf(move.from, scale)
  const to = pointOf(move.to, scale)
  return (
    <g class="mesh-move">
      <title>{named(words.value.mesh.moveReasons, move.reason)}</title>
      <path
        d={`M${from.x} ${from.y}C${from.x + BEND_PX} ${from.y} ${to.x - BEND_PX} ${to.y} ${to.x - 1} ${to.y}`}
        marker-end="url(#mesh-arrow)"
      />
    </g>
  )
}

const pointOf = ({ lane, row, x }: Move['from'], scale: Scale): { readonly x: number; readonly y: number } => ({
  x: scale.left + x * scale.width,
  y: scale.tops[lane]! + row * ROW_PX + BAR_PX / 2,
})

/** A node that is drained sends all away at once, for one reason: it is written once, between the lanes. */
function MoveReasons({ moves, scale }: { readonly moves: readonly Move[]; readonly scale: Scale }) {
  const groups = new Map<string, Move[]>()
  for (const move of moves) {
    const key = `${move.reason} ${move.from.lane} ${move.to.lane} ${Math.round(move.to.x * MOMENTS)}`
    groups.set(key, [...(groups.get(key) ?? []), move])
  }
  return (
    <g class="mesh-move">
      {[...groups].map(([key, group]) => {
        const { from, to, reason } = group[0]!
        const left = scale.left + Math.min(from.x, to.x) * scale.width - LABEL_GAP_PX
        // in the gap beside the lane where they arrive
        const below = to.lane < from.lane ? to.lane + 1 : to.lane
        const isNarrow = left < scale.left + LABEL_PX
        return (
          <text
            key={key}
            x={isNarrow ? scale.left + Math.max(from.x, to.x) * scale.width + LABEL_GAP_PX : left}
            y={scale.tops[below]! - 6}
            text-anchor={isNarrow ? 'start' : 'end'}
          >
            {named(words.value.mesh.moveReasons, reason)}
            {group.length > 1 && ` ×${group.length}`}
          </text>
        )
      })}
    </g>
  )
}
