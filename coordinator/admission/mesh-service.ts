/** The coordinator behind the gateway's port: resolves names, bounds what is admitted, gives every task its seed. */
import {
  asSkeinError,
  asTaskId,
  LIMITS,
  mintId,
  SkeinError,
  thoughtMarks,
  type ErrorCode,
  type PeerId,
  type Prompt,
  type Sampling,
  type TaskId,
} from '../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../mesh/runtime/index.ts'
import type { PeerTransport } from '../../mesh/network/index.ts'
import type { AnswerCache } from '../cache/index.ts'
import type { Directory } from '../directory/index.ts'
import type { ReplicaOrder, Replicas } from '../residency/index.ts'
import {
  endedTextBefore,
  followEnded,
  type BudgetChange,
  type BudgetView,
  type Dispatcher,
  type NodeName,
  type Task,
  type TaskEstimate,
  type TaskHandle,
  type TaskRun,
  type WorkAnswer,
} from '../dispatch/index.ts'
import type { Admission, Ledger, LedgerTask, TaskQuery, TaskSpec, TaskSummary } from '../ledger/index.ts'
import type {
  InviteRequest,
  InviteView,
  MeshService,
  MeshStats,
  ModelView,
  NodeDirective,
  NodeView,
  PairingDesk,
  SelfView,
  TaskRequest,
  TaskView,
  DiscoveryReport,
  WorkRequest,
} from './service.ts'
import { AnswerSharing, notCached, type AnswerOrigin } from './answer-sharing.ts'
import type { MeshEvent, Observers } from './observers.ts'
import { resolveModel } from './resolve.ts'
import { freshened, viewOfLedger, viewOfRun } from './task-views.ts'
import { modelViews, nodeViews } from './views.ts'

/** The part of the coordinator that may change who is a member. */
export interface Membership {
  readonly isAuthority: boolean
  /** @throws SkeinError NOT_THE_AUTHORITY. */
  invite(request: InviteRequest): Promise<InviteView>
  readonly pairing?: PairingDesk | undefined
  /** Voids the certificates of `peer` and tells every node. @throws SkeinError NOT_THE_AUTHORITY, MEMBER_NOT_FOUND. */
  revoke(member: string): Promise<NodeName>
}

export interface MeshServiceComponents {
  readonly clock: Clock
  readonly random: Random
  readonly transport: PeerTransport
  readonly directory: Directory
  readonly dispatcher: Dispatcher
  readonly replicas: Replicas
  readonly ledger: Ledger
  readonly observers: Observers
  /** None is kept when absent. */
  readonly cache?: AnswerCache
  /** Tells a node what its owner wants of it. @throws SkeinError NODE_LOST. */
  readonly direct: (peerId: PeerId, directive: NodeDirective) => Promise<void>
  readonly membership: Membership
  /** Of this mesh, in what it lets leave; a request that bears it has gone in a circle. */
  readonly mark?: string
  /** Of all amounts, by its code of ISO 4217. */
  readonly currency?: string | undefined
  /** What each path of discovery has found. */
  readonly discoveryReport: () => readonly DiscoveryReport[]
}

/** OpenAI's. */
const SAMPLING_DEFAULTS: Omit<Sampling, 'seed'> = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
}

/** Of a unit of the owner's currency. */
const MICROS = 1_000_000

type Idempotency = NonNullable<TaskRequest['idempotency']>

export class CoordinatorService implements MeshService {
  readonly #components: MeshServiceComponents
  /** Admissions under way, by tenant and key. */
  readonly #keyed = new Map<string, Promise<Admission>>()
  readonly #sharing: AnswerSharing | undefined
  #stopping = false

  constructor(components: MeshServiceComponents) {
    this.#components = components
    const { cache } = components
    this.#sharing = cache && new AnswerSharing({ ...components, cache })
  }

  async submit(request: TaskRequest, signal: AbortSignal): Promise<TaskHandle> {
    const taken = await this.#submit(request, signal)
    if (!('model' in taken)) return taken
    const { model, error } = taken
    try {
      const { route: _route, ...asked } = request
      const standIn = await this.#submit({ ...asked, model, localOnly: true }, signal)
      if (!('model' in standIn)) return { ...standIn, standIn: model }
    } catch (thrown) {
      if (signal.aborted) throw thrown
      const { message } = asSkeinError(thrown)
      throw new SkeinError(error.code, `${error.message}; and '${model}' cannot answer in its place: ${message}`, {
        ...(error.retryAfterSeconds !== undefined && { retryAfterSeconds: error.retryAfterSeconds }),
      })
    }
    throw error
  }

  /** Returns the model that is to answer in its place, where the budget does not allow this one and the owner wants that. */
  async #submit(request: TaskRequest, signal: AbortSignal): Promise<TaskHandle | StandIn> {
    const { dispatcher, mark } = this.#components
    this.#refuseWhenFull()
    // before it could wait behind itself, or for the answer that it is to be
    if (mark !== undefined && request.via?.includes(mark))
      throw new SkeinError('HOPS_EXCEEDED', 'the request has left this mesh, and comes back to it')
    const keyed = request.idempotency && (await this.#earlier(request, request.idempotency))
    if (keyed) return keyed
    const task = dispatcher.newTask(this.#spec(request))
    const isSeeded = request.sampling.seed !== undefined
    if (!this.#sharing && request.cache?.onlyKept) throw notCached('this coordinator keeps no answers')
    const origin = this.#sharing && (await this.#sharing.originOf(task.spec, isSeeded, request.cache))
    try {
      // what is there already needs no node
      const standIn = origin?.source ? undefined : dispatcher.check(task)
      if (standIn) return standIn
      if (request.idempotency) return await this.#admitKeyed(task, request.idempotency, signal, origin)
      const admitted = this.#admit(task).then(() => {})
      const run = this.#begin(task, signal, origin)
      admitted.catch((thrown: unknown) => run.cancel(asSkeinError(thrown)))
      return handleOf(run, true, admitted, origin)
    } finally {
      origin?.release()
    }
  }

  estimate(request: TaskRequest): TaskEstimate {
    const { dispatcher } = this.#components
    return dispatcher.estimate(dispatcher.newTask(this.#spec(request)))
  }

  async work(request: WorkRequest, signal: AbortSignal): Promise<WorkAnswer> {
    const { dispatcher, directory, random } = this.#components
    this.#refuseWhenFull()
    const { model, work, priority = 'default', tenant, localOnly = false, deadlineMs = LIMITS.taskMs } = request
    const digest = resolveModel(directory, () => this.models(), model, work.kind)
    dispatcher.checkRoute({ ...request, digest })
    const taskId = asTaskId(mintId('task', (length) => random.bytes(length)))
    const bound = Math.min(deadlineMs, LIMITS.taskMs)
    const { requestId, route, trace } = request
    const traced = { ...(route && { route }), ...(trace && { trace }) }
    const spec = { taskId, requestId, digest, work, priority, tenant, localOnly, deadlineMs: bound, ...traced }
    const answer = await dispatcher.work.run(spec, signal)
    dispatcher.workDone(spec, model, answer)
    return answer
  }

  async task(taskId: TaskId): Promise<TaskView> {
    const run = this.#components.dispatcher.run(taskId)
    return run ? viewOfRun(run, this.#wallOf(run)) : viewOfLedger(await this.#recorded(taskId))
  }

  async resume(taskId: TaskId): Promise<TaskHandle> {
    const run = this.#components.dispatcher.run(taskId)
    return run ? handleOf(run, false) : endedHandle(await this.#recorded(taskId))
  }

  async cancel(taskId: TaskId): Promise<TaskView> {
    const run = this.#components.dispatcher.run(taskId)
    run?.cancel(new SkeinError('CLIENT_CLOSED', 'the task was cancelled on request'))
    await run?.over
    return this.task(taskId)
  }

  async promptOf(taskId: TaskId): Promise<Prompt> {
    const run = this.#components.dispatcher.run(taskId)
    if (run) return run.task.spec.prompt
    const { spec, isPurged } = await this.#recorded(taskId)
    if (isPurged) throw new SkeinError('NOT_FOUND', `the texts of ${taskId} were deleted`)
    return spec.prompt
  }

  async erase(taskId: TaskId): Promise<void> {
    const { dispatcher, ledger } = this.#components
    const spec = dispatcher.run(taskId)?.task.spec ?? (await ledger.task(taskId))?.spec
    await this.cancel(taskId)
    if (spec) this.#sharing?.forget(spec)
    if (await ledger.erase(taskId)) return dispatcher.forget(taskId)
    const { isPurged } = await this.#recorded(taskId)
    if (!isPurged) throw new SkeinError('LEDGER_UNAVAILABLE', `the end of ${taskId} could not be recorded; try again`)
    dispatcher.forget(taskId)
  }

  async tasks(query: TaskQuery): Promise<TaskSummary[]> {
    const { dispatcher, ledger } = this.#components
    const limit = Math.max(1, Math.min(query.limit, LIMITS.tasksPageMax))
    const listed = await ledger.list({ ...query, limit })
    return listed.map((summary) => freshened(summary, dispatcher.run(summary.taskId)))
  }

  async direct(member: string, directive: NodeDirective): Promise<NodeName> {
    const { directory } = this.#components
    const entry = [...directory.entries()].find(({ peerId, name }) => peerId === member || name === member)
    if (entry === undefined) throw new SkeinError('MEMBER_NOT_FOUND', `no node '${member}' is known; see: skein nodes`)
    await this.#components.direct(entry.peerId, directive)
    return { peerId: entry.peerId, name: entry.name }
  }

  stats(): MeshStats {
    const { dispatcher, replicas, cache } = this.#components
    const prediction = Object.entries(dispatcher.accuracy()).flatMap(([part, { count, median, p90 }]) =>
      median === undefined || p90 === undefined ? [] : [[part, { count, medianError: median, p90Error: p90 }] as const],
    )
    return {
      dispatch: dispatcher.stats(),
      work: dispatcher.work.stats(),
      replicas: replicas.stats(),
      prediction: Object.fromEntries(prediction),
      ...(cache && { cache: cache.stats() }),
    }
  }

  budget(): BudgetView {
    return this.#components.dispatcher.budget.view()
  }

  setBudget(change: BudgetChange, by: string): Promise<BudgetView> {
    return this.#components.dispatcher.budget.set(change, by)
  }

  async clearCache(): Promise<void> {
    await this.#components.cache?.clear()
  }

  /** From now on nothing is admitted; what runs may end. */
  close(): void {
    this.#stopping = true
    this.#components.dispatcher.close()
  }

  models(): ModelView[] {
    const { directory, replicas } = this.#components
    return modelViews(directory, replicas.views())
  }

  replicaOrders(): ReplicaOrder[] {
    return this.#components.replicas.orders()
  }

  watchReplicas(listener: (order: ReplicaOrder) => void): () => void {
    return this.#components.replicas.watch(listener)
  }

  watch(listener: (event: MeshEvent) => void): () => void {
    return this.#components.observers.watch(listener)
  }

  nodes(): NodeView[] {
    const { directory, transport, clock } = this.#components
    return nodeViews(directory, transport, clock.nowMs())
  }

  self(): SelfView {
    const { clock, transport, membership, discoveryReport, currency } = this.#components
    const { peerId, certificate } = transport.self
    const { meshId, name } = certificate
    const { isAuthority } = membership
    const own = { peerId, name, meshId, isAuthority, clockMs: clock.wallMs() }
    return { ...own, ...(currency !== undefined && { currency }), discovery: discoveryReport() }
  }

  ready(): { ready: boolean; reason: string } {
    if (this.#stopping) return { ready: false, reason: 'the coordinator is stopping' }
    const unrecorded = this.#components.dispatcher.ledgerFailure
    if (unrecorded) return { ready: false, reason: unrecorded.message }
    const nodes = this.nodes()
    if (nodes.some((node) => node.eligible)) return { ready: true, reason: 'a node can serve' }
    const reasons = nodes.map((node) => `${node.name}: ${node.reasons.join(', ')}`)
    return { ready: false, reason: reasons.length > 0 ? reasons.join('; ') : 'no node is in the mesh' }
  }

  invite(request: InviteRequest): Promise<InviteView> {
    return this.#components.membership.invite(request)
  }

  get pairing(): PairingDesk | undefined {
    return this.#components.membership.pairing
  }

  revoke(member: string): Promise<NodeName> {
    return this.#components.membership.revoke(member)
  }

  /** @throws SkeinError SHUTTING_DOWN, SATURATED, LEDGER_UNAVAILABLE. */
  #refuseWhenFull(): void {
    const { dispatcher } = this.#components
    if (this.#stopping) throw new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 })
    if (dispatcher.running + dispatcher.work.running >= LIMITS.tasksMax)
      throw new SkeinError('SATURATED', `${LIMITS.tasksMax} tasks run or wait already`, { retryAfterSeconds: 10 })
  }

  #spec(request: TaskRequest): TaskSpec {
    const { clock, random } = this.#components
    const { sampling, maxTokens, deadlineMs, logprobs, format, idempotency } = request
    const { requestId, model, prompt, stop, tenant, attachment, shape } = request
    const digest = resolveModel(this.#components.directory, () => this.models(), model, 'completion')
    this.#components.dispatcher.checkRoute({ ...request, digest })
    const recommended = this.#components.directory.samplingDefaults(digest)
    const thought = thoughtMarks(this.#components.directory.thinking(digest), prompt)
    return {
      taskId: asTaskId(mintId('task', (length) => random.bytes(length))),
      requestId,
      model,
      digest,
      prompt,
      sampling: { ...SAMPLING_DEFAULTS, ...recommended, ...sampling, seed: sampling.seed ?? this.#seed() },
      stop,
      maxTokens: Math.min(maxTokens ?? LIMITS.generatedTokensMax, LIMITS.generatedTokensMax),
      ...(logprobs !== undefined && { logprobs }),
      ...(format && { format }),
      priority: request.priority ?? 'default',
      tenant,
      localOnly: request.localOnly ?? false,
      ...(request.route && { route: request.route }),
      ...(request.hops !== undefined && { hops: request.hops }),
      ...(request.via && { via: request.via }),
      attachment,
      stored: request.stored ?? false,
      deadlineAtMs: clock.wallMs() + Math.min(deadlineMs ?? LIMITS.taskMs, LIMITS.taskMs),
      ...(thought && { thought }),
      shape,
      ...(idempotency && { idempotency }),
      ...(request.trace && { trace: request.trace }),
      ...(request.costMax !== undefined && { costMicrosMax: Math.floor(request.costMax * MICROS) }),
    }
  }

  /** The task that the key has named before. @throws SkeinError IDEMPOTENCY_MISMATCH, LEDGER_UNAVAILABLE. */
  async #earlier(request: TaskRequest, { key, bodyDigest }: Idempotency): Promise<TaskHandle | undefined> {
    const { ledger } = this.#components
    // One at a time for each key: two that come together must not both find nothing.
    const pending = this.#keyed.get(keyOf(request.tenant, key))
    if (pending) await pending.catch(() => {})
    const known = await ledger.byIdempotencyKey(request.tenant, key)
    if (known === undefined) return undefined
    if (known.spec.idempotency?.bodyDigest !== bodyDigest) throw mismatch()
    return this.resume(known.spec.taskId)
  }

  /** Admits before it begins: only the ledger can tell which of two requests with one key was the first. */
  async #admitKeyed(
    task: Task,
    { key }: Idempotency,
    signal: AbortSignal,
    origin: AnswerOrigin | undefined,
  ): Promise<TaskHandle> {
    const name = keyOf(task.spec.tenant, key)
    const admission = this.#admit(task)
    this.#keyed.set(name, admission)
    try {
      const admitted = await admission
      if (!admitted.isNew) return await this.resume(admitted.task.spec.taskId)
      return handleOf(this.#begin(task, signal, origin), true, Promise.resolve(), origin)
    } finally {
      if (this.#keyed.get(name) === admission) this.#keyed.delete(name)
    }
  }

  async #admit(task: Task): Promise<Admission> {
    const { clock, ledger, observers } = this.#components
    const beganMs = clock.nowMs()
    const answered = (code?: ErrorCode): void =>
      observers.tell({ type: 'ledger.answered', tookMs: clock.nowMs() - beganMs, ...(code && { code }) })
    try {
      const admission = await ledger.admit({ type: 'task.admitted', atMs: clock.wallMs(), spec: task.spec })
      answered()
      return admission
    } catch (thrown) {
      const { code, row } = asSkeinError(thrown)
      // a key that was used before is an answer
      answered(row.blame === 'caller' ? undefined : code)
      throw thrown
    }
  }

  #begin(task: Task, signal: AbortSignal, origin: AnswerOrigin | undefined): TaskRun {
    const run = this.#components.dispatcher.submit(task, origin?.source)
    origin?.began(run)
    const left = (): void => run.clientLeft(asSkeinError(signal.reason, 'CLIENT_CLOSED'))
    if (signal.aborted) left()
    else signal.addEventListener('abort', left, { once: true })
    return run
  }

  #wallOf({ task }: TaskRun): number {
    const { clock } = this.#components
    return Math.round(clock.wallMs() - (clock.nowMs() - task.admittedAtMs))
  }

  /** @throws SkeinError NOT_FOUND. */
  async #recorded(taskId: TaskId): Promise<LedgerTask> {
    const task = await this.#components.ledger.task(taskId)
    if (task === undefined) throw new SkeinError('NOT_FOUND', `there is no task ${taskId}`)
    return task
  }

  #seed(): number {
    return new DataView(this.#components.random.bytes(4).buffer).getUint32(0)
  }
}

type StandIn = NonNullable<ReturnType<Dispatcher['check']>>

const keyOf = (tenant: string, key: string): string => `${tenant}\n${key}`

const mismatch = (): SkeinError =>
  new SkeinError('IDEMPOTENCY_MISMATCH', 'this Idempotency-Key was used before with another body', {
    param: 'Idempotency-Key',
  })

function handleOf(
  run: TaskRun,
  isNew: boolean,
  admitted: Promise<void> = Promise.resolve(),
  origin?: AnswerOrigin,
): TaskHandle {
  const { taskId, digest, sampling, thought } = run.task.spec
  return {
    ...(origin && { cache: { outcome: origin.outcome, ...(origin.ageMs !== undefined && { ageMs: origin.ageMs }) } }),
    taskId,
    digest,
    ...(thought && { thought }),
    seed: sampling.seed,
    isNew,
    admitted,
    follow: (after, signal) => run.follow(after, signal),
    textBefore: (position) => run.textBefore(position),
  }
}

function endedHandle(task: LedgerTask): TaskHandle {
  const { taskId, digest, sampling, thought } = task.spec
  return {
    taskId,
    digest,
    ...(thought && { thought }),
    seed: sampling.seed,
    isNew: false,
    admitted: Promise.resolve(),
    follow: (after, signal) => followEnded(task, after, signal),
    textBefore: (position) => endedTextBefore(task, position),
  }
}
