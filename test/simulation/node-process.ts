/** A node's machine: the processes that run on it one after the other, each a real node agent. */
import { canonicalBytes, type AnyFrame, type Frame } from '../../mesh/protocol/index.ts'
import { MemoryDiscovery, type MemoryNetwork, type MemoryPeerTransport } from '../../mesh/network/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import { createEngine, type CreateEngine, type Engine } from '../../node/engines/index.ts'
import { NO_METER } from '../../node/capability/index.ts'
import { createNodeAgent, type NodeAgent } from '../../node/index.ts'
import { doubtingTwin } from './doubting-twin.ts'
import { BOAST, Liar } from './lies.ts'
import type { Observation } from './record.ts'
import type { NodePlan } from './scenario.ts'
import { tapped, type TappedStream } from './tap.ts'
import { textTwin } from './text-twin.ts'
import { Choices, ProcessClock, type World } from './world.ts'
import { SkeinError } from '../../mesh/protocol/index.ts'

const GRACE_MS = 3000

export interface MachineComponents {
  readonly world: World
  readonly network: MemoryNetwork
  readonly log: (name: string) => Logger
  readonly observe: (observation: Observation) => void
  readonly seed: number
  /** Of a member, by its peer id. */
  readonly nameOf: (peer: string) => string
}

export class NodeMachine {
  readonly plan: NodePlan
  readonly #components: MachineComponents
  #transport: MemoryPeerTransport | undefined
  #clock: ProcessClock | undefined
  #agent: NodeAgent | undefined
  #crashEngine: (() => void) | undefined
  #life = 0
  #isStopping = false

  constructor(components: MachineComponents, plan: NodePlan) {
    this.#components = components
    this.plan = plan
  }

  get transport(): MemoryPeerTransport | undefined {
    return this.#transport
  }

  get clock(): ProcessClock | undefined {
    return this.#clock
  }

  /** The process that runs now. */
  get agent(): NodeAgent | undefined {
    return this.#clock?.isDead === false ? this.#agent : undefined
  }

  get isStopping(): boolean {
    return this.#isStopping
  }

  start(): void {
    if (this.agent) return
    const { world, network, log, observe, seed } = this.#components
    const { name, model, slots, isCloud, price, refusesOrders } = this.plan
    const clock = (this.#clock = new ProcessClock(world))
    const transport = this.#transport
      ? network.revive(this.#transport, clock.io)
      : network.join(name, ['node'], clock.io)
    this.#transport = transport
    this.#isStopping = false
    const life = ++this.#life
    observe({ type: 'life', who: name, what: 'starts' })
    const random = new Choices(seed, `${name} ${life}`)
    const liar = this.plan.lies.length > 0 ? new Liar(this.plan.lies, random) : undefined
    const agent = createNodeAgent(
      {
        clock,
        random,
        log: log(name),
        transport: tapped(transport, {
          out: (stream, frame) => this.#out(stream, frame, life, liar),
          in: (stream, frame) => {
            liar?.hear(stream, frame)
            this.#in(stream, frame, life)
          },
          over: () => {},
          keepsOpen: (stream) => liar?.isMute(stream) ?? false,
        }),
        discovery: new MemoryDiscovery(network, transport.self.peerId),
        sign: async (record) => ({ payload: canonicalBytes(this.#boasted(record)), signature: new Uint8Array(64) }),
        createEngine: this.#engines(),
        probeDevices: async () => ({
          backend: 'none',
          deviceNames: [],
          memoryTotalBytes: 0,
          memoryFreeBytes: 0,
          engineBuild: 'echo',
          cpuThreads: 1,
        }),
        power: { read: async () => 'mains' },
        runCommand: () => Promise.reject(new SkeinError('NOT_FOUND', 'no tools here')),
        watchOthers: async () => async () => undefined,
        energy: NO_METER,
        hostFacts: () => ({
          cpuModel: 'simulated',
          architecture: 'x64',
          threads: 4,
          totalMemoryBytes: 2 ** 34,
          memoryLimitBytes: 0,
          platform: 'linux',
        }),
      },
      {
        dataDir: `/${name}`,
        name,
        models: [model],
        slots,
        graceMs: GRACE_MS,
        replicas: refusesOrders ? 'off' : 'load',
        ...(isCloud && { tier: 'cloud' as const }),
        ...(price && { price }),
      },
    )
    this.#agent = agent
    void agent.start()
  }

  /** As by `kill -9`; silent as by a pulled plug. */
  crash(isSilent: boolean): void {
    if (this.#clock === undefined || this.#clock.isDead || this.#transport === undefined) return
    this.#clock.kill()
    this.#components.observe({ type: 'life', who: this.plan.name, what: 'dies' })
    if (isSilent) this.#components.network.vanish(this.#transport)
    else this.#components.network.crash(this.#transport)
  }

  /** SIGTERM: hands over what runs, says goodbye and ends. */
  stop(): void {
    const { agent } = this
    if (agent === undefined || this.#isStopping) return
    this.#isStopping = true
    const clock = this.#clock
    this.#components.observe({ type: 'life', who: this.plan.name, what: 'stops' })
    void agent.stop().then(() => {
      if (this.#clock === clock) this.crash(false)
    })
  }

  crashEngine(): void {
    this.#crashEngine?.()
  }

  #out(stream: TappedStream, frame: Frame, life: number, liar: Liar | undefined): readonly Frame[] {
    const frames = liar ? liar.distort(stream, frame) : [frame]
    const node = this.plan.name
    for (const each of frames)
      if (each.type !== 'control.heartbeat')
        this.#components.observe({ type: 'node sent', stream: stream.number, node, life, frame: each })
    return frames
  }

  #in(stream: TappedStream, frame: AnyFrame, life: number): void {
    if (frame.type === 'control.heartbeat') return
    this.#components.observe({ type: 'node got', stream: stream.number, node: this.plan.name, life, frame })
  }

  /** What a liar claims of its speed. */
  #boasted<T extends { readonly models: readonly object[] }>(record: T): T {
    if (!this.plan.lies.includes('claims speed')) return record
    const decode = [{ sequences: 1, tokensPerSecond: 100 * BOAST }]
    const speed = { prefillTokensPerSecond: 1000 * BOAST, decode, measuredAtMs: 1 }
    return { ...record, models: record.models.map((model) => ({ ...model, speed })) }
  }

  /** The echo engine at this machine's pace, which may crash. */
  #engines(): CreateEngine {
    return (kind, components) => {
      const echo = createEngine(kind, { ...components, clock: slowed(components.clock, this.plan.slowness) })
      const told = this.plan.doubts ? doubtingTwin(echo) : echo
      const inner = this.plan.isByText ? textTwin(told) : told
      const crashed = new SkeinError('ENGINE_CRASHED', 'the engine process ended')
      const dying = new AbortController()
      this.#crashEngine = () => {
        if (dying.signal.aborted) return
        dying.abort(crashed)
        components.onExit?.(crashed)
      }
      const engine: Engine = {
        load: (request, onProgress) => inner.load(request, onProgress),
        generate: (request, signal) => inner.generate(request, AbortSignal.any([signal, dying.signal])),
        stats: () => inner.stats(),
        unload: () => inner.unload(),
      }
      return engine
    }
  }
}

/** A clock on which everything takes `factor` times as long. */
const slowed = (clock: Clock, factor: number): Clock => ({
  wallMs: () => clock.wallMs(),
  nowMs: () => clock.nowMs() / factor,
  timer: (delayMs, fire) => clock.timer(delayMs * factor, fire),
})
