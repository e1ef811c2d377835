/** From a task to a committed place for it, and back: what an attempt shows is learned for the next plan. */
import { featuresNeeded, SkeinError, type ModelCapability, type PeerId } from '../../mesh/protocol/index.ts'
import type { Random } from '../../mesh/runtime/index.ts'
import type { ExpectedTokens, Reservation } from '../directory/index.ts'
import type { ExplainedCandidate } from '../ledger/index.ts'
import {
  AnswerLengths,
  costOf,
  predict,
  promptPrefix,
  rejectionOf,
  PredictionAccuracy,
  schedule,
  uncachedTokens,
  type Candidate,
  type NodeSnapshot,
  type Plan,
  type Prediction,
  type PromptPrefix,
  type TaskDemand,
  type Unschedulable,
  type Wait,
} from '../scheduler/index.ts'
import type { Attempt } from './attempt.ts'
import { atBudget, type AtBudget } from './budget-limits.ts'
import { costMicros, type Budget, type Reserved } from './budget.ts'
import { goesOn } from './going-on.ts'
import { Leaving, type LeavePaper, type LeavingComponents } from './leave.ts'
import type { Completion, Task } from './task.ts'
import { TokenRatio } from './token-ratio.ts'

/** A place on a node that is held for an attempt. */
export interface Assignment {
  /** What was predicted; absent where the node already had the attempt. */
  readonly prediction?: Prediction
  readonly candidates: readonly Candidate[]
  readonly reservation: Reservation
  readonly money: Reserved | undefined
  /** Where the node is in the cloud. */
  readonly leave?: LeavePaper
  /** Tokens that it was expected to make. */
  readonly decodeTokens: number
}

export interface PlanOptions {
  readonly claims?: ReadonlyMap<PeerId, number>
  /** As `LeaveDemand.aheadMs`; 0 when absent. */
  readonly aheadMs?: number
  /** A planned move away from this node. */
  readonly leaving?: PeerId
  /** No cloud node will do, for whatever reason: it is moved for gain. */
  readonly isForGain?: boolean
}

export interface PlannerComponents extends LeavingComponents {
  readonly random: Random
  readonly budget: Budget
}

export class Planner {
  readonly #components: PlannerComponents
  readonly #ratio = new TokenRatio()
  readonly #lengths = new AnswerLengths()
  readonly accuracy = new PredictionAccuracy()
  readonly leaving: Leaving

  constructor(components: PlannerComponents) {
    this.#components = components
    this.leaving = new Leaving(components)
  }

  plan(task: Task, options: PlanOptions = {}): Plan | Wait | Unschedulable {
    const { directory, random } = this.#components
    const { claims, leaving, aheadMs, isForGain = false } = options
    const base = directory.snapshot()
    const snapshot = claims ? { ...base, claims } : base
    const home = this.#demand(task, leaving)
    const leave = isForGain ? undefined : this.leaving.demand(task, aheadMs)
    const found = schedule(snapshot, leave ? { ...home, leave } : home, () => random.next())
    if (!leave || found.kind === 'unschedulable' || !found.node.isCloud || this.leaving.mayBeSaid(task)) return found
    this.leaving.counts.kept('plan', 'redaction', task)
    return schedule(snapshot, { ...home, leave: { ...leave, reasons: NO_REASONS } }, () => random.next())
  }

  /** Reserves what `plan` names, in the same turn: no other task can come between. `undefined` when money is short. */
  commit(task: Task, plan: Plan): Assignment | undefined {
    const { directory, budget } = this.#components
    const demand = this.#demand(task)
    const { node } = plan
    // the third gate: whatever the plan says, and as the node says of itself now
    const entry = directory.entry(node.peerId)
    const isCloud = node.isCloud || entry?.record?.tier === 'cloud'
    const leave = isCloud ? this.leaving.paper(task, node, plan.reason, demand) : undefined
    if (isCloud && leave === undefined) return undefined
    const cost = node.price && costMicros(node.price, demand.inputTokensMax, demand.outputTokensMax)
    // verified again: an attempt may have begun since it was planned
    const isWithin = cost !== undefined && cost <= task.costLeftMicros
    const money = isWithin ? budget.reserve(task.spec.tenant, cost) : undefined
    if (node.price && money === undefined) return undefined
    task.costMicros += money?.amountMicros ?? 0
    const { digest, decodeTokens } = demand
    const prefillTokens = uncachedTokens(node.models.get(digest)!, demand)
    const reservation = directory.reserve(node.peerId, digest, { prefillTokens, decodeTokens })
    const { prediction, explain: candidates } = plan
    if (leave) task.leftFor = leave.reason
    return { prediction, candidates, reservation, money, decodeTokens, ...(leave && { leave }) }
  }

  /** A place in the cloud for a task whose answer at home was not sure enough, if it may go to one that is free. */
  escalate(task: Task): { readonly assignment: Assignment; readonly node: NodeSnapshot } | undefined {
    const found = this.planEscalation(task)
    const assignment = found && this.commit(task, found)
    return found && assignment && { assignment, node: found.node }
  }

  planEscalation(task: Task): Plan | undefined {
    task.isUnsure = true
    const found = this.plan(task)
    task.isUnsure = false
    return found.kind === 'plan' && found.node.isCloud ? found : undefined
  }

  /** What it is expected to cost at `node`, and what it can at most, in micro-units; `undefined` where nothing is billed. */
  costsAt(
    task: Task,
    { price }: NodeSnapshot,
  ): { readonly expectedMicros: number; readonly maxMicros: number } | undefined {
    const demand = this.#demand(task)
    if (price === undefined) return undefined
    const { inputTokensMax, outputTokensMax } = demand
    const expectedMicros = Math.ceil(costOf(price, demand) * 1e6)
    return { expectedMicros, maxMicros: costMicros(price, inputTokensMax, outputTokensMax) }
  }

  /** As they are known before a tokenizer has counted. */
  tokens(task: Task): {
    readonly prompt: number
    readonly promptMax: number
    readonly completion: number
    readonly completionMax: number
  } {
    const { prefillTokens, inputTokensMax, decodeTokens, outputTokensMax } = this.#demand(task)
    return {
      prompt: Math.ceil(prefillTokens),
      promptMax: inputTokensMax,
      completion: Math.ceil(decodeTokens),
      completionMax: outputTokensMax,
    }
  }

  /** The same place once more, for an attempt that takes over from the one before. */
  renew(
    task: Task,
    { assignment, node }: { readonly assignment: Assignment; readonly node: NodeSnapshot },
  ): {
    readonly assignment: Assignment
    readonly node: NodeSnapshot
  } {
    const { prediction, candidates: explain, leave } = assignment
    const reason = leave && { reason: leave.reason }
    const renewed = prediction && this.commit(task, { kind: 'plan', node, prediction, explain, ...reason })
    if (renewed === undefined) throw new SkeinError('BUDGET_EXCEEDED', 'no money is left for another round of the move')
    return { assignment: renewed, node }
  }

  /**
   * A place for the attempt under `fence` that the node still holds; `undefined` when money is short for what it has yet to
   * make. One that counts with all that was set aside for it costs nothing more.
   */
  adopt(task: Task, { peerId, price }: NodeSnapshot, fence: number): Assignment | undefined {
    const { directory, budget } = this.#components
    const { digest, decodeTokens, outputTokensMax } = this.#demand(task)
    const cost = price === undefined || task.paidFences.has(fence) ? undefined : costMicros(price, 0, outputTokensMax)
    const isWithin = cost !== undefined && cost <= task.costLeftMicros
    const money = isWithin ? budget.reserve(task.spec.tenant, cost) : undefined
    if (cost !== undefined && money === undefined) return undefined
    task.costMicros += money?.amountMicros ?? 0
    const reservation = directory.reserve(peerId, digest, { prefillTokens: 0, decodeTokens })
    return { candidates: [], reservation, money, decodeTokens }
  }

  /**
   * What becomes of `task` when its plan is over the budget; `undefined` where not that keeps it, but its client's own limit.
   *
   * @param options `isTold`: whoever listens hears that the money is at its end.
   */
  atBudget(task: Task, { isTold = true }: { readonly isTold?: boolean } = {}): AtBudget | undefined {
    const { directory, budget } = this.#components
    const { digest, inputTokensMax: input, outputTokensMax: output } = this.#demand(task)
    const costs = directory
      .snapshot()
      .nodes.flatMap(({ price, models, isConnected }) =>
        price && isConnected && models.has(digest) ? [costMicros(price, input, output)] : [],
      )
    const cost = Math.min(...costs)
    if (!(cost <= task.costLeftMicros)) return undefined
    const short = budget.shortOf(task.spec.tenant, cost)
    if (short && isTold) budget.tellExhausted(short)
    return short && atBudget(this.#components, task, short)
  }

  /** An assignment that no attempt was made of. */
  giveBack(task: Task, { reservation, money }: Assignment): void {
    reservation.release()
    if (money === undefined) return
    this.#components.budget.settle(money, 0)
    task.costMicros -= money.amountMicros
  }

  /** Whether `task` could run on `node` if a slot were free there. */
  couldUse(task: Task, node: NodeSnapshot): boolean {
    const rejected = rejectionOf(node, this.#demand(task))
    return rejected === undefined || rejected === 'no free slot'
  }

  /** Whether it may leave for `node`, a cloud node, now or when a slot is free there. */
  mayHope(task: Task, node: NodeSnapshot): boolean {
    const leave = this.leaving.demand(task)
    if (leave === undefined || leave.reasons.size === 0 || !this.leaving.mayBeSaid(task)) return false
    const rejected = rejectionOf(node, { ...this.#demand(task), leave }, true)
    return rejected === undefined || rejected === 'no free slot'
  }

  /** Tokens that the task is expected to take from now on. */
  expected(task: Task): ExpectedTokens {
    const { prefillTokens, decodeTokens } = this.#demand(task)
    return { prefillTokens, decodeTokens }
  }

  /** Weighted tokens that the task is expected to cost from now on: input + 2 × output. */
  cost(task: Task): number {
    const { prefillTokens, decodeTokens } = this.expected(task)
    return prefillTokens + 2 * decodeTokens
  }

  /** Prompt tokens, as well as they are known before a tokenizer has counted them. */
  promptTokens(task: Task): number {
    return this.#ratio.tokens(task.spec.digest, task.promptBytes)
  }

  /** What an answer that does not end whole counts with of its prompt: nothing before its first token. */
  promptRead(task: Task): number {
    return task.answer.length === 0 ? 0 : this.promptTokens(task)
  }

  /** Predicted ms from now to the end of `task` where it runs, and on the best other node that is free; if any is. */
  compare(task: Task, peerId: PeerId): { readonly hereMs: number; readonly there: Plan } | undefined {
    const { clock, directory } = this.#components
    const node = directory.entry(peerId)?.snapshot(clock.nowMs())
    const model = node?.models.get(task.spec.digest)
    if (!node || !model) return undefined
    const there = this.plan(task, { leaving: peerId, isForGain: true })
    if (there.kind !== 'plan') return undefined
    // its own slot is among those in use, and nothing is to be prefilled
    const alone = { ...model, running: Math.max(0, model.running - 1), prefillTokensPending: 0 }
    const { decodeMs } = predict(node, alone, this.#demand(task))
    return { hereMs: decodeMs, there }
  }

  /**
   * An attempt is over: its slot is free, its money is settled, and what it showed is learned. Returns what it cost in
   * micro-units, where it has a price.
   */
  release(task: Task, attempt: Attempt, assignment: Assignment): number | undefined {
    assignment.reservation.release()
    this.#learnFrom(task, attempt, assignment)
    return this.#settle(task, attempt, assignment)
  }

  /** Never more than was set aside, whatever the node says of the prompt; of an attempt that has not ended the answer, that is an estimate. */
  #settle(task: Task, attempt: Attempt, { money }: Assignment): number | undefined {
    const { node, from, delivered } = attempt
    if (money === undefined || node.price === undefined) return undefined
    // the prompt of an attempt that was held was paid for when it began
    const hasRead = attempt.isAccepted && typeof attempt.init.start === 'string'
    const inputTokens = hasRead ? (attempt.promptTokens ?? this.promptTokens(task)) + from : 0
    const cost = Math.min(costMicros(node.price, inputTokens, delivered), money.amountMicros)
    this.#components.budget.settle(money, cost)
    task.costMicros += cost - money.amountMicros
    return cost
  }

  #learnFrom(task: Task, attempt: Attempt, assignment: Assignment): void {
    const { node, delivered, observed } = attempt
    const entry = this.#components.directory.entry(node.peerId)
    const { digest } = task.spec
    if (delivered === 0) return
    entry?.remember(digest, attempt.prefilled === undefined ? task.prefix : prefixWithAnswer(task))
    entry?.learn(digest, assignment.reservation.sample(attempt.prefilled, observed.acceptMs))
    if (attempt.init.start !== 'generate') return
    const { prediction, decodeTokens } = assignment
    if (prediction === undefined) return
    // the rate is judged, not how long the answer became
    const decodeMs = (prediction.decodeMs * delivered) / decodeTokens
    this.accuracy.record({ ...prediction, decodeMs }, observed)
  }

  /** An answer is whole: how long its prompt and it were is known now. */
  learn(task: Task, { usage }: Completion): void {
    // pieces of text are counted otherwise than tokens
    if (task.answer.hasPieces) return
    const { digest, maxTokens } = task.spec
    this.#ratio.learn(digest, task.promptBytes, usage.promptTokens)
    this.#lengths.learn(digest, usage.completionTokens, maxTokens)
  }

  /** How the node goes on with answers that a planned move is from. */
  #sourceOf({ spec }: Task, leaving: PeerId | undefined): ModelCapability['continues'] {
    const { clock, directory } = this.#components
    if (leaving === undefined) return undefined
    return directory.entry(leaving)?.snapshot(clock.nowMs()).models.get(spec.digest)?.capability.continues
  }

  #demand(task: Task, leaving?: PeerId): TaskDemand {
    const { clock, budget } = this.#components
    const { digest, maxTokens, localOnly, tenant } = task.spec
    const generated = task.answer.length
    const expected = this.#lengths.expected(digest, maxTokens)
    return {
      digest,
      prefillTokens: this.promptTokens(task) + generated,
      prefillTokensMin: this.#ratio.tokensMin(task.promptBytes) + generated,
      promptBytes: task.promptBytes,
      prefix: task.prefix,
      features: ['completion', ...featuresNeeded(task.spec)],
      localOnly,
      tenant,
      budget: budget.left(tenant) / 1e6,
      ...(task.spec.costMicrosMax !== undefined && { costMax: Math.max(0, task.costLeftMicros - 1) / 1e6 }),
      inputTokensMax: inputTokensMax(task),
      outputTokensMax: maxTokens - generated,
      // an answer that is longer than expected is expected to go on for as long again
      decodeTokens: Math.max(
        1,
        Math.min(maxTokens - generated, expected > generated ? expected - generated : expected),
      ),
      excluded: task.excludedAt(clock.nowMs()),
      ...(task.waitingSinceMs !== undefined && { waitedMs: clock.nowMs() - task.waitingSinceMs }),
      ...((generated > 0 || leaving) && { goesOn: goesOn(task, this.#sourceOf(task, leaving)) }),
      ...(leaving && { leaving, mustStartNow: true }),
    }
  }
}

const NO_REASONS: ReadonlySet<never> = new Set()

/** What the node's cache holds after an answer: the next turn of a conversation begins with it. */
function prefixWithAnswer({ spec, answer }: Task): PromptPrefix {
  const { prompt } = spec
  if (prompt.kind === 'text') return promptPrefix({ kind: 'text', text: prompt.text + answer.text })
  return promptPrefix({ ...prompt, messages: [...prompt.messages, { role: 'assistant', content: answer.text }] })
}

/** A chat template adds some tokens to each message. */
const TEMPLATE_TOKENS = 16
/** It says at length what tools are for, and writes some words around each. */
const TOOLS_TEMPLATE_TOKENS = 1024
const TOOL_TEMPLATE_TOKENS = 64

/** No token is shorter than a byte; white space that a template writes into JSON at most doubles it. */
function inputTokensMax({ spec, answer, promptBytes }: Task): number {
  if (spec.prompt.kind === 'text') return promptBytes + TEMPLATE_TOKENS + answer.length
  const { messages, tools } = spec.prompt
  const around = TEMPLATE_TOKENS * (messages.length + 1)
  if (!featuresNeeded(spec).includes('tools')) return promptBytes + around + answer.length
  return 2 * promptBytes + around + TOOLS_TEMPLATE_TOKENS + TOOL_TEMPLATE_TOKENS * (tools?.length ?? 0) + answer.length
}

/** For the ledger: without what only the scheduler needs. */
export const explained = (candidates: readonly Candidate[]): ExplainedCandidate[] =>
  candidates.map(({ peerId, name, verdict }) => ({
    peerId,
    name,
    ...verdict,
  }))

export const refusal = (found: Unschedulable): SkeinError => {
  const isSoon = found.code === 'NO_ELIGIBLE_NODE' || found.code === 'NO_NODE'
  return new SkeinError(found.code, found.message, isSoon ? { retryAfterSeconds: 2 } : {})
}
