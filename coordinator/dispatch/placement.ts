/**
 * Where a task's next attempt runs: on a slot that the line gives it, or on the node that still holds the attempt before.
 * The second is better, since nothing is computed again, and may turn up at any time while the first is waited for.
 */
import { LIMITS, SkeinError, type CloudReason, type PeerId } from '../../mesh/protocol/index.ts'
import { deadline, type CancelTimer, type Clock } from '../../mesh/runtime/index.ts'
import type { Directory } from '../directory/index.ts'
import type { NodeSnapshot, Unschedulable } from '../scheduler/index.ts'
import type { AtBudget } from './budget-limits.ts'
import { keptHome } from './outcomes.ts'
import { refusal, type Assignment, type Planner, type PlanOptions } from './planner.ts'
import type { Task } from './task.ts'
import type { Waiter, WaitingLine } from './waiting-line.ts'

/** An answer that has begun waits this long for another node, unless nobody waits for it. */
const RESUME_MS = 300_000
/** Who waits for money is told why so long before the deadline, which would end it without saying that. */
const MONEY_MARGIN_MS = 50
const NO_CLAIMS: ReadonlyMap<PeerId, number> = new Map()

/** An attempt of the task that a node says it holds. */
export interface HeldAttempt {
  readonly peerId: PeerId
  readonly fence: number
  readonly index: number
}

export interface Place {
  readonly assignment: Assignment
  readonly node: NodeSnapshot
  /** Why it is a cloud node; of work, which has no paper to leave by. */
  readonly reason?: CloudReason
  /** Fencing token of the attempt that the node holds, to go on with. */
  readonly attach?: number
}

export interface PlacementComponents {
  readonly clock: Clock
  readonly directory: Directory
  readonly planner: Planner
  readonly line: WaitingLine<Place>
}

type Committed = ReturnType<Waiter<Place>['attempt']>

export class Placement {
  readonly #components: PlacementComponents
  readonly #task: Task
  readonly #say: (text: string) => void
  #lost: { readonly fence: number; readonly peerId: PeerId } | undefined
  #offer = Promise.withResolvers<HeldAttempt>()
  /** Of the attempt that still seems to run: its node has noticed before us that the stream is gone. */
  #early: HeldAttempt | undefined
  /** Settles when the node that may hold the attempt does not, after a restart of the coordinator. */
  #holder: PromiseWithResolvers<void> | undefined
  #position: number | undefined
  readonly #isPatient: boolean
  /** It waits for money, as it was looked at last, with why. */
  #money: Extract<AtBudget, { kind: 'wait' }> | undefined
  /** It hopes for a machine that may come, as it was looked at last. */
  #isComing = false
  /** Of the timer that wakes the line when the period turns. */
  #cancelTurn: CancelTimer | undefined
  /** Since when no node that is here could go on with it. */
  #stranding: { readonly atMs: number; readonly cancel: CancelTimer } | undefined

  /** @param isPatient no node that could take it is no reason to end it: the coordinator has just begun, or nobody waits. */
  constructor(components: PlacementComponents, task: Task, isPatient: boolean, say: (text: string) => void) {
    this.#isPatient = isPatient
    this.#components = components
    this.#task = task
    this.#say = say
  }

  /** Place in the line, from 1, while it waits there. */
  get position(): number | undefined {
    return this.#position
  }

  /** The attempt under `fence` is lost to us; its node may still hold it. `isAwaited`: it is asked before any other. */
  lost(attempt: { readonly fence: number; readonly peerId: PeerId }, isAwaited: boolean): void {
    this.#lost = attempt
    this.#offer = Promise.withResolvers()
    this.#holder = isAwaited ? Promise.withResolvers() : undefined
    if (this.#early?.fence === attempt.fence) this.#offer.resolve(this.#early)
    this.#early = undefined
  }

  /** Returns false for an attempt that is of no use. */
  offer(held: HeldAttempt): boolean {
    if (this.#lost?.fence !== held.fence || held.index < this.#task.answer.length) return false
    this.#offer.resolve(held)
    return true
  }

  /** As `offer`, of an attempt that is not lost to us yet. */
  offerEarly(held: HeldAttempt): void {
    this.#early = held
  }

  notHeldBy(peerId: PeerId): void {
    if (this.#lost?.peerId === peerId) this.#holder?.resolve()
  }

  /** @throws SkeinError why there is none, or the signal's reason. */
  async find(cause: SkeinError | undefined, signal: AbortSignal): Promise<Place> {
    const left = new AbortController()
    let slot: Promise<Place> | undefined
    try {
      slot = this.#slot(cause, AbortSignal.any([signal, left.signal]))
      const offered = this.#offer.promise.then((offer) => ({ offer }))
      const first = await Promise.race([slot, offered])
      const held = 'offer' in first ? this.#held(first.offer) : undefined
      if (held) return held
      const place = await slot
      slot = undefined
      return place
    } finally {
      this.#position = undefined
      left.abort(new SkeinError('CLIENT_CLOSED', 'the place is not waited for any more'))
      // What was given in the same moment must not stay reserved.
      slot?.then((place) => this.#components.planner.giveBack(this.#task, place.assignment)).catch(() => {})
    }
  }

  #held({ peerId, fence }: HeldAttempt): Place | undefined {
    const { clock, directory, planner } = this.#components
    const entry = directory.entry(peerId)
    if (entry === undefined || entry.liveness === 'disconnected') return undefined
    const node = entry.snapshot(clock.nowMs())
    if (!node.models.has(this.#task.spec.digest) || (node.isCloud && this.#task.spec.localOnly)) return undefined
    const assignment = planner.adopt(this.#task, node, fence)
    return assignment && { assignment, node, attach: fence }
  }

  async #slot(cause: SkeinError | undefined, signal: AbortSignal): Promise<Place> {
    const { clock, line, planner } = this.#components
    const { spec, deadlineMs } = this.#task
    await this.#holderGone(signal)
    const isResumed = this.#task.attempts > 0
    if (!line.hasWaiter(spec.digest, spec.priority, isResumed)) {
      const now = this.#commit({ claims: NO_CLAIMS })
      if (typeof now === 'object' && 'result' in now) return now.result
    }
    this.#task.waitingSinceMs = clock.nowMs()
    const limit = this.#limit(cause, isResumed)
    const reprieveMs = this.#task.nextReprieveMs(clock.nowMs())
    const cancelReprieve =
      reprieveMs === undefined ? undefined : clock.timer(reprieveMs - clock.nowMs(), () => line.wake())
    const waiter: Waiter<Place> = {
      digest: spec.digest,
      priority: spec.priority,
      tenant: spec.tenant,
      cost: planner.cost(this.#task),
      deadlineAtMs: deadlineMs,
      isResumed,
      mayUse: (node) => planner.couldUse(this.#task, node),
      attempt: (claims, aheadMs) => this.#commit({ claims, aheadMs }),
      mayPassBy: () => planner.leaving.mayPassBy(this.#task),
      mayHope: (node) => planner.mayHope(this.#task, node),
      moved: (position) => {
        this.#position = position
        this.#say(`queued ${position}`)
      },
    }
    try {
      return await line.wait(waiter, AbortSignal.any([signal, limit.signal]))
    } finally {
      this.#task.waitingSinceMs = undefined
      limit.cancel()
      cancelReprieve?.()
      this.#cancelTurn?.()
      this.#cancelTurn = undefined
      this.#stranding?.cancel()
      this.#stranding = undefined
    }
  }

  /** How long it waits: for money, or a machine, up to its deadline, whenever it began to wait for that. */
  #limit(cause: SkeinError | undefined, isResumed: boolean): { readonly signal: AbortSignal; cancel(): void } {
    const { clock } = this.#components
    const over = new AbortController()
    const boundMs = this.#boundMs(isResumed)
    const moneyMs = (): number =>
      this.#money === undefined ? 0 : this.#task.deadlineMs - clock.nowMs() - MONEY_MARGIN_MS
    const machineMs = (): number => (this.#isComing ? this.#task.deadlineMs - clock.nowMs() - MONEY_MARGIN_MS : 0)
    const onBound = (): void => {
      const moreMs = Math.max(moneyMs(), machineMs())
      if (moreMs > 0) cancel = clock.timer(moreMs, onBound)
      else over.abort(this.#money?.error ?? waitedTooLong(this.#task, cause, boundMs))
    }
    let cancel = clock.timer(moneyMs() > 0 ? moneyMs() : boundMs, onBound)
    return { signal: over.signal, cancel: () => cancel() }
  }

  /** Plans and, when there is a plan, reserves its slot in the same turn. */
  #commit(options: PlanOptions): Committed {
    const { planner } = this.#components
    this.#money = undefined
    this.#isComing = false
    const found = planner.plan(this.#task, options)
    this.#task.isKeptHome = found.kind === 'unschedulable' && found.code === 'LOCAL_ONLY'
    if (found.kind === 'wait') return { waitFor: found.node.peerId, serviceMs: found.workMs }
    if (found.kind === 'plan') {
      if (this.#mayBeHeld(found.node.peerId)) return 'not yet'
      const assignment = planner.commit(this.#task, found)
      if (assignment !== undefined) return { result: { assignment, node: found.node } }
      // without a price it was not money: it may not leave any more
      return found.node.price === undefined ? 'not yet' : this.#short()
    }
    this.#isComing = found.isComing === true
    planner.leaving.refused('plan', found.code, this.#task)
    if (found.code === 'SATURATED') return found.isAway ? 'not yet' : 'no slot'
    // whoever asked is told at once, instead of each mesh of the circle waiting for the next
    if (this.#task.circle && !found.isComing) throw this.#task.circle
    if (found.code === 'BUDGET_EXCEEDED') return this.#short(found)
    if (found.code === 'NOT_CONTINUABLE') return this.#stranded(found)
    if (found.code !== 'NO_ELIGIBLE_NODE' && this.#isRefusable) throw refusal(found)
    return 'not yet'
  }

  /** Only a node that comes back could go on with it, and one that comes later than this does not have it any more. */
  #stranded(found: Unschedulable): 'not yet' {
    const { clock, line } = this.#components
    const nowMs = clock.nowMs()
    this.#stranding ??= { atMs: nowMs, cancel: clock.timer(LIMITS.reattachMs, () => line.wake()) }
    const isAwaited = this.#task.spec.attachment !== 'background'
    if (isAwaited && nowMs - this.#stranding.atMs >= LIMITS.reattachMs) throw refusal(found)
    return 'not yet'
  }

  /** Nodes come back, most of all after a restart; and an answer that has begun is worth waiting for. */
  get #isRefusable(): boolean {
    return !this.#isPatient && this.#task.attempts === 0
  }

  /** Less is left than it may cost: it waits for money where its owner wants that, it has begun, or nobody waits for it. */
  #short(found?: Unschedulable): 'not yet' {
    const { clock, line, planner } = this.#components
    const at = planner.atBudget(this.#task)
    if (at?.kind === 'wait') {
      if (this.#isRefusable) this.#money = at
      if (at.turnsInMs !== undefined)
        this.#cancelTurn ??= clock.timer(at.turnsInMs, () => {
          this.#cancelTurn = undefined
          line.wake()
        })
    } else if (this.#isRefusable && at !== undefined) throw at.error
    else if (this.#isRefusable && found !== undefined) throw refusal(found)
    return 'not yet'
  }

  /** The node that had the attempt is back, and has not told yet whether it holds it: that would spare the prefill. */
  #mayBeHeld(peerId: PeerId): boolean {
    const { clock, directory } = this.#components
    return this.#lost?.peerId === peerId && (directory.entry(peerId)?.mayTellHeld(clock.nowMs()) ?? false)
  }

  /** After a restart: the node that made the answer may be about to come back with it. */
  async #holderGone(signal: AbortSignal): Promise<void> {
    const holder = this.#holder
    if (holder === undefined) return
    const limit = deadline(
      this.#components.clock,
      LIMITS.reattachMs,
      () => new SkeinError('NODE_LOST', 'it is not back'),
    )
    const over = (): void => holder.resolve()
    limit.signal.addEventListener('abort', over, { once: true })
    signal.addEventListener('abort', over, { once: true })
    try {
      await holder.promise
      signal.throwIfAborted()
    } finally {
      limit.cancel()
      this.#holder = undefined
    }
  }

  #boundMs(isResumed: boolean): number {
    const leftMs = Math.max(0, this.#task.deadlineMs - this.#components.clock.nowMs())
    if (this.#task.spec.attachment === 'background') return leftMs
    return Math.min(leftMs, isResumed ? RESUME_MS : LIMITS.queuedMs)
  }
}

const waitedTooLong = (task: Task, cause: SkeinError | undefined, boundMs: number): SkeinError =>
  task.isKeptHome
    ? keptHome(boundMs)
    : cause === undefined
      ? new SkeinError('SATURATED', `no slot became free within ${Math.round(boundMs)} ms`, { retryAfterSeconds: 10 })
      : new SkeinError(cause.code, `${cause.message}; no other node could go on within ${Math.round(boundMs)} ms`, {
          cause,
        })
