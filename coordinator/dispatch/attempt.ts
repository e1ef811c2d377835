/**
 * One attempt: an `attempt` stream to a node, from its first frame to its final one. It begins in one of three ways: with
 * the tokens so far (a fresh attempt is the case of none), held back until its tokens are wanted (`hold`, then `commit`),
 * or by going on with what the node still holds of an attempt whose stream was lost (`attach`).
 *
 * Tokens are handed to the task, which delivers each index once and in order (invariant I2): a frame under another
 * fencing token or with an index that was delivered is dropped and counted, a gap ends the attempt.
 */
import {
  asSkeinError,
  isErrorCode,
  LIMITS,
  packTokenIds,
  SkeinError,
  thoughtMarks,
  unpackTokenIds,
  type AttemptProgress,
  type AttemptTokens,
  type Frame,
  type Leave,
  type ModelCapability,
} from '../../mesh/protocol/index.ts'
import { sleep, type Clock } from '../../mesh/runtime/index.ts'
import type { ObservedMs } from '../ledger/index.ts'
import type { NodeSnapshot } from '../scheduler/index.ts'
import type { AttemptChannel, AttemptFrame, AttemptStreams } from './attempt-streams.ts'
import { saidFor } from './going-on.ts'
import { Rhythm } from './rhythm.ts'
import { attemptTraceparent } from './traced.ts'
import type { LeavePaper } from './leave.ts'
import type { Completion, Task } from './task.ts'
import { Watchdog } from './watchdog.ts'

/** A cancel that the node does not confirm within this long is followed by a reset. */
const CANCEL_MS = 250
/** A prefill, load or wait that says that it lives but does not advance. */
const NO_ADVANCE_MS = 60_000

export type DropReason = 'stale fence' | 'repeated index'

export interface AttemptComponents {
  readonly clock: Clock
  readonly streams: AttemptStreams
  /** Counts dropped frames by reason. */
  readonly count: (reason: DropReason) => void
}

/** What the task hears of its attempt. */
export interface AttemptListener {
  accepted(attempt: Attempt): void
  progress(attempt: Attempt, frame: AttemptProgress): void
  /** The task's answer has grown by `count` tokens. */
  delivered(attempt: Attempt, count: number): void
}

export interface AttemptInit {
  readonly task: Task
  readonly node: NodeSnapshot
  /** Number in its task, from 1. */
  readonly number: number
  readonly fence: number
  /** `attach`: to the attempt that the node holds under this fencing token. */
  readonly start: 'generate' | 'hold' | { readonly attach: number }
  readonly listener: AttemptListener
  /** Where the node is in the cloud; nothing is sent there without it. */
  readonly leave?: LeavePaper | undefined
  /** Nothing is sent before this resolves. */
  readonly after?: Promise<void>
}

export class Attempt {
  readonly init: AttemptInit
  /** Tokens of the answer when it began: the first one of its own has this index. */
  readonly from: number
  /** Resolves with how the answer ended; rejects with the SkeinError that kept this attempt from ending it. */
  readonly done: Promise<Completion>
  /** Of a held attempt: resolves when all that it was given is prefilled; rejects as `done`. */
  readonly prepared: Promise<void>
  readonly #components: AttemptComponents
  readonly #prepared = Promise.withResolvers<void>()
  readonly #ending = new AbortController()
  #isAbandoned = false
  readonly #watchdog: Watchdog
  readonly #rhythm: Rhythm
  readonly #beganMs: number
  #channel: AttemptChannel | undefined
  #acceptedMs: number | undefined
  #firstTokenMs: number | undefined
  #lastTokenMs: number | undefined
  #delivered = 0
  #prefilled: number | undefined
  #promptTokens: number | undefined
  #to: number
  #progressKey = ''
  /** Its node tells how sure it is, for the answer to be judged. */
  #isMeasured = false
  #advancedMs = 0

  constructor(components: AttemptComponents, init: AttemptInit, signal: AbortSignal) {
    this.init = init
    this.#components = components
    this.#watchdog = new Watchdog(components.clock)
    this.#rhythm = new Rhythm(init.node.models.get(init.task.spec.digest)!.capability)
    this.#beganMs = components.clock.nowMs()
    this.from = this.#to = init.task.answer.length
    this.prepared = this.#prepared.promise
    this.prepared.catch(() => {})
    this.done = this.#run(AbortSignal.any([signal, this.#ending.signal, this.#watchdog.signal]))
    this.done.catch((thrown) => this.#prepared.reject(thrown))
  }

  get node(): NodeSnapshot {
    return this.init.node
  }

  /** Tokens that were delivered from it. */
  get delivered(): number {
    return this.#delivered
  }

  /** Tokens that its node had to prefill, as far as it said: what it was given, less what it had cached. */
  get prefilled(): number | undefined {
    return this.#prefilled
  }

  /** Tokens of the prompt, once it has ended the answer. */
  get promptTokens(): number | undefined {
    return this.#promptTokens
  }

  /** Index in the answer behind the last of them; more than `from` and their number where the source of a move went on. */
  get to(): number {
    return this.#to
  }

  /** About as many bytes as its first frame has. */
  get sentBytes(): number {
    const { task, start } = this.init
    return typeof start === 'object' ? 0 : task.promptBytes + 4 * this.from
  }

  get isAccepted(): boolean {
    return this.#acceptedMs !== undefined
  }

  get observed(): ObservedMs {
    const firstToken = this.#firstTokenMs
    return {
      ...(this.#acceptedMs !== undefined && { acceptMs: this.#acceptedMs - this.#beganMs }),
      ...(firstToken !== undefined && { firstTokenMs: firstToken - this.#beganMs }),
      ...(firstToken !== undefined && { decodeMs: this.#lastTokenMs! - firstToken }),
    }
  }

  /**
   * From now on the answer comes from here: the tokens that were delivered since it began are sent after it, and frames
   * of the attempt before are stale.
   */
  commit(): void {
    const { task, fence, leave } = this.init
    task.deliveringFence = fence
    if (leave?.maySay() === false) return this.#ending.abort(notSaid())
    const generated = packTokenIds(task.answer.ids(this.from))
    const said = saidFor(task, this.#continues, task.answer.length)
    this.#watchdog.expect('commit to first token', LIMITS.progressMs)
    const frame = { type: 'attempt.commit', fence, generated, ...(said !== undefined && { said }) } as const
    this.#channel?.send(frame, this.#ending.signal).catch((thrown: unknown) => {
      this.#ending.abort(asSkeinError(thrown, 'NODE_LOST'))
    })
  }

  /** Whether a held one can be committed with the tokens that have come since. @throws SkeinError NOT_CONTINUABLE. */
  assertFits(): void {
    saidFor(this.init.task, this.#continues, this.init.task.answer.length)
  }

  get #continues(): ModelCapability['continues'] {
    return this.node.models.get(this.init.task.spec.digest)!.capability.continues
  }

  /** Ends it with `reason`; the node is told, unless its end was heard already. */
  cancel(reason: SkeinError): void {
    this.#ending.abort(reason)
  }

  /** Leaves it to its node: the stream breaks without a cancel, so that a later life of the coordinator can go on with it. */
  abandon(): void {
    this.#isAbandoned = true
    this.#ending.abort(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping'))
  }

  async #run(signal: AbortSignal): Promise<Completion> {
    const { clock, streams } = this.#components
    let ended = false
    try {
      checkLeave(this.init)
      if (this.init.after) await raced(this.init.after, signal)
      this.#watchdog.expect('assign to accept', LIMITS.assignToAcceptMs)
      this.#channel = await streams.take(this.node.peerId, signal)
      await this.#channel.send(this.#firstFrame(), signal)
      for (;;) {
        const frame = await this.#channel.receive(signal)
        if (frame === undefined)
          throw new SkeinError('STREAM_TRUNCATED', `${this.node.name} ended the stream without a final frame`)
        if (frame.fence !== this.init.fence) {
          this.#components.count('stale fence')
          continue
        }
        if (frame.type === 'attempt.end' || frame.type === 'attempt.failed') ended = true
        if (frame.type === 'attempt.end') return this.#completion(frame)
        this.#take(frame)
      }
    } finally {
      this.#watchdog.stop()
      if (this.#isAbandoned) this.#channel?.abort(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping'))
      else if (this.#channel) finish(clock, this.#channel, this.init.fence, ended)
    }
  }

  #take(frame: Exclude<AttemptFrame, { type: 'attempt.end' }>): void {
    const { clock } = this.#components
    switch (frame.type) {
      case 'attempt.accepted':
        if (this.isAccepted) throw new SkeinError('FRAME_UNEXPECTED', 'attempt.accepted for the second time')
        this.#acceptedMs = this.#advancedMs = clock.nowMs()
        this.#watchdog.expect('accept to first token', LIMITS.progressMs)
        return this.init.listener.accepted(this)
      case 'attempt.progress':
        return this.#progress(frame)
      case 'attempt.prepared':
        if (this.init.start !== 'hold') throw new SkeinError('FRAME_UNEXPECTED', 'attempt.prepared without a hold')
        this.#watchdog.expect('prepared to commit', LIMITS.preparedMs)
        return this.#prepared.resolve()
      case 'attempt.tokens':
        return this.#deliver(frame)
      case 'attempt.failed':
        throw new SkeinError(
          isErrorCode(frame.code) ? frame.code : 'ENGINE_FAILED',
          `${this.node.name}: ${frame.message}`,
          frame.param === undefined ? {} : { param: frame.param },
        )
    }
  }

  /** It lives. While it decodes only tokens count: an engine that ticks and makes none is stalled. */
  #progress(frame: AttemptProgress): void {
    const nowMs = this.#components.clock.nowMs()
    const key = `${frame.phase} ${frame.done}`
    if (key !== this.#progressKey) this.#advancedMs = nowMs
    this.#progressKey = key
    if (nowMs - this.#advancedMs > NO_ADVANCE_MS)
      throw new SkeinError('ATTEMPT_STALLED', `${frame.phase} has not advanced for ${NO_ADVANCE_MS} ms`)
    if (this.#firstTokenMs === undefined) this.#watchdog.expect('progress', LIMITS.progressMs)
    this.init.listener.progress(this, frame)
  }

  /** @throws SkeinError FRAME_UNEXPECTED on a gap, FRAME_MALFORMED. */
  #deliver(frame: AttemptTokens): void {
    const { task, fence, listener } = this.init
    const ids = unpackTokenIds(frame.ids)
    if (ids === undefined || ids.length === 0 || ids.length > LIMITS.tokensPerFrameMax)
      throw new SkeinError('FRAME_MALFORMED', 'attempt.tokens: no whole number of ids')
    if (task.deliveringFence !== fence) return this.#components.count('stale fence')
    const index = task.answer.length
    if (frame.index < index) return this.#components.count('repeated index')
    if (frame.index > index) throw new SkeinError('FRAME_UNEXPECTED', `token ${frame.index} where ${index} was due`)
    if (index + ids.length > task.spec.maxTokens)
      throw new SkeinError('FRAME_UNEXPECTED', `more than the ${task.spec.maxTokens} tokens that were asked for`)
    this.#checkLogprobs(frame.logprobs?.length ?? 0, ids.length)
    task.answer.push(ids, frame.text, frame.logprobs)
    if (this.#isMeasured) task.meter?.push(frame.logprobs ?? [])
    const nowMs = this.#components.clock.nowMs()
    this.#watchdog.expect('between tokens', this.#rhythm.beat(nowMs))
    if (this.#delivered === 0) this.#components.streams.replenish(this.node.peerId)
    this.#delivered += ids.length
    this.#to = task.answer.length
    this.#firstTokenMs ??= nowMs
    this.#lastTokenMs = nowMs
    task.firstTokenAtMs ??= nowMs
    listener.delivered(this, ids.length)
  }

  /** @throws SkeinError FRAME_MALFORMED. */
  #checkLogprobs(count: number, tokens: number): void {
    const { task, start } = this.init
    // of one that is attached to, those that were asked for may have been asked for to judge it
    const mayHave = this.#isMeasured || typeof start === 'object'
    const isAsked = task.spec.logprobs !== undefined
    if (count === (isAsked ? tokens : 0) || (!isAsked && mayHave && count === tokens)) return
    throw new SkeinError('FRAME_MALFORMED', 'attempt.tokens: not one log probability for each token')
  }

  #completion(frame: Extract<AttemptFrame, { type: 'attempt.end' }>): Completion {
    const { task, fence } = this.init
    if (task.deliveringFence !== fence) throw new SkeinError('STALE_FENCING_TOKEN', 'the answer goes on elsewhere')
    // Usage is what was delivered (invariant I10); a node that counts otherwise is not believed.
    const usage = { ...frame.usage, completionTokens: task.answer.length, ...this.#thought(frame) }
    const { promptTokens, cachedTokens } = frame.usage
    this.#promptTokens = promptTokens
    if (this.init.start === 'generate') this.#prefilled = Math.max(0, promptTokens - cachedTokens + this.from)
    const { finishReason, stopIndex, text } = frame
    return { finishReason, ...(stopIndex !== undefined && { stopIndex }), text, usage }
  }

  /** Of an answer that was begun in other tokens its node knows the text alone. */
  #thought({ usage }: Extract<AttemptFrame, { type: 'attempt.end' }>): { thoughtTokens?: number } {
    const { answer, spec } = this.init.task
    const { thinking } = this.node.models.get(spec.digest)!.capability
    const marks = answer.hasPieces ? thoughtMarks(thinking, spec.prompt) : undefined
    return marks === undefined || usage.thoughtTokens === undefined
      ? {}
      : { thoughtTokens: answer.thoughtTokens(marks) }
  }

  #firstFrame(): Frame {
    const { task, fence, number, start, leave } = this.init
    const { taskId, digest, sampling, stop, maxTokens, format, tenant, requestId } = task.spec
    const traceparent = attemptTraceparent(task.spec, fence)
    const said = typeof start === 'object' ? undefined : saidFor(task, this.#continues, this.from)
    // one that may have to go on behind a text cannot tell any
    this.#isMeasured = task.meter !== undefined && start === 'generate' && said === undefined && !this.node.isCloud
    const logprobs = task.spec.logprobs ?? (this.#isMeasured ? 0 : undefined)
    if (typeof start === 'object')
      return { type: 'attempt.attach', taskId, heldFence: start.attach, fence, from: this.from }
    return {
      type: 'attempt.start',
      taskId,
      attempt: number,
      fence,
      digest,
      prompt: leave?.prompt ?? task.spec.prompt,
      sampling,
      stop: [...stop],
      maxTokens,
      // those of its beginning: a source may have gone on while the stream was opened
      generated: packTokenIds(task.answer.ids().slice(0, this.from)),
      ...(logprobs !== undefined && { logprobs }),
      ...(format !== undefined && { format }),
      ...(start === 'hold' && { hold: true }),
      ...(said !== undefined && { said }),
      ...(leave && !task.spec.localOnly && { leave: leaveFrame(leave, task.spec.hops) }),
      tenant,
      requestId,
      ...(traceparent !== undefined && { traceparent }),
    }
  }
}

const leaveFrame = ({ reason, via }: LeavePaper, hops: number | undefined): Leave => ({
  reason,
  ...(hops !== undefined && { hops }),
  ...(via && { via: [...via] }),
})

/** The last look before anything is sent. @throws SkeinError LOCAL_ONLY. */
function checkLeave({ task, node, start, leave }: AttemptInit): void {
  if (!node.isCloud) return
  const isKnownThere = typeof start === 'object'
  if (task.spec.localOnly || (leave === undefined && !isKnownThere))
    throw new SkeinError('LOCAL_ONLY', `nothing lets the task leave for ${node.name}`)
}

const notSaid = (): SkeinError =>
  new SkeinError('LOCAL_ONLY', 'the answer says what is to be taken out of texts, and so does not leave')

/** `work`, or the signal's reason. */
export function raced(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(asSkeinError(signal.reason)), { once: true })
    work.then(resolve, reject)
  })
}

/** Closes an ended stream; one that has not ended is cancelled, and reset when the node does not confirm in time. */
function finish(clock: Clock, channel: AttemptChannel, fence: number, ended: boolean): void {
  const over = async (): Promise<void> => {
    if (ended) return channel.close()
    const reset = new AbortController()
    const confirmed = channel.send({ type: 'attempt.cancel', fence }).then(async () => {
      for (;;) {
        const frame = await channel.receive(reset.signal)
        if (frame === undefined || frame.type === 'attempt.failed' || frame.type === 'attempt.end') return
      }
    })
    await Promise.race([confirmed, sleep(clock, CANCEL_MS)]).catch(() => {})
    reset.abort(new SkeinError('CLIENT_CLOSED', 'cancelled'))
    confirmed.catch(() => {})
    channel.abort(new SkeinError('CLIENT_CLOSED', 'cancelled'))
  }
  over().catch(() => {
    // a stream that cannot be closed is already gone
  })
}
