/**
 * Filters: may this node take this task now? Asked in the order below, and the first reason is what people are told, so
 * that what lasts longest comes first. Pure, and none fails open. One function instead of a table of predicates: it runs
 * for every node of the mesh on every plan.
 */
import { exclusionKey, type NodeSnapshot, type Rejection, type TaskDemand } from './types.ts'

/** The first reason against `node`, or `undefined` when it is feasible. */
export function rejectionOf(node: NodeSnapshot, demand: TaskDemand): Rejection | undefined {
  const model = node.models.get(demand.digest)
  if (model === undefined) return 'no such model'
  if (!node.isConnected) return 'not connected'
  if (node.isDraining) return 'draining'
  if (demand.prefillTokensMin >= model.capability.contextTokens) return 'context too small'
  if (demand.excluded.size > 0 && demand.excluded.has(exclusionKey(node))) return 'failed this task'
  if (node.isSuspect) return 'suspect'
  if (model.running >= model.capability.slots) return 'no free slot'
  return undefined
}
