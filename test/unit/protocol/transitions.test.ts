/** Tasks and attempts: every state is reached, ends are ends, and no other step is taken. */
import { describe, expect, it } from 'vitest'
import {
  ATTEMPT_TRANSITIONS,
  isAttemptEnd,
  isTaskEnd,
  stepAttempt,
  stepTask,
  TASK_TRANSITIONS,
  type AttemptState,
  type TaskState,
} from '../../../mesh/protocol/index.ts'

type Table = Readonly<Record<string, readonly string[]>>

function reachable(table: Table, start: string): Set<string> {
  const seen = new Set([start])
  for (const state of seen) for (const next of table[state]!) seen.add(next)
  return seen
}

describe.each([
  ['tasks', TASK_TRANSITIONS as Table, 'queued', ['completed', 'failed', 'cancelled', 'expired', 'rejected']],
  ['attempts', ATTEMPT_TRANSITIONS as Table, 'assigned', ['completed', 'failed', 'lost', 'cancelled', 'evicted']],
] as const)('%s', (what, table, start, ends) => {
  const step = (from: string, to: string): string =>
    what === 'tasks'
      ? stepTask(from as TaskState, to as TaskState)
      : stepAttempt(from as AttemptState, to as AttemptState)
  const isEnd = (state: string): boolean =>
    what === 'tasks' ? isTaskEnd(state as TaskState) : isAttemptEnd(state as AttemptState)
  const states = Object.keys(table)

  it('reach every state', () => {
    expect([...reachable(table, start)].sort()).toEqual([...states].sort())
  })

  it('end in the outcomes, and can end from every other state', () => {
    expect(states.filter(isEnd).sort()).toEqual([...ends].sort())
    for (const state of states.filter((name) => !isEnd(name)))
      expect([...reachable(table, state)].some(isEnd), state).toBe(true)
  })

  it('take the steps of the table and no others', () => {
    for (const from of states)
      for (const to of states)
        if (table[from]!.includes(to)) expect(step(from, to)).toBe(to)
        else expect(() => step(from, to)).toThrow(`cannot go from ${from} to ${to}`)
  })
})
