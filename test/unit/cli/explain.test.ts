/** What people read of tasks: why each attempt went where it went, and what came of it. */
import { describe, expect, it } from 'vitest'
import { renderExplanation } from '../../../clients/cli/commands/explain.ts'
import { drained } from '../../../clients/cli/commands/directives.ts'
import { renderTasks } from '../../../clients/cli/commands/tasks.ts'
import type { NodeView, TaskExplanation, TaskSummary } from '../../../coordinator/index.ts'
import { asPeerId, asTaskId } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { TWIN_DIGEST, TWIN_NODE, TWIN_NODE_VIEW } from '../../fixtures/mesh-service-twin.ts'

const LAPTOP = { peerId: asPeerId('12D3KooWLaptop'), name: 'laptop' }
const PI = { peerId: asPeerId('12D3KooWPi'), name: 'pi' }
const prediction = (prefillMs: number, decodeMs: number) => ({
  waitMs: 0,
  loadMs: 0,
  prefillMs,
  decodeMs,
  linkMs: 2,
  penaltyMs: 0,
  totalMs: prefillMs + decodeMs + 2,
})
const EXPLANATION: TaskExplanation = {
  taskId: asTaskId(`task_${'a'.repeat(24)}`),
  model: 'tiny',
  priority: 'interactive',
  localOnly: true,
  state: 'completed',
  tokens: 62,
  attempts: [
    {
      attempt: 1,
      atMs: 0,
      node: TWIN_NODE,
      route: 'mesh',
      reason: 'first',
      from: 0,
      to: 40,
      outcome: 'lost',
      code: 'NODE_LOST',
      message: 'its heartbeats stopped',
      predicted: prediction(100, 900),
      observed: { acceptMs: 3, firstTokenMs: 120 },
      candidates: [
        { ...TWIN_NODE, prediction: prediction(100, 900) },
        { ...LAPTOP, prediction: prediction(300, 2000) },
        { ...PI, rejected: 'context too small' },
      ],
    },
    {
      attempt: 2,
      atMs: 500,
      node: LAPTOP,
      route: 'mesh',
      reason: 'lost',
      from: 40,
      to: 62,
      outcome: 'completed',
      predicted: prediction(310, 700),
      observed: { firstTokenMs: 300, decodeMs: 650 },
      candidates: [
        { ...TWIN_NODE, rejected: 'failed this task' },
        { ...LAPTOP, prediction: prediction(310, 700) },
      ],
    },
  ],
}

describe('skein explain', () => {
  it('is a table that a person understands', () => {
    expect(renderExplanation(EXPLANATION)).toBe(
      `
task_aaaaaaaaaaaaaaaaaaaaaaaa  tiny · completed · priority interactive · local only · 62 tokens

attempt 1 on desk-pc (mesh), from token 0: lost at token 40 (NODE_LOST: its heartbeats stopped)
  the first assignment; predicted to end 1300 ms before laptop
     NODE     WAIT  LOAD  PREFILL  DECODE  LINK  PENALTY  TOTAL ms
  →  desk-pc  0     0     100      900     2     0        1002
     laptop   0     0     300      2000    2     0        2302
     pi       rejected: context too small
  first token: predicted 102 ms, observed 120 ms · decode: predicted 900 ms, observed -

attempt 2 on laptop (mesh), from token 40: completed at token 62
  moved: the attempt before it was lost; no other node could take it
     NODE     WAIT  LOAD  PREFILL  DECODE  LINK  PENALTY  TOTAL ms
  →  laptop   0     0     310      700     2     0        1012
     desk-pc  rejected: failed this task
  first token: predicted 312 ms, observed 300 ms · decode: predicted 700 ms, observed 650 ms
`.trim(),
    )
  })

  it('tells of a task that waits, and of one that never ran', () => {
    const waiting = { ...EXPLANATION, state: 'queued' as const, tokens: 0, position: 3, attempts: [] }
    expect(renderExplanation(waiting)).toContain('it waits at place 3')
    const error = { code: 'SATURATED' as const, message: 'no slot was free' }
    const failed = { ...waiting, state: 'failed' as const, result: { outcome: 'failed' as const, tail: '', error } }
    expect(renderExplanation(failed)).toContain('SATURATED: no slot was free')
    expect(renderExplanation(failed)).toContain('no node was assigned')
  })
})

it('skein tasks tells each in a line', () => {
  const task: TaskSummary = {
    taskId: EXPLANATION.taskId,
    model: 'tiny',
    priority: 'bulk',
    tenant: 'local',
    state: 'failed',
    admittedAtMs: 1000,
    endedAtMs: 4000,
    attempts: 2,
    node: TWIN_NODE,
    tokens: 7,
    code: 'TASK_EXPIRED',
  }
  const [, line] = renderTasks([task], 61_000).split('\n')
  expect(line!.split(/ {2,}/)).toEqual([
    EXPLANATION.taskId,
    'tiny',
    'failed: TASK_EXPIRED',
    'bulk',
    'desk-pc',
    '2',
    '7',
    '3 s',
    '1 min ago',
  ])
})

describe('skein drain', () => {
  const view = (slotsInUse: number, draining: boolean): NodeView => ({
    ...TWIN_NODE_VIEW,
    models: [{ digest: TWIN_DIGEST, name: 'tiny', residency: 'resident', contextTokens: 1, slots: 4, slotsInUse }],
    load: { sequence: 1, models: [], memoryFreeBytes: 0, cordoned: false, draining },
  })
  function open() {
    const clock = new ManualClock()
    const notes: string[] = []
    const state = { nodes: [view(2, false)] }
    let outcome: unknown = 'waiting'
    const client = { nodes: () => Promise.resolve(state.nodes) }
    const waiting = drained(client, TWIN_NODE, clock, (text) => notes.push(text))
    void waiting.then(
      () => (outcome = 'drained'),
      (error: unknown) => (outcome = error),
    )
    return { clock, notes, state, outcome: () => outcome }
  }

  it('waits until the node drains and nothing runs there', async () => {
    const { clock, notes, state, outcome } = open()
    await clock.advance(500)
    state.nodes = [view(1, true)]
    await clock.advance(500)
    expect(outcome()).toBe('waiting')
    state.nodes = [view(0, true)]
    await clock.advance(500)
    expect(outcome()).toBe('drained')
    expect(notes).toEqual(['2 answers run on desk-pc', '1 answer runs on desk-pc'])
  })

  it('does not take an idle node that still takes work for drained, and does not wait for ever', async () => {
    const { clock, state, outcome } = open()
    state.nodes = [view(0, false)]
    await clock.advance(9000)
    expect(outcome()).toBe('waiting')
    await clock.advance(2000)
    expect(outcome()).toMatchObject({ code: 'NODE_LOST' })
  })

  it.each([[[]], [[{ ...TWIN_NODE_VIEW, state: 'disconnected' as const }]]])(
    'is done when the node has left',
    async (nodes) => {
      const { clock, state, outcome } = open()
      await clock.advance(100)
      state.nodes = nodes
      await clock.advance(500)
      expect(outcome()).toBe('drained')
    },
  )
})
