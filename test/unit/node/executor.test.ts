import { describe, expect, it } from 'vitest'
import {
  asTaskId,
  LIMITS,
  packTokenIds,
  unpackTokenIds,
  type AttemptStart,
  type Frame,
} from '../../../mesh/protocol/index.ts'
import { bound, failure, rest, start } from './executor.harness.ts'
import { digestOf, until } from './support.ts'

describe('an attempt', () => {
  it('is accepted at once, relayed in order, and ends with one final frame', async () => {
    const { engine, attempt, host, ...made } = await bound()
    const channel = await attempt({ generated: packTokenIds([7, 8]), stop: ['END'], maxTokens: 9 })
    expect(await channel.receive()).toEqual({ type: 'attempt.accepted', fence: 1 })
    await until('the engine runs it', () => engine().attempts.length === 1)
    const run = engine().attempts[0]!
    expect(run.request).toMatchObject({ stop: ['END'], maxTokens: 9, generated: [7, 8], sampling: { seed: 1 } })
    expect(host.running).toBe(1)
    run.progress(1, 4)
    expect(await channel.receive()).toEqual({ type: 'attempt.progress', fence: 1, phase: 'prefill', done: 1, total: 4 })
    run.tokens([9], 'nine')
    run.tokens([10, 11], ' and')
    run.end(' more', 0)
    const frames = await rest(channel)
    const tokens = frames.flatMap((frame) => (frame.type === 'attempt.tokens' ? [frame] : []))
    expect(tokens[0]!.index).toBe(2)
    expect(tokens.flatMap((frame) => unpackTokenIds(frame.ids)!)).toEqual([9, 10, 11])
    expect(tokens.map((frame) => frame.text).join('')).toBe('nine and')
    expect(frames.at(-1)).toEqual({
      type: 'attempt.end',
      fence: 1,
      finishReason: 'stop',
      stopIndex: 0,
      text: ' more',
      usage: { promptTokens: 3, cachedTokens: 0, completionTokens: 5 },
      timing: { waitMs: 0, prefillMs: 2, decodeMs: 2 },
    })
    await until('the slot is free', () => host.running === 0 && made.executor.running === 0)
  })

  it('cancelled by the coordinator, frees the engine and says so', async () => {
    const { engine, attempt, host } = await bound()
    const channel = await attempt()
    await channel.receive()
    await until('the engine runs it', () => engine().attempts.length === 1)
    await channel.send({ type: 'attempt.cancel', fence: 99 })
    engine().attempts[0]!.tokens([1])
    expect((await channel.receive())?.type).toBe('attempt.tokens')
    await channel.send({ type: 'attempt.cancel', fence: 1 })
    expect(await failure(channel)).toBe('CLIENT_CLOSED')
    expect(host.running).toBe(0)
  })

  it('tells how far the model is while it loads, at least each second', async () => {
    const { clock, engine, attempt } = await bound(false)
    await until('loading has begun', () => engine() !== undefined)
    const channel = await attempt()
    expect((await channel.receive())?.type).toBe('attempt.accepted')
    expect(await channel.receive()).toMatchObject({ type: 'attempt.progress', phase: 'loading', done: 0, total: 100 })
    engine().onProgress(0.43)
    const before = clock.nowMs()
    const next = channel.receive()
    let told: Frame | undefined
    void next.then((frame) => (told = frame))
    await until('progress is told', () => told !== undefined, { clock, stepMs: 50 })
    expect(told).toMatchObject({ phase: 'loading', done: 43 })
    expect(clock.nowMs() - before).toBeLessThanOrEqual(1000)
    engine().finishLoading()
    await until('the engine runs it', () => engine().attempts.length === 1)
    engine().attempts[0]!.end()
    expect((await rest(channel)).at(-1)?.type).toBe('attempt.end')
  })

  it('fails with ENGINE_CRASHED when the engine dies, and the model is loaded again', async () => {
    const { clock, engine, engines, attempt, host } = await bound()
    const channel = await attempt()
    await channel.receive()
    await until('the engine runs it', () => engine().attempts.length === 1)
    engine().attempts[0]!.tokens([1], 'a')
    engine().crash()
    const frames = await rest(channel)
    expect(frames.map((frame) => frame.type)).toEqual(['attempt.tokens', 'attempt.failed'])
    expect(frames[1]).toMatchObject({ code: 'ENGINE_CRASHED' })
    expect(host.isResident).toBe(false)
    await until('it is resident again', () => engines.length === 2 && host.isResident, { clock, stepMs: 50 })
  })

  it('sends fewer, larger frames to a coordinator that reads slowly', async () => {
    const { engine, attempt } = await bound()
    const channel = await attempt({ maxTokens: 100_000 })
    await until('the engine runs it', () => engine().attempts.length === 1)
    const run = engine().attempts[0]!
    const text = 'x'.repeat(1000)
    for (let i = 0; i < 5000; i++) run.tokens([i], text)
    run.end()
    await until('the engine has delivered all', () => run.events.length === 0)
    const frames = await rest(channel)
    const tokens = frames.flatMap((frame) => (frame.type === 'attempt.tokens' ? [frame] : []))
    expect(tokens.flatMap((frame) => unpackTokenIds(frame.ids)!)).toEqual(Array.from({ length: 5000 }, (_, i) => i))
    expect(tokens.length).toBeLessThan(2500)
    expect(Math.max(...tokens.map((frame) => frame.ids.length / 4))).toBeLessThanOrEqual(LIMITS.tokensPerFrameMax)
    expect(tokens.reduce((sum, frame) => sum + frame.text.length, 0)).toBe(5_000_000)
  })

  it('splits a step that is larger than a frame, its text behind its tokens', async () => {
    const { engine, attempt } = await bound()
    const channel = await attempt()
    await until('the engine runs it', () => engine().attempts.length === 1)
    engine().attempts[0]!.tokens(
      Array.from({ length: 1200 }, (_, i) => i),
      'whole',
    )
    engine().attempts[0]!.end()
    const tokens = (await rest(channel)).flatMap((frame) => (frame.type === 'attempt.tokens' ? [frame] : []))
    expect(tokens.map((frame) => [frame.index, frame.ids.length / 4, frame.text])).toEqual([
      [0, 512, ''],
      [512, 512, ''],
      [1024, 176, 'whole'],
    ])
  })

  it('whose coordinator reads nothing for long loses its stream', async () => {
    const { clock, engine, attempt, host, executor } = await bound()
    const channel = await attempt({ maxTokens: 100_000 })
    await until('the engine runs it', () => engine().attempts.length === 1)
    for (let i = 0; i < 2000; i++) engine().attempts[0]!.tokens([i], 'x'.repeat(1000))
    await until('the stream is cut', () => channel.closed.aborted, { clock, stepMs: 5000 })
    expect(clock.nowMs()).toBeGreaterThanOrEqual(LIMITS.clientStallMs)
    await until('it is held', () => executor.held().length === 1)
    expect(host.running).toBe(1)
  })

  it('says that it decodes while no token comes, and only then', async () => {
    const { clock, engine, attempt } = await bound()
    const channel = await attempt()
    await until('the engine runs it', () => engine().attempts.length === 1)
    const run = engine().attempts[0]!
    run.tokens([1])
    run.progress(0, 1)
    run.progress(1, 1, 'decode')
    await until('the engine has delivered all', () => run.events.length === 0)
    await clock.advance(500)
    run.progress(2, 2, 'prefill')
    run.progress(1, 7, 'decode')
    await until('the engine has delivered all', () => run.events.length === 0)
    run.tokens([2])
    run.end()
    const frames = await rest(channel)
    expect(frames.map((frame) => frame.type)).toEqual([
      'attempt.accepted',
      'attempt.tokens',
      'attempt.progress',
      'attempt.tokens',
      'attempt.end',
    ])
    expect(frames[2]).toMatchObject({ phase: 'decode', done: 1, total: 7 })
  })

  it("is asked for log probabilities and a format, and tells each token's", async () => {
    const { engine, attempt } = await bound()
    const format = { kind: 'json-schema', schema: '{"type":"object"}' } as const
    const channel = await attempt({ logprobs: 1, format })
    await until('the engine runs it', () => engine().attempts.length === 1)
    const run = engine().attempts[0]!
    expect(run.request).toMatchObject({ logprobs: 1, format })
    const share = (byte: number) => ({ bytes: new Uint8Array([byte]), logprob: -1 - byte })
    const logprob = (byte: number) => ({ ...share(byte), top: [share(byte + 1)] })
    const ids = Array.from({ length: 600 }, (_, i) => i)
    run.tokens([7], 'a', [logprob(7)])
    run.tokens(
      ids,
      'b',
      ids.map((id) => logprob(id % 100)),
    )
    run.end()
    const tokens = (await rest(channel)).flatMap((frame) => (frame.type === 'attempt.tokens' ? [frame] : []))
    expect(tokens.map((frame) => frame.ids.length / 4)).toEqual(tokens.map((frame) => frame.logprobs?.length))
    expect(tokens.flatMap((frame) => frame.logprobs)).toEqual([7, ...ids.map((id) => id % 100)].map(logprob))
  })

  it('fails when the engine leaves a gap, or gives tokens without their log probabilities', async () => {
    const { engine, attempt } = await bound()
    for (const [fence, event] of [
      [1, { type: 'tokens', index: 1, ids: [1], text: '' }],
      [2, { type: 'tokens', index: 0, ids: [1, 2], text: '', logprobs: [] }],
    ] as const) {
      const channel = await attempt({ fence })
      await until('the engine runs it', () => engine().attempts.length === fence)
      engine().attempts[fence - 1]!.events.push(event)
      expect((await rest(channel)).at(-1)).toMatchObject({ type: 'attempt.failed', code: 'ENGINE_FAILED' })
    }
  })
})

describe('the executor refuses', () => {
  it('a model that is not here, and more attempts than slots', async () => {
    const { attempt } = await bound()
    expect(await failure(await attempt({ digest: digestOf('b') }))).toBe('MODEL_NOT_FOUND')
    const task = (letter: string): Partial<AttemptStart> => ({ taskId: asTaskId(`task_${letter.repeat(24)}`) })
    const held = [await attempt(task('b')), await attempt(task('c'))]
    for (const channel of held) expect((await channel.receive())?.type).toBe('attempt.accepted')
    expect(await failure(await attempt(task('d')))).toBe('NO_FREE_SLOT')
  })

  it('an older fencing token, and ends the attempt under it when a newer one comes', async () => {
    const { engine, attempt } = await bound()
    const first = await attempt({ fence: 5 })
    expect((await first.receive())?.type).toBe('attempt.accepted')
    expect(await failure(await attempt({ fence: 4 }))).toBe('STALE_FENCING_TOKEN')
    expect(await failure(await attempt({ fence: 5 }))).toBe('STALE_FENCING_TOKEN')
    const second = await attempt({ fence: 6 })
    expect(await failure(first)).toBe('STALE_FENCING_TOKEN')
    expect((await second.receive())?.type).toBe('attempt.accepted')
    await until('the engine runs the newer', () => engine().attempts.length === 2)
  })

  it('no successor for want of the slot that its predecessor still holds', async () => {
    const { attempt } = await bound()
    await (await attempt({ taskId: asTaskId(`task_${'z'.repeat(24)}`) })).receive()
    await (await attempt({ fence: 1 })).receive()
    const second = await attempt({ fence: 2 })
    expect((await second.receive())?.type).toBe('attempt.accepted')
  })

  it('streams of members that are no coordinators', async () => {
    const { network, open } = await bound()
    const channel = await open(network.join('other', ['node']))
    await channel.send(start()).catch(() => {})
    await expect(channel.receive()).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
  })

  it('a stream that says nothing, or begins with something else', async () => {
    const { clock, open } = await bound()
    const silent = await open()
    await clock.advance(LIMITS.attemptStartMs + 1)
    await expect(silent.receive()).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
    const wrong = await open()
    await wrong.send({ type: 'attempt.cancel', fence: 1 })
    await expect(wrong.receive()).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
  })

  it('new work when it drains; running answers end within their grace', async () => {
    const { clock, engine, attempt, executor } = await bound()
    const running = await attempt()
    await running.receive()
    await until('the engine runs it', () => engine().attempts.length === 1)
    const drained = executor.drain(8000)
    expect(await failure(await attempt({ taskId: asTaskId(`task_${'d'.repeat(24)}`) }))).toBe('NODE_DRAINING')
    await clock.advance(4000)
    engine().attempts[0]!.tokens([1], 'last')
    engine().attempts[0]!.end()
    await drained
    expect(clock.nowMs()).toBe(4000)
    expect((await rest(running)).map((frame) => frame.type)).toEqual(['attempt.tokens', 'attempt.end'])
  })

  it('a successor that still waits for its slot when the drain begins', async () => {
    const { engine, attempt, executor } = await bound()
    await (await attempt({ taskId: asTaskId(`task_${'z'.repeat(24)}`) })).receive()
    await (await attempt({ fence: 1 })).receive()
    await until('the engine runs both', () => engine().attempts.length === 2)
    const predecessor = engine().attempts[1]!
    let isSuperseded = false
    // an engine that is in the middle of a chunk hears of the abort and lets go later
    predecessor.events.fail = () => (isSuperseded = true)
    const second = await attempt({ fence: 2 })
    await until('the predecessor is told', () => isSuperseded)
    executor.cordon()
    predecessor.end()
    expect(await failure(second)).toBe('NODE_DRAINING')
  })

  it('to let an answer run on beyond the grace, and says why', async () => {
    const { clock, attempt, executor, host } = await bound()
    const running = await attempt()
    await running.receive()
    const drained = executor.drain(8000)
    await clock.advance(8000)
    expect(await failure(running)).toBe('NODE_DRAINING')
    await drained
    expect(host.running).toBe(0)
  })
})
