/**
 * Runs tasks: waits for a slot, commits a plan, runs the attempt, and after a loss goes on with another node from the
 * last delivered token. An attempt is a pure function of what it is given, so that going on is calling it again with the
 * tokens so far (`docs/ARCHITECTURE.md`, "An attempt is a pure function").
 */
import { asSkeinError, isTaskEnd, LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import { deadline, PushQueue, type Clock, type Logger, type Random } from '../../mesh/runtime/index.ts'
import type { PeerTransport } from '../../mesh/network/index.ts'
import type { Directory, Reservation } from '../directory/index.ts'
import { schedule, type Plan, type TaskDemand, type Unschedulable } from '../scheduler/index.ts'
import { AttemptStreams } from './attempt-streams.ts'
import { runAttempt } from './attempt.ts'
import type { TaskEvent } from './events.ts'
import type { Completion, Task } from './task.ts'
import { TokenRatio } from './token-ratio.ts'
import { WaitingLine } from './waiting-line.ts'

/** A node that failed a task is left out of its next plans for this long, doubled with each attempt up to the bound. */
const EXCLUSION_MS = 1000
const EXCLUSION_MS_MAX = 8000
/** Tokens that a task without a limit is expected to generate, for the prediction. */
const EXPECTED_TOKENS = 256

export interface DispatcherComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly transport: PeerTransport
  readonly directory: Directory
}

interface Assignment {
  readonly plan: Plan
  readonly reservation: Reservation
}

export class Dispatcher {
  readonly #components: DispatcherComponents
  readonly #log: Logger
  readonly #line: WaitingLine<Assignment>
  readonly #streams: AttemptStreams
  readonly #ratio = new TokenRatio()
  readonly #dropped = new Map<string, number>()
  readonly #lost = new Map<string, AbortController>()
  #running = 0

  constructor(components: DispatcherComponents) {
    this.#components = components
    this.#log = components.log.scope('dispatch')
    this.#line = new WaitingLine(components.clock)
    this.#streams = new AttemptStreams(components)
    components.directory.watch({
      capacity: () => this.#line.wake(),
      lost: (peerId, session) => {
        const key = `${peerId}#${session}`
        this.#lost.get(key)?.abort(new SkeinError('NODE_LOST', 'the node is gone'))
        this.#lost.delete(key)
        this.#streams.drop(peerId)
      },
    })
  }

  /** Gives up what is held in reserve; running tasks go on. */
  stop(): void {
    this.#streams.close()
  }

  /** Tasks that were admitted and have not ended. */
  get running(): number {
    return this.#running
  }

  /** Frames dropped, by reason. */
  get dropped(): ReadonlyMap<string, number> {
    return this.#dropped
  }

  /**
   * A first look, before the task is admitted.
   *
   * @throws SkeinError what keeps every node from serving it, other than that all slots are taken.
   */
  check(task: Task): void {
    const found = this.#plan(task)
    if (found.kind === 'unschedulable' && found.code !== 'SATURATED') throw refusal(found)
  }

  /** Events of `task` until its end. Leaving the iteration cancels it. @throws SkeinError what ended it. */
  async *run(task: Task, signal: AbortSignal): AsyncGenerator<TaskEvent, void, undefined> {
    const { clock } = this.#components
    this.#running++
    const limit = deadline(clock, task.init.deadlineAtMs - clock.nowMs(), () => expired(task))
    const bound = AbortSignal.any([signal, limit.signal])
    try {
      const completion = yield* this.#untilDone(task, bound)
      task.enter('completed')
      yield this.#end(task, completion)
    } catch (thrown) {
      const error = asSkeinError(bound.aborted ? bound.reason : thrown)
      if (!isTaskEnd(task.state)) task.enter(endState(error, signal.aborted))
      this.#log.debug({ task: task.id, request: task.init.requestId, code: error.code }, error.message)
      throw error
    } finally {
      limit.cancel()
      this.#running--
      if (!isTaskEnd(task.state)) task.enter('cancelled')
    }
  }

  async *#untilDone(task: Task, signal: AbortSignal): AsyncGenerator<TaskEvent, Completion, undefined> {
    let cause: SkeinError | undefined
    while (task.attempts < LIMITS.attemptsMax) {
      const { plan, reservation } = yield* this.#assign(task, cause, signal)
      try {
        if (cause) yield { type: 'status', text: `${reasonToMove(cause)}, resuming on ${plan.node.name}` }
        return yield* this.#attempt(task, plan, signal)
      } catch (thrown) {
        if (signal.aborted) throw thrown
        cause = this.#settleFailure(task, plan, asSkeinError(thrown, 'NODE_LOST'))
      } finally {
        reservation.release()
      }
    }
    throw new SkeinError('ATTEMPTS_EXHAUSTED', `${task.attempts} attempts failed, the last: ${cause?.message}`, {
      cause,
    })
  }

  /** Waits until a plan is committed, telling the place in the line meanwhile. */
  async *#assign(
    task: Task,
    cause: SkeinError | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<TaskEvent, Assignment, undefined> {
    const { clock } = this.#components
    const digest = task.init.digest
    if (!this.#line.hasWaiter(digest)) {
      const now = this.#commit(task)
      if (typeof now !== 'string') return now.result
    }
    const limit = deadline(clock, LIMITS.queuedMs, () => waitedTooLong(cause))
    const moves = new PushQueue<number | Assignment>(LIMITS.queuedTasksMax + 2)
    const reprieveMs = task.nextReprieveMs(clock.nowMs())
    const cancelReprieve =
      reprieveMs === undefined ? undefined : clock.timer(reprieveMs - clock.nowMs(), () => this.#line.wake())
    const waiter = { digest, attempt: () => this.#commit(task), moved: (position: number) => moves.push(position) }
    const left = new AbortController()
    let assigned: Promise<Assignment> | undefined
    let taken = false
    try {
      assigned = this.#line.wait(waiter, AbortSignal.any([signal, limit.signal, left.signal]))
      assigned.then(
        (assignment) => moves.push(assignment),
        (error: unknown) => moves.fail(error),
      )
      for await (const move of moves) {
        if (typeof move !== 'number') {
          taken = true
          return move
        }
        yield { type: 'status', text: `queued ${move}` }
      }
      throw new SkeinError('INTERNAL', 'a waiting task was forgotten')
    } finally {
      limit.cancel()
      cancelReprieve?.()
      // Left while waiting: the place is given up, and what was assigned in the same moment must not stay reserved.
      left.abort(new SkeinError('CLIENT_CLOSED', 'the task is not waited for any more'))
      if (!taken) assigned?.then((assignment) => assignment.reservation.release()).catch(() => {})
    }
  }

  /** Plans and, when there is a plan, reserves its slot in the same turn: no other task can come between. */
  #commit(task: Task): { result: Assignment } | 'no slot' | 'not yet' {
    const plan = this.#plan(task)
    if (plan.kind === 'plan') {
      const reservation = this.#components.directory.reserve(plan.node.peerId, task.init.digest)
      return { result: { plan, reservation } }
    }
    if (plan.code === 'SATURATED') return 'no slot'
    // Before the first attempt nothing is lost by saying no at once; later the answer has begun, and a node may return.
    if (task.attempts === 0) throw refusal(plan)
    return 'not yet'
  }

  #plan(task: Task): Plan | Unschedulable {
    const { clock, directory, random } = this.#components
    return schedule(directory.snapshot(), this.#demand(task, clock.nowMs()), () => random.next())
  }

  #demand(task: Task, nowMs: number): TaskDemand {
    const { digest, promptBytes, maxTokens } = task.init
    const generated = task.generated.length
    return {
      digest,
      prefillTokens: this.#ratio.tokens(digest, promptBytes) + generated,
      prefillTokensMin: this.#ratio.tokensMin(promptBytes) + generated,
      decodeTokens: Math.min(maxTokens - generated, EXPECTED_TOKENS),
      excluded: task.excludedAt(nowMs),
    }
  }

  async *#attempt(task: Task, plan: Plan, signal: AbortSignal): AsyncGenerator<TaskEvent, Completion, undefined> {
    const { clock, directory } = this.#components
    const { node } = plan
    task.attempts++
    task.firstAssignedAtMs ??= clock.nowMs()
    if (task.state === 'queued') task.enter('running')
    const components = {
      clock,
      streams: this.#streams,
      count: (reason: string) => this.#dropped.set(reason, (this.#dropped.get(reason) ?? 0) + 1),
      onAccepted: (acceptMs: number) => directory.entry(node.peerId)?.addLink(acceptMs),
    }
    const fence = task.nextFence()
    this.#log.debug({ task: task.id, attempt: task.attempts, node: node.name, prediction: plan.prediction }, 'assigned')
    return yield* runAttempt(components, task, node, fence, AbortSignal.any([signal, this.#lostSignal(node)]))
  }

  /** One signal for each life of a node, shared by its attempts; of a life that is over, one that has aborted. */
  #lostSignal(node: Plan['node']): AbortSignal {
    const entry = this.#components.directory.entry(node.peerId)
    if (entry === undefined || entry.session !== node.session || entry.liveness === 'disconnected')
      return AbortSignal.abort(new SkeinError('NODE_LOST', 'the node is gone'))
    const key = `${node.peerId}#${node.session}`
    let controller = this.#lost.get(key)
    if (controller === undefined) {
      controller = new AbortController()
      this.#lost.set(key, controller)
    }
    return controller.signal
  }

  /** Learns from a failed attempt. @throws the error itself when another node could not do better. */
  #settleFailure(task: Task, plan: Plan, error: SkeinError): SkeinError {
    const { clock, directory } = this.#components
    const entry = directory.entry(plan.node.peerId)
    this.#log.warn({ task: task.id, attempt: task.attempts, node: plan.node.name, code: error.code }, error.message)
    // A node that no longer has the model says so of itself; others may have it.
    if (error.row.blame === 'caller' && error.code !== 'MODEL_NOT_FOUND') throw error
    if (error.code === 'NO_FREE_SLOT') entry?.markFull(task.init.digest)
    else {
      const untilMs = clock.nowMs() + Math.min(EXCLUSION_MS * 2 ** (task.attempts - 1), EXCLUSION_MS_MAX)
      task.exclude(plan.node, error.row.retryable ? untilMs : Number.POSITIVE_INFINITY)
      if (error.code !== 'NODE_DRAINING') entry?.addFailure(clock.nowMs())
    }
    task.enter('queued')
    return error
  }

  #end(task: Task, completion: Completion): TaskEvent {
    const nowMs = this.#components.clock.nowMs()
    this.#ratio.learn(task.init.digest, task.init.promptBytes, completion.usage.promptTokens)
    const assignedMs = task.firstAssignedAtMs ?? nowMs
    const firstTokenMs = task.firstTokenAtMs ?? nowMs
    return {
      type: 'end',
      ...completion,
      attempts: task.attempts,
      timing: {
        queuedMs: assignedMs - task.init.admittedAtMs,
        firstTokenMs: firstTokenMs - assignedMs,
        decodeMs: nowMs - firstTokenMs,
      },
    }
  }
}

/** For people: why an answer moves. */
function reasonToMove(cause: SkeinError): string {
  if (cause.code === 'NODE_DRAINING') return 'node is leaving'
  if (cause.code === 'NO_FREE_SLOT') return 'node is full'
  if (cause.code === 'ATTEMPT_STALLED') return 'node is stalled'
  return cause.row.blame === 'node' && cause.row.retryable ? 'node lost' : 'node failed'
}

const refusal = (found: Unschedulable): SkeinError =>
  new SkeinError(
    found.code,
    found.message,
    found.code === 'NO_ELIGIBLE_NODE' || found.code === 'NO_NODE' ? { retryAfterSeconds: 2 } : {},
  )

const expired = (task: Task): SkeinError =>
  new SkeinError(
    'TASK_EXPIRED',
    `the task did not end within ${Math.round(task.init.deadlineAtMs - task.init.admittedAtMs)} ms`,
  )

const waitedTooLong = (cause: SkeinError | undefined): SkeinError =>
  cause === undefined
    ? new SkeinError('SATURATED', `no slot became free within ${LIMITS.queuedMs} ms`, { retryAfterSeconds: 10 })
    : new SkeinError(cause.code, `${cause.message}; no other node could go on within ${LIMITS.queuedMs} ms`, { cause })

function endState(error: SkeinError, clientLeft: boolean): 'cancelled' | 'expired' | 'failed' {
  if (clientLeft) return 'cancelled'
  return error.code === 'TASK_EXPIRED' ? 'expired' : 'failed'
}
