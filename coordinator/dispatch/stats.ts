/** What dispatch says of itself whenever it is asked; plain numbers for the metrics. */
import type { Priority } from '../ledger/index.ts'
import type { ShortCounts } from './budget-limits.ts'
import type { LimitState } from './budget.ts'
import type { CascadeCounts } from './cascade.ts'
import type { LeaveStats } from './leave-counts.ts'

/** What left for the cloud, what was kept from it, and what came of answers that were judged. */
export type CloudStats = LeaveStats & { readonly cascades: Readonly<CascadeCounts> }

export interface DispatchStats {
  readonly running: number
  readonly waiting: Readonly<Record<Priority, number>>
  /** Attempts by the reason why they followed another one. */
  readonly migrations: Readonly<Record<string, number>>
  readonly droppedFrames: Readonly<Record<string, number>>
  readonly handovers: { readonly ok: number; readonly failed: number }
  readonly cloud: CloudStats
  /** Attempts that were begun and have not ended. */
  readonly attempts: number
  /** Events that are not durable yet, and how long the oldest has waited, in ms. */
  readonly ledger: { readonly events: number; readonly ms: number }
  /** Limits of all, and what became of tasks for which less was left. */
  readonly budget: { readonly short: Readonly<ShortCounts>; readonly periods: readonly LimitState[] }
}
