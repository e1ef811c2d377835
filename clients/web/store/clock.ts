/**
 * Hybrid logical time: wall time while clocks are good, a counter where they are not. A stamp is later than all that its
 * device has seen, so that what a person writes after reading wins over what was read, whatever the clocks say.
 */
import type { Stamp } from './types.ts'

/** The last moment that a stamp can name: the end of the year 9999. */
const LAST_MS = 253_402_300_799_999
const MS_DIGITS = 12
const COUNT_DIGITS = 4
const COUNT_MAX = 0xffff
const FORM = /^[0-9a-f]{12}-[0-9a-f]{4}-[0-9a-f]{16}$/

export const DEVICE_ID = /^[0-9a-f]{16}$/

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

const stamp = (ms: number, count: number, device: string): Stamp =>
  `${hex(ms, MS_DIGITS)}-${hex(count, COUNT_DIGITS)}-${device}`

/** Wall time of a stamp in ms since 1970, as its device saw it. */
export const msOf = (at: Stamp): number => Number.parseInt(at.slice(0, MS_DIGITS), 16)

const countOf = (at: Stamp): number => Number.parseInt(at.slice(MS_DIGITS + 1, MS_DIGITS + 1 + COUNT_DIGITS), 16)

export const isStamp = (value: unknown): value is Stamp =>
  typeof value === 'string' && FORM.test(value) && msOf(value) <= LAST_MS

/** Earlier than any other. */
export const NEVER: Stamp = stamp(0, 0, '0'.repeat(16))

/** A stamp of `device` behind `last`, the latest that it has made or seen. */
export function nextStamp(last: Stamp, wallMs: number, device: string): Stamp {
  const lastMs = msOf(last)
  const now = Math.min(LAST_MS, Math.max(0, Math.trunc(wallMs)))
  if (now > lastMs) return stamp(now, 0, device)
  const count = countOf(last) + 1
  // at the very end of time the counter stands still rather than running over: then the device's id decides
  if (count > COUNT_MAX) return stamp(Math.min(LAST_MS, lastMs + 1), lastMs < LAST_MS ? 0 : COUNT_MAX, device)
  return stamp(lastMs, count, device)
}

export const later = (a: Stamp, b: Stamp): Stamp => (a > b ? a : b)
