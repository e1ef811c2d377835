/**
 * One answer from its request to its end, in the tab that holds its lock: streamed, kept, come back to after breaks, stopped.
 * What a break has left on the disk is shown until what comes has caught up with it.
 */
import {
  ProtocolError,
  UnreachableError,
  type ChatAnswer,
  type ChatPart,
  type Made as SdkMade,
  type SkeinApiError,
} from '../../sdk/index.ts'
import type { MessagePatch, MessageRow } from '../store/index.ts'
import type { Asks } from './asks.ts'
import { Keeper } from './keeper.ts'
import { callsAtEnd, callsWith, endedCall, GrowingText, movedTo, partsOf, type Live } from './live.ts'
import { madeAtEnd, madeOnTheWay } from './made.ts'
import { toldBy } from './notes.ts'
import type { AnswerPorts, Ask } from './ports.ts'
import { isAway, isDiverged, isGone, patienceWith, problemOf } from './problems.ts'
import type { Reach } from './reach.ts'
import { keyOf, requestOf, textOf, thoughtOf } from './request.ts'
import type { Made, Note, Problem } from './types.ts'

export interface RunInit {
  readonly ports: AnswerPorts
  readonly asks: Asks
  readonly reach: Reach
  readonly live: Live
  readonly ask: Ask
  /** Of the answer's message, as it is kept. */
  readonly row: MessageRow
  /** From now on another tab can go on with it. */
  readonly onSent: () => void
}

/** How long a connection that broke is tried again for, before its answer waits for the gateway's health. */
const RETRY_MS = 4000
/** The same of a request that nobody has taken yet: it goes back to where it waits. */
const FIRST_RETRY_MS = 1500
/** Above all patience of single refusals. */
const PATIENCE_MS = 40_000
/** Times that an answer is asked for anew, or read from its start, before that counts as a failure. */
const AGAIN_MAX = 4
/** A stop waits so long for the name of its task, without which nobody could be told of it. */
const STOP_WAIT_MS = 1500
const DETAILS_WAIT_MS = 2000
/** A stream says something every 10 s: one that was silent for so long is dead, whatever the system thinks of its connection. */
const SILENCE_MS_MAX = 30_000
/** The same after sleep, or when the network is another one. */
const SILENCE_MS = 12_000

export class AnswerRun {
  readonly #init: RunInit
  readonly #begun = Promise.withResolvers<void>()
  readonly #over = new AbortController()
  readonly #keeper: Keeper
  #ask: Ask
  #text: GrowingText
  #thought: GrowingText
  #made: SdkMade | undefined
  /** Before this tab had it. */
  readonly #wasSent: boolean
  #isStopped = false
  #isClosed = false
  #askedAtMs = 0
  #firstAtMs: number | undefined
  #brokenAtMs: number | undefined
  #heardAtMs = 0
  /** Of the stream that is read now. */
  #connection: AbortController | undefined

  constructor(init: RunInit) {
    const { ports, live, ask, row } = init
    this.#init = init
    this.#ask = ask
    this.#isStopped = ask.isStopped
    this.#wasSent = ask.isSent
    // another tab may have shown more than was kept
    const { text, thought } = live.state
    this.#text = new GrowingText(longer(text, textOf(row.parts)))
    this.#thought = new GrowingText(longer(thought, thoughtOf(row.parts)))
    this.#keeper = new Keeper(ports.clock, () =>
      ports.store.update(ask.id, { parts: partsOf(live.state), made: this.#kept() }),
    )
  }

  /** Fulfilled when the mesh has taken the request, or it has ended. */
  get begun(): Promise<void> {
    return this.#begun.promise
  }

  /** Ends the answer; what there is of it is kept. */
  stop(): void {
    this.#isStopped = true
    this.#init.live.settle({ phase: 'stopped', note: undefined })
    if (this.#made?.taskId !== undefined) return this.#over.abort()
    this.#init.ports.clock.after(STOP_WAIT_MS, () => this.#over.abort())
  }

  /** Lets go of it, as if this tab were gone. */
  close(): void {
    this.#isClosed = true
    this.#over.abort()
  }

  /** After sleep, or on another network: a stream that says nothing any more is begun anew. */
  poke(): void {
    this.#dropIfSilent(SILENCE_MS)
  }

  /** What is not on the disk yet goes there. */
  keep(): void {
    void this.#keeper.now()
  }

  /**
   * @returns `ended`; `closed` when another tab is to go on with it; `away` when nobody has taken it, and it waits to be sent.
   *   Never throws but for the store.
   */
  async run(): Promise<'ended' | 'closed' | 'away'> {
    try {
      const end = this.#isStopped ? { status: 'stopped' as const } : await this.#toItsEnd()
      if (end === 'away') return await this.#putBack()
      return end === undefined ? 'closed' : await this.#finish(end)
    } finally {
      await this.#keeper.end()
      this.#begun.resolve()
    }
  }

  /** @returns undefined when it was closed. */
  async #toItsEnd(): Promise<End | 'away' | undefined> {
    const { ports, live, row } = this.#init
    if (this.#ask.isSent && !this.#isRepeatable) return interrupted()
    const isThere = await ports.store.update(this.#ask.id, { status: 'running', model: this.#ask.settings.model })
    if (!isThere) return { status: 'stopped' }
    this.#ask = (await this.#init.asks.change(this.#ask.id, { isSent: true })) ?? this.#ask
    this.#init.onSent()
    live.set({ phase: row.status === 'running' ? live.state.phase : 'asking', note: { kind: 'asking' } })
    for (let again = 0; ; again++) {
      try {
        return { status: 'done', answer: await this.#stream() }
      } catch (thrown) {
        if (this.#isClosed) return undefined
        if (this.#isStopped) return { status: 'stopped' }
        if (isAway(thrown) && this.#isNew) return 'away'
        const end = await this.#afterBreak(thrown, again)
        if (end !== undefined) return end
        // time passes while nobody answers, and is no try
        if (isAway(thrown)) again--
      }
    }
  }

  /** Nobody has taken it, in no tab: it can go back to what waits. */
  get #isNew(): boolean {
    return this.#made === undefined && !this.#wasSent && this.#isRepeatable
  }

  /** Nothing in the world was changed by it: the same request makes the same answer. */
  get #isRepeatable(): boolean {
    return this.#ask.settings.devices === 'none'
  }

  async #putBack(): Promise<'away'> {
    const { ports, live, asks, reach } = this.#init
    reach.saw(false)
    await ports.store.update(this.#ask.id, { status: 'queued' })
    await asks.change(this.#ask.id, { isSent: false })
    live.settle({ phase: 'outbox', note: { kind: 'outbox' } })
    return 'away'
  }

  /** Prepares the next try. @returns the end, where there is none. */
  async #afterBreak(thrown: unknown, again: number): Promise<End | undefined> {
    const failure = { status: 'failed' as const, problem: problemOf(thrown, this.#made?.taskId) }
    if (isAway(thrown)) {
      if (!this.#isRepeatable) return interrupted(this.#made?.taskId)
      return this.#untilReady()
    }
    if (!this.#isRepeatable || again >= AGAIN_MAX) return failure
    if (isGone(thrown)) {
      this.#ask = (await this.#init.asks.change(this.#ask.id, { round: this.#ask.round + 1 })) ?? this.#ask
      this.#restart(this.#text.text, this.#thought.text)
      return undefined
    }
    if (!isDiverged(thrown)) return failure
    this.#restart('', '')
    return undefined
  }

  /** @returns the end, if it is stopped or closed meanwhile. */
  async #untilReady(): Promise<End | undefined> {
    const { reach } = this.#init
    reach.saw(false)
    this.#restart(this.#text.text, this.#thought.text)
    this.#note({ kind: 'reconnecting' })
    try {
      await reach.untilReady(this.#over.signal)
      return undefined
    } catch {
      return this.#isStopped ? { status: 'stopped' } : undefined
    }
  }

  #restart(text: string, thought: string): void {
    this.#text = new GrowingText(text)
    this.#thought = new GrowingText(thought)
    this.#brokenAtMs = undefined
  }

  async #stream(): Promise<ChatAnswer> {
    const { ports } = this.#init
    this.#over.signal.throwIfAborted()
    await this.#chooseModel()
    const path = await ports.store.path(this.#ask.parentId)
    this.#askedAtMs = ports.clock.monotonicMs()
    this.#firstAtMs = undefined
    this.#connection = new AbortController()
    const parts = ports.skein().chatStream(requestOf(this.#ask, path), {
      signal: AbortSignal.any([this.#over.signal, this.#connection.signal]),
      idempotencyKey: keyOf(this.#ask),
      patienceMs: PATIENCE_MS,
      onMade: (made) => this.#madeSo(made),
      onAlive: () => (this.#heardAtMs = ports.clock.monotonicMs()),
      onBreak: (error, waitMs) => this.#broke(error, waitMs),
    })
    this.#heardAtMs = this.#askedAtMs
    const unwatch = this.#watchSilence()
    try {
      for await (const part of parts) {
        this.#brokenAtMs = undefined
        if (part.type === 'end') return part.answer
        this.#take(part)
      }
      throw new ProtocolError('the stream ended without an answer')
    } finally {
      unwatch()
    }
  }

  #watchSilence(): () => void {
    const { clock } = this.#init.ports
    let cancel = (): void => {}
    const look = (): void => {
      this.#dropIfSilent(SILENCE_MS_MAX)
      cancel = clock.after(SILENCE_MS_MAX, look)
    }
    cancel = clock.after(SILENCE_MS_MAX, look)
    return () => cancel()
  }

  #dropIfSilent(ms: number): void {
    // while it is asked again after a break there is nothing to hear
    if (this.#brokenAtMs !== undefined || this.#init.ports.clock.monotonicMs() - this.#heardAtMs < ms) return
    this.#connection?.abort(new UnreachableError('nothing was heard for too long'))
  }

  /** A chat without a model asks the first that chats. */
  async #chooseModel(): Promise<void> {
    const { settings, id } = this.#ask
    if (settings.model !== '') return
    const models = await this.#init.ports.skein().models({ signal: this.#over.signal })
    const model = (models.find(({ features }) => features.includes('chat')) ?? models[0])?.id ?? ''
    this.#ask = (await this.#init.asks.change(id, { settings: { ...settings, model } })) ?? this.#ask
    await this.#init.ports.store.update(id, { model })
  }

  #madeSo(made: SdkMade): void {
    const isFirst = this.#made === undefined
    this.#made = made
    const { live, reach } = this.#init
    live.set({ made: madeOnTheWay(live.state.made, made) })
    if (!isFirst) return
    reach.saw(true)
    this.#begun.resolve()
    if (this.#isStopped && made.taskId !== undefined) this.#over.abort()
  }

  /** @throws the error, where it is not to be asked again. */
  #broke(error: SkeinApiError, waitMs: number): void {
    const nowMs = this.#init.ports.clock.monotonicMs()
    const sinceMs = nowMs - (this.#brokenAtMs ??= nowMs)
    const retryMs = this.#isNew ? FIRST_RETRY_MS : RETRY_MS
    if (sinceMs + waitMs > (isAway(error) ? retryMs : patienceWith(error.code))) throw error
    if (isAway(error) && this.#isNew) return
    if (isAway(error)) this.#note({ kind: 'reconnecting' })
    else if (error.code === 'saturated') this.#note({ kind: 'saturated', againMs: waitMs })
    else this.#note({ kind: 'other', text: error.message })
  }

  #take(part: Exclude<ChatPart, { type: 'end' }>): void {
    const { live } = this.#init
    if (this.#isStopped) return
    if (part.type === 'status') return this.#told(part.text)
    if (part.type === 'tool-call') return
    this.#firstAtMs ??= this.#init.ports.clock.monotonicMs()
    if (part.type === 'text') this.#text.add(part.text)
    else this.#thought.add(part.text)
    const text = this.#text.text
    const isBehind = this.#text.isBehind || this.#thought.isBehind
    live.set({
      text,
      thought: this.#thought.text,
      phase: text === '' ? 'thinking' : 'writing',
      note: isBehind ? { kind: 'catching-up', done: this.#text.caughtUp } : undefined,
    })
    this.#keeper.changed()
  }

  #told(status: string): void {
    const { live, ports } = this.#init
    const told = toldBy(status)
    if (told.type === 'note') return this.#note(told.note)
    if (told.type === 'node') return live.set({ note: undefined })
    if (told.type !== 'moved') {
      live.set({ calls: callsWith(live.state.calls, told) })
      // what was done in the world is on the disk before anything else can happen to this page
      this.#keeper.changed()
      return this.keep()
    }
    const made = movedTo(live.state.made, told.to, told.reason, ports.clock.nowMs())
    live.set({ made, note: { kind: 'moving', reason: movingFor(told.reason), to: told.to } })
  }

  #note(note: Note): void {
    if (!this.#isStopped) this.#init.live.set({ note })
  }

  /** The row's `made`: with what a later request of this answer needs to know. */
  #kept(): Made {
    const { made } = this.#init.live.state
    return { ...made, seed: this.#ask.seed, ...(this.#ask.round > 0 && { round: this.#ask.round }) }
  }

  async #finish(end: End): Promise<'ended'> {
    const { ports, live, asks } = this.#init
    await this.#keeper.end()
    if (end.status === 'stopped') this.#cancelTask()
    if (end.answer) this.#atEnd(end.answer)
    live.set({ calls: callsAtEnd(live.state.calls) })
    const showEnd = (): void => live.settle({ phase: end.status, note: undefined, problem: end.problem })
    // with devices it cannot be asked for again: nobody may take it for ended, and leave, before it is kept
    if (this.#isRepeatable) showEnd()
    if (end.answer) await this.#details(end.answer)
    const { taskId } = live.state.made
    const patch: MessagePatch = {
      status: end.status,
      parts: partsOf(live.state),
      made: this.#kept(),
      ...(taskId !== undefined && { taskId }),
      ...(end.problem && { error: end.problem }),
    }
    await ports.store.update(this.#ask.id, patch)
    showEnd()
    await asks.end(this.#ask.id)
    return 'ended'
  }

  #atEnd(answer: ChatAnswer): void {
    const { live, ports } = this.#init
    const { text, thought, deviceCalls } = answer
    const firstTokenMs = this.#firstAtMs === undefined ? undefined : this.#firstAtMs - this.#askedAtMs
    const decodeMs = this.#firstAtMs === undefined ? undefined : ports.clock.monotonicMs() - this.#firstAtMs
    const made = madeAtEnd(live.state.made, answer, { firstTokenMs, decodeMs })
    live.set({ text, thought, made, ...(deviceCalls && { calls: deviceCalls.map(endedCall) }) })
  }

  /** Where it went and how long it took, as the mesh has it on record; without it what was seen from here stands. */
  async #details(answer: ChatAnswer): Promise<void> {
    const { ports, live } = this.#init
    if (answer.taskId === undefined || !this.#isRepeatable) return
    const late = new AbortController()
    const cancel = ports.clock.after(DETAILS_WAIT_MS, () => late.abort())
    try {
      const task = await ports.skein().tasks.get(answer.taskId, { signal: late.signal })
      live.settle({ made: madeAtEnd(live.state.made, answer, {}, task) })
    } catch {
      // it is an extra
    } finally {
      cancel()
    }
  }

  /** Without a word the task would go on for a while, to be come back to. */
  #cancelTask(): void {
    const { ports } = this.#init
    const taskId = this.#made?.taskId
    if (taskId === undefined) return
    const late = new AbortController()
    ports.clock.after(STOP_WAIT_MS, () => late.abort())
    ports
      .skein()
      .tasks.cancel(taskId, { signal: late.signal })
      .catch(() => undefined)
  }
}

const movingFor = (reason: string): 'lost' | 'escalated' | 'other' =>
  reason === 'lost' || reason === 'escalated' ? reason : 'other'

interface End {
  readonly status: 'done' | 'stopped' | 'failed'
  readonly answer?: ChatAnswer
  readonly problem?: Problem
}

const longer = (a: string, b: string): string => (a.length > b.length ? a : b)

/** Of an answer with devices, which cannot be asked for twice. */
const interrupted = (taskId?: string): End => ({
  status: 'failed',
  problem: {
    kind: 'interrupted',
    code: 'interrupted',
    message: 'the connection broke while the model could use devices; what it did is on record with the devices',
    ...(taskId !== undefined && { taskId }),
    actions: ['retry'],
  },
})
