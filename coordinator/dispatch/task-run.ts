/**
 * The life of one task: waits for a place, runs an attempt, and after a loss goes on elsewhere from the last delivered
 * token. An attempt is a pure function of what it is given, so that going on is calling it again with the tokens so far
 * (`docs/ARCHITECTURE.md`, "An attempt is a pure function").
 *
 * A planned move has two phases: the target prefills prompt and tokens so far while the source still streams; then the
 * answer is cut at a token, the target gets the few tokens that were missing, and the source is told to stop. Until the
 * cut nothing is lost if the target fails, and if the source fails the target is already warm.
 */
import { asSkeinError, isTaskEnd, LIMITS, SkeinError, type PeerId } from '../../mesh/protocol/index.ts'
import { deadline, sleep, withDeadline, type Logger } from '../../mesh/runtime/index.ts'
import type { AnswerPart, AttemptReason, LedgerTask, TaskResult } from '../ledger/index.ts'
import { AttemptLog, MESSAGE_LENGTH_MAX, startedAt } from './attempt-log.ts'
import { Attempt, raced, type AttemptInit } from './attempt.ts'
import { Beat } from './beat.ts'
import { blameNode, blameTarget, isTargetAtFault } from './blame.ts'
import { Cascade, notSure } from './cascade.ts'
import type { TaskEvent } from './events.ts'
import { Followers } from './followers.ts'
import type { AnswerSource } from './given.ts'
import { Placement, type HeldAttempt, type Place } from './placement.ts'
import { endState, expired, isOthers, outcomeOf, reasonToMove } from './outcomes.ts'
import type { RunComponents } from './run-components.ts'
import { endOfTask } from './task-end.ts'
import type { Completion, Task } from './task.ts'
import { logIdsOf } from './traced.ts'

/** The end of an answer that may be resumed is told when it is durable; a ledger that cannot be written delays it no longer. */
const COMMIT_WAIT_MS = 2000

export type MoveReason = Extract<AttemptReason, 'drain' | 'rebalance'>

/** A target that lacks more tokens than this is prepared once more, at most so often: each round is shorter than the last. */
const TAIL_TOKENS_MAX = 2
const ROUNDS_MAX = 4
/** The cut waits so long for the source's next token, in ms: right behind one, the least of its work is lost. */
const CUT_WAIT_MS = 250

export class TaskRun {
  readonly task: Task
  readonly attempts: AttemptLog
  readonly #components: RunComponents
  readonly #log: Logger
  readonly #followers: Followers
  readonly #ending = new AbortController()
  readonly #placement: Placement
  readonly #cascade: Cascade
  readonly #source: AnswerSource | undefined
  readonly #delivery = new Beat()
  /** An earlier life of the coordinator had begun it, and what that delivered last may be lost. */
  #isRecovered: boolean
  #current: Attempt | undefined
  #moving: Promise<boolean> | undefined
  /** Of the end of it all: its deadline, or whoever ends it before. */
  #signal: AbortSignal = this.#ending.signal
  readonly #over = Promise.withResolvers<void>()
  #isAbandoned = false
  #endedAtMs: number | undefined
  #checkpointed: number
  #result: TaskResult | undefined
  #cancelDetached: () => void = () => {}

  /**
   * @param from the task as the ledger knew it, when an earlier life of the coordinator had begun it.
   * @param source of an answer that nodes need not make, or only go on with.
   */
  constructor(components: RunComponents, task: Task, from?: LedgerTask, source?: AnswerSource) {
    this.task = task
    this.#source = source
    this.#components = components
    this.#log = components.log
    this.attempts = new AttemptLog(components, task, from?.attempts ?? [])
    const last = from?.attempts.at(-1)?.assigned
    const isPatient = from !== undefined || task.spec.attachment === 'background'
    this.#placement = new Placement(components, task, isPatient, (text) => this.#say(text))
    if (last) this.#placement.lost({ fence: last.fence, peerId: last.node.peerId }, true)
    this.#isRecovered = last !== undefined
    this.#checkpointed = task.answer.length
    this.#followers = new Followers({
      answer: task.answer,
      onLeft: () => this.#left(),
      onCame: () => this.#cancelDetached(),
    })
    this.#cascade = new Cascade(components, task, this.#followers, from !== undefined)
  }

  /** Resolves when the run is over. Does not reject. */
  get over(): Promise<void> {
    return this.#over.promise
  }

  get result(): TaskResult | undefined {
    return this.#result
  }

  /** Wall clock, in ms. */
  get endedAtMs(): number | undefined {
    return this.#endedAtMs
  }

  /** The attempt that the answer comes from now. */
  get current(): Attempt | undefined {
    return this.#current
  }

  get isMoving(): boolean {
    return this.#moving !== undefined
  }

  /** Nobody gets anything of its answer yet. */
  get isHeld(): boolean {
    return this.#followers.isHeld
  }

  /** Place in the line, from 1, while it waits. */
  get position(): number | undefined {
    return this.#placement.position
  }

  /** As `TaskHandle.follow`. */
  follow(position: number, signal?: AbortSignal): AsyncIterable<TaskEvent> {
    const { answer } = this.task
    const index = answer.indexOf(position)
    // After a restart the answer may still be behind what a client holds: the node that made it is waited for.
    if (index < answer.length && !answer.isBorder(index))
      throw new SkeinError('INVALID_REQUEST', `no event of this answer ended at ${position}`)
    return this.#followers.follow(index, signal)
  }

  /** As `TaskHandle.textBefore`. */
  textBefore(position: number): string {
    const { answer } = this.task
    return answer.textBefore(answer.indexOf(position))
  }

  /** The client of `submit` hung up, maybe before it followed. */
  clientLeft(reason?: SkeinError): void {
    if (this.#followers.count === 0) this.#left(reason)
  }

  cancel(reason: SkeinError): void {
    this.#ending.abort(reason)
  }

  /** The coordinator stops: what may be resumed is left to its node, and to the next life of the coordinator. */
  abandon(): void {
    this.#isAbandoned = true
    this.#ending.abort(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping'))
  }

  /** A node says that it holds an attempt. Returns false when it is of no use any more. */
  offer(held: HeldAttempt): boolean {
    if (this.#result !== undefined) return false
    if (this.#current === undefined) return this.#placement.offer(held)
    const { fence, start } = this.#current.init
    // the node has not heard yet that it is being attached to
    if (typeof start === 'object' && start.attach === held.fence) return true
    if (fence !== held.fence) return false
    this.#placement.offerEarly(held)
    return true
  }

  /** A node has told all that it holds, and nothing of this task was among it. */
  notHeldBy(peerId: PeerId): void {
    this.#placement.notHeldBy(peerId)
  }

  /** Gives the slot to a more urgent task; the answer goes on later. False when there is none to give. */
  preempt(): boolean {
    if (this.#current === undefined || this.#moving !== undefined) return false
    this.#current.cancel(new SkeinError('PREEMPTED', 'the slot was given to a more urgent task'))
    return true
  }

  /** Moves the answer to another node while it goes on. Resolves with whether it was moved. Does not throw. */
  move(reason: MoveReason): Promise<boolean> {
    const source = this.#current
    if (source === undefined || this.#moving !== undefined || this.#result !== undefined) return Promise.resolve(false)
    const found = this.#components.planner.plan(this.task, {
      leaving: source.node.peerId,
      isForGain: reason === 'rebalance',
    })
    const assignment = found.kind === 'plan' ? this.#components.planner.commit(this.task, found) : undefined
    if (found.kind !== 'plan' || assignment === undefined) return Promise.resolve(false)
    this.#moving = this.#handOver(source, { assignment, node: found.node }, reason).finally(() => {
      this.#moving = undefined
    })
    return this.#moving
  }

  /** Runs it to its end. Does not throw. */
  async run(): Promise<void> {
    const { clock, onEnd } = this.#components
    const { task } = this
    const limit = deadline(clock, Math.max(0, task.deadlineMs - clock.nowMs()), () => expired(task))
    const signal = (this.#signal = AbortSignal.any([this.#ending.signal, limit.signal]))
    try {
      const completion = (await this.#given(signal)) ?? (await this.#untilDone(signal))
      if (task.state === 'queued') task.enter('running')
      task.enter('completed')
      await this.#complete(completion)
    } catch (thrown) {
      await this.#fail(asSkeinError(signal.aborted ? signal.reason : thrown))
    } finally {
      limit.cancel()
      this.#cancelDetached()
      onEnd(this)
      this.#over.resolve()
    }
  }

  /** Tokens that came since the last checkpoint become durable. */
  checkpoint(): void {
    if (this.#result !== undefined || this.#components.recorder.isBehind || this.isHeld) return
    const part = this.task.answer.part(this.#checkpointed)
    if (part === undefined) return
    this.#checkpointed = this.task.answer.length
    const atMs = this.#components.clock.wallMs()
    this.#components.recorder.record({ type: 'task.checkpointed', atMs, taskId: this.task.id, part })
  }

  /** What the source gives: the whole answer, or `undefined` when nodes go on behind what it gave. */
  async #given(signal: AbortSignal): Promise<Completion | undefined> {
    const { answer } = this.task
    const into = {
      run: this,
      get length() {
        return answer.length
      },
      say: (event: Parameters<Followers['say']>[0]) => this.#followers.say(event),
      take: (part: AnswerPart | undefined) => {
        if (part) this.task.give(part, this.#components.clock.nowMs())
        this.#followers.grown()
      },
    }
    return this.#source?.(into, signal)
  }

  async #untilDone(signal: AbortSignal): Promise<Completion> {
    let cause: SkeinError | undefined
    for (;;) {
      const attempt = this.#current ?? (await this.#begin(cause, signal))
      try {
        const completion = await attempt.done
        const isUnsure = this.#cascade.isUnsure(true)
        this.attempts.ended(attempt, 'completed')
        this.#components.directory.entry(attempt.node.peerId)?.addSuccess()
        if (!isUnsure || !this.#escalated(attempt, completion)) return completion
      } catch (thrown) {
        if (signal.aborted && !this.#cascade.mayEnd(asSkeinError(signal.reason))) throw thrown
        if (this.#current !== attempt) continue // it was moved: what becomes of the source is no news
        cause = this.#settleFailure(attempt, asSkeinError(thrown, 'NODE_LOST'))
        const kept = this.#cascade.takeBack()
        if (kept) return kept
        await this.#moving
      }
    }
  }

  async #begin(cause: SkeinError | undefined, signal: AbortSignal): Promise<Attempt> {
    const { task } = this
    if (cause?.code !== 'PREEMPTED') task.checkAttempts(cause)
    if (cause) this.#say(`${reasonToMove(cause)}, looking for another`)
    const place = await this.#placement.find(cause, signal)
    const reason = this.#reasonOf(place, cause)
    if (reason === 'recovered') {
      task.answer.remake()
      this.#followers.remade()
    }
    this.#cascade.begin(place)
    this.#current = this.#attempt(place, place.attach === undefined ? 'generate' : { attach: place.attach }, reason)
    task.deliveringFence = this.#current.init.fence
    if (task.state === 'queued') task.enter('running')
    if (cause) this.#say(`${reasonToMove(cause)}, resuming on ${place.node.name}`)
    return this.#current
  }

  #reasonOf(place: Place, cause: SkeinError | undefined): AttemptReason {
    if (place.attach !== undefined) return 'reattached'
    const wasRecovered = this.#isRecovered
    this.#isRecovered = false
    if (wasRecovered) return 'recovered'
    if (cause === undefined) return 'first'
    return cause.code === 'PREEMPTED' ? 'preempted' : 'lost'
  }

  /** The answer, which nobody has read, was not sure enough: it is asked for in the cloud, if it may go there. */
  #escalated(source: Attempt, completion?: Completion): boolean {
    const place = this.#cascade.leave(completion)
    if (place === undefined) return false
    if (completion === undefined) {
      const reason = notSure(place.node.name)
      source.cancel(reason)
      source.done.catch(() => {})
      this.attempts.ended(source, 'evicted', reason)
    }
    this.#current = this.#attempt(place, 'generate', 'escalated')
    this.task.deliveringFence = this.#current.init.fence
    this.#say(`not sure enough of it, asking ${place.node.name}`)
    return true
  }

  #attempt(place: Place, start: AttemptInit['start'], reason: AttemptReason): Attempt {
    const { clock, lostSignal } = this.#components
    const { task } = this
    const { node, assignment } = place
    const fence = task.nextFence()
    // money is set aside on record before it is spent, so that no crash lets it be spent twice
    const recorded = assignment.money && Promise.withResolvers<void>()
    const init: AttemptInit = {
      ...{ task, node, number: task.attempts, fence, start, leave: assignment.leave },
      ...(recorded && { after: recorded.promise }),
      listener: {
        accepted: (attempt) => this.#accepted(attempt, reason),
        progress: (attempt, { phase, done, total }) => {
          if (attempt === this.#current && phase === 'loading')
            this.#say(`loading ${Math.floor((100 * done) / Math.max(total, 1))}%`)
        },
        delivered: (attempt, count) => {
          this.attempts.delivered(attempt, count)
          task.fruitless = 0
          this.#followers.grown()
          this.#delivery.strike()
          if (attempt === this.#current && this.#cascade.isUnsure(false)) this.#escalated(attempt)
        },
      },
    }
    task.firstAssignedAtMs ??= clock.nowMs()
    const attempt = new Attempt(this.#components, init, AbortSignal.any([this.#signal, lostSignal(node)]))
    void this.attempts.begun(attempt, assignment, reason).then(() => recorded?.resolve())
    this.#components.onAttempt(this)
    if (start !== 'hold' && reason !== 'first') this.#components.onMoved(attempt, reason)
    return attempt
  }

  #accepted(attempt: Attempt, reason: AttemptReason): void {
    this.attempts.accepted(attempt)
    if (typeof attempt.init.start === 'object') this.#isRecovered = false
    this.#components.directory.entry(attempt.node.peerId)?.addLink(attempt.observed.acceptMs!, attempt.sentBytes)
    if (attempt === this.#current) this.#followers.say(startedAt(attempt, reason))
  }

  #say(text: string): void {
    this.#followers.say({ type: 'status', text })
  }

  async #handOver(source: Attempt, place: Place, reason: MoveReason): Promise<boolean> {
    let target = this.#attempt(place, 'hold', reason)
    try {
      await this.#prepared(target, source)
      for (let round = 1; round < ROUNDS_MAX && this.#isBehind(target, source); round++) {
        const behind = target
        target = this.#attempt(this.#components.planner.renew(this.task, place), 'hold', reason)
        this.#supersede(behind)
        await this.#prepared(target, source)
      }
      if (this.#current === source) await this.#delivery.next(this.#components.clock, CUT_WAIT_MS)
      this.#checkWanted(source)
      target.assertFits()
    } catch (thrown) {
      target.cancel(asSkeinError(thrown))
      this.#components.counters.handOversFailed++
      this.#settleTarget(target, asSkeinError(thrown, 'NODE_LOST'))
      return false
    }
    this.#cut(source, target, reason)
    return true
  }

  /** @throws SkeinError when the target is not ready in time, or is not needed any more. */
  async #prepared(target: Attempt, source: Attempt): Promise<void> {
    const late = (): SkeinError => new SkeinError('ATTEMPT_STALLED', 'the target of a move was not ready in time')
    await withDeadline(this.#components.clock, LIMITS.prepareMs, late, undefined, (signal) =>
      raced(target.prepared, signal),
    )
    this.#checkWanted(source)
  }

  /** @throws SkeinError CLIENT_CLOSED. */
  #checkWanted(source: Attempt): void {
    // the source may have failed meanwhile, and its place is still empty; or it has ended the answer
    if (this.#result !== undefined || (this.#current !== undefined && this.#current !== source))
      throw new SkeinError('CLIENT_CLOSED', 'the answer ended while it was to be moved')
  }

  /** Tokens made while a long prompt was prefilled are prefilled in another round, as ServerlessLLM does (OSDI 2024). */
  #isBehind(target: Attempt, source: Attempt): boolean {
    return this.#current === source && this.task.answer.length - target.from > TAIL_TOKENS_MAX
  }

  #supersede(attempt: Attempt): void {
    const superseded = new SkeinError('STALE_FENCING_TOKEN', 'prepared once more, with the tokens since')
    attempt.cancel(superseded)
    attempt.done.catch(() => {})
    this.attempts.ended(attempt, 'cancelled', superseded)
  }

  /** The second phase: from here on the answer comes from `target`. */
  #cut(source: Attempt, target: Attempt, reason: MoveReason): void {
    const isAlive = this.#current === source
    this.#current = target
    target.commit()
    this.#components.counters.handOvers++
    this.#components.onMoved(target, reason)
    if (this.task.state === 'queued') this.task.enter('running')
    if (isAlive) {
      const moved = new SkeinError('NODE_DRAINING', `the answer was moved to ${target.node.name}`)
      source.cancel(moved)
      source.done.catch(() => {})
      this.attempts.ended(source, 'evicted', moved)
    }
    this.#say(`${reason === 'drain' ? 'node is leaving' : 'a better node is free'}, moved to ${target.node.name}`)
    this.#followers.say(startedAt(target, reason))
  }

  #settleTarget(target: Attempt, error: SkeinError): void {
    this.attempts.ended(target, isTargetAtFault(error) ? 'failed' : 'cancelled', error)
    blameTarget(this.#components, target, error)
  }

  /** Learns from a failed attempt. @throws the error itself when another node could not do better. */
  #settleFailure(attempt: Attempt, error: SkeinError): SkeinError {
    const { task } = this
    this.#current = undefined
    this.#delivery.strike()
    this.attempts.ended(attempt, outcomeOf(error), error)
    if (error.code === 'PREEMPTED') {
      task.enter('queued')
      return error
    }
    const ids = { ...logIdsOf(task.spec), attempt: attempt.init.number }
    this.#log.warn({ ...ids, node: attempt.node.name, code: error.code }, error.message)
    // A node that no longer has the model says so of itself; others may have it.
    if (error.row.blame === 'caller' && !isOthers(error) && !this.#cascade.hasKept) throw error
    this.#placement.lost({ fence: attempt.init.fence, peerId: attempt.node.peerId }, false)
    if (error.code !== 'ATTEMPT_NOT_HELD') blameNode(this.#components, attempt, error)
    task.enter('queued')
    return error
  }

  /** The end of what may be resumed is told when it is durable: then it holds whatever crashes (invariant I5). */
  async #complete(completion: Completion): Promise<void> {
    const { clock, planner } = this.#components
    const { task } = this
    const { text, ...made } = completion
    if (task.attempts > 0) planner.learn(task, completion)
    this.#endAttempts(new SkeinError('CLIENT_CLOSED', 'the answer ended while it was to be moved'))
    const timing = task.timing(clock.nowMs())
    await this.#record({ outcome: 'completed', ...made, timing, tail: text })
    const end = { type: 'end', ...completion, attempts: task.attempts, timing, ...task.receipt } as const
    this.#followers.end({ end })
  }

  async #fail(error: SkeinError): Promise<void> {
    const { task } = this
    this.#log.debug({ ...logIdsOf(task.spec), code: error.code }, error.message)
    this.#endAttempts(error)
    this.#cascade.end()
    if (!this.#isAbandoned) {
      const outcome = endState(error)
      if (!isTaskEnd(task.state)) task.enter(outcome)
      const { code, message } = error
      await this.#record({ outcome, error: { code, message: message.slice(0, MESSAGE_LENGTH_MAX) }, tail: '' })
    }
    this.#followers.end({ error })
  }

  #endAttempts(reason: SkeinError): void {
    for (const attempt of this.attempts.open) {
      if (this.#isAbandoned) attempt.abandon()
      else attempt.cancel(reason)
      attempt.done.catch(() => {})
      this.attempts.ended(attempt, 'cancelled', reason)
    }
  }

  async #record(result: TaskResult): Promise<void> {
    const { clock, recorder } = this.#components
    const { answer, spec } = this.task
    this.#result = result
    const atMs = (this.#endedAtMs = clock.wallMs())
    const ended = { atMs, result, part: answer.part(this.#checkpointed) }
    const durable = recorder.settled(endOfTask(this.#components, this.task, ended))
    if (spec.attachment === 'attached') return
    const late = new AbortController()
    await Promise.race([durable, sleep(clock, COMMIT_WAIT_MS, late.signal).catch(() => {})])
    late.abort()
  }

  #left(reason?: SkeinError): void {
    if (this.#result !== undefined || this.#ending.signal.aborted) return
    const { attachment } = this.task.spec
    const gone = (): void => this.cancel(new SkeinError('CLIENT_CLOSED', 'the client hung up and did not come back'))
    if (attachment === 'attached') return reason ? this.cancel(reason) : gone()
    if (attachment === 'background') return
    this.#cancelDetached()
    this.#cancelDetached = this.#components.clock.timer(LIMITS.detachedMs, gone)
  }
}
