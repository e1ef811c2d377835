/**
 * One attempt from `attempt.accepted` to its one final frame. The slot is given back before the final frame goes out, so
 * that a coordinator that fills the slot at once finds it free.
 */
import {
  asSkeinError,
  SkeinError,
  type AttemptStart,
  type ErrorCode,
  type Frame,
  type FrameSet,
  type INBOUND,
} from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger } from '../../mesh/runtime/index.ts'
import type { FrameChannel } from '../../mesh/network/index.ts'
import type { Engine, GenerationEvent, GenerationRequest } from '../engines/index.ts'
import type { ModelHost, Slot } from '../models/index.ts'
import { FrameRelay } from './frame-relay.ts'

export type AttemptChannel = FrameChannel<typeof INBOUND.attemptNode extends FrameSet<infer F> ? F : never>

/** The contract is a second (`attempt.progress`); half of it forgives a late timer. */
const PROGRESS_MS = 500
/** Of a progress in shares. */
const LOADING_TOTAL = 100
const MESSAGE_LENGTH_MAX = 1024

export interface AttemptComponents {
  readonly clock: Clock
  readonly log: Logger
  /** The load changed other than by slots: prompt tokens were prefilled. */
  readonly onLoad: () => void
}

export interface AttemptInit {
  readonly start: AttemptStart
  readonly host: ModelHost
  /** `start.generated`, unpacked. */
  readonly generated: readonly number[]
  /** Aborting it ends the attempt with `attempt.failed` and the reason's code; the first reason wins. */
  readonly ending: AbortController
}

export class Attempt {
  readonly #components: AttemptComponents
  readonly #channel: AttemptChannel
  readonly #start: AttemptStart
  readonly #host: ModelHost
  readonly #generated: readonly number[]
  readonly #relay: FrameRelay
  readonly #ending: AbortController

  constructor(components: AttemptComponents, channel: AttemptChannel, init: AttemptInit) {
    this.#components = components
    this.#channel = channel
    this.#start = init.start
    this.#host = init.host
    this.#generated = init.generated
    this.#ending = init.ending
    this.#relay = new FrameRelay(channel, components.clock, init.start.fence, init.generated.length)
  }

  /** Runs it to its final frame and gives `slot` back. Does not throw. */
  async run(slot: Slot): Promise<void> {
    const { log } = this.#components
    const reader = new AbortController()
    const signal = AbortSignal.any([this.#ending.signal, this.#channel.closed])
    this.#relay.accepted()
    const reading = this.#read(reader.signal)
    let final: Frame
    try {
      final = await this.#generate(signal)
    } catch (thrown) {
      const error = signal.aborted ? signal.reason : thrown
      final = failedFrame(this.#start.fence, asSkeinError(error, 'ENGINE_FAILED'))
    } finally {
      slot.release()
    }
    const outcome = final.type === 'attempt.failed' ? final.code : final.type
    try {
      await this.#relay.finish(final)
    } catch (thrown) {
      this.#channel.abort(asSkeinError(thrown, 'STREAM_TRUNCATED'))
    }
    reader.abort(new SkeinError('STREAM_TRUNCATED', 'the attempt is over'))
    await reading
    await this.#channel.close()
    log.debug({ task: this.#start.taskId, fence: this.#start.fence, outcome, tokens: this.#relay.tokensSent }, 'ended')
  }

  async #generate(signal: AbortSignal): Promise<Frame> {
    const engine = await this.#engine(signal)
    const { taskId, fence, prompt, sampling, stop, maxTokens } = this.#start
    const generated = this.#generated
    const request: GenerationRequest = { id: `${taskId}#${fence}`, prompt, sampling, stop, maxTokens, generated }
    try {
      for await (const event of engine.generate(request, signal)) {
        if (event.type === 'end') return endFrame(fence, event)
        this.#pass(event)
      }
    } catch (thrown) {
      const error = asSkeinError(thrown, 'ENGINE_FAILED')
      if (error.code === 'ENGINE_CRASHED') this.#host.crashed(engine, error)
      throw error
    }
    throw new SkeinError('ENGINE_FAILED', 'the engine ended the attempt without saying why')
  }

  #pass(event: Exclude<GenerationEvent, { type: 'end' }>): void {
    if (event.type === 'tokens') return this.#relay.tokens(event.index, event.ids, event.text)
    this.#relay.progress(event.phase, event.done, event.total)
    this.#components.onLoad()
  }

  /** Waits for the model, telling how far it is. */
  async #engine(signal: AbortSignal): Promise<Engine> {
    const { clock } = this.#components
    let cancel: CancelTimer = () => {}
    const tell = (): void => {
      this.#relay.progress(
        this.#host.isResident ? 'waiting' : 'loading',
        this.#host.loadedShare * LOADING_TOTAL,
        LOADING_TOTAL,
      )
      cancel = clock.timer(PROGRESS_MS, tell)
    }
    if (!this.#host.isResident) tell()
    else cancel = clock.timer(PROGRESS_MS, tell)
    try {
      return await this.#host.ready(signal)
    } finally {
      cancel()
    }
  }

  #end(code: ErrorCode, message: string): void {
    this.#ending.abort(new SkeinError(code, message))
  }

  /** Listens for the cancel, and for the coordinator's side to close. Does not throw. */
  async #read(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        const frame = await this.#channel.receive(signal)
        if (frame === undefined) return this.#end('CLIENT_CLOSED', 'the coordinator closed the stream')
        if (frame.type === 'attempt.start')
          throw new SkeinError('FRAME_UNEXPECTED', 'a second attempt.start on one stream')
        if (frame.fence === this.#start.fence) this.#end('CLIENT_CLOSED', 'cancelled by the coordinator')
      }
    } catch (thrown) {
      if (signal.aborted) return
      const error = asSkeinError(thrown, 'STREAM_TRUNCATED')
      this.#ending.abort(error)
      this.#channel.abort(error)
    }
  }
}

export const failedFrame = (fence: number, error: SkeinError): Frame => ({
  type: 'attempt.failed',
  fence,
  code: error.code,
  message: error.message.slice(0, MESSAGE_LENGTH_MAX),
})

function endFrame(fence: number, event: Extract<GenerationEvent, { type: 'end' }>): Frame {
  const { finishReason, text, usage, timing } = event
  const ms = (value: number): number => Math.max(0, Math.round(value))
  return {
    type: 'attempt.end',
    fence,
    finishReason,
    text,
    usage,
    timing: { waitMs: ms(timing.waitMs), prefillMs: ms(timing.prefillMs), decodeMs: ms(timing.decodeMs) },
  }
}
