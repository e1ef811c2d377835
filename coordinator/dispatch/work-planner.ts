/**
 * Where a part of work may run, by the scheduler's own filters and predictions. What differs from an answer: there is
 * nothing to decode, and the speed is that of this kind of work, learned from what was delivered. Work leaves no trace in
 * the ledger, so that no money is spent on it: nodes with a price are not asked.
 */
import { workBytes, type ModelDigest, type PeerId, type Work, type WorkKind } from '../../mesh/protocol/index.ts'
import { movingAverage, type Random } from '../../mesh/runtime/index.ts'
import type { Directory, Reservation } from '../directory/index.ts'
import {
  exclusionKey,
  hasFreeSlot,
  NO_PREFIX,
  rejectionOf,
  schedule,
  type LeaveDemand,
  type ModelSnapshot,
  type NodeSnapshot,
  type Plan,
  type Snapshot,
  type TaskDemand,
  type Unschedulable,
  type Wait,
} from '../scheduler/index.ts'

/** Of a text, and of a tensor's bytes: a guess that orders nodes and shares, never told to anybody. */
const BYTES_PER_TOKEN = 4
/** Until something was learned of any node with the model. */
const RATE_UNKNOWN = 1000
/** Weight of the newest sample in the moving average of rates. */
const RATE_WEIGHT = 1 / 4
/** Rates that are kept; the one that was learned first is forgotten. */
const RATES_MAX = 8192
/** Nothing is decoded: any rate beyond every prefill makes that time vanish. */
const NO_DECODE = [{ sequences: 1, tokensPerSecond: 1e9 }]

/** What is asked for, as far as places go. */
export interface WorkDemand {
  readonly digest: ModelDigest
  readonly work: Work
  readonly localOnly: boolean
  readonly tenant: string
  /** What may make it leave the owner's nodes; absent when nothing may. */
  readonly leave?: LeaveDemand | undefined
  /** For which a part waits already, in ms. */
  readonly waitedMs?: number
  /** By `exclusionKey`. */
  readonly excluded: ReadonlySet<string>
}

/** Tokens that `work` is taken to have. */
export const tokensOf = (work: Work): number => Math.max(1, Math.ceil(workBytes(work) / BYTES_PER_TOKEN))

export class WorkPlanner {
  readonly #directory: Directory
  readonly #random: Random
  /** Tokens per second that a node delivered of one kind of work with one model. */
  readonly #rates = new Map<string, number>()
  readonly #rated = new WeakMap<NodeSnapshot, { digest: ModelDigest; rate: number; node: NodeSnapshot }>()

  constructor(components: { readonly directory: Directory; readonly random: Random }) {
    this.#directory = components.directory
    this.#random = components.random
  }

  plan(demand: WorkDemand, claims?: ReadonlyMap<PeerId, number>): Plan | Wait | Unschedulable {
    const snapshot = this.#snapshot(demand.digest, demand.work.kind)
    return schedule(claims ? { ...snapshot, claims } : snapshot, taskDemand(demand), () => this.#random.next())
  }

  /** Whether it could run on `node` if a slot were free there. */
  couldUse(demand: WorkDemand, node: NodeSnapshot): boolean {
    return rejectionOf(node, taskDemand(demand)) === undefined
  }

  /** Free slots of the nodes that it could run on. */
  freeSlots(demand: WorkDemand): number {
    const needed = taskDemand(demand)
    let free = 0
    for (const node of this.#directory.snapshot().nodes) {
      const model = node.models.get(demand.digest)
      if (model === undefined || !hasFreeSlot(model) || rejectionOf(node, needed) !== undefined) continue
      free += model.capability.slots - model.running
    }
    return free
  }

  /** Whether a node that is here has the model and is not among `nodes` (by `exclusionKey`). */
  hasOther(digest: ModelDigest, nodes: ReadonlySet<string>): boolean {
    return this.#directory
      .snapshot()
      .nodes.some((node) => node.isConnected && node.models.has(digest) && !nodes.has(exclusionKey(node)))
  }

  /** Counts `work` on the node until it is released. */
  reserve(node: NodeSnapshot, { digest, work }: WorkDemand): Reservation {
    return this.#directory.reserve(node.peerId, digest, { prefillTokens: tokensOf(work), decodeTokens: 1 })
  }

  /** The node took `ms` for `work`, its own waiting left out. */
  learn(node: NodeSnapshot, { digest, work }: WorkDemand, ms: number): void {
    const key = keyOf(node.peerId, digest, work.kind)
    const rate = (1000 * tokensOf(work)) / Math.max(ms, 1)
    const known = this.#rates.get(key)
    this.#rates.delete(key)
    this.#rates.set(key, movingAverage(known, rate, RATE_WEIGHT))
    if (this.#rates.size > RATES_MAX) this.#rates.delete(this.#rates.keys().next().value!)
  }

  /** The nodes that have the model, each with its speed at such work; those that were never seen at it count as the best. */
  #snapshot(digest: ModelDigest, kind: WorkKind): Snapshot {
    const snapshot = this.#directory.snapshot()
    const nodes = snapshot.nodes.filter(({ models }) => models.has(digest))
    // who has no model at all is told so by what the others have
    if (nodes.length === 0) return { nodes: snapshot.nodes }
    const rates = nodes.map(({ peerId }) => this.#rates.get(keyOf(peerId, digest, kind)))
    const known = rates.filter((rate) => rate !== undefined)
    const best = known.length === 0 ? RATE_UNKNOWN : Math.max(...known)
    return {
      nodes: nodes.map((node, i) => this.#withRate(node, digest, rates[i] ?? best)),
    }
  }

  /** Made once for each snapshot of a node, as long as the same is asked of it: a mesh may have many. */
  #withRate(node: NodeSnapshot, digest: ModelDigest, rate: number): NodeSnapshot {
    const known = this.#rated.get(node)
    if (known?.digest === digest && known.rate === rate) return known.node
    const rated = { ...node, models: new Map([[digest, withRate(node.models.get(digest)!, rate)]]) }
    this.#rated.set(node, { digest, rate, node: rated })
    return rated
  }
}

const keyOf = (peerId: PeerId, digest: ModelDigest, kind: WorkKind): string => `${peerId} ${digest} ${kind}`

function withRate(model: ModelSnapshot, prefillTokensPerSecond: number): ModelSnapshot {
  const speed = { prefillTokensPerSecond, decode: NO_DECODE, measuredAtMs: 0 }
  return { ...model, capability: { ...model.capability, speed }, prefillCorrection: 1, decodeCorrection: 1 }
}

function taskDemand({ digest, work, localOnly, leave, waitedMs, tenant, excluded }: WorkDemand): TaskDemand {
  const tokens = tokensOf(work)
  return {
    digest,
    prefillTokens: tokens,
    // the engine counts the tokens of each text, and knows what it can take
    prefillTokensMin: 0,
    promptBytes: 0,
    prefix: NO_PREFIX,
    features: [work.kind],
    localOnly,
    ...(leave && { leave }),
    ...(waitedMs !== undefined && { waitedMs }),
    tenant,
    budget: 0,
    inputTokensMax: tokens,
    outputTokensMax: 1,
    decodeTokens: 1,
    excluded,
  }
}
