/**
 * One history of a fleet: the real orchestrator over the ledger's twin and providers in memory, with jobs, workers that
 * join and power off by themselves, and bad luck. In the end nobody wants a machine any more, and none may be left.
 */
import { asSkeinError } from '../../../mesh/protocol/index.ts'
import { NOTHING_LOGGED } from './quiet.ts'
import { Orchestrator, type MachineMoney } from '../../../coordinator/cloud/index.ts'
import { Budget, BudgetDesk } from '../../../coordinator/dispatch/index.ts'
import { MemoryLedger, type LeaseEvent } from '../../../coordinator/ledger/index.ts'
import { MemoryProvider, type Call, type CallFault } from '../../fixtures/providers/memory-provider.ts'
import { Violated, type Violation } from '../record.ts'
import { Choices, EPOCH_MS, ProcessClock, World } from '../world.ts'
import type { HistoryResult } from '../history.ts'
import { checkEnd, checkMoney, checkSizes, leasesOf, OrphanChecker, type FleetFacts } from './checkers.ts'
import { Load } from './load.ts'
import { fleetScenarioOf, MINUTE_MS, type FleetFault, type FleetScenario, type PlannedFleetFault } from './scenario.ts'
import { Workers } from './workers.ts'

const COMMIT_MS = 2
const CHECK_MS = 15_000
/** After the healing all is gone by then: drains, dead-man switches, lists and the steps between them. */
const END_MS = 45 * MINUTE_MS

export interface FleetOptions {
  readonly print?: (line: string) => void
}

export async function runFleetHistory(seed: number, options: FleetOptions = {}): Promise<HistoryResult> {
  return new FleetHistory(fleetScenarioOf(seed), options).run()
}

export class FleetHistory {
  readonly world = new World()
  readonly providers: readonly MemoryProvider[]
  readonly load: Load
  readonly #scenario: FleetScenario
  readonly #print: (line: string) => void
  readonly #choices: Choices
  readonly #workers: Workers
  readonly #orphans = new OrphanChecker()
  readonly #active = new Set<FleetFault>()
  #memory: MemoryLedger | undefined
  #events: readonly LeaseEvent[] = []
  #clock: ProcessClock | undefined
  #orchestrator: Orchestrator | undefined
  #money: MachineMoney | undefined
  #wallOffsetMs = 0
  #isDiskFull = false
  #crashAtCall: { isBehind: boolean; readonly forMs: number } | undefined
  #isHealed = false
  #calmSinceMs = 0
  #faults = 0
  #life = 0
  #violation: Violation | undefined

  constructor(scenario: FleetScenario, { print = () => {} }: FleetOptions) {
    this.#scenario = scenario
    this.#print = (line) => print(`${String(this.world.nowMs).padStart(9)} ${line}`)
    this.#choices = new Choices(scenario.seed, 'fleet history')
    this.load = new Load(this.world, scenario.load)
    this.#workers = new Workers(this.world, this.load, {
      loadMs: scenario.workerLoadMs,
      slots: scenario.load.workerSlots,
      powerOff: (machine) => {
        this.#print(`${machine.id} hears nobody and powers off`)
        for (const provider of this.providers)
          if (provider.machines.get(machine.id) === machine) provider.end(machine.id)
      },
      isHeard: () => this.#orchestrator !== undefined,
    })
    this.providers = scenario.providers.map((plan, index) => this.#provider(plan, index))
  }

  async run(): Promise<HistoryResult> {
    const onRejection = (reason: unknown): void => void this.#note('defect', asSkeinError(reason).stack ?? '')
    process.on('unhandledRejection', onRejection)
    try {
      await this.#live()
    } catch (thrown) {
      if (!(thrown instanceof Violated)) this.#note('defect', asSkeinError(thrown).stack ?? '')
    } finally {
      process.off('unhandledRejection', onRejection)
      this.#clock?.kill()
    }
    const machines = this.providers.reduce((sum, { machines: all }) => sum + all.size, 0)
    return {
      seed: this.#scenario.seed,
      steps: this.world.steps,
      tasks: machines,
      faults: this.#faults,
      migrations: this.#ends(),
      ...(this.#violation && { violation: this.#violation }),
    }
  }

  async #live(): Promise<void> {
    const { jobs, faults, healAtMs } = this.#scenario
    this.startCoordinator()
    for (const { atMs, workMs } of jobs) this.world.after(atMs, () => this.load.arrive(workMs))
    for (const fault of faults) this.world.after(fault.atMs, () => this.#begin(fault))
    this.world.after(healAtMs, () => this.#heal())
    const check = (): void => {
      this.#check()
      this.world.after(CHECK_MS, check)
    }
    check()
    await this.until(healAtMs + END_MS)
    this.#check()
    const end = { ...this.#facts(), waiting: this.load.waiting, unsettled: this.#money?.unsettled() ?? [] }
    checkEnd(end, (invariant, message) => this.#fail(invariant, message))
  }

  until(untilMs: number): Promise<void> {
    return this.world.run(untilMs, () => {
      if (this.#violation) throw new Violated(this.#violation)
      return false
    })
  }

  startCoordinator(): void {
    if (this.#orchestrator !== undefined) return
    const clock = (this.#clock = new ProcessClock(this.world))
    clock.wallOffsetMs = this.#wallOffsetMs
    const life = ++this.#life
    this.#memory = this.#memory
      ? this.#memory.reopen()
      : new MemoryLedger({ clock: this.#diskClock() }, { commitMs: 0 })
    this.#memory.failWrites(this.#isDiskFull ? 'the disk is full' : undefined)
    const memory = this.#memory
    const { pools, capMicros, seed } = this.#scenario
    // a month is longer than any history, and than what its clocks jump
    const budget = new Budget({ clock }, { monthMicros: capMicros })
    const desk = new BudgetDesk({ clock, log: NOTHING_LOGGED, budget, ledger: memory })
    this.#money = moneyOf(desk)
    const settings = this.#isHealed ? pools.map((pool) => ({ ...pool, min: 0, max: 0 })) : pools
    const orchestrator = new Orchestrator(
      {
        clock,
        random: new Choices(seed, `orchestrator ${life}`),
        log: NOTHING_LOGGED,
        store: {
          recordLeases: async (events) => {
            await memory.recordLeases(events)
            this.#events = [...this.#events, ...events]
            for (const event of events) this.#print(JSON.stringify(event))
          },
          leaseEvents: () => memory.leaseEvents(),
          forgetLeases: (ids) => memory.forgetLeases(ids),
        },
        money: this.#money,
        mesh: {
          demand: ({ name }) => this.#demand(name),
          worker: (name) => this.#workers.see(name),
          drain: (name) => this.#workers.drain(name),
          cutOff: async (name) => this.#workers.revoke(name),
          invite: async (validMs) => this.#workers.invite(validMs),
        },
      },
      {
        pools: settings,
        providers: new Map(this.providers.map((each, i) => [this.#scenario.providers[i]!.name, each])),
      },
    )
    this.#orchestrator = orchestrator
    this.#print(`the coordinator begins its life ${life}`)
    const started = desk.start().then(() => orchestrator.start())
    void started.then(
      () => void (this.#life === life && this.#orchestrator && this.load.open(true)),
      () => this.crash(MINUTE_MS),
    )
  }

  /** The process dies, and comes back after `forMs`. */
  crash(forMs: number): void {
    if (this.#orchestrator === undefined) return
    this.#print('the coordinator dies')
    this.#clock?.kill()
    this.#memory?.crash()
    this.#orchestrator = undefined
    this.load.open(false)
    this.#workers.disconnect()
    this.world.after(forMs, () => this.startCoordinator())
  }

  /** Every pool would like what waits; no other node could take it where the house has no slots. */
  #demand(pool: string): { waiting: number; oldestMs: number; isOnlyHope: boolean } {
    const { waiting, oldestMs } = this.load
    const isServed = this.#scenario.pools.some(({ name }) => name === pool)
    return { waiting: isServed ? waiting : 0, oldestMs, isOnlyHope: this.#scenario.load.houseSlots === 0 }
  }

  #provider(plan: FleetScenario['providers'][number], index: number): MemoryProvider {
    const clock = {
      wallMs: () => EPOCH_MS + this.world.nowMs,
      nowMs: () => this.world.nowMs,
      timer: this.world.after.bind(this.world),
    }
    const { quote, bootMs, settleMs, answerMs } = plan
    return new MemoryProvider(clock, {
      ...{ flavours: { gpu: quote }, bootMs, settleMs, answerMs },
      fault: (call) => this.#faultOf(index, call),
      isStuck: ({ token }) =>
        token.startsWith('orphan') || [...this.#active].some(({ kind }) => kind === 'stuck machines'),
      onRunning: (machine) => this.#workers.booted(machine),
      onGone: (machine) => this.#workers.gone(machine),
    })
  }

  #faultOf(provider: number, call: Call): CallFault | undefined {
    const crash = this.#crashAtCall
    if (crash !== undefined && call !== 'quote' && call !== 'list') {
      this.#crashAtCall = undefined
      const { answerMs } = this.#scenario.providers[provider]!
      this.world.after(crash.isBehind ? answerMs + 1 : 0, () => this.crash(crash.forMs))
    }
    for (const fault of this.#active)
      if (fault.kind === 'calls' && fault.provider === provider && (fault.call === call || fault.call === 'all'))
        if (this.#choices.chance(fault.share)) return fault.fault
    return undefined
  }

  #begin({ fault, forMs }: PlannedFleetFault): void {
    if (this.#isHealed) return
    this.#faults++
    this.#print(`${JSON.stringify(fault)} for ${forMs} ms`)
    switch (fault.kind) {
      case 'calls':
      case 'stuck machines':
        this.#active.add(fault)
        this.world.after(forMs, () => this.#active.delete(fault))
        return
      case 'interruption': {
        const provider = this.#choices.pick(this.providers)
        const victim = provider.alive[0]
        return victim && provider.interrupt(victim.id, fault.noticeMs)
      }
      case 'worker cut': {
        const { names } = this.#workers
        return names.length > 0 ? this.#workers.cut(this.#choices.pick(names), forMs) : undefined
      }
      case 'crash':
        return this.crash(forMs)
      case 'crash at a call':
        this.#crashAtCall = { isBehind: fault.isBehind, forMs }
        return
      case 'clock jump':
        this.#wallOffsetMs += fault.byMs
        if (this.#clock) this.#clock.wallOffsetMs = this.#wallOffsetMs
        return
      case 'disk full':
        this.#fillDisk(true)
        this.world.after(forMs, () => this.#fillDisk(false))
        return
      case 'orphan':
        return this.#launchOrphan(fault.provider)
      case 'owner ends one': {
        const open = this.#orchestrator?.leases().filter(({ phase }) => phase !== 'ended') ?? []
        if (open.length > 0) this.#orchestrator!.end(this.#choices.pick(open).lease.id)
      }
    }
  }

  #fillDisk(isFull: boolean): void {
    this.#isDiskFull = isFull
    this.#memory?.failWrites(isFull ? 'the disk is full' : undefined)
  }

  #launchOrphan(provider: number): void {
    const order = { token: `orphan-${this.#faults}`, flavour: 'gpu', name: `orphan-${this.#faults}`, invite: '' }
    this.providers[provider]!.launch({ ...order, serves: [], aloneMinutes: 3 }, new AbortController().signal).catch(
      () => {},
    )
  }

  #heal(): void {
    this.#print('all is mended, and nobody wants a machine')
    this.#isHealed = true
    this.#active.clear()
    this.#crashAtCall = undefined
    this.#fillDisk(false)
    const pools = this.#scenario.pools.map((pool) => ({ ...pool, min: 0, max: 0 }))
    const providers = new Map(this.providers.map((each, i) => [this.#scenario.providers[i]!.name, each]))
    this.#orchestrator?.configure({ pools, providers })
  }

  #check(): void {
    const isCalm =
      this.#orchestrator !== undefined && !this.#isDiskFull && ![...this.#active].some(({ kind }) => kind === 'calls')
    if (!isCalm) this.#calmSinceMs = Number.POSITIVE_INFINITY
    else if (!Number.isFinite(this.#calmSinceMs)) this.#calmSinceMs = this.world.nowMs
    const facts = this.#facts()
    const fail = (invariant: string, message: string): never => this.#fail(invariant, message)
    checkMoney(facts, fail)
    this.#orphans.check(facts, fail)
    checkSizes(facts, fail)
  }

  #facts(): FleetFacts {
    const { pools, capMicros } = this.#scenario
    return {
      ...{ nowMs: this.world.nowMs, providers: this.providers, pools, capMicros, calmSinceMs: this.#calmSinceMs },
      leases: leasesOf(this.#events),
    }
  }

  /** How leases ended. */
  #ends(): Record<string, number> {
    const ends: Record<string, number> = {}
    for (const event of this.#events) if (event.type === 'lease.released') ends[event.why] = (ends[event.why] ?? 0) + 1
    return ends
  }

  #diskClock(): ConstructorParameters<typeof MemoryLedger>[0]['clock'] {
    return {
      wallMs: () => this.#clock!.wallMs(),
      nowMs: () => this.#clock!.nowMs(),
      timer: (_delayMs, fire) => this.#clock!.timer(COMMIT_MS, fire),
    }
  }

  #fail(invariant: string, message: string): never {
    this.#note(invariant, message)
    throw new Violated(this.#violation!)
  }

  #note(invariant: string, message: string): void {
    this.#violation ??= { invariant, message, atMs: this.world.nowMs }
  }
}

const moneyOf = (desk: BudgetDesk): MachineMoney => ({
  reserve: (leaseId, micros) => desk.reserveLease(leaseId, micros, 1),
  settle: (leaseId, micros) => desk.settleLease(leaseId, micros),
  unsettled: () => desk.leases().map(({ leaseId }) => leaseId),
})
