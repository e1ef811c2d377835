/** A fleet of one pool over a provider in memory, with workers that appear when their machine runs. */
import {
  Orchestrator,
  type MachineMoney,
  type PoolDemand,
  type PoolSettings,
} from '../../../coordinator/cloud/index.ts'
import { MemoryLedger } from '../../../coordinator/ledger/index.ts'
import { asPeerId } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom } from '../../../mesh/runtime/index.ts'
import {
  MemoryProvider,
  type Call,
  type CallFault,
  type MemoryMachine,
} from '../../fixtures/providers/memory-provider.ts'
import { NOTHING_LOGGED } from '../../simulation/fleet/quiet.ts'

export const MINUTE_MS = 60_000
export const POOL: PoolSettings = {
  ...{ name: 'big', provider: 'cloud', flavour: 'gpu', serves: ['big-model'], min: 0, max: 2 },
  ...{ idleMinutes: 5, aloneMinutes: 10 },
}
export const QUOTE = {
  ...{ microsPerHour: 600_000, billedStepMs: 1000, billedLeastMs: MINUTE_MS, readyMs: 2 * MINUTE_MS, isSpot: true },
}
export const WAITING: PoolDemand = { waiting: 1, oldestMs: 1000, isOnlyHope: true }
export const NOTHING: PoolDemand = { waiting: 0, oldestMs: 0, isOnlyHope: false }

/** Money that is counted by hand. */
export class PlainMoney implements MachineMoney {
  leftMicros: number
  readonly set = new Map<string, number>()

  constructor(leftMicros: number) {
    this.leftMicros = leftMicros
  }

  async reserve(leaseId: string, micros: number): Promise<boolean> {
    if (micros > this.leftMicros) return false
    this.leftMicros -= micros
    this.set.set(leaseId, (this.set.get(leaseId) ?? 0) + micros)
    return true
  }

  async settle(leaseId: string, micros: number): Promise<void> {
    this.leftMicros += (this.set.get(leaseId) ?? 0) - micros
    this.set.delete(leaseId)
  }

  unsettled(): string[] {
    return [...this.set.keys()]
  }
}

export class Harness {
  readonly clock = new ManualClock()
  readonly money = new PlainMoney(100_000_000)
  readonly provider: MemoryProvider
  readonly drained: string[] = []
  readonly cutOff: string[] = []
  readonly faults: { call: Call; fault: CallFault; times: number }[] = []
  demand: PoolDemand = NOTHING
  /** Machines whose worker joins as soon as their system runs. */
  joins = true
  running = 0
  ledger = new MemoryLedger({ clock: this.clock }, { commitMs: 0 })
  fleet: Orchestrator
  readonly #workers = new Map<string, { isDraining: boolean }>()

  constructor(pools: readonly PoolSettings[] = [POOL], settleMs = 0) {
    this.provider = new MemoryProvider(this.clock, {
      ...{ flavours: { gpu: QUOTE }, bootMs: 30_000, settleMs, answerMs: 0 },
      fault: (call) => this.#fault(call),
      onRunning: ({ order }: MemoryMachine) => this.joins && this.#workers.set(order.name, { isDraining: false }),
      onGone: ({ order }) => void this.#workers.delete(order.name),
    })
    this.fleet = this.create(pools)
  }

  create(pools: readonly PoolSettings[] = [POOL]): Orchestrator {
    const { clock, ledger, money } = this
    this.fleet = new Orchestrator(
      {
        ...{ clock, log: NOTHING_LOGGED, money, random: new SeededRandom(1), store: ledger },
        mesh: {
          demand: () => this.demand,
          worker: (name) => this.#worker(name),
          drain: (name) => {
            this.drained.push(name)
            const worker = this.#workers.get(name)
            if (worker) worker.isDraining = true
          },
          cutOff: async (name) => void this.cutOff.push(name),
          invite: async () => 'skein1-of-a-test',
        },
      },
      { pools, providers: new Map([['cloud', this.provider]]) },
    )
    return this.fleet
  }

  /** Started, and given so long. */
  async after(ms: number): Promise<this> {
    const started = this.fleet.start()
    await this.clock.advance(1)
    await started
    await this.clock.advance(ms)
    return this
  }

  /** The process dies and comes back, with what is durable. */
  async restart(): Promise<void> {
    await this.fleet.stop()
    this.ledger = this.ledger.reopen()
    this.create()
    await this.after(0)
  }

  lose(name: string): void {
    this.#workers.delete(name)
  }

  fail(call: Call, fault: CallFault, times = Number.POSITIVE_INFINITY): void {
    this.faults.push({ call, fault, times })
  }

  phases(): string[] {
    return this.fleet.leases().map(({ phase }) => phase)
  }

  why(): (string | undefined)[] {
    return this.fleet.leases().map(({ lease }) => lease.releasedWhy)
  }

  #fault(call: Call): CallFault | undefined {
    const found = this.faults.find((each) => each.call === call && each.times > 0)
    if (found) found.times--
    return found?.fault
  }

  #worker(name: string): ReturnType<ConstructorParameters<typeof Orchestrator>[0]['mesh']['worker']> {
    const worker = this.#workers.get(name)
    if (worker === undefined) return undefined
    const node = { peerId: asPeerId(`peer of ${name}`), name }
    const running = worker.isDraining ? 0 : this.running
    return { node, isServing: !worker.isDraining, running, slots: 4, waiting: 0, kvUsed: 0 }
  }
}
