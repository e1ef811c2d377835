/** The attempts of one task: begun, ended, and recorded; the present view of them is what people are shown. */
import {
  asSkeinError,
  stepAttempt,
  type AttemptOutcome,
  type AttemptState,
  type CloudReason,
  type Route,
} from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import type { AttemptReason, LedgerAttempt, NodeName } from '../ledger/index.ts'
import type { Attempt } from './attempt.ts'
import { dayOf } from './budget-periods.ts'
import type { Reserved } from './budget.ts'
import { energyOf, type Costs } from './costs.ts'
import type { Left, TaskEvent } from './events.ts'
import type { Tell } from './happened.ts'
import { explained, type Assignment, type Planner } from './planner.ts'
import type { Recorder } from './recorder.ts'
import type { Task } from './task.ts'
import { logIdsOf } from './traced.ts'

export interface AttemptLogComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly planner: Planner
  readonly recorder: Recorder
  readonly tell: Tell
  /** Energy is not priced without it. */
  readonly costs?: Costs | undefined
}

interface Open {
  readonly assignment: Assignment
  state: AttemptState
}

/** Of an error's message in the ledger. */
export const MESSAGE_LENGTH_MAX = 512

export const routeOf = (node: Attempt['node']): Route => (node.isCloud ? 'cloud' : node.isSelf ? 'local' : 'mesh')

function leftAs(
  paper: Assignment['leave'],
): Pick<LedgerAttempt['assigned'], 'leave' | 'estimateMicros' | 'redactions'> {
  if (paper === undefined) return {}
  const { reason, estimateMicros, redactions } = paper
  return {
    leave: reason,
    ...(estimateMicros !== undefined && { estimateMicros }),
    ...(redactions > 0 && { redactions }),
  }
}

/** What followers are told of an attempt that a node has taken. */
export const startedAt = ({ node, init }: Attempt, reason: AttemptReason): Extract<TaskEvent, { type: 'started' }> => ({
  type: 'started',
  node: nameOf(node),
  route: routeOf(node),
  attempt: init.number,
  reason,
  ...(init.leave && { left: leftOf(init.leave.reason, init.leave.estimateMicros) }),
})

export const leftOf = (reason: CloudReason, estimateMicros: number | undefined): Left => ({
  reason,
  ...(estimateMicros !== undefined && { estimateMicros }),
})

export const nameOf = ({ peerId, name }: Attempt['node']): NodeName => ({ peerId, name })

/** What was set aside, and the day that it counts on where the clock says an earlier one. */
const reservedOf = (
  { amountMicros, day }: Reserved,
  wallMs: number,
): { reservedMicros: number; reservedDay?: number } =>
  day === dayOf(wallMs) ? { reservedMicros: amountMicros } : { reservedMicros: amountMicros, reservedDay: day }

export class AttemptLog {
  readonly #components: AttemptLogComponents
  readonly #task: Task
  readonly #open = new Map<Attempt, Open>()
  readonly #entries: LedgerAttempt[]

  /** @param earlier attempts of an earlier life of the coordinator. */
  constructor(components: AttemptLogComponents, task: Task, earlier: readonly LedgerAttempt[]) {
    this.#components = components
    this.#task = task
    this.#entries = earlier.map((entry) => (entry.ended ? entry : { ...entry, ended: this.#leftOpen(entry) }))
  }

  get entries(): readonly LedgerAttempt[] {
    return this.#entries
  }

  /** An attempt that ran when the coordinator died: it is over, whatever the node still holds of it. */
  #leftOpen({ assigned: { attempt } }: LedgerAttempt): NonNullable<LedgerAttempt['ended']> {
    const { clock, recorder } = this.#components
    const ended = {
      atMs: clock.wallMs(),
      attempt,
      outcome: 'lost',
      code: 'COORDINATOR_RESTARTED',
      message: 'the coordinator was restarted while it ran',
      to: this.#task.answer.length,
      observed: {},
    } as const
    recorder.record({ type: 'attempt.ended', taskId: this.#task.id, ...ended })
    return ended
  }

  /** Attempts that have begun and not ended. */
  get open(): readonly Attempt[] {
    return [...this.#open.keys()]
  }

  /** Resolves when it is on record, which an attempt that costs money waits for. */
  begun(attempt: Attempt, assignment: Assignment, reason: AttemptReason): Promise<void> {
    this.#open.set(attempt, { assignment, state: 'assigned' })
    const { node, init, from } = attempt
    const assigned = {
      atMs: this.#components.clock.wallMs(),
      attempt: init.number,
      fence: init.fence,
      node: nameOf(node),
      route: routeOf(node),
      reason,
      from,
      ...(node.price && { price: node.price }),
      ...(assignment.money && reservedOf(assignment.money, this.#components.clock.wallMs())),
      ...leftAs(assignment.leave),
      ...(assignment.prediction && { predicted: assignment.prediction }),
      candidates: explained(assignment.candidates),
    }
    this.#entries.push({ assigned })
    const { spec, admittedAtMs, firstAssignedAtMs = admittedAtMs } = this.#task
    const waitedMs = firstAssignedAtMs - admittedAtMs
    const { attempt: number, fence } = assigned
    const ids = { ...logIdsOf(spec), attempt: number }
    this.#components.log.debug({ ...ids, fence, node: node.name, reason }, 'assigned')
    if (assigned.leave) this.#components.planner.leaving.counts.left(assigned.leave)
    this.#components.tell({ type: 'attempt.began', task: spec, attempt: assigned, waitedMs })
    return this.#components.recorder.settled({ type: 'attempt.assigned', taskId: this.#task.id, ...assigned })
  }

  accepted(attempt: Attempt): void {
    this.#step(attempt, 'accepted')
  }

  delivered(attempt: Attempt, count: number): void {
    const open = this.#open.get(attempt)
    if (open === undefined) return
    if (open.state === 'accepted') this.#step(attempt, 'decoding')
    open.assignment.reservation.progress(count)
  }

  /** Gives back what the attempt held. Once; a second end changes nothing. */
  ended(attempt: Attempt, outcome: AttemptOutcome, thrown?: unknown): void {
    const open = this.#open.get(attempt)
    if (open === undefined) return
    this.#step(attempt, outcome)
    this.#open.delete(attempt)
    const { clock, planner, recorder, tell } = this.#components
    const costMicros = planner.release(this.#task, attempt, open.assignment)
    const error = thrown === undefined ? undefined : asSkeinError(thrown, 'NODE_LOST')
    const ended = {
      atMs: clock.wallMs(),
      attempt: attempt.init.number,
      outcome,
      ...(error && { code: error.code, message: error.message.slice(0, MESSAGE_LENGTH_MAX) }),
      to: attempt.to,
      observed: attempt.observed,
      ...(costMicros !== undefined && { costMicros }),
      ...this.#energyOf(attempt),
      ...this.#confidenceOf(attempt),
    }
    const at = this.#entries.findIndex((entry) => entry.assigned.attempt === ended.attempt && !entry.ended)
    const entry = this.#entries[at]
    if (entry) {
      this.#entries[at] = { ...entry, ended }
      const before = this.#entries[at - 1]?.assigned.fence
      const told = { attempt: entry.assigned, ended, ...(before !== undefined && { before }) }
      tell({ type: 'attempt.ended', task: this.#task.spec, ...told })
    }
    const ids = { ...logIdsOf(this.#task.spec), attempt: ended.attempt }
    this.#components.log.debug({ ...ids, outcome, code: error?.code, to: ended.to }, 'attempt ended')
    recorder.record({ type: 'attempt.ended', taskId: this.#task.id, ...ended })
  }

  /** Of the attempt that was judged; those that follow are not. */
  #confidenceOf({ node }: Attempt): Pick<NonNullable<LedgerAttempt['ended']>, 'confidence'> {
    const { confidence } = this.#task
    if (confidence === undefined || node.isCloud || this.#entries.some(({ ended }) => ended?.confidence)) return {}
    return { confidence }
  }

  #energyOf(attempt: Attempt): Pick<NonNullable<LedgerAttempt['ended']>, 'energy'> {
    const { planner, costs } = this.#components
    // of one that did not end whole, what was read is an estimate; one that was attached to had read it before
    const isBegun = attempt.delivered > 0 && typeof attempt.init.start === 'string'
    const read = attempt.prefilled ?? (isBegun ? planner.promptTokens(this.#task) + attempt.from : 0)
    const used = energyOf(attempt, read)
    if (used === undefined) return {}
    // a node with a price is billed by that
    const costMicros = attempt.node.price ? undefined : costs?.energyMicros(used.joules)
    return { energy: { ...used, ...(costMicros !== undefined && { costMicros }) } }
  }

  #step(attempt: Attempt, state: AttemptState): void {
    const open = this.#open.get(attempt)
    if (open) open.state = stepAttempt(open.state, state)
  }
}
