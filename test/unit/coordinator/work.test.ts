/** Work through the coordinator, against nodes that play scripts: places, retries, order, bounds, and nodes that lie. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { WorkAnswer, WorkRequest } from '../../../coordinator/admission/index.ts'
import {
  asRequestId,
  INBOUND,
  LIMITS,
  SkeinError,
  type Frame,
  type FrameSet,
  type ModelCapability,
  type WorkResult,
  type WorkStart,
} from '../../../mesh/protocol/index.ts'
import type { FrameChannel } from '../../../mesh/network/index.ts'
import { Leaving } from '../../../coordinator/dispatch/leave.ts'
import { WorkPlanner } from '../../../coordinator/dispatch/work-planner.ts'
import type { Plan } from '../../../coordinator/scheduler/index.ts'
import { DispatchHarness } from './dispatch.harness.ts'
import { OTHER_DIGEST } from './snapshots.ts'

type NodeChannel = FrameChannel<typeof INBOUND.workNode extends FrameSet<infer F> ? F : never>
type Script = (channel: NodeChannel, start: WorkStart) => Promise<void>

const MODEL: Partial<ModelCapability> = { features: ['embed', 'classify', 'infer'], slots: 2 }
const never = new AbortController().signal
const vector = (...numbers: number[]): Uint8Array => new Uint8Array(Float32Array.from(numbers).buffer)
const texts = (count: number): string[] => Array.from({ length: count }, (_, i) => `text ${i}`)

/** A vector that says which text it is of. */
const vectorOf = (text: string): Uint8Array => vector(Number(text.split(' ')[1]), 1)
function resultOf({ work }: WorkStart): WorkResult {
  if (work.kind === 'infer') return { kind: 'infer', tensors: work.tensors }
  const promptTokens = work.texts.length
  if (work.kind === 'embed') return { kind: 'embed', vectors: work.texts.map(vectorOf), promptTokens }
  return { kind: 'classify', classes: work.texts.map((label) => [{ label, score: 1 }]), promptTokens }
}
const end = (result: WorkResult): Frame => ({ type: 'work.end', result, timing: { waitMs: 0, workMs: 1 } })
const gives =
  (result: WorkResult): Script =>
  (channel) =>
    channel.send(end(result))
const works: Script = (channel, start) => channel.send(end(resultOf(start)))
const fails =
  (code: string, param?: string): Script =>
  (channel) =>
    channel.send({ type: 'work.failed', code, message: 'so it is', ...(param !== undefined && { param }) })
const breaks: Script = async (channel) => channel.abort(new SkeinError('STREAM_TRUNCATED', 'the node died'))
const hangs: Script = () => new Promise(() => {})

describe('work', () => {
  let harness: DispatchHarness
  /** First frames in the order of their coming, and who got them. */
  let starts: WorkStart[]
  let asked: string[]
  beforeEach(() => {
    harness = new DispatchHarness()
    starts = []
    asked = []
  })
  afterEach(() => vi.restoreAllMocks())

  /** A node that plays its scripts in turn, the last one again and again. */
  function node(name: string, scripts: readonly Script[], model: Partial<ModelCapability> = {}) {
    const transport = harness.node(name, 100, [], { model: { ...MODEL, ...model } })
    let played = 0
    transport.handle('work', INBOUND.workNode, async (channel) => {
      const start = await channel.receive()
      if (start?.type !== 'work.start') throw new TypeError('no beginning')
      starts.push(start)
      asked.push(name)
      await scripts[Math.min(played++, scripts.length - 1)]!(channel, start)
    })
    return transport
  }

  const request = (init: Partial<WorkRequest> = {}): WorkRequest => ({
    requestId: asRequestId('req_1'),
    model: 'tiny',
    work: { kind: 'embed', texts: texts(1) },
    tenant: 'local',
    ...init,
  })
  const ask = (init: Partial<WorkRequest> = {}, signal: AbortSignal = never): Promise<WorkAnswer> => {
    const asking = harness.service().work(request(init), signal)
    asking.catch(() => {})
    return harness.settled(asking)
  }
  const embed = (count: number) => ({ work: { kind: 'embed' as const, texts: texts(count) } })
  const firsts = ({ result }: WorkAnswer): number[] =>
    result.kind === 'embed'
      ? result.vectors.map((each) => new DataView(each.buffer, each.byteOffset).getFloat32(0, true))
      : []
  const inOrder = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

  it('is done by a node, and says by which', async () => {
    node('desk', [works])
    const answer = await ask()
    expect(answer).toMatchObject({ nodes: [{ name: 'desk' }], route: 'mesh', attempts: 1 })
    expect(firsts(answer)).toEqual([0])
    expect(harness.dispatcher.work.stats()).toMatchObject({
      running: 0,
      requests: { embed: 1 },
      completed: 1,
      parts: 1,
    })
  })

  it('is spread over the nodes that have the model, and comes back in order', async () => {
    node('one', [works])
    node('two', [works])
    const answer = await ask(embed(500))
    expect(firsts(answer)).toEqual(inOrder(500))
    expect(answer.result).toMatchObject({ promptTokens: 500 })
    expect(new Set(asked)).toEqual(new Set(['one', 'two']))
    expect(new Set(answer.nodes.map(({ name }) => name))).toEqual(new Set(['one', 'two']))
    for (const { work } of starts)
      expect('texts' in work && work.texts.length <= LIMITS.workInputsPerFrameMax).toBe(true)
  })

  it('says whose it is, and takes a refusal by a node’s owner for no failure of the node', async () => {
    const one = node('one', [fails('NOT_SERVED')])
    const asking = harness.service().work(request({ tenant: 'anna' }), never)
    asking.catch(() => {})
    await harness.until(() => asked.length === 1)
    node('two', [works])
    expect((await harness.settled(asking)).nodes).toMatchObject([{ name: 'two' }])
    expect(starts.map(({ tenant }) => tenant)).toEqual(['anna', 'anna'])
    expect(harness.directory.entry(one.self.peerId)!.failuresAt(harness.clock.nowMs())).toBe(0)
  })

  it('asks one digest alone, whatever else bears the name', async () => {
    node('one', [works])
    node('two', [works], { digest: OTHER_DIGEST })
    const answer = await ask(embed(500))
    expect(new Set(starts.map(({ digest }) => digest))).toEqual(new Set([answer.digest]))
    expect(new Set(asked).size).toBe(1)
  })

  it.each<[string, Script]>([
    ['breaks its stream', breaks],
    ['says nothing', hangs],
    ['closes without a final frame', (channel) => channel.close()],
    ['fails', fails('ENGINE_CRASHED')],
    ['is full', fails('NO_FREE_SLOT')],
    ['drains', fails('NODE_DRAINING')],
    ['has too few vectors', gives({ kind: 'embed', vectors: [vector(9, 9)], promptTokens: 1 })],
    ['has vectors of two sizes', gives({ kind: 'embed', vectors: [vector(9), vector(9, 9)], promptTokens: 1 })],
    ['has no number', gives({ kind: 'embed', vectors: [vector(9, 9), vector(9, Number.NaN)], promptTokens: 1 })],
    ['counts tokens that cannot be', gives({ kind: 'embed', vectors: [vector(9), vector(9)], promptTokens: 1e9 })],
    ['has another kind', gives({ kind: 'classify', classes: [[{ label: 'x', score: 1 }]], promptTokens: 1 })],
    [
      'has part of a tensor',
      gives({ kind: 'infer', tensors: [{ name: 'x', type: 'int64', shape: [2], data: new Uint8Array(4) }] }),
    ],
  ])('a node that %s is done without', async (_what, script) => {
    node('bad', [script], { slots: 4 })
    node('good', [works], { slots: 1 })
    const answer = await ask(embed(2))
    expect(firsts(answer)).toEqual([0, 1])
    const again = await ask(embed(2))
    expect(firsts(again)).toEqual([0, 1])
    expect(asked).toContain('bad')
  })

  it('a node that dies in the middle costs its parts alone', async () => {
    node('bad', [works, breaks, breaks, works])
    node('good', [works])
    const answer = await ask(embed(700))
    expect(firsts(answer)).toEqual(inOrder(700))
    expect(answer.attempts).toBeGreaterThan(Math.ceil(700 / LIMITS.workInputsPerFrameMax))
    expect(harness.dispatcher.work.stats().retries).toBeGreaterThan(0)
  })

  it('ends with the last cause when every attempt failed', async () => {
    node('bad', [fails('ENGINE_FAILED')])
    await expect(ask()).rejects.toMatchObject({
      code: 'ATTEMPTS_EXHAUSTED',
      message: expect.stringContaining('so it is'),
    })
    expect(asked).toHaveLength(4)
    expect(harness.dispatcher.work.stats()).toMatchObject({ running: 0, failed: 1 })
  })

  it('ends at once when the only node can never do it', async () => {
    node('bad', [fails('MODEL_LOAD_FAILED')])
    await expect(ask()).rejects.toMatchObject({ code: 'MODEL_LOAD_FAILED' })
    expect(asked).toHaveLength(1)
  })

  it('what a node says about the request is told, and no other is asked', async () => {
    node('one', [fails('CONTEXT_LENGTH_EXCEEDED')])
    node('two', [fails('CONTEXT_LENGTH_EXCEEDED')])
    await expect(ask()).rejects.toMatchObject({ code: 'CONTEXT_LENGTH_EXCEEDED' })
    expect(asked).toHaveLength(1)
    await expect(ask(embed(200))).rejects.toMatchObject({ code: 'CONTEXT_LENGTH_EXCEEDED' })
    node('three', [fails('INVALID_REQUEST', 'dimensions')], { digest: OTHER_DIGEST, aliases: ['other'] })
    await expect(ask({ model: 'other' })).rejects.toMatchObject({ code: 'INVALID_REQUEST', param: 'dimensions' })
    expect(asked.filter((name) => name === 'three')).toHaveLength(1)
  })

  it('a node whose vectors are of another size than those of the others ends it', async () => {
    node('one', [works], { slots: 1 })
    node(
      'odd',
      [
        (channel, { work }) => {
          const vectors = 'texts' in work ? work.texts.map(() => vector(1, 2, 3)) : []
          return channel.send(end({ kind: 'embed', vectors, promptTokens: 1 }))
        },
      ],
      { slots: 1 },
    )
    await expect(ask(embed(200))).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
  })

  it('is cancelled at the nodes when its client leaves', async () => {
    const cancelled: string[] = []
    node('desk', [
      async (channel) => {
        const frame = await channel.receive()
        cancelled.push(String(frame?.type))
        await channel.send({ type: 'work.failed', code: 'CLIENT_CLOSED', message: 'cancelled' })
      },
    ])
    const client = new AbortController()
    const answer = ask(embed(100), client.signal)
    await harness.until(() => asked.length === 2)
    client.abort(new SkeinError('CLIENT_CLOSED', 'the client hung up'))
    await expect(answer).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
    await harness.until(() => cancelled.length === 2)
    expect(cancelled).toEqual(['work.cancel', 'work.cancel'])
    expect(harness.dispatcher.work.stats()).toMatchObject({ running: 0, cancelled: 1, failed: 0 })
  })

  it('takes no more slots than there are', async () => {
    let running = 0
    let most = 0
    const counted: Script = async (channel, start) => {
      most = Math.max(most, ++running)
      await new Promise<void>((resolve) => void harness.clock.timer(20, resolve))
      running--
      await works(channel, start)
    }
    node('desk', [counted])
    expect(firsts(await ask(embed(2048)))).toEqual(inOrder(2048))
    expect(most).toBe(2)
  })

  it('has no more streams open than the bound, whatever slots there are, and all of it is done', async () => {
    let [open, most] = [0, 0]
    const holding: (() => void)[] = []
    const holds: Script = async (channel, start) => {
      most = Math.max(most, ++open)
      await new Promise<void>((resolve) => holding.push(resolve))
      open--
      await works(channel, start)
    }
    for (const name of ['one', 'two', 'three', 'four', 'five']) node(name, [holds], { slots: 64 })
    const release = setInterval(() => holding.splice(0).forEach((each) => each()), 1)
    try {
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask(embed(1024))))
      for (const answer of answers) expect(firsts(answer)).toEqual(inOrder(1024))
    } finally {
      clearInterval(release)
    }
    expect(most).toBe(LIMITS.workStreamsMax)
  })

  it('ends at its deadline, and is not begun where the wait is longer', async () => {
    node('desk', [hangs], { slots: 1 })
    const slow = ask({ deadlineMs: 3000 })
    await expect(slow).rejects.toMatchObject({ code: 'TASK_EXPIRED' })
  })

  it('stays off rented machines and nodes with a price', async () => {
    const announce = (name: string, change: object): void => {
      const transport = node(name, [works])
      const entry = harness.directory.entry(transport.self.peerId)!
      entry.setRecord({ ...entry.record!, ...change }, harness.clock.nowMs())
    }
    announce('rented', { tier: 'cloud' })
    await expect(ask({ localOnly: true })).rejects.toMatchObject({ code: 'LOCAL_ONLY' })
    expect((await ask()).route).toBe('cloud')
    expect(starts.map(({ leave }) => leave)).toEqual([{ reason: 'too-big' }])
    await expect(ask({ localOnly: true, route: 'cloud' })).rejects.toMatchObject({ code: 'CLOUD_NOT_ALLOWED' })
    expect(starts).toHaveLength(1)
    asked = []
    announce('dear', { price: { inputPerMillion: 1, outputPerMillion: 1 } })
    await ask(embed(300))
    expect(new Set(asked)).toEqual(new Set(['rented']))
  })

  it.each([
    ['at admission', 0, /is not to leave/],
    ['by the commit, when admission has let it in', 1, /did not end|no slot/],
    ['before anything is sent, when it was committed', 2, /nothing lets the work leave/],
  ])('that is local-only is stopped %s', async (_, broken, message) => {
    harness.node('rented', 100, [], { model: MODEL, tier: 'cloud' })
    node('home', [works])
    const found = (isCloud: boolean): Plan => {
      const place = harness.directory.snapshot().nodes.find((each) => each.isCloud === isCloud)!
      const prediction = { waitMs: 0, loadMs: 0, prefillMs: 0, decodeMs: 0, linkMs: 0, penaltyMs: 0, totalMs: 0 }
      return { kind: 'plan', node: place, prediction, explain: [], ...(isCloud && { reason: 'name' as const }) }
    }
    const plan = vi.spyOn(WorkPlanner.prototype, 'plan').mockImplementation(() => found(true))
    if (broken > 0) plan.mockImplementationOnce(() => found(false))
    if (broken > 1) vi.spyOn(Leaving.prototype, 'mayWork').mockReturnValue(true)
    await expect(ask({ localOnly: true, deadlineMs: 3000 })).rejects.toThrow(message)
    expect(starts).toEqual([])
  })

  it('a model is refused for what it cannot do, and those that can are named', async () => {
    node('desk', [works], { features: ['embed'] })
    harness.node('talker', 100, [], { model: { digest: OTHER_DIGEST, aliases: ['talker'] } })
    const service = harness.service()
    await expect(ask({ model: 'talker' })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      param: 'model',
      message: expect.stringMatching(/makes no embeddings.*tiny/),
    })
    await expect(ask({ work: { kind: 'classify', texts: ['a'] } })).rejects.toMatchObject({ param: 'model' })
    const chat = {
      ...request(),
      prompt: { kind: 'text' as const, text: 'hi' },
      sampling: {},
      stop: [],
      attachment: 'attached' as const,
      shape: '{}',
    }
    await expect(service.submit(chat, never)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      param: 'model',
      message: expect.stringMatching(/generates no text; it makes embeddings.*talker/),
    })
    await expect(ask({ model: 'nobody' })).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' })
  })

  it('no task is ever planned for a model that makes no text, loaded or not', () => {
    for (const residency of ['resident', 'loading', 'disk'] as const) {
      node(residency, [works], { features: ['embed', 'chat'], residency })
      expect(() => harness.dispatcher.check(harness.task())).toThrow(/can do: completion/)
    }
    harness.node('talker', 100, [])
    harness.dispatcher.check(harness.task())
  })

  it('a model that is not loaded yet may turn out to do it', async () => {
    node('desk', [works], { features: ['completion'], residency: 'loading' })
    expect((await ask()).nodes).toMatchObject([{ name: 'desk' }])
    node('laptop', [works], { features: ['completion'], digest: OTHER_DIGEST, aliases: ['other'] })
    await expect(ask({ model: 'other' })).rejects.toMatchObject({ code: 'INVALID_REQUEST', param: 'model' })
  })

  it('of two models with one name the one is taken that can do it', async () => {
    node('desk', [works])
    for (const name of ['a', 'b']) harness.node(name, 100, [], { model: { digest: OTHER_DIGEST } })
    expect((await ask()).nodes).toMatchObject([{ name: 'desk' }])
  })

  it('ends what runs when the coordinator stops, and lets nothing in after that', async () => {
    node('desk', [hangs])
    const answer = ask()
    await harness.until(() => asked.length === 1)
    harness.dispatcher.work.close()
    await expect(answer).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
    await expect(ask()).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
  })
})
