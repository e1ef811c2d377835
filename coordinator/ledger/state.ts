/** The state of one task as a fold over its events. Pure. */
import { stepTask, type TaskId, type TaskState } from '../../mesh/protocol/index.ts'
import type { AnswerPart, LedgerEvent, LedgerEventOf, NodeName, Priority, TaskResult, TaskSpec } from './events.ts'

/** One attempt, from its assignment to its end. */
export interface LedgerAttempt {
  readonly assigned: Omit<LedgerEventOf<'attempt.assigned'>, 'type' | 'taskId'>
  readonly ended?: Omit<LedgerEventOf<'attempt.ended'>, 'type' | 'taskId'>
}

export interface LedgerTask {
  readonly spec: TaskSpec
  readonly admittedAtMs: number
  readonly state: TaskState
  readonly attempts: readonly LedgerAttempt[]
  /** Durable parts of the answer, in order and without gaps. */
  readonly parts: readonly AnswerPart[]
  readonly endedAtMs?: number
  readonly result?: TaskResult
  /** Prompt and text were deleted after their time. */
  readonly isPurged: boolean
}

/** A task without its texts. */
export interface TaskSummary {
  readonly taskId: TaskId
  readonly model: string
  readonly priority: Priority
  readonly tenant: string
  readonly state: TaskState
  readonly admittedAtMs: number
  readonly endedAtMs?: number
  readonly attempts: number
  readonly node?: NodeName
  readonly tokens: number
  readonly code?: string
}

/** Tokens that are durable. */
export const durableTokens = (task: Pick<LedgerTask, 'parts'>): number => {
  const last = task.parts.at(-1)
  return last === undefined ? 0 : last.index + last.ids.length / 4
}

/** The whole text of an ended answer. */
export const textOf = (task: Pick<LedgerTask, 'parts' | 'result'>): string =>
  task.parts.map((part) => part.text).join('') + (task.result?.tail ?? '')

/** The state after `event`; `undefined` before the first. An event that does not fit changes nothing. */
export function apply(task: LedgerTask | undefined, event: LedgerEvent): LedgerTask | undefined {
  if (event.type === 'task.admitted')
    return (
      task ?? { spec: event.spec, admittedAtMs: event.atMs, state: 'queued', attempts: [], parts: [], isPurged: false }
    )
  if (task === undefined) return undefined
  switch (event.type) {
    case 'attempt.assigned': {
      if (task.result) return task
      const { type: _type, taskId: _taskId, ...assigned } = event
      const state = task.state === 'queued' ? stepTask('queued', 'running') : task.state
      return { ...task, state, attempts: [...task.attempts, { assigned }] }
    }
    case 'attempt.ended': {
      const { type: _type, taskId: _taskId, ...ended } = event
      const at = task.attempts.findIndex(({ assigned, ended: known }) => !known && assigned.attempt === ended.attempt)
      return at < 0 ? task : { ...task, attempts: task.attempts.with(at, { ...task.attempts[at]!, ended }) }
    }
    case 'task.checkpointed':
      return task.result || !isNext(task, event.part) ? task : { ...task, parts: [...task.parts, event.part] }
    case 'task.ended':
      if (task.result) return task
      return {
        ...task,
        state: event.result.outcome,
        parts: event.part && isNext(task, event.part) ? [...task.parts, event.part] : task.parts,
        endedAtMs: event.atMs,
        result: event.result,
      }
    case 'work.ended':
      return task
    case 'task.purged': {
      if (!task.result) return task
      const result = { ...task.result, tail: '' }
      return { ...task, spec: withoutTexts(task.spec), parts: [], isPurged: true, result }
    }
  }
}

/** A part that leaves a gap or repeats is not taken: checkpoints are written again after a failed write. */
const isNext = (task: LedgerTask, part: AnswerPart): boolean => part.index === durableTokens(task)

/** Prompt, stop strings, output schema and the client's own words are texts; how it was to be sampled is not. */
function withoutTexts({ format: _format, ...spec }: TaskSpec): TaskSpec {
  return { ...spec, prompt: { kind: 'text', text: '' }, stop: [], shape: '' }
}

/** What is left of an event when its task is purged: itself where it has no text, `undefined` where it has nothing else. */
export function purgedEvent(event: LedgerEvent): LedgerEvent | undefined {
  switch (event.type) {
    case 'task.admitted':
      return { ...event, spec: withoutTexts(event.spec) }
    case 'task.checkpointed':
      return undefined
    case 'task.ended': {
      const { part: _part, ...rest } = event
      return { ...rest, result: { ...event.result, tail: '' } }
    }
    default:
      return event
  }
}

/** `task` without its texts; `tokens` are those that it had, as its parts may be gone. */
export function summaryOf(task: LedgerTask, tokens = durableTokens(task)): TaskSummary {
  const { taskId, model, priority, tenant } = task.spec
  const node = task.attempts.at(-1)?.assigned.node
  const code = task.result?.error?.code
  return {
    taskId,
    model,
    priority,
    tenant,
    state: task.state,
    admittedAtMs: task.admittedAtMs,
    attempts: task.attempts.length,
    tokens,
    ...(task.endedAtMs !== undefined && { endedAtMs: task.endedAtMs }),
    ...(node && { node }),
    ...(code !== undefined && { code }),
  }
}
