/** Tasks as people and the gateway see them, running or ended. */
import type { LedgerTask, TaskSpec, TaskSummary } from '../ledger/index.ts'
import { durableTokens, textOf } from '../ledger/index.ts'
import type { TaskRun } from '../dispatch/index.ts'
import type { TaskView } from './service.ts'

type Asked = Pick<
  TaskView,
  | 'taskId'
  | 'requestId'
  | 'model'
  | 'digest'
  | 'priority'
  | 'tenant'
  | 'attachment'
  | 'stored'
  | 'localOnly'
  | 'seed'
  | 'thought'
  | 'shape'
  | 'deadlineAtMs'
>

function asked(spec: TaskSpec): Asked {
  const { taskId, requestId, model, digest, priority, tenant, attachment, stored, localOnly } = spec
  const { thought, shape, deadlineAtMs } = spec
  const { seed } = spec.sampling
  return {
    ...{ taskId, requestId, model, digest, priority, tenant, attachment, stored, localOnly, seed, shape, deadlineAtMs },
    ...(thought && { thought }),
  }
}

export function viewOfRun(run: TaskRun, admittedAtMs: number): TaskView {
  const { task, result, position } = run
  return {
    ...asked(task.spec),
    state: task.state,
    admittedAtMs,
    attempts: run.attempts.entries,
    tokens: run.isHeld ? 0 : task.answer.length,
    text: run.isHeld ? '' : task.answer.text + (result?.tail ?? ''),
    ...(!run.isHeld && task.answer.logprobs && { logprobs: task.answer.logprobs }),
    isPurged: false,
    ...(result && { result }),
    ...(run.endedAtMs !== undefined && { endedAtMs: run.endedAtMs }),
    ...(position !== undefined && { position }),
  }
}

export function viewOfLedger(task: LedgerTask): TaskView {
  const { spec, state, admittedAtMs, attempts, endedAtMs, result, isPurged } = task
  return {
    ...asked(spec),
    state,
    admittedAtMs,
    attempts,
    tokens: durableTokens(task),
    text: textOf(task),
    ...(spec.logprobs !== undefined && { logprobs: task.parts.flatMap(({ logprobs = [] }) => logprobs) }),
    isPurged,
    ...(endedAtMs !== undefined && { endedAtMs }),
    ...(result && { result }),
  }
}

/** `summary` as it is now: the ledger learns of tokens and attempts a little later. */
export function freshened(summary: TaskSummary, run: TaskRun | undefined): TaskSummary {
  if (run === undefined) return summary
  const { task, current } = run
  return {
    ...summary,
    state: task.state,
    attempts: task.attempts,
    tokens: task.answer.length,
    ...(current && { node: { peerId: current.node.peerId, name: current.node.name } }),
  }
}
