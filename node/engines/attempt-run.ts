/** What all engines keep of one running attempt: its answer so far, its text, its times, and the events it owes. */
import {
  LIMITS,
  SkeinError,
  thoughtMarks,
  type FinishReason,
  type Thinking,
  type ThoughtMarks,
  type TokenLogprob,
} from '../../mesh/protocol/index.ts'
import { PushQueue, type CancelTimer, type Clock } from '../../mesh/runtime/index.ts'
import { AnswerText, type Detokenize } from './answer-text.ts'
import type { CallText } from './call-text.ts'
import { tailOf, type GenerationEvent, type GenerationRequest, type Tail } from './engine.ts'

/** How often `progress` is to be called: half of what the port promises, which forgives a late timer. */
export const PROGRESS_INTERVAL_MS = 500
/** A consumer that reads nothing can be owed at most an answer and the progress beside it. */
const EVENTS_MAX = 2 * LIMITS.generatedTokensMax
/** Ids in front of the first one that a detokeniser is shown: enough for the beginning of a word. */
const CONTEXT_IDS = 4

export interface AttemptRunInit {
  readonly request: GenerationRequest
  readonly promptTokens: number
  readonly contextTokens: number
  /** Ids are below it, and not below `firstId`: 0 when absent. */
  readonly vocabularySize: number
  readonly firstId?: number
  readonly detokenize: Detokenize
  /** Text of an answer as ids of this vocabulary, behind which a model goes on; it goes on behind no text without it. */
  readonly tokenize?: (said: string) => readonly number[]
  /** UTF-16 code units at the end of `said` that are no whole token, and made again with the next one; none when absent. */
  readonly againOf?: (said: string) => number
  /** How the model's answers show its thoughts. */
  readonly thinking?: Thinking | undefined
  /** Fresh, of a model whose calls are written otherwise than we do, and whose prompt has tools. */
  readonly calls?: CallText | undefined
  readonly clock: Clock
}

export class AttemptRun {
  readonly request: GenerationRequest
  readonly promptTokens: number
  readonly events = new PushQueue<GenerationEvent>(EVENTS_MAX)
  /** All tokens of the answer, those given as `generated` included: they may be of another vocabulary, see `said`. */
  readonly answer: number[] = []
  /** Text behind which it goes on, in place of the tokens that it was given. */
  said: string | undefined
  /** Ids of this vocabulary that the answer was begun with: those given, or those of `said`. */
  behind: readonly number[] = []
  cachedTokens = 0
  readonly #init: AttemptRunInit
  #text: AnswerText
  /** Of prompt and answer, in this vocabulary. */
  #tokens: number
  readonly #hasThought: boolean
  readonly #clock: Clock
  readonly #createdMs: number
  #admittedMs: number | undefined
  #firstTokenMs: number | undefined
  #heldMs = 0
  /** Length of the answer when `progress` was called last, or tokens joined that were not delivered here. */
  #lengthTold = 0
  #ended = false

  /** @throws SkeinError CONTEXT_LENGTH_EXCEEDED, INVALID_REQUEST: what no engine can run. */
  constructor(init: AttemptRunInit) {
    checkFits(init)
    this.#init = init
    this.request = init.request
    this.promptTokens = this.#tokens = init.promptTokens
    this.#clock = init.clock
    this.#createdMs = init.clock.nowMs()
    const thought = thoughtMarks(init.thinking, init.request.prompt)
    this.#hasThought = thought !== undefined
    this.#text = new AnswerText(init.detokenize, init.request.stop, thought, init.calls)
    const { generated, said } = init.request
    this.#replay(said === undefined ? generated : { ids: generated, said })
    init.request.hold?.catch((error: unknown) => this.fail(error))
  }

  /** True after the `end` event, a failure or a cancellation: it needs no sequence any more. */
  get ended(): boolean {
    return this.#ended
  }

  /** The prefill begins. */
  admit(cachedTokens: number): void {
    this.#admittedMs = this.#clock.nowMs()
    this.cachedTokens = cachedTokens
  }

  /** A sign of life, told unless a token was since the last call. */
  progress(phase: 'waiting' | 'prefill' | 'decode', done: number, total: number): void {
    if (this.#ended) return
    const hasMoved = this.answer.length > this.#lengthTold
    this.#lengthTold = this.answer.length
    if (!hasMoved) this.events.push({ type: 'progress', phase, done, total })
  }

  /**
   * All that the attempt was given is prefilled. Resolves, when it is not held any more, with what joined the answer
   * meanwhile and is to be prefilled too: tokens, or the text of the whole answer, as `said` and `behind` say; it may have
   * `ended` by then. Does not throw.
   */
  async prepared(): Promise<Tail> {
    const { hold } = this.request
    if (hold === undefined || this.#ended) return []
    this.events.push({ type: 'prepared' })
    const preparedMs = this.#clock.nowMs()
    const stopTicking = this.#tickWhileHeld()
    // a rejection has ended the attempt, see the constructor
    const tail: Tail = await hold.catch(() => [])
    stopTicking()
    this.#heldMs = this.#clock.nowMs() - preparedMs
    if (this.#ended) return []
    try {
      this.#replay(tail)
    } catch (error) {
      this.fail(error)
    }
    return tail
  }

  /**
   * The next tokens of the answer, as one event; those behind a stop string or `maxTokens` are dropped.
   *
   * @param logprobs one for each id, when they were asked for.
   */
  deliver(ids: readonly number[], logprobs?: readonly TokenLogprob[]): void {
    if (this.#ended) return
    this.#firstTokenMs ??= this.#clock.nowMs()
    const index = this.answer.length
    const delivered: number[] = []
    let text = ''
    let reason: FinishReason | undefined
    for (const id of ids) {
      delivered.push(id)
      this.answer.push(id)
      this.#tokens++
      text += this.#text.push(id)
      reason = this.#endedBy()
      if (reason !== undefined) break
    }
    const told = logprobs === undefined ? {} : { logprobs: logprobs.slice(0, delivered.length) }
    this.events.push({ type: 'tokens', index, ids: delivered, text, ...told })
    if (reason !== undefined) this.finish(reason)
  }

  finish(finishReason: FinishReason): void {
    if (this.#ended) return
    this.#ended = true
    const nowMs = this.#clock.nowMs()
    const admittedMs = this.#admittedMs ?? nowMs
    const firstTokenMs = this.#firstTokenMs ?? nowMs
    const text = this.#text.end()
    const { stopIndex } = this.#text
    this.events.push({
      type: 'end',
      finishReason,
      ...(stopIndex !== undefined && { stopIndex }),
      text,
      usage: {
        promptTokens: this.promptTokens,
        cachedTokens: this.cachedTokens,
        completionTokens: this.answer.length,
        ...(this.#hasThought && { thoughtTokens: this.#text.thoughtTokens }),
      },
      timing: {
        waitMs: Math.round(admittedMs - this.#createdMs),
        prefillMs: Math.round(firstTokenMs - admittedMs - this.#heldMs),
        decodeMs: Math.round(nowMs - firstTokenMs),
      },
    })
    this.events.end()
  }

  /** Ends with an error, or with the reason of a cancellation. */
  fail(error: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.events.fail(error)
  }

  /** What was made elsewhere joins the answer; its text was released there. @throws SkeinError INVALID_REQUEST, NOT_CONTINUABLE. */
  #replay(tail: Tail): void {
    const { ids, said } = tailOf(tail)
    if (said === undefined) this.#replayIds(ids)
    else this.#resume(ids, said)
    this.#lengthTold = this.answer.length
    const reason = this.#endedBy()
    if (reason !== undefined) this.finish(reason)
  }

  #replayIds(ids: readonly number[]): void {
    const { vocabularySize, firstId = 0 } = this.#init
    if (ids.some((id) => id >= 0 && id < firstId))
      throw new SkeinError(
        'NOT_CONTINUABLE',
        'the tokens so far are of another vocabulary, and came without their text',
      )
    if (ids.some((id) => !(Number.isInteger(id) && id >= 0 && id < vocabularySize)))
      throw new SkeinError('INVALID_REQUEST', `generated has ids beyond the ${vocabularySize} of the vocabulary`)
    for (const id of ids) {
      this.answer.push(id)
      this.#text.push(id)
    }
    this.behind = [...this.behind, ...ids]
    this.#tokens += ids.length
  }

  #resume(ids: readonly number[], said: string): void {
    const { request, detokenize, thinking, calls, tokenize, againOf = () => 0 } = this.#init
    const isStrict =
      request.format !== undefined || request.logprobs !== undefined || calls !== undefined || tokenize === undefined
    if (isStrict && (said !== '' || this.behind.length > 0))
      throw new SkeinError(
        'NOT_CONTINUABLE',
        'what the answer is held to, or how it was written, cannot be told from its text',
      )
    for (const id of ids) this.answer.push(id)
    // what a text before this one left behind is of no use
    this.#text = new AnswerText(detokenize, request.stop, thoughtMarks(thinking, request.prompt), calls)
    this.said = textBehind(said, thoughtMarks(thinking, request.prompt))
    this.behind = said === '' ? [] : (tokenize?.(this.said) ?? [])
    this.#tokens = this.promptTokens + this.behind.length
    this.#text.resume(said, this.answer.length, this.behind.slice(-CONTEXT_IDS), againOf(said))
  }

  #tickWhileHeld(): CancelTimer {
    const total = this.promptTokens + this.answer.length
    let cancel: CancelTimer
    const tick = (): void => {
      // a cancelled one, whose hold may never be settled
      if (this.#ended) return
      this.progress('waiting', total, total)
      cancel = this.#clock.timer(PROGRESS_INTERVAL_MS, tick)
    }
    cancel = this.#clock.timer(PROGRESS_INTERVAL_MS, tick)
    return () => cancel()
  }

  #endedBy(): FinishReason | undefined {
    if (this.#text.stopped) return 'stop'
    const isFull = this.#tokens >= this.#init.contextTokens
    return isFull || this.answer.length >= this.request.maxTokens ? 'length' : undefined
  }
}

/** Text of an answer from elsewhere, without the opening of a thought that the prompt has opened already. */
export function textBehind(said: string, marks: ThoughtMarks | undefined): string {
  const text = said.trimStart()
  if (marks?.isOpen !== true || !text.startsWith(marks.open)) return said
  return text.slice(marks.open.length).replace(/^\n/, '')
}

function checkFits({ promptTokens, contextTokens }: AttemptRunInit): void {
  if (promptTokens >= contextTokens)
    throw new SkeinError(
      'CONTEXT_LENGTH_EXCEEDED',
      `the prompt has ${promptTokens} tokens, and the context holds ${contextTokens} with the answer`,
    )
}

/** The events of `run`, which fails with the signal's reason when that aborts, or is dropped when its reader leaves. */
export async function* eventsOf(
  run: { readonly events: AsyncIterable<GenerationEvent>; fail(error: unknown): void },
  signal: AbortSignal,
  onLeave: () => void,
): AsyncGenerator<GenerationEvent, void, undefined> {
  const onAbort = (): void => {
    run.fail(signal.reason)
    onLeave()
  }
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    for await (const event of run.events) {
      // an abort overtakes what waits in the queue
      if (event.type !== 'end') signal.throwIfAborted()
      yield event
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    onLeave()
  }
}
