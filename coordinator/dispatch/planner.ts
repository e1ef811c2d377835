/** From a task to a committed place for it, and back: what an attempt shows is learned for the next plan. */
import { featuresNeeded, SkeinError, type PeerId } from '../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../mesh/runtime/index.ts'
import type { Directory, ExpectedTokens, Reservation } from '../directory/index.ts'
import type { ExplainedCandidate } from '../ledger/index.ts'
import {
  AnswerLengths,
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
import { costMicros, type Budget, type Reserved } from './budget.ts'
import type { Completion, Task } from './task.ts'
import { TokenRatio } from './token-ratio.ts'

/** A place on a node that is held for an attempt. */
export interface Assignment {
  /** What was predicted; absent where the node already had the attempt. */
  readonly prediction?: Prediction
  readonly candidates: readonly Candidate[]
  readonly reservation: Reservation
  readonly money: Reserved | undefined
  /** Tokens that it was expected to make. */
  readonly decodeTokens: number
}

export interface PlanOptions {
  readonly claims?: ReadonlyMap<PeerId, number>
  /** A planned move away from this node. */
  readonly leaving?: PeerId
}

export interface PlannerComponents {
  readonly clock: Clock
  readonly random: Random
  readonly directory: Directory
  readonly budget: Budget
}

export class Planner {
  readonly #components: PlannerComponents
  readonly #ratio = new TokenRatio()
  readonly #lengths = new AnswerLengths()
  readonly accuracy = new PredictionAccuracy()

  constructor(components: PlannerComponents) {
    this.#components = components
  }

  plan(task: Task, { claims, leaving }: PlanOptions = {}): Plan | Wait | Unschedulable {
    const { directory, random } = this.#components
    const snapshot = directory.snapshot()
    const demand = this.#demand(task, leaving)
    return schedule(claims ? { ...snapshot, claims } : snapshot, demand, () => random.next())
  }

  /** Reserves what `plan` names, in the same turn: no other task can come between. `undefined` when money is short. */
  commit(task: Task, plan: Plan): Assignment | undefined {
    const { directory, budget } = this.#components
    const demand = this.#demand(task)
    const { node } = plan
    const cost = node.price && costMicros(node.price, demand.inputTokensMax, demand.outputTokensMax)
    // verified again: an attempt may have begun since it was planned
    const isWithin = cost !== undefined && cost <= task.costLeftMicros
    const money = isWithin ? budget.reserve(task.id, cost) : undefined
    if (node.price && money === undefined) return undefined
    task.costMicros += money?.amountMicros ?? 0
    const { digest, decodeTokens } = demand
    const prefillTokens = uncachedTokens(node.models.get(digest)!, demand)
    const reservation = directory.reserve(node.peerId, digest, { prefillTokens, decodeTokens })
    const { prediction, explain: candidates } = plan
    return { prediction, candidates, reservation, money, decodeTokens }
  }

  /** The same place once more, for an attempt that takes over from the one before. */
  renew(
    task: Task,
    { assignment, node }: { readonly assignment: Assignment; readonly node: NodeSnapshot },
  ): {
    readonly assignment: Assignment
    readonly node: NodeSnapshot
  } {
    const { prediction, candidates: explain } = assignment
    const renewed = prediction && this.commit(task, { kind: 'plan', node, prediction, explain })
    if (renewed === undefined) throw new SkeinError('BUDGET_EXCEEDED', 'no money is left for another round of the move')
    return { assignment: renewed, node }
  }

  /** A place for an attempt that the node still holds. */
  adopt(task: Task, peerId: PeerId): Assignment {
    const { digest, decodeTokens } = this.#demand(task)
    const reservation = this.#components.directory.reserve(peerId, digest, { prefillTokens: 0, decodeTokens })
    return { candidates: [], reservation, money: undefined, decodeTokens }
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
    const there = this.plan(task, { leaving: peerId })
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

  /** Never more than was set aside: the estimate of the input is ours, and was made with all that could be. */
  #settle(task: Task, attempt: Attempt, { money }: Assignment): number | undefined {
    const { node, from, delivered } = attempt
    if (money === undefined || node.price === undefined) return undefined
    const inputTokens = attempt.isAccepted ? this.promptTokens(task) + from : 0
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
    const { digest, maxTokens } = task.spec
    this.#ratio.learn(digest, task.promptBytes, usage.promptTokens)
    this.#lengths.learn(digest, usage.completionTokens, maxTokens)
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
      // one less: the reservation is rounded up
      budget: Math.max(0, budget.left() - 1) / 1e6,
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
      ...(leaving && { leaving, mustStartNow: true }),
    }
  }
}

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
