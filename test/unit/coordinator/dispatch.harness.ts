/** Dispatch over the network's memory twin, against nodes that play scripts, in hand-moved time. */
import { CoordinatorService, Observers, type MeshEvent } from '../../../coordinator/admission/index.ts'
import type { AnswerCache } from '../../../coordinator/cache/index.ts'
import { Directory } from '../../../coordinator/directory/index.ts'
import {
  Budget,
  Dispatcher,
  type CloudRules,
  type Costs,
  type Task,
  type TaskEvent,
  type TaskRun,
} from '../../../coordinator/dispatch/index.ts'
import { Replicas } from '../../../coordinator/residency/index.ts'
import { MemoryLedger, type TaskSpec } from '../../../coordinator/ledger/index.ts'
import { MemoryNetwork, type FrameChannel, type MemoryPeerTransport } from '../../../mesh/network/index.ts'
import {
  asRequestId,
  asTaskId,
  GREEDY,
  INBOUND,
  LIMITS,
  packTokenIds,
  unpackTokenIds,
  type Access,
  type AttemptAttach,
  type AttemptStart,
  type Frame,
  type ModelCapability,
  type Price,
  type Tier,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger, type Logger } from '../../../mesh/runtime/index.ts'
import { capability, DIGEST } from './snapshots.ts'

export type NodeChannel = FrameChannel<
  Extract<Frame, { type: 'attempt.start' | 'attempt.attach' | 'attempt.commit' | 'attempt.cancel' }>
>
export type Begin = AttemptStart | AttemptAttach
export type Script = (channel: NodeChannel, start: AttemptStart) => Promise<void>

export const ANSWER = ['the ', 'geese ', 'fly ', 'in ', 'a ', 'skein ', 'and ', 'arrive']
export const TEXT = ANSWER.join('')

/** Sends `ANSWER` from token `from` to `to`; word i has the id 100 + i. */
export async function tokensFrom(channel: NodeChannel, fence: number, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++)
    await channel.send({ type: 'attempt.tokens', fence, index: i, ids: packTokenIds([100 + i]), text: ANSWER[i]! })
}
export const accept = (channel: NodeChannel, { fence }: Pick<Begin, 'fence'>): Promise<void> =>
  channel.send({ type: 'attempt.accepted', fence })
export async function end(
  channel: NodeChannel,
  { fence }: Pick<Begin, 'fence'>,
  tokens = ANSWER.length,
): Promise<void> {
  await channel.send({
    type: 'attempt.end',
    fence,
    finishReason: 'stop',
    stopIndex: 0,
    text: '',
    usage: { promptTokens: 3, cachedTokens: 0, completionTokens: tokens },
    timing: { waitMs: 0, prefillMs: 0, decodeMs: 0 },
  })
  await channel.close()
}
export const fails =
  (code: string, message: string): Script =>
  (channel, { fence }) =>
    channel.send({ type: 'attempt.failed', fence, code, message })
export const answers: Script = async (channel, start) => {
  await accept(channel, start)
  await tokensFrom(channel, start.fence, unpackTokenIds(start.generated)!.length, ANSWER.length)
  await end(channel, start)
}
/** Says the first `count` tokens and then nothing. */
export const stallsAfter =
  (count: number): Script =>
  async (channel, start) => {
    await accept(channel, start)
    await tokensFrom(channel, start.fence, unpackTokenIds(start.generated)!.length, count)
    await new Promise(() => {})
  }

const notHere = (): Promise<never> => Promise.reject(new TypeError('not in these tests'))

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export interface DispatchHarnessInit {
  readonly costs?: Costs
  /** What may be spent a day. */
  readonly budgetMicros?: number
  readonly log?: Logger
  readonly cloudRules?: () => CloudRules
  /** Of this mesh, in what leaves it. */
  readonly mark?: string
}

export class DispatchHarness {
  readonly #init: DispatchHarnessInit
  readonly clock = new ManualClock()
  readonly #random = new SeededRandom(11)
  readonly #network = new MemoryNetwork({ clock: this.clock, random: this.#random })
  readonly #self = this.#network.join('coordinator', ['coordinator'])
  readonly directory: Directory
  ledger = new MemoryLedger({ clock: this.clock }, { commitMs: 1 })
  readonly observers = new Observers({ log: silentLogger })
  /** What was told of the tokens of tenants. */
  readonly used: [tenant: string, tokens: number][] = []
  dispatcher: Dispatcher
  /** First frames of all attempts, in order. */
  readonly begins: Begin[] = []
  /** Names of the nodes that they came to. */
  readonly asked: string[] = []
  #tasks = 0
  readonly #started: Promise<void>

  constructor(init: DispatchHarnessInit = {}) {
    this.#init = init
    const { log = silentLogger } = init
    this.directory = new Directory({ clock: this.clock, log }, this.#self.self.peerId)
    this.dispatcher = this.#dispatcher()
    this.#started = this.dispatcher.start()
  }

  #dispatcher(): Dispatcher {
    const { clock, directory, ledger } = this
    const { budgetMicros, log = silentLogger, costs, cloudRules, mark } = this.#init
    const budget = new Budget({ clock }, budgetMicros === undefined ? {} : { dayMicros: budgetMicros })
    const components = { clock, random: this.#random, log, transport: this.#self, directory, costs, cloudRules, mark }
    const onUsed = (tenant: string, tokens: number): void => void this.used.push([tenant, tokens])
    const onEvent = (event: MeshEvent): void => this.observers.tell(event)
    return new Dispatcher({ ...components, ledger, budget, onUsed, onEvent })
  }

  /** The coordinator's process dies and comes back: what was not durable is gone, and its streams break. */
  async restart(): Promise<void> {
    for (const run of this.dispatcher.runs()) run.abandon()
    this.ledger.crash()
    this.ledger = this.ledger.reopen()
    this.dispatcher = this.#dispatcher()
    await this.dispatcher.start()
  }

  /** The coordinator's port for the gateway. */
  service(cache?: AnswerCache): CoordinatorService {
    const { clock, directory, dispatcher, ledger } = this
    return new CoordinatorService({
      clock,
      random: this.#random,
      transport: this.#self,
      directory,
      dispatcher,
      replicas: new Replicas({ clock, log: silentLogger, directory, epoch: 1, aheadMs: () => 0, send: notHere }, 'off'),
      ledger,
      observers: this.observers,
      ...(cache && { cache }),
      ...(this.#init.mark !== undefined && { mark: this.#init.mark }),
      direct: () => Promise.resolve(),
      discoveryReport: () => [],
      membership: { isAuthority: false, invite: notHere, revoke: notHere },
    })
  }

  /** A node that plays its scripts in turn, the last one again and again. `rate` decides who is asked first. */
  node(
    name: string,
    rate: number,
    scripts: readonly Script[],
    more: {
      readonly attach?: (channel: NodeChannel, frame: AttemptAttach) => Promise<void>
      readonly model?: Partial<ModelCapability>
      readonly access?: Access
      readonly price?: Price
      readonly tier?: Tier
    } = {},
  ): MemoryPeerTransport {
    const transport = this.#network.join(name)
    let played = 0
    transport.handle('attempt', INBOUND.attemptNode, async (channel) => {
      const begin = await channel.receive()
      if (begin?.type !== 'attempt.start' && begin?.type !== 'attempt.attach') throw new TypeError('no beginning')
      this.begins.push(begin)
      this.asked.push(name)
      if (begin.type === 'attempt.attach') await more.attach!(channel, begin)
      else await scripts[Math.min(played++, scripts.length - 1)]!(channel, begin)
    })
    this.connect(transport, rate, more.model, more)
    return transport
  }

  connect(
    transport: MemoryPeerTransport,
    rate: number,
    model: Partial<ModelCapability> = {},
    { access, price, tier = 'edge' }: { readonly access?: Access; readonly price?: Price; readonly tier?: Tier } = {},
  ): number {
    const { clock, directory } = this
    const { peerId, certificate } = transport.self
    const session = directory.connected({ peerId, certificate, isSelf: false })
    const speed = { prefillTokensPerSecond: rate, decode: [{ sequences: 1, tokensPerSecond: rate }], measuredAtMs: 1 }
    directory.announce(peerId, {
      meshId: certificate.meshId,
      peerId,
      name: certificate.name,
      sequence: 1,
      issuedAtMs: clock.wallMs(),
      expiresAtMs: clock.wallMs() + 1e9,
      hardware: { cpu: { model: 'x', architecture: 'x64', threads: 1 }, memoryBytes: 1, gpus: [], platform: 'linux' },
      models: [capability({ slots: 1, speed, ...model })],
      power: 'mains',
      tier,
      labels: {},
      addresses: [],
      ...(access && { access }),
      ...(price && { price }),
    })
    return session
  }

  task(init: Partial<TaskSpec> = {}): Task {
    return this.dispatcher.newTask({
      taskId: asTaskId(`task_${'a'.repeat(23)}${'abcdefghijklmnopqrstuvwxyz'[this.#tasks++ % 26]}`),
      requestId: asRequestId('req_1'),
      model: 'tiny',
      digest: DIGEST,
      prompt: { kind: 'text', text: 'why' },
      sampling: { ...GREEDY, seed: 1 },
      stop: [],
      maxTokens: 64,
      priority: 'default',
      tenant: 'local',
      localOnly: false,
      attachment: 'attached',
      stored: false,
      deadlineAtMs: this.clock.wallMs() + LIMITS.taskMs,
      shape: '{}',
      ...init,
    })
  }

  /** Admits and runs a task. */
  async submit(task: Task = this.task()): Promise<TaskRun> {
    // what it finds open at its start is of an earlier life
    await this.#started
    const admitted = this.ledger.admit({ type: 'task.admitted', atMs: this.clock.wallMs(), spec: task.spec })
    await this.until(() => this.clock.pendingTimers > 0)
    void this.clock.advance(2)
    await admitted
    return this.dispatcher.submit(task)
  }

  follow(run: Pick<TaskRun, 'follow'>, after = 0, signal?: AbortSignal): Following {
    return new Following(this, run.follow(after, signal))
  }

  /** The result of `work`, for which time may have to move. */
  async settled<T>(work: Promise<T>): Promise<T> {
    let isOver = false
    work.then(
      () => (isOver = true),
      () => (isOver = true),
    )
    await this.until(() => isOver)
    return work
  }

  /** Runs a task to its end while time moves by itself. */
  async run(task?: Task): Promise<Following> {
    const following = this.follow(await this.submit(task))
    await following.over()
    return following
  }

  /** Moves time in steps of `stepMs` until `condition`. */
  async until(condition: () => boolean, stepMs = 1): Promise<void> {
    for (let step = 0; !condition(); step++) {
      if (step > 20_000) throw new TypeError(`never came: ${condition}`)
      await this.clock.advance(stepMs)
      await turn()
    }
  }
}

/** What one follower got. */
export class Following {
  readonly events: TaskEvent[] = []
  error: unknown
  isOver = false
  readonly #harness: DispatchHarness
  readonly #iterator: AsyncIterator<TaskEvent>

  constructor(harness: DispatchHarness, events: AsyncIterable<TaskEvent>) {
    this.#harness = harness
    this.#iterator = events[Symbol.asyncIterator]()
    void this.#read()
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#iterator.next()
        if (done) break
        this.events.push(value)
      }
    } catch (thrown) {
      this.error = thrown
    }
    this.isOver = true
  }

  async over(stepMs = 25): Promise<this> {
    await this.#harness.until(() => this.isOver, stepMs)
    return this
  }

  get text(): string {
    return this.events.map((event) => (event.type === 'tokens' || event.type === 'end' ? event.text : '')).join('')
  }

  /** Index of every token that came, one by one. */
  get indices(): number[] {
    return this.events.flatMap((event) =>
      event.type === 'tokens' ? Array.from({ length: event.count }, (_, i) => event.index + i) : [],
    )
  }

  get nodes(): string[] {
    return this.events.flatMap((event) => (event.type === 'started' ? [event.node.name] : []))
  }

  get said(): string[] {
    return this.events.flatMap((event) => (event.type === 'status' ? [event.text] : []))
  }
}
