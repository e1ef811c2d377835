/**
 * At most one attempt of a task runs here, the one with the highest fencing token that was ever seen (invariant I1): a
 * coordinator that gave an attempt up may have started the next one before the node noticed.
 */
import type { TaskId } from '../../mesh/protocol/index.ts'

/** Tasks whose highest token is remembered. The one seen longest ago is forgotten first; running ones never are. */
const TASKS_MAX = 16_384

export interface FenceEntry {
  /** True when an older attempt of the task was still running. */
  readonly hasSuperseded: boolean
  /** Ends the attempt's claim; its token stays remembered. */
  leave(): void
}

interface Seen {
  fence: number
  supersede: (() => void) | undefined
}

export class FenceGuard {
  readonly #tasksMax: number
  readonly #tasks = new Map<TaskId, Seen>()

  constructor(tasksMax: number = TASKS_MAX) {
    this.#tasksMax = tasksMax
  }

  /**
   * Whether an attempt under `fence` may run. If so, the task's older attempt is told by its `supersede`; `leave` is to
   * be called at the end of the new one.
   */
  enter(taskId: TaskId, fence: number, supersede: () => void): FenceEntry | undefined {
    const seen = this.#tasks.get(taskId)
    if (seen !== undefined && fence <= seen.fence) return undefined
    const mine: Seen = { fence, supersede }
    this.#tasks.delete(taskId)
    this.#tasks.set(taskId, mine)
    this.#forget()
    const superseded = seen?.supersede
    superseded?.()
    return { hasSuperseded: superseded !== undefined, leave: () => (mine.supersede = undefined) }
  }

  #forget(): void {
    if (this.#tasks.size <= this.#tasksMax) return
    for (const [taskId, seen] of this.#tasks) {
      if (this.#tasks.size <= this.#tasksMax) return
      if (seen.supersede === undefined) this.#tasks.delete(taskId)
    }
  }
}
