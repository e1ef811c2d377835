import { describe, expect, it } from 'vitest'
import {
  asTaskId,
  LIMITS,
  packTokenIds,
  unpackTokenIds,
  type Frame,
  type TaskId,
} from '../../../mesh/protocol/index.ts'
import { bound, failure, rest, TASK, type Channel } from './executor.harness.ts'
import { turn, until, type ScriptedRun } from './support.ts'

type Bound = Awaited<ReturnType<typeof bound>>

/** Another task id for each `i`: its bits as letters. */
const taskOf = (i: number): TaskId =>
  asTaskId(`task_${i.toString(2).replaceAll('0', 'b').replaceAll('1', 'c').padStart(24, 'd')}`)

/** An attempt whose engine has begun. */
async function running(made: Bound, init: Parameters<Bound['attempt']>[0] = {}): Promise<[Channel, ScriptedRun]> {
  const count = made.engine().attempts.length
  const channel = await made.attempt(init)
  await until('the engine runs it', () => made.engine().attempts.length === count + 1)
  return [channel, made.engine().attempts[count]!]
}

/** The same, and then its stream is lost. */
async function heldOne(made: Bound, init: Parameters<Bound['attempt']>[0] = {}): Promise<ScriptedRun> {
  const [channel, run] = await running(made, init)
  channel.abort(new RangeError('the coordinator has died'))
  await until('it is held', () => made.executor.held().at(-1)?.taskId === (init.taskId ?? TASK))
  return run
}

const delivered = (run: ScriptedRun): Promise<void> =>
  until('the engine has delivered all', () => run.events.length === 0)

/** `count` frames. */
async function take(channel: Channel, count: number): Promise<(Frame | undefined)[]> {
  const frames: (Frame | undefined)[] = []
  while (frames.length < count) frames.push(await channel.receive())
  return frames
}

const tokensOf = (frames: readonly (Frame | undefined)[]): [number, number[], string][] =>
  frames.flatMap((frame) =>
    frame?.type === 'attempt.tokens' ? [[frame.index, unpackTokenIds(frame.ids)!, frame.text]] : [],
  )

describe('an attempt whose stream is lost', () => {
  it.each(['reset', 'closed', 'lost with its connection'])('goes on and is held: %s', async (how) => {
    const made = await bound()
    const [channel, run] = await running(made)
    run.tokens([1])
    await take(channel, 2)
    expect(made.executor.held()).toEqual([])
    if (how === 'reset') channel.abort(new RangeError('away'))
    else if (how === 'closed') await channel.close()
    else made.network.cut(made.coordinator, made.node)
    await until('it is held', () => made.executor.held().length === 1)
    run.tokens([2, 3])
    await delivered(run)
    expect(made.executor.held()).toEqual([{ taskId: TASK, fence: 1, index: 3, ended: false }])
    expect(made.host.running).toBe(1)
    const before = made.heldChanges()
    run.end()
    await until('it has ended', () => made.executor.held()[0]!.ended)
    expect(made.heldChanges()).toBeGreaterThan(before)
    expect(made.host.running).toBe(0)
  })

  it('is taken up at every border of its pieces, one frame a piece, and nowhere else', async () => {
    const made = await bound()
    const run = await heldOne(made, { generated: packTokenIds([90, 91]) })
    const pieces: [number[], string][] = [
      [[1], 'a'],
      [[2, 3], ''],
      [[4], 'bc'],
      [[5, 6, 7], 'd'],
    ]
    for (const [ids, text] of pieces) run.tokens(ids, text)
    await delivered(run)
    const all: [number, number[], string][] = []
    let index = 2
    for (const [ids, text] of pieces) {
      all.push([index, ids, text])
      index += ids.length
    }
    const borders = [...all.map(([at]) => at), index]
    for (let from = 0; from <= index + 1; from++) {
      const channel = await made.attach({ fence: 2 + from, from })
      if (!borders.includes(from)) {
        expect(await failure(channel), `from ${from}`).toBe('ATTEMPT_NOT_HELD')
        continue
      }
      const expected = all.filter(([at]) => at >= from)
      const frames = await take(channel, 1 + expected.length)
      expect(frames[0]).toEqual({ type: 'attempt.accepted', fence: 2 + from })
      expect(tokensOf(frames)).toEqual(expected)
      channel.abort(new RangeError('died again'))
      await until('it is held again', () => made.executor.held().length === 1)
    }
    const channel = await made.attach({ heldFence: 2, fence: 100, from: index })
    run.tokens([8], 'e')
    run.end('f')
    const frames = await rest(channel)
    expect(frames.map((frame) => frame.type)).toEqual(['attempt.accepted', 'attempt.tokens', 'attempt.end'])
    expect(frames.every((frame) => 'fence' in frame && frame.fence === 100)).toBe(true)
    expect(tokensOf(frames)).toEqual([[index, [8], 'e']])
  })

  it('replays log probabilities', async () => {
    const made = await bound()
    const run = await heldOne(made, { logprobs: 0 })
    const logprobs = [{ bytes: new Uint8Array([65]), logprob: -1, top: [] }]
    run.tokens([1], 'A', logprobs)
    await delivered(run)
    const [, frame] = await take(await made.attach({}), 2)
    expect(frame).toMatchObject({ type: 'attempt.tokens', logprobs })
  })

  it('that ended meanwhile is told whole, and dropped once its end was received', async () => {
    const made = await bound()
    const run = await heldOne(made)
    run.tokens([1], 'a')
    run.end('b')
    await until('it has ended', () => made.executor.held()[0]!.ended)
    const channel = await made.attach({ fence: 7 })
    const frames = await rest(channel)
    expect(frames.map((frame) => frame.type)).toEqual(['attempt.accepted', 'attempt.tokens', 'attempt.end'])
    expect(frames.at(-1)).toMatchObject({ fence: 7, text: 'b', finishReason: 'stop' })
    expect(made.executor.held()).toEqual([])
    await channel.close()
    expect(await failure(await made.attach({ heldFence: 7, fence: 8 }))).toBe('ATTEMPT_NOT_HELD')
    expect(made.executor.held()).toEqual([])
  })

  it('is ended after heldAttemptMs, and gives its slot back', async () => {
    const made = await bound()
    await heldOne(made)
    await made.clock.advance(LIMITS.heldAttemptMs - 1)
    expect(made.host.running).toBe(1)
    await made.clock.advance(1)
    await until('the slot is free', () => made.host.running === 0)
    expect(made.executor.held()).toEqual([])
    expect(await failure(await made.attach({}))).toBe('ATTEMPT_NOT_HELD')
  })

  it('has its whole time again after each stream', async () => {
    const made = await bound()
    await heldOne(made)
    await made.clock.advance(LIMITS.heldAttemptMs - 1000)
    const channel = await made.attach({})
    await channel.receive()
    await made.clock.advance(LIMITS.heldAttemptMs)
    expect(made.host.running).toBe(1)
    channel.abort(new RangeError('again'))
    await until('it is held again', () => made.executor.held().length === 1)
    await made.clock.advance(LIMITS.heldAttemptMs - 1)
    expect(made.executor.held()).toMatchObject([{ fence: 2 }])
  })

  it('is ended by a newer attempt of its task', async () => {
    const made = await bound()
    await heldOne(made)
    await running(made, { fence: 2 })
    expect(made.executor.held()).toEqual([])
    expect(made.host.running).toBe(1)
  })
})

describe('after the final frame', () => {
  async function ended(made: Bound): Promise<Channel> {
    const [channel, run] = await running(made)
    run.tokens([1], 'a')
    run.end()
    await rest(channel)
    await turn()
    return channel
  }

  it('a break means that it may not have been received', async () => {
    const made = await bound()
    const channel = await ended(made)
    channel.abort(new RangeError('died'))
    await until('it is held', () => made.executor.held().length === 1)
    expect(made.executor.held()).toEqual([{ taskId: TASK, fence: 1, index: 1, ended: true }])
    expect((await rest(await made.attach({ from: 1 }))).map((frame) => frame.type)).toEqual([
      'attempt.accepted',
      'attempt.end',
    ])
  })

  it('so does a coordinator that never closes', async () => {
    const made = await bound()
    await ended(made)
    await made.clock.advance(4999)
    expect(made.executor.held()).toEqual([])
    await made.clock.advance(1)
    await until('it is held', () => made.executor.held().length === 1)
  })

  it('a coordinator may close before its node knows that the frame is out', async () => {
    const made = await bound()
    const [channel, run] = await running(made)
    // larger than what waits unread at most: its send returns once it was taken
    run.end('x'.repeat(LIMITS.streamReadBufferBytes + 1))
    while ((await channel.receive())?.type !== 'attempt.end');
    void channel.close()
    await until('the stream is over', () => channel.closed.aborted)
    await made.clock.advance(10_000)
    expect(made.executor.held()).toEqual([])
  })

  it.each(['closes', 'cancels and breaks'])('a coordinator that %s does not need it', async (how) => {
    const made = await bound()
    const channel = await ended(made)
    if (how === 'closes') await channel.close()
    else {
      await channel.send({ type: 'attempt.cancel', fence: 1 })
      channel.abort(new RangeError('cancelled'))
    }
    await until('the stream is over', () => channel.closed.aborted)
    await made.clock.advance(10_000)
    expect(made.executor.held()).toEqual([])
    expect(await failure(await made.attach({}))).toBe('ATTEMPT_NOT_HELD')
  })
})

describe('attempt.attach', () => {
  it('while the old stream looks alive takes the attempt from it', async () => {
    const made = await bound()
    const [old, run] = await running(made)
    run.tokens([1], 'a')
    await take(old, 2)
    const channel = await made.attach({ fence: 9 })
    expect(tokensOf(await take(channel, 2))).toEqual([[0, [1], 'a']])
    await expect(old.receive()).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
    expect(made.executor.held()).toEqual([])
    await old.send({ type: 'attempt.cancel', fence: 1 }).catch(() => {})
    run.tokens([2], 'b')
    run.end()
    expect((await rest(channel)).map((frame) => frame.type)).toEqual(['attempt.tokens', 'attempt.end'])
  })

  it('of two, the newer fence wins, whichever comes first', async () => {
    const made = await bound()
    await heldOne(made)
    const older = await made.attach({ fence: 2 })
    expect((await older.receive())?.type).toBe('attempt.accepted')
    // it knows the fence under which the attempt began, not the one under which it goes on since
    const newer = await made.attach({ heldFence: 1, fence: 3 })
    expect((await newer.receive())?.type).toBe('attempt.accepted')
    await expect(older.receive()).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
    expect(await failure(await made.attach({ fence: 2 }))).toBe('STALE_FENCING_TOKEN')
    expect(await failure(await made.attach({ fence: 3 }))).toBe('STALE_FENCING_TOKEN')
    expect(newer.closed.aborted).toBe(false)
  })

  it('finds nothing under a fence that the attempt never bore, or of another task', async () => {
    const made = await bound()
    await heldOne(made, { fence: 5 })
    expect(await failure(await made.attach({ heldFence: 4, fence: 6 }))).toBe('ATTEMPT_NOT_HELD')
    expect(await failure(await made.attach({ heldFence: 6, fence: 7 }))).toBe('ATTEMPT_NOT_HELD')
    expect(await failure(await made.attach({ heldFence: 5, fence: 8, taskId: taskOf(1) }))).toBe('ATTEMPT_NOT_HELD')
    expect((await (await made.attach({ heldFence: 5, fence: 8 })).receive())?.type).toBe('attempt.accepted')
  })

  it('cancels what it took up, which frees the slot', async () => {
    const made = await bound()
    await heldOne(made)
    const channel = await made.attach({ fence: 2 })
    await channel.receive()
    await channel.send({ type: 'attempt.cancel', fence: 2 })
    expect(await failure(channel)).toBe('CLIENT_CLOSED')
    expect(made.host.running).toBe(0)
  })

  it('is the first frame of a stream or none', async () => {
    const made = await bound()
    const [channel] = await running(made)
    await channel.receive()
    await channel.send({ type: 'attempt.attach', taskId: TASK, heldFence: 1, fence: 2, from: 0 })
    await expect(channel.receive()).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
    await until('it is held', () => made.executor.held().length === 1)
  })

  it('replays in bursts, between which heartbeats have their turn', async () => {
    const made = await bound()
    const run = await heldOne(made)
    for (let i = 0; i < 1000; i++) run.tokens([i], 'x')
    await delivered(run)
    const channel = await made.attach({})
    const frames: Frame[] = []
    void (async () => {
      for (let frame = await channel.receive(); frame; frame = await channel.receive()) frames.push(frame)
    })()
    await until('a burst has come', () => frames.length > 60)
    for (let i = 0; i < 100; i++) await made.clock.advance(0)
    expect(frames.length).toBeLessThan(70)
    await until('all have come', () => frames.length === 1001, { clock: made.clock, stepMs: 1 })
  })
})

describe('control.release', () => {
  it('drops what its coordinator names, up to the fence, and frees the slot', async () => {
    const made = await bound()
    await heldOne(made, { fence: 5 })
    const { peerId } = made.coordinator.self
    const other = made.network.join('other', ['coordinator']).self.peerId
    made.executor.release(peerId, [{ taskId: TASK, fence: 4 }])
    made.executor.release(peerId, [{ taskId: taskOf(1), fence: 5 }])
    made.executor.release(other, [{ taskId: TASK, fence: 5 }])
    expect(made.executor.held()).toHaveLength(1)
    made.executor.release(peerId, [{ taskId: TASK, fence: 5 }])
    expect(made.executor.held()).toEqual([])
    await until('the slot is free', () => made.host.running === 0)
  })
})

describe('what is held is bounded', () => {
  it('in number: the oldest that has ended goes first', async () => {
    const made = await bound()
    await heldOne(made)
    for (let i = 0; i < LIMITS.heldAttemptsMax; i++) {
      const run = await heldOne(made, { taskId: taskOf(i) })
      run.end()
      await until('it has ended', () => made.host.running === 1)
    }
    await until('all but one have ended', () => made.executor.held().filter(({ ended }) => ended).length === 511)
    const held = made.executor.held()
    expect(held).toHaveLength(LIMITS.heldAttemptsMax)
    expect(held[0]).toMatchObject({ taskId: TASK, ended: false })
    expect(held.map(({ taskId }) => taskId)).not.toContain(taskOf(0))
    expect(made.host.running).toBe(1)
  })

  it('in memory: those that have ended share 256 MiB', async () => {
    const made = await bound()
    const text = 'x'.repeat(512 * 1024)
    for (const i of [0, 1]) {
      const run = await heldOne(made, { taskId: taskOf(i) })
      for (let token = 0; token < 150; token++) run.tokens([token], text)
      await delivered(run)
      run.end()
      await until('it has ended', () => made.executor.held().at(-1)!.ended)
    }
    expect(made.executor.held().map(({ taskId }) => taskId)).toEqual([taskOf(1)])
  })
})
