/** Dispatch: what a task does with nodes that behave, die, lie, stall and refuse. */
import { beforeEach, describe, expect, it } from 'vitest'
import { LIMITS, packTokenIds, unpackTokenIds } from '../../../mesh/protocol/index.ts'
import {
  accept,
  ANSWER,
  answers,
  DispatchHarness,
  end,
  fails,
  stallsAfter,
  TEXT,
  tokensFrom,
  type Script,
} from './dispatch.harness.ts'
import { DIGEST } from './snapshots.ts'

const ALL = ANSWER.map((_, i) => i)

describe('Dispatcher', () => {
  let harness: DispatchHarness
  beforeEach(() => {
    harness = new DispatchHarness()
  })

  it('relays an answer and its usage', async () => {
    harness.node('good', 100, [answers])
    const task = harness.task()
    const { text, events } = await harness.run(task)
    expect(text).toBe(TEXT)
    const usage = { completionTokens: ANSWER.length }
    expect(events.at(-1)).toMatchObject({ type: 'end', stopIndex: 0, attempts: 1, usage })
    expect(task.state).toBe('completed')
    expect(harness.dispatcher.running).toBe(0)
  })

  it('goes on with another node from the last delivered token when one breaks', async () => {
    const breaks: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start.fence, 0, 3)
      channel.abort(new TypeError('the process died'))
    }
    harness.node('breaks', 1000, [breaks])
    harness.node('good', 10, [answers])
    const { text, indices, events } = await harness.run()
    expect(text).toBe(TEXT)
    expect(indices).toEqual(ALL)
    const starts = harness.begins.flatMap((begin) => (begin.type === 'attempt.start' ? [begin] : []))
    expect(starts.map((start) => unpackTokenIds(start.generated))).toEqual([[], [100, 101, 102]])
    expect(starts[1]!.fence).toBeGreaterThan(starts[0]!.fence)
    expect(events.at(-1)).toMatchObject({ type: 'end', attempts: 2 })
  })

  it('a node whose heartbeats stopped is left at once', async () => {
    const frozen = harness.node('frozen', 1000, [stallsAfter(2)])
    harness.node('good', 10, [answers])
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 2)
    const beganMs = harness.clock.nowMs()
    const { peerId } = frozen.self
    harness.directory.disconnected(peerId, harness.directory.entry(peerId)!.session)
    await following.over(1)
    expect(following.text).toBe(TEXT)
    expect(harness.clock.nowMs() - beganMs).toBeLessThan(100)
  })

  it('a stalled node is left within two seconds', async () => {
    harness.node('stalls', 1000, [stallsAfter(1)])
    harness.node('good', 10, [answers])
    const beganMs = harness.clock.nowMs()
    const { text, said } = await harness.run()
    expect(text).toBe(TEXT)
    const spentMs = harness.clock.nowMs() - beganMs
    expect(spentMs).toBeGreaterThanOrEqual(1000)
    expect(spentMs).toBeLessThan(LIMITS.tokenStallMs + 1000)
    expect(said).toContain('node is stalled, resuming on good')
  })

  it('drops frames under another fence and repeated indices, and ends an attempt at a gap', async () => {
    const lies: Script = async (channel, { fence }) => {
      const send = (index: number, text: string, as = fence): Promise<void> =>
        channel.send({ type: 'attempt.tokens', fence: as, index, ids: packTokenIds([7]), text })
      await accept(channel, { fence })
      await tokensFrom(channel, fence, 0, 2)
      await send(2, 'FORGED', fence + 1)
      await send(1, 'AGAIN')
      await send(5, 'GAP')
      await new Promise(() => {})
    }
    harness.node('lies', 1000, [lies])
    harness.node('good', 10, [answers])
    const { text, indices } = await harness.run()
    expect(text).toBe(TEXT)
    expect(indices).toEqual(ALL)
    expect(harness.dispatcher.stats().droppedFrames).toEqual({ 'stale fence': 1, 'repeated index': 1 })
  })

  it('does not believe a node that counts other tokens than it sent', async () => {
    const greedy: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start.fence, 0, 2)
      await end(channel, start, 1_000_000)
    }
    harness.node('greedy', 100, [greedy])
    const { events } = await harness.run()
    expect(events.at(-1)).toMatchObject({ type: 'end', usage: { completionTokens: 2 } })
  })

  it('a node that ticks for ever and makes nothing is left', async () => {
    const ticks: Script = async (channel, { fence }) => {
      await accept(channel, { fence })
      for (;;) {
        await channel.send({ type: 'attempt.progress', fence, phase: 'prefill', done: 1, total: 9 })
        await new Promise<void>((resolve) => void harness.clock.timer(500, resolve))
      }
    }
    harness.node('ticks', 1000, [ticks])
    harness.node('good', 10, [answers])
    const { text, said } = await harness.run()
    expect(text).toBe(TEXT)
    expect(said).toContain('node is stalled, resuming on good')
  })

  it('cancels down to the node when the last follower of an attached task leaves', async () => {
    const heard: string[] = []
    const listens: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start.fence, 0, 2)
      heard.push((await channel.receive())?.type ?? 'closed')
      await channel.send({ type: 'attempt.failed', fence: start.fence, code: 'CLIENT_CLOSED', message: 'cancelled' })
    }
    harness.node('good', 100, [listens])
    const leave = new AbortController()
    const run = await harness.submit()
    const following = harness.follow(run, 0, leave.signal)
    await harness.until(() => run.task.answer.length === 2)
    leave.abort(new TypeError('the client hung up'))
    await following.over()
    expect(following.error).toMatchObject({ message: 'the client hung up' })
    await harness.until(() => run.result !== undefined)
    expect(run.task.state).toBe('cancelled')
    await harness.clock.advance(1000)
    expect(heard).toEqual(['attempt.cancel'])
    expect(harness.directory.snapshot().nodes[0]?.models.get(DIGEST)?.running).toBe(0)
  })

  it('a resumable task goes on for a while without a follower, and one that comes back gets the rest', async () => {
    const { script, release } = holding(3)
    harness.node('good', 100, [script])
    const leave = new AbortController()
    const run = await harness.submit(harness.task({ attachment: 'resumable' }))
    const first = harness.follow(run, 0, leave.signal)
    await harness.until(() => first.indices.length === 3)
    leave.abort(new TypeError('asleep'))
    await harness.clock.advance(LIMITS.detachedMs - 5000)
    const second = harness.follow(run, 3)
    await harness.clock.advance(1)
    release()
    await second.over()
    expect(second.text).toBe(ANSWER.slice(3).join(''))
    expect(first.text + second.text).toBe(TEXT)
  })

  it('a resumable task that nobody comes back for is cancelled', async () => {
    const { script } = holding(3)
    harness.node('good', 100, [script])
    const leave = new AbortController()
    const run = await harness.submit(harness.task({ attachment: 'resumable' }))
    const first = harness.follow(run, 0, leave.signal)
    await harness.until(() => first.indices.length === 3)
    leave.abort(new TypeError('gone'))
    await harness.until(() => run.result !== undefined, 1000)
    expect(run.result).toMatchObject({ outcome: 'cancelled', error: { code: 'CLIENT_CLOSED' } })
  })

  it('refuses a place where no event ended', async () => {
    const { script, release } = holding(0)
    harness.node('good', 100, [script])
    const run = await harness.submit(harness.task({ attachment: 'background' }))
    release()
    await harness.until(() => run.result !== undefined)
    const halves = harness.follow(run, 5)
    await halves.over()
    expect(halves.text).toBe(ANSWER.slice(5).join(''))
    expect(() => run.follow(2 ** 20 + 5)).toThrow(expect.objectContaining({ code: 'ANSWER_DIVERGED' }))
  })

  /** A script that says `count` tokens, then the rest when `release` is called. */
  const holding = (count: number): { script: Script; release: () => void } => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const script: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start.fence, 0, count)
      await promise
      await tokensFrom(channel, start.fence, count, ANSWER.length)
      await end(channel, start)
    }
    return { script, release: resolve }
  }

  it('waits for a slot in line, says the place, and starts when one is free', async () => {
    const { script, release } = holding(0)
    harness.node('small', 100, [script, answers])
    const one = harness.follow(await harness.submit())
    await harness.until(() => harness.begins.length === 1)
    const two = harness.follow(await harness.submit())
    await harness.until(() => two.said.length > 0)
    expect(harness.begins.length).toBe(1)
    release()
    expect((await one.over(1)).text).toBe(TEXT)
    await two.over(1)
    expect(two.said[0]).toBe('queued 1')
    expect(two.text).toBe(TEXT)
  })

  it('who leaves while it waits gives its place up', async () => {
    const { script, release } = holding(0)
    harness.node('small', 100, [script, answers])
    const one = harness.follow(await harness.submit())
    await harness.until(() => harness.begins.length === 1)
    const leave = new AbortController()
    const leaving = harness.follow(await harness.submit(), 0, leave.signal)
    await harness.until(() => leaving.said.length > 0)
    leave.abort(new TypeError('no patience'))
    await leaving.over()
    const two = harness.follow(await harness.submit())
    await harness.until(() => two.said.length > 0)
    expect(two.said).toEqual(['queued 1'])
    release()
    await one.over(1)
    await two.over(1)
    expect(harness.dispatcher.running).toBe(0)
  })

  it('does not ask a node that was lost between the plan and the attempt', async () => {
    const { script, release } = holding(0)
    const small = harness.node('small', 100, [script, answers])
    const one = harness.follow(await harness.submit())
    await harness.until(() => harness.begins.length === 1)
    const two = harness.follow(await harness.submit())
    await harness.until(() => two.said.length > 0)
    release()
    await one.over(1)
    const { peerId } = small.self
    harness.directory.disconnected(peerId, harness.directory.entry(peerId)!.session)
    harness.node('other', 100, [answers])
    await two.over(1)
    expect(two.text).toBe(TEXT)
    expect(two.indices).toEqual(ALL)
  })

  it('goes on elsewhere when a node no longer has the model', async () => {
    harness.node('one', 1000, [fails('MODEL_NOT_FOUND', 'removed')])
    harness.node('two', 10, [answers])
    const { text, error } = await harness.run()
    expect(error).toBeUndefined()
    expect(text).toBe(TEXT)
  })

  it('tells nodes whose task it is, and does not ask one whose owner does not serve that tenant', async () => {
    harness.node('one', 1000, [answers], { access: { tenants: ['ben'] } })
    harness.node('two', 10, [answers], { access: { tenants: ['an*'] } })
    const { text } = await harness.run(harness.task({ tenant: 'anna' }))
    expect(text).toBe(TEXT)
    expect(harness.asked).toEqual(['two'])
    expect(harness.begins[0]).toMatchObject({ type: 'attempt.start', tenant: 'anna' })
  })

  it('says at once that no owner serves a tenant, and asks nobody', async () => {
    harness.node('one', 1000, [answers], { access: { tenants: ['ben'] } })
    const task = harness.task({ tenant: 'anna' })
    expect(() => harness.dispatcher.check(task)).toThrow(/do not serve this tenant/)
    const { error } = await harness.run(task)
    expect(error).toMatchObject({ code: 'NOT_SERVED' })
    expect(harness.asked).toEqual([])
  })

  it('takes a refusal by a node’s owner for no failure of the node, and asks another', async () => {
    const one = harness.node('one', 1000, [fails('NOT_SERVED', 'its owner does not serve this tenant')])
    harness.node('two', 10, [answers])
    const task = harness.task()
    const { text, said } = await harness.run(task)
    expect(text).toBe(TEXT)
    expect(harness.asked).toEqual(['one', 'two'])
    expect(harness.directory.entry(one.self.peerId)!.failuresAt(harness.clock.nowMs())).toBe(0)
    expect(task.fruitless).toBe(0)
    expect(said[0]).toContain('does not serve')
  })

  it('a caller at fault is told so, and no other node is bothered', async () => {
    harness.node('one', 1000, [fails('CONTEXT_LENGTH_EXCEEDED', '9000 tokens where 4096 fit')])
    harness.node('two', 10, [answers])
    const { error } = await harness.run()
    expect(error).toMatchObject({ code: 'CONTEXT_LENGTH_EXCEEDED', message: 'one: 9000 tokens where 4096 fit' })
    expect(harness.asked).toEqual(['one'])
  })

  it('gives up after so many attempts without a token, with the last cause', async () => {
    harness.node('bad', 100, [fails('ENGINE_FAILED', 'no luck')])
    const task = harness.task()
    const { error } = await harness.run(task)
    expect(error).toMatchObject({ code: 'ATTEMPTS_EXHAUSTED' })
    expect(String(error)).toContain('no luck')
    expect(task.attempts).toBe(LIMITS.fruitlessAttemptsMax)
    expect(task.state).toBe('failed')
  })

  it('says at once what no waiting can change', () => {
    expect(() => harness.dispatcher.check(harness.task())).toThrow(/--model/)
    harness.node('good', 100, [answers])
    expect(() => harness.dispatcher.check(harness.task())).not.toThrow()
  })
})
