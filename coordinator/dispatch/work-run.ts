/** One request of work: finds places for its parts, sends them, and sends again what was lost. */
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type ErrorCode,
  type ModelDigest,
  type PeerId,
  type RequestId,
  type Route,
  type TaskId,
  type Work,
  type WorkResult,
} from '../../mesh/protocol/index.ts'
import { deadline, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import type { PeerTransport } from '../../mesh/network/index.ts'
import type { Directory, Reservation } from '../directory/index.ts'
import { wholeCount, type NodeName, type Priority, type TaskTrace } from '../ledger/index.ts'
import { exclusionKey, type NodeSnapshot } from '../scheduler/index.ts'
import { routeOf } from './attempt-log.ts'
import type { Leaving } from './leave.ts'
import type { Place } from './placement.ts'
import { refusal } from './planner.ts'
import type { Shares } from './shares.ts'
import type { Outcome, Waiter, WaitingLine } from './waiting-line.ts'
import { isFaultOfNode } from './outcomes.ts'
import { logIdsOf } from './traced.ts'
import { exchangeWork } from './work-exchange.ts'
import { tokensOf, type WorkDemand, type WorkPlanner } from './work-planner.ts'

/** Failures of one part before the request ends: somebody waits for it, and what failed so often fails again. */
const FAILURES_MAX = 4
/** A node that says so has done nothing, and another one may be asked. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['NO_FREE_SLOT', 'NODE_DRAINING', 'NOT_SERVED'])
/** A node that failed a part is not asked for this request's parts for so long, twice as long each time. */
const EXCLUSION_MS = 500
const EXCLUSION_MS_MAX = 8000
const NO_CLAIMS: ReadonlyMap<PeerId, number> = new Map()
const ROUTES: readonly Route[] = ['cloud', 'mesh', 'local']

export interface WorkSpec {
  readonly taskId: TaskId
  readonly requestId: RequestId
  /** One for all parts: vectors of two models must never mix. */
  readonly digest: ModelDigest
  /** With as many texts as `LIMITS.workInputsMax`. */
  readonly work: Work
  readonly priority: Priority
  /** Whose share it counts against. */
  readonly tenant: string
  readonly localOnly: boolean
  /** The client asked for the cloud. */
  readonly route?: 'cloud'
  /** From now to the end. */
  readonly deadlineMs: number
  /** Absent where there is no trace. */
  readonly trace?: TaskTrace
}

export interface WorkAnswer {
  readonly digest: ModelDigest
  readonly result: WorkResult
  /** Those that made it, each once, in the order of their first part. */
  readonly nodes: readonly NodeName[]
  /** The farthest of theirs. */
  readonly route: Route
  /** Parts that were sent to a node, retries included. */
  readonly attempts: number
  /** Until the first part was sent, and from then to the end; in ms. */
  readonly timing: { readonly queuedMs: number; readonly workMs: number }
}

/** Tokens that were read; tensors have none. */
export const promptTokensOf = ({ result }: WorkAnswer): number =>
  result.kind === 'infer' ? 0 : wholeCount(result.promptTokens)

/** Streams of all requests, from the moment that a place is taken. */
export class WorkStreams {
  readonly byNode = new Map<PeerId, number>()
  total = 0

  /** Counts a stream until `slot`, which it is for, is released. */
  reserve(peerId: PeerId, slot: Reservation): Reservation {
    this.#add(peerId, 1)
    let isOpen = true
    return {
      ...slot,
      release: () => {
        if (isOpen) this.#add(peerId, -1)
        isOpen = false
        // tells those that wait
        slot.release()
      },
    }
  }

  #add(peerId: PeerId, change: 1 | -1): void {
    const open = (this.byNode.get(peerId) ?? 0) + change
    this.total += change
    if (open > 0) this.byNode.set(peerId, open)
    else this.byNode.delete(peerId)
  }
}

export interface WorkRunComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly transport: PeerTransport
  readonly directory: Directory
  readonly line: WaitingLine<Place>
  readonly shares: Shares
  readonly planner: WorkPlanner
  readonly leaving: Leaving
  readonly lostSignal: (node: NodeSnapshot) => AbortSignal
  /** Of all requests. */
  readonly counts: { parts: number; retries: number }
  readonly streams: WorkStreams
}

export class WorkRun {
  readonly #components: WorkRunComponents
  readonly #spec: WorkSpec
  readonly #deadlineMs: number
  /** When the exclusion of a node ends, by `exclusionKey`. */
  readonly #excludedUntilMs = new Map<string, number>()
  readonly #nodes = new Map<PeerId, NodeSnapshot>()
  #failures = 0
  #attempts = 0
  #firstSentMs: number | undefined

  constructor(components: WorkRunComponents, spec: WorkSpec) {
    this.#components = components
    this.#spec = spec
    this.#deadlineMs = components.clock.nowMs() + spec.deadlineMs
  }

  /** The result of one part. @throws SkeinError why there is none; the signal's reason. */
  async part(work: Work, signal: AbortSignal): Promise<WorkResult> {
    let cause: SkeinError | undefined
    let tries = 0
    for (let failures = 0; failures < FAILURES_MAX && tries < LIMITS.fruitlessAttemptsMax; tries++) {
      const place = await this.#place(work, cause, signal)
      try {
        return await this.#at(place, work, signal)
      } catch (thrown) {
        signal.throwIfAborted()
        cause = this.#settleFailure(place.node, asSkeinError(thrown, 'NODE_LOST'))
        if (!REFUSALS.has(cause.code)) failures++
      } finally {
        place.assignment.reservation.release()
      }
    }
    throw new SkeinError('ATTEMPTS_EXHAUSTED', `${tries} attempts, the last failed: ${cause?.message}`, { cause })
  }

  /** @param beganMs when the request was let in. */
  answer(result: WorkResult, beganMs: number): WorkAnswer {
    const nowMs = this.#components.clock.nowMs()
    const sentMs = this.#firstSentMs ?? nowMs
    const nodes = [...this.#nodes.values()]
    const routes = new Set(nodes.map(routeOf))
    return {
      digest: this.#spec.digest,
      result,
      nodes: nodes.map(({ peerId, name }) => ({ peerId, name })),
      route: ROUTES.find((route) => routes.has(route)) ?? 'local',
      attempts: this.#attempts,
      timing: { queuedMs: sentMs - beganMs, workMs: nowMs - sentMs },
    }
  }

  async #at({ node, reason }: Place, work: Work, signal: AbortSignal): Promise<WorkResult> {
    const { clock, counts, directory, leaving, lostSignal, planner, shares } = this.#components
    const { taskId, digest, tenant, priority } = this.#spec
    const beganMs = clock.nowMs()
    this.#firstSentMs ??= beganMs
    this.#attempts++
    counts.parts++
    const bounded = AbortSignal.any([signal, lostSignal(node)])
    // as with answers: the plan and the commit have let it go, and this is the last look
    if (node.isCloud && (this.#spec.localOnly || reason === undefined))
      throw new SkeinError('LOCAL_ONLY', `nothing lets the work leave for ${node.name}`)
    const sent = node.isCloud ? leaving.rules.work(work).value : work
    const leave = reason && { leave: { reason } }
    if (reason) leaving.counts.left(reason)
    const part = { node, taskId, digest, work: sent, tenant, ...leave }
    const { result, waitMs } = await exchangeWork(this.#components, part, bounded)
    const tookMs = clock.nowMs() - beganMs
    planner.learn(node, this.#demand(work), tookMs - Math.min(waitMs, tookMs))
    directory.entry(node.peerId)?.addSuccess()
    shares.charge(tenant, priority, result.kind === 'infer' ? tokensOf(work) : result.promptTokens, 0)
    this.#nodes.set(node.peerId, node)
    return result
  }

  /** Learns from a failure. @throws the error itself when another node, or another time, could not do better. */
  #settleFailure(node: NodeSnapshot, error: SkeinError): SkeinError {
    const { clock, counts, directory, log, planner } = this.#components
    const { digest } = this.#spec
    log.warn({ ...logIdsOf(this.#spec), node: node.name, code: error.code }, error.message)
    // a node that no longer has the model says so of itself; others may have it
    if (error.row.blame === 'caller' && error.code !== 'MODEL_NOT_FOUND') throw error
    const entry = directory.entry(node.peerId)
    if (error.code === 'NO_FREE_SLOT') entry?.markFull(digest, clock.nowMs())
    else {
      const forMs = Math.min(EXCLUSION_MS * 2 ** this.#failures++, EXCLUSION_MS_MAX)
      const untilMs = error.row.retryable ? clock.nowMs() + forMs : Number.POSITIVE_INFINITY
      this.#excludedUntilMs.set(exclusionKey(node), untilMs)
      if (isFaultOfNode(error)) entry?.addFailure(clock.nowMs())
    }
    const never = [...this.#excludedUntilMs].filter(([, untilMs]) => untilMs === Number.POSITIVE_INFINITY)
    if (never.length > 0 && !planner.hasOther(digest, new Set(never.map(([key]) => key)))) throw error
    counts.retries++
    return error
  }

  /** @throws SkeinError why there is none, or the signal's reason. */
  async #place(work: Work, cause: SkeinError | undefined, signal: AbortSignal): Promise<Place> {
    const { clock, line, planner } = this.#components
    const { digest, priority, tenant } = this.#spec
    signal.throwIfAborted()
    const isResumed = cause !== undefined
    if (!line.hasWaiter(digest, priority, isResumed)) {
      const now = this.#commit(work, isResumed, NO_CLAIMS)
      if (typeof now === 'object' && 'result' in now) return now.result
    }
    const sinceMs = clock.nowMs()
    const boundMs = Math.min(LIMITS.queuedMs, Math.max(0, this.#deadlineMs - clock.nowMs()))
    const limit = deadline(clock, boundMs, () => waitedTooLong(cause, boundMs))
    const waiter: Waiter<Place> = {
      digest,
      priority,
      tenant,
      cost: tokensOf(work),
      deadlineAtMs: this.#deadlineMs,
      isResumed,
      mayUse: (node) => planner.couldUse(this.#demand(work), node),
      attempt: (claims) => this.#commit(work, isResumed, claims, clock.nowMs() - sinceMs),
      moved: () => {},
    }
    try {
      return await line.wait(waiter, AbortSignal.any([signal, limit.signal]))
    } finally {
      limit.cancel()
    }
  }

  /** Plans and, when there is a plan, takes the slot in the same turn. */
  #commit(work: Work, isResumed: boolean, claims: ReadonlyMap<PeerId, number>, waitedMs = 0): Outcome<Place> {
    const { leaving, planner, streams } = this.#components
    if (streams.total >= LIMITS.workStreamsMax) return 'no slot'
    const demand = this.#demand(work, waitedMs)
    const found = planner.plan(demand, claims)
    if (found.kind === 'wait') return { waitFor: found.node.peerId, serviceMs: found.workMs }
    if (found.kind === 'plan') {
      const { node, prediction, reason } = found
      if (node.isCloud && !leaving.mayWork(this.#spec, reason)) return 'not yet'
      const reservation = streams.reserve(node.peerId, planner.reserve(node, demand))
      const assignment = { prediction, candidates: [], reservation, money: undefined, decodeTokens: 1 }
      return { result: { assignment, node, ...(reason && { reason }) } }
    }
    if (found.code === 'SATURATED') return found.isAway ? 'not yet' : 'no slot'
    // nodes come back, and exclusions end; what was let in is worth waiting for
    if (found.code === 'NO_ELIGIBLE_NODE' && (isResumed || this.#attempts > 0)) return 'not yet'
    throw refusal(found)
  }

  #demand(work: Work, waitedMs = 0): WorkDemand {
    const { clock, directory, leaving, streams } = this.#components
    const { digest, localOnly, tenant } = this.#spec
    const nowMs = clock.nowMs()
    const excluded = new Set<string>()
    for (const [key, untilMs] of this.#excludedUntilMs) if (untilMs > nowMs) excluded.add(key)
    for (const [peerId, open] of streams.byNode) {
      const entry = directory.entry(peerId)
      if (entry && open >= LIMITS.workStreamsPerConnectionMax) excluded.add(exclusionKey(entry))
    }
    const leftMs = Math.max(0, this.#deadlineMs - nowMs)
    const leave = leaving.workDemand(this.#spec, { leftMs, waitedMs, hasBegun: this.#attempts > 0 })
    return { digest, work, localOnly, leave, waitedMs, tenant, excluded }
  }
}

const waitedTooLong = (cause: SkeinError | undefined, boundMs: number): SkeinError =>
  cause === undefined
    ? new SkeinError('SATURATED', `no slot became free within ${Math.round(boundMs)} ms`, { retryAfterSeconds: 10 })
    : new SkeinError(cause.code, `${cause.message}; no other node could do it within ${Math.round(boundMs)} ms`, {
        cause,
      })
