/**
 * How many machines a pool should have: a pure function of what is seen. It orders and releases one machine at a time; how
 * that comes to be, whatever fails, is the reconciler's matter.
 *
 * Hysteresis: a machine is ordered when work has waited for a while, or when all machines were full for a while; one is
 * released when the others would be half empty without it for as long as `idleMinutes`. Between the two nothing happens.
 */
import type { LeaseQuote } from '../ledger/index.ts'
import type { PoolSettings } from './fleet-settings.ts'

/** A task that other nodes can take has waited so long before a machine is ordered for it. */
export const UP_AGE_MS = 15_000
/** All machines of the pool are full for so long. */
export const UP_FULL_MS = 30_000
/** Of a worker's memory for states: above this its next answers push others out. */
const KV_FULL_SHARE = 0.9
/** Of the slots that would be left; far enough below full that the machine is not ordered again at once. */
const SPARE_SHARE = 0.5
/** Of a step that is billed whole, a machine that is not needed is kept until so little of it is left. */
const STEP_END_MS = 180_000

export interface WorkerLoad {
  /** Answers that it makes. */
  readonly running: number
  readonly slots: number
  /** Requests that wait inside its server. */
  readonly waiting: number
  /** Share of its memory for states that is in use, 0 to 1; 0 where it does not say. */
  readonly kvUsed: number
}

/** `pending`: ordered, and not ready yet · `leaving`: released, and not gone yet. */
export interface FleetMachine {
  readonly leaseId: string
  readonly phase: 'pending' | 'ready' | 'leaving'
  /** Since it was ordered, in ms. */
  readonly ageMs: number
  readonly quote: LeaseQuote
  /** Of one that is ready and in the mesh. */
  readonly load?: WorkerLoad
}

/** What waits in the line and may go to a machine of the pool. */
export interface PoolDemand {
  readonly waiting: number
  /** How long the oldest of them has waited, in ms. */
  readonly oldestMs: number
  /** There is nothing else that could take them, now or when a slot becomes free. */
  readonly isOnlyHope: boolean
}

export interface PoolView {
  readonly settings: PoolSettings
  readonly machines: readonly FleetMachine[]
  readonly demand: PoolDemand
  /** After a failure nothing is ordered for a while. */
  readonly isHeldOff: boolean
  /** An order is being recorded: it has no machine yet. */
  readonly isOrdering: boolean
}

/** Since when the pool was full, or had one too many, without a break; on the clock of `nowMs`. */
export interface PoolMemory {
  readonly fullSinceMs?: number
  readonly spareSinceMs?: number
}

export type FleetAction =
  | { readonly kind: 'order'; readonly pool: string; readonly why: string }
  | { readonly kind: 'release'; readonly leaseId: string; readonly why: string }

export interface FleetDecision {
  readonly actions: readonly FleetAction[]
  /** For the next decision. */
  readonly memory: ReadonlyMap<string, PoolMemory>
}

export function decideFleet(
  pools: readonly PoolView[],
  before: ReadonlyMap<string, PoolMemory>,
  nowMs: number,
): FleetDecision {
  const actions: FleetAction[] = []
  const memory = new Map<string, PoolMemory>()
  // one launch at a time for a model, whichever pools could serve it: the next is judged with the first one there
  const pending = new Set<string>()
  for (const { machines, settings, isOrdering } of pools)
    if (isOrdering || machines.some(({ phase }) => phase === 'pending'))
      for (const model of settings.serves) pending.add(model)
  for (const pool of pools) {
    const { name, serves } = pool.settings
    const remembered = remember(pool, before.get(name) ?? {}, nowMs)
    memory.set(name, remembered)
    const why = serves.some((model) => pending.has(model)) ? undefined : orderWhy(pool, remembered, nowMs)
    if (why !== undefined) {
      actions.push({ kind: 'order', pool: name, why })
      for (const model of serves) pending.add(model)
      continue
    }
    const released = release(pool, remembered, nowMs)
    if (released === undefined) continue
    actions.push(released)
    // the next one has to be spare for as long again
    memory.set(name, {})
  }
  return { actions, memory }
}

const staying = ({ machines }: PoolView): FleetMachine[] => machines.filter(({ phase }) => phase !== 'leaving')
const ready = ({ machines }: PoolView): FleetMachine[] => machines.filter(({ phase }) => phase === 'ready')

function remember(pool: PoolView, before: PoolMemory, nowMs: number): PoolMemory {
  const isFull = ready(pool).length > 0 && ready(pool).every(({ load }) => load !== undefined && isWorkerFull(load))
  return {
    ...(isFull && { fullSinceMs: before.fullSinceMs ?? nowMs }),
    ...(hasSpare(pool) && { spareSinceMs: before.spareSinceMs ?? nowMs }),
  }
}

const isWorkerFull = ({ running, slots, waiting, kvUsed }: WorkerLoad): boolean =>
  waiting > 0 || kvUsed >= KV_FULL_SHARE || running >= slots

/** One of the ready machines could go: nothing waits, and what runs would half fill the others. */
function hasSpare(pool: PoolView): boolean {
  const machines = ready(pool)
  if (pool.demand.waiting > 0 || machines.length === 0 || staying(pool).length <= pool.settings.min) return false
  let running = 0
  let slots = 0
  for (const { load } of machines) {
    // of one that is not heard now nothing is known; the reconciler sees to it
    if (load === undefined) return false
    running += load.running + load.waiting
    slots += load.slots
  }
  const left = (slots * (machines.length - 1)) / machines.length
  return running <= left * SPARE_SHARE
}

/** Why the pool should have one more; `undefined` when it should not. */
function orderWhy({ settings, ...pool }: PoolView, { fullSinceMs }: PoolMemory, nowMs: number): string | undefined {
  const count = staying({ settings, ...pool }).length
  if (pool.isHeldOff || count >= settings.max) return undefined
  if (count < settings.min) return 'the pool has fewer than its minimum'
  const { waiting, oldestMs, isOnlyHope } = pool.demand
  if (waiting > 0 && isOnlyHope && count === 0) return 'no other node could take what waits'
  if (waiting > 0 && oldestMs >= UP_AGE_MS) return 'the oldest task in the line has waited too long'
  if (fullSinceMs !== undefined && nowMs - fullSinceMs >= UP_FULL_MS) return 'all machines of the pool are full'
  return undefined
}

function release(pool: PoolView, { spareSinceMs }: PoolMemory, nowMs: number): FleetAction | undefined {
  const { settings } = pool
  const excess = staying(pool).length > settings.max
  const isIdle = spareSinceMs !== undefined && nowMs - spareSinceMs >= settings.idleMinutes * 60_000
  if (!excess && !isIdle) return undefined
  const candidates = (excess ? staying(pool) : ready(pool)).filter((machine) => excess || isAtStepEnd(machine))
  let least: FleetMachine | undefined
  // the least busy; of those the youngest, since the others have shown that they work
  for (const machine of candidates)
    if (least === undefined || busyness(machine) < busyness(least) || isYounger(machine, least)) least = machine
  if (least === undefined) return undefined
  return { kind: 'release', leaseId: least.leaseId, why: excess ? 'the pool has more than its maximum' : 'idle' }
}

const busyness = ({ load }: FleetMachine): number => (load?.running ?? 0) + (load?.waiting ?? 0)
const isYounger = (a: FleetMachine, b: FleetMachine): boolean => busyness(a) === busyness(b) && a.ageMs < b.ageMs

/** What is paid for anyway stays until its end: it may be wanted again. */
function isAtStepEnd({ ageMs, quote: { billedStepMs, billedLeastMs } }: FleetMachine): boolean {
  if (ageMs < billedLeastMs - STEP_END_MS) return false
  return billedStepMs <= STEP_END_MS || billedStepMs - (ageMs % billedStepMs) <= STEP_END_MS
}
