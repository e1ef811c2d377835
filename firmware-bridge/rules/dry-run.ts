/** What rules would have done over readings that were recorded. No model is asked, and nothing acts. */
import type { DeviceValue } from '../../mesh/protocol/index.ts'
import { afterReading, fired, heldBack, isDue, NEW_STATE, type HeldBack, type RuleState } from './rule-state.ts'
import type { Rule, RuleAct } from './rules-file.ts'

export interface RecordedReading {
  readonly device: string
  readonly name: string
  readonly value: DeviceValue
  readonly atMs: number
}

export interface DryRunInit {
  /** Wall clock in ms. Rules begin there as if they knew nothing. */
  readonly sinceMs: number
  readonly untilMs: number
  /** In any order. */
  readonly readings: readonly RecordedReading[]
}

/** One time that a rule was met. */
export interface DryRunRow {
  readonly atMs: number
  readonly rule: string
  readonly device: string
  /** The reading; absent of a rule that acts at times. */
  readonly value?: DeviceValue
  /** What a model would have been asked first. */
  readonly question?: string
  /** What would have been set or run; with `on` where that is up to the model. */
  readonly acts: readonly RuleAct[]
  /** Why nothing would have been done. */
  readonly held?: HeldBack
}

export function dryRun(rules: readonly Rule[], { sinceMs, untilMs, readings }: DryRunInit): DryRunRow[] {
  const inTime = readings.filter(({ atMs }) => atMs >= sinceMs && atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)
  const rows = rules.flatMap((rule) => (rule.when.every === undefined ? overReadings(rule, inTime) : overTime(rule)))
  return rows.sort((a, b) => a.atMs - b.atMs)

  function overTime(rule: Rule): DryRunRow[] {
    const made: DryRunRow[] = []
    let state = NEW_STATE
    for (let atMs = sinceMs; atMs <= untilMs; atMs += rule.when.every! * 1000) {
      if (!isDue(rule, state, sinceMs, atMs)) continue
      const row = rowOf(rule, rule.device!, atMs, state)
      if (row.held === undefined) state = fired(rule, state, atMs)
      made.push(row)
    }
    return made
  }
}

function overReadings(rule: Rule, readings: readonly RecordedReading[]): DryRunRow[] {
  const states = new Map<string, RuleState>()
  return readings.flatMap(({ device, name, value, atMs }): DryRunRow[] => {
    if (rule.when.capability !== name || (rule.device ?? device) !== device) return []
    const { state, isMet } = afterReading(rule, states.get(device) ?? NEW_STATE, value)
    states.set(device, state)
    if (!isMet) return []
    const row = rowOf(rule, device, atMs, state)
    if (row.held === undefined) states.set(device, fired(rule, state, atMs))
    return [{ ...row, value }]
  })
}

function rowOf(rule: Rule, device: string, atMs: number, state: RuleState): DryRunRow {
  const held = heldBack(rule, state, atMs)
  const acts = rule.act.map((act) => ({
    ...act,
    device: act.device ?? device,
    ...(rule.ask && { on: act.on ?? 'yes' }),
  }))
  return {
    ...{ atMs, rule: rule.name, device, acts },
    ...(rule.ask && { question: rule.ask.question }),
    ...(held !== undefined && { held }),
  }
}
