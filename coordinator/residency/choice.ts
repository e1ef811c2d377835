/** Which node is to have another replica of a model. A pure function of what the nodes say. */
import type { ModelCapability, ModelDigest, PeerId, ReplicaConsent } from '../../mesh/protocol/index.ts'
import { decodeRate, type NodeSnapshot } from '../scheduler/index.ts'

/** A node, and what orders may make of it. */
export interface ReplicaNode {
  readonly node: NodeSnapshot
  /** What its owner lets us order. */
  readonly consent: ReplicaConsent
  /** As it last said. */
  readonly memoryFreeBytes: number
}

export interface ReplicaPlace {
  readonly node: NodeSnapshot
  /** It must fetch the model first. */
  readonly fetch: boolean
  /** Ms until it is expected to have the model in memory. */
  readonly readyInMs: number
}

/** Why a node is not chosen, for people. */
export type ReplicaRejection =
  | 'has it already'
  | 'its owner takes no orders'
  | 'its owner lets it fetch nothing'
  | 'on battery'
  | 'rented'
  | 'not connected'
  | 'takes no work'
  | 'too little memory'
  | 'refused or failed lately'

/** Beside the file a loaded model takes buffers and a context; a node that is tight on memory knows better, and refuses. */
const MEMORY_SHARE = 1.2
/** Bytes per ms over a home's network, and from a disk where the node does not tell: for the order of things alone. */
const FETCH_BYTES_PER_MS = 10_000
const LOAD_BYTES_PER_MS = 200_000

export interface ReplicaChoice {
  readonly place?: ReplicaPlace
  readonly rejected: readonly { readonly node: NodeSnapshot; readonly why: ReplicaRejection }[]
}

/**
 * The best place for another replica: first nodes that have the model on their disk, of these first those with room in
 * memory, and of equal ones the fastest.
 *
 * @param model as one of its holders announces it.
 * @param isSpared a node that refused or failed this lately, or is busy with another order.
 */
export function choosePlace(
  model: ModelCapability,
  nodes: readonly ReplicaNode[],
  isSpared: (peerId: PeerId) => boolean,
): ReplicaChoice {
  const rejected: { node: NodeSnapshot; why: ReplicaRejection }[] = []
  const feasible: Ranked[] = []
  for (const each of nodes) {
    const why = rejectionOf(model, each, isSpared)
    if (why === undefined) feasible.push(ranked(model, each))
    else rejected.push({ node: each.node, why })
  }
  const [best] = feasible.sort(byRank)
  return { rejected, ...(best && { place: best.place }) }
}

function rejectionOf(
  model: ModelCapability,
  { node, consent, memoryFreeBytes }: ReplicaNode,
  isSpared: (peerId: PeerId) => boolean,
): ReplicaRejection | undefined {
  const own = node.models.get(model.digest)?.capability
  if (own !== undefined && own.residency !== 'disk') return 'has it already'
  if (!node.isConnected || node.isSuspect) return 'not connected'
  // what is paid for is the owner's to start
  if (node.isCloud || node.price !== undefined) return 'rented'
  if (node.isDraining || node.isTripped) return 'takes no work'
  if (consent === 'off') return 'its owner takes no orders'
  if (own === undefined && consent !== 'fetch') return 'its owner lets it fetch nothing'
  if (own === undefined && node.onBattery) return 'on battery'
  // a node that has it on the disk may make room, and has said before that it can run it
  if (own === undefined && memoryFreeBytes < model.sizeBytes * MEMORY_SHARE) return 'too little memory'
  if (isSpared(node.peerId)) return 'refused or failed lately'
  return undefined
}

interface Ranked {
  readonly place: ReplicaPlace
  readonly hasRoom: boolean
  readonly tokensPerSecond: number
}

function ranked(model: ModelCapability, { node, memoryFreeBytes }: ReplicaNode): Ranked {
  const own = node.models.get(model.digest)?.capability
  const loadMs = own?.loadMs ?? model.sizeBytes / LOAD_BYTES_PER_MS
  const fetchMs = own === undefined ? model.sizeBytes / FETCH_BYTES_PER_MS : 0
  return {
    place: { node, fetch: own === undefined, readyInMs: loadMs + fetchMs },
    hasRoom: memoryFreeBytes >= model.sizeBytes * MEMORY_SHARE,
    tokensPerSecond: predictedRate(model, node),
  }
}

function byRank(a: Ranked, b: Ranked): number {
  const byFetch = Number(a.place.fetch) - Number(b.place.fetch)
  const byRoom = Number(b.hasRoom) - Number(a.hasRoom)
  const byBattery = Number(a.place.node.onBattery) - Number(b.place.node.onBattery)
  const byName = a.place.node.peerId < b.place.node.peerId ? -1 : 1
  return byFetch || byRoom || byBattery || b.tokensPerSecond - a.tokensPerSecond || byName
}

/**
 * Tokens per second that a node is expected to decode. Where it has not measured this model, by one that it has: decoding
 * reads the whole model for each token, so that speed falls as size grows. 0 where nothing is measured.
 */
function predictedRate(
  model: { readonly digest: ModelDigest; readonly sizeBytes: number },
  node: NodeSnapshot,
): number {
  const own = node.models.get(model.digest)
  if (own?.capability.speed) return decodeRate(own.capability.speed, 1) * own.decodeCorrection
  let best = 0
  for (const { capability, decodeCorrection } of node.models.values()) {
    const { speed, sizeBytes } = capability
    if (speed === undefined || sizeBytes === 0 || model.sizeBytes === 0) continue
    best = Math.max(best, (decodeRate(speed, 1) * decodeCorrection * sizeBytes) / model.sizeBytes)
  }
  return best
}
