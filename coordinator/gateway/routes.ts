/** The addresses of the gateway. Each handler translates and calls the mesh; none decides anything about it. */
import type { FastifyInstance } from 'fastify'
import { requestIdHeader, speaksAnthropic } from './anthropic-errors.ts'
import { anthropicModel, anthropicModels, PageQuerySchema, type PageQuery } from './anthropic-models.ts'
import { visibleTo } from './callers.ts'
import type { GenerationComponents } from './exchange.ts'
import { generateChoices, hasChoices } from './choices.ts'
import { generate } from './generation.ts'
import { LIVE_DOC, READY_DOC } from './mesh-answer-schemas.ts'
import { listOf } from './mesh-routes.ts'
import { identified, modelNamed } from './named-models.ts'
import { CHAT_DOC, COMPLETION_DOC, MODEL_DOC, MODELS_DOC } from './openai-answer-schemas.ts'
import { modelBody } from './openai-answers.ts'
import { chatCall, completionCall } from './openai-requests.ts'
import { chatTool, deviceLoopOf, withDeviceTools } from './tool-loop.ts'
import { ChatBodySchema, CompletionBodySchema, type ChatBody, type CompletionBody } from './openai-schemas.ts'

export function openAiRoutes(app: FastifyInstance, components: GenerationComponents): void {
  const { service, clock } = components
  const created = Math.floor(clock.wallMs() / 1000)

  app.get<{ Querystring: PageQuery }>(
    '/v1/models',
    { schema: { querystring: PageQuerySchema }, config: { doc: MODELS_DOC, isAnthropicsToo: true } },
    ({ caller, headers, query, id: requestId }, reply) => {
      const models = visibleTo(caller, service.models())
      if (speaksAnthropic(headers))
        return reply.headers(requestIdHeader(requestId)).send(anthropicModels(models, query))
      return listOf([...identified(models)].map(([id, model]) => modelBody(id, model, created)))
    },
  )

  // a wildcard, since names such as `org/model` have slashes
  app.get<{ Params: { '*': string } }>(
    '/v1/models/*',
    { config: { doc: MODEL_DOC, isAnthropicsToo: true } },
    ({ params: { '*': name }, caller, headers, id: requestId }, reply) => {
      const model = modelNamed(visibleTo(caller, service.models()), name)
      if (speaksAnthropic(headers)) return reply.headers(requestIdHeader(requestId)).send(anthropicModel(name, model))
      return modelBody(name, model, created)
    },
  )

  app.post<{ Body: ChatBody }>(
    '/v1/chat/completions',
    { schema: { body: ChatBodySchema }, config: { doc: CHAT_DOC } },
    async (request, reply) => {
      const loop = deviceLoopOf(components, request, request.body)
      const call = chatCall(withDeviceTools(request.body, loop, chatTool))
      await answerCall(components, request, reply, { ...call, ...(loop && { loop }) })
      return reply
    },
  )

  app.post<{ Body: CompletionBody }>(
    '/v1/completions',
    { schema: { body: CompletionBodySchema }, config: { doc: COMPLETION_DOC } },
    async (request, reply) => {
      await answerCall(components, request, reply, completionCall(request.body))
      return reply
    },
  )
}

const answerCall: typeof generate = (components, request, reply, call) =>
  hasChoices(call) ? generateChoices(components, request, reply, call) : generate(components, request, reply, call)

export function healthRoutes(app: FastifyInstance, { service, active }: GenerationComponents): void {
  app.get('/health/live', { config: { doc: LIVE_DOC, isOpen: true } }, () => ({ live: true }))

  app.get('/health/ready', { config: { doc: READY_DOC, isOpen: true } }, (_request, reply) => {
    const state = active.isRefusing ? { ready: false, reason: 'the coordinator is stopping' } : service.ready()
    if (!state.ready) reply.code(503).header('retry-after', '1')
    return { ready: state.ready, reason: state.reason }
  })
}
