/**
 * Weekly windows on the clock of a wall: weekday and minute as people there read them. Nothing is reckoned in lengths of
 * days, so that a day of 23 or 25 hours needs no rule of its own: an hour that is skipped is never reached, one that comes
 * twice counts twice.
 */

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const
const DAY_MINUTES = 24 * 60
const WEEK_MINUTES = 7 * DAY_MINUTES
const MINUTE_MS = 60_000

/** On each of `days` (0 is Sunday) from `start` to `end`, in minutes after midnight; `end` is above 1440 on the next day. */
export interface Window {
  readonly days: readonly number[]
  readonly start: number
  readonly end: number
}

/** What a clock on the wall shows. */
export interface LocalTime {
  /** Such as `2026-11-21`. */
  readonly date: string
  /** 0 is Sunday. */
  readonly weekday: number
  /** Minutes after midnight, on the clock. */
  readonly minute: number
}

/** `mon-fri 18:00-08:00`, `sat,sun 00:00-24:00`, `22:00-06:00` (every day); `undefined` when it is none. */
export function parseWindow(text: string): Window | undefined {
  const match = /^(?:([a-z,-]+) +)?(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})$/.exec(text.trim().toLowerCase())
  if (!match) return undefined
  const days = match[1] === undefined ? DAYS.map((_, i) => i) : parseDays(match[1])
  const start = minuteOf(match[2]!, match[3]!)
  const end = minuteOf(match[4]!, match[5]!)
  // One that ends as it begins may mean a whole day or nothing.
  if (days === undefined || start === undefined || end === undefined || start === DAY_MINUTES || start === end)
    return undefined
  return { days, start, end: end > start ? end : end + DAY_MINUTES }
}

/** `mon-fri`, `sat,sun`, `fri-mon,wed`. */
function parseDays(text: string): number[] | undefined {
  const days = new Set<number>()
  for (const part of text.split(',')) {
    const [first, last = first, ...more] = part.split('-').map((name) => DAYS.indexOf(name as never))
    if (first === undefined || last === undefined || first < 0 || last < 0 || more.length > 0) return undefined
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day)
      if (day === last) break
    }
  }
  return [...days].sort((a, b) => a - b)
}

function minuteOf(hours: string, minutes: string): number | undefined {
  const minute = Number(hours) * 60 + Number(minutes)
  return Number(minutes) < 60 && minute <= DAY_MINUTES ? minute : undefined
}

export function isWithin(windows: readonly Window[], { weekday, minute }: Omit<LocalTime, 'date'>): boolean {
  const yesterday = (weekday + 6) % 7
  return windows.some(
    ({ days, start, end }) =>
      (days.includes(weekday) && minute >= start && minute < end) ||
      (days.includes(yesterday) && minute + DAY_MINUTES < end),
  )
}

const formats = new Map<string, Intl.DateTimeFormat>()

/** @param zone '' for that of the machine. */
function formatOf(zone: string): Intl.DateTimeFormat {
  let format = formats.get(zone)
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      ...(zone !== '' && { timeZone: zone }),
      hourCycle: 'h23',
      weekday: 'short',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
    })
    formats.set(zone, format)
  }
  return format
}

export function isZone(zone: string): boolean {
  try {
    formatOf(zone)
    return true
  } catch {
    return false
  }
}

/** The newest answer: asked for again with each token, and the same for a minute, since zones are whole minutes apart. */
let latest: { readonly zone: string; readonly minute: number; readonly time: LocalTime } | undefined

/** @param zone IANA name, '' for that of the machine. */
export function localTime(wallMs: number, zone: string): LocalTime {
  const minute = Math.floor(wallMs / MINUTE_MS)
  if (latest?.minute === minute && latest.zone === zone) return latest.time
  const time = localTimeAnew(wallMs, zone)
  latest = { zone, minute, time }
  return time
}

function localTimeAnew(wallMs: number, zone: string): LocalTime {
  const parts: Record<string, string> = {}
  for (const { type, value } of formatOf(zone).formatToParts(wallMs)) parts[type] = value
  return {
    date: `${parts['year']}-${parts['month']}-${parts['day']}`,
    weekday: DAYS.indexOf(parts['weekday']!.toLowerCase() as never),
    minute: Number(parts['hour']) * 60 + Number(parts['minute']),
  }
}

/** When the next window opens, in ms since 1970; `undefined` when none ever does. For people: right to the minute. */
export function nextOpening(windows: readonly Window[], wallMs: number, zone: string): number | undefined {
  const { weekday, minute } = localTime(wallMs, zone)
  for (let ahead = 1; ahead <= WEEK_MINUTES; ahead++) {
    const at = weekday * DAY_MINUTES + minute + ahead
    if (isWithin(windows, { weekday: Math.floor(at / DAY_MINUTES) % 7, minute: at % DAY_MINUTES }))
      return aheadOnClock(wallMs, zone, ahead)
  }
  return undefined
}

/** The next midnight, in ms since 1970. For people: right to the minute. */
export const nextMidnight = (wallMs: number, zone: string): number =>
  aheadOnClock(wallMs, zone, DAY_MINUTES - localTime(wallMs, zone).minute)

/** When the clock on the wall shows `minutes` more than now: clocks that are put forward or back on the way count. */
function aheadOnClock(wallMs: number, zone: string, minutes: number): number {
  const now = localTime(wallMs, zone)
  const guessMs = Math.floor(wallMs / MINUTE_MS) * MINUTE_MS + minutes * MINUTE_MS
  const then = localTime(guessMs, zone)
  const shown = then.weekday * DAY_MINUTES + then.minute
  const wanted = (now.weekday * DAY_MINUTES + now.minute + minutes) % WEEK_MINUTES
  const half = WEEK_MINUTES / 2
  const off = ((shown - wanted + half + WEEK_MINUTES) % WEEK_MINUTES) - half
  return guessMs - off * MINUTE_MS
}

/** `18:00`, or `mon 18:00` when that is another day than at `fromMs`. */
export function clockText(atMs: number, fromMs: number, zone: string): string {
  const { date, weekday, minute } = localTime(atMs, zone)
  const two = (value: number): string => String(value).padStart(2, '0')
  const time = `${two(Math.floor(minute / 60))}:${two(minute % 60)}`
  return date === localTime(fromMs, zone).date ? time : `${DAYS[weekday]} ${time}`
}
