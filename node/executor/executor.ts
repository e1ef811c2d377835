/**
 * Serves `attempt` streams: decides whether an attempt may run here, runs it, and knows what runs and what is held. Only a
 * coordinator's streams are served; every refusal is a final frame that says why. Work (`work-service.ts`) is let in and
 * drained with the attempts.
 */
import {
  INBOUND,
  LIMITS,
  SkeinError,
  unpackTokenIds,
  type AttemptAttach,
  type AttemptStart,
  type Leave,
  type ModelDigest,
  type PeerId,
  type TaskId,
} from '../../mesh/protocol/index.ts'
import { sleep, withDeadline, type Clock, type Logger, type SpanSink } from '../../mesh/runtime/index.ts'
import type { Member, PeerTransport } from '../../mesh/network/index.ts'
import type { ModelHost, Slot } from '../models/index.ts'
import { Attempt, failedFrame } from './attempt.ts'
import { logIdsOf } from './attempt-trace.ts'
import type { AttemptChannel } from './attempt-stream.ts'
import { FenceGuard } from './fence-guard.ts'
import { HeldAttempts, type HeldAttempt } from './held-attempts.ts'
import { WorkService } from './work-service.ts'

/** A superseded attempt lets go of its slot within one prefill chunk; its successor waits for that, not for others. */
const SUPERSEDED_MS = LIMITS.assignToAcceptMs / 2
/** Attempts ended by a drain get this long to send their last frame. */
const LAST_FRAME_MS = 500

export interface ExecutorComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly transport: PeerTransport
  readonly host: (digest: ModelDigest) => ModelHost | undefined
  /** What a load report says changed. `isUrgent`: new work must not come any more, or may again. */
  readonly onLoad: (isUrgent: boolean) => void
  /** What `held` says changed. */
  readonly onHeld: () => void
  /** This machine is not its coordinators' owner's: nothing is taken that does not say why it leaves. */
  readonly isCloud?: boolean
  /** Why this coordinator may begin nothing here for `tenant`; `undefined` when it may. Everyone may when absent. */
  readonly refusalOf?: (coordinator: Member, tenant: string | undefined) => string | undefined
  /** An attempt has begun, or tokens were read or made. */
  readonly onUse?: (use: { readonly requests?: number; readonly tokens?: number }) => void
  /** Where spans go; there are none without it. */
  readonly spans?: SpanSink | undefined
}

/** Who closed the node: its owner by a directive, or the owner's policy. Each opens again only what it has closed. */
export type ClosedBy = 'directive' | 'policy'

export class Executor {
  readonly #components: ExecutorComponents
  readonly #log: Logger
  /** Of each task the newest attempt, until it has ended and its coordinator knows, or nobody wants it. */
  readonly #attempts = new Map<TaskId, Attempt>()
  /** Those that hold a slot, or have their final frame to send. */
  readonly #running = new Map<Attempt, Promise<void>>()
  readonly #fences = new FenceGuard((taskId) => this.#attempts.has(taskId))
  readonly #held: HeldAttempts
  readonly #work: WorkService
  /** Who wants no new work here, and whether what runs is to be handed over. */
  readonly #closed = new Map<ClosedBy, { readonly handsOver: boolean }>()
  #isLeaving = false

  constructor(components: ExecutorComponents) {
    const { clock, onHeld } = components
    this.#components = components
    this.#log = components.log.scope('executor')
    this.#held = new HeldAttempts({
      clock,
      onChange: onHeld,
      onDropped: (attempt, reason) => this.#drop(attempt, reason),
    })
    this.#work = new WorkService({
      ...components,
      admit: (coordinator, { tenant, leave }) => {
        this.#refuseUnlessLet(leave)
        this.#refuse(coordinator, tenant)
        this.#refuseWhenClosed()
      },
      onUse: (use) => components.onUse?.(use),
    })
  }

  start(): void {
    this.#components.transport.handle('attempt', INBOUND.attemptNode, (channel, member) => this.#serve(channel, member))
    this.#work.start()
  }

  /** Attempts, and pieces of work, that hold a slot. */
  get running(): number {
    let running = this.#work.running
    for (const attempt of this.#running.keys()) if (!attempt.hasEnded) running++
    return running
  }

  /** The owner, or the owner's policy, wants no new work here. */
  get isCordoned(): boolean {
    return this.#closed.size > 0
  }

  /** No new work, and what runs is to be handed over. */
  get isDraining(): boolean {
    return this.#isLeaving || [...this.#closed.values()].some(({ handsOver }) => handsOver)
  }

  /** Attempts that run or ended here without a stream. */
  held(): HeldAttempt[] {
    return this.#held.list()
  }

  /** From now on every new attempt is refused with NODE_DRAINING; running ones go on, or are still handed over. */
  cordon(by: ClosedBy = 'directive'): void {
    if (!this.#closed.has(by)) this.#closed.set(by, { handsOver: false })
    this.#components.onLoad(true)
  }

  /** Cordons, and asks the coordinators to hand over what runs. */
  handOver(by: ClosedBy = 'directive'): void {
    this.#closed.set(by, { handsOver: true })
    this.#components.onLoad(true)
  }

  /** Takes back the `cordon` and `handOver` of `by`, but neither another's nor `drain`. */
  uncordon(by: ClosedBy = 'directive'): void {
    this.#closed.delete(by)
    this.#components.onLoad(true)
  }

  /** `coordinator` does not want these any more. Those that another one followed last are none of its business. */
  release(coordinator: PeerId, attempts: readonly { readonly taskId: TaskId; readonly fence: number }[]): void {
    for (const { taskId, fence } of attempts) {
      const attempt = this.#attempts.get(taskId)
      if (attempt?.owner === coordinator && attempt.fence <= fence)
        this.#drop(attempt, new SkeinError('CLIENT_CLOSED', 'released by the coordinator'))
    }
  }

  /**
   * The node is about to leave, for good: takes no new work, lets coordinators move what runs, or that end, for `graceMs`,
   * then ends the rest with NODE_DRAINING. Resolves at once when nothing runs. Bounded, does not throw.
   */
  async drain(graceMs: number): Promise<void> {
    const { clock, onLoad } = this.#components
    this.#isLeaving = true
    onLoad(true)
    const idle = this.#idle()
    await settledWithin(clock, idle, graceMs)
    const over = new SkeinError('NODE_DRAINING', `the node is stopping; its grace of ${graceMs} ms is over`)
    for (const attempt of this.#running.keys()) attempt.end(over)
    this.#work.endAll(over)
    await settledWithin(clock, idle, LAST_FRAME_MS)
  }

  async #idle(): Promise<void> {
    while (this.#running.size + this.#work.open > 0)
      await Promise.all([...this.#running.values(), this.#work.settled()])
  }

  async #serve(channel: AttemptChannel, member: Member): Promise<void> {
    if (!member.certificate.roles.includes('coordinator'))
      throw new SkeinError('FORBIDDEN', `${member.certificate.name} is no coordinator and may not start attempts`)
    const first = await this.#receiveFirst(channel)
    try {
      if (!this.#fences.take(first.taskId, first.fence))
        throw new SkeinError('STALE_FENCING_TOKEN', `fence ${first.fence} of ${first.taskId} is not the newest`)
      if (first.type === 'attempt.attach') await this.#attach(channel, first)
      else {
        this.#refuseUnlessLet(first.leave)
        this.#refuse(member, first.tenant)
        await this.#start(channel, first)
      }
    } catch (thrown) {
      if (!(thrown instanceof SkeinError)) throw thrown
      this.#log.debug({ ...refusedIds(first), code: thrown.code }, 'refused')
      await channel.send(failedFrame(first.fence, thrown))
      await channel.close()
    }
  }

  async #receiveFirst(channel: AttemptChannel): Promise<AttemptStart | AttemptAttach> {
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', 'an attempt stream without its first frame')
    const first = await withDeadline(this.#components.clock, LIMITS.attemptStartMs, late, channel.closed, (signal) =>
      channel.receive(signal),
    )
    if (first?.type !== 'attempt.start' && first?.type !== 'attempt.attach')
      throw new SkeinError('FRAME_UNEXPECTED', 'an attempt stream begins with attempt.start or attempt.attach')
    return first
  }

  /** @throws SkeinError why the attempt may not run here. */
  async #start(channel: AttemptChannel, start: AttemptStart): Promise<void> {
    const { taskId } = start
    const generated = unpackTokenIds(start.generated)
    if (generated === undefined) throw new SkeinError('FRAME_MALFORMED', 'attempt.start: no whole number of tokens')
    const older = this.#attempts.get(taskId)
    if (older) this.#drop(older, new SkeinError('STALE_FENCING_TOKEN', `superseded by a newer attempt of ${taskId}`))
    const host = this.#hostOf(start)
    const { clock, onLoad, onUse = () => {}, spans } = this.#components
    const onTokens = (tokens: number): void => onUse({ tokens })
    const components = { clock, log: this.#log, onLoad: () => onLoad(false), onTokens, spans }
    const attempt = new Attempt(components, { start, host, generated })
    this.#attempts.set(taskId, attempt)
    let slot: Slot
    try {
      slot = await this.#slotOf(host, attempt)
    } catch (thrown) {
      this.#forget(attempt)
      throw thrown
    }
    onUse({ requests: 1 })
    const served = this.#follow(attempt, channel, start.fence, 0)
    const run = attempt.run(slot).then(() => {
      this.#running.delete(attempt)
      this.#held.ended(attempt)
    })
    this.#running.set(attempt, run)
    await served
  }

  /** @throws SkeinError ATTEMPT_NOT_HELD. */
  async #attach(channel: AttemptChannel, { taskId, heldFence, fence, from }: AttemptAttach): Promise<void> {
    const attempt = this.#attempts.get(taskId)
    if (!attempt?.isWorthHolding || !attempt.bore(heldFence))
      throw new SkeinError('ATTEMPT_NOT_HELD', `no attempt of ${taskId} under fence ${heldFence} is here`)
    const piece = attempt.log.pieceAt(from)
    if (piece === undefined)
      throw new SkeinError('ATTEMPT_NOT_HELD', `the attempt of ${taskId} cannot go on from token ${from}`)
    this.#held.release(attempt)
    await this.#follow(attempt, channel, fence, piece)
  }

  /** Serves a stream of `attempt` to its end, and keeps or drops the attempt after that. */
  async #follow(attempt: Attempt, channel: AttemptChannel, fence: number, piece: number): Promise<void> {
    const end = await attempt.serve(channel, fence, piece)
    if (end === 'replaced') return
    const isNewest = this.#attempts.get(attempt.taskId) === attempt
    if (end === 'lost' && isNewest && attempt.isWorthHolding) return this.#held.hold(attempt)
    this.#drop(attempt, new SkeinError('CLIENT_CLOSED', 'its coordinator does not need it any more'))
  }

  #drop(attempt: Attempt, reason: SkeinError): void {
    this.#held.release(attempt)
    this.#forget(attempt)
    attempt.end(reason)
  }

  #forget(attempt: Attempt): void {
    if (this.#attempts.get(attempt.taskId) === attempt) this.#attempts.delete(attempt.taskId)
  }

  /** @throws SkeinError NODE_DRAINING, MODEL_NOT_FOUND, INVALID_REQUEST, or why the model cannot be loaded. */
  #hostOf(start: AttemptStart): ModelHost {
    this.#refuseWhenClosed()
    const host = this.#components.host(start.digest)
    if (host === undefined) throw new SkeinError('MODEL_NOT_FOUND', `this node does not have ${start.digest}`)
    if (host.failure) throw host.failure
    if (!host.isGenerator) throw new SkeinError('INVALID_REQUEST', 'the model makes no text', { param: 'model' })
    return host
  }

  /** The last gate: whatever its coordinator knows of this node. @throws SkeinError LOCAL_ONLY. */
  #refuseUnlessLet(leave: Leave | undefined): void {
    if (this.#components.isCloud === true && leave === undefined)
      throw new SkeinError('LOCAL_ONLY', "this is a cloud node, and nothing says why the task leaves its owner's nodes")
  }

  /** @throws SkeinError NOT_SERVED when this coordinator may begin nothing here for `tenant`. */
  #refuse(coordinator: Member, tenant: string | undefined): void {
    const refusal = this.#components.refusalOf?.(coordinator, tenant)
    if (refusal !== undefined) throw new SkeinError('NOT_SERVED', refusal)
  }

  #refuseWhenClosed(): void {
    if (this.isCordoned || this.isDraining) throw new SkeinError('NODE_DRAINING', 'the node takes no new work')
  }

  /** @throws SkeinError NO_FREE_SLOT, NODE_DRAINING; STALE_FENCING_TOKEN when it was superseded itself meanwhile. */
  async #slotOf(host: ModelHost, { taskId, unwanted }: Attempt): Promise<Slot> {
    let slot = host.acquire()
    if (slot === undefined && this.#isLettingGo(taskId)) {
      const full = (): SkeinError => noFreeSlot(host)
      await withDeadline(this.#components.clock, SUPERSEDED_MS, full, unwanted, (signal) => host.slotFree(signal))
      // A drain that began meanwhile does not know of this attempt.
      this.#refuseWhenClosed()
      slot = host.acquire()
    }
    if (slot === undefined) throw noFreeSlot(host)
    return slot
  }

  /** Whether an older attempt of the task still has its slot. */
  #isLettingGo(taskId: TaskId): boolean {
    for (const attempt of this.#running.keys()) if (attempt.taskId === taskId && !attempt.hasEnded) return true
    return false
  }
}

const refusedIds = (first: AttemptStart | AttemptAttach): object =>
  first.type === 'attempt.attach'
    ? { task: first.taskId, fence: first.fence }
    : { ...logIdsOf(first), fence: first.fence }

const noFreeSlot = (host: ModelHost): SkeinError => new SkeinError('NO_FREE_SLOT', `all ${host.slots} slots are taken`)

/** Waits for `work`, at most `boundMs`. */
async function settledWithin(clock: Clock, work: Promise<unknown>, boundMs: number): Promise<void> {
  const over = new AbortController()
  await Promise.race([work, sleep(clock, boundMs, over.signal).catch(() => {})])
  over.abort()
}
