/** The attempts of one task: begun, ended, and recorded; the present view of them is what people are shown. */
import {
  asSkeinError,
  stepAttempt,
  type AttemptOutcome,
  type AttemptState,
  type Route,
} from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import type { AttemptReason, LedgerAttempt, NodeName } from '../ledger/index.ts'
import type { Attempt } from './attempt.ts'
import type { Tell } from './happened.ts'
import { explained, type Assignment, type Planner } from './planner.ts'
import type { Recorder } from './recorder.ts'
import type { Task } from './task.ts'

export interface AttemptLogComponents {
  readonly clock: Clock
  readonly planner: Planner
  readonly recorder: Recorder
  readonly tell: Tell
}

interface Open {
  readonly assignment: Assignment
  state: AttemptState
}

/** Of an error's message in the ledger. */
export const MESSAGE_LENGTH_MAX = 512

export const routeOf = (node: Attempt['node']): Route => (node.isCloud ? 'cloud' : node.isSelf ? 'local' : 'mesh')

export const nameOf = ({ peerId, name }: Attempt['node']): NodeName => ({ peerId, name })

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
      ...(assignment.money && { reservedMicros: assignment.money.amountMicros }),
      ...(assignment.prediction && { predicted: assignment.prediction }),
      candidates: explained(assignment.candidates),
    }
    this.#entries.push({ assigned })
    const { spec, admittedAtMs, firstAssignedAtMs = admittedAtMs } = this.#task
    const waitedMs = firstAssignedAtMs - admittedAtMs
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
    }
    const at = this.#entries.findIndex((entry) => entry.assigned.attempt === ended.attempt && !entry.ended)
    const entry = this.#entries[at]
    if (entry) {
      this.#entries[at] = { ...entry, ended }
      tell({ type: 'attempt.ended', task: this.#task.spec, attempt: entry.assigned, ended })
    }
    recorder.record({ type: 'attempt.ended', taskId: this.#task.id, ...ended })
  }

  #step(attempt: Attempt, state: AttemptState): void {
    const open = this.#open.get(attempt)
    if (open) open.state = stepAttempt(open.state, state)
  }
}
