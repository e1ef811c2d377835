import { describe, expect, it } from 'vitest'
import { asTaskId, LIMITS, packTokenIds, unpackTokenIds, type Frame } from '../../../mesh/protocol/index.ts'
import { bound, failure, rest, TASK, type Channel } from './executor.harness.ts'
import { until, type ScriptedRun } from './support.ts'

type Bound = Awaited<ReturnType<typeof bound>>

const commit = (ids: readonly number[], fence = 1): Frame => ({
  type: 'attempt.commit',
  fence,
  generated: packTokenIds(ids),
})

/** A held attempt with two tokens given, prepared and told so. */
async function prepared(made: Bound): Promise<[Channel, ScriptedRun]> {
  const channel = await made.attempt({ hold: true, generated: packTokenIds([7, 8]), maxTokens: 10 })
  expect((await channel.receive())?.type).toBe('attempt.accepted')
  await until('the engine runs it', () => made.engine().attempts.length === 1)
  const run = made.engine().attempts[0]!
  run.progress(3, 3)
  run.prepared()
  expect((await channel.receive())?.type).toBe('attempt.progress')
  expect(await channel.receive()).toEqual({ type: 'attempt.prepared', fence: 1 })
  return [channel, run]
}

describe('an attempt that is held back', () => {
  it('is prepared, and goes on behind what was made elsewhere when it is committed', async () => {
    const made = await bound()
    const [channel, run] = await prepared(made)
    expect(made.host.running).toBe(1)
    run.progress(1, 1, 'waiting')
    await channel.send(commit([1], 99))
    await until('the engine has delivered all', () => run.events.length === 0)
    expect(run.committed).toBeUndefined()
    await channel.send(commit([9, 10, 11]))
    await until('the engine was told', () => run.committed !== undefined)
    expect(run.committed).toEqual([9, 10, 11])
    run.tokens([12], 'a')
    run.end()
    const [tokens, end] = await rest(channel)
    expect(tokens).toMatchObject({ type: 'attempt.tokens', index: 5 })
    expect(tokens?.type === 'attempt.tokens' && unpackTokenIds(tokens.ids)).toEqual([12])
    expect(end?.type).toBe('attempt.end')
    await made.clock.advance(LIMITS.preparedMs)
    expect(made.host.running).toBe(0)
  })

  it('is given the text that was said, at its beginning and when it is committed', async () => {
    const made = await bound()
    const given = { hold: true, generated: packTokenIds([2 ** 31]), said: 'the ', maxTokens: 10 }
    const channel = await made.attempt(given)
    await until('the engine runs it', () => made.engine().attempts.length === 1)
    const run = made.engine().attempts[0]!
    expect(run.request.said).toBe('the ')
    expect((await channel.receive())?.type).toBe('attempt.accepted')
    run.prepared()
    expect((await channel.receive())?.type).toBe('attempt.prepared')
    const generated = packTokenIds([2 ** 31 + 1])
    await channel.send({ type: 'attempt.commit', fence: 1, generated, said: 'the geese ' })
    await until('the engine was told', () => run.committed !== undefined)
    expect([run.committed, run.saidAtCommit]).toEqual([[2 ** 31 + 1], 'the geese '])
    run.tokens([12], 'fly')
    expect(await channel.receive()).toMatchObject({ type: 'attempt.tokens', index: 2 })
  })

  it('commits without a token made elsewhere', async () => {
    const made = await bound()
    const [channel, run] = await prepared(made)
    await channel.send(commit([]))
    await until('the engine was told', () => run.committed !== undefined)
    run.tokens([9])
    expect(await channel.receive()).toMatchObject({ type: 'attempt.tokens', index: 2 })
  })

  it('ends when no commit comes within preparedMs, and not after one', async () => {
    const made = await bound()
    const [channel] = await prepared(made)
    await made.clock.advance(LIMITS.preparedMs - 1)
    expect(made.host.running).toBe(1)
    await made.clock.advance(1)
    expect(await failure(channel)).toBe('STREAM_TIMEOUT')
    expect(made.host.running).toBe(0)

    const second = await bound()
    const [kept, run] = await prepared(second)
    await kept.send(commit([9]))
    await until('the engine was told', () => run.committed !== undefined)
    await second.clock.advance(LIMITS.preparedMs)
    expect(second.host.running).toBe(1)
  })

  it('is dropped when its stream is lost before the commit, and held after it', async () => {
    const made = await bound()
    const [channel] = await prepared(made)
    channel.abort(new RangeError('died'))
    await until('the slot is free', () => made.host.running === 0)
    expect(made.executor.held()).toEqual([])

    const second = await bound()
    const [lost, run] = await prepared(second)
    await lost.send(commit([9, 10]))
    await until('the engine was told', () => run.committed !== undefined)
    lost.abort(new RangeError('died'))
    await until('it is held', () => second.executor.held().length === 1)
    expect(second.executor.held()).toEqual([{ taskId: TASK, fence: 1, index: 4, ended: false }])
    expect(await failure(await second.attach({ fence: 2, from: 2 }))).toBe('ATTEMPT_NOT_HELD')
    expect((await (await second.attach({ fence: 3, from: 4 })).receive())?.type).toBe('attempt.accepted')
  })

  it('cannot be attached to before its commit', async () => {
    const made = await bound()
    const [channel] = await prepared(made)
    expect(await failure(await made.attach({ fence: 2, from: 2 }))).toBe('ATTEMPT_NOT_HELD')
    expect(channel.closed.aborted).toBe(false)
  })

  it.each([
    ['twice', [commit([9]), commit([10])]],
    ['of more tokens than the answer may have', [commit(Array.from({ length: 9 }, (_, i) => i))]],
    ['of half a token', [{ type: 'attempt.commit', fence: 1, generated: new Uint8Array(3) } as const]],
  ])('is not committed %s', async (_, frames) => {
    const made = await bound()
    const [channel] = await prepared(made)
    for (const frame of frames) await channel.send(frame)
    await expect(rest(channel)).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
  })

  it('is not committed before it is prepared, nor when it was not held back', async () => {
    const made = await bound()
    for (const [fence, hold] of [
      [1, true],
      [2, false],
    ] as const) {
      const channel = await made.attempt({ hold, fence })
      expect((await channel.receive())?.type).toBe('attempt.accepted')
      await channel.send(commit([], fence))
      await expect(rest(channel)).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
    }
  })

  it('fails when the engine gives tokens before the commit', async () => {
    const made = await bound()
    const [channel, run] = await prepared(made)
    run.tokens([1])
    expect(await failure(channel)).toBe('ENGINE_FAILED')
  })
})

describe('a drain', () => {
  it('of a node on which nothing runs is over at once, though ended attempts are held', async () => {
    const made = await bound()
    const channel = await made.attempt()
    await until('the engine runs it', () => made.engine().attempts.length === 1)
    channel.abort(new RangeError('died'))
    made.engine().attempts[0]!.end()
    await until('it is held as ended', () => made.executor.held()[0]?.ended === true)
    await made.executor.drain(8000)
    expect(made.clock.nowMs()).toBe(0)
  })

  it('waits until the coordinator has moved what runs', async () => {
    const made = await bound()
    const running = await made.attempt()
    await running.receive()
    await until('the engine runs it', () => made.engine().attempts.length === 1)
    made.executor.handOver()
    expect(made.executor).toMatchObject({ isCordoned: true, isDraining: true })
    const drained = made.executor.drain(8000)
    await made.clock.advance(1000)
    made.engine().attempts[0]!.tokens([1])
    expect((await running.receive())?.type).toBe('attempt.tokens')
    await running.send({ type: 'attempt.cancel', fence: 1 })
    expect(await failure(running)).toBe('CLIENT_CLOSED')
    await drained
    expect(made.clock.nowMs()).toBe(1000)
  })

  it('lets a coordinator take up what it had lost, and ends what nobody takes up', async () => {
    const made = await bound()
    const channel = await made.attempt()
    await until('the engine runs it', () => made.engine().attempts.length === 1)
    channel.abort(new RangeError('died'))
    await until('it is held', () => made.executor.held().length === 1)
    const drained = made.executor.drain(8000)
    const again = await made.attach({ fence: 2 })
    expect((await again.receive())?.type).toBe('attempt.accepted')
    again.abort(new RangeError('died again'))
    await until('it is held again', () => made.executor.held().length === 1)
    await made.clock.advance(8000)
    await drained
    expect(made.host.running).toBe(0)
  })

  it('is not taken back by uncordon; a cordon and a hand-over are', async () => {
    const made = await bound()
    const other = { taskId: asTaskId(`task_${'d'.repeat(24)}`) }
    made.executor.handOver()
    expect(await failure(await made.attempt(other))).toBe('NODE_DRAINING')
    made.executor.uncordon()
    expect(made.executor).toMatchObject({ isCordoned: false, isDraining: false })
    expect((await (await made.attempt()).receive())?.type).toBe('attempt.accepted')
    made.executor.cordon()
    expect(made.executor).toMatchObject({ isCordoned: true, isDraining: false })
    expect(await failure(await made.attempt({ ...other, fence: 2 }))).toBe('NODE_DRAINING')
    void made.executor.drain(8000)
    made.executor.uncordon()
    expect(made.executor).toMatchObject({ isCordoned: false, isDraining: true })
    expect(await failure(await made.attempt({ ...other, fence: 3 }))).toBe('NODE_DRAINING')
    await made.clock.advance(9000)
  })
})
