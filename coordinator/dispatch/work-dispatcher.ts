/**
 * All work that runs: requests in parts, the parts on nodes with one model, retried elsewhere on loss. Work is a pure
 * function of the model's digest and the request, so that it needs neither ledger nor fencing: what is lost is asked
 * again, and what comes twice is equal. A request has all of its results, in order, or an error.
 *
 * Parts wait in the line of the tasks, since they take the same slots; a request has only some of its parts there at once.
 */
import {
  asSkeinError,
  SkeinError,
  type ModelDigest,
  type WorkKind,
  type WorkResult,
} from '../../mesh/protocol/index.ts'
import { deadline, type Clock, type Logger, type Random } from '../../mesh/runtime/index.ts'
import type { PeerTransport } from '../../mesh/network/index.ts'
import type { Directory, ExpectedTokens } from '../directory/index.ts'
import type { NodeSnapshot } from '../scheduler/index.ts'
import type { DispatchEvent, Tell } from './happened.ts'
import { endState } from './outcomes.ts'
import type { Leaving } from './leave.ts'
import type { Place } from './placement.ts'
import { refusal } from './planner.ts'
import type { Shares } from './shares.ts'
import { logIdsOf } from './traced.ts'
import type { WaitingLine } from './waiting-line.ts'
import { joinResults, splitWork } from './work-parts.ts'
import { tokensOf, WorkPlanner } from './work-planner.ts'
import { promptTokensOf, WorkRun, WorkStreams, type WorkAnswer, type WorkSpec } from './work-run.ts'

/** Parts of one request that wait or run at once: a long one leaves places in the line to others. */
const PARTS_AT_ONCE = 16

export interface WorkDispatcherComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly transport: PeerTransport
  readonly directory: Directory
  readonly line: WaitingLine<Place>
  readonly shares: Shares
  readonly leaving: Leaving
  /** Aborts when the node's present life is over. */
  readonly lostSignal: (node: NodeSnapshot) => AbortSignal
  /** A request was let in, and is expected to take so much. */
  readonly onArrival?: (digest: ModelDigest, expected: ExpectedTokens) => void
  readonly tell: Tell
}

/** Counts since the start. */
export interface WorkStats {
  readonly running: number
  /** Requests that were let in, by their kind. */
  readonly requests: Readonly<Record<WorkKind, number>>
  readonly completed: number
  /** Ended by an error that was not their client's leaving. */
  readonly failed: number
  readonly cancelled: number
  /** Parts that were sent to a node, retries included, and those that were sent again. */
  readonly parts: number
  readonly retries: number
}

type WorkEnd = Extract<DispatchEvent, { type: 'work.ended' }>

export class WorkDispatcher {
  readonly #components: WorkDispatcherComponents
  readonly #log: Logger
  readonly #planner: WorkPlanner
  readonly #stopping = new AbortController()
  readonly #requests: Record<WorkKind, number> = { embed: 0, classify: 0, infer: 0 }
  readonly #counts = { completed: 0, failed: 0, cancelled: 0, parts: 0, retries: 0 }
  #running = 0
  readonly #streams = new WorkStreams()

  constructor(components: WorkDispatcherComponents) {
    this.#components = components
    this.#log = components.log.scope('work')
    this.#planner = new WorkPlanner(components)
  }

  /** Requests that were let in and have not ended. */
  get running(): number {
    return this.#running
  }

  stats(): WorkStats {
    return { running: this.#running, requests: { ...this.#requests }, ...this.#counts }
  }

  /** Ends all that runs with SHUTTING_DOWN, and lets nothing in any more. */
  close(): void {
    this.#stopping.abort(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 }))
  }

  /**
   * The results of all texts, in their order, or of all tensors.
   *
   * @param signal of the client: its abort ends the work at the nodes.
   * @throws SkeinError what keeps every node from doing it; DEADLINE_UNREACHABLE, SATURATED, TASK_EXPIRED,
   *   ATTEMPTS_EXHAUSTED, SHUTTING_DOWN; what a node says about the request itself; the signal's reason.
   */
  async run(spec: WorkSpec, signal: AbortSignal): Promise<WorkAnswer> {
    const { clock } = this.#components
    this.#stopping.signal.throwIfAborted()
    this.#check(spec)
    this.#components.onArrival?.(spec.digest, { prefillTokens: tokensOf(spec.work), decodeTokens: 0 })
    this.#requests[spec.work.kind]++
    this.#running++
    const late = (): SkeinError =>
      new SkeinError('TASK_EXPIRED', `the work did not end within ${Math.round(spec.deadlineMs)} ms`)
    const limit = deadline(clock, spec.deadlineMs, late)
    const ending = AbortSignal.any([signal, limit.signal, this.#stopping.signal])
    const beganMs = clock.nowMs()
    const tell = (ended: Pick<WorkEnd, 'outcome' | 'code' | 'promptTokens'>): void => {
      const { taskId, digest, tenant, trace } = spec
      const work = { taskId, digest, tenant, ...(trace && { trace }), kind: spec.work.kind }
      this.#components.tell({ type: 'work.ended', work, tookMs: clock.nowMs() - beganMs, ...ended })
    }
    try {
      const answer = await this.#answer(spec, ending)
      this.#counts.completed++
      tell({ outcome: 'completed', promptTokens: promptTokensOf(answer) })
      return answer
    } catch (thrown) {
      const error = asSkeinError(ending.aborted ? ending.reason : thrown)
      if (signal.aborted) this.#counts.cancelled++
      else this.#counts.failed++
      tell({ outcome: endState(error), code: error.code, promptTokens: 0 })
      this.#log.debug({ ...logIdsOf(spec), code: error.code }, error.message)
      throw error
    } finally {
      limit.cancel()
      this.#running--
    }
  }

  async #answer(spec: WorkSpec, ending: AbortSignal): Promise<WorkAnswer> {
    const { clock } = this.#components
    const demand = { ...spec, excluded: new Set<string>() }
    const parts = splitWork(spec.work, this.#planner.freeSlots(demand))
    const failed = new AbortController()
    const run = new WorkRun(
      { ...this.#components, log: this.#log, planner: this.#planner, counts: this.#counts, streams: this.#streams },
      spec,
    )
    const results: WorkResult[] = []
    const signal = AbortSignal.any([ending, failed.signal])
    let next = 0
    const work = async (): Promise<void> => {
      for (let index = next++; index < parts.length; index = next++)
        results[index] = await run.part(parts[index]!, signal)
    }
    const beganMs = clock.nowMs()
    try {
      await Promise.all(Array.from({ length: Math.min(parts.length, PARTS_AT_ONCE) }, work))
    } catch (thrown) {
      // the other parts are of no use any more
      failed.abort(thrown)
      throw thrown
    }
    return run.answer(joinResults(results), beganMs)
  }

  /**
   * A first look, before it is let in.
   *
   * @throws SkeinError what keeps every node from doing it, other than that all slots are taken; DEADLINE_UNREACHABLE.
   */
  #check(spec: WorkSpec): void {
    const { leaving, line } = this.#components
    const leave = leaving.workDemand(spec, { leftMs: spec.deadlineMs, waitedMs: 0, hasBegun: false })
    const found = this.#planner.plan({ ...spec, leave, excluded: new Set() })
    if (found.kind === 'unschedulable' && found.code !== 'SATURATED') {
      leaving.refused('admission', found.code, spec)
      throw refusal(found)
    }
    if (found.kind !== 'unschedulable' && found.node.isCloud) {
      if (spec.localOnly || found.reason === undefined)
        throw new SkeinError('LOCAL_ONLY', 'the work is not to leave, and only rented machines could do it now')
      return
    }
    const waitMs =
      line.aheadMs(spec.digest, spec.priority) +
      (found.kind === 'unschedulable' ? (found.waitMs ?? 0) : found.prediction.waitMs)
    if (waitMs <= spec.deadlineMs) return
    throw new SkeinError(
      'DEADLINE_UNREACHABLE',
      `the wait for a slot is some ${Math.ceil(waitMs)} ms, the deadline ${Math.ceil(spec.deadlineMs)} ms`,
      { retryAfterSeconds: Math.ceil(waitMs / 1000) },
    )
  }
}
