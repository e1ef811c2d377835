/** Guards, and what the source is without each. A guard that nobody misses is tested by nothing (`npm run sim -- --mutations`). */

export interface Mutation {
  readonly name: string
  /** From the root. */
  readonly file: string
  /** Stands in the file exactly once. */
  readonly guard: string
  readonly without: string
}

const ATTEMPT = 'coordinator/dispatch/attempt.ts'
const RUN = 'coordinator/dispatch/task-run.ts'
const FILTERS = 'coordinator/scheduler/filters.ts'
const EXECUTOR = 'node/executor/executor.ts'

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'fencing check of frames at the coordinator',
    file: ATTEMPT,
    guard: 'if (frame.fence !== this.init.fence) {',
    without: 'if (frame.fence < 0) {',
  },
  {
    name: 'fencing check of tokens of a task that has moved',
    file: ATTEMPT,
    guard: "if (task.deliveringFence !== fence) return this.#components.count('stale fence')",
    without: '',
  },
  {
    name: 'fencing check at the node',
    file: EXECUTOR,
    guard: 'if (!this.#fences.take(first.taskId, first.fence))',
    without: 'if (!this.#fences.take(first.taskId, first.fence) && first.fence < 0)',
  },
  {
    name: 'index check: repeated',
    file: ATTEMPT,
    guard: "if (frame.index < index) return this.#components.count('repeated index')",
    without: '',
  },
  {
    name: 'index check: gap',
    file: ATTEMPT,
    guard: 'if (frame.index > index) throw',
    without: 'if (frame.index > index + 1e6) throw',
  },
  {
    name: 'tokens beyond what was asked for',
    file: ATTEMPT,
    guard: 'if (index + ids.length > task.spec.maxTokens)',
    without: 'if (index + ids.length > task.spec.maxTokens + 1e6)',
  },
  {
    name: 'usage is what was delivered',
    file: ATTEMPT,
    guard: 'const usage = { ...frame.usage, completionTokens: task.answer.length }',
    without: 'const usage = { ...frame.usage }',
  },
  {
    name: 'a prepared target gets only what came meanwhile',
    file: ATTEMPT,
    guard: 'const generated = packTokenIds(task.answer.ids(this.from))',
    without: 'const generated = packTokenIds(task.answer.ids(Math.max(0, this.from - 1)))',
  },
  {
    name: 'watchdog of an attempt',
    file: 'coordinator/dispatch/watchdog.ts',
    guard: 'if (nowMs < this.#deadlineMs) return this.#arm()',
    without: 'return',
  },
  {
    name: 'exclusion of a failed node',
    file: FILTERS,
    guard: "if (demand.excluded.size > 0 && demand.excluded.has(exclusionKey(node))) return 'failed this task'",
    without: '',
  },
  {
    name: 'local-only filter',
    file: FILTERS,
    guard: "if (demand.localOnly && node.isCloud) return 'cloud, and the task is local-only'",
    without: '',
  },
  {
    name: 'budget check',
    file: 'coordinator/dispatch/budget.ts',
    guard: 'if (!(amount >= 0 && amount <= this.left())) return undefined',
    without: '',
  },
  {
    name: 'the breaker never ejects everyone',
    file: 'coordinator/scheduler/schedule.ts',
    guard: 'for (const { node } of tripped) readmit(filtered, node, demand)',
    without: 'filtered.rejected.push(...tripped)',
  },
  {
    name: 'admitted before acknowledged',
    file: 'coordinator/admission/mesh-service.ts',
    guard: 'return handleOf(run, true, admitted)',
    without: 'return handleOf(run, true)',
  },
  {
    name: 'a write that failed is tried again',
    file: 'coordinator/dispatch/recorder.ts',
    guard: 'retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)\n        continue',
    without: 'retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)',
  },
  {
    name: 'the checkpoint goes on where the last one ended',
    file: RUN,
    guard: 'this.#checkpointed = this.task.answer.length\n',
    without: '\n',
  },
  {
    name: 'an end is told when it is durable',
    file: RUN,
    guard: 'const durable = recorder.settled(event)',
    without: 'void recorder.settled(event)\n    const durable = Promise.resolve()',
  },
  {
    name: 'index border at attach',
    file: EXECUTOR,
    guard: 'if (piece === undefined)',
    without: 'if (piece === undefined && from < 0)',
  },
  {
    name: 'a held attempt is given up in time',
    file: 'node/executor/held-attempts.ts',
    guard: 'clock.timer(LIMITS.heldAttemptMs, expire)',
    without: 'clock.timer(1000 * LIMITS.heldAttemptMs, expire)',
  },
  {
    name: 'slots of a node',
    file: 'node/models/model-host.ts',
    guard: 'if (this.#running >= this.slots || this.#failure',
    without: 'if (this.#failure',
  },
]

/** `source` without the guard. Throws a RangeError unless it stands there exactly once. */
export function mutated({ name, file, guard, without }: Mutation, source: string): string {
  const parts = source.split(guard)
  if (parts.length !== 2) throw new RangeError(`${name}: the guard stands ${parts.length - 1} times in ${file}`)
  return parts.join(without)
}
