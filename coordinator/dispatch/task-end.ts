/** What is recorded of a task when it ends. */
import type { AnswerPart, LedgerEventOf, TaskResult } from '../ledger/index.ts'
import { pricedModel } from './costs.ts'
import type { TokenCounts } from './happened.ts'
import type { RunComponents } from './run-components.ts'
import type { Task } from './task.ts'

interface End {
  readonly atMs: number
  readonly result: TaskResult
  /** The tokens since the last checkpoint. */
  readonly part: AnswerPart | undefined
}

export function endOfTask(
  { planner, directory, costs }: Pick<RunComponents, 'planner' | 'directory' | 'costs'>,
  task: Task,
  { atMs, result, part }: End,
): LedgerEventOf<'task.ended'> {
  const { taskId, digest, model } = task.spec
  const promptTokens = planner.promptRead(task)
  const tokens: TokenCounts = result.usage ?? { promptTokens, cachedTokens: 0, completionTokens: task.answer.length }
  const cloud = costs?.cloud(pricedModel(directory, digest, model), tokens)
  return {
    type: 'task.ended',
    atMs,
    taskId,
    result,
    ...(part && { part }),
    ...(!result.usage && { promptTokens }),
    ...(cloud && { cloud }),
  }
}
