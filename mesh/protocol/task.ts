/** Tasks and attempts: their states, how they end, and the only transitions that are legal. */
import { SkeinError } from './errors.ts'

export type TaskState = 'queued' | 'running' | 'completed' | 'failed' | 'cancelled' | 'expired' | 'rejected'
export type AttemptState =
  'assigned' | 'accepted' | 'decoding' | 'completed' | 'failed' | 'lost' | 'cancelled' | 'evicted'

/** Outcome is not error: a closed set for metrics and ledgers; the error beside it keeps the detail. */
export type TaskOutcome = Extract<TaskState, 'completed' | 'failed' | 'cancelled' | 'expired' | 'rejected'>
export type AttemptOutcome = Extract<AttemptState, 'completed' | 'failed' | 'lost' | 'cancelled' | 'evicted'>

export const TASK_TRANSITIONS: Readonly<Record<TaskState, readonly TaskState[]>> = {
  queued: ['running', 'failed', 'cancelled', 'expired', 'rejected'],
  // back to queued: its node was lost and no other is free yet
  running: ['queued', 'completed', 'failed', 'cancelled', 'expired'],
  completed: [],
  failed: [],
  cancelled: [],
  expired: [],
  rejected: [],
}

export const ATTEMPT_TRANSITIONS: Readonly<Record<AttemptState, readonly AttemptState[]>> = {
  assigned: ['accepted', 'failed', 'lost', 'cancelled', 'evicted'],
  // an answer may be empty: completed without a token
  accepted: ['decoding', 'completed', 'failed', 'lost', 'cancelled', 'evicted'],
  decoding: ['completed', 'failed', 'lost', 'cancelled', 'evicted'],
  completed: [],
  failed: [],
  lost: [],
  cancelled: [],
  evicted: [],
}

function step<S extends string>(table: Readonly<Record<S, readonly S[]>>, what: string, from: S, to: S): S {
  if (table[from].includes(to)) return to
  throw new SkeinError('INTERNAL', `${what} cannot go from ${from} to ${to}`)
}

/** The next state. @throws SkeinError INTERNAL when the table does not have the transition. */
export const stepTask = (from: TaskState, to: TaskState): TaskState => step(TASK_TRANSITIONS, 'a task', from, to)
/** The next state. @throws SkeinError INTERNAL when the table does not have the transition. */
export const stepAttempt = (from: AttemptState, to: AttemptState): AttemptState =>
  step(ATTEMPT_TRANSITIONS, 'an attempt', from, to)

export const isTaskEnd = (state: TaskState): state is TaskOutcome => TASK_TRANSITIONS[state].length === 0
export const isAttemptEnd = (state: AttemptState): state is AttemptOutcome => ATTEMPT_TRANSITIONS[state].length === 0

/** Where an answer was made: on the coordinator's own machine, on another member, or in the cloud. */
export type Route = 'local' | 'mesh' | 'cloud'

/** The parts of a predicted completion, in ms. Their sum is the scheduler's score; less is better. */
export interface Prediction {
  /** Until a slot is free. */
  readonly waitMs: number
  readonly loadMs: number
  readonly prefillMs: number
  readonly decodeMs: number
  readonly linkMs: number
  readonly penaltyMs: number
  readonly totalMs: number
}
