/**
 * Serves `attempt` streams: decides whether an attempt may run here, runs it, and knows what runs. Only a coordinator's
 * streams are served; every refusal is a final frame that says why.
 */
import {
  INBOUND,
  LIMITS,
  SkeinError,
  unpackTokenIds,
  type AttemptStart,
  type ModelDigest,
} from '../../mesh/protocol/index.ts'
import { sleep, withDeadline, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import type { Member, PeerTransport } from '../../mesh/network/index.ts'
import type { ModelHost, Slot } from '../models/index.ts'
import { Attempt, failedFrame, type AttemptChannel } from './attempt.ts'
import { FenceGuard, type FenceEntry } from './fence-guard.ts'

/** A superseded attempt lets go of its slot within one prefill chunk; its successor waits for that, not for others. */
const SUPERSEDED_MS = LIMITS.assignToAcceptMs / 2
/** Attempts ended by a drain get this long to send their last frame. */
const LAST_FRAME_MS = 500

export interface ExecutorComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly transport: PeerTransport
  readonly host: (digest: ModelDigest) => ModelHost | undefined
  /** What a load report says changed. */
  readonly onLoad: () => void
}

export class Executor {
  readonly #components: ExecutorComponents
  readonly #log: Logger
  readonly #fences = new FenceGuard()
  readonly #running = new Map<AbortController, Promise<void>>()
  #isDraining = false

  constructor(components: ExecutorComponents) {
    this.#components = components
    this.#log = components.log.scope('executor')
  }

  start(): void {
    this.#components.transport.handle('attempt', INBOUND.attemptNode, (channel, member) => this.#serve(channel, member))
  }

  /** Attempts that hold a slot. */
  get running(): number {
    return this.#running.size
  }

  get isDraining(): boolean {
    return this.#isDraining
  }

  /** From now on every new attempt is refused with NODE_DRAINING; running ones go on. */
  cordon(): void {
    this.#isDraining = true
    this.#components.onLoad()
  }

  /** Cordons, lets running attempts end for `graceMs`, then ends the rest with NODE_DRAINING. Bounded, does not throw. */
  async drain(graceMs: number): Promise<void> {
    const { clock } = this.#components
    this.cordon()
    const ended = Promise.allSettled(this.#running.values())
    await settledWithin(clock, ended, graceMs)
    for (const ending of this.#running.keys())
      ending.abort(new SkeinError('NODE_DRAINING', `the node is stopping; its grace of ${graceMs} ms is over`))
    await settledWithin(clock, ended, LAST_FRAME_MS)
  }

  async #serve(channel: AttemptChannel, member: Member): Promise<void> {
    if (!member.certificate.roles.includes('coordinator'))
      throw new SkeinError('FORBIDDEN', `${member.certificate.name} is no coordinator and may not start attempts`)
    const start = await this.#receiveStart(channel)
    const generated = unpackTokenIds(start.generated)
    if (generated === undefined) throw new SkeinError('FRAME_MALFORMED', 'attempt.start: no whole number of tokens')
    const ending = new AbortController()
    const entry = this.#fences.enter(start.taskId, start.fence, () =>
      ending.abort(new SkeinError('STALE_FENCING_TOKEN', `superseded by a newer attempt of ${start.taskId}`)),
    )
    try {
      if (entry === undefined)
        throw new SkeinError('STALE_FENCING_TOKEN', `fence ${start.fence} of ${start.taskId} is not the newest`)
      const host = this.#hostOf(start)
      const slot = await this.#slotOf(host, entry, ending.signal)
      const { clock, onLoad } = this.#components
      const attempt = new Attempt({ clock, onLoad, log: this.#log }, channel, { start, host, generated, ending })
      const run = attempt.run(slot)
      this.#running.set(ending, run)
      await run
    } catch (thrown) {
      if (!(thrown instanceof SkeinError)) throw thrown
      this.#log.debug({ task: start.taskId, fence: start.fence, code: thrown.code }, 'refused')
      await channel.send(failedFrame(start.fence, thrown))
      await channel.close()
    } finally {
      entry?.leave()
      this.#running.delete(ending)
    }
  }

  async #receiveStart(channel: AttemptChannel): Promise<AttemptStart> {
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', 'an attempt stream without attempt.start')
    const first = await withDeadline(this.#components.clock, LIMITS.attemptStartMs, late, channel.closed, (signal) =>
      channel.receive(signal),
    )
    if (first?.type !== 'attempt.start')
      throw new SkeinError('FRAME_UNEXPECTED', 'an attempt stream begins with attempt.start')
    return first
  }

  /** @throws SkeinError NODE_DRAINING, MODEL_NOT_FOUND, or why the model cannot be loaded. */
  #hostOf(start: AttemptStart): ModelHost {
    this.#refuseWhenDraining()
    const host = this.#components.host(start.digest)
    if (host === undefined) throw new SkeinError('MODEL_NOT_FOUND', `this node does not have ${start.digest}`)
    if (host.failure) throw host.failure
    return host
  }

  #refuseWhenDraining(): void {
    if (this.#isDraining) throw new SkeinError('NODE_DRAINING', 'the node takes no new work')
  }

  /** @throws SkeinError NO_FREE_SLOT, NODE_DRAINING; STALE_FENCING_TOKEN when it was superseded itself meanwhile. */
  async #slotOf(host: ModelHost, entry: FenceEntry, superseded: AbortSignal): Promise<Slot> {
    let slot = host.acquire()
    if (slot === undefined && entry.hasSuperseded) {
      const full = (): SkeinError => noFreeSlot(host)
      await withDeadline(this.#components.clock, SUPERSEDED_MS, full, superseded, (signal) => host.slotFree(signal))
      // A drain that began meanwhile does not know of this attempt.
      this.#refuseWhenDraining()
      slot = host.acquire()
    }
    if (slot === undefined) throw noFreeSlot(host)
    return slot
  }
}

const noFreeSlot = (host: ModelHost): SkeinError => new SkeinError('NO_FREE_SLOT', `all ${host.slots} slots are taken`)

/** Waits for `work`, at most `boundMs`. */
async function settledWithin(clock: Clock, work: Promise<unknown>, boundMs: number): Promise<void> {
  const over = new AbortController()
  await Promise.race([work, sleep(clock, boundMs, over.signal).catch(() => {})])
  over.abort()
}
