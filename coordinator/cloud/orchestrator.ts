/**
 * Has machines launched and ended, so that each pool has what `fleet.ts` says and no machine is left running. It goes by
 * ticks: look, decide, do; what it does is recorded before it is done where a crash in between could leave something
 * behind. One for each mesh: it belongs to the coordinator that holds the mesh key.
 */
import { asSkeinError, SkeinError, type ErrorCode } from '../../mesh/protocol/index.ts'
import {
  withDeadline,
  type CancelTimer,
  type Clock,
  type Logger,
  type Random,
  type Startable,
} from '../../mesh/runtime/index.ts'
import type { LeaseEvent } from '../ledger/index.ts'
import { decideFleet, type FleetMachine, type PoolDemand, type PoolMemory, type WorkerLoad } from './fleet.ts'
import { aloneMinutesOf, type PoolSettings } from './fleet-settings.ts'
import { LeaseBook, type Lease, type LeaseStore, type MachineMoney } from './leases.ts'
import { MachineLists } from './orchestrator-lists.ts'
import { Pools, type Pool } from './orchestrator-pools.ts'
import { CALL_MS, type Provider } from './provider.ts'
import { firstPayment, newLife, nextStep, retryMs, type LeaseLife, type SeenWorker, type Step } from './reconciler.ts'

const TICK_MS = 5000
/** A machine that is still listed after it was ended is told again. */
const AGAIN_MS = 60_000
/** No more leases are open at a time, whatever pools say. */
export const LEASES_MAX = 200
/** The invite outlives the slowest start that is waited for. */
const INVITE_SLACK_MS = 600_000
const ID_CHARACTERS = 'abcdefghijklmnopqrstuvwxyz234567'

/** What the mesh knows of workers and of waiting tasks. */
export interface FleetMesh {
  /** Tasks that wait and may run on a machine of the pool. */
  demand(pool: PoolSettings): PoolDemand
  /** The node of that name, of the cloud's tier, while it is in the mesh. */
  worker(name: string): (SeenWorker & WorkerLoad) | undefined
  /** It takes nothing new, and what runs there moves. */
  drain(name: string): void
  /** It is no member any more. @throws SkeinError. */
  cutOff(name: string): Promise<void>
  /** For one node, once, within `validMs`. @throws SkeinError. */
  invite(validMs: number): Promise<string>
}

export interface OrchestratorComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly store: LeaseStore
  readonly money: MachineMoney
  readonly mesh: FleetMesh
}

export interface FleetSettings {
  readonly pools: readonly PoolSettings[]
  readonly providers: ReadonlyMap<string, Provider>
}

/** A pool that has a machine on its way, or may have one. */
export interface Prospect {
  readonly pool: PoolSettings
  /** Expected ms until a machine is ready. */
  readonly readyMs: number
}

export interface LeaseStatus {
  readonly lease: Lease
  readonly phase: FleetMachine['phase'] | 'ended'
  readonly load?: WorkerLoad
  /** What its provider last said against it. */
  readonly trouble?: string
}

/** An event whose time is now. */
type Happened = LeaseEvent extends infer E ? (E extends LeaseEvent ? Omit<E, 'atMs'> : never) : never

interface Held {
  readonly life: LeaseLife
  isBusy: boolean
  trouble: string | undefined
}

export class Orchestrator implements Startable {
  readonly name = 'fleet of machines'
  readonly #components: OrchestratorComponents
  readonly #log: Logger
  readonly #lists: MachineLists
  readonly #held = new Map<string, Held>()
  /** What leases have cost that are over, until the budget has it. */
  readonly #unsettled = new Map<string, number>()
  #isSettling = false
  /** Leases whose release is being recorded. */
  readonly #releasing = new Set<string>()
  readonly #pools: Pools
  #providers: ReadonlyMap<string, Provider>
  #book: LeaseBook | undefined
  #memory: ReadonlyMap<string, PoolMemory> = new Map()
  #cancelTick: CancelTimer = () => {}
  readonly #stopping = new AbortController()

  constructor(components: OrchestratorComponents, settings: FleetSettings) {
    this.#components = components
    this.#log = components.log.scope('fleet')
    this.#providers = settings.providers
    this.#pools = new Pools({ ...components, log: this.#log })
    this.#lists = new MachineLists({ ...components, log: this.#log })
    this.configure(settings)
  }

  /** @throws SkeinError of the ledger: without its leases nothing may be launched, nor ended. */
  async start(): Promise<void> {
    const { clock, store } = this.#components
    this.#book = await LeaseBook.open(store, clock.wallMs())
    for (const lease of this.#book.open) this.#hold(lease, newLife(clock.nowMs(), true))
    // money was set aside, and the order never recorded; or the end was, and not what it has cost
    for (const id of this.#components.money.unsettled())
      if (!this.#held.has(id)) this.#unsettled.set(id, this.#book.costMicros(id))
    this.#tick()
  }

  /** Machines go on: their workers know another coordinator, or power off. What is on its way is given up. */
  async stop(): Promise<void> {
    this.#cancelTick()
    this.#stopping.abort(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping'))
  }

  /** From the next tick on. Machines of pools that are gone are released. */
  configure({ pools, providers }: FleetSettings): void {
    this.#pools.configure(pools)
    this.#providers = providers
  }

  /** Pools that a waiting task may hope for: their machine is on its way, or there is money and leave for one. */
  prospects(): Prospect[] {
    const nowMs = this.#components.clock.nowMs()
    return this.#pools.all.flatMap((pool) => {
      const { settings, quote } = pool
      if (quote === undefined) return []
      const machines = this.#machines(settings.name).filter(({ phase }) => phase !== 'leaving')
      const pending = machines.find(({ phase }) => phase === 'pending')
      if (pending) return [{ pool: settings, readyMs: Math.max(0, quote.readyMs - pending.ageMs) }]
      if (machines.length >= settings.max || nowMs < pool.heldOffUntilMs) return []
      return [{ pool: settings, readyMs: quote.readyMs }]
    })
  }

  /** Open leases, oldest first, then those that ended last, the newest first. */
  leases(): LeaseStatus[] {
    const open = this.#book?.open ?? []
    return [
      ...open.map((lease) => {
        const load = this.#components.mesh.worker(lease.name)
        const { trouble } = this.#held.get(lease.id) ?? {}
        return { lease, phase: this.#phase(lease), ...(load && { load }), ...(trouble !== undefined && { trouble }) }
      }),
      ...(this.#book?.ended ?? []).map((lease) => ({ lease, phase: 'ended' as const })),
    ]
  }

  /**
   * Ends the machine of a lease, after its answers have moved.
   *
   * @throws SkeinError NOT_FOUND when no open lease has that id.
   */
  end(leaseId: string): Lease {
    const lease = this.#book?.lease(leaseId)
    const held = this.#held.get(leaseId)
    if (lease === undefined || held === undefined)
      throw new SkeinError('NOT_FOUND', `no open lease is named '${leaseId}'; see: skein leases`)
    this.#release(lease, held, 'its owner has ended it')
    return lease
  }

  #tick(): void {
    const { clock } = this.#components
    this.#cancelTick = clock.timer(TICK_MS, () => this.#tick())
    const nowMs = clock.nowMs()
    this.#ask()
    this.#decide(nowMs)
    for (const lease of this.#book!.open) {
      this.#recordRelease(lease, this.#held.get(lease.id)!.life)
      this.#step(lease, nowMs)
    }
    void this.#settle()
  }

  /** Lists of machines and prices, where they are old. */
  #ask(): void {
    const open = new Set(this.#book!.open.map(({ provider }) => provider))
    for (const [name, provider] of this.#providers)
      this.#lists.refresh(name, provider, {
        isUrgent: open.has(name),
        isLeased: (token) => this.#held.has(token),
        signal: this.#stopping.signal,
      })
    this.#pools.refresh(({ provider, flavour }) =>
      this.#call(async (signal) => this.#provider(provider).quote(flavour, signal)).catch((thrown: unknown) => {
        throw asSkeinError(thrown)
      }),
    )
  }

  #decide(nowMs: number): void {
    const { mesh } = this.#components
    const views = this.#pools.all.map((pool) => ({
      settings: pool.settings,
      machines: this.#machines(pool.settings.name),
      demand: mesh.demand(pool.settings),
      isHeldOff: nowMs < pool.heldOffUntilMs || pool.quote === undefined,
      isOrdering: pool.isOrdering || this.#isReleasing(pool.settings.name),
    }))
    const { actions, memory } = decideFleet(views, this.#memory, nowMs)
    this.#memory = memory
    for (const action of actions) {
      if (action.kind === 'order') void this.#order(this.#pools.get(action.pool)!, action.why)
      else this.#release(this.#book!.lease(action.leaseId)!, this.#held.get(action.leaseId)!, action.why)
    }
    for (const lease of this.#book!.open)
      if (this.#pools.get(lease.pool) === undefined) this.#release(lease, this.#held.get(lease.id)!, 'its pool is gone')
  }

  #machines(pool: string): FleetMachine[] {
    const nowMs = this.#components.clock.nowMs()
    return (this.#book?.open ?? [])
      .filter((lease) => lease.pool === pool)
      .map((lease) => {
        const load = this.#components.mesh.worker(lease.name)
        const ageMs = nowMs - this.#held.get(lease.id)!.life.sinceMs
        return { leaseId: lease.id, phase: this.#phase(lease), ageMs, quote: lease.quote, ...(load && { load }) }
      })
  }

  /** A release of the pool is not durable yet. */
  #isReleasing(pool: string): boolean {
    return this.#book!.open.some(
      ({ id, pool: of }) => of === pool && this.#held.get(id)!.life.releasedWhy !== undefined,
    )
  }

  #phase(lease: Lease): FleetMachine['phase'] {
    if (lease.releasedAtMs !== undefined || this.#held.get(lease.id)?.life.releasedMs !== undefined) return 'leaving'
    return lease.readyAtMs === undefined ? 'pending' : 'ready'
  }

  /** The lease is durable, and its money set aside, before anything is asked of the provider. */
  async #order(pool: Pool, why: string): Promise<void> {
    const { clock, mesh, money } = this.#components
    const { settings, quote } = pool
    if (quote === undefined || this.#held.size >= LEASES_MAX) return
    pool.isOrdering = true
    const id = this.#newId()
    const aloneMinutes = aloneMinutesOf(settings)
    const { paidMs, micros } = firstPayment({ quote, aloneMinutes })
    try {
      const isPaid = await money.reserve(id, micros)
      if (!isPaid) throw new SkeinError('BUDGET_EXCEEDED', 'no money is left for a machine')
      const life = newLife(clock.nowMs(), false)
      life.paidMs = paidMs
      const { provider, flavour, serves, name } = settings
      const invite = await mesh.invite(2 * quote.readyMs + INVITE_SLACK_MS)
      const order = { provider, flavour, serves, invite, aloneMinutes, why, quote, paidMicros: micros }
      const machine = `skein-${id.slice(-12)}`
      const lease = await this.#record({ type: 'lease.ordered', id, pool: name, name: machine, ...order })
      this.#hold(lease, life)
      this.#log.info({ lease: id, pool: name, why }, 'a machine is ordered')
    } catch (thrown) {
      this.#unsettled.set(id, 0)
      this.#pools.holdOff(pool, asSkeinError(thrown))
    } finally {
      pool.isOrdering = false
    }
  }

  /** In memory at once, so that what follows does not wait for the disk; the step records it. */
  #release(lease: Lease, { life }: Held, why: string): void {
    if (life.releasedMs !== undefined) return
    life.releasedMs = this.#components.clock.nowMs()
    life.releasedWhy = why
    this.#log.info({ lease: lease.id, machine: lease.machineId, why }, 'a machine is released')
    this.#recordRelease(lease, life)
  }

  /** Until it is recorded, with each tick again: nothing new is ordered for the pool before. */
  #recordRelease({ id }: Lease, life: LeaseLife): void {
    const why = life.releasedWhy
    if (why === undefined || this.#releasing.has(id)) return
    this.#releasing.add(id)
    this.#record({ type: 'lease.released', id, why })
      .then(() => void (life.releasedWhy = undefined))
      .catch((thrown: unknown) =>
        this.#log.warn({ lease: id, err: asSkeinError(thrown) }, 'a release could not be recorded'),
      )
      .finally(() => void this.#releasing.delete(id))
  }

  #step(lease: Lease, nowMs: number): void {
    const held = this.#held.get(lease.id)!
    if (held.isBusy) return
    const worker = this.#components.mesh.worker(lease.name)
    if (lease.readyAtMs !== undefined) held.life.lostSinceMs = worker ? undefined : (held.life.lostSinceMs ?? nowMs)
    const provider = this.#providers.get(lease.provider)
    const settleMs = provider?.settleMs ?? 0
    const listed = this.#lists.of(lease.provider)
    const step = nextStep({ lease, life: held.life, listed, settleMs, worker }, nowMs)
    if (step.kind === 'wait') return
    held.isBusy = true
    void this.#take(step, lease, held)
      .then(() => void (held.life.failures = 0))
      .catch((thrown: unknown) => this.#failed(step, lease, held, asSkeinError(thrown)))
      .finally(() => void (held.isBusy = false))
  }

  async #take(step: Exclude<Step, { kind: 'wait' }>, lease: Lease, held: Held): Promise<void> {
    const { clock, mesh } = this.#components
    const { life } = held
    const { id } = lease
    switch (step.kind) {
      case 'launch':
        return this.#launch(lease, life)
      case 'found':
        return void (await this.#record({ type: 'lease.launched', id, machineId: step.machineId }))
      case 'ready':
        await this.#record({ type: 'lease.ready', id, node: step.node })
        return this.#pools.works(lease.pool)
      case 'release':
        if (lease.readyAtMs === undefined) this.#holdOff(lease.pool, new SkeinError('CLOUD_UNAVAILABLE', step.why))
        return this.#release(lease, held, step.why)
      case 'extend':
        return this.#extend(step, lease, held)
      case 'drain':
        life.drainedMs = clock.nowMs()
        mesh.drain(lease.name)
        return this.#call((signal) => this.#provider(lease.provider).drain(step.machineId, signal))
      case 'terminate':
        if (step.cutsOff) await this.#cutOff(lease, life)
        return step.machineId === undefined ? undefined : this.#terminate(lease, step.machineId, life)
      case 'end':
        return this.#end(lease, step.costMicros)
    }
  }

  async #launch(lease: Lease, life: LeaseLife): Promise<void> {
    const { clock } = this.#components
    const wasUncertain = life.isUncertain
    life.isUncertain = true
    life.launches++
    const { id, flavour, name, invite, serves, aloneMinutes } = lease
    const order = { token: id, flavour, name, invite, serves, aloneMinutes }
    try {
      const machine = await this.#call((signal) => this.#provider(lease.provider).launch(order, signal))
      life.calledMs = clock.nowMs()
      await this.#record({ type: 'lease.launched', id, machineId: machine.id })
    } catch (thrown) {
      life.calledMs = clock.nowMs()
      if (isDefinite(asSkeinError(thrown).code)) life.isUncertain = wasUncertain
      throw thrown
    }
  }

  async #extend({ byMs, micros }: Step & { kind: 'extend' }, lease: Lease, { life }: Held): Promise<void> {
    const isPaid = await this.#components.money.reserve(lease.id, micros)
    if (!isPaid) return void (life.isUnpaid = true)
    await this.#record({ type: 'lease.extended', id: lease.id, paidMicros: micros })
    life.paidMs += byMs
  }

  /** Its dead-man switch then ends the machine, whatever its provider does. Does not throw: to end it comes first. */
  async #cutOff({ id, name }: Lease, life: LeaseLife): Promise<void> {
    try {
      await this.#components.mesh.cutOff(name)
      life.isCutOff = true
    } catch (thrown) {
      const { code, message } = asSkeinError(thrown)
      // one that never joined has nothing to lose
      life.isCutOff = code === 'MEMBER_NOT_FOUND'
      if (!life.isCutOff) this.#log.error({ lease: id, code }, `a worker could not be put out of the mesh: ${message}`)
    }
  }

  async #terminate(lease: Lease, machineId: string, life: LeaseLife): Promise<void> {
    const { clock } = this.#components
    const provider = this.#provider(lease.provider)
    await this.#call((signal) => provider.terminate(machineId, signal))
    // what was accepted once holds: telling it again moves nothing
    if (!life.isTerminated) life.calledMs = clock.nowMs()
    life.isTerminated = true
    // by then it is out of the list, unless parts of it have outlived it
    life.dueMs = clock.nowMs() + provider.settleMs + AGAIN_MS
  }

  async #end(lease: Lease, costMicros: number): Promise<void> {
    await this.#record({ type: 'lease.ended', id: lease.id, costMicros })
    this.#held.delete(lease.id)
    this.#unsettled.set(lease.id, costMicros)
    this.#log.info({ lease: lease.id, machine: lease.machineId, costMicros }, 'a lease has ended')
  }

  /** Gives back what was not needed; again with the next tick where the disk does not take it. */
  async #settle(): Promise<void> {
    if (this.#isSettling) return
    this.#isSettling = true
    try {
      for (const [id, micros] of this.#unsettled) {
        await this.#components.money.settle(id, micros)
        this.#unsettled.delete(id)
      }
    } catch (thrown) {
      this.#log.warn({ err: asSkeinError(thrown) }, 'what a machine has cost could not be recorded')
    } finally {
      this.#isSettling = false
    }
  }

  #failed(step: Step, lease: Lease, held: Held, error: SkeinError): void {
    if (this.#stopping.signal.aborted) return
    const { life } = held
    const { clock, random } = this.#components
    held.trouble = error.message
    const isPaying = step.kind === 'extend'
    if (!isPaying) life.failures++
    const pauseMs = Math.max(retryMs(isPaying ? 1 : life.failures), (error.retryAfterSeconds ?? 0) * 1000)
    const dueMs = clock.nowMs() + pauseMs * (0.5 + random.next() / 2)
    if (isPaying) life.payDueMs = dueMs
    else life.dueMs = dueMs
    this.#log.warn({ lease: lease.id, step: step.kind, code: error.code }, `a machine: ${error.message}`)
    if (step.kind !== 'launch' || !isDefinite(error.code)) return
    this.#holdOff(lease.pool, error)
    this.#release(lease, held, error.message)
  }

  #holdOff(name: string, error: SkeinError): void {
    const pool = this.#pools.get(name)
    if (pool) this.#pools.holdOff(pool, error)
  }

  #hold(lease: Lease, life: LeaseLife): void {
    if (lease.releasedAtMs !== undefined) life.releasedMs = life.sinceMs
    this.#held.set(lease.id, { life, isBusy: false, trouble: undefined })
  }

  #record(happened: Happened): Promise<Lease> {
    return this.#book!.record({ ...happened, atMs: this.#components.clock.wallMs() })
  }

  #provider(name: string): Provider {
    const provider = this.#providers.get(name)
    if (provider === undefined) throw new SkeinError('CLOUD_REFUSED', `no provider is named '${name}' any more`)
    return provider
  }

  #call<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = (): SkeinError => new SkeinError('CLOUD_UNAVAILABLE', `no answer within ${CALL_MS} ms`)
    return withDeadline(this.#components.clock, CALL_MS, late, this.#stopping.signal, work)
  }

  #newId(): string {
    let id = 'lease-'
    for (const byte of this.#components.random.bytes(24)) id += ID_CHARACTERS[byte & 31]
    return id
  }
}

/** The provider has launched nothing, for certain. */
const isDefinite = (code: ErrorCode): boolean => code === 'CLOUD_NO_CAPACITY' || code === 'CLOUD_REFUSED'
