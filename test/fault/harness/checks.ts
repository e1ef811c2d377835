/** What must be true of answers, whatever happened while they were made. */
import { expect } from 'vitest'
import { eventually } from '../../fixtures/skein-process.ts'
import { echoed, type Answer } from './answer.ts'
import type { FaultMesh, TaskOnRecord } from './fault-mesh.ts'

/** Waits until each of `answers` has given a few words, so that all run when the fault comes. */
export async function allBegun(answers: readonly Answer[], deltas = 3): Promise<void> {
  await eventually(
    'every answer has begun',
    () => {
      const failed = answers.find((answer) => answer.error !== undefined)
      if (failed) throw failed.error!
      return Promise.resolve(answers.every((answer) => answer.deltas.length >= deltas) || undefined)
    },
    60_000,
  )
}

/** The node that most of the answers come from that still run. */
export function busiest(mesh: FaultMesh, answers: readonly Answer[]): string {
  const counts = new Map(mesh.names.map((name) => [name, 0]))
  for (const { node, hasEnded } of answers) if (!hasEnded) counts.set(node, (counts.get(node) ?? 0) + 1)
  return [...counts].sort((a, b) => b[1] - a[1])[0]![0]
}

/**
 * Waits for the end of `answer`, and holds it to what is promised of every one: it ended in order, its client has letter
 * for letter what the ledger has, and its tokens were counted without a gap. Returns what is on record.
 */
export async function expectWhole(mesh: FaultMesh, answer: Answer): Promise<TaskOnRecord> {
  await answer.ended
  const heard = answer.comments.map(({ text }) => text).join(', ')
  const what = `${answer.taskId} "${answer.question.prompt.slice(0, 40)}": ${heard}`
  expect(answer.error, what).toBeUndefined()
  expect(answer.finishReason, what).toMatch(/^(stop|length)$/)
  expect(answer.hasDone, what).toBe(true)
  const task = await mesh.task(answer.taskId)
  expect(task.state, what).toBe('completed')
  expect(answer.text, what).toBe(task.text)
  expect(answer.completionTokens, what).toBe(task.tokens)
  expectCounted(answer, task, what)
  expectChained(task, what)
  return task
}

/** Ids of a resumable stream are tokens delivered so far: they grow, and end with the last token. */
function expectCounted(answer: Answer, task: TaskOnRecord, what: string): void {
  if (answer.question.key === undefined) return
  const { ids } = answer
  expect(ids.length, what).toBeGreaterThan(0)
  expect(ids, what).toEqual([...ids].sort((a, b) => a - b))
  expect(ids.at(-1), what).toBe(task.tokens)
}

/** No attempt begins behind what was delivered before it, each has a higher fence, and the last one delivers the end. */
function expectChained(task: TaskOnRecord, what: string): void {
  let to = 0
  let fence = -1
  for (const { assigned, ended } of task.attempts) {
    expect(assigned.fence, what).toBeGreaterThan(fence)
    fence = assigned.fence
    expect(assigned.from, what).toBeLessThanOrEqual(to)
    to = Math.max(to, ended?.to ?? 0)
  }
  expect(to, what).toBe(task.tokens)
}

/** As `expectWhole`, of the echo engine: its text is known beforehand. */
export async function expectEchoed(mesh: FaultMesh, answer: Answer): Promise<TaskOnRecord> {
  const task = await expectWhole(mesh, answer)
  const { prompt, maxTokens } = answer.question
  expect(answer.text).toBe(echoed(prompt, maxTokens))
  expect(answer.completionTokens).toBe(maxTokens)
  return task
}
