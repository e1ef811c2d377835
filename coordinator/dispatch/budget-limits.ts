/** What becomes of a task that only nodes with a price could take, and for which less is left than it may cost. */
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import type { Budget, Short } from './budget.ts'
import type { Task } from './task.ts'

/** The owner's choice, as far as it can be followed. */
export type AtBudget =
  | { readonly kind: 'refuse'; readonly error: SkeinError }
  /** Until money comes free or the period turns, for which `turnsInMs` is told where that is before the deadline. */
  | { readonly kind: 'wait'; readonly error: SkeinError; readonly turnsInMs?: number }
  /** The model of that name answers, at the owner's nodes. */
  | { readonly kind: 'local'; readonly error: SkeinError; readonly model: string }

/** Of tasks for which less was left than they might cost, what became of them. Plain numbers for the metrics. */
export type ShortCounts = Record<AtBudget['kind'], number>

/** While money is set aside that may come back, it is asked again so soon, in s. */
const SOON_S = 10

/** Changes nothing. */
export function atBudget(components: { clock: Clock; budget: Budget }, task: Task, short: Short): AtBudget {
  const { clock, budget } = components
  const { tenant } = task.spec
  const wallMs = clock.wallMs()
  const turnsInMs = Math.max(0, short.turnsAtMs - wallMs)
  const leftMs = task.deadlineMs - clock.nowMs()
  const mayComeFree = budget.mayComeFree(tenant, short.neededMicros, wallMs + leftMs)
  const error = shortError(short, turnsInMs, mayComeFree)
  const { atLimit, localModel } = budget.choiceFor(tenant)
  if (atLimit === 'wait' && mayComeFree) return { kind: 'wait', error, ...(turnsInMs < leftMs && { turnsInMs }) }
  if (atLimit === 'local' && localModel !== undefined) return { kind: 'local', error, model: localModel }
  return { kind: 'refuse', error }
}

/** Which limit it is, what is left of it, and when it turns. */
function shortError(short: Short, turnsInMs: number, mayComeFree: boolean): SkeinError {
  const { period, tenant, limitMicros, leftMicros, neededMicros, turnsAtMs, isUnset } = short
  const only = 'only nodes with a price could take it now'
  if (isUnset)
    return new SkeinError(
      'BUDGET_EXCEEDED',
      `${only}, and no budget is set: nothing may be spent (its owner sets one: skein budget set --day N)`,
    )
  const whose = tenant === undefined ? '' : ' of this key'
  const turns = new Date(turnsAtMs).toISOString().slice(0, 16)
  const turnSeconds = Math.max(1, Math.ceil(turnsInMs / 1000))
  return new SkeinError(
    'BUDGET_EXCEEDED',
    `${only}; it may cost ${unitsText(neededMicros)}, and of the budget of the ${period}${whose}, ` +
      `${unitsText(limitMicros)}, ${unitsText(leftMicros)} is left; the next ${period} begins at ${turns}Z`,
    { retryAfterSeconds: mayComeFree ? Math.min(SOON_S, turnSeconds) : turnSeconds },
  )
}

/** In units of the owner's currency, with all digits that say something. */
export function unitsText(micros: number): string {
  const rest = String(micros % 1e6).padStart(6, '0')
  return `${Math.floor(micros / 1e6)}.${rest.slice(0, 2)}${rest.slice(2).replace(/0+$/, '')}`
}
