/**
 * From a generation call to its task and its answer. Nothing is acknowledged before the task is durable; what fails until
 * then, and until an attempt began, has its own HTTP status.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { asRequestId, SkeinError } from '../../mesh/protocol/index.ts'
import { MAKING, type TaskHandle, type TaskRequest, type TaskView } from '../admission/index.ts'
import type { ActiveRequest } from './active-requests.ts'
import {
  storedShape,
  type AnswerHead,
  type Resumption,
  type StoredShape,
  type StreamForm,
  type StreamStart,
} from './answer-form.ts'
import { cacheHeaders, cacheWish } from './cache-control.ts'
import { granted } from './callers.ts'
import { answerStream, answerWhole, orAborted, type Exchange, type GenerationComponents } from './exchange.ts'
import { CompletionStream, wholeCompletion } from './openai-answers.ts'
import type { GenerationCall } from './openai-requests.ts'
import { idempotencyOf, lastEventId, skeinOptions } from './request-options.ts'
import { responseOfTask, wholeResponse, type ResponseHead } from './responses-answers.ts'
import { LoopHandle, streamWithCalls, withCalls } from './tool-loop.ts'
import { RESPONSE_PREAMBLE, ResponseStream } from './responses-stream.ts'
import { ITEM_STEP, ResponseItemStream } from './responses-item-stream.ts'

const CLIENT_LEFT = new Set(['CLIENT_CLOSED', 'CLIENT_STALLED'])

/** True when nobody is there any more to hear of `error`. */
const isUnheard = ({ signal }: ActiveRequest): boolean =>
  signal.aborted && signal.reason instanceof SkeinError && CLIENT_LEFT.has(signal.reason.code)

export const seconds = (ms: number): number => Math.floor(ms / 1000)

/**
 * Runs `answer` as one of the requests that run.
 *
 * @throws SkeinError what ended the answer, when the client can still be told with an HTTP status.
 */
export async function answering(
  components: GenerationComponents,
  request: FastifyRequest,
  reply: FastifyReply,
  answer: (active: ActiveRequest) => Promise<void>,
): Promise<void> {
  const active = components.active.open(request.raw, reply.raw)
  await active.turn
  if (isUnheard(active)) return void reply.hijack()
  active.signal.throwIfAborted()
  try {
    await answer(active)
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

/** Answers `call`. @throws SkeinError as `answering` does. */
export async function generate(
  components: GenerationComponents,
  request: FastifyRequest,
  reply: FastifyReply,
  call: GenerationCall,
): Promise<void> {
  const created = seconds(components.clock.wallMs())
  const task = taskOf(components, request, call, created)
  const lastId = lastEventId(request.headers)
  checkResumable(call, task, lastId)
  await answering(components, request, reply, async (active) => {
    const submitted = await components.service.submit(task, active.signal)
    const { loop } = call
    const handle: TaskHandle = loop ? new LoopHandle(components, request, { task, loop, first: submitted }) : submitted
    // it is heard where the answer is acknowledged; what fails before may never get there
    handle.admitted.catch(() => undefined)
    if (handle.isNew) components.counters.tasks++
    else reply.header('x-skein-replayed', 'true')
    reply.header('x-skein-task', handle.taskId)
    request.line?.admitted(handle.taskId)
    if (handle.cache) reply.headers(cacheHeaders(handle.cache))
    if (submitted.standIn !== undefined) reply.header('x-skein-stand-in', submitted.standIn)
    const exchange = { components, request, reply, active, handle }
    if (call.attachment === 'background' && !call.stream) {
      await orAborted(handle.admitted, active.signal)
      return void (await reply.send(responseOfTask(await components.service.task(handle.taskId))))
    }
    const view = handle.isNew ? undefined : await components.service.task(handle.taskId)
    const head = headOf(handle, call, view ? storedShape(view).created : created)
    if (!call.stream) return answerWhole(exchange, withCalls(handle, wholeForm(call, head, endOf(exchange, view))))
    if (handle.isNew && lastId !== undefined && lastId > 0) {
      await components.service.cancel(handle.taskId)
      throw unknownPast()
    }
    const place = resumption(call.shape, lastId, view, hasTools(call.task))
    const start = { ...head, ...place, hasIds: task.attachment !== 'attached', requestId: request.id }
    const form = streamForm(exchange, call, start, view)
    const isChat = call.shape === 'chat' && call.forms === undefined
    await answerStream(exchange, place.after, streamWithCalls(handle, form, head, isChat))
  })
}

/** The task of `call`, with what the request says of it beside its body. @throws SkeinError INVALID_REQUEST, FORBIDDEN. */
export function taskOf(
  { service }: GenerationComponents,
  request: FastifyRequest,
  call: GenerationCall,
  created: number,
): TaskRequest {
  const { headers, routeOptions, body } = request
  const idempotency = idempotencyOf(headers, routeOptions.url ?? '', body)
  const { skein } = body as { skein?: Parameters<typeof skeinOptions>[0] }
  const cache = cacheWish(skein?.cache, headers, {
    isBarred: request.caller.grant.noCache === true,
    // who wants nothing kept of a response wants nothing given to the next
    isUnstored: call.shape === 'response' && !call.stored,
  })
  // someone waits in front of a chat that is streamed
  const isWatched = call.stream && call.shape !== 'text' && call.attachment !== 'background'
  const usual = isWatched ? 'interactive' : 'default'
  const shape: StoredShape = { api: call.shape, created, ...(call.echo ? { response: call.echo } : {}), ...call.kept }
  return {
    ...call.task,
    requestId: asRequestId(request.id),
    ...granted(request.caller, service, call.task.model, usual, skeinOptions(skein, headers)),
    ...(call.isKeptLocal && { localOnly: true }),
    attachment: request.line
      ? 'background'
      : call.attachment === 'attached' && idempotency
        ? 'resumable'
        : call.attachment,
    stored: call.stored,
    shape: JSON.stringify(shape),
    ...(idempotency ? { idempotency } : {}),
    ...(cache && { cache }),
    ...(request.trace && { trace: request.trace.task }),
  }
}

/** @throws SkeinError INVALID_REQUEST when the client names a place in an answer that it cannot come back to. */
export function checkResumable(call: GenerationCall, { idempotency }: TaskRequest, lastId: number | undefined): void {
  if (lastId === undefined) return
  const param = 'last-event-id'
  if (call.forms)
    throw new SkeinError('UNSUPPORTED_PARAMETER', `the events of this API have no ids: ${param}`, { param })
  if (!idempotency || !call.stream)
    throw new SkeinError('INVALID_REQUEST', `${param} needs a stream and the Idempotency-Key that it began with`, {
      param,
    })
  if (call.shape === 'text' && call.task.logprobs !== undefined)
    throw new SkeinError('UNSUPPORTED_PARAMETER', `${param} with logprobs is not supported for text completions`, {
      param,
    })
}

/** The client holds the beginning of an answer that is not known here: a new one must not be joined to it. */
export const unknownPast = (): SkeinError =>
  new SkeinError('ANSWER_DIVERGED', 'the answer that this client began is not known any more; ask anew')

/** Events behind the last token, each with a number of its own: the text that the end released, and a response's last four. */
const CLOSING_EVENTS = { chat: 1, text: 1, response: 5 } as const

/** From the `id` of the last event that the client has. */
export function resumption(
  shape: GenerationCall['shape'],
  lastId: number | undefined,
  view: TaskView | undefined,
  mayCall: boolean,
): Resumption {
  if (lastId === undefined) return { after: 0 }
  const position = placeOf(shape, lastId, mayCall || view?.thought !== undefined)
  const closing = view?.result ? (position % MAKING) - view.tokens : 0
  return { after: closing > 0 && closing <= CLOSING_EVENTS[shape] ? position - closing : position, lastId }
}

function placeOf(shape: GenerationCall['shape'], lastId: number, hasItems: boolean): number {
  if (shape !== 'response') return lastId
  return hasItems ? Math.floor(lastId / ITEM_STEP) : Math.max(0, lastId - RESPONSE_PREAMBLE)
}

export function headOf(
  { taskId, digest, thought }: TaskHandle,
  { task: { model } }: GenerationCall,
  created: number,
): AnswerHead {
  return { taskId, digest, model, created, ...(thought && { thought }) }
}

/** When the answer ended, in unix seconds: it is asked for at its end, which may have been long ago. */
const endOf =
  ({ components: { clock } }: Exchange, view: TaskView | undefined) =>
  (): number =>
    seconds(view?.endedAtMs ?? clock.wallMs())

function wholeForm(
  { shape, task, echo = {}, forms }: GenerationCall,
  head: AnswerHead,
  now: () => number,
): Parameters<typeof answerWhole>[1] {
  if (forms) return (answer) => forms.whole(head, answer)
  if (shape === 'response') return (answer) => wholeResponse({ ...head, hasTools: hasTools(task), echo }, answer, now())
  const { logprobs } = task
  const init = { ...head, shape, hasTools: hasTools(task), ...(logprobs === undefined ? {} : { logprobs }) }
  return (answer) => wholeCompletion(init, answer)
}

export const hasTools = ({ prompt }: GenerationCall['task']): boolean =>
  prompt.kind === 'chat' && prompt.tools !== undefined

function streamForm(
  exchange: Exchange,
  { shape, task, echo = {}, includeUsage, forms }: GenerationCall,
  start: StreamStart,
  view: TaskView | undefined,
): StreamForm {
  if (forms) return forms.stream(start)
  if (shape === 'response') return responseStream(exchange, { ...start, hasTools: hasTools(task), echo }, view)
  const { logprobs } = task
  const init = {
    ...start,
    shape,
    includeUsage,
    hasTools: hasTools(task),
    textBefore: textBefore(exchange, start),
  }
  return new CompletionStream({ ...init, ...(logprobs === undefined ? {} : { logprobs }) })
}

const textBefore =
  ({ handle }: Exchange, { after }: Resumption) =>
  (): string =>
    after === 0 ? '' : handle.textBefore(after)

/** @param known the task as it was found, when it was there before. */
export function responseStream(
  exchange: Exchange,
  start: StreamStart & ResponseHead,
  known: TaskView | undefined,
): StreamForm {
  const { components } = exchange
  const view = (): Promise<TaskView> => components.service.task(start.taskId)
  const now = endOf(exchange, known)
  const init = { ...start, view, now, textBefore: textBefore(exchange, start) }
  return start.thought || start.hasTools ? new ResponseItemStream(init) : new ResponseStream(init)
}
