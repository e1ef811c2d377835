/**
 * At most one attempt of a task runs here, the one with the highest fencing token that was ever seen (invariant I1): a
 * coordinator that gave an attempt up may have started the next one before the node noticed.
 */
import type { TaskId } from '../../mesh/protocol/index.ts'

/** Tasks whose highest token is remembered. The one seen longest ago is forgotten first; those that are here never are. */
const TASKS_MAX = 16_384

export class FenceGuard {
  readonly #isHere: (taskId: TaskId) => boolean
  readonly #tasksMax: number
  readonly #newest = new Map<TaskId, number>()

  /** @param isHere whether an attempt of the task is kept on this node. */
  constructor(isHere: (taskId: TaskId) => boolean, tasksMax: number = TASKS_MAX) {
    this.#isHere = isHere
    this.#tasksMax = tasksMax
  }

  /** Whether `fence` is above all that were seen of the task. If so, it is the newest from now on. */
  take(taskId: TaskId, fence: number): boolean {
    const newest = this.#newest.get(taskId)
    if (newest !== undefined && fence <= newest) return false
    this.#newest.delete(taskId)
    this.#newest.set(taskId, fence)
    this.#forget()
    return true
  }

  #forget(): void {
    for (const taskId of this.#newest.keys()) {
      if (this.#newest.size <= this.#tasksMax) return
      if (!this.#isHere(taskId)) this.#newest.delete(taskId)
    }
  }
}
