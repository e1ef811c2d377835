/**
 * `schedule(snapshot, demand, random) → Plan | Wait | Unschedulable`: filter, score, pick, explain. A pure function of
 * its arguments, so that the simulation and a bug report replay it; dispatch verifies the plan when it commits.
 */
import { LIMITS } from '../../mesh/protocol/index.ts'
import { hasFreeSlot, rejectionOf } from './filters.ts'
import { endMs, reasonToLeave } from './leaving.ts'
import { predict, workMs } from './predict.ts'
import type {
  Candidate,
  NodeSnapshot,
  Plan,
  Prediction,
  Rejection,
  Snapshot,
  TaskDemand,
  Unschedulable,
  Wait,
} from './types.ts'

/** In a larger mesh only a sample is looked at: the loss is small and the time does not grow with the mesh. */
const WHOLE_MAX = 256
/** Nodes with a free slot wanted in such a sample. Two would do for balance (Mitzenmacher 2001); more find the fast ones of a mixed fleet. */
const SAMPLE_SIZE = 32
/** Nodes drawn for it. When fewer than a quarter of them can start the task the whole mesh is looked at after all. */
const DRAWS = 128
/** Predictions this much alike, as a share, are a draw: the lot decides, so that equal nodes share the work. */
const DRAW_SHARE = 0.02
/** A full node is waited for only when it wins by this share and this time: when a slot becomes free is a guess. */
const WAIT_GAIN_SHARE = 0.1
const WAIT_GAIN_MS = 100
/**
 * What a task waits for a place, those behind it wait as well: so often its wait counts on top when it could start
 * elsewhere. At 0 slow nodes idle while the line grows; at 4 they get prompts that take them too long
 * (`docs/SCHEDULER.md`).
 */
const BEHIND_WEIGHT = 2
/** What waited this long takes what is free: a slot that was foretold may never come, and the line ends at `queuedMs`. */
const WAITED_MS_MAX = 0.75 * LIMITS.queuedMs
const OF_POLICY: ReadonlySet<Rejection> = new Set([
  'cloud, and the policy lets no such task leave',
  'cloud, and the policy does not take the reason',
])
/** Rejected nodes named in a message. */
const NAMED_MAX = 3

interface Scored {
  readonly node: NodeSnapshot
  readonly prediction: Prediction
}

/** What came of looking at the owner's nodes, or at those of the cloud. */
interface Look {
  readonly scored: readonly Scored[]
  readonly rejected: Filtered['rejected']
  /** To start at once, and to wait for. */
  readonly chosen: Scored | undefined
  readonly awaited: Scored | undefined
}

const NOWHERE: Look = { scored: [], rejected: [], chosen: undefined, awaited: undefined }

/**
 * The owner's nodes first. Those of the cloud are looked at when there is a reason to leave (`leaving.ts`), and taken when the
 * owner takes that reason.
 */
export function schedule(snapshot: Snapshot, demand: TaskDemand, random: () => number): Plan | Wait | Unschedulable {
  const atHome = (): Look => look(snapshot, demand, candidatesOf(snapshot, demand, random), random)
  const isNamed = demand.leave?.isNamed === true && !demand.localOnly
  const isUnsure = demand.leave?.isUnsure === true && !demand.localOnly
  let home = isNamed || isUnsure ? passedOver(snapshot, demand, isUnsure) : atHome()
  let found = placeOf(home, demand)
  const away = awayOf(snapshot, demand, home, found, random)
  // the cloud was asked for: what was begun there goes on at home before it is lost
  if (isNamed && away.place === undefined && demand.leave?.hasBegun) found = placeOf((home = atHome()), demand)
  const said = (): Candidate[] => explain([home, away.look])
  const place = away.place ?? found
  if (place?.kind === 'wait')
    return {
      ...place,
      get explain() {
        return said()
      },
    }
  if (place)
    return {
      ...place,
      get explain() {
        return said()
      },
    }
  return unschedulable(snapshot, demand, { home, away: away.look, said })
}

/** A place, and why it is in the cloud where it is. */
type Placed = Omit<Plan, 'explain'> | Omit<Wait, 'explain'>

interface Away {
  readonly place?: Placed
  readonly look: Look
}

/** Where in the cloud the task may go, if it has a reason to. */
function awayOf(
  snapshot: Snapshot,
  demand: TaskDemand,
  home: Look,
  found: Placed | undefined,
  random: () => number,
): Away {
  const { leave } = demand
  // looked for when they are needed: most tasks have a place at home, in a mesh that may be large
  const cloud = (): NodeSnapshot[] => snapshot.nodes.filter((node) => node.isCloud)
  if (demand.localOnly || leave === undefined) return { look: kept(cloud, demand) }
  const best = found?.prediction ?? home.awaited?.prediction
  const reason = reasonToLeave(demand, leave, {
    prediction: best,
    isFree: found?.kind === 'plan',
    rejected: () => home.rejected,
  })
  if (reason === undefined) return { look: kept(cloud, demand) }
  if (!leave.reasons.has(reason)) return { look: kept(cloud, demand, 'cloud, and the policy does not take the reason') }
  const looked = look(snapshot, demand, filter(cloud(), demand, true), random)
  const place = placeOf(looked, demand)
  // paid for in vain where it would be too late there as well
  const mayBeVain = (reason === 'deadline' && best !== undefined) || reason === 'low-confidence'
  const isVain = mayBeVain && place && endMs(place.prediction) > leave.leftMs
  return { look: looked, ...(place && !isVain && { place: { ...place, reason } }) }
}

/** Cloud nodes that are not asked: each says the first that is against it, and `why` where nothing else is. */
function kept(cloud: () => readonly NodeSnapshot[], demand: TaskDemand, why?: Rejection): Look {
  return {
    ...NOWHERE,
    get rejected() {
      return cloud().map((node) => {
        const first = rejectionOf(node, demand)!
        return { node, why: why !== undefined && first === "cloud, and the owner's nodes can do it" ? why : first }
      })
    },
  }
}

/** The owner's nodes, of a task that is for the cloud. */
function passedOver({ nodes }: Snapshot, demand: TaskDemand, isUnsure: boolean): Look {
  const why: Rejection = isUnsure
    ? 'not cloud, and the answer was not sure enough'
    : 'not cloud, and the cloud was asked for'
  return {
    ...NOWHERE,
    get rejected() {
      const own = nodes.filter((node) => !node.isCloud)
      return own.map((node) => ({
        node,
        why: rejectionOf(node, demand) ?? why,
      }))
    },
  }
}

function look(snapshot: Snapshot, demand: TaskDemand, filtered: Filtered, random: () => number): Look {
  const score = (node: NodeSnapshot): Scored => {
    const model = node.models.get(demand.digest)!
    return { node, prediction: predict(node, model, demand, snapshot.claims?.get(node.peerId)) }
  }
  const now = atMost(filtered.free, random).map(score)
  const later = atMost(filtered.full, random).map(score)
  const { rejected } = filtered
  return { scored: [...now, ...later], rejected, chosen: pick(now, random), awaited: best(later) }
}

/** Where of what was looked at the task starts, or what it rather waits for. */
function placeOf({ chosen, awaited }: Look, demand: TaskDemand): Placed | undefined {
  if (chosen === undefined) return undefined
  // One that has not measured the model is tried: against a guess every wait would look short.
  const isMeasured = chosen.node.models.get(demand.digest)!.capability.speed !== undefined
  if (awaited !== undefined && isMeasured) {
    if (isWorthWaiting(awaited.prediction, chosen.prediction.totalMs, demand.waitedMs ?? 0)) {
      const model = awaited.node.models.get(demand.digest)!
      return { kind: 'wait', ...awaited, workMs: workMs(model, awaited.prediction) }
    }
  }
  return { kind: 'plan', ...chosen }
}

function isWorthWaiting({ waitMs, totalMs }: Prediction, nowMs: number, waitedMs: number): boolean {
  if (waitedMs >= WAITED_MS_MAX) return false
  const laterMs = totalMs + BEHIND_WEIGHT * waitMs
  return laterMs < nowMs * (1 - WAIT_GAIN_SHARE) && laterMs < nowMs - WAIT_GAIN_MS
}

interface Filtered {
  /** Feasible, with and without a free slot. */
  readonly free: NodeSnapshot[]
  readonly full: NodeSnapshot[]
  readonly rejected: { readonly node: NodeSnapshot; readonly why: Rejection }[]
}

function candidatesOf(snapshot: Snapshot, demand: TaskDemand, random: () => number): Filtered {
  const { nodes } = snapshot
  if (nodes.length > WHOLE_MAX) {
    const drawn = draw(nodes, random)
    const warmest = snapshot.warmest?.(demand.digest, demand.prefix)
    if (warmest !== undefined) drawn.add(warmest)
    const sampled = filter(drawn, demand)
    if (sampled.free.length >= SAMPLE_SIZE) return sampled
  }
  return filter(nodes, demand)
}

/** @param isAway as `rejectionOf`; nodes of the cloud are passed over when absent. */
function filter(nodes: Iterable<NodeSnapshot>, demand: TaskDemand, isAway?: boolean): Filtered {
  const filtered: Filtered = { free: [], full: [], rejected: [] }
  const tripped: Filtered['rejected'] = []
  for (const node of nodes) {
    if (node.isCloud && isAway === undefined) continue
    const why = rejectionOf(node, demand, isAway)
    if (why === 'breaker open') tripped.push({ node, why })
    else if (why !== undefined) filtered.rejected.push({ node, why })
    else admit(filtered, node, demand)
  }
  // A breaker spares a node while others can do its work; it never ejects everyone.
  if (filtered.free.length + filtered.full.length === 0)
    for (const { node } of tripped) readmit(filtered, node, demand, isAway)
  else filtered.rejected.push(...tripped)
  return filtered
}

function admit(filtered: Filtered, node: NodeSnapshot, demand: TaskDemand): void {
  const list = hasFreeSlot(node.models.get(demand.digest)!) ? filtered.free : filtered.full
  list.push(node)
}

function readmit(filtered: Filtered, node: NodeSnapshot, demand: TaskDemand, isAway?: boolean): void {
  const why = rejectionOf({ ...node, isTripped: false }, demand, isAway)
  if (why === undefined) admit(filtered, node, demand)
  else filtered.rejected.push({ node, why })
}

/** `DRAWS` different nodes. */
function draw(nodes: readonly NodeSnapshot[], random: () => number): Set<NodeSnapshot> {
  const drawn = new Set<NodeSnapshot>()
  while (drawn.size < DRAWS) drawn.add(nodes[Math.floor(random() * nodes.length)]!)
  return drawn
}

/** The nodes of a small mesh; some of many. */
const atMost = (nodes: readonly NodeSnapshot[], random: () => number): readonly NodeSnapshot[] =>
  nodes.length <= WHOLE_MAX ? nodes : [...draw(nodes, random)]

function best(scored: readonly Scored[]): Scored | undefined {
  let least = scored[0]
  for (const each of scored) if (each.prediction.totalMs < least!.prediction.totalMs) least = each
  return least
}

function pick(scored: readonly Scored[], random: () => number): Scored | undefined {
  const least = best(scored)
  if (least === undefined) return undefined
  const bound = least.prediction.totalMs + Math.abs(least.prediction.totalMs) * DRAW_SHARE
  const drawn = scored.filter((each) => each.prediction.totalMs <= bound)
  return drawn[Math.floor(random() * drawn.length)]!
}

const rejectionsOf = (looks: readonly Look[]): Filtered['rejected'] => looks.flatMap(({ rejected }) => rejected)

/** Made when it is asked for: most answers to a line of waiting tasks are not. */
function explain(looks: readonly Look[]): Candidate[] {
  const byScore = looks.flatMap(({ scored }) => scored).sort((a, b) => a.prediction.totalMs - b.prediction.totalMs)
  const shown = byScore.slice(0, LIMITS.explainedCandidatesMax)
  return [
    ...shown.map(({ node, prediction }) => ({ peerId: node.peerId, name: node.name, verdict: { prediction } })),
    ...rejectionsOf(looks)
      .slice(0, LIMITS.explainedCandidatesMax - shown.length)
      .map(({ node, why }) => ({ peerId: node.peerId, name: node.name, verdict: { rejected: why } })),
  ]
}

interface Found {
  readonly home: Look
  readonly away: Look
  readonly said: () => Candidate[]
}

function unschedulable(snapshot: Snapshot, demand: TaskDemand, { home, away, said }: Found): Unschedulable {
  const waits = [home, away].flatMap(({ awaited }) => (awaited ? [awaited.prediction.waitMs] : []))
  const say = (code: Unschedulable['code'], message: string): Unschedulable => ({
    kind: 'unschedulable',
    code,
    message,
    ...(waits.length > 0 && { waitMs: Math.min(...waits) }),
    ...(waits.length > 0 && home.awaited === undefined && { isAway: true }),
    ...(away.awaited?.node.isComing && { isComing: true }),
    get explain() {
      return said()
    },
  })
  if (waits.length > 0) return say('SATURATED', 'all slots for this model are taken')
  const rejected = rejectionsOf([home, away])
  if (snapshot.nodes.every((node) => node.models.size === 0))
    return say('NO_NODE', 'no node of the mesh has a model yet; start one with --model PATH')
  const having = rejected.filter(({ why }) => why !== 'no such model')
  if (having.length === 0) return say('MODEL_NOT_FOUND', 'no node of the mesh has this model')
  const able = having.filter(({ why }) => why !== 'no such feature')
  if (able.length === 0)
    return say('UNSUPPORTED_PARAMETER', `no node that has this model can do: ${demand.features.join(', ')}`)
  if (isStranded(having, demand))
    return say('NOT_CONTINUABLE', 'the answer has begun, and no node that could make it can go on with it')
  // Asked of the nodes that are away, too: what one of them could do is no fault of the request.
  if (able.every(({ node }) => demand.prefillTokensMin >= node.models.get(demand.digest)!.capability.contextTokens))
    return say('CONTEXT_LENGTH_EXCEEDED', 'the prompt is longer than the context of every node that has this model')
  const mayHold = able.filter(({ why }) => why !== 'context too small')
  if (mayHold.length > 0 && mayHold.every(({ why }) => OF_POLICY.has(why)))
    return say('CLOUD_NOT_ALLOWED', "only rented machines could do it, and their owner's policy does not let it leave")
  const here = mayHold.filter(({ why }) => why !== 'not connected')
  const isAll = (why: Rejection): boolean => here.length > 0 && here.every((each) => each.why === why)
  if (isAll('cloud, and the task is local-only'))
    return say('LOCAL_ONLY', 'the task is local-only, and only rented machines could take it now')
  if (isAll('does not serve this tenant'))
    return say('NOT_SERVED', 'the owners of the nodes that have this model do not serve this tenant')
  if (isAll('costs more than the request allows'))
    return say('BUDGET_EXCEEDED', 'only nodes with a price could take it now, and it may cost more than max_cost there')
  const isMoney = (why: Rejection): boolean => why === 'over the budget' || why === 'costs more than the request allows'
  if (here.length > 0 && here.every(({ why }) => isMoney(why)))
    return say('BUDGET_EXCEEDED', 'only nodes with a price could take it now, and the budget does not allow that')
  if (here.some(({ why }) => why === 'no free slot')) return say('SATURATED', 'all slots for this model are taken')
  const named = able.slice(0, NAMED_MAX).map(({ node, why }) => `${node.name}: ${why}`)
  const more = able.length > NAMED_MAX ? ` and ${able.length - NAMED_MAX} more` : ''
  return say('NO_ELIGIBLE_NODE', `no node that has this model can take work now (${named.join(', ')}${more})`)
}

/** Whether of the nodes that are here some cannot go on with an answer that has begun, and the others may never. */
function isStranded(having: Filtered['rejected'], { goesOn, localOnly, leave }: TaskDemand): boolean {
  if (goesOn === undefined) return false
  const mayLeave = !localOnly && leave?.reasons.has('lost') === true
  const asked = having.filter(({ node }) => node.isConnected && (!node.isCloud || mayLeave))
  const isUnable = (why: Rejection): boolean => why === 'cannot go on with this answer' || why === 'no such feature'
  // at home a node that can is waited for: only the border ends such an answer
  const isAtBorder = asked.some(({ node, why }) => node.isCloud || why === 'cannot go on with this answer')
  return isAtBorder && asked.every(({ why }) => isUnable(why))
}
