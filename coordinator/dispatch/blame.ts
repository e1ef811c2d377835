/** What an attempt that failed says of its node: it is asked less, by this task and by others. */
import type { SkeinError } from '../../mesh/protocol/index.ts'
import type { Attempt } from './attempt.ts'
import { isFaultOfNode } from './outcomes.ts'
import type { RunComponents } from './run-components.ts'

/** A node that failed a task is left out of its next plans for this long, doubled with each attempt up to the bound. */
const EXCLUSION_MS = 1000
const EXCLUSION_MS_MAX = 8000

type BlameComponents = Pick<RunComponents, 'clock' | 'directory' | 'planner'>

/** Of the attempt that the answer came from. */
export function blameNode(components: BlameComponents, attempt: Attempt, error: SkeinError): void {
  const { clock, directory, planner } = components
  const { task } = attempt.init
  planner.leaving.refused('node', error.code, attempt)
  const entry = directory.entry(attempt.node.peerId)
  const isServed = error.code !== 'NOT_SERVED'
  const isCircle = error.code === 'HOPS_EXCEEDED'
  task.circle = isCircle && task.answer.length === 0 ? error : undefined
  // a circle says nothing of what others make of the task
  if (attempt.delivered === 0 && isServed && !isCircle) task.fruitless++
  if (error.code === 'NO_FREE_SLOT') return entry?.markFull(task.spec.digest, clock.nowMs())
  // by the end of it the node's new record says whom it serves
  const forMs = isServed ? Math.min(EXCLUSION_MS * 2 ** task.fruitless, EXCLUSION_MS_MAX) : EXCLUSION_MS_MAX
  task.exclude(attempt.node, error.row.retryable ? clock.nowMs() + forMs : Number.POSITIVE_INFINITY)
  if (isFaultOfNode(error)) entry?.addFailure(clock.nowMs())
}

/** Of the target of a planned move. */
export function blameTarget({ clock, directory }: BlameComponents, target: Attempt, error: SkeinError): void {
  const { task } = target.init
  const entry = directory.entry(target.node.peerId)
  task.exclude(target.node, clock.nowMs() + EXCLUSION_MS)
  if (error.code === 'NO_FREE_SLOT') entry?.markFull(task.spec.digest, clock.nowMs())
  if (isTargetAtFault(error)) entry?.addFailure(clock.nowMs())
}

export const isTargetAtFault = (error: SkeinError): boolean => error.row.blame === 'node' && isFaultOfNode(error)
