/**
 * One question while it is answered: the answer is made, written down piece by piece, and only then cut into chunks and
 * sent. What was written down is what the device may have: an answer that is read again must begin with it.
 */
import { asSkeinError, SkeinError, type ErrorCode } from '../../mesh/protocol/index.ts'
import { sleep, type CancelTimer, type Clock, type Random } from '../../mesh/runtime/index.ts'
import { compactOfCode, type AnswerEnd, type CompactError, type MessageOf } from '../messages/index.ts'
import type { DeviceSessions, SessionView } from '../ports/index.ts'
import type { AnswerResult, AnswerSource } from './answer-source.ts'
import type { AskRecord, AskStore } from './ask-store.ts'
import { wireBytes } from './charset.ts'
import { Chunker } from './chunker.ts'
import { Delivery } from './delivery.ts'
import { Progress } from './progress.ts'
import { shapeOf } from './question.ts'
import { DAY_MS } from './quotas.ts'
import { formatOf, instructionOf, shaperOf, tokensFor, type Shaper } from './shapes.ts'

export interface AskRunComponents {
  readonly sessions: DeviceSessions
  readonly source: AnswerSource
  readonly store: AskStore
  readonly clock: Clock
  readonly random: Random
}

export interface AskRunInit {
  readonly record: AskRecord
  /** Of this bridge: part of the name under which the coordinator knows the answer. */
  readonly bridge: string
  /** Nothing of it is left to do. Called once. */
  readonly onOver: (run: AskRun) => void
}

/** Questions that the coordinator refuses for now are asked again this often. */
const TRIES_MAX = 4
/** Waited at most before the next try, unless the coordinator names a time. */
const RETRY_MS = 2000
/**
 * What can be asked under another name: what this bridge has cancelled, and what it has asked otherwise, before a crash made
 * it forget that.
 */
const RENAMED: ReadonlySet<ErrorCode> = new Set(['CLIENT_CLOSED', 'IDEMPOTENCY_MISMATCH'])
/** Text that is written down at once, in bytes, while more of it comes. */
const PIECE_BYTES = 256

/** From the deadline until a board no longer listens: it waits a little beyond its own `ttl`. */
const CUT_MS = 2000

/** Of what a device may be told that the same question can be answered later. */
const RETRY_SECONDS: Partial<Record<CompactError, number>> = {
  busy: 5,
  deadline: 5,
  offline: 10,
  lost: 1,
  storage_full: 60,
}

export const compactOf = (code: ErrorCode): CompactError => {
  if (code === 'COORDINATOR_UNREACHABLE' || code === 'STREAM_TRUNCATED') return 'offline'
  if (code === 'DISK_FULL' || code === 'DATA_DIR_UNUSABLE') return 'storage_full'
  if (code === 'ENGINE_FAILED' || code === 'ENGINE_CRASHED' || code === 'NODE_LOST') return 'lost'
  return compactOfCode(code)
}

/** The board is not told any more: it is gone, or said so itself. */
class Abandoned extends SkeinError {
  constructor() {
    super('CLIENT_CLOSED', 'nobody waits for the answer')
  }
}

export class AskRun {
  readonly device: string
  readonly record: AskRecord
  readonly #parts: AskRunComponents
  readonly #init: AskRunInit
  readonly #abort = new AbortController()
  /** Aborts what the coordinator does, when all that is of use has come. */
  #enough = new AbortController()
  readonly #progress: Progress
  #cancelDeadline: CancelTimer | undefined
  #tries: number
  #isFree = false
  /** Written down, or on its way there. */
  #told: string
  /** Of `#told` what is written down: chunks are made of that alone. */
  #durable: string
  #whole: { readonly fin: AnswerEnd; readonly by: string | undefined } | undefined
  /** Shaped text of the reading at hand. */
  #given = ''
  #shaper: Shaper
  #writing: Promise<void> = Promise.resolve()
  #isWriting = false
  #tokens = 0
  #wasReached = false
  #node: string | undefined
  #chunker: Chunker | undefined
  #delivery: Delivery | undefined
  #isOver = false
  /** The board was told the end of a part. */
  #isCut = false

  constructor(components: AskRunComponents, init: AskRunInit) {
    const { record } = init
    this.#parts = components
    this.#init = init
    this.record = record
    this.device = record.device
    this.#tries = record.tries
    this.#told = record.text
    this.#durable = record.text
    this.#whole = record.progress === 'answered' ? { fin: record.fin ?? 'stop', by: record.by } : undefined
    this.#shaper = shaperOf(shapeOf(record.question))
    this.#progress = new Progress(components.clock, ({ s, ...n }) =>
      this.#send({ kind: 'accept', id: record.id, s, ...n }),
    )
  }

  /** Its device was told an end. */
  get hasEnded(): boolean {
    return this.#delivery?.hasEnded === true
  }

  /** Its device was told the end of a part: what it asks under that name is asked anew. */
  get isCut(): boolean {
    return this.#isCut
  }

  get isWhole(): boolean {
    return this.#whole !== undefined
  }

  /** Begins to watch the time, and to deliver what there is. */
  start(): void {
    const leftMs = Math.max(0, this.record.endsAtMs - this.#parts.clock.wallMs())
    this.#cancelDeadline = this.#parts.clock.timer(leftMs, () => void this.#late())
    this.attach()
  }

  /** Waits for others of this bridge. */
  queued(place: number): void {
    this.#progress.is({ s: 'queued', n: place })
  }

  /** Tells the device that its question is kept, and how far it is. */
  accept(): void {
    this.#send({ kind: 'accept', id: this.record.id, s: 'accepted' })
    const { last } = this.#progress
    if (last !== undefined) this.#send({ kind: 'accept', id: this.record.id, ...last })
  }

  /** The device asked the same again. */
  again(): void {
    this.accept()
    this.#delivery?.restart()
  }

  /** The device is there, or was welcomed again. */
  attach(): void {
    if (this.#isOver) return
    const session = this.#session()
    if (session === undefined) return
    if (this.#delivery === undefined) this.#prepare(session)
    if (session.state === 'ready' || session.state === 'init') this.#delivery!.resume()
    else this.#delivery!.pause()
  }

  credit(message: MessageOf<'credit'>): void {
    // whoever says something is awake
    if (this.#delivery === undefined) this.attach()
    this.#delivery?.credit(message)
  }

  /** Nobody waits for it any more. */
  async abandon(): Promise<void> {
    if (this.#isOver) return
    this.#abort.abort(new Abandoned())
    this.#finish()
    await this.#parts.store.failed(this.record, 'expired').catch(() => undefined)
  }

  /** The bridge stops: what is not done goes on at its next start. */
  pause(): void {
    this.#abort.abort(new Abandoned())
    this.#finish()
  }

  /** Makes the answer. Settles when it is whole, or failed; does not throw. */
  async make(): Promise<void> {
    if (this.#isOver || this.isWhole) return
    try {
      await this.#makeWhole()
    } catch (thrown) {
      if (this.#isOver || this.#isCut) return
      const { code, retryAfterSeconds } = asSkeinError(thrown)
      // a part is with the device already: no other answer can follow it
      await this.#fail(this.#durable === '' ? compactOf(code) : 'lost', retryAfterSeconds)
    }
  }

  async #makeWhole(): Promise<void> {
    const { source, store } = this.#parts
    const model =
      this.record.question.model ?? this.record.model ?? (await source.usualModel(this.device, this.#abort.signal))
    for (;;) {
      await store.tried(this.record, model, this.#tries)
      try {
        return await this.#end(await this.#ask(model))
      } catch (thrown) {
        const error = asSkeinError(thrown)
        const isRetryable = error.row.retryable || RENAMED.has(error.code) || this.#isUnheld(error)
        if (this.#abort.signal.aborted || this.#tries >= TRIES_MAX || !isRetryable || this.#durable !== '') throw error
        // what has failed under a key has failed for good
        this.#tries++
        const waitMs = (error.retryAfterSeconds ?? 0) * 1000 || this.#parts.random.next() * RETRY_MS
        await sleep(this.#parts.clock, waitMs, this.#abort.signal)
      }
    }
  }

  /** No node holds answers of that model to a form: it is asked freely, and what fits is taken. Once. */
  #isUnheld({ code }: SkeinError): boolean {
    if (this.#isFree || code !== 'UNSUPPORTED_PARAMETER') return false
    this.#isFree = formatOf(shapeOf(this.record.question)) !== undefined
    return this.#isFree
  }

  /** One answer to its end, or to where the rest is of no use. */
  async #ask(model: string): Promise<AnswerResult> {
    const { source, clock } = this.#parts
    const { question, endsAtMs } = this.record
    this.#restart()
    this.#enough = new AbortController()
    const request = {
      key: this.#key(),
      device: this.device,
      body: bodyOf(this.record, model, this.#isFree),
      localOnly: question.localOnly,
      leftMs: () => Math.max(1, endsAtMs - clock.wallMs()),
    }
    const listener = {
      reached: () => (this.#wasReached = true),
      node: (name: string) => (this.#node = name),
      restarted: () => this.#restart(),
      text: (text: string, tokens: number | undefined) => this.#take(text, tokens),
      progress: this.#progress.is.bind(this.#progress),
    }
    try {
      return await source.answer(request, listener, AbortSignal.any([this.#abort.signal, this.#enough.signal]))
    } catch (error) {
      const reason: unknown = this.#enough.signal.reason
      if (reason instanceof Enough) return { isLength: false, tokens: undefined }
      throw reason ?? error
    }
  }

  #key(): string {
    const { device, boot, id } = this.record
    const key = `${this.#init.bridge}:${device}:${boot}:${id}`
    return this.#tries === 1 ? key : `${key}:${this.#tries}`
  }

  #restart(): void {
    this.#given = ''
    this.#shaper = shaperOf(shapeOf(this.record.question))
  }

  #take(text: string, tokens: number | undefined): void {
    if (this.#isOver || this.#enough.signal.aborted) return
    this.#tokens = tokens ?? this.#tokens
    this.#given += this.#shaper.feed(text)
    if (!this.#isSame(this.#given)) this.#enough.abort(diverged())
    else if (this.#shaper.isFull) this.#enough.abort(new Enough())
    else this.#write()
  }

  /** Whether `given` goes on from what the device may have, or is a part of it. */
  #isSame(given: string): boolean {
    return given.startsWith(this.#told) || this.#told.startsWith(given)
  }

  /** Writes down what has come, when that is worth a wait for the disk, and sends what is written down. */
  #write(): void {
    const rest = this.#given.slice(this.#told.length)
    const piece = Math.min(PIECE_BYTES, (this.#session()?.rx ?? PIECE_BYTES) / 2)
    if (this.#isWriting || wireBytes(rest) < piece) return
    this.#told += rest
    this.#isWriting = true
    this.#writing = this.#parts.store.told(this.record, rest).then(
      () => {
        this.#isWriting = false
        this.#isDurable(rest)
        if (!this.#enough.signal.aborted) this.#write()
      },
      (error: unknown) => this.#enough.abort(error),
    )
  }

  async #end({ isLength, tokens }: AnswerResult): Promise<void> {
    await this.#writing
    const { store } = this.#parts
    const end = this.#shaper.end(isLength)
    if (tokens !== undefined || this.#tokens > 0) this.#used(tokens ?? this.#tokens)
    if (this.#isOver) return
    if (!end.ok) return this.#fail(end.error)
    const whole = this.#given + end.text
    if (!whole.startsWith(this.#told)) throw diverged()
    const rest = whole.slice(this.#told.length)
    await store.answered(this.record, rest, end.fin, this.#node)
    this.#told = whole
    this.#whole = { fin: end.fin, by: this.#node }
    this.#isDurable(rest)
  }

  /** What was used is counted beside the answer; one that is not counted costs nobody an answer. */
  #used(tokens: number): void {
    const { store, clock } = this.#parts
    const day = Math.floor(clock.wallMs() / DAY_MS)
    void store.addTokens(this.device, day, tokens).catch(() => undefined)
  }

  #isDurable(text: string): void {
    this.#durable += text
    if (this.#isOver || this.#isCut || this.#chunker === undefined) return
    this.#chunker.feed(text)
    this.#chunked()
  }

  #chunked(): void {
    const chunker = this.#chunker!
    if (this.#whole !== undefined && !chunker.isWhole) chunker.end(this.#whole)
    if (chunker.isStuck) void this.#fail('too_large')
    else this.#delivery!.ready(chunker.chunks.length)
  }

  #prepare({ rx, win, grantsCredit }: SessionView): void {
    const { sessions, clock } = this.#parts
    const { id, replyTo } = this.record
    const chunker = new Chunker(id, rx, (chunk) => (sessions.sizeOf(this.device, chunk, replyTo) ?? Infinity) <= rx)
    this.#chunker = chunker
    this.#delivery = new Delivery({
      ...{ chunker, win, grantsCredit, clock },
      send: (chunk) => sessions.send(this.device, chunk, replyTo),
      onTaken: () => {
        this.#finish()
        void this.#parts.store.taken(this.record).catch(() => undefined)
      },
      onTooLarge: () => void this.#fail('too_large'),
    })
    chunker.feed(this.#durable)
    this.#chunked()
  }

  /** The device's session, while it is of the boot that asked. */
  #session(): SessionView | undefined {
    const session = this.#parts.sessions.session(this.device)
    return session?.boot === this.record.boot ? session : undefined
  }

  /** Its time is over. A text of which the board has the beginning ends there, marked as cut. */
  async #late(): Promise<void> {
    if (this.#cut()) {
      // what was whole here stays so, and what was not is made anew: a part is not what is given when it is asked again
      if (!this.isWhole) await this.#parts.store.failed(this.record, 'deadline').catch(() => undefined)
      return
    }
    await this.#fail(this.#wasReached || this.isWhole ? 'deadline' : 'offline')
  }

  /** False where a part says nothing (half a number), or cannot be marked (lines). */
  #cut(): boolean {
    const delivery = this.#delivery
    const isPart = this.record.question.as === 'text' && this.#session()?.grantsCredit === true
    if (this.#isOver || !isPart || delivery?.isUnderWay !== true || delivery.hasEnded) return false
    this.#abort.abort(new Abandoned())
    if (!delivery.cut()) return false
    // for as long as the board listens, what is lost on the way comes again
    this.#isCut = true
    this.#cancelDeadline = this.#parts.clock.timer(CUT_MS, () => this.#finish())
    return true
  }

  async #fail(error: CompactError, retryAfterSeconds?: number): Promise<void> {
    if (this.#isOver) return
    // one that was told its last chunk has its end: another one would be a second
    if (this.hasEnded) return this.#finish()
    this.#abort.abort(new Abandoned())
    this.#finish()
    // a whole answer stays: it is given when the device asks again
    if (!this.isWhole) await this.#parts.store.failed(this.record, error).catch(() => undefined)
    const retry = this.isWhole ? 1 : (retryAfterSeconds ?? RETRY_SECONDS[error])
    this.#send({ kind: 'fail', id: this.record.id, c: error, ...(retry !== undefined && { retry: Math.ceil(retry) }) })
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#cancelDeadline?.()
    this.#delivery?.stop()
    this.#init.onOver(this)
  }

  #send(message: MessageOf<'accept' | 'fail'>): void {
    if (this.#session() !== undefined) this.#parts.sessions.send(this.device, message, this.record.replyTo)
  }
}

const diverged = (): SkeinError =>
  new SkeinError('ANSWER_DIVERGED', 'the answer that was made again is not the one that the device has a part of')

/** All that is of use has come. */
class Enough extends SkeinError {
  constructor() {
    super('CLIENT_CLOSED', 'the rest of the answer is of no use')
  }
}

/** The same for the same arguments, so that the same key always stands for the same body. */
function bodyOf({ question }: AskRecord, model: string, isFree: boolean): Readonly<Record<string, unknown>> {
  const shape = shapeOf(question)
  const format = isFree ? undefined : formatOf(shape)
  const tokens = tokensFor(shape)
  return {
    model,
    messages: [
      { role: 'system', content: instructionOf(shape) },
      { role: 'user', content: question.prompt },
    ],
    max_tokens: Math.min(tokens, question.tokensMax ?? tokens),
    temperature: 0,
    // a thought is of no use to a board that waits
    reasoning_effort: 'none',
    ...(format && { response_format: format }),
  }
}
