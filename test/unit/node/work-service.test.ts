/** Work at a node: who may ask for it, what it takes, what is sent, and what ends it. The test plays the coordinator. */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  asTaskId,
  INBOUND,
  LIMITS,
  SkeinError,
  type Frame,
  type FrameSet,
  type Work,
  type WorkResult,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { MemoryNetwork, type FrameChannel } from '../../../mesh/network/index.ts'
import { Measurements } from '../../../node/capability/index.ts'
import type { LoadedModel, LoadRequest, WorkRequest } from '../../../node/engines/index.ts'
import { Executor } from '../../../node/executor/index.ts'
import { ModelHost } from '../../../node/models/index.ts'
import { after, digestOf, ScriptedEngine, scriptedFile, temporaryDirectory, turn, until } from './support.ts'

type Channel = FrameChannel<typeof INBOUND.workCoordinator extends FrameSet<infer F> ? F : never>

const TASK = asTaskId(`task_${'w'.repeat(24)}`)
const EMBED: Work = { kind: 'embed', texts: ['one', 'two'] }
const vector = (...numbers: number[]): Uint8Array => new Uint8Array(Float32Array.from(numbers).buffer)
const VECTORS: WorkResult = { kind: 'embed', vectors: [vector(1, 0), vector(0, 1)], promptTokens: 5 }

interface Run {
  readonly request: WorkRequest
  readonly signal: AbortSignal
  readonly done: PromiseWithResolvers<WorkResult>
}

/** Does what the test says, and makes no text. */
class WorkingEngine extends ScriptedEngine {
  readonly works: Run[] = []
  measured = 0

  override async load(request: LoadRequest, onProgress?: (share: number) => void): Promise<LoadedModel> {
    const loaded = await super.load(request, onProgress)
    return { ...loaded, features: ['embed'], hasChatTemplate: false, isGenerator: false }
  }

  override generate(...args: Parameters<ScriptedEngine['generate']>): ReturnType<ScriptedEngine['generate']> {
    this.measured++
    return super.generate(...args)
  }

  work(request: WorkRequest, signal: AbortSignal): Promise<WorkResult> {
    const run = { request, signal, done: Promise.withResolvers<WorkResult>() }
    signal.addEventListener('abort', () => run.done.reject(signal.reason), { once: true })
    this.works.push(run)
    return run.done.promise
  }
}

async function setup({ autoLoad = true, refusal = '' } = {}) {
  const clock = new ManualClock()
  const network = new MemoryNetwork({ clock, random: new SeededRandom(2) })
  const coordinator = network.join('home', ['coordinator'])
  const node = network.join('desk-pc', ['node'])
  const engines: WorkingEngine[] = []
  const uses: object[] = []
  const file = { ...scriptedFile(), isGenerator: false, features: ['embed' as const] }
  const host = new ModelHost(
    {
      clock,
      random: new SeededRandom(1),
      log: silentLogger,
      createEngine: () => {
        engines.push(new WorkingEngine(autoLoad))
        return engines.at(-1)!
      },
      measurements: await Measurements.open(join(await temporaryDirectory(), 'm.json'), silentLogger),
      hardwareFingerprint: async () => 'machine',
      onCapability: () => {},
      onLoad: () => {},
      onProblem: () => {},
      onWanted: () => {},
      onIdle: () => {},
    },
    file,
    { slots: 2 },
  )
  const executor = new Executor({
    clock,
    log: silentLogger,
    transport: node,
    host: (digest) => (digest === file.digest ? host : undefined),
    onLoad: () => {},
    onHeld: () => {},
    onUse: (use) => uses.push(use),
    refusalOf: () => (refusal === '' ? undefined : refusal),
  })
  executor.start()
  host.start()
  after(() => host.stop())
  if (autoLoad) await until('the model is resident', () => host.isResident)
  const open = (from = coordinator): Promise<Channel> => from.open(node.self.peerId, 'work', INBOUND.workCoordinator)
  const ask = async (work: Work = EMBED, digest = file.digest): Promise<Channel> => {
    const channel = await open()
    await channel.send({ type: 'work.start', taskId: TASK, digest, work })
    return channel
  }
  const works = (): Run[] => engines.at(-1)?.works ?? []
  const working = (count = 1): Promise<void> => until(`${count} pieces run`, () => works().length >= count)
  return { clock, network, node, coordinator, host, executor, engines, uses, open, ask, works, working }
}

async function last(channel: Channel): Promise<Frame | undefined> {
  for (;;) {
    const frame = await channel.receive()
    if (frame?.type !== 'work.progress') return frame
  }
}
const codeOf = async (channel: Channel): Promise<string> => {
  const frame = await last(channel)
  return frame?.type === 'work.failed' ? frame.code : String(frame?.type)
}

describe('work at a node', () => {
  it('takes a slot, gives the result, and gives the slot back', async () => {
    const { ask, working, works, host, executor, uses, clock } = await setup()
    const channel = await ask()
    await working()
    expect([host.running, executor.running, host.load.running]).toEqual([1, 1, 1])
    expect(works()[0]!.request.work).toEqual(EMBED)
    await clock.advance(30)
    works()[0]!.done.resolve(VECTORS)
    expect(await last(channel)).toEqual({ type: 'work.end', result: VECTORS, timing: { waitMs: 0, workMs: 30 } })
    expect(await channel.receive()).toBeUndefined()
    expect([host.running, executor.running]).toEqual([0, 0])
    expect(uses).toEqual([{ requests: 1 }, { tokens: 5 }])
  })

  it('says that it lives, and in which phase, well within workProgressMs', async () => {
    const { ask, clock, engines, works, host } = await setup({ autoLoad: false })
    await until('loading has begun', () => engines.length === 1)
    const channel = await ask()
    await until('it holds a slot', () => host.running === 1)
    await clock.advance(LIMITS.workProgressMs / 2)
    expect(await channel.receive()).toEqual({ type: 'work.progress', phase: 'loading' })
    engines[0]!.finishLoading()
    await until('it works', () => works().length === 1)
    await clock.advance(LIMITS.workProgressMs / 2)
    let frame = await channel.receive()
    while (frame?.type === 'work.progress' && frame.phase === 'loading') frame = await channel.receive()
    expect(frame).toEqual({ type: 'work.progress', phase: 'working' })
    works()[0]!.done.resolve(VECTORS)
    expect((await last(channel))?.type).toBe('work.end')
  })

  it('waits for a slot, and not for ever', async () => {
    const { ask, clock, working, works, host } = await setup()
    const first = await ask()
    await ask()
    await working(2)
    const third = await ask()
    await turn()
    await clock.advance(1000)
    expect(await third.receive()).toEqual({ type: 'work.progress', phase: 'waiting' })
    works()[0]!.done.resolve(VECTORS)
    expect((await last(first))?.type).toBe('work.end')
    await working(3)
    const fourth = await ask()
    await turn()
    expect(host.running).toBe(2)
    const code = codeOf(fourth)
    await clock.advance(10_000)
    expect(await code).toBe('NO_FREE_SLOT')
    works()[2]!.done.resolve(VECTORS)
    expect((await last(third))?.type).toBe('work.end')
  })

  it.each([
    ['cancelled', async (channel: Channel) => channel.send({ type: 'work.cancel' })],
    ['closed', async (channel: Channel) => channel.close()],
    ['reset', async (channel: Channel) => channel.abort(new SkeinError('CLIENT_CLOSED', 'gone'))],
  ])('%s by its coordinator, it ends at the engine', async (_how, leave) => {
    const { ask, working, works, host } = await setup()
    const channel = await ask()
    await working()
    await leave(channel)
    await until('the slot is free', () => host.running === 0)
    expect(works()[0]!.signal.aborted).toBe(true)
  })

  it('is not done for longer than workMs', async () => {
    const { ask, working, clock } = await setup()
    const channel = await ask()
    await working()
    const code = codeOf(channel)
    await clock.advance(LIMITS.workMs + 1)
    expect(await code).toBe('ENGINE_FAILED')
  })

  it('is refused where the node is closed, whoever closed it, and by whom may not ask', async () => {
    const { ask, executor, open, network } = await setup()
    executor.cordon('policy')
    expect(await codeOf(await ask())).toBe('NODE_DRAINING')
    executor.uncordon('policy')
    const strange = async (): Promise<unknown> => {
      const stranger = await open(network.join('laptop', ['node']))
      await stranger.send({ type: 'work.start', taskId: TASK, digest: digestOf('a'), work: EMBED })
      return last(stranger)
    }
    await expect(strange()).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
    expect(await codeOf(await (await setup({ refusal: 'not for you' })).ask())).toBe('NOT_SERVED')
  })

  it('is refused for a model that is not here, or that does other work', async () => {
    const { ask } = await setup()
    expect(await codeOf(await ask(EMBED, digestOf('b')))).toBe('MODEL_NOT_FOUND')
    expect(await last(await ask({ kind: 'classify', texts: ['a'] }))).toMatchObject({
      code: 'INVALID_REQUEST',
      param: 'model',
    })
    const tensors = [{ name: 'x', type: 'float32' as const, shape: [2], data: new Uint8Array(4) }]
    expect(await last(await ask({ kind: 'infer', tensors }))).toMatchObject({ param: 'inputs' })
  })

  it.each<[string, WorkResult]>([
    ['too few vectors', { kind: 'embed', vectors: [vector(1)], promptTokens: 1 }],
    ['vectors of two sizes', { kind: 'embed', vectors: [vector(1), vector(1, 0)], promptTokens: 1 }],
    ['no number', { kind: 'embed', vectors: [vector(1), vector(Number.NaN)], promptTokens: 1 }],
    ['half a number', { kind: 'embed', vectors: [new Uint8Array(6), new Uint8Array(6)], promptTokens: 1 }],
    ['another kind', { kind: 'classify', classes: [[{ label: 'a', score: 1 }]], promptTokens: 1 }],
  ])('does not send %s', async (_what, result) => {
    const { ask, working, works } = await setup()
    const channel = await ask()
    await working()
    works()[0]!.done.resolve(result)
    expect(await codeOf(channel)).toBe('ENGINE_FAILED')
  })

  it('tells the coordinator what the engine says, and loads one again that died', async () => {
    const { ask, working, works, engines, clock } = await setup()
    const refused = await ask()
    await working()
    works()[0]!.done.reject(new SkeinError('INVALID_REQUEST', 'too many', { param: 'dimensions' }))
    expect(await last(refused)).toEqual({
      type: 'work.failed',
      code: 'INVALID_REQUEST',
      message: 'too many',
      param: 'dimensions',
    })
    const lost = await ask()
    await working(2)
    works()[1]!.done.reject(new SkeinError('ENGINE_CRASHED', 'it died'))
    expect(await codeOf(lost)).toBe('ENGINE_CRASHED')
    await until('another engine is made', () => engines.length === 2, { clock, stepMs: 100 })
  })

  it('a drain lets it end within its grace, and ends it after that', async () => {
    const { ask, working, works, executor, clock } = await setup()
    const quick = await ask()
    const slow = await ask()
    await working(2)
    const codes = [last(quick), last(slow)]
    const drained = executor.drain(1000)
    expect(await codeOf(await ask())).toBe('NODE_DRAINING')
    works()[0]!.done.resolve(VECTORS)
    await clock.advance(1000)
    expect((await codes[0])?.type).toBe('work.end')
    expect(await codes[1]).toMatchObject({ code: 'NODE_DRAINING' })
    await clock.advance(500)
    await drained
  })

  it('a model that makes no text is neither measured, nor given an attempt, nor called one that completes', async () => {
    const { host, engines, clock, node, coordinator } = await setup()
    await clock.advance(60_000)
    expect(engines[0]!.measured).toBe(0)
    expect(host.capability.features).toEqual(['embed'])
    const channel = await coordinator.open(node.self.peerId, 'attempt', INBOUND.attemptCoordinator)
    const sampling = { temperature: 0, topP: 1, topK: 0, minP: 0, presencePenalty: 0, frequencyPenalty: 0, seed: 1 }
    await channel.send({
      type: 'attempt.start',
      taskId: TASK,
      attempt: 1,
      fence: 1,
      digest: digestOf('a'),
      prompt: { kind: 'text', text: 'hello' },
      sampling,
      stop: [],
      maxTokens: 1,
      generated: new Uint8Array(),
    })
    expect(await channel.receive()).toMatchObject({ type: 'attempt.failed', code: 'INVALID_REQUEST', param: 'model' })
  })
})
