/**
 * What happened to tasks, work and money, for whoever watches: metrics, and people. Told as it happens, whatever the ledger
 * does meanwhile, and never for a token: what is counted by tokens is told with the end.
 *
 * A task's whole `spec` is in its events, prompt included. Who passes events on takes out of it what may be known.
 */
import type { ErrorCode, TaskOutcome, WorkKind } from '../../mesh/protocol/index.ts'
import type { AttemptReason, BudgetEvent, LedgerAttempt, TaskResult, TaskSpec } from '../ledger/index.ts'
import type { BudgetSnapshot, Short } from './budget.ts'
import type { WorkSpec } from './work-run.ts'

export type AssignedAttempt = LedgerAttempt['assigned']

export type DispatchEvent =
  /** It was admitted, or taken over from an earlier life of the coordinator, and looks for a place. */
  | { readonly type: 'task.queued'; readonly task: TaskSpec }
  | {
      readonly type: 'attempt.began'
      readonly task: TaskSpec
      readonly attempt: AssignedAttempt
      /** From the admission of its task to the first attempt, in ms. */
      readonly waitedMs: number
    }
  | {
      readonly type: 'attempt.ended'
      readonly task: TaskSpec
      readonly attempt: AssignedAttempt
      readonly ended: NonNullable<LedgerAttempt['ended']>
      /** Fencing token of the attempt that the task had begun before this one. */
      readonly before?: number
    }
  /** The answer comes from another attempt now. */
  | {
      readonly type: 'task.moved'
      readonly task: TaskSpec
      readonly attempt: Pick<AssignedAttempt, 'attempt' | 'node' | 'route'>
      readonly reason: AttemptReason
    }
  | {
      readonly type: 'task.ended'
      readonly task: TaskSpec
      readonly result: TaskResult
      /** What it took; of an answer that is not whole, the prompt as estimated. */
      readonly tokens: TokenCounts
      readonly attempts: number
      /** From its admission, or the coordinator's start when that was later. */
      readonly tookMs: number
    }
  | {
      readonly type: 'work.ended'
      readonly work: Pick<WorkSpec, 'taskId' | 'digest' | 'tenant' | 'trace'> & { readonly kind: WorkKind }
      readonly outcome: TaskOutcome
      /** Why it was not completed. */
      readonly code?: ErrorCode
      readonly tookMs: number
      readonly promptTokens: number
    }
  /** Money was spent on an attempt. */
  | { readonly type: 'budget.spent'; readonly costMicros: number; readonly budget: BudgetSnapshot }
  /** The first time in its period that a limit left less than was needed. */
  | { readonly type: 'budget.exhausted'; readonly short: Short }
  | BudgetEvent
  /** The ledger has answered a write; with a code, it was not made. */
  | { readonly type: 'ledger.answered'; readonly tookMs: number; readonly code?: ErrorCode }

export interface TokenCounts {
  readonly promptTokens: number
  /** Those of the prompt that the node had cached. */
  readonly cachedTokens: number
  readonly completionTokens: number
}

export type Tell = (event: DispatchEvent) => void
