/** What all engines keep of one running attempt: its answer so far, its text, its times, and the events it owes. */
import { LIMITS, SkeinError, type FinishReason } from '../../mesh/protocol/index.ts'
import { PushQueue, type Clock } from '../../mesh/runtime/index.ts'
import { AnswerText, type Detokenize } from './answer-text.ts'
import type { GenerationEvent, GenerationRequest } from './engine.ts'

/** A consumer that reads nothing can be owed at most an answer and the progress of its prefill. */
const EVENTS_MAX = 2 * LIMITS.generatedTokensMax

export interface AttemptRunInit {
  readonly request: GenerationRequest
  readonly promptTokens: number
  readonly contextTokens: number
  /** Ids are below it. */
  readonly vocabularySize: number
  readonly detokenize: Detokenize
  readonly clock: Clock
}

export class AttemptRun {
  readonly request: GenerationRequest
  readonly promptTokens: number
  readonly events = new PushQueue<GenerationEvent>(EVENTS_MAX)
  /** All tokens of the answer, those given as `generated` included. */
  readonly answer: number[] = []
  cachedTokens = 0
  readonly #text: AnswerText
  readonly #contextTokens: number
  readonly #clock: Clock
  readonly #createdMs: number
  #admittedMs: number | undefined
  #firstTokenMs: number | undefined
  #ended = false

  /** @throws SkeinError CONTEXT_LENGTH_EXCEEDED, INVALID_REQUEST: what no engine can run. */
  constructor(init: AttemptRunInit) {
    checkFits(init)
    this.request = init.request
    this.promptTokens = init.promptTokens
    this.#contextTokens = init.contextTokens
    this.#clock = init.clock
    this.#createdMs = init.clock.nowMs()
    this.#text = new AnswerText(init.detokenize, init.request.stop)
    for (const id of init.request.generated) {
      this.answer.push(id)
      this.#text.push(id)
    }
    const reason = this.#endedBy()
    if (reason !== undefined) this.finish(reason)
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

  progress(phase: 'waiting' | 'prefill', done: number, total: number): void {
    if (!this.#ended) this.events.push({ type: 'progress', phase, done, total })
  }

  /** The next tokens of the answer, as one event; those behind a stop string or `maxTokens` are dropped. */
  deliver(ids: readonly number[]): void {
    if (this.#ended) return
    this.#firstTokenMs ??= this.#clock.nowMs()
    const index = this.answer.length
    const delivered: number[] = []
    let text = ''
    let reason: FinishReason | undefined
    for (const id of ids) {
      delivered.push(id)
      this.answer.push(id)
      text += this.#text.push(id)
      reason = this.#endedBy()
      if (reason !== undefined) break
    }
    this.events.push({ type: 'tokens', index, ids: delivered, text })
    if (reason !== undefined) this.finish(reason)
  }

  finish(finishReason: FinishReason): void {
    if (this.#ended) return
    this.#ended = true
    const nowMs = this.#clock.nowMs()
    const admittedMs = this.#admittedMs ?? nowMs
    const firstTokenMs = this.#firstTokenMs ?? nowMs
    this.events.push({
      type: 'end',
      finishReason,
      text: this.#text.end(),
      usage: {
        promptTokens: this.promptTokens,
        cachedTokens: this.cachedTokens,
        completionTokens: this.answer.length,
      },
      timing: {
        waitMs: Math.round(admittedMs - this.#createdMs),
        prefillMs: Math.round(firstTokenMs - admittedMs),
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

  #endedBy(): FinishReason | undefined {
    if (this.#text.stopped) return 'stop'
    const isFull = this.promptTokens + this.answer.length >= this.#contextTokens
    return isFull || this.answer.length >= this.request.maxTokens ? 'length' : undefined
  }
}

function checkFits({ request, promptTokens, contextTokens, vocabularySize }: AttemptRunInit): void {
  if (promptTokens >= contextTokens)
    throw new SkeinError(
      'CONTEXT_LENGTH_EXCEEDED',
      `the prompt has ${promptTokens} tokens, and the context holds ${contextTokens} with the answer`,
    )
  if (request.generated.some((id) => !(Number.isInteger(id) && id >= 0 && id < vocabularySize)))
    throw new SkeinError('INVALID_REQUEST', `generated has ids beyond the ${vocabularySize} of the vocabulary`)
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
