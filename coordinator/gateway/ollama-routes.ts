/**
 * Ollama's API. Its clients do not agree on the type of their bodies (its own documents send JSON as a form), so that here
 * every body is read as JSON, whatever it is called; `Origin` keeps web pages out all the same.
 */
import type { FastifyInstance } from 'fastify'
import { asSkeinError, SkeinError, type WorkResult } from '../../mesh/protocol/index.ts'
import type { Caller } from '../access/index.ts'
import type { ModelView } from '../admission/index.ts'
import { checkModel, visibleTo } from './callers.ts'
import { generate } from './generation.ts'
import { chatTool, deviceLoopOf, withDeviceTools } from './tool-loop.ts'
import { checkBodyEncoding, parseJsonBody, withoutNulls } from './json-body.ts'
import { modelNamed } from './named-models.ts'
import {
  OLLAMA_CHAT_DOC,
  OLLAMA_DELETE_DOC,
  OLLAMA_EMBED_DOC,
  OLLAMA_EMBEDDINGS_DOC,
  OLLAMA_GENERATE_DOC,
  OLLAMA_PULL_DOC,
  OLLAMA_RUNNING_DOC,
  OLLAMA_SHOW_DOC,
  OLLAMA_TAGS_DOC,
  OLLAMA_VERSION_DOC,
  ROOT_DOC,
} from './ollama-answer-schemas.ts'
import { emptyBody, line, nanoseconds, NDJSON, ollamaForms } from './ollama-answers.ts'
import { runningBody, shownBody, tagsBody } from './ollama-models.ts'
import { answerPull, pullReference, removeModel, type OpenPulls } from './ollama-pulls.ts'
import { ollamaChatCall, ollamaGenerateCall } from './ollama-requests.ts'
import {
  OllamaChatSchema,
  OllamaEmbeddingsSchema,
  OllamaEmbedSchema,
  OllamaGenerateSchema,
  OllamaNamedSchema,
  type OllamaChat,
  type OllamaEmbed,
  type OllamaEmbeddings,
  type OllamaGenerate,
  type OllamaNamed,
} from './ollama-schemas.ts'
import type { RouteDoc } from './route-doc.ts'
import { numbersOf } from './work-answers.ts'
import { embedWork } from './work-requests.ts'
import { answerWork, ofKind, type WorkComponents } from './work-routes.ts'

/** The Ollama whose documents this API follows. Some tools want a certain one at least; alone, since they read it as digits. */
const OLLAMA_VERSION = '0.32.0'

export interface OllamaComponents extends WorkComponents {
  /** Where the coordinator's machine has a node. */
  readonly pulls?: OpenPulls | undefined
}

export function ollamaRoutes(app: FastifyInstance, components: OllamaComponents): void {
  // a scope of its own, for its own parser of bodies
  app.register((scope, _options, done) => {
    anyTypeOfBody(scope)
    answerRoutes(scope, components)
    embeddingRoutes(scope, components)
    modelRoutes(scope, components)
    done()
  })
}

function anyTypeOfBody(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', { parseAs: 'buffer' }, (request, bytes, done) => {
    try {
      checkBodyEncoding(request.headers['content-type'], request.headers['content-encoding'])
      const body = parseJsonBody(bytes as Buffer)
      // an option that is null is not given, as a member is
      if (typeof body === 'object' && body !== null && 'options' in body) withoutNulls(body.options)
      done(null, body)
    } catch (error) {
      done(error as Error)
    }
  })
}

function answerRoutes(app: FastifyInstance, components: WorkComponents): void {
  const { service, clock } = components

  app.post<{ Body: OllamaChat }>(
    '/api/chat',
    { schema: { body: OllamaChatSchema }, config: { doc: OLLAMA_CHAT_DOC } },
    async (request, reply) => {
      const { body } = request
      checkModel(request.caller, service, body.model)
      const model = modelNamed(service.models(), body.model)
      if ((body.messages ?? []).length === 0) return loadBody('chat', body, clock.wallMs())
      const loop = deviceLoopOf(components, request, body)
      const forms = ollamaForms(clock, {
        kind: 'chat',
        hasTools: loop !== undefined || (body.tools ?? []).length > 0,
        hasLogprobs: body.logprobs === true,
        beganAtMs: clock.nowMs(),
      })
      const call = ollamaChatCall(withDeviceTools(body, loop, chatTool), model, forms)
      await generate(components, request, reply, { ...call, ...(loop && { loop }) })
      return reply
    },
  )

  app.post<{ Body: OllamaGenerate }>(
    '/api/generate',
    { schema: { body: OllamaGenerateSchema }, config: { doc: OLLAMA_GENERATE_DOC } },
    async (request, reply) => {
      const { body } = request
      checkModel(request.caller, service, body.model)
      const model = modelNamed(service.models(), body.model)
      if ((body.prompt ?? '') === '') return loadBody('generate', body, clock.wallMs())
      const forms = ollamaForms(clock, {
        kind: 'generate',
        hasTools: false,
        hasLogprobs: body.logprobs === true,
        beganAtMs: clock.nowMs(),
      })
      await generate(components, request, reply, ollamaGenerateCall(body, model, forms))
      return reply
    },
  )
}

/** `0`, `"0"`, `"0s"`. */
const isZero = (keepAlive: string | number | undefined): boolean =>
  /^0+(\.0*)?(ns|us|ms|s|m|h)?$/.test(String(keepAlive))

/**
 * Nothing is asked of the model: with Ollama this loads it, or with `keep_alive: 0` unloads it. Where models are loaded is
 * decided by what is asked of them, so that there is nothing to do.
 */
function loadBody(kind: 'chat' | 'generate', body: OllamaChat | OllamaGenerate, wallMs: number): object {
  return {
    ...emptyBody(body.model, wallMs),
    ...(kind === 'chat' ? { message: { role: 'assistant', content: '' } } : { response: '' }),
    done: true,
    done_reason: isZero(body.keep_alive) ? 'unload' : 'load',
  }
}

function embeddingRoutes(app: FastifyInstance, components: WorkComponents): void {
  const { clock } = components

  app.post<{ Body: OllamaEmbed }>(
    '/api/embed',
    { schema: { body: OllamaEmbedSchema }, config: { doc: OLLAMA_EMBED_DOC } },
    async (request, reply) => {
      const beganAtMs = clock.nowMs()
      const { model, input, dimensions } = request.body
      // 0 is what Ollama's own clients send for all
      const work = embedWork({ model, input, ...(dimensions ? { dimensions } : {}) })
      await answerWork(components, request, reply, {
        work,
        write: (result) => embedText(model, result, () => nanoseconds(clock.nowMs() - beganAtMs)),
      })
      return reply
    },
  )

  app.post<{ Body: OllamaEmbeddings }>(
    '/api/embeddings',
    { schema: { body: OllamaEmbeddingsSchema }, config: { doc: OLLAMA_EMBEDDINGS_DOC } },
    async (request, reply) => {
      const { model, prompt } = request.body
      const write = (result: WorkResult): Iterable<string> => {
        const [vector] = ofKind(result, 'embed').vectors
        return [JSON.stringify({ embedding: vector ? numbersOf(vector) : [] })]
      }
      await answerWork(components, request, reply, { work: embedWork({ model, input: prompt }), write })
      return reply
    },
  )
}

/** @param tookNs asked for when the last vector was written. */
function* embedText(model: string, result: WorkResult, tookNs: () => number): Generator<string, void, undefined> {
  const { vectors, promptTokens } = ofKind(result, 'embed')
  yield `{"model":${JSON.stringify(model)},"embeddings":[`
  for (const [index, vector] of vectors.entries()) yield `${index === 0 ? '' : ','}[${numbersOf(vector).join(',')}]`
  yield `],"total_duration":${tookNs()},"prompt_eval_count":${promptTokens}}`
}

function modelRoutes(app: FastifyInstance, components: OllamaComponents): void {
  const { service, clock } = components
  const modifiedAt = new Date(clock.wallMs()).toISOString()

  app.get('/', { config: { doc: ROOT_DOC } }, (_request, reply) =>
    reply.type('text/plain; charset=utf-8').send('Skein is running'),
  )

  app.get('/api/version', { config: { doc: OLLAMA_VERSION_DOC } }, () => ({ version: OLLAMA_VERSION }))

  app.get('/api/tags', { config: { doc: OLLAMA_TAGS_DOC } }, ({ caller }) =>
    tagsBody(visibleTo(caller, service.models()), modifiedAt),
  )

  app.get('/api/ps', { config: { doc: OLLAMA_RUNNING_DOC } }, ({ caller }) =>
    runningBody(visibleTo(caller, service.models())),
  )

  app.post<{ Body: OllamaNamed }>('/api/show', named(OLLAMA_SHOW_DOC), ({ body, caller }) =>
    shownBody(modelNamed(visibleTo(caller, service.models()), nameOf(body)), modifiedAt),
  )

  storeRoutes(app, components)
}

const named = (doc: RouteDoc) => ({ schema: { body: OllamaNamedSchema }, config: { doc } })

/** What changes the store of this machine, for the admin; with no node here, it is said where it can be done. */
function storeRoutes(app: FastifyInstance, components: OllamaComponents): void {
  const { service, pulls } = components

  app.post<{ Body: OllamaNamed }>('/api/pull', named(OLLAMA_PULL_DOC), async (request, reply) => {
    const { body, caller } = request
    const name = nameOf(body)
    const isStream = body.stream !== false
    const known = inMesh(caller, name)
    // a model that the mesh has is there already, which is what tools that pull before they ask want to know
    if (known && (!pulls || !caller.isAdmin || pulls.models.serves(known.digest))) {
      const success = { status: 'success' }
      return isStream ? reply.type(NDJSON).send(line(success)) : reply.send(success)
    }
    if (!pulls)
      throw elsewhere(`no node has '${name}', and none is pulled through the API; on a node: skein pull ${name}`)
    checkAdmin(caller, 'pulls')
    const reference = known?.digest ?? pullReference(name)
    await answerPull(components, request, reply, { pulls, name, reference, isInMesh: known !== undefined, isStream })
    return reply
  })

  app.delete<{ Body: OllamaNamed }>('/api/delete', named(OLLAMA_DELETE_DOC), async ({ body, caller }, reply) => {
    const name = nameOf(body)
    if (pulls) checkAdmin(caller, 'removes')
    try {
      if (!pulls) throw new SkeinError('MODEL_NOT_STORED', 'there is no node here')
      await removeModel(pulls.models, name)
      return await reply.code(200).send()
    } catch (thrown) {
      if (asSkeinError(thrown).code !== 'MODEL_NOT_STORED') throw thrown
    }
    const { nodes } = modelNamed(visibleTo(caller, service.models()), name)
    const where = nodes.map((node) => node.name).join(', ')
    const here = pulls ? 'the store of this machine does not have it' : 'this machine has no node to remove it from'
    throw elsewhere(`${here}; its owner removes it at ${where} with: skein rm ${name}`)
  })

  function inMesh(caller: Caller, name: string): ModelView | undefined {
    try {
      return modelNamed(visibleTo(caller, service.models()), name)
    } catch {
      return undefined
    }
  }
}

/** Their addresses are everybody's, for what is asked of models that are there. @throws SkeinError FORBIDDEN. */
function checkAdmin({ isAdmin }: Caller, does: string): void {
  if (!isAdmin) throw new SkeinError('FORBIDDEN', `this key ${does} no models: it has no routes of the class 'admin'`)
}

/** @throws SkeinError INVALID_REQUEST. */
function nameOf({ model, name }: OllamaNamed): string {
  const given = model || name
  if (!given) throw new SkeinError('INVALID_REQUEST', 'model is required', { param: 'model' })
  return given
}

const elsewhere = (message: string): SkeinError => new SkeinError('UNSUPPORTED_PARAMETER', message, { param: 'model' })
