/**
 * All running tasks, and what moves them: nodes that are lost, that leave or that come back with an attempt, tasks that
 * are more urgent, places that are much better. One task's own life is in `task-run.ts`.
 */
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type ModelDigest,
  type PeerId,
  type TaskId,
} from '../../mesh/protocol/index.ts'
import type { CancelTimer, Logger } from '../../mesh/runtime/index.ts'
import type { PeerTransport } from '../../mesh/network/index.ts'
import type { ExpectedTokens, HeldReport } from '../directory/index.ts'
import { type AttemptReason, type Ledger, type LedgerTask, type TaskSpec } from '../ledger/index.ts'
import type { NodeSnapshot } from '../scheduler/index.ts'
import { AttemptStreams } from './attempt-streams.ts'
import { nameOf, routeOf } from './attempt-log.ts'
import type { Attempt, DropReason } from './attempt.ts'
import { BudgetDesk } from './budget-desk.ts'
import type { AtBudget, ShortCounts } from './budget-limits.ts'
import type { CascadeCounts } from './cascade.ts'
import { pricedModel, type Costs } from './costs.ts'
import { estimateOf, type TaskEstimate } from './estimate.ts'
import type { AskedRoute } from './leave.ts'
import type { AnswerSource } from './given.ts'
import type { DispatchEvent, Tell, TokenCounts } from './happened.ts'
import type { Place } from './placement.ts'
import { Planner, refusal, type PlannerComponents } from './planner.ts'
import { victimOf } from './preemption.ts'
import { Recorder } from './recorder.ts'
import { Shares } from './shares.ts'
import type { DispatchStats } from './stats.ts'
import type { RunComponents, RunCounters } from './run-components.ts'
import { TaskRun } from './task-run.ts'
import { Task } from './task.ts'
import { logIdsOf } from './traced.ts'
import { WaitingLine, type Hoping } from './waiting-line.ts'
import { WorkDispatcher } from './work-dispatcher.ts'
import { promptTokensOf, type WorkAnswer, type WorkSpec } from './work-run.ts'

/** Nodes that leave are looked for at most this often, however often capacity changes. */
const LEAVING_MS = 50
/** A more urgent task may take a slot after waiting this long for one. */
const PREEMPT_AFTER_MS = 1000
const PREEMPT_CHECK_MS = 250
const LINE_MS = 1000
const REBALANCE_MS = 2000
/** A move must be worth it: at least so much sooner, in ms and as a share of what is left. */
const REBALANCE_GAIN_MS = 3000
const REBALANCE_GAIN_SHARE = 0.3
/** An answer is moved for gain at most this often. */
const REBALANCE_PAUSE_MS = 15_000
/** Ended runs stay at hand this long, for those who ask at once. */
const ENDED_MS = 10_000
const PURGE_MS = 3_600_000

export interface DispatcherComponents extends PlannerComponents {
  readonly log: Logger
  readonly transport: PeerTransport
  readonly ledger: Ledger
  /** A task, or a request of work, was let in, and is expected to take so much. */
  readonly onArrival?: (digest: ModelDigest, expected: ExpectedTokens) => void
  /** A task, or a request of work, has ended, and took so many tokens of its tenant. */
  readonly onUsed?: (tenant: string, tokens: number) => void
  /** Energy and clouds are not priced without it. */
  readonly costs?: Costs | undefined
  /** Something happened. Must neither throw nor wait: it stands in the way of what goes on. */
  readonly onEvent?: Tell
}

export class Dispatcher {
  /** What models do in one step, without a task. */
  readonly work: WorkDispatcher
  /** Limits of money, and what rented machines cost. */
  readonly budget: BudgetDesk
  readonly #components: DispatcherComponents
  readonly #log: Logger
  readonly #line: WaitingLine<Place>
  readonly #shares = new Shares()
  readonly #planner: Planner
  readonly #recorder: Recorder
  readonly #streams: AttemptStreams
  readonly #runs = new Map<TaskId, TaskRun>()
  readonly #dropped = new Map<DropReason, number>()
  readonly #lost = new Map<string, AbortController>()
  readonly #movedAtMs = new WeakMap<TaskRun, number>()
  /** Tokens that the tenant was charged for. */
  readonly #charged = new WeakMap<TaskRun, number>()
  readonly #migrations = new Map<AttemptReason, number>()
  readonly #cascades: CascadeCounts = { sure: 0, kept: 0, unmeasured: 0, left: 0 }
  readonly #counters: RunCounters = { handOvers: 0, handOversFailed: 0 }
  readonly #runComponents: RunComponents
  readonly #timers = new Map<string, CancelTimer>()
  readonly #shorts: ShortCounts = { refuse: 0, wait: 0, local: 0 }
  #running = 0
  #isLeavingPending = false
  #isClosing = false
  #unwatch: () => void = () => {}

  constructor(components: DispatcherComponents) {
    this.#components = components
    this.#log = components.log.scope('dispatch')
    const { clock, directory } = components
    this.#line = new WaitingLine({ clock, shares: this.#shares })
    this.#planner = new Planner(components)
    const tell: Tell = (event) => this.#tell(event)
    this.#recorder = new Recorder({ ...components, tell })
    this.budget = new BudgetDesk({ ...components, onSet: tell })
    components.budget.onFree(() => this.#line.wake())
    components.budget.onExhausted((short) => tell({ type: 'budget.exhausted', short }))
    this.#streams = new AttemptStreams(components)
    const lostSignal = (node: NodeSnapshot): AbortSignal => this.#lostSignal(node.peerId, node.session)
    this.work = new WorkDispatcher({
      ...components,
      log: this.#log,
      line: this.#line,
      shares: this.#shares,
      leaving: this.#planner.leaving,
      lostSignal,
      tell,
    })
    this.#runComponents = {
      clock,
      log: this.#log,
      directory,
      streams: this.#streams,
      planner: this.#planner,
      recorder: this.#recorder,
      line: this.#line,
      counters: this.#counters,
      cascades: this.#cascades,
      costs: components.costs,
      count: (reason) => this.#dropped.set(reason, (this.#dropped.get(reason) ?? 0) + 1),
      lostSignal,
      tell,
      onAttempt: (run) => this.#charge(run),
      onMoved: (attempt, reason) => this.#moved(attempt, reason),
      onEnd: (run) => this.#ended(run),
    }
  }

  /** Goes on with what an earlier life of the coordinator had begun. @throws SkeinError of the ledger. */
  async start(): Promise<void> {
    const { directory, ledger } = this.#components
    await this.budget.start()
    this.#unwatch = directory.watch({
      capacity: () => this.#capacity(),
      lost: (peerId, session) => this.#nodeLost(peerId, session),
      held: (report) => this.#held(report),
    })
    for (const task of await ledger.open()) this.#recover(task)
    this.#every('checkpoint', LIMITS.checkpointMs, () => this.#checkpoint())
    this.#every('preempt', PREEMPT_CHECK_MS, () => this.#preempt())
    // what waits for a better node decides anew as time goes by
    this.#every('line', LINE_MS, () => this.#line.wake())
    this.#every('rebalance', REBALANCE_MS, () => this.#rebalance())
    this.#every('purge', PURGE_MS, () => this.#purge())
  }

  /** The process is about to stop: nothing is moved any more, since whoever moves an answer must outlive the move. */
  close(): void {
    this.#isClosing = true
  }

  /** Ends what runs; what may be resumed is left to its nodes. Does not throw. */
  async stop(): Promise<void> {
    this.#unwatch()
    for (const cancel of this.#timers.values()) cancel()
    const stopping = new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping')
    this.work.close()
    for (const run of this.#runs.values()) {
      run.checkpoint()
      if (run.task.spec.attachment === 'attached') run.cancel(stopping)
      else run.abandon()
    }
    this.#streams.close()
    await Promise.all(Array.from(this.#runs.values(), (run) => run.over))
    await this.#recorder.stop()
  }

  /** Tasks that were admitted and have not ended. */
  get running(): number {
    return this.#running
  }

  /** Why the ledger cannot be written just now. */
  get ledgerFailure(): SkeinError | undefined {
    return this.#recorder.failure
  }

  run(taskId: TaskId): TaskRun | undefined {
    return this.#runs.get(taskId)
  }

  /** Lets go of an ended run before its time: what is asked of its task is then the ledger's to say. */
  forget(taskId: TaskId): void {
    if (this.#runs.get(taskId)?.result !== undefined) this.#runs.delete(taskId)
  }

  runs(): Iterable<TaskRun> {
    return this.#runs.values()
  }

  /**
   * A first look, before the task is admitted. Returns the model that is to answer in its place, where the budget does not
   * allow this one and the owner wants that.
   *
   * @throws SkeinError what keeps every node from serving it, other than that all slots are taken; DEADLINE_UNREACHABLE;
   *   LOCAL_ONLY.
   */
  check(task: Task): Extract<AtBudget, { kind: 'local' }> | undefined {
    const { digest, priority, localOnly } = task.spec
    const aheadMs = this.#line.aheadMs(digest, priority)
    const found = this.#planner.plan(task, { aheadMs })
    const at = found.kind === 'unschedulable' && found.code === 'BUDGET_EXCEEDED' && this.#planner.atBudget(task)
    if (at) this.#shorts[at.kind]++
    if (at && at.kind === 'refuse') throw at.error
    if (at) return at.kind === 'local' ? at : undefined
    if (found.kind === 'unschedulable' && found.code !== 'SATURATED') {
      this.#planner.leaving.refused('admission', found.code, task)
      throw refusal(found)
    }
    if (found.kind !== 'unschedulable' && found.node.isCloud) {
      // the first gate: whatever the plan says
      if (localOnly || found.reason === undefined)
        throw new SkeinError('LOCAL_ONLY', 'the task is not to leave, and only rented machines could take it now')
      return undefined
    }
    const waitMs = aheadMs + (found.kind === 'unschedulable' ? (found.waitMs ?? 0) : found.prediction.waitMs)
    const leftMs = task.deadlineMs - this.#components.clock.nowMs()
    if (waitMs <= leftMs) return undefined
    throw new SkeinError(
      'DEADLINE_UNREACHABLE',
      `the wait for a slot is some ${Math.ceil(waitMs)} ms, the deadline ${Math.ceil(leftMs)} ms`,
      {
        retryAfterSeconds: Math.ceil(waitMs / 1000),
      },
    )
  }

  /** What would become of `task`, which is not admitted. */
  estimate(task: Task): TaskEstimate {
    const aheadMs = this.#line.aheadMs(task.spec.digest, task.spec.priority)
    return estimateOf({ clock: this.#components.clock, planner: this.#planner, aheadMs }, task)
  }

  /** What asks for the cloud is told at once that it may not go there. @throws SkeinError CLOUD_NOT_ALLOWED. */
  checkRoute(asked: AskedRoute): void {
    this.#planner.leaving.checkRoute(asked)
  }

  /** Predicted ms until those that wait for a model now have a slot. */
  aheadMs(digest: ModelDigest): number {
    return this.#line.aheadMs(digest, 'bulk')
  }

  /** What waits and may go to `node`, a machine that is not there yet; `others` are. */
  hoping(node: NodeSnapshot, others: readonly NodeSnapshot[]): Hoping {
    return this.#line.hoping(node, others)
  }

  newTask(spec: TaskSpec): Task {
    const { clock, ledger } = this.#components
    return new Task({ spec, epoch: ledger.epoch, nowMs: clock.nowMs(), wallMs: clock.wallMs() })
  }

  /**
   * Runs `task` from now on.
   *
   * @param source of an answer that nodes need not make, or only go on with: no demand for its model comes of it.
   */
  submit(task: Task, source?: AnswerSource): TaskRun {
    if (!source) this.#components.onArrival?.(task.spec.digest, this.#planner.expected(task))
    return this.#start(new TaskRun(this.#runComponents, task, undefined, source))
  }

  /** Keeps what work that was done has used: it is in no other record. */
  workDone({ taskId, tenant, digest, work }: WorkSpec, model: string, answer: WorkAnswer): void {
    const { nodes, route, attempts, timing } = answer
    const promptTokens = promptTokensOf(answer)
    const [node] = nodes
    const { costs, directory } = this.#components
    const tokens = { promptTokens, cachedTokens: 0, completionTokens: 0 }
    const cloud = costs?.cloud(pricedModel(directory, digest, model, work.kind), tokens)
    const usage = {
      ...{ tenant, model, digest, route, attempts, promptTokens, ...(node && { node }) },
      ...(cloud && { cloudMicros: cloud.micros }),
      kind: work.kind,
      state: 'completed',
      cachedTokens: 0,
      completionTokens: 0,
      tookMs: timing.queuedMs + timing.workMs,
    } as const
    this.#recorder.record({ type: 'work.ended', atMs: this.#components.clock.wallMs(), taskId, usage })
    this.#components.onUsed?.(tenant, promptTokens)
  }

  stats(): DispatchStats {
    const { handOvers, handOversFailed } = this.#counters
    let attempts = 0
    for (const run of this.#runs.values()) attempts += run.attempts.open.length
    return {
      running: this.#running,
      waiting: this.#line.waiting(),
      migrations: Object.fromEntries(this.#migrations),
      droppedFrames: Object.fromEntries(this.#dropped),
      handovers: { ok: handOvers, failed: handOversFailed },
      attempts,
      cloud: { ...this.#planner.leaving.counts.stats(), cascades: { ...this.#cascades } },
      ledger: this.#recorder.lag,
      budget: { short: { ...this.#shorts }, periods: this.#components.budget.states() },
    }
  }

  /** How far predictions were from what happened. */
  accuracy(): ReturnType<Planner['accuracy']['report']> {
    return this.#planner.accuracy.report()
  }

  #start(run: TaskRun): TaskRun {
    this.#runs.set(run.task.id, run)
    this.#running++
    this.#tell({ type: 'task.queued', task: run.task.spec })
    void run.run()
    return run
  }

  #ended(run: TaskRun): void {
    this.#running--
    this.#charge(run)
    this.#tellUse(run)
    this.#components.clock.timer(ENDED_MS, () => this.#runs.delete(run.task.id))
  }

  #tellUse({ task, result }: TaskRun): void {
    // one that goes on in a later life of the coordinator is told of there
    if (result === undefined) return
    const promptTokens = result.usage ? 0 : this.#planner.promptRead(task)
    const tokens: TokenCounts = result.usage ?? { promptTokens, cachedTokens: 0, completionTokens: task.answer.length }
    // what no node has made is not held against a limit
    if (task.attempts > 0) this.#components.onUsed?.(task.spec.tenant, tokens.promptTokens + tokens.completionTokens)
    const tookMs = this.#components.clock.nowMs() - task.admittedAtMs
    this.#tell({ type: 'task.ended', task: task.spec, result, tokens, attempts: task.attempts, tookMs })
  }

  #moved(attempt: Attempt, reason: AttemptReason): void {
    const { node, init } = attempt
    this.#migrations.set(reason, (this.#migrations.get(reason) ?? 0) + 1)
    const to = { attempt: init.number, node: nameOf(node), route: routeOf(node) }
    this.#tell({ type: 'task.moved', task: init.task.spec, attempt: to, reason })
  }

  #tell(event: DispatchEvent): void {
    const { budget, onEvent } = this.#components
    onEvent?.(event)
    if (event.type !== 'attempt.ended' || event.ended.costMicros === undefined) return
    onEvent?.({ type: 'budget.spent', costMicros: event.ended.costMicros, budget: budget.snapshot() })
  }

  #recover(from: LedgerTask): void {
    const { clock, ledger } = this.#components
    const { spec } = from
    const nowMs = clock.nowMs()
    const wallMs = clock.wallMs()
    if (spec.attachment === 'attached') {
      const error = { code: 'COORDINATOR_RESTARTED', message: 'the coordinator was restarted while it ran' } as const
      const result = { outcome: 'cancelled', error, tail: '' } as const
      return this.#recorder.record({ type: 'task.ended', atMs: wallMs, taskId: spec.taskId, result })
    }
    try {
      const run = new TaskRun(this.#runComponents, Task.restore(from, { epoch: ledger.epoch, nowMs, wallMs }), from)
      this.#charged.set(run, run.task.answer.length)
      this.#start(run).clientLeft()
    } catch (thrown) {
      const { code, message } = asSkeinError(thrown)
      this.#log.error({ ...logIdsOf(spec), code }, message)
      const result = { outcome: 'failed', error: { code, message }, tail: '' } as const
      this.#recorder.record({ type: 'task.ended', atMs: wallMs, taskId: spec.taskId, result })
    }
  }

  /** One signal for each life of a node, shared by its attempts; of a life that is over, one that has aborted. */
  #lostSignal(peerId: PeerId, session: number): AbortSignal {
    const entry = this.#components.directory.entry(peerId)
    if (entry === undefined || entry.session !== session || entry.liveness === 'disconnected')
      return AbortSignal.abort(new SkeinError('NODE_LOST', 'the node is gone'))
    const key = `${peerId}#${session}`
    let controller = this.#lost.get(key)
    if (controller === undefined) {
      controller = new AbortController()
      this.#lost.set(key, controller)
    }
    return controller.signal
  }

  #nodeLost(peerId: PeerId, session: number): void {
    const key = `${peerId}#${session}`
    this.#lost.get(key)?.abort(new SkeinError('NODE_LOST', 'the node is gone'))
    this.#lost.delete(key)
    this.#streams.drop(peerId)
  }

  #held({ peerId, attempts }: HeldReport): void {
    const unwanted = attempts.filter(({ taskId, fence, index }) => {
      return !(this.#runs.get(taskId)?.offer({ peerId, fence, index }) ?? false)
    })
    if (unwanted.length > 0) this.#components.directory.release(peerId, unwanted)
    const held = new Set(attempts.map(({ taskId }) => taskId))
    for (const run of this.#runs.values()) if (!held.has(run.task.id)) run.notHeldBy(peerId)
  }

  #capacity(): void {
    this.#line.wake()
    if (this.#isLeavingPending) return
    this.#isLeavingPending = true
    this.#components.clock.timer(LEAVING_MS, () => {
      this.#isLeavingPending = false
      this.#moveFromLeaving()
    })
  }

  /** Hands over what runs on nodes that leave, as far as there is room elsewhere; the rest with the next free slot. */
  #moveFromLeaving(): void {
    const { directory } = this.#components
    const leaving = new Set<PeerId>()
    for (const entry of directory.entries())
      if (entry.load?.draining && entry.liveness !== 'disconnected') leaving.add(entry.peerId)
    if (leaving.size === 0 || this.#isClosing) return
    for (const run of this.#runs.values())
      if (run.current && leaving.has(run.current.node.peerId) && !run.isMoving) void run.move('drain')
  }

  #preempt(): void {
    const urgent = this.#line.length > 0 ? this.#line.preempting(PREEMPT_AFTER_MS) : undefined
    if (urgent) victimOf(this.#runs.values(), urgent.waiter, urgent.below)?.preempt()
  }

  /** One answer at a time is moved for gain: what it gains is predicted, and predictions err. */
  #rebalance(): void {
    if (this.#line.length > 0 || this.#isClosing) return
    const nowMs = this.#components.clock.nowMs()
    for (const run of this.#runs.values()) {
      const { current } = run
      const movedAtMs = this.#movedAtMs.get(run) ?? run.task.firstTokenAtMs
      if (!current || run.isMoving || movedAtMs === undefined || nowMs - movedAtMs < REBALANCE_PAUSE_MS) continue
      const compared = this.#planner.compare(run.task, current.node.peerId)
      if (compared === undefined) continue
      const gainMs = compared.hereMs - compared.there.prediction.totalMs
      if (gainMs < REBALANCE_GAIN_MS || gainMs < REBALANCE_GAIN_SHARE * compared.hereMs) continue
      this.#movedAtMs.set(run, nowMs)
      void run.move('rebalance')
      return
    }
  }

  #checkpoint(): void {
    for (const run of this.#runs.values()) {
      if (run.result !== undefined) continue
      this.#charge(run)
      if (run.task.spec.attachment !== 'attached') run.checkpoint()
    }
  }

  /** Counts what was done for the tenant since the last time. */
  #charge(run: TaskRun): void {
    const { spec, answer, attempts } = run.task
    if (attempts === 0) return
    const charged = this.#charged.get(run)
    const inputTokens = charged === undefined ? this.#planner.promptTokens(run.task) : 0
    this.#shares.charge(spec.tenant, spec.priority, inputTokens, answer.length - (charged ?? 0))
    this.#charged.set(run, answer.length)
  }

  #purge(): void {
    const { clock, ledger } = this.#components
    const wallMs = clock.wallMs()
    ledger
      .purge(wallMs - LIMITS.resultRetentionMs, wallMs - LIMITS.taskRetentionMs)
      .then(() => ledger.purgeUsage(wallMs - LIMITS.usageRetentionMs))
      .catch((thrown: unknown) => this.#log.warn({ err: asSkeinError(thrown) }, 'old tasks could not be deleted'))
  }

  #every(name: string, ms: number, act: () => void): void {
    const { clock } = this.#components
    const again = (): void => {
      this.#timers.set(name, clock.timer(ms, again))
      act()
    }
    this.#timers.set(name, clock.timer(ms, again))
  }
}
