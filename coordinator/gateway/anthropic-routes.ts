/** Anthropic's messages API. */
import type { FastifyInstance } from 'fastify'
import { COUNT_TOKENS_DOC, MESSAGES_DOC } from './anthropic-answer-schemas.ts'
import { ANTHROPIC_ERRORS, requestIdHeader } from './anthropic-errors.ts'
import { countCall, messagesCall } from './anthropic-requests.ts'
import { CountBodySchema, MessagesBodySchema, type CountBody, type MessagesBody } from './anthropic-schemas.ts'
import type { GenerationComponents } from './exchange.ts'
import { generate } from './generation.ts'
import { deviceLoopOf, withDeviceTools, type ToolForModel } from './tool-loop.ts'

const messageTool = ({ name, description, parameters }: ToolForModel): object => ({
  ...{ name, description },
  input_schema: parameters,
})

export function anthropicRoutes(app: FastifyInstance, components: GenerationComponents): void {
  const config = { errors: ANTHROPIC_ERRORS }

  app.post<{ Body: MessagesBody }>(
    '/v1/messages',
    { schema: { body: MessagesBodySchema }, config: { ...config, doc: MESSAGES_DOC } },
    async (request, reply) => {
      reply.headers(requestIdHeader(request.id))
      const loop = deviceLoopOf(components, request, request.body)
      const call = messagesCall(withDeviceTools(request.body, loop, messageTool))
      await generate(components, request, reply, { ...call, ...(loop && { loop }) })
      return reply
    },
  )

  app.post<{ Body: CountBody }>(
    '/v1/messages/count_tokens',
    { schema: { body: CountBodySchema }, config: { ...config, doc: COUNT_TOKENS_DOC } },
    async (request, reply) => {
      reply.headers(requestIdHeader(request.id))
      await generate(components, request, reply, countCall(request.body))
      return reply
    },
  )
}
