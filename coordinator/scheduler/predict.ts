/**
 * The score: when would this node complete the task? Everything in ms, so that unlike things (a cold model, a busy node,
 * a slow link, money) are weighed in the one unit that the user feels.
 *
 *   wait for a slot + load if cold + prefill of what its cache lacks + decode under its load + link + penalties
 */
import type { ModelSpeed, Price } from '../../mesh/protocol/index.ts'
import type { ModelSnapshot, NodeSnapshot, Prediction, TaskDemand } from './types.ts'

/** Until a node has measured a model: slow enough that a measured node is preferred, fast enough that it gets work. */
export const UNMEASURED: ModelSpeed = {
  prefillTokensPerSecond: 50,
  decode: [{ sequences: 1, tokensPerSecond: 10 }],
  measuredAtMs: 0,
}
/** A node that failed an attempt lately is worth this much less, for each failure that still counts. */
const FAILURE_PENALTY_MS = 2000
/** Share by which a task counts as longer on battery: work moves to the wall socket unless that is much slower. */
const BATTERY_PENALTY_SHARE = 0.25
/** What a unit of the owner's currency is worth in time: a cent is paid to be done 10 s sooner. */
const PRICE_MS_PER_UNIT = 1_000_000
/**
 * How often the time counts by which the task slows those that run there: once for them, and once for the task, since
 * those that come after it will slow it as much.
 */
const SLOWED_WEIGHT = 2
const RATE_MIN = 1e-3

/**
 * Tokens per second that one of `sequences` parallel sequences gets. Between two measured points the sum over sequences
 * is interpolated; beyond the last it is taken as constant, since the engine is then bound by compute.
 */
export function decodeRate(speed: ModelSpeed, sequences: number): number {
  let low = NO_POINT
  for (const high of speed.decode) {
    if (high.sequences >= sequences) {
      const share = (sequences - low.sequences) / (high.sequences - low.sequences)
      const total = low.tokensPerSecond + share * (high.tokensPerSecond - low.tokensPerSecond)
      return Math.max(total / sequences, RATE_MIN)
    }
    low = high
  }
  return Math.max(low.tokensPerSecond / sequences, RATE_MIN)
}

const NO_POINT = { sequences: 0, tokensPerSecond: 0 }

/** Expected cost of the task at `price`, in units of currency. Nothing is taken off for a warm cache: nobody promised it. */
export const costOf = (price: Price, demand: Pick<TaskDemand, 'prefillTokens' | 'decodeTokens'>): number =>
  (price.inputPerMillion * demand.prefillTokens + price.outputPerMillion * demand.decodeTokens) / 1e6

/** @param claimsMs as `Snapshot.claims`. */
export function predict(node: NodeSnapshot, model: ModelSnapshot, demand: TaskDemand, claimsMs = 0): Prediction {
  const { capability } = model
  const { slots } = capability
  const speed = capability.speed ?? UNMEASURED
  const loadMs = capability.residency === 'resident' ? 0 : capability.loadMs
  const tokensPerMs = Math.max(speed.prefillTokensPerSecond * model.prefillCorrection, RATE_MIN) / 1000
  const ownPrefillMs = uncachedTokens(model, demand) / tokensPerMs
  const sequences = Math.min(model.running + 1, slots)
  const decodeMs = (demand.decodeTokens / (decodeRate(speed, sequences) * model.decodeCorrection)) * 1000
  // Of a slot that nothing is known of (another coordinator's): as much is left as this task would take.
  const slotFreeMs = model.slotFreeMs[model.running - slots] ?? ownPrefillMs + decodeMs
  const freeInMs = model.running < slots ? 0 : Math.min(slotFreeMs, model.turnMs ?? slotFreeMs)
  const waitMs = freeInMs + claimsMs
  // Engines prefill in equal shares: nobody that prefills beside it gets more than it gets itself.
  const pendingMs = Math.min(model.prefillTokensPending / tokensPerMs - waitMs, ownPrefillMs * model.running)
  const prefillMs = ownPrefillMs + Math.max(0, pendingMs)
  const batteryMs = node.onBattery ? BATTERY_PENALTY_SHARE * (prefillMs + decodeMs) : 0
  const priceMs = node.price === undefined ? 0 : costOf(node.price, demand) * PRICE_MS_PER_UNIT
  const before = decodeRate(speed, Math.max(sequences - 1, 1))
  // A busy machine may have measured that company makes it faster; nobody gains by being disturbed.
  const slowedMs = ownPrefillMs + decodeMs * Math.max(0, 1 - decodeRate(speed, sequences) / before)
  const othersMs = SLOWED_WEIGHT * (sequences - 1) * slowedMs
  const penaltyMs = othersMs + node.recentFailures * FAILURE_PENALTY_MS + batteryMs + priceMs
  const linkMs = linkTimeMs(node, demand)
  const totalMs = waitMs + loadMs + prefillMs + decodeMs + linkMs + penaltyMs
  return { waitMs, loadMs, prefillMs, decodeMs, linkMs, penaltyMs, totalMs }
}

/** There and back, and for the prompt, which goes whole whatever is cached. Tokens that come back are few bytes. */
const linkTimeMs = ({ linkMs, linkBytesPerSecond }: NodeSnapshot, { promptBytes }: TaskDemand): number =>
  linkBytesPerSecond === undefined ? linkMs : linkMs + (promptBytes * 1000) / linkBytesPerSecond

/**
 * How much of the node's time the task takes, in ms. All slots share one engine: prefill is work for it alone, decode is
 * done for all together.
 */
export const workMs = (model: ModelSnapshot, { loadMs, prefillMs, decodeMs }: Prediction): number =>
  model.turnMs ?? loadMs + prefillMs + decodeMs / model.capability.slots

/** Tokens to prefill there. The last one is never taken from a cache: the first token of the answer is drawn from it. */
export function uncachedTokens(model: ModelSnapshot, { prefillTokens, promptBytes, prefix }: TaskDemand): number {
  if (promptBytes <= 0 || prefix.hashes.length === 0) return prefillTokens
  const share = Math.min(model.cachedBytes(prefix) / promptBytes, 1)
  return Math.max(prefillTokens * (1 - share), 1)
}
