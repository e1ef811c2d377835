/** What was expected of an attempt beside what was observed. Pure. */
import type { ExplainedAttempt } from './types.ts'

export interface Comparison {
  readonly what: 'accepted' | 'firstToken' | 'decode' | 'total'
  /** In ms. */
  readonly predictedMs?: number
  readonly observedMs?: number
}

export function compared({ predicted, observed, atMs, endedAtMs }: ExplainedAttempt): Comparison[] {
  // a penalty is no time that passes
  const firstTokenMs = predicted && predicted.waitMs + predicted.loadMs + predicted.linkMs + predicted.prefillMs
  const totalMs = predicted && firstTokenMs! + predicted.decodeMs
  const rows: readonly [Comparison['what'], number | undefined, number | undefined][] = [
    ['accepted', undefined, observed['acceptMs']],
    ['firstToken', firstTokenMs, observed['firstTokenMs']],
    ['decode', predicted?.decodeMs, observed['decodeMs']],
    ['total', totalMs, endedAtMs === undefined ? undefined : Math.max(0, endedAtMs - atMs)],
  ]
  return rows
    .filter(([, predictedMs, observedMs]) => predictedMs !== undefined || observedMs !== undefined)
    .map(([what, predictedMs, observedMs]) => ({
      what,
      ...(predictedMs !== undefined && { predictedMs }),
      ...(observedMs !== undefined && { observedMs }),
    }))
}
