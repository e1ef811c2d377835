/** The executor on a memory network with an engine that obeys the test; the test plays the coordinator. */
import { join } from 'node:path'
import { expect } from 'vitest'
import {
  asTaskId,
  GREEDY,
  INBOUND,
  type AttemptAttach,
  type AttemptStart,
  type Frame,
  type FrameSet,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { MemoryNetwork, type FrameChannel, type MemoryPeerTransport } from '../../../mesh/network/index.ts'
import { Measurements } from '../../../node/capability/index.ts'
import { Executor } from '../../../node/executor/index.ts'
import { ModelHost } from '../../../node/models/index.ts'
import { after, digestOf, ScriptedEngine, scriptedFile, temporaryDirectory, until } from './support.ts'

export type Channel = FrameChannel<typeof INBOUND.attemptCoordinator extends FrameSet<infer F> ? F : never>

export const TASK = asTaskId(`task_${'a'.repeat(24)}`)

class Setup {
  readonly clock = new ManualClock()
  readonly network = new MemoryNetwork({ clock: this.clock, random: new SeededRandom(2) })
  readonly coordinator = this.network.join('home', ['coordinator'])
  readonly node = this.network.join('desk-pc', ['node'])
  readonly engines: ScriptedEngine[] = []
  loads = 0
  heldChanges = 0
  host!: ModelHost
  executor!: Executor

  get engine(): ScriptedEngine {
    return this.engines.at(-1)!
  }

  async start(autoLoad: boolean, isCloud: boolean): Promise<void> {
    const { clock } = this
    this.host = new ModelHost(
      {
        clock,
        random: new SeededRandom(1),
        log: silentLogger,
        createEngine: () => {
          this.engines.push(new ScriptedEngine(autoLoad))
          return this.engine
        },
        measurements: await Measurements.open(join(await temporaryDirectory(), 'm.json'), silentLogger),
        hardwareFingerprint: async () => 'machine',
        onCapability: () => {},
        onLoad: () => this.loads++,
        onProblem: () => {},
        onWanted: () => {},
        onIdle: () => {},
      },
      scriptedFile(),
      { slots: 2 },
    )
    this.executor = new Executor({
      clock,
      log: silentLogger,
      transport: this.node,
      host: (digest) => (digest === this.host.file.digest ? this.host : undefined),
      onLoad: () => this.loads++,
      onHeld: () => this.heldChanges++,
      isCloud,
    })
    this.executor.start()
    this.host.start()
    after(() => this.host.stop())
    if (autoLoad) await until('the model is resident', () => this.host.isResident)
  }

  open(from: MemoryPeerTransport = this.coordinator): Promise<Channel> {
    return from.open(this.node.self.peerId, 'attempt', INBOUND.attemptCoordinator)
  }

  async attempt(init: Partial<AttemptStart> = {}): Promise<Channel> {
    const channel = await this.open()
    await channel.send(start(init))
    return channel
  }

  /** A stream that attaches, of the coordinator unless told otherwise. */
  async attach(init: Partial<AttemptAttach>, from?: MemoryPeerTransport): Promise<Channel> {
    const channel = await this.open(from)
    await channel.send({ type: 'attempt.attach', taskId: TASK, heldFence: 1, fence: 2, from: 0, ...init })
    return channel
  }
}

async function setup(autoLoad = true, isCloud = false): Promise<Setup> {
  const made = new Setup()
  await made.start(autoLoad, isCloud)
  return made
}

export const start = (init: Partial<AttemptStart> = {}): Frame => ({
  type: 'attempt.start',
  taskId: TASK,
  attempt: 1,
  fence: 1,
  digest: digestOf('a'),
  prompt: { kind: 'text', text: 'hello' },
  sampling: { ...GREEDY, seed: 1 },
  stop: [],
  maxTokens: 10_000,
  generated: new Uint8Array(),
  ...init,
})

/** All frames until the node closes. */
export async function rest(channel: Channel): Promise<Frame[]> {
  const frames: Frame[] = []
  for (let frame = await channel.receive(); frame !== undefined; frame = await channel.receive()) frames.push(frame)
  return frames
}

export const failure = async (channel: Channel): Promise<string> => {
  const frames = await rest(channel)
  expect(frames).toHaveLength(1)
  const [frame] = frames
  return frame?.type === 'attempt.failed' ? frame.code : `${frame?.type}`
}

/** A setup, taken apart: `engine()` is the newest engine. */
export async function bound(autoLoad = true, isCloud = false) {
  const made = await setup(autoLoad, isCloud)
  const { clock, network, coordinator, node, host, executor, engines } = made
  return {
    clock,
    network,
    coordinator,
    node,
    host,
    executor,
    engines,
    engine: (): ScriptedEngine => made.engine,
    attempt: (init?: Partial<AttemptStart>): Promise<Channel> => made.attempt(init),
    attach: (init: Partial<AttemptAttach>, from?: MemoryPeerTransport): Promise<Channel> => made.attach(init, from),
    heldChanges: (): number => made.heldChanges,
    open: (from?: MemoryPeerTransport): Promise<Channel> => made.open(from),
  }
}
