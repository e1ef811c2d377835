/**
 * Takes a task's events as they come and hands them on as the client can take them. It reads eagerly, so that a slow client
 * never holds the engine back, and merges what waits: text becomes one longer text, of comments the newest stay. What
 * waits is bounded; above the bound the client is given up (`onOverflow`).
 */
import { asSkeinError, SkeinError, type Route } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'
import type { NodeName, TaskEvent } from '../admission/index.ts'
import { CHUNK_UNITS_MAX, COMMENTS_MAX } from './limits.ts'

export type EndEvent = Extract<TaskEvent, { type: 'end' }>

/** Where the answer is being made, and when that began. */
export interface Started {
  readonly node: NodeName
  readonly route: Route
  readonly attempt: number
  /** From the making of the inbox to the first attempt. */
  readonly queuedMs: number
}

/** What waited, in the order in which it is to be written. `end` or `failure` make it the last. */
export interface Batch {
  readonly comments: readonly string[]
  /** An attempt has begun, now or before. */
  readonly isStarted: boolean
  readonly text: string
  readonly end: EndEvent | undefined
  readonly failure: SkeinError | undefined
}

export interface TaskInboxInit {
  readonly keepaliveMs: number
  readonly backlogBytesMax: number
  /** Called once, when more text waits than `backlogBytesMax`. */
  readonly onOverflow: () => void
}

export class TaskInbox {
  readonly #clock: Clock
  readonly #init: TaskInboxInit
  readonly #openedAtMs: number
  #comments: string[] = []
  #text = ''
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
    return this.#text === '' ? this.#failure : undefined
  }

  /**
   * Waits until an attempt began or the task ended, at most `holdMs`. Attempts that begin later are announced by a comment
   * `node NAME`, since the headers that name the node are gone by then.
   */
  async opened(holdMs: number): Promise<void> {
    let isOver = false
    const cancel = this.#clock.timer(holdMs, () => {
      isOver = true
      this.#wake?.()
    })
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
    else {
      this.#text += event.text
      if (event.type === 'end') this.#end = event
      this.#checkBacklog()
      // tokens may release no text yet
      if (!this.#hasResult()) return
    }
    this.#wake?.()
  }

  #start({ node, route, attempt }: Extract<TaskEvent, { type: 'started' }>): void {
    const queuedMs = this.#started?.queuedMs ?? this.#clock.nowMs() - this.#openedAtMs
    this.#started = { node, route, attempt, queuedMs }
    // a comment also where the headers named the node: the reader must be woken to tell the role
    if (this.#isAnnouncing) this.#comment(`node ${node.name}`)
  }

  #comment(text: string): void {
    if (this.#comments.length >= COMMENTS_MAX) this.#comments.shift()
    this.#comments.push(text)
  }

  #checkBacklog(): void {
    // two bytes of memory a unit
    if (this.#hasOverflowed || this.#text.length * 2 <= this.#init.backlogBytesMax) return
    this.#hasOverflowed = true
    this.#init.onOverflow()
  }

  #fail(error: SkeinError): void {
    if (this.#end || this.#failure) return
    this.#failure = error
    this.#wake?.()
  }

  #hasResult(): boolean {
    return this.#text !== '' || this.#end !== undefined || this.#failure !== undefined
  }

  #take(): Batch {
    const text = this.#takeText()
    const isLast = this.#text === ''
    const comments = this.#comments
    this.#comments = []
    return {
      comments,
      isStarted: this.#started !== undefined,
      text,
      end: isLast ? this.#end : undefined,
      failure: isLast ? this.#failure : undefined,
    }
  }

  /** At most one chunk of the text, never half of a surrogate pair: some clients cannot join those again. */
  #takeText(): string {
    let units = Math.min(this.#text.length, CHUNK_UNITS_MAX)
    const last = this.#text.charCodeAt(units - 1)
    if (units < this.#text.length && last >= 0xd800 && last <= 0xdbff) units--
    const text = this.#text.slice(0, units)
    this.#text = this.#text.slice(units)
    return text
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
