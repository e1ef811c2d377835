/** OpenAI's responses API: answers that outlive the connection, and that are found again by their id. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { readingsOf, type MeshService } from '../admission/index.ts'
import { visibleTo } from './callers.ts'
import { answerStream, type GenerationComponents } from './exchange.ts'
import { answering, generate, responseStream, resumption } from './generation.ts'
import { unsupported, type GenerationCall } from './openai-requests.ts'
import { lastEventId } from './request-options.ts'
import { deviceLoopOf, withDeviceTools, type DeviceLoop, type ToolForModel } from './tool-loop.ts'
import {
  RESPONSE_CANCEL_DOC,
  RESPONSE_DELETE_DOC,
  RESPONSE_DOC,
  RESPONSE_GET_DOC,
  RESPONSE_ITEMS_DOC,
} from './responses-answer-schemas.ts'
import { headOf, responseOfTask } from './responses-answers.ts'
import { conversationOf, inputItems, ownResponse, withReferences } from './responses-chain.ts'
import type { InputItemBody } from './responses-input.ts'
import { asksLogprobs, responseCall } from './responses-requests.ts'
import { toolBodies } from './responses-tools.ts'
import {
  ITEMS_PAGE_DEFAULT,
  ITEMS_PAGE_MAX,
  ItemsQuerySchema,
  ResponseBodySchema,
  ResponseQuerySchema,
  type ItemsQuery,
  type ResponseBody,
  type ResponseQuery,
} from './responses-schemas.ts'

interface OneResponse {
  Params: { id: string }
}

const flatTool = ({ name, description, parameters }: ToolForModel): object => ({
  type: 'function',
  ...{ name, description, parameters },
})

/** @throws SkeinError as `responseCall` and `deviceLoopOf`; NOT_FOUND for what it goes on from, or names. */
async function callOf(
  components: GenerationComponents,
  request: FastifyRequest<{ Body: ResponseBody }>,
): Promise<GenerationCall> {
  const { service } = components
  const { body } = request
  const { input, previous_response_id: previous } = body
  const named = typeof input === 'string' ? undefined : await withReferences(service, request, input)
  const earlier = previous === undefined ? undefined : await conversationOf(service, request, previous)
  const resolved = named?.items ?? input
  const before = earlier?.items ?? []
  const loop = deviceLoopOf(components, request, body)
  const call = loop ? loopCall(loop, body, resolved, before) : responseCall(body, resolved, before)
  if (asksLogprobs(body) && thinks(service, request)) throw unsupported('include')
  const isKeptLocal = named?.isLocalOnly === true || earlier?.isLocalOnly === true
  return { ...call, ...(isKeptLocal && { isKeptLocal }) }
}

/** An answer of several rounds is not one task, by which it could be found again: it is not stored. */
function loopCall(
  loop: DeviceLoop,
  given: ResponseBody,
  ...[input, before]: [Parameters<typeof responseCall>[1], Parameters<typeof responseCall>[2]]
): GenerationCall {
  const body = { ...given, store: false }
  const call = responseCall(withDeviceTools(body, loop, flatTool), input, before)
  // the answer repeats the tools of its client alone
  return { ...call, echo: { ...call.echo, tools: toolBodies(given.tools ?? []) }, loop }
}

/** Whether it is asked of a model whose answers have a thought: which tokens are of the message is not known there. */
function thinks(service: MeshService, { caller, body }: FastifyRequest<{ Body: ResponseBody }>): boolean {
  const names = readingsOf(body.model)
  return visibleTo(caller, service.models()).some(
    ({ digest, aliases, features }) =>
      features.includes('thinking') && names.some((name) => name === digest || aliases.includes(name)),
  )
}

/** @throws SkeinError INVALID_REQUEST for a page that there is none of. */
function pageOf(all: readonly InputItemBody[], { limit, order = 'desc', after }: ItemsQuery): object {
  const size = Number(limit ?? ITEMS_PAGE_DEFAULT)
  if (size < 1 || size > ITEMS_PAGE_MAX)
    throw new SkeinError('INVALID_REQUEST', `limit must be 1 to ${ITEMS_PAGE_MAX}`, { param: 'limit' })
  const ordered = order === 'asc' ? all : all.toReversed()
  const from = after === undefined ? 0 : ordered.findIndex(({ id }) => id === after) + 1
  if (after !== undefined && from === 0)
    throw new SkeinError('INVALID_REQUEST', 'after must be the id of an item of this list', { param: 'after' })
  const data = ordered.slice(from, from + size)
  // a page behind the last item has no ends
  const ends = { first_id: data[0]?.id ?? '', last_id: data.at(-1)?.id ?? '' }
  return { object: 'list', data, ...ends, has_more: from + size < ordered.length }
}

export function responsesRoutes(app: FastifyInstance, components: GenerationComponents): void {
  const { service } = components

  app.post<{ Body: ResponseBody }>(
    '/v1/responses',
    { schema: { body: ResponseBodySchema }, config: { doc: RESPONSE_DOC } },
    async (request, reply) => {
      await generate(components, request, reply, await callOf(components, request))
      return reply
    },
  )

  oneResponse(app, components)

  app.get<OneResponse & { Querystring: ItemsQuery }>(
    '/v1/responses/:id/input_items',
    { schema: { querystring: ItemsQuerySchema }, config: { doc: RESPONSE_ITEMS_DOC } },
    async (request) => {
      const view = await ownResponse(service, request, request.params.id)
      return pageOf(await inputItems(service, view), request.query)
    },
  )

  app.post<OneResponse>('/v1/responses/:id/cancel', { config: { doc: RESPONSE_CANCEL_DOC } }, async (request) => {
    const { taskId } = await ownResponse(service, request, request.params.id)
    return responseOfTask(await service.cancel(taskId))
  })

  app.delete<OneResponse>('/v1/responses/:id', { config: { doc: RESPONSE_DELETE_DOC } }, async (request) => {
    const { taskId } = await ownResponse(service, request, request.params.id)
    await service.erase(taskId)
    return { id: request.params.id, object: 'response', deleted: true }
  })
}

function oneResponse(app: FastifyInstance, components: GenerationComponents): void {
  const { service } = components

  app.get<OneResponse & { Querystring: ResponseQuery }>(
    '/v1/responses/:id',
    { schema: { querystring: ResponseQuerySchema }, config: { doc: RESPONSE_GET_DOC } },
    async (request, reply) => {
      const { stream, starting_after } = request.query
      if (stream !== 'true' && starting_after !== undefined)
        throw new SkeinError('INVALID_REQUEST', 'starting_after is only allowed when stream is true', {
          param: 'starting_after',
        })
      const view = await ownResponse(service, request, request.params.id)
      if (stream !== 'true') return responseOfTask(view)
      // of one that is connected again by itself, the address is as old as its first connection
      const lastId = lastEventId(request.headers) ?? (starting_after === undefined ? undefined : Number(starting_after))
      await answering(components, request, reply, async (active) => {
        const { taskId } = view
        const handle = await service.resume(taskId)
        const exchange = { components, request, reply, active, handle }
        const head = headOf(view)
        const place = resumption('response', lastId, view, head.hasTools)
        reply.header('x-skein-task', taskId)
        await answerStream(
          exchange,
          place.after,
          responseStream(exchange, { ...head, ...place, hasIds: true, requestId: request.id }, view),
          true,
        )
      })
      return reply
    },
  )
}
