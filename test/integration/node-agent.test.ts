/** The node agent on real libp2p with the real engine in its child process; the test plays the coordinator. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  asTaskId,
  GREEDY,
  INBOUND,
  packTokenIds,
  parseCapabilityRecord,
  unpackTokenIds,
  type CapabilityRecord,
  type Frame,
  type FrameSet,
  type LoadReport,
  type ModelDigest,
} from '../../mesh/protocol/index.ts'
import { openCapabilityRecord, type FrameChannel, type PeerHost } from '../../mesh/network/index.ts'
import { ChildEngine, createEngine, createNodeAgent, type NodeAgent } from '../../node/index.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { after, clock, components, inviteOf, startHost, temporaryDirectory } from './network.harness.ts'

type AttemptChannel = FrameChannel<typeof INBOUND.attemptCoordinator extends FrameSet<infer F> ? F : never>

/** A child process starts and a model loads on a busy machine. */
const PATIENCE = { timeout: 20_000, interval: 20 }

/** The coordinator's side of control streams. */
class ControlTwin {
  readonly records: CapabilityRecord[] = []
  readonly loads: LoadReport[] = []
  readonly goodbyes: string[] = []
  readonly held: Extract<Frame, { type: 'control.held' }>['attempts'][] = []
  firstRecordAtMs = 0

  constructor(host: PeerHost) {
    host.handle('control', INBOUND.controlCoordinator, async (channel, member) => {
      const beat = (): void =>
        void clock.timer(500, () => {
          if (channel.closed.aborted) return
          channel.send({ type: 'control.heartbeat', sequence: 0 }).catch(() => {})
          beat()
        })
      beat()
      for (let frame = await channel.receive(); frame !== undefined; frame = await channel.receive()) {
        if (frame.type === 'control.held') this.held.push(frame.attempts)
        if (frame.type === 'control.load') this.loads.push(frame.load)
        if (frame.type === 'control.goodbye') return void this.goodbyes.push(frame.reason)
        if (frame.type !== 'control.announce') continue
        const record = parseCapabilityRecord(await openCapabilityRecord(member.peerId, frame.capability))
        if (this.records.length === 0) this.firstRecordAtMs = clock.nowMs()
        this.records.push(record)
        const coordinator = host.self.peerId
        await channel.send({
          type: 'control.welcome',
          sequence: record.sequence,
          coordinator,
          heartbeatIntervalMs: 500,
        })
      }
    })
  }

  get newest(): CapabilityRecord | undefined {
    return this.records.at(-1)
  }
}

interface Node {
  readonly host: PeerHost
  readonly agent: NodeAgent
  readonly engines: ChildEngine[]
  readonly startedAtMs: number
}

async function startNode(home: PeerHost, dataDir: string, models: string[]): Promise<Node> {
  const host = await startHost('desk-pc', { invite: await inviteOf(home), dataDir })
  const engines: ChildEngine[] = []
  const agent = createNodeAgent(
    {
      ...components,
      transport: host,
      discovery: host,
      sign: (record) => host.sign('capability', record),
      createEngine: (kind, parts) => {
        const engine = createEngine(kind, parts)
        if (engine instanceof ChildEngine) engines.push(engine)
        return engine
      },
      // A second engine process at the same time would only make this slower; doctor's tests ask the real one.
      probeDevices: () => Promise.reject(new RangeError('not asked')),
    },
    { dataDir, models, name: 'desk-pc', slots: 2, threads: 1, contextTokens: 512 },
  )
  after(() => agent.stop())
  const startedAtMs = clock.nowMs()
  await agent.start()
  return { host, agent, engines, startedAtMs }
}

async function setup(models: string[]): Promise<Node & { home: PeerHost; control: ControlTwin; dataDir: string }> {
  let control: ControlTwin | undefined
  const home = await startHost('home', { prepare: (host) => (control = new ControlTwin(host)) })
  const dataDir = await temporaryDirectory()
  const node = await startNode(home, dataDir, models)
  return { ...node, home, control: control!, dataDir }
}

let nextTask = 0
async function attempt(
  home: PeerHost,
  node: PeerHost,
  digest: ModelDigest,
  maxTokens: number,
  init: { hold?: boolean; generated?: Uint8Array } = {},
): Promise<AttemptChannel> {
  const channel = await home.open(node.self.peerId, 'attempt', INBOUND.attemptCoordinator)
  const letter = 'abcdefghijklmnopqrstuvwxyz'[nextTask++ % 26]!
  const start: Frame = {
    type: 'attempt.start',
    taskId: asTaskId(`task_${letter.repeat(24)}`),
    attempt: 1,
    fence: 1,
    digest,
    prompt: { kind: 'text', text: 'The house stands on the hill and' },
    sampling: { ...GREEDY, temperature: 0.8, seed: 7 },
    stop: [],
    maxTokens,
    generated: new Uint8Array(),
    ...init,
  }
  await channel.send(start)
  return channel
}

/** All frames, and then the close that says that they came. */
async function rest(channel: AttemptChannel): Promise<Frame[]> {
  const frames: Frame[] = []
  for (let frame = await channel.receive(); frame !== undefined; frame = await channel.receive()) frames.push(frame)
  await channel.close()
  return frames
}

const idsOf = (frames: readonly Frame[]): number[] =>
  frames.flatMap((frame) => (frame.type === 'attempt.tokens' ? unpackTokenIds(frame.ids)! : []))

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('the node agent on libp2p with a llama engine', () => {
  let tiny = ''
  beforeAll(async () => {
    tiny = await ensureModel('tiny')
  })

  it('is announced at once, then resident, then measured; and answers', async () => {
    const { home, host, control, startedAtMs } = await setup([tiny])
    await expect.poll(() => control.newest?.models[0]?.speed, PATIENCE).toBeDefined()
    // The target is 2 s to eligible on an idle machine.
    expect(control.firstRecordAtMs - startedAtMs).toBeLessThan(5000)
    const model = control.newest!.models[0]!
    expect(model).toMatchObject({
      aliases: expect.arrayContaining(['tiny']) as string[],
      engine: 'llama',
      residency: 'resident',
      slots: 2,
    })
    expect(model.speed!.decode.map((point) => point.sequences)).toEqual([1, 2])
    expect(control.newest!.peerId).toBe(host.self.peerId)

    const frames = await rest(await attempt(home, host, model.digest, 24))
    expect(frames[0]).toEqual({ type: 'attempt.accepted', fence: 1 })
    const end = frames.at(-1)!
    expect(end.type).toBe('attempt.end')
    expect(idsOf(frames).length).toBeGreaterThan(0)
    expect(end.type === 'attempt.end' && end.usage.completionTokens).toBe(idsOf(frames).length)
    // The same arguments, the same answer: an attempt is a pure function.
    expect(idsOf(await rest(await attempt(home, host, model.digest, 24)))).toEqual(idsOf(frames))
    await expect.poll(() => control.loads.at(-1)?.models[0]?.running, PATIENCE).toBe(0)
  })

  it('survives the death of its engine: attempts fail at once, the model comes back', async () => {
    const { home, host, control, engines } = await setup([tiny])
    await expect.poll(() => control.newest?.models[0]?.residency, PATIENCE).toBe('resident')
    const { digest } = control.newest!.models[0]!
    const channel = await attempt(home, host, digest, 400)
    let frame: Frame | undefined
    do frame = await channel.receive()
    while (frame !== undefined && frame.type !== 'attempt.tokens')
    expect(frame?.type).toBe('attempt.tokens')
    process.kill(engines[0]!.pid!, 'SIGKILL')
    expect((await rest(channel)).at(-1)).toMatchObject({ type: 'attempt.failed', code: 'ENGINE_CRASHED' })
    const crashedAt = control.records.length
    await expect.poll(() => control.records.slice(crashedAt - 1).some(isLoading), PATIENCE).toBe(true)
    await expect.poll(() => control.newest?.models[0]?.residency, PATIENCE).toBe('resident')
    expect(engines.length).toBe(2)
    expect((await rest(await attempt(home, host, digest, 8))).at(-1)?.type).toBe('attempt.end')
  })

  it('brings an idle model back whose engine was killed, and loses no request meanwhile', async () => {
    const { home, host, control, engines } = await setup([tiny])
    await expect.poll(() => control.newest?.models[0]?.speed, PATIENCE).toBeDefined()
    const { digest } = control.newest!.models[0]!
    const before = control.records.length
    process.kill(engines[0]!.pid!, 'SIGKILL')
    await expect.poll(() => control.records.slice(before).some(isLoading), PATIENCE).toBe(true)
    const frames = await rest(await attempt(home, host, digest, 8))
    expect(frames[0]?.type).toBe('attempt.accepted')
    expect(frames.at(-1)).toMatchObject({ type: 'attempt.end', usage: { completionTokens: idsOf(frames).length } })
    await expect.poll(() => control.newest?.models[0]?.residency, PATIENCE).toBe('resident')
    expect(engines.length).toBe(2)
  })

  it('says goodbye, leaves no process, and after a restart neither hashes nor measures again', async () => {
    const { home, agent, host, control, engines, dataDir } = await setup([tiny])
    await expect.poll(() => control.newest?.models[0]?.speed, PATIENCE).toBeDefined()
    const { speed } = control.newest!.models[0]!
    const { sequence } = control.newest!
    const pid = engines[0]!.pid!
    await agent.stop()
    await expect.poll(() => control.goodbyes.length, PATIENCE).toBe(1)
    await expect.poll(() => isAlive(pid), PATIENCE).toBe(false)
    const digests = await readFile(join(dataDir, 'digests.json'), 'utf8')
    await host.stop()

    const before = control.records.length
    await startNode(home, dataDir, [tiny])
    await expect.poll(() => control.records.slice(before).at(-1)?.models[0]?.speed, PATIENCE).toEqual(speed)
    expect(Math.min(...control.records.slice(before).map((record) => record.sequence))).toBeGreaterThan(sequence)
    expect(await readFile(join(dataDir, 'digests.json'), 'utf8')).toBe(digests)
  })
})

describe('what a node holds, on libp2p', () => {
  let tiny = ''
  beforeAll(async () => {
    tiny = await ensureModel('tiny')
  })

  it('is told when the stream breaks, and taken up where the coordinator stands', async () => {
    const { home, host, control } = await setup([tiny])
    await expect.poll(() => control.newest?.models[0]?.residency, PATIENCE).toBe('resident')
    const { digest } = control.newest!.models[0]!
    const unbroken = idsOf(await rest(await attempt(home, host, digest, 200)))
    const channel = await attempt(home, host, digest, 200)
    const received: number[] = []
    while (received.length < 5) {
      const frame = await channel.receive()
      if (frame?.type === 'attempt.tokens') received.push(...unpackTokenIds(frame.ids)!)
    }
    channel.abort(new RangeError('the stream breaks'))
    await expect.poll(() => control.held.at(-1)?.length, PATIENCE).toBe(1)
    const { taskId, fence } = control.held.at(-1)![0]!
    const again = await home.open(host.self.peerId, 'attempt', INBOUND.attemptCoordinator)
    await again.send({ type: 'attempt.attach', taskId, heldFence: fence, fence: fence + 1, from: received.length })
    const frames = await rest(again)
    expect(frames[0]).toEqual({ type: 'attempt.accepted', fence: fence + 1 })
    expect(frames.at(-1)).toMatchObject({ type: 'attempt.end', usage: { completionTokens: unbroken.length } })
    expect([...received, ...idsOf(frames)]).toEqual(unbroken)
    await expect.poll(() => control.held.at(-1), PATIENCE).toEqual([])
  })

  it('is prepared while another streams, and goes on behind what that made', async () => {
    const { home, host, control } = await setup([tiny])
    await expect.poll(() => control.newest?.models[0]?.residency, PATIENCE).toBe('resident')
    const { digest } = control.newest!.models[0]!
    const unbroken = idsOf(await rest(await attempt(home, host, digest, 40)))
    expect(unbroken.length).toBeGreaterThan(12)
    const init = { hold: true, generated: packTokenIds(unbroken.slice(0, 8)) }
    const channel = await attempt(home, host, digest, 40, init)
    let frame: Frame | undefined
    do frame = await channel.receive()
    while (frame !== undefined && frame.type !== 'attempt.prepared')
    expect(frame?.type).toBe('attempt.prepared')
    await channel.send({ type: 'attempt.commit', fence: 1, generated: packTokenIds(unbroken.slice(8, 11)) })
    const frames = await rest(channel)
    expect(frames.find((each) => each.type === 'attempt.tokens')).toMatchObject({ index: 11 })
    expect(frames.at(-1)).toMatchObject({
      type: 'attempt.end',
      usage: { completionTokens: 11 + idsOf(frames).length },
    })
  })
})

const isLoading = (record: CapabilityRecord): boolean => record.models[0]?.residency === 'loading'
