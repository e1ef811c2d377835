/**
 * From a generation call to its answer. A stream's headers wait for the first attempt, so that what fails early has its own
 * HTTP status; after that every end is explicit: `[DONE]`, or an error event and no `[DONE]`.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { pipe } from 'it-pipe'
import { asRequestId, SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import type { MeshService, TaskHandle } from '../admission/index.ts'
import type { ActiveRequest, ActiveRequests } from './active-requests.ts'
import { toClient, type ClientWriterInit } from './client-writer.ts'
import type { GatewayCounters } from './counters.ts'
import { WHOLE_ANSWER_UNITS_MAX, type GatewayLimits } from './limits.ts'
import { StreamWriter, wholeAnswer, type AnswerInit } from './openai-answers.ts'
import { errorBody } from './openai-errors.ts'
import type { GenerationCall } from './openai-requests.ts'
import { sseComment, sseData } from './sse.ts'
import { TaskInbox, type Batch, type EndEvent, type Started } from './task-inbox.ts'

export interface GenerationComponents {
  readonly service: MeshService
  readonly clock: Clock
  readonly log: Logger
  readonly active: ActiveRequests
  readonly counters: GatewayCounters
  readonly limits: GatewayLimits
}

/** One call on its way. */
interface Exchange {
  readonly components: GenerationComponents
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly call: GenerationCall
  readonly active: ActiveRequest
  readonly handle: TaskHandle
}

const CLIENT_LEFT = new Set(['CLIENT_CLOSED', 'CLIENT_STALLED'])

/** True when nobody is there any more to hear of `error`. */
const isUnheard = ({ signal }: ActiveRequest): boolean =>
  signal.aborted && signal.reason instanceof SkeinError && CLIENT_LEFT.has(signal.reason.code)

/** Answers `call`. @throws SkeinError what ended the task, when the client can still be told with an HTTP status. */
export async function generate(
  components: GenerationComponents,
  request: FastifyRequest,
  reply: FastifyReply,
  call: GenerationCall,
): Promise<void> {
  const active = components.active.open(request.raw, reply.raw)
  await active.turn
  if (isUnheard(active)) return void reply.hijack()
  active.signal.throwIfAborted()
  const handle = components.service.submit({ ...call.task, requestId: asRequestId(request.id) }, active.signal)
  components.counters.tasks++
  reply.header('x-skein-task', handle.taskId)
  const exchange: Exchange = { components, request, reply, call, active, handle }
  try {
    await (call.stream ? answerStream(exchange) : answerWhole(exchange))
  } catch (error) {
    active.abort(new SkeinError('INTERNAL', 'the answer could not be written', { cause: error }))
    if (!isUnheard(active) && !reply.raw.headersSent) throw error
    // fastify must not write to a client that is gone, nor into the middle of a stream: that one is cut, which no client
    // takes for its end
    reply.hijack()
    if (!isUnheard(active)) components.log.error({ request: request.id, err: error }, 'a stream failed by a defect')
    reply.raw.destroy()
  }
}

function answerInit({ components, call, handle }: Exchange): AnswerInit {
  const created = Math.floor(components.clock.wallMs() / 1000)
  return { shape: call.shape, taskId: handle.taskId, digest: handle.digest, model: call.task.model, created }
}

function inboxOf({ components, handle, active }: Exchange, backlogBytesMax: number, onOverflow: () => void): TaskInbox {
  const { clock, limits } = components
  return new TaskInbox(handle.events, active.signal, clock, {
    keepaliveMs: limits.keepaliveMs,
    backlogBytesMax,
    onOverflow,
  })
}

function placeHeaders(reply: FastifyReply, started: Started, attempts: number): void {
  reply.headers({
    'x-skein-node': started.node.name,
    'x-skein-route': started.route,
    'x-skein-attempts': String(attempts),
  })
}

const timing = (parts: Readonly<Record<string, number>>): string =>
  Object.entries(parts)
    .map(([name, ms]) => `${name};dur=${ms.toFixed(1)}`)
    .join(', ')

async function answerWhole(exchange: Exchange): Promise<void> {
  const { reply, active } = exchange
  const tooLong = new SkeinError('ENGINE_FAILED', 'the answer is longer than any model should make it')
  const inbox = inboxOf(exchange, 2 * WHOLE_ANSWER_UNITS_MAX, () => active.abort(tooLong))
  let text = ''
  let end: EndEvent | undefined
  for await (const batch of inbox.batches()) {
    text += batch.text
    if (text.length > WHOLE_ANSWER_UNITS_MAX) active.abort(tooLong)
    if (batch.failure && inbox.started) placeHeaders(reply, inbox.started, inbox.started.attempt)
    if (batch.failure) throw batch.failure
    end = batch.end
  }
  if (!end) throw new SkeinError('INTERNAL', 'the answer ended without an end')
  if (inbox.started) placeHeaders(reply, inbox.started, end.attempts)
  const { queuedMs, firstTokenMs, decodeMs } = end.timing
  reply.header('server-timing', timing({ queue: queuedMs, first_token: firstTokenMs, decode: decodeMs }))
  await reply.send(wholeAnswer(answerInit(exchange), text, end.finishReason, end.usage))
}

async function answerStream(exchange: Exchange): Promise<void> {
  const { components, request, reply, call, active } = exchange
  const { limits, clock, counters } = components
  const cut = (): void => {
    if (active.signal.aborted) return
    counters.clientsStalled++
    components.log.warn({ request: request.id }, 'a client does not read its answer; it is cut')
    active.abort(new SkeinError('CLIENT_STALLED', 'the client does not read its answer'))
    reply.raw.destroy()
  }
  const inbox = inboxOf(exchange, limits.clientBacklogBytesMax, cut)
  await inbox.opened(limits.headersHoldMs)
  if (inbox.earlyFailure) throw inbox.earlyFailure
  sendStreamHeaders(reply, inbox.started)
  const writer: ClientWriterInit = { clock, stallMs: limits.clientStallMs, onStall: cut }
  const encode = sseEncoder(new StreamWriter(answerInit(exchange), call.includeUsage), request.id)
  await pipe(inbox.batches(), encode, toClient(reply.raw, writer))
}

function sendStreamHeaders(reply: FastifyReply, started: Started | undefined): void {
  if (started) {
    placeHeaders(reply, started, started.attempt)
    reply.header('server-timing', timing({ queue: started.queuedMs }))
  }
  reply.headers({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    // nginx would collect the answer before it passes any of it on
    'x-accel-buffering': 'no',
  })
  reply.hijack()
  // its socket may end at any time; the writer looks at `destroyed`, and an error event nobody hears ends the process
  reply.raw.on('error', () => undefined)
  if (reply.raw.destroyed) return
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) reply.raw.setHeader(name, value)
  reply.raw.writeHead(200)
  reply.raw.flushHeaders()
}

/** Batches to the text of their events: one piece, and so one write, for each batch. */
function sseEncoder(writer: StreamWriter, requestId: string) {
  return async function* (batches: AsyncIterable<Batch>): AsyncGenerator<string, void, undefined> {
    let hasBegun = false
    for await (const batch of batches) {
      let piece = ''
      for (const comment of batch.comments) piece += sseComment(comment)
      const begins = !hasBegun && (batch.isStarted || batch.text !== '' || batch.end !== undefined)
      if (begins) {
        piece += writer.begin()
        hasBegun = true
      }
      if (batch.text !== '') piece += writer.text(batch.text)
      if (batch.end) piece += writer.end(batch.end.finishReason, batch.end.usage)
      if (batch.failure) piece += sseData(JSON.stringify(errorBody(batch.failure, requestId)))
      if (piece !== '') yield piece
    }
  }
}
