/** I3 and I9: what was acknowledged is known, and what is recorded is a legal life. */
import { isTaskEnd, TASK_TRANSITIONS, type TaskId, type TaskState } from '../../../mesh/protocol/index.ts'
import type { LedgerEvent } from '../../../coordinator/ledger/index.ts'
import type { ClientPlan } from '../scenario.ts'
import { Table, type Checker, type Fail } from './checker.ts'

/** Durable before it is acknowledged, and never forgotten; one task for one key. */
export function durabilityChecker(fail: Fail): Checker {
  const durable = new Set<TaskId>()
  const acknowledged = new Map<TaskId, ClientPlan>()
  const byKey = new Map<ClientPlan, TaskId>()
  return {
    on: (seen) => {
      if (seen.type === 'durable') {
        for (const event of seen.events) if (event.type === 'task.admitted') durable.add(event.spec.taskId)
      } else if (seen.type === 'acknowledged') {
        if (!durable.has(seen.taskId)) fail(`${seen.taskId} is acknowledged and not durable`)
        acknowledged.set(seen.taskId, seen.client)
        if (!seen.client.hasKey) return
        const before = byKey.get(seen.client) ?? seen.taskId
        if (before !== seen.taskId) fail(`the key of ${seen.client.name} names ${before} and ${seen.taskId}`)
        byKey.set(seen.client, before)
      } else if (
        seen.type === 'failed' &&
        seen.code === 'NOT_FOUND' &&
        seen.reader.taskId &&
        acknowledged.has(seen.reader.taskId)
      )
        fail(`${seen.reader.taskId} was acknowledged and is not known any more`)
    },
    atEnd: ({ tasks }) => {
      for (const taskId of acknowledged.keys()) {
        const task = tasks.get(taskId)
        if (task === undefined) fail(`${taskId} was acknowledged and is lost`)
        else if (task.result === undefined) fail(`${taskId} was acknowledged and never ended`)
      }
    },
  }
}

interface Life {
  state: TaskState
  fence: number
  attempt: number
  readonly open: Set<number>
  tokens: number
}

/** Attempts are numbered and fenced upward and end once; parts of the answer follow each other; nothing follows the end. */
export function lifeChecker(fail: Fail): Checker {
  const lives = new Table<TaskId, Life>(() => ({ state: 'queued', fence: -1, attempt: 0, open: new Set(), tokens: 0 }))
  const on = (event: LedgerEvent): void => {
    if (event.type === 'task.admitted' || event.type === 'task.purged' || event.type === 'work.ended') return
    const life = lives.of(event.taskId)
    switch (event.type) {
      case 'attempt.assigned':
        if (isTaskEnd(life.state)) return
        if (event.attempt <= life.attempt || event.fence <= life.fence)
          fail(
            `${event.taskId}: attempt ${event.attempt} under ${event.fence} follows ${life.attempt} under ${life.fence}`,
          )
        Object.assign(life, { attempt: event.attempt, fence: event.fence, state: 'running' })
        life.open.add(event.attempt)
        return
      case 'attempt.ended':
        if (!life.open.delete(event.attempt) && !isTaskEnd(life.state))
          fail(`${event.taskId}: attempt ${event.attempt} ends and was not open`)
        return
      case 'task.checkpointed':
        if (isTaskEnd(life.state)) return
        if (event.part.index > life.tokens)
          fail(`${event.taskId}: a part at ${event.part.index} after ${life.tokens} tokens`)
        life.tokens = Math.max(life.tokens, event.part.index + event.part.ids.length / 4)
        return
      case 'task.ended':
        if (isTaskEnd(life.state)) return
        if (!TASK_TRANSITIONS[life.state].includes(event.result.outcome) && life.state !== 'running')
          fail(`${event.taskId} goes from ${life.state} to ${event.result.outcome}`)
        if (event.part && event.part.index > life.tokens)
          fail(`${event.taskId} ends with a part at ${event.part.index} after ${life.tokens} tokens`)
        life.state = event.result.outcome
    }
  }
  return {
    on: (seen) => {
      if (seen.type === 'durable') for (const event of seen.events) on(event)
    },
  }
}
