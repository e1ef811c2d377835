/** Following a task that has ended: from every place that a client may stand at, the rest and how it ended. */
import { describe, expect, it } from 'vitest'
import { followEnded, type TaskEvent } from '../../../coordinator/dispatch/index.ts'
import type { LedgerTask, TaskResult } from '../../../coordinator/ledger/index.ts'
import { part, spec } from '../../compliance/ledger.samples.ts'

const COMPLETED: TaskResult = {
  outcome: 'completed',
  finishReason: 'stop',
  usage: { promptTokens: 9, cachedTokens: 0, completionTokens: 5 },
  timing: { queuedMs: 1, firstTokenMs: 20, decodeMs: 100 },
  tail: '',
}
const EXPIRED: TaskResult = { outcome: 'expired', error: { code: 'TASK_EXPIRED', message: 'too late' }, tail: '' }

/** Five tokens are durable, in pieces of three and two. */
const ended = (result: TaskResult): LedgerTask => ({
  spec: spec(),
  admittedAtMs: 0,
  state: result.outcome,
  attempts: [],
  parts: [part(0, 3), part(3, 2)],
  endedAtMs: 1,
  result,
  isPurged: false,
})

async function read(task: LedgerTask, position: number): Promise<{ events: string[]; code?: string }> {
  const events: string[] = []
  try {
    for await (const event of followEnded(task, position) as AsyncIterable<TaskEvent>) events.push(event.type)
    return { events }
  } catch (thrown) {
    return { events, code: (thrown as { code: string }).code }
  }
}

describe('a task that has ended', () => {
  it('gives the rest behind every border of its pieces, and its end', async () => {
    expect(await read(ended(COMPLETED), 0)).toEqual({ events: ['tokens', 'end'] })
    expect(await read(ended(COMPLETED), 3)).toEqual({ events: ['tokens', 'end'] })
    expect(await read(ended(COMPLETED), 5)).toEqual({ events: ['end'] })
    expect(await read(ended(EXPIRED), 3)).toEqual({ events: ['tokens'], code: 'TASK_EXPIRED' })
  })

  it('says which stop string ended it', async () => {
    const events: TaskEvent[] = []
    for await (const event of followEnded(ended({ ...COMPLETED, stopIndex: 1 }), 5)) events.push(event)
    expect(events).toMatchObject([{ type: 'end', finishReason: 'stop', stopIndex: 1 }])
  })

  it('refuses a place that no event had', async () => {
    expect(await read(ended(COMPLETED), 4)).toEqual({ events: [], code: 'INVALID_REQUEST' })
    expect(await read(ended(COMPLETED), 6)).toEqual({ events: [], code: 'INVALID_REQUEST' })
    expect(await read(ended(EXPIRED), 4)).toEqual({ events: [], code: 'INVALID_REQUEST' })
  })

  it('tells how it failed to who had read further than was durable when all who held it were lost', async () => {
    expect(await read(ended(EXPIRED), 9)).toEqual({ events: [], code: 'TASK_EXPIRED' })
  })
})
