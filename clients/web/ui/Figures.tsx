import type { ComponentChildren } from 'preact'
import { Icon } from './Icon.tsx'
import type { IconName } from './icons.ts'

export type Tone = 'neutral' | 'accent' | 'good' | 'warning' | 'danger' | 'info'

export interface BadgeProps {
  readonly tone?: Tone
  readonly icon?: IconName
  /** A dot before the text: a state. */
  readonly hasDot?: boolean
  readonly title?: string
  readonly children: ComponentChildren
}

/** A word or two that say what something is. Never by its colour alone. */
export function Badge({ tone = 'neutral', icon, hasDot = false, title, children }: BadgeProps) {
  return (
    <span class={`ui-badge ui-tone-${tone}`} title={title}>
      {hasDot && <span class="ui-dot" aria-hidden="true" />}
      {icon !== undefined && <Icon name={icon} size={13} />}
      {children}
    </span>
  )
}

export interface MeterProps {
  readonly label: string
  readonly value: number
  /** 1 when absent. */
  readonly max?: number
  /** Of the value, such as `6.2 of 8 GB`. */
  readonly text?: string
  readonly tone?: Tone
  /** The label and text for readers of screens alone. */
  readonly isBare?: boolean
}

const shareOf = (value: number, max: number): number => (max > 0 ? Math.min(1, Math.max(0, value / max)) : 0)

/** How full something is. */
export function Meter({ label, value, max = 1, text, tone = 'accent', isBare = false }: MeterProps) {
  const share = shareOf(value, max)
  return (
    <div class={`ui-meter ui-tone-${tone}`}>
      {!isBare && (
        <div class="ui-meter-head" aria-hidden="true">
          <span>{label}</span>
          {text !== undefined && <span class="ui-meter-text">{text}</span>}
        </div>
      )}
      <div
        class="ui-meter-track"
        role="meter"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={max}
        aria-valuenow={Math.min(max, Math.max(0, value))}
        aria-valuetext={text}
      >
        <div class="ui-meter-fill" style={{ transform: `scaleX(${share})` }} />
      </div>
    </div>
  )
}

export interface ProgressProps {
  readonly label: string
  /** `undefined` where nobody knows how far it is. */
  readonly value?: number | undefined
  /** 1 when absent. */
  readonly max?: number
  readonly text?: string
}

/** How far something is. */
export function Progress({ label, value, max = 1, text }: ProgressProps) {
  return (
    <div class="ui-meter ui-tone-accent">
      <div class="ui-meter-head" aria-hidden="true">
        <span>{label}</span>
        {text !== undefined && <span class="ui-meter-text">{text}</span>}
      </div>
      <div
        class={value === undefined ? 'ui-meter-track ui-meter-unknown' : 'ui-meter-track'}
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={max}
        aria-valuenow={value}
        aria-valuetext={text}
      >
        <div class="ui-meter-fill" style={value === undefined ? {} : { transform: `scaleX(${shareOf(value, max)})` }} />
      </div>
    </div>
  )
}

export interface SparklineProps {
  /** What the line is of, with its last value, for readers of screens. */
  readonly label: string
  /** Oldest first; at least two are a line. */
  readonly values: readonly number[]
  /** The ends of the scale; those of the values when absent. */
  readonly min?: number
  readonly max?: number
  /** In CSS pixels; 96 by 24 when absent. */
  readonly width?: number
  readonly height?: number
}

/** The course of a value, small enough for a line of text. */
export function Sparkline({ label, values, min, max, width = 96, height = 24 }: SparklineProps) {
  const path = sparkPath(values, { width, height, min, max })
  return (
    <svg
      class="ui-sparkline"
      role="img"
      aria-label={label}
      viewBox={`0 0 ${width} ${height}`}
      width={width}
      height={height}
    >
      {path !== '' && <path class="ui-sparkline-area" d={`${path}V${height}H1Z`} />}
      {path !== '' && <path class="ui-sparkline-line" d={path} />}
    </svg>
  )
}

interface Scale {
  readonly width: number
  readonly height: number
  readonly min?: number | undefined
  readonly max?: number | undefined
}

/** The line as SVG's `d`; empty where there is none. What is no number is passed over. */
export function sparkPath(values: readonly number[], { width, height, min, max }: Scale): string {
  const shown = values.filter(Number.isFinite)
  if (shown.length < 2) return ''
  const low = min ?? shown.reduce((a, b) => Math.min(a, b))
  const high = max ?? shown.reduce((a, b) => Math.max(a, b))
  const spread = high - low
  const y = (value: number): number =>
    spread === 0 ? height / 2 : 1 + (height - 2) * (1 - shareOf(value - low, spread))
  const x = (index: number): number => 1 + ((width - 2) * index) / (shown.length - 1)
  return shown.map((value, i) => `${i === 0 ? 'M' : 'L'}${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join('')
}

export interface StatProps {
  readonly label: string
  readonly value: ComponentChildren
  readonly unit?: string
  readonly detail?: ComponentChildren
}

/** One figure that matters. */
export function Stat({ label, value, unit, detail }: StatProps) {
  return (
    <div class="ui-stat">
      <div class="ui-stat-label">{label}</div>
      <div class="ui-stat-value">
        {value}
        {unit !== undefined && <span class="ui-stat-unit"> {unit}</span>}
      </div>
      {detail !== undefined && <div class="ui-stat-detail">{detail}</div>}
    </div>
  )
}
