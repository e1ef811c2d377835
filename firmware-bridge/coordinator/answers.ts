/**
 * Answers of models from a coordinator, as streams. A connection that breaks is made again behind the last event that came;
 * where that is not possible (another coordinator, an answer that was made again) the answer is told from its start.
 */
import { SkeinError, type ErrorCode } from '../../mesh/protocol/index.ts'
import { sleep, withDeadline, type Clock, type Random } from '../../mesh/runtime/index.ts'
import type { AnswerListener, AnswerRequest, AnswerResult, AnswerSource } from '../asks/index.ts'
import { Backoff, errorOf, textOf, type Endpoints, type ToldError } from './endpoints.ts'
import { readEvents } from './event-stream.ts'

export interface AnswersComponents {
  readonly endpoints: Endpoints
  readonly clock: Clock
  readonly random: Random
}

const RETRY_MS = 200
const RETRY_MS_MAX = 5000
/** The gateway says something every 10 s. */
const SILENCE_MS = 25_000
/** Longest deadline that the gateway takes. */
const DEADLINE_MS_MAX = 3_600_000
/** A coordinator that does not hear that an answer is not wanted learns of it by the silence. */
const CANCEL_MS = 2000
/** Which model is usual is asked again after this long. */
const MODEL_MS = 30_000
const MODELS_BYTES_MAX = 4 * 1024 * 1024

/** Whose question it is: rates and usage are by device. */
const DEVICE_HEADER = 'x-skein-device'

/** After these the same key goes on with the same answer. */
const RESUMABLE: ReadonlySet<ErrorCode> = new Set([
  'COORDINATOR_UNREACHABLE',
  'STREAM_TRUNCATED',
  'SHUTTING_DOWN',
  'COORDINATOR_RESTARTED',
])

export class CoordinatorAnswers implements AnswerSource {
  readonly #parts: AnswersComponents
  #usual: { readonly model: string; readonly untilMs: number } | undefined

  constructor(components: AnswersComponents) {
    this.#parts = components
  }

  async answer(request: AnswerRequest, listener: AnswerListener, signal: AbortSignal): Promise<AnswerResult> {
    const { clock, random } = this.#parts
    const backoff = new Backoff(random, RETRY_MS, RETRY_MS_MAX)
    const reading = new AnswerReading(listener)
    for (;;) {
      try {
        return await this.#read(request, reading, signal)
      } catch (thrown) {
        if (signal.aborted) {
          await this.#giveUp(request.device, reading)
          throw thrown
        }
        if (!(thrown instanceof SkeinError)) throw thrown
        if (thrown.code === 'ANSWER_DIVERGED' && reading.lastEventId !== undefined) reading.restart()
        else if (!RESUMABLE.has(thrown.code) && !isEarly(thrown)) throw thrown
        if (reading.hasMoved()) backoff.reset()
      }
      await sleep(clock, backoff.next(), signal)
    }
  }

  async usualModel(device: string, signal: AbortSignal): Promise<string> {
    const { endpoints, clock, random } = this.#parts
    const backoff = new Backoff(random, RETRY_MS, RETRY_MS_MAX)
    // the key of a bridge may ask for nothing in its own name
    const request = { method: 'GET', path: '/v1/models', headers: { [DEVICE_HEADER]: device } } as const
    for (;;) {
      if (this.#usual !== undefined && clock.nowMs() < this.#usual.untilMs) return this.#usual.model
      try {
        const { response } = await endpoints.ask(request, signal)
        const model = chatModelOf(await textOf(response, MODELS_BYTES_MAX))
        if (model === undefined) throw new SkeinError('MODEL_NOT_FOUND', 'no member of the mesh has a model for chats')
        this.#usual = { model, untilMs: clock.nowMs() + MODEL_MS }
      } catch (thrown) {
        signal.throwIfAborted()
        if (thrown instanceof SkeinError && !RESUMABLE.has(thrown.code) && !isEarly(thrown)) throw thrown
        await sleep(clock, backoff.next(), signal)
      }
    }
  }

  async #read(request: AnswerRequest, reading: AnswerReading, signal: AbortSignal): Promise<AnswerResult> {
    const { endpoints, clock } = this.#parts
    const { url } = endpoints
    // an event of one coordinator is none of another
    if (reading.url !== undefined && reading.url !== url) reading.restart()
    const { lastEventId } = reading
    const headers = {
      'idempotency-key': request.key,
      [DEVICE_HEADER]: request.device,
      'x-skein-deadline-ms': String(Math.max(1, Math.min(Math.floor(request.leftMs()), DEADLINE_MS_MAX))),
      ...(request.localOnly && { 'x-skein-local-only': 'true' }),
      ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
    }
    const body = { ...request.body, stream: true, stream_options: { include_usage: true } }
    let response: Response
    try {
      response = await endpoints.askAt(url, { method: 'POST', path: '/v1/chat/completions', headers, body }, signal)
    } catch (error) {
      if (error instanceof SkeinError && RESUMABLE.has(error.code)) endpoints.failed(url)
      throw error
    }
    reading.begin(url, response.headers)
    await readEvents(response, clock, SILENCE_MS, reading, signal)
    return reading.end()
  }

  /** Says that nobody waits for it: without a word it would go on for a while, to be come back to. */
  async #giveUp(device: string, { url, taskId }: AnswerReading): Promise<void> {
    if (url === undefined || taskId === undefined) return
    const late = (): SkeinError => new SkeinError('COORDINATOR_UNREACHABLE', 'the coordinator does not answer')
    const path = `/mesh/v1/tasks/${encodeURIComponent(taskId)}/cancel`
    // the task is the device's own
    const request = { method: 'POST', path, headers: { [DEVICE_HEADER]: device } } as const
    await withDeadline(this.#parts.clock, CANCEL_MS, late, undefined, async (signal) => {
      const response = await this.#parts.endpoints.askAt(url, request, signal)
      await response.body?.cancel()
    }).catch(() => undefined)
  }
}

/** The device asks before the coordinator was told of it: its report is on the way. */
const isEarly = ({ code, param }: SkeinError): boolean => code === 'INVALID_REQUEST' && param === DEVICE_HEADER

interface ListedModel {
  readonly id?: unknown
  readonly features?: unknown
}

/** The first one that chats. */
function chatModelOf(text: string): string | undefined {
  const { data } = JSON.parse(text) as { data?: readonly ListedModel[] }
  const model = data?.find(({ features }) => Array.isArray(features) && features.includes('chat'))
  return typeof model?.id === 'string' ? model.id : undefined
}

interface ChatChunk {
  readonly error?: ToldError
  readonly choices?: readonly { readonly delta?: { readonly content?: unknown }; readonly finish_reason?: unknown }[]
  readonly usage?: { readonly total_tokens?: unknown } | null
}

/** One answer over all its connections. */
class AnswerReading {
  readonly #listener: AnswerListener
  url: string | undefined
  taskId: string | undefined
  lastEventId: string | undefined
  #movedFrom: string | undefined
  #isDone = false
  #finishReason: string | undefined
  #tokens: number | undefined

  constructor(listener: AnswerListener) {
    this.#listener = listener
  }

  /** A connection to `url` stands. */
  begin(url: string, headers: Headers): void {
    this.url = url
    this.taskId = headers.get('x-skein-task') ?? this.taskId
    this.#isDone = false
    this.#finishReason = undefined
    this.#listener.reached()
    // what it waited for before is told after the headers: that it runs is told by its text
    const node = headers.get('x-skein-node')
    if (node !== null) this.#listener.node(node)
  }

  /** What comes next is the answer from its start. */
  restart(): void {
    this.lastEventId = undefined
    this.#listener.restarted()
  }

  /** Whether something came since it was asked last. */
  hasMoved(): boolean {
    const hasMoved = this.#movedFrom !== this.lastEventId
    this.#movedFrom = this.lastEventId
    return hasMoved
  }

  event({ data, id }: { readonly data: string; readonly id: string | undefined }): void {
    if (data === '[DONE]') this.#isDone = true
    else this.#take(data, id)
    this.lastEventId = id ?? this.lastEventId
  }

  comment(text: string): void {
    const [, word, rest = ''] = /^(\w+) (.*)$/.exec(text) ?? []
    const n = Number.parseInt(rest, 10)
    if (word === 'node') {
      this.#listener.node(rest)
      this.#listener.progress({ s: 'running' })
    } else if ((word === 'queued' || word === 'loading') && n >= 0) this.#listener.progress({ s: word, n })
  }

  /** @throws SkeinError STREAM_TRUNCATED when it is not whole. */
  end(): AnswerResult {
    if (!this.#isDone || this.#finishReason === undefined)
      throw new SkeinError('STREAM_TRUNCATED', 'the answer ended before it was whole')
    return { isLength: this.#finishReason === 'length', tokens: this.#tokens }
  }

  #take(data: string, id: string | undefined): void {
    let chunk: ChatChunk
    try {
      chunk = JSON.parse(data) as ChatChunk
    } catch (cause) {
      throw new SkeinError('STREAM_TRUNCATED', 'an event of the coordinator is no JSON', { cause })
    }
    if (chunk.error !== undefined) throw errorOf(chunk.error, 500)
    const tokens = chunk.usage?.total_tokens
    if (typeof tokens === 'number') this.#tokens = tokens
    const choice = chunk.choices?.[0]
    const content = choice?.delta?.content
    if (typeof content === 'string' && content !== '') {
      this.#listener.progress({ s: 'running' })
      this.#listener.text(content, Number(id) || undefined)
    }
    if (typeof choice?.finish_reason === 'string') this.#finishReason = choice.finish_reason
  }
}
