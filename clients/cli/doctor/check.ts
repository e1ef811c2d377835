/** What a check of `skein doctor` is, and how all of them are run: together, each in a time of its own. */
import { asSkeinError, SkeinError } from '../../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../../mesh/runtime/index.ts'

export type Verdict = 'ok' | 'warning' | 'failure' | 'skipped'

export interface Finding {
  readonly check: string
  readonly verdict: Verdict
  /** What was found; of a check that was skipped, why. */
  readonly detail: string
  /** What to do about it: a command where there is one. Absent when all is well. */
  readonly next?: string
}

export interface Check {
  readonly name: string
  /** In ms; then the check has failed to say anything. */
  readonly withinMs: number
  readonly run: (signal: AbortSignal) => Promise<readonly Finding[]>
}

export const ok = (check: string, detail: string): Finding => ({ check, verdict: 'ok', detail })
export const skipped = (check: string, detail: string): Finding => ({ check, verdict: 'skipped', detail })
export const warning = (check: string, detail: string, next: string): Finding => ({
  check,
  verdict: 'warning',
  detail,
  next,
})
export const failure = (check: string, detail: string, next: string): Finding => ({
  check,
  verdict: 'failure',
  detail,
  next,
})

/** Runs all checks at the same time; findings come in the order of the checks. Never rejects. */
export async function runChecks(checks: readonly Check[], clock: Clock): Promise<Finding[]> {
  return (await Promise.all(checks.map((check) => runCheck(check, clock)))).flat()
}

async function runCheck({ name, withinMs, run }: Check, clock: Clock): Promise<readonly Finding[]> {
  const late = new SkeinError('INTERNAL', `no answer within ${withinMs / 1000} s`)
  try {
    // a check that does not look at its signal is not waited for either
    return await withDeadline(
      clock,
      withinMs,
      () => late,
      undefined,
      (signal) => Promise.race([run(signal), whenAborted(signal)]),
    )
  } catch (thrown) {
    if (thrown === late) return [warning(name, late.message, 'try again when the machine has less to do')]
    return [failure(name, asSkeinError(thrown).message, 'this is unexpected: tell its makers, with SKEIN_DEBUG=1')]
  }
}

const whenAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
  )
