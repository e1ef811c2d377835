/** What would become of a task that came now: planned as any other, and then neither admitted nor set aside for. */
import {
  SkeinError,
  type CloudReason,
  type ErrorCode,
  type ModelDigest,
  type PeerId,
  type Route,
} from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import type { ExplainedCandidate, NodeName } from '../ledger/index.ts'
import type { NodeSnapshot, Plan, Prediction, Unschedulable, Wait } from '../scheduler/index.ts'
import { explained, refusal, type Planner } from './planner.ts'
import type { Task } from './task.ts'

/** In micro-units of the owner's currency. */
export interface EstimatedCost {
  readonly expectedMicros: number
  /** What would be set aside for it. */
  readonly maxMicros: number
}

export interface EstimatedPlace extends NodeName {
  readonly route: Route
  /** Why it would leave; where the node is in the cloud. */
  readonly leave?: CloudReason
  /** Absent where nothing is billed. */
  readonly cost?: EstimatedCost
  /** Parts of the time that it would take, in ms. */
  readonly predicted: Prediction
}

export interface TaskEstimate {
  readonly digest: ModelDigest
  /** `stands-in`: the model that is named in `standIn` would answer, since the budget does not allow this one. */
  readonly verdict: 'starts' | 'waits' | 'stands-in' | 'refused'
  /** Where it would run, or what it would wait for. */
  readonly place?: EstimatedPlace
  /** Where it would be asked for again, were the answer there not sure enough. */
  readonly cascade?: EstimatedPlace
  readonly standIn?: string
  /** Why it would be refused, would wait for money, or another would stand in. */
  readonly error?: { readonly code: ErrorCode; readonly message: string }
  /** As well as they are known before a tokenizer has counted; of the answer what is expected, and what it may have. */
  readonly tokens: {
    readonly prompt: number
    readonly promptMax: number
    readonly completion: number
    readonly completionMax: number
  }
  /** For what the owner's policy lets it leave, now or later. */
  readonly mayLeaveFor: readonly CloudReason[]
  readonly candidates: readonly ExplainedCandidate[]
}

export interface EstimateComponents {
  readonly clock: Clock
  readonly planner: Planner
  /** Predicted ms until those ahead of it in the line have a slot. */
  readonly aheadMs: number
}

type Found = Plan | Wait | Unschedulable

export function estimateOf(components: EstimateComponents, task: Task): TaskEstimate {
  const { planner, aheadMs } = components
  const found = planner.plan(task, { aheadMs })
  const { digest } = task.spec
  const mayLeaveFor = [...(planner.leaving.demand(task)?.reasons ?? [])]
  const outcome = outcomeOf(components, task, found)
  const candidates = explained(found.explain)
  return { digest, ...outcome, tokens: planner.tokens(task), mayLeaveFor, candidates }
}

type Outcome = Pick<TaskEstimate, 'verdict' | 'place' | 'cascade' | 'standIn' | 'error'>

function outcomeOf({ clock, planner, aheadMs }: EstimateComponents, task: Task, found: Found): Outcome {
  if (found.kind === 'unschedulable' && found.code === 'BUDGET_EXCEEDED') return atLimit(planner, task, found)
  if (found.kind === 'unschedulable' && found.code !== 'SATURATED') return refused(refusal(found))
  const isFree = found.kind === 'plan' && aheadMs === 0
  const foundMs = found.kind === 'unschedulable' ? (found.waitMs ?? 0) : found.prediction.waitMs
  const isAway = found.kind !== 'unschedulable' && found.node.isCloud
  const waitMs = aheadMs + foundMs
  const leftMs = task.deadlineMs - clock.nowMs()
  if (!isAway && waitMs > leftMs)
    return refused(
      new SkeinError(
        'DEADLINE_UNREACHABLE',
        `the wait is some ${Math.ceil(waitMs)} ms, the deadline ${Math.ceil(leftMs)} ms`,
      ),
    )
  const verdict = isFree ? 'starts' : 'waits'
  if (found.kind === 'unschedulable') return { verdict }
  const cascade = isAway ? undefined : cascadeOf(planner, task)
  return { verdict, place: placeOf(planner, task, found), ...(cascade && { cascade }) }
}

/** What the owner wants done where less is left than it may cost. */
function atLimit(planner: Planner, task: Task, found: Unschedulable): Outcome {
  const at = planner.atBudget(task, { isTold: false })
  if (at === undefined || at.kind === 'refuse') return refused(at?.error ?? refusal(found))
  const { error } = refused(at.error)
  return at.kind === 'wait'
    ? { verdict: 'waits', error: error! }
    : { verdict: 'stands-in', standIn: at.model, error: error! }
}

function cascadeOf(planner: Planner, task: Task): EstimatedPlace | undefined {
  if (planner.leaving.cascade(task) === undefined) return undefined
  const found = planner.planEscalation(task)
  return found && placeOf(planner, task, found)
}

function placeOf(planner: Planner, task: Task, { node, prediction, reason }: Plan | Wait): EstimatedPlace {
  const cost = planner.costsAt(task, node)
  return {
    ...nameOf(node),
    route: node.isCloud ? 'cloud' : node.isSelf ? 'local' : 'mesh',
    ...(node.isCloud && reason && { leave: reason }),
    ...(cost && { cost }),
    predicted: prediction,
  }
}

const nameOf = ({ peerId, name }: NodeSnapshot): { readonly peerId: PeerId; readonly name: string } => ({
  peerId,
  name,
})

const refused = ({ code, message }: SkeinError): Outcome => ({ verdict: 'refused', error: { code, message } })
