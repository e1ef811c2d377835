/**
 * Filters: may this node take this task? Asked in the order below, and the first reason is what people are told, so that
 * what lasts longest comes first. Pure, and none fails open. One function instead of a table of predicates: it runs for
 * every node of the mesh on every plan.
 */
import {
  isServed,
  SAMPLING_OPTIONS,
  type ModelAbility,
  type ModelCapability,
  type Price,
  type SamplingOption,
} from '../../mesh/protocol/index.ts'
import { costOf } from './predict.ts'
import {
  exclusionKey,
  type GoesOn,
  type ModelSnapshot,
  type NodeSnapshot,
  type Rejection,
  type TaskDemand,
} from './types.ts'

/**
 * The first reason against `node`, or `undefined` when it may take the task, now or when a slot becomes free.
 *
 * @param isAway the task leaves the owner's nodes for a reason; else no cloud node may take it.
 */
export function rejectionOf(node: NodeSnapshot, demand: TaskDemand, isAway = false): Rejection | undefined {
  const model = node.models.get(demand.digest)
  if (model === undefined) return 'no such model'
  if (lacksFeature(model, demand)) return 'no such feature'
  if (!node.isConnected) return 'not connected'
  if (node.isCloud) {
    if (demand.localOnly) return 'cloud, and the task is local-only'
    if (demand.leave === undefined || demand.leave.reasons.size === 0)
      return 'cloud, and the policy lets no such task leave'
    if (!isAway) return "cloud, and the owner's nodes can do it"
  }
  if (demand.goesOn !== undefined && !canGoOn(demand.goesOn, model.capability)) return 'cannot go on with this answer'
  if (node.access !== undefined && !isServed(node.access, demand.tenant)) return 'does not serve this tenant'
  if (node.price !== undefined) {
    const cost = costMaxOf(node.price, demand)
    // Written so that an amount that is no number allows nothing.
    if (demand.costMax !== undefined && !(cost <= demand.costMax)) return 'costs more than the request allows'
    if (!(cost <= demand.budget)) return 'over the budget'
  }
  if (node.isDraining) return node.pausedBecause === undefined ? 'draining' : `paused: ${node.pausedBecause}`
  if (demand.prefillTokensMin >= model.capability.contextTokens) return 'context too small'
  if (node.peerId === demand.leaving) return 'the node it leaves'
  if (demand.excluded.size > 0 && demand.excluded.has(exclusionKey(node))) return 'failed this task'
  if (node.isSuspect) return 'suspect'
  if (node.isTripped) return 'breaker open'
  if (demand.mustStartNow === true && !hasFreeSlot(model)) return 'no free slot'
  return undefined
}

/** An older node, which says nothing of it, would take the text for nothing and the pieces for tokens. */
const canGoOn = ({ hasPieces, canSay }: GoesOn, { continues }: ModelCapability): boolean =>
  continues === 'text' || hasPieces ? canSay && continues !== undefined : true

const lacksFeature = ({ capability }: ModelSnapshot, { features }: TaskDemand): boolean =>
  features.some((feature) => lacks(capability, feature))

/**
 * Whether the model cannot do what is needed. Most of that is known when it has been loaded; until then its node answers
 * for it, and refuses what it cannot. Whether it makes text at all stands in its file, and of options of sampling an older
 * node would not know that it passes them over.
 */
export function lacks({ residency, features, options = [] }: ModelCapability, ability: ModelAbility): boolean {
  if (isOption(ability)) return !options.includes(ability)
  return !features.includes(ability) && (residency === 'resident' || ability === 'completion')
}

const isOption = (ability: ModelAbility): ability is SamplingOption =>
  (SAMPLING_OPTIONS as readonly string[]).includes(ability)

/** The most that it can cost there, in currency. */
const costMaxOf = (price: Price, { inputTokensMax, outputTokensMax }: TaskDemand): number =>
  costOf(price, { prefillTokens: inputTokensMax, decodeTokens: outputTokensMax })

export const hasFreeSlot = (model: ModelSnapshot): boolean => model.running < model.capability.slots
