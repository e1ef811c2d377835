/**
 * One attempt, from its slot to its final frame. It is not bound to the stream that began it: when that is lost it goes on,
 * and another one takes up what was made. The slot is given back before the final frame goes out, so that a coordinator
 * that fills the slot at once finds it free.
 */
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  unpackTokenIds,
  type AttemptCommit,
  type AttemptStart,
  type PeerId,
  type TaskId,
} from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger, SpanSink } from '../../mesh/runtime/index.ts'
import type { Engine, GenerationEvent, GenerationRequest, Tail } from '../engines/index.ts'
import type { ModelHost, Slot } from '../models/index.ts'
import { AnswerLog, type FinalFrame } from './answer-log.ts'
import { AttemptTrace } from './attempt-trace.ts'
import { AttemptStream, type AttemptChannel, type StreamEnd } from './attempt-stream.ts'
import { PROGRESS_MS } from './frame-relay.ts'

/** Of a progress in shares. */
const LOADING_TOTAL = 100
const MESSAGE_LENGTH_MAX = 1024
const PARAM_LENGTH_MAX = 128

export interface AttemptComponents {
  readonly clock: Clock
  readonly log: Logger
  /** The load changed other than by slots: prompt tokens were prefilled. */
  readonly onLoad: () => void
  /** So many tokens more were read, of the prompt, or made. */
  readonly onTokens: (tokens: number) => void
  /** Where spans go; there are none without it. */
  readonly spans?: SpanSink | undefined
}

export interface AttemptInit {
  readonly start: AttemptStart
  readonly host: ModelHost
  /** `start.generated`, unpacked. */
  readonly generated: readonly number[]
}

/** `replaced`: another stream has taken over. */
export type ServeEnd = StreamEnd | 'replaced'

export class Attempt {
  readonly taskId: TaskId
  readonly log: AnswerLog
  readonly #components: AttemptComponents
  readonly #firstFence: number
  readonly #maxTokens: number
  readonly #ending = new AbortController()
  readonly #trace: AttemptTrace
  readonly #commit = Promise.withResolvers<Tail>()
  /** Given to the engine; let go of at the end, since the prompt may be large. */
  #init: AttemptInit | undefined
  #fence: number
  #owner: PeerId | undefined
  #stream: AttemptStream | undefined
  #phase: 'preparing' | 'prepared' | 'generating'
  /** Of those that the owner's quota has counted. */
  #promptTokens = 0
  #cancelPrepared: CancelTimer = () => {}

  constructor(components: AttemptComponents, init: AttemptInit) {
    const { taskId, fence, maxTokens, hold } = init.start
    this.#components = components
    this.#init = init
    this.taskId = taskId
    this.#trace = new AttemptTrace(components, init.start)
    this.log = new AnswerLog(init.generated.length)
    this.#fence = this.#firstFence = fence
    this.#maxTokens = maxTokens
    this.#phase = hold ? 'preparing' : 'generating'
    this.#commit.promise.catch(() => {})
  }

  /** For log lines. */
  get ids(): object {
    return { ...this.#trace.ids, fence: this.#fence }
  }

  /** Its newest fencing token: that of its last stream. */
  get fence(): number {
    return this.#fence
  }

  /** The coordinator that followed it last. */
  get owner(): PeerId | undefined {
    return this.#owner
  }

  /** Aborts when nobody wants it any more; it then ends with `attempt.failed` and the reason's code. */
  get unwanted(): AbortSignal {
    return this.#ending.signal
  }

  get hasEnded(): boolean {
    return this.log.final !== undefined
  }

  /** False of one that nobody wants, and of one that waits for its commit: that has made nothing. */
  get isWorthHolding(): boolean {
    return !this.#ending.signal.aborted && this.#phase === 'generating'
  }

  /** Whether `fence` is, or was, its fencing token: a coordinator may not know of the last stream. */
  bore(fence: number): boolean {
    return fence >= this.#firstFence && fence <= this.#fence
  }

  /** The first reason wins. */
  end(reason: SkeinError): void {
    this.#ending.abort(reason)
  }

  /**
   * Sends it on `channel`, from piece number `piece` on, under `fence`, and resolves with how that stream ended. An older
   * stream is reset. Does not throw.
   */
  async serve(channel: AttemptChannel, fence: number, piece: number): Promise<ServeEnd> {
    this.#stream?.abort(new SkeinError('STALE_FENCING_TOKEN', 'the attempt goes on on another stream'))
    if (fence !== this.#firstFence) this.#trace.mark('attached')
    this.#fence = fence
    this.#owner = channel.peer
    const init = { fence, log: this.log, piece }
    const stream = new AttemptStream(this.#components.clock, channel, init, {
      cancelled: () => {
        if (this.#stream === stream) this.end(new SkeinError('CLIENT_CLOSED', 'cancelled by the coordinator'))
      },
      committed: (frame) => this.#committed(frame),
    })
    this.#stream = stream
    const end = await stream.serve()
    if (this.#stream !== stream) return 'replaced'
    this.#stream = undefined
    return end
  }

  /** Runs it to its end and gives `slot` back; resolves when its stream, if any, has the final frame. Does not throw. */
  async run(slot: Slot): Promise<void> {
    const { signal } = this.#ending
    let final: FinalFrame
    try {
      final = await this.#generate(slot, signal)
    } catch (thrown) {
      final = failedFrame(this.#fence, asSkeinError(signal.aborted ? signal.reason : thrown, 'ENGINE_FAILED'))
    } finally {
      this.#init = undefined
      this.#cancelPrepared()
      slot.release()
    }
    this.log.final = final
    this.#stream?.relay.wake()
    const outcome = final.type === 'attempt.failed' ? final.code : final.type
    this.#trace.end(final, this.log.made)
    this.#components.log.debug({ ...this.ids, outcome, index: this.log.end }, 'ended')
    await this.#stream?.flushed
  }

  async #generate(slot: Slot, signal: AbortSignal): Promise<FinalFrame> {
    const { start, host, generated } = this.#init!
    const engine = await this.#engine(host, signal)
    const { taskId, fence, prompt, sampling, stop, maxTokens, said, logprobs, format, hold } = start
    const request: GenerationRequest = {
      id: `${taskId}#${fence}`,
      prompt,
      sampling,
      stop,
      maxTokens,
      generated,
      ...(said !== undefined && { said }),
      ...(logprobs !== undefined && { logprobs }),
      ...(format !== undefined && { format }),
      ...(hold && { hold: this.#commit.promise }),
      ...(this.#trace.traceparent !== undefined && { traceparent: this.#trace.traceparent }),
      ...(start.leave?.hops !== undefined && { hops: start.leave.hops }),
      ...(start.leave?.via && { via: start.leave.via }),
    }
    this.#components.log.debug(this.ids, 'began')
    this.#trace.mark('prefill')
    try {
      for await (const event of engine.generate(request, signal)) {
        if (event.type === 'end') {
          this.#read(event.usage.promptTokens)
          if (isPlain(start)) slot.showed(shownBy(event, generated.length))
          return endFrame(this.#fence, event)
        }
        this.#take(event)
      }
    } catch (thrown) {
      const error = asSkeinError(thrown, 'ENGINE_FAILED')
      if (error.code === 'ENGINE_CRASHED') host.crashed(engine, error)
      throw error
    }
    throw new SkeinError('ENGINE_FAILED', 'the engine ended the attempt without saying why')
  }

  #take(event: Exclude<GenerationEvent, { type: 'end' }>): void {
    switch (event.type) {
      case 'tokens':
        if (this.#phase !== 'generating')
          throw new SkeinError('ENGINE_FAILED', 'the engine gave tokens before the commit')
        this.#trace.mark('decode')
        this.log.add(event)
        this.#components.onTokens(event.ids.length)
        return this.#stream?.relay.wake()
      case 'prepared':
        return this.#prepared()
      case 'progress':
        if (event.phase === 'prefill') this.#read(event.done)
        if (this.#phase !== 'prepared') this.#stream?.relay.progress(event.phase, event.done, event.total)
        this.#components.onLoad()
    }
  }

  /** So many tokens of the prompt have been read by now; what is made again of the answer counts as prompt here. */
  #read(tokens: number): void {
    if (tokens <= this.#promptTokens) return
    this.#components.onTokens(tokens - this.#promptTokens)
    this.#promptTokens = tokens
  }

  #prepared(): void {
    if (this.#phase !== 'preparing') return
    this.#phase = 'prepared'
    this.#trace.mark('prepared')
    const { clock, onLoad } = this.#components
    const late = (): void => this.end(new SkeinError('STREAM_TIMEOUT', `no commit within ${LIMITS.preparedMs} ms`))
    this.#cancelPrepared = clock.timer(LIMITS.preparedMs, late)
    this.#stream?.relay.prepared()
    onLoad()
  }

  /** @throws SkeinError FRAME_UNEXPECTED, FRAME_MALFORMED. */
  #committed(frame: AttemptCommit): void {
    if (this.#phase !== 'prepared')
      throw new SkeinError('FRAME_UNEXPECTED', 'attempt.commit of what is not prepared, or was committed')
    const ids = unpackTokenIds(frame.generated)
    if (ids === undefined || this.log.end + ids.length > this.#maxTokens)
      throw new SkeinError(
        'FRAME_MALFORMED',
        'attempt.commit: no whole number of tokens, or more than the answer may have',
      )
    this.#cancelPrepared()
    this.#trace.mark('committed')
    this.#phase = 'generating'
    this.log.skip(ids.length)
    this.#commit.resolve(frame.said === undefined ? ids : { ids, said: frame.said })
  }

  /** Waits for the model, telling how far it is. */
  async #engine(host: ModelHost, signal: AbortSignal): Promise<Engine> {
    const { clock } = this.#components
    let cancel: CancelTimer = () => {}
    const tell = (): void => {
      const done = host.loadedShare * LOADING_TOTAL
      this.#stream?.relay.progress(host.isResident ? 'waiting' : 'loading', done, LOADING_TOTAL)
      cancel = clock.timer(PROGRESS_MS, tell)
    }
    if (!host.isResident) tell()
    else cancel = clock.timer(PROGRESS_MS, tell)
    try {
      return await host.ready(signal)
    } finally {
      cancel()
    }
  }
}

/**
 * Log probabilities and grammars take time of their own, one that was held has waited, and how many tokens a text has is not
 * told: they show nothing of the model.
 */
const isPlain = ({ logprobs, format, hold, said }: AttemptStart): boolean =>
  logprobs === undefined && format === undefined && !hold && said === undefined

/** @param from tokens of the answer that were made elsewhere: here they were prefilled. */
function shownBy(
  { usage, timing }: Extract<GenerationEvent, { type: 'end' }>,
  from: number,
): Parameters<Slot['showed']>[0] {
  const { promptTokens, cachedTokens, completionTokens } = usage
  return {
    prefillTokens: promptTokens - cachedTokens + from,
    prefillMs: timing.prefillMs,
    // the first one belongs to the prefill
    decodeTokens: completionTokens - from - 1,
    decodeMs: timing.decodeMs,
    contextTokens: promptTokens + completionTokens,
  }
}

export const failedFrame = (fence: number, error: SkeinError): FinalFrame => ({
  type: 'attempt.failed',
  fence,
  code: error.code,
  message: error.message.slice(0, MESSAGE_LENGTH_MAX),
  ...(error.param !== undefined && { param: error.param.slice(0, PARAM_LENGTH_MAX) }),
})

function endFrame(fence: number, event: Extract<GenerationEvent, { type: 'end' }>): FinalFrame {
  const { finishReason, stopIndex, text, usage, timing } = event
  const ms = (value: number): number => Math.max(0, Math.round(value))
  return {
    type: 'attempt.end',
    fence,
    finishReason,
    ...(stopIndex !== undefined && { stopIndex }),
    text,
    usage,
    timing: { waitMs: ms(timing.waitMs), prefillMs: ms(timing.prefillMs), decodeMs: ms(timing.decodeMs) },
  }
}
