/**
 * The way of one answer from its task to its client, whatever API it is written in. A stream's headers wait for the first
 * attempt, so that what fails early has its own HTTP status; after that every end is explicit.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { pipe } from 'it-pipe'
import { SkeinError, type ErrorCode, type Route, type TokenLogprob } from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import type { Access } from '../access/index.ts'
import type { Left, MeshService, Receipt, TaskHandle, TaskTiming } from '../admission/index.ts'
import type { Devices } from '../devices/index.ts'
import type { ActiveRequest, ActiveRequests } from './active-requests.ts'
import type { StreamForm, WholeAnswer } from './answer-form.ts'
import { takeReply, toClient, type ClientWriterInit } from './client-writer.ts'
import { currencyOf } from './currency.ts'
import type { GatewayCounters } from './counters.ts'
import { WHOLE_ANSWER_BYTES_MAX, type GatewayLimits } from './limits.ts'
import { sseComment } from './sse.ts'
import { TaskInbox, weigh, type Batch, type EndEvent, type Started } from './task-inbox.ts'

export interface GenerationComponents {
  /** Devices that models may call, where there are some. */
  readonly devices?: Devices | undefined
  readonly service: MeshService
  readonly access: Access
  readonly clock: Clock
  readonly log: Logger
  readonly active: ActiveRequests
  readonly counters: GatewayCounters
  readonly limits: GatewayLimits
}

/** One answer on its way. */
export interface Exchange {
  readonly components: GenerationComponents
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly active: ActiveRequest
  readonly handle: TaskHandle
}

/** Ends of a stream that say nothing about its task. */
const BREAKS: ReadonlySet<ErrorCode> = new Set(['ANSWER_DIVERGED', 'SHUTTING_DOWN'])

/** `promise`, or the signal's reason when that comes first. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

export function inboxOf(
  { components, handle, active }: Exchange,
  after: number,
  backlogBytesMax: number,
  onOverflow: () => void,
): TaskInbox {
  const { clock, limits } = components
  const events = handle.follow(after, active.signal)
  return new TaskInbox(events, active.signal, clock, {
    after,
    keepaliveMs: limits.keepaliveMs,
    backlogBytesMax,
    onOverflow,
  })
}

export function placeHeaders(
  reply: FastifyReply,
  started: { readonly node: { readonly name: string }; readonly route: Route; readonly left?: Left },
  attempts: number,
): void {
  reply.headers({
    'x-skein-node': started.node.name,
    'x-skein-route': started.route,
    'x-skein-attempts': String(attempts),
    ...(started.left && { 'x-skein-cloud-reason': started.left.reason }),
    ...(started.left?.estimateMicros !== undefined && {
      'x-skein-cost-estimate': currencyOf(started.left.estimateMicros),
    }),
  })
}

/** What a whole answer has cost, all attempts together. */
export function costHeader(reply: FastifyReply, receipts: readonly (Receipt | undefined)[]): void {
  const given = receipts.filter((receipt) => receipt !== undefined)
  if (given.length > 0)
    reply.header('x-skein-cost', currencyOf(given.reduce((sum, { costMicros }) => sum + costMicros, 0)))
}

const timing = (parts: Readonly<Record<string, number>>): string =>
  Object.entries(parts)
    .map(([name, ms]) => `${name};dur=${ms.toFixed(1)}`)
    .join(', ')

/** A whole answer, and where it was made; an answer that was kept was made nowhere. */
export interface Collected {
  readonly answer: WholeAnswer
  readonly started: Started | undefined
  readonly attempts: number
}

/**
 * Waits for the end of an answer.
 *
 * @param bytesMax memory that it may take.
 * @throws SkeinError what ended the task, or kept it from being admitted; ENGINE_FAILED beyond `bytesMax`.
 */
export async function collect(exchange: Exchange, bytesMax = WHOLE_ANSWER_BYTES_MAX): Promise<Collected> {
  const { reply, active, handle } = exchange
  const tooLong = new SkeinError('ENGINE_FAILED', 'the answer is too long to be held; ask for a stream')
  const inbox = inboxOf(exchange, 0, bytesMax, () => active.abort(tooLong))
  const admitted = orAborted(handle.admitted, active.signal)
  // heard below, when the answer is whole
  admitted.catch(() => undefined)
  let text = ''
  const logprobs: TokenLogprob[] = []
  let bytes = 0
  let end: EndEvent | undefined
  for await (const batch of inbox.batches()) {
    text += batch.text
    logprobs.push(...batch.logprobs)
    bytes += weigh(batch.text, batch.logprobs)
    if (bytes > bytesMax) active.abort(tooLong)
    if (batch.failure && inbox.started) placeHeaders(reply, inbox.started, inbox.started.attempt)
    if (batch.failure) throw batch.failure
    end = batch.end
  }
  await admitted
  if (!end) throw new SkeinError('INTERNAL', 'the answer ended without an end')
  return { answer: { ...end, text, logprobs }, started: inbox.started, attempts: end.attempts }
}

/** What a whole answer says of itself in headers. */
export function timingHeader(reply: FastifyReply, { queuedMs, firstTokenMs, decodeMs }: TaskTiming): void {
  reply.header('server-timing', timing({ queue: queuedMs, first_token: firstTokenMs, decode: decodeMs }))
}

/** @throws SkeinError as `collect`. */
export async function answerWhole(exchange: Exchange, form: (answer: WholeAnswer) => object): Promise<void> {
  const { reply } = exchange
  const { answer, started, attempts } = await collect(exchange)
  if (started) placeHeaders(reply, started, attempts)
  timingHeader(reply, answer.timing)
  costHeader(reply, [answer.receipt])
  await reply.send(form(answer))
}

/** Gives a client up that does not read. */
export const cutting =
  ({ components, request, reply, active }: Omit<Exchange, 'handle'>) =>
  (): void => {
    if (active.signal.aborted) return
    components.counters.clientsStalled++
    components.log.warn({ request: request.id }, 'a client does not read its answer; it is cut')
    active.abort(new SkeinError('CLIENT_STALLED', 'the client does not read its answer'))
    reply.raw.destroy()
  }

/**
 * @param after position in the answer that the client has it up to.
 * @param tellsFailure a task that has failed already is told by the stream itself, in place of an HTTP status.
 * @throws SkeinError what ended the task before its headers were sent, or kept it from being admitted.
 */
export async function answerStream(
  exchange: Exchange,
  after: number,
  form: StreamForm,
  tellsFailure = false,
): Promise<void> {
  const { components, reply, active, handle } = exchange
  const { limits, clock } = components
  const cut = cutting(exchange)
  const inbox = inboxOf(exchange, after, limits.clientBacklogBytesMax, cut)
  const admitted = orAborted(handle.admitted, active.signal)
  await Promise.all([admitted, inbox.opened(limits.headersHoldMs)])
  const { earlyFailure } = inbox
  if (earlyFailure && !(tellsFailure && !isBreak(earlyFailure, active))) throw earlyFailure
  sendStreamHeaders(reply, inbox.started, form)
  const writer: ClientWriterInit = { clock, stallMs: limits.clientStallMs, onStall: cut }
  await pipe(inbox.batches(), eventEncoder(form, active), toClient(reply.raw, writer))
}

/** Whether only the stream ends, and the task may live on. */
export const isBreak = (error: SkeinError, { signal }: ActiveRequest): boolean =>
  signal.aborted || BREAKS.has(error.code)

export function sendStreamHeaders(
  reply: FastifyReply,
  started: Started | undefined,
  { contentType }: Pick<StreamForm, 'contentType'> = {},
): void {
  if (started) {
    placeHeaders(reply, started, started.attempt)
    reply.header('server-timing', timing({ queue: started.queuedMs }))
  }
  reply.headers({
    'content-type': contentType ?? 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    // nginx would collect the answer before it passes any of it on
    'x-accel-buffering': 'no',
  })
  if (takeReply(reply)) reply.raw.flushHeaders()
}

/** Batches to the text of their events: one piece, and so one write, for each batch. */
function eventEncoder(form: StreamForm, active: ActiveRequest) {
  return async function* (batches: AsyncIterable<Batch>): AsyncGenerator<string, void, undefined> {
    let hasBegun = false
    const opening = form.open()
    if (opening !== '') yield opening
    for await (const batch of batches) {
      let piece = ''
      for (const comment of batch.comments) piece += form.comment?.(comment) ?? sseComment(comment)
      const begins = !hasBegun && (batch.isStarted || batch.text !== '' || batch.end !== undefined)
      if (begins) {
        piece += form.begin()
        hasBegun = true
      }
      piece += form.text(batch)
      const { receipt } = batch.end ?? {}
      if (receipt) {
        const said = `cost ${currencyOf(receipt.costMicros)}`
        piece += form.comment?.(said) ?? sseComment(said)
      }
      if (batch.end) piece += await form.end(batch.end, batch.tokens)
      if (batch.failure) piece += await form.failure(batch.failure, isBreak(batch.failure, active))
      if (piece !== '') yield piece
    }
  }
}
