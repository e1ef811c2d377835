/**
 * `schedule(snapshot, demand, random) → Plan | Unschedulable`: filter, score, pick, explain. A pure function of its
 * arguments, so that the simulation and a bug report replay it; dispatch verifies the plan when it commits.
 */
import { rejectionOf } from './filters.ts'
import { predict } from './predict.ts'
import type {
  Candidate,
  NodeSnapshot,
  Plan,
  Prediction,
  Rejection,
  Snapshot,
  TaskDemand,
  Unschedulable,
} from './types.ts'

/** Above this many feasible nodes only a sample is scored: the loss is small and the time stays bounded. */
const SCORED_MAX = 256
/** Nodes in such a sample. Two would do for balance (Mitzenmacher 2001); more find the fast ones of a mixed fleet. */
const SAMPLE_SIZE = 32
/** Predictions this much alike, as a share, are a draw: the lot decides, so that equal nodes share the work. */
const DRAW_SHARE = 0.02
/** Rejected nodes named in an explanation or a message. */
const EXPLAINED_MAX = 64
const NAMED_MAX = 3

interface Scored {
  readonly node: NodeSnapshot
  readonly prediction: Prediction
}

export function schedule(snapshot: Snapshot, demand: TaskDemand, random: () => number): Plan | Unschedulable {
  const feasible: NodeSnapshot[] = []
  const rejected: { node: NodeSnapshot; why: Rejection }[] = []
  for (const node of snapshot.nodes) {
    const why = rejectionOf(node, demand)
    if (why === undefined) feasible.push(node)
    else rejected.push({ node, why })
  }
  if (feasible.length === 0) return unschedulable(snapshot, rejected)

  const scored: Scored[] = sample(feasible, random).map((node) => ({
    node,
    prediction: predict(node, node.models.get(demand.digest)!, demand),
  }))
  const chosen = pick(scored, random)
  return { kind: 'plan', ...chosen, explain: explain(scored, rejected) }
}

function sample(nodes: readonly NodeSnapshot[], random: () => number): readonly NodeSnapshot[] {
  if (nodes.length <= SCORED_MAX) return nodes
  const picked = new Set<number>()
  while (picked.size < SAMPLE_SIZE) picked.add(Math.floor(random() * nodes.length))
  return [...picked].map((index) => nodes[index]!)
}

function pick(scored: readonly Scored[], random: () => number): Scored {
  let best = scored[0]!
  for (const candidate of scored) if (candidate.prediction.totalMs < best.prediction.totalMs) best = candidate
  const bound = best.prediction.totalMs * (1 + DRAW_SHARE)
  const draw = scored.filter((candidate) => candidate.prediction.totalMs <= bound)
  return draw[Math.floor(random() * draw.length)]!
}

function explain(scored: readonly Scored[], rejected: readonly { node: NodeSnapshot; why: Rejection }[]): Candidate[] {
  const byScore = [...scored].sort((a, b) => a.prediction.totalMs - b.prediction.totalMs)
  return [
    ...byScore.map(({ node, prediction }) => ({ peerId: node.peerId, name: node.name, verdict: { prediction } })),
    ...rejected.map(({ node, why }) => ({ peerId: node.peerId, name: node.name, verdict: { rejected: why } })),
  ].slice(0, EXPLAINED_MAX)
}

function unschedulable(snapshot: Snapshot, rejected: readonly { node: NodeSnapshot; why: Rejection }[]): Unschedulable {
  const candidates = explain([], rejected)
  const say = (code: Unschedulable['code'], message: string): Unschedulable => ({
    kind: 'unschedulable',
    code,
    message,
    explain: candidates,
  })
  if (snapshot.nodes.every((node) => node.models.size === 0))
    return say('NO_NODE', 'no node of the mesh has a model yet; start one with --model PATH')
  const having = rejected.filter(({ why }) => why !== 'no such model')
  if (having.length === 0) return say('MODEL_NOT_FOUND', 'no node of the mesh has this model')
  if (having.every(({ why }) => why === 'context too small'))
    return say('CONTEXT_LENGTH_EXCEEDED', 'the prompt is longer than the context of every node that has this model')
  if (having.some(({ why }) => why === 'no free slot')) return say('SATURATED', 'all slots for this model are taken')
  const named = having.slice(0, NAMED_MAX).map(({ node, why }) => `${node.name}: ${why}`)
  const more = having.length > NAMED_MAX ? ` and ${having.length - NAMED_MAX} more` : ''
  return say('NO_ELIGIBLE_NODE', `no node that has this model can take work now (${named.join(', ')}${more})`)
}
