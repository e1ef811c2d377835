/**
 * The score: when would this node complete the task? Everything in ms, so that unlike things (a cold model, a busy node,
 * a slow link) are weighed in the one unit that the user feels.
 *
 *   load if cold + prefill at the measured rate + decode at the measured rate under its load + link + penalties
 */
import type { ModelCapability, ModelSpeed } from '../../mesh/protocol/index.ts'
import type { ModelSnapshot, NodeSnapshot, Prediction, TaskDemand } from './types.ts'

/** Until a node has measured a model: slow enough that a measured node is preferred, fast enough that it gets work. */
const UNMEASURED: ModelSpeed = {
  prefillTokensPerSecond: 50,
  decode: [{ sequences: 1, tokensPerSecond: 10 }],
  measuredAtMs: 0,
}
/** A node that failed an attempt lately is worth this much less, for each failure that still counts. */
const FAILURE_PENALTY_MS = 2000
/** Share by which a task counts as longer on battery: work moves to the wall socket unless that is much slower. */
const BATTERY_PENALTY_SHARE = 0.25

/**
 * Tokens per second that one of `sequences` parallel sequences gets. Between two measured points the sum over sequences
 * is interpolated; beyond the last it is taken as constant, since the engine is then bound by compute.
 */
export function decodeRate(speed: ModelSpeed, sequences: number): number {
  const points = speed.decode
  const after = points.findIndex((point) => point.sequences >= sequences)
  const total = (): number => {
    if (after < 0) return points.at(-1)!.tokensPerSecond
    const high = points[after]!
    const low = points[after - 1]
    if (low === undefined) return (high.tokensPerSecond * sequences) / high.sequences
    const share = (sequences - low.sequences) / (high.sequences - low.sequences)
    return low.tokensPerSecond + share * (high.tokensPerSecond - low.tokensPerSecond)
  }
  return Math.max(total() / sequences, 1e-3)
}

export function predict(node: NodeSnapshot, model: ModelSnapshot, demand: TaskDemand): Prediction {
  const capability: ModelCapability = model.capability
  const speed = capability.speed ?? UNMEASURED
  const loadMs = capability.residency === 'resident' ? 0 : capability.loadMs
  const prefillTokens = demand.prefillTokens + model.prefillTokensPending
  const prefillMs = (prefillTokens / Math.max(speed.prefillTokensPerSecond, 1e-3)) * 1000
  const decodeMs = (demand.decodeTokens / decodeRate(speed, model.running + 1)) * 1000
  const battery = node.onBattery ? BATTERY_PENALTY_SHARE * (prefillMs + decodeMs) : 0
  const penaltyMs = node.recentFailures * FAILURE_PENALTY_MS + battery
  const totalMs = loadMs + prefillMs + decodeMs + node.linkMs + penaltyMs
  return { loadMs, prefillMs, decodeMs, linkMs: node.linkMs, penaltyMs, totalMs }
}
