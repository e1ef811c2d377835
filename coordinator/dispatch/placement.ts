/**
 * Where a task's next attempt runs: on a slot that the line gives it, or on the node that still holds the attempt before.
 * The second is better, since nothing is computed again, and may turn up at any time while the first is waited for.
 */
import { LIMITS, SkeinError, type PeerId } from '../../mesh/protocol/index.ts'
import { deadline, type Clock } from '../../mesh/runtime/index.ts'
import type { Directory } from '../directory/index.ts'
import type { NodeSnapshot } from '../scheduler/index.ts'
import { refusal, type Assignment, type Planner, type PlanOptions } from './planner.ts'
import type { Task } from './task.ts'
import type { Waiter, WaitingLine } from './waiting-line.ts'

/** An answer that has begun waits this long for another node, unless nobody waits for it. */
const RESUME_MS = 300_000
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
    if (!node.models.has(this.#task.spec.digest)) return undefined
    return { assignment: planner.adopt(this.#task, peerId), node, attach: fence }
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
    const boundMs = this.#boundMs(isResumed)
    this.#task.waitingSinceMs = clock.nowMs()
    const limit = deadline(clock, boundMs, () => waitedTooLong(cause, boundMs))
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
      attempt: (claims) => this.#commit({ claims }),
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
    }
  }

  /** Plans and, when there is a plan, reserves its slot in the same turn. */
  #commit(options: PlanOptions): Committed {
    const { planner } = this.#components
    const found = planner.plan(this.#task, options)
    if (found.kind === 'wait') return { waitFor: found.node.peerId, serviceMs: found.workMs }
    if (found.kind === 'plan') {
      if (this.#mayBeHeld(found.node.peerId)) return 'not yet'
      const assignment = planner.commit(this.#task, found)
      return assignment === undefined ? 'not yet' : { result: { assignment, node: found.node } }
    }
    if (found.code === 'SATURATED') return 'no slot'
    // Nodes come back, most of all after a restart; and an answer that has begun is worth waiting for.
    const isLasting = found.code !== 'NO_ELIGIBLE_NODE' && !this.#isPatient && this.#task.attempts === 0
    if (isLasting) throw refusal(found)
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

const waitedTooLong = (cause: SkeinError | undefined, boundMs: number): SkeinError =>
  cause === undefined
    ? new SkeinError('SATURATED', `no slot became free within ${Math.round(boundMs)} ms`, { retryAfterSeconds: 10 })
    : new SkeinError(cause.code, `${cause.message}; no other node could go on within ${Math.round(boundMs)} ms`, {
        cause,
      })
