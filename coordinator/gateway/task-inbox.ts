/**
 * Takes a task's events as they come and hands them on as the client can take them. It reads eagerly, so that a slow client
 * never holds the engine back, and merges what waits: texts become longer texts (of whole pieces, so that the place behind
 * each is a token's), of comments the newest stay. What waits is bounded; above the bound the client is given up
 * (`onOverflow`).
 */
import { asSkeinError, SkeinError, type Route, type TokenLogprob } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'
import type { Left, NodeName, TaskEvent } from '../admission/index.ts'
import { CHUNK_UNITS_MAX, COMMENTS_MAX, LOGPROB_BYTES } from './limits.ts'

export type EndEvent = Extract<TaskEvent, { type: 'end' }>

/** Where the answer is being made, and when that began. */
export interface Started {
  readonly node: NodeName
  readonly route: Route
  readonly attempt: number
  /** Where it is in the cloud. */
  readonly left?: Left
  /** From the making of the inbox to the first attempt. */
  readonly queuedMs: number
}

/** What waited, in the order in which it is to be written. `end` or `failure` make it the last. */
export interface Batch {
  readonly comments: readonly string[]
  /** An attempt has begun, now or before. */
  readonly isStarted: boolean
  readonly text: string
  /** Of the tokens of `text`, and of those before it that released none; empty when they were not asked for. */
  readonly logprobs: readonly TokenLogprob[]
  /** The position behind the last token of `text`. */
  readonly tokens: number
  /** The place behind `text`: `tokens`, and one more when `text` ends with what the end of the answer released. */
  readonly position: number
  readonly end: EndEvent | undefined
  readonly failure: SkeinError | undefined
}

/** Text that waits, and the place behind it. */
interface Piece {
  text: string
  logprobs: TokenLogprob[]
  position: number
}

export interface TaskInboxInit {
  /** Position that the events begin behind. */
  readonly after: number
  readonly keepaliveMs: number
  readonly backlogBytesMax: number
  /** Called once, when more waits than `backlogBytesMax`. */
  readonly onOverflow: () => void
}

export class TaskInbox {
  readonly #clock: Clock
  readonly #init: TaskInboxInit
  readonly #openedAtMs: number
  #comments: string[] = []
  #pieces: Piece[] = []
  /** Memory that `#pieces` hold. */
  #bytes = 0
  /** Log probabilities of tokens that have released no text yet. */
  #silent: TokenLogprob[] = []
  /** Index that the next tokens must have; unknown until the first when they begin in the middle. */
  #index: number | undefined
  /** Position behind the tokens that were read, and behind what was handed on. */
  #tokens: number
  #position: number
  #started: Started | undefined
  #end: EndEvent | undefined
  #failure: SkeinError | undefined
  #isAnnouncing = false
  #hasOverflowed = false
  #wake: (() => void) | undefined
  #handedOverAtMs: number

  /** @param signal when it aborts, its reason (a SkeinError) ends the answer, whatever the task still does. */
  constructor(events: AsyncIterable<TaskEvent>, signal: AbortSignal, clock: Clock, init: TaskInboxInit) {
    this.#clock = clock
    this.#init = init
    this.#tokens = this.#position = init.after
    this.#index = init.after === 0 ? 0 : undefined
    this.#openedAtMs = this.#handedOverAtMs = clock.nowMs()
    const onAbort = (): void => this.#fail(asSkeinError(signal.reason))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    void this.#read(events)
  }

  /** The newest attempt. */
  get started(): Started | undefined {
    return this.#started
  }

  /** What ended the task, when it ended before any text that the client could have: then HTTP can still say so. */
  get earlyFailure(): SkeinError | undefined {
    return this.#pieces.length === 0 && this.#position === this.#init.after ? this.#failure : undefined
  }

  /**
   * Waits until an attempt began or the task ended, at most `holdMs`. Attempts that begin later are announced by a comment
   * `node NAME`, since the headers that name the node are gone by then.
   *
   * @param until when it resolves, nothing is waited for any more: another choice of the same answer has begun.
   */
  async opened(holdMs: number, until?: Promise<unknown>): Promise<void> {
    let isOver = false
    const stop = (): void => {
      isOver = true
      this.#wake?.()
    }
    const cancel = this.#clock.timer(holdMs, stop)
    void until?.then(stop)
    while (!isOver && !this.#started && !this.#hasResult()) await this.#event()
    cancel()
    this.#isAnnouncing = true
  }

  /** To be iterated once, by one reader. Ends after the batch that has `end` or `failure`. */
  async *batches(): AsyncGenerator<Batch, void, undefined> {
    const stopKeepalive = this.#keepalive()
    try {
      for (;;) {
        while (!this.#hasResult() && this.#comments.length === 0) await this.#event()
        const batch = this.#take()
        this.#handedOverAtMs = this.#clock.nowMs()
        yield batch
        if (batch.end || batch.failure) return
      }
    } finally {
      stopKeepalive()
    }
  }

  async #read(events: AsyncIterable<TaskEvent>): Promise<void> {
    try {
      for await (const event of events) this.#put(event)
      this.#fail(new SkeinError('INTERNAL', 'the task ended without saying how'))
    } catch (error) {
      this.#fail(asSkeinError(error))
    }
  }

  #put(event: TaskEvent): void {
    if (this.#end || this.#failure) return
    if (event.type === 'status') this.#comment(event.text)
    else if (event.type === 'started') this.#start(event)
    else if (event.type === 'end') {
      this.#add(event.text, this.#tokens + 1)
      this.#end = event
    } else {
      this.#index ??= event.index
      if (event.index !== this.#index)
        return this.#fail(new SkeinError('INTERNAL', `token ${event.index} came in place of token ${this.#index}`))
      this.#index += event.count
      this.#tokens = event.position
      if (event.logprobs) this.#hold(event.logprobs)
      this.#add(event.text, this.#tokens)
      // tokens may release no text yet
      if (!this.#hasResult()) return
    }
    this.#wake?.()
  }

  #start({ node, route, attempt, left }: Extract<TaskEvent, { type: 'started' }>): void {
    const queuedMs = this.#started?.queuedMs ?? this.#clock.nowMs() - this.#openedAtMs
    this.#started = { node, route, attempt, queuedMs, ...(left && { left }) }
    // a comment also where the headers named the node: the reader must be woken to tell the role
    if (this.#isAnnouncing) this.#comment(`node ${node.name}`)
  }

  #comment(text: string): void {
    if (this.#comments.length >= COMMENTS_MAX) this.#comments.shift()
    this.#comments.push(text)
  }

  #add(text: string, position: number): void {
    if (text === '') return
    const logprobs = this.#silent
    this.#silent = []
    const last = this.#pieces.at(-1)
    if (last && last.text.length + text.length <= CHUNK_UNITS_MAX) {
      last.text += text
      last.logprobs.push(...logprobs)
      last.position = position
    } else this.#pieces.push({ text, logprobs, position })
    this.#grow(2 * text.length)
  }

  #hold(logprobs: readonly TokenLogprob[]): void {
    this.#silent.push(...logprobs)
    this.#grow(weigh('', logprobs))
  }

  #grow(bytes: number): void {
    this.#bytes += bytes
    if (this.#hasOverflowed || this.#bytes <= this.#init.backlogBytesMax) return
    this.#hasOverflowed = true
    this.#init.onOverflow()
  }

  #fail(error: SkeinError): void {
    if (this.#end || this.#failure) return
    this.#failure = error
    this.#wake?.()
  }

  #hasResult(): boolean {
    return this.#pieces.length > 0 || this.#end !== undefined || this.#failure !== undefined
  }

  #take(): Batch {
    const piece = this.#pieces.shift()
    if (piece) this.#bytes -= weigh(piece.text, piece.logprobs)
    const isLast = this.#pieces.length === 0
    const end = isLast ? this.#end : undefined
    if (piece) this.#position = piece.position
    // the last tokens may have released nothing
    if (end) this.#position = Math.max(this.#position, this.#tokens)
    const comments = this.#comments
    this.#comments = []
    return {
      comments,
      isStarted: this.#started !== undefined,
      text: piece?.text ?? '',
      logprobs: [...(piece?.logprobs ?? []), ...(end ? this.#silent : [])],
      tokens: Math.min(this.#position, this.#tokens),
      position: this.#position,
      end,
      failure: isLast ? this.#failure : undefined,
    }
  }

  #event(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined
        resolve()
      }
    })
  }

  /** One timer for the whole stream, set anew when it fires: a timer for each token would cost more than the token. */
  #keepalive(): CancelTimer {
    const { keepaliveMs } = this.#init
    let cancel: CancelTimer
    const arm = (delayMs: number): void => {
      cancel = this.#clock.timer(delayMs, () => {
        const silentMs = this.#clock.nowMs() - this.#handedOverAtMs
        if (silentMs < keepaliveMs) return arm(keepaliveMs - silentMs)
        // nothing is added for a reader that has not come for the last one
        if (this.#wake) this.#comment('keepalive')
        this.#wake?.()
        arm(keepaliveMs)
      })
    }
    arm(keepaliveMs)
    return () => cancel()
  }
}

/** Memory in bytes: two for each unit of text, and what log probabilities take. */
export function weigh(text: string, logprobs: readonly TokenLogprob[]): number {
  return logprobs.reduce((sum, { top }) => sum + LOGPROB_BYTES * (1 + top.length), 2 * text.length)
}
