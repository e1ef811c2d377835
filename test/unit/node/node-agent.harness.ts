/** The node agent on a memory network; the test plays the coordinators' ends of control and attempt streams. */
import {
  asTaskId,
  GREEDY,
  INBOUND,
  LIMITS,
  parseCapabilityRecord,
  readCanonical,
  type AttemptStart,
  type CapabilityRecord,
  type FrameSet,
  type LoadReport,
  type Signed,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger, type Clock } from '../../../mesh/runtime/index.ts'
import {
  generateIdentity,
  MemoryDiscovery,
  MemoryNetwork,
  sign,
  type FrameChannel,
  type MemoryPeerTransport,
} from '../../../mesh/network/index.ts'
import { NO_METER, type EnergyMeter, type HostFacts, type WatchOthers } from '../../../node/capability/index.ts'
import { createEngine, echoDigest, type Engine } from '../../../node/engines/index.ts'
import { createNodeAgent, type NodeAgent, type NodeAgentInit } from '../../../node/index.ts'
import type { OwnerPolicy, Senses } from '../../../node/policy/index.ts'
import { after, temporaryDirectory, until } from './support.ts'

type ControlIn = FrameChannel<typeof INBOUND.controlCoordinator extends FrameSet<infer F> ? F : never>
type AttemptOut = FrameChannel<typeof INBOUND.attemptCoordinator extends FrameSet<infer F> ? F : never>
type ControlFrame = NonNullable<Awaited<ReturnType<ControlIn['receive']>>>

export const identity = await generateIdentity(new SeededRandom(3))
export const MODEL = 'echo:lab'
export const FACTS: HostFacts = {
  cpuModel: 'cpu',
  architecture: 'x64',
  threads: 2,
  totalMemoryBytes: 16 * 1024 ** 3,
  memoryLimitBytes: 0,
  platform: 'linux',
}

/** The coordinator's end of control streams, played by the test. */
export class ControlTwin {
  readonly transport: MemoryPeerTransport
  readonly #clock: Clock
  readonly streams: { channel: ControlIn; frames: { atMs: number; frame: ControlFrame }[] }[] = []
  doesBeat = true

  constructor(transport: MemoryPeerTransport, clock: Clock) {
    this.transport = transport
    this.#clock = clock
    transport.handle('control', INBOUND.controlCoordinator, (channel) => this.#serve(channel))
  }

  /** The newest stream. */
  get channel(): ControlIn {
    return this.streams.at(-1)!.channel
  }

  get frames(): ControlFrame[] {
    return this.streams.flatMap((stream) => stream.frames.map(({ frame }) => frame))
  }

  records(): CapabilityRecord[] {
    return this.frames.flatMap((frame) =>
      frame.type === 'control.announce' ? [parseCapabilityRecord(readCanonical(frame.capability.payload))] : [],
    )
  }

  loads(): LoadReport[] {
    return this.frames.flatMap((frame) => (frame.type === 'control.load' ? [frame.load] : []))
  }

  async #serve(channel: ControlIn): Promise<void> {
    const frames: { atMs: number; frame: ControlFrame }[] = []
    this.streams.push({ channel, frames })
    this.#beat(channel)
    for (;;) {
      const frame = await channel.receive()
      if (frame === undefined) return
      frames.push({ atMs: this.#clock.nowMs(), frame })
      if (frame.type === 'control.goodbye') return
      if (frame.type !== 'control.announce' || !this.doesBeat) continue
      const { sequence } = parseCapabilityRecord(readCanonical(frame.capability.payload))
      const coordinator = this.transport.self.peerId
      await channel.send({ type: 'control.welcome', sequence, coordinator, heartbeatIntervalMs: 500 })
    }
  }

  #beat(channel: ControlIn): void {
    this.#clock.timer(LIMITS.heartbeatIntervalMs, () => {
      if (channel.closed.aborted) return
      if (this.doesBeat) channel.send({ type: 'control.heartbeat', sequence: 0 }).catch(() => {})
      this.#beat(channel)
    })
  }
}

interface SetupInit extends Partial<NodeAgentInit> {
  readonly engine?: (clock: Clock) => Engine
  readonly onRevocations?: (signed: Signed) => Promise<void>
  readonly policy?: (clock: Clock) => OwnerPolicy
  readonly watchOthers?: WatchOthers
  readonly energy?: EnergyMeter
  readonly senses?: Senses
}

export async function setup(init: SetupInit = {}) {
  const clock = new ManualClock()
  const network = new MemoryNetwork({ clock, random: new SeededRandom(4) })
  const transport = network.join('desk-pc', ['node'])
  const dataDir = init.dataDir ?? (await temporaryDirectory())
  const {
    engine,
    onRevocations,
    policy,
    watchOthers = async () => async () => undefined,
    energy = NO_METER,
    senses,
    ...rest
  } = init
  const agent: NodeAgent = createNodeAgent(
    {
      transport,
      discovery: new MemoryDiscovery(network, transport.self.peerId),
      clock,
      random: new SeededRandom(5),
      log: silentLogger,
      sign: (record) => sign(identity, 'capability', record),
      createEngine: (kind, components) => engine?.(clock) ?? createEngine(kind, components),
      probeDevices: () => Promise.reject(new RangeError('none')),
      runCommand: () => Promise.reject(new RangeError('ENOENT')),
      power: { read: async () => 'mains' },
      hostFacts: () => FACTS,
      watchOthers,
      energy,
      ...(onRevocations && { onRevocations }),
      ...(policy && { policy: policy(clock) }),
      ...(senses && { senses: () => senses }),
    },
    { models: [MODEL], name: 'desk-pc', ...rest, dataDir },
  )
  after(async () => {
    let isStopped = false
    void agent.stop().then(() => (isStopped = true))
    await until('the agent stops', () => isStopped, { clock, stepMs: 500 })
  })
  return { clock, network, transport, agent, dataDir }
}

export const join2 = (network: MemoryNetwork, clock: Clock, name = 'home'): ControlTwin =>
  new ControlTwin(network.join(name, ['coordinator']), clock)

/** An attempt stream of `home` to the node, with its first frame sent. */
export async function startAttempt(
  home: ControlTwin,
  node: MemoryPeerTransport,
  letter = 'a',
  more: Partial<AttemptStart> = {},
): Promise<AttemptOut> {
  const channel = await home.transport.open(node.self.peerId, 'attempt', INBOUND.attemptCoordinator)
  await channel.send({
    type: 'attempt.start',
    taskId: asTaskId(`task_${letter.repeat(24)}`),
    attempt: 1,
    fence: 1,
    digest: echoDigest(MODEL),
    prompt: { kind: 'text', text: 'x' },
    sampling: { ...GREEDY, seed: 1 },
    stop: [],
    maxTokens: 5,
    generated: new Uint8Array(),
    ...more,
  })
  return channel
}
