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
  /** Whose histories have to miss it; the whole mesh's when absent. */
  readonly world?: 'fleet'
  /** Seed from which on it is looked for, where its history is a rare one. */
  readonly from?: number
  /** More than one where a second guard does the work of the first. */
  readonly patches: readonly Patch[]
}

const ATTEMPT = 'coordinator/dispatch/attempt.ts'
const RUN = 'coordinator/dispatch/task-run.ts'
const LEAVE = 'coordinator/dispatch/leave.ts'
const FILTERS = 'coordinator/scheduler/filters.ts'
const EXECUTOR = 'node/executor/executor.ts'
const FLEET = 'coordinator/cloud/fleet.ts'
const RECONCILER = 'coordinator/cloud/reconciler.ts'
const ORCHESTRATOR = 'coordinator/cloud/orchestrator.ts'

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
        guard: 'const usage = { ...frame.usage, completionTokens: task.answer.length, ...this.#thought(frame) }',
        without: 'const usage = { ...frame.usage }',
      },
    ],
  },
  {
    name: 'text behind which an answer goes on',
    patches: [
      {
        file: 'coordinator/dispatch/going-on.ts',
        guard: 'return answer.textBefore(tokens)',
        without: "return ''",
      },
    ],
  },
  {
    name: 'text up to the cut of a moved answer',
    patches: [
      {
        file: ATTEMPT,
        guard: 'const said = saidFor(task, this.#continues, task.answer.length)',
        without: 'const said = saidFor(task, this.#continues, this.from)',
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
    // each holds what the one before lets by: all of the coordinator's must be gone
    name: 'gates of what is local-only',
    patches: [
      {
        file: FILTERS,
        guard: "if (demand.localOnly) return 'cloud, and the task is local-only'",
        without: '',
      },
      {
        file: 'coordinator/scheduler/schedule.ts',
        guard: 'if (demand.localOnly || leave === undefined) return',
        without: 'if (leave === undefined) return',
      },
      { file: LEAVE, guard: 'if (spec.localOnly) return undefined', without: '' },
      {
        file: LEAVE,
        guard: 'reason !== undefined && !task.spec.localOnly && this.#of',
        without: 'reason !== undefined && this.#of',
      },
      { file: LEAVE, guard: 'task.spec.localOnly ? NONE : this.reasonsFor', without: 'this.reasonsFor' },
      {
        file: 'coordinator/dispatch/dispatcher.ts',
        guard: 'if (localOnly || found.reason === undefined)',
        without: 'if (found.reason === undefined)',
      },
      {
        file: ATTEMPT,
        guard: 'if (task.spec.localOnly || (leave === undefined && !isKnownThere))',
        without: 'if (leave === undefined && !isKnownThere)',
      },
    ],
  },
  {
    name: 'budget check',
    patches: [
      {
        file: 'coordinator/dispatch/budget.ts',
        guard: 'if (!(amount >= 0 && amount <= this.left(tenant))) return undefined',
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
    name: 'limit of a tenant',
    patches: [
      {
        file: 'coordinator/dispatch/budget.ts',
        guard: 'Math.max(0, Math.min(ofAll, this.#leftOf(tenant)))',
        without: 'Math.max(0, ofAll)',
      },
    ],
  },
  {
    name: 'the breaker never ejects everyone',
    patches: [
      {
        file: 'coordinator/scheduler/schedule.ts',
        guard: 'for (const { node } of tripped) readmit(filtered, node, demand, isAway)',
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
  {
    name: 'fleet: a lease is durable before its machine is launched',
    world: 'fleet',
    patches: [
      {
        file: 'coordinator/cloud/leases.ts',
        guard: 'await this.#store.recordLeases([event])',
        without: 'this.#store.recordLeases([event]).catch(() => {})',
      },
    ],
  },
  {
    name: 'fleet: no order without money',
    world: 'fleet',
    patches: [
      {
        file: ORCHESTRATOR,
        guard: "if (!isPaid) throw new SkeinError('BUDGET_EXCEEDED', 'no money is left for a machine')",
        without: '',
      },
    ],
  },
  {
    name: 'fleet: machines are paid ahead',
    world: 'fleet',
    patches: [
      {
        file: RECONCILER,
        guard: 'if (life.paidMs - ranMs >= paidAheadMs(aloneMinutes)) return undefined',
        without: 'return undefined',
      },
      {
        file: RECONCILER,
        guard: "if (isRunningOut(lease, life, nowMs)) return 'what is paid for it is almost over'",
        without: '',
      },
    ],
  },
  {
    name: 'fleet: a machine for which no money is left goes',
    world: 'fleet',
    patches: [
      {
        file: ORCHESTRATOR,
        guard: 'if (!isPaid) return void (life.isUnpaid = true)',
        without: 'if (!isPaid) return void (life.paidMs += byMs)',
      },
    ],
  },
  {
    name: 'fleet: a lease ends when lists have settled',
    world: 'fleet',
    patches: [
      {
        file: RECONCILER,
        guard: 'return listed.askedMs > life.calledMs + settleMs',
        without: 'return listed.askedMs >= 0',
      },
    ],
  },
  {
    name: 'fleet: an answer that is lost may have launched',
    world: 'fleet',
    patches: [{ file: ORCHESTRATOR, guard: 'life.isUncertain = true', without: 'life.isUncertain = wasUncertain' }],
  },
  {
    name: 'fleet: what has no lease is ended',
    world: 'fleet',
    patches: [
      {
        file: 'coordinator/cloud/orchestrator-lists.ts',
        guard: 'if (!isLeased(machine.token) || !kept.has(machine.id))',
        without: 'if (!kept.has(machine.id))',
      },
    ],
  },
  {
    name: 'fleet: one launch at a time for a model',
    world: 'fleet',
    patches: [
      {
        file: FLEET,
        guard: "if (isOrdering || machines.some(({ phase }) => phase === 'pending'))",
        without: 'if (machines.length < 0)',
      },
    ],
  },
  {
    name: 'fleet: the maximum of a pool',
    world: 'fleet',
    patches: [
      {
        file: FLEET,
        guard: 'if (pool.isHeldOff || count >= settings.max) return undefined',
        without: 'if (pool.isHeldOff) return undefined',
      },
    ],
  },
  {
    name: 'fleet: a machine that nobody pays for is put out of the mesh',
    world: 'fleet',
    from: 7401,
    patches: [
      {
        file: RECONCILER,
        guard: 'const cutsOff = isStubborn && !life.isCutOff',
        without: 'const cutsOff = isStubborn && !life.isCutOff && life.launches < 0',
      },
    ],
  },
  {
    name: 'fleet: a machine whose time cannot be paid goes',
    world: 'fleet',
    patches: [
      {
        file: RECONCILER,
        guard: 'return paidMs - ranMs < aloneMinutes * MINUTE_MS + END_MS / 2',
        without: 'return paidMs - ranMs < -1e9',
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
