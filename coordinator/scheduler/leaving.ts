/**
 * When a task leaves the owner's nodes. Pure. Their nodes are planned first; what came of that, and what the task may leave
 * for, says whether cloud nodes are planned at all.
 */
import type { CloudReason } from '../../mesh/protocol/index.ts'
import type { LeaveDemand, Prediction, Rejection, TaskDemand } from './types.ts'

/**
 * An answer that has begun waits this long for a node of the owner's before it goes on elsewhere: after a blip of its
 * connection the same node goes on with it, at no cost, and one that has failed is tried again.
 */
export const LOST_GRACE_MS = 750

/** What planning among the owner's nodes has come to. */
export interface HomeOutlook {
  /** Of the node that it would run on, or wait for; absent when none may take it. */
  readonly prediction: Prediction | undefined
  /** It would start there at once. */
  readonly isFree: boolean
  /** Why nodes may not take it; asked for where none may. */
  readonly rejected: () => Iterable<{ readonly why: Rejection }>
}

/** What does not pass by itself, however long it is waited for. */
const LASTING: ReadonlySet<Rejection> = new Set(['no such model', 'no such feature', 'context too small'])

/** Why the task would leave, whether its owner takes that reason or not; `undefined` when it has none to. */
export function reasonToLeave(
  demand: TaskDemand,
  leave: LeaveDemand,
  { prediction, isFree, rejected }: HomeOutlook,
): CloudReason | undefined {
  if (leave.isUnsure) return 'low-confidence'
  if (leave.isNamed) return 'name'
  if (prediction !== undefined) return isInTime(prediction, isFree, leave) ? undefined : 'deadline'
  let isLasting = true
  for (const { why } of rejected()) {
    // a move waits for no slot, and an answer that has a place needs none in the cloud
    if (why === 'no free slot') return undefined
    isLasting &&= LASTING.has(why)
  }
  // also an answer that has begun: its node may have been the only one that could hold it
  if (leave.hasBegun) return isGone(demand) ? (leave.earlier ?? 'lost') : undefined
  return isLasting ? 'too-big' : 'deadline'
}

/** A planned move is made because its node leaves; all others wait a little. */
const isGone = ({ leaving, waitedMs = 0 }: TaskDemand): boolean => leaving !== undefined || waitedMs >= LOST_GRACE_MS

function isInTime(prediction: Prediction, isFree: boolean, { leftMs, waitLeftMs, aheadMs }: LeaveDemand): boolean {
  const waitMs = isFree ? 0 : Math.max(prediction.waitMs, aheadMs)
  return waitMs <= waitLeftMs && waitMs - prediction.waitMs + endMs(prediction) <= leftMs
}

/** Predicted ms to the end: what a node is worth less for is no time. */
export const endMs = ({ totalMs, penaltyMs }: Prediction): number => totalMs - penaltyMs
