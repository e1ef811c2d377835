/** One history: the machines and clients of a scenario, its bad luck, the healing, and the questions at the end. */
import { asSkeinError, LIMITS, type PeerId, type TaskId } from '../../mesh/protocol/index.ts'
import { MemoryNetwork } from '../../mesh/network/index.ts'
import type { Logger } from '../../mesh/runtime/index.ts'
import type { LedgerTask } from '../../coordinator/ledger/index.ts'
import { createCheckers, type Checker } from './checkers/index.ts'
import { ClientReader, type ClientComponents } from './client.ts'
import { CoordinatorMachine } from './coordinator-process.ts'
import { formatDisks } from './disk.ts'
import { Faults } from './faults.ts'
import { NodeMachine, type MachineComponents } from './node-process.ts'
import { Violated, type FinalState, type Observation, type Violation } from './record.ts'
import { scenarioOf, type ClientPlan, type Scenario } from './scenario.ts'
import { renumberStreams } from './tap.ts'
import { describe } from './transcript.ts'
import { Choices, World } from './world.ts'

/** After the healing every answer must have ended by then: the longest deadline, and time to say so. */
const LIVENESS_MS = 90_000 + 30_000
/** Then what is held for those who do not come back is given up. */
const QUIET_MS = LIMITS.heldAttemptMs + LIMITS.reserveStreamMs + 5000
/** What is periodic: sweeps, checkpoints, records, heartbeats. */
const COORDINATOR_TIMERS_MAX = 8
const NODE_TIMERS_MAX = 8
/** Exclusions, breakers and records of a clock that was wrong last a while; who asks after that must be answered. */
const PROBE_AFTER_MS = 60_000

/** Histories that end with a coordinator that does not come back; and how late its nodes may know. */
const ABANDONED_EVERY = 4
const HOLD_SLACK_MS = 3000

export interface HistoryResult {
  readonly seed: number
  readonly steps: number
  readonly tasks: number
  readonly faults: number
  readonly migrations: Readonly<Record<string, number>>
  readonly violation?: Violation
}

export interface HistoryOptions {
  /** Takes each line of the transcript. */
  readonly print?: (line: string) => void
}

export async function runHistory(seed: number, options: HistoryOptions = {}): Promise<HistoryResult> {
  const history = new History(scenarioOf(seed), options)
  return history.run()
}

class History {
  readonly #scenario: Scenario
  readonly #print: ((line: string) => void) | undefined
  readonly #world = new World()
  readonly #choices: Choices
  readonly #network: MemoryNetwork
  readonly #coordinator: CoordinatorMachine
  readonly #nodes: readonly NodeMachine[]
  readonly #faults: Faults
  readonly #checkers: readonly Checker[]
  readonly #readers: ClientReader[] = []
  readonly #acknowledged = new Map<TaskId, ClientPlan>()
  readonly #migrations: Record<string, number> = {}
  #violation: Violation | undefined
  #hasWorked = false

  constructor(scenario: Scenario, { print }: HistoryOptions) {
    formatDisks()
    renumberStreams()
    this.#scenario = scenario
    this.#print = print
    this.#choices = new Choices(scenario.seed, 'history')
    const link = new Choices(scenario.seed, 'link')
    const [least, most] = scenario.delayMs
    const delayMs = (): number => link.whole(least, most)
    const clock = { wallMs: () => 0, nowMs: () => this.#world.nowMs, timer: this.#world.after.bind(this.#world) }
    this.#network = new MemoryNetwork({ clock, random: link }, { latencyMs: delayMs })
    const machine: MachineComponents = {
      world: this.#world,
      network: this.#network,
      seed: scenario.seed,
      observe: (observation) => this.#observe(observation),
      log: (name) => this.#logger(name),
      nameOf: (peer) => this.#nameOf(peer as PeerId),
    }
    this.#coordinator = new CoordinatorMachine(machine, scenario)
    this.#nodes = scenario.nodes.map((plan) => new NodeMachine(machine, plan))
    this.#faults = new Faults({
      world: this.#world,
      network: this.#network,
      coordinator: this.#coordinator,
      nodes: this.#nodes,
      choices: this.#choices,
      observe: (observation) => this.#observe(observation),
      delayMs,
    })
    this.#checkers = createCheckers(
      scenario,
      (invariant) => (message) => this.#fail(invariant, message),
      () => this.#world.nowMs,
    )
  }

  async run(): Promise<HistoryResult> {
    const { seed } = this.#scenario
    const onRejection = (reason: unknown): void =>
      this.#note('defect', `a promise that nobody awaits: ${asSkeinError(reason).stack}`)
    process.on('unhandledRejection', onRejection)
    try {
      await this.#live()
    } catch (thrown) {
      if (!(thrown instanceof Violated)) this.#note('defect', asSkeinError(thrown).stack ?? '')
    } finally {
      process.off('unhandledRejection', onRejection)
      for (const machine of [this.#coordinator, ...this.#nodes]) machine.clock?.kill()
    }
    return {
      seed,
      steps: this.#world.steps,
      tasks: this.#acknowledged.size,
      faults: this.#faults.injected,
      migrations: this.#migrations,
      ...(this.#violation && { violation: this.#violation }),
    }
  }

  async #live(): Promise<void> {
    const { clients, faults, healAtMs, nodes } = this.#scenario
    this.#coordinator.start()
    nodes.forEach(({ joinsAtMs }, i) => this.#world.after(joinsAtMs, () => this.#nodes[i]!.start()))
    for (const client of clients) this.#world.after(client.atMs, () => this.#arrive(client))
    for (const fault of faults) this.#faults.schedule(fault)
    this.#world.after(healAtMs, () => this.#heal())
    await this.#until(healAtMs + 1, () => false)
    await this.#until(healAtMs + LIVENESS_MS, () => this.#readers.every((reader) => reader.isOver) && this.#arrived)
    await this.#probe()
    await this.#until(this.#world.nowMs + QUIET_MS, () => false)
    const final = await this.#finalState()
    for (const checker of this.#checkers) checker.atEnd?.(final)
    if (this.#scenario.seed % ABANDONED_EVERY === 0) await this.#abandon()
  }

  get #arrived(): boolean {
    return this.#world.nowMs > this.#scenario.healAtMs + 10_000
  }

  async #until(untilMs: number, isOver: () => boolean): Promise<void> {
    await this.#world.run(untilMs, () => {
      this.#checkSlots()
      if (this.#violation) throw new Violated(this.#violation)
      return isOver()
    })
  }

  #arrive(client: ClientPlan): void {
    this.#reader(client, client.name)
    if (client.repeatsAfterMs !== undefined)
      this.#world.after(client.repeatsAfterMs, () => this.#reader(client, `${client.name}-again`))
  }

  #reader(client: ClientPlan, name: string, taskId?: TaskId): ClientReader {
    const components: ClientComponents = {
      world: this.#world,
      coordinator: this.#coordinator,
      choices: this.#choices,
      observe: (observation) => this.#observe(observation),
    }
    const reader = new ClientReader(components, client, name, taskId)
    this.#readers.push(reader)
    reader.begin()
    return reader
  }

  #heal(): void {
    this.#observe({ type: 'fault', what: 'all is mended' })
    this.#faults.heal()
  }

  /** Whoever asks a while after the healing, with the liars gone, gets an answer. */
  async #probe(): Promise<void> {
    const { healAtMs, nodes, seed } = this.#scenario
    await this.#until(Math.max(this.#world.nowMs, healAtMs + PROBE_AFTER_MS), () => false)
    this.#nodes.forEach((node) => {
      if (node.plan.lies.length > 0) node.crash(false)
    })
    const honest = nodes.find((node) => node.lies.length === 0 && node.price === undefined)
    if (honest === undefined) return
    await this.#until(this.#world.nowMs + 1000, () => false)
    const probe = { ...this.#probePlan(honest.model), tenant: `probe ${seed}` }
    const reader = this.#reader(probe, probe.name)
    await this.#until(this.#world.nowMs + 70_000, () => reader.isOver)
    if (reader.outcome !== 'end')
      this.#fail('I4', `after the healing ${honest.name} serves nobody: ${reader.outcome ?? 'no end'}`)
  }

  #probePlan(model: string): ClientPlan {
    return {
      name: 'probe',
      atMs: 0,
      model: model.slice('echo:'.length).split('?')[0]!,
      words: 4,
      maxTokens: 6,
      stop: [],
      attachment: 'attached',
      priority: 'default',
      tenant: 'probe',
      localOnly: false,
      deadlineMs: 60_000,
      hasKey: false,
    }
  }

  /** No node works for a coordinator that has gone, beyond the time for which it holds an attempt. */
  async #abandon(): Promise<void> {
    const { nodes, seed } = this.#scenario
    const slow = nodes.find(
      (node) => node.lies.length === 0 && node.price === undefined && node.model.includes('tps=8&'),
    )
    if (slow === undefined) return
    const plan = { ...this.#probePlan(slow.model), name: 'left', tenant: `left ${seed}`, words: 8, maxTokens: 380 }
    this.#reader(plan, plan.name)
    await this.#until(this.#world.nowMs + 5000, () => false)
    const hadWork = this.#nodes.some((node) => (node.agent?.status().running ?? 0) > 0)
    this.#coordinator.crash(false)
    await this.#until(this.#world.nowMs + LIMITS.heldAttemptMs + HOLD_SLACK_MS, () => false)
    for (const { agent, plan: node } of this.#nodes)
      if (hadWork && (agent?.status().running ?? 0) > 0)
        this.#fail('I8', `${node.name} works for a coordinator that has gone`)
  }

  async #finalState(): Promise<FinalState> {
    const tasks = new Map<TaskId, LedgerTask>()
    const taskIds = new Set([...this.#acknowledged.keys(), ...this.#readers.flatMap(({ taskId }) => taskId ?? [])])
    for (const taskId of taskIds) {
      const task = await this.#coordinator.ledgerTask(taskId)
      if (task) tasks.set(taskId, task)
    }
    return {
      nodes: this.#scenario.nodes,
      tasks,
      durable: this.#coordinator.durableEvents,
      readers: this.#readers,
      waiting: this.#readers.filter((reader) => !reader.isOver),
      leaks: this.#leaks(),
    }
  }

  #leaks(): string[] {
    const leaks: string[] = []
    const stats = this.#coordinator.serving?.service.stats().dispatch
    if (stats === undefined) leaks.push('the coordinator does not serve')
    else if (stats.running > 0) leaks.push(`${stats.running} tasks run`)
    for (const entry of this.#coordinator.serving?.directory.entries() ?? [])
      for (const [digest, model] of entry.snapshot(this.#world.nowMs).models)
        if (model.running > 0)
          leaks.push(`${entry.name} is thought to run ${model.running} attempts of ${digest.slice(7, 15)}`)
    for (const node of this.#nodes) {
      const running = node.agent?.status().running ?? 0
      if (running > 0) leaks.push(`${node.plan.name} runs ${running} attempts`)
    }
    const timers = this.#coordinator.clock?.pendingTimers ?? 0
    if (timers > COORDINATOR_TIMERS_MAX + 2 * this.#nodes.length) leaks.push(`${timers} timers of the coordinator wait`)
    for (const { clock, plan } of this.#nodes)
      if (clock?.isDead === false && clock.pendingTimers > NODE_TIMERS_MAX)
        leaks.push(`${clock.pendingTimers} timers of ${plan.name} wait`)
    // one control stream for each node, and both of its ends
    const alive = this.#nodes.filter((node) => node.agent).length
    const ends = this.#network.openEnds().length
    if (ends > 2 * alive) leaks.push(`${ends} ends of streams are open, ${2 * alive} are of control streams`)
    return leaks
  }

  #checkSlots(): void {
    if (!this.#hasWorked) return
    this.#hasWorked = false
    for (const node of this.#nodes) {
      if (node.plan.lies.length > 0) continue
      for (const model of node.agent?.models() ?? [])
        this.#observe({ type: 'slots', node: node.plan.name, running: model.running, slots: model.capability.slots })
    }
  }

  #observe(observation: Observation): void {
    if (this.#violation) return
    this.#print?.(`${String(this.#world.nowMs).padStart(7)} ${describe(observation)}`)
    switch (observation.type) {
      case 'node got':
      case 'node sent':
        this.#hasWorked = true
        break
      case 'acknowledged':
        this.#onAcknowledged(observation.taskId, observation.client)
        break
      case 'durable':
        for (const event of observation.events)
          if (event.type === 'attempt.assigned' && event.reason !== 'first')
            this.#migrations[event.reason] = (this.#migrations[event.reason] ?? 0) + 1
        break
      case 'life':
        if (observation.who === 'coordinator' && observation.what === 'dies')
          for (const reader of this.#readers) reader.connectionLost()
        break
      default:
    }
    for (const checker of this.#checkers) checker.on?.(observation)
  }

  #onAcknowledged(taskId: TaskId, client: ClientPlan): void {
    this.#acknowledged.set(taskId, client)
    const { secondReaderAfterMs } = client
    if (secondReaderAfterMs === undefined) return
    this.#world.after(secondReaderAfterMs, () => this.#reader(client, `${client.name}-second`, taskId))
  }

  #fail(invariant: string, message: string): never {
    this.#note(invariant, message)
    throw new Violated(this.#violation!)
  }

  #note(invariant: string, message: string): void {
    this.#violation ??= { invariant, message, atMs: this.#world.nowMs }
  }

  #nameOf(peer: PeerId): string {
    return this.#nodes.find((node) => node.transport?.self.peerId === peer)?.plan.name ?? peer
  }

  /** Errors are defects when they say so; for a replay the lines go into the transcript. */
  #logger(name: string): Logger {
    const line = (level: string) => (fields: object, message: string) => {
      const thrown = (fields as { err?: unknown }).err
      const { code } = (thrown ?? fields) as { code?: string }
      if (level === 'error' && code === 'INTERNAL')
        this.#note('defect', `${name}: ${message}: ${String((thrown as Error)?.stack)}`)
      this.#print?.(`${String(this.#world.nowMs).padStart(7)} ${name} ${level}: ${message} ${code ?? ''}`)
    }
    const logger: Logger = {
      error: line('error'),
      warn: line('warn'),
      info: line('info'),
      debug: line('debug'),
      trace: () => {},
      scope: () => logger,
    }
    return logger
  }
}
