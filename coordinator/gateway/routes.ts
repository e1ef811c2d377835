/** The addresses of the gateway. Each handler translates and calls the mesh; none decides anything about it. */
import type { FastifyInstance } from 'fastify'
import { visibleTo } from './callers.ts'
import type { GenerationComponents } from './exchange.ts'
import { generate } from './generation.ts'
import { listOf } from './mesh-routes.ts'
import { identified, modelNamed } from './named-models.ts'
import { modelBody } from './openai-answers.ts'
import { chatCall, completionCall } from './openai-requests.ts'
import { ChatBodySchema, CompletionBodySchema, type ChatBody, type CompletionBody } from './openai-schemas.ts'

export function openAiRoutes(app: FastifyInstance, components: GenerationComponents): void {
  const { service, clock } = components
  const created = Math.floor(clock.wallMs() / 1000)

  app.get('/v1/models', ({ caller }) =>
    listOf([...identified(visibleTo(caller, service.models()))].map(([id, model]) => modelBody(id, model, created))),
  )

  // a wildcard, since names such as `org/model` have slashes
  app.get<{ Params: { '*': string } }>('/v1/models/*', ({ params: { '*': name }, caller }) =>
    modelBody(name, modelNamed(visibleTo(caller, service.models()), name), created),
  )

  app.post<{ Body: ChatBody }>('/v1/chat/completions', { schema: { body: ChatBodySchema } }, async (request, reply) => {
    await generate(components, request, reply, chatCall(request.body))
    return reply
  })

  app.post<{ Body: CompletionBody }>(
    '/v1/completions',
    { schema: { body: CompletionBodySchema } },
    async (request, reply) => {
      await generate(components, request, reply, completionCall(request.body))
      return reply
    },
  )
}

export function healthRoutes(app: FastifyInstance, { service, active }: GenerationComponents): void {
  app.get('/health/live', () => ({ live: true }))

  app.get('/health/ready', (_request, reply) => {
    const state = active.isRefusing ? { ready: false, reason: 'the coordinator is stopping' } : service.ready()
    if (!state.ready) reply.code(503).header('retry-after', '1')
    return { ready: state.ready, reason: state.reason }
  })
}
