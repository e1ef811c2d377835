/**
 * Filters, in the order in which they are asked: the first that rejects a node is what people are told, so what is most
 * lasting comes first. Each is a pure predicate; none fails open.
 */
import { exclusionKey, type ModelSnapshot, type NodeSnapshot, type Rejection, type TaskDemand } from './types.ts'

interface Filter {
  readonly rejection: Rejection
  readonly rejects: (node: NodeSnapshot, demand: TaskDemand) => boolean
}

export const FILTERS: readonly Filter[] = [
  { rejection: 'no such model', rejects: (node, demand) => !node.models.has(demand.digest) },
  { rejection: 'not connected', rejects: (node) => !node.isConnected },
  { rejection: 'draining', rejects: (node) => node.isDraining },
  {
    rejection: 'context too small',
    rejects: (node, demand) =>
      demand.prefillTokensMin >= (node.models.get(demand.digest)?.capability.contextTokens ?? 0),
  },
  { rejection: 'failed this task', rejects: (node, demand) => demand.excluded.has(exclusionKey(node)) },
  { rejection: 'suspect', rejects: (node) => node.isSuspect },
  {
    rejection: 'no free slot',
    rejects: ({ models }, { digest }) => isFull(models.get(digest)),
  },
]

const isFull = (model: ModelSnapshot | undefined): boolean =>
  model === undefined || model.running >= model.capability.slots

/** The first reason against `node`, or `undefined` when it is feasible. */
export const rejectionOf = (node: NodeSnapshot, demand: TaskDemand): Rejection | undefined =>
  FILTERS.find((filter) => filter.rejects(node, demand))?.rejection
