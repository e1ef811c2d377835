/**
 * Tasks that wait for a slot, each model's in a lane of its own: by class, and fairly between tenants inside a class
 * (`docs/ADMISSION.md`). A newcomer never overtakes a task of its class or a more urgent one that waits for the same
 * model. Whenever capacity may have changed the line is walked once, however many changes there were.
 */
import { LIMITS, SkeinError, type ModelDigest, type PeerId } from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import { PRIORITIES, type Priority } from '../ledger/index.ts'
import type { NodeSnapshot } from '../scheduler/index.ts'
import { DrainRate, predictedWaitMs, retryAfterSeconds } from './retry-after.ts'
import type { Shares } from './shares.ts'
import { inOrder, rankOf, type Ordered } from './waiting-line/order.ts'

/**
 * Places of each class, `LIMITS.queuedTasksMax` together. A class may also use the places of less urgent ones, never
 * those of more urgent ones: a flood of one class leaves room for those above it.
 */
const PLACES: Readonly<Record<Priority, number>> = { system: 64, interactive: 192, default: 256, bulk: 512 }

/** One behind a full line is asked at most so often whether it may go elsewhere. */
const PASS_BY_MS = 1000

/** The class from which downward a class may take a running task's slot. */
const OUTRANKS: Readonly<Partial<Record<Priority, Priority>>> = { system: 'interactive', interactive: 'default' }

/**
 * What came of asking. `no slot` holds for all that wait for the same model; `not yet` only for this one (the nodes that
 * are left have failed it lately). `waitFor`: it rather waits for a slot of that node, which it will hold for `serviceMs`.
 */
export type Outcome<T> =
  { readonly result: T } | 'no slot' | 'not yet' | { readonly waitFor: PeerId; readonly serviceMs: number }

export interface Waiter<T> {
  readonly digest: ModelDigest
  readonly priority: Priority
  readonly tenant: string
  /** Weighted tokens that it is expected to cost: input + 2 × output. */
  readonly cost: number
  /** On the clock, in ms. Orders those whose shares are equal; whoever set its signal rejects it. */
  readonly deadlineAtMs: number
  /** It was running before (it lost its node, or was pre-empted): first of its class, and never shed. */
  readonly isResumed: boolean
  /** Whether it could run on `node` if a slot were free there. */
  mayUse(node: NodeSnapshot): boolean
  /**
   * Tries to start.
   *
   * @param claims ms for which slots of a node are spoken for by those ahead that wait for it.
   * @param aheadMs predicted, until those ahead have a slot; 0 while that is not known.
   */
  attempt(claims: ReadonlyMap<PeerId, number>, aheadMs: number): Outcome<T>
  /** Whether it may find a place when those ahead find all slots taken: in the cloud. It is asked then, now and again. */
  mayPassBy?(): boolean
  /** Whether it may leave for a machine of the cloud such as `node`, once there is one. */
  mayHope?(node: NodeSnapshot): boolean
  /** Its place among those that wait for the same model, from 1, whenever that changed. */
  moved(position: number): void
}

/** What waits for a machine that is not there yet. */
export interface Hoping {
  readonly waiting: number
  /** How long the oldest of them has waited, in ms. */
  readonly oldestMs: number
  /** There is nothing else that could take that one, now or when a slot becomes free. */
  readonly isOnlyHope: boolean
}

interface Place<T> extends Ordered {
  readonly waiter: Waiter<T>
  readonly resolve: (result: T) => void
  readonly reject: (reason: unknown) => void
  position: number
  /** On the clock, since when each walk has found all slots taken. */
  noSlotSinceMs: number | undefined
  /** On the clock, when it was last asked while those ahead had found all slots taken. */
  passedAtMs: number
}

/** Those that wait for one model, in the order of their coming. Exists as long as there is one. */
interface Lane<T> {
  readonly places: Set<Place<T>>
  readonly drain: DrainRate
  /** Slots given since one was given for being overdue. */
  sinceOverdue: number
}

export class WaitingLine<T> {
  readonly #clock: Clock
  readonly #shares: Shares
  readonly #lanes = new Map<ModelDigest, Lane<T>>()
  readonly #counts: Record<Priority, number> = { system: 0, interactive: 0, default: 0, bulk: 0 }
  #sequence = 0
  #walkPending = false

  constructor(components: { clock: Clock; shares: Shares }) {
    this.#clock = components.clock
    this.#shares = components.shares
  }

  get length(): number {
    return PRIORITIES.reduce((sum, priority) => sum + this.#counts[priority], 0)
  }

  /** How many wait in each class. */
  waiting(): Readonly<Record<Priority, number>> {
    return { ...this.#counts }
  }

  /**
   * Whether a newcomer of that class must queue behind somebody. One that was running before (`isResumed`) passes those of
   * its class that were not; a slot that was taken from it for a more urgent task is still not its to take.
   */
  hasWaiter(digest: ModelDigest, priority: Priority, isResumed = false): boolean {
    const rank = rankOf(priority)
    for (const { waiter } of this.#aheadOf(digest, priority))
      if (!isResumed || waiter.isResumed || rankOf(waiter.priority) < rank) return true
    return false
  }

  /** Weighted tokens that wait ahead of a newcomer of that class, its own class included. */
  ahead(digest: ModelDigest, priority: Priority): number {
    let tokens = 0
    for (const { waiter } of this.#aheadOf(digest, priority)) tokens += waiter.cost
    return tokens
  }

  /** Predicted ms until those ahead of such a newcomer have a slot; 0 when that is not known. */
  aheadMs(digest: ModelDigest, priority: Priority): number {
    const rate = this.#lanes.get(digest)?.drain.perSecond(this.#clock.nowMs()) ?? 0
    return predictedWaitMs(this.ahead(digest, priority), rate) ?? 0
  }

  /**
   * Waits until `waiter.attempt` gives a result. Where there is no place left, another may be shed for it: the newest of
   * the least urgent class below its own, else the newest of the tenant that has most places in its class and two more
   * than it has. One that was running before takes the place of any that was not.
   *
   * @throws SkeinError SATURATED, with the predicted wait, when there is no place or the waiter was shed; what
   *   `waiter.attempt` throws; the signal's reason.
   */
  wait(waiter: Waiter<T>, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      if (!this.#hasRoom(waiter)) {
        const victim = this.#victim(waiter)
        if (!victim) return reject(this.#saturated(waiter, 'no place is left'))
        victim.reject(this.#saturated(victim.waiter, 'the place was given to another'))
      }
      this.#join(waiter, signal, resolve, reject)
    })
  }

  /** Those that wait and may go to `node`, which is not there yet; `others` are. */
  hoping(node: NodeSnapshot, others: readonly NodeSnapshot[]): Hoping {
    const nowMs = this.#clock.nowMs()
    let waiting = 0
    let oldest: Place<T> | undefined
    for (const digest of node.models.keys())
      for (const place of this.#lanes.get(digest)?.places ?? []) {
        if (place.waiter.mayHope?.(node) !== true) continue
        waiting++
        if (oldest === undefined || place.joinedAtMs < oldest.joinedAtMs) oldest = place
      }
    if (oldest === undefined) return { waiting, oldestMs: 0, isOnlyHope: false }
    const { waiter, joinedAtMs } = oldest
    const isOnlyHope = !others.some((each) => waiter.mayUse(each) || (each.isCloud && waiter.mayHope?.(each) === true))
    return { waiting, oldestMs: nowMs - joinedAtMs, isOnlyHope }
  }

  /** Capacity may have changed. Walks the line in the next turn of the event loop. */
  wake(): void {
    if (this.#walkPending || this.#lanes.size === 0) return
    this.#walkPending = true
    this.#clock.timer(0, () => {
      this.#walkPending = false
      this.#walk()
    })
  }

  /**
   * The most urgent waiter that has found all slots taken for `sinceMs` and whose class may pre-empt; the slot may be
   * taken from a task of class `below` or a less urgent one. A waiter that was named is not named again for as long, so
   * that its slot has the time to become free.
   */
  preempting(sinceMs: number): { readonly waiter: Waiter<T>; readonly below: Priority } | undefined {
    const nowMs = this.#clock.nowMs()
    let first: Place<T> | undefined
    for (const lane of this.#lanes.values())
      for (const place of lane.places) {
        const { waiter, noSlotSinceMs } = place
        if (!OUTRANKS[waiter.priority] || noSlotSinceMs === undefined || nowMs - noSlotSinceMs < sinceMs) continue
        if (!first || isMoreUrgent(place, first)) first = place
      }
    if (!first) return undefined
    first.noSlotSinceMs = nowMs
    return { waiter: first.waiter, below: OUTRANKS[first.waiter.priority]! }
  }

  *#aheadOf(digest: ModelDigest, priority: Priority): Generator<Place<T>, void, undefined> {
    for (const place of this.#lanes.get(digest)?.places ?? [])
      if (rankOf(place.waiter.priority) <= rankOf(priority)) yield place
  }

  #join(waiter: Waiter<T>, signal: AbortSignal, resolve: (result: T) => void, reject: (reason: unknown) => void): void {
    const { digest, tenant, priority } = waiter
    const nowMs = this.#clock.nowMs()
    const lane = this.#lanes.get(digest) ?? { places: new Set(), drain: new DrainRate(nowMs), sinceOverdue: 0 }
    const onAbort = (): void => (place.reject(signal.reason), this.wake())
    const leave = (): void => {
      if (!lane.places.delete(place)) return
      signal.removeEventListener('abort', onAbort)
      if (lane.places.size === 0) this.#lanes.delete(digest)
      this.#counts[priority]--
      this.#shares.left(tenant, priority)
    }
    const place: Place<T> = {
      waiter,
      sequence: this.#sequence++,
      joinedAtMs: nowMs,
      position: 0,
      noSlotSinceMs: undefined,
      passedAtMs: Number.NEGATIVE_INFINITY,
      resolve: (result) => (leave(), resolve(result)),
      reject: (reason) => (leave(), reject(reason)),
    }
    this.#lanes.set(digest, lane)
    lane.places.add(place)
    this.#counts[priority]++
    this.#shares.entered(tenant, priority)
    signal.addEventListener('abort', onAbort, { once: true })
    this.wake()
  }

  /** Whether the places of its class and of the less urgent ones, and of each class above with those below it, suffice. */
  #hasRoom(waiter: Waiter<T>): boolean {
    if (waiter.isResumed) return this.length < LIMITS.queuedTasksMax
    let held = 0
    let places = 0
    for (const priority of [...PRIORITIES].reverse()) {
      held += this.#counts[priority]
      places += PLACES[priority]
      if (rankOf(priority) <= rankOf(waiter.priority) && held >= places) return false
    }
    return true
  }

  /** Whoever has waited least and loses least: a place that is shed never belongs to an answer that has begun. */
  #victim(newcomer: Waiter<T>): Place<T> | undefined {
    const rank = newcomer.isResumed ? -1 : rankOf(newcomer.priority)
    const sheddable = [...this.#lanes.values()].flatMap(({ places }) => [...places]).filter((p) => !p.waiter.isResumed)
    const lowest = Math.max(...sheddable.map(({ waiter }) => rankOf(waiter.priority)))
    if (lowest > rank) return newest(sheddable.filter(({ waiter }) => rankOf(waiter.priority) === lowest))
    const byTenant = Map.groupBy(
      sheddable.filter(({ waiter }) => waiter.priority === newcomer.priority),
      ({ waiter }) => waiter.tenant,
    )
    const own = byTenant.get(newcomer.tenant)?.length ?? 0
    const most = [...byTenant.values()].reduce<Place<T>[]>((a, b) => (b.length > a.length ? b : a), [])
    return most.length > own + 1 ? newest(most) : undefined
  }

  #saturated({ digest, priority }: Waiter<T>, why: string): SkeinError {
    const rate = this.#lanes.get(digest)?.drain.perSecond(this.#clock.nowMs()) ?? 0
    return new SkeinError('SATURATED', `${this.length} tasks wait for a slot already, and ${why}`, {
      retryAfterSeconds: retryAfterSeconds(predictedWaitMs(this.ahead(digest, priority), rate)),
    })
  }

  #walk(): void {
    for (const lane of [...this.#lanes.values()]) this.#walkLane(lane)
  }

  #walkLane(lane: Lane<T>): void {
    const nowMs = this.#clock.nowMs()
    const claims = new Map<PeerId, number>()
    let isFull = false
    let position = 0
    let ahead = 0
    const rate = lane.drain.perSecond(nowMs)
    for (const { place, isOverdue } of inOrder([...lane.places], this.#shares, nowMs, lane.sinceOverdue)) {
      // an attempt may have ended others
      if (!lane.places.has(place)) continue
      const aheadMs = predictedWaitMs(ahead, rate) ?? 0
      const isAsked: boolean = !isFull || this.#passesBy(place, nowMs)
      const outcome: Outcome<T> | 'left' = isAsked ? this.#ask(place, claims, aheadMs) : 'no slot'
      if (outcome === 'left') continue
      if (typeof outcome === 'object' && 'result' in outcome) {
        lane.drain.took(place.waiter.cost, nowMs)
        lane.sinceOverdue = isOverdue ? 0 : lane.sinceOverdue + 1
        place.resolve(outcome.result)
        continue
      }
      ahead += place.waiter.cost
      isFull ||= outcome === 'no slot'
      if (typeof outcome === 'object')
        claims.set(outcome.waitFor, (claims.get(outcome.waitFor) ?? 0) + outcome.serviceMs)
      place.noSlotSinceMs = outcome === 'no slot' ? (place.noSlotSinceMs ?? nowMs) : undefined
      position++
      if (place.position === position) continue
      place.position = position
      place.waiter.moved(position)
    }
  }

  /** A plan costs more than a look, and the line may be long. */
  #passesBy(place: Place<T>, nowMs: number): boolean {
    if (nowMs - place.passedAtMs < PASS_BY_MS || !place.waiter.mayPassBy?.()) return false
    place.passedAtMs = nowMs
    return true
  }

  #ask(place: Place<T>, claims: ReadonlyMap<PeerId, number>, aheadMs: number): Outcome<T> | 'left' {
    try {
      return place.waiter.attempt(claims, aheadMs)
    } catch (error) {
      place.reject(error)
      return 'left'
    }
  }
}

const newest = <T>(places: readonly Place<T>[]): Place<T> | undefined =>
  places.reduce<Place<T> | undefined>((a, b) => (a && a.sequence > b.sequence ? a : b), undefined)

/** Of two in any lanes: by class, then by the place in their lanes, then by coming. */
function isMoreUrgent<T>(a: Place<T>, b: Place<T>): boolean {
  const byClass = rankOf(a.waiter.priority) - rankOf(b.waiter.priority)
  return (byClass || a.position - b.position || a.sequence - b.sequence) < 0
}
