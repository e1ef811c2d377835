/** What a run needs of the dispatcher, and tells it. */
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import type { AttemptReason } from '../ledger/index.ts'
import type { Attempt, AttemptComponents } from './attempt.ts'
import type { CascadeCounts } from './cascade.ts'
import type { Tell } from './happened.ts'
import type { Costs } from './costs.ts'
import type { PlacementComponents } from './placement.ts'
import type { Recorder } from './recorder.ts'
import type { TaskRun } from './task-run.ts'

/** What a run counts; plain numbers for the metrics. */
export interface RunCounters {
  handOvers: number
  handOversFailed: number
}

export interface RunComponents extends AttemptComponents, PlacementComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly recorder: Recorder
  readonly counters: RunCounters
  readonly cascades: CascadeCounts
  /** Nothing is priced without it. */
  readonly costs?: Costs | undefined
  /** Aborts when that life of the node is over. */
  readonly lostSignal: (node: Attempt['node']) => AbortSignal
  readonly tell: Tell
  /** An attempt of the run has begun. */
  readonly onAttempt: (run: TaskRun) => void
  /** The answer comes from `attempt` now, and came from another one before. */
  readonly onMoved: (attempt: Attempt, reason: AttemptReason) => void
  /** The run is over, and what it has is recorded or was tried to be. */
  readonly onEnd: (run: TaskRun) => void
}
