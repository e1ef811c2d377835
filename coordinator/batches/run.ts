/**
 * One batch from its input to its end. Each line becomes a task under a key of its own, so that a line which was asked
 * before a crash is not asked again: what its task came to is taken up. A line has been answered when its result is on the
 * disk; what waits (for a node, for a quota, for room) holds nothing but the place of its line in the file.
 */
import { open, type FileHandle } from 'node:fs/promises'
import { asSkeinError, LIMITS, SkeinError, type ErrorCode } from '../../mesh/protocol/index.ts'
import { sleep, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import type { BatchCounts, BatchEvent, BatchProblem, BatchTokens } from '../ledger/index.ts'
import { NO_TOKENS, type Batch } from './book.ts'
import type { LineAnswer, LineDesk } from './desk.ts'
import { diskError, type FileStore } from './files.ts'
import { checkInput, isProblem, rawLines, readLine, type RawLine } from './lines.ts'
import type { Pace } from './pace.ts'
import { ResultFile, resultText, type LineResult } from './results.ts'

export interface RunComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly files: FileStore
  readonly desk: LineDesk
  readonly pace: Pace
  /** Makes events durable and applies them; gives the batch behind them. @throws SkeinError LEDGER_UNAVAILABLE. */
  readonly record: (events: readonly BatchEvent[]) => Promise<Batch>
  /** Inputs are checked one after the other: each has the ids of all its lines in memory. */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>
}

/** Nothing is wrong with the line: it may be answered later, without an end of the waiting but the batch's own. */
const WAITS: ReadonlySet<ErrorCode> = new Set([
  'RATE_LIMITED',
  'QUOTA_EXCEEDED',
  'SATURATED',
  'NO_NODE',
  'NO_ELIGIBLE_NODE',
  'DEADLINE_UNREACHABLE',
  'BUDGET_EXCEEDED',
  'LEDGER_UNAVAILABLE',
])

const RETRY_MS = 100
const RETRY_MS_MAX = 30_000
/** After a restart nodes come back within this long; a batch that has not begun waits for those with its models. */
const NODES_MS = 10_000
const NODES_LOOK_MS = 250
/** What is wrong with a disk or a ledger is looked at again after this long. */
const MEND_MS = 5000

/** Where a line is, and what it is called. */
interface Place {
  readonly number: number
  readonly offset: number
  readonly length: number
  readonly customId: string
  readonly model: string
}

type End = 'completed' | 'cancelled' | 'expired'

const LAST_WORDS: Readonly<Record<Exclude<End, 'completed'>, { readonly code: string; readonly message: string }>> = {
  cancelled: { code: 'batch_cancelled', message: 'This request was not executed: the batch was cancelled.' },
  expired: {
    code: 'batch_expired',
    message: 'This request could not be executed before the completion window expired.',
  },
}

export class BatchRun {
  readonly #components: RunComponents
  readonly #log: Logger
  readonly #isResumed: boolean
  #batch: Batch
  /** Aborts when the batch ends before its time. */
  readonly #ending = new AbortController()
  /** Aborts with SHUTTING_DOWN when the process stops. */
  readonly #resting = new AbortController()
  /** Of the lines: whichever comes first. */
  readonly #signal = AbortSignal.any([this.#ending.signal, this.#resting.signal])
  #end: End = 'completed'
  readonly #done = new Set<number>()
  #completed = 0
  #failed = 0
  #tokens: BatchTokens = NO_TOKENS
  #output: ResultFile | undefined
  #errors: ResultFile | undefined
  /** Resolves when nothing of it runs any more. Does not reject. */
  readonly over: Promise<void>

  /** @param isResumed an earlier life of the coordinator had made it. */
  constructor(components: RunComponents, batch: Batch, isResumed: boolean) {
    this.#components = components
    this.#log = components.log
    this.#batch = batch
    this.#isResumed = isResumed
    if (batch.status === 'cancelling') this.cancel()
    this.over = this.#run()
  }

  get counts(): BatchCounts {
    const { total } = this.#batch.counts
    return { total, completed: this.#completed, failed: this.#failed }
  }

  /** Asks nothing more; what runs is cancelled. */
  cancel(): void {
    this.#stop('cancelled', new SkeinError('CLIENT_CLOSED', 'the batch was cancelled'))
  }

  /** The process stops: what runs is left to the next life of the coordinator. */
  rest(): Promise<void> {
    this.#resting.abort(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping'))
    return this.over
  }

  #stop(end: End, reason: SkeinError): void {
    if (this.#ending.signal.aborted) return
    this.#end = end
    this.#ending.abort(reason)
  }

  get #isResting(): boolean {
    return this.#resting.signal.aborted
  }

  async #run(): Promise<void> {
    const { clock } = this.#components
    const leftMs = Math.max(0, this.#batch.expiresAtMs - clock.wallMs())
    const cancelExpiry = clock.timer(leftMs, () =>
      this.#stop('expired', new SkeinError('TASK_EXPIRED', 'the time of the batch is over')),
    )
    try {
      while (!this.#isResting && !(await this.#tryToEnd()))
        await sleep(clock, MEND_MS, this.#resting.signal).catch(() => undefined)
    } finally {
      cancelExpiry()
      await this.#close()
    }
  }

  /** Whether the batch has ended. What the disk or the ledger refused is tried again. */
  async #tryToEnd(): Promise<boolean> {
    try {
      if (this.#components.files.get(this.#batch.inputFileId) === undefined) {
        // a restored backup has no files
        await this.#fail([{ code: 'input_file_lost', message: 'The input file is not there any more.' }])
        return true
      }
      if (this.#batch.status === 'validating' && !(await this.#begin())) return true
      if (this.#batch.begunAtMs !== undefined) await this.#answerAll()
      if (!this.#isResting) await this.#finish()
      return true
    } catch (thrown) {
      if (this.#isResting) return true
      this.#log.error({ batch: this.#batch.id, err: asSkeinError(thrown) }, 'a batch cannot go on; it is tried again')
      await this.#close()
      return false
    }
  }

  /** Checks the input. False when the batch has failed by it. */
  async #begin(): Promise<boolean> {
    const { files, desk, clock, alone } = this.#components
    const { id, inputFileId, endpoint } = this.#batch
    const checked = await alone(async () => {
      if (this.#signal.aborted) return undefined
      const source = await files.read(inputFileId)
      return checkInput(source, endpoint, (bytes) => desk.parse(bytes))
    })
    // cancelled or expired before it began: nothing was asked
    if (checked === undefined || this.#signal.aborted) return true
    const { total, problems, hasMoreModels } = checked
    if (problems.length > 0) return this.#fail(problems)
    if (this.#isResumed) await this.#nodesAreBack(checked.models)
    if (this.#signal.aborted) return true
    const atMs = clock.wallMs()
    const models = checked.models.filter((model) => desk.knows(model))
    const [model] = checked.models
    const only = checked.models.length === 1 && !hasMoreModels && model !== undefined ? { model } : {}
    this.#batch = await this.#components.record([{ type: 'batch.begun', atMs, id, total, models, ...only }])
    return true
  }

  /** Waits until all models are known, for as long as nodes may take to come back. */
  async #nodesAreBack(models: readonly string[]): Promise<void> {
    const { clock, desk } = this.#components
    const endMs = clock.nowMs() + NODES_MS
    while (!this.#signal.aborted && clock.nowMs() < endMs && !models.every((model) => desk.knows(model)))
      await sleep(clock, NODES_LOOK_MS, this.#signal).catch(() => undefined)
  }

  async #fail(problems: readonly BatchProblem[]): Promise<false> {
    const { clock, record } = this.#components
    this.#batch = await record([{ type: 'batch.failed', atMs: clock.wallMs(), id: this.#batch.id, problems }])
    return false
  }

  async #answerAll(): Promise<void> {
    await this.#open()
    const input = await this.#openInput()
    try {
      const asking = new Set<Promise<void>>()
      let failure: SkeinError | undefined
      for await (const place of this.#places()) {
        if (this.#signal.aborted || failure !== undefined) break
        const line = this.#line(input, place).catch((error: unknown) => void (failure ??= asSkeinError(error)))
        asking.add(line)
        void line.then(() => asking.delete(line))
        if (asking.size >= LIMITS.batchLinesAskedMax) await Promise.race(asking)
      }
      await Promise.all(asking)
      if (failure !== undefined) throw failure
      if (this.#end !== 'completed' && !this.#isResting) await this.#lastWords(LAST_WORDS[this.#end])
    } finally {
      await input.close()
    }
  }

  /** Opens the results, with what an earlier life of the coordinator has put there. */
  async #open(): Promise<void> {
    const { files } = this.#components
    this.#done.clear()
    this.#completed = this.#failed = 0
    this.#tokens = NO_TOKENS
    const { outputFileId, errorFileId } = this.#batch
    this.#output = await ResultFile.open(files, outputFileId, (number, value) => {
      this.#count(number, true, (value as { response?: { body?: unknown } }).response?.body)
    })
    this.#errors = await ResultFile.open(files, errorFileId, (number) => this.#count(number, false))
  }

  #count(number: number, isCompleted: boolean, body?: unknown): void {
    this.#done.add(number)
    if (!isCompleted) return void this.#failed++
    this.#completed++
    const used = this.#components.desk.tokensOf(body)
    const { inputTokens, cachedTokens, outputTokens, thoughtTokens } = this.#tokens
    this.#tokens = {
      inputTokens: inputTokens + used.inputTokens,
      cachedTokens: cachedTokens + used.cachedTokens,
      outputTokens: outputTokens + used.outputTokens,
      thoughtTokens: thoughtTokens + used.thoughtTokens,
    }
  }

  async #openInput(): Promise<FileHandle> {
    const { files } = this.#components
    return open(files.pathOf(this.#batch.inputFileId), 'r').catch((error: unknown) => {
      throw diskError(error)
    })
  }

  /** Lines that have no result yet. */
  async *#places(): AsyncGenerator<Place, void, undefined> {
    const { files, desk } = this.#components
    const source = await files.read(this.#batch.inputFileId)
    for await (const raw of rawLines(source, LIMITS.batchLineBytesMax)) {
      if (this.#done.has(raw.number)) continue
      const line = readLine(raw.bytes, this.#batch.endpoint, (bytes) => desk.parse(bytes))
      // the input was checked as a whole; should the disk have changed it since, its line is told to be unreadable
      const known = isProblem(line) ? { customId: '', model: '' } : line
      yield { ...placeOf(raw), customId: known.customId, model: known.model }
    }
  }

  async #line(input: FileHandle, place: Place): Promise<void> {
    let answer: LineAnswer | 'unreadable' | undefined
    try {
      answer = await this.#answered(input, place)
    } catch (error) {
      if (!this.#signal.aborted) throw error
    }
    if (answer === undefined) return
    const { number, customId } = place
    if (answer === 'unreadable') {
      const error = { code: 'invalid_json_line', message: 'This line cannot be read any more.' }
      return this.#keep({ number, customId, error }, false)
    }
    const { status, requestId, body } = answer
    return this.#keep({ number, customId, response: { status, requestId, body } }, status === 200)
  }

  /** Asks until there is an answer, or an error that asking again does not mend. Nothing when the batch ends first. */
  async #answered(input: FileHandle, place: Place): Promise<LineAnswer | 'unreadable' | undefined> {
    const { clock } = this.#components
    const signal = this.#signal
    let attempt = 1
    let tries = 1
    for (let waitMs = RETRY_MS; ; waitMs = Math.min(2 * waitMs, RETRY_MS_MAX)) {
      const answer = await this.#ask(input, place, attempt)
      if (answer === 'unreadable' || answer.failure === undefined) return answer
      if (signal.aborted) return undefined
      const { error, isAdmitted, isKnown } = answer.failure
      const isPatient = this.#isPatient(error, place.model)
      if (!isPatient && (!error.row.retryable || tries++ >= LIMITS.batchTriesMax)) return answer
      if (isAdmitted) attempt++
      if (!isKnown) await sleep(clock, Math.max(waitMs, 1000 * (error.retryAfterSeconds ?? 0)), signal)
    }
  }

  /** Whether it is the mesh, the key's rate or the disk that the line has to wait for. */
  #isPatient({ code }: SkeinError, model: string): boolean {
    return WAITS.has(code) || (code === 'MODEL_NOT_FOUND' && this.#batch.models.includes(model))
  }

  async #ask(input: FileHandle, { number, offset, length, model }: Place, attempt: number) {
    const { clock, desk, pace } = this.#components
    const signal = this.#signal
    const { id: batchId, tenant, grant, endpoint, expiresAtMs } = this.#batch
    const leave = await pace.enter(model, signal)
    try {
      const bytes = Buffer.alloc(length)
      await input.read(bytes, 0, length, offset)
      const line = readLine(bytes, endpoint, (text) => desk.parse(text))
      if (isProblem(line)) return 'unreadable'
      const deadlineMs = Math.max(1, expiresAtMs - clock.wallMs())
      return await desk.ask({ batchId, number, attempt, tenant, grant, endpoint, body: line.body, deadlineMs }, signal)
    } finally {
      leave()
    }
  }

  /** Makes a result durable, however long it takes until there is room for it. */
  async #keep(result: LineResult, isCompleted: boolean): Promise<void> {
    const { clock } = this.#components
    const text = resultText(this.#batch.id, result)
    for (;;) {
      try {
        await (isCompleted ? this.#output! : this.#errors!).append(text)
        break
      } catch (error) {
        this.#log.warn({ batch: this.#batch.id, err: error }, 'the result of a line waits for room on the disk')
        await sleep(clock, MEND_MS, this.#signal).catch(() => undefined)
        if (this.#signal.aborted) return
      }
    }
    this.#count(result.number, isCompleted, isCompleted ? JSON.parse(result.response!.body) : undefined)
  }

  /** Says of every line without a result why there is none. */
  async #lastWords(error: { readonly code: string; readonly message: string }): Promise<void> {
    let adding: Promise<void>[] = []
    for await (const { number, customId } of this.#places()) {
      this.#resting.signal.throwIfAborted()
      const text = resultText(this.#batch.id, { number, customId, error })
      adding.push(this.#errors!.append(text, true).then(() => this.#count(number, false)))
      if (adding.length < LIMITS.batchLinesAskedMax) continue
      await Promise.all(adding)
      adding = []
    }
    await Promise.all(adding)
  }

  async #finish(): Promise<void> {
    const { clock, files, record } = this.#components
    const { id, tenant, outputRetentionMs: retentionMs } = this.#batch
    const status = this.#end
    if (status === 'completed') this.#batch = await record([{ type: 'batch.finalizing', atMs: clock.wallMs(), id }])
    const kinds = { output: this.#output, error: this.#errors }
    await this.#close()
    const added = Object.entries(kinds).flatMap(([kind, file]) =>
      file && file.bytes > 0
        ? [files.outputEvent(file.id, { tenant, name: `${id}_${kind}.jsonl`, retentionMs }, file.bytes)]
        : [],
    )
    const has = (file: ResultFile | undefined): boolean => (file?.bytes ?? 0) > 0
    const ended: BatchEvent = {
      type: 'batch.ended',
      atMs: clock.wallMs(),
      id,
      status,
      counts: this.counts,
      tokens: this.#tokens,
      hasOutput: has(kinds.output),
      hasErrors: has(kinds.error),
    }
    this.#batch = await record([...added, ended])
    for (const file of Object.values(kinds)) if (file && !has(file)) await files.discard(file.id, 0)
  }

  async #close(): Promise<void> {
    const files = [this.#output, this.#errors]
    this.#output = this.#errors = undefined
    for (const file of files) await file?.close()
  }
}

const placeOf = ({ number, offset, bytes }: RawLine): Pick<Place, 'number' | 'offset' | 'length'> => ({
  number,
  offset,
  length: bytes?.length ?? 0,
})
