/**
 * What people and scripts see. stdout is the answer alone; everything else goes to stderr. Colours only on a terminal
 * that wants them (https://no-color.org).
 */
import { styleText } from 'node:util'
import type { LoadReport, ModelEnergy } from '../../mesh/protocol/index.ts'

export type Style = Parameters<typeof styleText>[0]

export interface Output {
  readonly json: boolean
  /** The answer: text as it is. */
  answer(text: string): void
  /** A line of the answer. */
  line(text: string): void
  /** One JSON value on a line of its own. */
  value(value: unknown): void
  /** Progress and remarks, for people; silent under `--json`. */
  note(text: string): void
  /** Text beside the answer, as it comes: dimmed on a terminal; silent under `--json`. */
  aside(text: string): void
  /** Text in `style`, on a terminal. */
  paint(style: Style, text: string): string
}

export interface OutputStreams {
  readonly stdout: NodeJS.WritableStream & { isTTY?: boolean }
  readonly stderr: NodeJS.WritableStream & { isTTY?: boolean }
}

export function createOutput(json: boolean, streams: OutputStreams = process): Output {
  const coloured = streams.stdout.isTTY === true && process.env['NO_COLOR'] === undefined
  const dims = streams.stderr.isTTY === true && process.env['NO_COLOR'] === undefined
  return {
    json,
    answer: (text) => void streams.stdout.write(text),
    line: (text) => void streams.stdout.write(`${text}\n`),
    value: (value) => void streams.stdout.write(`${JSON.stringify(value)}\n`),
    note: (text) => {
      if (!json) streams.stderr.write(`${text}\n`)
    },
    aside: (text) => {
      if (!json) streams.stderr.write(dims ? styleText('dim', text, { validateStream: false }) : text)
    },
    paint: (style, text) => (coloured ? styleText(style, text) : text),
  }
}

/** Columns padded to their widest cell; the first row is the heading. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)))
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** `1.2 GiB`, `340 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** `0.85 J/token`, `12 J/token (estimated)`; `-` where nothing is known. */
export function formatEnergy(energy: ModelEnergy | undefined): string {
  if (energy === undefined) return '-'
  const { joulesPerToken, source } = energy
  const told =
    source === 'estimated' || source === 'owner' ? ` (${source === 'owner' ? 'as its owner says' : source})` : ''
  return `${Number(joulesPerToken.toPrecision(2))} J/token${told}`
}

/** `61 °C, 38 W`; `-` where the machine tells neither. */
export function formatSensed({ temperatureCelsius, watts }: Pick<LoadReport, 'temperatureCelsius' | 'watts'>): string {
  const parts = [
    ...(temperatureCelsius === undefined ? [] : [`${temperatureCelsius} °C`]),
    ...(watts === undefined ? [] : [`${watts} W`]),
  ]
  return parts.join(', ') || '-'
}

/** `3 s`, `2 min`, `5 h`, `12 d`. */
export function formatDuration(ms: number): string {
  const steps: readonly [number, string][] = [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'min'],
    [1000, 's'],
  ]
  for (const [size, name] of steps) if (Math.abs(ms) >= size) return `${Math.floor(ms / size)} ${name}`
  return `${Math.max(0, Math.round(ms))} ms`
}

const DURATION_UNITS: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Milliseconds of `90s`, `15m`, `24h`, `7d`; `undefined` when it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,6})\s*(s|m|min|h|d)$/.exec(text)
  return match ? Number(match[1]) * DURATION_UNITS[match[2]!]! : undefined
}
