/** Guards, and what the source is without each. A guard that nobody misses is tested by nothing (`npm run sim -- --mutations`). */

export interface Patch {
  /** From the root. */
  readonly file: string
  /** Stands in the file exactly once. */
  readonly guard: string
  readonly without: string
}

export interface Mutation {
  readonly name: string
  /** More than one where a second guard does the work of the first. */
  readonly patches: readonly Patch[]
}

const ATTEMPT = 'coordinator/dispatch/attempt.ts'
const RUN = 'coordinator/dispatch/task-run.ts'
const FILTERS = 'coordinator/scheduler/filters.ts'
const EXECUTOR = 'node/executor/executor.ts'

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'fencing check of frames at the coordinator',
    patches: [
      {
        file: ATTEMPT,
        guard: 'if (frame.fence !== this.init.fence) {',
        without: 'if (frame.fence < 0) {',
      },
    ],
  },
  {
    name: 'fencing check of tokens of a task that has moved',
    patches: [
      {
        file: ATTEMPT,
        guard: "if (task.deliveringFence !== fence) return this.#components.count('stale fence')",
        without: '',
      },
    ],
  },
  {
    name: 'fencing check at the node',
    patches: [
      {
        file: EXECUTOR,
        guard: 'if (!this.#fences.take(first.taskId, first.fence))',
        without: 'if (!this.#fences.take(first.taskId, first.fence) && first.fence < 0)',
      },
    ],
  },
  {
    name: 'index check: repeated',
    patches: [
      {
        file: ATTEMPT,
        guard: "if (frame.index < index) return this.#components.count('repeated index')",
        without: '',
      },
    ],
  },
  {
    name: 'index check: gap',
    patches: [
      {
        file: ATTEMPT,
        guard: 'if (frame.index > index) throw',
        without: 'if (frame.index > index + 1e6) throw',
      },
    ],
  },
  {
    name: 'tokens beyond what was asked for',
    patches: [
      {
        file: ATTEMPT,
        guard: 'if (index + ids.length > task.spec.maxTokens)',
        without: 'if (index + ids.length > task.spec.maxTokens + 1e6)',
      },
    ],
  },
  {
    name: 'usage is what was delivered',
    patches: [
      {
        file: ATTEMPT,
        guard: 'const usage = { ...frame.usage, completionTokens: task.answer.length }',
        without: 'const usage = { ...frame.usage }',
      },
    ],
  },
  {
    name: 'a prepared target gets only what came meanwhile',
    patches: [
      {
        file: ATTEMPT,
        guard: 'const generated = packTokenIds(task.answer.ids(this.from))',
        without: 'const generated = packTokenIds(task.answer.ids(Math.max(0, this.from - 1)))',
      },
    ],
  },
  {
    name: 'watchdog of an attempt',
    patches: [
      {
        file: 'coordinator/dispatch/watchdog.ts',
        guard: 'if (nowMs < this.#deadlineMs) return this.#arm()',
        without: 'return',
      },
    ],
  },
  {
    name: 'exclusion of a failed node',
    patches: [
      {
        file: FILTERS,
        guard: "if (demand.excluded.size > 0 && demand.excluded.has(exclusionKey(node))) return 'failed this task'",
        without: '',
      },
    ],
  },
  {
    name: 'local-only filter',
    patches: [
      {
        file: FILTERS,
        guard: "if (demand.localOnly && node.isCloud) return 'cloud, and the task is local-only'",
        without: '',
      },
    ],
  },
  {
    name: 'budget check',
    patches: [
      {
        file: 'coordinator/dispatch/budget.ts',
        guard: 'if (!(amount >= 0 && amount <= this.left())) return undefined',
        without: '',
      },
      {
        file: FILTERS,
        guard: '!(cost <= demand.budget)',
        without: 'cost < 0',
      },
    ],
  },
  {
    name: 'the breaker never ejects everyone',
    patches: [
      {
        file: 'coordinator/scheduler/schedule.ts',
        guard: 'for (const { node } of tripped) readmit(filtered, node, demand)',
        without: 'filtered.rejected.push(...tripped)',
      },
    ],
  },
  {
    name: 'admitted before acknowledged',
    patches: [
      {
        file: 'coordinator/admission/mesh-service.ts',
        guard: 'return handleOf(run, true, admitted, origin)',
        without: 'return handleOf(run, true, Promise.resolve(), origin)',
      },
    ],
  },
  {
    name: 'a write that failed is tried again',
    patches: [
      {
        file: 'coordinator/dispatch/recorder.ts',
        guard: 'retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)\n        continue',
        without: 'retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)',
      },
    ],
  },
  {
    name: 'the checkpoint goes on where the last one ended',
    patches: [
      {
        file: RUN,
        guard: 'this.#checkpointed = this.task.answer.length\n',
        without: '\n',
      },
    ],
  },
  {
    name: 'an end is told when it is durable',
    patches: [
      {
        file: RUN,
        guard: 'const durable = recorder.settled(endOfTask(this.#components, this.task, ended))',
        without:
          'void recorder.settled(endOfTask(this.#components, this.task, ended))\n    const durable = Promise.resolve()',
      },
    ],
  },
  {
    name: 'a held attempt is given up in time',
    patches: [
      {
        file: 'node/executor/held-attempts.ts',
        guard: 'clock.timer(LIMITS.heldAttemptMs, expire)',
        without: 'clock.timer(1000 * LIMITS.heldAttemptMs, expire)',
      },
    ],
  },
  {
    name: 'slots of a node',
    patches: [
      {
        file: 'node/models/model-host.ts',
        guard: 'if (this.#running >= this.slots || this.#failure',
        without: 'if (this.#failure',
      },
    ],
  },
  {
    name: 'orders: the consent of the owner',
    patches: [
      {
        file: 'coordinator/residency/choice.ts',
        guard: "if (consent === 'off') return 'its owner takes no orders'",
        without: '',
      },
    ],
  },
  {
    name: 'orders: rented machines',
    patches: [
      {
        file: 'coordinator/residency/choice.ts',
        guard: "if (node.isCloud || node.price !== undefined) return 'rented'",
        without: '',
      },
    ],
  },
]

/** `source` without the guard. Throws a RangeError unless it stands there exactly once. */
export function mutated({ file, guard, without }: Patch, source: string): string {
  const parts = source.split(guard)
  if (parts.length !== 2) throw new RangeError(`${file}: '${guard}' stands there ${parts.length - 1} times`)
  return parts.join(without)
}
