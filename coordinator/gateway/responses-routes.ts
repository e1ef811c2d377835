/** OpenAI's responses API: answers that outlive the connection, and that are found again by their id. */
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { SkeinError, taskIdOfResponse, type TaskId } from '../../mesh/protocol/index.ts'
import { ownTask } from './callers.ts'
import { answerStream, type GenerationComponents } from './exchange.ts'
import { answering, generate, responseStream, resumption } from './generation.ts'
import { lastEventId } from './request-options.ts'
import { headOf, responseOfTask } from './responses-answers.ts'
import { ResponseBodySchema, responseCall, type ResponseBody } from './responses-requests.ts'

const ResponseQuerySchema = Type.Object({
  stream: Type.Optional(Type.Enum(['true', 'false'])),
  starting_after: Type.Optional(Type.String({ pattern: '^[0-9]{1,9}$' })),
})
interface OneResponse {
  Params: { id: string }
  Querystring: Static<typeof ResponseQuerySchema>
}

function taskIdOf({ id }: OneResponse['Params']): TaskId {
  const taskId = taskIdOfResponse(id)
  if (taskId === undefined) throw new SkeinError('NOT_FOUND', `there is no response '${id.slice(0, 64)}'`)
  return taskId
}

export function responsesRoutes(app: FastifyInstance, components: GenerationComponents): void {
  const { service } = components

  app.post<{ Body: ResponseBody }>(
    '/v1/responses',
    { schema: { body: ResponseBodySchema } },
    async (request, reply) => {
      await generate(components, request, reply, responseCall(request.body))
      return reply
    },
  )

  app.get<OneResponse>(
    '/v1/responses/:id',
    { schema: { querystring: ResponseQuerySchema } },
    async (request, reply) => {
      const taskId = taskIdOf(request.params)
      const { stream, starting_after } = request.query
      if (stream !== 'true' && starting_after !== undefined)
        throw new SkeinError('INVALID_REQUEST', 'starting_after is only allowed when stream is true', {
          param: 'starting_after',
        })
      const view = await ownTask(service, request, taskId)
      if (stream !== 'true') return responseOfTask(view)
      if (view.isPurged) throw new SkeinError('NOT_FOUND', 'the text of this response was deleted after its time')
      // of one that is connected again by itself, the address is as old as its first connection
      const lastId = lastEventId(request.headers) ?? (starting_after === undefined ? undefined : Number(starting_after))
      await answering(components, request, reply, async (active) => {
        const handle = await service.resume(taskId)
        const exchange = { components, request, reply, active, handle }
        const head = headOf(view)
        const place = resumption('response', lastId, view)
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

  app.post<OneResponse>('/v1/responses/:id/cancel', async (request) => {
    const { taskId } = await ownTask(service, request, taskIdOf(request.params))
    return responseOfTask(await service.cancel(taskId))
  })
}
