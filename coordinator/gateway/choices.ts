/**
 * Answers of several choices. Each is a task of its own, which is admitted, placed, moved, charged and recorded like any
 * other; here they become one answer again. If one fails, the answer fails, and the others are ended.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { pipe } from 'it-pipe'
import { asSkeinError, type Route, type SkeinError, type Usage } from '../../mesh/protocol/index.ts'
import type { CacheOutcome, TaskHandle, TaskRequest, TaskView } from '../admission/index.ts'
import { storedShape } from './answer-form.ts'
import { cacheHeaders } from './cache-control.ts'
import { countFurther } from './callers.ts'
import { toClient } from './client-writer.ts'
import {
  collect,
  costHeader,
  cutting,
  inboxOf,
  isBreak,
  orAborted,
  placeHeaders,
  sendStreamHeaders,
  timingHeader,
  type Collected,
  type Exchange,
  type GenerationComponents,
} from './exchange.ts'
import { answering, checkResumable, hasTools, headOf, resumption, seconds, taskOf, unknownPast } from './generation.ts'
import { WHOLE_ANSWER_BYTES_MAX } from './limits.ts'
import { merged } from './merged.ts'
import { CompletionStream, wholeCompletions, type CompletionInit } from './openai-answers.ts'
import type { GenerationCall } from './openai-requests.ts'
import { lastEventIds } from './request-options.ts'
import { sseComment } from './sse.ts'
import type { Batch, Started } from './task-inbox.ts'

export type ChoicesCall = GenerationCall & Required<Pick<GenerationCall, 'choices'>>

export const hasChoices = (call: GenerationCall): call is ChoicesCall => call.choices !== undefined

/** The choices of one request, on their way. */
interface Choices {
  readonly call: ChoicesCall
  readonly exchanges: readonly Exchange[]
  /** How each is to be read and written. */
  readonly inits: readonly CompletionInit[]
  /** Of those that were there before. */
  readonly views: readonly (TaskView | undefined)[]
}

/** Answers `call`. @throws SkeinError as `answering` does. */
export async function generateChoices(
  components: GenerationComponents,
  request: FastifyRequest,
  reply: FastifyReply,
  call: ChoicesCall,
): Promise<void> {
  const { tasks } = call.choices
  const created = seconds(components.clock.wallMs())
  const first = taskOf(components, request, call, created)
  const lastIds = lastEventIds(request.headers, tasks.length)
  checkResumable(call, first, lastIds && 0)
  countFurther(components.access, request, reply, tasks.length - 1)
  const asked = tasks.map((task, index) => ({ ...first, ...task, ...keyOf(first, index) }))
  await answering(components, request, reply, async (active) => {
    const exchange = { components, request, reply, active }
    const handles = await submitAll(exchange, asked)
    const choices = await choicesOf(exchange, call, handles, created)
    try {
      if (!call.stream) return await answerWhole(exchange, choices)
      if (handles.some(({ isNew }, i) => isNew && (lastIds?.[i] ?? 0) > 0)) {
        cancelAll(
          components,
          handles.filter(({ isNew }) => isNew),
        )
        throw unknownPast()
      }
      await answerStream(exchange, choices, first.attachment !== 'attached', lastIds)
    } catch (error) {
      if (!isBreak(error as SkeinError, active)) endAll(choices.exchanges)
      throw error
    }
  })
}

/** Each choice has a key of its own, which no client can write: what came with the request is one line. */
function keyOf({ idempotency }: TaskRequest, index: number): Pick<TaskRequest, 'idempotency'> {
  return idempotency && index > 0 ? { idempotency: { ...idempotency, key: `${idempotency.key}\n${index}` } } : {}
}

/** What all choices of a request have in common. */
type Common = Omit<Exchange, 'handle'>

/** Admits all, or none. @throws SkeinError as `MeshService.submit`, of the first that was not taken. */
async function submitAll(common: Common, asked: readonly TaskRequest[]): Promise<TaskHandle[]> {
  const { components, request, reply, active } = common
  const { service, counters } = components
  const taken = await Promise.allSettled(asked.map((task) => service.submit(task, active.signal)))
  const handles = taken.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  // it is heard where the answer is acknowledged; what fails before may never get there
  for (const { admitted } of handles) admitted.catch(() => undefined)
  for (const { taskId } of handles) request.line?.admitted(taskId)
  const fresh = handles.filter(({ isNew }) => isNew)
  counters.tasks += fresh.length
  const refused = taken.find((each) => each.status === 'rejected')
  if (refused) {
    // of a request with a key they go on for a while: who asks again with it is given these, and what was missing
    if (asked[0]!.attachment !== 'resumable') cancelAll(components, fresh)
    throw asSkeinError(refused.reason)
  }
  reply.headers({
    'x-skein-task': handles[0]!.taskId,
    'x-skein-tasks': handles.map(({ taskId }) => taskId).join(', '),
    ...(fresh.length === 0 && { 'x-skein-replayed': 'true' }),
    ...cacheOf(handles),
    ...standInOf(handles),
  })
  return handles
}

/** The less of an answer was there, the further ahead. */
const OUTCOMES: readonly CacheOutcome[] = ['bypass', 'miss', 'shared', 'hit']

/** How the answer stood to those that are kept: as the choice that had the least of it; of ages the greatest. */
function cacheOf(handles: readonly TaskHandle[]): Record<string, string> {
  const outcomes = handles.flatMap(({ cache }) => (cache ? [cache] : []))
  const outcome = OUTCOMES.find((each) => outcomes.some((known) => known.outcome === each))
  if (outcome === undefined) return {}
  const ages = outcomes.flatMap(({ ageMs }) => (ageMs === undefined ? [] : [ageMs]))
  return cacheHeaders({ outcome, ...(outcome === 'hit' && { ageMs: Math.max(...ages) }) })
}

/** The model that has answered in the place of the one asked for, if one has. */
const standInOf = (handles: readonly TaskHandle[]): Record<string, string> => {
  const model = handles.find(({ standIn }) => standIn !== undefined)?.standIn
  return model === undefined ? {} : { 'x-skein-stand-in': model }
}

async function choicesOf(
  common: Common,
  call: ChoicesCall,
  handles: readonly TaskHandle[],
  created: number,
): Promise<Choices> {
  const { service } = common.components
  const views = await Promise.all(handles.map(async ({ isNew, taskId }) => (isNew ? undefined : service.task(taskId))))
  const known = views.find((view) => view !== undefined)
  const began = known ? storedShape(known).created : created
  const { logprobs } = call.task
  const inits = handles.map((handle, index) => ({
    ...headOf(handle, call, began),
    shape: call.shape === 'chat' ? ('chat' as const) : ('text' as const),
    hasTools: hasTools(call.task),
    ...(logprobs === undefined ? {} : { logprobs }),
    choice: { index, first: handles[0]!.taskId },
  }))
  return { call, exchanges: handles.map((handle) => ({ ...common, handle })), inits, views }
}

/** OpenAI's accounting: a prompt counts once, however many choices it has; their tokens all count. */
function usageOf(usages: readonly Usage[], perPrompt: number): Usage {
  const sum = (of: readonly Usage[], name: keyof Usage): number => of.reduce((all, each) => all + (each[name] ?? 0), 0)
  const prompts = usages.filter((_, index) => index % perPrompt === 0)
  const hasThoughts = usages.some(({ thoughtTokens }) => thoughtTokens !== undefined)
  return {
    promptTokens: sum(prompts, 'promptTokens'),
    cachedTokens: sum(prompts, 'cachedTokens'),
    completionTokens: sum(usages, 'completionTokens'),
    ...(hasThoughts && { thoughtTokens: sum(usages, 'thoughtTokens') }),
  }
}

async function answerWhole({ reply }: Common, { call, exchanges, inits }: Choices): Promise<void> {
  const bytesMax = Math.floor(WHOLE_ANSWER_BYTES_MAX / exchanges.length)
  const made = await Promise.all(exchanges.map((exchange) => collect(exchange, bytesMax)))
  madeHeaders(reply, made)
  const usage = usageOf(
    made.map(({ answer }) => answer.usage),
    call.choices.perPrompt,
  )
  await reply.send(
    wholeCompletions(
      made.map(({ answer }, index) => [inits[index]!, answer]),
      usage,
    ),
  )
}

/** The farthest last. */
const ROUTES: readonly Route[] = ['local', 'mesh', 'cloud']

/** All nodes that took part, and the farthest route. */
function placeOf(starts: readonly Started[]): Pick<Started, 'node' | 'route'> | undefined {
  const [first] = starts
  if (!first) return undefined
  const name = [...new Set(starts.map(({ node }) => node.name))].join(', ')
  const route = ROUTES.findLast((each) => starts.some((started) => started.route === each)) ?? first.route
  return { node: { ...first.node, name }, route }
}

/** Attempts of all choices; times of those that took longest. */
function madeHeaders(reply: FastifyReply, made: readonly Collected[]): void {
  const place = placeOf(made.flatMap(({ started }) => started ?? []))
  const attempts = made.reduce((sum, each) => sum + each.attempts, 0)
  if (place) placeHeaders(reply, place, attempts)
  const longest = (name: 'queuedMs' | 'firstTokenMs' | 'decodeMs'): number =>
    Math.max(...made.map(({ answer }) => answer.timing[name]))
  timingHeader(reply, {
    queuedMs: longest('queuedMs'),
    firstTokenMs: longest('firstTokenMs'),
    decodeMs: longest('decodeMs'),
  })
  costHeader(
    reply,
    made.map(({ answer }) => answer.receipt),
  )
}

/** Ids are the places of all choices, `-` where one has not begun. @param lastIds of the last event that the client has. */
async function answerStream(
  common: Common,
  { call, exchanges, inits, views }: Choices,
  hasIds: boolean,
  lastIds: readonly (number | undefined)[] = [],
): Promise<void> {
  const { components, request, reply, active } = common
  const { limits, clock } = components
  const cut = cutting(common)
  const places = exchanges.map((_, index) => resumption(call.shape, lastIds[index], views[index], hasTools(call.task)))
  // what may wait for the client is the same however many choices it has
  const backlogBytesMax = Math.floor(limits.clientBacklogBytesMax / exchanges.length)
  const inboxes = exchanges.map((exchange, i) => inboxOf(exchange, places[i]!.after, backlogBytesMax, cut))
  const begun = Promise.withResolvers<void>()
  await Promise.all([
    ...exchanges.map(({ handle }) => orAborted(handle.admitted, active.signal)),
    ...inboxes.map((inbox) => inbox.opened(limits.headersHoldMs, begun.promise).then(begun.resolve)),
  ])
  for (const { earlyFailure } of inboxes) if (earlyFailure) throw earlyFailure
  const starts = inboxes.flatMap(({ started }) => started ?? [])
  const place = placeOf(starts)
  const attempt = starts.reduce((sum, each) => sum + each.attempt, 0)
  sendStreamHeaders(reply, place && { ...starts[0]!, ...place, attempt })
  const told: (number | undefined)[] = places.map(({ lastId }) => lastId)
  const forms = inits.map((init, index) => {
    const { after } = places[index]!
    const { handle } = exchanges[index]!
    return new CompletionStream({
      ...{ ...init, ...places[index]!, hasIds, requestId: request.id, includeUsage: call.includeUsage },
      textBefore: () => (after === 0 ? '' : handle.textBefore(after)),
      idOf: (place) => {
        told[index] = place
        return told.map((each) => each ?? '-').join('.')
      },
    })
  })
  const onFailure = (error: SkeinError): void => {
    if (!isBreak(error, active)) endAll(exchanges)
    // nobody follows the others any more
    active.abort(error)
  }
  const encoder = choiceEncoder(forms, call.choices.perPrompt, onFailure)
  const writer = { clock, stallMs: limits.clientStallMs, onStall: cut }
  await pipe(merged(inboxes.map((inbox) => inbox.batches())), encoder, toClient(reply.raw, writer))
}

/** Batches of all choices to the text of their events. @param onFailure a choice failed, and with it the answer. */
function choiceEncoder(forms: readonly CompletionStream[], perPrompt: number, onFailure: (error: SkeinError) => void) {
  return async function* (batches: AsyncIterable<readonly [number, Batch]>): AsyncGenerator<string, void, undefined> {
    const begun = new Set<number>()
    const usages = new Map<number, Usage>()
    for await (const [index, batch] of batches) {
      const form = forms[index]!
      let piece = ''
      for (const comment of batch.comments)
        piece += sseComment(comment === 'keepalive' ? comment : `choice ${index}: ${comment}`)
      if (!begun.has(index) && (batch.isStarted || batch.text !== '' || batch.end !== undefined)) {
        piece += form.begin()
        begun.add(index)
      }
      piece += form.text(batch)
      if (batch.end) {
        piece += form.finish(batch.end)
        usages.set(index, batch.end.usage)
        if (usages.size === forms.length)
          piece += form.close(
            usageOf(
              forms.map((_, i) => usages.get(i)!),
              perPrompt,
            ),
          )
      }
      if (batch.failure) {
        piece += form.failure(batch.failure)
        onFailure(batch.failure)
      }
      if (piece !== '') yield piece
      if (batch.failure) return
    }
  }
}

function endAll(exchanges: readonly Exchange[]): void {
  const { components } = exchanges[0]!
  cancelAll(
    components,
    exchanges.map(({ handle }) => handle),
  )
}

/** Those that have ended stay as they are. */
function cancelAll({ service }: GenerationComponents, handles: readonly TaskHandle[]): void {
  for (const { taskId } of handles) void service.cancel(taskId).catch(() => undefined)
}
