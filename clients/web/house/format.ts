/** Values, amounts and times as the pages of the house write them. */
import { format, words } from '../words/index.ts'
import { unitText, type DeviceValue } from './devices-model.ts'

/** Texts of boards are short; what is longer is cut. */
const TEXT_SHOWN = 48

const decimals = (value: number): number => (Math.abs(value) < 10 ? 2 : Math.abs(value) < 1000 ? 1 : 0)

export const numberText = (value: number): string => format.number(value, { maximumFractionDigits: decimals(value) })

export function valueText(value: DeviceValue, unit?: string): string {
  const { on, off } = words.value.devices
  if (typeof value === 'boolean') return value ? on : off
  if (typeof value === 'string') return value.length > TEXT_SHOWN ? `${value.slice(0, TEXT_SHOWN)}…` : value
  if (unit === undefined) return numberText(value)
  return unit === '%' ? `${numberText(value)}\u202f%` : `${numberText(value)}\u00a0${unitText(unit)}`
}

/** Of millionths of the owner's currency. */
export const amountText = (micros: number): string => format.amount(micros)

/** A clock that is ahead has measured nothing in the future. */
export const agoText = (atMs: number, nowMs: number): string => format.relative(Math.min(atMs, nowMs), nowMs)

const WH_JOULES = 3600
const KWH_JOULES = 3_600_000

export function energyText(joules: number): string {
  if (joules < WH_JOULES) return `${numberText(joules)}\u00a0J`
  if (joules < KWH_JOULES) return `${numberText(joules / WH_JOULES)}\u00a0Wh`
  return `${numberText(joules / KWH_JOULES)}\u00a0kWh`
}

/** A day of UTC, such as `2026-01-31`. */
export function dayText(day: string): string {
  const atMs = Date.parse(`${day}T12:00:00Z`)
  return Number.isNaN(atMs) ? day : format.date(atMs)
}

/** What is left of a time, to the second: `9:05`. */
export function leftText(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000))
  if (seconds >= 3600) return format.duration(seconds * 1000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}
