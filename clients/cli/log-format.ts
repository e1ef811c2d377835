/** Lines of a log as people read them. What a line says is shown as text: nothing in it reaches the terminal as a command. */
import { printable } from './printable.ts'
import type { Output, Style } from './output.ts'

const LEVELS = { trace: 10, debug: 20, info: 30, warn: 40, error: 50 } as const
export type ShownLevel = keyof typeof LEVELS
export const SHOWN_LEVELS = Object.keys(LEVELS) as ShownLevel[]

const STYLES: Readonly<Record<ShownLevel, Style>> = {
  trace: 'dim',
  debug: 'dim',
  info: 'green',
  warn: 'yellow',
  error: 'red',
}
/** Told by name, so that a line of other fields is not taken for one of ours. */
const OWN_FIELDS = new Set(['level', 'time', 'scope', 'msg'])

export interface LogLine {
  /** The line itself. */
  readonly text: string
  /** Absent when it is no line of a log of Skein. */
  readonly entry: LogEntry | undefined
}

export interface LogEntry {
  readonly level: number
  /** Wall clock in ms since 1970. */
  readonly atMs: number
  readonly scope: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

export interface LogFilter {
  readonly level?: ShownLevel
  /** Wall clock in ms since 1970. */
  readonly sinceMs?: number
  /** Text that the line has, in whatever case. */
  readonly grep?: string
}

export function parseLogLine(text: string): LogLine {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { text, entry: undefined }
  }
  if (typeof value !== 'object' || value === null) return { text, entry: undefined }
  const { level, time, scope, msg } = value as Record<string, unknown>
  const atMs = typeof time === 'string' ? Date.parse(time) : Number.NaN
  if (typeof level !== 'number' || Number.isNaN(atMs)) return { text, entry: undefined }
  const fields = Object.fromEntries(Object.entries(value).filter(([name]) => !OWN_FIELDS.has(name)))
  return { text, entry: { level, atMs, scope: textOf(scope), message: textOf(msg), fields } }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/** Whether `line` is to be shown. A line that is none of ours has no level and no time: only `grep` judges it. */
export function isShown({ text, entry }: LogLine, { level, sinceMs, grep }: LogFilter): boolean {
  if (grep !== undefined && !text.toLowerCase().includes(grep.toLowerCase())) return false
  if (entry === undefined) return level === undefined && sinceMs === undefined
  if (level !== undefined && entry.level < LEVELS[level]) return false
  return sinceMs === undefined || entry.atMs >= sinceMs
}

/** `2027-01-15 09:26:40.123  warn   network  the message  key=value`, in local time. */
export function formatLogLine({ text, entry }: LogLine, paint: Output['paint']): string {
  if (entry === undefined) return printable(text)
  const level = SHOWN_LEVELS.findLast((each) => entry.level >= LEVELS[each]) ?? 'trace'
  const scope = entry.scope.replace(/^skein:?/, '')
  const fields = Object.entries(entry.fields).map(([name, value]) => `${name}=${valueOf(value)}`)
  const parts = [
    paint('dim', localTime(entry.atMs)),
    paint(STYLES[level], level.padEnd(5)),
    ...(scope === '' ? [] : [paint('cyan', printable(scope))]),
    ...[entry.message, ...fields].filter((part) => part !== '').map(printable),
  ]
  return parts.join('  ')
}

/** An error by its code and message; what else is no text, as JSON. */
function valueOf(value: unknown): string {
  if (typeof value === 'string') return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
  if (typeof value === 'object' && value !== null && 'message' in value && typeof value.message === 'string') {
    const code = 'code' in value && typeof value.code === 'string' ? `${value.code}: ` : ''
    return JSON.stringify(code + value.message)
  }
  return JSON.stringify(value) ?? ''
}

function localTime(atMs: number): string {
  const date = new Date(atMs)
  const two = (value: number): string => String(value).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  return `${day} ${time}.${String(date.getMilliseconds()).padStart(3, '0')}`
}
