/**
 * All conditions together. A condition that was sensed and went away keeps the node closed for `reopen_after`: a machine
 * whose owner types a word a minute would otherwise hand its answers to and fro. Pure: what was before comes in.
 */
import { LIMITS } from '../../mesh/protocol/index.ts'
import { CONDITIONS, type Facts } from './conditions.ts'
import type { PolicySettings } from './settings.ts'

/** Why the node is closed, by one condition. */
export interface Closure {
  readonly condition: string
  readonly reason: string
  readonly untilMs?: number
  readonly finishes: boolean
  /** Monotonic; when the condition was seen to hold last. */
  readonly seenAtMs: number
}

export interface Verdict {
  /** None: the node serves. */
  readonly closures: readonly Closure[]
  /** What was asked for and this machine does not tell. */
  readonly unknown: readonly string[]
}

export const SERVES: Verdict = { closures: [], unknown: [] }

/** @param nowMs monotonic. */
export function judge(settings: PolicySettings, facts: Facts, before: Verdict, nowMs: number): Verdict {
  const closures: Closure[] = []
  const unknown: string[] = []
  for (const { name, isSensed, senses, judge: find } of CONDITIONS) {
    const last = before.closures.find(({ condition }) => condition === name)
    const finding = find(settings, facts, last !== undefined)
    if (finding.state === 'unknown') unknown.push(finding.what)
    if (finding.state === 'closing') {
      const { reason, untilMs, finishes = false } = finding
      closures.push({
        condition: name,
        reason,
        ...(untilMs !== undefined && { untilMs }),
        finishes,
        seenAtMs: nowMs,
      })
    } else if (finding.state === 'unknown' && settings.whenUnknown === 'pause') {
      closures.push({ condition: name, reason: `${finding.what} is not known`, finishes: false, seenAtMs: nowMs })
    } else if (last && isSensed && senses(settings).length > 0 && nowMs - last.seenAtMs < settings.reopenAfterMs) {
      closures.push(last)
    }
  }
  return { closures, unknown }
}

/** Whether running answers are to go elsewhere: they may end here only when nothing asks for more than that. */
export const handsOver = ({ closures }: Verdict): boolean => closures.some(({ finishes }) => !finishes)

/** For people; `undefined` when the node serves. */
export const reasonOf = ({ closures }: Verdict): string | undefined =>
  closures.length === 0
    ? undefined
    : closures
        .map(({ reason }) => reason)
        .join('; ')
        .slice(0, LIMITS.pauseReasonLengthMax)
