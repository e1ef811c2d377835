/** What is recorded of answers and work that were used, and told to whoever counts: once, whatever became of them. */
import { beforeEach, describe, expect, it } from 'vitest'
import type { UsageSum } from '../../../coordinator/ledger/index.ts'
import type { FrameChannel } from '../../../mesh/network/index.ts'
import { asRequestId, INBOUND, type FrameSet } from '../../../mesh/protocol/index.ts'
import {
  accept,
  ANSWER,
  answers,
  DispatchHarness,
  fails,
  stallsAfter,
  tokensFrom,
  type Script,
} from './dispatch.harness.ts'

type WorkChannel = FrameChannel<typeof INBOUND.workNode extends FrameSet<infer F> ? F : never>

let harness: DispatchHarness
beforeEach(() => {
  harness = new DispatchHarness()
})
const usage = (): Promise<UsageSum[]> =>
  harness.ledger.usage({
    sinceMs: 0,
    untilMs: Number.MAX_SAFE_INTEGER,
    by: ['tenant', 'node', 'route', 'kind', 'state'],
    limit: 9,
  })
const recorded = async (): Promise<UsageSum[]> => {
  let rows: UsageSum[] = []
  await harness.until(() => {
    void usage().then((found) => (rows = found))
    return rows.length > 0
  })
  return rows
}

describe('an answer', () => {
  it('is recorded once over a move, with what it took', async () => {
    const breaks: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start.fence, 0, 3)
      channel.abort(new TypeError('the process died'))
    }
    harness.node('breaks', 1000, [breaks])
    harness.node('good', 10, [answers])
    await harness.run(harness.task({ tenant: 'key:ada' }))
    expect(await recorded()).toMatchObject([
      {
        ...{ tenant: 'key:ada', node: 'good', route: 'mesh', kind: 'answer', state: 'completed' },
        ...{ requests: 1, completed: 1, promptTokens: 3, completionTokens: ANSWER.length },
      },
    ])
    expect(harness.used).toEqual([['key:ada', 3 + ANSWER.length]])
  })

  it('that its client left counts with what it was given, and its prompt as estimated', async () => {
    harness.node('slow', 100, [stallsAfter(4)])
    const task = harness.task({ tenant: 'key:ada', prompt: { kind: 'text', text: 'x'.repeat(400) } })
    const run = await harness.submit(task)
    const leaving = new AbortController()
    harness.follow(run, 0, leaving.signal)
    await harness.until(() => task.answer.length === 4)
    leaving.abort()
    await harness.until(() => run.result !== undefined)
    const [row] = await recorded()
    expect(row).toMatchObject({ requests: 1, completed: 0, state: 'cancelled', completionTokens: 4 })
    // no tokenizer has counted it; that it is counted is what matters
    expect(row!.promptTokens).toBeGreaterThan(50)
    expect(harness.used).toHaveLength(1)
    expect(harness.used[0]![1]).toBeGreaterThan(54)
  })

  it('that never began costs nothing', async () => {
    harness.node('bad', 100, [fails('INVALID_REQUEST', 'no')])
    await harness.run(harness.task({ prompt: { kind: 'text', text: 'x'.repeat(400) } }))
    expect(await recorded()).toMatchObject([{ state: 'failed', promptTokens: 0, completionTokens: 0 }])
    expect(harness.used).toEqual([['local', 0]])
  })

  it('that goes on after a restart of the coordinator is recorded once, and told once', async () => {
    harness.node('slow', 100, [stallsAfter(4), answers])
    const task = harness.task({ tenant: 'key:ada', attachment: 'background' })
    await harness.submit(task)
    await harness.until(() => task.answer.length === 4)
    await harness.restart()
    expect(harness.used).toEqual([])
    const [row] = await recorded()
    expect(row).toMatchObject({ requests: 1, completed: 1, completionTokens: ANSWER.length })
    expect(harness.used).toEqual([['key:ada', 3 + ANSWER.length]])
    await harness.restart()
    expect(await usage()).toEqual([row])
  })
})

describe('work', () => {
  const asked = { requestId: asRequestId('req_1'), model: 'tiny', tenant: 'key:ada' }
  const work = { kind: 'embed' as const, texts: ['a', 'b'] }
  const never = new AbortController().signal
  const ask = async (script: (channel: WorkChannel) => Promise<void>): Promise<unknown> => {
    const transport = harness.node('desk', 100, [], { model: { features: ['embed'] } })
    transport.handle('work', INBOUND.workNode, async (channel) => {
      await channel.receive()
      await script(channel)
    })
    return harness.settled(harness.service().work({ ...asked, work }, never)).catch((error: unknown) => error)
  }

  it('is recorded when it is done', async () => {
    const vectors = work.texts.map(() => new Uint8Array(new Float32Array([1, 0]).buffer))
    await ask((channel) =>
      channel.send({
        type: 'work.end',
        result: { kind: 'embed', vectors, promptTokens: 7 },
        timing: { waitMs: 0, workMs: 1 },
      }),
    )
    expect(await recorded()).toMatchObject([
      {
        ...{ tenant: 'key:ada', node: 'desk', route: 'mesh', kind: 'embed', state: 'completed' },
        ...{ requests: 1, completed: 1, promptTokens: 7, completionTokens: 0 },
      },
    ])
    expect(harness.used).toEqual([['key:ada', 7]])
  })

  it('that failed is not', async () => {
    const error = await ask((channel) =>
      channel.send({ type: 'work.failed', code: 'INVALID_REQUEST', message: 'so it is' }),
    )
    expect(error).toMatchObject({ code: 'INVALID_REQUEST' })
    expect(harness.used).toEqual([])
    expect(await usage()).toEqual([])
  })
})
