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

/** In a larger mesh only a sample is looked at: the loss is small and the time does not grow with the mesh. */
const WHOLE_MAX = 256
/** Feasible nodes wanted in such a sample. Two would do for balance (Mitzenmacher 2001); more find the fast ones of a mixed fleet. */
const SAMPLE_SIZE = 32
/** Nodes drawn for it. When fewer than a quarter of them are feasible the whole mesh is looked at after all. */
const DRAWS = 128
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
  const { nodes } = snapshot
  const sampled = nodes.length > WHOLE_MAX ? filter(draw(nodes, random), demand) : undefined
  const isEnough = sampled !== undefined && sampled.feasible.length >= SAMPLE_SIZE
  const { feasible, rejected } = isEnough ? sampled : filter(nodes, demand)
  if (feasible.length === 0) return unschedulable(snapshot, rejected)

  const scored: Scored[] = atMost(feasible, random).map((node) => ({
    node,
    prediction: predict(node, node.models.get(demand.digest)!, demand),
  }))
  const chosen = pick(scored, random)
  return { kind: 'plan', ...chosen, explain: explain(scored, rejected) }
}

interface Filtered {
  readonly feasible: NodeSnapshot[]
  readonly rejected: { readonly node: NodeSnapshot; readonly why: Rejection }[]
}

function filter(nodes: readonly NodeSnapshot[], demand: TaskDemand): Filtered {
  const filtered: Filtered = { feasible: [], rejected: [] }
  for (const node of nodes) {
    const why = rejectionOf(node, demand)
    if (why === undefined) filtered.feasible.push(node)
    else filtered.rejected.push({ node, why })
  }
  return filtered
}

/** `DRAWS` different nodes. */
function draw(nodes: readonly NodeSnapshot[], random: () => number): NodeSnapshot[] {
  const drawn = new Set<number>()
  while (drawn.size < DRAWS) drawn.add(Math.floor(random() * nodes.length))
  return Array.from(drawn, (index) => nodes[index]!)
}

/** The feasible nodes of a small mesh; some of many. */
function atMost(feasible: readonly NodeSnapshot[], random: () => number): readonly NodeSnapshot[] {
  return feasible.length <= WHOLE_MAX ? feasible : draw(feasible, random)
}

function pick(scored: readonly Scored[], random: () => number): Scored {
  let best = scored[0]!
  for (const candidate of scored) if (candidate.prediction.totalMs < best.prediction.totalMs) best = candidate
  const bound = best.prediction.totalMs * (1 + DRAW_SHARE)
  const draw = scored.filter((candidate) => candidate.prediction.totalMs <= bound)
  return draw[Math.floor(random() * draw.length)]!
}

function explain(scored: readonly Scored[], rejected: Filtered['rejected']): Candidate[] {
  const byScore = [...scored].sort((a, b) => a.prediction.totalMs - b.prediction.totalMs)
  return [
    ...byScore.map(({ node, prediction }) => ({ peerId: node.peerId, name: node.name, verdict: { prediction } })),
    ...rejected.map(({ node, why }) => ({ peerId: node.peerId, name: node.name, verdict: { rejected: why } })),
  ].slice(0, EXPLAINED_MAX)
}

function unschedulable(snapshot: Snapshot, rejected: Filtered['rejected']): Unschedulable {
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
