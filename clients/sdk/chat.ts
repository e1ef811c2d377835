/**
 * One chat answer, through whatever happens to the connection: the request bears a name of its own (`Idempotency-Key`), so
 * that asking again is the same task; a stream that breaks is gone on with behind its last event (`Last-Event-ID`). Another
 * coordinator does not know the task: it answers anew with the same seed, what was told is compared and not told twice, and
 * an answer that goes another way is an error.
 */
import {
  chatBody,
  type AnswerDeviceCall,
  type ChatAnswer,
  type ChatPart,
  type ChatRequest,
  type Made,
  type ToolCall,
  type Usage,
} from './answers.ts'
import { newId } from './clock.ts'
import { DivergedError, ProtocolError, SkeinApiError, TruncatedError, UnreachableError } from './errors.ts'
import { errorOf, type Gateways } from './gateways.ts'
import { madeByComment, madeOf, merged } from './made.ts'
import { serverEvents } from './sse.ts'

export interface CallOptions {
  readonly signal?: AbortSignal
  /** Names the task: the same name and request are the same task. A new one when absent. */
  readonly idempotencyKey?: string
  /** How long it is tried for without progress, in ms; what the client was made with when absent. */
  readonly patienceMs?: number
  /** What is known of where the answer is made, each time that more is. */
  readonly onMade?: (made: Made) => void
  /** Something was heard, if only a sign of life, of which a stream has one every 10 s. */
  readonly onAlive?: () => void
  /** It is asked again in `waitMs`. What this throws is thrown in its place. */
  readonly onBreak?: (error: SkeinApiError, waitMs: number) => void
}

const SEEDS = 2 ** 31
/** Errors in the middle of a stream after which the task can be come back to. */
const RESUMABLE = new Set(['shutting_down', 'coordinator_restarted'])

/** @throws SkeinApiError and its kinds; the reason of the signal. */
export async function* chatStream(
  gateways: Gateways,
  request: ChatRequest,
  options: CallOptions = {},
): AsyncGenerator<ChatPart, void, undefined> {
  const { clock } = gateways
  const { signal, idempotencyKey = newId(), patienceMs = gateways.patienceMs, onMade, onAlive, onBreak } = options
  // who asks again would act again
  const key = (request.devices ?? 'none') === 'none' ? idempotencyKey : undefined
  const seed = request.seed ?? Math.floor(clock.random() * SEEDS)
  const body = chatBody(request, seed)
  const told = new Told(onMade)
  let said = new Said(gateways.current)
  let givenUpMs = clock.nowMs() + patienceMs
  for (let round = 0; ; round++) {
    // another coordinator: from its start, beside what was told
    if (said.gateway !== gateways.current) said = new Said(gateways.current)
    try {
      for await (const part of read(gateways, { body, said, told, key, signal, onAlive })) {
        round = 0
        givenUpMs = clock.nowMs() + patienceMs
        yield part
      }
      const answer = told.answer(said)
      if (answer.finishReason === 'length' && request.allowTruncated !== true) throw new TruncatedError(answer)
      return yield { type: 'end', answer }
    } catch (thrown) {
      if (thrown instanceof SkeinApiError && thrown.code === 'answer_diverged' && !(thrown instanceof DivergedError))
        throw new DivergedError(thrown.message, thrown)
      // without a name it is asked again only where it was not taken at all
      if (key === undefined && (told.made !== undefined || thrown instanceof UnreachableError)) throw thrown
      await gateways.rest(thrown, round, givenUpMs, signal, onBreak)
      if (told.hasAny) told.resumed++
    }
  }
}

/** The whole answer. @throws as `chatStream`. */
export async function chat(gateways: Gateways, request: ChatRequest, options: CallOptions = {}): Promise<ChatAnswer> {
  for await (const part of chatStream(gateways, request, options)) if (part.type === 'end') return part.answer
  throw new ProtocolError('the stream ended without an answer')
}

/** One connection's worth of an answer, to its end. @throws UnreachableError when it breaks off. */
async function* read(
  gateways: Gateways,
  about: {
    readonly body: object
    readonly said: Said
    readonly told: Told
    readonly key: string | undefined
    readonly signal: AbortSignal | undefined
    readonly onAlive: CallOptions['onAlive']
  },
): AsyncGenerator<ChatPart, void, undefined> {
  const { body, said, told, key, signal, onAlive } = about
  const headers = {
    ...(key !== undefined && { 'idempotency-key': key }),
    ...(said.lastId !== undefined && { 'last-event-id': said.lastId }),
  }
  const response = await gateways.once({ method: 'POST', path: '/v1/chat/completions', body, headers, signal })
  onAlive?.()
  told.learn(madeOf(response.headers))
  if (response.body === null) throw new ProtocolError('an answer without a body')
  try {
    for await (const event of serverEvents(response.body)) {
      onAlive?.()
      if (event.type === 'comment') {
        const { text } = event
        const more = madeByComment(text)
        if (more) told.learn(more)
        if (text !== '' && text !== 'keepalive' && more?.cost === undefined) yield { type: 'status', text }
        continue
      }
      if (event.data === '[DONE]') {
        if (said.finishReason === undefined) throw new ProtocolError('the stream ended without a finish reason')
        return told.checkWhole(said)
      }
      said.take(event.data)
      if (event.id !== undefined) said.lastId = event.id
      yield* told.beyond(said)
    }
  } catch (thrown) {
    signal?.throwIfAborted()
    throw thrown instanceof SkeinApiError ? thrown : new UnreachableError('the connection broke off', thrown)
  }
  throw new UnreachableError('the stream ended before the answer did')
}

interface Call {
  id: string
  name: string
  arguments: string
}

/** What one coordinator has said of the answer. */
class Said {
  readonly gateway: number
  text = ''
  thought = ''
  readonly calls: Call[] = []
  lastId: string | undefined
  finishReason: ChatAnswer['finishReason'] | undefined
  usage: Usage | undefined
  deviceCalls: readonly AnswerDeviceCall[] | undefined

  constructor(gateway: number) {
    this.gateway = gateway
  }

  /** @throws SkeinApiError for an error that ends the stream; ProtocolError. */
  take(data: string): void {
    const event = parsed(data)
    if ('error' in event) throw midStream(event)
    const { choices, usage, skein } = event as { choices?: unknown; usage?: unknown; skein?: unknown }
    if (isRecord(skein) && Array.isArray(skein['calls'])) this.deviceCalls = skein['calls'].map(deviceCallOf)
    if (isRecord(usage)) this.usage = usageOf(usage)
    const choice = Array.isArray(choices) ? (choices as unknown[])[0] : undefined
    if (!isRecord(choice)) return
    const { delta, finish_reason: reason } = choice
    if (isRecord(delta)) this.#grow(delta)
    if (reason === 'stop' || reason === 'length' || reason === 'tool_calls') this.finishReason = reason
    else if (reason !== null && reason !== undefined) throw new ProtocolError(`the finish reason ${String(reason)}`)
  }

  #grow(delta: Record<string, unknown>): void {
    if (typeof delta['content'] === 'string') this.text += delta['content']
    if (typeof delta['reasoning_content'] === 'string') this.thought += delta['reasoning_content']
    if (!Array.isArray(delta['tool_calls'])) return
    for (const piece of delta['tool_calls'] as unknown[]) {
      if (!isRecord(piece) || typeof piece['index'] !== 'number')
        throw new ProtocolError('a tool call without an index')
      const index = piece['index']
      // one behind the other: a hole would be a call that nobody told of
      if (index > this.calls.length || index < 0) throw new ProtocolError(`tool call ${index} out of its order`)
      const call = (this.calls[index] ??= { id: '', name: '', arguments: '' })
      const made = isRecord(piece['function']) ? piece['function'] : {}
      if (typeof piece['id'] === 'string') call.id = piece['id']
      if (typeof made['name'] === 'string') call.name = made['name']
      if (typeof made['arguments'] === 'string') call.arguments += made['arguments']
    }
  }
}

/** What the caller was told. */
class Told {
  #text = ''
  #thought = ''
  readonly #calls: Call[] = []
  readonly #onMade: CallOptions['onMade']
  made: Made | undefined
  resumed = 0

  constructor(onMade: CallOptions['onMade']) {
    this.#onMade = onMade
  }

  learn(more: Partial<Made>): void {
    this.made = merged(this.made, more)
    this.#onMade?.(this.made)
  }

  get hasAny(): boolean {
    return this.#text !== '' || this.#thought !== '' || this.#calls.length > 0
  }

  /** What `said` has beyond it, which is then told. @throws DivergedError when it goes another way. */
  *beyond(said: Said): Generator<ChatPart, void, undefined> {
    const thought = rest(this.#thought, said.thought)
    if (thought !== '') {
      this.#thought += thought
      yield { type: 'thought', text: thought }
    }
    const text = rest(this.#text, said.text)
    if (text !== '') {
      this.#text += text
      yield { type: 'text', text }
    }
    for (const [index, call] of said.calls.entries()) {
      const before = this.#calls[index]
      if (before !== undefined && before.name !== call.name) throw diverged()
      const given = rest(before?.arguments ?? '', call.arguments)
      // its id is the one that was told first, also where another coordinator gives another
      if (before === undefined) this.#calls[index] = { ...call }
      else before.arguments += given
      if (before === undefined || given !== '') yield { type: 'tool-call', index, name: call.name, arguments: given }
    }
  }

  /** @throws DivergedError when less was said, to the end, than was told. */
  checkWhole({ text, thought, calls }: Said): void {
    const isWhole =
      text === this.#text &&
      thought === this.#thought &&
      calls.length === this.#calls.length &&
      calls.every((call, index) => call.arguments === this.#calls[index]!.arguments)
    if (!isWhole) throw diverged()
  }

  answer({ finishReason, usage, deviceCalls }: Said): ChatAnswer {
    const toolCalls: ToolCall[] = this.#calls.map((call) => ({ ...call }))
    return {
      text: this.#text,
      thought: this.#thought,
      toolCalls,
      finishReason: finishReason!,
      usage,
      resumed: this.resumed,
      ...(deviceCalls && { deviceCalls }),
      ...(this.made ?? { taskId: undefined, node: undefined, route: undefined }),
    }
  }
}

/** What `said` has behind `told`; nothing while it is still catching up. @throws DivergedError. */
function rest(told: string, said: string): string {
  if (said.startsWith(told)) return said.slice(told.length)
  if (told.startsWith(said)) return ''
  throw diverged()
}

const diverged = (): DivergedError =>
  new DivergedError('another coordinator made another answer; ask again for a whole one')

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

function parsed(data: string): Record<string, unknown> {
  try {
    const event = JSON.parse(data) as unknown
    if (isRecord(event)) return event
  } catch {
    // told below
  }
  throw new ProtocolError('an event that is no JSON object')
}

function midStream(event: Record<string, unknown>): SkeinApiError {
  const error = errorOf(event)
  return RESUMABLE.has(error.code) ? new UnreachableError(error.message, error) : error
}

function usageOf(usage: Record<string, unknown>): Usage {
  const count = (value: unknown): number => (typeof value === 'number' ? value : 0)
  const details = isRecord(usage['prompt_tokens_details']) ? usage['prompt_tokens_details'] : {}
  return {
    promptTokens: count(usage['prompt_tokens']),
    cachedTokens: count(details['cached_tokens']),
    completionTokens: count(usage['completion_tokens']),
  }
}

/** @throws ProtocolError. */
function deviceCallOf(told: unknown): AnswerDeviceCall {
  if (!isRecord(told) || typeof told['tool'] !== 'string') throw new ProtocolError('a call of no device')
  const { tool, arguments: given, outcome, value, unit, error, call } = told
  const isValue = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
  return {
    tool,
    arguments: typeof given === 'string' ? given : '{}',
    outcome: typeof outcome === 'string' ? outcome : 'failed',
    ...(isValue && { value }),
    ...(typeof unit === 'string' && { unit }),
    ...(typeof error === 'string' && { error }),
    ...(typeof call === 'string' && { call }),
  }
}
