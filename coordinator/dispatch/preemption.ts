/** Whose slot is taken for a more urgent task that waits for one. */
import { PRIORITIES, type Priority } from '../ledger/index.ts'
import type { TaskRun } from './task-run.ts'
import type { Waiter } from './waiting-line.ts'
import type { Place } from './placement.ts'

const rank = (priority: Priority): number => PRIORITIES.indexOf(priority)

/**
 * Of the runs of class `below` or a less urgent one whose slot `waiter` could use: one of the least urgent class, and there
 * the one that has the least to be prefilled again.
 */
export function victimOf(runs: Iterable<TaskRun>, waiter: Waiter<Place>, below: Priority): TaskRun | undefined {
  let victim: TaskRun | undefined
  for (const run of runs) {
    const { spec, answer } = run.task
    const isOutranked = rank(spec.priority) >= rank(below)
    if (!run.current || run.isMoving || spec.digest !== waiter.digest || !isOutranked) continue
    if (!waiter.mayUse(run.current.node)) continue
    const isLower = victim === undefined || rank(spec.priority) > rank(victim.task.spec.priority)
    const isAsLow = victim !== undefined && spec.priority === victim.task.spec.priority
    if (isLower || (isAsLow && answer.length < victim!.task.answer.length)) victim = run
  }
  return victim
}
