/** Dispatch over the network's memory twin, against nodes that behave, die, lie, stall and refuse. */
import { afterEach, describe, expect, it } from 'vitest'
import { Directory } from '../../../coordinator/directory/index.ts'
import { Dispatcher, Task, type TaskEvent } from '../../../coordinator/dispatch/index.ts'
import { MemoryNetwork, type FrameChannel, type MemoryPeerTransport } from '../../../mesh/network/index.ts'
import {
  asRequestId,
  asTaskId,
  GREEDY,
  INBOUND,
  LIMITS,
  packTokenIds,
  unpackTokenIds,
  type AttemptStart,
  type Frame,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { capability, DIGEST } from './snapshots.ts'

type NodeChannel = FrameChannel<Extract<Frame, { type: 'attempt.start' | 'attempt.cancel' }>>
type Script = (channel: NodeChannel, start: AttemptStart) => Promise<void>

const ANSWER = ['the ', 'geese ', 'fly ', 'in ', 'a ', 'skein ', 'and ', 'arrive']

/** Sends `ANSWER` from where `start` says on; word i has the id 100 + i. */
const tokensFrom = async (channel: NodeChannel, start: AttemptStart, from: number, to: number): Promise<void> => {
  for (let i = from; i < to; i++)
    await channel.send({
      type: 'attempt.tokens',
      fence: start.fence,
      index: i,
      ids: packTokenIds([100 + i]),
      text: ANSWER[i]!,
    })
}
const accept = (channel: NodeChannel, start: AttemptStart): Promise<void> =>
  channel.send({ type: 'attempt.accepted', fence: start.fence })
const end = async (channel: NodeChannel, start: AttemptStart, completionTokens = ANSWER.length): Promise<void> => {
  await channel.send({
    type: 'attempt.end',
    fence: start.fence,
    finishReason: 'stop',
    text: '',
    usage: { promptTokens: 3, cachedTokens: 0, completionTokens },
    timing: { waitMs: 0, prefillMs: 0, decodeMs: 0 },
  })
  await channel.close()
}
const answers: Script = async (channel, start) => {
  await accept(channel, start)
  await tokensFrom(channel, start, unpackTokenIds(start.generated)!.length, ANSWER.length)
  await end(channel, start)
}

describe('Dispatcher', () => {
  const clock = new ManualClock()
  const random = new SeededRandom(11)
  const network = new MemoryNetwork({ clock, random })
  const self = network.join('coordinator', ['coordinator'])
  let directory = new Directory({ clock, log: silentLogger }, self.self.peerId)
  let dispatcher = new Dispatcher({ clock, random, log: silentLogger, transport: self, directory })
  const starts: AttemptStart[] = []

  const reset = (): void => {
    directory = new Directory({ clock, log: silentLogger }, self.self.peerId)
    dispatcher = new Dispatcher({ clock, random, log: silentLogger, transport: self, directory })
    starts.length = 0
  }
  afterEach(reset)

  /** A node that plays its scripts in turn, the last one again and again. `rate` decides who is asked first. */
  const node = (name: string, rate: number, ...scripts: Script[]): MemoryPeerTransport => {
    const transport = network.join(name)
    let turn = 0
    transport.handle('attempt', INBOUND.attemptNode, async (channel) => {
      const start = await channel.receive()
      if (start?.type !== 'attempt.start') throw new TypeError('no start')
      starts.push(start)
      await scripts[Math.min(turn++, scripts.length - 1)]!(channel, start)
    })
    const { peerId, certificate } = transport.self
    directory.connected({ peerId, certificate, isSelf: false })
    directory.announce(peerId, {
      meshId: certificate.meshId,
      peerId,
      name,
      sequence: 1,
      issuedAtMs: clock.wallMs(),
      expiresAtMs: clock.wallMs() + 1e9,
      hardware: { cpu: { model: 'x', architecture: 'x64', threads: 1 }, memoryBytes: 1, gpus: [], platform: 'linux' },
      models: [
        capability({
          slots: 1,
          speed: { prefillTokensPerSecond: rate, decode: [{ sequences: 1, tokensPerSecond: rate }], measuredAtMs: 1 },
        }),
      ],
      power: 'mains',
      labels: {},
      addresses: [],
    })
    return transport
  }

  let taskNumber = 0
  const newTask = (): Task =>
    new Task({
      taskId: asTaskId(`task_${'a'.repeat(23)}${'abcdefghij'[taskNumber++ % 10]}`),
      requestId: asRequestId('req_1'),
      digest: DIGEST,
      prompt: { kind: 'text', text: 'why' },
      sampling: { ...GREEDY, seed: 1 },
      stop: [],
      maxTokens: 64,
      promptBytes: 3,
      admittedAtMs: clock.nowMs(),
      deadlineAtMs: clock.nowMs() + LIMITS.taskMs,
    })

  /** Runs a task to its end while time moves by itself in steps of `stepMs`. */
  const run = async (
    task: Task,
    signal = new AbortController().signal,
    stepMs = 25,
  ): Promise<{ events: TaskEvent[]; error?: unknown }> => {
    const events: TaskEvent[] = []
    let over = false
    let error: unknown
    const reading = (async () => {
      for await (const event of dispatcher.run(task, signal)) events.push(event)
    })()
      .catch((thrown: unknown) => (error = thrown))
      .finally(() => (over = true))
    for (let i = 0; i < 4000 && !over; i++) {
      await clock.advance(stepMs)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await reading
    return { events, ...(error === undefined ? {} : { error }) }
  }
  const textOf = (events: readonly TaskEvent[]): string =>
    events.map((event) => (event.type === 'tokens' || event.type === 'end' ? event.text : '')).join('')
  const indices = (events: readonly TaskEvent[]): number[] =>
    events.flatMap((event) => (event.type === 'tokens' ? [event.index] : []))

  it('relays an answer and its usage', async () => {
    node('good', 100, answers)
    const task = newTask()
    const { events } = await run(task)
    expect(textOf(events)).toBe(ANSWER.join(''))
    expect(events.at(-1)).toMatchObject({ type: 'end', attempts: 1, usage: { completionTokens: ANSWER.length } })
    expect(task.state).toBe('completed')
    expect(dispatcher.running).toBe(0)
  })

  it('goes on with another node from the last delivered token when one breaks', async () => {
    const breaks: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start, 0, 3)
      channel.abort(new TypeError('the process died'))
    }
    node('breaks', 1000, breaks)
    node('good', 10, answers)
    const { events } = await run(newTask())
    expect(textOf(events)).toBe(ANSWER.join(''))
    expect(indices(events)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(starts.map((start) => unpackTokenIds(start.generated))).toEqual([[], [100, 101, 102]])
    expect(starts[1]!.fence).toBeGreaterThan(starts[0]!.fence)
    expect(events.at(-1)).toMatchObject({ type: 'end', attempts: 2 })
  })

  it('a node whose heartbeats stopped is left at once', async () => {
    const silent: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start, 0, 2)
      directory.disconnected(channel.peer === self.self.peerId ? frozen.self.peerId : channel.peer, 1)
      await new Promise(() => {})
    }
    const frozen = node('frozen', 1000, silent)
    node('good', 10, answers)
    const beganMs = clock.nowMs()
    const { events } = await run(newTask())
    expect(textOf(events)).toBe(ANSWER.join(''))
    expect(clock.nowMs() - beganMs).toBeLessThan(LIMITS.betweenTokensMs)
  })

  it('a stalled node is left after its interval', async () => {
    const stalls: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start, 0, 1)
      await new Promise(() => {})
    }
    node('stalls', 1000, stalls)
    node('good', 10, answers)
    const beganMs = clock.nowMs()
    const { events } = await run(newTask())
    expect(textOf(events)).toBe(ANSWER.join(''))
    expect(clock.nowMs() - beganMs).toBeGreaterThanOrEqual(LIMITS.betweenTokensMs)
    expect(events).toContainEqual({ type: 'status', text: 'node is stalled, resuming on good' })
  })

  it('drops frames under another fence and repeated indices, and ends an attempt at a gap', async () => {
    const lies: Script = async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start, 0, 2)
      await channel.send({
        type: 'attempt.tokens',
        fence: start.fence + 1,
        index: 2,
        ids: packTokenIds([7]),
        text: 'FORGED',
      })
      await channel.send({
        type: 'attempt.tokens',
        fence: start.fence,
        index: 1,
        ids: packTokenIds([7]),
        text: 'AGAIN',
      })
      await channel.send({ type: 'attempt.tokens', fence: start.fence, index: 5, ids: packTokenIds([7]), text: 'GAP' })
      await new Promise(() => {})
    }
    node('lies', 1000, lies)
    node('good', 10, answers)
    const { events } = await run(newTask())
    expect(textOf(events)).toBe(ANSWER.join(''))
    expect(indices(events)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(Object.fromEntries(dispatcher.dropped)).toEqual({ 'stale fence': 1, 'repeated index': 1 })
  })

  it('does not believe a node that counts other tokens than it sent', async () => {
    node('greedy', 100, async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start, 0, 2)
      await end(channel, start, 1_000_000)
    })
    const { events } = await run(newTask())
    expect(events.at(-1)).toMatchObject({ type: 'end', usage: { completionTokens: 2 } })
  })

  it('cancels down to the node when the client leaves', async () => {
    const heard: string[] = []
    node('good', 100, async (channel, start) => {
      await accept(channel, start)
      await tokensFrom(channel, start, 0, 2)
      const next = await channel.receive()
      heard.push(next?.type ?? 'closed')
      await channel.send({ type: 'attempt.failed', fence: start.fence, code: 'CLIENT_CLOSED', message: 'cancelled' })
    })
    const leave = new AbortController()
    const task = newTask()
    const running = run(task, leave.signal)
    while (task.generated.length < 2) await new Promise((resolve) => setImmediate(resolve))
    leave.abort(new TypeError('the client hung up'))
    const { error } = await running
    expect(error).toMatchObject({ message: 'the client hung up' })
    expect(task.state).toBe('cancelled')
    await clock.advance(1000)
    expect(heard).toEqual(['attempt.cancel'])
    expect(directory.snapshot().nodes[0]?.models.get(DIGEST)?.running).toBe(0)
  })

  it('waits for a slot in line, says the place, and starts when one is free', async () => {
    let release = (): void => {}
    const first: Script = async (channel, start) => {
      await accept(channel, start)
      await new Promise<void>((resolve) => (release = resolve))
      await tokensFrom(channel, start, 0, ANSWER.length)
      await end(channel, start)
    }
    node('small', 100, first, answers)
    const never = new AbortController().signal
    const one = run(newTask(), never, 1)
    while (starts.length === 0) await new Promise((resolve) => setImmediate(resolve))
    const two = run(newTask(), never, 1)
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(starts.length).toBe(1)
    release()
    expect(textOf((await one).events)).toBe(ANSWER.join(''))
    const { events } = await two
    expect(events[0]).toEqual({ type: 'status', text: 'queued 1' })
    expect(textOf(events)).toBe(ANSWER.join(''))
  })

  /** A script that holds its slot until `release` is called. */
  const holding = (): { script: Script; release: () => void } => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const script: Script = async (channel, start) => {
      await accept(channel, start)
      await promise
      await tokensFrom(channel, start, 0, ANSWER.length)
      await end(channel, start)
    }
    return { script, release: resolve }
  }
  const turnsUntil = async (condition: () => boolean): Promise<void> => {
    while (!condition()) {
      await clock.advance(1)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  it('who leaves the iteration while it waits gives its place up', async () => {
    const { script, release } = holding()
    node('small', 100, script, answers)
    const never = new AbortController().signal
    const one = run(newTask(), never, 1)
    await turnsUntil(() => starts.length === 1)
    const leaving = dispatcher.run(newTask(), never)
    const first = leaving.next()
    await clock.advance(1)
    expect((await first).value).toEqual({ type: 'status', text: 'queued 1' })
    await leaving.return()
    const two = run(newTask(), never, 1)
    await turnsUntil(() => clock.pendingTimers > 0)
    release()
    await one
    expect((await two).events[0]).toEqual({ type: 'status', text: 'queued 1' })
    expect(dispatcher.running).toBe(0)
  })

  it('who finds the line full leaves no timer behind', async () => {
    const { script, release } = holding()
    node('small', 100, script, answers)
    const leave = new AbortController()
    const one = run(newTask(), undefined, 1)
    await turnsUntil(() => starts.length === 1)
    const waiting = Array.from({ length: LIMITS.queuedTasksMax }, () => dispatcher.run(newTask(), leave.signal).next())
    await clock.advance(1)
    const timers = clock.pendingTimers
    await expect(dispatcher.run(newTask(), leave.signal).next()).rejects.toMatchObject({ code: 'SATURATED' })
    expect(clock.pendingTimers).toBeLessThanOrEqual(timers)
    expect((await Promise.all(waiting)).every(({ value }) => value?.type === 'status')).toBe(true)
    leave.abort(new TypeError('the clients hung up'))
    release()
    await one
  })

  it('does not ask a node that was lost between the plan and the attempt', async () => {
    const { script, release } = holding()
    const small = node('small', 100, script, answers)
    const one = run(newTask(), undefined, 1)
    await turnsUntil(() => starts.length === 1)
    const two = dispatcher.run(newTask(), new AbortController().signal)
    const queued = two.next()
    await clock.advance(1)
    await queued
    release()
    await one
    await clock.advance(1)
    const { peerId } = small.self
    expect(directory.snapshot().nodes[0]?.models.get(DIGEST)?.running).toBe(1)
    directory.disconnected(peerId, directory.entry(peerId)!.session)
    node('other', 100, answers)
    const events: TaskEvent[] = []
    let over = false
    void (async () => {
      for await (const event of two) events.push(event)
    })().finally(() => (over = true))
    await turnsUntil(() => over)
    expect(events.flatMap((event) => (event.type === 'started' ? [event.node.name] : []))).toEqual(['other'])
    expect(textOf(events)).toBe(ANSWER.join(''))
  })

  it('goes on elsewhere when a node no longer has the model', async () => {
    node('one', 1000, async (channel, start) => {
      await channel.send({ type: 'attempt.failed', fence: start.fence, code: 'MODEL_NOT_FOUND', message: 'removed' })
    })
    node('two', 10, answers)
    const { events, error } = await run(newTask())
    expect(error).toBeUndefined()
    expect(textOf(events)).toBe(ANSWER.join(''))
  })

  it('a caller at fault is told so, and no other node is bothered', async () => {
    const refuses: Script = async (channel, start) => {
      await channel.send({
        type: 'attempt.failed',
        fence: start.fence,
        code: 'CONTEXT_LENGTH_EXCEEDED',
        message: '9000 tokens where 4096 fit',
      })
    }
    node('one', 1000, refuses)
    node('two', 10, answers)
    const { error } = await run(newTask())
    expect(error).toMatchObject({ code: 'CONTEXT_LENGTH_EXCEEDED', message: 'one: 9000 tokens where 4096 fit' })
    expect(starts.length).toBe(1)
  })

  it('gives up after so many attempts, with the last cause', async () => {
    node('bad', 100, async (channel, start) => {
      await channel.send({ type: 'attempt.failed', fence: start.fence, code: 'ENGINE_FAILED', message: 'no luck' })
    })
    const task = newTask()
    const { error } = await run(task)
    expect(error).toMatchObject({ code: 'ATTEMPTS_EXHAUSTED' })
    expect(String(error)).toContain('no luck')
    expect(task.attempts).toBe(LIMITS.attemptsMax)
    expect(task.state).toBe('failed')
  })

  it('says at once what no waiting can change', () => {
    const task = newTask()
    expect(() => dispatcher.check(task)).toThrow(/--model/)
    node('good', 100, answers)
    expect(() => dispatcher.check(task)).not.toThrow()
  })
})
