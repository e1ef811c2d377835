/** What a rule knows of one device, and what a reading, or time, makes of that. Pure: the dry run is the same. */
import type { DeviceValue } from '../../mesh/protocol/index.ts'
import type { Rule } from './rules-file.ts'

export interface RuleState {
  /** The number is beyond the bound, and has not come back. */
  readonly isBeyond: boolean
  /** The newest value, of a rule that waits for one to change. */
  readonly label?: DeviceValue
  /** Wall clock in ms: when it was acted, or asked, in the last hour, and the newest time before. Oldest first. */
  readonly fires: readonly number[]
}

export const NEW_STATE: RuleState = { isBeyond: false, fires: [] }

const HOUR_MS = 3_600_000

/** What a reading of the rule's capability makes of `state`, and whether the rule has been waiting for that. */
export function afterReading(
  { when }: Rule,
  state: RuleState,
  value: DeviceValue,
): { readonly state: RuleState; readonly isMet: boolean } {
  const { above, below, becomes } = when
  if (becomes !== undefined) {
    if (value === state.label) return { state, isMet: false }
    return { state: { ...state, label: value }, isMet: typeof value !== 'number' && becomes.includes(value) }
  }
  if (typeof value === 'string') return { state, isMet: false }
  const number = Number(value)
  const bound = state.isBeyond ? (when.back ?? above ?? below!) : (above ?? below!)
  const isBeyond = above !== undefined ? number > bound : number < bound
  if (isBeyond === state.isBeyond) return { state, isMet: false }
  return { state: { ...state, isBeyond }, isMet: isBeyond }
}

/** Whether a rule that acts at times is due. `sinceMs`: since when it is there. */
export const isDue = ({ when }: Rule, { fires }: RuleState, sinceMs: number, nowMs: number): boolean =>
  // a clock that went back holds nothing up
  when.every !== undefined && nowMs - Math.min(fires.at(-1) ?? sinceMs, nowMs) >= when.every * 1000

/** Why the rule does nothing now, though it has been waiting for this. */
export function heldBack({ cooldown, per_hour: perHour }: Rule, state: RuleState, nowMs: number): HeldBack | undefined {
  const fires = state.fires.map((atMs) => Math.min(atMs, nowMs))
  if (fires.length > 0 && nowMs - fires.at(-1)! < cooldown * 1000) return 'cooldown'
  return fires.filter((atMs) => nowMs - atMs < HOUR_MS).length >= perHour ? 'per_hour' : undefined
}
export type HeldBack = 'cooldown' | 'per_hour'

/** It acts, or asks, now. */
export function fired({ per_hour: perHour }: Rule, state: RuleState, nowMs: number): RuleState {
  const recent = state.fires.filter((atMs) => nowMs - atMs < HOUR_MS)
  return { ...state, fires: [...recent, nowMs].slice(-perHour) }
}
