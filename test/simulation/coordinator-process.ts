/** The coordinator's machine: its ledger, and the processes that run on it one after the other. */
import {
  CLOUD_REASONS,
  parseCapabilityRecord,
  readCanonical,
  SkeinError,
  type Frame,
  type TaskId,
} from '../../mesh/protocol/index.ts'
import { MemoryDiscovery, type MemoryPeerTransport } from '../../mesh/network/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import { echoDigest } from '../../node/engines/index.ts'
import { createCoordinator, type Coordinator } from '../../coordinator/index.ts'
import type { CascadeRule, CloudRules } from '../../coordinator/dispatch/index.ts'
import { MemoryLedger, type BudgetTerms, type Ledger, type LedgerEvent } from '../../coordinator/ledger/index.ts'
import type { MachineComponents } from './node-process.ts'
import { tapped, type Tap } from './tap.ts'
import type { NodePlan, Scenario } from './scenario.ts'
import { Choices, EPOCH_MS, ProcessClock } from './world.ts'

/** An SSD's flush. */
const COMMIT_MS = 2
/** What was made durable is known of only this much later, at most: a crash may come between the two. */
const ANSWER_MS_MAX = 3

export class CoordinatorMachine {
  readonly #components: MachineComponents
  readonly #budgetTerms: ReadonlyMap<string | undefined, BudgetTerms>
  /** What was learned of the days. */
  readonly #peaks: unknown
  readonly #cascade: CascadeRule | undefined
  /** Of its disk: shared by all lives. */
  #memory: MemoryLedger | undefined
  #transport: MemoryPeerTransport | undefined
  #clock: ProcessClock | undefined
  #coordinator: Coordinator | undefined
  #isServing = false
  #life = 0
  #commitMs = COMMIT_MS
  #diskFull: string | undefined

  constructor(
    components: MachineComponents,
    {
      atLimit,
      budgetMicros,
      cascade,
      hasPeaks,
      nodes,
      tenantMicros,
    }: Pick<Scenario, 'atLimit' | 'budgetMicros' | 'cascade' | 'hasPeaks' | 'nodes' | 'tenantMicros'>,
  ) {
    this.#components = components
    this.#cascade = cascade
    const ofTenants = Object.entries(tenantMicros).map(([tenant, dayMicros]) => [tenant, { dayMicros }] as const)
    this.#budgetTerms = new Map<string | undefined, BudgetTerms>([
      [undefined, { dayMicros: budgetMicros, atLimit }],
      ...ofTenants,
    ])
    this.#peaks = hasPeaks ? peaksOf(nodes) : undefined
  }

  get transport(): MemoryPeerTransport {
    if (this.#transport === undefined) throw new SkeinError('INTERNAL', 'the coordinator was never started')
    return this.#transport
  }

  get clock(): ProcessClock | undefined {
    return this.#clock
  }

  /** Number of the present process; clients know by it that theirs has gone. */
  get life(): number {
    return this.#life
  }

  /** The process that serves now. */
  get serving(): Coordinator | undefined {
    return this.#isServing && this.#clock?.isDead === false ? this.#coordinator : undefined
  }

  get durableEvents(): readonly LedgerEvent[] {
    return this.#memory?.durableEvents ?? []
  }

  ledgerTask(taskId: TaskId): ReturnType<Ledger['task']> {
    return this.#memory!.task(taskId)
  }

  start(): void {
    if (this.#clock?.isDead === false) return
    const { world, network, log, observe, nameOf, seed } = this.#components
    const clock = (this.#clock = new ProcessClock(world))
    this.#life++
    this.#isServing = false
    const transport = this.#transport
      ? network.revive(this.#transport, clock.io)
      : network.join('coordinator', ['coordinator'], clock.io)
    this.#transport = transport
    observe({ type: 'life', who: 'coordinator', what: 'starts' })
    this.#memory = this.#memory
      ? this.#memory.reopen()
      : new MemoryLedger({ clock: this.#diskClock() }, { commitMs: 0 })
    this.#memory.failWrites(this.#diskFull)
    const random = new Choices(seed, `coordinator ${this.#life}`)
    const coordinator = createCoordinator({
      clock,
      random,
      log: log('coordinator'),
      transport: tapped(transport, this.#tap()),
      discovery: new MemoryDiscovery(network, transport.self.peerId),
      ledger: this.#ledger(this.#memory, clock, random),
      budgetTerms: this.#budgetTerms,
      ...(this.#cascade && { cloudRules: rulesWith(this.#cascade) }),
      profileStore: { load: async () => this.#peaks, save: async () => {} },
      membership: { isAuthority: false, invite: refused, revoke: refused },
      openRecord: async (peer, signed) => {
        const record = parseCapabilityRecord(readCanonical(signed.payload))
        if (record.peerId !== peer) throw new SkeinError('FRAME_MALFORMED', 'the record of another peer')
        return record
      },
      discoveryReport: () => [],
      revocations: () => undefined,
    })
    // also by silence, or with its connection: neither closes a stream on this side
    coordinator.directory.watch({ lost: (peerId) => observe({ type: 'node lost', node: nameOf(peerId) }) })
    this.#coordinator = coordinator
    const life = this.#life
    void coordinator.start().then(() => {
      if (this.#life === life) this.#isServing = true
    })
  }

  crash(isSilent: boolean): void {
    if (this.#clock === undefined || this.#clock.isDead) return
    this.#clock.kill()
    this.#isServing = false
    this.#memory?.crash()
    this.#components.observe({ type: 'life', who: 'coordinator', what: 'dies' })
    if (isSilent) this.#components.network.vanish(this.transport)
    else this.#components.network.crash(this.transport)
  }

  /** SIGTERM. */
  stop(): void {
    const coordinator = this.serving
    if (coordinator === undefined) return
    const life = this.#life
    this.#components.observe({ type: 'life', who: 'coordinator', what: 'stops' })
    this.#isServing = false
    void coordinator.stop().then(() => {
      if (this.#life === life) this.crash(false)
    })
  }

  diskFull(isFull: boolean): void {
    this.#diskFull = isFull ? 'the disk is full' : undefined
    this.#memory?.failWrites(this.#diskFull)
  }

  slowDisk(commitMs: number = COMMIT_MS): void {
    this.#commitMs = commitMs
  }

  /** Of the disk: it takes as long as it takes now, and stops with the process. */
  #diskClock(): Clock {
    return {
      wallMs: () => this.#clock!.wallMs(),
      nowMs: () => this.#clock!.nowMs(),
      timer: (_delayMs, fire) => this.#clock!.timer(this.#commitMs, fire),
    }
  }

  #ledger(inner: MemoryLedger, clock: ProcessClock, random: Choices): Ledger {
    const { observe } = this.#components
    const later = async <T>(events: readonly LedgerEvent[], work: Promise<T>): Promise<T> => {
      observe({ type: 'offered', events })
      const settled = await work.then(
        (value) => {
          observe({ type: 'durable', events })
          return { value }
        },
        (error: unknown) => ({ error }),
      )
      await new Promise<void>((resolve) => clock.timer(random.whole(0, ANSWER_MS_MAX), resolve))
      if ('error' in settled) throw settled.error
      return settled.value
    }
    return {
      epoch: inner.epoch,
      admit: (event) => later([event], inner.admit(event)),
      append: (events) => later(events, inner.append(events)),
      task: (taskId) => inner.task(taskId),
      byIdempotencyKey: (tenant, key) => inner.byIdempotencyKey(tenant, key),
      list: (query) => inner.list(query),
      open: () => inner.open(),
      billed: (sinceMs) => inner.billed(sinceMs),
      recordLeaseCharges: (charges) => inner.recordLeaseCharges(charges),
      openLeaseCharges: () => inner.openLeaseCharges(),
      recordBudget: (event) => inner.recordBudget(event),
      budgetEvents: () => inner.budgetEvents(),
      purge: (results, tasks) => inner.purge(results, tasks),
      erase: (taskId) => inner.erase(taskId),
      purgeUsage: (beforeMs) => inner.purgeUsage(beforeMs),
      usage: (query) => inner.usage(query),
      recordAccess: (event) => inner.recordAccess(event),
      accessEvents: () => inner.accessEvents(),
      recordBatches: (events) => inner.recordBatches(events),
      batchEvents: () => inner.batchEvents(),
      forgetBatches: (ids) => inner.forgetBatches(ids),
      recordLeases: (events) => inner.recordLeases(events),
      leaseEvents: () => inner.leaseEvents(),
      forgetLeases: (ids) => inner.forgetLeases(ids),
      backup: (path) => inner.backup(path),
      close: () => inner.close(),
    }
  }

  #tap(): Tap {
    const { observe, nameOf } = this.#components
    return {
      out: (stream, frame) => {
        if (frame.type === 'control.order') observe({ type: 'ordered', node: nameOf(stream.peer), frame })
        if (stream.protocol === 'attempt')
          observe({ type: 'sent', stream: stream.number, node: nameOf(stream.peer), frame })
        return [frame]
      },
      in: (stream, any) => {
        const frame = any as Frame
        if (frame.type === 'control.outcome') observe({ type: 'outcome', node: nameOf(stream.peer), frame })
        if (stream.protocol === 'attempt')
          observe({ type: 'got', stream: stream.number, node: nameOf(stream.peer), frame })
      },
      over: (stream) => {
        if (stream.protocol === 'attempt') observe({ type: 'stream over', stream: stream.number })
      },
    }
  }
}

/** Everything may leave, for any reason; and what is not sure enough does. */
function rulesWith(cascade: CascadeRule): () => CloudRules {
  const rules: CloudRules = {
    reasonsFor: () => new Set(CLOUD_REASONS),
    cascadeFor: () => cascade,
    prompt: (prompt) => ({ value: prompt, count: 0 }),
    work: (work) => ({ value: work, count: 0 }),
    finds: () => false,
  }
  return () => rules
}

const DAY_MS = 86_400_000

/** As of a coordinator that saw ten requests in every quarter of an hour of the days before. */
function peaksOf(nodes: readonly NodePlan[]): unknown {
  const all = (value: number): number[] => new Array<number>(96).fill(value)
  const last = Math.floor(EPOCH_MS / DAY_MS) - 1
  const days = { requests: all(10), prefillTokens: all(100), decodeTokens: all(900), seen: all(2), busy: all(2) }
  const digests = new Set(nodes.map(({ model }) => echoDigest(model)))
  return { models: [...digests].map((digest) => ({ digest, days: { ...days, last: all(last) } })) }
}

const refused = (): Promise<never> => Promise.reject(new SkeinError('NOT_THE_AUTHORITY', 'not simulated'))
